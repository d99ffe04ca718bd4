"""Scatter of counts over prediction from donor to donor, beyond Poisson.

The mimics of one donor have the same events and are one measurement: donors are the
experiments, and each has one ratio. All functions take arrays only; axes in front of
those that are named, such as many synthetic experiments, are allowed.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import chdtri, ndtr, ndtri, stdtrit

from gammapy_mimic.validation.systematic_limits import (
    CONFIDENCE,
    systematic_limits,
    systematic_variance,
)

__all__ = [
    "MIN_PREDICTED",
    "DonorRatios",
    "donor_ratios",
    "jackknife_error",
    "scatter",
    "systematic_correlation",
    "systematic_covariance",
]

MIN_PREDICTED = 5.0
"""Predicted counts up to which a cell of a run is left out."""

SEEN = 0.975
"""Confidence at which something common to the cells is seen, in each of two tests."""

TRACY_WIDOM = 1.454
"""Quantile at 97.5 % of the distribution of Tracy and Widom for real matrices."""


@dataclass(frozen=True)
class DonorRatios:
    """Counts over prediction, one value for each donor and cell.

    Attributes
    ----------
    donors : `~numpy.ndarray`
        The K donors, sorted.
    ratio : `~numpy.ndarray`
        Ratios, shape (..., K, n_cells); NaN where no run of the donor is used.
    variance : `~numpy.ndarray`
        Poisson variance of each ratio, same shape.
    predicted : `~numpy.ndarray`
        Mean prediction for a run of the donor, same shape.
    n_runs : `~numpy.ndarray`
        Number of runs that are used in each cell, shape (..., n_cells).
    """

    donors: np.ndarray
    ratio: np.ndarray
    variance: np.ndarray
    predicted: np.ndarray
    n_runs: np.ndarray

    def leave_one_out(self) -> "DonorRatios":
        """Leave out each donor in turn: one more axis in front; ``n_runs`` stays."""
        number = len(self.donors)
        kept = np.array([np.delete(np.arange(number), k) for k in range(number)])
        ratio, variance, predicted = (
            np.moveaxis(data[..., kept, :], -3, 0)
            for data in (self.ratio, self.variance, self.predicted)
        )
        return DonorRatios(self.donors[kept], ratio, variance, predicted, self.n_runs)


def donor_ratios(
    counts: ArrayLike,
    predicted: ArrayLike,
    donors: ArrayLike,
    *,
    predicted_variance: ArrayLike | None = None,
    min_predicted: float = MIN_PREDICTED,
    shared: ArrayLike | None = None,
) -> DonorRatios:
    r"""Divide counts by prediction, for each donor, with their Poisson variance.

    For donor d it is :math:`r_d = \sum n / \sum m` over its runs. As these have the
    same events, its variance is that of one run, :math:`\bar r / m_d + \bar r^2 v_d /
    m_d^2`, with the mean prediction :math:`m_d` of a run, its variance :math:`v_d` and
    the mean ratio :math:`\bar r` of all donors.

    Parameters
    ----------
    counts, predicted : array-like
        Counts and predicted background, shape (..., n_runs, n_cells).
    donors : array-like
        Donor of each run, shape (n_runs,).
    predicted_variance, shared : array-like, optional
        See `~gammapy_mimic.validation.BackgroundSystematic.from_counts`.
    min_predicted : float, optional
        A cell of a run is used if more than this is predicted. Default is 5.

    Returns
    -------
    ratios : `DonorRatios`
        Ratios.
    """
    names, number = np.unique(np.asarray(donors), return_inverse=True)
    of_donor = (number == np.arange(len(names))[:, np.newaxis]).astype(float)
    predicted = np.asarray(predicted, dtype=float)
    used = predicted > min_predicted
    variance = 0.0 if predicted_variance is None else predicted_variance
    shared = 1.0 if shared is None else np.asarray(shared)[:, np.newaxis]
    uses, total, found, variance = (
        of_donor @ np.where(used, data, 0.0)
        for data in (shared, predicted, counts, variance)
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio, mean = found / total, total / uses
        level = _mean(ratio)[..., np.newaxis, :]
        variance = level / mean + level**2 * variance / uses / mean**2
    return DonorRatios(names, ratio, variance, mean, used.sum(axis=-2))


def scatter(ratio: ArrayLike, variance: ArrayLike) -> dict[str, np.ndarray]:
    r"""Measure mean and scatter of ratios, and what of it is not Poisson.

    Of the K ratios of a cell the variance is :math:`C`, of which :math:`P`, the mean
    of ``variance``, is Poisson. Then :math:`C (K - 1) / (S + P)` follows a chi-squared
    distribution with K - 1 degrees of freedom (exactly, if the systematic is normal),
    which gives limits of the systematic variance :math:`S`. MEAN_ERR has Student's
    factor. From max(0, C - P) its bias by the cut at 0 is taken.

    Parameters
    ----------
    ratio, variance : array-like
        Ratios and their Poisson variance, shape (..., K, n_cells), NaN where there is
        none.

    Returns
    -------
    found : dict of `~numpy.ndarray`
        N_DONORS, MEAN, MEAN_ERR, RMS, POISSON, SYSTEMATIC, SYSTEMATIC_ERR (68 %) and
        SYSTEMATIC_UL (95 % upper limit), shape (..., n_cells). NaN for fewer than two
        donors.
    """
    ratio = np.asarray(ratio, dtype=float)
    number = np.isfinite(ratio).sum(axis=-2)
    freedom = np.where(number > 1, number - 1.0, np.nan)
    mean, poisson = _mean(ratio), _mean(variance)
    mean = np.where(number > 1, mean, np.nan)
    total = np.nansum((ratio - mean[..., np.newaxis, :]) ** 2, axis=-2) / freedom
    return {
        "N_DONORS": number,
        "MEAN": mean,
        "MEAN_ERR": stdtrit(freedom, ndtr(1)) * np.sqrt(total / number.clip(min=1)),
        "RMS": np.sqrt(total),
        "POISSON": np.sqrt(poisson),
        **systematic_limits(total, poisson, freedom),
    }


def _mean(values):
    """Mean over donors, NaN if there is none."""
    values = np.asarray(values, dtype=float)
    number = np.isfinite(values).sum(axis=-2)
    return np.nansum(values, axis=-2) / np.where(number > 0, number, np.nan)


def systematic_covariance(ratios: DonorRatios) -> np.ndarray:
    """Covariance of the systematic between cells.

    Parameters
    ----------
    ratios : `DonorRatios`
        Ratios.

    Returns
    -------
    covariance : `~numpy.ndarray`
        Positive semidefinite, shape (..., n_cells, n_cells): the correlation of
        `systematic_correlation`, with the squares of SYSTEMATIC of `scatter` on the
        diagonal. NaN for cells of fewer than two donors.
    """
    freedom, total = _total_covariance(ratios.ratio)
    variance = systematic_variance(_diagonal(total), _mean(ratios.variance), freedom)
    return systematic_correlation(ratios) * _outer(np.sqrt(variance))


def systematic_correlation(ratios: DonorRatios) -> np.ndarray:
    r"""Correlation of the systematic between cells, as far as it is seen.

    Few donors give a noisy matrix, with combinations of cells that seem to have no
    systematic at all. So it is one constant for all pairs of cells (the target of
    Ledoit & Wolf 2004, J. Portfolio Manag. 30, 110), 0 unless the cells scatter
    together at 97.5 % confidence. If the correlations scatter about the constant by
    more than chance, at 97.5 % confidence, it is that of the principal components which
    stand out of Poisson fluctuations, with the constant mixed in by the part of their
    scatter that is chance (the intensity of Ledoit & Wolf).

    Parameters
    ----------
    ratios : `DonorRatios`
        Ratios.

    Returns
    -------
    correlation : `~numpy.ndarray`
        Positive semidefinite, with ones on the diagonal, shape (..., n_cells,
        n_cells).
    """
    freedom, total = _total_covariance(ratios.ratio)
    poisson = _mean(ratios.variance)
    eye = np.eye(total.shape[-1])
    with np.errstate(invalid="ignore", divide="ignore"):
        unit = _outer(np.sqrt(_diagonal(total)))
        measured = _off_diagonal(total / unit)
        systematic = systematic_variance(_diagonal(total), poisson, freedom)
        size = _off_diagonal(_outer(np.sqrt(systematic)) / unit)
        weight = _off_diagonal(1 / _outer(np.sqrt(poisson)))
        # the variance of a measured correlation where there is none
        chance = _off_diagonal(1 / np.sqrt(_outer(freedom)))
        joint = _sum(weight * measured)
        is_seen = joint > ndtri(SEEN) * np.sqrt(2 * _sum(weight**2 * chance))
        constant = np.where(is_seen, joint / _sum(weight * size), 0)
    constant = np.clip(np.nan_to_num(constant, posinf=1), 0, 1)
    constant = constant[..., np.newaxis, np.newaxis]
    rest = _sum((measured - constant * size) ** 2)
    n_pairs = max(eye.size - len(eye), 2) / 2
    is_constant = rest <= chdtri(n_pairs, 1 - SEEN) / n_pairs * _sum(chance)
    mixed = np.where(is_constant, 1, _sum(chance) / np.where(is_constant, 1, rest))
    mixed = mixed[..., np.newaxis, np.newaxis]
    components = _seen_components(total, poisson, systematic, freedom)
    correlation = mixed * constant + (1 - mixed) * components
    return np.where(eye > 0, 1.0, correlation)


def jackknife_error(function, ratios: DonorRatios) -> np.ndarray:
    """Error of a function of the ratios: the scatter when one donor is left out.

    Parameters
    ----------
    function : callable
        Takes `DonorRatios` and returns an array, with their axes in front.
    ratios : `DonorRatios`
        Ratios of K donors.

    Returns
    -------
    error : `~numpy.ndarray`
        Error, of the shape of what the function returns (Efron & Stein 1981, Ann.
        Statist. 9, 586).
    """
    number = len(ratios.donors)
    found = function(ratios.leave_one_out())
    return np.sqrt((number - 1) * found.var(axis=0))


def _total_covariance(ratio):
    """Degrees of freedom of each cell, and the covariance of the ratios.

    Of each pair of cells over the donors that have both.
    """
    has_value = np.isfinite(ratio)
    deviation = np.where(has_value, ratio - _mean(ratio)[..., np.newaxis, :], 0)
    has_value = has_value.astype(float)
    number = has_value.sum(axis=-2)
    pairs = np.swapaxes(has_value, -1, -2) @ has_value
    products = np.swapaxes(deviation, -1, -2) @ deviation
    freedom = np.where(number > 1, number - 1, np.nan)
    return freedom, products / np.where(pairs > 1, pairs - 1, np.nan)


def _seen_components(total, poisson, systematic, freedom):
    """Correlation by principal components of the covariance in Poisson errors.

    Those with a variance above the 97.5 % quantile of the largest of Poisson
    fluctuations (Johnstone 2001, Ann. Statist. 29, 295), freed of its bias (Baik &
    Silverstein 2006, J. Multivar. Anal. 97, 1382), are what cells have in common. What
    the systematic of a cell has beyond that at 95 % confidence is its own.
    """
    number = total.shape[-1]
    eye = np.eye(number)
    with np.errstate(invalid="ignore", divide="ignore"):
        unit = _outer(np.sqrt(poisson))
        whitened = np.where(np.isfinite(total / unit), total / unit, eye)
        systematic = np.nan_to_num(systematic / poisson)
        error = np.nan_to_num(_diagonal(whitened) * np.sqrt(2 / freedom))
    # two donors are too few for components: the bound is that of three
    fewest = np.min(np.where(freedom > 1, freedom, np.inf), axis=-1, keepdims=True)
    fewest = np.where(np.isfinite(fewest), fewest, 2)
    roots = np.sqrt(fewest - 1) + np.sqrt(number)
    width = (1 / np.sqrt(fewest - 1) + number**-0.5) ** (1 / 3)
    largest = (roots**2 + TRACY_WIDOM * roots * width) / fewest
    values, vectors = np.linalg.eigh(whitened)
    b = values + 1 - number / fewest
    truth = (b + np.sqrt((b**2 - 4 * values).clip(min=0))) / 2
    strength = np.where(values > largest, truth - 1, 0)
    common = (vectors * strength[..., np.newaxis, :]) @ np.swapaxes(vectors, -1, -2)
    own = systematic - _diagonal(common)
    own = np.where(own > ndtri(CONFIDENCE) * error, own, 0)
    seen = common + own[..., np.newaxis] * eye
    size = _outer(np.sqrt(_diagonal(seen).clip(min=0)))
    return seen / np.where(size > 0, size, 1)


def _off_diagonal(matrix):
    """Matrix without its diagonal, and 0 where it is not finite."""
    eye = np.eye(matrix.shape[-1])
    return np.where(np.isfinite(matrix) & (eye == 0), matrix, 0)


def _sum(matrix):
    return matrix.sum(axis=(-2, -1))


def _diagonal(matrix):
    return np.diagonal(matrix, axis1=-2, axis2=-1)


def _outer(vector):
    return vector[..., :, np.newaxis] * vector[..., np.newaxis, :]
