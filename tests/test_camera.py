"""The camera on the sky is that of gammapy's field-of-view frame."""

import warnings

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import AltAz, EarthLocation, SkyCoord, get_sun
from astropy.time import Time
from gammapy.data import FixedPointingInfo, Observation
from gammapy.irf import FoVAlignment
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gammapy_mimic.sky.astrometry import tt_days
from gammapy_mimic.sky.camera import Camera, Pointing, transfer

SITES = {
    "H.E.S.S.": EarthLocation.from_geodetic(16.5 * u.deg, -23.27 * u.deg, 1835 * u.m),
    "pole": EarthLocation.from_geodetic(0 * u.deg, -89.99 * u.deg, 2835 * u.m),
    "equator": EarthLocation.from_geodetic(-78 * u.deg, 0 * u.deg, 0 * u.m),
}
TOLERANCE_DEG = 2e-7
"""A fifth of what a mimic has to keep; reached next to the zenith."""


def make_run(pointing, site="H.E.S.S."):
    """A run that points somewhere in the sky, or in the horizon."""
    name = "fixed_altaz" if isinstance(pointing.frame, AltAz) else "fixed_icrs"
    pointing = FixedPointingInfo(**{name: pointing})
    return Observation(obs_id=1, pointing=pointing, location=SITES[site])


def camera_of(run, time):
    seconds = (time - time[0]).to_value("s")
    return Camera(Pointing.from_observation(run), tt_days(time[0]), seconds)


def distances(run, time, seed=0, width=5.0):
    """How far Camera is from gammapy: on the way to the field, and back."""
    rng = np.random.default_rng(seed)
    frame = run.get_fov_frame(time, FoVAlignment.ALTAZ)
    lon, lat = rng.uniform(-width, width, (2, len(time)))
    sky = SkyCoord(fov_lon=lon * u.deg, fov_lat=lat * u.deg, frame=frame).icrs
    camera = camera_of(run, time)
    fov = camera.to_fov(sky.ra.deg, sky.dec.deg)
    there = SkyCoord(*fov, unit="deg").separation(SkyCoord(lon, lat, unit="deg"))
    back = SkyCoord(*camera.to_sky(lon, lat), unit="deg").separation(sky)
    return there.deg.max(), back.deg.max()


def times(n=50, start="2021-03-04T22:10:00", span=1700, seed=1):
    seconds = np.random.default_rng(seed).uniform(0, span, n)
    return Time(start, scale="utc") + seconds * u.s


# at the zenith itself the azimuth, and with it the camera, turns without limit
@given(
    alt=st.floats(1, 89.9),
    az=st.floats(0, 360),
    mjd=st.floats(52000, 60000),
    site=st.sampled_from(sorted(SITES)),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=60, deadline=None)
def test_camera_is_gammapys_frame(alt, az, mjd, site, seed):
    start = Time(mjd, format="mjd", scale="utc")
    frame = AltAz(obstime=start, location=SITES[site])
    pointing = SkyCoord(az, alt, unit="deg", frame=frame).icrs
    # next to the Sun light is bent by more than the tolerance from minute to minute
    sun = get_sun(start)
    assume(SkyCoord(sun.ra, sun.dec).separation(pointing) > 30 * u.deg)
    run = make_run(pointing, site)
    time = times(start=start, seed=seed)
    assert max(distances(run, time, seed)) < TOLERANCE_DEG


@pytest.mark.parametrize("dec", [0, 60, -60, 89, -89, 90, -90])
@pytest.mark.parametrize("ra", [0, 359.9999])
def test_poles_and_longitude_zero(ra, dec):
    run = make_run(SkyCoord(ra, dec, unit="deg"))
    assert max(distances(run, times())) < TOLERANCE_DEG


def test_events_far_from_the_pointing():
    run = make_run(SkyCoord(83.6, 22, unit="deg"))
    assert max(distances(run, times(500), width=80)) < TOLERANCE_DEG


def test_through_the_zenith():
    time = times(500)
    site = SITES["H.E.S.S."]
    middle = Time("2021-03-04T22:24:00", scale="utc")
    zenith = AltAz(alt=90 * u.deg, az=0 * u.deg, obstime=middle, location=site)
    run = make_run(SkyCoord(zenith).icrs)
    assert max(distances(run, time)) < TOLERANCE_DEG


def test_pointing_fixed_in_the_horizon():
    run = make_run(SkyCoord(AltAz(alt=70 * u.deg, az=350 * u.deg)))
    assert max(distances(run, times(500))) < TOLERANCE_DEG


def test_times_may_lie_hours_apart():
    run = make_run(SkyCoord(83.6, 22, unit="deg"))
    apart = times(seed=2) + [0, 1, 2, 5, 5.01] * 10 * u.h
    assert max(distances(run, apart)) < TOLERANCE_DEG


def test_one_place_for_all_times():
    run = make_run(SkyCoord(83.6, 22, unit="deg"))
    camera = camera_of(run, times())
    lon, lat = camera.to_sky(0.0, 0.0)
    np.testing.assert_allclose(lon, 83.6, atol=1e-8)
    np.testing.assert_allclose(lat, 22, atol=1e-8)


def test_negative_control():
    # the tolerance sees a pointing that is off by 0.001 arcsec
    one, two = (make_run(SkyCoord(83.6, dec, unit="deg")) for dec in (22, 22 + 3e-7))
    time = times()
    lon, lat = camera_of(one, time).to_fov(84.0, 23.0)
    other = camera_of(two, time).to_fov(84.0, 23.0)
    assert np.abs(other - np.array([lon, lat])).max() > TOLERANCE_DEG


def test_transfer_is_there_and_back_in_another_camera():
    runs = [make_run(SkyCoord(ra, dec, unit="deg")) for ra, dec in ((84, 22), (9, -72))]
    origins = [
        tt_days(Time(start)) for start in ("2021-03-04T22:10", "2004-12-08T01:00")
    ]
    seconds = np.random.default_rng(3).uniform(0, 1700, 300)
    pointings = [Pointing.from_observation(run) for run in runs]
    lon, lat = np.random.default_rng(4).uniform(-3, 3, (2, 300))
    lon, lat = lon + 84, lat + 22
    ends = [*zip(pointings, origins, strict=True)]
    cameras = [Camera(*end, seconds) for end in ends]
    expected = cameras[1].to_sky(*cameras[0].to_fov(lon, lat))
    np.testing.assert_allclose(transfer(*ends, seconds, lon, lat), expected, atol=1e-11)
    back = transfer(*ends[::-1], seconds, *expected)
    np.testing.assert_allclose(back, [lon, lat], atol=1e-10)


@pytest.mark.parametrize("dec", [22, 89.9, -60])
def test_pointing_in_the_horizon(dec):
    run = make_run(SkyCoord(83.6, dec, unit="deg"))
    time = Time("2021-03-04T22:10:00", scale="utc")
    frame = AltAz(obstime=time, location=run.observatory_earth_location)
    altaz = run.pointing.fixed_icrs.transform_to(frame)
    found = Pointing.from_observation(run).horizon(tt_days(time))
    np.testing.assert_allclose(found, [altaz.az.deg, altaz.alt.deg], atol=1e-9)


def test_times_without_a_known_orientation_of_the_earth():
    # as astropy, which takes a mean one and says so
    run, time = make_run(SkyCoord(83.6, 22, unit="deg")), times(start="1955-03-04")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert max(distances(run, time)) < TOLERANCE_DEG
