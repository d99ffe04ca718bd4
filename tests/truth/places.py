"""Coverage of the systematic at a place: gradients over the camera, few counts.

Each experiment has K donors with P places of m expected counts at the same offset, and
a gradient of random size and direction in each donor. Measured: where it is larger than
what is seen, the truth lies within SYSTEMATIC_ERR in 0.63 to 0.74 of the experiments
(more often where it is not), and in 0.90 or more below SYSTEMATIC_UL. Run by hand:
python tests/truth/places.py
"""

import sys

import numpy as np

from gammapy_mimic.validation.local import _scatter
from gammapy_mimic.validation.systematic_limits import systematic_limits

N_EXPERIMENTS = 2000
OFFSET = 0.5


def experiments(n_donors, n_places, expected, gradient, rng):
    """Systematic, its error and upper limit of all experiments."""
    angle = 2 * np.pi * np.arange(n_places) / n_places
    found = []
    for _ in range(N_EXPERIMENTS):
        amplitude = rng.normal(0, gradient * OFFSET, (n_donors, 1))
        turn = rng.uniform(0, 2 * np.pi, (n_donors, 1))
        level = np.clip(1 + amplitude * np.cos(angle + turn), 0, None)
        counts = rng.poisson(expected * level)
        predicted = np.full(n_places, float(expected))
        places = [np.array([it, predicted, 0 * predicted]) for it in counts]
        found.append(_scatter(places))
    total, poisson = np.transpose(found)
    places = np.full(len(found), n_donors * n_places - 1.0)
    freedom = places / n_places
    return systematic_limits(total, poisson, freedom, places)


def main():
    """Print a table."""
    rng = np.random.default_rng(1)
    for n_donors in (5, 8, 24):
        for n_places, expected in ((1, 300), (4, 300), (12, 20), (25, 3)):
            for gradient in (0.0, 0.1, 0.2):
                truth = gradient * OFFSET / np.sqrt(2)
                found = experiments(n_donors, n_places, expected, gradient, rng)
                value, error = found["SYSTEMATIC"], found["SYSTEMATIC_ERR"]
                limit = found["SYSTEMATIC_UL"]
                sys.stdout.write(
                    f"K = {n_donors:2} P = {n_places:2} m = {expected:3} truth "
                    f"{truth:.3f}: rms {np.sqrt(np.mean(value**2)):.3f} covered "
                    f"{np.mean(np.abs(value - truth) <= error):.2f} below limit "
                    f"{np.mean(limit >= truth):.2f} (median {np.median(limit):.3f})\n"
                )


if __name__ == "__main__":
    main()
