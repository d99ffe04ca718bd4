"""Kill a campaign at random moments; resumed, it must equal an undisturbed one.

python tests/stress/kill_campaign.py --kills 100
"""

import argparse
import logging
import os
import signal
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from helpers.campaigns import OBJECTS, contents, settings
from helpers.runs import write_raw

from gammapy_mimic import MimicCampaign

KILLS_PER_CAMPAIGN = 4


def _run_and_kill(campaign, n_jobs, delay):
    process = os.fork()
    if not process:
        campaign.run(n_jobs)
        os._exit(0)
    time.sleep(delay)
    was_running = os.waitpid(process, os.WNOHANG) == (0, 0)
    if was_running:
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
    return was_running


def main():
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    rng = np.random.default_rng(args.seed)
    kills = campaigns = different = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        runs = [
            {"obs_id": i, "header": {"OBJECT": text}, "n_events": 60}
            for i, text in OBJECTS.items()
        ]
        (folder / "raw").mkdir()
        raw = write_raw(["full"] * len(runs), folder / "raw", runs=runs)
        start = time.perf_counter()
        MimicCampaign(settings(raw, folder / "reference")).run()
        duration = time.perf_counter() - start
        expected = contents(folder / "reference")
        while kills < args.kills:
            out = folder / f"out_{campaigns}"
            campaign, n_jobs = MimicCampaign(settings(raw, out)), 1 + campaigns % 2
            for _ in range(KILLS_PER_CAMPAIGN):
                kills += _run_and_kill(campaign, n_jobs, rng.uniform(0, duration))
            campaign.run(n_jobs)
            leftovers = list(out.rglob("*.tmp"))
            different += contents(out) != expected or bool(leftovers)
            campaigns += 1
    sys.stdout.write(f"{kills} kills, {campaigns} campaigns, {different} different\n")
    return bool(different)


if __name__ == "__main__":
    sys.exit(main())
