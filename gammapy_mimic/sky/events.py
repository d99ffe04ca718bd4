"""Event lists whose events got new places: all columns that follow from them."""

import itertools
import logging
from dataclasses import dataclass

import erfa
import numpy as np
from astropy import units as u
from astropy.coordinates import AltAz, EarthLocation, SkyCoord
from astropy.time import Time
from gammapy.data import EventList
from gammapy.irf import FoVAlignment

from gammapy_mimic.io.files import error_context
from gammapy_mimic.sky.astrometry import interpolated_astrom, tt_days
from gammapy_mimic.sky.camera import Camera, Pointing, transfer
from gammapy_mimic.sky.geometry import fov_axes, offset_azimuth, wrapped_deg

__all__ = [
    "DEPENDENT_COLUMNS",
    "Change",
    "EventPositions",
    "changed_events",
    "check_events",
    "check_values",
    "dependent_columns",
    "event_positions",
    "fov_coordinates",
    "move_events",
    "sky_positions",
]

log = logging.getLogger(__name__)

FOV_COLUMNS = (("DETX", "DETY"), ("Xoff", "Yoff"), ("XOFF", "YOFF"))
"""Pairs of columns that may hold field-of-view coordinates."""

DEPENDENT_COLUMNS = (*itertools.chain(*FOV_COLUMNS), "ALT", "AZ", "GLON", "GLAT")
"""Columns that follow from the place of an event, besides RA and DEC."""

CONVENTION_TOLERANCE_DEG = 0.05
"""Median distance up to which a pair of columns is taken to follow a convention.

Wide enough for columns made by a flat approximation, far below the distance to any
of the other conventions.
"""

_N_PROBES = 200
_DAY_S = 86400.0


@dataclass(frozen=True)
class EventPositions:
    """Positions of events on the sky, under a telescope, at their times.

    Parameters
    ----------
    pointing : `~gammapy_mimic.sky.camera.Pointing`
        Telescope.
    origin : tuple of float
        Time from which seconds count, as from `~gammapy_mimic.sky.astrometry.tt_days`.
    seconds : `~numpy.ndarray`
        Times of the events, shape (n,).
    lon_deg, lat_deg : `~numpy.ndarray`
        ICRS positions, shape (n,).
    """

    pointing: Pointing
    origin: tuple
    seconds: np.ndarray
    lon_deg: np.ndarray
    lat_deg: np.ndarray

    @classmethod
    def from_coordinates(cls, position, time, observation):
        """Positions of positions at times of a run, as astropy has them."""
        pointing, (origin, seconds) = (
            Pointing.from_observation(observation),
            _seconds(time),
        )
        icrs = position.icrs
        return cls(pointing, origin, seconds, icrs.ra.deg, icrs.dec.deg)

    @classmethod
    def from_fov(cls, pointing, origin, seconds, fov, alignment):
        """Positions with given field-of-view coordinates in degrees."""
        if len(seconds) == 0:
            place = np.zeros((2, 0))
        elif alignment == FoVAlignment.ALTAZ:
            place = Camera(pointing, origin, seconds).to_sky(*fov)
        else:
            axes = _radec_axes(pointing, origin, seconds)
            place = _turned(*fov, np.swapaxes(axes, -1, -2))
        return cls(pointing, origin, seconds, wrapped_deg(place[0]), place[1])

    def __getitem__(self, rows):
        """Positions of some of the events."""
        columns = (self.seconds, self.lon_deg, self.lat_deg)
        return EventPositions(
            self.pointing, self.origin, *(column[rows] for column in columns)
        )

    def fov_deg(self, alignment):
        """Field-of-view longitude, -180 to 180 deg, and latitude."""
        if len(self.seconds) == 0:
            return np.zeros((2, 0))
        place = self.lon_deg, self.lat_deg
        if alignment == FoVAlignment.ALTAZ:
            return Camera(self.pointing, self.origin, self.seconds).to_fov(*place)
        return _turned(*place, _radec_axes(self.pointing, self.origin, self.seconds))

    def moved(self, pointing, origin, alignment):
        """Positions that are the same in the field of view of another telescope."""
        if len(self.seconds) == 0 or alignment != FoVAlignment.ALTAZ:
            fov = self.fov_deg(alignment)
            return EventPositions.from_fov(
                pointing, origin, self.seconds, fov, alignment
            )
        ends = (self.pointing, self.origin), (pointing, origin)
        place = transfer(*ends, self.seconds, self.lon_deg, self.lat_deg)
        return EventPositions(pointing, origin, self.seconds, *place)

    def altaz_deg(self):
        """Altitude and azimuth."""
        location = EarthLocation.from_geodetic(*self.pointing.site)
        days = self.origin[0], self.origin[1] + self.seconds / _DAY_S
        frame = AltAz(obstime=Time(*days, format="jd", scale="tt"), location=location)
        with interpolated_astrom():
            altaz = self._icrs().transform_to(frame)
        return altaz.alt.deg, altaz.az.deg

    def galactic_deg(self):
        """Galactic longitude and latitude."""
        galactic = self._icrs().galactic
        return galactic.l.deg, galactic.b.deg

    def _icrs(self):
        return SkyCoord(self.lon_deg, self.lat_deg, unit="deg", frame="icrs")


def _seconds(time):
    """Origin, and seconds since it, of times."""
    tt1, tt2 = (np.ravel(days) for days in tt_days(time))
    if len(tt1) == 0:
        return (0.0, 0.0), np.zeros(0)
    return (tt1[0], tt2[0]), ((tt1 - tt1[0]) + (tt2 - tt2[0])) * _DAY_S


def _radec_axes(pointing, origin, seconds):
    """Axes of the field of view that is aligned with RA and Dec."""
    place = pointing.lon_deg, pointing.lat_deg
    if pointing.drifts:
        place = Camera(pointing, origin, seconds).to_sky(0.0, 0.0)
    return fov_axes(*place)


def _turned(lon_deg, lat_deg, axes):
    """Spherical coordinates, in degrees, on other axes."""
    vector = erfa.s2c(np.radians(lon_deg), np.radians(lat_deg))
    return np.degrees(erfa.c2s(erfa.rxp(axes, vector)))


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
    """Positions of events in the field of view of a run.

    Parameters
    ----------
    position : `~astropy.coordinates.SkyCoord`
        Positions, shape (n,), or one position for all times.
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
    place = EventPositions.from_coordinates(position, time, observation).fov_deg(
        alignment
    )
    return place[0] * u.deg, place[1] * u.deg


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
    fov = fov_lon.to_value("deg"), fov_lat.to_value("deg")
    pointing, (origin, seconds) = Pointing.from_observation(observation), _seconds(time)
    return EventPositions.from_fov(pointing, origin, seconds, fov, alignment)._icrs()


def dependent_columns(columns, old, new, *, known=None, keep_unknown=False, label=""):
    """Columns that follow from the new places of events.

    DETX/DETY and Xoff/Yoff are computed in the convention that they had (aligned with
    AltAz or RA/Dec, either sign, either order of the axes); ALT/AZ and GLON/GLAT
    likewise.

    Parameters
    ----------
    columns : dict
        Those of the columns `DEPENDENT_COLUMNS` that there are, in degrees.
    old, new : `EventPositions`
        Where the events were, and where they are now.
    known : `~gammapy.irf.FoVAlignment`, optional
        Alignment in which old and new place are the same. Default is None.
    keep_unknown : bool, optional
        Keep field-of-view columns that follow no known convention; right where
        events keep their place in the camera. By default such columns are
        removed, with a warning. Default is False.
    label : str, optional
        What the events are, for warnings.

    Returns
    -------
    changed : dict
        New columns in degrees; None for one that is to be removed.
    """
    changed = {}
    if len(new.seconds) == 0:
        return changed
    for names in FOV_COLUMNS:
        if set(names) <= set(columns):
            pair = [columns[name] for name in names]
            pair = _moved_pair(pair, old, new, known)
            if pair is None and not keep_unknown:
                log.warning(
                    "%s: columns %s/%s removed: they follow neither the AltAz- nor "
                    "the RA/Dec-aligned field of view, so that the new places of the "
                    "events in them are unknown",
                    label,
                    *names,
                )
                changed |= dict.fromkeys(names)
            elif pair is not None:
                changed |= dict(zip(names, pair, strict=True))
    if {"ALT", "AZ"} & set(columns):
        changed |= _horizontal(new, columns, label)
    if {"GLON", "GLAT"} & set(columns):
        changed |= dict(zip(("GLON", "GLAT"), new.galactic_deg(), strict=True))
    return {name: changed[name] for name in changed if name in columns}


def _horizontal(places, columns, label):
    if places.pointing.site is not None:
        return dict(zip(("ALT", "AZ"), places.altaz_deg(), strict=True))
    log.warning(
        "%s: columns %s removed: they cannot follow the new positions, because the run "
        "has no location",
        label,
        ", ".join(name for name in ("ALT", "AZ") if name in columns),
    )
    return dict.fromkeys(("ALT", "AZ"))


def _moved_pair(pair, old, new, known):
    """Two field-of-view columns at new places; None if nobody knows how."""
    step = max(1, len(old.seconds) // _N_PROBES)
    convention = _find_convention([column[::step] for column in pair], old[::step])
    if convention is None:
        return None
    alignment, order, signs = convention
    place = (old if alignment == known else new).fov_deg(alignment)
    return [sign * place[k] for sign, k in zip(signs, order, strict=True)]


def _find_convention(pair, places):
    """Which field of view a pair of columns holds: (alignment, order, signs)."""
    alignments = [FoVAlignment.RADEC]
    if places.pointing.site is not None:
        alignments.append(FoVAlignment.ALTAZ)
    best, found = CONVENTION_TOLERANCE_DEG, None
    for alignment in alignments:
        place = places.fov_deg(alignment)
        for order, signs in itertools.product(
            ((0, 1), (1, 0)), itertools.product((1, -1), repeat=2)
        ):
            x, y = (s * place[k] for s, k in zip(signs, order, strict=True))
            distance = np.median(offset_azimuth(*pair, x, y)[0])
            if distance < best:
                best, found = distance, (alignment, order, signs)
    return found


def move_events(
    events,
    position,
    *,
    source,
    destination=None,
    time=None,
    known=None,
    keep_unknown=False,
):
    """Event list with its events at new places.

    RA and DEC become float64, and what follows from the place is computed anew (see
    `dependent_columns`). All other columns stay.

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
    known, keep_unknown : optional
        See `dependent_columns`.

    Returns
    -------
    moved : `~gammapy.data.EventList`
        New event list.
    """
    destination = source if destination is None else destination
    table, icrs = events.table.copy(), position.icrs
    columns = {}
    for name in set(DEPENDENT_COLUMNS) & set(table.colnames):
        with error_context(f"run {source.obs_id}: column {name} of EVENTS"):
            columns[name] = _degrees(table[name])
    if time is not None:
        table["TIME"] = time
    changed = {"RA": icrs.ra.deg, "DEC": icrs.dec.deg}
    if columns:
        changed |= dependent_columns(
            columns,
            EventPositions.from_coordinates(
                event_positions(events.table), events.table["TIME"], source
            ),
            EventPositions.from_coordinates(icrs, table["TIME"], destination),
            known=known,
            keep_unknown=keep_unknown,
            label=f"Run {source.obs_id}",
        )
    for name, values in changed.items():
        if values is None:
            table.remove_column(name)
        else:
            table[name] = _like(values, table[name])
    return EventList(table, meta=events.meta.model_copy(deep=True))


@dataclass(frozen=True)
class Change:
    """What becomes of the events of a run whose sky changes.

    Parameters
    ----------
    rows : `~numpy.ndarray` of int
        Which of the old events each of the new ones is, shape (n,).
    moved : `~numpy.ndarray` of int
        Which of the new events have new places, shape (k,).
    lon_deg, lat_deg : `~numpy.ndarray`
        ICRS positions of those, shape (k,).
    seconds : `~numpy.ndarray`, optional
        Their new times since the start of the first good time interval: they are
        copies, which get an EVENT_ID of their own. By default the times stay.
    """

    rows: np.ndarray
    moved: np.ndarray
    lon_deg: np.ndarray
    lat_deg: np.ndarray
    seconds: np.ndarray = None

    def new_ids(self, old_ids):
        """EVENT_IDs of the copies: they follow on the largest old one."""
        first = old_ids.max() + 1 if len(old_ids) else 1
        return first + np.arange(len(self.moved))


def changed_events(observation, change):
    """Event list of a run whose sky changes.

    Parameters
    ----------
    observation : `~gammapy.data.Observation`
        Run in memory, not changed.
    change : `Change`
        What becomes of its events.

    Returns
    -------
    events : `~gammapy.data.EventList`
        New event list. RA and DEC are float64; columns that cannot follow the new
        places are removed.
    """
    events, time = observation.events, None
    old = events.table
    if change.seconds is not None:
        time = observation.gti.time_start.min() + change.seconds * u.s
        time = getattr(time, old["TIME"].scale)
    moved = move_events(
        EventList(old[change.rows[change.moved]], meta=events.meta),
        SkyCoord(change.lon_deg, change.lat_deg, unit="deg", frame="icrs"),
        source=observation,
        time=time,
    ).table
    if change.seconds is None:
        # setting times is slow, and these stay
        moved.remove_column("TIME")
    elif "EVENT_ID" in moved.colnames:
        moved["EVENT_ID"] = change.new_ids(old["EVENT_ID"])
    table = old[change.rows]
    if len(change.moved):
        table.keep_columns(["TIME", *moved.colnames])
    for name in ("RA", "DEC"):
        table[name] = table[name].astype(float)
    for name in set(moved.colnames) & set(table.colnames):
        table[name][change.moved] = moved[name]
    return EventList(table, meta=events.meta.model_copy(deep=True))


def _degrees(column):
    values = u.Quantity(np.asarray(column, dtype=float), column.unit or u.deg)
    return values.to_value("deg")


def _like(values_deg, column):
    """Degrees in the unit and type of a column; RA and DEC are of double precision."""
    if column.name in ("RA", "DEC"):
        return u.Quantity(values_deg, "deg")
    unit = column.unit or u.deg
    data = (values_deg * u.deg).to_value(unit).astype(column.dtype)
    return u.Quantity(data, unit, dtype=column.dtype)


_EVENT_UNITS = {"RA": "deg", "DEC": "deg", "ENERGY": "TeV"}
_LIMITS = {"ENERGY": (0, np.inf), "DEC": np.nextafter([-90, 90], [-np.inf, np.inf])}


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
        or a unit another one than can be, if a time is more than a day away from the
        good time, or if all events lie before or after it.
    """
    table, run = observation.events.table, f"run {observation.obs_id}: EVENTS"
    columns = {"TIME": table["TIME"].tt.mjd}
    for name, unit in _EVENT_UNITS.items():
        own = table[name].unit
        if own is not None and not own.is_equivalent(unit):
            raise ValueError(
                f"{run} has {name} in {str(own)!r}, not in {unit} or alike"
            )
        columns[name] = u.Quantity(table[name], own or unit).to_value(unit)
    gti = observation.gti
    good = () if gti is None else (gti.time_start.tt.mjd, gti.time_stop.tt.mjd)
    check_values(columns, good, run)


def check_values(columns, good, label, *, day=1):
    """Raise an error for values that cannot be; see `check_events`.

    Parameters
    ----------
    columns : dict
        Columns TIME, RA and DEC (in degrees) and ENERGY.
    good : tuple of `~numpy.ndarray`
        Starts and ends of the good time intervals, as TIME is; may be empty.
    label : str
        Run and table, for the message.
    day : float, optional
        A day in the unit of TIME. Default is 1.
    """
    limits, time = dict(_LIMITS), columns["TIME"]
    if len(good) and len(good[0]):
        start, stop = good[0].min(), good[1].max()
        if len(time) and (time.max() < start or time.min() > stop):
            raise ValueError(
                f"{label} are all from outside of the good time intervals (GTI): are "
                "the time references (MJDREFI, MJDREFF, TIMESYS) of both HDUs right?"
            )
        limits["TIME"] = start - day, stop + day
    for name, values in columns.items():
        if np.ma.isMaskedArray(values):
            values = values.filled(np.nan)
        low, high = limits.get(name, (-np.inf, np.inf))
        bad = ~((values > low) & (values < high))
        if bad.any():
            raise ValueError(
                f"{label} has {bad.sum()} of {len(values)} events with a {name} that "
                f"cannot be, such as {values[bad][0]}; remove them"
            )
