"""Where a telescope stands, as users give it."""

import difflib
from collections.abc import Mapping

import numpy as np
from astropy import units as u
from astropy.coordinates import Angle, EarthLocation, Latitude
from gammapy.data import observatory_locations

__all__ = ["geodetic_site", "parse_location"]

_KEYS = ("lon", "lat", "height")


def parse_location(location: EarthLocation | str | Mapping) -> EarthLocation:
    """Take a location in one of the forms in which it can be given.

    Parameters
    ----------
    location : `~astropy.coordinates.EarthLocation`, str or mapping
        Location; name of one of `gammapy.data.observatory_locations`; or its
        geodetic longitude (eastwards), latitude and height above the ellipsoid by
        the keys ``lon``, ``lat`` and ``height``, with units.

    Returns
    -------
    location : `~astropy.coordinates.EarthLocation`
        Location.

    Raises
    ------
    TypeError
        If it is of another type.
    ValueError
        If the name is not known, a key is missing or unknown, a value has no unit or
        a wrong one, or the location is not a single one.

    Examples
    --------
    >>> from gammapy_mimic.sky.location import parse_location
    >>> parse_location("magic").lat.round(2)
    <Latitude 28.76 deg>
    """
    if isinstance(location, str):
        return _named(location)
    if isinstance(location, Mapping):
        return _geodetic(location)
    if not isinstance(location, EarthLocation):
        raise TypeError(
            f"location = {location!r}: must be an EarthLocation, the name of an "
            "observatory, or a dict with lon, lat and height"
        )
    if not location.isscalar:
        raise ValueError(f"location = {location!r}: must be a single location")
    return location


def geodetic_site(location: EarthLocation) -> tuple[float, float, float]:
    """Give longitude and latitude in degrees, and height in m, as plain numbers."""
    lon, lat, height = location.to_geodetic()
    return float(lon.deg), float(lat.deg), float(height.to_value("m"))


def _named(name):
    known = observatory_locations.keys()
    key = name.strip().lower()
    if key not in known:
        near = difflib.get_close_matches(key, known, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ValueError(
            f"location = {name!r}: is not the name of an observatory; {hint}known are "
            f"{', '.join(sorted(known))}, others are given as "
            "{lon: ... deg, lat: ... deg, height: ... m}"
        )
    return observatory_locations[key]


def _geodetic(values):
    if set(values) != set(_KEYS):
        raise ValueError(
            f"location = {dict(values)!r}: must have the keys {', '.join(_KEYS)}"
        )
    try:
        lon, lat = Angle(values["lon"]), Latitude(values["lat"])
        height = u.Quantity(values["height"]).to("m")
    except (TypeError, ValueError, u.UnitsError) as error:
        raise ValueError(
            f"location = {dict(values)!r}: lon and lat must be angles and height a "
            f"length, with units, such as '-70.3 deg' and '2150 m' ({error})"
        ) from error
    place = u.Quantity([lon, lat]).value, height.value
    if not all(np.isfinite(value).all() for value in place):
        raise ValueError(f"location = {dict(values)!r}: must have finite values")
    return EarthLocation.from_geodetic(lon, lat, height)
