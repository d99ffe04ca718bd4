"""The numbers of a report, computed one mimic set at a time."""

import logging
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
from astropy import units as u
from astropy.coordinates import Angle, SkyCoord
from astropy.table import vstack
from gammapy.data import DataStore, Observation, Observations
from gammapy.maps import Map, WcsGeom
from gammapy.utils.scripts import make_path
from regions import CircleSkyRegion

from gammapy_mimic.campaign.folder import CampaignFolder
from gammapy_mimic.campaign.reading import mimic_files, read_pairs, read_provenance
from gammapy_mimic.campaign.records import checksum
from gammapy_mimic.campaign.selection import select_donors, select_targets
from gammapy_mimic.checks import open_store
from gammapy_mimic.config import MimicAnalysisConfig
from gammapy_mimic.data.compat import read_once
from gammapy_mimic.io.arguments import PathLike
from gammapy_mimic.io.gadf import HDU_INDEX
from gammapy_mimic.matching import PairTable
from gammapy_mimic.matching.text import unfilled_targets
from gammapy_mimic.report import place as places
from gammapy_mimic.report.judge import MapJudge, RegionJudge
from gammapy_mimic.report.parts import measure_sets, open_mimics
from gammapy_mimic.sources import known_sources
from gammapy_mimic.validation import (
    BackgroundSystematic,
    GlobalSignificance,
    OnOffCounts,
    TargetSignificance,
    field_checks,
)
from gammapy_mimic.validation.position import common_runs, shared_part
from gammapy_mimic.validation.reduction import (
    ENERGY_EDGES,
    OFFSET_MAX,
    exclusion_mask,
)
from gammapy_mimic.validation.systematic_table import TooFewDonorsError

__all__ = ["Campaign", "Measurement", "measure"]

log = logging.getLogger(__name__)

TARGET_EXCLUSION = 0.3 * u.deg


@dataclass
class Campaign:
    """A campaign folder as `~gammapy_mimic.MimicCampaign` leaves it."""

    path: Path
    config: MimicAnalysisConfig
    pairs: PairTable
    provenance: dict
    sets: dict
    """Number of each mimic set, and its folder."""
    missing: list
    """Names of mimic sets that have donors, but are not there."""

    @classmethod
    def read(cls, path: PathLike) -> Self:
        """Read the files of a folder.

        Parameters
        ----------
        path : str or `~pathlib.Path`
            Folder.

        Returns
        -------
        campaign : `Campaign`
            Campaign.

        Raises
        ------
        ValueError
            If the folder is not that of a finished campaign or has no mimic set.
        """
        path = Path(path)
        for name in ("config.yaml", "pairs.ecsv", "provenance.yaml"):
            if not (path / name).is_file():
                raise ValueError(
                    f"{path} has no {name}: give the folder (mimic.outdir) of a "
                    "campaign that gammapy-mimic run has finished"
                )
        config = MimicAnalysisConfig.read(path / "config.yaml").located()
        pairs = read_pairs(path / "pairs.ecsv")
        provenance = read_provenance(path / "provenance.yaml")
        sets, missing = _sets(path, pairs)
        _check_files(path, sets, provenance)
        return cls(path, config, pairs, provenance, sets, missing)

    def observations(self, number: int) -> Observations:
        """Open the mimics of a set."""
        return open_mimics(self.sets[number])

    def runs(self) -> Iterator[Observation]:
        """Give all mimics of all sets, one at a time."""
        for number in self.sets:
            yield from self.observations(number)

    @cached_property
    def donors(self) -> DataStore:
        """Data store of the donors."""
        donors = select_donors(self.config.mimic.donors, self.config.observations)
        return donors.store

    def donor(self, mimic: Observation) -> Observation:
        """Open the donor of a mimic: what of its good time was used."""
        header = mimic.events.table.meta
        donor_id = int(header["MIM_DON"])
        donor = read_once(self.donors.obs(donor_id, required_irf="all-optional"))
        # a pair of target and donor is in one set only
        is_row = self.pairs["TARGET_OBS_ID"] == header.get("MIM_TGT", mimic.obs_id)
        is_row &= np.ma.filled(self.pairs["DONOR_OBS_ID"] == donor_id, False)
        row = int(np.flatnonzero(is_row & self.pairs.has_donor)[0])
        return self.pairs.part(row).cut_donor(donor)

    def targets(self) -> Observations:
        """Open the targets themselves; to be used for an unblinded report only."""
        store = select_targets(self.config.observations).store
        ids = [int(obs_id) for obs_id in store.obs_table["OBS_ID"]]
        targets = store.get_observations(ids, required_irf="all-optional")
        return Observations([read_once(target) for target in targets])

    @cached_property
    def place(self) -> places.Place:
        """Position of interest, and where it comes from."""
        first = self.observations(next(iter(self.sets)))[0]
        target = first.meta.target
        return places.place_of_interest(
            places.configured_positions(self.config.datasets),
            None if target is None else target.position,
            self.pointings,
            self.geometry["offset_max"],
        )

    @property
    def position(self) -> SkyCoord:
        """Position of interest.

        Centre of on region or map of the analysis, or object of the targets, or middle
        of the pointings if the object is not in the field of view.
        """
        return self.place.position

    @cached_property
    def indices(self) -> dict:
        """Index of the runs of each mimic set."""
        return {it: open_store(path).obs_table for it, path in self.sets.items()}

    @cached_property
    def pointings(self) -> SkyCoord:
        """Pointings of all mimics, by the index."""
        lon, lat = (
            np.concatenate(
                [np.asarray(it[name], dtype=float) for it in self.indices.values()]
            )
            for name in ("RA_PNT", "DEC_PNT")
        )
        return SkyCoord(lon, lat, unit="deg")

    def obs_ids(self, number: int) -> list[int]:
        """OBS_IDs of the mimics of a set, which are those of its targets."""
        return [int(it) for it in self.indices[number]["OBS_ID"]]

    def target_ids(self, number: int) -> dict[int, int]:
        """OBS_ID of the target of each mimic of a set, by that of the mimic.

        They differ for the further mimics of a target whose time several donors fill.
        Targets whose time is not filled are left out.
        """
        rows = self.rows(number)
        there = set(self.obs_ids(number))
        unfilled = unfilled_targets(self.pairs, number)
        return {
            int(mimic): int(target)
            for mimic, target in rows["MIMIC_OBS_ID", "TARGET_OBS_ID"].iterrows()
            if int(mimic) in there and int(target) not in unfilled
        }

    def rows(self, number: int) -> PairTable:
        """Pairs of a mimic set, with MIMIC_OBS_ID whether targets are filled or not."""
        rows = self.pairs[(self.pairs["MIMIC_SET"] == number) & self.pairs.has_donor]
        if "MIMIC_OBS_ID" not in rows.colnames:
            rows["MIMIC_OBS_ID"] = rows["TARGET_OBS_ID"]
        return rows

    def largest_offset(self) -> Angle:
        """Largest offset of the position from the pointing of a mimic, by the index."""
        offset = self.pointings.separation(self.position)
        # of other runs the position is not in the field of view
        return max([Angle("0 deg"), *offset[offset < self.geometry["offset_max"]]])

    def sources(self) -> list[CircleSkyRegion]:
        """Circles about the position and about catalogued sources of its field."""
        scramble = self.config.mimic.scramble
        found = [CircleSkyRegion(self.position, TARGET_EXCLUSION)]
        if scramble is not None:
            options = {"catalogs": scramble.catalogs, "theta": scramble.theta}
            found += known_sources(self.position, scramble.radius, **options)
        return found

    def exclusion_mask(self, geom: WcsGeom) -> Map:
        """Mask of the sources and of the exclusion mask of the configuration.

        It holds for mimics and targets alike.
        """
        mask = exclusion_mask(geom, self.sources())
        path = self.config.datasets.background.exclusion
        if path is not None:
            given = Map.read(make_path(path))
            mask.data &= exclusion_mask(geom, given).data
        return mask

    @property
    def geometry(self) -> dict[str, Any]:
        """Energy edges and largest offset of the analysis, or defaults."""
        axis = self.config.datasets.geom.axes.energy
        edges: Any = ENERGY_EDGES
        if axis.min is not None:
            edges = np.geomspace(axis.min, axis.max, axis.nbins + 1)
        offset = self.config.datasets.safe_mask.parameters.get("offset_max", OFFSET_MAX)
        return {"energy_edges": edges, "offset_max": u.Quantity(offset)}


def _sets(path, pairs):
    """Find number and folder of the mimic sets, and the names of missing ones."""
    numbers = sorted({int(number) for number in pairs["MIMIC_SET"][pairs.has_donor]})
    folder = CampaignFolder(path)
    stores = {number: folder.store_path(number) for number in numbers}
    found = {
        number: store
        for number, store in stores.items()
        if (store / HDU_INDEX).is_file()
    }
    if not found:
        raise ValueError(f"{path} has no mimic set")
    return found, [store.name for n, store in stores.items() if n not in found]


def _check_files(path, sets, provenance):
    """Raise an error for a mimic that was changed after the campaign wrote it."""
    names = {store.name for store in sets.values()}
    for name, file, sha256 in mimic_files(provenance):
        if name in names and checksum(path / name / file) != sha256:
            raise ValueError(
                f"{path / name / file} was changed after it was written (its checksum "
                "is in provenance.yaml); gammapy-mimic run makes it again"
            )


@dataclass
class Measurement:
    """All numbers of a report.

    Attributes
    ----------
    position : `~astropy.coordinates.SkyCoord`
        Position of interest.
    local : `~gammapy_mimic.validation.LocalSystematic`
        Systematic of the background at places like the position.
    systematic : `~gammapy_mimic.validation.BackgroundSystematic` or None
        Of the whole field; of on over off counts without a background model. None if
        fewer than two donors have enough counts.
    no_systematic : str
        Why there is none.
    at_position : `~gammapy_mimic.validation.TargetSignificance`
        Significance at the position, in stacks of the same targets.
    distributions : dict
        Significance distribution of each mimic set; empty without background model.
    on_off : `~gammapy_mimic.validation.OnOffCounts` or None
        On and off counts of all mimics; None with a background model.
    on_off_of_set : dict
        The same of the stack of each mimic set, a row for all energies together.
    largest : `~gammapy_mimic.validation.GlobalSignificance` or None
        Largest significance in the map of the targets; None if blinded.
    residuals : `~astropy.table.Table`
        What scrambling left of sources.
    checks : dict
        Field checks of the mimics of the first set.
    """

    position: SkyCoord
    # filled one after the other
    local: Any = None
    systematic: BackgroundSystematic | None = None
    no_systematic: str = ""
    at_position: Any = None
    distributions: dict = field(default_factory=dict)
    on_off: OnOffCounts | None = None
    on_off_of_set: dict = field(default_factory=dict)
    largest: GlobalSignificance | None = None
    residuals: Any = None
    checks: dict = field(default_factory=dict)

    @property
    def significances(self) -> np.ndarray:
        """Significance at the position in each mimic set."""
        return self.at_position.mimics

    @property
    def target(self) -> float | None:
        """Significance of the targets; None in a blinded report."""
        return self.at_position.target


def measure(
    campaign: Campaign, *, unblind: bool = False, n_toys: int = 50, n_jobs: int = 1
) -> Measurement:
    """Measure on all mimic sets of a campaign, one set at a time in each process.

    Parameters
    ----------
    campaign : `Campaign`
        Campaign.
    unblind : bool, optional
        Look at the targets, too: those that are in the mimic sets. Default is False.
    n_toys : int, optional
        Number of toys for each significance map. Default is 50.
    n_jobs : int, optional
        Number of processes. Default is 1. The numbers do not depend on it.

    Returns
    -------
    measurement : `Measurement`
        Numbers.
    """
    found = Measurement(campaign.position)
    # the quick part first: it fails early if donors cannot be read
    found.checks = _checks(campaign)
    target_ids = {number: campaign.target_ids(number) for number in campaign.sets}
    runs, left_out = common_runs([it.values() for it in target_ids.values()])
    judge = _judge(campaign, n_toys)
    # a set that lacks some of the targets is measured, but not compared
    stacked = {
        number: {
            mimic
            for mimic, target in target_ids[number].items()
            if place in left_out or target in runs
        }
        for place, number in enumerate(campaign.sets)
    }
    compared = [it for place, it in enumerate(campaign.sets) if place not in left_out]
    kept = CampaignFolder(campaign.path).state / "report"
    parts = measure_sets(judge, campaign.sets, stacked, kept, n_jobs=n_jobs)
    events: list[Counter] = []
    values, residuals = [], []
    for number, part in parts:
        value = judge.add(number, part)
        values.append(value if number in compared else np.nan)
        events.append(Counter(map(tuple, part.arrays["events"].tolist())))
        table = part.tables["residuals"]
        table["MIMIC_SET"] = np.full(len(table), number)
        residuals.append(table)
    found.residuals = vstack([it for it in residuals if len(it)] or residuals[:1])
    target = None
    if unblind:
        target = judge.add_target(
            [it for it in campaign.targets() if it.obs_id in runs]
        )
    found.at_position = TargetSignificance(
        np.array(values), target, shared_part(events), runs, left_out
    )
    judge.finish(found, compared)
    try:
        found.systematic = judge.systematic()
    except TooFewDonorsError as error:
        found.no_systematic = str(error)
        log.warning("%s: no systematic of the field: %s", campaign.path, error)
    return found


def _judge(campaign, n_toys):
    """Judge on maps, or on reflected regions if there is no background model."""
    first = campaign.observations(next(iter(campaign.sets)))[0]
    if "bkg" in first.available_irfs:
        return MapJudge(campaign, n_toys)
    return RegionJudge(campaign, has_cut=first.rad_max is not None)


def _checks(campaign):
    """Field checks of the pairs of the first set."""
    mimics = campaign.observations(next(iter(campaign.sets)))
    return {
        mimic.obs_id: field_checks(campaign.donor(mimic), mimic) for mimic in mimics
    }
