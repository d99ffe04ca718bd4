"""FITS headers from metadata as gammapy holds it."""

import functools
import logging
import math
import re

import numpy as np
from astropy.io import fits
from astropy.units import Quantity

from gammapy_mimic.io.cards import LENGTH, card_image

__all__ = ["make_header"]

log = logging.getLogger(__name__)

# What belongs to the layout of the file that was read, not to the run.
_LAYOUT = re.compile(
    r"XTENSION|SIMPLE|EXTEND|BITPIX|NAXIS\d*|PCOUNT|GCOUNT|TFIELDS|THEAP|"
    r"EXTNAME|EXTVER|EXTLEVEL|CHECKSUM|DATASUM|END|"
    r"(TTYPE|TFORM|TUNIT|TNULL|TSCAL|TZERO|TDISP|TDIM|TBCOL|TCTYP|TCUNI|TCRPX|"
    r"TCRVL|TCDLT|TRPOS|TCOMM|TLMIN|TLMAX|TDMIN|TDMAX)\d+"
)
_VALUES = (str, bool, int, float, complex, fits.card.Undefined)
_COMMENTARY = {"COMMENTS": "COMMENT", "COMMENT": "COMMENT", "HISTORY": "HISTORY"}


def make_header(meta, *, label):
    """Cards of a metadata dictionary.

    Lists become repeated cards, ``comments`` COMMENT cards. Cards that describe the
    layout of the file, CHECKSUM and DATASUM are dropped. What a card cannot hold is
    left out with a warning.

    Parameters
    ----------
    meta : mapping
        Metadata, such as ``events.table.meta``.
    label : str
        What the header belongs to, for warnings.

    Returns
    -------
    cards : list of str
        Cards of 80 characters.
    """
    cards, commentary = [], []
    for key, value in meta.items():
        keyword = str(key).upper()
        if not keyword or _is_layout(keyword):
            continue
        values = value if isinstance(value, list | tuple) else [value]
        if keyword in _COMMENTARY:
            commentary += [(_COMMENTARY[keyword], text) for text in values]
            continue
        images = (_image(keyword, item, label) for item in values)
        cards += [image for image in images if image is not None]
    for keyword, text in commentary:
        cards += _commentary(keyword, text, label)
    return cards


@functools.lru_cache(maxsize=10_000)
def _is_layout(keyword):
    """Whether a keyword is one of `_LAYOUT`; nearly all come again and again."""
    return _LAYOUT.fullmatch(keyword) is not None


def _image(keyword, value, label):
    """One card, or None with a warning."""
    reason = "None" if value is None else None
    value = _plain(value)
    if isinstance(value, float) and not math.isfinite(value):
        reason = str(value)
    elif not isinstance(value, _VALUES):
        reason = reason or f"a {type(value).__name__}"
    if reason is None:
        try:
            return card_image(keyword, value)
        except ValueError as error:
            reason = str(error)
    log.warning("%s: %s is left out, a card cannot hold %s.", label, keyword, reason)
    return None


def _plain(value):
    """Python scalar of a numpy scalar, a quantity or bytes."""
    if isinstance(value, _VALUES):
        return value
    if isinstance(value, Quantity):
        value = value.value
    if isinstance(value, np.generic) or (
        isinstance(value, np.ndarray) and value.ndim == 0
    ):
        value = value.item()
    return value.decode("ascii", "replace") if isinstance(value, bytes) else value


def _commentary(keyword, text, label):
    """COMMENT or HISTORY cards of a text, one for each 72 characters."""
    text = str(text)
    if not text.isascii() or not text.isprintable():
        log.warning("%s: characters other than ASCII in %s become '?'.", label, keyword)
        text = "".join(c if c.isascii() and c.isprintable() else "?" for c in text)
    width = LENGTH - len(f"{keyword:8}")
    starts = range(0, max(len(text), 1), width)
    return [f"{keyword:8}{text[i : i + width]:{width}}" for i in starts]
