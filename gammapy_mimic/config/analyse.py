"""Settings of the user's own analysis on every mimic set, ``mimic.analyse:``."""

from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from gammapy.modeling.models import Models
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainSerializer,
    StrictStr,
)

from gammapy_mimic.config.types import DescribedConfig, Number, none_if_off

__all__ = ["STEPS", "AnalyseConfig", "InjectConfig"]

Step = Literal["datasets", "excess-map", "fit", "flux-points", "light-curve"]
STEPS = get_args(Step)
"""Steps of `~gammapy.analysis.Analysis`, named as in ``gammapy.workflow``."""


def _models(value):
    """Path of a models file, or the models as plain values."""
    if isinstance(value, str | Path) and str(value).strip():
        return Path(value)
    try:
        if not (isinstance(value, dict) and "components" in value):
            value = yaml.safe_load(Models(value).to_yaml())
        # the metadata have the date
        return {"components": value["components"]}
    except (TypeError, ValueError, AttributeError) as error:
        raise ValueError("must be a models file of gammapy, or SkyModels") from error


def _scales(values):
    if len(set(values)) < len(values):
        raise ValueError("has a scale more than once")
    return sorted(values)


def _dashed(value):
    return value.replace("_", "-") if isinstance(value, str) else value


class InjectConfig(DescribedConfig):
    """A source that is put into the mimics."""

    models: Annotated[
        Any,
        BeforeValidator(_models),
        PlainSerializer(lambda it: it if isinstance(it, dict) else str(it)),
    ]
    """Models file of gammapy, or its content."""
    scales: Annotated[list[Number], Field(min_length=1), AfterValidator(_scales)] = (
        Field(default_factory=lambda: [1.0])
    )
    """Factors by which the flux is multiplied. The sets without the source (0) are
    always analysed."""


class AnalyseConfig(DescribedConfig):
    """What ``gammapy-mimic analyse`` does with each mimic set."""

    steps: list[Annotated[Step, BeforeValidator(_dashed)]] = Field(default_factory=list)
    """Steps of gammapy's Analysis, in this order. Default: all for which the file has
    settings."""
    free: list[StrictStr] = Field(default_factory=list)
    """Parameters of source models that are fitted besides the amplitudes: index of all
    models, or crab.index of one."""
    inject: Annotated[InjectConfig | None, BeforeValidator(none_if_off)] = None
    """A source that is put into the mimics, to be found again."""
