"""What a user waits for: CPU time, time and memory of each command of a campaign.

    python tests/benchmarks/job.py FOLDER [CASE ...] [--other CHECKOUT]

CASE is "crab" (4 targets, 5 sets) or "pks" (21 targets, 3 sets) of H.E.S.S. DL3 DR1
($GAMMAPY_DATA), or a number of sets of 20 simulated runs each, as "50". The yardstick
is `Analysis.get_datasets` of gammapy for the same sets. ``--other`` does the same with
the package of another checkout, in turn.
"""

import argparse
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import yaml

HERE = Path(__file__).parents[2]
HESS = "$GAMMAPY_DATA/hess-dl3-dr1"
PLACES = {
    "crab": ("83.633 deg", "22.014 deg", "Crab", 5),
    "pks": ("329.717 deg", "-30.226 deg", "PKS 2155-304", 3),
}
MATCH = {"relax": ["airmass"], "azimuth": None, "muon_efficiency": None}
NEW = {"effective_area": None}
"""What version 0.1 does not know."""
SIMULATE = """
import sys
from gammapy_mimic import simulate_datastore
simulate_datastore(sys.argv[1], n_targets=20, n_donors=300, random_state=11)
"""
COMMAND = "from gammapy_mimic.cli import main; main()"
YARDSTICK = """
import sys
from gammapy.analysis import Analysis, AnalysisConfig
from gammapy.data import DataStore
from pathlib import Path
for folder in sorted(Path(sys.argv[1]).glob("mimic_*")):
    config = AnalysisConfig.read(folder / "analysis.yaml")
    analysis = Analysis(config)
    analysis.observations = DataStore.from_dir(folder).get_observations()
    analysis.get_datasets()
"""


def content(folder, case):
    """Configuration of a case; its runs are simulated if it needs any."""
    if case in PLACES:
        lon, lat, name, n_sets = PLACES[case]
        from gammapy.data import DataStore

        table = DataStore.from_dir(HESS).obs_table
        is_target = [each.startswith(name) for each in table["TARGET_NAME"]]
        ids = table["OBS_ID"][is_target].tolist()
        observations = {"datastore": HESS, "obs_ids": ids}
        energy = {"min": "0.7 TeV", "max": "20 TeV", "nbins": 8}
        match, scramble = MATCH, {"catalogs": ["gamma-cat"], "theta": "0.3 deg"}
    else:
        lon, lat, n_sets = "75 deg", "22 deg", int(case)
        runs = folder / "runs"
        if not runs.exists():
            subprocess.run([sys.executable, "-c", SIMULATE, runs], check=True)
        observations = {"datastore": str(runs), "obs_ids": [*range(1001, 1021)]}
        energy = {"min": "0.8 TeV", "max": "10 TeV", "nbins": 3}
        match, scramble = {"muon_efficiency": None, "airmass": 0.3}, None
    place = {"frame": "icrs", "lon": lon, "lat": lat}
    size = {"width": "5 deg", "height": "5 deg"}
    return {
        "observations": observations,
        "datasets": {
            "type": "3d",
            "geom": {
                "wcs": {"skydir": place, "binsize": "0.05 deg", "width": size},
                "axes": {
                    "energy": energy,
                    "energy_true": {"min": "0.4 TeV", "max": "40 TeV", "nbins": 16},
                },
            },
            "background": {"method": "fov_background"},
            "safe_mask": {
                "methods": ["offset-max"],
                "parameters": {"offset_max": "2.5 deg"},
            },
        },
        "mimic": {
            "donors": {"where": {"TARGET_NAME": "Off data"}},
            "match": match,
            "scramble": scramble,
            "n_mimics": n_sets,
            "random_state": 42,
            "outdir": str(folder / f"mimics_{case}"),
        },
    }


def measure(name, arguments, checkout, n_mimics):
    """Run a command; print its CPU time, time and memory."""
    environment = {**os.environ, "PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"}
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-c", *arguments],
        env=environment,
        cwd=checkout,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    message = process.stdout.read()
    _, status, used = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{name}: {message.decode()[-2000:]}")
    cpu = used.ru_utime + used.ru_stime
    seconds = time.perf_counter() - start
    tell(
        f"{name:14} CPU {cpu:7.1f} s, {cpu / n_mimics * 1e3:7.0f} ms a mimic, "
        f"time {seconds:7.1f} s, {used.ru_maxrss / 2**10:5.0f} MiB"
    )


def tell(line):
    """Write a line at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main():
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("cases", nargs="*", default=["crab", "pks", "50"])
    parser.add_argument("--other", type=Path)
    arguments = parser.parse_args()
    folder = arguments.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    for case in arguments.cases:
        settings = content(folder, case)
        out = Path(settings["mimic"]["outdir"])
        config = folder / f"{case}.yaml"
        match = settings["mimic"]["match"]
        for checkout in filter(None, (HERE, arguments.other)):
            shutil.rmtree(out, ignore_errors=True)
            new = NEW if checkout == HERE else {}
            settings["mimic"]["match"] = {**match, **new}
            config.write_text(yaml.safe_dump(settings))
            number = settings["mimic"]["n_mimics"]
            number *= len(settings["observations"]["obs_ids"])
            tell(f"{case}, {number} mimics, {checkout}")
            for name in ("help", "pairs", "run", "run", "check", "report", "report"):
                again = {"help": ["--help"], "check": [name, out]}
                words = again.get(name, [name, config])
                if name == "report":
                    words = [name, out, "--overwrite"]
                measure(name, [COMMAND, *map(str, words)], checkout, number)
            measure("get_datasets", [YARDSTICK, str(out)], checkout, number)


if __name__ == "__main__":
    main()
