"""What a report tells: numbers of all mimic sets, one set at a time."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import yaml
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import Table, vstack
from gammapy.data import DataStore
from regions import CircleSkyRegion

from gammapy_mimic.campaign.selection import select_donors, select_targets
from gammapy_mimic.config import MimicAnalysisConfig
from gammapy_mimic.matching import PairTable
from gammapy_mimic.residuals import scramble_residuals
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

    @classmethod
    def read(cls, path):
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
            If the folder is no campaign's, or holds no mimic set.
        """
        path = Path(path)
        for name in ("config.yaml", "pairs.ecsv", "provenance.yaml"):
            if not (path / name).is_file():
                raise ValueError(
                    f"{path} has no {name}: give the folder (mimic.outdir) of a "
                    "campaign that gammapy-mimic run has finished"
                )
        stores = sorted(path.glob("mimic_*/hdu-index.fits.gz"))
        if not stores:
            raise ValueError(f"{path} holds no mimic set")
        return cls(
            path=path,
            config=MimicAnalysisConfig.read(path / "config.yaml"),
            pairs=PairTable.read(path / "pairs.ecsv", format="ascii.ecsv"),
            provenance=yaml.safe_load((path / "provenance.yaml").read_text()),
            sets={int(it.parent.name.split("_")[1]): it.parent for it in stores},
        )

    def observations(self, number):
        """Open the mimics of a set."""
        store = DataStore.from_dir(self.sets[number])
        return store.get_observations(required_irf="all-optional")

    def runs(self):
        """Give all mimics of all sets, one at a time."""
        for number in self.sets:
            yield from self.observations(number)

    def donors(self):
        """Open the data store of the donors."""
        return select_donors(self.config.mimic.donors, self.config.observations)

    def targets(self):
        """Open the targets themselves; to be used for an unblinded report only."""
        store = select_targets(self.config.observations)
        ids = [int(obs_id) for obs_id in store.obs_table["OBS_ID"]]
        return store.get_observations(ids, required_irf="all-optional")

    @property
    def position(self):
        """Position of interest: centre of the analysis, or object of the targets."""
        sky = self.config.datasets.geom.wcs.skydir
        if sky.lon is not None:
            return SkyCoord(sky.lon, sky.lat, frame=sky.frame).icrs
        first = self.observations(next(iter(self.sets)))[0]
        return first.meta.target.position.icrs

    @property
    def geometry(self):
        """Energy edges and largest offset of the analysis, or defaults."""
        axis = self.config.datasets.geom.axes.energy
        edges = ENERGY_EDGES
        if axis.min is not None:
            edges = np.geomspace(axis.min, axis.max, axis.nbins + 1)
        offset = self.config.datasets.safe_mask.parameters.get("offset_max", OFFSET_MAX)
        return {"energy_edges": edges, "offset_max": u.Quantity(offset)}


@dataclass
class Measurement:
    """All numbers of a report."""

    position: SkyCoord
    distributions: dict = field(default_factory=dict)
    at_position: TargetSignificance = None
    systematic: object = None
    residuals: Table = None
    checks: dict = field(default_factory=dict)

    @property
    def significances(self):
        """Significance at the position in each mimic set."""
        return self.at_position.mimics

    @property
    def target(self):
        """Significance of the targets; None in a blinded report."""
        return self.at_position.target


def measure(campaign, *, unblind=False, n_toys=30):
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
    single, residuals = [], []
    for number in campaign.sets:
        mimics = campaign.observations(number)
        dataset = reduce_runs(mimics, position, **geometry)
        found.distributions[number] = significance_distribution(dataset, n_toys=n_toys)
        at_position = target_significance([dataset], position, on_radius=ON_RADIUS)
        single.append(at_position.mimics[0])
        table = scramble_residuals(mimics)
        table["MIMIC_SET"] = np.full(len(table), number)
        residuals.append(table)
    found.residuals = vstack([it for it in residuals if len(it)] or residuals[:1])
    edges = [0, 1] * geometry["offset_max"]
    found.systematic = background_systematic(
        campaign.runs(), energy_edges=geometry["energy_edges"], offset_edges=edges
    )
    target = _of_target(campaign, position, geometry) if unblind else None
    found.at_position = TargetSignificance(np.array(single), target)
    found.checks = _checks(campaign)
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
    donors = campaign.donors()
    checks = {}
    for mimic in campaign.observations(next(iter(campaign.sets))):
        donor = donors.obs(mimic.events.table.meta["MIM_DON"], "all-optional")
        checks[mimic.obs_id] = field_checks(donor, mimic)
    return checks
