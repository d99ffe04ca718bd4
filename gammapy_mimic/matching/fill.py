"""Fill the time of targets with slices of several donors."""

from dataclasses import dataclass, field

import numpy as np

from gammapy_mimic.matching.assign import assign
from gammapy_mimic.matching.slices import best_start

__all__ = ["Slice", "fill_sets"]

# a target that lacks less than this is full, and shorter slices are not worth it
SHORTEST_S = 60.0


@dataclass(frozen=True)
class Slice:
    """Part of a donor that stands for a part of a target."""

    target: int
    donor: int
    part: int
    target_s: float
    start_s: float
    stop_s: float
    use: int
    """How often this time of the donor has been used before in the set."""


@dataclass
class _Supply:
    """Good time of donors that is left in one set, for each use of it."""

    ontime_s: np.ndarray
    reuse: int
    _free: dict = field(default_factory=dict)

    def free(self, donor, use):
        """Intervals of good time that have been used this often."""
        return self._free.get((donor, use), [(0.0, float(self.ontime_s[donor]))])

    def longest(self, use):
        """Longest interval of each donor."""
        longest = self.ontime_s.astype(float).copy()
        for (donor, number), free in self._free.items():
            if number == use:
                longest[donor] = max((high - low for low, high in free), default=0.0)
        return longest

    def take(self, donor, use, start, stop):
        """Take a part of an interval."""
        left = []
        for low, high in self.free(donor, use):
            left += [(low, min(high, start)), (max(low, stop), high)]
        self._free[donor, use] = [it for it in left if it[1] - it[0] > 1e-6]


def fill_sets(pairs, tracks, need_s, supply_s, *, n_sets, reuse, scale):
    """Slices of donors for every target of several sets, the fullest sets first.

    In each round every target that is not full gets one donor, by the optimal
    assignment, and of it as much as it lacks or as the donor has. Time that has been
    used in a set is used again only when no other is left.

    Parameters
    ----------
    pairs : tuple of `~numpy.ndarray`
        Targets, donors, distances and steps of relaxation of the pairs that are
        allowed. A pair is used once in all sets.
    tracks : tuple of `~gammapy_mimic.matching.slices.Tracks`
        Tracks of targets and of donors.
    need_s, supply_s : `~numpy.ndarray`
        Good time of targets and of donors.
    n_sets : int
        Number of sets.
    reuse : int
        How often the same time of a donor may be used in a set.
    scale : tuple of float
        Differences of airmass and azimuth (deg) that are equally bad.

    Returns
    -------
    sets : list of list of `Slice`
        Slices of each set.
    """
    rows, columns, distance, level = pairs
    unused = np.ones(len(rows), dtype=bool)
    sets = []
    for _ in range(n_sets):
        filled = np.zeros(len(need_s))
        supply = _Supply(supply_s, reuse)
        taken, parts = [], np.zeros(len(need_s), dtype=int)
        cost = [0.0, 0.0]
        for use in range(reuse):
            while True:
                lacks = need_s - filled
                wanted = np.minimum(lacks, SHORTEST_S)
                allowed = unused & (lacks[rows] >= SHORTEST_S)
                allowed &= supply.longest(use)[columns] >= wanted[rows]
                index = np.flatnonzero(allowed)
                shape = len(need_s), len(supply_s)
                chosen = assign(
                    rows[index], columns[index], distance[index], level[index], shape
                )
                if (chosen < 0).all():
                    break
                for target in np.flatnonzero(chosen >= 0):
                    donor = int(chosen[target])
                    pair = index[(rows[index] == target) & (columns[index] == donor)]
                    unused[pair] = False
                    cost[0] += float(level[pair].sum())
                    cost[1] += float(distance[pair].sum())
                    free = supply.free(donor, use)
                    longest = max(high - low for low, high in free)
                    length = float(min(lacks[target], longest))
                    start = best_start(
                        (tracks[0], target),
                        (tracks[1], donor),
                        begin_s=filled[target],
                        length_s=length,
                        free=free,
                        scale=scale,
                    )
                    supply.take(donor, use, start, start + length)
                    place = float(filled[target]), start, start + length
                    taken.append(Slice(int(target), donor, parts[target], *place, use))
                    filled[target] += length
                    parts[target] += 1
        sets.append((-filled.sum(), *cost, taken))
    order = sorted(range(n_sets), key=lambda number: sets[number][:3])
    return [sets[number][-1] for number in order]
