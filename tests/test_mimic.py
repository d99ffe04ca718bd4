"""Mimics of constructed runs, whose truth is known."""

import copy
import logging

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import AltAz, EarthLocation
from astropy.table import MaskedColumn, Table
from astropy.time import Time
from gammapy.data import DataStore, Observation, Observations
from gammapy.datasets import MapDataset, SpectrumDataset
from gammapy.irf import FoVAlignment
from gammapy.makers import MapDatasetMaker, SpectrumDatasetMaker
from gammapy.maps import MapAxis, RegionGeom, WcsGeom
from helpers.compare import exact_fov, positions, sky
from helpers.runs import FULL_ENCLOSURE, KINDS, LOCATION, POINT_LIKE, make_run, open_raw
from numpy.testing import assert_allclose, assert_array_equal
from regions import CircleSkyRegion

from gammapy_mimic import (
    AnnulusScrambler,
    MimicMaker,
    __version__,
    write_datastore,
)
from gammapy_mimic.data import compat
from gammapy_mimic.data.seeds import child_seed, seed_sequence
from gammapy_mimic.scramble.residuals import scramble_residuals

OTHER_START = Time("2021-03-02T19:47:00", scale="tt")

NORTH = EarthLocation.from_geodetic(lon=LOCATION.lon, lat=-LOCATION.lat)

HARD_POINTINGS = {
    "equator": (45.0, 0.0),
    "wrap": (359.9999, 22.0),
    "wrap-0": (0.0001, -72.0),
    "dec60": (120.0, 60.0),
    "dec-60": (100.0, -60.0),
    "dec89": (10.0, 89.0),
    "dec-89": (200.0, -89.0),
    "pole": (77.0, 90.0),
    "south-pole": (300.0, -90.0),
}


# --- geometry ------------------------------------------------------------------


@pytest.mark.parametrize("alignment", ["altaz", "radec"])
@pytest.mark.parametrize("name", HARD_POINTINGS)
def test_places_in_the_field_of_view_are_kept(name, alignment):
    pointing = sky(*HARD_POINTINGS[name])
    # above the horizon of one of these
    options = {"location": NORTH if pointing.dec.deg > 50 else LOCATION, "n_events": 60}
    hard = make_run("full", obs_id=2, pointing=pointing, **options)
    easy = make_run("full", obs_id=1, start=OTHER_START, **options)
    for target, donor in ((hard, easy), (easy, hard)):
        mimic = MimicMaker(alignment=alignment).run(target, donor)
        old, new = exact_fov(donor, alignment), exact_fov(mimic, alignment)
        # lon is undefined only at the pole of the frame, 90 deg from the pointing
        assert_allclose(new, old, rtol=0, atol=1e-6)


def test_a_flat_shift_does_not_keep_them():
    """Negative control: RA and Dec differences added to the coordinates."""
    target = make_run("full", pointing=sky(83.6, 22.0), n_events=60)
    donor = make_run("full", pointing=sky(228.6, -72.0), n_events=60)
    shifted = copy.deepcopy(target.events)
    moved = positions(donor)
    shifted.table["RA"] = moved.ra + (83.6 - 228.6) * u.deg
    shifted.table["DEC"] = moved.dec + (22.0 + 72.0) * u.deg
    flat = target.copy(in_memory=True, events=shifted)
    old, new = exact_fov(donor, "radec"), exact_fov(flat, "radec")
    assert np.max(np.abs(np.subtract(new, old))) > 0.1


def test_offset_is_kept_up_to_differential_aberration():
    target = make_run("full", pointing=sky(83.6, 22.0))
    donor = make_run("full", pointing=sky(228.6, -72.0), start=OTHER_START)
    mimic = MimicMaker().run(target, donor)
    before = positions(donor).separation(donor.pointing.fixed_icrs).deg
    after = positions(mimic).separation(mimic.pointing.fixed_icrs).deg
    # 20.5 arcsec of aberration change over 5 deg by at most 20.5 arcsec * sin(5 deg)
    assert_allclose(after, before, rtol=0, atol=5e-4)


def test_events_far_from_the_pointing_survive():
    donor = make_run("hess", n_events=20)
    far = positions(donor).separation(donor.pointing.fixed_icrs).deg > 30
    assert far.sum() == 2  # by construction of the kind
    target = make_run("hess", pointing=sky(359.9, -89), start=OTHER_START, obs_id=2)
    mimic = MimicMaker().run(target, donor)
    old, new = exact_fov(donor, "altaz"), exact_fov(mimic, "altaz")
    assert_allclose(new, old, rtol=0, atol=1e-6)
    assert mimic.events.table["RA"].dtype.newbyteorder("=") == np.float64


@pytest.mark.parametrize("kind", KINDS)
def test_target_as_donor_is_the_identity(kind):
    run = make_run(kind, n_events=50)
    mimic = MimicMaker().run(run, run)
    assert positions(mimic).separation(positions(run)).deg.max(initial=0) < 1e-5
    table, mimicked = run.events.table, mimic.events.table
    # events without a number get one
    names = [name for name in mimicked.colnames if name in table.colnames]
    assert names == table.colnames
    assert set(mimicked.colnames) - set(names) <= {"EVENT_ID"}
    assert_array_equal((mimic.events.time - run.events.time).to_value("s"), 0)
    assert_array_equal((mimic.gti.time_start - run.gti.time_start).to_value("s"), 0)
    assert_array_equal((mimic.gti.time_stop - run.gti.time_stop).to_value("s"), 0)
    for name in set(table.colnames) - {"TIME", "RA", "DEC"}:
        if table[name].dtype.kind == "f":
            assert_allclose(mimicked[name], table[name], rtol=1e-6, atol=2e-5)
        else:
            assert_array_equal(mimicked[name], table[name])
            assert_array_equal(
                np.ma.getmaskarray(mimicked[name]), np.ma.getmaskarray(table[name])
            )


# --- what stays, what changes --------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_donor_gives_events_and_target_gives_the_name(kind):
    target = make_run("full", obs_id=7, pointing=sky(20, -50), start=OTHER_START)
    donor = make_run(kind, obs_id=8, n_events=40)
    # the constructed "hess" kind says it is of another telescope than "full"
    mimic = MimicMaker(allow_other_telescope=True).run(target, donor)
    assert mimic.obs_id == 7
    assert mimic.pointing.fixed_icrs.separation(sky(20, -50)).deg < 1e-9
    assert mimic.meta.target.name == "Field 7"
    assert len(mimic.events.table) == len(donor.events.table)
    assert_array_equal(mimic.events.energy, donor.events.energy)
    ontime = donor.observation_time_duration.to_value("s")
    assert_allclose(mimic.observation_time_duration.to_value("s"), ontime, rtol=1e-12)
    livetime = donor.observation_live_time_duration.to_value("s")
    # DEADC of the constructed runs
    assert mimic.observation_dead_time_fraction == 1 - 0.9375
    assert_allclose(
        mimic.observation_live_time_duration.to_value("s"), livetime, rtol=1e-12
    )
    header = mimic.events.table.meta
    assert_allclose(header["LIVETIME"], livetime, rtol=1e-12)
    assert header["OBS_ID"] == 7


@pytest.mark.parametrize("kind", ["multi_gti", "utc", "hess"])
def test_times_start_with_the_target(kind):
    target = make_run("full", obs_id=7, start=OTHER_START)
    donor = make_run(kind, obs_id=8)
    mimic = MimicMaker(allow_other_telescope=True).run(target, donor)
    start = (mimic.gti.time_start[0] - target.gti.time_start[0]).to_value("s")
    assert abs(start) < 1e-9
    assert_allclose(
        mimic.gti.time_delta.to_value("s"), donor.gti.time_delta.to_value("s")
    )
    elapsed_donor = (donor.events.time - donor.gti.time_start[0]).to_value("s")
    elapsed = (mimic.events.time - mimic.gti.time_start[0]).to_value("s")
    assert_allclose(elapsed, elapsed_donor, rtol=0, atol=1e-6)
    assert_array_equal(in_gti(mimic), in_gti(donor))
    assert in_gti(donor).all()
    # the mimic counts time as its target does
    assert mimic.events.time.scale == "tt"
    assert mimic.events.table.meta["MJDREFI"] == target.events.table.meta["MJDREFI"]


def in_gti(observation):
    time, gti = observation.events.time, observation.gti
    inside = [(time >= start) & (time <= stop) for start, stop in gti.time_intervals]
    return np.any(inside, axis=0)


def test_times_across_a_leap_second():
    """2016-12-31 ended with a leap second: elapsed time counts it."""
    start = Time("2016-12-31T23:50:00", scale="utc")
    donor = make_run("utc", start=start)
    target = make_run("utc", obs_id=2, start=OTHER_START.utc)
    mimic = MimicMaker().run(target, donor)
    old = (donor.events.time.tai - donor.gti.time_start[0].tai).to_value("s")
    new = (mimic.events.time.tai - mimic.gti.time_start[0].tai).to_value("s")
    assert_allclose(new, old, rtol=0, atol=1e-6)
    assert mimic.events.time.scale == "utc"


def test_events_outside_of_the_good_time_stay_outside():
    donor = make_run("full")
    late = copy.deepcopy(donor.events)
    late.table["TIME"][-3:] = donor.gti.time_stop[-1] + [0.1, 0.5, 1] * u.s
    donor = donor.copy(in_memory=True, events=late)
    mimic = MimicMaker().run(make_run("full", obs_id=2, start=OTHER_START), donor)
    assert (~in_gti(donor)).sum() == 3
    # the run lasts as long as its events do
    assert mimic.events.observation_time_stop >= mimic.events.time.max()
    assert_array_equal(in_gti(mimic), in_gti(donor))


def test_donor_times_are_kept_if_asked():
    target = make_run("full", obs_id=7, start=OTHER_START)
    donor = make_run("multi_gti", obs_id=8)
    mimic = MimicMaker(time="donor").run(target, donor)
    assert_array_equal((mimic.events.time - donor.events.time).to_value("s"), 0)
    assert_array_equal((mimic.gti.time_start - donor.gti.time_start).to_value("s"), 0)
    assert_allclose(
        exact_fov(mimic, "altaz"), exact_fov(donor, "altaz"), rtol=0, atol=1e-6
    )


def test_crop_shortens_to_the_ontime_of_the_target():
    target = make_run("full", obs_id=7, start=OTHER_START, duration=700 * u.s)
    # intervals of 420, 210 and 630 s: 700 s end 70 s after the start of the third
    donor = make_run("multi_gti", obs_id=8)
    mimic = MimicMaker(crop=True).run(target, donor)
    assert_allclose(mimic.gti.time_delta.to_value("s"), [420, 210, 70], rtol=1e-9)
    end = donor.gti.time_start[2] + 70 * u.s
    assert len(mimic.events.table) == (donor.events.time < end).sum()
    assert in_gti(mimic).all()
    assert_allclose(mimic.events.table.meta["ONTIME"], 700, rtol=1e-9)
    assert MimicMaker().run(target, donor).gti.time_sum > 1000 * u.s
    # a donor that is shorter than the target stays as it is
    shorter = MimicMaker(crop=True).run(make_run("full", obs_id=9), donor)
    assert len(shorter.events.table) == len(donor.events.table)


def test_energy_range_is_the_one_of_both():
    target, donor = make_run("full", obs_id=7), make_run("full", obs_id=8)
    target.aeff.meta.update(LO_THRES=0.8, HI_THRES=120.0)
    for irfs in ("donor", "target"):
        mimic = MimicMaker(irfs=irfs).run(target, donor)
        # the constructed runs have 0.5 to 100 TeV
        assert mimic.aeff.meta["LO_THRES"] == 0.8
        assert mimic.aeff.meta["HI_THRES"] == 100.0
    assert donor.aeff.meta["LO_THRES"] == 0.5
    assert target.aeff.meta["HI_THRES"] == 120.0


def test_irfs_are_taken_from_whom_is_asked():
    target, donor = make_run("full", obs_id=7), make_run("psf_king", obs_id=8)
    assert MimicMaker().run(target, donor).psf.tag == "psf_king"
    assert MimicMaker(irfs="target").run(target, donor).psf.tag == "psf_table"


def test_unchanged_irfs_stay_on_disk(tmp_path):
    target, donor = open_raw(["full", "full"], tmp_path)
    mimic = MimicMaker(alignment="radec").run(target, donor)
    for name in ("aeff", "edisp", "psf", "bkg"):
        location = compat.irf_location(mimic, name)
        assert location.file_name == "run_2.fits"
    assert mimic.edisp.data.shape == donor.edisp.data.shape


# --- columns -------------------------------------------------------------------


def test_columns_that_follow_from_the_position():
    target = make_run("full", obs_id=7, pointing=sky(20, -50), start=OTHER_START)
    donor = make_run("columns", obs_id=8)
    mimic = MimicMaker().run(target, donor)
    table, old = mimic.events.table, donor.events.table
    # kind "columns": DETX/DETY are aligned with AltAz, Xoff/Yoff with RA/Dec
    assert_allclose(table["DETX"], exact_fov(mimic, "altaz")[0], atol=1e-5)
    assert_allclose(table["DETX"], old["DETX"], atol=1e-5)
    assert_allclose(table["Xoff"], exact_fov(mimic, "radec")[0], atol=1e-5)
    assert_allclose(table["Yoff"], exact_fov(mimic, "radec")[1], atol=1e-5)
    assert np.max(np.abs(table["Xoff"] - old["Xoff"])) > 0.5
    frame = AltAz(obstime=mimic.events.time, location=LOCATION)
    altaz = positions(mimic).transform_to(frame)
    assert_allclose(table["ALT"], altaz.alt.deg, atol=1e-5)
    assert_allclose(table["AZ"], altaz.az.deg, atol=1e-4)
    for name in ("EVENT_ID", "MC_ID", "MULTIP", "LABEL", "EVENT_TYPE"):
        assert_array_equal(table[name], old[name])
        one, other = table[name].dtype, old[name].dtype
        assert one.newbyteorder("=") == other.newbyteorder("=")
    assert_array_equal(table["MASKED"].mask, old["MASKED"].mask)


@pytest.mark.parametrize("names", [("DETY", "DETX"), ("DETX", "DETY")])
def test_swapped_and_mirrored_field_of_view_columns(names):
    """Some observatories give latitude first, or longitude with the other sign."""
    donor = make_run("detx", obs_id=8)
    table = donor.events.table
    lon, lat = exact_fov(donor, "radec")
    table[names[0]], table[names[1]] = -lon * u.deg, lat * u.deg
    target = make_run("full", obs_id=7, pointing=sky(20, -50), start=OTHER_START)
    mimic = MimicMaker().run(target, donor)
    lon, lat = exact_fov(mimic, "radec")
    assert_allclose(mimic.events.table[names[0]], -lon, atol=1e-6)
    assert_allclose(mimic.events.table[names[1]], lat, atol=1e-6)


def test_unknown_camera_coordinates(caplog):
    donor = make_run("detx", obs_id=8)
    rng = np.random.default_rng(1)
    for name in ("DETX", "DETY"):
        donor.events.table[name] = rng.uniform(-3, 3, len(donor.events.table)) * u.deg
    target = make_run("full", obs_id=7, pointing=sky(20, -50), start=OTHER_START)
    # an event keeps its place in the camera, whatever its coordinates are ...
    kept = MimicMaker().run(target, donor).events.table
    assert_array_equal(kept["DETX"], donor.events.table["DETX"])
    assert not caplog.records
    # ... but not if the camera is turned
    with caplog.at_level(logging.WARNING):
        turned = MimicMaker(alignment="radec").run(target, donor).events.table
    assert "DETX" not in turned.colnames
    assert "Run 8: columns DETX/DETY removed" in caplog.text


# --- background ----------------------------------------------------------------


PIXEL = 0.5


def counts_and_prediction(observation):
    """Counts and predicted background per pixel, 4.5 deg wide, 0.3 to 10 TeV."""
    pointing = observation.pointing.fixed_icrs
    axis = MapAxis.from_energy_bounds("0.3 TeV", "10 TeV", nbin=2)
    geom = WcsGeom.create(skydir=pointing, width=4.5, binsz=PIXEL, axes=[axis])
    maker = MapDatasetMaker(selection=["counts", "background"])
    axis_true = MapAxis.from_energy_bounds(
        "0.3 TeV", "10 TeV", nbin=2, name="energy_true"
    )
    dataset = maker.run(
        MapDataset.create(geom, energy_axis_true=axis_true), observation
    )
    return dataset.counts.data.sum(axis=0), dataset.background.data.sum(axis=0)


def correlation(counts, prediction):
    """Per-pixel correlation of counts and prediction in the inner field.

    The constructed model ends 1.75 deg from the pointing on one side.
    """
    x = (np.arange(counts.shape[0]) - (counts.shape[0] - 1) / 2) * PIXEL
    inner = np.hypot(*np.meshgrid(x, x)) < 1.7
    return np.corrcoef(counts[inner], prediction[inner])[0, 1]


def run_with_true_background(kind, obs_id, **kwargs):
    return make_run(kind, obs_id=obs_id, draw="background", n_events=40_000, **kwargs)


def parallactic_angle(observation):
    """Angle at the pointing from the zenith to the celestial pole, in degrees."""
    frame = AltAz(obstime=observation.tmid, location=LOCATION)
    center = observation.pointing.fixed_icrs.transform_to(frame)
    return center.position_angle(sky(0, 90).transform_to(frame)).deg


def test_radec_background_is_turned_with_its_events():
    """A RADEC-aligned model at parallactic angles more than 90 deg apart.

    Over 3000 Poisson draws of such a field the true model correlates to 0.9856 with
    the counts, with a standard deviation of 0.0040: the bound of 0.96 is 6 of these
    away, a false-alarm rate below 1e-8.
    """
    donor = run_with_true_background("full", 8)
    target = make_run("full", obs_id=7, pointing=sky(100, -60), start=OTHER_START)
    turn = (parallactic_angle(target) - parallactic_angle(donor) + 180) % 360 - 180
    assert abs(turn) > 90
    assert correlation(*counts_and_prediction(donor)) > 0.96

    maker = MimicMaker()
    mimic = maker.run(target, donor)
    counts, prediction = counts_and_prediction(mimic)
    assert correlation(counts, prediction) > 0.96
    assert mimic.bkg.fov_alignment == FoVAlignment.RADEC

    # control: the donor's model as it is
    unturned = mimic.copy(in_memory=True, bkg=donor.bkg)
    assert correlation(*counts_and_prediction(unturned)) < 0.5
    # nothing of the model is lost at its corners
    totals = [bkg.data.sum(axis=(1, 2)) for bkg in (mimic.bkg, donor.bkg)]
    assert_allclose(*totals, rtol=0.01)


def test_altaz_background_is_turned_where_events_keep_their_radec_place():
    donor = run_with_true_background("bkg_altaz", 8)
    target = make_run("full", obs_id=7, pointing=sky(100, -60), start=OTHER_START)
    mimic = MimicMaker(alignment="radec").run(target, donor)
    assert mimic.bkg.fov_alignment == FoVAlignment.ALTAZ
    assert correlation(*counts_and_prediction(mimic)) > 0.96
    unturned = mimic.copy(in_memory=True, bkg=donor.bkg)
    assert correlation(*counts_and_prediction(unturned)) < 0.5


@pytest.mark.parametrize(
    ("kind", "alignment"),
    [
        ("bkg_altaz", "altaz"),
        ("bkg_2d", "altaz"),
        ("bkg_2d", "radec"),
        ("full", "radec"),
    ],
)
def test_models_that_need_not_be_turned_are_left_alone(kind, alignment):
    donor = make_run(kind, obs_id=8)
    target = make_run("full", obs_id=7, pointing=sky(100, -60), start=OTHER_START)
    mimic = MimicMaker(alignment=alignment).run(target, donor)
    assert mimic.bkg is donor.bkg


def test_altaz_background_follows_its_events_without_a_turn():
    donor = run_with_true_background("bkg_altaz", 8)
    target = make_run("full", obs_id=7, pointing=sky(100, -60), start=OTHER_START)
    mimic = MimicMaker().run(target, donor)
    assert correlation(*counts_and_prediction(mimic)) > 0.96


def test_background_of_the_target():
    target = make_run("full", obs_id=7, pointing=sky(100, -60), start=OTHER_START)
    mimic = MimicMaker(background="target").run(target, make_run("bkg_2d", obs_id=8))
    assert mimic.bkg is target.bkg
    assert MimicMaker().run(target, make_run("no_bkg", obs_id=8)).bkg is None


@pytest.mark.parametrize("background", ["donor", "target"])
@pytest.mark.parametrize("is_lazy", [True, False])
def test_mirrored_background_of_hess(background, is_lazy, tmp_path):
    """CREATOR and HDUVERS of H.E.S.S. DR1 make gammapy mirror the model.

    The events of the constructed kind are drawn from the mirrored model, so that
    a model that is mirrored once too often does not follow them.
    """
    runs = [
        {"obs_id": 7},
        {"obs_id": 8, "pointing": sky(100, -60), "start": OTHER_START},
    ]
    options = {"draw": "background", "n_events": 40_000}
    if is_lazy:
        pair = open_raw(["hess", "hess"], tmp_path / "raw", runs=runs, **options)
    else:
        pair = [make_run("hess", **run, **options) for run in runs]
    # target and donor are one run: the events then follow either model
    donor, target = (pair[0], pair[0]) if background == "target" else pair
    mimic = MimicMaker(background=background).run(target, donor)
    assert mimic.bkg.fov_alignment == FoVAlignment.RADEC
    assert correlation(*counts_and_prediction(mimic)) > 0.96

    write_datastore([mimic], tmp_path / "mimic")
    read = DataStore.from_dir(tmp_path / "mimic").obs(target.obs_id)
    assert read.bkg.fov_alignment == FoVAlignment.RADEC
    assert_array_equal(read.bkg.data, mimic.bkg.data)
    assert_allclose(
        counts_and_prediction(read), counts_and_prediction(mimic), rtol=1e-6
    )
    # control: mirrored once more, as it would be with the CREATOR of the donor
    mirrored = copy.deepcopy(mimic.bkg)
    mirrored._fov_alignment = FoVAlignment.REVERSE_LON_RADEC
    wrong = mimic.copy(in_memory=True, bkg=mirrored)
    assert correlation(*counts_and_prediction(wrong)) < 0.9


# --- every kind: write, read, reduce -------------------------------------------


def write_mimic(kind, is_lazy, path):
    """Mimic of run 1 with the events of run 2, written to a folder ``mimic``."""
    if is_lazy:
        target, donor = open_raw([kind, kind], path / "raw", n_events=100)
    else:
        target, donor = (make_run(kind, obs_id=k, n_events=100) for k in (1, 2))
    mimic = MimicMaker().run(target, donor)
    write_datastore([mimic], path / "mimic")
    return mimic


@pytest.mark.parametrize(
    ("kind", "is_lazy"),
    [(kind, True) for kind in FULL_ENCLOSURE] + [("full", False), ("columns", False)],
)
def test_mimic_of_full_enclosure_runs_is_read_and_reduced(kind, is_lazy, tmp_path):
    mimic = write_mimic(kind, is_lazy, tmp_path)
    read = DataStore.from_dir(tmp_path / "mimic").obs(1, required_irf="all-optional")
    compare(read, mimic)
    if kind == "drift":
        return  # gammapy reduces no drift runs
    selection = ["counts", "exposure", "psf", "edisp"]
    selection += [] if mimic.bkg is None else ["background"]
    for first, second in zip(
        reduce(mimic, selection), reduce(read, selection), strict=True
    ):
        assert_allclose(first, second, rtol=1e-6)


def compare(read, mimic):
    table, expected = read.events.table, mimic.events.table
    assert set(table.colnames) == set(expected.colnames) | {"EVENT_ID"}
    assert_array_equal(table["RA"], expected["RA"])
    assert_array_equal(table["DEC"], expected["DEC"])
    # 1e-7 s: float64 seconds since the reference time, of up to 5e8 s
    elapsed = (read.events.time - mimic.events.time).to_value("s")
    assert_allclose(elapsed, 0, atol=1e-7)
    assert_array_equal(in_gti(read), in_gti(mimic))
    for key in table.meta:
        if key.startswith("MIM_"):
            assert table.meta[key] == expected.meta[key]
    for name in ("aeff", "edisp", "psf", "bkg"):
        first, second = getattr(read, name), getattr(mimic, name)
        assert (first is None) == (second is None)
        if second is not None:
            assert first.tag == second.tag
            assert first.fov_alignment == second.fov_alignment


def reduce(observation, selection):
    axis = MapAxis.from_energy_bounds("0.5 TeV", "10 TeV", nbin=2)
    axis_true = MapAxis.from_energy_bounds(
        "0.5 TeV", "10 TeV", nbin=3, name="energy_true"
    )
    geom = WcsGeom.create(
        skydir=observation.pointing.fixed_icrs, width=3, binsz=0.5, axes=[axis]
    )
    empty = MapDataset.create(geom, energy_axis_true=axis_true)
    dataset = MapDatasetMaker(selection=selection).run(empty, observation)
    parts = [dataset.counts.data, dataset.exposure.data, dataset.psf.psf_map.data]
    return parts + ([dataset.npred().data] if "background" in selection else [])


@pytest.mark.parametrize("kind", POINT_LIKE)
@pytest.mark.parametrize("is_lazy", [True, False])
def test_mimic_of_point_like_runs_is_read_and_reduced(kind, is_lazy, tmp_path):
    mimic = write_mimic(kind, is_lazy, tmp_path)
    read = DataStore.from_dir(tmp_path / "mimic").obs(1, required_irf="point-like")
    compare(read, mimic)
    assert read.rad_max.is_fixed_rad_max == (kind == "fixed_rad_max")
    first, second = spectrum(mimic), spectrum(read)
    assert_array_equal(first.counts.data, second.counts.data)
    assert_allclose(first.exposure.data, second.exposure.data, rtol=1e-6)


def spectrum(observation):
    axis = MapAxis.from_energy_bounds("0.5 TeV", "10 TeV", nbin=2)
    axis_true = MapAxis.from_energy_bounds(
        "0.5 TeV", "10 TeV", nbin=3, name="energy_true"
    )
    region = CircleSkyRegion(observation.pointing.fixed_icrs, 0.125 * u.deg)
    empty = SpectrumDataset.create(
        RegionGeom.create(region, axes=[axis]), energy_axis_true=axis_true
    )
    maker = SpectrumDatasetMaker(
        selection=["counts", "exposure"], use_region_center=True
    )
    return maker.run(empty, observation)


def test_drift_runs_keep_places_in_the_camera():
    donor = make_run("drift", obs_id=8)
    target = make_run("full", obs_id=7, pointing=sky(20, -50), start=OTHER_START)
    mimic = MimicMaker().run(target, donor)
    frame = donor.get_fov_frame(donor.events.time, FoVAlignment.ALTAZ)
    old = positions(donor).transform_to(frame)
    new = exact_fov(mimic, "altaz")
    assert_allclose(new, [old.fov_lon.wrap_at("180d").deg, old.fov_lat.deg], atol=1e-6)
    header = mimic.events.table.meta
    assert {"MIM_DALT", "MIM_DAZ"} <= set(header)
    assert header["OBS_MODE"] == "POINTING"
    # and the other way round
    back = MimicMaker().run(donor, target).events.table.meta
    assert back["OBS_MODE"] == "DRIFT"
    assert "RA_PNT" not in back


# --- provenance ----------------------------------------------------------------


def test_provenance_survives_write_and_read(tmp_path):
    target = make_run("full", obs_id=7, pointing=sky(20, -50), start=OTHER_START)
    donor = make_run("messy", obs_id=8)
    mimic = MimicMaker(random_state=42).run(target, donor, mimic_set=3)
    write_datastore([mimic], tmp_path)
    header = DataStore.from_dir(tmp_path).obs(7).events.table.meta
    expected = {
        "MIM_DON": 8,
        "MIM_DOBJ": "Field 8",
        "MIM_ALGN": "altaz",
        "MIM_TIME": "target",
        "MIM_BKG": "donor",
        "MIM_IRFS": "donor",
        "MIM_CROP": False,
        "MIM_SEED": "42",
        "MIM_SKEY": "7,8,3",
        "MIM_VERS": __version__,
        "CREATOR": f"gammapy_mimic {__version__}",
        "OBJECT": "Field 7",
    }
    assert {key: header[key] for key in expected} == expected
    assert_allclose(header["MIM_DRA"], donor.pointing.fixed_icrs.ra.deg, rtol=1e-14)
    assert_allclose(header["MIM_DDEC"], donor.pointing.fixed_icrs.dec.deg, rtol=1e-14)
    history = "\n".join(header["HISTORY"])
    # the donor's own history comes first
    assert history.index("calibrated") < history.index("run 8 as a mimic of run 7")
    assert "first written by constructed run" in history


# --- inputs, seeds, pairs, errors ----------------------------------------------


@pytest.mark.parametrize("kind", ["hess", "columns", "rad_max", "fixed_rad_max"])
def test_inputs_are_not_changed(kind):
    target, donor = make_run(kind, obs_id=1), make_run(kind, obs_id=2)
    before = [copy.deepcopy(run.__dict__) for run in (target, donor)]
    MimicMaker(irfs="target", crop=True).run(target, donor)
    MimicMaker(background="target").run(target, donor)
    for run, old in zip((target, donor), before, strict=True):
        table, old_table = run.events.table, old["_events"].table
        assert table.colnames == old_table.colnames
        assert dict(table.meta) == dict(old_table.meta)
        for name in table.colnames:
            assert np.all(table[name] == old_table[name])
        assert (run._rad_max is None) == (old["_rad_max"] is None)
        if run._bkg is not None:
            assert run._bkg.fov_alignment == old["_bkg"].fov_alignment
            assert_array_equal(run._bkg.data, old["_bkg"].data)
            assert run._bkg.meta == old["_bkg"].meta
        assert run.aeff.meta == old["aeff"].meta
        assert run.meta.model_dump() == old["_meta"].model_dump()


class RandomEnergies:
    """Scrambler stand-in: energies drawn anew."""

    random_state = None

    def run(self, observation, *, random_state=None):
        events = copy.deepcopy(observation.events)
        energy = np.random.default_rng(random_state).uniform(size=len(events.table))
        events.table["ENERGY"] = energy * u.TeV
        return observation.copy(in_memory=True, events=events)


class NoSeed:
    """Scrambler stand-in without randomness: leaves the first event."""

    def run(self, observation):
        events = copy.deepcopy(observation.events)
        events.table = events.table[:1]
        return observation.copy(in_memory=True, events=events)


def test_each_pair_has_a_seed_of_its_own():
    runs = Observations([make_run("full", obs_id=k, n_events=30) for k in (1, 2, 3, 4)])
    pairs = [(1, 3), (2, 3), (1, 4)]
    maker = MimicMaker(scrambler=RandomEnergies(), random_state=1)
    first = [m.events.energy for m in maker.run_pairs(runs, runs, pairs)]
    again = MimicMaker(scrambler=RandomEnergies(), random_state=1)
    second = [m.events.energy for m in again.run_pairs(runs, runs, pairs[::-1])]
    for energy, other in zip(first, second[::-1], strict=True):
        assert_array_equal(energy, other)
    assert not np.array_equal(first[0], first[1])
    other = MimicMaker(scrambler=RandomEnergies(), random_state=2)
    assert not np.array_equal(first[0], other.run(runs[0], runs[2]).events.energy)
    one_more = maker.run(runs[0], runs[2], mimic_set=1)
    assert not np.array_equal(first[0], one_more.events.energy)


def test_seed_in_the_header_gives_the_mimic_back():
    run = make_run("full", n_events=30)
    mimic = MimicMaker(scrambler=RandomEnergies()).run(run, run)
    header = mimic.events.table.meta
    key = tuple(int(part) for part in header["MIM_SKEY"].split(",") if part)
    seed = np.random.SeedSequence(int(header["MIM_SEED"]), spawn_key=key)
    again = RandomEnergies().run(run, random_state=seed)
    assert_array_equal(again.events.energy, mimic.events.energy)


def test_any_object_with_run_is_a_scrambler():
    run = make_run("full")
    assert len(MimicMaker(scrambler=NoSeed()).run(run, run).events.table) == 1


@pytest.mark.parametrize("given", [None, [], Table()])
def test_scrambler_that_gives_no_run(given):
    class Wrong:
        def run(self, observation):
            return given

    run = make_run("full", n_events=9)
    with pytest.raises(TypeError, match=r"(?s)scrambler\.run gives .* for donor run"):
        MimicMaker(scrambler=Wrong()).run(run, run)


def test_class_in_the_place_of_a_scrambler():
    with pytest.raises(TypeError, match=r"scrambler = <class .*: must have a"):
        MimicMaker(scrambler=AnnulusScrambler)


@pytest.mark.parametrize("mimic_set", [-1, 0.5, "0", True])
def test_numbers_of_mimic_sets(mimic_set):
    run = make_run("full", n_events=9)
    with pytest.raises(ValueError, match=r"mimic_set = .*: must be an integer from 0"):
        MimicMaker(random_state=1).run(run, run, mimic_set=mimic_set)


@pytest.mark.parametrize(
    "pairs",
    [None, 1, (3, 4), [(3, 4, 0)], ["34x"], {3: [4]}, "pairs.ecsv", [("a", "b")]],
)
def test_what_is_no_pairs(pairs):
    runs = [make_run("full", obs_id=k, n_events=9) for k in (3, 4)]
    with pytest.raises(TypeError, match=r"pairs = .*: must be a table"):
        MimicMaker().run_pairs(runs, runs, pairs)


def test_donor_is_scrambled_in_its_own_field(tmp_path):
    """Scrambling and moving one after the other gives the same, and is on record."""
    donor = make_run("hess", obs_id=8, n_events=2000)
    target = make_run("hess", obs_id=7, pointing=sky(20, -50), start=OTHER_START)
    scrambler = AnnulusScrambler(sky(83.6, 22.2), theta=0.3 * u.deg)
    mimic = MimicMaker(scrambler=scrambler, random_state=5).run(target, donor)

    seed = child_seed(seed_sequence(5), 7, 8, 0)
    by_hand = MimicMaker().run(target, scrambler.run(donor, random_state=seed))
    assert_array_equal(mimic.events.table["RA"], by_hand.events.table["RA"])
    unscrambled = MimicMaker().run(target, donor)
    moved = positions(mimic).separation(positions(unscrambled)).deg > 1e-6
    offset = positions(donor).separation(donor.pointing.fixed_icrs).deg
    in_ring = np.abs(offset - 0.6863) < 0.3  # |dec 22.2 - 21.5144| and dRA 0.0333
    assert_array_equal(moved, in_ring)

    store = write_datastore([mimic], tmp_path)
    residuals = scramble_residuals(store.get_observations())
    assert list(residuals["AFTER"]) == list(scrambler.residuals["AFTER"][:1])


def test_pairs_from_a_table():
    runs = Observations([make_run("full", obs_id=k, n_events=9) for k in (5, 3, 4)])
    pairs = Table({"TARGET_OBS_ID": [3, 4, 5], "MIMIC_SET": [0, 0, 1]})
    pairs["DONOR_OBS_ID"] = MaskedColumn([4, 0, 3], mask=[False, True, False])
    maker = MimicMaker()
    mimics = maker.run_pairs(runs, runs, pairs)
    assert [m.obs_id for m in mimics] == [3, 5]
    assert [m.events.table.meta["MIM_DON"] for m in mimics] == [4, 3]
    assert [m.obs_id for m in maker.run_pairs(runs, runs, pairs, mimic_set=1)] == [5]
    with pytest.raises(ValueError, match="run 99, which is not in donors"):
        maker.run_pairs(runs, runs, [(3, 99)])
    with pytest.raises(ValueError, match="no column DONOR_OBS_ID"):
        maker.run_pairs(runs, runs, pairs[["TARGET_OBS_ID"]])
    for options, known in (
        ((pairs, 2), "0, 1"),
        (([(3, 4)], 1), "0"),
        ((pairs[:0], 0), "none"),
    ):
        with pytest.raises(
            ValueError, match=f"not a set of the pairs, which are {known}$"
        ):
            maker.run_pairs(runs, runs, options[0], mimic_set=options[1])


def test_runs_of_pairs_in_lists_and_dicts():
    runs = [make_run("full", obs_id=k, n_events=9) for k in (3, 4)]
    maker, by_id = MimicMaker(), {run.obs_id: run for run in runs}
    for targets, donors in ((runs, by_id), (tuple(runs), Observations(runs))):
        for pairs in ([(3, 4)], {3: 4}):
            (mimic,) = maker.run_pairs(targets, donors, pairs)
            assert (mimic.obs_id, mimic.events.table.meta["MIM_DON"]) == (3, 4)
    assert len(maker.run_pairs(runs, {"4": runs[1]}, {3: 4})) == 1
    with pytest.raises(ValueError, match=r"donors\[7\] is run 4: the keys must be"):
        maker.run_pairs(runs, {7: runs[1]}, [(3, 4)])
    for wrong in (runs[0], None, ["3"], 3):
        with pytest.raises(
            TypeError, match=r"targets = .* list or dict of observations"
        ):
            maker.run_pairs(wrong, runs, [(3, 4)])


def test_sources_of_donors_are_warned_of_once(source_warnings, caplog):
    target, donor = (make_run("full", obs_id=k, n_events=20) for k in (1, 2))
    # the Crab Nebula is 0.5 deg from the pointing of both; the target is of Field 1
    maker = MimicMaker()
    for _ in range(2):
        maker.run(target, donor)
    texts = [it.message for it in caplog.records if it.message.startswith("donor 2")]
    own = "donor 2: the target's own object Field 1 lies 0.50 deg from its pointing"
    assert [text[: len(own)] for text in texts] == [own]

    # another object: only the catalogued source is left
    caplog.clear()
    elsewhere = make_run("full", obs_id=3, pointing=sky(10, 21), n_events=20)
    MimicMaker().run(elsewhere, donor)
    (text,) = [it.message for it in caplog.records]
    assert "donor 2: Crab" in text
    assert "keep_away: [Crab" in text

    caplog.clear()
    MimicMaker(scrambler=AnnulusScrambler(["Crab"])).run(elsewhere, donor)
    MimicMaker().run(donor, elsewhere)
    MimicMaker().run(donor, donor)
    assert not [it for it in caplog.records if it.message.startswith("donor")]


@pytest.mark.parametrize("collection", [list, Observations])
def test_runs_of_equal_ids_are_refused(collection):
    # halves of a run, as select_time makes them, have its OBS_ID
    runs = [make_run("full", obs_id=k, n_events=9) for k in (3, 4, 4, 3)]
    with pytest.raises(ValueError, match="donors: OBS_ID 3, 4 is duplicated"):
        MimicMaker().run_pairs(runs[:2], collection(runs), [(3, 4)])


def test_pairs_from_data_stores(tmp_path):
    open_raw(["full", "full"], tmp_path, n_events=9)
    store = DataStore.from_dir(tmp_path)
    (mimic,) = MimicMaker().run_pairs(store, store, [(2, 1)])
    assert mimic.obs_id == 2
    assert mimic.events.table.meta["MIM_DON"] == 1


def test_other_telescopes_are_refused():
    target, donor = make_run("full", obs_id=1), make_run("hess", obs_id=2)
    with pytest.raises(ValueError, match="donor run 2 is of telescope 'HESS'"):
        MimicMaker().run(target, donor)
    assert MimicMaker(allow_other_telescope=True).run(target, donor).obs_id == 1
    elsewhere = EarthLocation.from_geodetic(-17.9 * u.deg, 28.8 * u.deg, 2200 * u.m)
    donor = make_run("full", obs_id=2, location=elsewhere)
    with pytest.raises(ValueError, match="away from target run 1"):
        MimicMaker().run(target, donor)


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"alignment": "ALTAZ"}, ValueError, "alignment = 'ALTAZ': must be 'altaz'"),
        ({"time": "now"}, ValueError, "time = 'now': must be 'target' or 'donor'"),
        ({"background": None}, ValueError, "background = None"),
        ({"irfs": "both"}, ValueError, "irfs = 'both'"),
        ({"scrambler": 3}, TypeError, "scrambler = 3: must have a method run"),
        ({"random_state": "x"}, TypeError, "random_state = 'x'"),
        ({"random_state": -1}, ValueError, "random_state = -1"),
    ],
)
def test_wrong_options(options, error, match):
    with pytest.raises(error, match=match):
        MimicMaker(**options)


def without(run, **parts):
    """Run without some of its parts."""
    names = ("obs_id", "gti", "events", "pointing", "meta")
    arguments = {name: getattr(run, name) for name in names}
    arguments["location"] = run.observatory_earth_location
    return Observation(**{**arguments, **parts})


def test_runs_that_lack_something():
    run = make_run("full", obs_id=5)
    maker = MimicMaker()
    with pytest.raises(TypeError, match="donor = 3: must be a gammapy Observation"):
        maker.run(run, 3)
    with pytest.raises(ValueError, match="donor run 5 has no good time"):
        maker.run(run, without(run, gti=None))
    with pytest.raises(ValueError, match="target run 5 has no pointing"):
        maker.run(without(run, pointing=None), run)
    with pytest.raises(ValueError, match="donor run 5 has no events"):
        maker.run(run, without(run, events=None))
    meta = run.meta.model_copy(update={"location": None})
    homeless = without(run, meta=meta, location=None)
    with pytest.raises(ValueError, match="neither target run 5 nor donor run 5"):
        maker.run(homeless, homeless)
    # same telescope, same place
    for pair in ((homeless, run), (run, homeless)):
        assert maker.run(*pair).observatory_earth_location == LOCATION
    with pytest.raises(ValueError, match="obs_id = None: must be an integer"):
        maker.run(run, without(run, obs_id=None))


def test_a_target_needs_no_events():
    """A field can be mimicked before it is observed."""
    planned = without(make_run("full", obs_id=5, pointing=sky(20, -50)), events=None)
    mimic = MimicMaker().run(planned, make_run("full", obs_id=6))
    assert mimic.obs_id == 5
    assert len(mimic.events.table) == 500


# --- H.E.S.S. data -------------------------------------------------------------


@pytest.mark.parametrize("ids", [(23523, 25345), (20136, 23523), (47803, 20275)])
def test_hess_runs_keep_places(hess_store, ids):
    target, donor = (hess_store.obs(obs_id) for obs_id in ids)
    mimic = MimicMaker().run(target, donor)
    step = slice(None, None, 40)
    events = donor.events
    events.table = events.table[step]
    few = donor.copy(in_memory=True, events=events)
    mimicked = mimic.events
    mimicked.table = mimicked.table[step]
    few_mimic = mimic.copy(in_memory=True, events=mimicked)
    old, new = exact_fov(few, "altaz"), exact_fov(few_mimic, "altaz")
    assert_allclose(new, old, rtol=0, atol=1e-6)


def test_hess_identity(hess_store):
    run = hess_store.obs(23523)
    mimic = MimicMaker().run(run, run)
    assert positions(mimic).separation(positions(run)).deg.max() < 1e-5
    # the model is the same one, mirrored as gammapy does
    lon, lat = [1.0, -1.0, 0.5] * u.deg, [0.3, 0.7, -1.2] * u.deg
    expected = run.bkg.evaluate(energy=1 * u.TeV, fov_lon=-lon, fov_lat=lat)
    found = mimic.bkg.evaluate(energy=1 * u.TeV, fov_lon=lon, fov_lat=lat)
    assert_allclose(found.value, expected.value, rtol=1e-4)
