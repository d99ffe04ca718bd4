"""The analysis of fifty mimic sets of the synthetic observatory, whose truth is known.

    python tests/truth/ensemble.py FOLDER [1d|3d]

Without systematics pulls have width 1, TS follows chi-square, a source that was put in
is found with its flux, and errors and limits cover. A background that is 5 % too high
near the position is found as the flux it makes. Half an hour on two cores.
"""

import copy
import sys
from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.table import vstack
from gammapy.data import EventList, Observations
from gammapy.modeling.models import (
    Models,
    PointSpatialModel,
    PowerLawSpectralModel,
    SkyModel,
)
from scipy.stats import chi2, kstest

from gammapy_mimic import MimicCampaign, simulate_datastore
from gammapy_mimic.analysis.steps import run_steps
from gammapy_mimic.checks import open_store

N_SETS = 50
SCALES = [0.3, 1.0]
PLACE = {"frame": "icrs", "lon": "75 deg", "lat": "22 deg"}
AXES = {
    "energy": {"min": "0.8 TeV", "max": "10 TeV", "nbins": 3},
    "energy_true": {"min": "0.4 TeV", "max": "20 TeV", "nbins": 12},
}
SPECTRUM = {
    "type": "1d",
    "geom": {"axes": AXES},
    "on_region": {**PLACE, "radius": "0.2 deg"},
    "background": {"method": "reflected"},
}
MAP = {
    "type": "3d",
    "geom": {
        "axes": AXES,
        "wcs": {
            "skydir": PLACE,
            "binsize": "0.05 deg",
            "width": {"width": "3 deg", "height": "3 deg"},
        },
    },
    "background": {"method": "fov_background"},
    "safe_mask": {"methods": ["offset-max"], "parameters": {"offset_max": "2 deg"}},
}
SOURCE = SkyModel(
    spectral_model=PowerLawSpectralModel(amplitude="1e-11 TeV-1 s-1 cm-2", index=2.6),
    spatial_model=PointSpatialModel(lon_0="75 deg", lat_0="22 deg", frame="icrs"),
    name="source",
)


def campaign(folder, datasets, scales):
    """Campaign without systematics; the donor with a weak source is left out."""
    runs = folder / "runs"
    if not runs.exists():
        simulate_datastore(
            runs, n_targets=4, n_donors=270, random_state=11, rate_scatter=0.0
        )
    inject = {"models": SOURCE, "scales": scales} if scales else None
    return MimicCampaign(
        {
            "observations": {
                "datastore": str(runs),
                "obs_ids": [1001, 1002, 1003, 1004],
            },
            "datasets": datasets,
            "mimic": {
                "donors": {"where": {"TARGET_NAME": "Off data"}, "exclude": [2005]},
                "scramble": None,
                "n_mimics": N_SETS,
                "match": {"muon_efficiency": None, "airmass": 0.3},
                "random_state": 1,
                "outdir": str(folder / "mimics"),
                "analyse": {"inject": inject},
            },
        }
    )


def main(folder, kind):
    """Print what is found."""
    work = campaign(folder, *((SPECTRUM, SCALES) if kind == "1d" else (MAP, None)))
    if not (folder / "mimics").exists():
        print(work.run(n_jobs=2).summary())
    ensemble = work.analyse(2, models=[SOURCE])
    print(ensemble.summary())
    ts = ensemble.quantity("source.ts")["values"]
    print("TS against chi-square, p =", kstest(ts, chi2(1).cdf).pvalue)
    if kind == "1d":
        for table in (ensemble.recovery, ensemble.upper_limits, ensemble.sensitivity):
            table.pprint(max_width=-1, max_lines=-1)
        too_high(work, ensemble)


def too_high(work, ensemble, n_sets=20, excess=0.05):
    """Add copies of events within 0.3 deg, and compare with the flux they make."""
    rng, place = np.random.default_rng(3), SOURCE.position
    found, expected = [], []
    signal = np.subtract(
        ensemble.quantity("excess", 1.0)["values"],
        ensemble.quantity("excess")["values"],
    ).mean()
    for number in range(n_sets):
        runs, n_added = [], 0
        for run in open_store(work.store_path(number)).get_observations():
            table = run.events.table
            distance = run.events.radec.separation(place)
            copied = (rng.random(len(table)) < excess) & (distance < 0.3 * u.deg)
            selected = (table["ENERGY"] > 0.8) & (table["ENERGY"] < 10)
            n_added += np.sum(copied & selected & (distance < 0.2 * u.deg))
            new = copy.copy(run)
            added = vstack([table, table[copied]], metadata_conflicts="silent")
            new.events = EventList(added)
            runs.append(new)
        run = run_steps(work.config, Observations(runs), Models([SOURCE]), place)
        before = ensemble.quantity("source.amplitude")["values"][number]
        found.append(run.values["source.amplitude"]["value"] - before)
        # as many events of the source would be this amplitude
        expected.append(n_added / signal * 1e-11)
    ratio = np.mean(found) / np.mean(expected)
    print(f"background {excess:.0%} too high: flux found / flux it makes = {ratio:.3f}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *(sys.argv[2:] or ["1d"]))
