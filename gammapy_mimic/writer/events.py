"""EVENTS and GTI HDUs of a run, from what it holds in memory."""

import logging
import numbers
from dataclasses import dataclass

import numpy as np
from astropy import units as u
from astropy.table import Column, Table
from astropy.time import Time
from gammapy.data import GTI, FixedPointingInfo

from gammapy_mimic import compat
from gammapy_mimic.gadf import (
    HDUDOC,
    HDUVERS,
    events_keywords,
    gti_keywords,
    header_reference,
    seconds_since,
)
from gammapy_mimic.provenance import CREATOR
from gammapy_mimic.writer.headers import make_header
from gammapy_mimic.writer.irfs import (
    REVERSE,
    OutputHDU,
    background_alignment,
    irf_hdus,
)
from gammapy_mimic.writer.tables import binary_table, encode_column

__all__ = ["Run", "checked_obs_id", "quick_check", "read_run", "run_hdus"]

log = logging.getLogger(__name__)

# Units that GADF demands of the mandatory columns.
UNITS = {"RA": "deg", "DEC": "deg", "ENERGY": "TeV"}
MANDATORY = ("EVENT_ID", "TIME", "RA", "DEC", "ENERGY")
WRITTEN = f"written by {CREATOR}"


@dataclass
class Run:
    """What is written of a run besides its IRFs; each part was read once."""

    obs_id: int
    table: Table
    gti: GTI
    pointing: FixedPointingInfo
    location: object
    deadtime_fraction: float
    meta: object


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
    """Read what is written of a run, each part once.

    Parameters
    ----------
    observation : `~gammapy.data.Observation`
        Observation, not changed.

    Returns
    -------
    run : `Run`
        Its parts. ValueError for a run without events, GTI, pointing or location.
    """
    obs_id = quick_check(observation)
    gti, events = observation.gti, observation.events
    # gammapy gives None if a card is missing in the file
    if events is None:
        _missing(obs_id, "events (MJDREFI and MJDREFF are needed)")
    if gti is None or len(gti.table) == 0:
        _missing(obs_id, "good time intervals (GTI)")
    try:
        pointing = observation.pointing
    except OSError as error:
        raise ValueError(f"OBS_ID {obs_id} has no pointing: {error}") from error
    meta = observation.meta
    if meta is None:
        _missing(obs_id, "metadata (GEOLON, GEOLAT, ALTITUDE, DEADC are needed)")
    location = observation.observatory_earth_location
    if location is None:
        _missing(obs_id, "location of the observatory")
    if not np.all(np.isfinite(np.ma.filled(events.table["TIME"].mjd, np.nan))):
        _missing(obs_id, "time for some of its events (TIME is not finite)")
    deadtime, kept = meta.deadtime_fraction, compat.livetime_fraction(observation)
    if kept != 1:
        # A phase filter keeps the GTIs, so that the dead time has to tell of it.
        deadtime = 1 - (1 - deadtime) * kept
    return Run(obs_id, events.table, gti, pointing, location, deadtime, meta)


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
    run = read_run(observation)
    reference = header_reference(run.table.meta) or run.gti.time_ref
    header = _events_header(run, reference)
    fires = compat.fires_reverse_lon(header)
    if fires and background_alignment(observation) not in (None, REVERSE):
        # gammapy would mirror this background on reading
        _append_history(header, f"CREATOR was {header['CREATOR']}")
        header["CREATOR"], fires = CREATOR, False
    irfs = irf_hdus(observation, obs_id=run.obs_id, fires=fires)
    if irfs:
        _drop_calibration_database(header)
    _append_history(header, WRITTEN)
    hdus = [_events_hdu(run, reference, header), _gti_hdu(run, reference, header)]
    return header, len(run.table), hdus + irfs


def _events_header(run, reference):
    """Metadata of the events, overlaid by what the observation says."""
    header = dict(run.table.meta)
    for key in ("comments", "COMMENT", "HISTORY"):
        if isinstance(header.get(key), list):
            header[key] = list(header[key])
    changed = events_keywords(
        obs_id=run.obs_id,
        pointing=run.pointing,
        location=run.location,
        gti=run.gti,
        deadtime_fraction=run.deadtime_fraction,
        reference=reference,
        event_time=run.table["TIME"],
        header=header,
    )
    same_times = all(changed[key] == header.get(key) for key in ("TSTART", "TSTOP"))
    if "TELAPSE" in header and not same_times:
        header["TELAPSE"] = changed["TSTOP"] - changed["TSTART"]
    header |= changed
    if header["OBS_MODE"] == "DRIFT":
        for key in ("RA_PNT", "DEC_PNT", "GLON_PNT", "GLAT_PNT"):
            header.pop(key, None)
    _normalise(header)
    _add_producer(header, run.meta)
    return header


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


def _add_producer(header, meta):
    """Mandatory cards that only the producer knows, where they are missing."""
    info, creation, target = meta.obs_info, meta.creation, meta.target
    known = {
        "ORIGIN": getattr(creation, "origin", None),
        "TELESCOP": getattr(info, "telescope", None),
        "INSTRUME": getattr(info, "instrument", None),
    }
    for key, value in known.items():
        if not header.get(key):
            header[key] = value or "UNKNOWN"
    if not header.get("CREATOR"):
        header["CREATOR"] = CREATOR
    if not header.get("OBJECT") and getattr(target, "name", None):
        header["OBJECT"] = target.name


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


def _events_hdu(run, reference, header):
    """EVENTS HDU."""
    columns = {"EVENT_ID": _event_ids(run)}
    columns["TIME"] = _seconds_column(run.table["TIME"], reference)
    for name, unit in UNITS.items():
        columns[name] = _in_unit(run.table[name], unit)
    for name in run.table.colnames:
        if name not in MANDATORY:
            columns[name] = _extra_column(run, name, reference)
    encoded = [
        encode_column(name, column, bits=name == "EVENT_TYPE")
        for name, column in columns.items()
    ]
    encoded = [column for column in encoded if column is not None]
    cards = make_header(header, label=f"OBS_ID {run.obs_id}, EVENTS")
    content = binary_table(encoded, cards, name="EVENTS")
    return OutputHDU("EVENTS", "events", "events", content)


def _event_ids(run):
    """Integer and unique numbers of the events: those of the table, if they are."""
    n = len(run.table)
    if "EVENT_ID" in run.table.colnames:
        column = run.table["EVENT_ID"]
        whole = np.asarray(column)
        masked = np.any(getattr(column, "mask", False))
        if not masked and whole.dtype.kind in "iuf":
            ids = whole.astype(np.int64)
            if np.array_equal(ids, whole) and len(np.unique(ids)) == n:
                return ids
        log.info("OBS_ID %s: EVENT_ID is not unique, events are numbered.", run.obs_id)
    return np.arange(n, dtype=np.int64)


def _seconds_column(time, reference):
    """Give times as seconds after the reference."""
    return u.Quantity(np.atleast_1d(seconds_since(time, reference)), "s")


def _in_unit(column, unit):
    """Values in the unit that GADF demands, untouched if they are so already."""
    if column.unit == u.Unit(unit):
        return column
    return column.quantity.to(unit) if isinstance(column, Column) else column.to(unit)


def _extra_column(run, name, reference):
    """Any other column; times become seconds after the reference."""
    column = run.table[name]
    if not isinstance(column, Time):
        return column
    log.warning(
        "OBS_ID %s: column %s is written in seconds after the reference time and will "
        "be read as such.",
        run.obs_id,
        name,
    )
    return _seconds_column(column, reference)


def _gti_hdu(run, reference, header):
    """GTI HDU, in the time reference of the events if it has the same."""
    gti, own = run.gti, run.gti.time_ref
    if own.scale != reference.scale or seconds_since(own, reference) != 0:
        reference = own
    keywords = gti_keywords(gti=gti, reference=reference, header=header)
    shared = ("TELESCOP", "INSTRUME", "OBS_ID", "GEOLON", "GEOLAT", "ALTITUDE")
    keywords |= {key: header[key] for key in shared}
    columns = [
        encode_column("START", _seconds_column(gti.time_start, reference)),
        encode_column("STOP", _seconds_column(gti.time_stop, reference)),
    ]
    cards = make_header(keywords, label=f"OBS_ID {run.obs_id}, GTI")
    content = binary_table(columns, cards, name="GTI")
    return OutputHDU("GTI", "gti", "gti", content)
