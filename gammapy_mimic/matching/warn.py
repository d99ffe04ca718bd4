"""Warnings of bright sources in the field of donors."""

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord

from gammapy_mimic.sources.known import known_sources

__all__ = ["source_warnings"]

FIELD = 2.5 * u.deg
"""Distance from the pointing within which a source is in the field of a donor."""

# a source is scrambled if a circle lies as near as this
_SAME = 0.3 * u.deg


def source_warnings(runs, chosen, *, catalogs, scrambled=None):
    """Warn of donors that hold the target's object or a bright source.

    Parameters
    ----------
    runs : dict of str to `~astropy.table.Table`
        Run tables of "targets" and "donors".
    chosen : dict of str to `~numpy.ndarray`
        "row" and "column" of the pairs; a column is -1 where there is no donor.
    catalogs : sequence of str
        Catalogs of bright sources.
    scrambled : callable, optional
        Takes the pointing of a donor and gives the circles that are scrambled in it.
        Default is None: nothing is scrambled.

    Returns
    -------
    warnings : list of str
        A line for each donor and source: how far it is from the pointing, and what
        can be done.
    """
    donors, targets = runs["donors"], runs["targets"]
    has_donor = chosen["column"] >= 0
    rows, columns = chosen["row"][has_donor], chosen["column"][has_donor]
    objects = _objects(targets)
    found = []
    for column in np.unique(columns):
        pointing = SkyCoord(
            donors["RA_PNT"][column], donors["DEC_PNT"][column], unit="deg"
        )
        obs_id = int(donors["OBS_ID"][column])
        done = [] if scrambled is None else list(scrambled(pointing))
        bright = known_sources(pointing, FIELD, catalogs=catalogs)
        own = []
        for row in dict.fromkeys(rows[columns == column].tolist()):
            if objects[row] is None:
                continue
            name, position = objects[row]
            offset = position.separation(pointing)
            if offset < FIELD and name not in [it[0] for it in own]:
                own.append((name, position))
                found.append(
                    f"donor {obs_id}: the target's own object {name} lies "
                    f"{offset.deg:.2f} deg from its pointing: take it out by "
                    f"donors: {{exclude: [{obs_id}]}}, or all such runs by match: "
                    f"{{keep_away: [{name}]}}"
                )
        for region in bright:
            offset = region.center.separation(pointing)
            radius = np.maximum(region.radius, _SAME)
            circles = [it.center for it in done]
            if any(region.center.separation(center) < _SAME for center in circles):
                continue
            if any(region.center.separation(it) < radius for _, it in own):
                continue
            name = region.meta["name"]
            found.append(
                f"donor {obs_id}: {name} lies {offset.deg:.2f} deg from its pointing "
                f"and is not scrambled: scramble it by scramble: {{catalogs: "
                f"[{', '.join(catalogs)}]}}, or take it out by donors: {{exclude: "
                f"[{obs_id}]}} or match: {{keep_away: [{name}]}}"
            )
    return found


def _objects(targets):
    """Name and position of the object of each target; None where unknown."""
    objects = []
    for row in targets["OBJECT", "RA_OBJ", "DEC_OBJ"]:
        place = float(row["RA_OBJ"]), float(row["DEC_OBJ"])
        is_known = np.isfinite(place).all() and abs(place[1]) <= 90
        name = str(row["OBJECT"]) or "target"
        objects.append((name, SkyCoord(*place, unit="deg")) if is_known else None)
    return objects
