"""HDUs copied from the files they lie in, without decoding their data."""

import gzip
from io import BytesIO

from astropy.io import fits
from gammapy.utils.scripts import make_path

from gammapy_mimic.writer.tables import padded_header

try:
    from isal import igzip
except ImportError:
    igzip = None

__all__ = ["SourceFiles", "SourceHDU", "compress"]

GZIP_MAGIC = b"\x1f\x8b"


def compress(content):
    """Compress a file, always to the same bytes.

    Level 1, by isal where it is installed (other bytes, same content).
    """
    module = gzip if igzip is None else igzip
    return module.compress(content, 1, mtime=0)


def _decompress(content):
    """Decompress a gzip file."""
    return (gzip if igzip is None else igzip).decompress(content)


class SourceHDU:
    """Header and raw data of an HDU of a file.

    Parameters
    ----------
    header : bytes
        Header blocks.
    data : bytes
        Data blocks, padding included.
    """

    def __init__(self, header, data):
        self.header = fits.Header.fromstring(header.decode("ascii"))
        self.data = data
        self._header_bytes = header

    def content(self, *, changes=None, removed=()):
        """Bytes of the HDU with some cards changed.

        Parameters
        ----------
        changes : dict, optional
            Cards to set; those which have the value already are not touched. Default
            is None.
        removed : sequence of str, optional
            Cards to drop if they are there. Default is none.

        Returns
        -------
        content : bytes
            Header and data. All other cards stay as they are, byte for byte.
        """
        changes = {
            key: value
            for key, value in (changes or {}).items()
            if key not in self.header
            or self.header[key] != value
            or type(self.header[key]) is not type(value)
        }
        removed = [key for key in removed if key in self.header]
        if not changes and not removed:
            return self._header_bytes + self.data
        header = self.header.copy()
        for key in removed:
            header.remove(key, remove_all=True)
        header.update(changes)
        return padded_header(header) + self.data


class SourceFiles:
    """Files of which HDUs are copied; each is read and decompressed once."""

    def __init__(self):
        self._files = {}

    def hdu(self, location):
        """Find an HDU.

        Parameters
        ----------
        location : `~gammapy.utils.fits.HDULocation`
            Where it lies.

        Returns
        -------
        hdu : `SourceHDU`
            Header and raw data. KeyError if the file has no such HDU.
        """
        path = make_path(location.path(abs_path=True))
        if path not in self._files:
            content = path.read_bytes()
            if content.startswith(GZIP_MAGIC):
                content = _decompress(content)
            hdus = fits.open(BytesIO(content), memmap=False, lazy_load_hdus=True)
            self._files[path] = content, hdus
        content, hdus = self._files[path]
        info = hdus[location.hdu_name].fileinfo()
        start, data = info["hdrLoc"], info["datLoc"]
        return SourceHDU(content[start:data], content[data : data + info["datSpan"]])
