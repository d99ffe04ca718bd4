"""The choice of donors among the pairs that pass the cuts."""

import numpy as np

from gammapy_mimic.matching.assign import assign_sets
from gammapy_mimic.matching.features import make_tolerances
from gammapy_mimic.matching.fill import Slice, fill_sets
from gammapy_mimic.matching.rows import no_slices, slice_columns
from gammapy_mimic.matching.slices import Tracks, best_start

__all__ = ["choose"]

_BALANCED = ("airmass", "nsb")


def choose(matcher, cuts, evaluation, runs):
    """Choose donors: columns of the pair table that say who and which part."""
    n_targets = len(runs["targets"])
    if matcher.fill:
        sets = _filled(matcher, evaluation, runs)
        return slice_columns(sets, n_targets)
    deltas = _balance_deltas(cuts) if matcher.balance else None
    distance, level = evaluation.distances(), evaluation.level
    chosen = assign_sets(distance, level, matcher.n_mimics, deltas, reuse=matcher.reuse)
    if matcher.crop:
        sets = [list(_cropped(matcher, runs, donors)) for donors in chosen]
        return slice_columns(sets, n_targets)
    return no_slices(chosen, matcher.reuse)


def _filled(matcher, evaluation, runs):
    """Slices of several donors for each target, see `fill_sets`."""
    rows, columns = np.nonzero(evaluation.level >= 0)
    distance = evaluation.distance(rows, columns)
    level = evaluation.level[rows, columns].astype(float)
    return fill_sets(
        (rows, columns, distance, level),
        [Tracks(side) for side in runs.values()],
        *_ontimes(runs),
        n_sets=matcher.n_mimics,
        reuse=matcher.reuse,
        scale=_scale(matcher),
    )


def _cropped(matcher, runs, chosen):
    """Give of each donor of a set the slice whose track is nearest to the target's."""
    tracks = [Tracks(side) for side in runs.values()]
    need_s, supply_s = _ontimes(runs)
    for target in np.flatnonzero(chosen >= 0).tolist():
        donor = int(chosen[target])
        length = float(min(need_s[target], supply_s[donor]))
        start = best_start(
            (tracks[0], target),
            (tracks[1], donor),
            begin_s=0.0,
            length_s=length,
            free=[(0.0, float(supply_s[donor]))],
            scale=_scale(matcher),
        )
        yield Slice(target, donor, 0, 0.0, start, start + length)


def _ontimes(runs):
    """Good time of targets and of donors."""
    return [np.nan_to_num(np.asarray(side["ONTIME"])) for side in runs.values()]


def _scale(matcher):
    """Differences of airmass and azimuth that are equally bad."""
    tolerances = {**make_tolerances({}), **matcher.tolerances}
    return tolerances["airmass"] or 0.15, tolerances["azimuth"] or 45.0


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
