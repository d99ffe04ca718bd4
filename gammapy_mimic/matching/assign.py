"""Choose donors: optimal assignment of targets and donors by distance."""

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import min_weight_full_bipartite_matching

__all__ = ["assign", "assign_sets"]

# mean distance per target that `balance` may give away
BALANCE_SLACK = 0.05


def assign(rows, columns, distance, level, shape):
    """Donor of each target: as many as possible, least relaxed, then nearest.

    Parameters
    ----------
    rows, columns : `~numpy.ndarray` of int
        Targets and donors of the pairs that are allowed.
    distance : `~numpy.ndarray`
        Distances of these pairs.
    level : `~numpy.ndarray` of int
        Steps of relaxation that they need.
    shape : tuple of int
        Number of targets and of donors.

    Returns
    -------
    donor : `~numpy.ndarray` of int, shape (targets,)
        Index of the donor, -1 where there is none. No donor is used twice.
    """
    donor = np.full(shape[0], -1)
    if not len(rows):
        return donor
    # targets and donors without any partner need not be assigned
    targets, i = np.unique(rows, return_inverse=True)
    donors, j = np.unique(columns, return_inverse=True)
    n_targets, n_donors = len(targets), len(donors)
    # each weight is more than all that stands below it can add up to
    per_level = (n_targets + 1) * (distance.max() + 1)
    never = (n_targets + 1) * (int(level.max()) + 1) * per_level
    # of equally near donors the first is taken
    cost = distance + per_level * level + 1e-9 * j / n_donors
    # a target may also take the empty place of its own; a weight of 0 is no edge
    own = np.arange(n_targets)
    # of equal targets the last one goes without
    empty = never - 1e-9 * own / n_targets
    weights = np.concatenate([cost, empty]) + 1
    place = np.concatenate([i, own]), np.concatenate([j, n_donors + own])
    graph = coo_array((weights, place), shape=(n_targets, n_donors + n_targets))
    graph = graph.tocsr()
    # scipy up to 1.14 takes no other indices
    graph.indices, graph.indptr = (
        index.astype(np.int32) for index in (graph.indices, graph.indptr)
    )
    i, j = min_weight_full_bipartite_matching(graph)
    taken = j < n_donors
    donor[targets[i[taken]]] = donors[j[taken]]
    return donor


def _assign(distance, level, reuse):
    """Assign from arrays of all pairs; see `assign_sets`."""
    rows, columns = np.nonzero(level >= 0)
    near = distance[rows, columns].astype(float)
    steps = level[rows, columns].astype(float)
    if reuse == 1:
        return assign(rows, columns, near, steps, level.shape)
    # each further use of a donor is as bad as a distance of 1
    use = np.repeat(np.arange(reuse), len(rows))
    n_donors = level.shape[1]
    chosen = assign(
        np.tile(rows, reuse),
        np.tile(columns, reuse) + use * n_donors,
        np.tile(near, reuse) + use,
        np.tile(steps, reuse),
        (level.shape[0], reuse * n_donors),
    )
    return np.where(chosen < 0, -1, chosen % n_donors)


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


def assign_sets(distance, level, n_sets, deltas=None, *, reuse=1):
    """Donors of every target for several sets, the best sets first.

    No pair is used in two sets.

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
    reuse : int, optional
        How often a donor may be used within a set. Default is 1.

    Returns
    -------
    donors : `~numpy.ndarray` of int, shape (n_sets, targets)
        Index of the donor, -1 where there is none.
    """
    level, original = level.copy(), level
    result = np.full((n_sets, len(distance)), -1)
    quality = []
    for donor in result:
        donor[:] = _assign(distance, level, reuse)
        rows = np.flatnonzero(donor >= 0)
        if deltas is not None and len(rows):
            donor[:] = _balance(donor, distance, level, deltas)
        pairs = rows, donor[rows]
        level[pairs] = -1
        quality.append((-len(rows), original[pairs].sum(), distance[pairs].sum()))
    order = sorted(range(n_sets), key=quality.__getitem__)
    return result[order]
