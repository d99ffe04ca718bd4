"""A campaign with one process and with two, and its memory."""

import subprocess
import sys
import time
from itertools import count

import pytest
import yaml

from gammapy_mimic import MimicCampaign
from gammapy_mimic.simulation import simulate_datastore

PEAK = """
import re, sys
from pathlib import Path
from gammapy_mimic import MimicCampaign
MimicCampaign.from_yaml(sys.argv[1]).run()
# of this process alone: ru_maxrss begins with that of the parent process
status = Path("/proc/self/status").read_text()
print(int(re.search(r"VmHWM:\\s+(\\d+)", status)[1]) // 1024)
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    simulate_datastore(folder, n_targets=10, n_donors=40, random_state=0)
    return folder


def config(runs, out, n_mimics):
    return {
        "observations": {
            "datastore": str(runs),
            "obs_ids": list(range(1001, 1011)),
        },
        "mimic": {
            "donors": {"where": {"TARGET_NAME": "Off data"}},
            "match": {"airmass": 5, "azimuth": "180 deg"},
            "scramble": {"catalogs": []},
            "n_mimics": n_mimics,
            "outdir": str(out),
        },
    }


def bench_processes(runs, tmp_path, tell):
    seconds = {1: [], 2: []}
    for number in (1, 2, 1, 2):
        out = tmp_path / f"out_{number}_{len(seconds[number])}"
        start = time.perf_counter()
        MimicCampaign(config(runs, out, 40)).run(number)
        seconds[number].append(time.perf_counter() - start)
    one, two = min(seconds[1]), min(seconds[2])
    tell(f"400 mimics: {one:.1f} s, with two processes {two:.1f} s: {one / two:.2f}")


def bench_memory(runs, tmp_path, tell):
    for n_mimics, number in zip((1, 8, 40), count(), strict=False):
        path = tmp_path / f"{number}.yaml"
        path.write_text(yaml.safe_dump(config(runs, tmp_path / str(number), n_mimics)))
        command = [sys.executable, "-W", "ignore", "-c", PEAK, str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        tell(f"{10 * n_mimics} mimics: peak {done.stdout.split()[-1]} MiB")
