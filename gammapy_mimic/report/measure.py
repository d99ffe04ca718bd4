"""The numbers of a report, computed one mimic set at a time."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import vstack
from gammapy.data import DataStore, Observation, Observations
from regions import CircleSkyRegion

from gammapy_mimic.campaign.folder import CampaignFolder, checksum
from gammapy_mimic.campaign.reading import mimic_files, read_pairs, read_provenance
from gammapy_mimic.campaign.selection import select_donors, select_targets
from gammapy_mimic.checks import open_store
from gammapy_mimic.config import MimicAnalysisConfig
from gammapy_mimic.data.compat import read_once
from gammapy_mimic.io.arguments import PathLike
from gammapy_mimic.io.gadf import HDU_INDEX
from gammapy_mimic.matching import PairTable
from gammapy_mimic.scramble.residuals import scramble_residuals
from gammapy_mimic.validation import (
    TargetSignificance,
    background_systematic,
    field_checks,
    reduce_runs,
    significance_distribution,
    target_significance,
)
from gammapy_mimic.validation.reduction import ENERGY_EDGES, OFFSET_MAX

__all__ = ["Campaign", "Measurement", "measure"]
ON_RADIUS = 0.1 * u.deg
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
        config = MimicAnalysisConfig.read(path / "config.yaml")
        pairs = read_pairs(path / "pairs.ecsv")
        provenance = read_provenance(path / "provenance.yaml")
        sets, missing = _sets(path, pairs)
        _check_files(path, sets, provenance)
        return cls(path, config, pairs, provenance, sets, missing)

    def observations(self, number: int) -> Observations:
        """Open the mimics of a set."""
        store = open_store(self.sets[number])
        mimics = store.get_observations(required_irf="all-optional")
        # errors name the file
        return Observations([read_once(mimic) for mimic in mimics])

    def runs(self) -> Iterator[Observation]:
        """Give all mimics of all sets, one at a time."""
        for number in self.sets:
            yield from self.observations(number)

    @cached_property
    def donors(self) -> DataStore:
        """Data store of the donors."""
        return select_donors(self.config.mimic.donors, self.config.observations)

    def donor(self, mimic: Observation) -> Observation:
        """Open the donor of a mimic."""
        obs_id = mimic.events.table.meta["MIM_DON"]
        return read_once(self.donors.obs(obs_id, required_irf="all-optional"))

    def targets(self) -> Observations:
        """Open the targets themselves; to be used for an unblinded report only."""
        store = select_targets(self.config.observations).store
        ids = [int(obs_id) for obs_id in store.obs_table["OBS_ID"]]
        targets = store.get_observations(ids, required_irf="all-optional")
        return Observations([read_once(target) for target in targets])

    @property
    def position(self) -> SkyCoord:
        """Position of interest: centre of the analysis, or object of the targets."""
        sky = self.config.datasets.geom.wcs.skydir
        if sky.lon is not None:
            return SkyCoord(sky.lon, sky.lat, frame=sky.frame).icrs
        first = self.observations(next(iter(self.sets)))[0]
        return first.meta.target.position.icrs

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
    """All numbers of a report."""

    position: SkyCoord
    distributions: dict = field(default_factory=dict)
    at_position: Any = None
    systematic: Any = None
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
    campaign: Campaign, *, unblind: bool = False, n_toys: int = 30
) -> Measurement:
    """Measure on all mimic sets of a campaign.

    Parameters
    ----------
    campaign : `Campaign`
        Campaign.
    unblind : bool, optional
        Look at the targets, too. Default is False.
    n_toys : int, optional
        Number of toys for each significance map. Default is 30.

    Returns
    -------
    measurement : `Measurement`
        Numbers.
    """
    position, geometry = campaign.position, campaign.geometry
    found = Measurement(position)
    # the quick parts first: they fail early if donors cannot be read or counts are few
    found.checks = _checks(campaign)
    edges = [0, 1] * geometry["offset_max"]
    found.systematic = background_systematic(
        campaign.runs(), energy_edges=geometry["energy_edges"], offset_edges=edges
    )
    single, residuals = [], []
    for number, folder in campaign.sets.items():
        mimics = campaign.observations(number)
        dataset = reduce_runs(mimics, position, **geometry)
        try:
            distribution = significance_distribution(dataset, n_toys=n_toys)
        except ValueError as error:
            raise ValueError(f"{folder}: {error}") from error
        found.distributions[number] = distribution
        at_position = target_significance([dataset], position, on_radius=ON_RADIUS)
        single.append(at_position.mimics[0])
        table = scramble_residuals(mimics)
        table["MIMIC_SET"] = np.full(len(table), number)
        residuals.append(table)
    found.residuals = vstack(
        [table for table in residuals if len(table)] or residuals[:1]
    )
    target = _of_target(campaign, position, geometry) if unblind else None
    found.at_position = TargetSignificance(np.array(single), target)
    return found


def _of_target(campaign, position, geometry):
    """Significance of the targets at the position, which the ring leaves out."""
    exclusion = [CircleSkyRegion(position, TARGET_EXCLUSION)]
    dataset = reduce_runs(campaign.targets(), position, exclusion=exclusion, **geometry)
    found = target_significance(
        [], position, target=dataset, on_radius=ON_RADIUS, exclusion=exclusion
    )
    return found.target


def _checks(campaign):
    """Field checks of the pairs of the first set."""
    mimics = campaign.observations(next(iter(campaign.sets)))
    return {
        mimic.obs_id: field_checks(campaign.donor(mimic), mimic) for mimic in mimics
    }
