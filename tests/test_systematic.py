"""The systematic of the background: donors are the experiments."""

import logging

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.time import Time
from gammapy.datasets import MapDataset
from gammapy.maps import MapAxis, WcsGeom
from gammapy.modeling import Fit
from gammapy.modeling.models import FoVBackgroundModel, Models
from helpers.runs import make_run
from numpy.testing import assert_allclose
from scipy.special import ndtr, stdtrit
from truth.prior import exact_error, factors, measured, pulls, stack

from gammapy_mimic import MimicMaker
from gammapy_mimic.simulation import SyntheticBackground, simulate_observation
from gammapy_mimic.validation import (
    BackgroundSystematic,
    PrincipalComponentsNormSpectralModel,
    background_systematic,
)
from gammapy_mimic.validation.reduction import reduce_run
from gammapy_mimic.validation.statistics import (
    donor_ratios,
    jackknife_error,
    scatter,
    systematic_correlation,
    systematic_covariance,
)

CENTER = SkyCoord(75, 22, unit="deg")
START = Time("2020-01-10T20:00:00")
EDGES = [0.5, 1, 2, 20] * u.TeV
WIDE = [0.5, 0.8, 1.3, 2.1, 3.4, 20] * u.TeV
RUN = np.array([400.0, 380.0, 200.0, 100.0, 80.0])


# --- statistics --------------------------------------------------------------------


def experiments(rng, n_donors, uses, truth, number=2000, level=1160):
    """Counts and prediction of many experiments, shape (experiment, run, 1)."""
    predicted = level * np.exp(rng.normal(0, 0.3, (number, n_donors, 1)))
    factor = 1 + rng.normal(0, truth, predicted.shape)
    counts = rng.poisson(predicted * factor.clip(0.01))
    donors = np.repeat(np.arange(n_donors), uses)
    return counts[:, donors], predicted[:, donors], donors


def coverage(found, truth):
    """Part of the experiments in which each number holds the truth."""
    miss = {"MEAN": found["MEAN"] - 1, "SYSTEMATIC": found["SYSTEMATIC"] - truth}
    held = {key: np.mean(np.abs(it) <= found[f"{key}_ERR"]) for key, it in miss.items()}
    return held | {"SYSTEMATIC_UL": np.mean(found["SYSTEMATIC_UL"] >= truth)}


@pytest.mark.parametrize("truth", [0.03, 0.1])
@pytest.mark.parametrize(("n_donors", "uses"), [(5, 1), (5, 10), (8, 5), (24, 2)])
def test_intervals_hold_the_truth(n_donors, uses, truth):
    """The table in tests/truth/coverage.py, in part. Of 2000 experiments the
    coverage is known to 0.010 (limit: 0.005), the rms to 2 % for 5 donors.
    """
    counts, predicted, donors = experiments(
        np.random.default_rng(3), n_donors, uses, truth
    )
    ratios = donor_ratios(counts, predicted, donors)
    found = scatter(ratios.ratio, ratios.variance)
    held = coverage(found, truth)
    assert 0.63 < held["MEAN"] < 0.73
    assert 0.63 < held["SYSTEMATIC"] < 0.73
    assert 0.93 < held["SYSTEMATIC_UL"] < 0.97
    rms = np.sqrt(np.mean(found["SYSTEMATIC"] ** 2))
    assert rms == pytest.approx(truth, rel=0.03 if n_donors > 5 else 0.05)


def test_uses_of_a_donor_are_not_experiments():
    """Negative control: as independent runs, they hold the mean in a quarter."""
    counts, predicted, donors = experiments(np.random.default_rng(3), 5, 10, 0.1)
    ratios = donor_ratios(counts, predicted, np.arange(len(donors)))
    held = coverage(scatter(ratios.ratio, ratios.variance), 0.1)
    assert held["MEAN"] < 0.4
    assert held["SYSTEMATIC"] < 0.4


def test_no_systematic_has_a_finite_limit():
    ratios = donor_ratios(*experiments(np.random.default_rng(4), 8, 1, 0.0))
    found = scatter(ratios.ratio, ratios.variance)
    limit = found["SYSTEMATIC_UL"]
    assert np.all(np.isfinite(limit) & (limit > 0))
    # it is not seen in most, and the error of what is not seen is finite, too
    assert np.mean(found["SYSTEMATIC"] == 0) > 0.5
    assert np.all(found["SYSTEMATIC_ERR"] > 0)
    assert np.median(limit) < 0.06


def test_prediction_that_is_counted():
    """On and off counts, alpha = 0.2: without its variance 6 % would be seen."""
    rng = np.random.default_rng(5)
    off = rng.poisson(1500.0, (500, 24, 1))
    counts, predicted, variance = rng.poisson(300.0, off.shape), 0.2 * off, 0.04 * off
    donors = np.arange(24)
    right = donor_ratios(counts, predicted, donors, predicted_variance=variance)
    found = scatter(right.ratio, right.variance)
    assert_allclose(np.mean(found["RMS"] ** 2 / found["POISSON"] ** 2), 1, atol=0.03)
    wrong = donor_ratios(counts, predicted, donors)
    assert np.mean(wrong.variance) < 0.9 * np.mean(right.variance)


TRUTHS = {
    "poisson": lambda rng, shape: np.ones(shape),
    "norm": lambda rng, shape: 1 + rng.normal(0, 0.1, (*shape[:2], 1)),
    "bins": lambda rng, shape: 1 + rng.normal(0, 0.1, shape),
}


def ratios_of(truth, n_donors, number=200, seed=6):
    rng = np.random.default_rng(seed)
    shape = (number, n_donors, len(RUN))
    predicted = RUN * np.exp(rng.normal(0, 0.3, (*shape[:2], 1)))
    counts = rng.poisson(predicted * TRUTHS[truth](rng, shape).clip(0.01))
    return donor_ratios(counts, predicted, np.arange(n_donors))


@pytest.mark.parametrize("n_donors", [24, 45])
def test_correlation(n_donors):
    """Each is the control of the others."""
    beside = ~np.eye(len(RUN), dtype=bool)
    mean = {
        truth: systematic_correlation(ratios_of(truth, n_donors))[:, beside].mean()
        for truth in TRUTHS
    }
    assert abs(mean["poisson"]) < 0.1
    assert mean["norm"] > 0.9
    assert abs(mean["bins"]) < 0.15


def test_correlation_that_is_no_constant():
    """A tilt: the first and the last bins go against each other.

    Some 5 % of the scatter of these correlations is chance, and drawn to a constant.
    """
    rng = np.random.default_rng(7)
    x = np.log([0.63, 1.02, 1.65, 2.67, 8.25])
    counts = rng.poisson(RUN * np.exp(-x * rng.normal(0, 0.2, (100, 24, 1))))
    found = systematic_correlation(
        donor_ratios(counts, np.broadcast_to(RUN, counts.shape), np.arange(24))
    )
    assert found[:, 0, -1].mean() < -0.8
    assert found[:, 3, 4].mean() > 0.9 * 0.95


@pytest.mark.parametrize("truth", TRUTHS)
def test_covariance_is_positive_semidefinite(truth):
    ratios = ratios_of(truth, 8)
    covariance = systematic_covariance(ratios)
    assert np.linalg.eigvalsh(covariance).min() > -1e-12
    systematic = scatter(ratios.ratio, ratios.variance)["SYSTEMATIC"]
    assert_allclose(np.diagonal(covariance, axis1=1, axis2=2), systematic**2)


def test_jackknife_error():
    """That of a mean is known; that of the covariance is the scatter of experiments.

    Its square is known to some 5 % from 200 experiments; too large by a fifth for
    few donors.
    """
    ratios = ratios_of("norm", 24)
    error = jackknife_error(lambda it: it.ratio.mean(axis=-2), ratios)
    assert_allclose(error, ratios.ratio.std(axis=1, ddof=1) / np.sqrt(24))
    error = jackknife_error(systematic_covariance, ratios)[:, 0, 1]
    scattered = systematic_covariance(ratios)[:, 0, 1].std()
    assert np.sqrt(np.mean(error**2)) == pytest.approx(scattered, rel=0.3)


# --- tables ------------------------------------------------------------------------


def drawn(seed=3, n_donors=20, uses=2, norm=0.1, own=0.0):
    """Counts, prediction and donors of runs with a common norm of this very scatter."""
    rng = np.random.default_rng(seed)
    factor = rng.normal(size=(n_donors, 1))
    factor = 1 + norm * (factor - factor.mean()) / factor.std(ddof=1)
    factor = factor * (1 + rng.normal(0, own, (n_donors, len(RUN))))
    predicted, donors = 5 * RUN, np.repeat(np.arange(n_donors), uses)
    counts = rng.poisson(predicted * factor)
    return counts[donors], np.tile(predicted, (len(donors), 1)), donors


@pytest.fixture(scope="module")
def common():
    return BackgroundSystematic.from_counts(*drawn(), energy_edges=WIDE)


def test_table(common):
    table = common.table
    assert len(table) == 1 + len(RUN)
    assert_allclose(table["ENERGY_MIN"][:2].to_value("TeV"), 0.5)
    assert_allclose(table["ENERGY_MAX"][:2].to_value("TeV"), [20, 0.8])
    assert np.all(table["N_RUNS"] == 40)
    assert np.all(table["N_DONORS"] == 20)
    assert_allclose(table["PREDICTED"], [5 * RUN.sum(), *(5 * RUN)])
    for row in table:
        assert row["SYSTEMATIC"] == pytest.approx(0.1, abs=3 * row["SYSTEMATIC_ERR"])
        assert row["SYSTEMATIC"] < row["SYSTEMATIC_UL"]
        assert row["MEAN"] == pytest.approx(1, abs=4 * row["MEAN_ERR"])
    assert np.all(common.correlation > 0.8)
    assert_allclose(np.diag(common.covariance), table["SYSTEMATIC"][1:] ** 2)
    # a common norm is a level, and no shape
    assert common.level == pytest.approx(table["SYSTEMATIC"][0], rel=0.15)
    assert np.all(common.shape < 0.6 * common.level)
    own = drawn(norm=0, own=0.1, n_donors=45)
    own = BackgroundSystematic.from_counts(*own, energy_edges=WIDE)
    assert np.all(own.shape > own.level)


def test_uses_do_not_count(common):
    counts, predicted, donors = (it[::2] for it in drawn())
    once = BackgroundSystematic.from_counts(
        counts, predicted, donors, energy_edges=WIDE
    )
    for name in ("MEAN", "MEAN_ERR", "SYSTEMATIC", "SYSTEMATIC_ERR", "SYSTEMATIC_UL"):
        assert_allclose(once.table[name], common.table[name])
    assert_allclose(once.covariance_err, common.covariance_err)
    assert_allclose(once.tilt, common.tilt)
    assert np.all(once.table["N_RUNS"] == 20)


def test_bins_of_offset(tmp_path):
    counts, predicted, donors = drawn()
    rng = np.random.default_rng(2)
    inner = rng.binomial(counts, 0.4)
    found = BackgroundSystematic.from_counts(
        np.stack([inner, counts - inner], axis=2),
        predicted[..., np.newaxis] * [0.4, 0.6],
        donors,
        energy_edges=WIDE,
        offset_edges=[0, 1, 2] * u.deg,
    )
    assert len(found.table) == 1 + 2 * len(RUN)
    assert_allclose(found.table["OFFSET_MAX"][:3].to_value("deg"), [2, 1, 2])
    assert_allclose(found.table["ENERGY_MAX"][2:4].to_value("TeV"), [0.8, 1.3])
    assert found.correlation.shape == (10, 10)
    spectral = found.to_model("sky", "binwise").spectral_model
    assert_allclose(spectral.energy, WIDE)
    assert_allclose(spectral.mean, counts[::2].mean(axis=0) / (5 * RUN), rtol=0.05)


def test_tilt_that_was_put_in():
    """0.1 from donor to donor, within three errors; none in the control."""
    rng = np.random.default_rng(8)
    x = np.log(np.sqrt(WIDE[1:] * WIDE[:-1]).to_value("TeV"))
    tilts = {}
    for truth in (0.1, 0.0):
        factor = np.exp(-x * rng.normal(0.05, truth, (45, 1)))
        counts, predicted = rng.poisson(10 * RUN * factor), np.tile(10 * RUN, (45, 1))
        tilts[truth] = BackgroundSystematic.from_counts(
            counts, predicted, np.arange(45), energy_edges=WIDE
        ).tilt
        tilt = tilts[truth]
        assert tilt.mean == pytest.approx(0.05, abs=4 * tilt.mean_err)
    found = tilts[0.1]
    assert found.systematic == pytest.approx(0.1, abs=3 * found.systematic_err)
    assert tilts[0.0].systematic_ul < 0.03


def test_runs_that_are_left_out_are_named(caplog):
    counts, predicted, donors = drawn()
    predicted[:3, 0] = counts[:3, 0] = 0
    names = [f"run{k}" for k in range(len(donors))]
    with caplog.at_level(logging.WARNING):
        table = BackgroundSystematic.from_counts(
            counts, predicted, donors, energy_edges=WIDE, obs_ids=names
        ).table
    assert list(table["N_RUNS"][:3]) == [40, 37, 40]
    # the other use of the second donor stays
    assert list(table["N_DONORS"][:3]) == [20, 19, 20]
    assert table["LEFT_OUT"][1] == "run0, run1, run2"
    assert not any(table["LEFT_OUT"][[0, 2, 3, 4, 5]])
    (message,) = caplog.messages
    assert "0.5 to 0.8 TeV: 3 of 40 runs are left out" in message
    assert "run0, run1, run2" in message


def test_wrong_counts():
    counts, predicted, donors = drawn()
    options = {"energy_edges": WIDE}
    measure = BackgroundSystematic.from_counts
    with pytest.raises(ValueError, match=r"counts has the shape \(40, 4\)"):
        measure(counts[:, :4], predicted, donors, **options)
    with pytest.raises(ValueError, match=r"predicted has the shape \(39, 5\)"):
        measure(counts, predicted[:-1], donors, **options)
    with pytest.raises(ValueError, match="counts must be finite and not negative"):
        measure(-counts, predicted, donors, **options)
    with pytest.raises(ValueError, match="come from 1 donors"):
        measure(counts, predicted, np.zeros(40), **options)
    with pytest.raises(ValueError, match="0 of 40 runs have counts"):
        measure(0 * counts, predicted, donors, **options)
    with pytest.raises(ValueError, match="0 of 40 runs have counts"):
        measure(counts, 0 * predicted, donors, **options)


def test_files(common, tmp_path):
    common.write(tmp_path / "systematic.ecsv")
    read = BackgroundSystematic.read(tmp_path / "systematic.ecsv")
    assert read.table.colnames == common.table.colnames
    assert read.table["ENERGY_MIN"].unit == u.TeV
    for name in ("covariance", "correlation", "correlation_err", "covariance_err"):
        assert_allclose(getattr(read, name), getattr(common, name))
    assert read.tilt == common.tilt
    with pytest.raises(FileExistsError, match="use overwrite=True"):
        common.write(tmp_path / "systematic.ecsv")


def test_systematic_is_drawn(common):
    ax, correlation = common.peek().axes[:2]
    # systematics, and limits of those that are not seen
    assert len(ax.patches) == 2 * len(common.table)
    assert ax.get_xticklabels()[0].get_text() == "all"
    assert_allclose(correlation.images[0].get_array(), common.correlation)


# --- priors ------------------------------------------------------------------------


def prior_covariance(spectral):
    """Covariance of the norms of bins for standard normal amplitudes."""
    energy = np.sqrt(spectral.energy[1:] * spectral.energy[:-1])
    found = []
    for parameter in spectral.parameters:
        parameter.value = 0.1
        found.append((spectral(energy).value - spectral.mean) / 0.1)
        parameter.value = 0
    return np.transpose(found) @ found


def test_prior_of_norm_and_tilt(common):
    """With Student's factor of the degrees of freedom that are left to a systematic."""
    row = common.table[0]
    known = stdtrit(19 * (row["SYSTEMATIC"] / row["RMS"]) ** 4, ndtr(1))
    known = known * row["SYSTEMATIC"]
    assert 1.02 < known / row["SYSTEMATIC"] < 1.04
    for number in (1, 20):
        model = common.to_model("sky", n_runs=number)
        norm, tilt = model.spectral_model.norm, model.spectral_model.tilt
        assert norm.prior.mu.value == norm.value == pytest.approx(row["MEAN"])
        sigma = np.hypot(known / np.sqrt(number), row["MEAN_ERR"])
        assert norm.prior.sigma.value == pytest.approx(sigma)
        # a tilt is not seen, and enters with its limit
        of_tilt = common.tilt.systematic_ul / np.sqrt(number)
        limit = np.hypot(of_tilt, common.tilt.mean_err)
        assert tilt.prior.sigma.value == pytest.approx(limit)
        assert not norm.frozen
        assert not tilt.frozen
    shared = common.to_model("sky", n_donors_stacked=5, n_runs=20)
    assert shared.parameters["norm"].prior.sigma.value == pytest.approx(
        np.hypot(known / np.sqrt(5), row["MEAN_ERR"])
    )


def test_prior_in_bins(common):
    """The systematic of all bins is 10 %: alike in the prior, whatever is measured."""
    spectral = common.to_model("sky", "binwise").spectral_model
    bins = common.table[1:]
    covariance = prior_covariance(spectral)
    off = ~np.eye(len(bins), dtype=bool)
    # Student's factor, and the error of the mean of 20 donors
    expected = (1.03**2 + 1.03**2 / 20) * 0.1**2
    assert_allclose(covariance[off], common.correlation[off] * expected, rtol=0.25)
    assert_allclose(np.diag(covariance), expected, rtol=0.25)
    sigma = np.sqrt(np.diag(covariance))
    assert sigma.std() < 0.7 * bins["SYSTEMATIC"].std()
    assert_allclose(spectral.mean, bins["MEAN"])
    for parameter in spectral.parameters:
        assert not parameter.frozen
        assert parameter.prior.mu.value == 0
        assert parameter.prior.sigma.value == 1
    stack = common.to_model("sky", "binwise", n_runs=20).spectral_model
    assert np.all(prior_covariance(stack) < 0.5 * covariance)


@pytest.mark.parametrize("kind", ["norm-tilt", "binwise"])
def test_priors_survive_yaml(common, kind, tmp_path):
    model = common.to_model("sky", kind)
    model.parameters[0].value = 0.3
    Models([model]).write(tmp_path / "models.yaml")
    (read,) = Models.read(tmp_path / "models.yaml")
    energy = [0.1, 0.6, 1, 3, 30] * u.TeV
    assert_allclose(read.spectral_model(energy), model.spectral_model(energy))
    for one, other in zip(read.parameters, model.parameters, strict=True):
        assert (one.name, one.frozen) == (other.name, other.frozen)
        if other.prior is not None:
            assert_allclose(one.prior.mu.value, other.prior.mu.value)
            assert_allclose(one.prior.sigma.value, other.prior.sigma.value)
    assert_allclose(read.copy().spectral_model(energy), model.spectral_model(energy))


def test_wrong_models(common):
    with pytest.raises(ValueError, match="kind = 'guess'"):
        common.to_model("sky", "guess")
    with pytest.raises(ValueError, match="n_runs = 0"):
        common.to_model("sky", n_runs=0)
    with pytest.raises(ValueError, match="2 bins need 3"):
        PrincipalComponentsNormSpectralModel([1, 2] * u.TeV, [1, 1], np.eye(2))
    with pytest.raises(ValueError, match=r"components of shape \(3, 3\)"):
        PrincipalComponentsNormSpectralModel([1, 2, 3] * u.TeV, [1, 1], np.eye(3))
    with pytest.raises(ValueError, match="1 amplitudes for 2 components"):
        PrincipalComponentsNormSpectralModel([1, 2, 3] * u.TeV, [1, 1], np.eye(2), [0])


def fitted(common, kind, exposure):
    """Norm at 1 TeV, fitted to counts that are 30 % above the model."""
    axis = MapAxis.from_energy_edges(WIDE)
    geom = WcsGeom.create(skydir=CENTER, npix=2, axes=[axis])
    dataset = MapDataset.create(
        geom, energy_axis_true=axis.copy(name="energy_true"), name="sky"
    )
    dataset.background.data += exposure
    dataset.mask_safe.data[...] = True
    dataset.counts.data = 1.3 * dataset.background.data
    model = common.to_model("sky", kind)
    dataset.models = [model]
    assert Fit().run([dataset]).success
    return float(model.spectral_model(1 * u.TeV).squeeze())


@pytest.mark.parametrize("kind", ["norm-tilt", "binwise"])
def test_prior_in_a_fit(common, kind):
    """Few counts say little against the prior, many overrule it."""
    assert fitted(common, kind, 0.01) == pytest.approx(common.table["MEAN"][0], abs=0.1)
    assert fitted(common, kind, 1e5) == pytest.approx(1.3, abs=0.01)


@pytest.mark.parametrize("sign", [1, -1])
def test_numerical_error_of_a_flux(sign):
    """The error that Minuit finds is the exact one, for this sign of the components.

    Control: with the other sign it is 10 to 20 % too small.
    """
    rng = np.random.default_rng(2)
    for _ in range(2):
        model = measured(rng, 20, 1, own=0.1).to_model("stack", "binwise")
        spectral = model.spectral_model
        assert np.all(spectral.components @ RUN <= 1e-6)
        spectral = PrincipalComponentsNormSpectralModel(
            spectral.energy, spectral.mean, sign * spectral.components
        )
        model = FoVBackgroundModel(dataset_name="stack", spectral_model=spectral)
        dataset = stack(rng, model, factors(rng, 1, own=0.1).mean(axis=0))
        Fit().run([dataset])
        exact = exact_error(dataset)
        if sign > 0:
            assert exact == pytest.approx(1, abs=0.08)
        else:
            assert exact > 1.1


def test_errors_of_a_flux():
    """Pulls of 20 fits, in part of tests/truth/prior.py: their width is known to 16 %.

    Control: with the background as it is on average the errors are far too small.
    """
    truth = {"n_donors": 20, "norm": 0.1}
    assert np.all(np.abs(pulls(2, 20, **truth).std(axis=1) - 1.05) < 0.45)
    assert pulls(2, 10, frozen=True, **truth).std() > 2


def test_prior_holds_another_run():
    """From 5 donors in 68 % of 400 experiments, known to 2.3 %: bounds of three errors.

    Control: the measured systematic alone.
    """
    rng = np.random.default_rng(9)
    held = []
    for _ in range(400):
        found = BackgroundSystematic.from_counts(
            rng.poisson(20 * RUN * factors(rng, 5, norm=0.1)),
            np.tile(20 * RUN, (5, 1)),
            np.arange(5),
            energy_edges=WIDE,
        )
        norm = found.to_model("sky").spectral_model.norm
        off = factors(rng, 1, norm=0.1).mean() - norm.value
        sigmas = norm.prior.sigma.value, found.table["SYSTEMATIC"][0]
        held.append(np.abs(off) < np.array(sigmas))
    right, wrong = np.mean(held, axis=0)
    assert right == pytest.approx(0.683, abs=0.07)
    assert wrong < 0.683 - 0.07


# --- runs --------------------------------------------------------------------------


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
    wrong, right = (
        background_systematic(runs_with_bias(bias, seed), energy_edges=EDGES).table[0]
        for bias, seed in ((biases, 1), (0 * biases, 2))
    )
    assert wrong["SYSTEMATIC"] == pytest.approx(truth, abs=3 * wrong["SYSTEMATIC_ERR"])
    assert wrong["SYSTEMATIC"] > 3 * wrong["SYSTEMATIC_ERR"]
    assert right["SYSTEMATIC"] < 2 * right["SYSTEMATIC_ERR"]
    assert right["SYSTEMATIC_UL"] < truth
    for row in (wrong, right):
        assert row["MEAN"] == pytest.approx(1, abs=4 * row["MEAN_ERR"])
        assert row["N_RUNS"] == row["N_DONORS"] == number
    # Poisson fluctuations alone are much more than nothing
    assert right["RMS"] > 0.01


def test_mimics_of_a_donor_are_one_measurement():
    donors = list(runs_with_bias([0.05, -0.05], 3))
    targets = [
        simulate_observation(
            CENTER, START + 30 * u.day, obs_id=number, random_state=number
        )
        for number in (101, 102)
    ]
    maker = MimicMaker(random_state=1)
    mimics = [maker.run(target, donor) for target in targets for donor in donors]
    found = background_systematic(mimics, energy_edges=EDGES).table
    of_donors = background_systematic(donors, energy_edges=EDGES).table
    assert np.all(found["N_RUNS"] == 4)
    assert np.all(found["N_DONORS"] == 2)
    assert_allclose(found["MEAN"], of_donors["MEAN"], rtol=0.02)
    assert_allclose(found["MEAN_ERR"], of_donors["MEAN_ERR"], rtol=0.1)


def test_bins_above_the_threshold(caplog):
    """Of a bin in which the threshold lies the part above it is used."""
    low, high = 0.2 * u.TeV, 20 * u.TeV
    runs = list(runs_with_bias([0, 0, 0], 5))
    threshold = runs[0].aeff.meta["LO_THRES"] * u.TeV
    edges = u.Quantity([low, 0.9 * threshold, 2 * threshold, high])
    with caplog.at_level(logging.WARNING):
        table = background_systematic(runs, energy_edges=edges).table
    assert list(table["N_RUNS"]) == [3, 0, 3, 3]
    assert table["LEFT_OUT"][1] == "1, 2, 3"
    assert np.isnan(table["MEAN"][1])
    assert any("3 of 3 runs are left out" in message for message in caplog.messages)
    for row in table[[0, 2, 3]]:
        assert row["MEAN"] == pytest.approx(1, abs=5 * row["MEAN_ERR"] + 0.02)


def test_background_is_integrated_finely_enough():
    """One bin from 0.5 to 20 TeV against 48: within 0.3 %."""
    (run,) = runs_with_bias([0], 6)
    found = []
    for number in (1, 48):
        geom = WcsGeom.create(
            skydir=run.get_pointing_icrs(run.tmid).icrs,
            npix=20,
            binsz=0.2,
            proj="TAN",
            axes=[MapAxis.from_energy_bounds("0.5 TeV", "20 TeV", nbin=number)],
        )
        found.append(reduce_run(run, geom).background.data.sum())
    assert found[0] == pytest.approx(found[1], rel=0.003)


def test_too_few_runs():
    with pytest.raises(ValueError, match="1 runs given"):
        background_systematic(runs_with_bias([0], 4), energy_edges=EDGES)
    with pytest.raises(ValueError, match=r"no background model.*on_off"):
        background_systematic([make_run("rad_max")])


def test_systematic_of_hess_off_runs(hess_store):
    """Ten off runs: the models of DR1 are off by some 5 to 15 % from run to run."""
    table = hess_store.obs_table
    ids = table["OBS_ID"][table["TARGET_NAME"] == "Off data"][:10]
    runs = hess_store.get_observations([int(obs_id) for obs_id in ids])
    row = background_systematic(runs).table[0]
    assert 0.03 < row["SYSTEMATIC"] < 0.2
    assert row["POISSON"] < 0.05
