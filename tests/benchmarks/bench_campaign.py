"""A campaign with one process and with two, and its memory."""

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml

from gammapy_mimic import MimicCampaign
from gammapy_mimic.simulation import simulate_datastore

HESS = Path(os.environ.get("GAMMAPY_DATA", "/nonexistent")) / "hess-dl3-dr1"

PEAK = """
import re, sys
from pathlib import Path
from gammapy_mimic import MimicCampaign
MimicCampaign.from_yaml(sys.argv[1]).run()
# of this process alone: ru_maxrss begins with that of the parent process
status = Path("/proc/self/status").read_text()
print(int(re.search(r"VmHWM:\\s+(\\d+)", status)[1]) // 1024)
"""

OFF = ["muon_efficiency", "nsb", "n_tels", "effective_area"]
"""Cuts that would leave some targets without donors."""


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    simulate_datastore(folder, n_targets=10, n_donors=40, random_state=0)
    return folder


def config(observations, out, n_mimics):
    return {
        "observations": observations,
        "mimic": {
            "donors": {"where": {"TARGET_NAME": "Off data"}},
            "match": {"airmass": 5, "azimuth": "180 deg"} | dict.fromkeys(OFF),
            "scramble": {"catalogs": []},
            "n_mimics": n_mimics,
            "outdir": str(out),
        },
    }


def simulated(runs):
    return {"datastore": str(runs), "obs_ids": list(range(1001, 1011))}


def bench_processes(runs, tmp_path, tell):
    _compare(simulated(runs), 40, tmp_path, tell)


@pytest.mark.skipif(not HESS.exists(), reason="needs $GAMMAPY_DATA")
def bench_processes_hess(tmp_path, tell):
    observations = {"datastore": str(HESS), "obs_ids": [23523, 23526, 23559, 23592]}
    _compare(observations, 20, tmp_path, tell)


def _compare(observations, n_mimics, tmp_path, tell):
    ratios = []
    for pair in range(5):
        seconds = []
        for n_jobs in (1, 2):
            out = tmp_path / f"out_{pair}_{n_jobs}"
            campaign = MimicCampaign(config(observations, out, n_mimics))
            start = time.perf_counter()
            made = campaign.run(n_jobs).made
            seconds.append(time.perf_counter() - start)
        ratios.append(seconds[0] / seconds[1])
        tell("{} mimics: {:.1f} s, with two processes {:.1f} s".format(made, *seconds))
    tell(f"two processes are {np.median(ratios):.2f} times as fast (median)")


def bench_memory(runs, tmp_path, tell):
    observations = simulated(runs)
    for n_mimics in (1, 8, 40):
        path = tmp_path / f"{n_mimics}.yaml"
        out = tmp_path / str(n_mimics)
        path.write_text(yaml.safe_dump(config(observations, out, n_mimics)))
        command = [sys.executable, "-W", "ignore", "-c", PEAK, str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        made = len(list(out.glob("mimic_*/[0-9]*.fits*")))
        tell(f"{made} mimics: peak {done.stdout.split()[-1]} MiB")
