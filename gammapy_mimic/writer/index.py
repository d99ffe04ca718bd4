"""The two index tables of a data store."""

import struct
import zlib

import numpy as np
from astropy import units as u
from astropy.io import fits
from astropy.table import MaskedColumn, Table

from gammapy_mimic.io.files import PRIMARY, error_context
from gammapy_mimic.io.gadf import (
    CREATOR,
    hduclass_keywords,
    header_reference,
    reference_keywords,
    seconds_since,
)
from gammapy_mimic.io.tables import table_content

__all__ = [
    "hdu_index",
    "index_rows",
    "is_own_index",
    "obs_index",
    "read_rows",
    "stored_gzip",
]

_BLOCK_SIZE = 65535
"""Most bytes of a stored block (RFC 1951)."""

# Columns of the observation index with their units: those which are always there ...
REQUIRED = {
    "OBS_ID": None,
    "OBS_MODE": None,
    "RA_PNT": "deg",
    "DEC_PNT": "deg",
    "GLON_PNT": "deg",
    "GLAT_PNT": "deg",
    "ALT_PNT": "deg",
    "AZ_PNT": "deg",
    "ZEN_PNT": "deg",
    "TSTART": "s",
    "TSTOP": "s",
    "ONTIME": "s",
    "LIVETIME": "s",
    "DEADC": None,
    "DATE-OBS": None,
    "DATE-END": None,
    "TELESCOP": None,
    "INSTRUME": None,
    "EVENT_COUNT": None,
}
# ... and those which are there if one of the runs has the card.
OPTIONAL = {
    "OBJECT": None,
    "RA_OBJ": "deg",
    "DEC_OBJ": "deg",
    "N_TELS": None,
    "TELLIST": None,
    "QUALITY": None,
    "MUONEFF": None,
    "NSBLEVEL": None,
    "TRGRATE": "Hz",
    "ZTRGRATE": "Hz",
    "AIRTEMP": "deg_C",
    "PRESSURE": "hPa",
    "RELHUM": None,
    "BROKPIX": None,
    "EV_CLASS": None,
    "TARGET_NAME": None,
    "TARGET_TAG": None,
}
PROVENANCE = "MIM_"
LOCATION = {"GEOLON": "deg", "GEOLAT": "deg", "ALTITUDE": "m"}
REFERENCE = ("MJDREFI", "MJDREFF", "TIMESYS", "TIMEREF")

# Columns of a given table that the columns above replace.
REPLACED = {"TIME-OBS", "TIME-END", "DATE_OBS", "TIME_OBS", "DATE_END", "TIME_END"}


def index_rows(header, n_events, hdus, *, file_name, size):
    """Make the entries of one run in the index tables.

    Parameters
    ----------
    header : dict
        Metadata of the EVENTS header.
    n_events : int
        Number of events.
    hdus : list of `OutputHDU`
        HDUs of the file.
    file_name : str
        Name of the file.
    size : int
        Its size in bytes.

    Returns
    -------
    rows : dict
        ``obs``: a dict for the observation index; ``hdus``: a list of dicts for the
        HDU index. All of plain Python values.
    """
    names = [*REQUIRED, *OPTIONAL, *LOCATION, *REFERENCE]
    names += [key for key in header if str(key).startswith(PROVENANCE)]
    obs = {name: _scalar(header[name]) for name in names if name in header}
    obs["ZEN_PNT"] = 90.0 - obs["ALT_PNT"]
    obs["EVENT_COUNT"] = n_events
    for key in ("OBS", "END"):
        if header.get(f"TIME-{key}"):
            obs[f"DATE-{key}"] = f"{header[f'DATE-{key}']}T{header[f'TIME-{key}']}"
    shared = {"OBS_ID": obs["OBS_ID"], "FILE_DIR": ".", "FILE_NAME": file_name}
    rows = [
        {
            **shared,
            "HDU_TYPE": hdu.hdu_type,
            "HDU_CLASS": hdu.hdu_class,
            "HDU_NAME": hdu.name,
            "SIZE": size,
        }
        for hdu in hdus
    ]
    return {"obs": obs, "hdus": rows}


def _scalar(value):
    """Plain value of a card; the first one of repeated cards."""
    if isinstance(value, list | tuple):
        value = value[0] if value else None
    if isinstance(value, u.Quantity):
        value = value.value
    if isinstance(value, np.generic):
        value = value.item()
    return value if isinstance(value, str | int | float) else None


def hdu_index(rows):
    """HDU index table as a FITS file.

    Parameters
    ----------
    rows : list of dict
        What `index_rows` gave for each run.

    Returns
    -------
    content : bytes
        FITS file, not compressed.
    """
    entries = [entry for row in rows for entry in row["hdus"]]
    names = ["OBS_ID", "HDU_TYPE", "HDU_CLASS", "FILE_DIR", "FILE_NAME", "HDU_NAME"]
    columns = {
        name: np.array([entry[name] for entry in entries]) for name in [*names, "SIZE"]
    }
    return _file(columns, hduclass_keywords("INDEX", "HDU"), name="HDU_INDEX")


def obs_index(rows, obs_table=None):
    """Observation index table as a FITS file.

    Parameters
    ----------
    rows : list of dict
        What `index_rows` gave for each run.
    obs_table : `~astropy.table.Table`, optional
        Table whose further columns are passed through, by OBS_ID. Default is None.

    Returns
    -------
    content : bytes
        FITS file, not compressed. All times are in the time reference of the first
        run. Values that a run does not have are masked or NaN.
    """
    runs = [row["obs"] for row in rows]
    reference = header_reference(runs[0])
    runs = [_in_reference(run, reference) for run in runs]
    units = REQUIRED | OPTIONAL
    for run in runs:
        units |= dict.fromkeys(key for key in run if key.startswith(PROVENANCE))
    if any(run[key] != runs[0][key] for run in runs for key in LOCATION):
        units |= LOCATION
    columns = {}
    for name, unit in units.items():
        values = [run.get(name) for run in runs]
        if name in REQUIRED or any(value is not None for value in values):
            columns[name] = _column(values, unit)
    if obs_table is not None:
        columns |= _passed_columns(obs_table, columns)
    keywords = hduclass_keywords("INDEX", "OBS")
    keywords |= reference_keywords(reference, header=runs[0])
    keywords |= {key: runs[0][key] for key in LOCATION}
    return _file(columns, keywords, name="OBS_INDEX")


def is_own_index(path):
    """Whether an index table was written by this package.

    Parameters
    ----------
    path : `~pathlib.Path`
        File; ValueError if it cannot be read.

    Returns
    -------
    is_own : bool
        By its CREATOR.
    """
    with error_context(str(path)):
        creator = str(fits.getheader(path, 1).get("CREATOR"))
    return creator.split()[:1] == CREATOR.split()[:1]


def read_rows(obs_path, hdu_path):
    """Read the rows of a data store that this package wrote.

    Parameters
    ----------
    obs_path, hdu_path : `~pathlib.Path`
        Both index tables; ValueError if they cannot be read.

    Returns
    -------
    rows : list of dict
        As `index_rows` gives them.
    obs_table : `~astropy.table.Table`
        Observation index, with columns that were passed through.
    """
    with error_context(f"{obs_path.parent}, its index"):
        with fits.open(obs_path) as obs_file, fits.open(hdu_path) as hdu_file:
            obs_table, header = Table.read(obs_file[1]), obs_file[1].header
            entries = _plain_rows(Table.read(hdu_file[1]))
        shared = {name: header[name] for name in (*REFERENCE, *LOCATION)}
        hdus = {}
        for entry in entries:
            hdus.setdefault(entry["OBS_ID"], []).append(entry)
        rows = [
            {"obs": shared | row, "hdus": hdus[row["OBS_ID"]]}
            for row in _plain_rows(obs_table)
        ]
    return rows, obs_table


def _plain_rows(table):
    """Rows as dicts of plain values, without those that are masked or NaN."""
    lists = [np.ma.asarray(table[name]).tolist() for name in table.colnames]
    for values in zip(*lists, strict=True):
        row = dict(zip(table.colnames, values, strict=True))
        yield {k: v for k, v in row.items() if v is not None and v == v}


def stored_gzip(content):
    """Put a file into a gzip file as it is, which gives the same bytes everywhere.

    What zlib makes of it depends on its version, and the header on that of Python.

    Parameters
    ----------
    content : bytes
        Content, not compressed.

    Returns
    -------
    file : bytes
        gzip file (RFC 1952) of stored blocks (RFC 1951, section 3.2.4).
    """
    # no flags, no time, system unknown
    pieces = [b"\x1f\x8b\x08\x00", bytes(4), b"\x00\xff"]
    for start in range(0, max(len(content), 1), _BLOCK_SIZE):
        block = content[start : start + _BLOCK_SIZE]
        is_last = start + _BLOCK_SIZE >= len(content)
        pieces += [struct.pack("<BHH", is_last, len(block), len(block) ^ 0xFFFF), block]
    return b"".join([*pieces, struct.pack("<II", zlib.crc32(content), len(content))])


def _in_reference(run, reference):
    """Row of a run with TSTART and TSTOP relative to another reference time."""
    own = header_reference(run)
    if own.scale == reference.scale and seconds_since(own, reference) == 0:
        return run
    times = {
        key: float(seconds_since(own + run[key] * u.s, reference))
        for key in ("TSTART", "TSTOP")
    }
    return run | times


def _column(values, unit):
    """Column of values, masked where they are None."""
    mask = [value is None for value in values]
    present = [value for value in values if value is not None]
    if any(isinstance(value, str) for value in present):
        data = ["" if value is None else str(value) for value in values]
    elif present and all(isinstance(value, int) for value in present):
        data = np.array([0 if value is None else value for value in values], dtype=int)
    else:
        data = np.array(
            [np.nan if value is None else value for value in values], dtype=float
        )
    return MaskedColumn(data, mask=mask, unit=unit)


def _passed_columns(obs_table, columns):
    """Further columns of a table, in the order of the runs."""
    row_of = {int(obs_id): i for i, obs_id in enumerate(obs_table["OBS_ID"])}
    found = [row_of.get(int(obs_id)) for obs_id in columns["OBS_ID"]]
    index = [0 if i is None else i for i in found]
    missing = np.array([i is None for i in found])
    passed = {}
    for name in obs_table.colnames:
        column = obs_table[name]
        if name in columns or name in REPLACED or not isinstance(column, np.ndarray):
            continue
        selected = MaskedColumn(column[index], unit=column.unit)
        selected[missing] = np.ma.masked
        passed[name] = selected
    return passed


def _file(columns, keywords, *, name):
    """FITS file with one table."""
    cards = keywords | {"CREATOR": CREATOR}
    content = table_content(columns, cards, name=name, label="index")
    return b"".join([PRIMARY, *content])
