"""EVENTS and GTI HDUs of a run, from what it holds in memory."""

import logging
import numbers
from dataclasses import replace

import numpy as np
from astropy import units as u
from astropy.table import Column
from astropy.time import Time
from gammapy.irf import FoVAlignment

from gammapy_mimic.data import compat
from gammapy_mimic.data.run import (
    MANDATORY,
    UNITS,
    Run,
    events_table,
    gti_table,
    plain_run,
)
from gammapy_mimic.io.cards import as_dict
from gammapy_mimic.io.gadf import (
    CREATOR,
    HDUDOC,
    HDUVERS,
    events_keywords,
    seconds_since,
)
from gammapy_mimic.io.tables import encode_column
from gammapy_mimic.writer.irfs import OutputHDU, irf_hdus

__all__ = ["checked_obs_id", "quick_check", "read_run", "run_hdus"]

log = logging.getLogger(__name__)

WRITTEN = f"written by {CREATOR}"


def checked_obs_id(observation):
    """Take the OBS_ID of a run if it is an integer.

    Parameters
    ----------
    observation : `~gammapy.data.Observation`
        Observation.

    Returns
    -------
    obs_id : int
        OBS_ID; ValueError if it is none that a file can hold.
    """
    obs_id = observation.obs_id
    valid = isinstance(obs_id, numbers.Integral) and not isinstance(obs_id, bool)
    if not valid or not -(2**63) <= obs_id < 2**63:
        raise ValueError(
            f"OBS_ID {obs_id!r} is not an integer; set observation.obs_id to one "
            "(GADF: 64 bit)"
        )
    return int(obs_id)


def quick_check(observation):
    """Raise an error if a run lacks something, as far as that is known without I/O.

    Parameters
    ----------
    observation : `~gammapy.data.Observation`
        Observation.

    Returns
    -------
    obs_id : int
        Its OBS_ID.
    """
    obs_id = checked_obs_id(observation)
    if not compat.holds(observation, "events"):
        _missing(obs_id, "events")
    if not compat.holds(observation, "gti"):
        _missing(obs_id, "good time intervals (GTI)")
    if not compat.source_paths(observation):
        if observation.pointing is None:
            _missing(obs_id, "pointing")
        if observation.observatory_earth_location is None:
            _missing(obs_id, "location of the observatory")
    return obs_id


def read_run(observation):
    """Read what is written of a run besides its IRFs, each part once.

    Parameters
    ----------
    observation : `~gammapy.data.Observation`
        Observation, not changed.

    Returns
    -------
    run : `~gammapy_mimic.data.run.Run`
        Its parts. ValueError for a run without events, GTI, pointing or location.
    producer : dict
        Mandatory cards that only the producer knows, as gammapy has them.
    """
    run = plain_run(observation)
    if run is not None:
        return run, {}
    obs_id = quick_check(observation)
    events, meta = _check_parts(obs_id, observation)
    run = Run.from_observation(observation, events)
    deadtime, kept = run.deadtime_fraction, compat.livetime_fraction(observation)
    if kept != 1:
        # A phase filter keeps the GTIs, so that the dead time has to tell of it.
        deadtime = 1 - (1 - deadtime) * kept
    columns = _columns(events.table, obs_id, run.reference)
    return replace(run, deadtime_fraction=deadtime, columns=columns), _producer(meta)


def _check_parts(obs_id, observation):
    """Give events and metadata of a run that has all it needs."""
    gti, events, meta = observation.gti, observation.events, observation.meta
    # gammapy gives None if a card is missing in the file
    if events is None:
        _missing(obs_id, "events (MJDREFI and MJDREFF are needed)")
    if gti is None or len(gti.table) == 0:
        _missing(obs_id, "good time intervals (GTI)")
    try:
        pointing = observation.pointing
    except OSError as error:
        raise ValueError(f"OBS_ID {obs_id} has no pointing: {error}") from error
    if pointing is None:
        _missing(obs_id, "pointing")
    if meta is None:
        _missing(obs_id, "metadata (GEOLON, GEOLAT, ALTITUDE, DEADC are needed)")
    if observation.observatory_earth_location is None:
        _missing(obs_id, "location of the observatory")
    if not np.all(np.isfinite(np.ma.filled(events.table["TIME"].mjd, np.nan))):
        _missing(obs_id, "time for some of its events (TIME is not finite)")
    return events, meta


def _missing(obs_id, what):
    """Raise the error of a run that lacks something."""
    raise ValueError(
        f"OBS_ID {obs_id} has no {what} and cannot be written; set it or leave the "
        "run out"
    )


def run_hdus(observation):
    """Make all HDUs of a run but the primary one.

    Parameters
    ----------
    observation : `~gammapy.data.Observation`
        Observation, not changed.

    Returns
    -------
    header : dict
        Metadata that went into the EVENTS header.
    n_events : int
        Number of events.
    hdus : list of `OutputHDU`
        EVENTS, GTI and IRFs.
    """
    run, producer = read_run(observation)
    header = _events_header(run, producer)
    fires = compat.is_mirrored_by_gammapy(header)
    reverse = (None, FoVAlignment.REVERSE_LON_RADEC)
    if fires and compat.background_alignment(observation) not in reverse:
        # gammapy would mirror this background on reading
        _append_history(header, f"CREATOR was {header['CREATOR']}")
        header["CREATOR"], fires = CREATOR, False
    irfs = irf_hdus(observation, obs_id=run.obs_id, fires=fires)
    if irfs:
        _drop_calibration_database(header)
    _append_history(header, WRITTEN)
    hdus = [
        OutputHDU("EVENTS", "events", "events", events_table(run, header)),
        OutputHDU("GTI", "gti", "gti", gti_table(run, header)),
    ]
    return header, len(run.seconds), hdus + irfs


def _events_header(run, producer):
    """Metadata of the events, overlaid by what the run says."""
    header = as_dict(run.header)
    if not run.header_is_final:
        _overlay(header, events_keywords(run))
    if header["OBS_MODE"] == "DRIFT":
        for key in ("RA_PNT", "DEC_PNT", "GLON_PNT", "GLAT_PNT"):
            header.pop(key, None)
    _normalise(header)
    for key in ("ORIGIN", "TELESCOP", "INSTRUME"):
        if not header.get(key):
            header[key] = producer.get(key) or "UNKNOWN"
    if not header.get("CREATOR"):
        header["CREATOR"] = CREATOR
    if not header.get("OBJECT") and producer.get("OBJECT"):
        header["OBJECT"] = producer["OBJECT"]
    return header


def _overlay(header, changed):
    """Change cards to those that follow from the run."""
    same_times = all(changed[key] == header.get(key) for key in ("TSTART", "TSTOP"))
    if "TELAPSE" in header and not same_times:
        header["TELAPSE"] = changed["TSTOP"] - changed["TSTART"]
    header |= changed


def _normalise(header):
    """Mend cards that are not GADF, and those of gammapy's event sampler."""
    if header.get("HDUCLASS") != "GADF":
        version = str(header.get("HDUVERS"))
        if version not in ("0.1", "0.2", "0.3"):
            header["HDUVERS"] = HDUVERS
        header |= {"HDUCLASS": "GADF", "HDUDOC": HDUDOC}
    header.setdefault("HDUDOC", HDUDOC)
    header.setdefault("HDUVERS", HDUVERS)
    header["HDUCLAS1"] = "EVENTS"
    for key in ("RADESYSa", "RADESYSA", "RADESYS"):
        header.pop(key, None)
    for key in ("N_TELS", "TELLIST", "OBJECT"):
        if isinstance(header.get(key), str) and not header[key].strip():
            header.pop(key)
    count = header.get("NDSKEYS")
    if isinstance(count, str):
        header.pop("NDSKEYS")
        if count.strip().isdigit():
            header["NDSKEYS"] = int(count)


def _producer(meta):
    """Mandatory cards that only the producer knows, as gammapy has them."""
    info, creation, target = meta.obs_info, meta.creation, meta.target
    return {
        "ORIGIN": getattr(creation, "origin", None),
        "TELESCOP": getattr(info, "telescope", None),
        "INSTRUME": getattr(info, "instrument", None),
        "OBJECT": getattr(target, "name", None),
    }


def _drop_calibration_database(header):
    """Drop CALDB and IRF, with which gammapy would not use the IRFs of the file."""
    if "CALDB" in header and "IRF" in header:
        caldb, irf = header.pop("CALDB"), header.pop("IRF")
        _append_history(header, f"IRFs of this file came from CALDB {caldb}, IRF {irf}")


def _append_history(header, line):
    """Append a HISTORY line unless it is there."""
    history = header.get("HISTORY", [])
    history = list(history) if isinstance(history, list | tuple) else [history]
    if line not in history:
        header["HISTORY"] = [*history, line]


def _columns(table, obs_id, reference):
    """Columns of an event table as a file holds them, but TIME."""
    columns = {}
    if "EVENT_ID" in table.colnames:
        column = table["EVENT_ID"]
        is_number = np.asarray(column).dtype.kind in "iuf"
        if is_number and not np.any(getattr(column, "mask", False)):
            columns["EVENT_ID"] = np.asarray(column)
    for name, unit in UNITS.items():
        columns[name] = _in_unit(table[name], unit)
    for name in table.colnames:
        if name not in MANDATORY:
            columns[name] = _extra_column(table, name, obs_id, reference)
    encoded = (
        encode_column(name, column, bits=name == "EVENT_TYPE")
        for name, column in columns.items()
    )
    return {column.name: column for column in encoded if column is not None}


def _in_unit(column, unit):
    """Values in the unit that GADF demands, untouched if they are so already."""
    if column.unit == u.Unit(unit):
        return column
    return column.quantity.to(unit) if isinstance(column, Column) else column.to(unit)


def _extra_column(table, name, obs_id, reference):
    """Any other column; times become seconds after the reference."""
    column = table[name]
    if not isinstance(column, Time):
        return column
    log.warning(
        "OBS_ID %s: column %s is written in seconds after the reference time and will "
        "be read as such.",
        obs_id,
        name,
    )
    return np.atleast_1d(seconds_since(column, reference)) * u.s
