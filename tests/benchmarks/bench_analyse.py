"""`MimicCampaign.analyse` against gammapy's own steps on the same sets, CPU seconds."""

import copy
import cProfile
import pstats
import time

import numpy as np
import pytest
from gammapy.analysis import Analysis
from gammapy.modeling.models import (
    Models,
    PointSpatialModel,
    PowerLawSpectralModel,
    SkyModel,
)

from gammapy_mimic import MimicCampaign, simulate_datastore
from gammapy_mimic.analysis import free_amplitudes
from gammapy_mimic.data.compat.progress import no_bars

N_SETS = 2
PLACE = {"frame": "icrs", "lon": "75 deg", "lat": "22 deg"}
GEOM = {
    "axes": {
        "energy": {"min": "0.8 TeV", "max": "10 TeV", "nbins": 4},
        "energy_true": {"min": "0.4 TeV", "max": "20 TeV", "nbins": 12},
    },
    "wcs": {
        "skydir": PLACE,
        "binsize": "0.04 deg",
        "width": {"width": "4 deg", "height": "4 deg"},
    },
}
DATASETS = {
    "1d": {
        "type": "1d",
        "geom": GEOM,
        "on_region": {**PLACE, "radius": "0.2 deg"},
        "background": {"method": "reflected"},
    },
    "3d": {"type": "3d", "geom": GEOM, "background": {"method": "fov_background"}},
}
FLUX_POINTS = {
    "energy": {"min": "0.8 TeV", "max": "10 TeV", "nbins": 2},
    "source": "source",
    "parameters": {"selection_optional": ["ul"]},
}
SOURCE = SkyModel(
    spectral_model=PowerLawSpectralModel(amplitude="1e-11 TeV-1 s-1 cm-2", index=2.6),
    spatial_model=PointSpatialModel(lon_0="75 deg", lat_0="22 deg", frame="icrs"),
    name="source",
)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("analyse")
    simulate_datastore(folder / "runs", n_targets=4, n_donors=12, random_state=7)
    content = {
        "observations": {"datastore": str(folder / "runs")},
        "mimic": {
            "donors": {"where": {"TARGET_NAME": "Off data"}},
            "scramble": None,
            "n_mimics": N_SETS,
            "match": {"muon_efficiency": None, "airmass": 0.3},
            "outdir": str(folder / "mimics"),
        },
    }
    content["observations"]["obs_ids"] = [1001, 1002, 1003, 1004]
    assert MimicCampaign(content).run().complete
    return content


@pytest.mark.parametrize("flux_points", [False, True])
@pytest.mark.parametrize("kind", DATASETS)
def bench_against_gammapy(made, kind, flux_points, tell):
    content = {**copy.deepcopy(made), "datasets": DATASETS[kind]}
    if flux_points:
        content["flux_points"] = FLUX_POINTS
    campaign = MimicCampaign(content)
    models = free_amplitudes(Models([SOURCE]))

    def gammapy_alone():
        for number in range(N_SETS):
            analysis = Analysis(campaign.config.to_analysis_config())
            analysis.config.observations.datastore = campaign.store_path(number)
            analysis.config.general.log.level = "error"
            analysis.get_observations()
            analysis.get_datasets()
            analysis.set_models(models.copy())
            analysis.run_fit()
            if flux_points:
                analysis.get_flux_points()

    def ours():
        campaign.analyse(models=[SOURCE], overwrite=True)

    seconds = []
    with no_bars():
        for function in (gammapy_alone, ours) * 2:
            start = time.process_time()
            function()
            seconds.append(time.process_time() - start)
    # gammapy's first round warms up for both
    theirs, own = seconds[2] / N_SETS, np.mean(seconds[1::2]) / N_SETS
    what = f"{kind}, {'with' if flux_points else 'without'} flux points"
    tell(f"{what}: {own:.2f} s a set, gammapy {theirs:.2f}: x {own / theirs:.2f}")
    profile = cProfile.Profile()
    profile.runcall(ours)
    names = "get_datasets run_fit get_flux_points _null_stat _origin ensemble __init__"
    spent = _cumulative(profile, names.split())
    tell(", ".join(f"{name} {part:.0%}" for name, part in spent.items()))


def _cumulative(profile, names):
    """Part of the whole time that some functions have taken."""
    stats = pstats.Stats(profile)
    found = dict.fromkeys(names, 0.0)
    for (path, _, name), (*_, seconds, _) in stats.stats.items():
        is_step = "analysis" in path and "tests" not in path
        if name in found and is_step:
            found[name] = max(found[name], seconds)
    return {name: it / stats.total_tt for name, it in found.items()}
