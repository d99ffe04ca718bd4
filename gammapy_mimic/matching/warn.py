"""Warnings of bright sources in the field of donors, and of runs themselves."""

from dataclasses import replace

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord

from gammapy_mimic.data import read_run
from gammapy_mimic.data.trust import background_findings, findings
from gammapy_mimic.sky.geometry import offset_azimuth
from gammapy_mimic.sky.location import geodetic_site
from gammapy_mimic.sources.catalogs import read
from gammapy_mimic.sources.known import available_catalogs, known_sources

__all__ = ["run_warnings", "source_warnings"]

FIELD = 2.5 * u.deg
"""Distance from the pointing within which a source is in the field of a donor."""

# a source is scrambled if a circle lies as near as this
_SAME = 0.3 * u.deg


def run_warnings(observation, *, side, location, alignment, background, fov_alignment):
    """Warn of a run that contradicts itself, in the words of the maker.

    Parameters
    ----------
    observation : `~gammapy.data.Observation`
        Run. Of a target the events are not looked at.
    side : {"targets", "donors"}
        What it is.
    location : `~astropy.coordinates.EarthLocation` or None
        Its site; None is where it says.
    alignment, background, fov_alignment : str or None
        See `~gammapy_mimic.MimicMaker`.

    Returns
    -------
    warnings : list of str
        Also what keeps mimics from being made, as an event list that is broken.
    """
    try:
        run = read_run(observation, with_events=side == "donors")
        if location is not None:
            pointing = replace(run.pointing, site=geodetic_site(location))
            run = replace(run, pointing=pointing)
        texts = [text for _, text in findings(run, alignment=alignment)]
        if f"{background}s" == side:
            texts += background_findings(observation, fov_alignment)
    except ValueError as error:
        return [str(error)]
    return texts


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
    pairs = np.stack([chosen["column"], chosen["row"]])[:, has_donor]
    found = list(_own_objects(targets, donors, pairs))
    own = {}
    for column, position, _ in found:
        own.setdefault(column, []).append(position)
    lines = [text for *_, text in found]
    for column in _with_sources(donors, np.unique(pairs[0]), catalogs):
        pointing = SkyCoord(
            donors["RA_PNT"][column], donors["DEC_PNT"][column], unit="deg"
        )
        done = [] if scrambled is None else list(scrambled(pointing))
        for region in known_sources(pointing, FIELD, catalogs=catalogs):
            name = region.meta["name"]
            known = [*(it.center for it in done), *own.get(column, [])]
            if any(region.center.separation(it) < _SAME for it in known):
                continue
            obs_id = int(donors["OBS_ID"][column])
            offset = region.center.separation(pointing)
            lines.append(
                f"donor {obs_id}: {name} lies {offset.deg:.2f} deg from its pointing "
                f"and is not scrambled: scramble it by scramble: {{catalogs: "
                f"[{', '.join(catalogs)}]}}, or take it out by donors: {{exclude: "
                f"[{obs_id}]}} or match: {{keep_away: [{name}]}}"
            )
    return lines


def _own_objects(targets, donors, pairs):
    """Donors that have the object of a target in their field, with a line each."""
    columns, rows = pairs
    place = [np.asarray(targets[key])[rows] for key in ("RA_OBJ", "DEC_OBJ")]
    pointing = [np.asarray(donors[key])[columns] for key in ("RA_PNT", "DEC_PNT")]
    is_known = np.isfinite(place).all(axis=0) & (np.abs(place[1]) <= 90)
    offset = np.full(len(rows), 180.0)
    values = [it[is_known] for it in (*place, *pointing)]
    offset[is_known] = offset_azimuth(*values)[0]
    seen = set()
    for number in np.flatnonzero(offset < FIELD.to_value("deg")):
        column, obs_id = int(columns[number]), int(donors["OBS_ID"][columns[number]])
        name = str(targets["OBJECT"][rows[number]]) or "of the target"
        if (column, name) not in seen:
            seen.add((column, name))
            text = (
                f"donor {obs_id}: the target's own object {name} lies "
                f"{offset[number]:.2f} deg from its pointing: take it out by donors: "
                f"{{exclude: [{obs_id}]}}, or all such runs by match: {{keep_away: "
                f"[{name}]}}"
            )
            position = SkyCoord(place[0][number], place[1][number], unit="deg")
            yield column, position, text


def _with_sources(donors, columns, catalogs):
    """Donors that may have a source in their field."""
    sources = [it for tag in available_catalogs(catalogs) for it in read(tag)]
    ra, dec, size = (
        np.array([getattr(it, key) for it in sources])
        for key in ("ra_deg", "dec_deg", "size_deg")
    )
    near = FIELD.to_value("deg") + 3 * np.nan_to_num(size)
    ra_pnt, dec_pnt = (np.asarray(donors[it])[columns] for it in ("RA_PNT", "DEC_PNT"))
    for number, column in enumerate(columns.tolist()):
        offset, _ = offset_azimuth(ra, dec, ra_pnt[number], dec_pnt[number])
        if (offset < near).any():
            yield column
