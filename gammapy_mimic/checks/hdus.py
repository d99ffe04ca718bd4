"""Checks of one HDU by itself: keywords, columns and values."""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from astropy import units as u
from astropy.io import fits

from gammapy_mimic.checks.findings import Finding, error, warning
from gammapy_mimic.checks.standard import (
    COLUMN_ALIASES,
    DEFAULTED,
    EVENTS_COLUMNS,
    FOV_ALIGNMENTS,
    GTI_COLUMNS,
    IRF_COLUMNS,
    POINTING_COLUMNS,
    POINTING_KEYWORDS,
    SINCE_03,
    VERSIONS,
    Column,
    Keyword,
    events_keywords,
    gti_keywords,
    irf_keywords,
)
from gammapy_mimic.io.gadf import OBS_MODES, is_drift

__all__ = [
    "check_checksum",
    "check_columns",
    "check_events",
    "check_gti",
    "check_irf",
    "check_keywords",
    "check_pointing",
    "number",
    "read_header",
    "scalar_column",
]

_KINDS = {"int": "iu", "float": "f", "float64": "f", "str": "SU"}


def read_header(hdu: fits.BinTableHDU) -> dict[str, Any]:
    """Header as a plain dict; an unreadable card has the value None."""
    header: dict[str, Any] = {}
    for card in hdu.header.cards:
        try:
            keyword, value = card.keyword, card.value
        except (fits.VerifyError, ValueError):
            keyword, value = card.image[:8].strip(), None
        if isinstance(value, fits.card.Undefined):
            value = None
        header.setdefault(keyword, value)
    return header


def number(header: Mapping[str, Any], name: str) -> float | None:
    """Header value as float, or None if it is missing or not a number."""
    value = header.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value)


# --- keywords and columns ----------------------------------------------------------


def check_keywords(
    header: Mapping[str, Any], keywords: Mapping[str, Keyword]
) -> Iterator[Finding]:
    """Presence, type and value of mandatory keywords."""
    for name, keyword in keywords.items():
        if header.get(name) is None:
            yield _missing(name, header)
        else:
            yield from _check_value(name, header[name], keyword)
    version = header.get("HDUVERS")
    if "HDUVERS" in keywords and isinstance(version, str) and version not in VERSIONS:
        yield warning(
            "HDUVERS", f"HDUVERS is {version!r}; checked as if it were {VERSIONS[-1]!r}"
        )


def _missing(name, header):
    what = "is missing" if name not in header else "has no readable value"
    if name in DEFAULTED:
        return warning(name, f"Keyword {name} {what}; readers take a default")
    if name in SINCE_03 and header.get("HDUVERS") == "0.2":
        return warning(name, f"Keyword {name} {what}; GADF 0.3 asks for it")
    return error(name, f"Mandatory keyword {name} {what}")


def _check_value(name, value, keyword):
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if keyword.type == "str":
        if not isinstance(value, str):
            yield error(name, f"{name} is {value!r}; it must be a string")
        elif keyword.values and value.strip().upper() not in keyword.values:
            yield error(
                name, f"{name} is {value!r}; allowed: {', '.join(keyword.values)}"
            )
        elif name == "TIMESYS" and value != value.upper():
            yield warning(name, f"{name} is {value!r}; it should be upper case")
        return
    if not is_number:
        yield error(name, f"{name} is {value!r}; it must be a number ({keyword.type})")
        return
    if keyword.type == "int" and not float(value).is_integer():
        yield error(name, f"{name} is {value!r}; it must be an integer")
    elif type(value).__name__ != keyword.type:
        yield warning(name, f"{name} is {value!r}; GADF wants type {keyword.type}")
    if keyword.limits is not None:
        low, high = keyword.limits
        if not low <= value <= high:
            yield error(name, f"{name} is {value!r}; it must lie in {low}..{high}")


@lru_cache(maxsize=256)
def _unit(text):
    return u.Unit(text or "", parse_strict="silent")


def check_columns(
    hdu: fits.BinTableHDU, columns: Mapping[str, Column], *, scalar: bool = True
) -> Iterator[Finding]:
    """Presence, type and unit of mandatory columns; known units of all others.

    Parameters
    ----------
    hdu : `~astropy.io.fits.BinTableHDU`
        Table.
    columns : dict
        Name and `Column` of each mandatory column.
    scalar : bool, optional
        Whether a row holds one value, not an array. Default is True.
    """
    names = hdu.columns.names
    found = {}
    for name, column in columns.items():
        alias = COLUMN_ALIASES.get(name)
        if name not in names and alias in names:
            yield warning(name, f"Column {alias} is used as {name}")
            found[alias] = column
        elif name not in names:
            yield error(name, f"Mandatory column {name} is missing")
        else:
            found[name] = column
    for name in names:
        if name in found:
            yield from _check_column(hdu, name, found[name], scalar)
        elif isinstance(_unit(hdu.columns[name].unit), u.UnrecognizedUnit):
            unit = hdu.columns[name].unit
            yield warning(name, f"Column {name} has the unknown unit {unit!r}")


def _check_column(hdu, name, column, scalar):
    base, shape = hdu.columns.dtype[name].base, hdu.columns.dtype[name].shape
    if base.kind not in _KINDS[column.type]:
        text = hdu.columns[name].format
        yield error(name, f"Column {name} has format {text}; it must be {column.type}")
    elif column.type == "float64" and base.itemsize < 8:
        yield error(name, f"Column {name} is single precision; times need float64")
    elif scalar and shape and column.type != "str":
        yield error(name, f"Column {name} holds arrays of shape {shape} in each row")
    yield from _check_unit(name, hdu.columns[name].unit, column)


def _check_unit(name, text, column):
    if column.type in ("int", "str"):
        return
    unit, allowed = _unit(text), [_unit(item) for item in column.units]
    wanted = column.units[0] or "none"
    if isinstance(unit, u.UnrecognizedUnit):
        yield error(name, f"Column {name} has the unknown unit {text!r}")
    elif not any(unit.is_equivalent(item) for item in allowed):
        yield error(name, f"Column {name} has unit {text or 'none'!r}, not {wanted!r}")
    elif unit not in allowed:
        yield warning(name, f"Column {name} has unit {text!r}; GADF wants {wanted!r}")


def check_checksum(hdu: fits.BinTableHDU) -> Iterator[Finding]:
    """DATASUM and CHECKSUM, if the header has them; to be called before `.data`."""
    if hdu.verify_datasum() == 0:
        yield error("DATASUM", "DATASUM does not match the data")
    elif hdu.verify_checksum() == 0:
        yield error("CHECKSUM", "CHECKSUM does not match the HDU")


# --- EVENTS, GTI, POINTING ---------------------------------------------------------


def check_events(hdu: fits.BinTableHDU, header: Mapping[str, Any]) -> Iterator[Finding]:
    """EVENTS: keywords, columns and values."""
    yield from check_keywords(header, events_keywords(is_drift(header)))
    yield from _check_obs_mode(header)
    yield from check_columns(hdu, EVENTS_COLUMNS)
    yield from _check_header_times(header)
    if not len(hdu.data):
        return
    yield from _check_finite(hdu, ("TIME", "RA", "DEC", "ENERGY"))
    yield from _check_event_values(hdu)


def _check_obs_mode(header):
    mode = header.get("OBS_MODE")
    # version 0.2 allowed any mode
    if header.get("HDUVERS") == "0.2" or not isinstance(mode, str):
        return
    if mode.upper() not in OBS_MODES:
        yield warning(
            "OBS_MODE",
            f"OBS_MODE is {mode!r}; GADF 0.3 knows {', '.join(OBS_MODES)}",
        )


def _check_header_times(header):
    names = ("TSTART", "TSTOP", "ONTIME", "LIVETIME", "DEADC")
    start, stop, ontime, livetime, deadc = (number(header, name) for name in names)
    if None not in (start, stop) and stop <= start:
        yield error("TSTOP", f"TSTOP {stop} is not after TSTART {start}")
    if not ontime or None in (livetime, deadc):
        return
    # headers may come from single-precision values
    if abs(livetime / ontime - deadc) > 1e-5:
        yield error(
            "DEADC", f"DEADC is {deadc}, but LIVETIME/ONTIME is {livetime / ontime:.7g}"
        )


def scalar_column(hdu: fits.BinTableHDU, name: str) -> np.ndarray | None:
    """Values of a column with one number in each row, in native order, or None."""
    if name not in hdu.columns.names:
        return None
    values = np.asarray(hdu.data[name])
    if values.ndim != 1 or values.dtype.kind not in "iuf":
        return None
    return values.astype(values.dtype.newbyteorder("="))


def _check_finite(hdu, names):
    for name in names:
        values = scalar_column(hdu, name)
        bad = 0 if values is None else np.count_nonzero(~np.isfinite(values))
        if bad:
            yield error(name, f"{bad} of {len(values)} values of {name} are not finite")


def _check_event_values(hdu):
    for name, outside, level, text in (
        ("RA", lambda x: (x < 0) | (x > 360), warning, "outside 0..360 deg"),
        ("DEC", lambda x: np.abs(x) > 90, error, "outside -90..90 deg"),
        ("ENERGY", lambda x: x <= 0, error, "not positive"),
    ):
        values = scalar_column(hdu, name)
        bad = 0 if values is None else np.count_nonzero(outside(values))
        if bad and hdu.columns[name].unit in ("deg", "TeV"):
            yield level(name, f"{bad} of {len(values)} values of {name} are {text}")
    event_id = scalar_column(hdu, "EVENT_ID")
    if event_id is not None:
        repeated = len(event_id) - len(np.unique(event_id))
        if repeated:
            yield error("EVENT_ID", f"{repeated} values of EVENT_ID are repeated")
    time = scalar_column(hdu, "TIME")
    if time is not None and np.any(np.diff(time) < 0):
        yield warning("TIME", "Events are not in the order of their times")


def check_gti(hdu: fits.BinTableHDU, header: Mapping[str, Any]) -> Iterator[Finding]:
    """GTI: keywords, columns and intervals."""
    yield from check_keywords(header, gti_keywords())
    yield from check_columns(hdu, GTI_COLUMNS)
    if not len(hdu.data):
        yield error("GTI", "GTI has no interval")
        return
    yield from _check_finite(hdu, ("START", "STOP"))
    start, stop = scalar_column(hdu, "START"), scalar_column(hdu, "STOP")
    if start is None or stop is None:
        return
    empty = np.count_nonzero(stop <= start)
    if empty:
        yield error("STOP", f"{empty} good time intervals end before they begin")
    if np.any(np.diff(start) < 0):
        yield warning("START", "Good time intervals are not in the order of time")
    order = np.argsort(start)
    overlaps = np.count_nonzero(start[order][1:] < stop[order][:-1])
    if overlaps and not empty:
        yield error("GTI", f"{overlaps} good time intervals overlap")


def check_pointing(
    hdu: fits.BinTableHDU, header: Mapping[str, Any]
) -> Iterator[Finding]:
    """POINTING, which gammapy does not read."""
    yield from check_keywords(header, POINTING_KEYWORDS)
    yield from check_columns(hdu, POINTING_COLUMNS)
    yield from _check_finite(hdu, POINTING_COLUMNS)


# --- IRFs -------------------------------------------------------------------------


def check_irf(
    hdu: fits.BinTableHDU, header: Mapping[str, Any], hdu_class: str
) -> Iterator[Finding]:
    """IRF: keywords, columns, axes, and RAD_MAX if it is a keyword."""
    yield from check_keywords(header, irf_keywords(hdu_class))
    yield from check_columns(hdu, IRF_COLUMNS[hdu_class], scalar=False)
    alignment = header.get("FOVALIGN")
    if alignment == "REVERSE_LON_RADEC":
        text = "FOVALIGN REVERSE_LON_RADEC is gammapy's own, not GADF's"
        yield warning("FOVALIGN", text)
    elif isinstance(alignment, str) and alignment not in FOV_ALIGNMENTS:
        allowed = ", ".join(FOV_ALIGNMENTS)
        yield error("FOVALIGN", f"FOVALIGN is {alignment!r}; allowed: {allowed}")
    rad_max = header.get("RAD_MAX")
    if rad_max is not None and not isinstance(rad_max, float):
        yield error("RAD_MAX", f"RAD_MAX is {rad_max!r}; gammapy insists on a float")
    if len(hdu.data) != 1:
        yield error("NAXIS2", f"The table has {len(hdu.data)} rows; an IRF has one")
        return
    yield from _check_arrays(hdu, IRF_COLUMNS[hdu_class])


def _check_arrays(hdu, columns):
    names = set(hdu.columns.names)
    aliases = {name: COLUMN_ALIASES.get(name, name) for name in columns}
    actual = {name: name if name in names else aliases[name] for name in columns}
    arrays = {
        name: hdu.data[actual[name]][0] for name in columns if actual[name] in names
    }
    size = 1
    for name in [name[:-3] for name in columns if name.endswith("_LO")]:
        low, high = arrays.pop(f"{name}_LO", None), arrays.pop(f"{name}_HI", None)
        if low is None or high is None:
            size = None
            continue
        size = size and size * np.size(low)
        yield from _check_axis(name, np.atleast_1d(low), np.atleast_1d(high))
    for name, values in arrays.items():
        if np.asarray(values).dtype.kind not in "iuf":
            continue
        if size and np.size(values) != size:
            yield error(
                name, f"{name} has {np.size(values)} values, its axes have {size} bins"
            )
        if not np.all(np.isfinite(values)):
            yield warning(name, f"{name} has values that are not finite")


def _check_axis(name, low, high):
    if low.shape != high.shape:
        yield error(f"{name}_LO", f"{name}_LO and {name}_HI differ in length")
    elif low.dtype.kind not in "iuf" or high.dtype.kind not in "iuf":
        return
    elif not (np.all(np.isfinite(low)) and np.all(np.isfinite(high))):
        yield error(f"{name}_LO", f"Axis {name} has values that are not finite")
    # equal edges: nodes instead of bins
    elif np.any(high < low) or np.any(np.diff(low) <= 0):
        yield error(f"{name}_LO", f"Axis {name} does not increase")
