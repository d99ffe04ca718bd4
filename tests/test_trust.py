"""What a run says of itself, against its events, its time and its site."""

import copy
import logging
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import EarthLocation, SkyCoord
from astropy.io import fits
from astropy.table import Column
from astropy.time import Time
from gammapy.data import (
    GTI,
    DataStore,
    Observation,
    Observations,
    observatory_locations,
)
from gammapy.irf import Background3D
from helpers.runs import LOCATION, POINTING, make_run, write_file
from numpy.testing import assert_allclose

from gammapy_mimic import DonorMatcher, MimicMaker, write_datastore
from gammapy_mimic.config import MimicAnalysisConfig
from gammapy_mimic.data import compat, read_run
from gammapy_mimic.data.gti import near_good_time
from gammapy_mimic.data.trust import findings, horizon
from gammapy_mimic.matching.warn import run_warnings
from gammapy_mimic.sky.location import geodetic_site, parse_location

DURATION_S = 1680.0
SETTINGS = {"location": None, "alignment": "altaz", "background": "donor"}
SETTINGS |= {"fov_alignment": None}


def donor(**header):
    run = make_run("full", obs_id=8, n_events=400)
    run.events.table.meta |= header
    return run


def target():
    return make_run("full", obs_id=7, start=Time("2021-03-02T19:47:00", scale="tt"))


def found(run, **options):
    run = run if hasattr(run, "gti_s") else read_run(run)
    return list(findings(run, **options))


def warnings_of(caplog):
    return [it.getMessage() for it in caplog.records if it.levelno >= logging.WARNING]


def with_gtis(run, *gtis):
    """Run whose good time is cut only in its GTI, as for clouds."""
    start, stop = np.transpose(gtis) * u.s
    own = GTI.create(start, stop, reference_time=run.gti.time_start[0])
    return run.copy(in_memory=True, gti=own)


# --- good time -----------------------------------------------------------------


def test_good_time_against_loops():
    rng = np.random.default_rng(3)
    for n in (1, 2, 7):
        start = rng.uniform(0, 100, n)
        gti_s = np.stack([start, start + rng.uniform(0.1, 30, n)])
        seconds = rng.uniform(-10, 140, 300)
        expected = [
            any(a - 2 <= second <= b + 2 for a, b in gti_s.T) for second in seconds
        ]
        assert near_good_time(gti_s, seconds).tolist() == expected


@pytest.mark.parametrize("outside", [1.9, 2.1])
def test_events_outside_of_good_time(outside, caplog):
    times = {"ONTIME": 1080.0, "LIVETIME": 1012.5}
    run = with_gtis(donor(**times), (0, 400), (1000, DURATION_S))
    start = run.gti.time_start[0]
    run.events.table["TIME"][:3] = start + [400 + outside, 700, 1000 - outside] * u.s
    elapsed = (run.events.time - start).to_value("s")
    near = (elapsed < 402) | (elapsed > 998)
    assert 0.3 < np.mean(~near) < 0.4
    maker = MimicMaker()
    mimic = maker.run(target(), run)
    assert len(mimic.events.table) == np.sum(near)
    assert_allclose(
        np.sort(mimic.events.table["ENERGY"]),
        np.sort(run.events.table["ENERGY"][near]),
    )
    (text,) = warnings_of(caplog)
    assert f"run 8: {np.sum(~near)} of 400 events" in text
    # once a run
    maker.run(target(), run)
    assert len(warnings_of(caplog)) == 1
    assert len(run.events.table) == 400


def test_crop_takes_good_time():
    """1080 s of good time in 1680 s, cropped to 700 s: 400 + 300."""
    run = with_gtis(donor(), (0, 400), (1000, DURATION_S))
    elapsed = (run.events.time - run.gti.time_start[0]).to_value("s")
    short = make_run("full", obs_id=7, duration=700 * u.s)
    mimic = MimicMaker(crop=True).run(short, run)
    assert_allclose(mimic.gti.time_sum.to_value("s"), 700)
    inside = (elapsed < 402) | ((elapsed > 998) & (elapsed < 1300))
    assert len(mimic.events.table) == np.sum(inside)
    # a rate per good time, as that of the whole run
    rates = np.sum(inside) / 700, len(elapsed) / DURATION_S
    assert abs(rates[0] / rates[1] - 1) < 5 * np.sqrt(1 / np.sum(inside))


def test_ontime_of_the_header(caplog):
    ontime, livetime = 0.6 * DURATION_S, 0.5 * DURATION_S
    run = donor(ONTIME=ontime, LIVETIME=livetime)
    mimic = MimicMaker().run(target(), run)
    (text,) = warnings_of(caplog)
    assert "run 8: ONTIME = 1008 s" in text
    assert "1680 s" in text
    header = mimic.events.table.meta
    assert (header["MIM_ONTI"], header["MIM_LIVE"]) == (ontime, livetime)
    assert_allclose(header["ONTIME"], DURATION_S)


def test_ontime_within_a_percent_or_of_a_part(caplog):
    part = donor().gti.time_start[0] + [100, 900] * u.s
    for run in (donor(ONTIME=0.995 * DURATION_S), donor().select_time(part)):
        header = MimicMaker().run(target(), run).events.table.meta
        assert "MIM_ONTI" not in header
    assert not warnings_of(caplog)


@pytest.mark.parametrize(
    ("livetime", "n_warnings"), [(1575.0, 0), (1564.0, 0), (1512.0, 1), (-100.0, 1)]
)
def test_livetime_that_is_not_deadc_times_ontime(livetime, n_warnings, caplog):
    """DEADC is 0.9375: 1575 s of 1680 s."""
    MimicMaker().run(target(), donor(LIVETIME=livetime))
    texts = [text for text in warnings_of(caplog) if "LIVETIME" in text]
    assert len(texts) == n_warnings
    assert all("run 8" in text and "1575 s" in text for text in texts)


# --- pointing and site ---------------------------------------------------------


def test_pointing_that_the_events_contradict(caplog):
    for offset, n_warnings in ((0.8, 0), (1.6, 1)):
        run = read_run(donor())
        moved = POINTING.directional_offset_by(40 * u.deg, offset * u.deg)
        pointing = replace(run.pointing, lon_deg=moved.ra.deg, lat_deg=moved.dec.deg)
        texts = [
            text
            for _, text in found(replace(run, pointing=pointing), alignment="radec")
        ]
        assert len(texts) == n_warnings
    assert "run 8" in texts[0]
    assert "RA_PNT" in texts[0]
    wrong = donor()
    ra_deg = wrong.events.table["RA"]
    wrong.events.table["RA"] = ra_deg + 1.8
    MimicMaker().run(target(), wrong)
    assert sum("median of its events" in text for text in warnings_of(caplog)) == 1


def test_few_scattered_events_contradict_nothing():
    """20 events with a spread of 4 deg: their median is good to 1.6 deg only.

    300 draws with a fixed seed; a bound without the error would warn of many.
    """
    rng = np.random.default_rng(5)
    run = read_run(donor())[:20]
    n_warnings = 0
    for _ in range(300):
        lon, lat = rng.normal(0, 4, (2, 20))
        columns = {
            "RA": Column(run.pointing.lon_deg + lon, unit="deg"),
            "DEC": Column(run.pointing.lat_deg + lat, unit="deg"),
        }
        changed = replace(run, columns=run.columns | columns)
        n_warnings += len(found(changed, alignment="radec"))
    assert n_warnings <= 3


def test_below_the_horizon():
    below = make_run("full", obs_id=7, pointing=SkyCoord(10, 60, unit="deg"))
    assert horizon(read_run(below))[1] < 0
    for pair, role in (((below, donor()), "target"), ((donor(), below), "donor")):
        with pytest.raises(
            ValueError, match=f"{role} run 7.*below the horizon"
        ) as info:
            MimicMaker().run(*pair)
        assert 'alignment="radec"' in str(info.value)
        assert "location=" in str(info.value)
        MimicMaker(alignment="radec").run(*pair)
    north = {"lon": LOCATION.lon, "lat": 50 * u.deg, "height": 2 * u.km}
    mimic = MimicMaker(location=north).run(below, donor())
    assert_allclose(mimic.observatory_earth_location.lat.deg, 50)
    assert mimic.events.table.meta["ALT_PNT"] > 0


def test_below_the_horizon_at_the_time_of_the_donor(caplog):
    visible = make_run(
        "full",
        obs_id=8,
        start=Time("2020-12-05T12:00:00", scale="tt"),
        pointing=SkyCoord(270, -30, unit="deg"),
    )
    MimicMaker(time="donor").run(make_run("full", obs_id=7), visible)
    (text,) = warnings_of(caplog)
    assert 'take time="target"' in text


def test_no_site(caplog):
    site = EarthLocation.from_geodetic(0 * u.deg, 0 * u.deg, 0 * u.m)
    place = SkyCoord(120, 5, unit="deg")
    run = make_run("full", obs_id=8, location=site, pointing=place, n_events=30)
    levels = [level for level, _ in found(run)]
    assert levels == ["warning"]
    assert "location=" in found(run)[0][1]
    assert not found(run, alignment="radec")


@pytest.mark.parametrize(("shift", "n_warnings"), [(13, 0), (17, 1)])
def test_alt_pnt_far_from_what_time_and_site_give(shift, n_warnings):
    run = donor()
    run.events.table.meta["ALT_PNT"] += shift
    texts = [text for _, text in found(run)]
    assert len(texts) == n_warnings
    assert all("17 deg from what pointing" in text for text in texts)


@pytest.mark.parametrize(
    "header",
    [
        {"RADECSYS": "FK4"},
        {"RADECSYS": "GALACTIC"},
        {"EQUINOX": 1950.0},
        {"EQUINOX": "B1950"},
    ],
)
def test_old_equinox(header):
    for pair in ((donor(**header), target()), (target(), donor(**header))):
        with pytest.raises(ValueError, match=r"run 8.*RADECSYS"):
            MimicMaker(alignment="radec").run(*pair)


def test_all_events_at_one_place():
    run = donor()
    run.events.table["RA"], run.events.table["DEC"] = 83.6, 22.0
    with pytest.raises(ValueError, match="donor run 8: all 400 events"):
        MimicMaker().run(target(), run)
    run.events.table["RA"][5] += 0.1
    MimicMaker().run(target(), run)


@pytest.mark.parametrize("header", [{}, {"RADECSYS": "FK5", "EQUINOX": 2000}])
def test_good_runs_have_no_finding(header):
    """Negative control."""
    run = donor(**header)
    table = copy.deepcopy(run.events.table)
    assert not found(run)
    assert (run.events.table["RA"] == table["RA"]).all()


# --- collected in pairs -----------------------------------------------------------

ANY = dict.fromkeys(("airmass", "azimuth", "ontime", "muon_efficiency", "n_tels"))


def matched(*donors, **options):
    targets = Observations([target()])
    return DonorMatcher(**ANY, **options).run(targets, Observations(list(donors)))


def of_runs(texts):
    """Those that are not on sources."""
    return [text for text in texts if text.startswith("run ")]


def doubtful(obs_id=8):
    """Donor with a false ONTIME, a false pointing and no FOVALIGN."""
    run = make_run("full", obs_id=obs_id, n_events=400)
    run.events.table.meta["ONTIME"] = 1500.0
    run.events.table["DEC"] += 1.5
    bkg = run.bkg
    run.bkg = Background3D(bkg.axes, bkg.data, bkg.unit)
    return run


def test_pairs_say_what_the_maker_says(caplog):
    pairs = matched(doubtful())
    texts = of_runs(pairs.meta["warnings"])
    assert pairs.warnings == pairs.meta["warnings"]
    for words in ("ONTIME = 1500 s", "median of its events", "no FOVALIGN"):
        assert sum(words in text for text in texts) == 1
    assert len(texts) == 3
    assert sorted(of_runs(warnings_of(caplog))) == sorted(texts)
    assert all(f"warning: {text}" in pairs.summary() for text in texts)
    caplog.clear()
    # once a run, also in the maker
    maker = MimicMaker()
    for _ in range(2):
        maker.run(target(), doubtful())
    assert sorted(of_runs(warnings_of(caplog))) == sorted(texts)


def test_only_of_runs_that_are_paired():
    assert not of_runs(matched(donor(), doubtful(9), exclude=[9]).warnings)
    # nor of what is not looked at
    assert not of_runs(matched(doubtful(), rate_proxy="index").warnings)


def test_each_run_is_told_once():
    run = doubtful()
    both = Observations([target(), run, make_run("full", obs_id=9)])
    texts = of_runs(DonorMatcher(**ANY, n_mimics=2).run(both, both).warnings)
    assert len(texts) == len(set(texts)) == 3


@pytest.mark.parametrize(
    ("making", "is_told"),
    [
        ({"alignment": "radec"}, True),
        ({"fov_alignment": "radec"}, False),
        ({"background": "target"}, False),
    ],
)
def test_what_the_maker_does_not_need_is_not_told(making, is_told):
    texts = of_runs(matched(doubtful(), making=making).warnings)
    assert any("FOVALIGN" in text for text in texts) == is_told
    assert any("ONTIME" in text for text in texts)


def test_site_and_alignment_of_pairs():
    run = donor(ALT_PNT=30.0, AZ_PNT=10.0)
    (text,) = of_runs(matched(run).warnings)
    assert "ALT_PNT = 30.0 deg" in text
    assert not of_runs(matched(run, making={"alignment": "radec"}).warnings)


def test_events_that_cannot_be_read_are_told():
    """The maker fails; the other runs are paired and made."""
    planned = Observation(obs_id=8, gti=donor().gti)
    (text,) = run_warnings(planned, side="donors", **SETTINGS)
    assert "run 8" in text


def test_making_of_pairs_is_checked():
    with pytest.raises(ValueError, match="making: 'aligment' is not one of"):
        DonorMatcher(making={"aligment": "radec"})
    config = MimicAnalysisConfig.from_yaml(
        "mimic: {alignment: radec, background: target, fov_alignment: altaz}"
    )
    assert config.mimic.matcher().making == {
        "alignment": "radec",
        "background": "target",
        "fov_alignment": "altaz",
    }


# --- location ------------------------------------------------------------------


def test_forms_of_a_location():
    hess = observatory_locations["hess"]
    lon_deg, lat_deg, height_m = geodetic_site(hess)
    as_text = {"lon": f"{lon_deg} deg", "lat": f"{lat_deg} deg"}
    as_text["height"] = f"{height_m} m"
    for value in (hess, "hess", " HESS ", as_text):
        assert_allclose(geodetic_site(parse_location(value)), geodetic_site(hess))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("hes", "did you mean 'hess'"),
        ({"lon": "1 deg", "lat": "2 deg"}, "must have the keys lon, lat, height"),
        ({"lon": 1, "lat": "2 deg", "height": "3 m"}, "with units"),
        ({"lon": "1 deg", "lat": "92 deg", "height": "3 m"}, "with units"),
        ({"lon": "1 deg", "lat": "2 deg", "height": "3 s"}, "with units"),
        ({"lon": "1 deg", "lat": "2 deg", "height": "nan m"}, "finite"),
        (EarthLocation([1, 2] * u.km, [1, 2] * u.km, [1, 2] * u.km), "single"),
    ],
)
def test_wrong_locations(value, message):
    with pytest.raises(ValueError, match=message):
        MimicMaker(location=value)


def test_location_of_a_wrong_type():
    with pytest.raises(TypeError, match="must be an EarthLocation"):
        MimicMaker(location=3)


@pytest.mark.parametrize(
    "text", ["hess", "{lon: 16.5 deg, lat: -23.3 deg, height: 1.8 km}"]
)
def test_location_in_the_configuration(text):
    config = MimicAnalysisConfig.from_yaml(f"mimic: {{location: {text}}}")
    again = MimicAnalysisConfig.from_yaml(config.to_yaml())
    for it in (config, again):
        for location in (it.mimic.maker().location, it.mimic.matcher().location):
            assert_allclose(location.lat.deg, -23.3, atol=0.05)
    own = MimicAnalysisConfig().update({"mimic": {"location": location}})
    assert_allclose(own.mimic.maker().location.lat.deg, location.lat.deg)
    with pytest.raises(ValueError, match=r"mimic\.location"):
        MimicAnalysisConfig.from_yaml("mimic: {location: nowhere}")


# --- real data -----------------------------------------------------------------


def test_real_runs_have_no_finding(hess_store):
    for obs_id in (23523, 25345, 28981, 33789):
        assert not found(hess_store.obs(obs_id))


@pytest.mark.data
@pytest.mark.filterwarnings("ignore:.*did not parse as fits unit")
def test_wrong_site_of_cta_1dc(caplog):
    folder = Path(os.environ.get("GAMMAPY_DATA", "/nonexistent")) / "cta-1dc/index/gps"
    if not (folder / "hdu-index.fits.gz").exists():
        pytest.skip("needs CTA-1DC in $GAMMAPY_DATA")
    store = DataStore.from_dir(folder)
    pair = [
        store.obs(obs_id, required_irf="all-optional") for obs_id in (110380, 111140)
    ]
    with pytest.raises(ValueError, match=r"target run 110380.* 8\.0 deg below"):
        MimicMaker().run(*pair)
    mimic = MimicMaker(alignment="radec", fov_alignment="radec").run(*pair)
    assert len(mimic.events.table) == len(pair[1].events.table)
    assert not warnings_of(caplog)
    mimic = MimicMaker(location="cta_south").run(*pair)
    assert_allclose(mimic.observatory_earth_location.lon.deg, -70.3, atol=0.1)
    assert mimic.events.table.meta["ALT_PNT"] > 0


# --- background models and energy ranges ---------------------------------------


def with_rates(run, change):
    """Run with other rates in its background model."""
    bkg = copy.deepcopy(run.bkg)
    change(bkg.data)
    return run.copy(in_memory=True, bkg=bkg)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda rates: rates.fill(np.nan), "has no rate that is finite"),
        (lambda rates: rates.fill(0), "is 0 everywhere"),
        (lambda rates: rates[0, 3, :2].fill(-1e-9), "is negative in 2 of"),
        (lambda rates: rates[0].fill(np.nan), None),
        (lambda rates: rates[-1].fill(0), None),
    ],
)
@pytest.mark.parametrize("on_disk", [False, True])
def test_rates_of_no_background(change, said, on_disk, tmp_path, caplog):
    run = with_rates(donor(), change)
    if on_disk:
        run = write_datastore([run], tmp_path).obs(8)
    texts = run_warnings(run, side="donors", **SETTINGS)
    assert [said in text for text in texts] == ([True] if said else [])
    maker = MimicMaker()
    for _ in range(2):
        maker.run(target(), run)
    assert [said in text for text in warnings_of(caplog)] == ([True] if said else [])
    # of a model that the mimic does not have, nothing is said
    caplog.clear()
    MimicMaker(background="target").run(target(), run)
    assert not warnings_of(caplog)


@pytest.mark.parametrize("rates", [np.array(["a"]), None])
def test_background_that_is_no_table_of_rates(rates, tmp_path):
    """It would be copied into the mimic byte for byte."""
    path = tmp_path / "donor.fits"
    write_file(path, "full", obs_id=8, n_events=400)
    with fits.open(path, mode="update") as hdus:
        hdu = next(it for it in hdus[1:] if it.header.get("HDUCLAS2") == "BKG")
        columns = [it for it in hdu.columns if it.name != "BKG"]
        if rates is not None:
            columns.append(fits.Column("BKG", "1A", array=rates))
        new = fits.BinTableHDU.from_columns(columns, name=hdu.name)
        new.header.extend(it for it in hdu.header.cards if "HDU" in it.keyword)
        hdus[hdu.name] = new
    with pytest.raises(ValueError, match=r"donor\.fits: (background|bkg).* cannot be"):
        MimicMaker().run(target(), compat.open_run(path))


def with_limits(run, **limits):
    aeff = copy.deepcopy(run.aeff)
    aeff.meta |= limits
    return run.copy(in_memory=True, aeff=aeff)


@pytest.mark.parametrize(("high", "n_warnings"), [(0.5, 0), (0.3, 1), (0.1, 1)])
def test_no_common_energies(high, n_warnings, caplog):
    given = with_limits(donor(), LO_THRES=0.1, HI_THRES=high)
    wanted = with_limits(target(), LO_THRES=0.3, HI_THRES=100.0)
    MimicMaker().run(wanted, given)
    texts = warnings_of(caplog)
    assert len(texts) == n_warnings
    for text in texts:
        assert "target run 7 and donor run 8: no energy" in text
        assert f"above LO_THRES = 0.3 TeV and below HI_THRES = {high} TeV" in text


@pytest.mark.parametrize("mode", ["SLEW", "scan", "RASTER", "POINTING", "WOBBLE", None])
def test_runs_without_one_pointing(mode):
    run = donor(OBS_MODE=mode) if mode else donor()
    texts = [text for _, text in found(run)]
    moves = mode in ("SLEW", "scan", "RASTER")
    assert [f"OBS_MODE = '{mode.upper()}'" in text for text in texts] == (
        [True] if moves else []
    )
