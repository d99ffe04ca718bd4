"""Data stores without an observation index, and several stores as one."""

import logging
import os

import numpy as np
from astropy.io import fits
from astropy.table import MaskedColumn, vstack
from gammapy.data import DataStore, HDUIndexTable, ObservationTable

from gammapy_mimic.checks.standard import HDU_INDEX_COLUMNS
from gammapy_mimic.data.compat import FileLocation

__all__ = ["merged_store", "observation_table"]

log = logging.getLogger(__name__)

_TIMES = ("TSTART", "TSTOP", "MJDREFI", "MJDREFF", "TIMESYS")

_OF_ALL_RUNS = (*_TIMES[2:], "TELESCOP", "GEOLON", "GEOLAT", "ALTITUDE", "GEOALT")
"""Cards that an observation index may have for all its runs."""

_LAYOUT = (
    *("XTENSION", "BITPIX", "NAXIS", "PCOUNT", "GCOUNT", "TFIELDS", "EXTNAME"),
    *("CHECKSUM", "DATASUM", "COMMENT", "HISTORY", "OBS_ID", "HDUCLAS", "TTYPE"),
    *("TFORM", "TUNIT", "TNULL", "TDIM", "TDISP", "TZERO", "TSCAL", ""),
)


def observation_table(hdu_table: HDUIndexTable) -> ObservationTable:
    """Make the observation table of a store from the EVENTS headers of its runs.

    Parameters
    ----------
    hdu_table : `~gammapy.data.HDUIndexTable`
        HDU index.

    Returns
    -------
    obs_table : `~gammapy.data.ObservationTable`
        OBS_ID and all cards that hold a number or a text, masked where a run lacks
        them. Runs whose EVENTS cannot be read are left out, with a warning.

    Raises
    ------
    OSError
        If that is so for all of them.
    """
    headers = {}
    for obs_id in np.unique(np.asarray(hdu_table["OBS_ID"])).tolist():
        place = hdu_table.hdu_location(obs_id, hdu_type="events", warn_missing=False)
        if place is None:
            continue
        path = FileLocation.from_location(place).path()
        try:
            headers[obs_id] = fits.getheader(path, place.hdu_name)
        except (OSError, KeyError) as error:
            log.warning("Run %s is left out: %s: %s", obs_id, path, error)
    if not headers:
        raise OSError(
            f"{hdu_table.base_dir}: there is no observation index, and the EVENTS of "
            "no run can be read"
        )
    names = {
        key: None
        for header in headers.values()
        for key, value in header.items()
        if isinstance(value, str | int | float)
        and key.rstrip("1234567890") not in _LAYOUT
    }
    table = ObservationTable({"OBS_ID": list(headers)})
    for name in names:
        table[name] = _column([header.get(name) for header in headers.values()])
    for name in ("TSTART", "TSTOP"):
        if name in names:
            table[name].unit = "s"
    first = next(iter(headers.values()))
    table.meta = {key: first[key] for key in _TIMES[2:] if key in first}
    return table


def _column(values):
    """Masked column of cards, which are texts if one of them is."""
    is_text = any(isinstance(value, str) for value in values)
    absent = [not isinstance(value, str | int | float) for value in values]
    filled = [
        ("" if is_text else 0) if is_absent else (str(value) if is_text else value)
        for value, is_absent in zip(values, absent, strict=True)
    ]
    return MaskedColumn(filled, mask=absent)


def merged_store(stores: list[DataStore]) -> DataStore:
    """Make one data store of several.

    Parameters
    ----------
    stores : list of `~gammapy.data.DataStore`
        Stores with observation tables, not changed.

    Returns
    -------
    store : `~gammapy.data.DataStore`
        Store whose BASE_DIR is the folder that holds all of them. What an index says
        of all its runs is a column.

    Raises
    ------
    ValueError
        If two stores have runs of the same OBS_ID.
    """
    places: dict[int, list[str]] = {}
    for store in stores:
        for obs_id in np.unique(np.asarray(store.obs_table["OBS_ID"])).tolist():
            places.setdefault(obs_id, []).append(str(store.hdu_table.base_dir))
    repeated = {obs_id: it for obs_id, it in places.items() if len(it) > 1}
    if repeated:
        obs_id, folders = next(iter(repeated.items()))
        raise ValueError(
            f"{len(repeated)} OBS_IDs are in several data stores, such as {obs_id} in "
            f"{' and '.join(folders)}; a run is found by its OBS_ID: leave one store "
            "out, or give its runs other OBS_IDs"
        )
    bases = [store.hdu_table.base_dir.absolute() for store in stores]
    common = os.path.commonpath(bases)
    options = {"metadata_conflicts": "silent"}
    pairs = zip(stores, bases, strict=True)
    hdus = vstack(
        [_rebased(it.hdu_table, base, common) for it, base in pairs], **options
    )
    runs = vstack([_with_columns_of_all(store) for store in stores], **options)
    files = [it for each in stores for it in each.hdu_table.meta.get("INDEX_FILES", [])]
    hdus.meta |= {"BASE_DIR": common, "INDEX_FILES": files}
    return DataStore(hdu_table=hdus, obs_table=runs)


def _rebased(hdu_table, base, common):
    """HDU index with paths relative to another folder."""
    table = hdu_table[list(HDU_INDEX_COLUMNS)]
    folders = [base / str(folder).strip() for folder in table["FILE_DIR"]]
    table["FILE_DIR"] = [os.path.relpath(folder, common) for folder in folders]
    return table


def _with_columns_of_all(store):
    """Observation table in which each row says what its meta says."""
    table = store.obs_table.copy()
    if "MJDREFI" not in {*table.colnames, *table.meta}:
        # times count from what the headers say
        of_headers = observation_table(store.hdu_table)
        rows = {int(obs_id): row for row, obs_id in enumerate(of_headers["OBS_ID"])}
        keep = [int(obs_id) in rows for obs_id in table["OBS_ID"]]
        table = table[np.array(keep)]
        order = [rows[int(obs_id)] for obs_id in table["OBS_ID"]]
        for name in _TIMES:
            if name in of_headers.colnames:
                table[name] = of_headers[name][order]
    for name in _OF_ALL_RUNS:
        if name in table.meta and name not in table.colnames:
            table[name] = [table.meta[name]] * len(table)
    return table
