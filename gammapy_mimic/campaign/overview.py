"""What a person asks of pairs before a campaign, as text."""

import numpy as np
from astropy.table import Table

from gammapy_mimic.matching import FEATURES

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
        A line for the whole, a table with a line for each target, the rejections by
        cut, and notes.
    """
    targets, donors, flow = pairs.targets, pairs.donors, pairs.cut_flow
    hours = np.nansum(donors["ONTIME"]) / 3600
    lines = [
        f"{_count(len(targets), 'target')}, {_count(len(donors), 'possible donor')} "
        f"({hours:.1f} h), {_count(pairs.n_sets, 'mimic set')} asked for",
        *_table(pairs, flow),
        *_absent(pairs, flow),
    ]
    rejected = pairs.why()
    if len(rejected):
        example = rejected["DONOR_OBS_ID"][0]
        lines.append(f"Why is a run not taken?  --why OBS_ID, such as {example}")
    lines += [f"note: {note}" for note in pairs.notes]
    return "\n".join(lines)


def _count(number, noun):
    return f"{number} {noun}{'s' * (number != 1)}"


def _table(pairs, flow):
    ids = np.asarray(pairs["TARGET_OBS_ID"])
    chosen = np.ma.asarray(pairs["DONOR_OBS_ID"])
    distance = np.ma.asarray(pairs["DISTANCE"])
    rows = []
    for target, counts in zip(pairs.targets, flow, strict=True):
        own = (ids == target["OBS_ID"]) & ~np.ma.getmaskarray(chosen)
        names = [str(obs_id) for obs_id in chosen[own]]
        more = ["..."] if len(names) > _MAX_DONORS else []
        span = " - ".join(f"{distance[own][k]:.2f}" for k in _extremes(distance[own]))
        relaxed = set(",".join(np.asarray(pairs["RELAXED"])[own]).split(","))
        rows.append(
            {
                "target": int(target["OBS_ID"]),
                "zenith": f"{90 - target['ALT_PNT']:.1f}",
                "azimuth": f"{target['AZ_PNT']:.0f}",
                "sets": f"{len(names)} of {pairs.n_sets}",
                "distance": span or "-",
                "relaxed": ", ".join(sorted(relaxed - {"none", ""})) or "-",
                "donors": " ".join([*names[:_MAX_DONORS], *more]) or "none",
                "donors rejected": _rejection(counts),
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


def _rejection(counts):
    """Count what took the donors from a target, cut by cut."""
    number = counts["DONORS"] - counts["LEFT"]
    text = ", ".join(
        f"{counts[name]} {name.replace('_', ' ')}"
        for name in FEATURES
        if name in counts.colnames and counts[name]
    )
    return f"{number} of {counts['DONORS']}{': ' * bool(text)}{text}"


def _absent(pairs, flow):
    """Lines on mimics without a donor."""
    absent = int(np.count_nonzero(np.ma.getmaskarray(pairs["DONOR_OBS_ID"])))
    if not absent:
        return
    left = flow["LEFT_RELAXED"] if pairs.meta["relax"] else flow["LEFT"]
    none = int(np.count_nonzero(left == 0))
    if none:
        yield f"{_count(none, 'target')} without any donor within the tolerances"
    yield (
        f"{absent} of {len(pairs)} mimics have no donor, as each is used once in a set "
        "and once for a target: make fewer sets, relax a cut, or add donors"
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
        Table with both values and the limit for each cut that a pair fails; a line
        for each pair that fails none.

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
        other = "target" if role == "donor" else "donor"
        rejected = pairs.why(**{role: obs_id})
        failed = set(rejected[f"{other.upper()}_OBS_ID"])
        fitting = [str(i) for i in sides[other]["OBS_ID"] if i not in failed]
        lines.append(
            f"As a {role}, run {obs_id} fits {len(fitting)} of "
            f"{_count(len(sides[other]), other)}"
            + (f": {', '.join(fitting)}" if fitting else "")
        )
        if len(rejected):
            lines += rejected.pformat(max_lines=-1, max_width=-1)
    return "\n".join(lines)
