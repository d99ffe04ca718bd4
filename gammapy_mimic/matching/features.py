"""Properties in which donor and target are compared, and their tolerances."""

import math
from dataclasses import dataclass
from difflib import get_close_matches

from astropy import units as u

__all__ = [
    "FEATURES",
    "MEASURED",
    "RESERVED",
    "Feature",
    "check_name",
    "make_columns",
    "make_tolerances",
]

# columns that are angles about the whole sky, by the beginning of their names
_WRAPPED = ("RA_", "AZ_", "GLON_")


@dataclass(frozen=True)
class Feature:
    """One property in which donor and target are compared.

    Parameters
    ----------
    name : str
        Name of the tolerance.
    column : str
        Column of the run table.
    kind : str
        How it is compared: "difference", "angle" (wrapped), "relative" (to the
        target), "shorter" (relative, a longer donor is welcome), "same", "other"
        (must differ), "sets" (elements not in common), "at_least" and "at_most" (of
        the donor alone, by absolute value), "above" (both runs), "area" (largest
        relative difference over energy and offset) or "rate" (relative, above the
        threshold of the pair).
    letter : str
        Letter that stands for the cut in figures.
    default : float or None
        Default tolerance; None is off.
    unit : str
        Unit of the tolerance and the column; empty for plain numbers.
    """

    name: str
    column: str
    kind: str
    letter: str
    default: float | None = None
    unit: str = ""

    @property
    def counts(self):
        """Whether the feature is part of the distance."""
        kinds = ("difference", "angle", "relative", "shorter", "area", "rate")
        return self.kind in kinds

    @property
    def is_relative(self):
        """Whether the tolerance is a fraction of the target's value."""
        return self.kind in ("relative", "shorter", "area", "rate")


# the order is that of the cut flow
FEATURES = {
    feature.name: feature
    for feature in (
        Feature("itself", "OBS_ID", "other", "i", 0),
        Feature("excluded", "ALLOWED", "at_least", "x"),
        Feature("horizon", "ALT_PNT", "above", "h", 0, "deg"),
        Feature("telescope", "TELESCOP", "same", "T", 0),
        Feature("n_tels", "N_TELS", "difference", "n", 0),
        Feature("telescopes", "TELLIST", "sets", "l"),
        Feature("epoch", "EPOCH", "same", "e"),
        Feature("galactic_latitude", "GLAT_PNT", "at_least", "g", None, "deg"),
        Feature("keep_away", "SOURCE_DISTANCE", "at_least", "s", None, "deg"),
        Feature("airmass", "AIRMASS", "difference", "a", 0.15),
        Feature("azimuth", "AZ_PNT", "angle", "z", 45, "deg"),
        Feature("ontime", "ONTIME", "shorter", "o", 0.1),
        Feature("muon_efficiency", "MUONEFF", "relative", "m", 0.1),
        Feature("nsb", "NSBLEVEL", "difference", "b", 1.5),
        Feature("time", "TIME", "difference", "t", None, "d"),
        Feature("threshold", "LO_THRES", "relative", "E"),
        Feature("rate_chi2", "RATE_CHI2", "at_most", "c"),
        Feature("effective_area", "AEFF", "area", "A", 0.1),
        Feature("rate", "RATE", "rate", "r"),
    )
}

MEASURED = ("threshold", "rate_chi2", "effective_area", "rate")
"""Features for which events or IRFs are read, of runs that pass the other cuts."""

# set by arguments of their own, or always on
RESERVED = ("itself", "excluded", "horizon", "epoch", "keep_away")


def make_columns(given):
    """Features and tolerances of further columns.

    Parameters
    ----------
    given : mapping of str to float, str or `~astropy.units.Quantity`
        Tolerance of each column: a number in the unit of the column, a quantity, or
        a percentage such as "10%", which is relative to the target.

    Returns
    -------
    features : dict of str to `Feature`
        Called as the columns.
    tolerances : dict of str to float
        Their tolerances.

    Raises
    ------
    ValueError
        For a tolerance that is not a number or negative, or a column without a name.
    """
    features, tolerances = {}, {}
    for name, value in given.items():
        if not isinstance(name, str) or not name.strip() or name in FEATURES:
            raise ValueError(f"columns: {name!r} is not a valid name of a column")
        text = str(value).strip()
        is_relative = isinstance(value, str) and text.endswith("%")
        try:
            quantity = u.Quantity(text[:-1] if is_relative else value)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"columns: {name} = {value!r}: must be a number, a number with a "
                "unit, or a percentage such as '10%'"
            ) from error
        if isinstance(value, bool) or not quantity.isscalar or not quantity.value >= 0:
            raise ValueError(f"columns: {name} = {value!r}: must be one number >= 0")
        wraps = name.startswith(_WRAPPED)
        kind = "relative" if is_relative else "angle" if wraps else "difference"
        unit = "" if is_relative else str(quantity.unit)
        if kind == "angle" and not unit:
            raise ValueError(f"columns: {name} = {value!r}: write '{value} deg'")
        if kind == "angle":
            quantity, unit = quantity.to("deg"), "deg"
        features[name] = Feature(name, name, kind, "#", None, unit)
        tolerances[name] = float(quantity.value) / (100 if is_relative else 1)
    return features, tolerances


def _tolerance(name, value):
    """Plain number of a tolerance in the unit of its feature."""
    unit = FEATURES[name].unit
    percent = isinstance(value, str) and value.strip().endswith("%")
    try:
        if percent and FEATURES[name].is_relative:
            number = float(value.strip()[:-1]) / 100
        else:
            number = float(u.Quantity(value).to_value(unit))
    except (TypeError, ValueError, u.UnitConversionError) as error:
        need = f"a value with a unit, as '3 {unit}'" if unit else "a plain number"
        raise ValueError(f"tolerance {name} = {value!r}: must be {need}") from error
    if not number >= 0:
        raise ValueError(f"tolerance {name} = {value!r}: must not be negative")
    if FEATURES[name].is_relative and not percent and 5 < number < math.inf:
        raise ValueError(
            f"tolerance {name} = {value!r}: a fraction is needed, and this is "
            f"{number:.0%}; write {number / 100:g} or '{number:g}%'"
        )
    return number


def check_name(name, columns=()):
    """Raise an error for a feature that has no tolerance.

    Parameters
    ----------
    name : str
        Name of a tolerance.
    columns : collection of str, optional
        Further columns that have one. Default is none.
    """
    names = [key for key in FEATURES if key not in RESERVED] + list(columns)
    if name not in names:
        near = get_close_matches(str(name), names, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ValueError(f"no tolerance {name!r}: {hint}choose from {names}")


def make_tolerances(given):
    """Tolerances of all features in the order of the cut flow.

    Parameters
    ----------
    given : mapping
        Tolerances that differ from the defaults, with their units; None switches
        a feature off.

    Returns
    -------
    tolerances : dict of str to float
        Those that are on, in the units of `FEATURES`.

    Raises
    ------
    ValueError
        For an unknown name, a missing or wrong unit or a negative tolerance.
    """
    for name in given:
        check_name(name)
    result = {}
    for name, feature in FEATURES.items():
        value = given.get(name, feature.default)
        if name in given and value is not None:
            value = _tolerance(name, value)
        if value is not None:
            result[name] = value
    return result
