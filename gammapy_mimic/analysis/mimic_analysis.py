"""Mimics in gammapy's `~gammapy.analysis.Analysis`."""

import logging
from typing import Any

from gammapy.analysis.config import AnalysisConfig

from gammapy_mimic.analysis.point_like import PointLikeAnalysis
from gammapy_mimic.campaign import MimicCampaign
from gammapy_mimic.checks import open_store
from gammapy_mimic.config import MimicAnalysisConfig, MimicConfig
from gammapy_mimic.io.arguments import PathLike

__all__ = ["MimicAnalysis"]

log = logging.getLogger(__name__)


def check_mimic_set(mimic_set: int, config: MimicConfig) -> None:
    """Raise a ValueError for a mimic set that a configuration does not have."""
    if mimic_set not in range(config.n_mimics):
        raise ValueError(
            f"mimic_set = {mimic_set!r}: must be from 0 to {config.n_mimics - 1}, as "
            f"mimic.n_mimics is {config.n_mimics}"
        )


class MimicAnalysis(PointLikeAnalysis):
    """Gammapy analysis of a mimic set, as of the targets themselves.

    `get_observations` gives the mimics; all other steps (``get_datasets``,
    ``run_fit``, ``get_flux_points``, ``get_excess_map``, ``get_light_curve``) are those
    of `~gammapy.analysis.Analysis`.

    Parameters
    ----------
    config : `~gammapy_mimic.config.MimicAnalysisConfig`, dict, str or \
`~pathlib.Path`
        Configuration: gammapy's with one more section ``mimic``, or its YAML file.
    mimic_set : int, optional
        Which mimic set. Default is 0.

    Raises
    ------
    ConfigError
        If there are mistakes in the configuration.
    ValueError
        If the number of the mimic set is not valid.

    Examples
    --------
    >>> from gammapy_mimic import MimicAnalysis
    >>> analysis = MimicAnalysis("crab.yaml", mimic_set=1)  # doctest: +SKIP
    >>> analysis.get_observations()  # doctest: +SKIP
    >>> analysis.get_datasets()  # doctest: +SKIP
    """

    def __init__(
        self,
        config: MimicAnalysisConfig | dict[str, Any] | PathLike,
        *,
        mimic_set: int = 0,
    ) -> None:
        super().__init__(config)
        check_mimic_set(mimic_set, self.config.mimic)
        self.mimic_set = mimic_set

    @property
    def config(self) -> MimicAnalysisConfig:
        """Configuration as a `~gammapy_mimic.config.MimicAnalysisConfig`."""
        return self._config

    @config.setter
    def config(self, value):
        if isinstance(value, MimicAnalysisConfig):
            self._config = value
        elif isinstance(value, AnalysisConfig | dict):
            self._config = MimicAnalysisConfig().update(value)
        else:
            config = MimicAnalysisConfig.read(value)
            # gammapy's own steps look for its inputs in the working directory only
            self._config = config.located().model_copy(update={"mimic": config.mimic})

    def get_observations(self) -> None:
        """Fetch the mimics.

        From ``mimic.outdir`` if they are there, made with this configuration;
        otherwise they are made in memory. Of section ``observations`` the time
        intervals and the required IRFs are applied to them.
        """
        campaign = MimicCampaign(self.config)
        path = campaign.store_path(self.mimic_set)
        settings = self.config.observations
        if path is None:
            log.info("Mimics of set %d are made in memory", self.mimic_set)
            self.observations = campaign.make(self.mimic_set)
        else:
            log.info("Mimics of set %d are taken from %s", self.mimic_set, path)
            self.datastore = open_store(path)
            self.observations = self.datastore.get_observations(
                required_irf=settings.required_irf
            )
        # mimics with the donors' times are not in the targets' intervals
        start, stop = settings.obs_time.start, settings.obs_time.stop
        if start is not None and self.config.mimic.time == "target":
            intervals = (
                [[start, stop]] if start.isscalar else zip(start, stop, strict=True)
            )
            self.observations = self.observations.select_time(list(intervals))
        log.info("Number of mimics: %d", len(self.observations))
