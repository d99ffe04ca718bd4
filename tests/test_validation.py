"""Validation on skies whose truth is known."""

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.time import Time
from gammapy.datasets import MapDataset
from gammapy.maps import MapAxis, WcsGeom
from gammapy.stats import WStatCountsStatistic
from helpers.runs import make_run
from numpy.testing import assert_allclose, assert_array_equal
from regions import CircleSkyRegion
from scipy.stats import kstest

from gammapy_mimic import MimicMaker
from gammapy_mimic.io.arguments import check_edges
from gammapy_mimic.simulation import SyntheticBackground, simulate_observation
from gammapy_mimic.validation import (
    BackgroundSystematic,
    TargetSignificance,
    background_systematic,
    field_checks,
    local_systematic,
    on_off,
    reduce_runs,
    significance_distribution,
    target_significance,
)

CENTER = SkyCoord(75, 22, unit="deg")
START = Time("2020-01-10T20:00:00")


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
    texts = [it.get_text() for it in by_energy.get_legend().get_texts()]
    assert texts == ["1 - 3 TeV", "3 - 10 TeV", "normal, 0 and 1"]
    assert total.get_yscale() == "log"
    labels = [text.get_text() for text in total.get_legend().get_texts()]
    row = found.table[0]
    moments = f"mean {row['MEAN']:.2f}, width {row['WIDTH']:.2f}"
    assert labels == [moments, "normal, 0 and 1"]


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
    assert set(labels) == {
        *("mimic sets", "targets: 3.0"),
        "expected of Poisson fluctuations",
    }
    blind = TargetSignificance(found.mimics).peek().axes[0]
    (expected,) = blind.lines
    assert expected.get_label() == "expected of Poisson fluctuations"


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


@pytest.mark.parametrize(
    ("edges", "error", "text"),
    [
        ([5, 1] * u.TeV, ValueError, "increase, all positive"),
        ([1, 1, 2] * u.TeV, ValueError, "increase"),
        ([1] * u.TeV, ValueError, "two or more"),
        (1 * u.TeV, ValueError, "two or more"),
        ([[1, 2], [3, 4]] * u.TeV, ValueError, "two or more"),
        ([0, 1] * u.TeV, ValueError, "positive"),
        ([1, np.nan, 3] * u.TeV, ValueError, "increase"),
        ([1, np.inf] * u.TeV, ValueError, "increase"),
        ([1, 10], TypeError, r"such as \[1, 10\] \* u.TeV"),
        ([1, 2] * u.deg, TypeError, "with a unit"),
        ("many", TypeError, "energy_edges = 'many'"),
    ],
)
def test_energy_edges_that_are_none(edges, error, text):
    position = SkyCoord(83.63, 22.01, unit="deg")
    counts = np.full((3, 1), 10)
    for measure in (
        lambda: reduce_runs([], position, energy_edges=edges),
        lambda: local_systematic([], position, energy_edges=edges),
        lambda: on_off([], position, energy_edges=edges),
        lambda: background_systematic([], energy_edges=edges),
        lambda: BackgroundSystematic.from_counts(
            counts, counts, [1, 2, 3], energy_edges=edges
        ),
    ):
        with pytest.raises(error, match=text) as raised:
            measure()
        assert str(raised.value).startswith("energy_edges = ")


def test_edges_in_other_forms():
    """A list of quantities is as good as a quantity, and an offset may begin at 0."""
    edges = check_edges("energy_edges", [800 * u.GeV, 2 * u.TeV], "TeV")
    assert_allclose(edges.to_value("TeV"), [0.8, 2])
    offsets = [0, 60] * u.arcmin
    assert check_edges("offset_edges", offsets, "deg", has_zero=True) is not None
    with pytest.raises(ValueError, match="increase, from 0 on"):
        check_edges("offset_edges", [-1, 2] * u.deg, "deg", has_zero=True)
