"""Where a report looks: the position of interest, and the sky that is free."""

import logging
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from astropy.coordinates import Angle, SkyCoord
from gammapy.maps import Map

__all__ = [
    "WORDS",
    "Place",
    "check_free_sky",
    "configured_positions",
    "coordinates",
    "place_of_interest",
]

log = logging.getLogger(__name__)

LEAST_FREE = 0.1
"""Part of the fields of view without known sources, below which a report warns."""

WORDS = {
    "on_region": "the configuration, datasets.on_region",
    "skydir": "the configuration, datasets.geom.wcs.skydir",
    "object": "object of the runs (RA_OBJ, DEC_OBJ)",
    "pointings": "middle of the pointings",
}
"""Where a position comes from."""

_THE = {"skydir": "that of datasets.geom.wcs.skydir"} | {
    name: f"the {WORDS[name]}" for name in ("object", "pointings")
}

_ADVICE = (
    "set datasets.geom.wcs.skydir (or datasets.on_region) to the position of interest"
)


class Place(NamedTuple):
    """Position of interest."""

    position: SkyCoord
    source: str
    """Key of `WORDS`: where it comes from."""
    note: str = ""
    """Sentence if it is not what was asked for first; else empty."""


def configured_positions(datasets: Any) -> dict[str, SkyCoord]:
    """Positions of a configuration, ``datasets``; the one that goes first first."""
    given = {"on_region": datasets.on_region, "skydir": datasets.geom.wcs.skydir}
    return {
        name: SkyCoord(it.lon, it.lat, frame=it.frame or "icrs").icrs
        for name, it in given.items()
        if it.lon is not None and it.lat is not None
    }


def place_of_interest(
    configured: Mapping[str, SkyCoord],
    target: SkyCoord | None,
    pointings: SkyCoord,
    offset_max: Angle,
) -> Place:
    """Find the position that a report is about.

    Parameters
    ----------
    configured : dict of str to `~astropy.coordinates.SkyCoord`
        Positions of the configuration, ``on_region`` and ``skydir``, the one that goes
        first first. Empty if there is none.
    target : `~astropy.coordinates.SkyCoord` or None
        Object of the runs, RA_OBJ and DEC_OBJ; surveys often have 0, 0.
    pointings : `~astropy.coordinates.SkyCoord`
        Pointings of the mimics, shape (n,).
    offset_max : `~astropy.coordinates.Angle`
        Radius of the field of view.

    Returns
    -------
    place : `Place`
        The first position of the configuration that a run has in its field of view;
        without any, the object, or the middle of the pointings if no run has the object
        in its field of view. The note says what was passed over; it is logged as a
        warning, too.

    Raises
    ------
    ValueError
        If no run has a position of the configuration, or the middle, in its field of
        view.
    """
    candidates = dict(configured)
    if not candidates and target is not None:
        candidates["object"] = target
    outside: list[str] = []
    for source, position in candidates.items():
        if _is_seen(position, pointings, offset_max):
            return _place(position.icrs, source, outside)
        nearest = np.nanmin(position.separation(pointings).deg)
        name = WORDS[source] if source == "object" else f"position of {WORDS[source]}"
        outside.append(
            f"The {name}, ICRS {coordinates(position)}, lies {nearest:.1f} deg from "
            f"the nearest pointing, outside of the field of view of {offset_max:.3g}"
        )
    middle = SkyCoord(*_middle(pointings), unit="deg")
    what = outside or ["The runs have no object (RA_OBJ, DEC_OBJ)"]
    if configured or not _is_seen(middle, pointings, offset_max):
        raise ValueError(f"{'. '.join(what)}: {_ADVICE}")
    return _place(middle, "pointings", what)


def _place(position, source, passed_over):
    if not passed_over:
        return Place(position, source)
    note = (
        f"{'. '.join(passed_over)}: the position of interest is {_THE[source]}; "
        f"{_ADVICE} to have another."
    )
    log.warning(note)
    return Place(position, source, note)


def coordinates(position: SkyCoord) -> str:
    """Right ascension and declination with four digits, in deg."""
    place = position.icrs
    return f"{place.ra.deg:.4f}, {place.dec.deg:+.4f} deg"


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
