"""Checks of the two index tables."""

from collections import Counter
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from astropy.io import fits

from gammapy_mimic.checks.findings import Finding, error, warning
from gammapy_mimic.checks.hdus import (
    check_checksum,
    check_columns,
    check_keywords,
    number,
    read_header,
)
from gammapy_mimic.checks.standard import (
    CLASSES_OF_TYPE,
    HDU_INDEX_COLUMNS,
    OBS_INDEX_COLUMNS,
    SINCE_03,
    index_keywords,
)
from gammapy_mimic.io.gadf import is_drift

__all__ = ["check_hdu_rows", "check_index_table", "check_obs_rows", "table_rows"]


def first_table(hdulist: fits.HDUList) -> fits.BinTableHDU:
    """Table that gammapy reads from an index file: the first."""
    for hdu in hdulist:
        if isinstance(hdu, fits.BinTableHDU):
            return hdu
    raise ValueError("the file has no binary table")


def check_index_table(hdu: fits.BinTableHDU, name: str) -> Iterator[Finding]:
    """Header and columns of an index table, "OBS" or "HDU"."""
    header = read_header(hdu)
    yield from check_checksum(hdu)
    yield from check_keywords(header, index_keywords(name))
    columns = HDU_INDEX_COLUMNS if name == "HDU" else OBS_INDEX_COLUMNS
    if name == "OBS" and "OBS_MODE" in hdu.columns.names:
        modes = {str(mode).strip().upper() for mode in hdu.data["OBS_MODE"]}
        if modes == {"DRIFT"}:
            columns = {k: v for k, v in columns.items() if k not in _RADEC}
    for finding in check_columns(hdu, columns):
        old = header.get("HDUVERS") == "0.2" and finding.key in SINCE_03
        yield warning(finding.key, finding.message) if old else finding


_RADEC = ("RA_PNT", "DEC_PNT")
_ALTAZ = ("ALT_PNT", "AZ_PNT")


def table_rows(hdu: fits.BinTableHDU) -> list[dict[str, Any]]:
    """Rows of a table as dicts; strings are stripped."""
    columns = {}
    for name in hdu.columns.names:
        columns[name] = [_plain(value) for value in hdu.data[name].tolist()]
    return [
        dict(zip(columns, values, strict=True))
        for values in zip(*columns.values(), strict=True)
    ]


def _plain(value):
    if isinstance(value, bytes):
        # astropy leaves what is not ASCII as bytes
        value = value.decode("ascii", errors="replace")
    return value.strip().replace("\0", "?") if isinstance(value, str) else value


def check_obs_rows(rows: list[dict[str, Any]]) -> Iterator[tuple[int | None, Finding]]:
    """Rows of the observation index; yields OBS_ID (or None) and finding."""
    counts = Counter(row.get("OBS_ID") for row in rows)
    for obs_id, count in counts.items():
        if count > 1:
            yield obs_id, error("OBS_ID", f"OBS_ID {obs_id} has {count} rows")
    for row in rows:
        drift = is_drift(row)
        for name in _ALTAZ if drift else _RADEC:
            value = number(row, name)
            if name not in row and drift:
                message = f"Column {name} is missing; drift mode needs it"
                yield row.get("OBS_ID"), error(name, message)
            elif value is not None and not np.isfinite(value):
                message = f"{name} is {value}"
                yield row.get("OBS_ID"), error(name, message)


def check_hdu_rows(rows: list[dict[str, Any]]) -> Iterator[tuple[int, Finding]]:
    """Rows of the HDU index; yields OBS_ID and finding."""
    counts = Counter((row["OBS_ID"], row["HDU_TYPE"]) for row in rows)
    for (obs_id, hdu_type), count in counts.items():
        if count > 1:
            message = f"{count} rows of type {hdu_type}; gammapy takes the first"
            yield obs_id, error("HDU_TYPE", message)
    for obs_id in dict.fromkeys(row["OBS_ID"] for row in rows):
        for hdu_type in ("events", "gti"):
            if (obs_id, hdu_type) not in counts:
                yield obs_id, error("HDU_TYPE", f"No row of type {hdu_type}")
    for row in rows:
        for finding in _check_hdu_row(row):
            yield row["OBS_ID"], finding


def _check_hdu_row(row):
    hdu_type, hdu_class = row["HDU_TYPE"], row["HDU_CLASS"]
    if hdu_type not in CLASSES_OF_TYPE:
        allowed = ", ".join(CLASSES_OF_TYPE)
        yield error("HDU_TYPE", f"HDU_TYPE is {hdu_type!r}; allowed: {allowed}")
    elif hdu_class not in CLASSES_OF_TYPE[hdu_type]:
        allowed = ", ".join(CLASSES_OF_TYPE[hdu_type])
        yield error(
            "HDU_CLASS",
            f"HDU_CLASS of {hdu_type} is {hdu_class!r}; allowed: {allowed}",
        )
    if PurePosixPath(row["FILE_DIR"]).is_absolute():
        yield warning(
            "FILE_DIR", f"FILE_DIR {row['FILE_DIR']!r} is absolute: do not move it"
        )
