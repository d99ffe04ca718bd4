"""Astrometry at many times is that of astropy."""

import warnings

import erfa
import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import AltAz, EarthLocation
from astropy.coordinates.erfa_astrom import ErfaAstrom
from astropy.time import Time

from gammapy_mimic.sky import astrometry as module
from gammapy_mimic.sky.astrometry import astrometry, from_horizon, tt_days

SITE = (16.5, -23.27, 1835.0)
TOLERANCE = {"eb": 1e-8, "eh": 1e-8, "em": 1e-8}
"""Where the Sun is needs to be known only for the deflection of light."""

STARTS = (
    "2004-12-08T23:40",  # over midnight, where tables of the Earth's orientation bend
    "2016-12-31T23:30",  # over a leap second
    "1996-02-29T05:59",
    "2021-03-04T22:10",
)


def expected(site, time):
    location = EarthLocation.from_geodetic(*site)
    return ErfaAstrom().apco(AltAz(obstime=time, location=location))


def assert_same(found, astrom):
    for name in found.dtype.names:
        if name != "phi":  # ERFA does not fill it
            tolerance = TOLERANCE.get(name, 5e-11)  # 0.01 milliarcsec
            difference = np.abs(found[name] - astrom[name])
            if name == "eral":
                difference = np.abs(np.angle(np.exp(1j * difference)))
            assert difference.max() < tolerance, name


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("known", [False, True])
def test_it_is_that_of_astropy(start, known, monkeypatch):
    monkeypatch.setattr(module, "_HOURLY", {})
    time = Time(start, scale="utc") + np.linspace(0, 7200, 50) * u.s
    for _ in range(2 if known else 1):
        found = astrometry(SITE, *tt_days(time))
    assert_same(found, expected(SITE, time))


def test_several_sites_at_once():
    times = [Time(start, scale="utc") + [0, 900] * u.s for start in STARTS]
    sites = [SITE, (-110.9, 31.7, 1270.0), (-17.9, 28.8, 2200.0), (0.0, -89.99, 2835.0)]
    tt1, tt2 = np.moveaxis([tt_days(time) for time in times], 1, 0)
    found = astrometry(np.array(sites).T[..., np.newaxis], tt1, tt2)
    assert found.shape == (4, 2)
    for row, site, time in zip(found, sites, times, strict=True):
        assert_same(row, expected(site, time))


@pytest.mark.parametrize("year", [1955, 2070])
def test_times_outside_of_the_tables(year):
    time = Time(f"{year}-03-04T22:10", scale="tt") + [0, 600] * u.s
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = astrometry(SITE, *tt_days(time))
    assert any("IERS" in str(warning.message) for warning in caught)
    # the sky has turned by 2.5 deg
    turned = np.degrees(np.angle(np.exp(1j * np.diff(found["eral"]))))
    np.testing.assert_allclose(turned, 600 * 360.9856 / 86400, atol=1e-4)


def test_negative_control():
    # the tolerance sees a tenth of a millisecond of the Earth's rotation
    time = Time(STARTS[0], scale="utc") + np.linspace(0, 60, 3) * u.s
    found = astrometry(SITE, *tt_days(time + 1e-4 * u.s))
    with pytest.raises(AssertionError, match="eral"):
        assert_same(found, expected(SITE, time))


def test_memory_does_not_grow(monkeypatch):
    monkeypatch.setattr(module, "_HOURLY", {})
    monkeypatch.setattr(module, "_MAX_HOURS", 5)
    time = Time(STARTS[0], scale="utc")
    for hour in range(20):
        now = time + hour * u.h + [0, 60] * u.s
        assert_same(astrometry(SITE, *tt_days(now)), expected(SITE, now))
        assert len(module._HOURLY) <= 5 + 2 * module._N_HOURS


def test_zenith_and_north():
    time = Time(STARTS[3], scale="utc") + [0, 600] * u.s
    astrom = astrometry(SITE, *tt_days(time))
    zenith, north = (from_horizon(0.0, angle, astrom) for angle in (np.pi / 2, 0))
    np.testing.assert_allclose(erfa.pdp(zenith, north), 0, atol=1e-15)
    # the celestial pole of the date is as high as the latitude, up to polar motion
    pole = astrom["bpn"][:, 2]
    height = np.degrees(np.arcsin(erfa.pdp(zenith, pole)))
    np.testing.assert_allclose(height, SITE[1], atol=2e-4)
    assert np.all(erfa.pdp(north, pole) > 0)
