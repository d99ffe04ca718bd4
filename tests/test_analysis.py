"""Mimics inside of gammapy's Analysis and Workflow."""

import copy
import importlib
import logging
import sys

import numpy as np
import pytest
from astropy import units as u
from gammapy.analysis import Analysis
from gammapy.modeling.models import PowerLawSpectralModel, SkyModel
from numpy.testing import assert_array_equal

from gammapy_mimic import MimicAnalysis, MimicCampaign, simulate_datastore
from gammapy_mimic.config import ConfigError

SETTINGS = {
    "observations": {"obs_ids": [1001, 1002]},
    "datasets": {
        "type": "3d",
        "stack": True,
        "geom": {
            "wcs": {
                "skydir": {"frame": "icrs", "lon": "75 deg", "lat": "22 deg"},
                "binsize": "0.1 deg",
                "width": {"width": "4 deg", "height": "4 deg"},
            },
            "axes": {
                "energy": {"min": "0.8 TeV", "max": "10 TeV", "nbins": 3},
                "energy_true": {"min": "0.4 TeV", "max": "20 TeV", "nbins": 6},
            },
        },
        "background": {"method": "fov_background"},
        "safe_mask": {
            "methods": ["offset-max"],
            "parameters": {"offset_max": "2 deg"},
        },
    },
    "mimic": {
        "donors": {"where": {"TARGET_NAME": "Off data"}},
        "scramble": None,
        "n_mimics": 2,
        "match": {"muon_efficiency": None},
    },
}

ON_REGION = {"frame": "icrs", "lon": "75 deg", "lat": "22 deg", "radius": "0.15 deg"}
SPECTRUM = {
    "type": "1d",
    "stack": False,
    "on_region": ON_REGION,
    "containment_correction": False,
    "background": {"method": "reflected"},
}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    path = tmp_path_factory.mktemp("synthetic") / "runs"
    return simulate_datastore(path, n_targets=2, n_donors=6, random_state=7)


@pytest.fixture
def settings(store, tmp_path):
    settings = copy.deepcopy(SETTINGS)
    settings["observations"]["datastore"] = str(store.path)
    settings["mimic"]["outdir"] = str(tmp_path / "mimics")
    return settings


def donors_of(observations):
    return [run.events.table.meta["MIM_DON"] for run in observations]


def test_mimics_are_made_in_memory_or_taken_from_disk(settings, tmp_path, caplog):
    first = MimicAnalysis(settings)
    first.get_observations()
    assert [run.obs_id for run in first.observations] == [1001, 1002]
    assert not (tmp_path / "mimics").exists()

    campaign = MimicCampaign(settings)
    assert campaign.run().complete
    for number in (0, 1):
        analysis = MimicAnalysis(settings, mimic_set=number)
        analysis.get_observations()
        # on disk, read as any other run
        assert analysis.datastore.hdu_table.base_dir.name == f"mimic_00{number}"
        made = campaign.make(number)
        assert donors_of(made) == donors_of(analysis.observations)
        for one, other in zip(made, analysis.observations, strict=True):
            assert_array_equal(one.events.table["RA"], other.events.table["RA"])
    assert donors_of(first.observations) != donors_of(analysis.observations)

    settings["mimic"]["alignment"] = "radec"
    other = MimicAnalysis(settings)
    with caplog.at_level(logging.WARNING):
        other.get_observations()
    assert "mimic.alignment: 'altaz' there, 'radec' now" in caplog.text
    assert other.datastore is None
    assert other.observations[0].events.table.meta["MIM_ALGN"] == "radec"


def test_maps_of_mimics(settings):
    """The synthetic background models are true: no excess, norm 1."""
    analysis = MimicAnalysis(settings)
    analysis.get_observations()
    analysis.get_datasets()
    (dataset,) = analysis.datasets
    counts, background = (
        dataset.counts.data.sum(),
        dataset.npred_background().data.sum(),
    )
    mask = dataset.mask_safe.data
    counts = dataset.counts.data[mask].sum()
    background = dataset.npred_background().data[mask].sum()
    # the field-of-view background is normalised to the counts
    assert abs(counts - background) < 0.01 * counts
    analysis.config.excess_map.correlation_radius = 0.2 * u.deg
    analysis.get_excess_map()
    significance = analysis.excess_map["sqrt_ts"].data
    finite = significance[np.isfinite(significance)]
    # about 100 independent circles: mean within 4 / 10, and nothing beyond 6 sigma
    assert abs(finite.mean()) < 0.4
    assert np.abs(finite).max() < 6


def test_the_targets_themselves_have_an_excess(settings):
    """Control: the same analysis sees the source in the targets."""
    analysis = Analysis(MimicAnalysis(settings).config.to_analysis_config())
    analysis.get_observations()
    analysis.get_datasets()
    analysis.config.excess_map.correlation_radius = 0.2 * u.deg
    analysis.get_excess_map()
    assert np.nanmax(analysis.excess_map["sqrt_ts"].data) > 15


def test_spectrum_of_mimics(settings):
    """All one-dimensional steps of gammapy run as on the targets."""
    settings["datasets"] = {**settings["datasets"], **SPECTRUM}
    settings["flux_points"] = {
        "energy": {"min": "0.8 TeV", "max": "10 TeV", "nbins": 2},
        "source": "source",
        # gammapy's Analysis logs the upper limits
        "parameters": {"selection_optional": ["ul"]},
    }
    settings["light_curve"] = {
        "energy_edges": {"min": "0.8 TeV", "max": "10 TeV", "nbins": 1},
        "source": "source",
        "time_intervals": {"start": None, "stop": None},
        "parameters": {"selection_optional": []},
    }
    analysis = MimicAnalysis(settings)
    analysis.get_observations()
    analysis.get_datasets()
    assert len(analysis.datasets) == 2
    model = PowerLawSpectralModel(amplitude="1e-12 TeV-1 s-1 cm-2", reference="1 TeV")
    model.index.frozen = True
    analysis.set_models([SkyModel(spectral_model=model, name="source")])
    analysis.run_fit()
    assert analysis.fit_result.success
    amplitude = analysis.models["source"].parameters["amplitude"]
    # an empty field: within 5 deviations of nothing
    assert abs(amplitude.value) < 5 * amplitude.error
    analysis.get_flux_points()
    assert len(analysis.flux_points.data.energy_axis.center) == 2
    analysis.get_light_curve()
    assert analysis.light_curve.geom.axes["time"].nbin == 2


def test_plain_analysis_takes_mimics(settings):
    campaign = MimicCampaign(settings)
    analysis = Analysis(campaign.config.to_analysis_config())
    analysis.observations = campaign.make()
    analysis.get_datasets()
    ours = MimicAnalysis(settings)
    ours.get_observations()
    ours.get_datasets()
    assert_array_equal(analysis.datasets[0].counts.data, ours.datasets[0].counts.data)


def test_time_intervals_apply_to_the_mimics(settings, store):
    run = store.datastore.obs(1001)
    middle = run.gti.time_start[0] + 300 * u.s
    settings["observations"]["obs_time"] = {
        "start": run.gti.time_start[0].utc.isot,
        "stop": middle.utc.isot,
    }
    settings["observations"]["obs_ids"] = [1001]
    analysis = MimicAnalysis(settings)
    analysis.get_observations()
    (mimic,) = analysis.observations
    assert mimic.gti.time_sum.to_value("s") == pytest.approx(300, abs=1e-3)
    assert mimic.events.time.max() <= middle


def test_configuration(settings, tmp_path):
    analysis = MimicAnalysis(settings)
    analysis.config.write(tmp_path / "config.yaml")
    read = MimicAnalysis(tmp_path / "config.yaml")
    assert read.config == analysis.config
    read.update_config({"mimic": {"n_mimics": 4}})
    assert read.config.mimic.n_mimics == 4
    assert read.config.datasets == analysis.config.datasets
    with pytest.raises(ConfigError, match=r"mimic\.n_mimic: unknown"):
        read.update_config("mimic: {n_mimic: 4}")
    with pytest.raises(ValueError, match="mimic_set = 2: must be from 0 to 1"):
        MimicAnalysis(settings, mimic_set=2)


def test_older_gammapy_has_no_such_steps(monkeypatch):
    from gammapy.workflow.steps import WorkflowStepBase

    monkeypatch.delattr(WorkflowStepBase, "inputs", raising=False)
    monkeypatch.delitem(sys.modules, "gammapy_mimic.analysis.workflow", raising=False)
    with pytest.raises(ImportError, match=r"needs gammapy 2\.1"):
        importlib.import_module("gammapy_mimic.analysis.workflow")


def test_step_of_a_workflow(settings):
    pytest.importorskip("gammapy", minversion="2.1")
    from gammapy import workflow

    from gammapy_mimic.analysis.workflow import MimicWorkflowConfig

    del settings["mimic"]["outdir"]
    config = MimicWorkflowConfig(
        general={"steps": ["mimic", "datasets", "excess-map"], "overwrite": [True] * 3},
        **settings,
    )
    work = workflow.Workflow(config)
    work.run()
    assert donors_of(work.observations) == donors_of(MimicCampaign(settings).make())
    assert work.datasets[0].counts.data.sum() > 0
    work.run(["mimic"], mimic_set=1)
    assert donors_of(work.observations) == donors_of(MimicCampaign(settings).make(1))
    with pytest.raises(ValueError, match="mimic_set = 2: must be from 0 to 1"):
        work.run(["mimic"], mimic_set=2)
    tags = [step.tag for step in workflow.WORKFLOW_STEP_REGISTRY]
    assert tags.count("mimic") == 1
