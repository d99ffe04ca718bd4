"""The systematic error at a place, as a source of some size sees it."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import QTable
from gammapy.data import Observation
from gammapy.maps import Map
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.special import ndtr, stdtrit

from gammapy_mimic.io.arguments import check_choice, check_edges
from gammapy_mimic.io.figures import new_figure
from gammapy_mimic.sources.places import position_of
from gammapy_mimic.validation.excess import RING
from gammapy_mimic.validation.local_figure import plot_local
from gammapy_mimic.validation.reduction import (
    ENERGY_EDGES,
    OFFSET_MAX,
    donor_of,
    exclusion_mask,
    in_memory,
    map_geometry,
    reduce_run,
)
from gammapy_mimic.validation.shown import ShownResult
from gammapy_mimic.validation.statistics import MIN_PREDICTED
from gammapy_mimic.validation.systematic_limits import systematic_limits

__all__ = ["LocalCounts", "LocalSystematic", "local_systematic"]

log = logging.getLogger(__name__)

METHODS = ("background", "ring", "reflected")
NUMBERS = ("MEAN", "MEAN_ERR", "SYSTEMATIC", "SYSTEMATIC_ERR", "SYSTEMATIC_UL")
RADII = [0.1, 0.2, 0.3, 0.5, 0.7, 1] * u.deg
PIXELS_PER_RADIUS = {"background": 3, "ring": 3, "reflected": 8}
"""Of the smallest circle; a model takes care of what pixels cut off, others do not."""


@dataclass(frozen=True, repr=False)
class LocalSystematic(ShownResult):
    """Counts over prediction in circles, as a function of their radius.

    Attributes
    ----------
    table : `~astropy.table.QTable`
        For each radius first a row for all energies together, then one for each
        energy bin: RADIUS, ENERGY_MIN, ENERGY_MAX, N_RUNS, N_DONORS, PREDICTED counts
        at the position itself (of a run that has it, on average), MEAN of counts /
        prediction and its error MEAN_ERR, the intrinsic SYSTEMATIC from place to place
        and donor to donor with its error SYSTEMATIC_ERR (68 %) and upper limit
        SYSTEMATIC_UL (95 %). These are NaN for fewer than two donors.
    method : str
        Where the prediction comes from.
    """

    table: QTable
    method: str

    def first_rows(self) -> QTable:
        """Give the rows for all energies together, one for each radius."""
        radius = self.table["RADIUS"]
        return self.table[np.append(True, radius[1:] != radius[:-1])]

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the systematic of all energies as a function of the radius.

        Parameters
        ----------
        ax : `~matplotlib.axes.Axes`, optional
            Axes. Default is those of pyplot.

        Returns
        -------
        ax : `~matplotlib.axes.Axes`
            Axes. A systematic that is not seen is drawn as its upper limit.
        """
        ax = plt.gca() if ax is None else ax
        return plot_local(self.first_rows(), ax)

    def peek(self, figsize: tuple = (6, 4)) -> Figure:
        """Draw the systematic as a function of the radius in a new figure."""
        figure = new_figure(figsize)
        self.plot(figure.add_subplot())
        return figure


def local_systematic(
    observations: Iterable[Observation],
    position: SkyCoord | str,
    *,
    radius: u.Quantity = RADII,
    energy_edges: u.Quantity = ENERGY_EDGES,
    exclusion: Sequence | Map | None = None,
    method: str = "background",
    offset_max: u.Quantity = OFFSET_MAX,
) -> LocalSystematic:
    r"""Measure the systematic error of the background at a place.

    In each run counts are compared with a prediction in circles about the position and
    about further places of the same offset from the pointing, which do not overlap and
    hold no source. With the counts n, the prediction m and its variance v in each
    place p of donor d, and the mean ratio r,

    .. math::
        C = \left\langle \frac{\sum_p (n - r m)^2}{\sum_p m^2} \right\rangle_d, \quad
        P = \left\langle \frac{\sum_p r m + r^2 v}{\sum_p m^2} \right\rangle_d

    and the systematic is :math:`\sqrt{C - P}`. For error and upper limit its places in
    a donor are one measurement, as of a gradient over the camera, while Poisson
    fluctuations are independent in each place (`systematic_limits`).

    Parameters
    ----------
    observations : iterable of `~gammapy.data.Observation`
        Runs that should be empty at these places, such as all mimics of all sets. One
        at a time is held.
    position : `~astropy.coordinates.SkyCoord` or str
        Position of interest, or the name of a source there.
    radius : `~astropy.coordinates.Angle`, optional
        Radii of the circles, one or more. Default is 0.1, 0.2, 0.3, 0.5, 0.7, 1 deg.
    energy_edges : `~astropy.units.Quantity`, optional
        Edges of the energy bins. Default is 0.5, 0.8, 1.3, 2.1, 3.4, 20 TeV.
    exclusion : list of `~regions.SkyRegion` or `~gammapy.maps.Map`, optional
        Exclusion regions, or a mask that is True outside of them. A further place is
        left out if it touches one; the position itself is kept. Default is None.
    method : {"background", "ring", "reflected"}, optional
        Prediction by the background model, scaled to the counts of the run outside of
        the circle (its level is taken out); by the counts in a ring about the circle,
        with the model as acceptance; or by the other places, without a model. Default
        is "background".
    offset_max : `~astropy.coordinates.Angle`, optional
        Largest offset from the pointing of a run. Circles that reach beyond are left
        out. Default is 2 deg.

    Returns
    -------
    systematic : `LocalSystematic`
        Systematic error for each radius.

    Raises
    ------
    ValueError
        If ``method`` is none of these, a radius is not positive, the edges do not
        increase, or a run has no background model and the method needs one.
    TypeError
        If the edges have no unit of energy.
    """
    place = position_of(position)
    counts = LocalCounts(place, radius, energy_edges, method, offset_max)
    for observation in observations:
        observation = in_memory(observation)
        counts.add(donor_of(observation), counts.count_run(observation, exclusion))
    return counts.result()


class LocalCounts:
    """Counts and predictions in circles at places of runs, one run after the other.

    Parameters
    ----------
    position, radius, energy_edges, method, offset_max
        See `local_systematic`.
    """

    def __init__(
        self, position, radius, energy_edges, method="background", offset_max=OFFSET_MAX
    ):
        self.method = check_choice("method", method, METHODS)
        self.energy_edges = check_edges("energy_edges", energy_edges, "TeV")
        self.radii = np.atleast_1d(u.Quantity(radius)).to("deg")
        if not np.all(self.radii > 0 * u.deg):
            raise ValueError(f"radius = {radius}: must be positive")
        self.position, self.offset_max = position.icrs, offset_max
        self._donors = []
        self._found = [[] for _ in self.radii]

    def count_run(self, observation, exclusion):
        """Reduce a run about its pointing, and `count` in it."""
        binsz = self.radii.min() / PIXELS_PER_RADIUS[self.method]
        binsz = np.clip(binsz, 0.015 * u.deg, 0.1 * u.deg)
        pointing = observation.get_pointing_icrs(observation.tmid)
        geom = map_geometry(pointing, self.energy_edges, 2 * self.offset_max, binsz)
        options = {"background": self.method != "reflected"}
        dataset = reduce_run(observation, geom, offset_max=self.offset_max, **options)
        return self.count(dataset, pointing, exclusion_mask(geom, exclusion))

    def count(self, dataset, pointing, mask):
        """Count in a reduced run.

        Parameters
        ----------
        dataset : `~gammapy.datasets.MapDataset`
            From `~gammapy_mimic.validation.reduction.reduce_run`, about any centre.
        pointing : `~astropy.coordinates.SkyCoord`
            Pointing of the run.
        mask : `~gammapy.maps.Map`
            True outside of exclusion regions.

        Returns
        -------
        found : list of `~numpy.ndarray`
            Of each radius, shape (3, n_places, 1 + n_energy), for `add`.
        """
        pixels, found = _Pixels(dataset, mask), []
        for radius in self.radii:
            places = _places(self.position, pointing, radius, self.offset_max)
            inside = pixels.within(places, radius)
            is_free = ~np.any(inside & ~pixels.outside, axis=1)
            # the position itself should be empty, whatever is known of it
            is_free[:1] = True
            inside = inside[is_free]
            if self.method == "background":
                values = pixels.by_model(inside)
            elif self.method == "ring":
                inner = max(RING["r_in"], radius)
                ring = pixels.within(places[is_free], inner + RING["width"])
                ring &= ~pixels.within(places[is_free], inner)
                values = pixels.by_ring(inside, ring)
            else:
                values = pixels.by_others(inside)
            found.append(np.array(values))
        return found

    def add(self, donor, found):
        """Add what was counted in a run; ``donor`` is the OBS_ID of its donor."""
        self._donors.append(donor)
        for runs, values in zip(self._found, found, strict=True):
            runs.append(values)

    def result(self):
        """Systematic of the runs so far.

        Returns
        -------
        systematic : `LocalSystematic`
            Systematic error for each radius.
        """
        edges = self.energy_edges
        low, high = np.append(edges[0], edges[:-1]), np.append(edges[-1], edges[1:])
        rows = []
        for radius, found in zip(self.radii, self._found, strict=True):
            if not any(len(it[0]) for it in found):
                log.warning(
                    "no run has a circle of radius %s about %s within %s of its "
                    "pointing",
                    *(radius, self.position.to_string("decimal"), self.offset_max),
                )
            for cell in range(len(low)):
                row = {"RADIUS": radius, "ENERGY_MIN": low[cell]}
                row["ENERGY_MAX"] = high[cell]
                values = [np.array([part[:, cell] for part in it]) for it in found]
                rows.append(row | self._row(values))
        return LocalSystematic(QTable(rows), self.method)

    def _row(self, values):
        """Row of the table, from counts, prediction and variance of each run."""
        of_donor = {}
        for it, donor in zip(values, self._donors, strict=True):
            if np.sum(it[1]) > 0:
                of_donor.setdefault(donor, []).append(it)
        kept = [
            runs
            for runs in of_donor.values()
            if sum(m.sum() for _, m, _ in runs) > MIN_PREDICTED
        ]
        n_runs = sum(map(len, kept))
        row = {"N_RUNS": n_runs, "N_DONORS": len(kept)}
        # the position is the first of the places
        here = [float(m[0]) for _, m, _ in values if len(m) and np.isfinite(m[0])]
        row["PREDICTED"] = np.mean(here) if here else np.nan
        if len(kept) < 2:
            return row | dict.fromkeys(NUMBERS, np.nan)
        places = [np.concatenate(runs, axis=1) for runs in kept]
        total, poisson = _scatter(places)
        if self.method == "reflected":
            # places that predict each other are 1 on average, whatever they hold
            places = [sum(it[:, :1] for it in runs) for runs in kept]
        ratio = np.array([n.sum() / m.sum() for n, m, _ in places])
        error = stdtrit(len(kept) - 1, ndtr(1)) * ratio.std(ddof=1) / np.sqrt(len(kept))
        numbers = np.array([total, poisson, *self._freedom(kept)])
        limits = systematic_limits(*numbers[:, np.newaxis])
        row |= {"MEAN": ratio.mean(), "MEAN_ERR": error}
        return row | {name: float(value[0]) for name, value in limits.items()}

    def _freedom(self, kept):
        """Degrees of freedom of the systematic and of Poisson fluctuations.

        The runs of a donor have the same events. The mean ratio takes one place;
        places that predict each other are one fewer in each donor instead.
        """
        by_others = self.method == "reflected"
        number = sum(np.mean([it.shape[1] for it in runs]) for runs in kept)
        number -= by_others * len(kept)
        used = number - (not by_others)
        return len(kept) * used / number, used


def _places(position, pointing, radius, offset_max):
    """Position, and further ones of the same offset whose circles do not overlap."""
    offset = pointing.separation(position)
    if offset + radius > offset_max + 1e-6 * u.deg:
        return SkyCoord([], [], unit="deg")
    number = 1
    if radius < offset:
        # centres are two radii from each other, but for a thousandth
        angle = np.arcsin(np.sin(radius) / np.sin(offset)).to_value("rad")
        number = max(1, int(np.pi / angle + 1e-3))
    turn = np.arange(number) * 360 / number * u.deg
    angle = pointing.position_angle(position)
    return pointing.directional_offset_by(angle + turn, offset)


class _Pixels:
    """Counts and background of the pixels of a run, with sums over sets of pixels."""

    def __init__(self, dataset, mask):
        coords = dataset.counts.geom.to_image().get_coord().skycoord
        self.vectors = coords.cartesian.xyz.value.reshape(3, -1)
        self.outside = mask.data.ravel()
        safe = dataset.mask_safe.data
        n_energy = len(safe)
        self.counts = np.where(safe, dataset.counts.data, 0).reshape(n_energy, -1)
        self.background = None
        if dataset.background is not None:
            background = np.where(safe, dataset.background.data, 0)
            self.background = background.reshape(n_energy, -1)

    def within(self, places, radius):
        """Pixels within a radius of each place, shape (n_places, n_pixels)."""
        vectors = places.cartesian.xyz.value.T.reshape(-1, 3)
        return vectors @ self.vectors > np.cos(radius)

    def by_model(self, inside):
        """Give counts, prediction by the model, and its variance, of each place.

        Shape (n_places, 1 + n_energy). The model is scaled to all counts outside of
        circle and exclusion.
        """
        counts, background = _sum(inside, self.counts), _sum(inside, self.background)
        others = ~inside & self.outside
        found = _sum(others, self.counts)[:, :1]
        expected = _sum(others, self.background)[:, :1]
        with np.errstate(invalid="ignore", divide="ignore"):
            level = found / expected
            variance = found / expected**2
        return counts, background * level, background**2 * variance

    def by_ring(self, inside, ring):
        """Do the same by the counts in a ring outside of the exclusion, by energy."""
        ring = ring & self.outside
        off = _sum(ring, self.counts)[:, 1:]
        with np.errstate(invalid="ignore", divide="ignore"):
            ratio = (
                _sum(inside, self.background)[:, 1:]
                / _sum(ring, self.background)[:, 1:]
            )
        ratio = np.nan_to_num(ratio, posinf=0)
        predicted, variance = _with_total(ratio * off), _with_total(ratio**2 * off)
        return _sum(inside, self.counts), predicted, variance

    def by_others(self, inside):
        """Do the same by the counts of the other places, by area."""
        counts = _sum(inside, self.counts)
        if len(counts) < 2:
            return counts[:0], counts[:0], counts[:0]
        area = inside.sum(axis=1, keepdims=True)
        ratio = area / (area.sum() - area)
        others = counts.sum(axis=0) - counts
        return counts, ratio * others, ratio**2 * others


def _sum(places, data):
    """Sum over the pixels of each place: of all energies, then of each."""
    return _with_total(places.astype(float) @ data.T.astype(float))


def _with_total(values):
    return np.concatenate([values.sum(axis=1, keepdims=True), values], axis=1)


def _scatter(places):
    """Total and Poisson variance of places.

    ``places``: for each donor counts, prediction and its variance, shape (3, n).
    """
    ratio = np.array([n.sum() / m.sum() for n, m, _ in places])
    mean = ratio.mean()
    scale = np.array([np.sum(m**2) for _, m, _ in places])
    square = np.array([np.sum((n - mean * m) ** 2) for n, m, _ in places]) / scale
    poisson = [np.sum(mean * m + mean**2 * v) for _, m, v in places] / scale
    # about the true mean, of which the measured one is wrong by its error
    return square.mean() + ratio.var(ddof=1) / len(places), poisson.mean()
