"""Spectra of runs whose directional cut depends on energy, RAD_MAX."""

import logging

from gammapy.data import Observation
from gammapy.makers import WobbleRegionsFinder

from gammapy_mimic.config import MimicAnalysisConfig
from gammapy_mimic.data.compat.analysis import PointAnalysis
from gammapy_mimic.validation.on_off import off_region_room

__all__ = ["PointLikeAnalysis", "check_on_region"]

log = logging.getLogger(__name__)


class PointLikeAnalysis(PointAnalysis):
    """`~gammapy.analysis.Analysis` that also makes spectra of runs with RAD_MAX.

    Where ``datasets.on_region`` has no radius, the on region of each energy is as large
    as RAD_MAX of the run. Off regions are as many as
    ``datasets.background.parameters.n_off_regions`` says, or else three, or as many as
    do not overlap in any run. All else is gammapy's.
    """

    def point_finder(self) -> WobbleRegionsFinder:
        """Give what finds the off regions.

        Returns
        -------
        finder : `~gammapy.makers.WobbleRegionsFinder`
            Finder.

        Raises
        ------
        ValueError
            If no off region has room.
        """
        settings = self.config.datasets
        number = settings.background.parameters.get("n_off_regions")
        if number is None:
            axis = settings.geom.axes.energy
            region = self._create_region_geometry(settings.on_region, None).region
            room = {
                run.obs_id: off_region_room(run, region.center, (axis.min, axis.max))
                for run in self.observations
            }
            number = min(room.values())
            if number == 0:
                lacking = ", ".join(str(it) for it in room if room[it] == 0)
                raise ValueError(
                    f"run {lacking}: no off region of the size of RAD_MAX has room "
                    "beside the on region"
                )
        log.info("on region as large as RAD_MAX, %d off regions", number)
        return WobbleRegionsFinder(n_off_regions=number)


def check_on_region(config: MimicAnalysisConfig, run: Observation) -> None:
    """Raise an error if the on region does not go with the runs.

    Parameters
    ----------
    config : `~gammapy_mimic.config.MimicAnalysisConfig`
        Configuration.
    run : `~gammapy.data.Observation`
        One of the runs.

    Raises
    ------
    ValueError
        If the radius is set but RAD_MAX depends on energy, or neither is there.
    """
    settings = config.datasets
    if settings.type != "1d":
        return
    radius, rad_max = settings.on_region.radius, run.rad_max
    if radius is None and rad_max is None:
        raise ValueError(
            "datasets.on_region.radius is not set, and must be, as the runs have no "
            "RAD_MAX"
        )
    if radius is not None and rad_max is not None and not rad_max.is_fixed_rad_max:
        raise ValueError(
            f"datasets.on_region.radius = {radius}: RAD_MAX of run {run.obs_id} is one "
            "by energy; leave the radius out, and the on region has this size"
        )
    if radius is None and settings.containment_correction:
        raise ValueError(
            "datasets.containment_correction: must be false for runs with RAD_MAX, "
            "whose effective area is that of the on region"
        )
    if radius is None and settings.background.method != "reflected":
        raise ValueError(
            "datasets.background.method: must be reflected for an on region without "
            "radius"
        )
