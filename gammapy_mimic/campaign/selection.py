"""The runs that a configuration means."""

from fnmatch import fnmatchcase
from typing import NamedTuple

import numpy as np
from astropy.table import Table
from gammapy.data import DataStore

from gammapy_mimic.checks import merged_store, observation_table, open_store
from gammapy_mimic.config import ConfigError, expand
from gammapy_mimic.data import compat
from gammapy_mimic.data.compat.progress import no_bars

__all__ = ["Selection", "select_donors", "select_targets"]

_MAX_NAMED = 8


class Selection(NamedTuple):
    """Targets or possible donors of a campaign."""

    store: DataStore
    """Store whose observation table holds only these."""
    incomplete: dict
    """Runs that lack what is required or whose file is missing, and why."""


def select_targets(settings):
    """Targets of a campaign, by the rules of gammapy's analysis.

    Parameters
    ----------
    settings : `~gammapy.analysis.config.ObservationsConfig`
        Section ``observations:``.

    Returns
    -------
    targets : `Selection`
        Targets.

    Raises
    ------
    ConfigError
        If runs are named that the store does not have, or none is left.
    """
    key = "observations"
    store = _open_one(settings.datastore, f"{key}.datastore")
    if settings.obs_ids and settings.obs_file is not None:
        raise ConfigError([f"{key}: give obs_ids or obs_file, not both"])
    table = store.obs_table
    left = {"in the store": len(table)}
    named = _listed(settings, key)
    if named is not None:
        table = _by_id(table, named, key)
        left["named"] = len(table)
    if settings.obs_cone.lon is not None:
        cone = settings.obs_cone.model_dump()
        table = table.select_observations(
            {"type": "sky_circle", "border": "0 deg", **cone}
        )
        left["after obs_cone"] = len(table)
    table, missing = _without_missing(table, store)
    left["with a file"] = len(table)
    ids = [int(obs_id) for obs_id in table["OBS_ID"]]
    with no_bars():
        observations = store.get_observations(ids, required_irf=settings.required_irf)
    complete = {int(obs_id) for obs_id in observations.ids}
    left["after required_irf"] = len(complete)
    incomplete = _incomplete(ids, complete, settings)
    if settings.obs_time.start is not None:
        interval = [settings.obs_time.start, settings.obs_time.stop]
        observations = observations.select_time([interval])
    used = {int(obs_id) for obs_id in observations.ids}
    left["after obs_time"] = len(used)
    mask = np.array([obs_id in used for obs_id in ids], dtype=bool)
    selected = _selected(store, table[mask], key, left, missing | incomplete)
    return Selection(selected, missing | ({} if named is None else incomplete))


def select_donors(settings, observations):
    """Possible donors of a campaign.

    Parameters
    ----------
    settings : `~gammapy_mimic.config.DonorsConfig`
        Section ``mimic.donors:``.
    observations : `~gammapy.analysis.config.ObservationsConfig`
        Section ``observations:``; its data store is the default.

    Returns
    -------
    donors : `Selection`
        Possible donors. Several stores are merged into one.

    Raises
    ------
    ConfigError
        If nothing says which runs are donors, or what is said fits no run.
    """
    key = "mimic.donors"
    if not settings.is_given:
        raise ConfigError(
            [
                f"{key}: say which runs are donors, by where, obs_ids, obs_file or a "
                "datastore of their own; for example "
                "donors: {where: {TARGET_NAME: Off data}}"
            ]
        )
    if settings.datastore is None:
        store = _open_one(observations.datastore, "observations.datastore")
    else:
        store = _open(settings.datastore, f"{key}.datastore")
    table = store.obs_table
    left = {"in the store": len(table)}
    ids = _listed(settings, key)
    if ids is not None:
        table = _by_id(table, ids, key)
        left["named"] = len(table)
    mask = np.ones(len(table), dtype=bool)
    for name, value in settings.where.items():
        mask &= _matches(table, name, value)
        left[f"after where: {name} = {value!r}"] = int(mask.sum())
    table, missing = _without_missing(table[mask], store)
    left["with a file"] = len(table)
    return Selection(_selected(store, table, key, left, missing), missing)


def _open(paths, key):
    """Open a data store, or several as one."""
    if not isinstance(paths, list):
        return _open_one(paths, key)
    stores = [_open_one(path, key) for path in paths]
    try:
        return merged_store(stores) if len(stores) > 1 else stores[0]
    except ValueError as error:
        raise ConfigError([f"{key}: {error}"]) from error


def _open_one(path, key):
    """Open a folder, or a file with both indices; the obs-index may be missing."""
    folder = expand(path, key)
    if not folder.exists():
        raise FileNotFoundError(
            f"{key} = {str(path)!r}: the folder {folder} does not exist"
        )
    try:
        store = open_store(folder, needs_obs_index=False)
        if store.obs_table is None:
            store.obs_table = observation_table(store.hdu_table)
    except OSError as error:
        raise OSError(
            f"{key} = {str(path)!r} is not a valid data store: {error}"
        ) from error
    return store


def _without_missing(table, store):
    """Keep runs whose file is there, and say why others are left out."""
    hdus = store.hdu_table
    types = np.char.strip(np.asarray(hdus["HDU_TYPE"], dtype=str))
    wanted = np.isin(hdus["OBS_ID"], table["OBS_ID"]) & (types == "events")
    missing = {}
    for row in np.flatnonzero(wanted):
        path = compat.FileLocation.from_location(hdus.location_info(row)).path()
        if not path.exists():
            missing[int(hdus["OBS_ID"][row])] = f"its file is missing: {path}"
    keep = ~np.isin(table["OBS_ID"], list(missing))
    return table[keep], missing


def _incomplete(ids, complete, settings):
    """Say why gammapy has left out some of the runs."""
    required = settings.required_irf
    required = required if isinstance(required, str) else ", ".join(map(str, required))
    why = f"hdu-index lacks what is required (events, gti, {required})"
    return {obs_id: why for obs_id in ids if obs_id not in complete}


def _listed(settings, key):
    """OBS_IDs of a list and of a file; None if there is neither."""
    ids = list(settings.obs_ids)
    if settings.obs_file is not None:
        path = expand(settings.obs_file, f"{key}.obs_file")
        try:
            rows = Table.read(path, format="ascii.no_header")
            ids += [int(str(obs_id)) for obs_id in rows.columns[0]]
        except ValueError as error:
            raise ConfigError(
                [f"{key}.obs_file = {str(path)!r}: needs one OBS_ID a line"]
            ) from error
    return ids if ids or settings.obs_file is not None else None


def _by_id(table, ids, key):
    row_of = {int(obs_id): row for row, obs_id in enumerate(table["OBS_ID"])}
    unknown = [str(obs_id) for obs_id in ids if obs_id not in row_of]
    if unknown:
        raise ConfigError(
            [f"{key}: runs {', '.join(unknown)} are not in its data store"]
        )
    return table[[row_of[obs_id] for obs_id in dict.fromkeys(ids)]]


def _matches(table, name, value):
    """Rows whose column is as wanted."""
    key = f"mimic.donors.where.{name}"
    if name not in table.colnames:
        raise ConfigError(
            [f"{key}: not a column of the donor store, which has {table.colnames}"]
        )
    column = np.ma.asarray(table[name])
    if column.dtype.kind in "SUO":
        column = np.array([_text(item) for item in column])
        mask = _matching_text(column, value, key)
    else:
        mask = np.ma.filled(_matching_number(column, value, key), False)
    if not mask.any():
        there = [str(item) for item in np.unique(column)]
        named = ", ".join(repr(item) for item in there[:_MAX_NAMED])
        more = ", ..." if len(there) > _MAX_NAMED else ""
        raise ConfigError(
            [f"{key} = {value!r}: no run has it; there are {named}{more}"]
        )
    return mask


def _matching_text(column, value, key):
    """Rows of a column of text that are equal to a value or fit a pattern."""
    if isinstance(value, dict):
        raise ConfigError([f"{key} = {value!r}: a range, but the column has text"])
    patterns = [
        str(it).strip() for it in (value if isinstance(value, list) else [value])
    ]
    return np.array([any(fnmatchcase(it, p) for p in patterns) for it in column])


def _matching_number(column, value, key):
    """Rows of a column of numbers that are in a range or equal to a value."""
    is_fraction = column.dtype.kind == "f"
    if isinstance(value, list) and len(value) == 2 and is_fraction:
        value = {"min": value[0], "max": value[1]}
    try:
        if isinstance(value, dict):
            low = float(value.get("min", -np.inf))
            high = float(value.get("max", np.inf))
            if low > high:
                raise ConfigError([f"{key} = {value!r}: min is larger than max"])
            return (column >= low) & (column <= high)
        wanted = value if isinstance(value, list) else [value]
        return np.isin(column, np.array(wanted, dtype=float))
    except (TypeError, ValueError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError([f"{key} = {value!r}: the column has numbers"]) from error


def _text(item):
    text = item.decode("ascii", "replace") if isinstance(item, bytes) else str(item)
    return text.strip()


def _selected(store, table, key, left, left_out):
    """Store with some of its runs; ``left`` says how many each step has left."""
    if not len(table):
        steps = ", ".join(f"{number} {step}" for step, number in left.items())
        why = [f"; run {obs_id}: {text}" for obs_id, text in left_out.items()][:1]
        text = f"{key}: no run of {store.hdu_table.base_dir} is left: {steps}"
        text += "".join(why)
        raise ConfigError([text])
    return DataStore(hdu_table=store.hdu_table, obs_table=table)
