"""Stores are read by gammapy 1.3 as well: the same counts, the same background.

It needs other versions of numpy and astropy, so it is run in an environment of its
own, whose Python ``$GAMMAPY_1_3`` names; see docs/install.md.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from gammapy.data import DataStore
from numpy.testing import assert_allclose

from gammapy_mimic import MimicMaker, simulate_datastore, write_datastore

PYTHON = os.environ.get("GAMMAPY_1_3")
REDUCE = """
import json, sys, warnings
warnings.simplefilter("ignore")
import astropy.units as u, gammapy
from gammapy.data import DataStore
from gammapy.datasets import MapDataset
from gammapy.makers import MapDatasetMaker
from gammapy.maps import MapAxis, WcsGeom

energy = MapAxis.from_energy_bounds(0.5 * u.TeV, 20 * u.TeV, nbin=4)
true = MapAxis.from_energy_bounds(0.3 * u.TeV, 30 * u.TeV, nbin=5, name="energy_true")
maker = MapDatasetMaker(selection=["counts", "background", "exposure"])
numbers = {}
for folder in sys.argv[1:]:
    store = DataStore.from_dir(folder)
    for run in store.get_observations(required_irf="all-optional"):
        pointing = run.get_pointing_icrs(run.tmid)
        width = 4 * u.deg
        geom = WcsGeom.create(skydir=pointing, width=width, binsz=0.1, axes=[energy])
        empty = MapDataset.create(geom, energy_axis_true=true)
        dataset = maker.run(empty, run)
        numbers[f"{folder} {run.obs_id}"] = [
            len(run.events.table),
            int(dataset.counts.data.sum()),
            float(dataset.background.data.sum()),
            float(dataset.exposure.data.sum()),
            run.observation_live_time_duration.to_value("s"),
        ]
print(json.dumps([gammapy.__version__, numbers]))
"""


def reduce(python, folders):
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    command = [python, "-c", REDUCE, *map(str, folders)]
    result = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.splitlines()[-1])


@pytest.mark.skipif(PYTHON is None, reason="needs $GAMMAPY_1_3")
def test_same_numbers(tmp_path):
    store = simulate_datastore(
        tmp_path / "runs", n_targets=1, n_donors=2, random_state=1
    ).datastore
    mimics = MimicMaker(random_state=1).run_pairs(store, store, [(1001, 2001)])
    write_datastore(mimics, tmp_path / "mimics")
    write_datastore(mimics, tmp_path / "compressed", compress=True)
    folders = [tmp_path / "runs", tmp_path / "mimics", tmp_path / "compressed"]
    if "GAMMAPY_DATA" in os.environ:
        hess = DataStore.from_dir(Path(os.environ["GAMMAPY_DATA"]) / "hess-dl3-dr1")
        mimics = MimicMaker(background="target").run_pairs(hess, hess, [(23523, 25345)])
        write_datastore(mimics, tmp_path / "hess")
        folders.append(tmp_path / "hess")
    version, old = reduce(PYTHON, folders)
    assert version.startswith("1.3")
    _, new = reduce(sys.executable, folders)
    assert set(old) == set(new)
    for name in new:
        # events and counts exactly; else what the two make of the same numbers
        assert old[name][:2] == new[name][:2]
        assert_allclose(old[name][2:], new[name][2:], rtol=1e-5)
