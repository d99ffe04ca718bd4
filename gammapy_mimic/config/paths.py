"""Paths that keep their environment variables until they are used.

Relative paths of the section ``mimic:`` start from the folder of the file. Those of
gammapy's own sections start from the working directory, as in gammapy; an input that
is not there, but is beside the file, is taken from beside the file.
"""

import os
import re
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import BaseModel, BeforeValidator, PlainSerializer

from gammapy_mimic.config.checking import ConfigError
from gammapy_mimic.io.arguments import PathLike

__all__ = ["RawPath", "RawPaths", "beside", "expand", "locate", "located"]

ModelT = TypeVar("ModelT", bound=BaseModel)


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
        Path; a relative one starts from the working directory.
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


def locate(path: PathLike, folder: Path) -> Path:
    """Let a relative path start from a folder.

    Parameters
    ----------
    path : str or `~pathlib.Path`
        Path as it was written.
    folder : `~pathlib.Path`
        Folder.

    Returns
    -------
    path : `~pathlib.Path`
        Path. One that starts with a variable or ``~`` stays as it is.
    """
    return Path(path) if str(path).startswith(("$", "~")) else folder / path


def beside(path: Path | None, folder: Path) -> Path | None:
    """Take an input of gammapy's sections from a folder if only that has it.

    Parameters
    ----------
    path : `~pathlib.Path` or None
        Path as it was written.
    folder : `~pathlib.Path`
        Folder.

    Returns
    -------
    path : `~pathlib.Path` or None
        Path.
    """
    if path is None or path.exists():
        return path
    found = locate(path, folder)
    return found if found.exists() else path


def located(section: ModelT, folder: Path) -> ModelT:
    """Copy a section; its relative paths start from a folder.

    Parameters
    ----------
    section : `~pydantic.BaseModel`
        Section.
    folder : `~pathlib.Path`
        Folder.

    Returns
    -------
    section : `~pydantic.BaseModel`
        Copy.
    """
    values = {name: getattr(section, name) for name in type(section).model_fields}
    changes = {name: _located(value, folder) for name, value in values.items()}
    return section.model_copy(update=changes)


def _located(value, folder):
    if isinstance(value, BaseModel):
        return located(value, folder)
    if isinstance(value, Path):
        return locate(value, folder)
    if isinstance(value, list):
        return [_located(item, folder) for item in value]
    is_region_file = isinstance(value, str) and value.endswith(".reg")
    return str(locate(value, folder)) if is_region_file else value
