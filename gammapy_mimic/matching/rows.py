"""The rows of a pair table, from what was chosen."""

import functools
import json
from itertools import pairwise

import numpy as np
from astropy.table import MaskedColumn

from gammapy_mimic.matching.cuts import rate_ratio
from gammapy_mimic.matching.measure import BANDS
from gammapy_mimic.matching.pairs import PairTable, runs_to_json

__all__ = ["make_pairs", "no_slices", "slice_columns"]


def no_slices(chosen, reuse):
    """Columns of pairs of whole runs.

    Parameters
    ----------
    chosen : `~numpy.ndarray` of int, shape (n_sets, targets)
        Donors, -1 where there is none.
    reuse : int
        How often a donor may be used in a set.

    Returns
    -------
    columns : dict of str to `~numpy.ndarray`
        "set", "row", "column" of each pair, and "shared" with ``reuse``.
    """
    n_sets, n_targets = chosen.shape
    columns = {
        "set": np.repeat(np.arange(n_sets), n_targets),
        "row": np.tile(np.arange(n_targets), n_sets),
        "column": chosen.ravel(),
    }
    if reuse > 1:
        uses = [np.sum(it[:, np.newaxis] == it, axis=1) for it in chosen]
        shared = [(n > 1) & (it >= 0) for n, it in zip(uses, chosen, strict=True)]
        columns["shared"] = np.concatenate(shared).astype(float)
    return columns


def slice_columns(sets, n_targets):
    """Columns of pairs of slices; see `no_slices`.

    Parameters
    ----------
    sets : list of list of `~gammapy_mimic.matching.fill.Slice`
        Slices of each set.
    n_targets : int
        Number of targets; those without any slice have a row without donor.

    Returns
    -------
    columns : dict of str to `~numpy.ndarray`
        As of `no_slices`, with "part", "target_s", "start_s" and "stop_s".
    """
    rows = []
    for number, slices in enumerate(sets):
        of_donor = {}
        for item in slices:
            of_donor.setdefault(item.donor, []).append((item.start_s, item.stop_s))
        absent = set(range(n_targets)) - {item.target for item in slices}
        for item in sorted(slices, key=lambda it: (it.target, it.part)):
            shared = _shared(item, of_donor[item.donor])
            times = item.target_s, item.start_s, item.stop_s
            rows.append((number, item.target, item.donor, item.part, *times, shared))
        rows += [(number, it, -1, 0, np.nan, np.nan, np.nan, 0.0) for it in absent]
    rows.sort(key=lambda row: (row[0], row[1], row[3]))
    names = ("set", "row", "column", "part", "target_s", "start_s", "stop_s", "shared")
    columns = zip(*rows, strict=True)
    return {name: np.array(it) for name, it in zip(names, columns, strict=True)}


def _shared(item, slices):
    """Part of a slice that other slices of the same donor hold, too."""
    edges = np.unique(
        [item.start_s, item.stop_s, *(np.clip(slices, item.start_s, item.stop_s).flat)]
    )
    middle = (edges[1:] + edges[:-1]) / 2
    uses = sum((middle > low) & (middle < high) for low, high in slices)
    length = np.diff(edges)
    return float(length[uses > 1].sum() / length.sum())


def _masked(absent, values, unit=None):
    """Column without values where there is no donor."""
    values = np.asarray(values)
    mask = absent if values.ndim == 1 else np.broadcast_to(absent, values.T.shape).T
    values = np.ma.masked_array(values, mask=mask)
    if values.dtype.kind == "f":
        values = np.ma.masked_invalid(values)
    return MaskedColumn(values, unit=unit)


def make_pairs(runs, cuts, evaluation, chosen, matcher):
    """Pair table of what was chosen.

    Parameters
    ----------
    runs : dict of str to `~astropy.table.Table`
        Run tables of "targets" and "donors".
    cuts : `~gammapy_mimic.matching.cuts.Cuts`
        Cuts, after all has been measured.
    evaluation : `~gammapy_mimic.matching.cuts.Evaluation`
        Their result.
    chosen : dict of str to `~numpy.ndarray`
        As of `no_slices` or `slice_columns`.
    matcher : `~gammapy_mimic.DonorMatcher`
        Settings.

    Returns
    -------
    pairs : `PairTable`
        Table with its meta, but for notes and warnings.
    """
    targets, donors = runs["targets"], runs["donors"]
    rows, columns = chosen["row"], chosen["column"]
    masked = functools.partial(_masked, columns < 0)
    pairs = PairTable()
    pairs["TARGET_OBS_ID"] = np.asarray(targets["OBS_ID"])[rows]
    pairs["DONOR_OBS_ID"] = masked(np.asarray(donors["OBS_ID"])[columns])
    pairs["MIMIC_SET"] = chosen["set"]
    if "part" in chosen:
        pairs["MIMIC_OBS_ID"] = _mimic_ids(pairs["TARGET_OBS_ID"], chosen["part"])
        names = {"target_s": "TARGET_START", "start_s": "START", "stop_s": "STOP"}
        for name, column in names.items():
            pairs[column] = masked(chosen[name], "s")
    if "shared" in chosen:
        pairs["SHARED"] = masked(chosen["shared"])
    pairs["DISTANCE"] = masked(evaluation.distance(rows, columns))
    for name, tolerance in cuts.tolerances.items():
        feature = cuts.features[name]
        values = cuts.delta(name, rows, columns)
        of_interest = tolerance > 0 or name in dict(matcher.relax)
        if feature.counts and of_interest and not np.isnan(values).all():
            pairs[f"DELTA_{name.upper()}"] = masked(values, feature.unit or None)
    turned = donors["ORIENTATION"][columns] - targets["ORIENTATION"][rows]
    turned = np.asarray((turned + 180) % 360 - 180)
    pairs["DELTA_ORIENTATION"] = masked(turned, "deg")
    for name, values in _rates(runs, rows, columns).items():
        pairs[name] = masked(values)
    if "RATE_CHI2" in donors.colnames:
        pairs["RATE_CHI2"] = masked(np.asarray(donors["RATE_CHI2"])[columns])
    pairs["RELAXED"] = _relaxed(cuts, evaluation.level, rows, columns, matcher.relax)
    strict, relaxed = evaluation.left()
    flow = {**evaluation.rejected, "LEFT": strict, "LEFT_RELAXED": relaxed}
    edges = np.asarray(targets.meta["energy_edges"])
    pairs.meta.update(
        {
            "n_mimics": matcher.n_mimics,
            "fill": matcher.fill,
            "reuse": matcher.reuse,
            "crop": matcher.crop,
            "balance": matcher.balance,
            "tolerances": {n: float(x) for n, x in cuts.tolerances.items()},
            "columns": {n: [it.kind, it.unit] for n, it in matcher.columns.items()},
            "relax": [list(step) for step in matcher.relax],
            "energy_edges": edges.tolist(),
            "rate_bands": edges[_band_edges(len(edges) - 1)].tolist(),
            "bad_times": json.dumps(matcher.bad_times.to_mjd()),
            "energy_min": _value(matcher.energy_min),
            "left_out": [list(it) for it in targets.meta["left_out"]],
            "cut_flow": json.dumps({n: it.tolist() for n, it in flow.items()}),
            **{name: runs_to_json(table) for name, table in runs.items()},
        }
    )
    return pairs


def _value(energy):
    return None if energy is None else float(energy.to_value("TeV"))


def _band_edges(number):
    """Bins at which the bands begin and end."""
    return np.linspace(0, number, BANDS + 1).round().astype(int)


def _mimic_ids(target_ids, part):
    """OBS_IDs of mimics: that of the target, and for further parts more digits.

    As many digits are appended as keep them apart from all targets.
    """
    targets, part = np.asarray(target_ids), np.asarray(part)
    known = set(targets.tolist())
    digits = max(2, len(str(part.max())))
    while True:
        sign = np.where(targets < 0, -1, 1)
        ids = np.where(part > 0, targets * 10**digits + sign * part, targets)
        if not known & set(ids[part > 0].tolist()):
            return ids
        digits += 1


def _rates(runs, rows, columns):
    """Ratios of the rates of pairs."""
    sides = list(runs.values())
    if all("RATE" in side.colnames for side in sides):
        t, d = (np.asarray(side["RATE"]) for side in sides)
        return {"RATE_RATIO": d[columns] / t[rows]}
    nothing = {"RATE_RATIO": np.full(len(rows), np.nan)}
    if not all("RATE_SPECTRUM" in side.colnames for side in sides):
        return nothing
    names = ("RATE_SPECTRUM", "RATE_VARIANCE", "LO_THRES")
    t, d = (
        {
            "EDGES": np.asarray(side.meta["energy_edges"]),
            "LO_THRES": np.full(len(side), np.nan),
            **{n: np.asarray(side[n]) for n in names if n in side.colnames},
        }
        for side in sides
    )
    ratio, error = rate_ratio(t, d, rows, columns, error=True)
    edges = _band_edges(t["RATE_SPECTRUM"].shape[1])
    bands = [
        rate_ratio(t, d, rows, columns, bins=slice(low, high))
        for low, high in pairwise(edges)
    ]
    bands = np.stack(bands, axis=1)
    return {"RATE_RATIO": ratio, "RATE_RATIO_ERR": error, "RATE_RATIO_BANDS": bands}


def _relaxed(cuts, level, rows, columns, relax):
    """Cuts that each pair fails and that were relaxed for it."""
    failed = cuts.failed(rows, columns)
    names = list(dict.fromkeys(name for name, _ in relax))
    texts = []
    for number, (row, column) in enumerate(zip(rows, columns, strict=True)):
        is_relaxed = column >= 0 and level[row, column] > 0
        used = [name for name in names if is_relaxed and failed[name][number]]
        texts.append(",".join(used) or "none")
    return np.array(texts)
