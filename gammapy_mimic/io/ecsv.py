"""Tables in ECSV files, written whole or not at all; errors name the file."""

from pathlib import Path

from astropy.table import Table

from gammapy_mimic.io.files import error_context
from gammapy_mimic.io.output import atomic_write

__all__ = ["read_ecsv", "write_ecsv"]


def read_ecsv(path, cls=Table):
    """Read a table.

    Parameters
    ----------
    path : str or `~pathlib.Path`
        File.
    cls : type, optional
        Kind of `~astropy.table.Table`. Default is Table.

    Returns
    -------
    table : `~astropy.table.Table`
        Table.

    Raises
    ------
    OSError
        If the file cannot be opened.
    ValueError
        If it is not a valid ECSV file; with its name.
    """
    content = Path(path).read_bytes()
    with error_context(str(path)):
        # as lines: a single line would be taken for the name of a file
        return cls.read(content.decode("utf-8").split("\n"), format="ascii.ecsv")


def write_ecsv(table, path):
    """Write a table; see `~gammapy_mimic.io.output.atomic_write`.

    Parameters
    ----------
    table : `~astropy.table.Table`
        Table.
    path : str or `~pathlib.Path`
        File. It is replaced if it exists.
    """
    with atomic_write(path) as file:
        table.write(file, format="ascii.ecsv")
