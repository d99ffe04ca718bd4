"""What is measured on mimic sets: each mimic is reduced once for all of it."""

import hashlib

import numpy as np
from astropy import units as u
from astropy.table import vstack
from gammapy.maps import Map
from regions import CircleSkyRegion, PointSkyRegion

from gammapy_mimic.io.files import error_context
from gammapy_mimic.matching.tables import donor_shares
from gammapy_mimic.report.parts import SetPart
from gammapy_mimic.report.place import check_free_sky
from gammapy_mimic.scramble.residuals import scramble_residuals
from gammapy_mimic.validation import (
    BackgroundSystematic,
    OnOffCounts,
    SignificanceDistribution,
    global_significance,
    on_off,
    significance_distribution,
    target_significance,
)
from gammapy_mimic.validation.local import RADII, LocalCounts
from gammapy_mimic.validation.position import events_at
from gammapy_mimic.validation.reduction import (
    PIXEL,
    WIDTH,
    donor_of,
    empty_stack,
    in_memory,
    map_geometry,
    reduce_run,
    stack_run,
)
from gammapy_mimic.validation.systematic_table import count_cells

__all__ = ["ON_RADIUS", "MapJudge", "RegionJudge"]

ON_RADIUS = 0.1 * u.deg


class MapJudge:
    """Judge of runs with a background model, on maps.

    Parameters
    ----------
    campaign : `~gammapy_mimic.report.Campaign`
        Campaign.
    n_toys : int
        Number of toys for each significance map.
    """

    def __init__(self, campaign, n_toys):
        self.position, self.n_toys = campaign.position, n_toys
        self.energy_edges = campaign.geometry["energy_edges"]
        self.offset_max = campaign.geometry["offset_max"]
        # all of the field of view of each run
        width = max(WIDTH, 2 * (self.offset_max + campaign.largest_offset()))
        self.geom = map_geometry(self.position, self.energy_edges, width, PIXEL)
        self.mask = campaign.exclusion_mask(self.geom)
        check_free_sky(self.mask, campaign.pointings, self.offset_max)
        self.local = LocalCounts(
            self.position, RADII, self.energy_edges, offset_max=self.offset_max
        )
        self.cells, self.names, self.donors = [], [], []
        self.shares = donor_shares(campaign.pairs)
        self.distributions, self.of_target = {}, None

    def settings(self):
        """Plain values that say what is measured on a set."""
        return [
            "map",
            *(repr(it) for it in (self.geom, self.offset_max, self.n_toys)),
            self.position.to_string("decimal", precision=12),
            self.energy_edges.to_value("TeV").tolist(),
            hashlib.sha256(self.mask.data.tobytes()).hexdigest(),
        ]

    def measure(self, mimics, stacked, name):
        """Measure on the runs of a mimic set, and on their stack.

        Parameters
        ----------
        mimics : `~gammapy.data.Observations`
            Its runs.
        stacked : collection of int
            OBS_IDs of those that are stacked for map and position.
        name : str
            What errors on files that cannot be used are to name.

        Returns
        -------
        part : `~gammapy_mimic.report.parts.SetPart`
            For `add`.
        """
        stack, edges = empty_stack(self.geom), [0, 1] * self.offset_max
        common, local, cells, ids = _Common(self, stacked), [], [], []
        with error_context(name):
            for mimic in mimics:
                run = common.add(mimic)
                dataset = reduce_run(run, self.geom, offset_max=self.offset_max)
                pointing = run.get_pointing_icrs(run.tmid)
                local.append(self.local.count(dataset, pointing, self.mask))
                cells.append(count_cells(dataset, pointing, edges, self.mask))
                ids.append((run.obs_id, donor_of(run)))
                if run.obs_id in stacked:
                    stack_run(stack, dataset, self.mask)
        distribution = self._distribution(stack)
        arrays = {
            "cells": np.array(cells),
            "ids": np.array(ids),
            "at_position": np.array(self._at_position(stack)),
            "image": distribution.image.data,
            "values": np.concatenate(distribution.values),
            "toy_maxima": distribution.toy_maxima,
            **_flat(local),
        }
        return common.part(arrays, {"distribution": distribution.table})

    def add(self, number, part):
        """Add what was measured on a mimic set.

        Parameters
        ----------
        number : int
            Number of the mimic set.
        part : `~gammapy_mimic.report.parts.SetPart`
            From `measure`.

        Returns
        -------
        significance : float
            Significance at the position.
        """
        arrays, table = part.arrays, part.tables["distribution"]
        for (obs_id, donor), found in zip(
            arrays["ids"].tolist(), _nested(arrays), strict=True
        ):
            self.local.add(donor, found)
            self.donors.append(donor)
            self.names.append(f"{obs_id} (donor {donor})")
        self.cells += [*arrays["cells"]]
        geom = self.geom.squash("energy")
        self.distributions[number] = SignificanceDistribution(
            np.split(arrays["values"], np.cumsum(table["N_PIXELS"])[:-1]),
            table,
            Map.from_geom(geom, data=arrays["image"]),
            arrays["toy_maxima"],
        )
        return float(arrays["at_position"])

    def add_target(self, targets):
        """Measure on the targets, as on a mimic set; give their significance."""
        stack = empty_stack(self.geom)
        for run in targets:
            dataset = reduce_run(run, self.geom, offset_max=self.offset_max)
            stack_run(stack, dataset, self.mask)
        self.of_target = self._distribution(stack)
        return self._at_position(stack)

    def finish(self, found, compared):
        """Put the numbers into a `~gammapy_mimic.report.measure.Measurement`.

        Parameters
        ----------
        found : `~gammapy_mimic.report.measure.Measurement`
            Changed in place.
        compared : collection of int
            Numbers of the mimic sets that have the targets of the others.
        """
        found.local = self.local.result()
        found.distributions = self.distributions
        if self.of_target is not None:
            mimics = [self.distributions[number] for number in compared]
            found.largest = global_significance(self.of_target, mimics)

    def systematic(self):
        """Measure the systematic of the whole field.

        Returns
        -------
        systematic : `~gammapy_mimic.validation.BackgroundSystematic`
            Systematic.

        Raises
        ------
        TooFewDonorsError
            If fewer than two donors have enough counts.
        """
        counts, predicted = np.array(self.cells).swapaxes(0, 1)
        return BackgroundSystematic.from_counts(
            counts,
            predicted,
            self.donors,
            energy_edges=self.energy_edges,
            offset_edges=[0, 1] * self.offset_max,
            obs_ids=self.names,
            shared=[self.shares[donor] for donor in self.donors],
        )

    def _distribution(self, stack):
        return significance_distribution(stack, exclusion=self.mask, n_toys=self.n_toys)

    def _at_position(self, stack):
        found = target_significance(
            [stack], self.position, on_radius=ON_RADIUS, exclusion=self.mask
        )
        return float(found.mimics[0])


class RegionJudge:
    """Judge of runs without a background model, on reflected regions.

    Parameters
    ----------
    campaign : `~gammapy_mimic.report.Campaign`
        Campaign.
    has_cut : bool
        Whether the runs have a directional cut (RAD_MAX).
    """

    def __init__(self, campaign, *, has_cut):
        self.position = position = campaign.position
        self.region = (
            PointSkyRegion(position)
            if has_cut
            else CircleSkyRegion(position, ON_RADIUS)
        )
        self.energy_edges = campaign.geometry["energy_edges"]
        self.offset_max = campaign.geometry["offset_max"]
        self.exclusion = campaign.sources()
        self.local = LocalCounts(
            *(position, RADII, self.energy_edges, "reflected", self.offset_max)
        )
        self.runs, self.of_set = [], {}

    def settings(self):
        """Plain values that say what is measured on a set."""
        shapes = [
            (it.center.to_string("decimal", precision=12), repr(it.radius))
            for it in self.exclusion
        ]
        region = repr(getattr(self.region, "radius", None))
        return [
            *("region", region, repr(self.offset_max), shapes),
            self.position.to_string("decimal", precision=12),
            self.energy_edges.to_value("TeV").tolist(),
        ]

    def measure(self, mimics, stacked, name):
        """Measure on a mimic set, see `MapJudge.measure`."""
        common = _Common(self, stacked)
        with error_context(name):
            runs = [common.add(mimic) for mimic in mimics]
            local = [self.local.count_run(run, self.exclusion) for run in runs]
            counts = self._count(runs).runs
        donors = np.array([donor_of(run) for run in runs])
        is_stacked = np.isin(counts["OBS_ID"], list(stacked))
        arrays = {"donors": donors, "is_stacked": is_stacked, **_flat(local)}
        return common.part(arrays, {"runs": counts})

    def add(self, number, part):
        """Add what was measured on a mimic set, see `MapJudge.add`."""
        arrays, runs = part.arrays, part.tables["runs"]
        for donor, found in zip(
            arrays["donors"].tolist(), _nested(arrays), strict=True
        ):
            self.local.add(donor, found)
        self.runs.append(runs)
        stack = runs[arrays["is_stacked"]]
        if len(stack):
            counts = OnOffCounts.from_runs(stack, self.energy_edges)
            self.of_set[number] = counts.table[0]
        return self._significance(stack)

    def add_target(self, targets):
        """Measure on the targets, as on a mimic set; give their significance."""
        return self._significance(self._count(targets).runs)

    def finish(self, found, compared):
        """Put the numbers into a measurement, see `MapJudge.finish`."""
        found.on_off = OnOffCounts.from_runs(vstack(self.runs), self.energy_edges)
        found.on_off_of_set = self.of_set
        found.local = self.local.result()

    def systematic(self):
        """Measure the systematic of on over off counts, see `MapJudge.systematic`."""
        counts = OnOffCounts.from_runs(vstack(self.runs), self.energy_edges)
        return counts.systematic

    def _count(self, runs):
        return on_off(
            runs,
            self.region,
            energy_edges=self.energy_edges,
            exclusion=self.exclusion,
        )

    def _significance(self, runs):
        if not len(runs):
            return np.nan
        return float(OnOffCounts.from_runs(runs, self.energy_edges).table["SQRT_TS"][0])


class _Common:
    """What is measured on a mimic set with and without a background model."""

    def __init__(self, judge, stacked):
        self.judge, self.stacked = judge, stacked
        self.events, self.residuals = [], []

    def add(self, mimic):
        """Measure on a run; give it as it is held in memory."""
        run = in_memory(mimic)
        if run.obs_id in self.stacked:
            energy_range = self.judge.energy_edges[[0, -1]]
            found = events_at(run, self.judge.position, ON_RADIUS, energy_range)
            self.events += sorted(found.elements())
        self.residuals.append(scramble_residuals([run]))
        return run

    def part(self, arrays, tables):
        """Put all numbers of the set together."""
        events = np.array(self.events, dtype=float).reshape(-1, 2)
        some = [it for it in self.residuals if len(it)] or self.residuals[:1]
        return SetPart(
            arrays | {"events": events}, tables | {"residuals": vstack(some)}
        )


def _flat(local):
    """Put counts at places of runs, by radius, into two arrays."""
    return {
        "n_places": np.array([[it.shape[1] for it in found] for found in local]),
        "places": np.concatenate([it for found in local for it in found], axis=1),
    }


def _nested(arrays):
    """For each run what `_flat` has put together, by radius."""
    n_places, places = arrays["n_places"], arrays["places"]
    parts = np.split(places, np.cumsum(n_places.ravel())[:-1], axis=1)
    n_radii = n_places.shape[1]
    return [parts[k : k + n_radii] for k in range(0, len(parts), n_radii)]
