"""The constructed runs open with gammapy and hold what they claim to hold."""

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from gammapy.data import DataStore, Observation, PointingMode
from gammapy.datasets import MapDataset
from gammapy.irf import FoVAlignment
from gammapy.makers import MapDatasetMaker
from gammapy.maps import MapAxis, WcsGeom
from helpers import runs
from helpers.runs import KINDS, make_run, open_raw, write_file, write_raw
from numpy.testing import assert_allclose, assert_array_equal


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """Lazy observation of each kind, from one store."""
    path = tmp_path_factory.mktemp("raw")
    observations = open_raw(KINDS, path, n_events=60)
    return dict(zip(KINDS, observations, strict=True))


@pytest.mark.parametrize("kind", KINDS)
def test_memory_equals_store(kind, stored):
    lazy = stored[kind]
    memory = make_run(kind, obs_id=lazy.obs_id, n_events=60)
    table, expected = memory.events.table, lazy.events.table
    assert table.colnames == expected.colnames
    for name in table.colnames:
        if name != "TIME":
            assert table[name].dtype.str[1:] == expected[name].dtype.str[1:]
        assert np.all(table[name] == expected[name])
    assert_array_equal(memory.gti.time_start.mjd, lazy.gti.time_start.mjd)
    optional, expected = memory.meta.optional, dict(lazy.meta.optional)
    if kind == "messy":
        # of a card that is there twice, a table keeps both values
        assert optional["TELLIST"] == ["T1,T2,T4", "T1,T2"]
        expected["TELLIST"] = optional["TELLIST"]
    assert optional == expected
    for name in ("aeff", "edisp", "psf", "bkg"):
        irf, expected = getattr(memory, name), getattr(lazy, name)
        assert (irf is None) == (expected is None)
        if irf is not None:
            assert_array_equal(irf.data, expected.data)
            assert irf.fov_alignment == expected.fov_alignment


@pytest.mark.parametrize("kind", KINDS)
def test_observation_read(kind, tmp_path):
    path = write_file(tmp_path / "run.fits", kind, obs_id=7, n_events=5)
    observation = Observation.read(path)
    assert observation.obs_id == 7
    expected = {name.split("_")[0] for name in runs.irf_classes(kind)}
    for name in ("aeff", "edisp", "psf", "_bkg"):
        found = getattr(observation, name) is not None
        assert found == (name.strip("_") in expected), name


@pytest.mark.parametrize("kind", KINDS)
def test_events_in_gti(kind, stored):
    observation = stored[kind]
    time, gti = observation.events.time, observation.gti
    inside = [(time >= a) & (time <= b) for a, b in gti.time_intervals]
    assert np.all(np.any(inside, axis=0))
    assert len(time) == (0 if kind == "empty" else 60)


@pytest.mark.parametrize("kind", KINDS)
def test_header_agrees_with_gti(kind, stored):
    observation = stored[kind]
    header = observation.events.table.meta
    assert_allclose(
        header["ONTIME"], observation.gti.time_sum.to_value("s"), rtol=1e-12
    )
    assert header["LIVETIME"] == runs.DEADC * header["ONTIME"]
    assert_allclose(observation.observation_dead_time_fraction, 1 - runs.DEADC)
    assert_allclose(observation.gti.time_start[0].tt.mjd, runs.START.mjd, atol=1e-8)


def test_index_times_of_all_time_systems(tmp_path):
    store = DataStore.from_dir(write_raw(KINDS, tmp_path, n_events=1))
    # all runs start at the same time, whatever the time system of their file
    start = store.obs_table.time_start
    assert_allclose((start - runs.START).to_value("s"), 0, atol=2e-3)


@pytest.mark.parametrize("kind", runs.POINT_LIKE)
def test_point_like(kind, stored):
    observation = stored[kind]
    assert observation.aeff.is_pointlike
    assert observation.psf is None
    assert observation.rad_max.is_fixed_rad_max == (kind == "fixed_rad_max")


def test_fixed_rad_max_value(stored):
    assert stored["fixed_rad_max"].rad_max.quantity.to_value("deg") == runs.RAD_MAX


@pytest.mark.parametrize(
    ("kind", "alignment"),
    [
        ("full", FoVAlignment.RADEC),
        ("bkg_altaz", FoVAlignment.ALTAZ),
        ("hess", FoVAlignment.REVERSE_LON_RADEC),
        ("reverse_lon", FoVAlignment.REVERSE_LON_RADEC),
    ],
)
def test_background_holds_truth(kind, alignment, stored):
    bkg = stored[kind].bkg
    assert bkg.fov_alignment == alignment
    energy, lon, lat = 3.3 * u.TeV, [-1.1, 0.3, 2.2] * u.deg, [1.4, -2.1, 0.6] * u.deg
    rate = bkg.evaluate(energy=energy, fov_lon=lon, fov_lat=lat)
    # evaluate() itself knows no mirror: that is done by the maker
    expected = runs.background_rate(energy, lon, lat)
    # the table is float32
    assert_allclose((rate / expected).to_value(""), 1, rtol=1e-5)


@pytest.mark.parametrize("kind", ["full", "bkg_altaz", "hess", "reverse_lon"])
def test_background_events_follow_model(kind):
    """Chi-square of drawn events and gammapy's prediction, in 16 patches of the sky.

    A false alarm happens in 1e-4 of all seeds (chi2 of 15 degrees: 44.3); the
    mirrored prediction must fail by far.
    """
    run = make_run(kind, n_events=20000, draw="background", seed=3)
    axis = MapAxis.from_energy_bounds("0.3 TeV", "10 TeV", nbin=2)
    geom = WcsGeom.create(skydir=runs.POINTING, width=3.2, binsz=0.1, axes=[axis])
    dataset = MapDatasetMaker(selection=["counts", "background"]).run(
        MapDataset.create(geom), run
    )

    def patches(data):
        return data.sum(axis=0).reshape(4, 8, 4, 8).sum(axis=(1, 3))

    counts, model = (patches(m.data) for m in (dataset.counts, dataset.background))

    def chi2(model):
        expected = model * counts.sum() / model.sum()
        return np.sum((counts - expected) ** 2 / expected)

    assert chi2(model) < 44.3
    assert chi2(model[:, ::-1]) > 1000
    assert chi2(model[::-1]) > 500


def test_fov_columns(stored):
    header = stored["columns"].events.table.meta
    table = stored["columns"].events.table
    offset = stored["columns"].events.offset.deg
    for x, y in (("DETX", "DETY"), ("Xoff", "Yoff")):
        lon, lat = np.radians(table[x]), np.radians(table[y])
        distance = np.degrees(np.arccos(np.cos(lon) * np.cos(lat)))
        # aberration differs by up to 5e-4 deg between ICRS and AltAz
        assert_allclose(distance, offset, atol=1e-3)
    # west of the pointing, at smaller right ascension, lon is positive
    west = stored["columns"].events.radec.ra.deg < header["RA_PNT"]
    assert np.all((table["Xoff"] > 0) == west)


def test_column_types(stored):
    table = stored["columns"].events.table
    assert table["MULTIP"].dtype.str[1:] == "i2"
    assert table["MASKED"].mask.sum() == 15
    assert table["LABEL"].dtype.kind in "SU"
    assert table["EVENT_TYPE"].shape == (60, 32)
    assert table["EVENT_ID"].dtype.str[1:] == "i8"


def test_drift(stored):
    run = stored["drift"]
    assert run.pointing.mode == PointingMode.DRIFT
    middle = run.gti.time_start[0] + run.gti.time_sum / 2
    at_middle = run.pointing.get_icrs(middle, location=runs.LOCATION)
    pointing = SkyCoord(at_middle.ra, at_middle.dec)
    assert pointing.separation(runs.POINTING) < 1 * u.arcsec
    # the sky passes by 7 deg in 28 minutes, but the events stay in the camera
    center = run.pointing.get_icrs(run.events.time, location=runs.LOCATION)
    positions = run.events.radec
    offset = positions.separation(SkyCoord(center.ra, center.dec))
    assert offset.max() < 2.51 * u.deg


def test_multi_gti(stored):
    gti = stored["multi_gti"].gti
    assert_allclose(gti.time_delta.to_value("s"), [420, 210, 630], atol=1e-6)


def test_no_event_id(stored):
    assert "EVENT_ID" not in stored["no_event_id"].events.table.colnames


def test_hess_header_and_far_events(stored):
    events = stored["hess"].events
    assert events.table["RA"].dtype.itemsize == 4
    assert events.table.meta["HDUVERS"] == "0.2"
    assert_allclose(np.sort(events.offset.deg)[-2:], [40, 73], atol=0.1)


def test_messy_header(tmp_path):
    path = write_raw("messy", tmp_path)
    header = fits.getheader(path / "run_1.fits", "EVENTS")
    assert header["OBS_ID"] == "1"
    assert header.count("TELLIST") == 2
    assert list(header["COMMENT"]) == ["A first comment", "and a second one"]
    assert isinstance(header["EQUINOX"], int)
    assert header["CHECKSUM"] == "AAAAAAAAAAAAAAAA"


def test_separate_irfs(tmp_path):
    write_raw("separate_irfs", tmp_path)
    with fits.open(tmp_path / "irfs_1.fits") as hdulist:
        assert "OBS_ID" not in hdulist["BACKGROUND"].header
    with fits.open(tmp_path / "run_1.fits") as hdulist:
        assert [hdu.name for hdu in hdulist] == ["PRIMARY", "EVENTS", "GTI"]


def test_options():
    elsewhere = SkyCoord(10, -72, unit="deg")
    run = make_run(pointing=elsewhere, obs_id=5, n_events=10, header={"OBJECT": "X"})
    assert run.obs_id == 5
    assert run.events.table.meta["OBJECT"] == "X"
    assert run.events.radec.separation(elsewhere).max() < 2.51 * u.deg
    with pytest.raises(ValueError, match="draw='other'"):
        make_run(draw="other")


def test_same_seed_same_events():
    first, same, other = (make_run(seed=seed) for seed in (1, 1, 2))
    assert_array_equal(first.events.table["RA"], same.events.table["RA"])
    assert np.all(first.events.table["RA"] != other.events.table["RA"])
