"""Background models: turned with their events, read, and without an alignment."""

import logging

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import Table
from gammapy.data import DataStore
from gammapy.datasets import MapDataset
from gammapy.irf import Background3D, FoVAlignment
from gammapy.makers import MapDatasetMaker
from gammapy.maps import MapAxis, WcsGeom
from helpers.runs import make_hdulist, make_run, write_raw
from numpy.testing import assert_allclose, assert_array_equal
from scipy.interpolate import RegularGridInterpolator

from gammapy_mimic import MimicMaker
from gammapy_mimic.config import MimicAnalysisConfig
from gammapy_mimic.data import compat
from gammapy_mimic.mimic.background import state_alignment, turn_background

UNIT = "s-1 MeV-1 sr-1"
ANGLES_DEG = (17, 45, 90, 211)
TARGET = {"obs_id": 7, "pointing": SkyCoord(20, -50, unit="deg")}


def model(rate, *, width=0.2, n=20, lon_edges=None, **kwargs):
    """Model of a rate, a function of longitude and latitude, or given in bins."""
    edges = (np.arange(n + 1) - n / 2) * width
    edges = [edges if lon_edges is None else np.asarray(lon_edges), edges]
    axes = [
        MapAxis.from_edges(edge * u.deg, name=name)
        for edge, name in zip(edges, ("fov_lon", "fov_lat"), strict=True)
    ]
    if callable(rate):
        lon, lat = (axis.center.to_value("deg") for axis in axes)
        rate = rate(*np.meshgrid(lon, lat, indexing="ij"))[np.newaxis]
    n_energy = len(rate)
    energy = MapAxis.from_energy_bounds(
        "1 TeV", f"{10**n_energy} TeV", nbin=n_energy, name="energy"
    )
    return Background3D([energy, *axes], np.asarray(rate), UNIT, **kwargs)


def filled(counts_per_bin, *, n=20, width=0.2, seed=0):
    """Model filled from as many events, the fewer the emptier."""
    rng = np.random.default_rng(seed)
    counts = [rng.poisson(mean, (n, n)) for mean in counts_per_bin]
    return model(np.array(counts, dtype="f4"), n=n, width=width)


def centers(bkg):
    names = ("fov_lon", "fov_lat")
    lon, lat = (bkg.axes[name].center.to_value("deg") for name in names)
    return np.meshgrid(lon, lat, indexing="ij")


def mean_within_2_deg(bkg):
    """Mean rate for each energy, interpolated linearly on a fine grid."""
    grid = np.arange(-1.99, 2, 0.02)
    lon, lat = np.meshgrid(grid, grid, indexing="ij")
    inside = np.hypot(lon, lat) < 2
    nodes = [axis[0] if i else axis[:, 0] for i, axis in enumerate(centers(bkg))]
    rate = RegularGridInterpolator(nodes, np.moveaxis(bkg.data, 0, -1).astype(float))
    return rate((lon[inside], lat[inside])).mean(axis=0)


def smooth(lon, lat):
    return np.exp(-(lon**2 + lat**2) / 2) * (1 + 0.3 * lat)


# --- turning ---------------------------------------------------------------------


@pytest.mark.parametrize("angle_deg", ANGLES_DEG)
def test_turned_place(angle_deg):
    """A rate that is linear in the place is turned exactly, up to the sphere."""
    bkg = model(lambda lon, lat: 5 + lon + 0.5 * lat)
    turned = turn_background(bkg, angle_deg * u.deg)
    lon, lat = centers(turned)
    cos, sin = np.cos(np.radians(angle_deg)), np.sin(np.radians(angle_deg))
    back = lon * cos + lat * sin, lat * cos - lon * sin
    inner = np.hypot(lon, lat) < 1.8
    assert_allclose(turned.data[0][inner], (5 + back[0] + 0.5 * back[1])[inner], 2e-4)


@pytest.mark.parametrize("counts_per_bin", [0.1, 1, 10])
@pytest.mark.parametrize("angle_deg", ANGLES_DEG)
def test_empty_bins_cost_nothing_and_stay_empty(counts_per_bin, angle_deg):
    """Also with one energy bin. A bin far from any rate is empty, not nearly so."""
    bkg = filled([counts_per_bin])
    turned = turn_background(bkg, angle_deg * u.deg)
    assert turned.data.min() == 0
    assert turned.data.max() <= bkg.data.max()
    assert not np.any((turned.data > 0) & (turned.data < 1e-11))
    assert_allclose(turned.data.sum(), bkg.data.sum(), rtol=0.005)


def test_logarithmic_interpolation_would_cost_rate():
    """Negative control: what gammapy's own interpolation makes of an empty bin."""
    bkg = filled([1])
    lon, lat = centers(bkg)
    rate = bkg.evaluate(
        energy=bkg.axes["energy"].center,
        fov_lon=(lon * np.cos(0.3) + lat * np.sin(0.3)) * u.deg,
        fov_lat=(lat * np.cos(0.3) - lon * np.sin(0.3)) * u.deg,
    ).value
    inner = np.hypot(lon, lat) < 1.6
    assert not 0.9 < rate[inner].mean() / bkg.data[0][inner].mean() < 1.1


@pytest.mark.parametrize("width", [0.1, 0.2])
def test_rate_of_filled_model_within_2_deg(width):
    """2 % in energy bins with 450 events; of 24 comparisons the largest is 0.2 %."""
    bkg = filled(np.array([450, 1000, 5000]) * width**2 / 12.6, n=50, width=width)
    for angle_deg in ANGLES_DEG:
        turned = turn_background(bkg, angle_deg * u.deg)
        assert_allclose(mean_within_2_deg(turned), mean_within_2_deg(bkg), rtol=0.02)


@pytest.mark.parametrize("angle_deg", ANGLES_DEG)
def test_rate_of_smooth_model_within_2_deg(angle_deg):
    bkg = model(smooth, n=60, width=0.1)
    turned = turn_background(bkg, angle_deg * u.deg)
    assert_allclose(mean_within_2_deg(turned), mean_within_2_deg(bkg), rtol=2e-3)


def test_linear_in_rate():
    one, two = filled([3, 0.1], seed=1), filled([0.5, 2], seed=2)
    both = model(2 * one.data.astype(float) + 3 * two.data)
    one, two, both = (turn_background(bkg, 33 * u.deg).data for bkg in (one, two, both))
    assert_allclose(both, 2 * one + 3 * two, rtol=1e-6)


def test_quarter_turn_keeps_what_is_empty():
    """Edges in float32, and a field so small that the sphere does not matter."""
    edges = (np.arange(21) - 10).astype("f4") * np.float32(0.01)
    bkg = model(lambda lon, lat: np.where(lon > 0, 1.0, 0.0) + 0 * lat, width=0.01)
    bkg = model(bkg.data, width=0.01, lon_edges=edges)
    turned = turn_background(bkg, 90 * u.deg)
    lon, lat = centers(turned)
    inside = np.maximum(np.abs(lon), np.abs(lat)) < 0.1
    assert_array_equal(turned.data[0][inside & (lat < 0)], 0)
    assert_allclose(turned.data[0][inside & (lat > 0)], 1, rtol=1e-4)


def test_no_turn_is_the_identity():
    bkg = filled([1, 5])
    turned = turn_background(bkg, [0, 0] * u.deg)
    inside = np.maximum(*np.abs(centers(turned))) < 2
    assert_array_equal(turned.data[:, inside].reshape(bkg.data.shape), bkg.data)
    assert_array_equal(turned.data[:, ~inside], 0)


def test_several_angles_are_their_mean():
    bkg, angles = filled([2]), [10, 50, 50, 130] * u.deg
    each = [turn_background(bkg, angle).data for angle in angles]
    assert_allclose(turn_background(bkg, angles).data, np.mean(each, axis=0), 1e-5)


def test_nothing_beyond_the_model():
    """A flat model stays flat up to its edges, and is 0 a bin beyond them."""
    bkg = model(lambda lon, lat: 3.0 + 0 * lon * lat)
    turned = turn_background(bkg, 30 * u.deg)
    lon, lat = centers(turned)
    cos, sin = np.cos(np.radians(30)), np.sin(np.radians(30))
    far = np.maximum(np.abs(lon * cos + lat * sin), np.abs(lat * cos - lon * sin))
    assert_allclose(turned.data[0][far < 1.8], 3)
    assert_array_equal(turned.data[0][far > 2.2], 0)
    assert_allclose(turned.data.sum(), bkg.data.sum(), rtol=2e-3)


@pytest.mark.parametrize("unknown", [np.nan, np.inf])
def test_unknown_rates_stay_unknown_and_spoil_no_others(unknown):
    rate = np.full((2, 20, 20), 5.0)
    rate[0, :10] = unknown
    turned = turn_background(model(rate), 45 * u.deg).data
    lon, lat = centers(turn_background(model(rate), 45 * u.deg))
    inner = np.hypot(lon, lat) < 1.8
    along = (lon + lat) / np.sqrt(2)
    assert_allclose(turned[1][inner], 5)
    assert np.isnan(turned[0][inner & (along < -0.1)]).all()
    assert_allclose(turned[0][inner & (along > 0.1)], 5)


def test_smallest_models():
    for rate, n in ((np.ones((1, 1, 1)), 1), (np.zeros((2, 20, 20)), 20)):
        turned = turn_background(model(rate, n=n), 45 * u.deg)
        assert_allclose(turned.data.sum(), rate.sum(), atol=0.3)


def test_model_is_not_changed_and_keeps_what_it_is():
    bkg = model(np.ones((1, 20, 20), "f4"), fov_alignment="ALTAZ", meta={"A": 1})
    before = bkg.data.copy()
    turned = turn_background(bkg, 45 * u.deg)
    assert_array_equal(bkg.data, before)
    assert turned.fov_alignment == FoVAlignment.ALTAZ
    assert (turned.meta, turned.unit, turned.data.dtype) == ({"A": 1}, UNIT, "f4")


def test_changed_sum_is_warned_of(caplog):
    """Wide bins beside narrow ones: interpolation does not keep the sum of those."""
    lon_edges = [-2, -1.9, -1.8, 1.8, 1.9, 2]
    rate = np.ones((1, 5, 20))
    rate[0, 2] = 100
    turn_background(model(rate, lon_edges=lon_edges), 60 * u.deg, label="run 5")
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage().startswith("run 5: turned with its events")
    caplog.clear()
    turn_background(filled([0.1, 1, 10]), 60 * u.deg)
    turn_background(model(smooth), 60 * u.deg)
    assert not caplog.records


# --- from data stores --------------------------------------------------------------


def reduce(observation):
    axes = [
        MapAxis.from_energy_bounds("0.5 TeV", "10 TeV", nbin=2, name=name)
        for name in ("energy", "energy_true")
    ]
    center = observation.pointing.fixed_icrs
    geom = WcsGeom.create(skydir=center, width=2, binsz=0.5, axes=axes[:1])
    empty = MapDataset.create(geom, energy_axis_true=axes[1])
    MapDatasetMaker(selection=["background"]).run(empty, observation)


def test_reduced_donors_make_the_same_mimics(tmp_path):
    """Gammapy fills empty bins of a model that it reduces."""
    path = write_raw("full", tmp_path)
    with fits.open(path / "run_1.fits", mode="update") as hdus:
        cube = hdus["BACKGROUND"].data["BKG"]
        cube[np.random.default_rng(0).random(cube.shape) < 0.5] = 0
    donor, fresh = (DataStore.from_dir(path).obs(1) for _ in range(2))
    bkg = donor.bkg
    before = bkg.data.copy()
    bkg.interp_missing_data(axis_name="energy")
    assert np.any(bkg.data != before)
    reduce(donor)
    target = make_run("full", **TARGET)
    made, expected = (MimicMaker().run(target, run).bkg for run in (donor, fresh))
    assert_array_equal(made.data, expected.data)


# --- without FOVALIGN --------------------------------------------------------------


@pytest.fixture(params=["memory", "store"])
def donor(request, tmp_path):
    """Run whose background model does not say how it is aligned."""
    hdus = make_hdulist("full")
    del hdus["BACKGROUND"].header["FOVALIGN"]
    if request.param == "memory":
        run = make_run("full")
        run.bkg = Background3D.from_table(Table.read(hdus["BACKGROUND"]))
        return run
    path = write_raw("full", tmp_path)
    with fits.open(path / "run_1.fits", mode="update") as hdus:
        del hdus["BACKGROUND"].header["FOVALIGN"]
    return DataStore.from_dir(path).obs(1)


def test_missing_alignment_is_warned_of(donor, caplog):
    mimic = MimicMaker().run(make_run("full", **TARGET), donor)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "run 1: " in record.getMessage()
    assert "no FOVALIGN" in record.getMessage()
    assert "fov_alignment" in record.getMessage()
    expected = MimicMaker(fov_alignment="radec").run(make_run("full", **TARGET), donor)
    assert len(caplog.records) == 1
    assert_array_equal(mimic.bkg.data, expected.bkg.data)


@pytest.mark.parametrize("alignment", ["altaz", "radec"])
@pytest.mark.parametrize("stated", ["altaz", "radec"])
def test_stated_alignment(donor, alignment, stated, caplog, tmp_path):
    """The same as if the model's own file said so."""
    target = make_run("full", **TARGET)
    truth = make_run("full")
    bkg = donor.bkg
    truth.bkg = Background3D(
        bkg.axes,
        bkg.data,
        bkg.unit,
        fov_alignment=stated.upper(),
        meta={"FOVALIGN": ""},
    )
    maker = MimicMaker(alignment=alignment, fov_alignment=stated)
    made, expected = (maker.run(target, run) for run in (donor, truth))
    assert made.bkg.fov_alignment == expected.bkg.fov_alignment
    assert made.bkg.fov_alignment == FoVAlignment[stated.upper()]
    assert made.bkg.meta["FOVALIGN"] == stated.upper()
    assert_array_equal(made.bkg.data, expected.bkg.data)
    assert not caplog.records
    # the donor is what it was
    assert compat.lacks_fov_alignment(donor)
    assert donor.bkg.fov_alignment == FoVAlignment.RADEC


@pytest.mark.parametrize("kind", ["full", "bkg_altaz", "bkg_2d", "no_bkg", "hess"])
def test_known_alignments_are_left_alone(kind, caplog):
    run = make_run(kind)
    assert state_alignment(run) is run
    assert state_alignment(run, "altaz") is run
    assert not caplog.records


def test_fov_alignment_option():
    with pytest.raises(ValueError, match="fov_alignment = 'galactic'"):
        MimicMaker(fov_alignment="galactic")
    for value in ("altaz", "radec"):
        config = MimicAnalysisConfig.from_yaml(f"mimic: {{fov_alignment: {value}}}")
        assert config.mimic.maker().fov_alignment == value
    assert MimicAnalysisConfig.from_yaml("mimic: {}").mimic.fov_alignment is None
