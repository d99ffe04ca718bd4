"""The systematic error of a background model, as mimics show it."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from astropy import units as u
from astropy.table import QTable
from gammapy.data import Observation
from gammapy.maps import Map
from gammapy.modeling.models import FoVBackgroundModel
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from gammapy_mimic.data.compat import read_once
from gammapy_mimic.io.arguments import check_edges, check_flag
from gammapy_mimic.io.ecsv import read_ecsv, write_ecsv
from gammapy_mimic.io.files import error_context
from gammapy_mimic.validation.background_prior import binwise_model, norm_tilt_model
from gammapy_mimic.validation.reduction import (
    ENERGY_EDGES,
    OFFSET_MAX,
    donor_of,
)
from gammapy_mimic.validation.shown import ShownResult
from gammapy_mimic.validation.statistics import (
    MIN_PREDICTED,
    donor_ratios,
    jackknife_error,
    systematic_correlation,
    systematic_covariance,
)
from gammapy_mimic.validation.systematic_figure import peek_systematic, plot_systematic
from gammapy_mimic.validation.systematic_table import (
    Tilt,
    checked_counts,
    count_run,
    left_out_runs,
    level_and_shape,
    measure_tilt,
    require_donors,
    sums,
    systematic_table,
)

__all__ = ["BackgroundSystematic", "background_systematic"]


@dataclass(frozen=True, repr=False)
class BackgroundSystematic(ShownResult):
    """Counts over predicted background of many runs that should be empty.

    Donors are the experiments: the mimics of one have the same events, and all of its
    runs together give one ratio.

    Attributes
    ----------
    table : `~astropy.table.QTable`
        First a row for the whole field, then one for each bin of energy (and offset):
        ENERGY_MIN, ENERGY_MAX (OFFSET_MIN, OFFSET_MAX); N_RUNS and N_DONORS that are
        used; PREDICTED counts of a run on average; MEAN of counts / prediction and its
        error MEAN_ERR (68 %); RMS of its scatter from donor to donor, POISSON (what of
        it is Poisson fluctuation) and the SYSTEMATIC that is left, with its error
        SYSTEMATIC_ERR (68 %) and its upper limit SYSTEMATIC_UL (95 %); LEFT_OUT, the
        runs that are not used. A SYSTEMATIC that does not exceed its error is not seen:
        then the upper limit is the result.
    correlation : `~numpy.ndarray`
        Correlation of the systematic between the bins, as far as it is seen, in the
        order of the rows without the first, shape (n, n).
    tilt : named tuple
        Spectral tilt.
    correlation_err, covariance_err : `~numpy.ndarray`
        Errors of correlation and covariance, from leaving out one donor at a time.
    """

    table: QTable
    correlation: np.ndarray
    tilt: Tilt
    correlation_err: np.ndarray
    covariance_err: np.ndarray

    @classmethod
    def from_counts(
        cls,
        counts: np.ndarray,
        predicted: np.ndarray,
        donors: ArrayLike,
        *,
        energy_edges: u.Quantity,
        offset_edges: u.Quantity | None = None,
        predicted_variance: np.ndarray | None = None,
        obs_ids: ArrayLike | None = None,
        shared: ArrayLike | None = None,
    ) -> "BackgroundSystematic":
        r"""Measure on counts and prediction of runs.

        With the ratio :math:`r = \sum n / \sum m` over the runs of a donor, K donors
        and the mean Poisson variance P of a ratio,

        .. math::
            S = C - P, \quad C = \mathrm{cov}(r), \quad
            P = \left\langle \frac{\bar r}{m} + \frac{\bar r^2 v}{m^2} \right\rangle .

        Parameters
        ----------
        counts, predicted : `~numpy.ndarray`
            Counts and predicted background, shape (n_runs, n_energy) or (n_runs,
            n_energy, n_offset). A bin of a run in which no more than 5 counts are
            predicted is not used, nor is a run without any counts.
        donors : array-like
            Donor of each run, shape (n_runs,).
        energy_edges : `~astropy.units.Quantity`
            Edges of the energy bins.
        offset_edges : `~astropy.units.Quantity`, optional
            Edges of the offset bins. Default is None: no bins of offset.
        predicted_variance : `~numpy.ndarray`, optional
            Variance of a prediction that is counted itself. Default is None: 0.
        obs_ids : array-like, optional
            Names of the runs, shape (n_runs,). Default is those of the donors.
        shared : array-like, optional
            Mean number of its donor's runs in which an event is, over their number,
            shape (n_runs,). Default is None: 1, all the same events.

        Returns
        -------
        systematic : `BackgroundSystematic`
            Systematic error.

        Raises
        ------
        ValueError
            If the shapes do not fit, a number is negative or not finite, edges do not
            increase, or fewer than two donors are used.
        TypeError
            If edges have no unit of energy or angle.
        """
        edges = _checked_edges(energy_edges, offset_edges)
        donors = np.asarray(donors)
        data = checked_counts(counts, predicted, predicted_variance, donors, *edges)
        field, by_energy, bins = (
            donor_ratios(n, m, donors, predicted_variance=v, shared=shared)
            for n, m, v in zip(*(sums(it) for it in data), strict=True)
        )
        used = np.concatenate(sums(data[1])[::2], axis=1) > MIN_PREDICTED
        require_donors(field, used[:, 0])
        table = systematic_table(field, bins, *edges)
        names = donors if obs_ids is None else np.asarray(obs_ids)
        table["LEFT_OUT"] = left_out_runs(table, used, names)
        return cls(
            table,
            systematic_correlation(bins),
            measure_tilt(by_energy, edges[0]),
            jackknife_error(systematic_correlation, bins),
            jackknife_error(systematic_covariance, bins),
        )

    @property
    def covariance(self) -> np.ndarray:
        """Covariance of the systematic between the bins, positive semidefinite.

        On the diagonal are the squares of SYSTEMATIC, shape (n, n).
        """
        sigma = np.array(self.table["SYSTEMATIC"][1:])
        return self.correlation * np.outer(sigma, sigma)

    @property
    def level(self) -> float:
        """Systematic of the level of the whole field, from the covariance."""
        return level_and_shape(self.table, self.covariance)[0]

    @property
    def shape(self) -> np.ndarray:
        """Systematic of each bin relative to the level, from the covariance."""
        return level_and_shape(self.table, self.covariance)[1]

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw mean and systematic of the whole field and of each bin.

        Parameters
        ----------
        ax : `~matplotlib.axes.Axes`, optional
            Axes. Default is those of pyplot.

        Returns
        -------
        ax : `~matplotlib.axes.Axes`
            Axes. A systematic that is not seen is drawn as its upper limit, unfilled.
        """
        ax = plt.gca() if ax is None else ax
        return plot_systematic(self.table, ax)

    def peek(self, figsize: tuple[float, float] = (12, 4.5)) -> Figure:
        """Draw the table, and the correlation between its bins, in a new figure."""
        return peek_systematic(self, figsize)

    def write(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Write the table to an ECSV file, with all else in its metadata.

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
        if not check_flag("overwrite", overwrite) and path.exists():
            raise FileExistsError(f"{path} exists; use overwrite=True")
        table = self.table.copy()
        for name in ("correlation", "correlation_err", "covariance_err"):
            table.meta[name] = getattr(self, name).tolist()
        table.meta["tilt"] = [float(value) for value in self.tilt]
        write_ecsv(table, path)

    @classmethod
    def read(cls, path: str | Path) -> "BackgroundSystematic":
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
            tilt = Tilt(*table.meta.pop("tilt"))
            matrices = {
                name: np.array(table.meta.pop(name))
                for name in ("correlation", "correlation_err", "covariance_err")
            }
        return cls(table=table, tilt=tilt, **matrices)

    def to_model(
        self,
        dataset_name: str,
        kind: str = "norm-tilt",
        n_donors_stacked: int = 1,
        n_runs: int = 1,
    ) -> FoVBackgroundModel:
        r"""Make a background model whose priors are what the mimics show.

        Of a norm with the mean MEAN the variance is

        .. math::
            \sigma^2 = \mathtt{SYSTEMATIC}^2 / n + \mathtt{MEAN\_ERR}^2

        for a stack of n independent runs, with SYSTEMATIC_UL for a systematic that is
        not seen (does not exceed its error).

        Parameters
        ----------
        dataset_name : str
            Name of the data set to which it belongs.
        kind : {"norm-tilt", "binwise"}, optional
            "norm-tilt" (default): a power law with a normal prior on its norm, that of
            the whole field, and one on its tilt, at the mean energy of the predicted
            counts. "binwise": a norm in each energy bin, whose covariance is the
            prior (`PrincipalComponentsNormSpectralModel`).
        n_donors_stacked : int, optional
            Independent donors of the data set, where its runs share them. Default is
            1: all its runs are independent.
        n_runs : int, optional
            Runs that are stacked in the data set. Default is 1.

        Returns
        -------
        model : `~gammapy.modeling.models.FoVBackgroundModel`
            Background model, which starts at the means.

        Raises
        ------
        ValueError
            If ``kind`` is unknown or a number is not positive.
        """
        given = f"n_runs = {n_runs}, n_donors_stacked = {n_donors_stacked}"
        if not min(n_runs, n_donors_stacked) >= 1:
            raise ValueError(f"{given}: must be at least 1")
        number = n_runs if n_donors_stacked == 1 else n_donors_stacked
        models = {"norm-tilt": norm_tilt_model, "binwise": binwise_model}
        if kind not in models:
            raise ValueError(f"kind = {kind!r}: must be 'norm-tilt' or 'binwise'")
        return models[kind](self, dataset_name, number)


def _checked_edges(energy_edges, offset_edges):
    energy_edges = check_edges("energy_edges", energy_edges, "TeV")
    if offset_edges is not None:
        offset_edges = check_edges("offset_edges", offset_edges, "deg", has_zero=True)
    return energy_edges, offset_edges


def background_systematic(
    observations: Iterable[Observation],
    *,
    energy_edges: u.Quantity = ENERGY_EDGES,
    offset_edges: u.Quantity | None = None,
    exclusion: list | Map | None = None,
) -> BackgroundSystematic:
    """Measure the systematic error of the background models of empty runs.

    Counts and prediction of each run, above its energy threshold (of an energy bin the
    part above it), go to `BackgroundSystematic.from_counts`. The mimics of one donor
    are one measurement.

    Parameters
    ----------
    observations : iterable of `~gammapy.data.Observation`
        Runs that should be empty, such as all mimics of all sets. One at a time is
        held.
    energy_edges : `~astropy.units.Quantity`, optional
        Edges of the energy bins. Default is 0.5, 0.8, 1.3, 2.1, 3.4, 20 TeV.
    offset_edges : `~astropy.units.Quantity`, optional
        Edges of the offset bins. Default is 0 and 2 deg.
    exclusion : list of `~regions.SkyRegion` or `~gammapy.maps.Map`, optional
        Regions to leave out, or a mask that is True outside of them. Default is None.

    Returns
    -------
    systematic : `BackgroundSystematic`
        Systematic error.

    Raises
    ------
    ValueError
        If fewer than two donors have counts and a predicted background of more than 5
        counts, edges do not increase, or a run has no background model (`on_off`
        measures without one).
    TypeError
        If edges have no unit of energy or angle.
    """
    if offset_edges is None:
        offset_edges = [0, OFFSET_MAX.value] * u.deg
    energy_edges, offset_edges = _checked_edges(energy_edges, offset_edges)
    counts, predicted, donors, names = [], [], [], []
    for observation in observations:
        # errors name the file
        observation = read_once(observation)
        found = count_run(observation, energy_edges, offset_edges, exclusion)
        counts.append(found[0])
        predicted.append(found[1])
        donors.append(donor_of(observation))
        is_mimic = donors[-1] != observation.obs_id
        donor = f" (donor {donors[-1]})" if is_mimic else ""
        names.append(f"{observation.obs_id}{donor}")
    shape = (len(counts), len(energy_edges) - 1, len(offset_edges) - 1)
    return BackgroundSystematic.from_counts(
        np.reshape(counts, shape),
        np.reshape(predicted, shape),
        donors,
        energy_edges=energy_edges,
        offset_edges=offset_edges,
        obs_ids=names,
    )
