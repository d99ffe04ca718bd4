"""What `AnnulusScrambler` leaves of sources put into off runs: a table.

Run by hand: ``python tests/truth/scramble_injection.py [method] [acceptance]``, with
``$GAMMAPY_DATA`` set; five minutes. For each number of source events and each offset
20 off runs times 4 places: what is left after scrambling against the untouched run,
in all energies and above 1.5 TeV.

LEFT is the mean of (after - untouched) over the mean untouched, with its error; PULL is
mean and width of (after - untouched) over the error of this difference, the stated
ERROR of what is left and the Poisson error of the untouched counts (too large for what
is shuffled, which holds the untouched events themselves); EXPECTED is the same for what
the ring predicts, whose error is ERROR.
"""

import logging
import sys
import warnings
from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from gammapy.data import DataStore

sys.path.insert(0, str(Path(__file__).parents[1]))
from helpers.injection import Injector

from gammapy_mimic import AnnulusScrambler
from gammapy_mimic.sky.geometry import from_offset_azimuth

SIZES, OFFSETS_DEG = (0, 10, 100, 1000), (0.2, 0.5, 1.0)
N_RUNS, N_DRAWS, E_MIN = 20, 4, 1.5


def off_runs(number):
    """Off runs of H.E.S.S. DL3 DR1, evenly spread over their OBS_IDs."""
    store = DataStore.from_dir("$GAMMAPY_DATA/hess-dl3-dr1")
    table = store.obs_table
    ids = np.sort(table["OBS_ID"][table["TARGET_NAME"] == "Off data"])
    chosen = ids[np.linspace(0, len(ids) - 1, number).astype(int)]
    return [store.obs(int(obs_id)) for obs_id in chosen]


def counts(observation, source, theta_deg):
    """Counts in a circle, in all energies and above 1.5 TeV."""
    table = observation.events.table
    position = SkyCoord(table["RA"], table["DEC"], unit="deg")
    inside = position.separation(source).deg <= theta_deg
    return np.array([inside.sum(), (inside & (table["ENERGY"] > E_MIN)).sum()])


def campaign(injectors, size, offset_deg, *, theta_deg=0.3, seed=0, **options):
    """One row of numbers for each run and draw."""
    rng, rows = np.random.default_rng(seed), []
    for injector in injectors:
        pointing = injector.observation.pointing.fixed_icrs.icrs
        for _ in range(N_DRAWS):
            azimuth = rng.uniform(0, 360)
            place = from_offset_azimuth(
                offset_deg, azimuth, pointing.ra.deg, pointing.dec.deg
            )
            source = SkyCoord(*place, unit="deg")
            run = injector.inject(size, offset_deg, azimuth, rng)
            scrambler = AnnulusScrambler(
                source,
                theta=theta_deg * u.deg,
                random_state=int(rng.integers(1 << 30)),
                **options,
            )
            new = scrambler.run(run)
            row = scrambler.residuals[0]
            refilled = "METHOD" in row.colnames and row["METHOD"] == "refill"
            rows.append(
                (
                    *counts(injector.observation, source, theta_deg),
                    *counts(new, source, theta_deg),
                    row["EXPECTED"],
                    np.hypot(row["EXPECTED_ERROR"], np.sqrt(row["EXPECTED"])),
                    refilled,
                )
            )
    return np.array(rows, dtype=float)


def left(after, before):
    """Mean difference in per cent, and its error from the scatter of the runs.

    Not less than the Poisson errors of both counts, which 20 runs know better.
    """
    runs = (after - before).reshape(-1, N_DRAWS).mean(axis=1)
    error = runs.std(ddof=1) / np.sqrt(len(runs))
    error = max(error, np.sqrt((after.mean() + before.mean()) / len(before)))
    return 100 * runs.mean() / before.mean(), 100 * error / before.mean()


def show(label, rows):
    before, hard, after, hard_after, expected, error, refilled = rows.T
    pull = (after - before) / np.hypot(error, np.sqrt(expected))
    other = (expected - before) / error
    parts = (
        f"untouched {before.mean():6.0f}, {hard.mean():5.1f}",
        "left {:+5.1f} +- {:.1f} %".format(*left(after, before)),
        "above 1.5 TeV {:+6.1f} +- {:.1f} %".format(*left(hard_after, hard)),
        f"pull {pull.mean():+.2f}, {pull.std(ddof=1):.2f}",
        f"expected {other.mean():+.2f}, {other.std(ddof=1):.2f}",
        f"refilled {100 * refilled.mean():3.0f} %",
    )
    print(f"{label:20s}", *parts, sep=" | ", flush=True)


def main(method="auto", acceptance="auto"):
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    injectors = [Injector(run) for run in off_runs(N_RUNS)]
    options = {"method": method, "acceptance": acceptance}
    for size in SIZES:
        for offset_deg in OFFSETS_DEG:
            seed = int(1000 * offset_deg) + size
            rows = campaign(injectors, size, offset_deg, seed=seed, **options)
            show(f"{size} at {offset_deg} deg", rows)


if __name__ == "__main__":
    main(*sys.argv[1:])
