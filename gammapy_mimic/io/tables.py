"""Tables and headers of FITS files, read and written by astropy.

What is added to astropy: which cards belong to the layout of a file and not to the
run, bits (``32X``) that come back as bits, and a warning for each card or column that
a file cannot hold.
"""

import functools
import logging
import math
import re
import warnings
from io import BytesIO

import numpy as np
from astropy import units as u
from astropy.io import fits
from astropy.table import Table

from gammapy_mimic.io.files import PRIMARY

__all__ = ["changed_header", "read_cards", "read_table", "table_content"]

log = logging.getLogger(__name__)

_LAYOUT = re.compile(
    r"XTENSION|SIMPLE|EXTEND|BITPIX|NAXIS\d*|PCOUNT|GCOUNT|TFIELDS|THEAP|"
    r"EXTNAME|EXTVER|EXTLEVEL|CHECKSUM|DATASUM|END|"
    r"(TTYPE|TFORM|TUNIT|TNULL|TSCAL|TZERO|TDISP|TDIM|TBCOL|TCTYP|TCUNI|TCRPX|"
    r"TCRVL|TCDLT|TRPOS|TCOMM|TLMIN|TLMAX|TDMIN|TDMAX)\d+"
)
"""What belongs to the layout of the file that was read, not to the run."""

_VALUES = (str, bool, int, float, complex, fits.card.Undefined)
_COMMENTARY = {"COMMENTS": "COMMENT", "COMMENT": "COMMENT", "HISTORY": "HISTORY"}

_LINE = 72
"""Characters that a COMMENT or HISTORY card holds."""

_BITS = ("EVENT_TYPE",)
"""Columns of booleans that GADF has as bits."""

_LETTERS = {"u1": "B", "i2": "I", "u2": "I", "i4": "J", "u4": "J"}
_LETTERS |= {"i8": "K", "u8": "K", "f4": "E", "f8": "D", "c8": "C", "c16": "M"}
"""Types that a file can hold (FITS standard 4.0, table 18)."""

_OFFSETS = {"u2": 2**15, "u4": 2**31, "u8": 2**63}
"""TZERO of integers which a file holds with an offset (table 19)."""

_WIDER = {"i1": "i2", "f2": "f4", "f16": "f8", "c32": "c16"}
"""Types that FITS, or astropy of FITS, does not have."""


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


def read_table(hdu):
    """Columns of a binary table.

    Parameters
    ----------
    hdu : `~gammapy_mimic.io.files.SourceHDU`
        Table of a file.

    Returns
    -------
    table : `~astropy.table.Table`
        Scaled values, masked where the file has its TNULL.
    """
    with warnings.catch_warnings():
        # units that astropy does not know are passed through as text
        warnings.simplefilter("ignore", u.UnitsWarning)
        return Table.read(hdu.table_hdu())


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


def table_content(columns, cards, *, name, label):
    """Binary table as bytes.

    Parameters
    ----------
    columns : dict of `~astropy.table.Column` or `~numpy.ndarray`
        Columns by name, all with the same number of rows. Those that a file cannot
        hold are left out, with a warning.
    cards : dict
        Cards as from `read_cards`. What a card cannot hold is left out, with a
        warning.
    name : str
        EXTNAME.
    label : str
        What the table belongs to, for warnings.

    Returns
    -------
    header, data : bytes
        Both are padded to FITS blocks.
    """
    encoded = [_encoded(key, column, label) for key, column in columns.items()]
    hdu = fits.BinTableHDU.from_columns([it for it in encoded if it is not None])
    hdu.name = name
    hdu.header.extend(_make_cards(cards, f"{label}, {name}"), end=True)
    stream = BytesIO()
    hdu.writeto(stream)
    content = stream.getvalue()[len(PRIMARY) :]
    size = len(hdu.header.tostring())
    return content[:size], content[size:]


def _make_cards(cards, label):
    """Cards of a header; commentary comes last."""
    made, commentary = [], []
    for key, value in cards.items():
        if key in _COMMENTARY:
            commentary += [(key, text) for text in np.atleast_1d(value).tolist()]
            continue
        values = value if isinstance(value, list) else [value]
        made += [_make_card(key, item, label) for item in values]
    lines = (line for key, text in commentary for line in _lines(key, text, label))
    return [*(card for card in made if card is not None), *lines]


def _make_card(keyword, value, label):
    """One card, or None with a warning."""
    reason, value = None, _plain(value)
    if isinstance(value, float) and not math.isfinite(value):
        reason = str(value)
    elif not isinstance(value, _VALUES):
        reason = f"a {type(value).__name__}"
    if reason is None:
        is_long = len(keyword) > 8 or not re.fullmatch("[A-Z0-9_-]+", keyword)
        try:
            card = fits.Card(f"HIERARCH {keyword}" if is_long else keyword, value)
            str(card)  # which fails for what does not fit into a card
            return card
        except ValueError as error:
            reason = str(error)
    log.warning("%s: %s is left out, a card cannot hold %s.", label, keyword, reason)
    return None


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
    return [fits.Card(keyword, text[i : i + _LINE]) for i in starts]


def _encoded(name, column, label):
    """Column for a file, or None with a warning."""
    if not (name and name.isascii() and name.isprintable()):
        log.warning("%s: a table cannot hold the name of column %r.", label, name)
        return None
    data, null = _filled(column) if isinstance(column, np.ndarray) else (None, None)
    form = None if data is None else _format(name, data)
    if form is None:
        kind = getattr(column, "dtype", type(column).__name__)
        log.warning(
            "%s: column %s is left out: a FITS table cannot hold its type %s.",
            label,
            name,
            kind,
        )
        return None
    return fits.Column(
        name,
        form,
        unit=_unit_string(getattr(column, "unit", None)),
        null=null,
        bzero=_OFFSETS.get(data.dtype.str[1:]),
        dim=_dimensions(data) if data.ndim > 1 and "X" not in form else None,
        array=data,
    )


def _filled(column):
    """Plain array of a column, masked values filled, and the TNULL that marks them."""
    code = column.dtype.str[1:]
    is_masked = bool(np.any(getattr(column, "mask", False)))
    if code in _WIDER or (is_masked and code in _OFFSETS):
        # FITS has no such numbers, and astropy reads no mask where there is a TZERO
        column = column.astype(_WIDER.get(code, "i8"))
    null = None
    if is_masked and column.dtype.kind in "iu":
        null = _unused_value(column)
        column = column.filled(null)
    elif is_masked:
        fill = {"f": np.nan, "c": np.nan, "S": b"", "U": "", "b": False}
        column = column.filled(fill.get(column.dtype.kind))
    data = np.asarray(column)
    if data.dtype.kind == "U" and all(map(str.isascii, data.ravel().tolist())):
        data = data.astype("S")
    return data, null


def _unused_value(column):
    """Integer that none of the valid values has: the fill value, if it is one."""
    valid = np.asarray(column.compressed())
    limits = np.iinfo(column.dtype)
    for value in (int(column.fill_value), limits.min, limits.max):
        if limits.min <= value <= limits.max and not np.any(valid == value):
            return value
    return int(np.setdiff1d(np.arange(len(valid) + 1, dtype=column.dtype), valid)[0])


def _format(name, data):
    """TFORM of an array; None if a table cannot hold it."""
    number = int(np.prod(data.shape[1:], dtype=int))
    kind = data.dtype.kind
    if kind == "b":
        return f"{number}X" if name in _BITS and data.ndim == 2 else f"{number}L"
    if kind == "S":
        return f"{number * max(data.dtype.itemsize, 1)}A"
    letter = _LETTERS.get(data.dtype.str[1:])
    return None if letter is None else f"{number}{letter}"


def _dimensions(data):
    """TDIM of an array with several values in each row."""
    shape = data.shape[1:]
    if data.dtype.kind == "S":
        shape = (*shape, max(data.dtype.itemsize, 1))
    return f"({','.join(str(length) for length in shape[::-1])})"


def _unit_string(unit):
    """Spell a unit following FITS, else following astropy; None if there is none."""
    if unit is None or not str(unit):
        return None
    if isinstance(unit, u.UnitBase):
        try:
            return unit.to_string("fits")
        except ValueError:
            return unit.to_string()
    return str(unit)
