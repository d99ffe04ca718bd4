"""How well the rate within 2 deg is kept when real background models are turned.

    python tests/truth/turned_background.py

Models: those of all runs of H.E.S.S. DL3 DR1, which are smooth, and one filled from
the events of its off runs with small bins, most of them empty. The rate within 2 deg
of the pointing is integrated linearly, before and after the turn, and compared in each
energy bin in which the run has more than 10 counts. Negative control: with gammapy's
logarithmic interpolation the filled models fail.
"""

import sys

import numpy as np
from astropy import units as u
from gammapy.data import DataStore
from gammapy.irf import Background3D
from gammapy.maps import MapAxis
from gammapy.utils.coordinates import sky_to_fov
from scipy.interpolate import RegularGridInterpolator

from gammapy_mimic.data import compat
from gammapy_mimic.mimic.background import turn_background
from gammapy_mimic.sky.geometry import rotate_fov

RADIUS_DEG = 2.0
ANGLES_DEG = (17, 45, 90, 211)
GRID_DEG = np.arange(-RADIUS_DEG + 0.005, RADIUS_DEG, 0.01)
GRID = np.stack(np.meshgrid(GRID_DEG, GRID_DEG, indexing="ij"), axis=-1).reshape(-1, 2)
GRID = GRID[np.hypot(*GRID.T) < RADIUS_DEG]


def rate_within(bkg, places=GRID, scale=lambda x: x, inverse=lambda x: x):
    """Rate in 1/s within 2 deg for each energy bin, integrated linearly."""
    centers = [bkg.axes[name].center.to_value("deg") for name in ("fov_lon", "fov_lat")]
    data = scale(np.moveaxis(bkg.data.astype(float), 0, -1))
    rate = RegularGridInterpolator(centers, data, bounds_error=False, fill_value=None)
    mean = np.mean(inverse(rate(places)), axis=0) * u.Unit(bkg.unit)
    solid_angle = 2 * np.pi * (1 - np.cos(np.radians(RADIUS_DEG))) * u.sr
    return (mean * solid_angle * bkg.axes["energy"].bin_width).to_value("s-1")


def filled_model(runs, width_deg):
    """Model filled from the events of runs, as tools of the exclusion method do."""
    energy = MapAxis.from_energy_bounds(
        "0.5 TeV", "50 TeV", nbin=10, per_decade=True, name="energy"
    )
    edges = np.arange(-2.5, 2.5 + width_deg / 2, width_deg) * u.deg
    axes = [MapAxis.from_edges(edges, name=name) for name in ("fov_lon", "fov_lat")]
    counts, seconds = 0, 0
    for run in runs:
        center, sky = run.pointing.fixed_icrs, run.events.radec
        places = sky_to_fov(sky.ra, sky.dec, center.ra, center.dec)
        sample = [
            run.events.energy.to_value("TeV"),
            *(x.to_value("deg") for x in places),
        ]
        bins = [energy.edges.to_value("TeV"), edges.value, edges.value]
        counts = counts + np.histogramdd(np.transpose(sample), bins)[0]
        seconds += run.gti.time_sum.to_value("s")
    width = energy.bin_width.to_value("MeV")[:, np.newaxis, np.newaxis]
    rate = counts / (seconds * np.radians(width_deg) ** 2 * width)
    unit = "s-1 MeV-1 sr-1"
    return Background3D([energy, *axes], rate.astype("f4"), unit, fov_alignment="RADEC")


def changes(bkg, seconds, angles_deg):
    """Relative changes in energy bins with more than 10 counts: ours, logarithmic."""
    before = rate_within(bkg)
    counted = before * seconds > 10
    tiny = np.finfo("f4").tiny
    result = []
    for angle_deg in angles_deg:
        places = np.transpose(rotate_fov(*GRID.T, -angle_deg))
        logarithmic = rate_within(
            bkg, places, lambda x: np.log(np.clip(x, tiny, None)), np.exp
        )
        after = rate_within(turn_background(bkg, angle_deg * u.deg))
        result.append([x[counted] / before[counted] - 1 for x in (after, logarithmic)])
    return np.concatenate(result, axis=1)


def report(name, found, allowed):
    ours, logarithmic = np.abs(np.concatenate(found, axis=1))
    is_good = ours.max() < allowed
    print(
        f"{name}: {ours.size} energy bins, largest change {ours.max():.2%} "
        f"(rms {np.sqrt(np.mean(ours**2)):.3%}), allowed {allowed:.0%}: "
        f"{'good' if is_good else 'BAD'}; logarithmic: {logarithmic.max():.2%}"
    )
    return is_good


def main():
    store = DataStore.from_dir("$GAMMAPY_DATA/hess-dl3-dr1")
    runs = {row["OBS_ID"]: store.obs(row["OBS_ID"]) for row in store.obs_table}
    rows = zip(store.obs_table["OBS_ID"], store.obs_table["TARGET_NAME"], strict=True)
    off = [runs[obs_id] for obs_id, name in rows if str(name).strip() == "Off data"]
    print(f"{len(runs)} runs, {len(off)} of them off runs")

    rng = np.random.default_rng(0)
    found = []
    for run in runs.values():
        bkg = compat.to_gadf_alignment(compat.background(run))
        seconds = run.gti.time_sum.to_value("s")
        found.append(changes(bkg, seconds, rng.uniform(0, 360, 1)))
    good = [report("models of the runs, one angle each", found, 0.01)]
    seconds = np.median([run.gti.time_sum.to_value("s") for run in off])
    for width_deg in (0.1, 0.2):
        bkg = filled_model(off, width_deg)
        found = [changes(bkg, seconds, (*ANGLES_DEG, *rng.uniform(0, 360, 20)))]
        good.append(report(f"filled model, bins of {width_deg} deg", found, 0.02))
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
