"""Numbers in words: with the digits that mean something, and their units."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from gammapy_mimic.analysis.quantities import unit_text
from gammapy_mimic.report.quote import first_rows, of_radius

__all__ = ["FILTERS", "hours", "plural", "plus_minus", "span"]

NONE = "-"
"""What is not known."""

_PLAIN = (1e-3, 1e5)
"""Numbers outside of this range are written with a power of ten."""

_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def plus_minus(value: Any, error: Any = None, unit: str = "", digits: int = 3) -> str:
    """Write a value with its error.

    Parameters
    ----------
    value : float or None
        Value.
    error : float, optional
        Its error: two of its digits are shown, and as many decimals of the value.
        Default is None: no error, ``digits`` of the value are shown.
    unit : str, optional
        Unit. Default is none.
    digits : int, optional
        Digits of a value without error. Default is 3.

    Returns
    -------
    text : str
        Such as "1.23 ± 0.12 TeV"; a dash for a value that is not known.
    """
    if not _is_known(value):
        return NONE
    value = float(value)
    has_error = _is_known(error) and float(error) > 0
    scale = float(error) if has_error else abs(value)
    last = _magnitude(scale) - (1 if has_error else digits - 1) if scale else 0
    largest = max(abs(value), scale)
    power = _magnitude(largest) if largest else 0
    factor = ""
    if largest and not _PLAIN[0] <= largest < _PLAIN[1]:
        value, scale, last = value / 10**power, scale / 10**power, last - power
        factor = f" × 10{str(power).translate(_SUPERSCRIPT)}"  # noqa: RUF001
    text = _rounded(value, last)
    if has_error:
        text += f" ± {_rounded(scale, last)}"
        text = f"({text})" if factor or unit else text
    return f"{text}{factor}{f' {unit_text(unit)}' if unit else ''}"


def _rounded(value, last):
    """Value up to the decimal ``last``, which is negative behind the point."""
    decimals = max(0, -last)
    # without a minus sign before zero
    return f"{round(value, -last) + 0.0:.{decimals}f}"


def _magnitude(value):
    return math.floor(math.log10(abs(value)))


def _is_known(value):
    return value is not None and not isinstance(value, str) and np.isfinite(value)


def percent(value: Any, error: Any = None, digits: int = 2) -> str:
    """Write a part of one in per cent, with its error."""
    if not _is_known(value):
        return NONE
    error = 100 * float(error) if _is_known(error) else None
    return plus_minus(100 * float(value), error, "%", digits)


def systematic(row: dict) -> str:
    """Write a systematic with its error, or its upper limit if it is not seen."""
    value, error, limit = (row[f"systematic{it}"] for it in ("", "_err", "_ul"))
    if not _is_known(value):
        return NONE
    return percent(value, error) if value > error else f"< {percent(limit)}"


def signed(value: Any, decimals: int = 1) -> str:
    """Write a number with its sign."""
    if not _is_known(value):
        return NONE
    # without a minus sign before zero
    return f"{round(float(value), decimals) + 0.0:+.{decimals}f}"


def fixed(value: Any, decimals: int = 2) -> str:
    """Write a number with so many decimals."""
    if not _is_known(value):
        return NONE
    return f"{round(float(value), decimals) + 0.0:.{decimals}f}"


def limit(value: Any, is_limit: bool, unit: str = "") -> str:
    """Write a number with two digits, or as a limit."""
    text = plus_minus(value, unit=unit, digits=2)
    return f"< {text}" if is_limit and text != NONE else text


def p_value(value: Any) -> str:
    """Write a probability with two decimals, or two digits if it is small."""
    small = _is_known(value) and float(value) < 0.01
    return plus_minus(value, digits=1) if small else fixed(value)


def energies(row: dict) -> str:
    """Write an energy range."""
    low, high = row["energy_min"], row["energy_max"]
    return f"{float(low):.3g} to {float(high):.3g} TeV"


def span(values: Any, decimals: int = 2) -> str:
    """Write the range of numbers, as one if they are the same."""
    known = [float(it) for it in values if _is_known(it)]
    if not known:
        return NONE
    low, high = fixed(min(known), decimals), fixed(max(known), decimals)
    return low if low == high else f"{low} to {high}"


def hours(seconds: Any) -> str:
    """Write a time in hours."""
    return NONE if not _is_known(seconds) else f"{float(seconds) / 3600:.2f} h"


def plural(number: int, word: str) -> str:
    """Write a number with the word for what is counted."""
    return f"{number} {word}{'s' * (number != 1)}"


FILTERS: dict[str, Callable] = {
    "by_radius": first_rows,
    "of_radius": of_radius,
    "energies": energies,
    "fixed": fixed,
    "hours": hours,
    "limit": limit,
    "p_value": p_value,
    "percent": percent,
    "plural": plural,
    "plus_minus": plus_minus,
    "signed": signed,
    "span": span,
    "systematic": systematic,
    "unit_text": unit_text,
}
"""Filters of the templates, by name."""
