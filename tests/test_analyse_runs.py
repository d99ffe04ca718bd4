"""Analyses of runs with RAD_MAX, and of sets with several mimics for a target."""

import os
from pathlib import Path

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from gammapy.data import DataStore, Observations
from gammapy.makers import WobbleRegionsFinder
from gammapy.modeling.models import Models
from helpers.runs import POINTING, START, make_run
from numpy.testing import assert_allclose, assert_array_equal
from regions import PointSkyRegion
from test_on_off import by_gammapy

from gammapy_mimic import MimicCampaign, simulate_datastore
from gammapy_mimic.analysis.point_like import check_on_region
from gammapy_mimic.analysis.scatter import event_overlap, set_scatter
from gammapy_mimic.analysis.steps import run_steps
from gammapy_mimic.config import MimicAnalysisConfig

POSITION = POINTING.directional_offset_by(30 * u.deg, 0.7 * u.deg)
EDGES = [0.2, 2, 20] * u.TeV


def config_of(position, edges=EDGES, parameters=None, **changes):
    low, high, number = edges[0], edges[-1], len(edges) - 1
    axes = {
        "energy": {"min": f"{low}", "max": f"{high}", "nbins": number},
        "energy_true": {"min": f"{low / 2}", "max": f"{high * 2}", "nbins": 8},
    }
    datasets = {
        "type": "1d",
        "stack": True,
        "geom": {"axes": axes},
        "on_region": {"frame": "icrs", "lon": position.ra, "lat": position.dec},
        "containment_correction": False,
        "background": {"method": "reflected", "parameters": parameters or {}},
        "safe_mask": {"methods": [], "parameters": {}},
    }
    return MimicAnalysisConfig.model_validate({"datasets": {**datasets, **changes}})


@pytest.mark.parametrize("number", [None, 1])
def test_on_region_of_the_size_of_rad_max(number):
    runs = Observations(
        [
            make_run(
                "rad_max", obs_id=k, n_events=4000, start=START + k * u.day, seed=k
            )
            for k in (1, 2)
        ]
    )
    finder = WobbleRegionsFinder(n_off_regions=number or 3)
    on, off, inverse_alpha = by_gammapy(runs, PointSkyRegion(POSITION), finder, EDGES)
    assert_allclose(inverse_alpha, number or 3)
    parameters = {} if number is None else {"n_off_regions": number}
    config = config_of(POSITION, parameters=parameters)
    found = run_steps(config, runs, Models())
    assert found.problem is None
    assert found.values["n_on"]["value"] == on.sum() > 0
    assert found.values["n_off"]["value"] == off.sum()
    assert_allclose(found.values["background"]["value"], off.sum() / (number or 3))
    # the settings are not changed
    assert config.datasets.background.parameters == parameters


def test_off_regions_that_have_no_room():
    runs = Observations([make_run("rad_max", pointing=POSITION)])
    found = run_steps(config_of(POSITION), runs, Models())
    assert found.problem.startswith("datasets: ValueError: run 1: no off region")


@pytest.mark.parametrize(
    ("kind", "changes", "text"),
    [
        ("full", {}, r"on_region\.radius is not set"),
        ("rad_max", {"on_region": {"radius": "0.1 deg"}}, "leave the radius out"),
        ("rad_max", {"containment_correction": True}, "must be false"),
        ("rad_max", {"background": {"method": "ring"}}, "must be reflected"),
    ],
)
def test_on_region_that_does_not_go_with_the_runs(kind, changes, text):
    with pytest.raises(ValueError, match=text):
        check_on_region(config_of(POSITION, **changes), make_run(kind))


@pytest.mark.data
def test_magic():
    folder = Path(os.environ.get("GAMMAPY_DATA", "/nonexistent")) / "magic/rad_max/data"
    if not folder.is_dir():
        pytest.skip("needs the MAGIC runs in $GAMMAPY_DATA")
    runs = DataStore.from_dir(folder).get_observations(required_irf="point-like")
    crab, edges = SkyCoord(83.633, 22.014, unit="deg"), [0.1, 1, 10] * u.TeV
    finder = WobbleRegionsFinder(n_off_regions=3)
    on, off, _ = by_gammapy(runs, PointSkyRegion(crab), finder, edges)
    found = run_steps(config_of(crab, edges), runs, Models()).values
    assert (found["n_on"]["value"], found["n_off"]["value"]) == (on.sum(), off.sum())
    assert found["sqrt_ts"]["value"] > 20


# several mimics for a target -----------------------------------------------------


def count(observations):
    """Counts near the source."""
    place = SkyCoord(75, 22, unit="deg")
    number = sum(
        (run.events.radec.separation(place) < 0.3 * u.deg).sum() for run in observations
    )
    return {"n": number, "n_err": number**0.5, "runs": len(observations)}


def test_sets_with_several_mimics_for_a_target(tmp_path):
    simulate_datastore(tmp_path / "targets", n_targets=2, n_donors=0, random_state=1)
    simulate_datastore(
        *(tmp_path / "donors",), n_targets=2, n_donors=5, duration=12 * u.min
    )
    content = {
        "observations": {
            "datastore": str(tmp_path / "targets"),
            "obs_ids": [1001, 1002],
        },
        "datasets": {
            "type": "1d",
            "on_region": {
                **{"frame": "icrs", "lon": "75 deg", "lat": "22 deg"},
                "radius": "0.3 deg",
            },
        },
        "mimic": {
            "donors": {
                "datastore": str(tmp_path / "donors"),
                "where": {"TARGET_NAME": "Off data"},
            },
            "match": {
                **dict.fromkeys(("muon_efficiency", "azimuth", "n_tels", "nsb")),
                **{"airmass": 5, "fill": True, "reuse": 2},
            },
            "scramble": None,
            "n_mimics": 2,
            "outdir": str(tmp_path / "mimics"),
        },
    }
    campaign = MimicCampaign(content)
    campaign.run()
    ensemble = campaign.map(count, unblind=True)
    assert ensemble.failed == []
    runs = ensemble.quantity("runs")["values"]
    # other numbers of mimics, but the same targets
    assert max(runs) > 2
    assert ensemble.meta["targets"] == [1001, 1002]
    assert ensemble.target["runs"]["value"] == 2
    n = ensemble.quantity("n")
    assert n["n_donors"] <= 5
    # events that are there twice scatter together
    assert n["statistical"] >= sum(it**2 for it in n["errors"]) ** 0.5 / 2**0.5


def test_events_that_a_set_has_twice():
    sets = [[("a", 1), ("a", 1), ("a", 2)], [("b", 1), ("b", 2)], []]
    overlap = event_overlap(sets)
    assert_allclose(overlap.diagonal(), [5 / 3, 1, 1])
    assert_array_equal(overlap[0, 1:], 0)
    values, errors = np.array([1.0, 2.0, 3.0]), np.ones(3)
    found = set_scatter(values, errors, np.eye(3), overlap)
    assert_allclose(found["statistical"] ** 2, (5 / 3 + 2) / 3)
