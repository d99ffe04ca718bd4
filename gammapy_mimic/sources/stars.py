"""Bright stars, in which cameras suffer: pixels are switched off or draw more current.

Donors have other stars in their fields, so that a mimic has none where the target has
one. The packaged table holds the stars with B < 5 of the Bright Star Catalogue, 5th
revised edition (Hoffleit & Warren 1991, Astronomical Data Center; CDS V/50), whose
conditions of use stand at the head of the table.
"""

import functools
from collections.abc import Iterator
from importlib.resources import files

from astropy import units as u
from astropy.coordinates import Angle, SkyCoord
from astropy.table import Table
from regions import CircleSkyRegion, RegionMeta

__all__ = ["bright_stars", "star_lines", "star_regions"]

FAINTEST = 5.0
"""B magnitude down to which the packaged table is complete."""

_MAX_NAMED = 4


@functools.cache
def _table():
    text = (files("gammapy_mimic.sources") / "bright_stars.ecsv").read_text("utf-8")
    return Table.read(text.split("\n"), format="ascii.ecsv")


def bright_stars(
    position: SkyCoord, radius: u.Quantity = 2.5 * u.deg, *, b_max: float = FAINTEST
) -> Table:
    """Bright stars in a field.

    Parameters
    ----------
    position : `~astropy.coordinates.SkyCoord`
        Centre of the field.
    radius : `~astropy.units.Quantity`, optional
        Radius of the field. Default is 2.5 deg.
    b_max : float, optional
        Faintest B magnitude, at most 5. Default is 5.

    Returns
    -------
    stars : `~astropy.table.Table`
        By distance, with the columns name, hr (number in the Bright Star Catalogue),
        ra, dec (deg, J2000), b_mag, v_mag and separation (deg).

    Raises
    ------
    ValueError
        If fainter stars are asked for than there are.

    Examples
    --------
    >>> from astropy.coordinates import SkyCoord
    >>> from gammapy_mimic.sources.stars import bright_stars
    >>> bright_stars(SkyCoord(83.633, 22.014, unit="deg"))["name"][0]
    '123Zet Tau'
    """
    if not b_max <= FAINTEST:
        raise ValueError(f"b_max = {b_max}: the table ends at B = {FAINTEST:g}")
    table = _table()
    places = SkyCoord(table["ra"], table["dec"])
    separation = places.separation(position.icrs).deg
    inside = (separation <= Angle(radius).deg) & (table["b_mag"] < b_max)
    stars = table["name", "hr", "ra", "dec", "b_mag", "v_mag"][inside]
    stars["separation"] = separation[inside] * u.deg
    stars["separation"].info.format = "%.3f"
    stars.sort("separation")
    stars.meta.clear()
    return stars


def star_regions(
    position: SkyCoord,
    radius: u.Quantity = 2.5 * u.deg,
    *,
    b_max: float = FAINTEST,
    theta: u.Quantity = 0.25 * u.deg,
) -> list[CircleSkyRegion]:
    """Circles about bright stars, for exclusion masks and region files.

    Parameters
    ----------
    position, radius, b_max
        As of `bright_stars`.
    theta : `~astropy.units.Quantity`, optional
        Radius of the circles. Default is 0.25 deg.

    Returns
    -------
    regions : list of `~regions.CircleSkyRegion`
        With ``meta["name"]``; `~gammapy_mimic.sources.write_regions` writes them.
    """
    return [
        CircleSkyRegion(
            SkyCoord(star["ra"], star["dec"], unit="deg"),
            Angle(theta),
            meta=RegionMeta({"name": _name(star), "text": _name(star)}),
        )
        for star in bright_stars(position, radius, b_max=b_max)
    ]


def star_lines(runs: Table, radius: u.Quantity = 2.5 * u.deg) -> Iterator[str]:
    """Say which bright stars targets have in their fields.

    Parameters
    ----------
    runs : `~astropy.table.Table`
        Run table with OBS_ID, RA_PNT and DEC_PNT.
    radius : `~astropy.units.Quantity`, optional
        Radius of the field. Default is 2.5 deg.

    Yields
    ------
    line : str
        A line for all targets with the same brightest stars.
    """
    groups: dict[str, list[int]] = {}
    for run in runs:
        pointing = SkyCoord(run["RA_PNT"], run["DEC_PNT"], unit="deg")
        stars = bright_stars(pointing, radius)
        stars.sort("b_mag")
        names = [f"{_name(star)} (B {star['b_mag']:.1f})" for star in stars]
        if names:
            more = ", ..." if len(names) > _MAX_NAMED else ""
            text = ", ".join(names[:_MAX_NAMED]) + more
            groups.setdefault(text, []).append(int(run["OBS_ID"]))
    for text, ids in groups.items():
        named = ", ".join(map(str, ids[:_MAX_NAMED]))
        more = f" and {len(ids) - _MAX_NAMED} more" if len(ids) > _MAX_NAMED else ""
        yield f"target {named}{more}: {text}, which mimics do not have"


def _name(star):
    return str(star["name"]) or f"HR {star['hr']}"
