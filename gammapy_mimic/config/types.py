"""Types of single settings; their errors say what to write."""

from datetime import date
from typing import Annotated, Any

import numpy as np
from astropy import units as u
from astropy.coordinates import Angle
from astropy.time import Time
from gammapy.analysis.config import GammapyBaseConfig
from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    WithJsonSchema,
)

from gammapy_mimic.matching.features import check_name, make_columns
from gammapy_mimic.sky.location import geodetic_site, parse_location
from gammapy_mimic.sources.catalogs import check_tags

__all__ = [
    "AnyAngle",
    "DescribedConfig",
    "Duration",
    "Epoch",
    "Fraction",
    "Location",
    "Number",
    "PositiveAngle",
    "known_features",
    "known_tags",
    "none_if_off",
    "valid_columns",
    "valid_conditions",
]


class DescribedConfig(GammapyBaseConfig):
    """Base of models; the docstring after a key is the description of the key."""

    model_config = ConfigDict(use_attribute_docstrings=True)


def _quantity(value, *, unit):
    """Quantity of the kind of a unit, or an error that says what to write."""
    example = f"{value} {unit}"
    if isinstance(value, bool) or not isinstance(value, str | int | float | u.Quantity):
        raise ValueError(f"must be a number with a unit, such as '5 {unit}'")
    try:
        quantity = u.Quantity(value)
    except (TypeError, ValueError) as error:
        raise ValueError(f"must be a number with a unit, such as '5 {unit}'") from error
    if quantity.unit == u.dimensionless_unscaled and not isinstance(value, u.Quantity):
        raise ValueError(f"needs a unit; write '{example}'")
    if not quantity.isscalar or not np.isfinite(quantity.value):
        raise ValueError("must be one finite value")
    if not quantity.unit.is_equivalent(unit):
        raise ValueError(f"has the wrong unit {quantity.unit}; write it in '{unit}'")
    return quantity


def _angle(value):
    return Angle(_quantity(value, unit="deg"))


def _positive(value):
    if not value.value > 0:
        raise ValueError("must be larger than zero")
    return value


def _number(value):
    if isinstance(value, bool | str):
        raise ValueError("must be a number without a unit")
    return value


def _fraction(value):
    """Read a number or a percentage such as 10%."""
    if isinstance(value, str) and value.strip().endswith("%"):
        try:
            return float(value.strip()[:-1]) / 100
        except ValueError as error:
            raise ValueError("must be a number or a percentage such as 10%") from error
    return _number(value)


AS_TEXT = PlainSerializer(
    # a word that stands for an angle, which older versions of pydantic pass here, too
    lambda it: it if isinstance(it, str) else f"{it.value} {it.unit}",
    when_used="json-unless-none",
    return_type=str,
)
AnyAngle = Annotated[Angle, BeforeValidator(_angle), AS_TEXT]
PositiveAngle = Annotated[
    Angle, BeforeValidator(lambda value: _positive(_angle(value))), AS_TEXT
]
Duration = Annotated[
    u.Quantity,
    BeforeValidator(lambda value: _positive(_quantity(value, unit="d"))),
    AS_TEXT,
]
Number = Annotated[
    float,
    BeforeValidator(_number),
    Field(ge=0, allow_inf_nan=False),
    WithJsonSchema({"type": "number", "minimum": 0}),
]
Fraction = Annotated[
    float,
    BeforeValidator(_fraction),
    Field(ge=0, allow_inf_nan=False),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number", "minimum": 0},
                {"type": "string", "pattern": r"^\s*\d+(\.\d*)?\s*%\s*$"},
            ]
        }
    ),
]


def _epoch(value):
    try:
        return Time(str(value)).isot
    except ValueError as error:
        raise ValueError("must be a date, such as '2019-10-01'") from error


def valid_conditions(value: dict[str, Any]) -> dict[str, Any]:
    """Check what columns must be: values, lists of these, or ranges."""
    for name, wanted in value.items():
        if isinstance(wanted, dict):
            limits = wanted.values()
            is_number = all(isinstance(it, int | float) for it in limits)
            if not wanted or set(wanted) - {"min", "max"} or not is_number:
                raise ValueError(
                    f"{name}: a range is {{min: 40, max: 52}}, or has one of both"
                )
            continue
        items = wanted if isinstance(wanted, list) else [wanted]
        if not all(isinstance(item, str | int | float | date) for item in items):
            raise ValueError(
                f"{name}: must be text or a number, a list of these, or a range such "
                "as {min: 40, max: 52}"
            )
    return value


def known_features(value: str | dict[str, Any]) -> str | dict[str, Any]:
    """Check the names of tolerances, of one or of the keys of a mapping."""
    for name in [value] if isinstance(value, str) else value:
        # those of further columns are checked by the matcher
        check_name(name, columns=[name] if str(name).isupper() else [])
    return value


def valid_columns(value: dict[str, Any]) -> dict[str, Any]:
    """Check the tolerances of further columns."""
    make_columns(value)
    return value


def known_tags(value: list[str]) -> list[str]:
    """Check the tags of catalogs."""
    check_tags(value)
    return value


def none_if_off(value: Any) -> Any:
    """Take false for None."""
    # YAML reads "off" and "no" as false
    return None if value is False else value


Epoch = Annotated[str, BeforeValidator(_epoch)]


def _location(value):
    """Location in a form that a YAML file can hold."""
    if value is None:
        return None
    try:
        location = parse_location(value)
    except TypeError as error:
        raise ValueError(str(error)) from error
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        return {key: str(item) for key, item in value.items()}
    lon_deg, lat_deg, height_m = geodetic_site(location)
    return {"lon": f"{lon_deg} deg", "lat": f"{lat_deg} deg", "height": f"{height_m} m"}


Location = Annotated[str | dict[str, str] | None, BeforeValidator(_location)]
