"""Cards of FITS headers: what a run says, apart from the layout of its file."""

import functools
import logging
import math
import re

import numpy as np
from astropy import units as u
from astropy.io import fits

__all__ = ["card_images", "changed_header", "padded", "read_cards"]

log = logging.getLogger(__name__)

BLOCK = 2880
"""Bytes of which headers and data are multiples."""

_LAYOUT = re.compile(
    r"XTENSION|SIMPLE|EXTEND|BITPIX|NAXIS\d*|PCOUNT|GCOUNT|TFIELDS|THEAP|"
    r"EXTNAME|EXTVER|EXTLEVEL|CHECKSUM|DATASUM|END|"
    r"(TTYPE|TFORM|TUNIT|TNULL|TSCAL|TZERO|TDISP|TDIM|TBCOL|TCTYP|TCUNI|TCRPX|"
    r"TCRVL|TCDLT|TRPOS|TCOMM|TLMIN|TLMAX|TDMIN|TDMAX)\d+"
)
"""What belongs to the layout of the file that was read, not to the run."""

_VALUES = (str, bool, int, float, complex, fits.card.Undefined)
_COMMENTARY = {"COMMENTS": "COMMENT", "COMMENT": "COMMENT", "HISTORY": "HISTORY"}

_CARD = 80
"""Characters of a card."""

_LINE = 72
"""Characters that a COMMENT or HISTORY card holds."""


@functools.lru_cache(maxsize=10_000)
def _is_layout(keyword):
    # nearly all come again and again
    return not keyword or _LAYOUT.fullmatch(keyword) is not None


def read_cards(header):
    """Cards of a run, without those that describe the layout of the file.

    Parameters
    ----------
    header : `~astropy.io.fits.Header` or mapping
        Header of a table, or metadata such as ``events.table.meta``.

    Returns
    -------
    cards : dict
        Values by keyword in capital letters: a list where a keyword is repeated, and
        of COMMENT and HISTORY; None for an undefined value. The dict and its lists
        may be changed.
    """
    cards = {}
    if isinstance(header, fits.Header):
        entries = ((card.keyword, card.value) for card in header.cards)
    else:
        entries = header.items()
    for key, value in entries:
        keyword = str(key).upper()
        keyword = _COMMENTARY.get(keyword, keyword)
        if _is_layout(keyword):
            continue
        if isinstance(value, fits.card.Undefined):
            value = None
        values = list(value) if isinstance(value, list | tuple) else [value]
        if keyword in cards:
            known = cards[keyword]
            cards[keyword] = (known if isinstance(known, list) else [known]) + values
        elif keyword in _COMMENTARY or isinstance(value, list | tuple):
            cards[keyword] = values
        else:
            cards[keyword] = value
    return cards


def changed_header(header, changes, removed=()):
    """Header blocks with some cards set or dropped; the others stay as they are.

    Parameters
    ----------
    header : `~astropy.io.fits.Header`
        Header, not changed.
    changes : dict
        Values by keyword. The comment of a card stays; new cards come last.
    removed : iterable of str, optional
        Keywords to drop. Default is none.

    Returns
    -------
    content : bytes
        New header, padded to FITS blocks.
    """
    header = header.copy()
    for key in removed:
        header.remove(key, remove_all=True)
    header.update(changes)
    return header.tostring().encode("ascii")


def card_images(cards, *, label):
    """Write cards; those of commentary come last.

    Parameters
    ----------
    cards : dict
        Cards as from `read_cards`. What a card cannot hold is left out, with a
        warning.
    label : str
        What they belong to, for warnings.

    Returns
    -------
    images : list of str
        Cards of 80 characters, or several of these.
    """
    made, commentary = [], []
    for key, value in cards.items():
        values = value if isinstance(value, list) else [value]
        if key in _COMMENTARY:
            commentary += [_lines(key, text, label) for text in values]
        else:
            made += [_image(key, item, label) for item in values]
    return [*made, *commentary]


def _image(keyword, value, label):
    """One card as text; nothing, with a warning, for what a card cannot hold."""
    reason, value = None, _plain(value)
    if isinstance(value, float) and not math.isfinite(value):
        reason = str(value)
    elif not isinstance(value, _VALUES):
        reason = f"a {type(value).__name__}"
    if reason is None:
        try:
            # numbers such as TSTART are others in each run, and 0.0 == -0.0
            is_float = isinstance(value, float)
            image = _card_image.__wrapped__ if is_float else _card_image
            return image(keyword, value)
        except ValueError as error:
            reason = str(error)
    log.warning("%s: %s is left out, a card cannot hold %s.", label, keyword, reason)
    return ""


@functools.lru_cache(maxsize=10_000, typed=True)
def _card_image(keyword, value):
    """Write a card; texts and integers come again and again."""
    is_long = len(keyword) > 8 or not re.fullmatch("[A-Z0-9_-]+", keyword)
    return str(fits.Card(f"HIERARCH {keyword}" if is_long else keyword, value))


def _plain(value):
    """Python scalar of a numpy scalar, a quantity or bytes."""
    if value is None:
        return fits.card.UNDEFINED
    if isinstance(value, _VALUES):
        return value
    if isinstance(value, u.Quantity):
        value = value.value
    if isinstance(value, np.generic) or (
        isinstance(value, np.ndarray) and value.ndim == 0
    ):
        value = value.item()
    return value.decode("ascii", "replace") if isinstance(value, bytes) else value


def _lines(keyword, text, label):
    """COMMENT or HISTORY cards of a text, one for each 72 characters."""
    text = str(text)
    if not text.isascii() or not text.isprintable():
        log.warning("%s: characters other than ASCII in %s become '?'.", label, keyword)
        text = "".join(c if c.isascii() and c.isprintable() else "?" for c in text)
    starts = range(0, max(len(text), 1), _LINE)
    return "".join(f"{keyword:8}{text[i : i + _LINE]:{_LINE}}" for i in starts)


def padded(text):
    """Blocks of a header.

    Parameters
    ----------
    text : str
        Its cards, with END.

    Returns
    -------
    content : bytes
        Whole blocks.
    """
    return text.ljust(-(-len(text) // BLOCK) * BLOCK).encode("ascii")
