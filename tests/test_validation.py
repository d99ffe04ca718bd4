"""Validation on skies whose truth is known."""

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.time import Time
from gammapy.datasets import MapDataset
from gammapy.maps import MapAxis, WcsGeom
from gammapy.modeling import Fit
from gammapy.stats import WStatCountsStatistic
from helpers.runs import make_run
from numpy.testing import assert_allclose, assert_array_equal
from regions import CircleSkyRegion
from scipy.stats import kstest

from gammapy_mimic import MimicMaker
from gammapy_mimic.simulation import SyntheticBackground, simulate_observation
from gammapy_mimic.validation import (
    BackgroundSystematic,
    TargetSignificance,
    background_systematic,
    field_checks,
    reduce_runs,
    significance_distribution,
    target_significance,
)
from gammapy_mimic.validation.systematic import _row

CENTER = SkyCoord(75, 22, unit="deg")
START = Time("2020-01-10T20:00:00")
EDGES = [0.5, 1, 2, 20] * u.TeV


# --- significances ----------------------------------------------------------------


def make_dataset(level, *, seed=0, slope=0.0, source=0):
    """Poisson counts about a field-of-view background; ``level`` counts a pixel.

    ``slope``: what the counts rise over the width of the map, relative to the
    background model. ``source``: further counts in the central pixel.
    """
    axis = MapAxis.from_energy_edges([1, 3, 10] * u.TeV)
    geom = WcsGeom.create(skydir=CENTER, width=4, binsz=0.1, axes=[axis])
    axis_true = MapAxis.from_energy_edges([1, 10] * u.TeV, name="energy_true")
    dataset = MapDataset.create(geom, energy_axis_true=axis_true, name="sky")
    offset = geom.separation(CENTER).to_value("deg")
    shape = np.exp(-0.5 * (offset / 1.5) ** 2)
    dataset.background.data = np.stack([level * shape, 0.2 * level * shape])
    x = np.linspace(-0.5, 0.5, shape.shape[1])
    truth = dataset.background.data * (1 + slope * x)
    dataset.counts.data = np.random.default_rng(seed).poisson(truth).astype(float)
    dataset.counts.data[:, shape.shape[0] // 2, shape.shape[1] // 2] += source
    dataset.mask_safe.data[...] = offset < 1.8
    return dataset


@pytest.mark.parametrize("method", ["ring", "fov"])
@pytest.mark.parametrize("level", [5.0, 0.1])
def test_poisson_sky_has_calibrated_width_one(method, level):
    """Within four deviations of the toys: false-alarm rate 1e-4 for each of 12.

    At 0.1 counts a pixel the raw width of the upper energy bin is far from 1: the
    Gaussian approximation fails there.
    """
    found = significance_distribution(
        make_dataset(level), method=method, n_toys=30
    ).table
    assert np.all(np.abs(found["MEAN_CAL"]) < 4 * found["MEAN_ERR"])
    assert np.all(np.abs(found["WIDTH_CAL"] - 1) < 4 * found["WIDTH_ERR"])
    if level < 1:
        assert abs(found["WIDTH"][2] - 1) > 0.1
    assert found["N_PIXELS"][0] == make_dataset(level).mask_safe.data[0].sum()


def test_wrong_model_widens_the_distribution():
    """Negative control: 40 % over 4 deg are many deviations for a known background."""
    bent = make_dataset(20.0, slope=0.4)
    found = significance_distribution(bent, method="fov", n_toys=30).table
    assert found["WIDTH_CAL"][0] > 1 + 4 * found["WIDTH_ERR"][0]
    # a ring measures the level where it is
    ring = significance_distribution(bent, method="ring", n_toys=30).table
    assert abs(ring["WIDTH_CAL"][0] - 1) < 4 * ring["WIDTH_ERR"][0]


def test_excluded_pixels_are_dropped_and_not_zeroed():
    dataset = make_dataset(5.0, source=400)
    counts = dataset.counts.data.copy()
    circle = CircleSkyRegion(CENTER, 0.4 * u.deg)
    options = {"n_toys": 0, "method": "ring"}
    found = significance_distribution(dataset, exclusion=[circle], **options)
    assert np.abs(found.values[0]).max() < 5
    assert not np.any(found.values[0] == 0)
    inside = (dataset.counts.geom.to_image().separation(CENTER) < 0.4 * u.deg).sum()
    everything = significance_distribution(dataset, **options)
    dropped = everything.table["N_PIXELS"][0] - found.table["N_PIXELS"][0]
    assert dropped == pytest.approx(inside, abs=4)
    # control: not excluded, the source is there
    assert everything.values[0].max() > 10
    assert_array_equal(dataset.counts.data, counts)


def test_wrong_arguments():
    dataset = make_dataset(1.0)
    with pytest.raises(ValueError, match="method = 'guess'"):
        significance_distribution(dataset, method="guess")
    everywhere = [CircleSkyRegion(CENTER, 5 * u.deg)]
    with pytest.raises(ValueError, match="no pixel is left"):
        significance_distribution(dataset, exclusion=everywhere, n_toys=0)
    with pytest.raises(ValueError, match="Run 1 has no background model"):
        reduce_runs([make_run("no_bkg")], CENTER)


def test_runs_instead_of_a_data_set():
    run = simulate_observation(CENTER, START, random_state=1)
    found = significance_distribution([run], position=CENTER, n_toys=0)
    expected = significance_distribution(reduce_runs([run], CENTER), n_toys=0)
    assert_array_equal(found.values[0], expected.values[0])
    with pytest.raises(ValueError, match="position = None"):
        significance_distribution([run])


def test_distribution_is_drawn():
    found = significance_distribution(make_dataset(5.0), n_toys=0)
    # image and colour bar, all energies, by energy
    image, total, by_energy = (found.peek().axes[k] for k in (0, 2, 3))
    values = image.images[-1].get_array().compressed()
    values = values[np.isfinite(values)]
    assert_allclose(np.sort(values), np.sort(found.values[0]))
    assert len(by_energy.get_legend().get_texts()) == 2
    assert total.get_yscale() == "log"
    labels = [text.get_text() for text in total.get_legend().get_texts()]
    row = found.table[0]
    assert labels == ["N(0, 1)", f"mean {row['MEAN']:.2f}, width {row['WIDTH']:.2f}"]


# --- the target -------------------------------------------------------------------


def test_source_in_the_target_is_seen_by_the_target_only():
    mimics = [make_dataset(5.0, seed=seed) for seed in range(1, 10)]
    target = make_dataset(5.0, source=100)
    found = target_significance(mimics, CENTER, target=target)
    assert found.target > 5
    assert np.abs(found.mimics).max() < 4
    assert found.p_value == pytest.approx(0.1)  # (0 + 1) / (9 + 1)
    assert found.p_value_error == pytest.approx(np.sqrt(0.1 * 0.9 / 10))


def test_target_is_drawn_as_a_line():
    found = TargetSignificance(np.array([0.1, -0.4, 1.2]), 3.0)
    labels = [it.get_text() for it in found.peek().axes[0].get_legend().get_texts()]
    assert set(labels) == {"mimic sets", "targets: 3.0"}
    blind = TargetSignificance(found.mimics).peek().axes[0]
    assert not blind.lines


def test_blind_unless_the_target_is_given():
    found = target_significance([make_dataset(5.0)], CENTER)
    assert (found.target, found.p_value, found.p_value_error) == (None, None, None)


def p_values(signal, seed):
    """200 experiments: Li & Ma significances of Poisson counts, 99 mimics each."""
    rng = np.random.default_rng(seed)
    alpha, expected = 0.1, 40
    on = rng.poisson(expected, (200, 100))
    on[:, 0] += rng.poisson(signal, 200)
    off = rng.poisson(expected / alpha, (200, 100))
    significance = WStatCountsStatistic(on, off, alpha).sqrt_ts
    found = [TargetSignificance(row[1:], row[0]).p_value for row in significance]
    return np.array(found)


def test_p_values_of_empty_experiments_are_uniform():
    """200 experiments of 99 mimics each; KS test at a false-alarm rate of 1e-3.

    p-values are multiples of 1/100: half a step is taken off. Negative control: a
    signal of one deviation, 6 counts, in each target.
    """
    assert kstest(p_values(0, 3) - 0.005, "uniform").pvalue > 1e-3
    assert kstest(p_values(6, 3) - 0.005, "uniform").pvalue < 1e-3


# --- the systematic of the background ---------------------------------------------


def runs_with_bias(biases, seed):
    """Runs near the zenith, without altitude gradient; models wrong by ``biases``."""
    background = SyntheticBackground(gradient=0 / u.deg)
    for number, bias in enumerate(biases):
        yield simulate_observation(
            CENTER.directional_offset_by(60 * number * u.deg, 0.5 * u.deg),
            START + number * u.day,
            obs_id=number + 1,
            background=background,
            background_bias=bias,
            random_state=1000 * seed + number,
        )


def test_systematic_that_was_put_in_is_found():
    """Models that are 5 % too low and too high in turn, against true ones.

    Bounds of three errors; the control is that each fails the other's test.
    """
    number = 16
    biases = np.where(np.arange(number) % 2, 0.05, -0.05)
    # the sample variance of such a list is larger by n / (n - 1)
    truth = 0.05 * np.sqrt(number / (number - 1))
    wrong = background_systematic(runs_with_bias(biases, 1), energy_edges=EDGES).table[
        0
    ]
    right = background_systematic(
        runs_with_bias(0 * biases, 2), energy_edges=EDGES
    ).table[0]
    assert wrong["SYSTEMATIC"] == pytest.approx(truth, abs=3 * wrong["SYSTEMATIC_ERR"])
    assert wrong["SYSTEMATIC"] > 3 * wrong["SYSTEMATIC_ERR"]
    assert right["SYSTEMATIC"] < 2 * right["SYSTEMATIC_ERR"]
    assert right["SYSTEMATIC"] < truth - 3 * wrong["SYSTEMATIC_ERR"]
    for row in (wrong, right):
        assert row["MEAN"] == pytest.approx(1, abs=4 * row["MEAN_ERR"])
        assert row["N_RUNS"] == number
    # Poisson fluctuations alone are much more than nothing
    assert right["RMS"] > 0.01


def test_errors_of_the_systematic():
    """300 experiments of 40 runs: pulls have mean 0 and width 1 within 20 %."""
    rng = np.random.default_rng(5)
    edges = ([1, 2] * u.TeV, [0, 2] * u.deg)
    pulls = []
    for _ in range(300):
        level = rng.normal(1, 0.06, 40)
        predicted = np.full(40, 1000.0)
        row = _row(rng.poisson(level * predicted), predicted, edges)
        pulls.append((row["SYSTEMATIC"] - 0.06) / row["SYSTEMATIC_ERR"])
    assert abs(np.mean(pulls)) < 0.2
    assert 0.8 < np.std(pulls) < 1.2


def test_poisson_part_of_bins_whose_level_is_taken_out():
    """Pure Poisson counts in two bins of 70 and 30 %: the rms is the Poisson part.

    300 runs: the variance is known to sqrt(2 / 299) = 8 %, bounds of four errors.
    Control: without the share of the bin in its level the first is wrong.
    """
    rng = np.random.default_rng(6)
    predicted = np.array([700.0, 300.0])
    counts = rng.poisson(predicted, size=(300, 2))
    norm = counts.sum(axis=1) / 1000
    edges = ([1, 2] * u.TeV, [0, 2] * u.deg)
    for number, share in enumerate((0.7, 0.3)):
        arguments = (
            counts[:, number] / norm,
            np.full(300, predicted[number]),
            edges,
            norm,
        )
        row = _row(*arguments, np.full(300, share))
        assert (row["RMS"] / row["POISSON"]) ** 2 == pytest.approx(1, abs=0.33)
    wrong = _row(*arguments)
    assert (row["POISSON"] / wrong["POISSON"]) ** 2 == pytest.approx(0.7)


@pytest.fixture(scope="module")
def systematic():
    biases = [0.1, -0.1, 0.05, -0.05]
    return background_systematic(
        runs_with_bias(biases, 3), energy_edges=EDGES, offset_edges=[0, 1, 2] * u.deg
    )


def test_bins_and_files(systematic, tmp_path):
    assert len(systematic.table) == 1 + 3 * 2
    assert systematic.correlation.shape == (6, 6)
    assert_allclose(np.diag(systematic.correlation), 1)
    systematic.write(tmp_path / "systematic.ecsv")
    read = BackgroundSystematic.read(tmp_path / "systematic.ecsv")
    assert read.table.colnames == systematic.table.colnames
    assert_allclose(read.table["SYSTEMATIC"], systematic.table["SYSTEMATIC"])
    assert_allclose(read.correlation, systematic.correlation)
    assert read.tilt == systematic.tilt
    assert read.table["ENERGY_MIN"].unit == u.TeV


def test_systematic_is_drawn(systematic):
    ax, correlation = systematic.peek().axes[:2]
    assert len(ax.patches) == len(systematic.table)
    assert ax.get_xticklabels()[0].get_text() == "all"
    assert_allclose(correlation.images[0].get_array(), systematic.correlation)


def fitted_norm(systematic, exposure):
    """Norm fitted to counts that are 30 % above the model."""
    dataset = make_dataset(exposure)
    dataset.counts.data = 1.3 * dataset.background.data
    model = systematic.to_model("sky")
    model.spectral_model.tilt.frozen = True
    dataset.models = [model]
    assert Fit().run([dataset]).success
    return model.spectral_model.norm


def test_prior_in_a_fit(systematic):
    """Few counts say little against the prior, many overrule it."""
    row = systematic.table[0]
    model = systematic.to_model("sky")
    assert model.spectral_model.norm.prior.mu.value == pytest.approx(row["MEAN"])
    assert model.spectral_model.norm.prior.sigma.value == pytest.approx(
        row["SYSTEMATIC"]
    )
    few, many = fitted_norm(systematic, 0.01), fitted_norm(systematic, 100.0)
    assert abs(few.value - row["MEAN"]) < 0.1
    assert many.value == pytest.approx(1.3, abs=0.01)


def test_too_few_runs():
    with pytest.raises(ValueError, match="1 runs given"):
        background_systematic(runs_with_bias([0], 4), energy_edges=EDGES)


# --- fields -----------------------------------------------------------------------


def test_field_of_a_mimic_is_that_of_its_donor():
    donor = make_run("bkg_altaz", obs_id=8, draw="background", n_events=5000)
    target = make_run(
        "full", obs_id=7, pointing=SkyCoord("100d -60d"), start=Time("2021-03-02T19:47")
    )
    same = field_checks(donor, MimicMaker().run(target, donor))
    assert np.all(same.table["P_VALUE"] > 0.99)
    assert_allclose(*same.gradients["GRADIENT"], rtol=1e-3)
    assert len(same.peek().axes) == 3
    # control: turned in the camera, the azimuths are others
    turned = field_checks(donor, MimicMaker(alignment="radec").run(target, donor))
    p_value = dict(zip(turned.table["QUANTITY"], turned.table["P_VALUE"], strict=True))
    assert p_value["azimuth"] < 1e-6
    assert p_value["energy"] == pytest.approx(1)


def test_gradient_that_was_put_in_is_found():
    """10 %/deg at all energies and zenith angles, within four errors."""
    background = SyntheticBackground(
        gradient=0.1 / u.deg, gradient_energy=None, gradient_zenith=None
    )
    run = simulate_observation(CENTER, START, background=background, random_state=1)
    flat = SyntheticBackground(gradient=0 / u.deg)
    control = simulate_observation(CENTER, START, background=flat, random_state=1)
    steep, level = field_checks(run, control).gradients
    assert steep["GRADIENT"] == pytest.approx(0.1, abs=4 * steep["ERROR"])
    assert steep["GRADIENT"] > 4 * steep["ERROR"]
    assert abs(level["GRADIENT"]) < 4 * level["ERROR"]


# --- H.E.S.S. data ----------------------------------------------------------------


def test_systematic_of_hess_off_runs(hess_store):
    """Ten off runs: the models of DR1 are off by some 5 to 15 % from run to run."""
    table = hess_store.obs_table
    ids = table["OBS_ID"][table["TARGET_NAME"] == "Off data"][:10]
    runs = hess_store.get_observations([int(obs_id) for obs_id in ids])
    row = background_systematic(runs).table[0]
    assert 0.03 < row["SYSTEMATIC"] < 0.2
    assert row["POISSON"] < 0.05
