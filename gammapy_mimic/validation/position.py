"""Significance at one position, of targets and of mimic sets of the same targets."""

import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from gammapy.data import Observation
from gammapy.datasets import MapDataset
from gammapy.maps import Map
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.linalg import helmert
from scipy.stats import norm

from gammapy_mimic.data.compat import read_once
from gammapy_mimic.io.figures import new_figure
from gammapy_mimic.sources.places import position_of
from gammapy_mimic.validation.excess import ExcessMaps
from gammapy_mimic.validation.reduction import donor_of, reduce_runs
from gammapy_mimic.validation.shown import ShownResult
from gammapy_mimic.validation.significance import empirical_p_value

__all__ = [
    "TargetSignificance",
    "common_runs",
    "events_at",
    "shared_events",
    "shared_part",
    "target_significance",
]

log = logging.getLogger(__name__)

LEAST_DIFFERENCE = 0.1
"""Part of its events in which a mimic set has to differ from others to count."""


@dataclass(frozen=True, repr=False)
class TargetSignificance(ShownResult):
    r"""Significance at one position in many mimic sets, and perhaps in the target.

    Attributes
    ----------
    mimics : `~numpy.ndarray`
        Significance in each mimic set.
    target : float or None
        Significance in the target; None unless it was given.
    shared : `~numpy.ndarray` or None
        Part of the events at the position that two mimic sets share, shape (n, n), see
        `shared_events`. None: none.
    runs : tuple
        OBS_IDs of the targets that are in each of the stacks; empty if not known.
    left_out : tuple of int
        Numbers of the mimic sets, from 0, that do not count because they lack some of
        these targets; their significance is NaN.

    Notes
    -----
    Of n sets k reach the target: p = (k + 1) / (n + 1). This holds for sets that are
    independent. Sets that share parts :math:`R_{ij}` of their events lie closer to
    each other than to the target, and are worth

    .. math:: n_{eff} = \frac{n^2}{\sum_{ij} R_{ij}}

    sets. Before they are counted, their deviations from their mean are made independent
    of each other by :math:`(C R C)^{-1/2}`, where C takes the mean away, and stretched
    by :math:`\sqrt{(1 + 1 / n_{eff}) / (1 + 1 / n)}`, since their mean is less well
    known than that of n independent sets. Combinations of sets that differ in less than
    10 % of their events are left out of n. For normal significances, and sets that each
    share about as much, p is uniform.
    """

    mimics: np.ndarray
    target: float | None = None
    shared: np.ndarray | None = None
    runs: tuple = ()
    left_out: tuple = ()

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the mimic sets, and the target as a line if it was given.

        Parameters
        ----------
        ax : `~matplotlib.axes.Axes`, optional
            Axes. Default is those of pyplot.

        Returns
        -------
        ax : `~matplotlib.axes.Axes`
            Axes.
        """
        ax = plt.gca() if ax is None else ax
        values = self.mimics[np.isfinite(self.mimics)]
        reach = 0.5 * np.ceil(2 * np.max([5, *np.abs(values)]))
        x, step = np.linspace(-reach, reach, 300), 0.5
        ax.hist(values, np.arange(-reach, reach + step / 2, step), label="mimic sets")
        ax.plot(
            *(x, len(values) * step * norm.pdf(x), "k--"),
            label="expected of Poisson fluctuations",
        )
        if self.target is not None:
            ax.axvline(self.target, color="C1", label=f"targets: {self.target:.1f}")
        ax.set_xlabel("Significance at the position")
        ax.set_ylabel("Number of mimic sets")
        ax.yaxis.get_major_locator().set_params(integer=True)
        # beside the bars, not upon them
        ax.legend(
            fontsize="small", loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3
        )
        return ax

    def peek(self, figsize: tuple = (6, 3.5)) -> Figure:
        """Draw the mimic sets, and the target if it was given, in a new figure."""
        figure = new_figure(figsize)
        self.plot(figure.add_subplot())
        return figure

    @property
    def n_sets(self) -> int:
        """Mimic sets with data at the position."""
        return int(np.isfinite(self.mimics).sum())

    @property
    def n_effective(self) -> float:
        """Independent mimic sets that they are worth, from 1 to ``n_sets``."""
        if self.shared is None or self.n_sets == 0:
            return float(self.n_sets)
        used = np.isfinite(self.mimics)
        return float(self.n_sets**2 / self.shared[np.ix_(used, used)].sum())

    @property
    def n_independent(self) -> int:
        """Independent combinations of mimic sets: the least p-value is 1 / (n + 1)."""
        return len(self._independent())

    @property
    def p_value(self) -> float | None:
        """Empirical p-value of the target; None without target, NaN without data."""
        if self.target is None:
            return None
        return empirical_p_value(self.target, self._independent())

    @property
    def p_value_error(self) -> float | None:
        """Binomial error of the p-value, of the effective number of mimic sets."""
        p_value = self.p_value
        if p_value is None:
            return None
        return float(np.sqrt(p_value * (1 - p_value) / (self.n_effective + 1)))

    def _independent(self):
        """Significances of as many independent mimic sets as these are worth.

        For R = 1 they are those of the mimic sets.
        """
        used = np.isfinite(self.mimics)
        values = self.mimics[used]
        if self.shared is None or not len(values):
            return values
        mean, part = values.mean(), self.shared[np.ix_(used, used)]
        part = part - part.mean(axis=0) - part.mean(axis=1)[:, np.newaxis] + part.mean()
        power, vectors = np.linalg.eigh(part)
        seen = power > LEAST_DIFFERENCE
        number = int(seen.sum()) + 1
        vectors, power = vectors[:, seen], power[seen]
        residual = vectors.T @ values / np.sqrt(power)
        # any orthonormal axes without a mean: those of the sets, if all are seen
        axes = vectors if number == len(values) else helmert(number).T
        stretch = (1 + 1 / self.n_effective) / (1 + 1 / number)
        return mean + np.sqrt(stretch) * axes @ residual


def target_significance(
    mimics: Sequence,
    position: SkyCoord | str,
    *,
    target: MapDataset | Iterable[Observation] | None = None,
    on_radius: u.Quantity = 0.1 * u.deg,
    exclusion: Sequence | Map | None = None,
    method: str = "ring",
    ring: dict | None = None,
    shared: np.ndarray | None = None,
) -> TargetSignificance:
    """Significance at a position in mimic sets, and in the target if it is given.

    Like is compared with like: the stack of each mimic set has the same targets as
    that of the target. From runs such stacks are made; of data
    sets those that have other targets than the target are left out. A warning says
    which.

    Parameters
    ----------
    mimics : list of `~gammapy.datasets.MapDataset` or of `~gammapy.data.Observations`
        For each mimic set a data set, see `reduce_runs`, or its runs.
    position : `~astropy.coordinates.SkyCoord` or str
        Position, or the name of a source there.
    target : same as a mimic set, optional
        Data set or runs of the target. Default is None: the analysis stays blind.
    on_radius : `~astropy.coordinates.Angle`, optional
        Radius of the circle in which counts are summed. Default is 0.1 deg.
    exclusion, method, ring : optional
        See `significance_distribution`. They are the same for mimics and target.
    shared : `~numpy.ndarray`, optional
        Part of the events at the position that two mimic sets share, shape (n, n), see
        `shared_events`. Default is None: counted for runs, none for data sets.

    Returns
    -------
    significance : `TargetSignificance`
        Of all energies together.

    Raises
    ------
    ValueError
        If there is no mimic set, or none that has the targets of the target.
    """
    if len(mimics) == 0:
        raise ValueError("mimics = []: at least one mimic set is needed")
    position = position_of(position)
    stacks = [*mimics, *([] if target is None else [target])]
    n_sets = len(mimics)
    is_reduced = all(isinstance(it, MapDataset) for it in stacks)
    if is_reduced:
        runs, left_out = _same_runs(stacks, n_sets)
    else:
        stacks = [list(it) for it in stacks]
        ids = [[it.obs_id for it in one] for one in stacks]
        runs, left_out = common_runs(ids[:n_sets], None if target is None else ids[-1])
        stacks = [[it for it in one if it.obs_id in runs] for one in stacks]
        if shared is None:
            shared = shared_events(stacks[:n_sets], position, on_radius)
    found = np.full(len(stacks), np.nan)
    for number, stack in enumerate(stacks):
        if number not in left_out:
            dataset = (
                stack
                if is_reduced
                else reduce_runs(stack, position, exclusion=exclusion)
            )
            found[number] = _at_position(
                dataset, position, exclusion, method, on_radius, ring
            )
    target = None if target is None else float(found[-1])
    return TargetSignificance(found[:n_sets], target, shared, runs, left_out)


def _at_position(dataset, position, exclusion, method, on_radius, ring):
    procedure = ExcessMaps(dataset, exclusion, method, on_radius, ring)
    image = dataset.counts.geom.to_image()
    x, y = image.coord_to_idx(position)
    if not image.contains(position)[0]:
        return np.nan
    return float(procedure.significances(dataset.counts.data)[0, y[0], x[0]])


def _same_runs(stacks, n_sets):
    """Targets of the last data set, and numbers of those that have others."""
    ids = [
        None if it.meta_table is None else tuple(sorted(it.meta_table["OBS_ID"]))
        for it in stacks
    ]
    if n_sets == len(stacks) or None in ids:
        return (), ()
    left_out = tuple(k for k, it in enumerate(ids[:n_sets]) if it != ids[-1])
    if n_sets and len(left_out) == n_sets:
        raise ValueError(
            f"no mimic set has the targets {_names(ids[-1])} of the stack that it is "
            "compared with: give the runs instead of data sets, of which stacks of "
            "common targets are made"
        )
    _warn(ids[-1], left_out)
    return ids[-1], left_out


def common_runs(
    stacks: Sequence[Iterable[int]], target: Iterable[int] | None = None
) -> tuple[tuple, tuple]:
    """Targets that are compared, if not each stack has all of them.

    Of the stacks, the one with the most targets first, so many are taken that the
    number of stacks times the number of targets that they have in common is largest.

    Parameters
    ----------
    stacks : list of sequence of int
        OBS_IDs of the targets of each mimic set.
    target : sequence of int, optional
        OBS_IDs of the targets themselves; others do not count. Default is None: all.

    Returns
    -------
    runs : tuple of int
        OBS_IDs that are compared, sorted.
    left_out : tuple of int
        Numbers of the stacks, from 0, that lack some of them. A warning names both.

    Raises
    ------
    ValueError
        If no stack has a target.
    """
    every = set().union(*stacks) if target is None else set(target)
    ids = [every & set(it) for it in stacks]
    order = sorted(range(len(ids)), key=lambda number: -len(ids[number]))
    options = [
        set.intersection(*(ids[k] for k in order[: n + 1])) for n in range(len(ids))
    ]
    best = max(range(len(ids)), key=lambda n: ((n + 1) * len(options[n]), n), default=0)
    runs = tuple(sorted(options[best])) if options else ()
    if not runs:
        raise ValueError("no mimic set has a run: nothing can be compared")
    left_out = tuple(k for k in range(len(ids)) if not options[best] <= ids[k])
    _warn(runs, left_out, sorted(every - options[best]))
    return runs, left_out


def _warn(runs, left_out, missing=()):
    if left_out or missing:
        log.warning(
            "at the position the targets %s are compared; left out: mimic sets %s "
            "(from 0) and targets %s, which not all have",
            *(_names(runs), _names(left_out), _names(missing)),
        )


def _names(numbers):
    return ", ".join(str(it) for it in numbers) or "none"


def shared_events(
    mimic_sets: Iterable[Iterable[Observation]],
    position: SkyCoord,
    radius: u.Quantity = 0.1 * u.deg,
    *,
    energy_range: u.Quantity | None = None,
) -> np.ndarray:
    r"""Part of the events at a position that mimic sets share.

    Mimics of one donor have the same events where the position is at the same place
    of the camera.

    Parameters
    ----------
    mimic_sets : sequence of iterable of `~gammapy.data.Observation`
        Runs of each mimic set.
    position : `~astropy.coordinates.SkyCoord`
        Position.
    radius : `~astropy.coordinates.Angle`, optional
        Radius of the circle. Default is 0.1 deg.
    energy_range : `~astropy.units.Quantity`, optional
        Energies that count, shape (2,). Default is None: all.

    Returns
    -------
    shared : `~numpy.ndarray`
        :math:`\rho_{ij} = n_{ij} / \sqrt{n_{ii} n_{jj}}`, shape (n, n), with
        :math:`n_{ij} = \sum_e m_{ie} m_{je}` and how often event e is in set i,
        :math:`m_{ie}`: once, or more often where donors are used again in a set.
        Events are known by donor and energy.
    """
    found: list[Counter] = [
        sum((events_at(it, position, radius, energy_range) for it in runs), Counter())
        for runs in mimic_sets
    ]
    return shared_part(found)


def shared_part(events: Sequence[Counter]) -> np.ndarray:
    """Part of its events that each pair of sets shares, see `shared_events`."""
    known = {name: column for column, name in enumerate(set().union(*events))}
    uses = np.zeros((len(events), len(known)))
    for row, counts in zip(uses, events, strict=True):
        row[[known[name] for name in counts]] = list(counts.values())
    length = np.linalg.norm(uses, axis=1)
    length[length == 0] = 1  # shares nothing
    shared = (uses @ uses.T) / np.outer(length, length)
    np.fill_diagonal(shared, 1)
    return shared


def events_at(observation, position, radius, energy_range=None):
    """Count each event in a circle, by donor and energy in TeV."""
    # errors name the file
    observation = read_once(observation)
    events, donor = observation.events, donor_of(observation)
    table = events.table
    place = SkyCoord(table["RA"], table["DEC"], unit="deg")
    used = place.separation(position) < radius
    energy = events.energy
    if energy_range is not None:
        used &= (energy >= energy_range[0]) & (energy < energy_range[1])
    return Counter((donor, value) for value in energy[used].to_value("TeV").tolist())
