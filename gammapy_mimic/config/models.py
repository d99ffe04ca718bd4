"""Pydantic models of the whole file: gammapy's sections, and ``mimic:``."""

import functools
import json
import os
from pathlib import Path
from typing import Any, Self

from astropy.coordinates import SkyCoord
from gammapy.analysis.config import (
    AnalysisConfig,
    BackgroundConfig,
    DatasetsConfig,
    GeneralConfig,
    LogConfig,
    ObservationsConfig,
    deep_update,
)
from gammapy.utils.scripts import make_path
from pydantic import PrivateAttr

from gammapy_mimic.config.checking import ConfigError, check_settings, parse_yaml
from gammapy_mimic.config.paths import RawPath, beside, expand, locate, located
from gammapy_mimic.config.section import MimicConfig
from gammapy_mimic.io.arguments import PathLike
from gammapy_mimic.matching import DonorMatcher

__all__ = ["MimicAnalysisConfig", "analysis_matcher"]


class _Observations(ObservationsConfig):
    datastore: RawPath = Path("$GAMMAPY_DATA/hess-dl3-dr1")
    obs_file: RawPath | None = None


class _Background(BackgroundConfig):
    exclusion: RawPath | None = None


class _Datasets(DatasetsConfig):
    background: _Background = _Background()


class _Log(LogConfig):
    filename: RawPath | None = None


class _General(GeneralConfig):
    log: _Log = _Log()
    datasets_file: RawPath | None = None
    models_file: RawPath | None = None


class MimicAnalysisConfig(AnalysisConfig):
    """Gammapy's analysis configuration with one more section, ``mimic:``.

    It can stand wherever gammapy takes an `~gammapy.analysis.AnalysisConfig`. Paths
    keep their environment variables until they are used; where relative ones start,
    says `located`.

    Attributes
    ----------
    mimic : `MimicConfig`
        The section of this package. The others are gammapy's.

    Examples
    --------
    >>> from gammapy_mimic.config import MimicAnalysisConfig
    >>> config = MimicAnalysisConfig.from_yaml("mimic: {n_mimics: 5}")
    >>> config.mimic.n_mimics
    5
    """

    general: _General = _General()
    observations: _Observations = _Observations()
    datasets: _Datasets = _Datasets()
    mimic: MimicConfig = MimicConfig()
    _file: Path | None = PrivateAttr(default=None)

    @classmethod
    def read(cls, path: PathLike) -> Self:
        """Read from a YAML file.

        Parameters
        ----------
        path : str or `~pathlib.Path`
            File.

        Returns
        -------
        config : `MimicAnalysisConfig`
            Configuration.

        Raises
        ------
        ConfigError
            If there are mistakes in the file, with all of them.
        """
        file = make_path(path)
        try:
            text = file.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise ConfigError([f"{file}: is not a text file in UTF-8"]) from error
        config = cls._from_text(text, str(file))
        config._file = file.absolute()
        return config

    @classmethod
    def from_yaml(cls, config_str: str) -> Self:
        """Make a configuration from YAML text; see `read`."""
        return cls._from_text(config_str, "configuration")

    @classmethod
    def _from_text(cls, text, name):
        return check_settings(cls, parse_yaml(text, name), name)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, MimicAnalysisConfig):
            return NotImplemented
        # by their settings, wherever they were read from
        return self.to_dict() == other.to_dict()

    __hash__ = None  # type: ignore[assignment]

    @property
    def file(self) -> Path | None:
        """File from which it was read (`~pathlib.Path` or None)."""
        return self._file

    @property
    def folder(self) -> Path:
        """Folder from which relative paths of section ``mimic`` start.

        It is that of the file, or ``mimic.relative_to``; the working directory for
        what was read from no file (`~pathlib.Path`).
        """
        folder = Path.cwd() if self._file is None else self._file.parent
        given = self.mimic.relative_to
        if given is None:
            return folder
        # as text: the folder of the results may be a link to elsewhere
        path = expand(locate(given, folder), "mimic.relative_to")
        return Path(os.path.normpath(path))

    def located(self) -> Self:
        """Make a copy that means the same in every working directory.

        Relative paths of section ``mimic`` start from `folder`. Inputs of gammapy's
        own sections start from the working directory, as in gammapy, unless they are
        in `folder` only.

        Returns
        -------
        config : `MimicAnalysisConfig`
            Copy. Variables in paths stay.
        """
        folder = self.folder
        observations = self.observations.model_copy(
            update={
                name: beside(getattr(self.observations, name), folder)
                for name in ("datastore", "obs_file")
            }
        )
        background = self.datasets.background
        exclusion = {"exclusion": beside(background.exclusion, folder)}
        background = background.model_copy(update=exclusion)
        models = {"models_file": beside(self.general.models_file, folder)}
        return self.model_copy(
            update={
                "observations": observations,
                "datasets": self.datasets.model_copy(update={"background": background}),
                "general": self.general.model_copy(update=models),
                "mimic": located(self.mimic, folder),
            }
        )

    def update(
        self, config: str | dict[str, Any] | AnalysisConfig | None = None
    ) -> Self:
        """Make a configuration with some settings replaced.

        Parameters
        ----------
        config : str, dict or `~gammapy.analysis.AnalysisConfig`
            YAML text or settings.

        Returns
        -------
        config : `MimicAnalysisConfig`
            New configuration.
        """
        if isinstance(config, str):
            settings = parse_yaml(config, "update")
        elif isinstance(config, dict):
            settings = config
        elif isinstance(config, AnalysisConfig):
            settings = config.model_dump(exclude_defaults=True)
        else:
            raise TypeError(
                f"config = {config!r}: must be YAML, dict or AnalysisConfig"
            )
        own = self.model_dump(exclude_defaults=True)
        merged: dict[str, Any] = functools.reduce(deep_update, (own, settings), {})
        updated = check_settings(type(self), merged, "update")
        updated._file = self._file
        return updated

    def matcher(self) -> DonorMatcher:
        """Make the matcher for this analysis; see `analysis_matcher`."""
        return analysis_matcher(self)

    def to_dict(self) -> dict[str, Any]:
        """Give the settings as plain text and numbers, as in the YAML file."""
        return json.loads(self.model_dump_json())

    def to_analysis_config(self) -> AnalysisConfig:
        """Give the part that is gammapy's, as `~gammapy.analysis.AnalysisConfig`."""
        return AnalysisConfig(**self.model_dump(exclude={"mimic"}))


def analysis_matcher(config: Any) -> DonorMatcher:
    """Make the matcher for the energies and the position of an analysis.

    Parameters
    ----------
    config : `MimicAnalysisConfig` or `gammapy.workflow.WorkflowConfig`
        Configuration with the sections ``datasets`` and ``mimic``.

    Returns
    -------
    matcher : `~gammapy_mimic.DonorMatcher`
        Matcher that compares runs in the energy range of the axis ``energy``, and
        does not look at events near the position of interest: ``on_region`` of a 1D
        analysis, else the middle of the map.
    """
    energy = config.datasets.geom.axes.energy
    place = config.datasets.geom.wcs.skydir
    if config.datasets.type == "1d":
        place = config.datasets.on_region
    position = None
    if place.lon is not None and place.lat is not None:
        position = SkyCoord(place.lon, place.lat, frame=place.frame or "icrs")
    return config.mimic.matcher(
        energy_min=energy.min, energy_max=energy.max, position=position
    )
