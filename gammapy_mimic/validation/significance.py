"""How significances are distributed in a sky that should be empty."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import QTable
from astropy.visualization.wcsaxes import WCSAxes
from gammapy.data import Observation
from gammapy.datasets import MapDataset
from gammapy.maps import Map
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from gammapy_mimic.data.seeds import seed_sequence
from gammapy_mimic.io.arguments import RandomState
from gammapy_mimic.io.figures import new_figure
from gammapy_mimic.validation.excess import ExcessMaps
from gammapy_mimic.validation.reduction import reduce_runs
from gammapy_mimic.validation.shown import ShownResult

__all__ = [
    "GlobalSignificance",
    "SignificanceDistribution",
    "empirical_p_value",
    "global_significance",
    "significance_distribution",
]

EDGES = np.linspace(-6, 6, 61)


def empirical_p_value(value: float, others: ArrayLike) -> float:
    """Part of other experiments that reach a value, (k + 1) / (n + 1).

    Parameters
    ----------
    value : float
        Value, such as a significance.
    others : `~numpy.ndarray`
        Values of other experiments; NaN does not count.

    Returns
    -------
    p_value : float
        Never 0 (Davison & Hinkley 1997, Bootstrap Methods, section 4.2); NaN if the
        value is.
    """
    others = np.asarray(others)[np.isfinite(others)]
    if not np.isfinite(value):
        return np.nan
    return float((np.sum(others >= value) + 1) / (len(others) + 1))


@dataclass(frozen=True, repr=False)
class SignificanceDistribution(ShownResult):
    """Distribution of the significances of the pixels of a map.

    Attributes
    ----------
    image : `~gammapy.maps.Map`
        Map of the significances of all energies together; nan where excluded.
    values : list of `~numpy.ndarray`
        Significances (Li & Ma 1983, or the square root of the Cash statistic for a
        known background) of the pixels that are not excluded: of all energies
        together, then of each energy bin.
    table : `~astropy.table.QTable`
        A row for each of them: ENERGY_MIN, ENERGY_MAX, N_PIXELS, MEAN, WIDTH (standard
        deviation), MAX and, if toys were made, MEAN_ERR, WIDTH_ERR (scatter from toy
        to toy), TOY_MEAN, TOY_WIDTH (of pure Poisson counts), MEAN_CAL = MEAN -
        TOY_MEAN, WIDTH_CAL = WIDTH / TOY_WIDTH, which is 1 where there are only
        Poisson fluctuations, however few counts there are, and MAX_P_VALUE, the part
        of the toys whose largest significance reaches MAX, (k + 1) / (n + 1). Energy
        bins below the threshold of all runs have no pixels, and nan.
    toy_maxima : `~numpy.ndarray`
        Largest significance of each toy, shape (n_toys, n_rows).
    """

    values: list = field(repr=False)
    table: QTable
    image: Map = field(repr=False)
    toy_maxima: np.ndarray = field(repr=False)

    def peek(
        self, figsize: tuple = (13, 4.5), *, position: SkyCoord | None = None
    ) -> Figure:
        """Draw the map, and the histograms of all energies and of each energy bin.

        Parameters
        ----------
        figsize : tuple, optional
            Size of the figure in inches. Default is (13, 4.5).
        position : `~astropy.coordinates.SkyCoord`, optional
            Position that is marked in the map. Default is None: none.

        Returns
        -------
        figure : `~matplotlib.figure.Figure`
            Figure.
        """
        figure = new_figure(figsize)
        ax = figure.add_subplot(131, projection=self.image.geom.wcs)
        image = self.image.get_image_by_idx((0,))
        image.plot(ax=ax, fig=figure, cmap="RdBu_r", vmin=-5, vmax=5)
        figure.colorbar(
            ax.images[-1], ax=ax, label="Significance", location="bottom", shrink=0.8
        )
        if position is not None:
            mark_position(ax, position)
        self.plot(figure.add_subplot(132))
        bins = figure.add_subplot(133)
        colors = colormaps["viridis"](np.linspace(0, 0.9, len(self.table) - 1))
        for index, row in enumerate(self.table[1:], start=1):
            if len(self.values[index]):
                low, high = row["ENERGY_MIN"].value, row["ENERGY_MAX"].value
                label = f"{low:.2g} - {high:.2g} {row['ENERGY_MIN'].unit}"
                bins.hist(
                    self.values[index],
                    EDGES,
                    density=True,
                    histtype="step",
                    color=colors[index - 1],
                    label=label,
                )
        _finish(bins)
        return figure

    def plot(self, ax: Axes | None = None, index: int = 0) -> Axes:
        """Draw the histogram with a normal distribution and the measured one.

        Parameters
        ----------
        ax : `~matplotlib.axes.Axes`, optional
            Axes. By default the current ones.
        index : int, optional
            Row of the table. Default is 0, all energies.

        Returns
        -------
        ax : `~matplotlib.axes.Axes`
            Axes.
        """
        import matplotlib.pyplot as plt

        ax = plt.gca() if ax is None else ax
        x = np.linspace(-6, 6, 300)
        row = self.table[index]
        ax.hist(
            self.values[index], EDGES, density=True, histtype="stepfilled", alpha=0.4
        )
        label = f"mean {row['MEAN']:.2f}, width {row['WIDTH']:.2f}"
        ax.plot(x, _gauss(x, row["MEAN"], row["WIDTH"]), "C1", label=label)
        _finish(ax)
        return ax


def _finish(ax):
    """Label axes of a histogram, with the normal distribution for reference."""
    x = np.linspace(-6, 6, 300)
    ax.plot(x, _gauss(x, 0, 1), "k--", label="normal, 0 and 1")
    ax.set_yscale("log")
    ax.set_ylim(1e-4, 1)
    ax.set_xlabel("Significance")
    ax.set_ylabel("Pixels (normalised)")
    # beside the curves, not upon them
    ax.legend(fontsize="small", loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2)


def mark_position(ax: WCSAxes, position: SkyCoord) -> None:
    """Mark a position in a map by a ring that is seen on any colour."""
    place = {"transform": ax.get_transform("icrs"), "marker": "o", "facecolors": "none"}
    lon, lat = position.icrs.ra.deg, position.icrs.dec.deg
    ax.scatter(lon, lat, s=180, edgecolors="white", linewidths=4, **place)
    label = "position of interest"
    ax.scatter(
        lon, lat, s=180, edgecolors="black", linewidths=1.8, label=label, **place
    )
    ax.legend(fontsize="small", loc="lower center", bbox_to_anchor=(0.5, 1))


def _gauss(x, mean, width):
    return np.exp(-0.5 * ((x - mean) / width) ** 2) / (width * np.sqrt(2 * np.pi))


def significance_distribution(
    data: MapDataset | Iterable[Observation],
    *,
    position: SkyCoord | None = None,
    exclusion: Sequence | Map | None = None,
    method: str = "ring",
    correlation_radius: u.Quantity = 0.1 * u.deg,
    ring: dict | None = None,
    n_toys: int = 50,
    random_state: RandomState = 0,
) -> SignificanceDistribution:
    """Significance of each pixel of a sky that should be empty.

    Parameters
    ----------
    data : `~gammapy.datasets.MapDataset` or `~gammapy.data.Observations`
        Counts and predicted background, or runs of which `reduce_runs` makes them.
        Not changed.
    position : `~astropy.coordinates.SkyCoord`, optional
        Centre of the map of the runs; needed for runs only.
    exclusion : list of `~regions.SkyRegion` or `~gammapy.maps.Map`, optional
        Exclusion regions, or a mask that is True outside of them. Pixels in them are
        dropped, and not used for the background. Default is None.
    method : {"ring", "fov"}, optional
        Background from a ring about each pixel with the predicted background as
        acceptance, or the predicted background scaled to the counts in each energy
        bin. Default is "ring".
    correlation_radius : `~astropy.coordinates.Angle`, optional
        Radius of the circle in which counts are summed. Default is 0.1 deg.
    ring : dict, optional
        Arguments ``r_in`` and ``width`` of `~gammapy.makers.RingBackgroundMaker`.
        Default is 0.5 deg and 0.3 deg.
    n_toys : int, optional
        Number of Poisson skies drawn from the scaled predicted background that are
        put through the very same procedure. They give the errors, since neighbouring
        pixels share counts, and the calibration at few counts. Default is 50.
    random_state : None, int, `~numpy.random.SeedSequence` or \
`~numpy.random.Generator`, optional
        Seed of the toys. Default is 0.

    Returns
    -------
    distribution : `SignificanceDistribution`
        Distribution.

    Raises
    ------
    ValueError
        If ``method`` is none of these, ``position`` is missing, or no pixel is left.
    """
    if not isinstance(data, MapDataset):
        if position is None:
            raise ValueError("position = None: runs need the centre of their map")
        data = reduce_runs(data, position, exclusion=exclusion)
    procedure = ExcessMaps(data, exclusion, method, correlation_radius, ring)
    maps = procedure.select(procedure.significances(data.counts.data))
    if not np.isfinite(maps[0]).any():
        raise ValueError(
            "no pixel is left outside of the exclusion regions in which runs have "
            "counts and predicted background: take lower or wider energies, more or "
            "longer runs, or smaller exclusion regions"
        )
    rng = np.random.default_rng(seed_sequence(random_state))
    parts = [_moments(it) for it in procedure.toys(n_toys, rng)]
    toys = np.concatenate([np.zeros((3, 0, len(maps))), *parts], axis=1)
    image = Map.from_geom(data.counts.geom.squash("energy"), data=maps[:1])
    values = [it[np.isfinite(it)] for it in maps]
    table = _table(procedure.energy_edges, values, _moments(maps), toys)
    return SignificanceDistribution(values, table, image, toys[2])


def _table(edges, values, moments, toys):
    table = QTable()
    table["ENERGY_MIN"] = np.append(edges[0], edges[:-1])
    table["ENERGY_MAX"] = np.append(edges[-1], edges[1:])
    table["N_PIXELS"] = [len(value) for value in values]
    table["MEAN"], table["WIDTH"], table["MAX"] = moments
    if toys.shape[1]:
        for number, name in enumerate(("MEAN", "WIDTH")):
            table[f"{name}_ERR"] = toys[number].std(axis=0)
            table[f"TOY_{name}"] = toys[number].mean(axis=0)
        table["MEAN_CAL"] = table["MEAN"] - table["TOY_MEAN"]
        table["WIDTH_CAL"] = table["WIDTH"] / table["TOY_WIDTH"]
        pairs = zip(table["MAX"], toys[2].T, strict=True)
        table["MAX_P_VALUE"] = [empirical_p_value(*pair) for pair in pairs]
    return table


def _moments(maps):
    """Mean, standard deviation and maximum of each map; NaN if it has no pixels."""
    found, axes = np.isfinite(maps), (-2, -1)
    number = found.sum(axis=axes)
    values = np.where(found, maps, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = values.sum(axis=axes) / number
        residual = np.where(found, values - mean[..., np.newaxis, np.newaxis], 0)
        width = np.sqrt((residual**2).sum(axis=axes) / number)
    largest = np.where(found, maps, -np.inf).max(axis=axes)
    return np.array([mean, width, np.where(number > 0, largest, np.nan)])


@dataclass(frozen=True, repr=False)
class GlobalSignificance(ShownResult):
    """Largest significance of a map, with all places at which it could have been.

    Attributes
    ----------
    maximum : float
        Largest significance of the map, of all energies together.
    position : `~astropy.coordinates.SkyCoord`
        Where it is.
    toy_maxima : `~numpy.ndarray`
        Largest significance of each toy of the map: Poisson fluctuations alone.
    mimic_maxima : `~numpy.ndarray`
        Largest significance of the map of each mimic set: systematics included.
    """

    maximum: float
    position: SkyCoord
    toy_maxima: np.ndarray = field(repr=False)
    mimic_maxima: np.ndarray

    @property
    def p_value(self) -> float:
        """Global p-value by the toys, (k + 1) / (n + 1)."""
        return empirical_p_value(self.maximum, self.toy_maxima)

    @property
    def p_value_mimics(self) -> float:
        """Global p-value by the mimic sets, (k + 1) / (n + 1)."""
        return empirical_p_value(self.maximum, self.mimic_maxima)


def global_significance(
    distribution: SignificanceDistribution,
    mimics: Iterable[SignificanceDistribution] = (),
) -> GlobalSignificance:
    """Largest significance of a map against toys and mimic maps (look-elsewhere).

    Parameters
    ----------
    distribution : `SignificanceDistribution`
        Of the map, with toys.
    mimics : sequence of `SignificanceDistribution`, optional
        Of the mimic sets, made in the same way. Default is none.

    Returns
    -------
    significance : `GlobalSignificance`
        Global significance.
    """
    image = distribution.image.get_image_by_idx((0,))
    largest = np.unravel_index(np.nanargmax(image.data), image.data.shape)
    position = image.geom.pix_to_coord(largest[::-1])
    return GlobalSignificance(
        float(image.data[largest]),
        SkyCoord(*position, frame=image.geom.frame),
        distribution.toy_maxima[:, 0],
        np.array([float(it.table["MAX"][0]) for it in mimics]),
    )
