"""Known gamma-ray sources of a field, as circles on the sky.

Whatever names a source (a position, a name, a region file, a catalog) becomes a
`~regions.CircleSkyRegion` in ICRS. ``meta["name"]`` holds its name and, where it
comes from a catalog, ``meta["tag"]`` the list of catalogs which hold it (regions
allows only the keys of DS9). The radius is the *theta* of the source, the distance
up to which its events are taken as its own:

* point-like source: theta itself;
* Gaussian of width sigma: ``sqrt(theta**2 + (3 * sigma)**2)``. 3 sigma hold 98.9 %
  of a two-dimensional Gaussian; widths of Gaussians add in quadrature;
* disk or shell of outer radius R: ``theta + R``, because the rim is as bright as
  the rest and is blurred by the same point-spread function.

Where sizes come from says `gammapy_mimic.sources.catalogs`.
"""

import functools
import logging
import os
import warnings
from pathlib import Path

import astropy.units as u
import numpy as np
from astropy.coordinates import Angle, SkyCoord
from gammapy.data import Observation, PointingMode
from regions import CircleSkyRegion, Region, RegionMeta, Regions, SkyRegion

from gammapy_mimic.data.compat import read_once
from gammapy_mimic.io.files import error_context
from gammapy_mimic.io.output import atomic_write
from gammapy_mimic.sky.geometry import offset_azimuth
from gammapy_mimic.sources.catalogs import (
    BRIGHT,
    CatalogSource,
    check_tags,
    look_up,
    name_key,
    read,
)

__all__ = [
    "available_catalogs",
    "find_source",
    "known_sources",
    "parse_sources",
    "read_regions",
    "write_regions",
]

log = logging.getLogger(__name__)

NAME_CATALOGS = (BRIGHT, "gamma-cat", "hgps", "2hwc", "3hwc", "1LHAASO")
"""Catalogs in which names are looked up, in this order."""

N_SIGMA = 3.0
_DS9_MARK = "# Region file format: DS9"
SAME_PLACE_DEG = 0.1
SAME_NAME_DEG = 0.5


def parse_sources(sources, *, theta):
    """Turn positions, names and regions into circles.

    Parameters
    ----------
    sources : `~astropy.coordinates.SkyCoord`, `~regions.CircleSkyRegion`, str, \
              `~pathlib.Path`, `~regions.Regions` or sequence of these
        Positions (scalar or array), circles, names (see `find_source`) or DS9
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
        If theta is no positive angle or their number is wrong, a position is not
        finite, or a name is unknown.

    Examples
    --------
    >>> import astropy.units as u
    >>> from gammapy_mimic.sources.known import parse_sources
    >>> [region.meta["name"] for region in parse_sources("M87", theta=0.2 * u.deg)]
    ['M 87']
    """
    items = list(_flatten(sources))
    thetas_deg = _thetas_deg(theta, len(items))
    return [
        _region(_as_source(item, f"{file}Source {number}"), theta_deg)
        for number, ((file, item), theta_deg) in enumerate(
            zip(items, thetas_deg, strict=True)
        )
    ]


def find_source(name, *, catalogs=NAME_CATALOGS, theta=0.3 * u.deg):
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
    return _region(source, _one_angle(theta, "theta").to_value("deg"))


def known_sources(
    position,
    radius=3 * u.deg,
    *,
    catalogs=("gamma-cat",),
    extra=None,
    theta=0.3 * u.deg,
):
    """Known sources in a field.

    A source counts as inside if its position, or for an extended source its nearest
    part, lies within the radius. Two entries are the same source if they lie within
    0.1 deg of each other, or if different catalogs give the name of one to the other
    within 0.5 deg. The position and the name of the first one stay (`extra` comes
    first, then the catalogs as ordered); its circle is widened to hold the other
    circle, moved towards it by up to 0.1 deg.

    Parameters
    ----------
    position : `~astropy.coordinates.SkyCoord` or `~gammapy.data.Observation`
        Centre of the field. An observation stands for its pointing; in drift mode
        for the track of its pointing on the sky.
    radius : `~astropy.units.Quantity` or str
        Radius of the field. Default is 3 deg.
    catalogs : sequence of str
        Tags of gammapy's catalogs, or "bright" for the table which comes with this
        package. That table also stands in for those which are not in
        ``$GAMMAPY_DATA``, with a warning in the log. Default is gamma-cat.
    extra : see `parse_sources`, optional
        Further sources. Default is None.
    theta : `~astropy.units.Quantity` or str
        Radius of the circle about a point-like source. Default is 0.3 deg.

    Returns
    -------
    regions : list of `~regions.CircleSkyRegion`
        By distance from the position, with ``meta["name"]`` and ``meta["tag"]``.
    """
    centres, label = _centres(position)
    theta_deg = _one_angle(theta, "theta").to_value("deg")
    radius_deg = _one_angle(radius, "radius").to_value("deg")
    tags = available_catalogs(catalogs)
    candidates = [_as_source(item, "extra") for item in _extra(extra, theta)]
    candidates += [source for tag in tags for source in read(tag)]
    inside = _in_cone(candidates, centres, radius_deg, theta_deg)
    merged = _merge(inside, theta_deg)
    order = np.argsort(_distances_deg(merged, centres), kind="stable")
    log.info(
        "%d known sources within %g deg of %s; catalogs: %s",
        *(len(merged), radius_deg, label, ", ".join(tags) or "none"),
    )
    return [_region(merged[index], theta_deg) for index in order]


def read_regions(path):
    """Read a DS9 region file; the text of a region becomes its name.

    Parameters
    ----------
    path : str or `~pathlib.Path`
        File in DS9 format.

    Returns
    -------
    regions : `~regions.Regions`
        Regions of any shape, with ``meta["name"]`` where the file has a text.

    Raises
    ------
    OSError
        If the file cannot be opened.
    ValueError
        If a line cannot be read, or it is no DS9 file: a source that is missed would
        stay in the data.
    """
    path = Path(path)
    with path.open("rb") as file:
        is_marked = file.readline().startswith(_DS9_MARK.encode())
    with (
        error_context(f"region file {path}"),
        warnings.catch_warnings(record=True) as caught,
    ):
        warnings.simplefilter("always")
        regions = Regions.read(path, format="ds9")
    for text in (str(item.message) for item in caught):
        if "not supported" not in text:
            raise ValueError(f"region file {path}: {text.removesuffix(', skipping.')}")
        # such as a ruler that was drawn beside the sources
        log.warning("Region file %s: %s", path, text)
    if not len(regions) and not is_marked:
        raise ValueError(
            f"region file {path} holds no region, and does not begin with {_DS9_MARK!r}"
        )
    for region in regions:
        if "text" in region.meta:
            region.meta["name"] = region.meta["text"]
    return regions


def write_regions(regions, path, overwrite=False):
    """Write sky regions to a DS9 region file; the name of a region becomes its text.

    Parameters
    ----------
    regions : `~regions.SkyRegion` or sequence of these
        Regions, such as those of `known_sources`.
    path : str or `~pathlib.Path`
        File to write.
    overwrite : bool
        Replace the file if it exists. Default is False.
    """
    path = Path(path)
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} exists; use overwrite=True to replace it.")
    regions = [regions] if isinstance(regions, Region) else list(regions)
    written = Regions([_with_text(region) for region in regions])
    text = written.serialize(format="ds9", precision=9) or f"{_DS9_MARK}\n"
    with atomic_write(path) as file:
        file.write(text)


def _with_text(region):
    if not isinstance(region, SkyRegion):
        raise TypeError(f"Only sky regions can be written, not {region!r}.")
    name = str(region.meta.get("name", region.meta.get("text", "")))
    if set(name) & set("{}\n"):
        raise ValueError(f"name = {name!r}: braces cannot be written to a DS9 file.")
    region = region.copy()
    if name:
        region.meta["text"] = name
    return region


def _is_region_file(item):
    if isinstance(item, Path):
        return True
    return item.lower().endswith(".reg") or Path(item).is_file()


def _flatten(sources, file=""):
    """Give the file and the single positions, regions and names, whatever holds them.

    The file is a text for messages, empty for what comes from none.
    """
    if isinstance(sources, SkyCoord):
        yield from ((file, item) for item in sources.reshape(-1))
    elif isinstance(sources, str | Path) and _is_region_file(sources):
        yield from _flatten(read_regions(sources), f"{sources}: ")
    elif isinstance(sources, str | Region):
        yield file, sources
    elif isinstance(sources, Regions | list | tuple | np.ndarray):
        for item in sources:
            yield from _flatten(item, file)
    else:
        raise TypeError(
            f"sources = {sources!r}: must be SkyCoord, CircleSkyRegion, name, region "
            "file, or a sequence of these."
        )


def _angles(value, argument):
    try:
        angles = Angle(value)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{argument} = {value!r}: must be an angle with its unit, such as 0.3 deg."
        ) from error
    if not np.all(np.isfinite(angles) & (angles > 0 * u.deg)):
        raise ValueError(f"{argument} = {value}: must be larger than 0 deg and finite.")
    return angles


def _one_angle(value, argument):
    angle = _angles(value, argument)
    if not angle.isscalar:
        raise ValueError(f"{argument} = {value}: must be one angle.")
    return angle


def _thetas_deg(theta, number):
    thetas = _angles(theta, "theta").to_value("deg")
    if thetas.ndim > 0 and thetas.shape != (number,):
        raise ValueError(
            f"theta = {theta}: got {thetas.size} angles for {number} sources; "
            "give one angle, or one per source."
        )
    return np.broadcast_to(thetas, number)


def _as_source(item, label):
    """Make a source of a scalar position, a circle or a name."""
    if isinstance(item, str):
        return look_up(item, NAME_CATALOGS)
    if isinstance(item, SkyCoord):
        center, size_deg, shape, meta = item.icrs, 0.0, "point", {}
    elif isinstance(item, CircleSkyRegion):
        center, meta = item.center.icrs, item.meta
        size_deg, shape = item.radius.to_value("deg"), "circle"
    else:
        raise TypeError(
            f"{label} is a {type(item).__name__}: only circles on the sky can be "
            "sources; use regions.CircleSkyRegion or, in a DS9 file, circle(...) in a "
            "celestial frame such as icrs."
        )
    text = " ".join(str(item).split())
    if not np.isfinite([center.ra.deg, center.dec.deg, size_deg]).all():
        raise ValueError(f"{label} has no finite position and size: {text}")
    if not meta.get("include", True):
        raise ValueError(f"{label} is an excluded region ('-circle'): {text}")
    name = meta.get("name") or meta.get("text") or _position_name(center)
    tags = tuple(meta.get("tag", ()))
    return CatalogSource(name, (), center.ra.deg, center.dec.deg, size_deg, shape, tags)


def _position_name(center):
    ra = center.ra.to_string(unit="hourangle", sep="", precision=1, pad=True)
    dec = center.dec.to_string(sep="", precision=0, alwayssign=True, pad=True)
    return f"J{ra}{dec}"


def _theta_deg(source, theta_deg):
    """Radius of the circle of a source, by the rule in the module docstring."""
    if source.shape == "gauss":
        return np.hypot(theta_deg, N_SIGMA * source.size_deg)
    if source.shape == "disk":
        return theta_deg + source.size_deg
    return source.size_deg if source.shape == "circle" else theta_deg


def _region(source, theta_deg):
    meta = {"name": source.name, "text": source.name}
    if source.catalogs:
        meta["tag"] = list(source.catalogs)
    return CircleSkyRegion(
        SkyCoord(source.ra_deg, source.dec_deg, unit="deg"),
        float(_theta_deg(source, theta_deg)) * u.deg,
        meta=RegionMeta(meta),
    )


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


def _in_cone(sources, centres, radius_deg, theta_deg):
    distances = _distances_deg(sources, centres)
    extents = [max(0, _theta_deg(source, theta_deg) - theta_deg) for source in sources]
    return [
        source
        for source, distance, extent in zip(sources, distances, extents, strict=True)
        if distance - extent <= radius_deg
    ]


def _separation_deg(one, other):
    places = one.ra_deg, one.dec_deg, other.ra_deg, other.dec_deg
    return float(offset_azimuth(*places)[0])


def _same_name(one, other):
    if set(one.catalogs) & set(other.catalogs):
        return False
    keys = [{name_key(name) for name in (it.name, *it.aliases)} for it in (one, other)]
    return name_key(one.name) in keys[1] or name_key(other.name) in keys[0]


def _merge(sources, theta_deg):
    """Each source once, by the rule in the docstring of `known_sources`."""
    merged = []
    for source in sources:
        separations = [_separation_deg(source, known) for known in merged]
        nearest_first = np.argsort(separations, kind="stable")
        for index in nearest_first:
            known, separation = merged[index], separations[index]
            same_name = separation < SAME_NAME_DEG and _same_name(source, known)
            if separation < SAME_PLACE_DEG or same_name:
                shift_deg = max(0, separation - SAME_PLACE_DEG)
                merged[index] = _widen(known, source, shift_deg, theta_deg)
                break
        else:
            merged.append(source)
    return merged


def _widen(known, other, shift_deg, theta_deg):
    radii = _theta_deg(known, theta_deg), _theta_deg(other, theta_deg) + shift_deg
    return known._replace(
        aliases=(*known.aliases, other.name, *other.aliases),
        size_deg=max(radii),
        shape="circle",
        catalogs=tuple(dict.fromkeys(known.catalogs + other.catalogs)),
    )


def _extra(extra, theta):
    return [] if extra is None else parse_sources(extra, theta=theta)


def available_catalogs(tags):
    """Find the catalogs that can be read.

    Parameters
    ----------
    tags : sequence of str
        Catalogs, see `known_sources`.

    Returns
    -------
    tags : tuple of str
        Those of them which are there; with the packaged list of bright sources for
        the others, of which a warning tells once. ValueError for one that is broken.
    """
    found, missing = [], []
    for tag in check_tags(tags):
        try:
            read(tag)
        except FileNotFoundError:
            missing.append(tag)
        else:
            found.append(tag)
    if missing:
        found.append(BRIGHT)
        _tell_missing(", ".join(missing), os.environ.get("GAMMAPY_DATA", "not set"))
    return tuple(dict.fromkeys(found))


@functools.cache
def _tell_missing(names, folder):
    """Warn of catalogs that are not there, once in a process."""
    log.warning(
        "Catalog %s not found (GAMMAPY_DATA: %s): the packaged list of %d bright "
        "sources stands in, fainter sources may remain.",
        names,
        folder,
        len(read(BRIGHT)),
    )
