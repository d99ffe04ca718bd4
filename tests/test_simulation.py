"""The synthetic observatory: does it do what its truth says?

Statistical tests have fixed seeds. Unless a test says otherwise, it accepts p-values
above 1e-4 or pulls below 4 (false-alarm rate 6e-5) with a fresh seed. Each has a
control that a wrong truth fails.
"""

from itertools import pairwise

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.time import Time
from gammapy.datasets import MapDataset
from gammapy.irf import FoVAlignment
from gammapy.makers import MapDatasetMaker, SafeMaskMaker
from gammapy.maps import MapAxis, WcsGeom
from gammapy.stats import CashCountsStatistic
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats
from scipy.optimize import minimize_scalar
from scipy.special import gammaincc, i0e

from gammapy_mimic.simulation import (
    SyntheticBackground,
    SyntheticRun,
    SyntheticSource,
    simulate_datastore,
    simulate_observation,
)
from gammapy_mimic.sky.geometry import offset_azimuth

POINTING = SkyCoord(75 * u.deg, 22 * u.deg, frame="icrs")
LOW, LARGE = "2019-12-05T22:30:00", "2019-12-06T03:50:00"  # zenith 24 and 56 deg
RUN = 28 * u.min
HALVES = ([0.1, 0.6], [0.6, 100])  # TeV
P_MIN = 1e-4
MAX_PULL = 4


def steep(**options):
    """Background with the same gradient everywhere."""
    options = {"gradient": 0.34 / u.deg, **options}
    return SyntheticBackground(gradient_energy=None, gradient_zenith=None, **options)


def draw(background, zenith, *, seed=0, n_runs=10):
    """(energy in TeV, fov_lon and fov_lat in deg) of runs of 28 min."""
    drawn = background.draw(n_runs * RUN, zenith, random_state=seed)
    units = [("energy", "TeV"), ("fov_lon", "deg"), ("fov_lat", "deg")]
    return [drawn[name].to_value(unit) for name, unit in units]


def chi2_p(counts, expected):
    """p-value of Poisson counts against a fixed expectation."""
    assert np.all(expected > 20)
    return stats.chi2.sf(np.sum((counts - expected) ** 2 / expected), len(counts))


def fit_gradient(lon_deg, lat_deg):
    """Gradient of latitude and its error, per deg.

    Given the offset, the azimuth has the density exp(g lat) / I0(g offset) up to a
    constant, whatever the radial profile. Maximum likelihood; error from curvature.
    """
    offset, _ = offset_azimuth(lon_deg, lat_deg, 0.0, 0.0)

    def minus_log_likelihood(gradient):
        norm = np.log(i0e(gradient * offset)) + np.abs(gradient) * offset
        return np.sum(norm - gradient * lat_deg)

    best = minimize_scalar(minus_log_likelihood, bracket=(-0.1, 0.1)).x
    error = 1 / np.sqrt(np.sum(offset**2) / 2)
    return best, error


def expected_by_offset(background, zenith, energy_range, edges, *, n_runs=10):
    rates = [
        background.expected_rate(
            zenith, energy_range=energy_range * u.TeV, offset_range=[low, high] * u.deg
        )
        for low, high in pairwise(edges)
    ]
    return (u.Quantity(rates) * n_runs * RUN).to_value("")


# Background in the field of view


@pytest.mark.parametrize("zenith", [10, 50])
def test_number_of_events(zenith):
    truth = SyntheticBackground()
    n_events = len(draw(truth, zenith * u.deg, seed=1)[0])
    expected = (truth.expected_rate(zenith * u.deg) * 10 * RUN).to_value("")
    assert abs(n_events - expected) < MAX_PULL * np.sqrt(expected)
    # control: a rate that is 5 per cent lower
    assert abs(n_events - 0.95 * expected) > MAX_PULL * np.sqrt(expected)


def test_expected_rate_is_analytic_without_gradient():
    truth = SyntheticBackground(gradient=0 / u.deg, normalisation=1.5)
    rate = truth.expected_rate(40 * u.deg, energy_range=[0.5, 5] * u.TeV)
    cos = np.cos(np.radians(40))
    # integral of the inverse-gamma distribution with shape 1.7
    x = 0.6 * cos**-2.5 / np.array([0.5, 5])
    expected = 1.5 * 5 * cos**1.5 * np.subtract(*gammaincc(1.7, x)[::-1])
    # the area of the sphere is smaller than that of the plane by theta^2 / 6 < 5e-4
    assert_allclose(rate.to_value("s-1"), expected, rtol=5e-4)
    assert rate.to_value("s-1") < expected


def test_expected_rate_adds_up():
    truth, zenith = SyntheticBackground(), 50 * u.deg
    parts = [
        truth.expected_rate(
            zenith, energy_range=half * u.TeV, offset_range=ring * u.deg
        )
        for half in HALVES
        for ring in ([0, 1.2], [1.2, 3])
    ]
    assert_allclose(sum(parts).value, truth.expected_rate(zenith).value, rtol=1e-6)


@pytest.mark.parametrize("zenith", [20, 50])
@pytest.mark.parametrize("half", HALVES)
def test_radial_profile_in_each_energy_half(zenith, half):
    truth, zenith = SyntheticBackground(), zenith * u.deg
    energy, lon, lat = draw(truth, zenith, seed=2)
    offset, _ = offset_azimuth(lon, lat, 0.0, 0.0)
    edges = np.linspace(0, 3, 13)
    chosen = (energy > half[0]) & (energy <= half[1])
    counts = np.histogram(offset[chosen], edges)[0]
    expected = expected_by_offset(truth, zenith, half, edges)
    assert chi2_p(counts, expected) > P_MIN
    # control: a field that has the same width at all energies
    flat = SyntheticBackground(width_slope=0)
    assert chi2_p(counts, expected_by_offset(flat, zenith, half, edges)) < 1e-10


def test_energy_and_radius_are_correlated():
    energy, lon, lat = draw(SyntheticBackground(), 20 * u.deg, seed=3)
    offset, _ = offset_azimuth(lon, lat, 0.0, 0.0)
    assert stats.spearmanr(energy, offset).pvalue < 1e-10
    # control: no correlation if the width does not change
    flat = SyntheticBackground(width_slope=0)
    energy, lon, lat = draw(flat, 20 * u.deg, seed=3)
    offset, _ = offset_azimuth(lon, lat, 0.0, 0.0)
    assert stats.spearmanr(energy, offset).pvalue > P_MIN


@pytest.mark.parametrize("zenith", [20, 50])
def test_spectrum(zenith):
    truth = SyntheticBackground()
    edges = np.geomspace(0.25, 10, 15)
    counts = np.histogram(draw(truth, zenith * u.deg, seed=4)[0], edges)[0]

    def expected(at):
        ranges = pairwise(edges)
        rates = [truth.expected_rate(at, energy_range=[*r] * u.TeV) for r in ranges]
        return (u.Quantity(rates) * 10 * RUN).to_value("")

    assert chi2_p(counts, expected(zenith * u.deg)) > P_MIN
    # control: the truth 4 deg closer to the horizon
    assert chi2_p(counts, expected((zenith + 4) * u.deg)) < 1e-10


def test_gradient_at_large_zenith_angle_and_low_energy():
    energy, lon, lat = draw(SyntheticBackground(), 52 * u.deg, seed=5)
    low, high = energy < 0.6, energy > 3
    gradient, error = fit_gradient(lon[low], lat[low])
    # 0.34 per deg; at most 11 per cent less below 0.6 TeV
    assert error < 0.02
    assert 0.34 * 0.89 - MAX_PULL * error < gradient < 0.34 + MAX_PULL * error
    gradient, error = fit_gradient(lon[high], lat[high])
    assert abs(gradient) < 0.34 / (1 + 3**4) + MAX_PULL * error
    # nothing across
    gradient, error = fit_gradient(lat[low], lon[low])
    assert abs(gradient) < MAX_PULL * error


def test_no_gradient_at_small_zenith_angle():
    _, lon, lat = draw(SyntheticBackground(), 20 * u.deg, seed=6)
    gradient, error = fit_gradient(lon, lat)
    assert abs(gradient) < MAX_PULL * error
    # control: a gradient of 3 per cent per deg would be seen
    _, lon, lat = draw(steep(gradient=0.03 / u.deg), 20 * u.deg, seed=6)
    gradient, error = fit_gradient(lon, lat)
    assert abs(gradient) > MAX_PULL * error
    assert abs(gradient - 0.03) < MAX_PULL * error


def test_rate_follows_its_formula():
    truth, zenith = SyntheticBackground(normalisation=2), 60 * u.deg
    energy = [0.3, 1, 3] * u.TeV
    up, down, centre = (
        truth.rate_at(energy, 0 * u.deg, lat * u.deg, zenith) for lat in (1, -1, 0)
    )
    gradient = truth.gradient_at(energy, zenith)
    assert_allclose(np.log(up / down).value, 2 * gradient.to_value("deg-1"))
    assert_allclose(gradient.value, 0.34 / (1 + energy.value**4))
    profile = truth.radial_profile(energy, 1 * u.deg)
    assert_allclose((np.sqrt(up * down) / centre).value, profile)
    assert_allclose(profile, np.exp(-0.5 / (1.2 * energy.value**0.2) ** 2))
    assert truth.rate_at(energy, 3.01 * u.deg, 0 * u.deg, zenith).max() == 0
    assert truth.radial_profile(1 * u.TeV, 3.01 * u.deg) == 0


def test_draws_stay_in_the_field():
    energy, lon, lat = draw(SyntheticBackground(), 50 * u.deg)
    offset, _ = offset_azimuth(lon, lat, 0.0, 0.0)
    assert offset.max() <= 3
    assert energy.min() >= 0.1
    assert energy.max() <= 100
    assert np.abs(lon).max() <= 3.001


def test_draw_depends_on_the_seed_alone():
    first, same, other = (
        draw(SyntheticBackground(), 20 * u.deg, seed=seed, n_runs=1)
        for seed in (1, 1, 2)
    )
    assert_array_equal(first[0], same[0])
    assert len(first[0]) != len(other[0]) or not np.array_equal(first[0], other[0])


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"normalisation": -1}, "normalisation = -1: must be >= 0"),
        ({"width": 0 * u.deg}, r"width = 0.0 deg: must be positive"),
        ({"gradient_zenith": [50, 35] * u.deg}, "gradient_zenith = .*increasing"),
    ],
)
def test_wrong_background(option, message):
    with pytest.raises(ValueError, match=message):
        SyntheticBackground(**option)


# One run


@pytest.fixture(scope="module")
def source():
    return SyntheticSource(
        name="A source",
        position=POINTING.directional_offset_by(40 * u.deg, 0.7 * u.deg),
        amplitude=1e-10 * u.Unit("TeV-1 s-1 cm-2"),
    )


def reduced(observation, **options):
    """Dataset of a run with fine energy bins, within 2.5 deg."""
    axis = MapAxis.from_energy_bounds("0.3 TeV", "30 TeV", nbin=40)
    true_axis = MapAxis.from_energy_bounds(
        "0.1 TeV", "90 TeV", nbin=30, name="energy_true"
    )
    geom = WcsGeom.create(skydir=POINTING, width=5, binsz=0.1, axes=[axis], proj="TAN")
    empty = MapDataset.create(geom, energy_axis_true=true_axis, **options)
    selection = None if options else ["counts", "background"]
    dataset = MapDatasetMaker(selection=selection).run(empty, observation)
    safe = SafeMaskMaker(["offset-max"], offset_max="2.5 deg")
    return safe.run(dataset, observation)


def masked_sum(quantity, dataset):
    return np.where(dataset.mask_safe.data, quantity.data, 0).sum()


def test_events_of_a_run(source):
    run = SyntheticRun(pointing=POINTING, start=Time(LARGE), sources=(source,))
    observation = run.simulate()
    table, gti = observation.events.table, observation.gti
    assert set(table["MC_ID"]) == {0, 1}
    assert_array_equal(table["EVENT_ID"], np.arange(1, len(table) + 1))
    assert np.all(table["TIME"] >= gti.time_start[0])
    assert np.all(table["TIME"] <= gti.time_stop[0])
    assert np.all(np.diff(table["TIME"].mjd) >= 0)
    assert_allclose(gti.time_sum.to_value("s"), 1680)
    assert_allclose(observation.observation_live_time_duration.to_value("s"), 1562.4)
    assert_allclose(run.livetime.to_value("s"), 1562.4)
    assert table["RA"].dtype == table["ENERGY"].dtype == np.float64
    header = table.meta
    assert header["TELESCOP"] == "SYNTH"
    assert header["CREATOR"] == "gammapy_mimic simulation"
    assert_allclose(header["ONTIME"] * header["DEADC"], header["LIVETIME"])
    assert_allclose(90 - header["ALT_PNT"], 56, atol=3)


def test_events_lie_in_the_field_aligned_with_altitude():
    observation = simulate_observation(POINTING, LARGE, random_state=1)
    events = observation.events.select_row_subset(slice(0, None, 50))
    # gammapy's frames without interpolation of the astrometry
    frame = observation.get_fov_frame(events.time, FoVAlignment.ALTAZ)
    place = events.radec.transform_to(frame)
    assert_allclose(place.fov_lon.wrap_at("180d").deg, events.table["DETX"], atol=1e-7)
    assert_allclose(place.fov_lat.deg, events.table["DETY"], atol=1e-7)


def test_gradient_follows_the_altitude_during_the_run():
    truth = steep(rate=30 / u.s)
    observation = simulate_observation(
        POINTING, LARGE, background=truth, random_state=2
    )
    table = observation.events.table
    gradient, error = fit_gradient(np.array(table["DETX"]), np.array(table["DETY"]))
    assert abs(gradient - 0.34) < MAX_PULL * error
    # control: along declination it is another one
    frame = observation.get_fov_frame(observation.tmid, FoVAlignment.RADEC)
    place = observation.events.radec.transform_to(frame)
    lon, lat = place.fov_lon.wrap_at("180d").deg, place.fov_lat.deg
    gradient, error = fit_gradient(lon, lat)
    assert abs(gradient - 0.34) > MAX_PULL * error


@pytest.mark.parametrize("start", [LOW, LARGE])
@pytest.mark.parametrize("kind", ["bkg_3d_altaz", "bkg_3d_radec", "bkg_2d"])
def test_background_model_is_the_truth(kind, start):
    run = SyntheticRun(
        pointing=POINTING,
        start=Time(start),
        background=SyntheticBackground(rate=20 / u.s),
        background_irf=kind,
        seed=np.random.SeedSequence(3),
    )
    dataset = reduced(run.simulate())
    predicted = masked_sum(dataset.npred_background(), dataset)
    truth = run.expected_background(
        energy_range=[0.3, 30] * u.TeV, offset_range=[0, 2.5] * u.deg
    )
    # interpolation between nodes, and pixels at the edge: 1 per cent
    assert_allclose(predicted, truth, rtol=0.01)
    counts = masked_sum(dataset.counts, dataset)
    assert abs(counts - truth) < MAX_PULL * np.sqrt(truth)


def pixel_p(dataset):
    """p-value of coarse pixels, all energies, for the model scaled to the counts."""
    counts, model = (
        np.where(dataset.mask_safe.data, part.data, 0)
        .sum(axis=0)
        .reshape(10, 5, 10, 5)
        .sum(axis=(1, 3))
        for part in (dataset.counts, dataset.npred_background())
    )
    used = model > 20
    counts, model = counts[used], model[used]
    model *= counts.sum() / model.sum()
    return stats.chi2.sf(np.sum((counts - model) ** 2 / model), len(counts) - 1)


def test_background_model_points_where_its_events_are():
    observations = {
        kind: simulate_observation(
            POINTING,
            LARGE,
            background=steep(rate=20 / u.s),
            background_irf=kind,
            random_state=4,
        )
        for kind in ("bkg_3d_altaz", "bkg_3d_radec", "bkg_2d")
    }
    assert pixel_p(reduced(observations["bkg_3d_altaz"])) > P_MIN
    assert pixel_p(reduced(observations["bkg_3d_radec"])) > P_MIN
    # controls: without the gradient, and mirrored
    assert pixel_p(reduced(observations["bkg_2d"])) < 1e-10
    mirrored = observations["bkg_3d_radec"]
    mirrored.bkg.data[:] = mirrored.bkg.data[:, ::-1, :].copy()
    assert pixel_p(reduced(mirrored)) < 1e-10


def test_background_bias_changes_the_model_only():
    def bias(energy):
        return np.where(energy < 1 * u.TeV, 0.05, -0.1)

    true, wrong = (
        simulate_observation(POINTING, LOW, background_bias=value, random_state=5)
        for value in (0, bias)
    )
    assert_array_equal(true.events.table["RA"], wrong.events.table["RA"])
    ratio = true.bkg.data[:, 20, 20] / wrong.bkg.data[:, 20, 20]
    below = true.bkg.axes["energy"].center < 1 * u.TeV
    assert_allclose(ratio, np.where(below, 1.05, 0.9), rtol=1e-6)


def test_no_background_model():
    run = simulate_observation(POINTING, LOW, background_irf=None, random_state=6)
    assert run.bkg is None
    assert len(run.events.table) > 1000


@pytest.mark.parametrize("start", [LOW, LARGE])
def test_source_is_as_bright_as_gammapy_predicts(start, source):
    run = SyntheticRun(
        pointing=POINTING,
        start=Time(start),
        sources=(source,),
        seed=np.random.SeedSequence(7),
    )
    observation = run.simulate()
    dataset = reduced(
        observation,
        rad_axis=MapAxis.from_bounds(0, 0.45, nbin=45, unit="deg", name="rad"),
    )
    dataset.models = [source.model()]
    predicted = masked_sum(dataset.npred_signal(), dataset)
    table = observation.events.table
    signal = table[table["MC_ID"] == 1]
    used = (signal["ENERGY"] > 0.3) & (signal["ENERGY"] < 30)
    assert abs(used.sum() - predicted) < MAX_PULL * np.sqrt(predicted)
    assert predicted > 200
    # control: 1.5 times the flux
    assert abs(used.sum() - 1.5 * predicted) > MAX_PULL * np.sqrt(1.5 * predicted)
    # all energies together, of which nearly all lie within 0.3 to 30 TeV here
    assert abs(len(signal) - run.expected_source(source)) < MAX_PULL * np.sqrt(
        predicted
    )


def test_source_is_a_point_at_its_place(source):
    observation = simulate_observation(POINTING, LOW, sources=[source], random_state=8)
    events = observation.events
    signal = events.radec[events.table["MC_ID"] == 1]
    radius = signal.separation(source.position).deg
    # Rayleigh distribution of a Gaussian of 0.06 deg
    assert stats.kstest(radius, stats.rayleigh(scale=0.06).cdf).pvalue > P_MIN
    shifted = source.position.directional_offset_by(0 * u.deg, 0.06 * u.deg)
    radius = signal.separation(shifted).deg
    assert stats.kstest(radius, stats.rayleigh(scale=0.06).cdf).pvalue < 1e-6


def test_sources_do_not_change_the_background(source):
    empty = simulate_observation(POINTING, LOW, random_state=9)
    full = simulate_observation(POINTING, LOW, sources=[source], random_state=9)
    background = full.events.table["MC_ID"] == 0
    assert_array_equal(empty.events.table["RA"], full.events.table["RA"][background])


def test_same_seed_same_run():
    first, same, other = (
        simulate_observation(POINTING, LOW, random_state=seed).events.table
        for seed in (1, np.random.SeedSequence(1), 2)
    )
    for name in ("RA", "DEC", "ENERGY", "DETX"):
        assert_array_equal(first[name], same[name])
    assert_array_equal(first["TIME"].jd2, same["TIME"].jd2)
    assert len(first) != len(other) or not np.array_equal(first["RA"], other["RA"])


@pytest.mark.parametrize("declination", [89.9, -25])
def test_pointing_near_pole_and_across_ra_zero(declination):
    pointing = SkyCoord(0.5 * u.deg, declination * u.deg, frame="icrs")
    start = "2019-10-01T23:30:00"
    observation = simulate_observation(pointing, start, random_state=1)
    offset = observation.events.radec.separation(pointing).deg
    place = [np.array(observation.events.table[name]) for name in ("DETX", "DETY")]
    # differential aberration: 5e-4 deg
    assert_allclose(offset_azimuth(*place, 0.0, 0.0)[0], offset, atol=5e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"duration": 0 * u.s}, "run 7: duration = 0.0 s: must be positive"),
        ({"deadtime_fraction": 1.0}, "run 7: deadtime_fraction = 1.0"),
        ({"background_irf": "bkg_4d"}, "run 7: background_irf = 'bkg_4d': .*bkg_2d"),
        ({"start": "2019-12-05T12:00:00"}, "run 7: .* below the horizon"),
    ],
)
def test_wrong_run(options, message):
    options = {"start": LOW, "obs_id": 7, **options}
    with pytest.raises(ValueError, match=message):
        simulate_observation(POINTING, **options)


# A data store


@pytest.fixture(scope="module")
def observations(simulated):
    """Return all runs of the store, by OBS_ID."""
    runs = simulated.datastore.get_observations(required_irf="full-enclosure")
    return {run.obs_id: run for run in runs}


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    return simulate_datastore(tmp_path_factory.mktemp("sim") / "runs", random_state=0)


def test_store_opens(simulated, observations):
    assert simulated.target_ids == (1001, 1002, 1003, 1004)
    assert simulated.donor_ids == tuple(range(2001, 2009))
    assert set(observations) == set(simulated.runs)
    table = simulated.datastore.obs_table
    off_data = table["OBS_ID"][table["TARGET_NAME"] == "Off data"]
    assert tuple(off_data) == simulated.donor_ids
    assert set(table["OBJECT"][table["OBS_ID"] < 2000]) == {"Synthetic source"}
    assert "Off field 3" in table["OBJECT"]
    for name in ("MUONEFF", "NSBLEVEL", "N_TELS", "TELLIST"):
        assert name in table.colnames


def test_store_has_the_events_that_its_truth_predicts(simulated, observations):
    pulls = []
    for obs_id, run in simulated.runs.items():
        table = observations[obs_id].events.table
        n_background = np.sum(table["MC_ID"] == 0)
        assert np.sum(table["ENERGY"] > 0.3) > 2500
        expected = run.expected_background()
        pulls.append((n_background - expected) / np.sqrt(expected))
    assert stats.chi2.sf(np.sum(np.square(pulls)), len(pulls)) > P_MIN


def significance(run, observation, source):
    """Significance of a source for the background that the truth predicts."""
    distance = observation.events.radec.separation(source.position)
    offset = source.position.separation(run.pointing).deg
    ring = run.expected_background(offset_range=[offset - 0.1, offset + 0.1] * u.deg)
    share = 0.1**2 / (4 * offset * 0.1)
    counts = np.sum(distance < 0.1 * u.deg)
    return CashCountsStatistic(counts, ring * share).sqrt_ts


def test_sources_are_seen(simulated, observations):
    def seen(obs_id, source):
        return significance(simulated.runs[obs_id], observations[obs_id], source)

    for obs_id in simulated.target_ids:
        assert seen(obs_id, simulated.source) > 15
    weak = simulated.weak_source
    assert 2 < seen(simulated.weak_donor_id, weak) < 4
    # nothing elsewhere
    run = simulated.runs[simulated.weak_donor_id]
    assert run.sources == (weak,)
    assert all(
        not simulated.runs[obs_id].sources
        for obs_id in simulated.donor_ids
        if obs_id != simulated.weak_donor_id
    )


def test_donors_stand_near_their_targets(simulated):
    for index, obs_id in enumerate(simulated.donor_ids):
        donor = simulated.runs[obs_id]
        target = simulated.runs[simulated.target_ids[index % 4]]
        airmass = [1 / np.sin(run.altaz().alt[1]).value for run in (donor, target)]
        telescopes = donor.header.get("N_TELS", 4)
        fits = abs(airmass[0] - airmass[1]) < 0.15 and telescopes == 4
        assert fits == (obs_id not in simulated.misfit_ids)
        azimuth = (donor.altaz().az[1] - target.altaz().az[1]).wrap_at(180 * u.deg)
        assert abs(azimuth) < 45 * u.deg
        assert donor.pointing.separation(target.pointing) > 10 * u.deg
    assert simulated.misfit_ids == (2007, 2008)
    zenith = [90 - run.altaz().alt.deg[1] for run in simulated.runs.values()]
    assert min(zenith) < 25
    assert max(zenith[:4]) > 50


SMALL = {"n_targets": 1, "n_donors": 1, "duration": 1 * u.min}


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_same_seed_same_bytes(tmp_path):
    for name, seed in [("a", 1), ("b", 1), ("c", 2)]:
        simulate_datastore(tmp_path / name, random_state=seed, **SMALL)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    differing = contents(tmp_path / "c")
    assert all(
        contents(tmp_path / "a")[name] != differing[name]
        for name in ("1001.fits", "2001.fits")
    )


def test_more_runs_do_not_change_the_others(tmp_path):
    for name, n_donors in [("few", 2), ("more", 3)]:
        options = {**SMALL, "n_donors": n_donors}
        simulate_datastore(tmp_path / name, random_state=1, **options)
    few, more = contents(tmp_path / "few"), contents(tmp_path / "more")
    assert few["1001.fits"] == more["1001.fits"]
    assert few["2001.fits"] == more["2001.fits"]


def test_store_without_donors(tmp_path):
    options = {**SMALL, "n_donors": 0}
    simulated = simulate_datastore(tmp_path / "runs", random_state=1, **options)
    assert simulated.donor_ids == ()
    assert simulated.weak_source is None


def test_no_targets(tmp_path):
    with pytest.raises(ValueError, match=r"n_targets = 0.*at least one target"):
        simulate_datastore(tmp_path / "runs", n_targets=0)
    assert not (tmp_path / "runs").exists()
