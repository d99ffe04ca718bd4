"""Columns of events that depend on their place."""

import itertools
import logging

import numpy as np
from gammapy.irf import FoVAlignment

from gammapy_mimic.sky.geometry import offset_azimuth

__all__ = ["DEPENDENT_COLUMNS", "dependent_columns"]

log = logging.getLogger(__name__)

FOV_COLUMNS = (("DETX", "DETY"), ("Xoff", "Yoff"), ("XOFF", "YOFF"))
"""Pairs of columns that may hold field-of-view coordinates."""

DEPENDENT_COLUMNS = (*itertools.chain(*FOV_COLUMNS), "ALT", "AZ", "GLON", "GLAT")
"""Columns that follow from the place of an event, besides RA and DEC."""

CONVENTION_TOLERANCE_DEG = 0.05
"""Median distance up to which a pair of columns is taken to follow a convention.

Wide enough for columns made by a flat approximation, far below the distance to any
of the other conventions.
"""

_N_PROBES = 200


def dependent_columns(columns, old, new, *, known=None, keep_unknown=False, label=""):
    """Columns that follow from the new places of events.

    DETX/DETY and Xoff/Yoff are computed in the convention that they had (aligned with
    AltAz or RA/Dec, either sign, either order of the axes); ALT/AZ and GLON/GLAT
    likewise.

    Parameters
    ----------
    columns : dict
        Those of the columns `DEPENDENT_COLUMNS` that there are, in degrees.
    old, new : `EventPositions`
        Where the events were, and where they are now.
    known : `~gammapy.irf.FoVAlignment`, optional
        Alignment in which old and new place are the same. Default is None.
    keep_unknown : bool, optional
        Keep field-of-view columns that follow no known convention; right where
        events keep their place in the camera. By default such columns are
        removed, with a warning. Default is False.
    label : str, optional
        What the events are, for warnings.

    Returns
    -------
    changed : dict
        New columns in degrees; None for one that is to be removed.
    """
    changed = {}
    if len(new.seconds) == 0:
        return changed
    for names in FOV_COLUMNS:
        if set(names) <= set(columns):
            pair = [columns[name] for name in names]
            pair = _moved_pair(pair, old, new, known)
            if pair is None and not keep_unknown:
                log.warning(
                    "%s: columns %s/%s removed: they follow neither the AltAz- nor "
                    "the RA/Dec-aligned field of view, so that the new places of the "
                    "events in them are unknown",
                    label,
                    *names,
                )
                changed |= dict.fromkeys(names)
            elif pair is not None:
                changed |= dict(zip(names, pair, strict=True))
    if {"ALT", "AZ"} & set(columns):
        changed |= _horizontal(new, columns, label)
    if {"GLON", "GLAT"} & set(columns):
        changed |= dict(zip(("GLON", "GLAT"), new.galactic_deg(), strict=True))
    return {name: changed[name] for name in changed if name in columns}


def _horizontal(places, columns, label):
    if places.pointing.site is not None:
        return dict(zip(("ALT", "AZ"), places.altaz_deg(), strict=True))
    log.warning(
        "%s: columns %s removed: they cannot follow the new positions, because the run "
        "has no location",
        label,
        ", ".join(name for name in ("ALT", "AZ") if name in columns),
    )
    return dict.fromkeys(("ALT", "AZ"))


def _moved_pair(pair, old, new, known):
    """Two field-of-view columns at new places; None if nobody knows how."""
    step = max(1, len(old.seconds) // _N_PROBES)
    convention = _find_convention([column[::step] for column in pair], old[::step])
    if convention is None:
        return None
    alignment, order, signs = convention
    place = (old if alignment == known else new).fov_deg(alignment)
    return [sign * place[k] for sign, k in zip(signs, order, strict=True)]


def _find_convention(pair, places):
    """Which field of view a pair of columns holds: (alignment, order, signs)."""
    alignments = [FoVAlignment.RADEC]
    if places.pointing.site is not None:
        alignments.append(FoVAlignment.ALTAZ)
    best, found = CONVENTION_TOLERANCE_DEG, None
    for alignment in alignments:
        place = places.fov_deg(alignment)
        for order, signs in itertools.product(
            ((0, 1), (1, 0)), itertools.product((1, -1), repeat=2)
        ):
            x, y = (s * place[k] for s, k in zip(signs, order, strict=True))
            distance = np.median(offset_azimuth(*pair, x, y)[0])
            if distance < best:
                best, found = distance, (alignment, order, signs)
    return found
