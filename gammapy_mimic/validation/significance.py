"""How significances are distributed in a sky that should be empty."""

import warnings
from dataclasses import dataclass, field

import numpy as np
from astropy import units as u
from astropy.table import QTable
from gammapy.datasets import MapDataset
from gammapy.estimators import ExcessMapEstimator
from gammapy.makers import RingBackgroundMaker
from gammapy.maps import Map
from matplotlib.figure import Figure

from gammapy_mimic.data.seeds import seed_sequence
from gammapy_mimic.validation.reduction import exclusion_mask, reduce_runs

__all__ = [
    "SignificanceDistribution",
    "TargetSignificance",
    "significance_distribution",
    "target_significance",
]

METHODS = ("ring", "fov")
EDGES = np.linspace(-6, 6, 61)
RING = {"r_in": 0.5 * u.deg, "width": 0.3 * u.deg}


@dataclass(frozen=True)
class SignificanceDistribution:
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
        deviation) and, if toys were made, MEAN_ERR, WIDTH_ERR (scatter from toy to
        toy), TOY_MEAN, TOY_WIDTH (of pure Poisson counts), MEAN_CAL = MEAN - TOY_MEAN
        and WIDTH_CAL = WIDTH / TOY_WIDTH, which is 1 where there are only Poisson
        fluctuations, however few counts there are. Energy bins below the threshold
        of all runs have no pixels, and nan.
    """

    values: list = field(repr=False)
    table: QTable
    image: Map = field(repr=False)

    def peek(self, figsize=(13, 4.5)):
        """Draw the map, and the histograms of all energies and of each energy bin.

        Parameters
        ----------
        figsize : tuple, optional
            Size of the figure in inches. Default is (13, 4.5).

        Returns
        -------
        figure : `~matplotlib.figure.Figure`
            Figure.
        """
        figure = Figure(figsize=figsize, layout="constrained")
        ax = figure.add_subplot(131, projection=self.image.geom.wcs)
        self.image.get_image_by_idx((0,)).plot(
            ax=ax, fig=ax.figure, cmap="RdBu_r", vmin=-5, vmax=5
        )
        figure.colorbar(ax.images[-1], ax=ax, label="Significance")
        self.plot(figure.add_subplot(132))
        bins = figure.add_subplot(133)
        for index, row in enumerate(self.table[1:], start=1):
            if len(self.values[index]):
                low, high = row["ENERGY_MIN"].value, row["ENERGY_MAX"].value
                label = f"{low:.2g} - {high:.2g} {row['ENERGY_MIN'].unit}"
                bins.hist(
                    self.values[index],
                    EDGES,
                    density=True,
                    histtype="step",
                    label=label,
                )
        bins.set_yscale("log")
        bins.set_ylim(1e-4, 1)
        bins.set_xlabel("Significance")
        bins.legend(fontsize="x-small", loc="lower center")
        return figure

    def plot(self, ax=None, index=0):
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
        ax.plot(x, _gauss(x, 0, 1), "k--", label="N(0, 1)")
        label = f"mean {row['MEAN']:.2f}, width {row['WIDTH']:.2f}"
        ax.plot(x, _gauss(x, row["MEAN"], row["WIDTH"]), "C1", label=label)
        ax.set_yscale("log")
        ax.set_ylim(1e-4, 1)
        ax.set_xlabel("Significance")
        ax.legend(loc="lower center")
        return ax


def _gauss(x, mean, width):
    return np.exp(-0.5 * ((x - mean) / width) ** 2) / (width * np.sqrt(2 * np.pi))


def significance_distribution(
    data,
    *,
    position=None,
    exclusion=None,
    method="ring",
    correlation_radius=0.1 * u.deg,
    ring=None,
    n_toys=50,
    random_state=0,
):
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
    analysis = _Analysis(data, exclusion, method, correlation_radius, ring)
    values = analysis.significances(data.counts.data)
    if len(values[0]) == 0:
        raise ValueError(
            "no pixel is left outside of the exclusion regions in which runs have "
            "counts and predicted background"
        )
    rng = np.random.default_rng(seed_sequence(random_state))
    toys = []
    for _ in range(n_toys):
        toy = analysis.significances(rng.poisson(analysis.model))
        toys.append([_moments(value) for value in toy])
    image = analysis.maps(data.counts.data)[0]
    image.data = np.where(analysis.used.any(axis=0), image.data, np.nan)
    table = _table(analysis, values, np.array(toys))
    return SignificanceDistribution(values, table, image)


def _table(analysis, values, toys):
    edges = analysis.energy_edges
    table = QTable()
    table["ENERGY_MIN"] = np.append(edges[0], edges[:-1])
    table["ENERGY_MAX"] = np.append(edges[-1], edges[1:])
    table["N_PIXELS"] = [len(value) for value in values]
    table["MEAN"], table["WIDTH"] = np.transpose([_moments(it) for it in values])
    if len(toys):
        for number, name in enumerate(("MEAN", "WIDTH")):
            table[f"{name}_ERR"] = toys[:, :, number].std(axis=0)
            table[f"TOY_{name}"] = toys[:, :, number].mean(axis=0)
        table["MEAN_CAL"] = table["MEAN"] - table["TOY_MEAN"]
        table["WIDTH_CAL"] = table["WIDTH"] / table["TOY_WIDTH"]
    return table


def _moments(values):
    return (values.mean(), values.std()) if len(values) else (np.nan, np.nan)


class _Analysis:
    """Procedure that turns counts into significances, for data and toys alike."""

    def __init__(self, dataset, exclusion, method, correlation_radius, ring):
        if method not in METHODS:
            raise ValueError(f"method = {method!r}: must be one of {METHODS}")
        self.dataset, self.method = dataset, method
        self.mask = exclusion_mask(dataset.counts.geom, exclusion)
        self.energy_edges = dataset.counts.geom.axes["energy"].edges
        self.ring = RingBackgroundMaker(
            exclusion_mask=self.mask, **(RING if ring is None else ring)
        )
        edges = self.energy_edges
        self.estimators = [
            ExcessMapEstimator(
                correlation_radius, energy_edges=bins, selection_optional=[]
            )
            for bins in (edges[[0, -1]], edges)
        ]
        self.used = dataset.mask_safe.data & self.mask.data
        self.model = self._scaled(dataset.counts.data)

    def _scaled(self, counts):
        """Background scaled to the counts outside of the exclusion, by energy."""
        background = self.dataset.background.data
        axes = (1, 2)
        total = np.where(self.used, background, 0).sum(axis=axes, keepdims=True)
        found = np.where(self.used, counts, 0).sum(axis=axes, keepdims=True)
        norm = np.divide(found, total, out=np.zeros(total.shape), where=total > 0)
        return np.where(self.dataset.mask_safe.data, background * norm, 0)

    def maps(self, counts):
        """Significance maps of all energies together, and by energy."""
        dataset = self.dataset.copy(name="significance")
        dataset.counts.data = np.where(dataset.mask_safe.data, counts, 0).astype(float)
        if self.method == "ring":
            dataset = self.ring.run(dataset)
        else:
            dataset.background.data = self._scaled(counts)
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            # pixels without counts or background: they come out as nan, and go
            warnings.simplefilter("ignore", RuntimeWarning)
            return [it.run(dataset)["sqrt_ts"] for it in self.estimators]

    def significances(self, counts):
        """Significances of the pixels that are used."""
        total, by_energy = (found.data for found in self.maps(counts))
        used = [self.used.any(axis=0), *self.used]
        return [
            image[mask & np.isfinite(image)]
            for image, mask in zip([*total, *by_energy], used, strict=True)
        ]


@dataclass(frozen=True)
class TargetSignificance:
    """Significance at one position in many mimic sets, and perhaps in the target.

    Attributes
    ----------
    mimics : `~numpy.ndarray`
        Significance in each mimic set.
    target : float or None
        Significance in the target; None unless it was given.
    p_value : float or None
        Part of the mimic sets that reach the target, (n + 1) / (N + 1): never 0
        (Davison & Hinkley 1997, Bootstrap Methods, section 4.2). Mimic sets without
        data there (nan) do not count; nan for targets without data there.
    p_value_error : float or None
        Its binomial error.
    """

    mimics: np.ndarray
    target: float | None = None

    def plot(self, ax):
        """Draw the mimic sets, and the target as a line if it was given.

        Parameters
        ----------
        ax : `~matplotlib.axes.Axes`
            Axes.

        Returns
        -------
        ax : `~matplotlib.axes.Axes`
            Axes.
        """
        ax.hist(self.mimics, np.arange(-5, 5.5, 0.5), label="mimic sets")
        if self.target is not None:
            ax.axvline(self.target, color="C3", label=f"targets: {self.target:.1f}")
        ax.set_xlabel("Significance at the position")
        ax.set_ylabel("Mimic sets")
        ax.legend()
        return ax

    def peek(self, figsize=(6, 3.5)):
        """Draw the mimic sets, and the target if it was given, in a new figure."""
        figure = Figure(figsize=figsize, layout="constrained")
        self.plot(figure.add_subplot())
        return figure

    @property
    def p_value(self):
        """Empirical p-value of the target."""
        if self.target is None:
            return None
        if not np.isfinite(self.target):
            return np.nan
        return (np.sum(self.mimics >= self.target) + 1) / (self._number + 1)

    @property
    def p_value_error(self):
        """Binomial error of the p-value."""
        if self.target is None:
            return None
        return np.sqrt(self.p_value * (1 - self.p_value) / (self._number + 1))

    @property
    def _number(self):
        """Number of mimic sets with data at the position."""
        return int(np.isfinite(self.mimics).sum())


def target_significance(
    mimics,
    position,
    *,
    target=None,
    on_radius=0.1 * u.deg,
    exclusion=None,
    method="ring",
    ring=None,
):
    """Significance at a position in mimic sets, and in the target if it is given.

    Parameters
    ----------
    mimics : list of `~gammapy.datasets.MapDataset`
        One data set for each mimic set, see `reduce_runs`.
    position : `~astropy.coordinates.SkyCoord`
        Position.
    target : `~gammapy.datasets.MapDataset`, optional
        Data set of the target. Default is None: the analysis stays blind.
    on_radius : `~astropy.coordinates.Angle`, optional
        Radius of the circle in which counts are summed. Default is 0.1 deg.
    exclusion, method, ring : optional
        See `significance_distribution`.

    Returns
    -------
    significance : `TargetSignificance`
        Of all energies together.
    """
    found = []
    for dataset in [*mimics, *([] if target is None else [target])]:
        analysis = _Analysis(dataset, exclusion, method, on_radius, ring)
        total = analysis.maps(dataset.counts.data)[0]
        found.append(
            float(total.get_by_coord((position, total.geom.axes[0].center))[0])
        )
    if target is None:
        return TargetSignificance(np.array(found))
    return TargetSignificance(np.array(found[:-1]), found[-1])
