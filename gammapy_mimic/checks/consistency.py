"""Checks between the HDUs of one run, and between a run and the index."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gammapy_mimic.checks.findings import Finding, error, warning
from gammapy_mimic.checks.hdus import number
from gammapy_mimic.checks.standard import LAST_MJD, TIME_SCALES
from gammapy_mimic.data.compat import is_mirrored_by_gammapy
from gammapy_mimic.io.gadf import header_reference, is_drift, seconds_since

__all__ = ["HDURecord", "check_against_index", "check_run", "is_mirrored"]

TIME_TOLERANCE_S = 1e-3
"""Largest difference of two times that should be equal, in seconds."""

ANGLE_TOLERANCE_DEG = 1e-4
"""The same for angles: three times the single-precision rounding of 360 deg."""


@dataclass
class HDURecord:
    """What is kept of an HDU once its file is closed."""

    hdu_type: str
    file: str
    name: str
    header: dict = field(default_factory=dict)
    n_rows: int = 0
    times: np.ndarray | None = None
    """Event times, in seconds after the reference of the header."""
    gti: np.ndarray | None = None
    """Start and stop of the intervals, shape (n, 2), likewise."""


def check_run(
    obs_id: int, records: Mapping[str, HDURecord]
) -> Iterator[tuple[HDURecord, Finding]]:
    """Compare the HDUs of a run with each other and with the index.

    Parameters
    ----------
    obs_id : int
        Observation ID in the index.
    records : dict
        `HDURecord` of each HDU_TYPE.

    Yields
    ------
    record, finding
        Record and `Finding`.
    """
    events, gti = records.get("events"), records.get("gti")
    for record in records.values():
        value = number(record.header, "OBS_ID")
        if value is not None and value != obs_id:
            # an IRF may be shared by several runs, and have the OBS_ID of another one
            level = error if record.hdu_type == "events" else warning
            text = f"OBS_ID is {value:g}, in the index it is {obs_id}"
            yield record, level("OBS_ID", text)
    if events is not None:
        for finding in _check_times(events, gti):
            yield events, finding
    if events is not None and gti is not None:
        for finding in _check_references(events.header, gti.header):
            yield gti, finding
    for name in ("aeff", "edisp"):
        if name in records:
            for finding in _check_rad_max(records[name].header, records):
                yield records[name], finding
    if is_mirrored(records):
        for finding in _check_mirror(records["bkg"].header):
            yield records["bkg"], finding


def _reference(header):
    """Read the reference time of a header; None if it has none."""
    scale = header.get("TIMESYS")
    days, fraction = number(header, "MJDREFI"), number(header, "MJDREFF")
    if None in (days, fraction) or not 0 <= days + fraction <= LAST_MJD:
        return None
    if not isinstance(scale, str) or scale.upper() not in TIME_SCALES:
        return None
    return header_reference(header)


def _shift(header, destination):
    """Seconds to add to times of one header to compare them with those of another."""
    start, end = _reference(header), _reference(destination)
    if start is None or end is None:
        return None
    return float(seconds_since(start, end))


def _check_references(events, gti):
    one, other = _reference(events), _reference(gti)
    if one is None or other is None:
        return
    if one.scale != other.scale:
        yield warning("TIMESYS", f"TIMESYS {other.scale.upper()} is not that of EVENTS")
    elif abs(seconds_since(one, other)) > TIME_TOLERANCE_S:
        yield warning("MJDREFI", "The reference time is not that of EVENTS")


def _check_times(events, gti):
    header = events.header
    yield from _check_inside(
        events.times, number(header, "TSTART"), number(header, "TSTOP")
    )
    shift = None if gti is None or gti.gti is None else _shift(gti.header, header)
    if shift is None or not np.all(np.isfinite(gti.gti)) or not len(gti.gti):
        return
    intervals = gti.gti + shift
    yield from _check_ontime(header, intervals)
    if events.times is not None:
        # those outside TSTART..TSTOP are reported already
        start, stop = number(header, "TSTART"), number(header, "TSTOP")
        times = events.times
        if None not in (start, stop):
            times = times[(times >= start) & (times <= stop)]
        yield from _check_in_gti(times, intervals)


def _check_inside(times, start, stop):
    if times is None or None in (start, stop):
        return
    for what, name, late in (
        ("before TSTART", "TSTART", start - times),
        ("after TSTOP", "TSTOP", times - stop),
    ):
        bad = np.count_nonzero(late > TIME_TOLERANCE_S)
        if bad:
            text = f"{bad} of {len(times)} events are {what}, by up to"
            yield error(name, f"{text} {np.nanmax(late):.3g} s")


def _check_ontime(header, intervals):
    ontime = number(header, "ONTIME")
    total = np.sum(intervals[:, 1] - intervals[:, 0])
    if ontime is not None and abs(ontime - total) > TIME_TOLERANCE_S + 1e-6 * total:
        yield error("ONTIME", f"ONTIME is {ontime} s, the GTIs sum up to {total} s")
    start, stop = number(header, "TSTART"), number(header, "TSTOP")
    if start is not None and intervals.min() < start - TIME_TOLERANCE_S:
        yield error("TSTART", "A good time interval begins before TSTART")
    if stop is not None and intervals.max() > stop + TIME_TOLERANCE_S:
        yield error("TSTOP", "A good time interval ends after TSTOP")


OUTSIDE_SHARE = 0.01
"""Part of the events that may lie outside of the good time without a finding.

GADF allows it. Where the end of a run is rounded to seconds, some always do (in
H.E.S.S. DL3 DR1 up to 0.2 %); a wrong GTI table leaves out many more.
"""


def _check_in_gti(times, intervals):
    inside = np.zeros(len(times), dtype=bool)
    for start, stop in intervals:
        inside |= (times >= start - TIME_TOLERANCE_S) & (
            times <= stop + TIME_TOLERANCE_S
        )
    bad = np.count_nonzero(~inside & np.isfinite(times))
    if bad > OUTSIDE_SHARE * len(times):
        yield warning("TIME", f"{bad} of {len(times)} events are in no GTI")


def _check_rad_max(header, records):
    if header.get("HDUCLAS3") != "POINT-LIKE" or "rad_max" in records:
        return
    if header.get("RAD_MAX") is None:
        yield error(
            "RAD_MAX", "Point-like, but neither RAD_MAX keyword nor rad_max HDU"
        )


def is_mirrored(records: Mapping[str, HDURecord]) -> bool:
    """Whether gammapy mirrors the background because of CREATOR and HDUVERS."""
    events, bkg = records.get("events"), records.get("bkg")
    if events is None or bkg is None or not is_mirrored_by_gammapy(events.header):
        return False
    return bkg.header.get("HDUCLAS4") != "BKG_2D"


def _check_mirror(bkg):
    alignment = bkg.get("FOVALIGN")
    # H.E.S.S. DR1 says RADEC, means the mirrored model, and is read as such
    if alignment not in (None, "RADEC", "REVERSE_LON_RADEC"):
        yield warning(
            "FOVALIGN",
            f"FOVALIGN is {alignment!r}, but gammapy reads REVERSE_LON_RADEC "
            "because of CREATOR and HDUVERS of EVENTS",
        )


# --- index -------------------------------------------------------------------------


def check_against_index(
    header: Mapping[str, Any],
    n_events: int,
    row: Mapping[str, Any],
    index_header: Mapping[str, Any],
    resolution_s: float,
) -> Iterator[Finding]:
    """EVENTS header against the row of the run in the observation index.

    Parameters
    ----------
    header : dict
        EVENTS header.
    n_events : int
        Number of events.
    row : dict
        Row of the observation index.
    index_header : dict
        Header of the observation index.
    resolution_s : float
        Precision of the times in the index, in seconds.
    """
    drift = is_drift(header)
    if "OBS_MODE" in row and is_drift(row) != drift:
        yield error("OBS_MODE", f"OBS_MODE of the index is {row['OBS_MODE']!r}")
    names = ("ALT_PNT", "AZ_PNT") if drift else ("RA_PNT", "DEC_PNT")
    for name in names:
        value, expected = number(header, name), number(row, name)
        if value is None or expected is None:
            continue
        period = 360 if name in ("RA_PNT", "AZ_PNT") else np.inf
        distance = abs(value - expected)
        if not min(distance, period - distance) <= ANGLE_TOLERANCE_DEG:
            yield error(name, f"{name} is {value}, in the index it is {expected}")
    yield from _check_index_times(header, row, index_header, resolution_s)
    for name in ("ONTIME", "LIVETIME", "DEADC"):
        value, expected = number(header, name), number(row, name)
        if value is None or expected is None:
            continue
        if abs(value - expected) > 1e-4 * abs(value):
            yield warning(name, f"{name} is {value}, in the index it is {expected}")
    count = number(row, "EVENT_COUNT")
    if count is not None and count != n_events:
        yield warning(
            "EVENT_COUNT", f"{n_events} events, EVENT_COUNT of the index is {count:g}"
        )


def _check_index_times(header, row, index_header, resolution_s):
    shift = _shift(index_header, header)
    if shift is None:
        return
    for name in ("TSTART", "TSTOP"):
        value, expected = number(header, name), number(row, name)
        if None in (value, expected):
            continue
        if not abs(expected + shift - value) <= TIME_TOLERANCE_S + resolution_s:
            late = expected + shift - value
            yield error(name, f"{name} of the index differs by {late:.6g} s")
