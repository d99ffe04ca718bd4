"""Where a camera on an alt-az mount sees the sky, at the time of each event.

The same as `gammapy.data.Observation.get_fov_frame` aligned with AltAz, for many
events: what depends on time only becomes polynomials, and what is left for each event
are products of vectors.
"""

from dataclasses import dataclass

import erfa
import numpy as np
from gammapy.data import PointingMode
from numpy.polynomial import chebyshev

from gammapy_mimic.sky.astrometry import astrometry, from_horizon
from gammapy_mimic.sky.geometry import wrapped_deg

__all__ = ["Camera", "Pointing", "transfer"]

_PART_S = 3600.0
"""Times within such a part of an hour are taken together: the sky turns by 15 deg."""

_DEGREE = 7
"""Of the polynomials in time, good for 1e-12 deg then."""

_NODES = chebyshev.chebpts1(_DEGREE + 1)
_TO_SERIES = np.linalg.inv(chebyshev.chebvander(_NODES, _DEGREE))
"""Gives the coefficients of the Chebyshev polynomials for values at the nodes."""

_SCHWARZSCHILD_AU = 1.97412574336e-8
"""Schwarzschild radius of the Sun, as in ERFA."""

_SOLAR_LIMIT = 5e-8
"""Limits the light deflection inside of the solar disc, as in ERFA's atciqz."""

_CHUNK = 2**12
"""Events at a time: their arrays fit into the cache, and matrix products of this size
are done without threads, which would wait for each other for milliseconds."""

_DAY_S = 86400.0


@dataclass(frozen=True)
class Pointing:
    """Where a telescope stands, and where it points.

    Parameters
    ----------
    site : tuple of float or None
        Longitude and latitude in degrees, height in m (WGS84); None if it is not
        known, which is enough for fields of view that are aligned with RA and Dec.
    lon_deg, lat_deg : float
        Pointing: right ascension and declination (ICRS), or azimuth and altitude.
    drifts : bool, optional
        Whether the pointing is fixed in the horizon. Default is False.
    """

    site: tuple
    lon_deg: float
    lat_deg: float
    drifts: bool = False

    @classmethod
    def from_observation(cls, observation):
        """Pointing of a run.

        Parameters
        ----------
        observation : `~gammapy.data.Observation`
            Run with a pointing.

        Returns
        -------
        pointing : `Pointing`
            Its pointing.
        """
        own = observation.pointing
        location = observation.observatory_earth_location
        drifts = own.mode is PointingMode.DRIFT
        place = own.fixed_altaz if drifts else own.fixed_icrs.icrs
        angles = (place.az, place.alt) if drifts else (place.ra, place.dec)
        lon_deg, lat_deg = (
            float(np.squeeze(angle.to_value("deg"))) for angle in angles
        )
        site = None
        if location is not None:
            lon, lat, height = location.to_geodetic()
            site = float(lon.deg), float(lat.deg), float(height.to_value("m"))
        return cls(site, lon_deg, lat_deg, drifts)

    @classmethod
    def from_header(cls, header):
        """Pointing of a run after its EVENTS header, by the rules of gammapy.

        Parameters
        ----------
        header : mapping
            Cards.

        Returns
        -------
        pointing : `Pointing`
            Its pointing; ``site`` is None without GEOLON, GEOLAT or ALTITUDE.

        Raises
        ------
        KeyError
            If there are no RA_PNT and DEC_PNT, or AZ_PNT and ALT_PNT in mode DRIFT.
        ValueError
            If one of these is not a number, or beyond the pole.
        """
        drifts = str(header.get("OBS_MODE")).upper() == PointingMode.DRIFT.name
        keys = ("AZ_PNT", "ALT_PNT") if drifts else ("RA_PNT", "DEC_PNT")
        height = "GEOALT" if "GEOALT" in header else "ALTITUDE"
        place = [_number(header, key) for key in keys]
        site = None
        if {"GEOLON", "GEOLAT", height} <= set(header):
            keys += ("GEOLAT",)
            site = tuple(_number(header, key) for key in ("GEOLON", "GEOLAT", height))
        for key in keys[1:]:
            if abs(_number(header, key)) > 90:
                raise ValueError(f"{key} = {header[key]} is beyond the pole")
        return cls(site, *place, drifts)

    def horizon(self, origin):
        """Azimuth and altitude of the pointing.

        Parameters
        ----------
        origin : tuple of float
            Time, as from `~gammapy_mimic.sky.astrometry.tt_days`.

        Returns
        -------
        azimuth_deg, altitude_deg : float
            Azimuth from 0 to 360 deg and altitude, without refraction.
        """
        if self.drifts:
            return self.lon_deg, self.lat_deg
        astrom = astrometry(self.site, *np.array(origin)[:, np.newaxis])
        angles = np.radians(self.lon_deg), np.radians(self.lat_deg)
        azimuth, zenith_angle, *_ = erfa.atioq(*erfa.atciqz(*angles, astrom), astrom)
        return float(np.degrees(azimuth[0])), 90 - float(np.degrees(zenith_angle[0]))


def _number(header, key):
    """Finite number of a card."""
    value = header[key]
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not np.isfinite(value):
        raise ValueError(f"{key} = {value!r} is not a number")
    return float(value)


class Camera:
    """Alt-az-aligned field of view of a run, as a function of time.

    Aberration and light deflection are those of each time and place (ERFA; Urban &
    Seidelmann 2013, Explanatory Supplement to the Astronomical Almanac, 7.2).
    There is no refraction, as in gammapy.

    Parameters
    ----------
    pointing : `Pointing`
        Telescope.
    origin : tuple of float
        Time from which seconds count, as from `~gammapy_mimic.sky.astrometry.tt_days`.
    seconds : `~numpy.ndarray`
        Times of the events, shape (n,), in any order.
    """

    def __init__(self, pointing, origin, seconds):
        self._end = pointing, origin
        self._seconds = np.asarray(seconds, dtype=float)

    def to_fov(self, lon_deg, lat_deg):
        """Places in the camera of positions on the sky.

        Parameters
        ----------
        lon_deg, lat_deg : `~numpy.ndarray`
            ICRS positions in degrees, one for each time or one for all.

        Returns
        -------
        fov_lon_deg, fov_lat_deg : `~numpy.ndarray`
            Longitude, increasing with decreasing azimuth, in -180 to 180 deg, and
            latitude, shape (n,).
        """
        return _in_parts(["to_fov"], [self._end], self._seconds, lon_deg, lat_deg)

    def to_sky(self, fov_lon_deg, fov_lat_deg):
        """Positions on the sky of places in the camera; inverse of `to_fov`.

        Parameters
        ----------
        fov_lon_deg, fov_lat_deg : `~numpy.ndarray`
            Places in degrees, one for each time or one for all.

        Returns
        -------
        lon_deg, lat_deg : `~numpy.ndarray`
            ICRS positions, longitude in 0 to 360 deg, shape (n,).
        """
        places = fov_lon_deg, fov_lat_deg
        lon_deg, lat_deg = _in_parts(["to_sky"], [self._end], self._seconds, *places)
        return wrapped_deg(lon_deg), lat_deg


def transfer(source, destination, seconds, lon_deg, lat_deg):
    """Positions that have the same place in another camera.

    As `Camera.to_fov` of the one and `Camera.to_sky` of the other, in less time.

    Parameters
    ----------
    source, destination : tuple
        `Pointing`, and the time from which seconds count, as `Camera` takes it.
    seconds : `~numpy.ndarray`
        Times of the events, shape (n,).
    lon_deg, lat_deg : `~numpy.ndarray`
        ICRS positions in degrees, shape (n,).

    Returns
    -------
    lon_deg, lat_deg : `~numpy.ndarray`
        ICRS positions in degrees, longitude in 0 to 360 deg, shape (n,).
    """
    ends = source, destination
    lon_deg, lat_deg = _in_parts(["to_fov", "to_sky"], ends, seconds, lon_deg, lat_deg)
    return wrapped_deg(lon_deg), lat_deg


def _in_parts(steps, ends, seconds, lon_deg, lat_deg):
    """Send positions through the views of pointings, one part of time after another."""
    result = np.empty((2, len(seconds)))
    lon, lat = (np.broadcast_to(value, seconds.shape) for value in (lon_deg, lat_deg))
    part = np.floor(seconds / _PART_S)
    if np.all(part == part[:1]):
        _send(steps, ends, seconds, lon, lat, result)
        return result
    for number in np.unique(part):
        rows = np.flatnonzero(part == number)
        of_part = np.empty((2, len(rows)))
        _send(steps, ends, seconds[rows], lon[rows], lat[rows], of_part)
        result[:, rows] = of_part
    return result


def _send(steps, ends, seconds, lon_deg, lat_deg, result):
    """Send positions through the views of pointings, some at a time."""
    low, high = seconds.min(), seconds.max()
    middle, half = (low + high) / 2, max((high - low) / 2, 1.0)
    views, columns = _views(ends, middle + half * _NODES)
    series = np.tensordot(columns, _TO_SERIES, axes=(-1, -1))
    for start in range(0, len(seconds), _CHUNK):
        rows = slice(start, start + _CHUNK)
        time = chebyshev.chebvander((seconds[rows] - middle) / half, _DEGREE).T
        vector = erfa.s2c(np.radians(lon_deg[rows]), np.radians(lat_deg[rows])).T
        for step, view, own in zip(steps, views, series, strict=True):
            velocity, axis, zenith = (own @ time).reshape(3, 3, -1)
            vector = getattr(view, step)(vector, velocity, axis, zenith)
        np.degrees(erfa.c2s(vector.T), out=result[:, rows])


def _views(ends, seconds):
    """Give views of pointings, and their directions at times, shape (n_views, 9, n)."""
    pointings, origins = zip(*ends, strict=True)
    tt1, tt2 = np.array(origins).T[..., np.newaxis]
    tt1, tt2 = np.broadcast_arrays(tt1, tt2 + seconds / _DAY_S)
    site = np.array([pointing.site for pointing in pointings]).T[..., np.newaxis]
    astrom = astrometry(site, tt1, tt2)
    velocity, zenith = astrom["v"], from_horizon(0.0, np.pi / 2, astrom)
    views = [_View(own[len(seconds) // 2]) for own in astrom]
    axis = [
        view.axis(pointing, own)
        for view, pointing, own in zip(views, pointings, astrom, strict=True)
    ]
    columns = np.concatenate([velocity, axis, zenith], axis=-1)
    return views, np.swapaxes(columns, -1, -2)


class _View:
    """What a camera sees, given velocity, axis and zenith of a moment.

    These are on the axes of ICRS, axis and zenith as they appear to the moving
    observer. Vectors are of shape (3, n).

    Parameters
    ----------
    astrom : `~numpy.void`
        ERFA's astrometry in the middle of the time. The Sun moves by 0.02 deg in a
        run, which light deflection does not feel.
    """

    def __init__(self, astrom):
        self._sun = astrom["eh"].tolist()
        self._potential = _SCHWARZSCHILD_AU / float(astrom["em"])
        self._lorentz = float(astrom["bm1"])

    def axis(self, pointing, astrom):
        """Apparent axis of a pointing, shape (n, 3)."""
        angles = np.radians(pointing.lon_deg), np.radians(pointing.lat_deg)
        if pointing.drifts:
            return from_horizon(*angles, astrom)
        velocity = astrom["v"].T
        vector = np.broadcast_to(erfa.s2c(*angles)[:, np.newaxis], velocity.shape)
        return self._apparent(vector, velocity).T

    def to_fov(self, vector, velocity, axis, zenith):
        """Vectors in the camera of ICRS vectors."""
        apparent = self._apparent(vector, velocity)
        side, cos, sin = _sideways(axis, zenith)
        ahead = _dot(apparent, axis)
        up = (_dot(apparent, zenith) - cos * ahead) / sin
        return np.stack([ahead, _dot(apparent, side) / sin, up])

    def to_sky(self, vector, velocity, axis, zenith):
        """ICRS vectors of vectors in the camera."""
        side, cos, sin = _sideways(axis, zenith)
        ahead, left, up = vector
        up = up / sin
        apparent = (ahead - up * cos) * axis + (left / sin) * side + up * zenith
        return self._natural(apparent, velocity)

    def _apparent(self, vector, velocity):
        """ICRS directions as they appear to the moving observer near to the Sun."""
        return self._aberrated(self._bent(vector, 1.0), velocity)

    def _natural(self, vector, velocity):
        """Inverse of `_apparent`: the other velocity, and a Sun that repels."""
        return self._bent(self._aberrated(vector, -velocity), -1.0)

    # the formulas of ERFA's ld and ab, written for vectors of this shape

    def _bent(self, vector, mass):
        """Light deflection by the Sun."""
        x, y, z = self._sun
        ahead = x * vector[0] + y * vector[1] + z * vector[2]
        weight = mass * self._potential / np.maximum(1 + ahead, _SOLAR_LIMIT)
        return vector * (1 - weight * ahead) + np.multiply.outer(self._sun, weight)

    def _aberrated(self, vector, velocity):
        """Aberration by the velocity of the observer, in the potential of the Sun."""
        ahead = _dot(vector, velocity)
        weight = 1 + self._potential + ahead / (1 + self._lorentz)
        vector = vector * (self._lorentz - self._potential * ahead) + weight * velocity
        return vector / np.sqrt(_dot(vector, vector))


def _sideways(axis, zenith):
    """Vector of the longitude axis, with cosine and sine of the zenith angle.

    The sine is the length of that vector, exact at the zenith too.
    """
    side = np.empty_like(axis)
    for k in range(3):
        i, j = (k + 1) % 3, (k + 2) % 3
        side[k] = zenith[i] * axis[j] - zenith[j] * axis[i]
    return side, _dot(zenith, axis), np.sqrt(_dot(side, side))


def _dot(one, two):
    return one[0] * two[0] + one[1] * two[1] + one[2] * two[2]
