"""Paths that keep their environment variables until they are used."""

import os
import re
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, PlainSerializer

from gammapy_mimic.config.checking import ConfigError
from gammapy_mimic.io.arguments import PathLike

__all__ = ["RawPath", "expand"]


def _raw_path(value):
    if not isinstance(value, str | Path) or not str(value).strip():
        raise ValueError("must be a path")
    if "\0" in str(value):
        raise ValueError("must be a path, and hold no NUL")
    return Path(value)


RawPath = Annotated[
    Path,
    BeforeValidator(_raw_path),
    PlainSerializer(str, when_used="json-unless-none", return_type=str),
]
"""Path as it was written: ``$GAMMAPY_DATA`` stays, so that the file is portable."""


def expand(path: PathLike, key: str) -> Path:
    """Path with its environment variables replaced.

    Parameters
    ----------
    path : str or `~pathlib.Path`
        Path, relative to the working directory as everywhere in gammapy.
    key : str
        Key of the configuration that holds it, for the message.

    Returns
    -------
    path : `~pathlib.Path`
        Absolute path.

    Raises
    ------
    ConfigError
        If a variable is not set.
    """
    expanded = os.path.expandvars(Path(path).expanduser())
    unset = re.search(r"\$\{?(\w+)", expanded)
    if unset:
        hint = ""
        if unset[1] == "GAMMAPY_DATA":
            hint = " (see gammapy download datasets), or try gammapy-mimic demo"
        raise ConfigError(
            [f"{unset[1]} is not set, but {key} = {str(path)!r} uses it: set it{hint}"]
        )
    return Path(expanded).absolute()
