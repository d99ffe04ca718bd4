"""FITS files read once: each HDU is a piece of the bytes of its file.

gammapy opens the file anew for each part of a run, which parses all its headers and
decompresses it up to there each time. Here a file is read and decompressed once.
"""

import bz2
import functools
import gzip
import math
import zlib
from contextlib import contextmanager
from io import BytesIO

from astropy.io import fits

from gammapy_mimic.io.cards import BLOCK, LENGTH, Header

try:
    from isal import igzip, isal_zlib
except ImportError:
    igzip = isal_zlib = None

__all__ = ["FitsFile", "SourceHDU", "compress", "error_context", "fits_file"]

_GZIP = gzip if igzip is None else igzip
_READ_ERRORS = (EOFError, OSError, ValueError, zlib.error) + (
    () if isal_zlib is None else (isal_zlib.error,)
)
_DECOMPRESS = {b"\x1f\x8b": _GZIP.decompress, b"BZh": bz2.decompress}

_END = b"END".ljust(LENGTH)
_EMPTY_PRIMARY = fits.PrimaryHDU().header.tostring().encode("ascii")

_N_KEPT = 2
"""Files kept in memory: a target and a donor."""


def compress(content):
    """Compress a file, always to the same bytes.

    Level 1, by isal where it is installed (other bytes, same content).
    """
    return _GZIP.compress(content, 1, mtime=0)


@contextmanager
def error_context(what):
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
        # some texts go on for many lines
        text = str(error).strip().partition("\n")[0]
        raise ValueError(
            f"{what} cannot be read: {type(error).__name__}: {text}"
        ) from error


class SourceHDU:
    """Header and raw data of an HDU of a file.

    Parameters
    ----------
    header_bytes : bytes-like
        Header blocks.
    header : `~gammapy_mimic.io.cards.Header`
        The same, understood.
    data : bytes-like
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
        stream = BytesIO(b"".join([_EMPTY_PRIMARY, self.header_bytes, self.data]))
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
            self._hdus = list(_split(content, path))
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


def _split(content, path):
    """HDUs of a file, one after the other."""
    view, start = memoryview(content), 0
    while content[start : start + 8].strip(b" \0"):
        end = content.find(_END, start)
        while (end - start) % LENGTH and end > 0:
            end = content.find(_END, end + 1)
        if end < 0:
            raise OSError("a header has no END")
        data = start + _padded(end + LENGTH - start)
        header = Header(view[start : end + LENGTH], label=str(path))
        size = _data_size(header)
        if size < 0 or len(content) < data + size:
            name = header.get("EXTNAME", "the primary HDU")
            raise OSError(f"it ends before the data of {name} do")
        stop = data + _padded(size)
        hdu = SourceHDU(view[start:data], header, view[data:stop])
        header.label = f"{path}, {hdu.name or 'an HDU without a name'}"
        yield hdu
        start = stop


def _padded(size):
    return -(-size // BLOCK) * BLOCK


def _data_size(header):
    """Bytes of the data of an HDU (FITS standard 4.0, equation 2)."""
    lengths = [header[f"NAXIS{i + 1}"] for i in range(header["NAXIS"])]
    if not lengths:
        return 0
    number = header.get("GCOUNT", 1) * (header.get("PCOUNT", 0) + math.prod(lengths))
    return abs(header["BITPIX"]) // 8 * number


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
