"""Do the numbers of the systematic hold the truth as often as they say?

2000 experiments for each number of donors, uses of a donor, and systematic. Truth: MEAN
and SYSTEMATIC hold it in 0.63 to 0.73, SYSTEMATIC_UL in 0.93 to 0.97, the rms of
SYSTEMATIC is that put in within 3 %. Then the correlations of five bins.

    python tests/truth/coverage.py [number of experiments]
"""

import itertools
import sys

import numpy as np

from gammapy_mimic.validation.statistics import (
    donor_ratios,
    scatter,
    systematic_correlation,
    systematic_covariance,
)

LEVEL = 1160
BINS = np.array([400.0, 380.0, 200.0, 100.0, 80.0])
LOG_ENERGY = np.log([0.63, 1.02, 1.65, 2.67, 8.25])


def donors_drawn(rng, shape, mean, factor):
    """Counts and prediction of donors; exposures differ by 30 %."""
    predicted = mean * np.exp(rng.normal(0, 0.3, (*shape, 1)))
    return rng.poisson(predicted * factor.clip(0.01)), predicted


def coverage(rng, number, n_donors, uses, truth, heavy=False):
    """Row of the table: what holds the truth, and the rms of SYSTEMATIC."""
    shape = (number, n_donors)
    normal = rng.normal(size=(*shape, 1))
    if heavy:
        # Student's t of 5 degrees of freedom, with variance 1
        normal = rng.standard_t(5, (*shape, 1)) * np.sqrt(3 / 5)
    counts, predicted = donors_drawn(rng, shape, LEVEL, 1 + truth * normal)
    donors = np.repeat(np.arange(n_donors), uses)
    ratios = donor_ratios(counts[:, donors], predicted[:, donors], donors)
    found = scatter(ratios.ratio, ratios.variance)
    systematic = found["SYSTEMATIC"]
    return (
        np.mean(np.abs(found["MEAN"] - 1) <= found["MEAN_ERR"]),
        np.mean(np.abs(systematic - truth) <= found["SYSTEMATIC_ERR"]),
        np.mean(found["SYSTEMATIC_UL"] >= truth),
        np.sqrt(np.mean(systematic**2)) / truth if truth else np.nan,
        np.mean(systematic == 0),
        found["SYSTEMATIC_UL"].max(),
    )


FACTORS = {
    "Poisson": lambda rng, shape: np.ones((*shape, 5)),
    "norm": lambda rng, shape: 1 + rng.normal(0, 0.1, (*shape, 1)),
    "each bin": lambda rng, shape: 1 + rng.normal(0, 0.1, (*shape, 5)),
    "norm + bin": lambda rng, shape: (
        FACTORS["norm"](rng, shape) * FACTORS["each bin"](rng, shape)
    ),
    "tilt": lambda rng, shape: np.exp(LOG_ENERGY * rng.normal(0, 0.1, (*shape, 1))),
}


def correlations(rng, number, n_donors, factors):
    """Mean beside the diagonal, its scatter, 1 to 5, least eigenvalue."""
    shape = (number, n_donors)
    counts, predicted = donors_drawn(rng, shape, BINS, factors(rng, shape))
    ratios = donor_ratios(counts, predicted, np.arange(n_donors))
    found = systematic_correlation(ratios)
    beside = found[:, ~np.eye(5, dtype=bool)].mean(axis=1)
    least = np.linalg.eigvalsh(systematic_covariance(ratios)).min()
    return beside.mean(), beside.std(), found[:, 0, -1].mean(), least


if __name__ == "__main__":
    n_experiments = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    random = np.random.default_rng(1)
    print("donors uses truth | MEAN  SYST.  UL    | rms/truth not seen largest UL")
    for case in itertools.product((5, 8, 24, 45), (1, 2, 5, 10), (0, 0.03, 0.1)):
        row = coverage(random, n_experiments, *case)
        text = "{:6} {:4} {:5} | ".format(*case)
        print(text + "{:.3f} {:.3f} {:.3f} | {:9.3f} {:8.2f} {:10.2f}".format(*row))
    print("the same for runs that are not normal (Student's t, 5 degrees of freedom)")
    for case in itertools.product((5, 8, 24, 45), (1,), (0.1,)):
        row = coverage(random, n_experiments, *case, heavy=True)
        text = "{:6} {:4} {:5} | ".format(*case)
        print(text + "{:.3f} {:.3f} {:.3f} | {:9.3f} {:8.2f} {:10.2f}".format(*row))
    print("correlation | donors | mean +- scatter | 1 to 5 | least eigenvalue")
    for truth, size in itertools.product(FACTORS, (5, 8, 24, 45, 300)):
        row = correlations(random, n_experiments // 10, size, FACTORS[truth])
        text = f"{truth:11} | {size:6} | "
        print(text + "{:+.3f} +- {:.3f} | {:+.3f} | {:.1e}".format(*row))
