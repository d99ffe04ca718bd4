"""Event lists whose events got new places: all columns that follow from them."""

import itertools
import logging

import numpy as np
from astropy import units as u
from astropy.coordinates import AltAz, SkyCoord
from gammapy.data import EventList
from gammapy.irf import FoVAlignment

from gammapy_mimic.camera import Camera
from gammapy_mimic.compat import interpolated_astrom
from gammapy_mimic.geometry import offset_azimuth

__all__ = [
    "check_events",
    "event_positions",
    "fov_coordinates",
    "move_events",
    "sky_positions",
]

log = logging.getLogger(__name__)

FOV_COLUMNS = (("DETX", "DETY"), ("Xoff", "Yoff"), ("XOFF", "YOFF"))
"""Pairs of columns that may hold field-of-view coordinates."""

CONVENTION_TOLERANCE_DEG = 0.05
"""Median distance up to which a pair of columns is taken to follow a convention.

Wide enough for columns made by a flat approximation, far below the distance to any
of the other conventions.
"""

_N_PROBES = 200


def event_positions(table):
    """Positions of events, in double precision.

    Parameters
    ----------
    table : `~astropy.table.Table`
        Event table with columns RA and DEC, of any float type.

    Returns
    -------
    position : `~astropy.coordinates.SkyCoord`
        Positions in ICRS, shape (n,). With float32 columns
        `gammapy.data.EventList.radec` computes in single precision, which is good
        for 0.02 arcsec only.
    """
    lon, lat = (
        u.Quantity(np.asarray(table[name], dtype=float), table[name].unit or u.deg)
        for name in ("RA", "DEC")
    )
    return SkyCoord(lon, lat, frame="icrs")


def fov_coordinates(position, time, observation, alignment):
    """Places of events in the field of view of a run.

    Parameters
    ----------
    position : `~astropy.coordinates.SkyCoord`
        Positions, shape (n,).
    time : `~astropy.time.Time`
        Times, shape (n,).
    observation : `~gammapy.data.Observation`
        Gives pointing and location.
    alignment : `~gammapy.irf.FoVAlignment`
        Alignment of the field of view.

    Returns
    -------
    fov_lon, fov_lat : `~astropy.units.Quantity`
        Field-of-view coordinates, shape (n,), longitude in -180 to 180 deg.
        Longitude increases with decreasing right ascension or azimuth (GADF,
        general/coordinates).
    """
    if len(time) == 0:
        return np.zeros(0) * u.deg, np.zeros(0) * u.deg
    if alignment == FoVAlignment.ALTAZ:
        icrs = position.icrs
        place = Camera(observation, time).to_fov(icrs.ra.deg, icrs.dec.deg)
        return place[0] * u.deg, place[1] * u.deg
    fov = position.transform_to(observation.get_fov_frame(time, alignment))
    return fov.fov_lon.wrap_at(180 * u.deg).to("deg"), fov.fov_lat.to("deg")


def sky_positions(fov_lon, fov_lat, time, observation, alignment):
    """Sky positions of places in the field of view; inverse of `fov_coordinates`.

    Parameters
    ----------
    fov_lon, fov_lat : `~astropy.units.Quantity`
        Field-of-view coordinates, shape (n,).
    time : `~astropy.time.Time`
        Times, shape (n,).
    observation : `~gammapy.data.Observation`
        Gives pointing and location.
    alignment : `~gammapy.irf.FoVAlignment`
        Alignment of the field of view.

    Returns
    -------
    position : `~astropy.coordinates.SkyCoord`
        Positions in ICRS, shape (n,).
    """
    if len(time) == 0:
        return SkyCoord([], [], unit="deg", frame="icrs")
    if alignment == FoVAlignment.ALTAZ:
        place = fov_lon.to_value("deg"), fov_lat.to_value("deg")
        lon, lat = Camera(observation, time).to_sky(*place)
        return SkyCoord(lon, lat, unit="deg", frame="icrs")
    frame = observation.get_fov_frame(time, alignment)
    icrs = SkyCoord(fov_lon=fov_lon, fov_lat=fov_lat, frame=frame).icrs
    # without the times and the location that the frame has attached
    return SkyCoord(icrs.ra, icrs.dec, frame="icrs")


def move_events(
    events,
    position,
    *,
    source,
    destination=None,
    time=None,
    place=None,
    keep_unknown=False,
):
    """Event list with its events at new places.

    RA and DEC become float64. DETX/DETY and Xoff/Yoff are computed anew in the
    convention that they had (aligned with AltAz or RA/Dec, either sign, either
    order of the axes); ALT/AZ and GLON/GLAT likewise. All other columns stay.

    Parameters
    ----------
    events : `~gammapy.data.EventList`
        Events, not changed.
    position : `~astropy.coordinates.SkyCoord`
        New positions, shape (n,).
    source : `~gammapy.data.Observation`
        Run to which the events belong.
    destination : `~gammapy.data.Observation`, optional
        Run in whose field of view the new positions lie. Default is ``source``.
    time : `~astropy.time.Time`, optional
        New times, shape (n,). By default the times stay.
    place : tuple, optional
        Where the new positions lie in the field of view, if that is known:
        alignment, longitude and latitude as from `fov_coordinates`. Default is
        None, which computes it where a column needs it.
    keep_unknown : bool, optional
        Keep field-of-view columns that follow no known convention; right where
        events keep their place in the camera. By default such columns are
        removed, with a warning. Default is False.

    Returns
    -------
    moved : `~gammapy.data.EventList`
        New event list.
    """
    destination = source if destination is None else destination
    table = events.table.copy()
    icrs = position.icrs
    table["RA"] = icrs.ra.to("deg")
    table["DEC"] = icrs.dec.to("deg")
    if time is not None:
        table["TIME"] = time
    _move_fov_columns(table, events, source, destination, place, keep_unknown)
    _move_horizontal_columns(table, icrs, destination)
    if {"GLON", "GLAT"} & set(table.colnames):
        galactic = icrs.galactic
        _fill(table, "GLON", "GLAT", galactic.l, galactic.b)
    return EventList(table, meta=events.meta.model_copy(deep=True))


def _fill(table, name_x, name_y, x, y):
    """Fill two columns that exist, in their own unit and type."""
    for name, value in ((name_x, x), (name_y, y)):
        if name in table.colnames:
            column = table[name]
            unit = column.unit or u.deg
            data = value.to_value(unit).astype(column.dtype)
            table[name] = u.Quantity(data, unit, dtype=column.dtype)


def _move_horizontal_columns(table, icrs, destination):
    names = [name for name in ("ALT", "AZ") if name in table.colnames]
    if not names or len(table) == 0:
        return
    location = destination.observatory_earth_location
    if location is None:
        log.warning(
            "Run %s: columns %s removed: they cannot follow the new positions, "
            "because the run has no location",
            destination.obs_id,
            ", ".join(names),
        )
        table.remove_columns(names)
        return
    with interpolated_astrom():
        altaz = icrs.transform_to(AltAz(obstime=table["TIME"], location=location))
    _fill(table, "ALT", "AZ", altaz.alt, altaz.az)


def _move_fov_columns(table, events, source, destination, known, keep_unknown):
    for names in FOV_COLUMNS:
        if not set(names) <= set(table.colnames) or len(table) == 0:
            continue
        convention = _find_convention(events, names, source)
        if convention is not None:
            alignment, order, signs = convention
            if known is not None and known[0] == alignment:
                place = known[1:]
            else:
                sky = event_positions(table)
                place = fov_coordinates(sky, table["TIME"], destination, alignment)
            _fill(
                table,
                *names,
                *(s * place[k] for s, k in zip(signs, order, strict=True)),
            )
        elif not keep_unknown:
            log.warning(
                "Run %s: columns %s/%s removed: they follow neither the AltAz- nor "
                "the RA/Dec-aligned field of view, so that the new places of the "
                "events in them are unknown",
                source.obs_id,
                *names,
            )
            table.remove_columns(list(names))


def _find_convention(events, names, source):
    """Which field of view a pair of columns holds: (alignment, order, signs)."""
    step = max(1, len(events.table) // _N_PROBES)
    probes = events.table[::step]
    position = event_positions(probes)
    column = [u.Quantity(probes[name], probes[name].unit or u.deg) for name in names]
    column = [np.asarray(value.to_value("deg"), dtype=float) for value in column]

    alignments = [FoVAlignment.RADEC]
    if source.observatory_earth_location is not None:
        alignments.append(FoVAlignment.ALTAZ)
    best, found = CONVENTION_TOLERANCE_DEG, None
    for alignment in alignments:
        place = fov_coordinates(position, probes["TIME"], source, alignment)
        place = [value.to_value("deg") for value in place]
        for order, signs in itertools.product(
            ((0, 1), (1, 0)), itertools.product((1, -1), repeat=2)
        ):
            x, y = (s * place[k] for s, k in zip(signs, order, strict=True))
            distance = np.median(offset_azimuth(*column, x, y)[0])
            if distance < best:
                best, found = distance, (alignment, order, signs)
    return found


_EVENT_UNITS = {"RA": "deg", "DEC": "deg", "ENERGY": "TeV"}


def check_events(observation):
    """Raise an error for events that have no time, no place or no energy.

    Parameters
    ----------
    observation : `~gammapy.data.Observation`
        Run with events.

    Raises
    ------
    ValueError
        If a value is not finite, an energy not positive, a declination beyond 90 deg
        or a unit another one than can be, or if all events lie before or after the
        good time intervals.
    """
    table, run = observation.events.table, f"run {observation.obs_id}: EVENTS"
    columns = {"TIME": table["TIME"].mjd}
    for name, unit in _EVENT_UNITS.items():
        own = table[name].unit
        if own is not None and not own.is_equivalent(unit):
            raise ValueError(
                f"{run} has {name} in {str(own)!r}, not in {unit} or alike"
            )
        columns[name] = u.Quantity(table[name], own or unit).to_value(unit)
    for name, values in columns.items():
        values = np.ma.filled(np.ma.asarray(values, dtype=float), np.nan)
        bad = ~np.isfinite(values)
        if name == "ENERGY":
            bad |= values <= 0
        elif name == "DEC":
            bad |= abs(values) > 90
        if bad.any():
            raise ValueError(
                f"{run} has {bad.sum()} of {len(values)} events with a {name} that "
                f"cannot be, such as {values[bad][0]}; remove them"
            )
    if len(table):
        _check_overlap(observation, run)


def _check_overlap(observation, run):
    time, gti = observation.events.time.tt.mjd, observation.gti
    if gti is None or not len(gti.table):
        return
    start, stop = gti.time_start.tt.mjd.min(), gti.time_stop.tt.mjd.max()
    if time.max() < start or time.min() > stop:
        raise ValueError(
            f"{run} are all from outside of the good time intervals (GTI): are the "
            "time references (MJDREFI, MJDREFF, TIMESYS) of both HDUs right?"
        )
