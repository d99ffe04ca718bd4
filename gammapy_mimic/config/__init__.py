"""The YAML file: an ordinary gammapy analysis file plus one section, ``mimic:``.

`models` holds the pydantic model of the file, `section` those of its section
``mimic:`` and `analyse` those of ``mimic.analyse``. `checking` turns all mistakes of a
file into one error that a person can act on, `template` is the commented section for
new files, `schema` describes all keys for editors and for the documentation.
"""

from gammapy_mimic.config.analyse import AnalyseConfig, InjectConfig
from gammapy_mimic.config.checking import ConfigError
from gammapy_mimic.config.models import MimicAnalysisConfig, analysis_matcher
from gammapy_mimic.config.paths import expand
from gammapy_mimic.config.schema import json_schema
from gammapy_mimic.config.section import (
    DonorsConfig,
    MatchConfig,
    MimicConfig,
    ScrambleConfig,
    SourceConfig,
)
from gammapy_mimic.config.template import template

__all__ = [
    "AnalyseConfig",
    "ConfigError",
    "DonorsConfig",
    "InjectConfig",
    "MatchConfig",
    "MimicAnalysisConfig",
    "MimicConfig",
    "ScrambleConfig",
    "SourceConfig",
    "analysis_matcher",
    "expand",
    "json_schema",
    "template",
]
