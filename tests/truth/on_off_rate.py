"""Excess of On/Off datasets whose mimics have 20 % more background.

The same target and mimic are drawn many times; the truth is what the source alone
gives. Run by hand: ``python tests/truth/on_off_rate.py [number]``.
"""

import copy
import functools
import sys

import numpy as np
from astropy import units as u
from astropy.coordinates import AltAz, SkyCoord
from astropy.table import vstack
from astropy.time import Time
from gammapy.data import EventList
from gammapy.datasets import SpectrumDataset
from gammapy.makers import SpectrumDatasetMaker
from gammapy.maps import MapAxis, RegionGeom
from regions import CircleSkyRegion

from gammapy_mimic import MimicOnOffMaker
from gammapy_mimic.simulation import SyntheticSource
from gammapy_mimic.simulation.run import SITE, simulate_observation

START = Time("2019-01-01T22:00:00")
MISMATCH = 1.2
RADIUS = 0.2 * u.deg


@functools.cache
def source_position():
    """Sky position 20 deg from the zenith."""
    frame = AltAz(obstime=START, location=SITE)
    return SkyCoord(180 * u.deg, 70 * u.deg, frame=frame).icrs


@functools.cache
def parent(n_runs=8):
    """Background and source events of several runs, from which others are drawn."""
    position = source_position()
    pointing = position.directional_offset_by(0 * u.deg, 0.5 * u.deg)
    amplitude = 2e-11 * u.Unit("TeV-1 s-1 cm-2")
    source = SyntheticSource(name="source", position=position, amplitude=amplitude)
    cards = {"OBJECT": "source", "RA_OBJ": position.ra.deg, "DEC_OBJ": position.dec.deg}
    runs = [
        simulate_observation(
            pointing, START, sources=(source,), header=cards, random_state=seed
        )
        for seed in range(n_runs)
    ]
    table = vstack([run.events.table for run in runs], metadata_conflicts="silent")
    return runs[0], table, n_runs


def draw(seed):
    """Target with a source, and its mimic with another rate of the same background."""
    run, table, n_runs = parent()
    rng = np.random.default_rng(seed)
    is_source = table["MC_ID"] == 1
    observations = []
    for factor, with_source in ((1.0, True), (MISMATCH, False)):
        rows = [_some(~is_source, factor / n_runs, rng)]
        if with_source:
            rows.append(_some(is_source, 1 / n_runs, rng))
        events = table[np.concatenate(rows)]
        events.meta = dict(run.events.table.meta)
        observation = copy.copy(run)
        observation.events = EventList(events)
        observations.append(observation)
    return observations


def _some(mask, fraction, rng):
    """Poisson number of rows, drawn with replacement."""
    rows = np.flatnonzero(mask)
    return rng.choice(rows, rng.poisson(len(rows) * fraction))


@functools.cache
def empty_dataset():
    """Spectrum dataset at the source, with all but the counts."""
    region = CircleSkyRegion(source_position(), RADIUS)
    energy = MapAxis.from_energy_bounds("0.8 TeV", "20 TeV", nbin=5)
    true = MapAxis.from_energy_bounds("0.3 TeV", "60 TeV", nbin=20, name="energy_true")
    geom = RegionGeom.create(region, axes=[energy])
    empty = SpectrumDataset.create(geom, energy_axis_true=true)
    maker = SpectrumDatasetMaker(selection=["counts", "exposure", "edisp"])
    return maker.run(empty, parent()[0])


def experiment(number, first=0):
    """Excess, its error and the true number of source events, for two scalings."""
    result = {"exposure": [], "rate": []}
    for seed in range(first, first + number):
        target, mimic = draw(seed)
        dataset = empty_dataset().copy(name="target")
        maker = SpectrumDatasetMaker()
        dataset.counts = maker.make_counts(dataset.counts.geom, target)
        truth = source_counts(target, dataset)
        for way, values in result.items():
            maker = MimicOnOffMaker(acceptance=way)
            row = maker.excess(maker.run(dataset, mimic, target=target))[0]
            values.append((row["EXCESS"], row["EXCESS_ERR"], truth))
    return {way: np.array(values) for way, values in result.items()}


def source_counts(target, dataset):
    """Events of the source itself in the region, by the column MC_ID."""
    table = target.events.table
    axis = dataset.counts.geom.axes["energy"].edges
    energy = table["ENERGY"].quantity
    inside = target.events.radec.separation(source_position()) < RADIUS
    inside &= (energy >= axis[0]) & (energy < axis[-1])
    return np.count_nonzero(inside & (table["MC_ID"] == 1))


def summary(values):
    """Bias relative to the excess, its error, and how often the error covers."""
    excess, error, truth = values.T
    bias = excess - truth
    scatter = bias.std(ddof=1) / np.sqrt(len(bias))
    covered = np.abs(excess - truth.mean()) < error
    return bias.mean() / truth.mean(), scatter / truth.mean(), covered.mean()


if __name__ == "__main__":
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    for way, values in experiment(number).items():
        bias, error, covered = summary(values)
        sys.stdout.write(
            f"{way}: bias {bias:+.4f} +- {error:.4f}, "
            f"68 % intervals hold {covered:.2f}\n"
        )
