"""Systematic, its error and its upper limit, from a variance and its Poisson part.

All functions take arrays of any shape.
"""

import numpy as np
from scipy.special import chdtr, chdtri, ndtr

__all__ = ["CONFIDENCE", "systematic_limits", "systematic_variance"]

ONE_SIGMA = ndtr(1) - ndtr(-1)

CONFIDENCE = 0.95

LEAST_LIMIT = 0.2
"""Least limit in Poisson errors: a fluctuation downwards does not exclude more."""


def systematic_limits(
    total: np.ndarray,
    poisson: np.ndarray,
    freedom: np.ndarray,
    poisson_freedom: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    r"""Systematic of a total variance that follows a chi-squared distribution.

    Its degrees of freedom, for a systematic variance S and a Poisson one P, are
    :math:`(S + P)^2 / (S^2 / f_S + (2 S P + P^2) / f_P)` (Satterthwaite 1946,
    Biometrics Bull. 2, 110).

    Parameters
    ----------
    total, poisson : `~numpy.ndarray`
        Total variance as measured, and what of it is expected to be Poisson.
    freedom : `~numpy.ndarray`
        Degrees of freedom of the systematic, :math:`f_S`.
    poisson_freedom : `~numpy.ndarray`, optional
        Those of Poisson fluctuations, :math:`f_P`. Default is None: the same.

    Returns
    -------
    found : dict of `~numpy.ndarray`
        SYSTEMATIC, SYSTEMATIC_ERR (68 %) and SYSTEMATIC_UL (95 % upper limit).
    """
    both = freedom if poisson_freedom is None else poisson_freedom

    def freedom_at(variance):
        part = variance**2 / freedom + poisson * (2 * variance + poisson) / both
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(part > 0, (variance + poisson) ** 2 / part, freedom)

    def below(value):
        """Probability of a smaller systematic."""
        variance = np.maximum(value, 0) ** 2
        number = freedom_at(variance)
        with np.errstate(invalid="ignore", divide="ignore"):
            x = np.where(total > 0, number * total / (variance + poisson), 0)
        return np.where(value < 0, 0, 1 - chdtr(number, x))

    at_best = freedom_at(np.maximum(total - poisson, 0))
    systematic = np.sqrt(systematic_variance(total, poisson, at_best))
    most = np.sqrt(freedom * total / chdtri(freedom, 0.999))
    limit = _bisect(lambda value: below(value) < CONFIDENCE, most)
    error = _half_width(systematic, below, _one_sided(at_best), most)
    least = LEAST_LIMIT * np.sqrt(poisson)
    return {
        "SYSTEMATIC": systematic,
        "SYSTEMATIC_ERR": np.where(systematic > 0, error, np.maximum(error, least)),
        "SYSTEMATIC_UL": np.maximum(limit, least),
    }


def systematic_variance(total, poisson, freedom):
    """Variance beyond Poisson, at least 0.

    With T = S + P the cut at 0 adds E[max(0, P - C)] = P F(x) - T F'(x) on average,
    where x = (K - 1) P / T, and F and F' are chi-squared probabilities of K - 1 and
    K + 1 degrees of freedom.
    """
    variance = np.maximum(total - poisson, 0)
    truth = variance + poisson
    with np.errstate(invalid="ignore", divide="ignore"):
        x = np.nan_to_num(freedom * poisson / truth)
    bias = poisson * chdtr(freedom, x) - truth * chdtr(freedom + 2, x)
    return np.maximum(variance - bias, 0)


def _bisect(is_too_small, most):
    low, high = np.zeros_like(most), most
    for _ in range(40):
        middle = (low + high) / 2
        small = is_too_small(middle)
        low, high = np.where(small, middle, low), np.where(small, high, middle)
    return high


def _half_width(value, below, one_sided, most):
    """Half of the width of the 68 % interval about a value.

    If it reaches 0 it holds all that is below ``one_sided`` probability.
    """

    def too_narrow(error):
        upper = below(value + error)
        within = upper - below(value - error)
        return (within < ONE_SIGMA) | ((value < error) & (upper < one_sided))

    return _bisect(too_narrow, most)


def _one_sided(freedom):
    """Probability below the upper end of the interval if nothing is Poisson.

    From 0.72 for 5 donors to 0.84, one standard deviation, for many. With 68 % an
    interval that begins at 0 would hold the truth too rarely.
    """

    def below(value):
        return 1 - chdtr(freedom, freedom / np.maximum(value, 0) ** 2)

    with np.errstate(divide="ignore"):
        return below(1 + _half_width(1.0, below, 0.0, np.full_like(freedom, 30.0)))
