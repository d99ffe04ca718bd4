"""Pairs and rejections as text."""

import numpy as np

__all__ = [
    "first_line",
    "headlines",
    "rejections",
    "summary",
    "unfilled_targets",
    "with_limit",
]

LEAST_FILLED = 0.9


def summary(pairs):
    """All that is said about pairs; see `PairTable.summary`."""
    flow = pairs.cut_flow
    names = [
        name for name in pairs.features if name in flow.colnames and name != "itself"
    ]
    lines = [first_line(pairs), *headlines(pairs)]
    for row in flow[np.isin(flow["TARGET_OBS_ID"], pairs.missing)]:
        number = row["DONORS"] - row["LEFT"]
        why = ", ".join(f"{row[name]} {name}" for name in names if row[name])
        text = f"target {row['TARGET_OBS_ID']}: {number} of {row['DONORS']} donors "
        text += f"rejected: {why}" if why else "rejected"
        left = row["LEFT_RELAXED"] if pairs.meta["relax"] else row["LEFT"]
        if left:
            relaxed = " after relaxation" if left > row["LEFT"] else ""
            text += f"; {left} left{relaxed}, but taken by other targets"
        lines.append(text)
    lines += [f"warning: {text}" for text in pairs.warnings]
    return "\n".join([*lines, *(f"note: {note}" for note in pairs.notes)])


def first_line(pairs):
    """Count targets with a donor, mimic sets and possible donors."""
    number = len(pairs.targets)
    return (
        f"{number - len(pairs.missing)} of {number} targets have a donor "
        f"({pairs.n_sets} mimic set{'s' if pairs.n_sets > 1 else ''}, "
        f"{len(pairs.donors)} possible donors)"
    )


def headlines(pairs):
    """First lines about pairs; see `PairTable.headlines`."""
    lines = list(_rate_lines(pairs))
    if pairs.meta.get("fill"):
        lines += _fill_lines(pairs)
    if "SHARED" in pairs.colnames:
        has_donor = ~np.ma.getmaskarray(np.ma.asarray(pairs["SHARED"]))
        shared = np.asarray(pairs["SHARED"])[has_donor]
        length = _lengths(pairs)[has_donor]
        part = float(np.sum(shared * length) / np.sum(length)) if len(shared) else 0.0
        if part:
            lines.append(
                f"{part:.1%} of the time of mimics is also in another one of the same "
                "set: these are not independent"
            )
    return lines


def _lengths(pairs):
    """Good time of the mimics, in seconds."""
    if "START" in pairs.colnames:
        return np.ma.filled(np.ma.asarray(pairs["STOP"] - pairs["START"]), np.nan)
    donors = pairs.donors
    known = dict(zip(donors["OBS_ID"].tolist(), donors["ONTIME"].tolist(), strict=True))
    ids = np.ma.filled(np.ma.asarray(pairs["DONOR_OBS_ID"]), -1)
    return np.array([known.get(int(obs_id), np.nan) for obs_id in ids])


def _rate_lines(pairs):
    ratio = np.ma.masked_invalid(np.ma.asarray(pairs["RATE_RATIO"]))
    if not ratio.count():
        return
    relaxed = np.asarray(pairs["RELAXED"]) != "none"
    groups = {"all": ~np.ma.getmaskarray(ratio)}
    if relaxed.any():
        names = sorted(set(",".join(np.asarray(pairs["RELAXED"])[relaxed]).split(",")))
        groups = {
            "within the tolerances": groups["all"] & ~relaxed,
            f"relaxed ({', '.join(names)})": groups["all"] & relaxed,
        }
    energy = pairs.meta.get("energy_min")
    above = "above the threshold" if energy is None else f"above {energy:g} TeV"
    if "RATE_RATIO_BANDS" not in pairs.colnames:
        above = "at all energies"
    parts = []
    for name, mask in groups.items():
        values = np.asarray(ratio[mask], dtype=float)
        if len(values):
            span = f"{values.min():.2f} - {values.max():.2f}"
            parts.append(f"{len(values)} pairs {name} {np.median(values):.2f} ({span})")
    yield f"rate of donor / target {above}, median (range): {'; '.join(parts)}"


def unfilled_targets(pairs, mimic_set):
    """Find targets whose time the mimics of a set fill to less than 90 %.

    The tolerance ``ontime`` asks as much of a single donor.

    Parameters
    ----------
    pairs : `~gammapy_mimic.matching.PairTable`
        Pairs.
    mimic_set : int
        Number of the set.

    Returns
    -------
    obs_ids : set of int
        Targets; none unless they are filled.
    """
    if not pairs.meta.get("fill"):
        return set()
    ids, need_s = (np.asarray(pairs.targets[it]) for it in ("OBS_ID", "ONTIME"))
    return set(ids[_filled_s(pairs, mimic_set) < LEAST_FILLED * need_s].tolist())


def _filled_s(pairs, mimic_set):
    """Good time of the mimics of each target in a set."""
    ids, length = np.asarray(pairs["TARGET_OBS_ID"]), np.nan_to_num(_lengths(pairs))
    length = np.where(np.asarray(pairs["MIMIC_SET"]) == mimic_set, length, 0)
    return np.array([length[ids == it].sum() for it in pairs.targets["OBS_ID"]])


def _fill_lines(pairs):
    need_s = np.asarray(pairs.targets["ONTIME"])
    found_s = np.array([_filled_s(pairs, it) for it in range(pairs.n_sets)])
    asked_s = pairs.n_sets * need_s.sum()
    # what lacks a minute at the end is full, see the matcher
    full = np.count_nonzero(found_s > need_s - 60)
    yield (
        f"{np.minimum(found_s, need_s).sum() / 3600:.1f} of {asked_s / 3600:.1f} h of "
        f"the targets are filled; {full} of {found_s.size} targets of all sets are full"
    )


def rejections(cuts, name, rows, columns, targets, donors):
    """Columns of the rejections by one cut.

    Parameters
    ----------
    cuts : `~gammapy_mimic.matching.cuts.Cuts`
        Cuts.
    name : str
        Cut.
    rows, columns : `~numpy.ndarray` of int
        Targets and donors of the pairs that it rejects.
    targets, donors : `~astropy.table.Table`
        Run tables.

    Returns
    -------
    columns : dict of str to `~numpy.ndarray`
        See `PairTable.rejected`.
    """
    feature = cuts.features[name]
    result = {
        "TARGET_OBS_ID": np.asarray(targets["OBS_ID"], dtype=np.int64)[rows],
        "DONOR_OBS_ID": np.asarray(donors["OBS_ID"], dtype=np.int64)[columns],
        "CUT": np.full(len(rows), name),
    }
    for key, runs, index in (
        ("TARGET_VALUE", targets, rows),
        ("DONOR_VALUE", donors, columns),
    ):
        texts = [""] * len(runs)
        if feature.column in runs.colnames and feature.kind != "area":
            texts = [
                _with_unit(it, feature.unit) for it in runs[feature.column].tolist()
            ]
        result[key] = np.array(texts, dtype=str)[index]
    delta = np.broadcast_to(cuts.delta(name, rows, columns), len(rows)).tolist()
    result["DIFFERENCE"] = np.array(
        [with_limit(it, feature) if feature.counts else "" for it in delta], dtype=str
    )
    result["LIMIT"] = np.full(len(rows), with_limit(cuts.tolerances[name], feature))
    return result


def with_limit(value, feature):
    """Write a difference or tolerance: a percentage where it is relative."""
    if feature.is_relative:
        return _with_unit(100 * value, "%")
    return _with_unit(value, feature.unit)


def _with_unit(value, unit):
    """Write a number and its unit; text as it is."""
    return value if isinstance(value, str) else f"{value:.6g} {unit}".strip()
