"""What is measured on mimic sets: each mimic is reduced once for all of it."""

import numpy as np
from astropy import units as u
from astropy.table import vstack
from regions import CircleSkyRegion, PointSkyRegion

from gammapy_mimic.matching.tables import donor_shares
from gammapy_mimic.report.place import check_free_sky
from gammapy_mimic.validation import (
    BackgroundSystematic,
    OnOffCounts,
    global_significance,
    local_systematic,
    on_off,
    significance_distribution,
    target_significance,
)
from gammapy_mimic.validation.local import RADII, LocalCounts
from gammapy_mimic.validation.reduction import (
    PIXEL,
    WIDTH,
    donor_of,
    empty_stack,
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

    def add_set(self, mimics, stacked):
        """Measure on the runs of a mimic set, and stack them.

        Parameters
        ----------
        mimics : `~gammapy.data.Observations`
            Its runs.
        stacked : collection of int
            OBS_IDs of those that are stacked for map and position.

        Returns
        -------
        stack : object
            Stack, for `significance`.
        """
        stack, edges = empty_stack(self.geom), [0, 1] * self.offset_max
        for mimic in mimics:
            dataset = reduce_run(mimic, self.geom, offset_max=self.offset_max)
            pointing = mimic.get_pointing_icrs(mimic.tmid)
            self.local.add(dataset, pointing, self.mask)
            self.cells.append(count_cells(dataset, pointing, edges, self.mask))
            self.donors.append(donor_of(mimic))
            self.names.append(f"{mimic.obs_id} (donor {self.donors[-1]})")
            if mimic.obs_id in stacked:
                stack_run(stack, dataset, self.mask)
        return stack

    def significance(self, number, stack):
        """Judge the stack of a mimic set.

        Parameters
        ----------
        number : int
            Number of the mimic set.
        stack : object
            From `add_set`.

        Returns
        -------
        significance : float
            Significance at the position.
        """
        self.distributions[number] = self._distribution(stack)
        return self._at_position(stack)

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
        position = campaign.position
        self.region = (
            PointSkyRegion(position)
            if has_cut
            else CircleSkyRegion(position, ON_RADIUS)
        )
        self.energy_edges = campaign.geometry["energy_edges"]
        self.offset_max = campaign.geometry["offset_max"]
        self.exclusion = campaign.sources()
        self.runs, self.observations = [], []
        self.of_set = {}

    def add_set(self, mimics, stacked):
        """Measure on a mimic set, see `MapJudge.add_set`."""
        self.observations += mimics
        counts = self._count(mimics)
        self.runs.append(counts.runs)
        is_stacked = np.isin(counts.runs["OBS_ID"], list(stacked))
        return counts.runs[is_stacked]

    def significance(self, number, stack):
        """Judge the stack of a mimic set, see `MapJudge.significance`."""
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
        found.local = local_systematic(
            self.observations,
            self.region.center,
            energy_edges=self.energy_edges,
            exclusion=self.exclusion,
            method="reflected",
            offset_max=self.offset_max,
        )

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
