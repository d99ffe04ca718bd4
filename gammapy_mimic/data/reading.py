"""`read_run`: the one door through which runs come in.

Whatever an observation is, on disk or in memory, untouched or looked at, its run has
the same arrays and the same cards: parts that nobody has looked at are read from their
file, the others are taken from gammapy's objects, and where those say the same as the
header up to rounding, the numbers of the header are kept.
"""

import logging
import numbers
from dataclasses import replace

import numpy as np
from astropy import units as u
from astropy.table import Column, Table
from astropy.time import Time
from gammapy.data import Observation

from gammapy_mimic.data import compat
from gammapy_mimic.data.keywords import (
    ANGLE_TOLERANCE_DEG,
    TIME_TOLERANCE_S,
    keep_equal,
    location_keywords,
)
from gammapy_mimic.data.run import Run
from gammapy_mimic.io.files import error_context
from gammapy_mimic.io.gadf import UNITS, header_reference, same_reference, seconds_since
from gammapy_mimic.io.header import read_cards
from gammapy_mimic.sky.camera import Pointing

__all__ = ["check_indexed_id", "checked_obs_id", "quick_check", "read_run"]

log = logging.getLogger(__name__)

_NOT_PASSED = ("TIME", "GLON", "GLAT")
"""Columns of a file that are not passed on as they are; gammapy drops GLON and GLAT."""

_LINEAR = ("tt", "tai", "utc")
"""Time scales in which seconds of a file are seconds since its reference time."""


def checked_obs_id(observation):
    """Take the OBS_ID of a run if it is an integer.

    Parameters
    ----------
    observation : `~gammapy.data.Observation`
        Observation.

    Returns
    -------
    obs_id : int
        OBS_ID; ValueError if it is not one that a file can hold, TypeError for what is
        no observation.
    """
    if not isinstance(observation, Observation):
        raise TypeError(f"{observation!r} is not a gammapy Observation")
    obs_id = observation.obs_id
    valid = isinstance(obs_id, numbers.Integral) and not isinstance(obs_id, bool)
    if not valid or not -(2**63) <= obs_id < 2**63:
        raise ValueError(
            f"OBS_ID {obs_id!r} is not an integer; set observation.obs_id to one "
            "(GADF: 64 bit)"
        )
    return int(obs_id)


def check_indexed_id(observation):
    """Raise an error for a run of a data store whose file is that of another run.

    Parameters
    ----------
    observation : `~gammapy.data.Observation`
        Run as the store gives it: its OBS_ID is that of the index.

    Raises
    ------
    ValueError
        If the file has another OBS_ID.
    """
    part = compat.part(observation, "events")
    if not isinstance(part, compat.FileLocation):
        return
    own = _source(part).header.get("OBS_ID")
    if isinstance(own, int) and own != observation.obs_id:
        raise ValueError(
            f"run {observation.obs_id}: {part.path()}, which the index names for it, "
            f"says OBS_ID = {own}; correct the index or the file"
        )


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
        raise _missing(obs_id, "events")
    if not compat.holds(observation, "gti"):
        raise _missing(obs_id, "good time intervals (GTI)")
    if not compat.source_paths(observation):
        if observation.pointing is None:
            raise _missing(obs_id, "pointing")
        if observation.observatory_earth_location is None:
            raise _missing(obs_id, "location of the observatory")
    return obs_id


def _missing(obs_id, what):
    """Error of a run that lacks something."""
    return ValueError(f"run {obs_id} has no {what}; set it or leave the run out")


def read_run(observation, *, with_events=True):
    """Read a run: its events, good time, pointing, location and header.

    Parameters
    ----------
    observation : `~gammapy.data.Observation`
        Observation of any kind, not changed.
    with_events : bool, optional
        Whether more of the events than their header is wanted. Default is True.

    Returns
    -------
    run : `~gammapy_mimic.data.run.Run`
        The run as arrays. ``pointing.site`` is None for a run without location.

    Raises
    ------
    ValueError
        If the run lacks events, good time, pointing or dead time, or if one of them
        is broken; with run or file, part and value.
    """
    run = compat.lazy_run(observation)
    if run is not None:
        return run
    obs_id = checked_obs_id(observation)
    header, columns, label = _read_events(observation, obs_id, with_events)
    reference = _reference(header, label)
    if reference is None and with_events and not isinstance(columns.get("TIME"), Time):
        raise ValueError(f"{label} has no MJDREFI and MJDREFF")
    gti_s, reference = _read_gti(observation, obs_id, reference)
    if observation.obs_filter.time_filter and "ONTIME" in header:
        # that of the header is of the whole run
        ontime = {"ONTIME": float((gti_s[1] - gti_s[0]).sum())}
        ontime = keep_equal(ontime, header, {"ONTIME": TIME_TOLERANCE_S})
        if ontime["ONTIME"] != header["ONTIME"]:
            # those of the whole run are not those of a part
            whole = "TSTART", "TSTOP", "LIVETIME"
            header = {key: card for key, card in header.items() if key not in whole}
        header = header | ontime
    run = Run(
        obs_id=obs_id,
        header=_with_producer(header, observation),
        reference=reference,
        gti_s=gti_s,
        pointing=_read_pointing(observation, header, label),
        deadtime_fraction=_read_deadtime(observation, header, label),
    )
    if not with_events:
        return run
    seconds, columns = _event_columns(columns, reference, label)
    return replace(run, seconds=seconds, columns=columns)


def _read_events(observation, obs_id, with_events):
    """Cards and columns of the events, and what to call them in messages."""
    part = compat.part(observation, "events")
    if part is None and with_events:
        raise _missing(obs_id, "events")
    if not isinstance(part, compat.FileLocation):
        # of a planned run that is to be mimicked there are none yet
        table = Table() if part is None else part.table
        columns = {name: table[name] for name in table.colnames}
        return read_cards(table.meta), columns, f"run {obs_id}: EVENTS"
    hdu = _source(part)
    label = f"{part.path()}: EVENTS (HDU {part.hdu_name})"
    with error_context(label):
        cards = hdu.cards
        columns = hdu.columns if with_events else None
    return cards, columns, label


def _source(location):
    """HDU of a location; ValueError if its file has none of this name."""
    try:
        return location.source()
    except KeyError as error:
        raise ValueError(error.args[0]) from error


def _read_gti(observation, obs_id, reference):
    """Read starts and ends of the good time since a reference time, or its own."""
    part = compat.part(observation, "gti")
    if part is None:
        raise _missing(obs_id, "good time intervals (GTI)")
    if isinstance(part, compat.FileLocation):
        label = f"{part.path()}: GTI (HDU {part.hdu_name})"
        hdu = _source(part)
        with error_context(label):
            columns = hdu.columns
        own = _reference(hdu.header, label)
        if own is None:
            raise ValueError(f"{label} has no MJDREFI and MJDREFF")
        reference = reference or own
        times = [_numbers(columns, name, "s", label) for name in ("START", "STOP")]
        if not same_reference(own, reference) or own.scale not in _LINEAR:
            times = [seconds_since(own + time * u.s, reference) for time in times]
    else:
        label, reference = f"run {obs_id}: GTI", reference or part.time_ref
        # without rows gammapy has no times in it
        times = [part.time_start, part.time_stop] if len(part.table) else []
        times = [_seconds(time, reference) for time in times]
    _check_gti(times, label)
    return np.stack(times), reference


def _check_gti(times, label):
    if not times or len(times[0]) == 0:
        raise ValueError(f"{label}: there is no good time interval (GTI) in it")
    shapes = {time.shape for time in times}
    if len(shapes) > 1 or max(map(len, shapes)) > 1:
        raise ValueError(
            f"{label}: START and STOP of its good time intervals (GTI) must be one "
            "number in each row"
        )
    start, stop = times
    for name, values in (("START", start), ("STOP", stop)):
        bad = ~np.isfinite(values)
        if bad.any():
            raise ValueError(
                f"{label} has an invalid {name} in row {np.flatnonzero(bad)[0]}: "
                f"{values[bad][0]}"
            )
    if not np.all(stop > start):
        row = np.flatnonzero(stop <= start)[0]
        raise ValueError(
            f"{label} has a good time interval (GTI) that does not end after it "
            f"starts: {start[row]} to {stop[row]} s in row {row}"
        )


def _reference(header, label):
    with error_context(f"{label}: reference time (MJDREFI, MJDREFF, TIMESYS)"):
        return header_reference(header)


def _read_pointing(observation, header, label):
    part = compat.part(observation, "pointing")
    is_on_disk = isinstance(part, compat.FileLocation)
    if is_on_disk and not compat.has_own_location(observation):
        with error_context(f"{label}: pointing and location"):
            pointing = Pointing.from_header(_source(part).cards)
        if pointing.site is None:
            raise ValueError(f"{label} has no GEOLON, GEOLAT or ALTITUDE")
        return pointing
    if part is None:
        raise _missing(observation.obs_id, "pointing")
    pointing = Pointing.from_observation(observation)
    # gammapy's objects turn the numbers of the header into others, up to rounding
    names = ("AZ_PNT", "ALT_PNT") if pointing.drifts else ("RA_PNT", "DEC_PNT")
    place = dict(zip(names, (pointing.lon_deg, pointing.lat_deg), strict=True))
    place = keep_equal(place, header, dict.fromkeys(names, ANGLE_TOLERANCE_DEG))
    site = pointing.site
    if site is not None:
        site = tuple(location_keywords(site, header=header).values())
    return Pointing(site, *place.values(), pointing.drifts)


def _read_deadtime(observation, header, label):
    """Dead time per good time, which tells of a filter on the phase, too."""
    if isinstance(compat.part(observation, "meta"), compat.FileLocation):
        with error_context(f"{label}: DEADC"):
            live = float(header["DEADC"])
    elif observation.meta is None:
        needed = "metadata (GEOLON, GEOLAT, ALTITUDE, DEADC are needed)"
        raise _missing(observation.obs_id, needed)
    else:
        live = 1 - observation.observation_dead_time_fraction
        live = keep_equal({"DEADC": live}, header, {"DEADC": 1e-12})["DEADC"]
    if not 0 < live <= 1:
        raise ValueError(f"{label}: DEADC = {live}: must be above 0, and up to 1")
    return 1 - live * compat.livetime_fraction(observation)


def _with_producer(header, observation):
    """Header with what gammapy's metadata says where it has no such card."""
    meta = compat.part(observation, "meta")
    if meta is None or isinstance(meta, compat.FileLocation):
        return header
    known = {
        "ORIGIN": getattr(meta.creation, "origin", None),
        "TELESCOP": getattr(meta.obs_info, "telescope", None),
        "INSTRUME": getattr(meta.obs_info, "instrument", None),
        "OBJECT": getattr(meta.target, "name", None),
    }
    return header | {k: v for k, v in known.items() if v and not header.get(k)}


def _event_columns(given, reference, label):
    """Give the times of the events in seconds, and their other columns."""
    absent = [name for name in UNITS if name not in given]
    if absent:
        raise ValueError(f"{label} has no column {', '.join(absent)}")
    time = given["TIME"]
    if isinstance(time, Time):
        seconds, passed = _seconds(time, reference), ("TIME",)
    else:
        seconds, passed = _numbers(given, "TIME", "s", label), _NOT_PASSED
        if reference.scale not in _LINEAR:
            seconds = seconds_since(reference + seconds * u.s, reference)
    if seconds.ndim > 1:
        raise ValueError(
            f"{label}: column TIME must hold one time in each row, not of shape "
            f"{seconds.shape[1:]}"
        )
    if not np.all(np.isfinite(seconds)):
        row = np.flatnonzero(~np.isfinite(seconds))[0]
        raise ValueError(f"{label} has an invalid TIME in row {row}: {seconds[row]}")
    columns = {name: column for name, column in given.items() if name not in passed}
    for name in ("RA", "DEC", "ENERGY"):
        columns[name] = _in_unit(columns[name], name, UNITS[name], label)
    for name, column in columns.items():
        if isinstance(column, Time):
            log.warning(
                "%s: column %s is written in seconds after the reference time and "
                "will be read as such.",
                label,
                name,
            )
            values = _seconds(column, reference)
            columns[name] = Column(values, name=name, unit="s")
    return seconds, columns


def _seconds(time, reference):
    """Seconds since a reference time, shape (n,); NaN where a time is masked."""
    seconds = seconds_since(time, reference)
    return np.atleast_1d(seconds.filled(np.nan) if time.masked else seconds)


def _numbers(columns, name, unit, label):
    """Values of a column in a unit, float64; NaN where they are masked."""
    if name not in columns:
        raise ValueError(f"{label} has no column {name}")
    column = _in_unit(columns[name], name, unit, label)
    return np.ma.filled(np.ma.asarray(column).astype(float), np.nan)


def _in_unit(column, name, unit, label):
    """Column in the unit that GADF demands, untouched if it is so already."""
    own = getattr(column, "unit", None)
    if column.dtype.kind not in "iuf" or column.ndim != 1:
        raise ValueError(
            f"{label}: column {name} must hold one number in each row, not "
            f"{column.dtype} of shape {column.shape[1:]}"
        )
    if own == u.Unit(unit):
        return column
    if own is None or own == u.dimensionless_unscaled:
        log.info("%s: column %s has no unit; %s is taken (GADF)", label, name, unit)
        values = column.copy()
        values.unit = unit
        return values
    if not own.is_equivalent(unit):
        raise ValueError(f"{label}: {name} is in {str(own)!r}, not in {unit} or alike")
    values = np.ma.filled(np.ma.asarray(column).astype(float), np.nan)
    return Column(own.to(unit, values), name=name, unit=unit)
