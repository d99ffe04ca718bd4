"""Arguments of the matcher, checked."""

from collections.abc import Iterable

import numpy as np
from astropy import units as u
from astropy.coordinates import Angle

from gammapy_mimic.matching.features import (
    FEATURES,
    check_name,
    make_columns,
    make_tolerances,
)
from gammapy_mimic.matching.rate import OuterRate
from gammapy_mimic.sources.known import parse_sources

__all__ = [
    "energy_range",
    "keep_away_circles",
    "make_rate_proxy",
    "making_options",
    "positive_int",
    "relaxation",
    "sequence",
]

_MAKING = {"alignment": "altaz", "background": "donor", "fov_alignment": None}
"""Defaults of `~gammapy_mimic.MimicMaker`."""


def sequence(name, values):
    """Take several values; a text is one, and not its letters."""
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise TypeError(f"{name} = {values!r}: must be a list, such as [{values!r}]")
    return tuple(values)


def keep_away_circles(keep_away, distance):
    """Circles or points from which runs keep away, and the distance to these."""
    try:
        distance = Angle(distance)
    except (TypeError, ValueError, u.UnitsError) as error:
        raise ValueError(
            f"keep_away_distance = {distance!r}: must be an angle with its unit, such "
            "as 2.5 deg"
        ) from error
    # circles keep their own radius, all other sources are points
    if keep_away is not None:
        keep_away = parse_sources(keep_away, theta="1 arcsec")
    return keep_away, distance


def positive_int(name, value):
    """Check a number of sets, or of uses."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise ValueError(f"{name} = {value!r}: must be a positive integer")
    return int(value)


def making_options(making):
    """Check arguments of the maker that matter to warnings; the rest by default."""
    unknown = sorted(set(making) - set(_MAKING))
    if unknown:
        raise ValueError(
            f"making: {unknown[0]!r} is not one of {', '.join(map(repr, _MAKING))}"
        )
    return {**_MAKING, **making}


def energy_range(energy_min, energy_max):
    """Check the energy range of the analysis."""
    given = {"energy_min": energy_min, "energy_max": energy_max}
    for name, value in given.items():
        if value is None:
            continue
        try:
            given[name] = u.Quantity(value).to("TeV")
        except u.UnitConversionError as error:
            raise ValueError(f"{name} = {value!r}: must be an energy") from error
        if not given[name].isscalar or not 0 < given[name].value < np.inf:
            raise ValueError(f"{name} = {value!r}: must be one energy above 0")
    low, high = given.values()
    if low is not None and high is not None and not low < high:
        raise ValueError(f"energy_min = {low} is not below energy_max = {high}")
    return low, high


def relaxation(relax, tolerances, columns):
    """Check steps of relaxation: (name, plain number or None)."""
    steps = []
    for item in [relax] if isinstance(relax, str) else relax:
        name, value = (item, None) if isinstance(item, str) else item
        check_name(name, columns)
        if name not in tolerances:
            raise ValueError(f"relax: {name!r} is switched off already")
        if value is not None:
            is_column = name in columns
            make = (lambda it: make_columns(it)[1]) if is_column else make_tolerances
            value = make({name: value})[name]
            tighter = value < tolerances[name]
            kind = (columns if is_column else FEATURES)[name].kind
            if tighter != (kind == "at_least"):
                raise ValueError(
                    f"relax: {name} = {value:g} is not wider than the tolerance "
                    f"{tolerances[name]:g}"
                )
        steps.append((name, value))
    return tuple(steps)


def make_rate_proxy(rate_proxy):
    """Check what gives the rate of a run; "events" is an `OuterRate`."""
    if rate_proxy == "events":
        rate_proxy = OuterRate()
    if not (rate_proxy in (None, "index") or callable(rate_proxy)):
        raise TypeError(
            f"rate_proxy = {rate_proxy!r}: must be None, 'events', 'index' or a "
            "callable"
        )
    return rate_proxy
