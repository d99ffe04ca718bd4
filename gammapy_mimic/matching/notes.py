"""What a comparison of runs had to leave out, and runs that look wrong."""

import numpy as np

from gammapy_mimic.matching.features import MEASURED

__all__ = ["horizon_warnings", "left_out_notes"]

_MAX_NAMED = 8


def left_out_notes(runs, tolerances, features):
    """Say what the comparison had to leave out, and what looks wrong."""
    notes = [
        f"{side}: run {obs_id} {why}, left out"
        for side, table in runs.items()
        for obs_id, why in table.meta["left_out"]
    ]
    for name in tolerances:
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
