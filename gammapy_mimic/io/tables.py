"""Tables and headers of FITS files, read and written by astropy.

What is added to astropy: which cards belong to the layout of a file and not to the
run, bits (``32X``) that come back as bits, and a warning for each card or column that
a file cannot hold.
"""

import functools
import logging

import numpy as np
from astropy import units as u
from astropy.io import fits
from astropy.table import Column, MaskedColumn

from gammapy_mimic.io.header import BLOCK, card_images, padded

__all__ = ["read_columns", "table_content"]

log = logging.getLogger(__name__)

_BITS = ("EVENT_TYPE",)
"""Columns of booleans that GADF has as bits."""

_LETTERS = {"u1": "B", "i2": "I", "u2": "I", "i4": "J", "u4": "J"}
_LETTERS |= {"i8": "K", "u8": "K", "f4": "E", "f8": "D", "c8": "C", "c16": "M"}
"""Types that a file can hold (FITS standard 4.0, table 18)."""

_OFFSETS = {"u2": 2**15, "u4": 2**31, "u8": 2**63}
"""TZERO of integers which a file holds with an offset (table 19)."""

_WIDER = {"i1": "i2", "f2": "f4", "f16": "f8", "c32": "c16"}
"""Types that FITS, or astropy of FITS, does not have."""


def read_columns(hdu):
    """Columns of a binary table.

    As `astropy.table.Table.read` gives them, without the time that this takes for
    units and metadata of the same kind again and again.

    Parameters
    ----------
    hdu : `~astropy.io.fits.BinTableHDU`
        Table.

    Returns
    -------
    columns : dict of `~astropy.table.Column`
        Scaled values by name, masked where they are the TNULL of the table, as
        astropy has it. A unit that astropy does not know is passed through as text.
    """
    columns, data = {}, hdu.data
    for each in hdu.columns:
        values = np.asarray(data[each.name])
        options = {"name": each.name, "unit": _unit(each.unit)}
        if each.null is not None:
            options |= {"mask": values == each.null, "fill_value": each.null}
            columns[each.name] = MaskedColumn(values, **options)
        else:
            columns[each.name] = Column(values, **options)
    return columns


@functools.lru_cache(maxsize=1000)
def _unit(text):
    return None if text is None else u.Unit(text, parse_strict="silent")


def table_content(columns, cards, *, name, label):
    """Binary table as bytes.

    Parameters
    ----------
    columns : dict of `~astropy.table.Column` or `~numpy.ndarray`
        Columns by name, all with the same number of rows. Those that a file cannot
        hold are left out, with a warning.
    cards : dict
        Cards as from `~gammapy_mimic.io.header.read_cards`. What a card cannot hold
        is left out, with a warning.
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
    encoded = [pair for pair in encoded if pair is not None]
    layout, arrays = zip(*encoded, strict=True)
    # big-endian, as the file has it: astropy would convert element by element
    fields = [
        (f"f{i}", array.dtype.newbyteorder(">"), array.shape[1:])
        for i, array in enumerate(arrays)
    ]
    rows = np.empty(len(arrays[0]), np.dtype(fields))
    for (field, *_), array in zip(fields, arrays, strict=True):
        rows[field] = array
    data = rows.tobytes()
    text = _description(layout, name).replace(
        _NO_ROWS, f"{_NO_ROWS[:10]}{len(rows):20}"
    )
    images = card_images(cards, label=f"{label}, {name}")
    header = padded("".join([text, *images, f"{'END':80}"]))
    return header, data + bytes(-len(data) % BLOCK)


_NO_ROWS = f"NAXIS2  = {0:20}"


@functools.lru_cache(maxsize=100)
def _description(layout, name):
    """Cards that describe a table without rows."""
    columns = [fits.Column(**dict(column)) for column in layout]
    hdu = fits.BinTableHDU.from_columns(columns, nrows=0)
    hdu.name = name
    return hdu.header.tostring(endcard=False, padding=False)


def _encoded(name, column, label):
    """Describe a column of a file, and give its values; None with a warning."""
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
    layout = {
        "name": name,
        "format": form,
        "unit": _unit_string(getattr(column, "unit", None)),
        "null": null,
        "bzero": _OFFSETS.get(data.dtype.str[1:]),
        "dim": _dimensions(data) if data.ndim > 1 and "X" not in form else None,
    }
    return tuple(layout.items()), _stored(data, form)


def _stored(data, form):
    """Values as a file holds them."""
    code, kind = data.dtype.str[1:], data.dtype.kind
    if kind == "b":
        if "X" in form:
            return np.packbits(data, axis=1)
        return np.where(data, np.uint8(ord("T")), np.uint8(ord("F")))
    if kind == "S":
        return data.astype(f"S{max(data.dtype.itemsize, 1)}")
    if code in _OFFSETS:
        # subtracting TZERO modulo 2^bits flips the highest bit
        native = data.astype(code)
        return (native ^ native.dtype.type(_OFFSETS[code])).view(code.replace("u", "i"))
    return data


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
