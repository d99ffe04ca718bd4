"""The systematic error of a background model, as mimics show it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.table import QTable
from gammapy.maps import MapAxis, WcsGeom
from gammapy.modeling.models import FoVBackgroundModel, GaussianPrior
from matplotlib.figure import Figure

from gammapy_mimic.data.compat import read_once
from gammapy_mimic.io.ecsv import read_ecsv, write_ecsv
from gammapy_mimic.io.files import error_context
from gammapy_mimic.validation.reduction import (
    ENERGY_EDGES,
    OFFSET_MAX,
    exclusion_mask,
    reduce_run,
)

__all__ = ["BackgroundSystematic", "background_systematic"]

MIN_PREDICTED = 5.0
"""Predicted counts below which a bin of a run is left out."""


@dataclass(frozen=True)
class BackgroundSystematic:
    """Counts over predicted background of many runs that should be empty.

    Attributes
    ----------
    table : `~astropy.table.QTable`
        First a row for the level of the whole field, then one for each energy and
        offset bin: ENERGY_MIN, ENERGY_MAX, OFFSET_MIN, OFFSET_MAX, N_RUNS; MEAN of
        counts / prediction and its error MEAN_ERR; RMS of its scatter, POISSON (what
        of it is Poisson fluctuation) and the intrinsic SYSTEMATIC = sqrt(max(0, RMS^2
        - POISSON^2)) with its error SYSTEMATIC_ERR. In the rows of bins counts /
        prediction is divided by the level of its run: they tell about the shape.
    correlation : `~numpy.ndarray`
        Correlation from run to run between the bins, in the order of the rows
        without the first, shape (n, n).
    tilt : tuple of float
        Mean and intrinsic scatter of the spectral tilt of counts / prediction.
    """

    table: QTable
    correlation: np.ndarray
    tilt: tuple

    def plot(self, ax):
        """Draw mean and systematic of the whole field and of each bin.

        Parameters
        ----------
        ax : `~matplotlib.axes.Axes`
            Axes.

        Returns
        -------
        ax : `~matplotlib.axes.Axes`
            Axes.
        """
        table, x = self.table, np.arange(len(self.table))
        mean, band = table["MEAN"], table["SYSTEMATIC"]
        ax.bar(x, 2 * band, 0.6, bottom=mean - band, alpha=0.3, label="systematic")
        ax.errorbar(x, mean, table["MEAN_ERR"], fmt="ko", label="mean")
        ax.axhline(1, color="gray", lw=0.8)
        ax.use_sticky_edges = False
        ax.margins(y=0.1)
        edges = zip(table["ENERGY_MIN"], table["ENERGY_MAX"], strict=True)
        labels = [f"{low.value:.2g} - {high.value:.2g}" for low, high in edges]
        ax.set_xticks(x, ["all", *labels[1:]], rotation=45)
        ax.set_xlabel(f"Energy [{table['ENERGY_MIN'].unit}]")
        ax.set_ylabel("Counts / prediction")
        ax.legend()
        return ax

    def peek(self, figsize=(12, 4.5)):
        """Draw the table, and the correlation between its bins, in a new figure."""
        figure = Figure(figsize=figsize, layout="constrained", dpi=90)
        self.plot(figure.add_subplot(1, 3, (1, 2)))
        ax = figure.add_subplot(133)
        image = ax.imshow(self.correlation, cmap="RdBu_r", vmin=-1, vmax=1)
        bins = range(1, len(self.table))
        ax.set_xticks(range(len(bins)), bins)
        ax.set_yticks(range(len(bins)), bins)
        ax.set_xlabel("Bin")
        figure.colorbar(image, ax=ax, label="Correlation between bins")
        return figure

    def write(self, path, *, overwrite=False):
        """Write the table to an ECSV file, with correlation and tilt in its metadata.

        Parameters
        ----------
        path : str or `~pathlib.Path`
            File.
        overwrite : bool, optional
            Replace an existing file. Default is False.

        Raises
        ------
        FileExistsError
            If the file exists and ``overwrite`` is False.
        """
        path = Path(path)
        if path.exists() and not overwrite:
            raise FileExistsError(f"{path} exists; use overwrite=True")
        table = self.table.copy()
        table.meta["correlation"] = self.correlation.tolist()
        table.meta["tilt"] = [float(value) for value in self.tilt]
        write_ecsv(table, path)

    @classmethod
    def read(cls, path):
        """Read what `write` has written.

        Parameters
        ----------
        path : str or `~pathlib.Path`
            File.

        Returns
        -------
        systematic : `BackgroundSystematic`
            Systematic.

        Raises
        ------
        OSError
            If the file cannot be opened.
        ValueError
            If it holds something else.
        """
        table = read_ecsv(path, QTable)
        with error_context(f"{path}: systematic error of the background"):
            correlation = np.array(table.meta.pop("correlation"))
            tilt = tuple(table.meta.pop("tilt"))
        return cls(table, correlation, tilt)

    def to_model(self, dataset_name):
        """Background model with priors on its norm and its tilt.

        Parameters
        ----------
        dataset_name : str
            Name of the data set to which it belongs.

        Returns
        -------
        model : `~gammapy.modeling.models.FoVBackgroundModel`
            Its ``norm`` has a Gaussian prior with the MEAN and SYSTEMATIC of the
            whole field, its ``tilt`` one with those of the tilt. Both start there.
        """
        model = FoVBackgroundModel(dataset_name=dataset_name)
        level = float(self.table["MEAN"][0]), float(self.table["SYSTEMATIC"][0])
        for name, (mean, sigma) in (("norm", level), ("tilt", self.tilt)):
            parameter = model.spectral_model.parameters[name]
            parameter.value = mean
            # without any scatter there is nothing to fit
            parameter.frozen = sigma == 0
            if sigma > 0:
                parameter.prior = GaussianPrior(mu=mean, sigma=sigma)
        return model


def background_systematic(
    observations,
    *,
    energy_edges=ENERGY_EDGES,
    offset_edges=None,
    exclusion=None,
):
    r"""Measure the systematic error of the background models of empty runs.

    With the ratio r of counts and prediction :math:`\mu` of n runs,

    .. math::
        \sigma^2_{sys} = \max\left(0,\; \mathrm{Var}(r) -
        \left\langle \bar r / \mu \right\rangle\right)

    where the second term is the mean Poisson variance; for a bin that holds a part f of
    its run, whose level is taken out, it is smaller by 1 - f. The error of the
    variance is :math:`\mathrm{Var}(r) \sqrt{2 / (n - 1)}`.

    Parameters
    ----------
    observations : iterable of `~gammapy.data.Observation`
        Runs that should be empty, such as all mimics of all sets. One at a time is
        held.
    energy_edges : `~astropy.units.Quantity`, optional
        Edges of the energy bins. Default is 0.5, 0.8, 1.3, 2.1, 3.4, 20 TeV.
    offset_edges : `~astropy.units.Quantity`, optional
        Edges of the offset bins. Default is 0 and 2 deg.
    exclusion : list of `~regions.SkyRegion`, optional
        Regions to leave out. Default is None.

    Returns
    -------
    systematic : `BackgroundSystematic`
        Systematic error.

    Raises
    ------
    ValueError
        If there are fewer than two runs, or fewer than two that have counts and a
        predicted background of more than 5 counts, or one has no background model.

    Notes
    -----
    The errors take the runs as independent. Mimics that share a donor are not: give
    each donor once, or take the errors as too small.
    """
    offset_edges = (
        [0, OFFSET_MAX.value] * u.deg if offset_edges is None else offset_edges
    )
    counts, predicted = [], []
    for observation in observations:
        found = _binned(observation, energy_edges, offset_edges, exclusion)
        counts.append(found[0])
        predicted.append(found[1])
    if len(counts) < 2:
        raise ValueError(
            f"{len(counts)} runs given: the scatter needs at least two, and a useful "
            "one some ten"
        )
    counts, predicted = np.array(counts), np.array(predicted)
    level = _level(counts, predicted)
    is_useful = (level[1] > MIN_PREDICTED) & (level[0] > 0)
    if is_useful.sum() < 2:
        raise ValueError(
            f"{is_useful.sum()} of {len(counts)} runs have counts and a predicted "
            f"background of more than {MIN_PREDICTED:g} counts: the scatter needs at "
            "least two; take longer runs, lower energies or larger offsets"
        )
    rows = [_row(*level, (energy_edges[[0, -1]], offset_edges[[0, -1]]))]
    counts, predicted = counts[is_useful], predicted[is_useful]
    norm = (level[0] / level[1].clip(min=MIN_PREDICTED))[is_useful]
    shape = counts / norm[:, np.newaxis, np.newaxis]
    for energy in range(len(energy_edges) - 1):
        for offset in range(len(offset_edges) - 1):
            edges = (
                energy_edges[[energy, energy + 1]],
                offset_edges[[offset, offset + 1]],
            )
            cell = np.s_[:, energy, offset]
            share = predicted[cell] / predicted.sum(axis=(1, 2))
            rows.append(_row(shape[cell], predicted[cell], edges, norm, share))
    return BackgroundSystematic(
        QTable(rows),
        _correlation(shape, predicted),
        _tilt(shape, predicted, energy_edges),
    )


def _binned(observation, energy_edges, offset_edges, exclusion):
    """Sum counts and prediction of a run, by energy and offset."""
    # errors name the file
    observation = read_once(observation)
    pointing = observation.get_pointing_icrs(observation.tmid)
    geom = WcsGeom.create(
        skydir=pointing.icrs,
        width=2 * offset_edges[-1],
        binsz=0.1,
        axes=[MapAxis.from_energy_edges(energy_edges)],
        proj="TAN",
    )
    dataset = reduce_run(observation, geom, offset_max=offset_edges[-1])
    used = dataset.mask_safe.data & exclusion_mask(geom, exclusion).data
    image = geom.to_image()
    offset = image.separation(pointing.icrs).to_value("deg")
    number = np.digitize(offset, offset_edges.to_value("deg")) - 1
    found = []
    for data in (dataset.counts.data, dataset.background.data):
        data = np.where(used, data, 0)
        cells = [data[:, number == k].sum(axis=1) for k in range(len(offset_edges) - 1)]
        found.append(np.stack(cells, axis=1))
    return found


def _level(counts, predicted):
    """Sum counts and prediction of each run over all bins."""
    return counts.sum(axis=(1, 2)), predicted.sum(axis=(1, 2))


def _row(counts, predicted, edges, norm=None, share=None):
    """Row of the table.

    ``norm`` is what the counts were divided by: the level of each run, in which the
    bin itself has a ``share``.
    """
    used = predicted > MIN_PREDICTED
    ratio, number = counts[used] / predicted[used], int(used.sum())
    norm = np.ones(len(counts)) if norm is None else norm
    share = np.zeros(len(counts)) if share is None else share
    nan = float("nan")
    row = {"N_RUNS": number, "MEAN": nan, "MEAN_ERR": nan, "RMS": nan}
    row |= {"POISSON": nan, "SYSTEMATIC": nan, "SYSTEMATIC_ERR": nan}
    if number > 1:
        mean, variance = ratio.mean(), ratio.var(ddof=1)
        # of n = norm * ratio * predicted counts; multinomial if their sum is given
        poisson = np.mean(mean * (1 - share[used]) / (norm[used] * predicted[used]))
        systematic = np.sqrt(max(0, variance - poisson))
        error = max(variance, poisson) * np.sqrt(2 / (number - 1))
        row |= {
            "MEAN": mean,
            "MEAN_ERR": np.sqrt(variance / number),
            "RMS": np.sqrt(variance),
            "POISSON": np.sqrt(poisson),
            "SYSTEMATIC": systematic,
            # of a systematic that is not seen the error is that of its square
            "SYSTEMATIC_ERR": min(error / (2 * max(systematic, 1e-9)), np.sqrt(error)),
        }
    energy, offset = edges
    limits = {"ENERGY_MIN": energy[0], "ENERGY_MAX": energy[1]}
    return limits | {"OFFSET_MIN": offset[0], "OFFSET_MAX": offset[1]} | row


def _correlation(shape, predicted):
    """Correlation of the ratios between bins, from the runs that have both."""
    n_runs = len(shape)
    with np.errstate(all="ignore"):
        ratio = np.where(predicted > MIN_PREDICTED, shape / predicted, np.nan)
    ratio = np.ma.masked_invalid(ratio.reshape(n_runs, -1))
    # of a single bin it is no matrix
    return np.atleast_2d(np.ma.filled(np.ma.corrcoef(ratio, rowvar=False), np.nan))


def _tilt(shape, predicted, energy_edges):
    """Mean and intrinsic scatter of -d ln(ratio) / d ln(energy)."""
    center = np.sqrt(energy_edges[1:] * energy_edges[:-1]).to_value("TeV")
    found, variances = [], []
    for counts, expected in zip(shape.sum(axis=2), predicted.sum(axis=2), strict=True):
        used = (expected > MIN_PREDICTED) & (counts > 0)
        if used.sum() < 2:
            continue
        x, weight = np.log(center[used]), expected[used]
        y = np.log(counts[used] / expected[used])
        x = x - np.average(x, weights=weight)
        spread = np.sum(weight * x**2)
        found.append(-np.sum(weight * x * y) / spread)
        variances.append(1 / spread)
    if len(found) < 2:
        return 0.0, 0.0
    intrinsic = np.var(found, ddof=1) - np.mean(variances)
    return float(np.mean(found)), float(np.sqrt(max(0, intrinsic)))
