"""What a run says of itself, compared with what its events, its time and its site say.

Used wherever runs come in: mimics, matching, campaigns and checks of data stores find
the same and use the same words.
"""

import math
from collections.abc import Iterator

import numpy as np
from gammapy.data import Observation
from gammapy.irf import FoVAlignment

from gammapy_mimic.data import compat
from gammapy_mimic.data.gti import near_good_time
from gammapy_mimic.data.run import Run
from gammapy_mimic.sky.geometry import offset_azimuth
from gammapy_mimic.sky.positions import EventPositions

__all__ = [
    "ERROR",
    "WARNING",
    "background_findings",
    "false_times",
    "findings",
    "horizon",
]

ERROR, WARNING = "error", "warning"
"""Levels of a finding: the run cannot be used so; its mimics may be wrong."""

MAX_ONTIME_CHANGE = 0.01
"""Largest relative difference of ONTIME and the sum of the good time."""

MAX_LIVE_CHANGE = 0.01
"""Largest relative difference of LIVETIME and DEADC * ONTIME."""

MAX_EVENTS_OFFSET_DEG = 1.0
"""Largest distance of the median of the events from the pointing.

In H.E.S.S. DL3 DR1 it is up to 0.45 deg (a flare at 0.5 deg), else below 0.15 deg.
"""

MAX_HORIZON_OFFSET_DEG = 15.0
"""Largest distance of ALT_PNT and AZ_PNT from where the pointing is.

In H.E.S.S. DL3 DR1 it is up to 8 deg: they are means over the run, or its start.
"""

_MIN_EVENTS, _MAX_EVENTS = 20, 1000
"""Number of events from which the median is taken: enough for 0.1 deg."""

_OTHER_SYSTEMS = ("FK4", "GAL", "ECL", "SUPER")
"""What RADECSYS begins with where positions are not near ICRS."""

_MOVING = ("RASTER", "SCAN", "SLEW")
"""OBS_MODE (OGIP) of runs that may have no pointing of their own."""

_MIN_SIGMA = 5.0
"""Least distance of the median in units of its statistical error."""


def findings(run: Run, *, alignment: str = "altaz") -> Iterator[tuple[str, str]]:
    """Find what in a run cannot be trusted.

    Parameters
    ----------
    run : `~gammapy_mimic.data.run.Run`
        Run. What needs events is left out if it has none.
    alignment : {"altaz", "radec"}, optional
        Field of view in which its events keep their place. With "radec" neither site
        nor horizon matter. Default is "altaz".

    Yields
    ------
    level : {"error", "warning"}
        Whether mimics cannot be made, or may be wrong.
    text : str
        The run, what is wrong with it, and what to do.
    """
    yield from _equinox(run)
    yield from _mode(run)
    yield from _one_place(run)
    yield from _ontime(run)
    yield from _livetime(run)
    yield from _good_time(run)
    yield from _pointing(run)
    if alignment == "altaz":
        yield from _horizon(run)


def background_findings(
    observation: Observation, fov_alignment: str | None = None
) -> Iterator[str]:
    """Find what in a background model cannot be trusted.

    Parameters
    ----------
    observation : `~gammapy.data.Observation`
        Run, whose model is not loaded.
    fov_alignment : {"altaz", "radec"}, optional
        The user's word for the alignment of a model that does not say it. Default is
        None.

    Yields
    ------
    text : str
        The run, what is wrong with its model, and what to do.
    """
    label = f"run {observation.obs_id}: its background model"
    if fov_alignment is None and compat.lacks_fov_alignment(observation):
        yield (
            f"{label} (BKG_3D) has no FOVALIGN and is taken as aligned with RA/Dec, as "
            "gammapy does; say what it is by fov_alignment = 'altaz' or 'radec' (YAML: "
            "mimic.fov_alignment)"
        )
    fault = _fault_of_rates(compat.background_rates(observation))
    if fault:
        yield (
            f"{label} {fault}, and is taken so; take that of the other run (background "
            "of MimicMaker, YAML: mimic.background), or leave the run out"
        )


def _fault_of_rates(rates):
    """Say why rates are not those of a background; nothing if they may be."""
    known = rates[np.isfinite(rates)]
    n_negative = np.count_nonzero(known < 0)
    if rates.size and not known.size:
        return "has no rate that is finite"
    if known.size and not known.any():
        return "is 0 everywhere"
    return f"is negative in {n_negative} of {rates.size} bins" if n_negative else ""


def false_times(run: Run) -> dict[str, float]:
    """Give ONTIME and LIVETIME of a header if ONTIME is not the sum of the good time.

    Parameters
    ----------
    run : `~gammapy_mimic.data.run.Run`
        Run.

    Returns
    -------
    times_s : dict of str to float
        Numbers of the header, in seconds; none if ONTIME differs by up to 1 % or is
        not there.
    """
    times_s = {key: _number(run, key) for key in ("ONTIME", "LIVETIME")}
    change_s = abs(times_s["ONTIME"] - run.ontime_s)
    if not change_s > MAX_ONTIME_CHANGE * run.ontime_s:
        return {}
    return {key: value for key, value in times_s.items() if math.isfinite(value)}


def horizon(run: Run) -> tuple[float, float]:
    """Give azimuth and altitude of the pointing in the middle of a run.

    Parameters
    ----------
    run : `~gammapy_mimic.data.run.Run`
        Run with a site.

    Returns
    -------
    azimuth_deg, altitude_deg : float
        Place in degrees, without refraction.
    """
    middle_s = 0.5 * (run.gti_s[0].min() + run.gti_s[1].max())
    return run.pointing.horizon(run.origin(float(middle_s)))


def _number(run, key):
    """Give the number of a card; NaN if it is none."""
    try:
        return float(run.header[key])
    except (KeyError, TypeError, ValueError):
        return math.nan


def _equinox(run):
    system = next(
        (run.header[key] for key in ("RADECSYS", "RADESYS") if run.header.get(key)), ""
    )
    equinox = str(run.header.get("EQUINOX", "")).strip().upper().lstrip("B")
    is_old = equinox.split(".")[0] == "1950"
    if is_old or str(system).strip().upper().startswith(_OTHER_SYSTEMS):
        yield (
            ERROR,
            f"run {run.obs_id}: its positions are given in RADECSYS = {system!r}, "
            f"EQUINOX = {run.header.get('EQUINOX')!r}; they must be ICRS or FK5 "
            "(J2000): convert RA, DEC, RA_PNT and DEC_PNT",
        )


def _mode(run):
    mode = str(run.header.get("OBS_MODE", "")).strip().upper()
    if mode in _MOVING:
        yield (
            WARNING,
            f"run {run.obs_id}: OBS_MODE = {mode!r}, but it is taken as a run with one "
            "pointing (RA_PNT, DEC_PNT), as gammapy does; if its pointing moved, leave "
            "the run out",
        )


def _one_place(run):
    if len(run.seconds) < 2:
        return
    lon_deg, lat_deg = run.values("RA"), run.values("DEC")
    if np.all(lon_deg == lon_deg[0]) and np.all(lat_deg == lat_deg[0]):
        yield (
            ERROR,
            f"run {run.obs_id}: all {len(lon_deg)} events are at one place, RA = "
            f"{lon_deg[0]:.4f} deg and DEC = {lat_deg[0]:.4f} deg, as in the files of "
            "a source-dependent analysis; reconstruct their directions "
            "(source-independent), or leave the run out",
        )


def _ontime(run):
    ontime_s = false_times(run).get("ONTIME")
    if ontime_s is not None:
        yield (
            WARNING,
            f"run {run.obs_id}: ONTIME = {ontime_s:.6g} s, but its good time intervals "
            f"(GTI) add up to {run.ontime_s:.6g} s, which is taken; if ONTIME is "
            "right, correct the GTIs",
        )


def _livetime(run):
    if false_times(run):
        return
    keys = "ONTIME", "LIVETIME", "DEADC"
    ontime_s, livetime_s, live = (_number(run, key) for key in keys)
    if abs(livetime_s - live * ontime_s) > MAX_LIVE_CHANGE * abs(live * ontime_s):
        yield (
            WARNING,
            f"run {run.obs_id}: LIVETIME = {livetime_s:.6g} s, but DEADC * ONTIME = "
            f"{live * ontime_s:.6g} s; DEADC = {live:.6g} is taken, as gammapy does; "
            "if LIVETIME is right, correct DEADC",
        )


def _good_time(run):
    n_lost = int(np.count_nonzero(~near_good_time(run.gti_s, run.seconds)))
    if n_lost:
        yield (
            WARNING,
            f"run {run.obs_id}: {n_lost} of {len(run.seconds)} events lie more than 2 "
            "s outside of its good time intervals (GTI); mimics do not have them",
        )


def _pointing(run):
    pointing = run.pointing
    if len(run.seconds) < _MIN_EVENTS or (pointing.drifts and pointing.site is None):
        return
    some = slice(None, None, math.ceil(len(run.seconds) / _MAX_EVENTS))
    place = run.values("RA")[some], run.values("DEC")[some]
    seconds, origin = run.seconds[some] - run.start_s, run.origin(run.start_s)
    events = EventPositions(pointing, origin, seconds, *place)
    fov_deg = events.fov_deg(FoVAlignment.RADEC)
    median = np.median(fov_deg, axis=1)
    # of normally distributed events, with a spread that single ones do not change
    spread = 1.48 * np.median(np.abs(fov_deg - median[:, np.newaxis]), axis=1)
    error_deg = 1.25 * np.hypot(*spread) / math.sqrt(len(seconds))
    distance_deg = float(offset_azimuth(*median, 0.0, 0.0)[0])
    if distance_deg > max(MAX_EVENTS_OFFSET_DEG, _MIN_SIGMA * error_deg):
        names = ("AZ_PNT", "ALT_PNT") if pointing.drifts else ("RA_PNT", "DEC_PNT")
        yield (
            WARNING,
            f"run {run.obs_id}: the median of its events lies {distance_deg:.2f} deg "
            f"from its pointing ({names[0]} = {pointing.lon_deg:.4f} deg, {names[1]} = "
            f"{pointing.lat_deg:.4f} deg); correct the pointing, or leave the run out",
        )


def _horizon(run):
    pointing = run.pointing
    if pointing.site is None:
        return
    azimuth_deg, altitude_deg = horizon(run)
    lon_deg, lat_deg, height_m = pointing.site
    site = f"GEOLON = {lon_deg:g} deg, GEOLAT = {lat_deg:g} deg, {height_m:g} m"
    if altitude_deg < 0:
        yield (
            ERROR,
            f"run {run.obs_id}: its pointing is {-altitude_deg:.1f} deg below the "
            f"horizon of its site ({site}); give the right site by location=..., or "
            'take alignment="radec", for which the site does not matter',
        )
    elif pointing.site == (0, 0, 0):
        yield (
            WARNING,
            f"run {run.obs_id}: its site ({site}) is not that of a telescope; give the "
            'right site by location=..., or take alignment="radec"',
        )
    header_deg = _number(run, "AZ_PNT"), _number(run, "ALT_PNT")
    distance_deg = offset_azimuth(*header_deg, azimuth_deg, altitude_deg)[0]
    if altitude_deg >= 0 and distance_deg > MAX_HORIZON_OFFSET_DEG:
        yield (
            WARNING,
            f"run {run.obs_id}: ALT_PNT = {header_deg[1]:.1f} deg and AZ_PNT = "
            f"{header_deg[0]:.1f} deg are {distance_deg:.0f} deg from what pointing, "
            f"time and site ({site}) give: {altitude_deg:.1f} and {azimuth_deg:.1f} "
            "deg, which are taken; are time and site right? location=... sets the site",
        )
