"""Are the counts of the demo those which its background model predicts?

Model and truth are the same: over five seeds counts / background is 1.000 +- 0.005.

    python tests/truth/demo.py
"""

import tempfile

import numpy as np

from gammapy_mimic.demo import run_demo

if __name__ == "__main__":
    counts = background = 0.0
    for seed in range(5):
        with tempfile.TemporaryDirectory() as folder:
            table = run_demo(folder, random_state=seed)
        print(seed, np.round(table["counts"] / table["background"], 3), flush=True)
        counts += table["counts"].sum()
        background += table["background"].sum()
    print(f"all: {counts / background:.4f} +- {background**-0.5:.4f}")
