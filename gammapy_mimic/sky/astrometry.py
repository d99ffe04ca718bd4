"""ERFA's astrometry for observers on the Earth at many times.

The same as astropy takes it from ERFA, without astropy's conversions of times, which
take longer than all the rest of a mimic.
"""

import erfa
import numpy as np
from astropy import units as u
from astropy.coordinates import AltAz, EarthLocation
from astropy.coordinates.erfa_astrom import (
    ErfaAstrom,
    ErfaAstromInterpolator,
    erfa_astrom,
)
from astropy.time import Time
from astropy.utils import iers

__all__ = ["astrometry", "from_horizon", "interpolated_astrom", "tt_days"]

_JD_ZERO = 2400000.5

_N_HOURS = 3
"""Full hours from which slow quantities are interpolated."""

_MAX_HOURS = 10_000
"""Hours that are kept in memory: about as many kilobytes."""


def interpolated_astrom():
    """Context in which AltAz transformations of many times are fast.

    The astrometric values are interpolated between nodes 30 s apart, which changes
    positions by less than 1e-9 arcsec and takes a fiftieth of the time.

    Returns
    -------
    context : context manager
        To be used with ``with``.
    """
    return erfa_astrom.set(ErfaAstromInterpolator(30 * u.s))


def tt_days(time):
    """Julian date in TT, as ERFA takes it.

    Parameters
    ----------
    time : `~astropy.time.Time`
        Time or times.

    Returns
    -------
    tt1, tt2 : float or `~numpy.ndarray`
        Two parts of the Julian date.
    """
    tt = time if time.scale == "tt" else time.tt
    return tt.jd1, tt.jd2


def astrometry(site, tt1, tt2):
    """Star-independent parameters of an observer.

    Precession, nutation, the orbit and the orientation of the Earth are computed at
    full hours and interpolated, which is good for 1e-12 rad.

    Parameters
    ----------
    site : tuple
        Longitudes and latitudes in degrees, heights in m (WGS84).
    tt1, tt2 : `~numpy.ndarray`
        Julian dates in TT, of one shape; that of the site goes with them.

    Returns
    -------
    astrom : `~numpy.ndarray`
        ERFA's structure, without refraction. For times before or after the tables of
        the orientation of the Earth astropy takes a mean one, and warns.
    """
    hours = ((tt1 - _JD_ZERO) + tt2) * 24
    full, index = np.unique(np.floor(hours), return_inverse=True)
    hourly = _around(full)
    if hourly is None:
        location = EarthLocation.from_geodetic(*site)
        # astropy takes the scale that it is given for UT1 where it knows no UT1
        time = Time(tt1, tt2, format="jd", scale="tt").utc
        # predictions, however old, are better than no run
        with iers.conf.set_temp("auto_max_age", None):
            return ErfaAstrom().apco(AltAz(obstime=time, location=location))
    part = (hours - np.floor(hours))[..., np.newaxis]
    first, second, third = np.moveaxis(hourly[index.reshape(hours.shape)], -2, 0)
    linear = first + part * (second - first)
    curved = linear + part * (part - 1) / 2 * (first - 2 * second + third)
    earth, sun, cip, _ = np.split(curved, [6, 9, 12], axis=-1)
    # linear, as in the tables of the Earth's orientation
    *polar, ut1_tt = np.moveaxis(linear[..., 12:], -1, 0)
    earth = np.ascontiguousarray(earth).view(erfa.dt_pv)[..., 0]
    angle, tio = erfa.era00(tt1, tt2 + ut1_tt), erfa.sp00(tt1, tt2)
    place = np.radians(site[0]), np.radians(site[1]), site[2]
    cip = np.moveaxis(cip, -1, 0)
    return erfa.apco(tt1, tt2, earth, sun, *cip, angle, *place, *polar, tio, 0.0, 0.0)


def from_horizon(azimuth, altitude, astrom):
    """Directions of fixed places in the horizon.

    Parameters
    ----------
    azimuth, altitude : float
        Place, in radians.
    astrom : `~numpy.ndarray`
        As from `astrometry`, shape (...).

    Returns
    -------
    vector : `~numpy.ndarray`
        Apparent directions on the axes of ICRS, shape (..., 3).
    """
    cirs = erfa.s2c(*erfa.atoiq("A", azimuth, np.pi / 2 - altitude, astrom))
    return erfa.trxp(astrom["bpn"], cirs)


_HOURLY = {}
"""Slow quantities by hour: the runs of a campaign come again and again."""


def _around(hours):
    """Slow quantities at full hours and at those that follow; shape (n, 3, 15).

    None for times outside of the table of the Earth's orientation.
    """
    if len(_HOURLY) > _MAX_HOURS:
        _HOURLY.clear()
    needed = hours[:, np.newaxis] + np.arange(_N_HOURS)
    missing = sorted(set(needed.flat).difference(_HOURLY))
    if missing:
        values = _slow_quantities(np.array(missing))
        if values is None:
            return None
        _HOURLY.update(zip(missing, values, strict=True))
    return np.array([[_HOURLY[hour] for hour in row] for row in needed])


def _slow_quantities(hours):
    """Earth and Sun, celestial pole, terrestrial pole, UT1 - TT; shape (n, 15)."""
    days, hours = np.divmod(hours, 24)
    tt = _JD_ZERO + days, hours / 24
    utc = erfa.taiutc(*erfa.tttai(*tt))
    orientation = _orientation(*utc)
    if orientation is None:
        return None
    ut1_utc, *polar = orientation
    ut1 = erfa.utcut1(*utc, ut1_utc)
    ut1_tt = (ut1[0] - tt[0]) + (ut1[1] - tt[1])
    # TT for TDB changes nothing
    sun, earth = erfa.epv00(*tt)
    x, y = erfa.bpn2xy(erfa.pnm06a(*tt))
    cip = [x, y, erfa.s06(*tt, x, y)]
    columns = [*earth["p"].T, *earth["v"].T, *sun["p"].T, *cip, *polar, ut1_tt]
    return np.stack(columns, axis=-1)


class _Orientation:
    """Orientation of the Earth by astropy's table, as arrays."""

    def __init__(self):
        self._table, self._last_mjd = None, -np.inf

    def __call__(self, utc1, utc2):
        """Interpolate following astropy.

        UT1 - UTC in seconds, and the terrestrial pole in radians, shape (3, n). None
        for times outside of the table.
        """
        mjd = (utc1 - _JD_ZERO) + utc2
        self._read(mjd.max())
        if mjd.min() < self._mjd[0] or mjd.max() >= self._mjd[-1]:
            return None
        index = np.searchsorted(self._mjd, mjd, side="right") - 1
        low, high = self._values[index], self._values[index + 1]
        step = high - low
        step[:, 0] -= np.round(step[:, 0])  # a leap second
        part = (mjd - self._mjd[index]) / (self._mjd[index + 1] - self._mjd[index])
        return (low + part[:, np.newaxis] * step).T

    def _read(self, last_mjd):
        """Read the table, which astropy fetches again for recent times if it is old."""
        table = iers.earth_orientation_table.get()
        if table is self._table and last_mjd <= self._last_mjd:
            return
        table.pm_xy(last_mjd + _JD_ZERO, 0.0, return_status=True)
        self._table, self._last_mjd = table, last_mjd
        self._mjd = np.array(table["MJD"].to_value("d"))
        units = {"UT1_UTC": "s", "PM_x": "rad", "PM_y": "rad"}
        columns = [table[name].to_value(unit) for name, unit in units.items()]
        self._values = np.stack(columns, axis=-1)


_orientation = _Orientation()
