"""Seeds, draws and the geometry and acceptance of rings."""

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from numpy.testing import assert_allclose, assert_array_equal

from gammapy_mimic.data.seeds import child_seed, seed_sequence
from gammapy_mimic.scramble import acceptance
from gammapy_mimic.scramble.acceptance import EventAcceptance
from gammapy_mimic.scramble.model_acceptance import GridAcceptance, grid_cells
from gammapy_mimic.scramble.sampling import (
    draw_stratified,
    energy_band_edges,
    smooth_times,
)
from gammapy_mimic.sky.geometry import (
    Circles,
    arc_half_width,
    offset_azimuth,
    solid_angle_fractions,
    solid_angle_radii,
)

POINTINGS = {
    "equator, RA 0": (0.0, 0.0),
    "equator, RA 360": (359.9, 0.0),
    "north": (83.6, 60.0),
    "south": (228.6, -60.0),
    "north pole": (10.0, 89.0),
    "south pole": (200.0, -89.0),
}

RINGS = {
    "one": Circles([0.5], [10.0], [0.3]),
    "across azimuth 0": Circles([0.5, 0.6], [359.0, 30.0], [0.3, 0.3]),
    "one in the other": Circles([0.5, 0.55], [100.0, 100.0], [0.3, 0.1]),
    "three, one apart": Circles([0.5, 0.7, 0.6], [50, 90, 250], [0.3, 0.2, 0.25]),
    "the same twice": Circles([0.5, 0.5], [180.0, 180.0], [0.3, 0.3]),
    "over the pointing": Circles([0.2, 0.5], [10.0, 200.0], [0.3, 0.3]),
    "a circle of four": Circles([0.4] * 4, [0, 90, 180, 270], [0.35] * 4),
    "wide": Circles([3.0, 2.0], [10.0, 40.0], [2.5, 1.0]),
}


@pytest.mark.parametrize("circles", RINGS.values(), ids=RINGS)
def test_covered_fraction_is_the_union_of_arcs(circles):
    """Against counting 36 000 points a radius: an end of an arc is off by one."""
    radius = np.linspace(0.01, 1.2, 25)
    azimuth = (np.arange(36_000) + 0.5) / 100
    counted = [
        circles.contains(np.full(len(azimuth), r), azimuth).any(axis=0).mean()
        for r in radius
    ]
    tolerance = 2 * len(circles) / len(azimuth)
    assert_allclose(circles.covered_fraction(radius), counted, atol=tolerance)


def test_covered_fraction_adds_arcs_that_do_not_touch():
    circles = Circles([0.5, 0.5], [0.0, 180.0], [0.1, 0.2])
    radius = np.array([0.35, 0.45, 0.5, 0.65])
    sum_of_both = sum(circles[k].covered_fraction(radius) for k in (0, 1))
    assert_allclose(circles.covered_fraction(radius), sum_of_both, rtol=1e-12)
    assert_array_equal(circles[:0].covered_fraction(radius), 0)


def test_arc_half_width_where_nothing_or_all_is_inside():
    assert arc_half_width(0.1, 0.5, 0.3) == 0
    assert arc_half_width(0.9, 0.5, 0.3) == 0
    assert arc_half_width(0.05, 0.1, 0.3) == 180
    assert arc_half_width(0.2, 0.0, 0.3) == 180
    assert arc_half_width(0.4, 0.0, 0.3) == 0
    # equilateral triangle on a small sphere: 60 degrees
    assert_allclose(arc_half_width(0.01, 0.01, 0.01), 60, rtol=1e-6)


@pytest.mark.parametrize("pointing", POINTINGS.values(), ids=POINTINGS)
def test_contains_agrees_with_separation(pointing):
    rng = np.random.default_rng(0)
    center = SkyCoord(*pointing, unit="deg")
    source = center.directional_offset_by(
        rng.uniform(0, 360, 3) * center.ra.unit, [0.5, 1.0, 0.1] * center.ra.unit
    )
    events = center.directional_offset_by(
        rng.uniform(0, 360, 5000) * center.ra.unit,
        1.5 * np.sqrt(rng.random(5000)) * center.ra.unit,
    )
    circles = Circles(
        *offset_azimuth(source.ra.deg, source.dec.deg, *pointing), [0.3, 0.2, 0.3]
    )
    places = offset_azimuth(events.ra.deg, events.dec.deg, *pointing)
    separation = source[:, np.newaxis].separation(events).deg
    assert_array_equal(
        circles.contains(*places), separation <= circles.theta_deg[:, np.newaxis]
    )


def test_solid_angle_radii():
    fraction = np.linspace(0, 1, 11)
    radius = solid_angle_radii(fraction, 20.0, 60.0)
    assert_allclose(np.diff(np.cos(np.radians(radius))), -0.04397, rtol=1e-3)
    assert_allclose(solid_angle_fractions(radius, 20.0, 60.0), fraction, atol=1e-12)


def test_draw_stratified_draws_each_as_often_as_its_weight_says():
    rng = np.random.default_rng(1)
    weights = np.array([0.0, 1.0, 2.5, 0.0, 0.3, 6.0, 0.0])
    drawn = np.bincount(draw_stratified(weights, 10_000, rng), minlength=7)
    # the first and the last of its levels are random
    assert np.all(np.abs(drawn - weights / weights.sum() * 10_000) < 2)
    assert_array_equal(drawn[weights == 0], 0)


def test_draw_stratified_is_random():
    """One draw of two: each half the time, within 5 sigma (false alarm 1e-6)."""
    rng = np.random.default_rng(2)
    first = [draw_stratified(np.ones(2), 1, rng)[0] for _ in range(1000)]
    assert abs(np.mean(first) - 0.5) < 5 * 0.5 / np.sqrt(1000)
    order = draw_stratified(np.ones(100), 100, rng)
    assert_array_equal(np.sort(order), np.arange(100))
    assert np.any(np.diff(order) < 0)


def test_energy_bands_hold_as_many_events_each():
    energy = np.random.default_rng(3).pareto(1.7, 1000) + 0.2
    edges = energy_band_edges(energy, max_bands=10, min_events=25)
    assert_array_equal(np.bincount(np.searchsorted(edges, energy)), 100)
    assert len(energy_band_edges(energy, max_bands=50, min_events=200)) == 4
    assert len(energy_band_edges(energy[:30], max_bands=50, min_events=25)) == 0


@pytest.mark.parametrize("energy", [np.ones(100), np.repeat([1.0, 2.0], [95, 5])])
def test_no_energy_band_is_empty_when_energies_are_equal(energy):
    edges = energy_band_edges(energy, max_bands=10, min_events=10)
    band = np.searchsorted(edges, energy)
    assert set(band) == set(range(len(edges) + 1))


def test_smooth_times_stay_in_the_intervals_and_follow_the_rate():
    """Twice the rate in the first of three intervals.

    6000 draws of 2:1:1, within 5 sigma (false alarm 1e-6).
    """
    rng = np.random.default_rng(4)
    start, stop = np.array([0.0, 150.0, 400.0]), np.array([100.0, 250.0, 500.0])
    seconds = [
        rng.uniform(low, high, n)
        for low, high, n in zip(start, stop, (400, 200, 200), strict=True)
    ]
    # one event before, one in a gap, one after the intervals
    seconds = np.concatenate([*seconds, [-1.0, 120.0, 501.0]])
    index = np.concatenate([rng.integers(0, 800, 6000), [800, 801, 802]])
    drawn = smooth_times(seconds, index, start, stop, rng)
    inside = (drawn[:, np.newaxis] >= start) & (drawn[:, np.newaxis] <= stop)
    assert np.all(inside.sum(axis=1) == 1)
    assert abs(inside[:, 0].sum() - 3000) < 5 * np.sqrt(6000 * 0.25)
    assert len(np.unique(drawn)) == len(drawn)
    # near to what was drawn: some events away, of 4 s**-1 (0.25 s) or less
    assert np.median(np.abs(drawn[:6000] - seconds[index[:6000]])) < 0.5


def test_seed_sequence_and_child_seed():
    assert seed_sequence(5).entropy == 5
    assert seed_sequence(None).entropy != seed_sequence(None).entropy
    one = seed_sequence(np.random.default_rng(1)).entropy
    assert one == seed_sequence(np.random.default_rng(1)).entropy
    child = child_seed(seed_sequence(5), 7, 8)
    assert child.spawn_key == (7, 8)
    assert child.generate_state(1) != child_seed(seed_sequence(5), 8, 7).generate_state(
        1
    )
    with pytest.raises(TypeError, match="random_state = 'x'"):
        seed_sequence("x")
    with pytest.raises(TypeError, match="random_state = True"):
        seed_sequence(True)
    with pytest.raises(ValueError, match="random_state = -1"):
        seed_sequence(-1)


# --- acceptance -----------------------------------------------------------------


def ring_events(rng, n, inner, outer):
    """Events uniform in solid angle in a ring."""
    radius = solid_angle_radii(rng.random(n), inner, outer)
    return radius, rng.uniform(0, 360, n)


def circle_share(theta, inner, outer):
    """Solid angle of a circle over that of a ring."""

    def cap(radius):
        return 1 - np.cos(np.radians(radius))

    return cap(theta) / (cap(outer) - cap(inner))


CASES = {
    "alone": (Circles([0.5], [10.0], [0.3]), 0.2, 0.8),
    "overlapping": (Circles([0.5, 0.7], [10.0, 50.0], [0.3, 0.3]), 0.2, 0.8),
    "near the pointing": (Circles([0.15], [10.0], [0.3]), 0.0, 0.45),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_expected_is_the_content_of_the_circle(case):
    """Uniform sky: expected is the share of solid angle; 5 sigma (1e-6)."""
    rng = np.random.default_rng(5)
    circles, inner, outer = case
    n = 200_000
    ring = EventAcceptance(
        inner, outer, circles, *ring_events(rng, n, inner, outer), np.ones(n)
    )
    expected = ring.expected(0)
    error = np.sqrt(np.sum(np.bincount(ring.sample, weights=expected) ** 2))
    assert abs(expected.sum() - n * circle_share(0.3, inner, outer)) < 5 * error
    assert error < 0.03 * expected.sum()


def test_expected_besides_other_circles_is_the_rest_of_the_union():
    rng = np.random.default_rng(6)
    circles = Circles([0.5, 0.6], [10.0, 30.0], [0.3, 0.3])
    n = 100_000
    events = ring_events(rng, n, 0.1, 1.0)
    ring = EventAcceptance(0.1, 1.0, circles, *events, np.ones(n))
    union = ring.expected(0).sum() + ring.expected(1, excluding=[0]).sum()
    counted = circles.contains(*events).any(axis=0).sum()
    # both are Poisson-like with about the same error; 5 sigma (1e-6)
    assert abs(union - counted) < 5 * np.sqrt(2 * counted)


@pytest.mark.parametrize("excluding", [(), (0,)])
def test_places_lie_in_the_circle_at_the_radius_of_the_sample(excluding):
    rng = np.random.default_rng(7)
    circles = Circles([0.5, 0.6], [10.0, 40.0], [0.3, 0.3])
    ring = EventAcceptance(
        0.1, 1.0, circles, *ring_events(rng, 5000, 0.1, 1.0), np.ones(5000)
    )
    entries = np.flatnonzero(ring.expected(1, excluding=excluding))
    offset, azimuth = ring.place(entries, 1, rng, excluding=excluding)
    assert_array_equal(offset, ring.radius_deg[entries])
    inside = circles.contains(offset, azimuth)
    # an arc of no width lies on the circle itself
    assert inside[1].mean() > 0.999
    assert not inside[list(excluding)].any()


def test_closed_radii_get_the_level_of_their_neighbours():
    """Source closer than theta to the pointing: no hole is left at the centre."""
    rng = np.random.default_rng(8)
    circles, inner, outer = CASES["near the pointing"]
    n = 100_000
    events = ring_events(rng, n, inner, outer)
    ring = EventAcceptance(inner, outer, circles, *events, np.ones(n))
    radius, _ = ring.shuffle(rng)
    assert radius.min() >= inner
    assert radius.max() <= outer
    counts, _ = np.histogram(solid_angle_fractions(radius, inner, outer), 10, (0, 1))
    # the error is that of the sample, 2 to 3 times Poisson; 5 % are 5 sigma (1e-6)
    assert_allclose(counts, n / 10, rtol=0.05)


def test_shuffle_keeps_the_profile_of_each_energy_band(monkeypatch):
    """Radius proportional to energy: after shuffling it still is, to a band's width.

    Negative control: with one band it is not.
    """
    rng = np.random.default_rng(9)
    radius, azimuth = ring_events(rng, 3000, 0.2, 0.8)
    circles = Circles([0.5], [10.0], [0.3])
    ring = EventAcceptance(0.2, 0.8, circles, radius, azimuth, radius)
    assert np.max(np.abs(ring.shuffle(rng)[0] - radius)) < 0.07
    monkeypatch.setattr(acceptance, "MAX_BANDS", 1)
    assert np.max(np.abs(ring.shuffle(rng)[0] - radius)) > 0.5


def test_grid_acceptance_draws_from_the_rate():
    """Three quarters of the rate in one half of azimuth; field turned by 90 deg.

    40 000 events, within 5 sigma (false alarm 1e-6).
    """
    rng = np.random.default_rng(10)
    circles = Circles([0.5], [180.0], [0.3])
    n = 40_000
    _, azimuth = grid_cells(0.2, 0.8, 30, 360)
    rate = np.where(azimuth < 180, 3.0, 1.0)[np.newaxis]
    ring = GridAcceptance(
        *(0.2, 0.8, circles),
        *ring_events(rng, n, 0.2, 0.8),
        rate=rate,
        node=np.zeros(n, dtype=int),
        turn_deg=np.full(n, 90.0),
        sense=1,
    )
    offset, azimuth = ring.shuffle(rng)
    assert offset.min() >= 0.2
    assert offset.max() <= 0.8
    bright = (azimuth + 90) % 360 < 180
    assert abs(bright.sum() - 0.75 * n) < 5 * np.sqrt(n * 0.75 * 0.25)
    # the circle at azimuth 180 lies in the fainter half, from 90 to 270
    share = circle_share(0.3, 0.2, 0.8)
    ratio = share / (2 - share)
    assert_allclose(ring.expected(0), ratio, rtol=0.01)
    place = ring.place(np.arange(500), 0, rng)
    assert circles.contains(*place).all()
