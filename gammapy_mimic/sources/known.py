"""Known gamma-ray sources of a field, as circles on the sky.

Whatever names a source (a position, a name, a region file, a catalog) becomes a
`~regions.CircleSkyRegion` in ICRS. ``meta["name"]`` holds its name and, where it
comes from a catalog, ``meta["tag"]`` the list of catalogs which hold it (regions
allows only the keys of DS9). How large it is
says `gammapy_mimic.sources.circles`.
"""

import functools
import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

import astropy.units as u
import numpy as np
from astropy.coordinates import Angle, SkyCoord
from gammapy.data import Observation, PointingMode
from regions import CircleSkyRegion, PointSkyRegion, Region, Regions

from gammapy_mimic.data.compat import read_once
from gammapy_mimic.sky.geometry import offset_azimuth
from gammapy_mimic.sources.catalogs import (
    BRIGHT,
    CatalogSource,
    check_tags,
    look_up,
    read,
)
from gammapy_mimic.sources.circles import (
    as_circle,
    as_source,
    circle_region,
    merge_circles,
)
from gammapy_mimic.sources.region_files import is_region_file, read_regions

__all__ = [
    "Sources",
    "available_catalogs",
    "find_source",
    "known_sources",
    "parse_sources",
    "resolve_sources",
]

log = logging.getLogger(__name__)

NAME_CATALOGS = (BRIGHT, "gamma-cat", "hgps", "2hwc", "3hwc", "1LHAASO")
"""Catalogs in which names are looked up, in this order."""

DEFAULT_CATALOGS = ("gamma-cat",)

MAX_THETA = Angle(10, "deg")
"""No field of view holds a larger source; a number in arcmin may be meant."""


Sources: TypeAlias = (
    SkyCoord
    | CircleSkyRegion
    | PointSkyRegion
    | Regions
    | str
    | Path
    | Sequence[SkyCoord | CircleSkyRegion | PointSkyRegion | str | Path]
)
"""Whatever names sources, see `parse_sources`."""


def parse_sources(
    sources: Sources, *, theta: u.Quantity | str
) -> list[CircleSkyRegion]:
    """Turn positions, names and regions into circles.

    Parameters
    ----------
    sources : `~astropy.coordinates.SkyCoord`, `~regions.CircleSkyRegion`, str, \
              `~pathlib.Path`, `~regions.Regions` or sequence of these
        Positions (scalar or array), circles, names of catalogued sources or DS9
        region files (a `~pathlib.Path`, or a str which ends in ``.reg`` or is the
        path of a file).
    theta : `~astropy.units.Quantity` or str
        Radius of the circle about a point-like source: one angle, or one per
        source. A circle keeps its own radius; the entry of theta for it is not
        used. A source given by name gets the theta of its size (see the module).

    Returns
    -------
    regions : list of `~regions.CircleSkyRegion`
        In ICRS, in the order given, with ``meta["name"]``; a source without a name
        is called after its position.

    Raises
    ------
    TypeError
        If a source is of another kind: another shape, or a region in pixels.
    ValueError
        If theta is not a positive angle or their number is wrong, a position is not
        finite, or a name is unknown.

    Examples
    --------
    >>> import astropy.units as u
    >>> from gammapy_mimic.sources.known import parse_sources
    >>> [region.meta["name"] for region in parse_sources("M87", theta=0.2 * u.deg)]
    ['M 87']
    """
    found = resolve_sources(sources)
    thetas_deg = _thetas_deg(theta, len(found))
    return [circle_region(*each) for each in zip(found, thetas_deg, strict=True)]


def resolve_sources(sources: Sources) -> list[CatalogSource]:
    """Find position and size of sources, whatever names them.

    Parameters
    ----------
    sources
        See `parse_sources`.

    Returns
    -------
    found : list of `~gammapy_mimic.sources.catalogs.CatalogSource`
        In the order given.
    """
    return [
        look_up(item, NAME_CATALOGS)
        if isinstance(item, str)
        else as_source(item, f"{file}Source {number}")
        for number, (file, item) in enumerate(_flatten(sources))
    ]


def find_source(
    name: str,
    *,
    catalogs: Sequence[str] = NAME_CATALOGS,
    theta: u.Quantity | str = 0.3 * u.deg,
) -> CircleSkyRegion:
    """Look up a source by its name, without the network.

    Case, blanks, the kind of the minus sign, "Mrk" or "Markarian", and words such
    as "nebula" do not matter.

    Parameters
    ----------
    name : str
        Name or other name, such as "Crab", "M87" or "PKS 2155-304".
    catalogs : sequence of str
        Catalogs to look in, in this order; the table that comes with this package
        is "bright", the others are tags of gammapy. One which is not in
        ``$GAMMAPY_DATA`` is passed over. Default is bright, gamma-cat, hgps, 2hwc,
        3hwc and 1LHAASO.
    theta : `~astropy.units.Quantity` or str
        Radius of the circle about a point-like source. Default is 0.3 deg.

    Returns
    -------
    region : `~regions.CircleSkyRegion`
        Its radius is larger than theta if the source is extended.

    Raises
    ------
    ValueError
        If no catalog at hand has the name; similar names are suggested.
    """
    source = look_up(name, check_tags(catalogs))
    return circle_region(source, _one_angle(theta, "theta", MAX_THETA).to_value("deg"))


def known_sources(
    position: SkyCoord | Observation,
    radius: u.Quantity | str = 3 * u.deg,
    *,
    catalogs: Sequence[str] | None = None,
    extra: Sources | None = None,
    theta: u.Quantity | str | Callable = 0.3 * u.deg,
) -> list[CircleSkyRegion]:
    """Known sources in a field.

    A source counts as inside if its position, or for an extended source its nearest
    part, lies within the radius. Two entries are the same source if they lie within
    0.1 deg of each other, or if different catalogs give the name of one to the other
    within 0.5 deg. The position and the name of the first one stay (``extra`` comes
    first, then the catalogs as ordered); its circle is widened to hold the other
    circle, moved towards it by up to 0.1 deg.

    Parameters
    ----------
    position : `~astropy.coordinates.SkyCoord` or `~gammapy.data.Observation`
        Centre of the field. An observation stands for its pointing; in drift mode
        for the track of its pointing on the sky.
    radius : `~astropy.units.Quantity` or str
        Radius of the field. Default is 3 deg.
    catalogs : sequence of str, optional
        Tags of gammapy's catalogs, or "bright" for the table which comes with this
        package. Default is gamma-cat, and where that is not in ``$GAMMAPY_DATA`` the
        packaged table, with a warning in the log.
    extra : see `~gammapy_mimic.sources.parse_sources`, optional
        Further sources. Default is None.
    theta : `~astropy.units.Quantity`, str or callable
        Radius of the circle about a point-like source. A callable gets the distances
        of all sources from the position, in degrees, and gives their radii in
        degrees. Default is 0.3 deg.

    Returns
    -------
    regions : list of `~regions.CircleSkyRegion`
        By distance from the position, with ``meta["name"]`` and ``meta["tag"]``.

    Raises
    ------
    FileNotFoundError
        If a catalog that is named is not in ``$GAMMAPY_DATA``.
    """
    centres, label = _centres(position)
    if not callable(theta):
        theta_deg = _one_angle(theta, "theta", MAX_THETA).to_value("deg")
    radius_deg = _one_angle(radius, "radius").to_value("deg")
    tags = available_catalogs(catalogs)
    candidates = [] if extra is None else resolve_sources(extra)
    candidates += [source for tag in tags for source in read(tag)]
    distances_deg = _distances_deg(candidates, centres)
    if callable(theta):
        theta_deg = theta(distances_deg)
    inside = _in_cone(candidates, distances_deg, radius_deg, theta_deg)
    merged = merge_circles(inside)
    order = np.argsort(_distances_deg(merged, centres), kind="stable")
    log.info(
        "%d known sources within %g deg of %s; catalogs: %s",
        *(len(merged), radius_deg, label, ", ".join(tags) or "none"),
    )
    return [circle_region(merged[index], 0.0) for index in order]


def _flatten(sources, file=""):
    """Give the file and the single positions, regions and names, whatever holds them.

    The file is a text for messages, empty for what comes from none.
    """
    if isinstance(sources, SkyCoord):
        yield from ((file, item) for item in sources.reshape(-1))
    elif isinstance(sources, str | Path) and is_region_file(sources):
        yield from _flatten(read_regions(sources), f"{sources}: ")
    elif isinstance(sources, str | Region):
        yield file, sources
    elif isinstance(sources, Regions | list | tuple) or _is_plain_array(sources):
        for item in sources:
            yield from _flatten(item, file)
    else:
        raise TypeError(
            f"sources = {sources!r}: must be SkyCoord, CircleSkyRegion, name, region "
            "file, or a sequence of these."
        )


def _is_plain_array(sources):
    """Whether it is an array of several things, and not of numbers with a unit."""
    is_array = isinstance(sources, np.ndarray) and sources.ndim > 0
    return is_array and not isinstance(sources, u.Quantity)


def _angles(value, argument, limit=None):
    try:
        angles = Angle(value)
    except (TypeError, ValueError, u.UnitsError) as error:
        raise ValueError(
            f"{argument} = {value!r}: must be an angle with its unit, such as 0.3 deg."
        ) from error
    if not np.all(np.isfinite(angles) & (angles > 0 * u.deg)):
        raise ValueError(f"{argument} = {value}: must be larger than 0 deg and finite.")
    if limit is not None and np.any(angles >= limit):
        raise ValueError(f"{argument} = {value}: must be smaller than {limit:g}.")
    return angles


def _one_angle(value, argument, limit=None):
    angle = _angles(value, argument, limit)
    if not angle.isscalar:
        raise ValueError(f"{argument} = {value}: must be one angle.")
    return angle


def _thetas_deg(theta, number):
    thetas = _angles(theta, "theta", MAX_THETA).to_value("deg")
    if thetas.ndim > 0 and thetas.shape != (number,):
        raise ValueError(
            f"theta = {theta}: got {thetas.size} angles for {number} sources; "
            "give one angle, or one per source."
        )
    return np.broadcast_to(thetas, number)


def _centres(position):
    """Centre or centres of a field, and what to call it in the log."""
    if isinstance(position, SkyCoord) and position.isscalar:
        centre = position.icrs
        return centre.reshape(1), f"{centre.ra.deg:.3f} {centre.dec.deg:+.3f}"
    if not isinstance(position, Observation):
        raise TypeError(f"position = {position!r}: must be SkyCoord or Observation.")
    run = f"run {position.obs_id}"
    # errors name the file
    position = read_once(position)
    if position.pointing.mode is PointingMode.POINTING:
        return position.pointing.fixed_icrs.icrs.reshape(1), run
    if position.observatory_earth_location is None:
        raise ValueError(f"{run} drifts but has no telescope location; give a SkyCoord")
    # one step a minute: the sky drifts by 0.25 deg at most in that time
    duration = position.tstop - position.tstart
    steps = np.linspace(0, 1, int(duration.to_value("min")) + 2)
    return position.get_pointing_icrs(position.tstart + duration * steps), run


def _distances_deg(sources, centres):
    """Distance of each source from the nearest of the centres."""
    ra_deg = np.array([source.ra_deg for source in sources])[:, np.newaxis]
    dec_deg = np.array([source.dec_deg for source in sources])[:, np.newaxis]
    offset, _ = offset_azimuth(ra_deg, dec_deg, centres.ra.deg, centres.dec.deg)
    return offset.min(axis=1)


def _in_cone(sources, distances_deg, radius_deg, theta_deg):
    """Circles of those sources of which some part lies within a radius."""
    thetas_deg = np.broadcast_to(theta_deg, len(sources))
    circles = map(as_circle, sources, thetas_deg)
    return [
        circle
        for circle, distance_deg, theta_deg in zip(
            circles, distances_deg, thetas_deg, strict=True
        )
        if distance_deg - max(0, circle.size_deg - theta_deg) <= radius_deg
    ]


def available_catalogs(tags: Sequence[str] | None = None) -> tuple[str, ...]:
    """Check that catalogs can be read.

    Parameters
    ----------
    tags : sequence of str, optional
        Catalogs, see `known_sources`. Default is gamma-cat or, where that is not at
        hand, the packaged list of bright sources: a warning says so once.

    Returns
    -------
    tags : tuple of str
        The same.

    Raises
    ------
    FileNotFoundError
        If a catalog that is named is not at hand.
    ValueError
        If one is not known, or is broken.
    """
    try:
        named = DEFAULT_CATALOGS if tags is None else check_tags(tags)
        for tag in named:
            read(tag)
    except FileNotFoundError as error:
        folder = os.environ.get("GAMMAPY_DATA", "not set")
        if tags is None:
            _warn_of_missing(folder)
            return (BRIGHT,)
        raise FileNotFoundError(
            f"catalog {tag!r}: {error} (GAMMAPY_DATA: {folder}); set GAMMAPY_DATA to "
            f"the folder of gammapy's data, or take {BRIGHT!r}, which comes with this "
            "package"
        ) from error
    return tuple(dict.fromkeys(named))


@functools.cache
def _warn_of_missing(folder):
    """Warn once in a process that the default catalog is not there."""
    log.warning(
        "Catalog %s not found (GAMMAPY_DATA: %s): the packaged list of %d bright "
        "sources stands in, fainter sources may remain.",
        *(DEFAULT_CATALOGS[0], folder, len(read(BRIGHT))),
    )
