"""FITS files that are read and decompressed once.

gammapy opens the file again for each part of a run, which parses all its headers and
decompresses it up to there each time. Here a file is read into memory once; astropy
understands its headers and says where its HDUs begin, so that what nobody changes is
copied as bytes.
"""

import bz2
import functools
import warnings
import zlib
from contextlib import contextmanager
from functools import cached_property
from io import BytesIO

from astropy.io import fits
from astropy.utils.exceptions import AstropyUserWarning
from isal import igzip, isal_zlib

from gammapy_mimic.io.header import read_cards
from gammapy_mimic.io.tables import read_columns

__all__ = [
    "PRIMARY",
    "FitsFile",
    "SourceHDU",
    "compress",
    "error_context",
    "fits_file",
    "table_hdu",
]

_READ_ERRORS = (EOFError, OSError, ValueError, zlib.error, isal_zlib.error)
_DECOMPRESS = {b"\x1f\x8b": igzip.decompress, b"BZh": bz2.decompress}

PRIMARY = fits.PrimaryHDU().header.tostring().encode("ascii")
"""Primary HDU without data."""

_N_KEPT = 2
"""Files kept in memory: a target and a donor."""


def compress(content):
    """Compress a file, always to the same bytes, at level 1 of isal.

    Its files are as small as those of zlib's level 3, and made seven times as fast.
    """
    return igzip.compress(content, 1, mtime=0)


@contextmanager
def error_context(what):
    """Context in which any error becomes a ValueError that says what is broken.

    Broken headers and tables make astropy and gammapy raise errors of nearly every
    type, which do not name the file.

    Parameters
    ----------
    what : str
        File and part.
    """
    try:
        yield
    except Exception as error:
        # some texts go on for many lines
        text = str(error).strip().partition("\n")[0]
        raise ValueError(
            f"{what} cannot be read: {type(error).__name__}: {text}"
        ) from error


class SourceHDU:
    """Header and raw data of an HDU of a file.

    Parameters
    ----------
    astropy_hdu : `~astropy.io.fits.BinTableHDU`
        The HDU as astropy understands it; not to be changed, as the file stays in
        memory.
    header_bytes, data : bytes-like
        Blocks of header and data, padding included.

    Attributes
    ----------
    name : str
        EXTNAME, empty if there is none.
    """

    def __init__(self, astropy_hdu, header_bytes, data):
        self.astropy_hdu = astropy_hdu
        self.header_bytes = header_bytes
        self.data = data
        self.name = str(astropy_hdu.header.get("EXTNAME", ""))

    @classmethod
    def from_content(cls, content):
        """HDU of its bytes: header and data."""
        return cls(table_hdu(content), *content)

    @property
    def header(self):
        """Header, not to be changed."""
        return self.astropy_hdu.header

    @cached_property
    def cards(self):
        """Cards as from `~gammapy_mimic.io.header.read_cards`, not to be changed."""
        return read_cards(self.header)

    @cached_property
    def columns(self):
        """Columns, see `~gammapy_mimic.io.tables.read_columns`; not to be changed."""
        return read_columns(self.astropy_hdu)

    def table_hdu(self):
        """Binary table of its own, which may be changed.

        Returns
        -------
        hdu : `~astropy.io.fits.BinTableHDU`
            Table HDU.
        """
        return table_hdu((self.header_bytes, self.data))


def table_hdu(content):
    """Understand the bytes of an HDU.

    Parameters
    ----------
    content : tuple of bytes-like
        Header and data.

    Returns
    -------
    hdu : `~astropy.io.fits.BinTableHDU`
        Table HDU.
    """
    return fits.open(BytesIO(b"".join([PRIMARY, *content])), memmap=False)[1]


class FitsFile:
    """A FITS file in memory; iterating gives its extensions.

    Parameters
    ----------
    path : `~pathlib.Path`
        File, perhaps compressed by gzip or bzip2.

    Raises
    ------
    OSError
        If it cannot be read, is not a FITS file, or ends too early.
    """

    def __init__(self, path):
        self.path = path
        content = path.read_bytes()
        for magic, decompress in _DECOMPRESS.items():
            if content.startswith(magic):
                try:
                    content = decompress(content)
                except _READ_ERRORS as error:
                    raise OSError(f"{path} is broken: {error}") from error
        if not content.startswith(b"SIMPLE"):
            raise OSError(f"{path} is not a FITS file: no SIMPLE at its beginning")
        try:
            self._hdus = _split(content)
        except Exception as error:  # of whatever type astropy has for such headers
            raise OSError(f"{path} is broken: {error}") from error

    def __iter__(self):
        return iter(self._hdus)

    def hdu(self, name):
        """Find an extension.

        Parameters
        ----------
        name : str
            EXTNAME, in any case.

        Returns
        -------
        hdu : `SourceHDU`
            The first one of this name. KeyError if there is none.
        """
        for hdu in self:
            if hdu.name.upper() == str(name).upper():
                return hdu
        raise KeyError(f"{self.path} has no HDU {name!r}")


def _split(content):
    """Extensions of a file."""
    view, hdus = memoryview(content), []
    with warnings.catch_warnings():
        # a file that ends too early is an error below
        warnings.simplefilter("ignore", AstropyUserWarning)
        hdulist = fits.open(BytesIO(content), memmap=False, lazy_load_hdus=False)
    end = 0
    for hdu in hdulist:
        place = hdu.fileinfo()
        start, end = place["datLoc"], place["datLoc"] + place["datSpan"]
        if end > len(content):
            raise OSError(f"it ends before the data of {hdu.name or 'an HDU'} do")
        pieces = view[place["hdrLoc"] : start], view[start:end]
        hdus.append(SourceHDU(hdu, *pieces))
    if content[end : end + 8].strip(b" \0"):
        raise OSError("the header of an HDU has no END, or is broken")
    return hdus[1:]


def fits_file(path):
    """Read a file, or take it from memory if it is the same as just before.

    Parameters
    ----------
    path : `~pathlib.Path`
        File.

    Returns
    -------
    file : `FitsFile`
        Its HDUs. The last two files are kept in memory.
    """
    status = path.stat()
    return _kept_file(path, status.st_mtime_ns, status.st_size, status.st_ino)


@functools.lru_cache(maxsize=_N_KEPT)
def _kept_file(path, *_state):
    return FitsFile(path)
