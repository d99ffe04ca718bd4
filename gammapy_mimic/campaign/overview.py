"""What a person asks of pairs before a campaign, as text."""

import numpy as np
from astropy.table import Table

from gammapy_mimic.sources.stars import star_lines

__all__ = ["explain_run", "overview"]

_MAX_DONORS = 5


def overview(pairs):
    """Describe what donors there are for each target, and why others were rejected.

    Parameters
    ----------
    pairs : `~gammapy_mimic.matching.PairTable`
        Pairs.

    Returns
    -------
    text : str
        A line for the whole, what rates say, a table with a line for each target, the
        rejections by cut, bright stars, warnings and notes.
    """
    targets, donors, flow = pairs.targets, pairs.donors, pairs.cut_flow
    hours = np.nansum(donors["ONTIME"]) / 3600
    lines = [
        f"{_count(len(targets), 'target')}, {_count(len(donors), 'possible donor')} "
        f"({hours:.1f} h), {_count(pairs.n_sets, 'mimic set')} asked for",
        *pairs.headlines(),
        *_table(pairs, flow),
        *_absent(pairs, flow),
    ]
    if (flow["LEFT"] < flow["DONORS"]).any():
        taken = set(np.ma.asarray(pairs["DONOR_OBS_ID"]).compressed().tolist())
        free = [int(it) for it in donors["OBS_ID"] if int(it) not in taken]
        example = (free or [int(donors["OBS_ID"][0])])[0]
        lines.append(f"Why is a run not taken?  --why OBS_ID, such as {example}")
    lines += [f"stars: {line}" for line in star_lines(targets)]
    lines += [f"warning: {text}" for text in pairs.warnings]
    lines += [f"note: {note}" for note in pairs.notes]
    return "\n".join(lines)


def _count(number, noun):
    return f"{number} {noun}{'s' * (number != 1)}"


def _table(pairs, flow):
    ids = np.asarray(pairs["TARGET_OBS_ID"])
    chosen = np.ma.asarray(pairs["DONOR_OBS_ID"])
    distance = np.ma.asarray(pairs["DISTANCE"])
    ratio = np.ma.masked_invalid(np.ma.asarray(pairs["RATE_RATIO"]))
    rows = []
    for target, counts in zip(pairs.targets, flow, strict=True):
        own = (ids == target["OBS_ID"]) & ~np.ma.getmaskarray(chosen)
        names = [str(obs_id) for obs_id in chosen[own]]
        sets = len(np.unique(pairs["MIMIC_SET"][own]))
        ratios = ratio[own].compressed()
        more = ["..."] if len(names) > _MAX_DONORS else []
        span = " - ".join(f"{distance[own][k]:.2f}" for k in _extremes(distance[own]))
        relaxed = set(",".join(np.asarray(pairs["RELAXED"])[own]).split(","))
        rows.append(
            {
                "target": int(target["OBS_ID"]),
                "zenith": f"{90 - target['ALT_PNT']:.1f}",
                "azimuth": f"{target['AZ_PNT']:.0f}",
                "sets": f"{sets} of {pairs.n_sets}",
                "distance": span or "-",
                "rate ratio": (
                    f"{ratios.min():.2f} - {ratios.max():.2f}" if len(ratios) else "-"
                ),
                "relaxed": ", ".join(sorted(relaxed - {"none", ""})) or "-",
                "donors": " ".join([*names[:_MAX_DONORS], *more]) or "none",
                "donors rejected": _rejection(counts, pairs.features),
            }
        )
    table = Table(rows)
    left = ("donors", "relaxed", "donors rejected")
    align = ["<" if name in left else ">" for name in table.colnames]
    lines = table.pformat(max_lines=-1, max_width=-1, align=align)
    return [line.rstrip() for line in lines]


def _extremes(values):
    """Find the smallest and the largest value; nothing in an empty array."""
    return (values.argmin(), values.argmax()) if len(values) else ()


def _rejection(counts, features):
    """Count what took the donors from a target, cut by cut."""
    number = counts["DONORS"] - counts["LEFT"]
    text = ", ".join(
        f"{counts[name]} {name.replace('_', ' ')}"
        for name in features
        if name in counts.colnames and counts[name]
    )
    return f"{number} of {counts['DONORS']}{': ' * bool(text)}{text}"


def _absent(pairs, flow):
    """Lines on mimics without a donor."""
    absent = int(np.count_nonzero(np.ma.getmaskarray(pairs["DONOR_OBS_ID"])))
    if not absent:
        return
    left = flow["LEFT_RELAXED"] if pairs.meta["relax"] else flow["LEFT"]
    reuse = pairs.meta["reuse"]
    none = int(np.count_nonzero(left == 0))
    if none:
        yield f"{_count(none, 'target')} without any donor within the tolerances"
    yield (
        f"{absent} of {len(pairs)} mimics have no donor, as each is used "
        f"{'once' if reuse == 1 else f'{reuse} times'} in a set and once for a target: "
        "make fewer sets, relax a cut, reuse or add donors"
    )


def explain_run(pairs, obs_id):
    """Explain why a run was not used, cut by cut.

    Parameters
    ----------
    pairs : `~gammapy_mimic.matching.PairTable`
        Pairs.
    obs_id : int
        OBS_ID of a donor or a target.

    Returns
    -------
    text : str
        What it fits, before and after relaxation, for what it is taken, how often each
        cut rejects it; then a table with both values, their difference and the limit
        for each cut that a pair fails.

    Raises
    ------
    ValueError
        If the run is neither a target nor a donor.
    """
    sides = {"donor": pairs.donors, "target": pairs.targets}
    roles = [side for side, runs in sides.items() if obs_id in runs["OBS_ID"]]
    if not roles:
        raise ValueError(f"run {obs_id} is neither a target nor a possible donor")
    lines = []
    for role in roles:
        lines += _explain_role(pairs, obs_id, role, sides)
    return "\n".join(lines)


def _explain_role(pairs, obs_id, role, sides):
    """Lines on a run as a donor or as a target."""
    other = "target" if role == "donor" else "donor"
    own, others = f"{role.upper()}_OBS_ID", f"{other.upper()}_OBS_ID"
    rejected = pairs.why(**{role: obs_id})
    failed = {}
    for run, cut in zip(rejected[others].tolist(), rejected["CUT"], strict=True):
        failed.setdefault(run, []).append(str(cut))
    relaxed = {name for name, _ in pairs.meta["relax"]}
    every = [int(it) for it in sides[other]["OBS_ID"]]
    fits = [it for it in every if it not in failed]
    yield f"As a {role}, run {obs_id} fits {_of(fits, every, other)}"
    wider = [it for it in failed if relaxed.issuperset(failed[it])]
    if wider:
        yield (
            f"  after relaxation of {', '.join(sorted(relaxed))} it may serve "
            f"{_of(wider, every, other)}"
        )
    chosen = pairs[np.ma.filled(np.ma.asarray(pairs[own]), -1) == obs_id]
    chosen = chosen[~np.ma.getmaskarray(np.ma.asarray(chosen["DONOR_OBS_ID"]))]
    used = [
        f"{row[others]} in set {row['MIMIC_SET']}"
        + (f" (relaxed: {row['RELAXED']})" if row["RELAXED"] != "none" else "")
        for row in chosen
    ]
    none = "no, others fit better or none is left" if fits or wider else "no"
    yield f"  taken: {', '.join(used) or none}"
    counts = {}
    for cuts in failed.values():
        for cut in cuts:
            counts[cut] = counts.get(cut, 0) + 1
    if counts:
        text = ", ".join(f"{number} by {cut}" for cut, number in counts.items())
        yield f"  rejected (a pair may fail several cuts): {text}"
        yield from rejected.pformat(max_lines=-1, max_width=-1)


def _of(found, every, noun):
    names = f": {', '.join(map(str, found))}" if found else ""
    return f"{len(found)} of {_count(len(every), noun)}{names}"
