"""FITS files read once: each HDU is a piece of the bytes of its file.

gammapy opens the file anew for each part of a run, which parses all its headers and
decompresses it up to there each time. Here a file is read and decompressed once.
"""

import bz2
import functools
import gzip
import zlib
from contextlib import contextmanager
from io import BytesIO

from astropy.io import fits

try:
    from isal import igzip, isal_zlib
except ImportError:
    igzip = isal_zlib = None

__all__ = ["FitsFile", "SourceHDU", "compress", "fits_file", "naming"]

_GZIP = gzip if igzip is None else igzip
_READ_ERRORS = (EOFError, OSError, ValueError, zlib.error) + (
    () if isal_zlib is None else (isal_zlib.error,)
)
_DECOMPRESS = {b"\x1f\x8b": _GZIP.decompress, b"BZh": bz2.decompress}

_EMPTY_PRIMARY = fits.PrimaryHDU().header.tostring().encode("ascii")

_N_KEPT = 2
"""Files kept in memory: a target and a donor."""


def compress(content):
    """Compress a file, always to the same bytes.

    Level 1, by isal where it is installed (other bytes, same content).
    """
    return _GZIP.compress(content, 1, mtime=0)


@contextmanager
def naming(what):
    """Context in which any error is told as a ValueError that says what is broken.

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
        raise ValueError(
            f"{what} cannot be read: {type(error).__name__}: {error}"
        ) from error


class SourceHDU:
    """Header and raw data of an HDU of a file.

    Parameters
    ----------
    header_bytes : bytes
        Header blocks.
    header : `~astropy.io.fits.Header`
        The same as a header; not to be changed.
    data : bytes
        Data blocks, padding included.

    Attributes
    ----------
    name : str
        EXTNAME, empty if there is none.
    """

    def __init__(self, header_bytes, header, data):
        self.header_bytes = header_bytes
        self.header = header
        self.data = data
        self.name = str(header.get("EXTNAME", ""))

    def table_hdu(self):
        """Binary table of its own, which may be changed.

        Returns
        -------
        hdu : `~astropy.io.fits.BinTableHDU`
            Table HDU.
        """
        # through a stream, as arrays on top of bytes cannot be written to
        stream = BytesIO(_EMPTY_PRIMARY + self.header_bytes + self.data)
        return fits.open(stream, memmap=False)[1]


class FitsFile:
    """A FITS file in memory.

    Parameters
    ----------
    path : `~pathlib.Path`
        File, perhaps compressed by gzip or bzip2.

    Raises
    ------
    OSError
        If it cannot be read, is no FITS file, or ends too early.
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
            raise OSError(f"{path} is no FITS file: no SIMPLE at its beginning")
        try:
            self._hdus = list(_split(content))
        except Exception as error:  # of whatever type astropy has for such headers
            raise OSError(f"{path} is broken: {error}") from error

    def __iter__(self):
        return iter(self._hdus[1:])

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
    """HDUs of a file, one after the other."""
    start = 0
    while content[start : start + 8].strip(b" \0"):
        end = content.find(b"END" + 77 * b" ", start)
        while (end - start) % 80 and end > 0:
            end = content.find(b"END" + 77 * b" ", end + 1)
        if end < 0:
            raise OSError("a header has no END")
        data = start + -(-(end + 80 - start) // 2880) * 2880
        header = fits.Header.fromstring(content[start : end + 80])
        stop = data + header.data_size_padded
        if header.data_size < 0 or len(content) < data + header.data_size:
            name = header.get("EXTNAME", "the primary HDU")
            raise OSError(f"it ends before the data of {name} do")
        yield SourceHDU(content[start:data], header, content[data:stop])
        start = stop


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
