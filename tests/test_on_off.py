"""On and off counts: those of gammapy's makers, and what scatters beyond Poisson."""

import os
from pathlib import Path

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from gammapy.data import DataStore
from gammapy.datasets import SpectrumDataset
from gammapy.makers import (
    ReflectedRegionsBackgroundMaker,
    ReflectedRegionsFinder,
    SpectrumDatasetMaker,
    WobbleRegionsFinder,
)
from gammapy.maps import MapAxis, RegionGeom
from gammapy.stats import WStatCountsStatistic
from helpers.runs import POINTING, START, make_run
from numpy.testing import assert_allclose, assert_array_equal
from regions import CircleSkyRegion, PointSkyRegion

from gammapy_mimic import MimicMaker
from gammapy_mimic.validation import on_off

POSITION = POINTING.directional_offset_by(30 * u.deg, 0.7 * u.deg)
EDGES = [0.2, 0.5, 1, 20] * u.TeV
CRAB = SkyCoord(83.63333, 22.01444, unit="deg")


def by_gammapy(runs, region, finder, edges=EDGES):
    """On and off counts of each run by gammapy's makers, and 1 / alpha."""
    geom = RegionGeom.create(
        region, axes=[MapAxis.from_energy_edges(edges, name="energy")]
    )
    axis_true = MapAxis.from_energy_edges(edges, name="energy_true")
    maker, off_maker = (
        SpectrumDatasetMaker(selection=["counts"]),
        ReflectedRegionsBackgroundMaker(finder),
    )
    found = []
    for run in runs:
        empty = SpectrumDataset.create(geom, energy_axis_true=axis_true)
        dataset = off_maker.run(maker.run(empty, run), run)
        found.append(
            [
                it.data.ravel()
                for it in (dataset.counts, dataset.counts_off, dataset.acceptance_off)
            ]
        )
    return np.array(found).swapaxes(0, 1)


def runs_of(kind, number=3):
    return [
        make_run(kind, obs_id=k + 1, n_events=4000, start=START + k * u.day, seed=k)
        for k in range(number)
    ]


@pytest.mark.parametrize("kind", ["rad_max", "fixed_rad_max"])
def test_counts_of_point_like_runs_are_those_of_gammapy(kind):
    runs = runs_of(kind)
    found = on_off(runs, POSITION, energy_edges=EDGES)
    on, off, regions = by_gammapy(
        runs, PointSkyRegion(POSITION), WobbleRegionsFinder(n_off_regions=3)
    )
    assert off.sum() > 50
    assert_array_equal(found.runs["N_ON"], on)
    assert_array_equal(found.runs["N_OFF"], off)
    table = found.table
    assert table.colnames == [
        *("ENERGY_MIN", "ENERGY_MAX", "N_ON", "N_OFF", "ALPHA", "EXCESS", "SQRT_TS")
    ]
    assert_array_equal(table["N_ON"], np.append(on.sum(), on.sum(axis=0)))
    assert_array_equal(table["N_OFF"], np.append(off.sum(), off.sum(axis=0)))
    assert_allclose(table["ALPHA"], 1 / regions[0, 0])
    assert_allclose(table["EXCESS"], table["N_ON"] - table["N_OFF"] / 3)
    expected = WStatCountsStatistic(table["N_ON"], table["N_OFF"], 1 / 3).sqrt_ts
    assert_allclose(table["SQRT_TS"], expected)
    assert_allclose(table["ENERGY_MIN"].to_value("TeV"), [0.2, 0.2, 0.5, 1])
    assert_allclose(table["ENERGY_MAX"].to_value("TeV"), [20, 0.5, 1, 20])


def test_counts_in_a_circle_are_those_of_gammapy():
    runs = runs_of("full")
    circle = CircleSkyRegion(POSITION, 0.2 * u.deg)
    found = on_off(runs, circle, energy_edges=EDGES)
    on, off, regions = by_gammapy(runs, circle, ReflectedRegionsFinder())
    assert_array_equal(found.runs["N_ON"], on)
    assert_array_equal(found.runs["N_OFF"], off)
    background = (off / regions).sum(axis=0)
    assert_allclose(found.table["EXCESS"][1:], on.sum(axis=0) - background)
    assert_allclose(found.table["ALPHA"][1:], background / off.sum(axis=0))


def test_fewer_off_regions_where_they_would_overlap():
    """At 0.16 deg a cut of 0.125 deg leaves room for two regions, at 0.1 deg none."""
    runs = runs_of("fixed_rad_max", 2)
    near = POINTING.directional_offset_by(30 * u.deg, 0.16 * u.deg)
    assert_allclose(on_off(runs, near).table["ALPHA"], 0.5)
    nearest = POINTING.directional_offset_by(30 * u.deg, 0.1 * u.deg)
    with pytest.raises(ValueError, match="none of 2 runs has an off region"):
        on_off(runs, nearest)


def test_runs_without_off_region_are_named(caplog):
    runs = runs_of("fixed_rad_max", 2)
    away = make_run("fixed_rad_max", obs_id=77, pointing=POSITION, n_events=200)
    found = on_off([*runs, away], POSITION)
    assert list(found.runs["OBS_ID"]) == [1, 2]
    assert "runs 77 are left out" in caplog.text


def test_off_regions_keep_away_from_sources():
    runs = runs_of("rad_max", 1)
    opposite = POINTING.directional_offset_by(210 * u.deg, 0.7 * u.deg)
    source = [CircleSkyRegion(opposite, 0.2 * u.deg)]
    found = on_off(runs, POSITION, exclusion=source)
    assert_allclose(found.table["ALPHA"], 1 / 2)


@pytest.mark.parametrize("kind", ["rad_max", "full"])
def test_region_has_to_fit_the_cut(kind):
    regions = {
        "rad_max": (
            CircleSkyRegion(POSITION, 0.2 * u.deg),
            "PointSkyRegion or SkyCoord",
        ),
        "full": (POSITION, "no directional cut"),
    }
    region, text = regions[kind]
    with pytest.raises(ValueError, match=text):
        on_off(runs_of(kind, 1), region)


def test_mimics_of_point_like_runs():
    """From runs to their systematic: donors are the experiments."""
    targets = runs_of("rad_max", 4)
    donors = [
        make_run("rad_max", obs_id=10 + k, n_events=20000, start=START + k * u.day)
        for k in range(4)
    ]
    mimics = [MimicMaker().run(*pair) for pair in zip(targets, donors, strict=True)]
    again = MimicMaker().run(targets[1], donors[0])
    found = on_off([*mimics, again], POSITION, energy_edges=EDGES)
    assert list(found.runs["DONOR_OBS_ID"]) == [10, 11, 12, 13, 10]
    row = found.systematic.table[0]
    assert (row["N_RUNS"], row["N_DONORS"]) == (5, 4)
    # drawn evenly over the camera: nothing is there
    assert row["SYSTEMATIC_UL"] > row["SYSTEMATIC"]
    assert row["MEAN"] == pytest.approx(1, abs=4 * row["MEAN_ERR"])
    assert abs(found.table["SQRT_TS"][0]) < 4
    labels = [it.get_text() for it in found.peek().axes[0].get_legend().get_texts()]
    assert labels[0] == "expected: alpha x off counts"
    assert labels[1].startswith("on counts (")


def test_magic():
    """The two public runs hold the Crab: counts of gammapy, seen by 20 sigma."""
    folder = Path(os.environ.get("GAMMAPY_DATA", "/nonexistent")) / "magic/rad_max/data"
    if not folder.is_dir():
        pytest.skip("needs the MAGIC runs in $GAMMAPY_DATA")
    runs = DataStore.from_dir(folder).get_observations(required_irf="point-like")
    edges = [0.08, 0.3, 1, 20] * u.TeV
    found = on_off(runs, CRAB, energy_edges=edges)
    finder = WobbleRegionsFinder(n_off_regions=3)
    on, off, _ = by_gammapy(runs, PointSkyRegion(CRAB), finder, edges)
    assert_array_equal(found.runs["N_ON"], on)
    assert_array_equal(found.runs["N_OFF"], off)
    assert found.table["SQRT_TS"][0] > 20
