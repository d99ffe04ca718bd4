"""Choose donors: optimal assignment on a matrix of distances. numpy, scipy only."""

import numpy as np
from scipy.optimize import linear_sum_assignment

__all__ = ["assign_sets"]

# mean distance per target that `balance` may give away
BALANCE_SLACK = 0.05


def _assign(distance, level):
    """Donor of each target: as many as possible, least relaxed, then nearest.

    Parameters
    ----------
    distance : `~numpy.ndarray`, shape (targets, donors)
        Distances.
    level : `~numpy.ndarray` of int, same shape
        Steps of relaxation needed; negative: not allowed.

    Returns
    -------
    donor : `~numpy.ndarray` of int, shape (targets,)
        Index of the donor, -1 where there is none. No donor comes twice.
    """
    donor = np.full(len(distance), -1)
    allowed = level >= 0
    # targets and donors without any partner need not be assigned
    rows, columns = np.flatnonzero(allowed.any(1)), np.flatnonzero(allowed.any(0))
    if not len(rows):
        return donor
    part = np.ix_(rows, columns)
    # each weight is more than all that stands below it can add up to
    per_level = (len(rows) + 1) * (distance[allowed].max() + 1)
    never = (len(rows) + 1) * (int(level.max()) + 1) * per_level
    # of equally near donors the first is taken
    cost = distance[part] + 1e-9 * np.arange(len(columns)) / len(columns)
    cost = np.where(allowed[part], cost + per_level * level[part], never)
    i, j = linear_sum_assignment(cost)
    taken = allowed[part][i, j]
    donor[rows[i[taken]]] = columns[j[taken]]
    return donor


def _balance(donor, distance, level, deltas):
    """Exchange donors so that the mean differences of the set shrink.

    One donor at a time is replaced by a free one of the same level: the one that
    brings the mean differences nearest to zero, as long as the mean distance grows
    by no more than `BALANCE_SLACK` in all.

    Parameters
    ----------
    donor : `~numpy.ndarray` of int, shape (targets,)
        Assignment, -1 where there is none.
    distance, level : `~numpy.ndarray`, shape (targets, donors)
        As for `_assign`.
    deltas : `~numpy.ndarray`, shape (features, targets, donors)
        Signed differences in units of the tolerances.
    """
    rows = np.flatnonzero(donor >= 0)
    donor = donor.copy()
    limit = distance[rows, donor[rows]].sum() + BALANCE_SLACK * len(rows)
    deltas = np.nan_to_num(deltas)
    for _ in range(4 * len(rows)):
        now = donor[rows]
        free = np.ones(distance.shape[1], dtype=bool)
        free[now] = False
        chosen = deltas[:, rows, now]
        total = chosen.sum(axis=1)
        new_total = total[:, None, None] + deltas[:, rows] - chosen[:, :, None]
        imbalance = np.square(new_total).sum(axis=0)
        length = distance[rows, now].sum() - distance[rows, now][:, None]
        possible = free & (level[rows] == level[rows, now][:, None])
        possible &= length + distance[rows] <= limit
        imbalance[~possible] = np.inf
        i, j = np.unravel_index(np.argmin(imbalance), imbalance.shape)
        # exchanges that gain nothing but rounding would go on for ever
        if imbalance[i, j] >= np.square(total).sum() * (1 - 1e-6):
            break
        donor[rows[i]] = j
    return donor


def assign_sets(distance, level, n_sets, deltas=None):
    """Donors of every target for several sets, the best sets first.

    Within a set no donor is used twice; no pair is used in two sets.

    Parameters
    ----------
    distance : `~numpy.ndarray`, shape (targets, donors)
        Distances.
    level : `~numpy.ndarray` of int, shape (targets, donors)
        Steps of relaxation that a pair needs; negative: not allowed.
    n_sets : int
        Number of sets.
    deltas : `~numpy.ndarray`, shape (features, targets, donors), optional
        Signed differences in units of their tolerances, whose means are balanced.
        Default is None: no balancing.

    Returns
    -------
    donors : `~numpy.ndarray` of int, shape (n_sets, targets)
        Index of the donor, -1 where there is none.
    """
    level, original = level.copy(), level
    result = np.full((n_sets, len(distance)), -1)
    quality = []
    for donor in result:
        donor[:] = _assign(distance, level)
        rows = np.flatnonzero(donor >= 0)
        if deltas is not None and len(rows):
            donor[:] = _balance(donor, distance, level, deltas)
        pairs = rows, donor[rows]
        level[pairs] = -1
        quality.append((-len(rows), original[pairs].sum(), distance[pairs].sum()))
    order = sorted(range(n_sets), key=quality.__getitem__)
    return result[order]
