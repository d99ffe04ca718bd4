"""Sources as circles on the sky, and which of them are the same source.

The radius of a circle is the *theta* of the source, the distance up to which its
events are taken as its own:

* point-like source: theta itself;
* Gaussian of width sigma: ``sqrt(theta**2 + (3 * sigma)**2)``. 3 sigma hold 98.9 %
  of a two-dimensional Gaussian; widths of Gaussians add in quadrature;
* disk or shell of outer radius R: ``theta + R``, because the rim is as bright as
  the rest and is blurred by the same point-spread function.

Where sizes come from says `gammapy_mimic.sources.catalogs`.
"""

import astropy.units as u
import numpy as np
from astropy.coordinates import ConvertError, SkyCoord
from regions import CircleSkyRegion, PointSkyRegion, RegionMeta

from gammapy_mimic.sky.geometry import offset_azimuth
from gammapy_mimic.sources.catalogs import CatalogSource, name_key

__all__ = ["as_circle", "as_source", "circle_region", "merge_circles", "radius_deg"]

N_SIGMA = 3.0
SAME_PLACE_DEG = 0.1
SAME_NAME_DEG = 0.5


def as_source(item, label):
    """Make a source of a scalar position, a point or a circle.

    Parameters
    ----------
    item : `~astropy.coordinates.SkyCoord`, `~regions.PointSkyRegion` or \
`~regions.CircleSkyRegion`
        Source.
    label : str
        What to call it in messages.

    Returns
    -------
    source : `~gammapy_mimic.sources.catalogs.CatalogSource`
        Source; TypeError for anything else, ValueError if it is not finite.
    """
    if isinstance(item, SkyCoord):
        center, size_deg, shape, meta = _icrs(item, label), 0.0, "point", {}
    elif isinstance(item, PointSkyRegion):
        center, meta = _icrs(item.center, label), item.meta
        size_deg, shape = 0.0, "point"
    elif isinstance(item, CircleSkyRegion):
        center, meta = _icrs(item.center, label), item.meta
        size_deg, shape = item.radius.to_value("deg"), "circle"
    else:
        raise TypeError(
            f"{label} is a {type(item).__name__}: only circles on the sky and points "
            "can be sources; use regions.CircleSkyRegion or, in a DS9 file, "
            "circle(...) in a celestial frame such as icrs."
        )
    text = " ".join(str(item).split())
    if not np.isfinite([center.ra.deg, center.dec.deg, size_deg]).all():
        raise ValueError(f"{label} has no finite position and size: {text}")
    if not meta.get("include", True):
        raise ValueError(f"{label} is an excluded region ('-circle'): {text}")
    name = meta.get("name") or meta.get("text") or _position_name(center)
    tags = tuple(meta.get("tag", ()))
    return CatalogSource(name, (), center.ra.deg, center.dec.deg, size_deg, shape, tags)


def _icrs(position, label):
    """Position in ICRS; ValueError for one in a frame that needs time or site."""
    try:
        return position.icrs
    except (AttributeError, ConvertError) as error:
        raise ValueError(
            f"{label} is given in the frame {position.frame.name}, without what is "
            "needed for its place on the sky (time and site); give it in icrs or "
            "galactic"
        ) from error


def _position_name(center):
    ra = center.ra.to_string(unit="hourangle", sep="", precision=1, pad=True)
    dec = center.dec.to_string(sep="", precision=0, alwayssign=True, pad=True)
    return f"J{ra}{dec}"


def radius_deg(source, theta_deg):
    """Radius of the circle of a source, by the rule in the module docstring.

    Parameters
    ----------
    source : `~gammapy_mimic.sources.catalogs.CatalogSource`
        Source.
    theta_deg : float
        Radius of a point-like source.

    Returns
    -------
    radius_deg : float
        Radius.
    """
    if source.shape == "gauss":
        return np.hypot(theta_deg, N_SIGMA * source.size_deg)
    if source.shape == "disk":
        return theta_deg + source.size_deg
    return source.size_deg if source.shape == "circle" else theta_deg


def as_circle(source, theta_deg):
    """Source of which the size is that of its circle; see `radius_deg`."""
    size_deg = float(radius_deg(source, theta_deg))
    return source._replace(size_deg=size_deg, shape="circle")


def circle_region(source, theta_deg):
    """Circle of a source as a region; see `radius_deg`."""
    meta = {"name": source.name, "text": source.name}
    if source.catalogs:
        meta["tag"] = list(source.catalogs)
    return CircleSkyRegion(
        SkyCoord(source.ra_deg, source.dec_deg, unit="deg"),
        float(radius_deg(source, theta_deg)) * u.deg,
        meta=RegionMeta(meta),
    )


def _separation_deg(one, other):
    places = one.ra_deg, one.dec_deg, other.ra_deg, other.dec_deg
    return float(offset_azimuth(*places)[0])


def _same_name(one, other):
    if set(one.catalogs) & set(other.catalogs):
        return False
    keys = [{name_key(name) for name in (it.name, *it.aliases)} for it in (one, other)]
    return name_key(one.name) in keys[1] or name_key(other.name) in keys[0]


def merge_circles(circles):
    """Each source once, by the rule in the docstring of `known_sources`.

    Parameters
    ----------
    circles : list of `~gammapy_mimic.sources.catalogs.CatalogSource`
        Sources as from `as_circle`; the first of those that are the same gives name
        and position.

    Returns
    -------
    merged : list of `~gammapy_mimic.sources.catalogs.CatalogSource`
        Their circles hold those of all entries.
    """
    merged = []
    for source in circles:
        separations = [_separation_deg(source, known) for known in merged]
        nearest_first = np.argsort(separations, kind="stable")
        for index in nearest_first:
            known, separation = merged[index], separations[index]
            same_name = separation < SAME_NAME_DEG and _same_name(source, known)
            if separation < SAME_PLACE_DEG or same_name:
                shift_deg = max(0, separation - SAME_PLACE_DEG)
                merged[index] = _widen(known, source, shift_deg)
                break
        else:
            merged.append(source)
    return merged


def _widen(known, other, shift_deg):
    return known._replace(
        aliases=(*known.aliases, other.name, *other.aliases),
        size_deg=max(known.size_deg, other.size_deg + shift_deg),
        catalogs=tuple(dict.fromkeys(known.catalogs + other.catalogs)),
    )
