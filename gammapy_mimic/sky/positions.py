"""Positions of events on the sky and in the field of view."""

from dataclasses import dataclass

import erfa
import numpy as np
from astropy import units as u
from astropy.coordinates import AltAz, EarthLocation, SkyCoord
from astropy.time import Time
from gammapy.irf import FoVAlignment

from gammapy_mimic.sky.astrometry import interpolated_astrom, tt_days
from gammapy_mimic.sky.camera import Camera, Pointing, transfer
from gammapy_mimic.sky.geometry import fov_axes, wrapped_deg

__all__ = [
    "EventPositions",
    "event_positions",
    "fov_coordinates",
    "sky_positions",
]

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
        """Positions at times of a run, following astropy."""
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
