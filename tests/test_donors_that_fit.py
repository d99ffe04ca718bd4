"""Matching above the threshold, by any column, with slices, reuse and bad times."""

import logging

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import AltAz, SkyCoord
from astropy.table import Table, vstack
from astropy.time import Time
from gammapy.data import EventList, Observations
from helpers import runs as constructed
from numpy.testing import assert_allclose
from test_matching import ONTIME, SITE, found, run, store, why

from gammapy_mimic import MimicMaker, PairTable
from gammapy_mimic.campaign.overview import explain_run, overview
from gammapy_mimic.campaign.selection import _matches
from gammapy_mimic.config import ConfigError, MimicAnalysisConfig
from gammapy_mimic.matching import BadTimes, DonorMatcher, rate_chi2
from gammapy_mimic.matching.good_time import good_slice, with_gti
from gammapy_mimic.matching.slices import Tracks
from gammapy_mimic.matching.tables import donor_shares
from gammapy_mimic.sources import known_sources
from gammapy_mimic.sources.stars import bright_stars, star_regions
from gammapy_mimic.validation import BackgroundSystematic

ANY = dict.fromkeys(("airmass", "azimuth", "ontime", "muon_efficiency", "n_tels"))


# --- further columns -----------------------------------------------------------------


def with_column(data, **columns):
    for name, values in columns.items():
        data.obs_table[name] = values
    return data


def test_tolerances_of_further_columns():
    targets = with_column(store(run(1)), TRGRATE=[200.0], TRANSMISSION=[0.7])
    donors = with_column(
        store(*[run(i) for i in (10, 11, 12)]),
        TRGRATE=[225.0, 215.0, np.nan],
        TRANSMISSION=[0.7, 0.65, 0.85],
    )
    matcher = DonorMatcher(columns={"TRGRATE": "10%", "TRANSMISSION": 0.1})
    pairs = matcher.run(targets, donors)
    assert found(pairs) == {(0, 1, 11)}
    assert why(pairs, 1, 10) == ["TRGRATE"]
    # what is not known does not reject
    assert why(pairs, 1, 12) == ["TRANSMISSION"]
    assert_allclose(pairs["DELTA_TRGRATE"], 0.075)
    row = pairs.why(target=1, donor=10)[0]
    assert (row["DIFFERENCE"], row["LIMIT"]) == ("12.5 %", "10 %")
    matcher = DonorMatcher(columns={"TRGRATE": "3%"}, relax=[("TRGRATE", "8%")])
    assert set(matcher.run(targets, donors)["RELAXED"]) <= {"TRGRATE", "none"}


def test_angles_wrap_and_units_are_converted():
    targets = with_column(store(run(1)), AZ_CAM=[359.0] * u.deg)
    donors = with_column(store(run(10)), AZ_CAM=np.radians([3.0]) * u.rad)
    pairs = DonorMatcher(columns={"AZ_CAM": 5 * u.deg}).run(targets, donors)
    assert_allclose(pairs["DELTA_AZ_CAM"].quantity.to_value("deg"), 4, atol=1e-6)
    bare = with_column(store(run(10)), AZ_CAM=[3.0])
    with pytest.raises(ValueError, match="AZ_CAM has no unit"):
        DonorMatcher(columns={"AZ_CAM": 5 * u.deg}).run(targets, bare)


@pytest.mark.parametrize("value", ["ten", -1, True, [1, 2], "x%"])
def test_tolerance_of_a_column_must_be_a_number(value):
    with pytest.raises(ValueError, match="columns: A = "):
        DonorMatcher(columns={"A": value})


TABLE = Table(
    {
        "ZEN_PNT": [39.0, 40.0, 47.0, 52.0, 60.0],
        "QUALITY": [0, 1, 2, 0, 3],
        "TARGET_NAME": ["Off 1", "Off 2", "Crab", "Off 10", "M 87"],
    }
)


@pytest.mark.parametrize(
    ("name", "value", "rows"),
    [
        ("ZEN_PNT", [40, 52], [1, 2, 3]),
        ("ZEN_PNT", {"max": 40}, [0, 1]),
        ("ZEN_PNT", [39.0, 47.0, 60.0], [0, 2, 4]),
        ("QUALITY", {"max": 1}, [0, 1, 3]),
        ("QUALITY", [0, 2], [0, 2, 3]),
        ("TARGET_NAME", ["Off 1", "M 87"], [0, 4]),
        ("TARGET_NAME", "Off*", [0, 1, 3]),
    ],
)
def test_where_takes_ranges_and_lists(name, value, rows):
    assert np.flatnonzero(_matches(TABLE, name, value)).tolist() == rows


def test_where_says_what_is_wrong():
    with pytest.raises(ConfigError, match="the column has text"):
        _matches(TABLE, "TARGET_NAME", {"min": 3})
    with pytest.raises(ConfigError, match="min is larger than max"):
        _matches(TABLE, "ZEN_PNT", {"min": 3, "max": 1})
    with pytest.raises(ConfigError, match="a range is"):
        MimicAnalysisConfig.from_yaml("mimic: {donors: {where: {A: {mx: 3}}}}")


# --- rates and effective areas -------------------------------------------------------


def ring_of_events(observation, offset, azimuth, energy):
    """Run with events at given places about its pointing."""
    pointing = observation.pointing.fixed_icrs
    place = pointing.directional_offset_by(azimuth * u.deg, offset * u.deg)
    old = observation.events.table
    table = old[np.arange(len(offset)) % len(old)]
    table["RA"], table["DEC"] = place.ra, place.dec
    table["ENERGY"] = energy * u.TeV
    observation.events = EventList(table)
    return observation


def uniform_run(obs_id, n_low, n_high, extra=()):
    """Run with events on a ring at 1.5 deg, below and above 1 TeV, and others."""
    azimuth = np.r_[np.linspace(0, 360, n_low + n_high, endpoint=False)]
    energy = np.r_[np.full(n_low, 0.6), np.full(n_high, 2.0)]
    offset = np.full(len(azimuth), 1.5)
    # mix the energies over the ring
    order = np.random.default_rng(0).permutation(len(azimuth))
    parts = offset, azimuth, energy[order]
    if len(extra):
        more = np.tile(extra, (500, 1)).T
        parts = [np.r_[a, b] for a, b in zip(parts, more, strict=True)]
    return ring_of_events(constructed.make_run(obs_id=obs_id), *parts)


def test_rates_count_above_the_threshold():
    """Donor with 30 % fewer events above 1 TeV, and as many in all."""
    targets = Observations([uniform_run(1, 500, 500)])
    donors = Observations([uniform_run(10, 650, 350)])
    ratios = [
        DonorMatcher(energy_min=energy).run(targets, donors)["RATE_RATIO"][0]
        for energy in (0.5 * u.TeV, 1 * u.TeV)
    ]
    # the circle about the object hides a few percent of the ring
    assert_allclose(ratios, [1, 0.7], rtol=0.02)
    pairs = DonorMatcher(energy_min=1 * u.TeV, rate=0.2).run(targets, donors)
    assert why(pairs, 1, 10) == ["rate"]
    error = ratios[1] * np.sqrt(1 / 500 + 1 / 350)
    pairs = DonorMatcher(energy_min=1 * u.TeV).run(targets, donors)
    assert_allclose(pairs["RATE_RATIO_ERR"], error, rtol=0.05)


def place_of(observation, offset, azimuth):
    pointing = observation.pointing.fixed_icrs
    return pointing.directional_offset_by(azimuth * u.deg, offset * u.deg)


@pytest.mark.parametrize("proxy", [None, "events"])
def test_rates_are_blind(proxy):
    """Events at the position of interest or the object change no rate."""
    offset = 1.5 if proxy is None else 2.2
    extra = (offset, 77.0, 2.0)
    plain, bright = uniform_run(1, 500, 500), uniform_run(1, 500, 500, extra)
    donors = Observations([uniform_run(10, 500, 500)])
    if proxy == "events":
        for run_ in (plain, bright, donors[0]):
            table = run_.events.table
            near = run_.events.radec.separation(run_.pointing.fixed_icrs) < 2 * u.deg
            moved = place_of(run_, 2.2, np.linspace(0, 360, near.sum()))
            table["RA"][near], table["DEC"][near] = moved.ra, moved.dec
            run_.events = EventList(table)
    position = place_of(plain, offset, 77.0)
    ratios = {}
    for name, where in (("blind", position), ("control", place_of(plain, 1.5, 200))):
        matcher = DonorMatcher(energy_min=1 * u.TeV, position=where, rate_proxy=proxy)
        ratios[name] = [
            float(matcher.run(Observations([it]), donors)["RATE_RATIO"][0])
            for it in (plain, bright)
        ]
    assert_allclose(*ratios["blind"], rtol=1e-6)
    # negative control: elsewhere they count
    assert ratios["control"][1] < 0.9 * ratios["control"][0]


def scaled(obs_id, factor, threshold=0.5):
    observation = constructed.make_run(obs_id=obs_id)
    aeff = observation.aeff
    aeff.meta = {**aeff.meta, "LO_THRES": threshold}
    energy = aeff.axes["energy_true"].center.to_value("TeV")[:, np.newaxis]
    # at low energies the areas differ by a factor of 3
    aeff.data = aeff.data * np.where(energy < 0.5, 3.0, factor)
    observation.aeff = aeff
    return observation


def test_effective_areas_are_compared_in_the_range_of_the_analysis():
    targets = Observations([constructed.make_run(obs_id=1)])
    donors = Observations([scaled(10, 1.15), scaled(11, 1.05), scaled(12, 0.93)])
    options = {"energy_min": 1 * u.TeV, "energy_max": 10 * u.TeV}
    pairs = DonorMatcher(n_mimics=2, **options).run(targets, donors)
    assert why(pairs, 1, 10) == ["effective_area"]
    assert {it[2] for it in found(pairs)} == {11, 12}
    delta = dict(zip(pairs["DONOR_OBS_ID"], pairs["DELTA_EFFECTIVE_AREA"], strict=True))
    assert_allclose([delta[11], delta[12]], [0.05, -0.07], atol=1e-3)
    # the threshold of a run counts where it is higher than that of the analysis
    wide = {"energy_min": 0.3 * u.TeV, "energy_max": 10 * u.TeV}
    assert why(DonorMatcher(**wide).run(targets, donors), 1, 11) == ["effective_area"]
    high = Observations([scaled(13, 1.05, threshold=1.0)])
    assert found(DonorMatcher(**wide).run(targets, high)) == {(0, 1, 13)}
    pairs = DonorMatcher(threshold=0.2, **options).run(targets, high)
    assert why(pairs, 1, 13) == ["threshold"]


def test_rate_against_time():
    """500 runs of 400 events, constant or linear: 1 on average, 0.5 % above 2.2.

    The number of bins is 16, with 14 degrees of freedom: P(chi2 > 30.8) = 0.6 %.
    """
    rng = np.random.default_rng(1)
    flat = [rate_chi2(rng.uniform(0, 1600, 400), [0], [1600]) for _ in range(500)]
    assert abs(np.mean(flat) - 1) < 4 * np.sqrt(2 / 14 / 500)
    assert np.mean(np.array(flat) > 2.2) < 0.025
    slope = 1600 * np.sqrt(rng.uniform(0.2, 1, (200, 400)))
    low = slope.min()
    linear = [rate_chi2(it, [low], [1600]) for it in slope]
    assert abs(np.mean(linear) - 1) < 0.15
    # a cloud of a quarter of the run that halves the rate is seen
    times = rng.uniform(0, 1600, (200, 400))
    cloud = [
        rate_chi2(it[(it < 600) | (it > 1000) | (rng.uniform(size=400) < 0.5)], 0, 1600)
        for it in times
    ]
    assert np.mean(np.array(cloud) > 2.2) > 0.5
    # a gap between good time intervals is no cloud
    gap = times[0] + np.where(times[0] > 800, 5000, 0)
    assert rate_chi2(gap, [0, 5800], [800, 6600]) < 2.2


# --- horizon, site, sources, stars ---------------------------------------------------


def test_runs_below_the_horizon_never_match(caplog):
    targets, donors = store(run(1, 30)), store(run(10, -30), run(11, 30))
    with caplog.at_level(logging.WARNING):
        pairs = DonorMatcher(airmass=None, n_mimics=2).run(targets, donors)
    assert found(pairs) == {(0, 1, 11)}
    assert why(pairs, 1, 10) == ["horizon"]
    assert any("below the horizon (run 10)" in text for text in pairs.warnings)
    assert "below the horizon" in caplog.text


def test_location_sets_the_site():
    data = store(run(1), run(2))
    data.obs_table.meta["GEOLON"] = str(16.5 - 180)
    wrong = DonorMatcher().run(data, data)
    assert (wrong.targets["ALT_PNT"] < 50).all()
    right = DonorMatcher(location=SITE).run(data, data)
    assert_allclose(right.targets["ALT_PNT"], 60, atol=1e-6)


def test_donors_with_sources_are_warned_of():
    data = store(run(1), run(10))
    crab = SkyCoord(83.633, 22.014, unit="deg")
    data.obs_table["RA_PNT"][1], data.obs_table["DEC_PNT"][1] = 83.633, 22.514
    tolerances = {**ANY, "time": None}
    matcher = DonorMatcher(exclude=[1], **tolerances)
    pairs = matcher.run(store(run(1)), data)
    assert found(pairs) == {(0, 1, 10)}
    text, of_rates = pairs.meta["warnings"]
    assert "not blind" in of_rates
    assert "donor 10: Crab nebula lies 0.50 deg from its pointing and is not" in text
    assert "exclude: [10]" in text
    circles = known_sources(crab, 1 * u.deg, catalogs=["bright"])
    matcher = DonorMatcher(scrambled=lambda pointing: circles, **tolerances)
    assert matcher.run(store(run(1)), data).warnings == [of_rates]
    # the same object on both sides
    both = store(run(1), run(10))
    for name, value in (("RA_OBJ", crab.ra.deg), ("DEC_OBJ", crab.dec.deg)):
        both.obs_table[name] = value
    both.obs_table["RA_PNT"], both.obs_table["DEC_PNT"] = 83.633, 22.514
    both.obs_table["OBJECT"] = "Crab"
    pairs = DonorMatcher(**tolerances).run(both, both)
    assert len(pairs.warnings) == 3
    assert "the target's own object Crab lies 0.50 deg" in pairs.warnings[0]


def test_stars_of_a_field():
    crab = SkyCoord(83.633, 22.014, unit="deg")
    stars = bright_stars(crab)
    # zeta Tauri, B = 2.8 (V = 3.0, B-V = -0.19), 1.1 deg from the Crab nebula
    assert stars["name"][0] == "123Zet Tau"
    assert_allclose(stars["separation"][0], 1.13, atol=0.01)
    assert_allclose(stars["b_mag"][0], 2.81, atol=0.01)
    regions = star_regions(crab, theta=0.3 * u.deg)
    assert [it.radius.to_value("deg") for it in regions] == [0.3] * len(stars)
    assert len(bright_stars(crab, b_max=4)) == 1
    with pytest.raises(ValueError, match="the table ends at B = 5"):
        bright_stars(crab, b_max=6)


# --- fill, reuse, bad times ----------------------------------------------------------


def test_fill_takes_several_donors():
    targets = store(run(1), run(2, az=190))
    donors = store(*[run(10 + i, ONTIME=ONTIME / 2) for i in range(5)])
    pairs = DonorMatcher(fill=True).run(targets, donors)
    length = np.asarray(pairs["STOP"]) - np.asarray(pairs["START"])
    for target in (1, 2):
        rows = pairs["TARGET_OBS_ID"] == target
        assert_allclose(length[rows].sum(), ONTIME)
        begin = np.asarray(pairs["TARGET_START"][rows])
        assert_allclose(begin, np.r_[0, np.cumsum(length[rows])[:-1]])
    ids = pairs["MIMIC_OBS_ID"].tolist()
    assert ids == [1, 101, 2, 201]
    assert_allclose(pairs["SHARED"], 0)
    assert "0.9 of 0.9 h of the targets are filled" in pairs.summary()


def test_mimic_ids_avoid_those_of_targets():
    targets = store(run(1), run(101, az=190))
    donors = store(*[run(1000 + i, ONTIME=ONTIME / 2) for i in range(4)])
    pairs = DonorMatcher(fill=True).run(targets, donors)
    ids = pairs["MIMIC_OBS_ID"].tolist()
    assert len(set(ids)) == 4
    assert {1001, 101001} <= set(ids)


def test_tracks_are_those_of_the_sky():
    data = store(run(1, 50, 30))
    pairs = DonorMatcher(rate_proxy="index").run(data, data)
    runs = pairs.targets
    tracks = Tracks(runs)
    airmass, azimuth = tracks.at(0, np.array([0, ONTIME / 2, ONTIME]))
    assert_allclose(airmass[1], 1 / np.sin(np.radians(50)), rtol=1e-6)
    assert_allclose(azimuth[1], 30, atol=1e-4)
    time = Time(runs["TIME"][0], format="mjd", scale="tt") + [-840, 840] * u.s
    sky = SkyCoord(runs["RA_PNT"][0], runs["DEC_PNT"][0], unit="deg")
    truth = sky.transform_to(AltAz(obstime=time, location=SITE))
    # refraction-free; aberration and nutation change by less than 0.01 deg
    assert_allclose(azimuth[[0, 2]], truth.az.deg, atol=0.01)
    assert_allclose(airmass[[0, 2]], 1 / np.sin(truth.alt.rad), rtol=1e-3)


@pytest.mark.parametrize("option", ["fill", "crop"])
def test_the_slice_with_the_same_track_is_taken(option):
    """A donor of twice the length on the very track of the target, 600 s later."""
    target = store(run(1, 45, 90))
    position = target.obs_table["RA_PNT", "DEC_PNT"][0]
    donor = store(run(10, 45, 90, ONTIME=2.5 * ONTIME))
    # the same hour angles one sidereal day later, whose start is 600 s earlier
    sidereal_day = 86164.0905
    start = target.obs_table["TSTART"][0] + sidereal_day - 600
    donor.obs_table["TSTART"] = start
    donor.obs_table["TSTOP"] = start + 2.5 * ONTIME
    donor.obs_table["RA_PNT"] = position["RA_PNT"]
    donor.obs_table["DEC_PNT"] = position["DEC_PNT"]
    matcher = DonorMatcher(**{option: True}, airmass=1, azimuth=180 * u.deg)
    pairs = matcher.run(target, donor)
    assert_allclose([pairs["START"][0], pairs["STOP"][0]], [600, 600 + ONTIME], atol=1)


def test_different_slices_before_the_same_twice():
    targets = store(*[run(i) for i in (1, 2, 3)])
    donors = store(run(10, ONTIME=2 * ONTIME), run(11))
    pairs = DonorMatcher(fill=True, azimuth=180 * u.deg, airmass=1).run(targets, donors)
    assert_allclose(pairs["SHARED"], 0)
    assert not pairs.missing
    few = DonorMatcher(fill=True, reuse=2).run(targets, store(run(10), run(11)))
    # the third target is filled with time that another one has, too
    assert not few.missing
    shared = np.asarray(few["SHARED"])
    assert sorted(shared.round(6)) == [0, 1, 1]
    assert "66.7% of the time" in few.summary()


def test_reuse_of_whole_donors():
    targets, donors = store(*[run(i) for i in (1, 2, 3)]), store(run(10), run(11))
    assert len(DonorMatcher().run(targets, donors).missing) == 1
    pairs = DonorMatcher(reuse=2).run(targets, donors)
    assert not pairs.missing
    counts = np.unique(pairs["DONOR_OBS_ID"], return_counts=True)[1]
    assert sorted(counts) == [1, 2]
    assert sorted(pairs["SHARED"]) == [0, 1, 1]


def bad_table(observation, low, high):
    start = observation.gti.time_start[0]
    times = [(start + it * u.s).utc for it in (low, high)]
    rows = {"OBS_ID": [int(observation.obs_id)]}
    return Table({**rows, "START": [times[0].iso], "STOP": [times[1].iso]})


def test_bad_times_are_cut_out():
    observation = constructed.make_run(obs_id=10)
    ontime = observation.observation_time_duration.to_value("s")
    bad = BadTimes(bad_table(observation, 300, 700))
    cut = bad.cut(observation)
    # text has milliseconds
    assert_allclose(cut.gti.time_sum.to_value("s"), ontime - 400, atol=0.01)
    seconds = (cut.events.time - observation.gti.time_start[0]).to_value("s")
    old = (observation.events.time - observation.gti.time_start[0]).to_value("s")
    assert not ((seconds > 300.01) & (seconds < 699.99)).any()
    assert len(seconds) == np.count_nonzero((old < 300) | (old > 700))
    assert len(observation.events.table) == len(old)
    again = BadTimes.from_mjd(bad.to_mjd())
    assert_allclose(again.cut(observation).gti.time_sum.value, cut.gti.time_sum.value)


def test_bad_times_count_before_matching_and_in_mimics(tmp_path):
    target = constructed.make_run(obs_id=1)
    donors = Observations([constructed.make_run(obs_id=i) for i in (10, 11)])
    path = tmp_path / "bad.ecsv"
    bad_table(donors[0], 300, 700).write(path)
    options = {**ANY, "ontime": 0.1, "bad_times": path, "n_mimics": 2}
    pairs = DonorMatcher(**options).run(Observations([target]), donors)
    assert why(pairs, 1, 10) == ["ontime"]
    options["ontime"] = 0.5
    pairs = DonorMatcher(**options).run(Observations([target]), donors)
    mimics = MimicMaker().run_pairs(Observations([target]), donors, pairs)
    lengths = {
        int(it.events.table.meta["MIM_DON"]): it.gti.time_sum.to_value("s")
        for it in mimics
    }
    assert_allclose(lengths[11] - lengths[10], 400, atol=0.01)
    assert all(it.obs_id == 1 for it in mimics)


@pytest.mark.parametrize(
    ("columns", "text"),
    [
        ({"START": ["2004-01-01"]}, "no column STOP"),
        ({"START": ["soon"], "STOP": ["later"]}, "column START is not a time"),
        ({"START": [5.0], "STOP": [6.0]}, "not modified Julian dates"),
        ({"START": [53001.0], "STOP": [53000.0]}, "is not before STOP"),
        ({"START": [1.0] * u.s, "STOP": [2.0] * u.s}, "MJDREFI"),
    ],
)
def test_bad_times_that_are_wrong(columns, text):
    with pytest.raises(ValueError, match=text):
        BadTimes(Table({"OBS_ID": [1], **columns}))


def test_good_slice_counts_good_time_only():
    observation = constructed.make_run("multi_gti")
    gti = observation.gti
    total = gti.time_sum.to_value("s")
    first = (gti.time_stop[0] - gti.time_start[0]).to_value("s")
    part = good_slice(gti, (first - 10) * u.s, (first + 10) * u.s)
    assert len(part.table) == 2
    assert_allclose(part.time_delta.to_value("s"), 10, atol=1e-6)
    whole = good_slice(gti, 0 * u.s, total * u.s)
    assert_allclose(whole.time_sum.to_value("s"), total)
    cut = with_gti(observation, part)
    assert len(cut.events.table) < len(observation.events.table)
    with pytest.raises(ValueError, match="no good time is left"):
        with_gti(observation, good_slice(gti, total * u.s, 2 * total * u.s))


def test_mimics_of_slices(caplog):
    target = constructed.make_run(obs_id=7)
    donors = Observations([constructed.make_run(obs_id=i) for i in (10, 11)])
    total = target.observation_time_duration.to_value("s")
    half = donors[0].gti.time_sum * 0.5
    halves = Observations(
        [with_gti(it, good_slice(it.gti, 0 * u.s, half)) for it in donors]
    )
    matcher = DonorMatcher(fill=True, **{k: None for k in ANY if k != "ontime"})
    pairs = matcher.run(Observations([target]), halves)
    mimics = MimicMaker(random_state=1).run_pairs(Observations([target]), halves, pairs)
    assert [it.obs_id for it in mimics] == [7, 701]
    # the cards of a part are its own: nothing contradicts the good time
    assert "ONTIME" not in caplog.text
    for mimic in mimics:
        seconds = mimic.gti.time_sum.to_value("s")
        assert_allclose(mimic.events.table.meta["ONTIME"], seconds, rtol=1e-9)
        assert mimic.events.table.meta["MIM_TGT"] == 7
        assert mimic.events.table.meta["OBS_ID"] == mimic.obs_id
    assert_allclose(sum(it.gti.time_sum.to_value("s") for it in mimics), total)
    # one after the other, in the time of the target
    assert abs((mimics[1].gti.time_start[0] - mimics[0].gti.time_stop[-1]).sec) < 1e-3
    on, off = pairs.to_observations(Observations([target]), halves)
    assert [it.obs_id for it in on] == [7, 701]
    assert len(off) == 2


def slices_of_one_donor(*spans):
    """Pairs of as many targets with slices of donor 10."""
    whole = DonorMatcher(fill=True, reuse=2).run(store(run(1)), store(run(10)))
    pairs = vstack([whole[:1]] * len(spans))
    pairs["START"], pairs["STOP"] = np.transpose(spans)
    return pairs


@pytest.mark.parametrize(
    ("spans", "share"),
    [
        ([(0, 1000), (0, 1000)], 1),
        ([(0, 1000), (1000, 2000)], 1 / 2),
        ([(0, 1000), (500, 1500)], 3 / 4),
        ([(0, 1000), (0, 500), (500, 1000)], 2 / 3),
    ],
)
def test_in_how_many_mimics_an_event_is(spans, share):
    assert_allclose(donor_shares(slices_of_one_donor(*spans))[10], share)


def test_poisson_part_of_slices():
    # 200 donors, of which three mimics have two thirds each: the same events twice
    rng, n_donors = np.random.default_rng(1), 200
    thirds = rng.poisson(100, (n_donors, 3))
    counts = (thirds.sum(axis=1, keepdims=True) - thirds).reshape(-1, 1)
    donors = np.repeat(np.arange(n_donors), 3)
    options = {"energy_edges": [1, 10] * u.TeV}
    predicted = np.full(counts.shape, 200.0)
    by_default, right = (
        BackgroundSystematic.from_counts(counts, predicted, donors, **options, **more)
        for more in ({}, {"shared": np.full(len(donors), 2 / 3)})
    )
    # of 300 counts, not 200; the scatter itself is known to 5 %
    assert_allclose(right.table["POISSON"][0], 1 / np.sqrt(300), rtol=0.01)
    assert_allclose(right.table["RMS"][0], 1 / np.sqrt(300), rtol=0.15)
    assert_allclose(by_default.table["POISSON"][0], 1 / np.sqrt(200), rtol=0.01)


def test_cropped_mimic_is_the_slice_that_fits():
    donors = Observations([constructed.make_run(obs_id=10)])
    whole = constructed.make_run(obs_id=7)
    third = whole.gti.time_sum / 3
    # the last third of a run that is like the donor
    last = with_gti(whole, good_slice(whole.gti, 2 * third, 3 * third))
    targets = Observations([last])
    pairs = DonorMatcher(crop=True, **ANY).run(targets, donors)
    start = (2 * third).to_value("s")
    assert_allclose(pairs["START"][0], start, atol=1)
    mimic = MimicMaker(crop=True).run_pairs(targets, donors, pairs)[0]
    assert_allclose(mimic.gti.time_sum.to_value("s"), third.to_value("s"))
    assert mimic.obs_id == 7
    donor = donors[0].events
    elapsed = (donor.time - donors[0].gti.time_start[0]).to_value("s")
    assert len(mimic.events.table) == np.count_nonzero(elapsed >= pairs["START"][0])
    # the maker alone takes the first part
    alone = MimicMaker(crop=True).run(last, donors[0])
    first = np.count_nonzero(elapsed < third.to_value("s"))
    assert len(alone.events.table) == first != len(mimic.events.table)


def test_rates_of_the_index_are_warned_of():
    targets, donors = store(run(1)), store(run(10))
    pairs = DonorMatcher(rate_proxy="index").run(targets, donors)
    assert any("not blind" in text for text in pairs.warnings)
    del donors.obs_table["EVENT_COUNT"]
    pairs = DonorMatcher(rate_proxy="index").run(targets, donors)
    assert not any("not blind" in text for text in pairs.warnings)


def test_matcher_and_pairs_are_shown():
    matcher = DonorMatcher(azimuth=30 * u.deg, relax=["airmass"], n_mimics=2)
    assert "azimuth 30 deg, ontime 10 %, muon_efficiency" in repr(matcher)
    assert repr(matcher).splitlines()[1] == "  mimic sets : 2"
    assert matcher._repr_html_().startswith("<pre>DonorMatcher\n")
    pairs = matcher.run(store(run(1)), store(run(10)))
    shown = pairs._repr_html_()
    assert "1 of 1 targets have a donor (2 mimic sets, 1 possible donors)" in shown
    assert "<table" in shown


# --- what is said --------------------------------------------------------------------


def relaxed_pairs():
    targets = store(run(1), run(2, 35))
    donors = store(run(10, 60), run(11, 46), run(12, 75, az=300))
    return DonorMatcher(relax=["airmass"]).run(targets, donors)


def test_counts_of_rejections_are_those_of_the_pairs():
    pairs = relaxed_pairs()
    flow, rejected = pairs.cut_flow, pairs.rejected
    for row in flow:
        own = rejected[rejected["TARGET_OBS_ID"] == row["TARGET_OBS_ID"]]
        first = {}
        for donor, cut in zip(own["DONOR_OBS_ID"], own["CUT"], strict=True):
            first.setdefault(int(donor), str(cut))
        counts = {cut: list(first.values()).count(cut) for cut in set(first.values())}
        assert {n: row[n] for n in counts} == counts
        assert row["LEFT"] == row["DONORS"] - len(first)


def test_why_agrees_with_the_table():
    pairs = relaxed_pairs()
    assert (0, 2, 11) in found(pairs)
    text = explain_run(pairs, 11)
    assert "As a donor, run 11 fits 0 of 2 targets" in text
    assert "after relaxation of airmass it may serve 2 of 2 targets: 1, 2" in text
    assert "taken: 2 in set 0 (relaxed: airmass)" in text
    lines = text.splitlines()
    # sums before the table
    assert lines[3] == "  rejected (a pair may fail several cuts): 2 by airmass"


def test_first_lines_say_what_relaxing_did():
    pairs = relaxed_pairs()
    for text in (pairs.summary(), overview(pairs)):
        assert "1 pairs within the tolerances 1.00" in text.splitlines()[1]
        assert "1 pairs relaxed (airmass) 1.00" in text.splitlines()[1]


def test_all_of_it_survives_ecsv(tmp_path):
    targets = Observations([uniform_run(1, 500, 500)])
    donors = Observations([uniform_run(10, 650, 350), uniform_run(11, 500, 500)])
    options = {"energy_min": 0.7 * u.TeV, "rate": 0.1, "fill": True, "reuse": 2}
    pairs = DonorMatcher(columns={"EV_CLASS": 1}, **options).run(targets, donors)
    pairs.write(tmp_path / "p.ecsv")
    again = PairTable.read(tmp_path / "p.ecsv")
    assert again.meta == pairs.meta
    assert_allclose(again["RATE_RATIO_BANDS"], pairs["RATE_RATIO_BANDS"])
    assert list(again.why()["CUT"]) == list(pairs.why()["CUT"])
    assert again.part(0) == pairs.part(0)
    assert (again.rate_bands == pairs.rate_bands).all()
