"""Where a report looks: the position of interest, and the sky that is free."""

import logging

import numpy as np
from astropy.coordinates import Angle, SkyCoord
from gammapy.maps import Map

__all__ = ["check_free_sky", "place_of_interest"]

log = logging.getLogger(__name__)

LEAST_FREE = 0.1
"""Part of the fields of view without known sources, below which a report warns."""


def place_of_interest(
    named: SkyCoord | None,
    target: SkyCoord | None,
    pointings: SkyCoord,
    offset_max: Angle,
) -> tuple[SkyCoord, str]:
    """Find the position that a report is about.

    Parameters
    ----------
    named : `~astropy.coordinates.SkyCoord` or None
        Position of the configuration.
    target : `~astropy.coordinates.SkyCoord` or None
        Object of the runs, RA_OBJ and DEC_OBJ; surveys often have 0, 0.
    pointings : `~astropy.coordinates.SkyCoord`
        Pointings of the mimics, shape (n,).
    offset_max : `~astropy.coordinates.Angle`
        Radius of the field of view.

    Returns
    -------
    position : `~astropy.coordinates.SkyCoord`
        That of the configuration, or else the object, or the middle of the pointings
        if no run has the object in its field of view.
    note : str
        Sentence that says so for the middle of the pointings; it is logged as a
        warning, too. Else empty.

    Raises
    ------
    ValueError
        If no run has the position of the configuration, or the middle, in its field
        of view.
    """
    given = target if named is None else named
    if given is not None and _is_seen(given, pointings, offset_max):
        return given.icrs, ""
    advice = (
        "set datasets.geom.wcs.skydir (or datasets.on_region) to the position of "
        "interest"
    )
    what = "The runs have no object (RA_OBJ, DEC_OBJ)"
    if given is not None:
        name = "object of the runs (RA_OBJ, DEC_OBJ)"
        name = name if named is None else "position of the configuration"
        nearest = np.nanmin(given.separation(pointings).deg)
        place = given.icrs.to_string("decimal", precision=3)
        what = (
            f"The {name}, ICRS {place} deg, lies {nearest:.1f} deg from the nearest "
            f"pointing, outside of the field of view of {offset_max:.3g}"
        )
    middle = SkyCoord(*_middle(pointings), unit="deg")
    if named is not None or not _is_seen(middle, pointings, offset_max):
        raise ValueError(f"{what}: {advice}")
    note = (
        f"{what}: the position of interest is the middle of the pointings; {advice} to "
        "have another."
    )
    log.warning(note)
    return middle, note


def _is_seen(position, pointings, offset_max):
    offset = position.separation(pointings)
    # drift scans have no pointing in the index
    offset = offset[np.isfinite(offset)]
    return not len(offset) or offset.min() < offset_max


def _middle(pointings):
    """Right ascension and declination in deg of the mean direction."""
    vector = np.nanmean(pointings.cartesian.xyz.value, axis=1)
    lon = np.degrees(np.arctan2(vector[1], vector[0])) % 360
    return lon, np.degrees(np.arctan2(vector[2], np.hypot(*vector[:2])))


def check_free_sky(mask: Map, pointings: SkyCoord, offset_max: Angle) -> None:
    """Raise an error if known sources leave nothing of the fields of view.

    The level of the background is measured outside of them. A warning is given where
    they leave less than a tenth.

    Parameters
    ----------
    mask : `~gammapy.maps.Map`
        True outside of the exclusion regions.
    pointings : `~astropy.coordinates.SkyCoord`
        Pointings of the mimics, shape (n,).
    offset_max : `~astropy.coordinates.Angle`
        Radius of the field of view.

    Raises
    ------
    ValueError
        If no pixel of the fields of view is left.
    """
    places = np.unique(np.transpose([pointings.ra.deg, pointings.dec.deg]), axis=0)
    places = SkyCoord(places[np.isfinite(places).all(axis=1)], unit="deg")
    fields = [mask.geom.separation(place) < offset_max for place in places]
    seen = mask.data[np.any(fields, axis=0)] if fields else mask.data
    if not seen.any():
        raise ValueError(
            "known sources and datasets.background.exclusion cover the fields of view "
            "of all runs, so that no sky is left to measure the background: take fewer "
            "mimic.scramble.catalogs, a smaller mimic.scramble.theta or another mask"
        )
    if seen.mean() < LEAST_FREE:
        log.warning(
            "known sources and datasets.background.exclusion cover %.0f %% of the "
            "fields of view: the background is measured on what is left",
            100 * (1 - seen.mean()),
        )
