"""CPU time of mimics beside that of another checkout, in one run.

python tests/benchmarks/against.py OTHER_CHECKOUT [--number 100] [--rounds 3]

Mimics of H.E.S.S. DL3 DR1 ($GAMMAPY_DATA), file in to file out, made by the package in
both checkouts in turn. Both must work with the libraries of this interpreter.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parents[2]

CODE = """
import logging, sys, tempfile, time, warnings
from pathlib import Path
warnings.simplefilter("ignore")
logging.disable(logging.WARNING)
from gammapy.data import DataStore
from gammapy_mimic import MimicMaker
from gammapy_mimic.writer import write_run
store = DataStore.from_dir("$GAMMAPY_DATA/hess-dl3-dr1")
table = store.obs_table
donors = [int(i) for i in table["OBS_ID"][table["TARGET_NAME"] == "Off data"]]
path = Path(tempfile.mkdtemp()) / "mimic.fits"
for options in ({"background": "target"}, {}):
    maker, start = MimicMaker(**options), None
    for number in range(int(sys.argv[1]) + 1):
        start = time.process_time() if number == 1 else start
        donor = store.obs(donors[number % len(donors)])
        write_run(maker.run(store.obs(23523), donor), path, overwrite=True)
    print((time.process_time() - start) / int(sys.argv[1]))
"""


def seconds(checkout, number):
    """CPU time of a mimic with the target's background, and with the defaults."""
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    command = [sys.executable, "-c", CODE, str(number)]
    found = subprocess.run(
        command,
        env=environment,
        cwd=checkout,
        check=True,
        capture_output=True,
        text=True,
    )
    return [float(line) for line in found.stdout.split()]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("other", type=Path)
    parser.add_argument("--number", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    for _ in range(arguments.rounds):
        other, here = (seconds(it, arguments.number) for it in (arguments.other, HERE))
        for name, old, new in zip(("target", "default"), other, here, strict=True):
            text = f"background {name}: {1e3 * new:.1f} ms, other {1e3 * old:.1f} ms"
            sys.stdout.write(f"{text}, ratio {new / old:.2f}\n")


if __name__ == "__main__":
    main()
