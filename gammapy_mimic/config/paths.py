"""Paths that keep their environment variables until they are used."""

import os
import re
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, PlainSerializer

from gammapy_mimic.config.checking import ConfigError
from gammapy_mimic.io.arguments import PathLike

__all__ = ["RawPath", "RawPaths", "expand"]


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


def _raw_paths(value):
    if isinstance(value, list):
        if not value:
            raise ValueError("must be a path, or a list of one or more")
        return [_raw_path(path) for path in value]
    return _raw_path(value)


def _texts(value):
    return [str(path) for path in value] if isinstance(value, list) else str(value)


RawPaths = Annotated[
    Path | list[Path],
    BeforeValidator(_raw_paths),
    PlainSerializer(_texts, when_used="json-unless-none", return_type=str | list[str]),
]
"""Path or list of paths as they were written."""


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
