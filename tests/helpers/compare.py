"""Runs compared, and where their events lie by astropy alone."""

import numpy as np
from astropy import units as u
from astropy.coordinates import AltAz, SkyCoord
from gammapy.data import PointingMode
from gammapy.irf import FoVAlignment
from numpy.testing import assert_allclose

IRFS = ("aeff", "edisp", "psf", "bkg", "rad_max")


def assert_same_irf(first, second):
    """Equal data, units, alignment; axes up to the rounding of a 64 bit number."""
    assert type(first) is type(second)
    if isinstance(first.unit, dict):
        assert all(first.unit[name] == second.unit[name] for name in first.unit)
    else:
        assert first.unit == second.unit
    for name in first.data.dtype.names or [...]:
        assert first.data[name].dtype.itemsize == second.data[name].dtype.itemsize
        assert np.array_equal(first.data[name], second.data[name])
    assert first.is_pointlike == second.is_pointlike
    for one, other in zip(first.axes, second.axes, strict=True):
        assert one.name == other.name
        assert one.unit == other.unit
        assert_allclose(one.edges.value, other.edges.value, rtol=5e-16, atol=1e-15)
        assert one.node_type == other.node_type


def meaning(bkg):
    """Rates at places of the field of view, as gammapy takes them."""
    if bkg is None:
        return None
    energy, lon, lat = [0.3, 2] * u.TeV, [-1.2, 0.4, 1.7] * u.deg, 0.9 * u.deg
    if bkg.has_offset_axis:
        return bkg.evaluate(energy=energy[:, np.newaxis], offset=abs(lon))
    align = bkg.fov_alignment
    lon = -lon if align == FoVAlignment.REVERSE_LON_RADEC else lon
    rate = bkg.evaluate(energy=energy[:, np.newaxis], fov_lon=lon, fov_lat=lat)
    return rate, align == FoVAlignment.ALTAZ


def assert_same_background(first, second):
    first, second = meaning(first), meaning(second)
    if isinstance(first, tuple):
        assert first[1] == second[1]
        first, second = first[0], second[0]
    assert (first is None) == (second is None)
    if first is not None:
        assert first.unit == second.unit
        assert first.value.min() > 0
        assert_allclose(first.value, second.value, rtol=1e-12)


def assert_same_events(first, second):
    assert np.array_equal(first.time.jd1, second.time.jd1)
    assert np.array_equal(first.time.jd2, second.time.jd2)
    assert set(second.table.colnames) - set(first.table.colnames) <= {"EVENT_ID"}
    for name in first.table.colnames:
        one, other = first.table[name], second.table[name]
        if name == "TIME":
            continue
        assert one.unit == other.unit, name
        assert one.shape == other.shape, name
        assert one.dtype.newbyteorder("=") == other.dtype.newbyteorder("="), name
        one, other = np.ma.asarray(one), np.ma.asarray(other)
        assert np.array_equal(np.ma.getmaskarray(one), np.ma.getmaskarray(other)), name
        assert np.array_equal(one.filled(), other.filled()), name


def assert_same_run(first, second):
    """Everything that gammapy gets from a run."""
    assert first.obs_id == second.obs_id
    assert_same_events(first.events, second.events)
    for name in ("time_start", "time_stop"):
        one, other = getattr(first.gti, name), getattr(second.gti, name)
        assert np.all((one - other).to_value("s") == 0)
    assert first.pointing.mode is second.pointing.mode
    if first.pointing.mode is PointingMode.POINTING:
        assert first.pointing.fixed_icrs.ra == second.pointing.fixed_icrs.ra
        assert first.pointing.fixed_icrs.dec == second.pointing.fixed_icrs.dec
    else:
        assert first.pointing.fixed_altaz.alt == second.pointing.fixed_altaz.alt
        assert first.pointing.fixed_altaz.az == second.pointing.fixed_altaz.az
    one, other = (run.observatory_earth_location for run in (first, second))
    assert np.hypot(one.x - other.x, one.y - other.y) < 1e-6 * u.m
    assert first.observation_live_time_duration == second.observation_live_time_duration
    for name in ("name", "position"):
        assert_target(first, second, name)
    for name in ("aeff", "edisp", "psf", "rad_max"):
        one, other = getattr(first, name), getattr(second, name)
        assert (one is None) == (other is None), name
        if one is not None:
            assert_same_irf(one, other)
    assert_same_background(first.bkg, second.bkg)


def exact_fov(observation, alignment):
    """Field-of-view places of all events, by astropy's SkyOffsetFrame alone."""
    position, center = positions(observation), observation.pointing.fixed_icrs
    if alignment == "altaz":
        location = observation.observatory_earth_location
        frame = AltAz(obstime=observation.events.time, location=location)
        position, center = position.transform_to(frame), center.transform_to(frame)
        position = SkyCoord(position.az, position.alt)
        center = SkyCoord(center.az, center.alt)
    offset = position.transform_to(center.skyoffset_frame())
    return -offset.lon.wrap_at("180d").deg, offset.lat.deg


def assert_target(first, second, name):
    one, other = (getattr(run.meta.target, name) for run in (first, second))
    if name == "position" and one is not None:
        assert one.separation(other).deg == 0
    else:
        assert one == other


def sky(lon, lat):
    return SkyCoord(lon, lat, unit="deg", frame="icrs")


def positions(observation):
    table = observation.events.table
    return sky(np.asarray(table["RA"], float), np.asarray(table["DEC"], float))
