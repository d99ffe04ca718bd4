"""Types and checks of arguments that are the same everywhere."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from astropy import units as u

__all__ = ["PathLike", "RandomState", "check_choice", "check_edges", "check_flag"]

PathLike = str | Path
"""A file or folder."""

RandomState = None | int | np.random.SeedSequence | np.random.Generator
"""A seed, see `gammapy_mimic.data.seeds.seed_sequence`."""


def check_choice(name: str, value: str, allowed: Sequence[str]) -> str:
    """Check an argument that must be one of several words.

    Parameters
    ----------
    name : str
        Name of the argument, for the message.
    value : str
        Its value.
    allowed : sequence of str
        Allowed values.

    Returns
    -------
    value : str
        The same value.

    Raises
    ------
    ValueError
        If the value is not allowed.

    Examples
    --------
    >>> from gammapy_mimic.io.arguments import check_choice
    >>> check_choice("time", "target", ("target", "donor"))
    'target'
    """
    # a list or an array is not a word, and may not even be comparable with one
    if not isinstance(value, str) or value not in allowed:
        choices = " or ".join(repr(choice) for choice in allowed)
        raise ValueError(f"{name} = {value!r}: must be {choices}")
    return value


def check_edges(
    name: str, value: Any, unit: str, *, has_zero: bool = False
) -> u.Quantity:
    """Check an argument that must be the edges of bins.

    Parameters
    ----------
    name : str
        Name of the argument, for the message.
    value : `~astropy.units.Quantity`, or what can be made one
        Its value.
    unit : str
        Unit to which it can be converted.
    has_zero : bool, optional
        Whether they may begin at 0, as offsets do. Default is False.

    Returns
    -------
    edges : `~astropy.units.Quantity`
        The same edges, in their own unit.

    Raises
    ------
    ValueError
        If they are not two or more that are finite, positive and increase.
    TypeError
        If they have no such unit.
    """
    try:
        edges = u.Quantity(value)
        values = np.ravel(edges.to_value(unit))
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"{name} = {value!r}: must be edges with a unit, such as [1, 10] * u.{unit}"
        ) from error
    is_increasing = edges.ndim == 1 and len(values) > 1 and np.all(np.diff(values) > 0)
    is_positive = is_increasing and (values[0] > 0 or (has_zero and values[0] == 0))
    if not is_positive or not np.isfinite(values).all():
        start = "from 0 on" if has_zero else "all positive"
        raise ValueError(
            f"{name} = {value}: must be two or more edges that increase, {start}"
        )
    return edges


def check_flag(name: str, value: Any) -> bool:
    """Check an argument that must be True or False.

    Texts such as "no", and any number, would be taken as True.

    Parameters
    ----------
    name : str
        Name of the argument, for the message.
    value : bool
        Its value.

    Returns
    -------
    value : bool
        The same value.

    Raises
    ------
    TypeError
        If it is not a boolean.
    """
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name} = {value!r}: must be True or False")
    return bool(value)
