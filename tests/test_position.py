"""Significances: maps as gammapy makes them, like with like, sets that share events."""

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import Table
from astropy.time import Time
from gammapy.datasets import MapDataset
from gammapy.estimators import ExcessMapEstimator
from gammapy.makers import RingBackgroundMaker
from gammapy.maps import Map
from helpers.runs import make_run
from numpy.testing import assert_allclose, assert_array_equal
from regions import CircleSkyRegion
from scipy.stats import kstest
from truth.p_values import p_values

from gammapy_mimic import MimicMaker
from gammapy_mimic.simulation import simulate_observation
from gammapy_mimic.validation import (
    TargetSignificance,
    global_significance,
    shared_events,
    significance_distribution,
    target_significance,
)
from gammapy_mimic.validation.excess import ExcessMaps
from gammapy_mimic.validation.position import common_runs
from gammapy_mimic.validation.reduction import map_geometry
from gammapy_mimic.validation.significance import empirical_p_value

CENTER = SkyCoord(75, 22, unit="deg")
START = Time("2020-01-10T20:00:00")
EDGES = [1, 3, 10] * u.TeV


def make_dataset(level, *, seed=0, source=0, runs=None):
    """Poisson counts about a field-of-view background; ``level`` counts a pixel."""
    geom = map_geometry(CENTER, EDGES, 4 * u.deg, 0.1 * u.deg)
    offset = geom.separation(CENTER).to_value("deg")
    shape = np.exp(-0.5 * (offset / 1.5) ** 2)
    background = Map.from_geom(
        geom, data=np.stack([level * shape, 0.2 * level * shape])
    )
    counts = np.random.default_rng(seed).poisson(background.data).astype(float)
    middle = shape.shape[0] // 2
    counts[:, middle, middle] += source
    safe = np.broadcast_to(offset < 1.8, counts.shape).copy()
    # as in stacked data sets, there is nothing outside of the safe mask
    background.data *= safe
    dataset = MapDataset(
        counts=Map.from_geom(geom, data=counts * safe),
        background=background,
        mask_safe=Map.from_geom(geom, data=safe),
        name=f"sky {seed}",
    )
    if runs is not None:
        dataset.meta_table = Table({"OBS_ID": list(runs)})
    return dataset


# --- maps ---------------------------------------------------------------------------


def by_gammapy(dataset, exclusion):
    """Significance maps by gammapy: all energies together, then each."""
    mask = dataset.counts.geom.to_image().region_mask(exclusion, inside=False)
    ring = RingBackgroundMaker(0.5 * u.deg, 0.3 * u.deg, exclusion_mask=mask)
    on_off = ring.run(dataset)
    maps = [
        ExcessMapEstimator(0.2 * u.deg, energy_edges=edges, selection_optional=[])
        .run(on_off)["sqrt_ts"]
        .data
        for edges in (EDGES[[0, -1]], EDGES)
    ]
    return np.concatenate(maps)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_maps_are_those_of_gammapy():
    """Of many skies at a time, with a source and its exclusion."""
    datasets = [make_dataset(5.0, seed=seed, source=30) for seed in range(3)]
    exclusion = [CircleSkyRegion(CENTER, 0.4 * u.deg)]
    procedure = ExcessMaps(datasets[0], exclusion, "ring", 0.2 * u.deg, None)
    counts = np.array([it.counts.data for it in datasets])
    found = procedure.significances(counts)
    for dataset, maps in zip(datasets, found, strict=True):
        expected = by_gammapy(dataset, exclusion)
        assert_array_equal(np.isfinite(maps), np.isfinite(expected))
        assert_allclose(maps, expected, atol=2e-5)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_no_off_counts_are_not_left_to_chance():
    """Without counts the significance is 0; a single count is judged by acceptances.

    gammapy takes the noise of the FFT for off counts there.
    """
    dataset = make_dataset(0.01)
    dataset.counts.data[:] = 0
    procedure = ExcessMaps(dataset, None, "ring", 0.2 * u.deg, None)
    counts = np.zeros((2, *dataset.counts.data.shape))
    counts[1, 0, 20, 20] = 1
    none, one = procedure.significances(counts)
    assert_allclose(none[np.isfinite(none)], 0, atol=1e-6)
    assert np.isfinite(none[0]).sum() == dataset.mask_safe.data[0].sum()
    alpha = procedure.alpha[1, 20, 20]
    assert_allclose(one[1, 20, 20], np.sqrt(2 * np.log((1 + alpha) / alpha)), rtol=1e-5)


def test_toys_do_not_depend_on_how_many_are_made_at_a_time(monkeypatch):
    dataset = make_dataset(1.0)
    tables = []
    for pixels in (1, 10**9):
        monkeypatch.setattr("gammapy_mimic.validation.excess.MAX_PIXELS", pixels)
        tables.append(significance_distribution(dataset, n_toys=5).table)
    for name in ("TOY_MEAN", "TOY_WIDTH", "MAX_P_VALUE"):
        assert_allclose(*(it[name] for it in tables))


# --- look-elsewhere -----------------------------------------------------------------


def test_global_p_value_of_empty_maps_is_uniform():
    """40 skies: KS test at a false-alarm rate of 1e-3; a source is the control."""
    rng = np.random.default_rng(1)
    found = []
    for seed in range(40):
        sky = significance_distribution(
            make_dataset(2.0, seed=seed), n_toys=24, random_state=seed
        )
        largest = global_significance(sky)
        assert largest.p_value == sky.table["MAX_P_VALUE"][0]
        found.append(largest.p_value - rng.uniform() / 25)
    assert kstest(found, "uniform").pvalue > 1e-3
    bright = significance_distribution(make_dataset(2.0, source=60), n_toys=49)
    mimics = [significance_distribution(make_dataset(2.0, seed=9), n_toys=0)] * 4
    largest = global_significance(bright, mimics)
    assert largest.p_value == pytest.approx(1 / 50)
    assert largest.p_value_mimics == pytest.approx(1 / 5)
    assert largest.position.separation(CENTER) < 0.3 * u.deg
    assert largest.maximum == bright.table["MAX"][0] > 8


# --- like with like -----------------------------------------------------------------


def test_sets_of_other_targets_are_left_out(caplog):
    mimics = [
        make_dataset(5.0, seed=1, runs=[1, 2]),
        make_dataset(5.0, seed=2, runs=[2]),
    ]
    target = make_dataset(5.0, seed=3, runs=[2, 1])
    found = target_significance(mimics, CENTER, target=target)
    assert (found.runs, found.left_out, found.n_sets) == ((1, 2), (1,), 1)
    assert np.isnan(found.mimics[1])
    assert "left out: mimic sets 1 (from 0)" in caplog.text
    other = make_dataset(5.0, runs=[7])
    with pytest.raises(ValueError, match=r"no mimic set has the targets 7 of"):
        target_significance(mimics, CENTER, target=other)
    with pytest.raises(ValueError, match="at least one mimic set"):
        target_significance([], CENTER)


@pytest.mark.parametrize(
    ("stacks", "runs", "left_out"),
    [
        ([[1, 2, 3], [1, 2, 3]], (1, 2, 3), ()),
        # three stacks of two are more than one of four
        ([[1, 2, 3, 4], [1, 2], [1, 2, 3]], (1, 2), ()),
        # two stacks of four are more than three of one
        ([[1, 2, 3, 4], [1, 2, 3, 4], [1]], (1, 2, 3, 4), (2,)),
        ([[1, 2], [3, 4]], (1, 2), (1,)),
    ],
)
def test_common_targets(stacks, runs, left_out):
    assert common_runs(stacks) == (runs, left_out)


def test_common_targets_are_among_those_of_the_target(caplog):
    assert common_runs([[1, 2, 3], [2, 3]], [1, 2, 9]) == ((2,), ())
    assert "targets 1, 9, which not all have" in caplog.text
    with pytest.raises(ValueError, match="nothing can be compared"):
        common_runs([[1], [2]], [3])


def test_stacks_of_runs_are_reduced_to_common_targets(caplog):
    runs = [
        simulate_observation(
            CENTER,
            START + k * u.day,
            obs_id=k + 1,
            background_irf="bkg_2d",
            random_state=k,
        )
        for k in range(2)
    ]
    both, first = runs, runs[:1]
    found = target_significance([both, first, both], CENTER, target=both)
    expected = found.target
    assert np.isfinite(expected)
    assert found.left_out == (1,)
    assert found.runs == (1, 2)
    assert_allclose(found.mimics, [expected, np.nan, expected])
    # the two sets are the same
    assert found.n_effective == pytest.approx(1)
    assert found.p_value == pytest.approx(1)
    assert "the targets 1, 2 are compared" in caplog.text


# --- sets that share events ---------------------------------------------------------


def test_mimics_of_one_donor_share_its_events():
    """All of them if it has the same target twice; another donor has others."""
    target = make_run("full", obs_id=1, n_events=10)
    pointing = target.get_pointing_icrs(target.tmid)
    position = pointing.directional_offset_by(20 * u.deg, 0.5 * u.deg)
    donors = [make_run("full", obs_id=k, n_events=3000, seed=k) for k in (11, 12)]
    mimics = [MimicMaker().run(target, donor) for donor in donors]
    found = shared_events([mimics[:1], mimics[1:], mimics], position, 0.5 * u.deg)
    n_first, n_second = (
        sum(it.events.radec.separation(position) < 0.5 * u.deg) for it in mimics
    )
    assert found[0, 1] == 0
    assert_allclose(found[0, 2], np.sqrt(n_first / (n_first + n_second)))
    assert_allclose(np.diag(found), 1)
    none = shared_events(
        [mimics[:1], mimics[:1]], position, energy_range=[1, 2] * u.EeV
    )
    assert_allclose(none, np.eye(2))


def test_effective_number_of_sets():
    values = np.array([0.3, 1.1, -0.4, np.nan])
    assert TargetSignificance(values).n_effective == 3
    half = np.full((4, 4), 0.5) + 0.5 * np.eye(4)
    found = TargetSignificance(values, 1.0, half)
    assert found.n_effective == pytest.approx(3**2 / (3 + 6 * 0.5))
    # a set of its own counts as before
    own = TargetSignificance(values, 1.0, np.eye(4))
    assert own.p_value == pytest.approx(2 / 4)
    error = np.sqrt(found.p_value * (1 - found.p_value) / (found.n_effective + 1))
    assert found.p_value_error == pytest.approx(error)
    same = TargetSignificance(values[:3], 1.0, np.ones((3, 3)))
    assert (same.n_effective, same.n_independent) == (pytest.approx(1), 1)
    assert same.p_value == pytest.approx(1 / 2)


@pytest.mark.parametrize("setting", [(8, 4, 8, 2), (24, 21, 20, 2)])
def test_p_values_of_sets_that_share_donors_are_uniform(setting):
    """300 empty campaigns; KS test at a false-alarm rate of 1e-3, see truth/p_values.

    Controls: a signal of 1.5 deviations, and for many targets taking sets as their own.
    """
    found, _ = p_values(setting, 300, 5)
    assert kstest(found, "uniform").pvalue > 1e-3
    signal, _ = p_values(setting, 300, 5, signal=1.5 * np.sqrt(40 * setting[1]))
    assert kstest(signal, "uniform").pvalue < 1e-3
    if setting[1] > 4:
        wrong, _ = p_values(setting, 300, 5, is_shared=False)
        assert kstest(wrong, "uniform").pvalue < 1e-3


def test_no_set_has_a_significance():
    # all of the ring is excluded, or no field reaches so far
    found = TargetSignificance(np.array([np.nan]))
    assert found.n_sets == 0
    assert found.peek().axes[0].get_xlim()[0] < -4


def test_empirical_p_value():
    assert empirical_p_value(1.0, [0.0, 2.0, np.nan]) == pytest.approx(2 / 3)
    assert np.isnan(empirical_p_value(np.nan, [1.0]))
