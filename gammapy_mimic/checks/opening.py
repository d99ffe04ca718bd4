"""Open data stores whose index tables are valid; errors name file and cause."""

import warnings
from typing import Any

import numpy as np
from astropy.table import Table
from astropy.units import UnitsWarning
from gammapy.data import DataStore
from gammapy.utils.scripts import make_path

from gammapy_mimic.checks.standard import HDU_INDEX_COLUMNS
from gammapy_mimic.io.arguments import PathLike
from gammapy_mimic.io.files import FitsFile, error_context
from gammapy_mimic.io.gadf import HDU_INDEX, OBS_INDEX

__all__ = ["open_store"]

_SINGLE = ("events", "gti")
"""Types of which a run has one HDU; of IRFs there may be several to choose from."""


def open_store(path: PathLike, *, needs_obs_index: bool = True) -> DataStore:
    """Open a data store as gammapy does, if its index tables can be relied on.

    `gammapy.data.DataStore.from_dir` names neither file nor cause where a table is
    broken, and silently takes one row of an OBS_ID that is duplicated.

    Parameters
    ----------
    path : str or `~pathlib.Path`
        Folder; or a file that holds both tables, HDU_INDEX and OBS_INDEX.
    needs_obs_index : bool, optional
        Whether there has to be an observation index. Default is True.

    Returns
    -------
    store : `~gammapy.data.DataStore`
        Data store.

    Raises
    ------
    OSError
        If an index file is not there, cannot be read, or is broken.
    ValueError
        If a table is not a valid index, has no rows, or has contradictory rows.
    """
    folder = make_path(path)
    is_file = folder.is_file()
    names = ("HDU_INDEX", "OBS_INDEX") if is_file else (None, None)
    paths = [folder if is_file else folder / name for name in (HDU_INDEX, OBS_INDEX)]
    hdu_place: tuple[Any, str | None] = (paths[0], names[0])
    obs_place: tuple[Any, str | None] = (paths[1], names[1])
    has_obs_index = needs_obs_index or _has_table(*obs_place)
    _check_header(*hdu_place, HDU_INDEX_COLUMNS)
    number = _check_header(*obs_place, ("OBS_ID",)) if has_obs_index else 0
    with error_context(f"{folder}: data store"), warnings.catch_warnings():
        # reported where the column is used
        warnings.simplefilter("ignore", UnitsWarning)
        if is_file:
            obs_name = "OBS_INDEX" if has_obs_index else None
            store = DataStore.from_file(folder, hdu_obs=obs_name)
        else:
            store = DataStore.from_dir(folder)
    hdus = store.hdu_table
    _check_integers(hdus, hdu_place[0])
    types = np.char.strip(np.asarray(hdus["HDU_TYPE"], dtype=str))
    for name in _SINGLE:
        rows = hdus["OBS_ID"][types == name]
        _refuse_repeated(rows, hdu_place[0], f"rows of type {name}")
    if has_obs_index:
        _check_integers(store.obs_table, obs_place[0])
    if has_obs_index and len(store.obs_table) < number:
        # gammapy has taken the first of each
        rows = Table.read(obs_place[0], hdu=obs_place[1], format="fits")["OBS_ID"]
        _refuse_repeated(rows, obs_place[0], "rows")
    used = [hdu_place[0], *([obs_place[0]] if has_obs_index else [])]
    hdus.meta["INDEX_FILES"] = list(dict.fromkeys(used))
    return store


def _has_table(path, name):
    """Whether an index is there: a file, or an HDU of it."""
    if name is None or not path.exists():
        return path.exists()
    return any(hdu.name.upper() == name for hdu in FitsFile(path))


def _check_header(path, name, columns):
    """Check that an index has these columns, and give its number of rows."""
    for hdu in FitsFile(path):
        is_table = str(hdu.header.get("XTENSION")).strip() == "BINTABLE"
        if is_table and name in (None, hdu.name.upper()):
            header = hdu.header
            break
    else:
        table = "binary table" if name is None else f"table {name}"
        raise ValueError(f"{path} has no {table}: it is not a valid index file")
    names = [str(header[key]).strip() for key in header if key.startswith("TTYPE")]
    absent = [name for name in columns if name not in names]
    if absent:
        raise ValueError(
            f"{path} has no column {', '.join(absent)}; it has {', '.join(names)}"
        )
    if not header["NAXIS2"]:
        raise ValueError(f"{path} has no rows: the data store holds no run")
    return header["NAXIS2"]


def _check_integers(table, path):
    if table["OBS_ID"].dtype.kind not in "iu":
        raise ValueError(f"{path}: OBS_ID is not a column of integers")


def _refuse_repeated(obs_ids, path, what):
    ids, number = np.unique(np.asarray(obs_ids), return_counts=True)
    if (number > 1).any():
        named = ", ".join(str(obs_id) for obs_id in ids[number > 1])
        raise ValueError(
            f"{path}: OBS_ID {named} is duplicated ({what}); each OBS_ID stands for "
            "one run: remove all rows but one"
        )
