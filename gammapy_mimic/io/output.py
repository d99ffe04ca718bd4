"""Files that appear whole or not at all."""

import os
import re
import secrets
import shutil
from contextlib import contextmanager
from pathlib import Path

__all__ = [
    "TEMPORARY",
    "atomic_write",
    "check_replaceable",
    "file_error_context",
    "save_figure",
    "write_text",
]

TEMPORARY = re.compile(r"\..+\.\d+-[0-9a-f]{8}\.tmp")
"""Names of files that are being written, or were when their process was killed."""


@contextmanager
def atomic_write(path, mode="w"):
    """Context with a file under a temporary name, which is renamed at its end.

    A new file gets the mode that the umask gives. A file that is there is replaced and
    its mode is kept; one that is read-only stays. A link to a file is replaced, too:
    what it leads to is not touched.

    Parameters
    ----------
    path : str or `~pathlib.Path`
        File.
    mode : {"w", "wb"}, optional
        Text in UTF-8, or bytes. Default is "w".

    Raises
    ------
    OSError
        If it cannot be written; with the name of the file, not the temporary one.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    check_replaceable(path)
    try:
        with file_error_context(path, instead_of=temporary):
            encoding = None if "b" in mode else "utf-8"
            with temporary.open(mode.replace("w", "x"), encoding=encoding) as file:
                yield file
            if path.is_file() and not path.is_symlink():
                shutil.copymode(path, temporary)
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def file_error_context(path, *, instead_of=None):
    """Context in which errors of the system get the name of the file being written.

    That of a full disk has no name at all.

    Parameters
    ----------
    path : `~pathlib.Path`
        File.
    instead_of : `~pathlib.Path`, optional
        Name that says nothing to the user. Default is None.
    """
    try:
        yield
    except OSError as error:
        if error.errno is None or error.filename not in (None, str(instead_of)):
            raise
        raise OSError(error.errno, os.strerror(error.errno), str(path)) from error


def check_replaceable(path):
    """Raise an error for a file that is not to be replaced or removed.

    The system would permit it to all who may write to the folder.

    Parameters
    ----------
    path : `~pathlib.Path`
        File; it need not exist.

    Raises
    ------
    PermissionError
        If it is read-only.
    """
    if path.is_file() and not path.is_symlink() and not os.access(path, os.W_OK):
        raise PermissionError(
            f"{path} is read-only and is not replaced; remove it or permit writing"
        )


def write_text(path, pieces):
    """Write a text file, whole or not at all; see `atomic_write`.

    Parameters
    ----------
    path : str or `~pathlib.Path`
        File; its folder is made.
    pieces : iterable of str
        Text.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as file:
        file.writelines(pieces)


def save_figure(figure, path, **kwargs):
    """Draw a figure to a file, whole or not at all, and close it; see `atomic_write`.

    Parameters
    ----------
    figure : `~matplotlib.figure.Figure`
        Figure.
    path : str or `~pathlib.Path`
        File; its ending says in which format, PNG by default.
    **kwargs
        Passed to `~matplotlib.figure.Figure.savefig`.
    """
    import matplotlib.pyplot as plt

    path = Path(path)
    path = path if path.suffix else path.with_suffix(".png")
    with atomic_write(path, "wb") as file:
        figure.savefig(file, format=path.suffix[1:], **kwargs)
    # pyplot, if it knows the figure, need not keep it
    plt.close(figure)
