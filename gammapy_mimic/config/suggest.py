"""What the index of the user's runs says about a new configuration."""

import re
from typing import Any, NamedTuple

import numpy as np
import yaml
from astropy.coordinates import SkyCoord
from gammapy.data import DataStore

from gammapy_mimic.checks import open_store
from gammapy_mimic.config.checking import ConfigError
from gammapy_mimic.config.models import MimicAnalysisConfig
from gammapy_mimic.config.paths import expand
from gammapy_mimic.data.compat.progress import no_bars
from gammapy_mimic.scramble.psf import containment_deg

__all__ = ["Suggestions", "suggest"]

_OFF = re.compile(r"(\b|_)(off|empty|dark|blank|void)(\b|_)", re.IGNORECASE)
"""What runs of empty fields are called."""

_NAMES = ("TARGET_NAME", "OBJECT")
_MAX_LISTED = 12
_PSF_PLACE = 1.0, 0.5
"""Energy in TeV and offset in degrees for which the point-spread function is told."""


class Suggestions(NamedTuple):
    """What fits the runs of a data store."""

    donors: str = ""
    """Setting of section ``mimic.donors``, as YAML with a comment; empty: none fits."""
    theta: str = ""
    """Setting ``mimic.scramble.theta``, as YAML with a comment; empty: no PSF."""
    required_irf: tuple[str, ...] = ()
    """IRFs that all targets have, if gammapy's default asks for more."""
    position: SkyCoord | None = None
    """Of the first target's object, else of its pointing, as the index has it."""
    notes: tuple[str, ...] = ()
    """What to change in gammapy's sections."""


def suggest(config: MimicAnalysisConfig) -> Suggestions | None:
    """Look into the index of the data store of a configuration.

    Parameters
    ----------
    config : `MimicAnalysisConfig`
        Configuration.

    Returns
    -------
    found : `Suggestions` or None
        What fits its runs; None if the data store is not there.

    Raises
    ------
    OSError, ValueError
        If the index is broken.
    """
    try:
        path = expand(config.located().observations.datastore, "observations.datastore")
    except ConfigError:  # of a variable that is not set
        return None
    if not path.exists():
        return None
    store = open_store(path, needs_obs_index=False)
    known = np.unique(store.hdu_table["OBS_ID"]).tolist()
    named = [it for it in config.observations.obs_ids if it in known]
    targets = named or known[:1]
    required = _required_irf(store, targets, config.observations.required_irf)
    position, notes = _place(store, targets[0], "OBJ"), []
    if required:
        notes.append(f"observations need required_irf: [{', '.join(required)}]")
    if position is not None and not _has_position(config):
        ra, dec = position.ra.deg, position.dec.deg
        notes.append(
            f"the object of run {targets[0]} is at {{frame: icrs, lon: {ra:.4f} deg, "
            f"lat: {dec:.4f} deg}}: name it in datasets.geom.wcs.skydir or on_region"
        )
    return Suggestions(
        donors=_donors(store, named),
        theta=_theta(store, targets[0]),
        required_irf=required,
        position=position or _place(store, targets[0], "PNT"),
        notes=tuple(notes),
    )


def _donors(store, targets):
    """Propose runs of empty fields, or else of other objects than the targets'."""
    if store.obs_table is None:
        return _listed(np.unique(store.hdu_table["OBS_ID"]), targets)
    table = store.obs_table
    is_target = np.isin(table["OBS_ID"], targets)
    names = {
        column: np.array([str(it).strip() for it in table[column]])
        for column in _NAMES
        if column in table.colnames
    }
    for column, values in names.items():
        is_off = ~is_target & [_OFF.search(it) is not None for it in values]
        if is_off.any():
            return _where(column, values[is_off], "runs")
    for column, values in names.items():
        is_other = ~is_target & ~np.isin(values, values[is_target])
        if targets and 0 < len(np.unique(values[is_other])) <= _MAX_LISTED:
            return _where(column, values[is_other], "runs, take out bright sources")
    return _listed(table["OBS_ID"], targets)


def _where(column, values, comment):
    names = sorted(set(values.tolist()))
    where = {column: names[0] if len(names) == 1 else names}
    return f"where: {_flow(where)}  # {len(values)} {comment}"


def _listed(obs_ids, targets):
    others = sorted(set(map(int, obs_ids)) - set(targets))
    if not others or not targets or len(others) > _MAX_LISTED:
        return ""
    return f"obs_ids: {_flow(others)}  # all other runs, take out bright sources"


def _flow(value: Any) -> str:
    return yaml.safe_dump(value, default_flow_style=True, width=1000).strip()


def _types(store: DataStore, targets):
    """HDUs that all targets have."""
    hdus = store.hdu_table
    types = np.char.strip(np.asarray(hdus["HDU_TYPE"], dtype=str))
    sets = [set(types[hdus["OBS_ID"] == obs_id].tolist()) for obs_id in targets]
    return set.intersection(*sets)


def _required_irf(store, targets, asked):
    """IRFs that there are, if not all that are asked for; empty if all are."""
    there = _types(store, targets)
    if isinstance(asked, str) or not set(map(str, asked)) - there:
        return ()
    known = ("aeff", "edisp", "psf", "bkg", "rad_max")
    return tuple(name for name in known if name in there)


def _theta(store, obs_id):
    """Size of a point-like source in a run."""
    if "psf" not in _types(store, [obs_id]):
        return ""
    energy_tev, offset_deg = _PSF_PLACE
    with no_bars():
        run = store.get_observations([obs_id], required_irf=[])[0]
    radius = containment_deg(run, energy_tev, np.array([offset_deg]))
    if radius is None or not np.isfinite(radius[0]):
        return ""
    return f"theta: psf              # 95 % of a point-like source: {radius[0]:.2f} deg"


def _has_position(config):
    datasets = config.datasets
    return any(
        it.lon is not None for it in (datasets.geom.wcs.skydir, datasets.on_region)
    )


def _place(store, obs_id, kind):
    """Place of the object or pointing of a run; None if the index does not say it."""
    table, names = store.obs_table, (f"RA_{kind}", f"DEC_{kind}")
    if table is None or not set(names) <= set(table.colnames):
        return None
    row = table[table["OBS_ID"] == obs_id][0]
    ra_deg, dec_deg = (float(row[name]) for name in names)
    # zeros stand for no object
    if not np.isfinite([ra_deg, dec_deg]).all() or ra_deg == dec_deg == 0:
        return None
    return SkyCoord(ra_deg, dec_deg, unit="deg")
