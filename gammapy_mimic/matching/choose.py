"""The choice of donors among the pairs that pass the cuts."""

import numpy as np

from gammapy_mimic.matching.assign import assign_sets
from gammapy_mimic.matching.features import make_tolerances
from gammapy_mimic.matching.fill import fill_sets
from gammapy_mimic.matching.rows import no_slices, slice_columns
from gammapy_mimic.matching.slices import Tracks

__all__ = ["choose"]

_BALANCED = ("airmass", "nsb")


def choose(matcher, cuts, evaluation, runs):
    """Choose donors: columns of the pair table that say who and which part."""
    if not matcher.fill:
        deltas = _balance_deltas(cuts) if matcher.balance else None
        distance, level = evaluation.distances(), evaluation.level
        chosen = assign_sets(
            distance, level, matcher.n_mimics, deltas, reuse=matcher.reuse
        )
        return no_slices(chosen, matcher.reuse)
    rows, columns = np.nonzero(evaluation.level >= 0)
    distance = evaluation.distance(rows, columns)
    level = evaluation.level[rows, columns].astype(float)
    tolerances = {**make_tolerances({}), **matcher.tolerances}
    sets = fill_sets(
        (rows, columns, distance, level),
        [Tracks(side) for side in runs.values()],
        *(np.nan_to_num(np.asarray(side["ONTIME"])) for side in runs.values()),
        n_sets=matcher.n_mimics,
        reuse=matcher.reuse,
        scale=(tolerances["airmass"] or 0.15, tolerances["azimuth"] or 45.0),
    )
    return slice_columns(sets, len(runs["targets"]))


def _balance_deltas(cuts):
    """Signed differences of the balanced features over their tolerances."""
    rows = np.arange(cuts.shape[0])[:, np.newaxis]
    columns = np.arange(cuts.shape[1])[np.newaxis]
    deltas = [
        cuts.delta(name, rows, columns) / cuts.tolerances[name]
        for name in _BALANCED
        if cuts.tolerances.get(name, 0) > 0
    ]
    return np.array(deltas) if deltas else None
