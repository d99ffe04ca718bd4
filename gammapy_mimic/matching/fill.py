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


@dataclass
class _Supply:
    """Good time of donors that is left in one set, for each use of it."""

    ontime_s: np.ndarray
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
    unused = np.ones(len(pairs[0]), dtype=bool)
    sets = []
    for _ in range(n_sets):
        one = _Set(pairs, tracks, need_s, _Supply(supply_s), unused, scale)
        for use in range(reuse):
            while one.add_round(use):
                pass
        sets.append(one)
    return [one.slices for one in sorted(sets, key=lambda it: it.quality)]


class _Set:
    """One mimic set while it is filled; see `fill_sets` for the parameters.

    ``unused`` says which pairs are still free, for all sets together.
    """

    def __init__(self, pairs, tracks, need_s, supply, unused, scale):
        self.pairs, self.tracks, self.scale = pairs, tracks, scale
        self.need_s, self.supply, self.unused = need_s, supply, unused
        self.filled = np.zeros(len(need_s))
        self.n_parts = np.zeros(len(need_s), dtype=int)
        self.slices = []
        self._steps = self._distance = 0.0

    @property
    def quality(self):
        """Less is better: time that is filled, then relaxation, then distance."""
        return -self.filled.sum(), self._steps, self._distance

    def add_round(self, use):
        """Give one donor to each target that lacks time; False if there is none."""
        rows, columns, distance, level = self.pairs
        lacks = self.need_s - self.filled
        enough = (
            self.supply.longest(use)[columns] >= np.minimum(lacks, SHORTEST_S)[rows]
        )
        index = np.flatnonzero(self.unused & (lacks[rows] >= SHORTEST_S) & enough)
        shape = len(self.need_s), len(self.supply.ontime_s)
        allowed = (it[index] for it in (rows, columns, distance, level))
        chosen = assign(*allowed, shape)
        for target in np.flatnonzero(chosen >= 0):
            donor = int(chosen[target])
            pair = index[(rows[index] == target) & (columns[index] == donor)]
            self.unused[pair] = False
            self._steps += float(level[pair].sum())
            self._distance += float(distance[pair].sum())
            self._take(int(target), donor, use, lacks[target])
        return bool((chosen >= 0).any())

    def _take(self, target, donor, use, lacks):
        """Take what a target lacks, or what a donor has, of the donor's time."""
        free = self.supply.free(donor, use)
        length = float(min(lacks, max(high - low for low, high in free)))
        begin = float(self.filled[target])
        start = best_start(
            (self.tracks[0], target),
            (self.tracks[1], donor),
            begin_s=begin,
            length_s=length,
            free=free,
            scale=self.scale,
        )
        self.supply.take(donor, use, start, start + length)
        place = begin, start, start + length
        self.slices.append(Slice(target, donor, int(self.n_parts[target]), *place))
        self.filled[target] += length
        self.n_parts[target] += 1
