"""Source catalogs as plain lists: names, positions and sizes.

The catalogs are those of gammapy, read from ``$GAMMAPY_DATA``, and a table of bright
sources which comes with this package. Sizes come from the columns of the tables, not
from ``spatial_model()``, which not all sources have:

=============== ================================================================
gamma-cat       larger of ``morph_sigma``, ``morph_sigma2``; "shell" is a disk
hgps            ``Size``; "Shell" is a disk, (multi-)Gaussians have the total width
2hwc, 3hwc      largest of the ``spec*_radius``, a disk
1LHAASO         larger of ``r39``, ``r39_b`` (39 % of a Gaussian lie within sigma)
Fermi-LAT       ``Model_SemiMajor`` of the table of extended sources, a disk
bright          ``size`` and ``shape`` of the packaged table
=============== ================================================================

Where no size is given, or only an upper limit, the source is point-like. gamma-cat
lacks the size of several extended sources (SN 1006, Westerlund 1) or their right
position (IC 443, gamma Cygni): those of the packaged table are taken for the extended
sources which are in both.
"""

import difflib
import os
import re
from functools import lru_cache
from inspect import signature
from pathlib import Path
from typing import NamedTuple

import numpy as np
from astropy.coordinates import SkyCoord
from astropy.table import Table
from gammapy.catalog import CATALOG_REGISTRY
from gammapy.utils.scripts import make_path

from gammapy_mimic.io.files import error_context

__all__ = [
    "BRIGHT",
    "CatalogSource",
    "catalog_files",
    "check_tags",
    "look_up",
    "name_key",
    "read",
]

BRIGHT = "bright"
"""Tag of the table of bright sources that comes with this package."""

# gamma-cat measured positions further than this from the object are misprints
# (IC 443, 30 Dor C); the next largest true distance is that of Vela X, 0.52 deg
GAMMACAT_MAX_SHIFT_DEG = 0.6

PLACE_AND_SIZE = ("ra_deg", "dec_deg", "size_deg", "shape")


class CatalogSource(NamedTuple):
    """One source: ICRS position and size in degrees.

    `shape` is "point", "gauss" (size is sigma), "disk" (size is the outer radius,
    also of a shell) or "circle" (size is the radius of the region itself).
    """

    name: str
    aliases: tuple
    ra_deg: float
    dec_deg: float
    size_deg: float
    shape: str
    catalogs: tuple


def check_tags(catalogs):
    """Give the tags of catalogs as a tuple, or say which one is not known.

    Parameters
    ----------
    catalogs : str or sequence of str
        Tags of gammapy's catalogs, or "bright".

    Returns
    -------
    tags : tuple of str
        The tags, in the order given.
    """
    tags = (catalogs,) if isinstance(catalogs, str) else tuple(catalogs)
    allowed = (BRIGHT, *(cls.tag for cls in CATALOG_REGISTRY))
    for tag in tags:
        if tag not in allowed:
            hint = suggest(str(tag), {known.lower(): known for known in allowed})
            raise ValueError(
                f"catalogs: {tag!r} is not known{hint} Known are {', '.join(allowed)}."
            )
    return tags


def suggest(word, known, number=1):
    """Give the end of an error text: words which look like the given one.

    Parameters
    ----------
    word : str
        What was asked for.
    known : dict
        Spelling to compare with (lower case): spelling to show.
    number : int
        Largest number of suggestions. Default is 1.

    Returns
    -------
    hint : str
        Such as "; did you mean 'hgps'?", or a full stop.
    """
    near = difflib.get_close_matches(word.lower(), known, n=2 * number)
    shown = list(dict.fromkeys(known[key] for key in near))[:number]
    return f"; did you mean {' or '.join(map(repr, shown))}?" if shown else "."


def name_key(name):
    """Give the form in which names of sources are compared.

    Parameters
    ----------
    name : str
        Name of a source.

    Returns
    -------
    key : str
        Lower case, without blanks, one kind of minus, "mrk" for Markarian, without
        words such as "nebula".
    """
    key = re.sub("[\u2010-\u2015\u2212]", "-", name.lower())
    key = re.sub(r"\b(markarian|mkn)(?![a-z])", "mrk", key)
    key = re.sub(r"\bmessier(?![a-z])", "m", key).replace("center", "centre")
    key = re.sub(r"\b(nebula|snr|pwn|the)\b", "", key)
    key = re.sub(r"\bjunior\b", "jr", key)
    return re.sub(r"[\s_°*']|\.$", "", key)


def look_up(name, tags):
    """Look a source up by its name.

    Parameters
    ----------
    name : str
        Name or other name.
    tags : sequence of str
        Catalogs to look in, in this order; those not at hand are passed over.

    Returns
    -------
    source : `CatalogSource`
        The first source which has this name.
    """
    searched, known = [], {}
    for tag in tags:
        try:
            names = _names(tag, os.environ.get("GAMMAPY_DATA"))
        except FileNotFoundError:
            continue
        if name_key(name) in names:
            return names[name_key(name)]
        searched.append(tag)
        known = {key: _spelling(key, source) for key, source in names.items()} | known
    hint = suggest(name_key(name), known, number=3)
    raise ValueError(
        f"Source {name!r} is not in {', '.join(searched) or 'any catalog'}{hint} "
        "A source of any name can be given as SkyCoord or CircleSkyRegion."
    )


def _spelling(key, source):
    return next(n for n in (source.name, *source.aliases) if name_key(n) == key)


def read(tag):
    """Read all sources of a catalog.

    Parameters
    ----------
    tag : str
        Tag of one of gammapy's catalogs, or "bright".

    Returns
    -------
    sources : tuple of `CatalogSource`
        One per row.

    Raises
    ------
    FileNotFoundError
        If ``$GAMMAPY_DATA`` does not hold the catalog.
    ValueError
        If its file is broken.
    """
    return _read(tag, os.environ.get("GAMMAPY_DATA"))


@lru_cache(maxsize=32)
def _read(tag, folder):  # the folder only distinguishes cache entries
    if tag == BRIGHT:
        return _read_bright()
    sources = _read_from_disk(tag, folder)
    return _corrected(sources) if tag == "gamma-cat" else sources


def catalog_files(tag):
    """Files of a catalog.

    Parameters
    ----------
    tag : str
        Tag of one of gammapy's catalogs, or "bright".

    Returns
    -------
    files : dict
        Tag: path. For gamma-cat also that of the packaged table, which corrects it.
    """
    packaged = Path(__file__).with_name("bright_sources.ecsv")
    if tag == BRIGHT:
        return {BRIGHT: packaged}
    catalog_class = CATALOG_REGISTRY.get_cls(tag)
    path = make_path(signature(catalog_class).parameters["filename"].default)
    return {tag: path} | ({BRIGHT: packaged} if tag == "gamma-cat" else {})


def _read_from_disk(tag, folder):
    path = catalog_files(tag)[tag]
    if not path.is_file():
        # astropy 6 would answer a missing ECSV file with a TypeError
        raise FileNotFoundError(f"{path} does not exist")
    with error_context(f"catalog {tag!r} in GAMMAPY_DATA = {folder}"):
        return _read_gammapy(CATALOG_REGISTRY.get_cls(tag)())


def _read_gammapy(catalog):
    positions = _positions(catalog)
    sizes_deg, shapes = _sizes(catalog)
    aliases = _aliases(catalog)
    return tuple(
        CatalogSource(
            name=str(catalog.source_name(row)),
            aliases=aliases[row],
            ra_deg=float(positions.ra.deg[row]),
            dec_deg=float(positions.dec.deg[row]),
            size_deg=float(sizes_deg[row]),
            shape=shapes[row] if sizes_deg[row] > 0 else "point",
            catalogs=(catalog.tag,),
        )
        for row in range(len(catalog.table))
    )


def _corrected(sources):
    """Position and size of extended sources, where the packaged table has them."""
    extended = {
        key: source
        for key, source in _names(BRIGHT, None).items()
        if source.size_deg > 0
    }
    corrected = []
    for source in sources:
        better = extended.get(name_key(source.name))
        if better is not None:
            places = {key: getattr(better, key) for key in PLACE_AND_SIZE}
            source = source._replace(**places, catalogs=(*source.catalogs, BRIGHT))
        corrected.append(source)
    return tuple(corrected)


@lru_cache(maxsize=32)
def _names(tag, folder):
    sources = _read(tag, folder)
    names = {
        name_key(alias): source for source in sources[::-1] for alias in source.aliases
    }
    return names | {name_key(source.name): source for source in sources[::-1]}


def _read_bright():
    text = catalog_files(BRIGHT)[BRIGHT].read_text("utf-8")
    table = Table.read(text, format="ascii.ecsv")
    return tuple(
        CatalogSource(
            name=str(row["name"]),
            aliases=_split(row["aliases"], ";"),
            ra_deg=float(row["ra"]),
            dec_deg=float(row["dec"]),
            size_deg=float(row["size"]),
            shape=str(row["shape"]),
            catalogs=(BRIGHT,),
        )
        for row in table
    )


def _split(text, separator):
    parts = (part.strip() for part in str(text).split(separator))
    return tuple(part for part in parts if part and part != "--")


def _numbers(table, name):
    """Column as floats, NaN where it is masked or not there."""
    if name not in table.colnames:
        return np.full(len(table), np.nan)
    return np.ma.filled(np.ma.asarray(table[name], dtype=float), np.nan)


def _positions(catalog):
    """Positions in ICRS; of gamma-cat the measured ones, where they make sense."""
    positions = catalog.positions.icrs
    if catalog.tag != "gamma-cat":
        return positions
    ra_deg, dec_deg = (_numbers(catalog.table, key) for key in ("pos_ra", "pos_dec"))
    # stands in for a missing position: as far away as can be
    measured = SkyCoord(ra_deg, np.nan_to_num(dec_deg), unit="deg")
    good = positions.separation(measured).deg < GAMMACAT_MAX_SHIFT_DEG
    return SkyCoord(
        np.where(good, ra_deg, positions.ra.deg),
        np.where(good, dec_deg, positions.dec.deg),
        unit="deg",
    )


def _sizes(catalog):
    """Size in degrees (0 where there is none) and its meaning, for each row."""
    table = catalog.table
    if catalog.tag == "gamma-cat":
        names, shell = ("morph_sigma", "morph_sigma2"), table["morph_type"] == "shell"
    elif catalog.tag == "hgps":
        names, shell = ("Size",), table["Spatial_Model"] == "Shell"
    elif catalog.tag == "1LHAASO":
        names, shell = ("r39", "r39_b"), False
    else:
        names, shell = ("spec0_radius", "spec1_radius", "extended_radius"), True
        table = _with_extended_radius(catalog)
    sizes_deg = np.fmax.reduce([_numbers(table, name) for name in names])
    shapes = np.broadcast_to(np.where(shell, "disk", "gauss"), len(table))
    return np.nan_to_num(sizes_deg), shapes.tolist()


def _with_extended_radius(catalog):
    """Table with the radii which Fermi-LAT catalogs keep in a table of their own."""
    table = catalog.table.copy(copy_data=False)
    extended = getattr(catalog, "extended_sources_table", None)
    if extended is not None and "Extended_Source_Name" in table.colnames:
        names = [str(name).strip() for name in extended["Source_Name"]]
        radii = dict(zip(names, _numbers(extended, "Model_SemiMajor"), strict=True))
        wanted = (str(name).strip() for name in table["Extended_Source_Name"])
        table["extended_radius"] = [radii.get(name, np.nan) for name in wanted]
    return table


def _aliases(catalog):
    """Other names of the same object; associations only as far as they identify."""
    columns = {
        "gamma-cat": ("other_names", "gamma_names"),
        "hgps": ("Identified_Object",),
    }.get(catalog.tag, ())
    rows = [() for _ in catalog.table]
    for column in columns:
        rows = [
            row + _split(text, ",")
            for row, text in zip(rows, catalog.table[column], strict=True)
        ]
    return rows
