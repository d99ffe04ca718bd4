"""Types and checks of arguments that are the same everywhere."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["PathLike", "RandomState", "check_choice", "check_flag"]

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
