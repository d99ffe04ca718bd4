"""Header keywords and times: every value against astropy or by construction."""

import copy
from dataclasses import replace

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import AltAz, EarthLocation, SkyCoord
from astropy.time import Time
from gammapy.data import GTI, FixedPointingInfo, Observation
from gammapy.utils.time import time_ref_from_dict
from helpers import runs
from numpy.testing import assert_allclose

from gammapy_mimic.data import keywords as header_keywords
from gammapy_mimic.data import read_run
from gammapy_mimic.io import gadf
from gammapy_mimic.sky.astrometry import tt_days
from gammapy_mimic.sky.camera import Pointing

HESS_REFERENCE = {"MJDREFI": 51910, "MJDREFF": 0.000742870370370241, "TIMESYS": "TT"}
REFERENCES = [
    HESS_REFERENCE,
    {"MJDREFI": 53402, "MJDREFF": 0.0, "TIMESYS": "UTC"},
    {"MJDREFI": 51544, "MJDREFF": 0.5, "TIMESYS": "TT"},
    {"MJDREFI": 0, "MJDREFF": 0.0, "TIMESYS": "TAI"},
]


@pytest.mark.parametrize("header", REFERENCES, ids=lambda h: f"{h['MJDREFI']}")
def test_seconds_read_from_a_file_come_back_to_the_last_bit(header):
    rng = np.random.default_rng(1)
    start = (60000 - header["MJDREFI"]) * 86400
    seconds = start + rng.uniform(-1e8, 1e8, 10000)
    reference = time_ref_from_dict(header)
    time = reference + u.Quantity(seconds, "s")
    back = gadf.seconds_since(time, gadf.header_reference(header))
    assert back.dtype == np.float64
    assert np.array_equal(back, seconds)
    # The obvious formula fails, so the test can: it loses bits.
    if header is HESS_REFERENCE:
        assert not np.array_equal((time - reference).to_value("s"), seconds)


def test_seconds_count_leap_seconds():
    # 2016-12-31 had 86401 seconds.
    reference = Time("2016-12-31T00:00:00", scale="utc")
    time = Time("2017-01-01T00:00:00", scale="utc")
    assert gadf.seconds_since(time, reference) == 86401
    assert (time.jd - reference.jd) * 86400 == 86400


def test_seconds_do_not_depend_on_the_scale():
    reference = Time("2000-01-01T12:00:00", scale="tt")
    time = Time("2020-01-01T00:00:00", scale="tt")
    assert_allclose(
        gadf.seconds_since(time.utc, reference.utc),
        gadf.seconds_since(time, reference),
        rtol=0,
        atol=1e-7,
    )


def test_header_reference_is_none_without_keywords():
    assert gadf.header_reference(None) is None
    assert gadf.header_reference({"MJDREFI": 51910}) is None


def test_reference_keywords_keep_the_digits_of_the_header():
    reference = gadf.header_reference(HESS_REFERENCE)
    alone = gadf.reference_keywords(reference)
    kept = gadf.reference_keywords(reference, header=HESS_REFERENCE)
    assert kept["MJDREFF"] == HESS_REFERENCE["MJDREFF"]
    assert type(kept["MJDREFI"]) is int
    assert kept["TIMESYS"] == "TT"
    assert kept["TIMEUNIT"] == "s"
    # 1e-18 d: what two doubles of a Time keep of it
    assert_allclose(alone["MJDREFF"], HESS_REFERENCE["MJDREFF"], rtol=0, atol=1e-16)


def test_reference_keywords_ignore_a_header_of_another_time():
    reference = Time(51910, 0.25, format="mjd", scale="tt")
    keywords = gadf.reference_keywords(reference, header=HESS_REFERENCE)
    assert keywords["MJDREFF"] == 0.25
    other_scale = {**HESS_REFERENCE, "MJDREFF": 0.25, "TIMESYS": "UTC"}
    assert gadf.reference_keywords(reference, header=other_scale)["TIMESYS"] == "TT"


@pytest.mark.parametrize("mjdreff", [0.0, 0.75, 1 - 2**-40])
def test_reference_keywords_mean_the_reference(mjdreff):
    reference = Time(58849, mjdreff, format="mjd", scale="utc")
    keywords = gadf.reference_keywords(reference)
    assert keywords["MJDREFI"] == 58849
    assert keywords["MJDREFF"] == mjdreff
    back = time_ref_from_dict(keywords)
    assert gadf.seconds_since(back, reference) == 0


def test_text_as_mjdreff_is_understood():
    header = {**HESS_REFERENCE, "MJDREFF": "0.000742870370370241"}
    reference = gadf.header_reference(header)
    assert gadf.reference_keywords(reference, header=header)["MJDREFF"] == float(
        header["MJDREFF"]
    )


def test_location_keywords():
    location = EarthLocation.from_geodetic(16.5, -23.27, 1835)
    pointing = FixedPointingInfo(fixed_icrs=runs.POINTING)
    site = Pointing.from_observation(
        Observation(pointing=pointing, location=location)
    ).site
    keywords = header_keywords.location_keywords(site)
    assert_allclose([*keywords.values()], [16.5, -23.27, 1835], rtol=1e-12)
    header = {"GEOLON": 16.5, "GEOLAT": -23.27, "ALTITUDE": 1835.0}
    assert header_keywords.location_keywords(site, header=header) == header
    moved = header_keywords.location_keywords(site, header={**header, "GEOLON": 17.0})
    assert_allclose(moved["GEOLON"], 16.5, rtol=1e-12)


def test_pointing_keywords():
    pointing = FixedPointingInfo(fixed_icrs=runs.POINTING)
    pointing = Pointing.from_observation(
        Observation(pointing=pointing, location=runs.LOCATION)
    )
    keywords = header_keywords.pointing_keywords(pointing, origin=tt_days(runs.START))
    frame = AltAz(obstime=runs.START, location=runs.LOCATION)
    altaz = runs.POINTING.transform_to(frame)
    assert keywords["OBS_MODE"] == "POINTING"
    assert keywords["RA_PNT"] == runs.POINTING.ra.deg
    assert keywords["DEC_PNT"] == runs.POINTING.dec.deg
    galactic = runs.POINTING.galactic
    assert_allclose(keywords["GLON_PNT"], galactic.l.deg, rtol=1e-12)
    assert_allclose(keywords["GLAT_PNT"], galactic.b.deg, rtol=1e-12)
    # 1e-9 arcsec is what the interpolated astrometry may be off
    assert_allclose(keywords["ALT_PNT"], altaz.alt.deg, rtol=0, atol=1e-9)
    assert_allclose(keywords["AZ_PNT"], altaz.az.deg, rtol=0, atol=1e-9)
    assert {type(value) for value in keywords.values()} == {float, str}


def test_drift_pointing_has_no_sky_position():
    pointing = FixedPointingInfo(fixed_altaz=AltAz(alt=70 * u.deg, az=180 * u.deg))
    pointing = Pointing.from_observation(
        Observation(pointing=pointing, location=runs.LOCATION)
    )
    keywords = header_keywords.pointing_keywords(pointing, origin=tt_days(runs.START))
    assert keywords == {"OBS_MODE": "DRIFT", "ALT_PNT": 70.0, "AZ_PNT": 180.0}


def keywords_of(
    run, *, header=None, reference=None, event_time=None, deadtime=None, **parts
):
    """Keywords of an observation in which some parts are replaced."""
    run = read_run(run.copy(in_memory=True, **parts), with_events=False)
    if deadtime is not None:
        run = replace(run, deadtime_fraction=deadtime)
    if reference is not None:
        gti_s = run.gti_s + gadf.seconds_since(run.reference, reference)
        run = replace(run, reference=reference, gti_s=gti_s)
    if event_time is not None:
        run = replace(run, seconds=gadf.seconds_since(event_time, run.reference))
    return header_keywords.events_keywords(run, header=header)


@pytest.mark.parametrize("kind", ["full", "hess", "drift", "multi_gti", "utc"])
def test_keywords_of_an_unchanged_run_are_those_of_its_header(kind):
    run = runs.make_run(kind, n_events=3)
    header = run.events.table.meta
    before = copy.deepcopy(dict(header))
    # GADF 0.3 has no mode WOBBLE, gammapy takes it as POINTING
    mode = before["OBS_MODE"].replace("WOBBLE", "POINTING")
    keywords = keywords_of(run)
    added = {key for key in keywords if key not in header}
    assert added == {"DATE-OBS", "DATE-END"}
    assert {key: keywords[key] for key in keywords if key in header} == {
        key: before[key] for key in keywords if key in before
    } | {"OBS_MODE": mode}
    assert dict(header) == before


def test_keywords_without_a_header():
    run = runs.make_run("full", n_events=3)
    header = run.events.table.meta
    keywords = keywords_of(run, header={})
    for key, value in keywords.items():
        if isinstance(value, float) and key in header:
            assert_allclose(value, header[key], rtol=1e-9, err_msg=key)
    assert keywords["TIMEREF"] == "LOCAL"
    assert keywords["RADECSYS"] == "ICRS"
    assert type(keywords["EQUINOX"]) is float
    # The first and the last second, in the scale of TIMESYS
    assert keywords["DATE-OBS"] == "2020-12-04T22:08:10.184"
    assert keywords["DATE-END"] == "2020-12-04T22:36:10.184"


def test_moved_pointing_is_computed_anew():
    run = runs.make_run("hess", n_events=3)
    header = run.events.table.meta
    new = SkyCoord(84.0, 22.0, unit="deg")
    keywords = keywords_of(run, pointing=FixedPointingInfo(fixed_icrs=new))
    assert (keywords["RA_PNT"], keywords["DEC_PNT"]) == (84.0, 22.0)
    for key in ("GLON_PNT", "GLAT_PNT", "ALT_PNT", "AZ_PNT"):
        assert 0.1 < abs(keywords[key] - header[key]) < 2, key
    assert keywords["OBS_MODE"] == "POINTING"  # GADF has no other mode of such runs


def test_drift_replaces_pointing():
    run = runs.make_run("full", n_events=3)
    pointing = FixedPointingInfo(fixed_altaz=AltAz(alt=70 * u.deg, az=180 * u.deg))
    keywords = keywords_of(run, pointing=pointing)
    assert keywords["OBS_MODE"] == "DRIFT"
    assert "RA_PNT" not in keywords
    assert keywords["ALT_PNT"] == 70


def test_new_gti_changes_all_that_follows_from_it():
    run = runs.make_run("full", n_events=3)
    header = run.events.table.meta
    start = run.gti.time_start[0] + [100, 500] * u.s
    gti = GTI.create(start, start + [200, 300] * u.s, run.gti.time_ref)
    keywords = keywords_of(run, gti=gti)
    assert_allclose(keywords["ONTIME"], 500, rtol=1e-12)
    assert_allclose(keywords["LIVETIME"], 500 * runs.DEADC, rtol=1e-12)
    assert keywords["DEADC"] == runs.DEADC
    assert_allclose(keywords["TSTART"], header["TSTART"] + 100, rtol=0, atol=1e-6)
    assert_allclose(keywords["TSTOP"], header["TSTART"] + 800, rtol=0, atol=1e-6)
    assert keywords["DATE-OBS"] == "2020-12-04T22:09:50.184"
    # the field has moved on by 390 s, or about a degree in altitude
    assert 0.05 < abs(keywords["ALT_PNT"] - header["ALT_PNT"]) < 2


def test_start_and_stop_of_the_header_may_enclose_the_gtis():
    run = runs.make_run("multi_gti", n_events=3)
    header = dict(run.events.table.meta)
    header["TSTART"] -= 5
    header["TSTOP"] += 7
    keywords = keywords_of(run, header=header)
    assert keywords["TSTART"] == header["TSTART"]
    assert keywords["TSTOP"] == header["TSTOP"]
    header["TSTART"] += 105
    keywords = keywords_of(run, header=header)
    assert keywords["TSTART"] == run.events.table.meta["TSTART"]


def test_deadtime_and_location_override_the_header():
    run = runs.make_run("full", n_events=3)
    location = EarthLocation.from_geodetic(-17.9, 28.7, 2200)
    keywords = keywords_of(run, deadtime=0.25, location=location)
    assert keywords["DEADC"] == 0.75
    assert_allclose(keywords["LIVETIME"], 0.75 * 1680, rtol=1e-12)
    assert_allclose(keywords["GEOLON"], -17.9, rtol=1e-12)
    assert abs(keywords["ALT_PNT"] - run.events.table.meta["ALT_PNT"]) > 0.1


def test_another_reference_ignores_the_seconds_of_the_header():
    run = runs.make_run("full", n_events=3)
    reference = Time("2001-01-01", scale="utc")
    keywords = keywords_of(run, reference=reference)
    start = reference + keywords["TSTART"] * u.s
    # 1e-7 s: one double of 6e8 s
    assert abs((start - run.gti.time_start[0]).to_value("s")) < 1e-7
    assert keywords["TIMESYS"] == "UTC"
    assert keywords["MJDREFI"] == 51910


def test_dates_are_split_as_in_the_header():
    run = runs.make_run("full", n_events=3)
    header = dict(run.events.table.meta)
    header |= {"DATE-OBS": "2020-12-04", "TIME-OBS": "22:08:10"}
    keywords = keywords_of(run, header=header)
    assert (keywords["DATE-OBS"], keywords["TIME-OBS"]) == ("2020-12-04", "22:08:10")
    header["TSTART"] += 60
    keywords = keywords_of(run, header=header)
    assert keywords["TIME-OBS"] == "22:08:10.184"


def test_gti_keywords():
    run = runs.make_run("multi_gti", n_events=3)
    header = run.events.table.meta
    reference = gadf.header_reference(header)
    gti_s = read_run(run).gti_s
    keywords = header_keywords.gti_keywords(gti_s, reference=reference, header=header)
    assert keywords["HDUCLAS1"] == "GTI"
    assert keywords["HDUVERS"] == gadf.HDUVERS
    assert keywords["TSTART"] == header["TSTART"]
    assert keywords["TSTOP"] == header["TSTOP"]
    assert keywords["MJDREFF"] == header["MJDREFF"]


def test_run_lasts_as_long_as_its_events():
    run = runs.make_run("hess", n_events=5)
    late = run.gti.time_stop[-1] + 0.5 * u.s
    early = run.gti.time_start[0] - 0.25 * u.s
    keywords = keywords_of(run, event_time=Time([early, late]))
    reference = gadf.header_reference(keywords)
    assert keywords["TSTART"] == gadf.seconds_since(early, reference)
    assert keywords["TSTOP"] == gadf.seconds_since(late, reference)
    # these do not depend on it
    header = run.events.table.meta
    for key in ("ONTIME", "LIVETIME", "DEADC", "ALT_PNT", "AZ_PNT"):
        assert keywords[key] == header[key]
