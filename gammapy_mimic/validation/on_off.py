"""On and off counts in reflected regions: runs without a background model."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Self

import matplotlib.pyplot as plt
import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import QTable, Table
from gammapy.data import Observation
from gammapy.datasets import SpectrumDataset
from gammapy.makers import (
    ReflectedRegionsBackgroundMaker,
    ReflectedRegionsFinder,
    RegionsFinder,
    SpectrumDatasetMaker,
    WobbleRegionsFinder,
)
from gammapy.maps import Map, MapAxis, RegionGeom
from gammapy.stats import WStatCountsStatistic
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from regions import PointSkyRegion, SkyRegion

from gammapy_mimic.data.compat import read_once
from gammapy_mimic.io.arguments import check_edges
from gammapy_mimic.io.figures import new_figure
from gammapy_mimic.sources.places import position_of
from gammapy_mimic.validation.reduction import (
    ENERGY_EDGES,
    donor_of,
    exclusion_mask,
    map_geometry,
)
from gammapy_mimic.validation.shown import ShownResult
from gammapy_mimic.validation.systematic import BackgroundSystematic

__all__ = ["OnOffCounts", "off_region_room", "on_off"]

log = logging.getLogger(__name__)

MAX_OFF = 3
"""Off regions at symmetric places, if there is room."""

MASK = {"width": 8 * u.deg, "binsz": 0.02 * u.deg}


@dataclass(frozen=True, repr=False)
class OnOffCounts(ShownResult):
    """Counts in an on region and in its off regions.

    Attributes
    ----------
    table : `~astropy.table.QTable`
        First a row for all energies together, then one for each energy bin:
        ENERGY_MIN, ENERGY_MAX, N_ON, N_OFF, ALPHA (background expected in the on
        region, over N_OFF), EXCESS = N_ON - ALPHA N_OFF and SQRT_TS, its significance
        (Li & Ma 1983, ApJ 272, 317, eq. 17).
    runs : `~astropy.table.Table`
        A row for each run that has off regions: OBS_ID, DONOR_OBS_ID, and N_ON, N_OFF
        and ALPHA, shape (n_energy,).
    energy_edges : `~astropy.units.Quantity`
        Edges of the energy bins.
    """

    table: QTable
    runs: Table = field(repr=False)
    energy_edges: u.Quantity = field(repr=False)

    @classmethod
    def from_runs(cls, runs: Table, energy_edges: u.Quantity) -> Self:
        """Sum over runs, such as those of several mimic sets.

        Parameters
        ----------
        runs : `~astropy.table.Table`
            Rows as in ``runs``.
        energy_edges : `~astropy.units.Quantity`
            Edges of the energy bins.

        Returns
        -------
        counts : `OnOffCounts`
            Counts.
        """
        return cls(_table(runs, energy_edges), runs, energy_edges)

    @property
    def systematic(self) -> BackgroundSystematic:
        """What scatters beyond Poisson: `BackgroundSystematic` of on over alpha x off.

        The off counts' own fluctuation is taken out, too.
        """
        runs = self.runs
        pairs = zip(runs["OBS_ID"], runs["DONOR_OBS_ID"], strict=True)
        return BackgroundSystematic.from_counts(
            np.array(runs["N_ON"]),
            np.array(runs["ALPHA"] * runs["N_OFF"]),
            list(runs["DONOR_OBS_ID"]),
            energy_edges=self.energy_edges,
            predicted_variance=np.array(runs["ALPHA"] ** 2 * runs["N_OFF"]),
            obs_ids=[f"{run} (donor {donor})" for run, donor in pairs],
        )

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw counts in the on region and those expected from the off regions.

        Parameters
        ----------
        ax : `~matplotlib.axes.Axes`, optional
            Axes. Default is those of pyplot.

        Returns
        -------
        ax : `~matplotlib.axes.Axes`
            Axes.
        """
        ax = plt.gca() if ax is None else ax
        rows = self.table[1:]
        energy = np.sqrt(rows["ENERGY_MIN"] * rows["ENERGY_MAX"])
        expected = rows["ALPHA"] * rows["N_OFF"]
        error = rows["ALPHA"] * np.sqrt(rows["N_OFF"])
        ax.stairs(
            *(expected, self.energy_edges.to_value(energy.unit)),
            color="C1",
            label="expected: alpha x off counts",
        )
        ax.errorbar(energy.value, expected, error, fmt="none", ecolor="C1")
        ax.errorbar(
            *(energy.value, rows["N_ON"], np.sqrt(rows["N_ON"])),
            fmt="o",
            label=f"on counts ({self.table['SQRT_TS'][0]:+.1f} sigma)",
        )
        ax.set_xscale("log")
        ax.set_xlabel(f"Energy [{energy.unit}]")
        ax.set_ylabel("Counts in the energy bin")
        # beside the points, not upon them
        ax.legend(
            fontsize="small", loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2
        )
        return ax

    def peek(self, figsize: tuple = (6, 3.5)) -> Figure:
        """Draw on counts and expected background in a new figure."""
        figure = new_figure(figsize)
        self.plot(figure.add_subplot())
        return figure


def on_off(
    observations: Iterable[Observation],
    region: SkyRegion | SkyCoord | str,
    *,
    energy_edges: u.Quantity = ENERGY_EDGES,
    exclusion: Sequence | Map | None = None,
    region_finder: RegionsFinder | None = None,
) -> OnOffCounts:
    """Count on and off events of runs, with gammapy's makers.

    This needs no background model. In runs with a directional cut (RAD_MAX) the
    region is a point, and the cut at the energy of each event is respected in on and
    off regions.

    Parameters
    ----------
    observations : iterable of `~gammapy.data.Observation`
        Runs, such as a mimic set. One at a time is held.
    region : `~regions.CircleSkyRegion`, `~regions.PointSkyRegion` or \
`~astropy.coordinates.SkyCoord`
        On region; a point, position or name of a source for runs with RAD_MAX.
    energy_edges : `~astropy.units.Quantity`, optional
        Edges of the energy bins. Default is 0.5, 0.8, 1.3, 2.1, 3.4, 20 TeV.
    exclusion : list of `~regions.SkyRegion` or `~gammapy.maps.Map`, optional
        Exclusion regions, or a mask that is True outside of them: no off regions
        there. Default is None.
    region_finder : `~gammapy.makers.RegionsFinder`, optional
        Where the off regions are. Default is None: for a point
        `~gammapy.makers.WobbleRegionsFinder` with three off regions, or fewer if
        they would overlap; else `~gammapy.makers.ReflectedRegionsFinder`.

    Returns
    -------
    counts : `OnOffCounts`
        Counts; those of `~gammapy.makers.SpectrumDatasetMaker` and
        `~gammapy.makers.ReflectedRegionsBackgroundMaker`, summed.

    Raises
    ------
    ValueError
        If no run has off regions, the region does not fit the directional cut of a
        run, or the edges do not increase.
    TypeError
        If the edges have no unit of energy.
    """
    energy_edges = check_edges("energy_edges", energy_edges, "TeV")
    if isinstance(region, SkyCoord | str):
        region = PointSkyRegion(position_of(region).icrs)
    mask = None
    if exclusion is not None:
        mask = exclusion_mask(map_geometry(region.center, **MASK), exclusion)
    axis = MapAxis.from_energy_edges(energy_edges, name="energy")
    geom = RegionGeom.create(region, axes=[axis])
    rows, left_out = [], []
    for observation in observations:
        # errors name the file
        observation = read_once(observation)
        dataset = _reduce(observation, geom, mask, region_finder)
        if dataset is None:
            left_out.append(observation.obs_id)
            continue
        on, off = dataset.counts.data, dataset.counts_off.data
        alpha = dataset.acceptance.data / dataset.acceptance_off.data
        found = (it.ravel().astype(float) for it in (on, off, alpha))
        rows.append((observation.obs_id, donor_of(observation), *found))
    if left_out:
        log.warning(
            "runs %s are left out: no off region fits beside the on region, outside of "
            "the exclusion regions",
            ", ".join(map(str, left_out)),
        )
    if not rows:
        raise ValueError(
            f"none of {len(left_out)} runs has an off region: take a smaller region, a "
            "position farther from the pointings or smaller exclusion regions"
        )
    names = ["OBS_ID", "DONOR_OBS_ID", "N_ON", "N_OFF", "ALPHA"]
    runs = Table(rows=rows, names=names)
    return OnOffCounts.from_runs(runs, energy_edges)


def _reduce(observation, geom, mask, region_finder):
    """On and off counts of a run as a data set; None without off regions."""
    region, rad_max = geom.region, observation.rad_max
    is_point = isinstance(region, PointSkyRegion)
    if is_point != (rad_max is not None) and (is_point or not rad_max.is_fixed_rad_max):
        need = "a CircleSkyRegion" if is_point else "a PointSkyRegion or SkyCoord"
        has = "no directional cut" if is_point else "a directional cut by energy"
        raise ValueError(
            f"region = {region!r}: run {observation.obs_id} has {has} (RAD_MAX), and "
            f"needs {need}"
        )
    if region_finder is None and is_point:
        number = off_region_room(observation, region.center, geom.axes["energy"].bounds)
        if number == 0:
            return None
        region_finder = WobbleRegionsFinder(n_off_regions=number)
    elif region_finder is None:
        region_finder = ReflectedRegionsFinder()
    axis_true = geom.axes["energy"].copy(name="energy_true")
    empty = SpectrumDataset.create(
        geom, energy_axis_true=axis_true, name=f"{observation.obs_id}"
    )
    dataset = SpectrumDatasetMaker(selection=["counts"]).run(empty, observation)
    maker = ReflectedRegionsBackgroundMaker(region_finder, exclusion_mask=mask)
    dataset = maker.run(dataset, observation)
    return None if dataset.counts_off is None else dataset


def off_region_room(
    observation: Observation, center: SkyCoord, energy_range: Sequence[u.Quantity]
) -> int:
    """Find how many off regions of the size of RAD_MAX do not overlap.

    Parameters
    ----------
    observation : `~gammapy.data.Observation`
        Run with RAD_MAX.
    center : `~astropy.coordinates.SkyCoord`
        Centre of the on region.
    energy_range : list of `~astropy.units.Quantity`
        Lowest and highest energy.

    Returns
    -------
    number : int
        Number, three at most.
    """
    offset = center.separation(observation.get_pointing_icrs(observation.tmid))
    axis = observation.rad_max.axes["energy"]
    used = (axis.edges_max >= energy_range[0]) & (axis.edges_min <= energy_range[1])
    cut = observation.rad_max.evaluate(offset=offset).ravel()[used].max()
    if cut >= offset:
        return 0
    # neighbours on a circle of n + 1 places are 2 asin(sin(offset) sin(pi / (n + 1)))
    # from each other
    angle = np.arcsin(np.sin(cut) / np.sin(offset)).to_value("rad")
    return min(MAX_OFF, int(np.pi / angle) - 1)


def _table(runs, edges):
    """Sum over runs: of each energy bin, and before that of all together."""
    on, off, expected = (
        np.append(it.sum(), it.sum(axis=0))
        for it in (runs["N_ON"], runs["N_OFF"], runs["ALPHA"] * runs["N_OFF"])
    )
    # without off counts the ratio of the regions is all that is known
    alpha = np.append(runs["ALPHA"].mean(), runs["ALPHA"].mean(axis=0))
    alpha = np.divide(expected, off, out=alpha, where=off > 0)
    table = QTable()
    table["ENERGY_MIN"] = np.append(edges[0], edges[:-1])
    table["ENERGY_MAX"] = np.append(edges[-1], edges[1:])
    table["N_ON"], table["N_OFF"] = on.astype(int), off.astype(int)
    table["ALPHA"], table["EXCESS"] = alpha, on - alpha * off
    table["SQRT_TS"] = WStatCountsStatistic(on, off, alpha).sqrt_ts
    return table
