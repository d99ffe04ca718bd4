"""What a comparison of runs had to leave out, and runs that look wrong."""

import numpy as np

from gammapy_mimic.matching.features import MEASURED
from gammapy_mimic.matching.warn import source_warnings

__all__ = ["horizon_warnings", "left_out_notes", "tell"]

_MAX_NAMED = 8


def left_out_notes(runs, tolerances, features):
    """Say what the comparison had to leave out, and what looks wrong."""
    notes = [
        f"{side}: run {obs_id} {why}, left out"
        for side, table in runs.items()
        for obs_id, why in table.meta["left_out"]
    ]
    is_measured = all(table.meta.get("is_measured") for table in runs.values())
    for name in tolerances:
        if name in MEASURED and name != "rate" and not is_measured:
            continue  # no pair has passed the cuts before
        column = features[name].column
        absent = {}
        for side, table in runs.items():
            if column not in table.colnames:
                absent[side] = "all"
                continue
            values = np.asarray(table[column])
            gone = values == "" if values.dtype.kind == "U" else np.isnan(values)
            if gone.all():
                absent[side] = "all"
            elif gone.any() and name not in MEASURED:
                absent[side] = int(np.count_nonzero(gone))
        if name == "rate" and all(
            "RATE_SPECTRUM" in it.colnames for it in runs.values()
        ):
            continue
        if "all" in absent.values():
            sides = [side for side, number in absent.items() if number == "all"]
            notes.append(f"{name} not compared: {' and '.join(sides)} lack {column}")
        elif absent:
            text = " and ".join(f"{number} {side}" for side, number in absent.items())
            notes.append(f"{name} not compared for {text} without {column}")
    return notes


def horizon_warnings(table):
    """Warn of runs that cannot have been taken so."""
    side = table.meta["side"]
    below = np.asarray(table["OBS_ID"])[np.asarray(table["ALT_PNT"]) < 0].tolist()
    if below:
        named = ", ".join(map(str, below[:_MAX_NAMED]))
        more = ", ..." if len(below) > _MAX_NAMED else ""
        yield (
            f"{side}: {len(below)} pointings below the horizon (run {named}{more}), "
            "which never match: are time (TSTART, MJDREFI, MJDREFF, TIMESYS) and site "
            "right? Set the site by location"
        )


def _index_rates(runs):
    """Warn of rates that count all events of targets, by the index."""
    if all(np.isfinite(table["RATE"]).any() for table in runs.values()):
        yield (
            "rates are EVENT_COUNT over ontime by the index: they count all events of "
            "the targets, also at the position of interest and below the energy "
            "threshold, so that matches and rate ratios are not blind; without "
            "rate_proxy = 'index' rates are counted in event files, outside of sources"
        )


def tell(log, matcher, pairs, runs, slices, measured):
    """Log notes, and warnings of sources, runs and missing donors; keep the former."""
    for note in pairs.meta["notes"]:
        log.info(note)
    lacks_energy = matcher.energy_min is None and "effective_area" in matcher.tolerances
    if lacks_energy and all(it.is_possible for it in measured.values()):
        pairs.meta["notes"].append("effective_area not compared: give energy_min")
    texts = source_warnings(
        runs, slices, catalogs=matcher.catalogs, scrambled=matcher.scrambled
    )
    of_index = not callable(matcher.rate_proxy)
    if of_index and all("RATE" in table.colnames for table in runs.values()):
        texts += _index_rates(runs)
    for side in runs.values():
        texts += [*horizon_warnings(side), *side.meta.get("unreadable", [])]
    is_paired = slices["column"] >= 0
    for side, name in (("targets", "row"), ("donors", "column")):
        for row in np.unique(slices[name][is_paired]).tolist():
            texts += measured[side].warnings.get(row, [])
    # a run may be both target and donor
    pairs.meta["warnings"] = list(dict.fromkeys(texts))
    for text in pairs.meta["warnings"]:
        log.warning(text)
    if pairs.missing:
        log.warning(
            "%d of %d targets have no donor: %s; see rejected or summary()",
            len(pairs.missing), len(runs["targets"]), pairs.missing,
        )  # fmt: skip
