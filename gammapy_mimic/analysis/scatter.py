r"""Scatter of a quantity from set to set, where sets share donors and events.

A set is a mean over its runs, and its value is :math:`q_i = \mu + \sum_d w_{id} x_d +
e_i` with the effect :math:`x_d` of each donor, the part :math:`w_{id}` of donor d in
the livetime of the set, and the statistical error :math:`e_i`. With the systematic
:math:`S^2` of one set,

.. math::
    \mathrm{Cov}(q_i, q_j) = V_{ij} = S^2 \kappa_{ij} + \sigma_i \sigma_j \rho_{ij},
    \qquad \kappa_{ij} \propto \sum_d w_{id} w_{jd}

where :math:`\rho_{ij}` is the part of their events at the position that both sets have.
"""

import numpy as np
from scipy.sparse import csr_array
from scipy.special import chdtri, stdtrit

__all__ = ["donor_overlap", "event_overlap", "set_scatter"]

SIGMA_1 = 0.841344746
LIMIT = 0.95
N_ITERATIONS = 20


def donor_overlap(shares: np.ndarray) -> np.ndarray:
    r"""Overlap of sets in their donors, :math:`\kappa_{ij}`.

    Parameters
    ----------
    shares : `~numpy.ndarray`
        Part that each donor has in each set, shape (n_sets, n_donors).

    Returns
    -------
    overlap : `~numpy.ndarray`
        Shape (n_sets, n_sets); the mean of its diagonal is 1.
    """
    overlap = shares @ shares.T
    return overlap / np.trace(overlap) * len(overlap)


def event_overlap(events: list) -> np.ndarray:
    r"""Part of their events that two sets share, :math:`\rho_{ij}`.

    Parameters
    ----------
    events : list of set or list
        Events of each set; those of the same donor with the same ID are the same. A set
        in which a donor serves for several targets may have an event more than once.

    Returns
    -------
    overlap : `~numpy.ndarray`
        Number of common events over the root of the product of both numbers, shape
        (n_sets, n_sets). With numbers :math:`m_e` of each event in a set, the diagonal
        is :math:`\sum m_e^2 / \sum m_e`: 1, or more if events are there repeatedly.
    """
    column = {event: k for k, event in enumerate(set().union(*events))}
    sets = np.repeat(np.arange(len(events)), [len(it) for it in events])
    places = [column[event] for one in events for event in one]
    shape = len(events), len(column)
    incidence = csr_array((np.ones(len(places)), (sets, places)), shape=shape)
    common = (incidence @ incidence.T).toarray()
    number = np.array([len(it) for it in events])
    # a set without events shares none
    common[number == 0, number == 0] = 1
    number = np.maximum(number, 1)
    return common / np.sqrt(np.outer(number, number))


def set_scatter(
    values: np.ndarray, errors: np.ndarray, donors: np.ndarray, events: np.ndarray
) -> dict[str, float]:
    r"""Mean and scatter of a quantity over sets.

    With the centring matrix A and the statistical part P of V, the systematic is

    .. math::
        S^2 = \frac{q^T A q - \mathrm{tr}(A P)}{\mathrm{tr}(A \kappa)}, \qquad
        \mathrm{Var}(S^2) = \frac{2\,\mathrm{tr}(A V A V)}{\mathrm{tr}(A \kappa)^2} .

    Errors are those of one standard deviation; the error of the mean has Student's
    factor for :math:`\nu = \mathrm{tr}(A V)^2 / \mathrm{tr}(A V A V)` degrees of
    freedom (Satterthwaite 1946, Biometrics Bulletin 2, 110).

    Parameters
    ----------
    values : `~numpy.ndarray`
        Value of each set, shape (n,).
    errors : `~numpy.ndarray`
        Statistical errors, shape (n,); NaN where there is none.
    donors, events : `~numpy.ndarray`
        Overlaps of the sets, shape (n, n): the part of their donors, weighted by
        livetime, and of their events at the position that two sets have in common.

    Returns
    -------
    scatter : dict
        ``mean``, ``mean_err``; ``scatter``, the standard deviation of the values;
        ``statistical``, the root of the mean of their variances (larger than the errors
        if events are in a set more than once); ``systematic``,
        ``systematic_err`` and ``systematic_ul`` (95 %) of one set; ``total``, the
        standard deviation of a set free of what sets share; ``n_dof`` of it;
        ``pull_width``, scatter over what the statistical errors make one expect;
        ``n_effective``, as many independent sets have the same statistical error of
        the mean. NaN where there are too few sets, or no errors.
    """
    number = len(values)
    names = "mean mean_err scatter statistical systematic systematic_err systematic_ul"
    found = dict.fromkeys([*names.split(), "total", "n_dof", "pull_width"], np.nan)
    found["n_effective"] = number**2 / events.sum() if number else 0.0
    if number:
        found["mean"] = values.mean()
    if number < 2:
        return found
    centring = np.eye(number) - 1 / number
    square = values @ centring @ values
    found["scatter"] = np.sqrt(square / (number - 1))
    has_errors = np.isfinite(errors).all()
    sigma = errors if has_errors else np.zeros(number)
    statistical = np.outer(sigma, sigma) * events
    freedom = np.trace(centring @ donors)
    if freedom < 1e-6 * number:
        # all sets have the same donors: nothing scatters from donor to donor
        return found
    noise = np.trace(centring @ statistical)
    systematic2 = (square - noise) / freedom

    def moments(variance):
        covariance = statistical + max(variance, 0) * donors
        product = centring @ covariance
        return covariance.sum(), np.trace(product), np.trace(product @ product)

    total, first, second = moments(systematic2)
    n_dof = max(first**2 / second, 1) if second > 0 else number - 1
    found["mean_err"] = np.sqrt(total) / number * stdtrit(n_dof, SIGMA_1)
    variance = np.mean(np.diag(statistical))
    # sets that share most donors may scatter less than statistics by chance
    found["total"] = np.sqrt(max(systematic2, 0) + variance)
    found["n_dof"] = n_dof
    if not has_errors:
        return found
    # from values to the pulls from their mean
    to_pulls = centring / errors[:, np.newaxis]
    expected = np.trace(to_pulls @ statistical @ to_pulls.T)
    found["pull_width"] = np.sqrt(np.sum((to_pulls @ values) ** 2) / expected)
    found["statistical"] = np.sqrt(variance)
    found["systematic"] = systematic = np.sqrt(max(systematic2, 0))
    error = np.sqrt(2 * second) / freedom
    # of a systematic that is not seen the error is that of its square
    found["systematic_err"] = min(error / max(2 * systematic, 1e-300), np.sqrt(error))
    limit = max(systematic2, 0)
    for _ in range(N_ITERATIONS):
        # the degrees of freedom are those at the limit
        _, first, second = moments(limit)
        n_dof = max(first**2 / second, 1)
        limit = max((square * n_dof / chdtri(n_dof, LIMIT) - noise) / freedom, 0)
    found["systematic_ul"] = np.sqrt(limit)
    return found
