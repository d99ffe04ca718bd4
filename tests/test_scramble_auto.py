"""What `AnnulusScrambler` decides by itself, and what it leaves of injected sources."""

import logging

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import AltAz, SkyCoord
from gammapy.data import Observation
from gammapy.irf import PSF3D
from gammapy.maps import MapAxis
from helpers import runs
from helpers.injection import Injector
from numpy.testing import assert_allclose, assert_array_equal
from regions import CircleSkyRegion, PointSkyRegion
from test_scramble import (
    add_source,
    draw_sky,
    events_table,
    gradient_model,
    make_observation,
    places_of,
    source_at,
)

from gammapy_mimic import AnnulusScrambler, scramble_residuals
from gammapy_mimic.sky.geometry import Circles, from_offset_azimuth

# --- what is left of a source ------------------------------------------------------


def left_in_hess(hess_store, method):
    """Counts above 1.5 TeV: untouched and left; 300 events in 8 off runs, 4 places."""
    rng, untouched, left = np.random.default_rng(0), 0, 0
    for obs_id in (20561, 21807, 22997, 23573, 25443, 26850, 27044, 28341):
        injector = Injector(hess_store.obs(obs_id))
        pointing = injector.observation.pointing.fixed_icrs.icrs
        pointing = pointing.ra.deg, pointing.dec.deg
        for azimuth in rng.uniform(0, 360, 4):
            run = injector.inject(300, 0.5, azimuth, rng)
            source = SkyCoord(*from_offset_azimuth(0.5, azimuth, *pointing), unit="deg")
            new = AnnulusScrambler(source, method=method, random_state=1).run(run)
            circle = Circles([0.5], [azimuth], [0.3])
            counts = [
                (circle.contains(*places_of(each, pointing))[0])
                & (events_table(each)["ENERGY"] > 1.5)
                for each in (injector.observation, new)
            ]
            untouched, left = untouched + counts[0].sum(), left + counts[1].sum()
    return untouched, left


def test_auto_hides_a_source_in_real_runs(hess_store):
    """About 260 counts, within 3 sigma of both counts (false alarm 0.3 %)."""
    untouched, left = left_in_hess(hess_store, "auto")
    assert untouched > 200
    assert abs(left - untouched) < 3 * np.sqrt(2.2 * untouched)


def test_shuffle_does_not_hide_it(hess_store):
    """Negative control: three quarters too many above 1.5 TeV."""
    untouched, left = left_in_hess(hess_store, "shuffle")
    assert left - untouched > 3 * np.sqrt(2.2 * untouched)


def pulls(n_source, offset, n_skies=60, **options):
    """Pull of what the ring predicts against the untouched sky, and what is left."""
    rng, found = np.random.default_rng(4), []
    scrambler = AnnulusScrambler(source_at(offset, 40.0), **options)
    for seed in range(n_skies):
        sky = draw_sky(4000, rng)
        run = make_observation(*add_source(sky, n_source, offset, 40.0, rng))
        scrambler.run(run, random_state=seed)
        circle = Circles([offset], [40.0], [0.3])
        untouched = circle.contains(*sky[:2])[0].sum()
        row = scrambler.residuals[-1]
        found.append((untouched, *(row[name] for name in ("EXPECTED", "ERROR"))))
    untouched, expected, error = np.transpose(found)
    return (expected - untouched) / error, scrambler.residuals


@pytest.mark.parametrize("n_source", [0, 100])
@pytest.mark.parametrize("offset", [0.2, 0.7])
def test_stated_error_covers_the_truth(n_source, offset):
    """60 pulls: mean within 4 sigma of 0, width within 4 sigma (0.09) of 1."""
    pull, _ = pulls(n_source, offset)
    assert abs(pull.mean()) < 4 / np.sqrt(60)
    assert 0.64 < pull.std(ddof=1) < 1.36


def test_effective_number_of_a_refill():
    """At 0.2 deg what is left scatters far more than Poisson, as N_EFF says.

    150 skies: the variance is known to 12 %, tested to 4 sigma; that of independent
    events is less than half of it and fails.
    """
    _, table = pulls(100, 0.2, 150, method="refill")
    variance = table["AFTER"].var(ddof=1)
    stated = np.mean(table["EXPECTED"] ** 2 / table["N_EFF"])
    assert abs(variance / stated - 1) < 0.48
    assert variance > 1.5 * table["AFTER"].mean()
    _, table = pulls(0, 0.7, 5, method="shuffle")
    assert_allclose(table["N_EFF"], table["EXPECTED"])


# --- what is chosen ----------------------------------------------------------------


def test_auto_refills_what_stands_out(caplog):
    """Two bright sources of three; the weak one is shuffled, on the refilled sky."""
    caplog.set_level(logging.INFO)
    rng = np.random.default_rng(3)
    sky = add_source(draw_sky(20_000, rng), 400, 0.6, 40.0, rng)
    sky = add_source(sky, 400, 1.0, 200.0, rng)
    run = make_observation(*sky, obs_id=9)
    sources = [source_at(*place) for place in ((0.6, 40), (0.7, 120), (1.0, 200))]
    scrambler = AnnulusScrambler(sources, random_state=1)
    new = scrambler.run(run)
    table = scrambler.residuals
    assert list(table["METHOD"]) == ["refill", "shuffle", "refill"]
    assert "Run 9, source" in caplog.text
    assert caplog.text.count(": refilled") == 2
    assert caplog.text.count(": shuffled") == 1
    # 5 sigma (false alarm 1e-6)
    assert np.all(np.abs(table["DIFFERENCE"]) < 5 * table["ERROR"])
    header = events_table(new).meta
    n_events = len(sky[0]) - header["SCR_NDEL"] + header["SCR_NNEW"]
    assert len(events_table(new)) == n_events
    elapsed = events_table(new)["TIME"].mjd
    assert np.all(np.diff(elapsed) >= 0)
    again = AnnulusScrambler(sources, random_state=1).run(run)
    assert_array_equal(events_table(again)["RA"], events_table(new)["RA"])


def test_auto_refills_what_stands_out_in_one_band():
    """30 events at 10 TeV are nothing in all energies, and stand out there."""
    rng = np.random.default_rng(5)
    sky = draw_sky(4000, rng)
    source = add_source(tuple(np.zeros((3, 0))), 30, 0.6, 40.0, rng)
    hard = source[0], source[1], np.full(30, 10.0)
    run = make_observation(*map(np.append, sky, hard))
    scrambler = AnnulusScrambler(source_at(0.6, 40.0), random_state=1)
    scrambler.run(run)
    (row,) = scrambler.residuals
    assert row["BEFORE"] - row["EXPECTED"] < 2 * row["ERROR"]
    assert row["METHOD"] == "refill"
    last = scrambler.residuals_by_energy[-1]
    assert last["BEFORE"] - last["EXPECTED"] > 2 * last["ERROR"]


@pytest.mark.parametrize(("zenith", "expected"), [(35, "events"), (45, "background")])
def test_auto_takes_the_model_at_large_zenith_angles(zenith, expected):
    rng = np.random.default_rng(5)
    empty = make_observation(*np.zeros((3, 0)))
    middle = empty.gti.time_start[0] + empty.gti.time_delta[0] / 2
    frame = AltAz(obstime=middle, location=empty.observatory_earth_location)
    icrs = SkyCoord(90 * u.deg, (90 - zenith) * u.deg, frame=frame).icrs
    pointing = icrs.ra.deg, icrs.dec.deg
    model = gradient_model("ALTAZ")
    run = make_observation(*draw_sky(2000, rng), pointing=pointing, bkg=model)
    found = 90 - run.get_pointing_altaz(middle).alt.deg
    assert (found > 40) == (zenith > 40)
    scrambler = AnnulusScrambler(source_at(0.7, 10, pointing))
    scrambler.run(run, random_state=1)
    assert scrambler.residuals["ACCEPTANCE"][0] == expected
    # without a model from its events
    run = make_observation(*draw_sky(2000, rng), pointing=pointing)
    scrambler.run(run, random_state=1)
    assert scrambler.residuals["ACCEPTANCE"][1] == "events"


# --- theta --------------------------------------------------------------------------


def psf(sigma_deg):
    """Gaussian point-spread function, wider at low energies."""
    energy = MapAxis.from_energy_bounds("0.1 TeV", "100 TeV", 6, name="energy_true")
    offset = MapAxis.from_edges([0, 1, 3], unit="deg", name="offset")
    rad = MapAxis.from_edges(np.linspace(0, 1, 201), unit="deg", name="rad")
    width = sigma_deg * energy.center.value[:, np.newaxis, np.newaxis] ** -0.2
    data = np.exp(-0.5 * (rad.center.value / width) ** 2) / width**2
    data = np.broadcast_to(data, (6, 2, 200)) / (2 * np.pi) * np.degrees(1) ** 2
    return PSF3D([energy, offset, rad], data=data.copy(), unit="sr-1")


def test_theta_of_the_point_spread_function(caplog):
    """Gaussian: r95 = 2.448 sigma; a tenth of the events is below 0.21 TeV."""
    run = make_observation(*draw_sky(5000, np.random.default_rng(1)), psf=psf(0.1))
    energy = np.quantile(events_table(run)["ENERGY"], 0.1)
    r95 = 2.448 * 0.1 * energy**-0.2
    disk = CircleSkyRegion(source_at(0.9, 200), 0.6 * u.deg)
    point = PointSkyRegion(source_at(0.9, 100))
    scrambler = AnnulusScrambler([source_at(0.6, 10), point, disk], theta="psf")
    scrambler.run(run, random_state=1)
    theta = scrambler.residuals["THETA"].data
    assert_allclose(theta[:2], r95, rtol=0.03)
    assert theta[2] == 0.6
    assert "is smaller than" not in caplog.text
    catalog = AnnulusScrambler.from_catalog(
        ["bright"], extra=source_at(0.6, 120), theta="psf"
    )
    by_name = {region.meta["name"]: region for region in catalog.sources(run)}
    assert_allclose(by_name["Crab nebula"].radius.to_value("deg"), r95, rtol=0.03)

    AnnulusScrambler(source_at(0.6, 10), theta=0.2 * u.deg).run(run, random_state=1)
    assert "theta = 0.20 deg is smaller than the radius of 0.3" in caplog.text
    without = make_observation(*draw_sky(500, np.random.default_rng(1)), obs_id=8)
    with pytest.raises(ValueError, match="Run 8 has no point-spread function"):
        AnnulusScrambler(source_at(0.6, 10), theta="psf").run(without)
    with pytest.raises(ValueError, match="theta"):
        AnnulusScrambler(source_at(0.6, 10), theta="pfs")


@pytest.mark.parametrize("width", [0.05, 0.25])
def test_excess_outside_of_the_circle_is_warned_of(caplog, width):
    rng = np.random.default_rng(2)
    sky = add_source(draw_sky(20_000, rng), 800, 0.8, 40.0, rng, width=width)
    scrambler = AnnulusScrambler(source_at(0.8, 40.0), random_state=1)
    scrambler.run(make_observation(*sky))
    is_warned = "just outside of its circle, 0.30 to 0.45 deg" in caplog.text
    assert is_warned == (width > 0.1)


# --- names, sizes, cards -------------------------------------------------------------


def test_names_that_a_card_cannot_hold(tmp_path):
    run = runs.make_run("columns", n_events=500)
    pointing = runs.POINTING.ra.deg, runs.POINTING.dec.deg
    names = ["\u03b3 Cygni 'A' \u2212 \u00e9t\u00e9\n", "x" * 100]
    sources = [
        CircleSkyRegion(source_at(0.8, at, pointing), 0.3 * u.deg, meta={"name": name})
        for at, name in zip((50, 200), names, strict=True)
    ]
    scrambler = AnnulusScrambler(sources, random_state=1)
    scrambler.run(run).write(tmp_path / "run.fits")
    back = [Observation.read(tmp_path / "run.fits")]
    table = scramble_residuals(back)
    assert list(table["SOURCE"]) == ["? Cygni 'A' - ete", "x" * 60]
    assert_array_equal(table.as_array(), scrambler.residuals.as_array())
    table = scramble_residuals(back, by_energy=True)
    assert_array_equal(table.as_array(), scrambler.residuals_by_energy.as_array())
    for name in ("BEFORE", "EXPECTED", "AFTER"):
        total = np.reshape(table[name], (2, 3)).sum(axis=1)
        assert_allclose(total, scrambler.residuals[name])


def test_extended_source_is_refilled_from_the_model():
    """A disk that covers the pointing has no ring of its own."""
    rng = np.random.default_rng(6)
    run = make_observation(*draw_sky(5000, rng))
    source = CircleSkyRegion(source_at(0.1, 10), 0.8 * u.deg)
    with pytest.raises(ValueError, match="no off-source ring left"):
        AnnulusScrambler(source).run(run)
    run = run.copy(in_memory=True, bkg=gradient_model("RADEC"))
    scrambler = AnnulusScrambler(source, random_state=1)
    scrambler.run(run)
    (row,) = scrambler.residuals
    assert (row["METHOD"], row["ACCEPTANCE"]) == ("refill", "background")


def test_checksums_of_catalogs_and_region_files(tmp_path):
    path = tmp_path / "sources.reg"
    path.write_text("# Region file format: DS9\nicrs\ncircle(200.6,-40.6,0.3)\n")
    scrambler = AnnulusScrambler.from_catalog(["bright"], extra=path, random_state=1)
    assert list(scrambler.checksums) == [str(path), "bright"]
    sky = draw_sky(2000, np.random.default_rng(1))
    run = make_observation(*sky, pointing=(200.6, -40.0))
    header = events_table(scrambler.run(run)).meta
    assert header["SCR_NSRC"] == 1
    assert header["SCR_CT2"] == "bright"
    assert header["SCR_CS2"] == scrambler.checksums["bright"]
    assert header["SCR_CS1"] == scrambler.checksums[str(path)]


def test_catalog_that_is_not_there_is_an_error(monkeypatch, tmp_path):
    monkeypatch.setenv("GAMMAPY_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="catalog 'hgps'"):
        AnnulusScrambler.from_catalog(["bright", "hgps"])
