"""Binary FITS tables as bytes.

The columns are put into one big-endian array, whose bytes are those of the file.
That is many times faster than `astropy.io.fits.BinTableHDU`, which converts each
column of a wide table (an IRF) element by element.
"""

import logging
import re
from dataclasses import dataclass, field

import numpy as np
from astropy.units import UnitBase

from gammapy_mimic.io.cards import BLOCK, card_image, header_bytes

__all__ = [
    "PRIMARY",
    "EncodedColumn",
    "binary_table",
    "encode_column",
    "number_column",
    "read_columns",
]

log = logging.getLogger(__name__)

# FITS letters of what a file holds as it is (FITS standard 4.0, table 18).
LETTERS = {"u1": "B", "i2": "I", "i4": "J", "i8": "K", "f4": "E", "f8": "D"}
LETTERS |= {"c8": "C", "c16": "M"}

# Integers which the file holds with an offset: letter, stored type, TZERO.
OFFSETS = {
    "i1": ("B", "u1", -128),
    "u2": ("I", "i2", 2**15),
    "u4": ("J", "i4", 2**31),
    "u8": ("K", "i8", 2**63),
}
WIDER = {"i1": "i2", "u2": "i4", "u4": "i8"}


@dataclass
class EncodedColumn:
    """A column as a file holds it."""

    name: str
    form: str
    data: np.ndarray
    cards: dict = field(default_factory=dict)


def encode_column(name, column, *, bits=False):
    """Encode a table column.

    Parameters
    ----------
    name : str
        Name of the column.
    column : `~astropy.table.Column`, `~astropy.units.Quantity` or `~numpy.ndarray`
        Column with shape (n_rows, ...). Masked integers get a TNULL, masked floats
        NaN, masked strings are empty.
    bits : bool, optional
        Whether booleans of shape (n_rows, n) become bits (``nX``) and not bytes.
        Default is False.

    Returns
    -------
    encoded : `EncodedColumn` or None
        None for a column that a table cannot hold (a warning says so).
    """
    encoded = None
    if not _is_name(name):
        log.warning("Column %r is left out: a FITS table cannot hold its name.", name)
        return None
    if isinstance(column, np.ndarray):
        data, cards = _filled(column)
        unit = getattr(column, "unit", None)
        if unit is not None and str(unit):
            cards["TUNIT"] = _unit_string(unit)
        encoded = _encode(name, data, cards, bits=bits)
    if encoded is None:
        kind = getattr(column, "dtype", type(column).__name__)
        log.warning(
            "Column %s is left out: a FITS table cannot hold its type %s.", name, kind
        )
        return None
    if data.ndim > 1 and "X" not in encoded.form:
        shape = data.shape[1:]
        if data.dtype.kind in "SU":
            shape = (*shape, encoded.data.dtype.itemsize)
        encoded.cards["TDIM"] = f"({','.join(str(n) for n in shape[::-1])})"
    return encoded


def _is_name(text):
    """Whether a FITS table can have a column of this name."""
    return bool(text) and text.isascii() and text.isprintable()


def _filled(column):
    """Plain array of a column, masked values filled, and the TNULL that says so."""
    if not np.any(getattr(column, "mask", False)):
        return np.asarray(column), {}
    kind = column.dtype.kind
    if kind in "iu":
        if column.dtype.str[1:] in WIDER:
            # astropy reads no mask where there is a TZERO
            column = column.astype(WIDER[column.dtype.str[1:]])
        null = _unused_value(column)
        return np.asarray(column.filled(null)), {"TNULL": null}
    fill = {"f": np.nan, "c": np.nan, "S": b"", "U": "", "b": False}.get(kind)
    return np.asarray(column.filled(fill)), {}


def _unused_value(column):
    """Integer that none of the valid values has: the fill value, if it is one."""
    valid = np.asarray(column.compressed())
    limits = np.iinfo(column.dtype)
    for value in (int(column.fill_value), limits.min, limits.max):
        if limits.min <= value <= limits.max and not np.any(valid == value):
            return value
    return int(np.setdiff1d(np.arange(len(valid) + 1, dtype=column.dtype), valid)[0])


def _unit_string(unit):
    """Spell a unit as FITS does, else as astropy does."""
    if isinstance(unit, UnitBase):
        try:
            return unit.to_string("fits")
        except ValueError:
            return unit.to_string()
    return str(unit)


def _encode(name, data, cards, *, bits):
    """Column as a file holds it, without TDIM; None if it cannot."""
    kind, code = data.dtype.kind, data.dtype.str[1:]
    n = int(np.prod(data.shape[1:], dtype=int))
    if kind == "b" and bits and data.ndim == 2:
        return EncodedColumn(name, f"{n}X", np.packbits(data, axis=1), cards)
    if kind == "b":
        letters = np.where(data, np.uint8(ord("T")), np.uint8(ord("F")))
        return EncodedColumn(name, f"{n}L", letters, cards)
    if kind in "SU":
        return _encode_string(name, data, cards, n)
    if code in LETTERS:
        data = data.astype(data.dtype.newbyteorder(">"), copy=False)
        return EncodedColumn(name, f"{n}{LETTERS[code]}", data, cards)
    if code in OFFSETS:
        letter, stored, zero = OFFSETS[code]
        cards = cards | {"TSCAL": 1, "TZERO": zero}
        if "TNULL" in cards:
            cards["TNULL"] -= zero
        # Subtracting TZERO modulo 2^bits flips the highest bit.
        native = data.astype(code).view(stored)
        highest = np.array(1 << (8 * data.itemsize - 1)).astype(stored)
        return EncodedColumn(
            name, f"{n}{letter}", (native ^ highest).astype(f">{stored}"), cards
        )
    if kind == "f":
        wide = data.astype(">f8" if data.itemsize > 4 else ">f4")
        return EncodedColumn(name, f"{n}{LETTERS[wide.dtype.str[1:]]}", wide, cards)
    return None


def _encode_string(name, data, cards, n):
    """Strings as ASCII bytes; None for text that is not ASCII."""
    if data.dtype.kind == "U":
        try:
            data = data.astype(f"S{max(data.dtype.itemsize // 4, 1)}")
        except UnicodeEncodeError:
            return None
    width = max(data.dtype.itemsize, 1)
    data = data.astype(f"S{width}", copy=False)
    return EncodedColumn(name, f"{n * width}A", data, cards)


def number_column(name, values, unit=None):
    """Encode plain numbers.

    Parameters
    ----------
    name : str
        Name of the column.
    values : `~numpy.ndarray`
        Numbers of a type that a file can hold, shape (n_rows,).
    unit : str, optional
        Unit as FITS spells it. Default is none.

    Returns
    -------
    encoded : `EncodedColumn`
        Column.
    """
    letter = LETTERS[values.dtype.str[1:]]
    data = values.astype(values.dtype.newbyteorder(">"), copy=False)
    return EncodedColumn(name, f"1{letter}", data, {"TUNIT": unit} if unit else {})


def binary_table(columns, cards, *, name):
    """Binary table extension.

    Parameters
    ----------
    columns : list of `EncodedColumn`
        Columns, all with the same number of rows.
    cards : list of str
        Cards besides those that describe the table.
    name : str
        EXTNAME.

    Returns
    -------
    header, data : bytes-like
        Both are padded to FITS blocks.
    """
    n_rows = len(columns[0].data)
    # pickled numbers come back in the order of the machine
    types = [column.data.dtype.newbyteorder(">") for column in columns]
    shapes = [column.data.shape[1:] for column in columns]
    names = [f"f{i}" for i in range(len(columns))]
    row = np.dtype(list(zip(names, types, shapes, strict=True)))
    size = n_rows * row.itemsize
    data = np.zeros(-(-size // BLOCK) * BLOCK, dtype="u1")
    rows = data[:size].view(row)
    for i, column in enumerate(columns):
        rows[f"f{i}"] = column.data
    description = _description(columns, n_rows, row.itemsize, name)
    return header_bytes([*description, *cards]), data


def _description(columns, n_rows, row_size, name):
    """Cards that describe a binary table."""
    cards = {
        "XTENSION": "BINTABLE",
        "BITPIX": 8,
        "NAXIS": 2,
        "NAXIS1": row_size,
        "NAXIS2": n_rows,
        "PCOUNT": 0,
        "GCOUNT": 1,
        "TFIELDS": len(columns),
    }
    for i, column in enumerate(columns, start=1):
        cards |= {f"TTYPE{i}": column.name, f"TFORM{i}": column.form}
        cards |= {f"{key}{i}": value for key, value in column.cards.items()}
    cards["EXTNAME"] = name
    return [card_image(key, value) for key, value in cards.items()]


PRIMARY = header_bytes(
    card_image(key, value)
    for key, value in {"SIMPLE": True, "BITPIX": 8, "NAXIS": 0, "EXTEND": True}.items()
)
"""Primary HDU without data."""


_FORM = re.compile(r"(\d*)([LXBIJKAEDCM])")
_TYPES = {letter: f">{code}" for code, letter in LETTERS.items()}
_TYPES |= {"L": "u1", "X": "u1", "A": "S"}
_KEPT = ("TUNIT", "TNULL", "TSCAL", "TZERO", "TDIM")


def read_columns(header, data):
    """Columns of a binary table as its file holds them, on top of its bytes.

    Parameters
    ----------
    header : `~gammapy_mimic.io.cards.Header`
        Header of the table.
    data : bytes-like
        Its data.

    Returns
    -------
    columns : dict or None
        `EncodedColumn` by name. None for a table that is not of the plain kind: with
        arrays of variable length, columns without a name, or a header that does not
        fit the data.
    """
    try:
        return _read_columns(header, data)
    except (KeyError, ValueError, TypeError, AttributeError):
        return None


def _read_columns(header, data):
    fields, columns = [], {}
    for i in range(1, header["TFIELDS"] + 1):
        name, form = header[f"TTYPE{i}"].strip(), header[f"TFORM{i}"].strip()
        if not _is_name(name):
            raise ValueError("a name that cannot be")
        number, letter = _FORM.fullmatch(form).groups()
        number = int(number or 1)
        cards = {key: header[f"{key}{i}"] for key in _KEPT if f"{key}{i}" in header}
        columns[name] = (f"{number}{letter}", cards)
        fields.append((name, *_field(number, letter)))
    row = np.dtype(fields)
    if row.itemsize != header["NAXIS1"] or header["PCOUNT"] != 0:
        raise ValueError("the header does not describe the rows")
    rows = np.frombuffer(data, row, count=header["NAXIS2"])
    return {
        name: EncodedColumn(name, form, rows[name], cards)
        for name, (form, cards) in columns.items()
    }


def _field(number, letter):
    """Type and shape of a column's entries."""
    if letter == "A":
        return (f"S{number}",)
    if letter == "X":
        return "u1", (-(-number // 8),)
    return (_TYPES[letter],) if number == 1 else (_TYPES[letter], (number,))
