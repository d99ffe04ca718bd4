"""Where the camera of an alt-az mount sees the sky, at the time of each event.

The same as `gammapy.data.Observation.get_fov_frame` aligned with AltAz, for many
events: what depends on time only is taken from astropy at nodes and interpolated,
and what is left for each event are products of vectors.
"""

import erfa
import numpy as np
from astropy import units as u
from astropy.coordinates import AltAz
from astropy.coordinates.erfa_astrom import ErfaAstromInterpolator
from astropy.time import Time
from gammapy.data import PointingMode
from scipy.interpolate import CubicSpline

__all__ = ["Camera"]

STEP_S = 60.0
"""Distance of the nodes: the sky turns by 0.25 deg, and a cubic spline is then good
for 1e-9 deg."""

_ASTROM_STEP = 600 * u.s
"""Distance of the times for which precession, nutation and the orbit are computed."""

_MARGIN = 8
"""Nodes on either side of a time, so that no end of the spline is near to it."""

_SOLAR_LIMIT = 5e-8
"""Limits the light deflection inside of the solar disc, as in ERFA's atciqz."""

_CHUNK = 2**14
"""Events at a time: the arrays of a chunk fit into the cache."""


class Camera:
    """Alt-az-aligned field of view of a run, as a function of time.

    Aberration and light deflection are those of each time and place (ERFA; Urban &
    Seidelmann 2013, Explanatory Supplement to the Astronomical Almanac, 7.2).
    There is no refraction, as in gammapy.

    Parameters
    ----------
    observation : `~gammapy.data.Observation`
        Gives pointing, tracking or fixed in the horizon, and location.
    time : `~astropy.time.Time`
        Times of the events, shape (n,), in any order.
    """

    def __init__(self, observation, time):
        nodes = _Nodes(time)
        self._seconds = nodes.seconds
        location = observation.observatory_earth_location
        frame = AltAz(obstime=nodes.time, location=location)
        astrom = ErfaAstromInterpolator(_ASTROM_STEP).apco(frame)
        # the Sun moves by 0.02 deg in a run, which light deflection does not feel
        middle = astrom[len(astrom) // 2]
        self._sun = middle["eh"], middle["em"]
        self._lorentz = middle["bm1"]

        zenith = _from_horizon(0.0, np.pi / 2, astrom)
        velocity = astrom["v"]
        pointing = self._pointing(observation.pointing, velocity, astrom)
        columns = np.concatenate([velocity, pointing, zenith], axis=-1)
        self._spline = CubicSpline(nodes.node_seconds, columns)

    def _pointing(self, pointing, velocity, astrom):
        """Apparent direction of the pointing at each node."""
        if pointing.mode is PointingMode.DRIFT:
            altaz = pointing.fixed_altaz
            angles = altaz.az.to_value("rad"), altaz.alt.to_value("rad")
            return _from_horizon(*np.squeeze(angles), astrom)
        icrs = pointing.fixed_icrs
        angles = icrs.ra.to_value("rad"), icrs.dec.to_value("rad")
        vector = erfa.s2c(*np.squeeze(angles))
        return self._apparent(np.broadcast_to(vector, velocity.shape), velocity)

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
        return self._in_chunks(self._to_fov, lon_deg, lat_deg)

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
        lon, lat = self._in_chunks(self._to_sky, fov_lon_deg, fov_lat_deg)
        lon = np.mod(lon, 360)
        return np.where(lon == 360, 0.0, lon), lat

    def _in_chunks(self, function, *coordinates):
        result = np.empty((2, len(self._seconds)))
        coordinates = np.broadcast_arrays(*coordinates, self._seconds)[:2]
        for start in range(0, len(self._seconds), _CHUNK):
            part = slice(start, start + _CHUNK)
            vector = erfa.s2c(*(np.radians(value[part]) for value in coordinates))
            now = np.split(self._spline(self._seconds[part]), 3, axis=-1)
            result[:, part] = np.degrees(erfa.c2s(function(vector, *now)))
        return result

    def _to_fov(self, vector, velocity, pointing, zenith):
        apparent = self._apparent(vector, velocity)
        side, cos, sin = _sideways(pointing, zenith)
        ahead = _dot(apparent, pointing)
        up = (_dot(apparent, zenith) - cos * ahead) / sin
        return np.stack([ahead, _dot(apparent, side) / sin, up], axis=-1)

    def _to_sky(self, vector, velocity, pointing, zenith):
        side, cos, sin = _sideways(pointing, zenith)
        ahead, left, up = vector.T
        apparent = (ahead - up * cos / sin)[:, np.newaxis] * pointing
        apparent += (left / sin)[:, np.newaxis] * side
        apparent += (up / sin)[:, np.newaxis] * zenith
        # each round is 1e4 times nearer to the direction that appears in the camera
        natural = apparent
        for _ in range(2):
            natural = natural + apparent - self._apparent(natural, velocity)
            natural /= np.sqrt(_dot(natural, natural))[:, np.newaxis]
        return natural

    def _apparent(self, vector, velocity):
        """ICRS directions as they appear to the moving observer near to the Sun."""
        direction, distance_au = self._sun
        bent = erfa.ld(1.0, vector, vector, direction, distance_au, _SOLAR_LIMIT)
        return erfa.ab(bent, velocity, distance_au, self._lorentz)


class _Nodes:
    """Times around those of the events, and seconds since the first of them."""

    def __init__(self, time):
        tt = time.tt
        origin = tt[0]
        days = (tt.jd1 - origin.jd1) + (tt.jd2 - origin.jd2)
        self.seconds = np.asarray(days, dtype=float) * 86400
        cells = np.unique(np.floor(self.seconds / STEP_S))
        around = cells[:, np.newaxis] + np.arange(-_MARGIN, _MARGIN + 2)
        self.node_seconds = np.unique(around) * STEP_S
        days = self.node_seconds / 86400
        self.time = Time(origin.jd1, origin.jd2 + days, format="jd", scale="tt")


def _from_horizon(azimuth, altitude, astrom):
    """Apparent direction, on the axes of ICRS, of a fixed place in the horizon."""
    cirs = erfa.s2c(*erfa.atoiq("A", azimuth, np.pi / 2 - altitude, astrom))
    return erfa.trxp(astrom["bpn"], cirs)


def _sideways(pointing, zenith):
    """Vector of the longitude axis, with cosine and sine of the zenith angle.

    The sine is the length of that vector, exact at the zenith too.
    """
    side = np.empty_like(pointing)
    for k in range(3):
        i, j = (k + 1) % 3, (k + 2) % 3
        side[:, k] = zenith[:, i] * pointing[:, j] - zenith[:, j] * pointing[:, i]
    return side, _dot(zenith, pointing), np.sqrt(_dot(side, side))


def _dot(one, two):
    return np.einsum("ij,ij->i", one, two)
