"""Rotations on the sphere, against astropy."""

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord, offset_by
from numpy.testing import assert_allclose

from gammapy_mimic.sky.geometry import from_offset_azimuth, offset_azimuth, rotate_fov

CENTERS = [
    pytest.param(lon, lat, id=f"{lon},{lat}")
    for lon in (0.0, 359.9999, 180.0)
    for lat in (0.0, 60.0, -60.0, 89.0, -89.0, 90.0, -90.0)
]


@pytest.fixture
def places():
    rng = np.random.default_rng(3)
    return rng.uniform(1e-6, 179, 500), rng.uniform(0, 360, 500)


@pytest.mark.parametrize(("lon0", "lat0"), CENTERS)
def test_offset_and_azimuth_agree_with_astropy(lon0, lat0, places):
    lon, lat = places[1], places[0] - 89.5
    offset, azimuth = offset_azimuth(lon, lat, lon0, lat0)
    center = SkyCoord(lon0, lat0, unit="deg")
    point = SkyCoord(lon, lat, unit="deg")
    assert_allclose(offset, center.separation(point).deg, rtol=0, atol=1e-10)
    if abs(lat0) < 90:
        difference = azimuth - center.position_angle(point).deg
        assert_allclose((difference + 180) % 360 - 180, 0, atol=1e-8)
    assert np.all((azimuth >= 0) & (azimuth < 360))


@pytest.mark.parametrize(("lon0", "lat0"), CENTERS)
def test_round_trip(lon0, lat0, places):
    offset, azimuth = places
    lon, lat = from_offset_azimuth(offset, azimuth, lon0, lat0)
    assert np.all((lon >= 0) & (lon < 360))
    back = offset_azimuth(lon, lat, lon0, lat0)
    assert_allclose(back[0], offset, rtol=0, atol=1e-11)
    turn = np.sin(np.radians(offset)) * ((back[1] - azimuth + 180) % 360 - 180)
    assert_allclose(turn, 0, atol=1e-10)


def test_small_offsets_are_exact():
    """The arc cosine of a dot product would lose them at 1e-8 rad."""
    offset = np.array([1e-12, 1e-9, 1e-6])
    lon, lat = from_offset_azimuth(offset, 90.0, 0.0, 0.0)
    assert_allclose(offset_azimuth(lon, lat, 0.0, 0.0)[0], offset, rtol=1e-9)


def test_points_agree_with_astropy(places):
    lon, lat = from_offset_azimuth(*places, 83.6, 22.0)
    expected = offset_by(83.6 * u.deg, 22 * u.deg, places[1] * u.deg, places[0] * u.deg)
    assert_allclose(lon, expected[0].wrap_at("360d").deg, atol=1e-9)
    assert_allclose(lat, expected[1].deg, atol=1e-9)


def test_rotation_about_the_pointing(places):
    rng = np.random.default_rng(4)
    lon, lat = rng.uniform(-90, 90, 500), rng.uniform(-80, 80, 500)
    turned = rotate_fov(lon, lat, 37.0)
    # the distance from the pointing stays, the angle about it grows by 37 deg
    before, after = (offset_azimuth(*place, 0.0, 0.0) for place in ((lon, lat), turned))
    assert_allclose(after[0], before[0], atol=1e-10)
    # position angles run from latitude to longitude, the other way round
    assert_allclose((before[1] - after[1]) % 360, 37, atol=1e-9)
    assert_allclose(rotate_fov(*turned, -37.0), (lon, lat), atol=1e-10)
    assert_allclose(rotate_fov(1.0, 0.0, 90.0), (0.0, 1.0), atol=1e-12)
