"""Rotations between sky and field of view, on plain arrays in degrees.

All functions are exact on the sphere: at the poles, across longitude 0/360 and at
any distance. Formulas are those of vector rotation; see e.g. Calabretta & Greisen
2002, A&A 395, 1077, section 2.
"""

import itertools
from dataclasses import dataclass

import numpy as np

__all__ = [
    "Circles",
    "arc_half_width",
    "fov_axes",
    "from_offset_azimuth",
    "offset_azimuth",
    "rotate_fov",
    "solid_angle_fractions",
    "solid_angle_radii",
    "wrapped_deg",
]


def _unit_vector(lon_deg, lat_deg):
    lon, lat = np.radians(lon_deg), np.radians(lat_deg)
    return np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)


def wrapped_deg(angle_deg):
    """Angles in degrees from 0 to 360; a tiny negative one is not folded to 360.

    Parameters
    ----------
    angle_deg : array-like
        Angles, in degrees.

    Returns
    -------
    wrapped_deg : `~numpy.ndarray`
        The same angles.
    """
    # much faster than numpy.mod
    angle_deg = angle_deg - 360 * np.floor(np.divide(angle_deg, 360))
    return np.where((angle_deg >= 0) & (angle_deg < 360), angle_deg, 0.0)


def offset_azimuth(lon_deg, lat_deg, lon0_deg, lat0_deg):
    """Angular distance and position angle of points as seen from a centre.

    Parameters
    ----------
    lon_deg, lat_deg : array-like
        Points, in degrees.
    lon0_deg, lat0_deg : array-like
        Centre or centres, in degrees; broadcast against the points.

    Returns
    -------
    offset_deg : `~numpy.ndarray`
        Angular distance from the centre, 0 to 180 degrees.
    azimuth_deg : `~numpy.ndarray`
        Position angle at the centre, from the pole of the frame towards
        increasing longitude, 0 to 360 degrees.
    """
    dlon = np.radians(np.subtract(lon_deg, lon0_deg))
    lat, lat0 = np.radians(lat_deg), np.radians(lat0_deg)
    east = np.cos(lat) * np.sin(dlon)
    # 1 - cos(dlon) as 2 sin(dlon / 2)**2 keeps small offsets exact
    haversine = 2 * np.sin(dlon / 2) ** 2
    north = np.sin(lat - lat0) + np.sin(lat0) * np.cos(lat) * haversine
    ahead = np.cos(lat - lat0) - np.cos(lat0) * np.cos(lat) * haversine
    offset = np.arctan2(np.hypot(east, north), ahead)
    return np.degrees(offset), wrapped_deg(np.degrees(np.arctan2(east, north)))


def from_offset_azimuth(offset_deg, azimuth_deg, lon0_deg, lat0_deg):
    """Points at a given distance and position angle from a centre.

    The inverse of `offset_azimuth`.

    Parameters
    ----------
    offset_deg, azimuth_deg : array-like
        Angular distance and position angle, in degrees.
    lon0_deg, lat0_deg : array-like
        Centre or centres, in degrees.

    Returns
    -------
    lon_deg, lat_deg : `~numpy.ndarray`
        Points, in degrees; longitude from 0 to 360.
    """
    offset, azimuth = np.radians(offset_deg), np.radians(azimuth_deg)
    lat0 = np.radians(lat0_deg)
    north = np.sin(offset) * np.cos(azimuth)
    x = np.cos(offset) * np.cos(lat0) - north * np.sin(lat0)
    y = np.sin(offset) * np.sin(azimuth)
    z = np.cos(offset) * np.sin(lat0) + north * np.cos(lat0)
    lon = wrapped_deg(np.degrees(np.arctan2(y, x)) + lon0_deg)
    return lon, np.degrees(np.arctan2(z, np.hypot(x, y)))


def fov_axes(lon_deg, lat_deg):
    """Axes of fields of view that are aligned with their frame.

    Parameters
    ----------
    lon_deg, lat_deg : float or `~numpy.ndarray`
        Pointing or pointings, in degrees.

    Returns
    -------
    axes : `~numpy.ndarray`
        Unit vectors towards the pointing, increasing field-of-view longitude
        (decreasing longitude of the frame; GADF, general/coordinates) and latitude,
        shape (..., 3, 3): the product with a vector of the frame is the vector in the
        field of view, and that with the transpose is the inverse.
    """
    lon, lat = np.radians(lon_deg), np.radians(lat_deg)
    ahead = _unit_vector(lon_deg, lat_deg)
    left = np.sin(lon), -np.cos(lon), np.zeros_like(lon)
    up = -np.sin(lat) * np.cos(lon), -np.sin(lat) * np.sin(lon), np.cos(lat)
    return np.moveaxis(np.array([ahead, left, up]), (0, 1), (-2, -1))


def rotate_fov(fov_lon_deg, fov_lat_deg, angle_deg):
    """Turn field-of-view coordinates about the pointing axis.

    Parameters
    ----------
    fov_lon_deg, fov_lat_deg : array-like
        Spherical field-of-view coordinates, in degrees; the pointing is (0, 0).
    angle_deg : array-like
        Angle from the longitude towards the latitude axis, in degrees.

    Returns
    -------
    fov_lon_deg, fov_lat_deg : `~numpy.ndarray`
        Turned coordinates, in degrees; longitude from -180 to 180.
    """
    x, y, z = _unit_vector(fov_lon_deg, fov_lat_deg)
    cos, sin = np.cos(np.radians(angle_deg)), np.sin(np.radians(angle_deg))
    y, z = y * cos - z * sin, y * sin + z * cos
    return np.degrees(np.arctan2(y, x)), np.degrees(np.arctan2(z, np.hypot(x, y)))


@dataclass(frozen=True)
class Circles:
    """Circles on the sky in polar coordinates about the pointing.

    Parameters
    ----------
    distance_deg, azimuth_deg : array-like
        Centres: distance from the pointing and position angle at it, shape (m,).
    theta_deg : array-like
        Radii, shape (m,).
    """

    distance_deg: np.ndarray
    azimuth_deg: np.ndarray
    theta_deg: np.ndarray

    def __post_init__(self):
        for name in ("distance_deg", "azimuth_deg", "theta_deg"):
            value = np.atleast_1d(np.asarray(getattr(self, name), dtype=float))
            object.__setattr__(self, name, value)

    def __len__(self):
        return len(self.theta_deg)

    def __getitem__(self, key):
        return Circles(
            self.distance_deg[key], self.azimuth_deg[key], self.theta_deg[key]
        )

    def contains(self, offset_deg, azimuth_deg):
        """Which circle holds which point.

        Parameters
        ----------
        offset_deg, azimuth_deg : `~numpy.ndarray`
            Points, shape (n,).

        Returns
        -------
        inside : `~numpy.ndarray` of bool
            Shape (m, n).
        """
        inside = np.zeros((len(self), len(offset_deg)), dtype=bool)
        for row, distance_deg, azimuth0_deg, theta_deg in zip(
            inside, self.distance_deg, self.azimuth_deg, self.theta_deg, strict=True
        ):
            # most points are out of reach already by their offset
            near = np.flatnonzero(np.abs(offset_deg - distance_deg) <= theta_deg)
            offset, distance = np.radians(offset_deg[near]), np.radians(distance_deg)
            dazimuth = np.radians(azimuth_deg[near] - azimuth0_deg)
            haversine = np.sin((offset - distance) / 2) ** 2
            haversine += np.sin(offset) * np.sin(distance) * np.sin(dazimuth / 2) ** 2
            row[near] = haversine <= np.sin(np.radians(theta_deg) / 2) ** 2
        return inside

    def covered_fraction(self, radius_deg):
        """Part of each circle about the pointing that the union of circles covers.

        Exact: the arcs are joined, nothing is sampled.

        Parameters
        ----------
        radius_deg : `~numpy.ndarray`
            Radii about the pointing, shape (n,).

        Returns
        -------
        fraction : `~numpy.ndarray`
            From 0 to 1, shape (n,).
        """
        radius_deg = np.asarray(radius_deg, dtype=float)
        if len(self) == 0 or len(radius_deg) == 0:
            return np.zeros(len(radius_deg))
        reaches = self.distance_deg - self.theta_deg <= radius_deg.max()
        reaches &= self.distance_deg + self.theta_deg >= radius_deg.min()
        if not reaches.all():
            return self[reaches].covered_fraction(radius_deg)
        columns = (self.distance_deg, self.azimuth_deg, self.theta_deg)
        distance, azimuth, theta = (column[:, np.newaxis] for column in columns)
        half = arc_half_width(radius_deg, distance, theta)
        fraction = half.sum(axis=0) / 180
        touching = np.zeros(len(radius_deg), dtype=bool)
        for one, two in itertools.combinations(range(len(self)), 2):
            apart = np.mod(self.azimuth_deg[one] - self.azimuth_deg[two], 360)
            touching |= half[one] + half[two] > min(apart, 360 - apart)
        if touching.any():
            fraction[touching] = self._joined_arcs(azimuth, half[:, touching])
        return fraction

    @staticmethod
    def _joined_arcs(azimuth, half):
        """Part of the full circle in the union of arcs; a column for each radius."""
        # each arc twice, so that one that crosses azimuth 0 is there on both sides
        start = np.mod(azimuth - half, 360)
        start = np.concatenate([start, start - 360])
        stop = np.clip(start + 2 * np.concatenate([half, half]), 0, 360)
        start = np.clip(start, 0, 360)
        order = np.argsort(start, axis=0)
        start = np.take_along_axis(start, order, axis=0)
        stop = np.take_along_axis(stop, order, axis=0)
        reached = np.maximum.accumulate(stop, axis=0)
        start[1:] = np.maximum(start[1:], reached[:-1])
        return np.maximum(stop - start, 0).sum(axis=0) / 360


def arc_half_width(radius_deg, distance_deg, theta_deg):
    """Half of the arc that one circle cuts out of another, seen from its centre.

    Parameters
    ----------
    radius_deg : array-like
        Radius of the circle on which the arc lies.
    distance_deg : array-like
        Distance between the two centres.
    theta_deg : array-like
        Radius of the circle which holds the arc.

    Returns
    -------
    half_width_deg : `~numpy.ndarray`
        Azimuth from the middle to the end of the arc: 0 where nothing, 180 where
        all is inside. By the law of haversines.
    """
    radius, distance = np.radians(radius_deg), np.radians(distance_deg)
    inside = np.sin(np.radians(theta_deg) / 2) ** 2
    inside = inside - np.sin((radius - distance) / 2) ** 2
    across = np.sin(radius) * np.sin(distance)
    with np.errstate(divide="ignore", invalid="ignore"):
        haversine = np.where(across > 0, inside / across, np.where(inside >= 0, 1, 0))
    return 2 * np.degrees(np.arcsin(np.sqrt(np.clip(haversine, 0, 1))))


def solid_angle_radii(fraction, inner_deg, outer_deg):
    """Radii that divide a ring by solid angle.

    Parameters
    ----------
    fraction : array-like
        Fraction of the ring's solid angle inside of the radius, 0 to 1.
    inner_deg, outer_deg : array-like
        Radii of the ring.

    Returns
    -------
    radius_deg : `~numpy.ndarray`
        Radii. Uniform fractions give points uniform in solid angle.
    """
    low, high = (np.sin(np.radians(r) / 2) ** 2 for r in (inner_deg, outer_deg))
    return 2 * np.degrees(np.arcsin(np.sqrt(low + fraction * (high - low))))


def solid_angle_fractions(radius_deg, inner_deg, outer_deg):
    """Inverse of `solid_angle_radii`."""
    radius, low, high = (
        np.sin(np.radians(r) / 2) ** 2 for r in (radius_deg, inner_deg, outer_deg)
    )
    return (radius - low) / (high - low)
