"""Binary FITS tables as bytes.

The columns are put into one big-endian array, whose bytes are those of the file.
That is many times faster than `astropy.io.fits.BinTableHDU`, which converts each
column of a wide table (an IRF) element by element.
"""

import logging
from dataclasses import dataclass, field

import numpy as np
from astropy.io import fits
from astropy.units import UnitBase

__all__ = ["EncodedColumn", "binary_table", "encode_column", "primary_hdu"]

log = logging.getLogger(__name__)

BLOCK = 2880

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


def binary_table(columns, header, *, name):
    """Binary table extension.

    Parameters
    ----------
    columns : list of `EncodedColumn`
        Columns, all with the same number of rows.
    header : `~astropy.io.fits.Header`
        Cards besides those that describe the table.
    name : str
        EXTNAME.

    Returns
    -------
    content : bytes
        Header and data, padded to FITS blocks.
    """
    n_rows = len(columns[0].data)
    dtype = [(f"f{i}", c.data.dtype, c.data.shape[1:]) for i, c in enumerate(columns)]
    rows = np.empty(n_rows, dtype=dtype)
    for i, column in enumerate(columns):
        rows[f"f{i}"] = column.data
    full = _table_header(columns, n_rows, rows.dtype.itemsize, name)
    full.extend(header.cards, end=True)
    return padded_header(full) + _padded(rows.tobytes())


def _table_header(columns, n_rows, row_size, name):
    """Cards that describe a binary table."""
    cards = [
        ("XTENSION", "BINTABLE", "binary table extension"),
        ("BITPIX", 8, "array data type"),
        ("NAXIS", 2, "number of array dimensions"),
        ("NAXIS1", row_size, "length of dimension 1"),
        ("NAXIS2", n_rows, "length of dimension 2"),
        ("PCOUNT", 0, "number of group parameters"),
        ("GCOUNT", 1, "number of groups"),
        ("TFIELDS", len(columns), "number of table fields"),
    ]
    for i, column in enumerate(columns, start=1):
        cards += [(f"TTYPE{i}", column.name), (f"TFORM{i}", column.form)]
        cards += [(f"{key}{i}", value) for key, value in column.cards.items()]
    return fits.Header([*cards, ("EXTNAME", name)])


def primary_hdu():
    """Primary HDU without data.

    Returns
    -------
    content : bytes
        Header, padded to FITS blocks.
    """
    cards = [
        ("SIMPLE", True, "conforms to FITS standard"),
        ("BITPIX", 8, "array data type"),
        ("NAXIS", 0, "number of array dimensions"),
        ("EXTEND", True),
    ]
    return padded_header(fits.Header(cards))


def padded_header(header):
    """Bytes of a header, padded to FITS blocks."""
    return header.tostring(sep="", endcard=True, padding=True).encode("ascii")


def _padded(data):
    """Bytes of data, padded to FITS blocks."""
    return data + b"\0" * (-len(data) % BLOCK)
