"""Matching from index tables alone."""

import resource

import numpy as np
import pytest
from test_matching import run, store

from gammapy_mimic.matching import DonorMatcher

TARGETS = (250, 500, 1000)


def random_store(first_id, number, rng):
    values = zip(
        rng.uniform(40, 85, number),
        rng.uniform(0, 360, number),
        rng.uniform(0, 2000, number),
        rng.uniform(0.7, 1.0, number),
        strict=True,
    )
    return store(
        *[
            run(first_id + k, alt=alt, az=az, day=day, MUONEFF=muoneff)
            for k, (alt, az, day, muoneff) in enumerate(values)
        ]
    )


@pytest.mark.filterwarnings("ignore")
def bench_match(tell, tell_growth):
    rng = np.random.default_rng(0)
    stores = {
        number: (random_store(1, number, rng), random_store(10_001, 5 * number, rng))
        for number in TARGETS
    }
    matcher = DonorMatcher()
    tell_growth({n: lambda n=n: matcher.run(*stores[n]) for n in TARGETS})
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    tell(f"peak memory of the whole process {peak:.2f} GiB")
