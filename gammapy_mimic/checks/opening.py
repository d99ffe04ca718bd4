"""Data stores whose index tables are sound, or an error that says what is not."""

import warnings

import numpy as np
from astropy.table import Table
from astropy.units import UnitsWarning
from gammapy.data import DataStore
from gammapy.utils.scripts import make_path

from gammapy_mimic.checks.standard import HDU_INDEX_COLUMNS
from gammapy_mimic.files import FitsFile, naming

__all__ = ["HDU_INDEX", "OBS_INDEX", "open_store"]

HDU_INDEX = "hdu-index.fits.gz"
OBS_INDEX = "obs-index.fits.gz"

_SINGLE = ("events", "gti")
"""Types of which a run has one HDU; of IRFs there may be several to choose from."""


def open_store(path, *, needs_obs_index=True):
    """Open a data store as gammapy does, if its index tables can be relied on.

    `gammapy.data.DataStore.from_dir` names neither file nor cause where a table is
    broken, and of an OBS_ID that comes twice it takes one row without a word.

    Parameters
    ----------
    path : str or `~pathlib.Path`
        Folder.
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
        If a table is no index, has no rows, or has rows that contradict each other.
    """
    path = make_path(path)
    hdus = _index(path / HDU_INDEX, HDU_INDEX_COLUMNS)
    types = np.char.lower(np.char.strip(np.asarray(hdus["HDU_TYPE"], dtype=str)))
    for name in _SINGLE:
        rows = hdus["OBS_ID"][types == name]
        _refuse_repeated(rows, path / HDU_INDEX, f"rows of type {name}")
    if needs_obs_index or (path / OBS_INDEX).exists():
        runs = _index(path / OBS_INDEX, ("OBS_ID",))
        _refuse_repeated(runs["OBS_ID"], path / OBS_INDEX, "rows")
    with naming(f"{path}: data store"), warnings.catch_warnings():
        # told where the column is used
        warnings.simplefilter("ignore", UnitsWarning)
        return DataStore.from_dir(path)


def _index(path, columns):
    """Table of an index file, as far as these columns and the OBS_ID go."""
    for hdu in FitsFile(path):
        if str(hdu.header.get("XTENSION")).strip() == "BINTABLE":
            break
    else:
        raise ValueError(f"{path} holds no binary table: it is no index")
    with naming(f"{path}: {hdu.name or 'table'}"):
        data = hdu.table_hdu().data
        absent = [name for name in columns if name not in data.names]
        table = Table({name: data[name] for name in columns if name not in absent})
    if absent:
        raise ValueError(
            f"{path} has no column {', '.join(absent)}; it has {', '.join(data.names)}"
        )
    if not len(table):
        raise ValueError(f"{path} has no rows: the data store holds no run")
    if table["OBS_ID"].dtype.kind not in "iu":
        raise ValueError(f"{path}: OBS_ID is no column of integers")
    return table


def _refuse_repeated(obs_ids, path, what):
    ids, number = np.unique(np.asarray(obs_ids), return_counts=True)
    if (number > 1).any():
        named = ", ".join(str(obs_id) for obs_id in ids[number > 1])
        raise ValueError(
            f"{path}: OBS_ID {named} has several {what}; each OBS_ID stands for one "
            "run: remove what is too much"
        )
