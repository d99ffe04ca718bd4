"""The analysis of fifty mimic sets of the synthetic observatory, whose truth is known.

    python tests/truth/ensemble.py FOLDER [CASE ...]

CASE is some of the functions below, default all; what is in FOLDER is kept, so that
cases can be run one after the other.

* ``spectra``, ``maps``: without systematics pulls have width 1, TS follows
  chi-square, a source that was put in is found with its flux, errors and limits cover.
* ``raised_spectra``, ``raised_maps``: a background that is 5 % too high within 0.3 deg
  is found as the flux it makes.
* ``shared``: eight donors for fifty sets, whose rates differ: errors cover.
"""

import copy
import sys
from functools import cache
from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import vstack
from gammapy.analysis import Analysis
from gammapy.data import EventList, Observations
from gammapy.modeling.models import (
    Models,
    PointSpatialModel,
    PowerLawSpectralModel,
    SkyModel,
)
from regions import CircleSkyRegion
from scipy.stats import chi2, kstest

from gammapy_mimic import MimicCampaign, MimicMaker, simulate_datastore
from gammapy_mimic.analysis import set_scatter
from gammapy_mimic.analysis.scatter import donor_overlap, event_overlap
from gammapy_mimic.analysis.steps import run_steps
from gammapy_mimic.checks import open_store
from gammapy_mimic.data.compat.progress import no_bars

N_SETS = 50
TARGETS = [1001, 1002, 1003, 1004]
SCALES = [0.3, 30.0]
AMPLITUDE = 1e-11
EXCESS, EXCESS_RADIUS = 0.05, 0.3 * u.deg
ON_RADIUS = 0.2 * u.deg
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
CENTRE = SkyCoord("75 deg", "22 deg", frame="icrs")


def source(position=CENTRE, name="source"):
    """Source at a position."""
    amplitude = AMPLITUDE * u.Unit("TeV-1 s-1 cm-2")
    return SkyModel(
        spectral_model=PowerLawSpectralModel(amplitude=amplitude, index=2.6),
        spatial_model=PointSpatialModel(
            lon_0=position.ra, lat_0=position.dec, frame="icrs"
        ),
        name=name,
    )


@cache
def campaign(folder, kind, scales=()):
    """Mimics without systematics; the donor with a weak source is left out."""
    runs = folder / "runs"
    if not runs.exists():
        simulate_datastore(
            runs, n_targets=4, n_donors=270, random_state=11, rate_scatter=0.0
        )
    inject = {"models": source(), "scales": list(scales)} if scales else None
    content = {
        "observations": {"datastore": str(runs), "obs_ids": TARGETS},
        "datasets": SPECTRUM if kind == "1d" else MAP,
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
    work = MimicCampaign(content)
    if not (folder / "mimics" / "mimic_049").exists():
        print(work.run(n_jobs=2).summary())
    return work


def mimics(work, number):
    """Runs of a set."""
    return open_store(work.store_path(number)).get_observations()


def quality(values, errors, ts, truth=0.0):
    """Print width, coverage and the distribution of TS."""
    values, errors = np.array(values), np.array(errors, dtype=float)
    pull = (values - truth) / errors
    used = np.isfinite(pull)
    pull = pull[used]
    number = len(pull)
    print(
        f"{number} values: pull {pull.mean():+.2f} ± {pull.std() / number**0.5:.2f}, "
        f"width {pull.std(ddof=1):.2f} ± {(2 * number) ** -0.5:.2f}, coverage of 68 % "
        f"{np.mean(abs(pull) < 1):.2f} ± {(0.22 / number) ** 0.5:.2f}"
    )
    # in few counts a value and its error vary together, which widens the pulls
    width = np.std(values[used], ddof=1) / np.sqrt(np.mean(errors[used] ** 2))
    print(f"scatter over error: {width:.2f} ± {width * (2 * number) ** -0.5:.2f}")
    if ts is not None:
        found = kstest(np.maximum(ts, 0), chi2(1).cdf).pvalue
        print(f"{number} values: TS against chi-square, p = {found:.3f}")


def spectra(folder):
    """Pulls, coverage, injected flux and limits of spectra."""
    work = campaign(folder, "1d", tuple(SCALES))
    ensemble = work.analyse(models=[source()])
    print(ensemble.summary())
    for scale in ensemble.scales:
        found = ensemble.quantity("source.amplitude", scale)
        ts = ensemble.quantity("source.ts")["values"] if scale == 0 else None
        print(f"source x {scale:g}:", end=" ")
        quality(found["values"], found["errors"], ts, scale * AMPLITUDE)
    for table in (ensemble.recovery, ensemble.upper_limits, ensemble.sensitivity):
        table.pprint(max_width=-1, max_lines=-1)


def sources(n_places=5):
    """Sources at the position, and 0.8 deg from it."""
    angles = np.arange(n_places - 1) * 360 / (n_places - 1) * u.deg
    around = CENTRE.directional_offset_by(angles, 0.8 * u.deg)
    return [source(), *(source(it, f"place_{k}") for k, it in enumerate(around, 1))]


def maps(folder):
    """Pulls, coverage and TS of maps, at several places at once."""
    ensemble = campaign(folder, "3d").analyse(models=sources())
    print(ensemble.summary())
    names = ensemble.models.names
    every = [
        [it for name in names for it in ensemble.quantity(f"{name}.{what}")[key]]
        for what, key in (
            ("amplitude", "values"),
            ("amplitude", "errors"),
            ("ts", "values"),
        )
    ]
    print("all places:", end=" ")
    quality(*every)


def raised_spectra(folder):
    """Background raised near the position, in spectra."""
    ensemble = campaign(folder, "1d", tuple(SCALES)).analyse(models=[source()])
    dataset = expected_map(folder).to_spectrum_dataset(
        CircleSkyRegion(CENTRE, ON_RADIUS), containment_correction=True
    )
    background = dataset.background.data
    flux = expected_flux(dataset, background, EXCESS * background, [source()])
    raised(folder, "1d", ensemble, [source()], flux)


def raised_maps(folder):
    """Background raised near the position, in maps."""
    models = [source()]
    ensemble = campaign(folder, "3d").analyse(models=models)
    dataset = expected_map(folder)
    background = dataset.npred_background().data
    circle = CircleSkyRegion(CENTRE, EXCESS_RADIUS)
    near = dataset.counts.geom.to_image().region_mask([circle]).data
    excess = EXCESS * background * near
    flux = expected_flux(dataset, background, excess, models, has_norm=True)
    raised(folder, "3d", ensemble, models, flux)


@cache
def expected_map(folder):
    """Response and background model of a set."""
    work = campaign(folder, "3d")
    analysis = Analysis(work.config.to_analysis_config())
    analysis.observations = mimics(work, 0)
    with no_bars():
        analysis.get_datasets()
    return analysis.datasets[0]


def expected_flux(dataset, background, excess, models, *, has_norm=False):
    """Amplitude that takes up an excess: least squares with the background's variance.

    A bin counts the more, the less background it has: a fit finds less flux than the
    number of events in excess would have if they were of the source.
    """
    columns = []
    for model in models:
        dataset.models = [model]
        columns.append(dataset.npred_signal().data)
    columns += [background] * has_norm
    used = background > 0
    if dataset.mask is not None:
        used &= dataset.mask.data
    columns = np.array([it[used] for it in columns])
    weighted = columns / background[used]
    solution = np.linalg.solve(weighted @ columns.T, weighted @ excess[used])
    return solution[0] * AMPLITUDE


def raised(folder, kind, ensemble, models, flux):
    """Compare the flux found in a raised background with what it should be."""
    work, rng = campaign(folder, kind), np.random.default_rng(3)
    name = f"{models[0].name}.amplitude"
    added, found = [], []
    for number in range(N_SETS):
        pairs = [raise_background(run, rng) for run in mimics(work, number)]
        runs = Observations([run for run, _ in pairs])
        with no_bars():
            after = run_steps(work.config, runs, Models(models), CENTRE).values
        before = ensemble.quantity(name)["values"][number]
        found.append(after[name]["value"] - before)
        added.append(sum(n_added for _, n_added in pairs))
    # the same number of events as were added
    expected = flux * np.array(added) / np.mean(added)
    total = np.sum(added), EXCESS * ensemble.quantity("background")["mean"] * N_SETS
    print(
        "events added within 0.2 deg {:.0f}, 5 % of the background {:.0f}".format(
            *total
        )
    )
    left_out = (np.sum(found) - found) / (np.sum(expected) - expected)
    error = np.sqrt((N_SETS - 1) * np.var(left_out))
    ratio = np.sum(found) / np.sum(expected)
    print(f"{kind}: flux found / flux that it makes = {ratio:.3f} ± {error:.3f}")


def raise_background(run, rng):
    """Copy one event in twenty near the position; how many of them in the on region."""
    table = run.events.table
    distance = run.events.radec.separation(CENTRE)
    copied = (distance < EXCESS_RADIUS) & (rng.random(len(table)) < EXCESS)
    is_on = (distance < ON_RADIUS) & (table["ENERGY"] > 0.8) & (table["ENERGY"] < 10)
    new = copy.copy(run)
    added = vstack([table, table[copied]], metadata_conflicts="silent")
    new.events = EventList(added)
    return new, np.sum(copied & is_on)


def shared(folder, n_donors=8, spread=0.2):
    """Groups of eight donors, of which fifty sets are made.

    Each donor loses a part of its events, which scatters: the counts of a set have a
    systematic. The mean over all donors of the same zenith angle is the truth.
    """
    campaign(folder, "1d")
    rng, store = np.random.default_rng(4), open_store(folder / "runs")
    targets, maker = store.get_observations(TARGETS), MimicMaker(random_state=1)
    covered, limits, widths = [], [], []
    for zenith in range(4):
        ids = [
            it for it in range(2001, 2201) if (it - 2001) % 4 == zenith and it != 2005
        ]
        ids = ids[: len(ids) // n_donors * n_donors]
        events = {}
        for donor in store.get_observations(ids):
            kept = rng.random(len(donor.events.table) + 1) < rng.normal(
                0.5, 0.5 * spread
            )
            for target in targets:
                mimic = maker.run(target, donor).events
                near = mimic.radec.separation(CENTRE) < 0.5 * u.deg
                own = mimic.table["EVENT_ID"][near]
                events[donor.obs_id, target.obs_id] = set(own[kept[own]])
        counts = {key: len(it) for key, it in events.items()}
        truth = sum(counts.values()) / len(ids)
        systematic = spread * truth / len(TARGETS) ** 0.5
        for group in np.reshape(ids, (-1, n_donors)):
            found = _fifty_sets(group, events, rng)
            # of the truth as well, which has these donors in it
            error = found["mean_err"] * (1 - n_donors / len(ids)) ** 0.5
            covered.append(abs(found["mean"] - truth) < error)
            limits.append(found["systematic_ul"] > systematic)
            widths.append(found["systematic"] / systematic)
    number = len(covered)
    print(
        f"{number} groups of {n_donors} donors, {N_SETS} sets each: the error of the "
        f"mean covers {np.mean(covered):.2f} ± {(0.22 / number) ** 0.5:.2f}, the 95 % "
        f"limit of the systematic {np.mean(limits):.2f}; systematic found / put in = "
        f"{np.mean(np.square(widths)) ** 0.5:.2f} ± {np.std(widths) / number**0.5:.2f}"
    )


def _fifty_sets(group, events, rng):
    """Statistics of the counts of sets whose donors are drawn of a group."""
    drawn = [rng.permutation(group)[: len(TARGETS)] for _ in range(N_SETS)]
    sets = [
        {
            (it, event)
            for it, target in zip(row, TARGETS, strict=True)
            for event in events[it, target]
        }
        for row in drawn
    ]
    shares = np.array([[it in row for it in group] for row in drawn]) / len(TARGETS)
    counts = np.array([len(it) for it in sets], dtype=float)
    return set_scatter(
        counts, np.sqrt(counts), donor_overlap(shares), event_overlap(sets)
    )


CASES = {it.__name__: it for it in (spectra, maps, raised_spectra, raised_maps, shared)}


if __name__ == "__main__":
    for case in sys.argv[2:] or CASES:
        CASES[case](Path(sys.argv[1]))
