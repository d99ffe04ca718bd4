"""Transfer and scrambling in memory, up to runs of the size of CTAO's."""

import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.time import Time
from helpers.runs import POINTING, make_run

from gammapy_mimic import AnnulusScrambler, MimicMaker

SIZES = (10_000, 100_000, 1_000_000)
SOURCES = [
    POINTING.directional_offset_by(angle * u.deg, offset * u.deg)
    for angle, offset in ((0, 0.7), (120, 1.0), (240, 1.4))
]


@pytest.fixture(scope="module")
def donors():
    return {size: make_run("full", n_events=size) for size in SIZES}


@pytest.fixture(scope="module")
def target():
    return make_run(
        "full",
        obs_id=7,
        n_events=1,
        pointing=SkyCoord(20, -50, unit="deg"),
        start=Time("2021-03-02T19:47:00", scale="tt"),
    )


@pytest.mark.parametrize("alignment", ["altaz", "radec"])
def bench_transfer(donors, target, tell_growth, alignment):
    maker = MimicMaker(alignment=alignment)
    tell_growth({n: lambda n=n: maker.run(target, donors[n]) for n in SIZES})


@pytest.mark.parametrize("method", ["shuffle", "refill"])
def bench_scramble(donors, tell_growth, method):
    scrambler = AnnulusScrambler(SOURCES, theta=0.2 * u.deg, method=method)
    tell_growth(
        {n: lambda n=n: scrambler.run(donors[n], random_state=0) for n in SIZES}
    )
