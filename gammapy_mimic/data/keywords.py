"""Header keywords of EVENTS and GTI that follow from a run.

They are worked out here, once for all who write headers. Every function with a
``header`` argument keeps the value that this header has, if it still says the same: a
file value such as MJDREFF or ONTIME then passes through unchanged to the last bit.
"""

import math

import erfa
import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord

from gammapy_mimic.io.files import error_context
from gammapy_mimic.io.gadf import (
    OBS_MODES,
    hduclass_keywords,
    header_reference,
    reference_keywords,
    same_reference,
)

__all__ = [
    "ANGLE_TOLERANCE_DEG",
    "LIVETIME_RTOL",
    "TIME_TOLERANCE_S",
    "events_keywords",
    "gti_keywords",
    "isot",
    "keep_equal",
    "location_keywords",
    "pointing_keywords",
]

_ISOT = "{:04d}-{:02d}-{:02d}T{:02d}:{:02d}:{:02d}.{:03d}"
_FROM_TT = {
    "tt": lambda *tt: tt,
    "tai": erfa.tttai,
    "utc": lambda *tt: erfa.taiutc(*erfa.tttai(*tt)),
}

# Differences up to these come from rounding, not from a change of the run.
TIME_TOLERANCE_S = 1e-6
ANGLE_TOLERANCE_DEG = 1e-9
HEIGHT_TOLERANCE_M = 1e-3
LIVETIME_RTOL = 1e-6


def location_keywords(site, *, header=None):
    """Keywords of the place of the observatory.

    Parameters
    ----------
    site : tuple of float
        Longitude and latitude in degrees, height in m.
    header : mapping, optional
        Header whose values are kept if they mean the same place. Default is None.

    Returns
    -------
    keywords : dict
        GEOLON (deg), GEOLAT (deg), ALTITUDE (m).
    """
    tolerances = {
        "GEOLON": ANGLE_TOLERANCE_DEG,
        "GEOLAT": ANGLE_TOLERANCE_DEG,
        "ALTITUDE": HEIGHT_TOLERANCE_M,
    }
    keywords = dict(zip(tolerances, site, strict=True))
    return keep_equal(keywords, header, tolerances)


def pointing_keywords(pointing, *, origin, kept=None):
    """Keywords of the pointing.

    Parameters
    ----------
    pointing : `~gammapy_mimic.sky.camera.Pointing`
        Location and pointing, fixed in the sky (OBS_MODE POINTING) or in altitude and
        azimuth (DRIFT).
    origin : tuple of float
        Time for which altitude and azimuth hold, usually the middle of the run, as
        from `~gammapy_mimic.sky.astrometry.tt_days`.
    kept : dict, optional
        Keywords that are known already. Default is none.

    Returns
    -------
    keywords : dict
        OBS_MODE, ALT_PNT, AZ_PNT, and unless the mode is DRIFT: RA_PNT, DEC_PNT,
        GLON_PNT, GLAT_PNT; all in deg.
    """
    keywords = {"OBS_MODE": "DRIFT" if pointing.drifts else "POINTING"}
    if not pointing.drifts:
        keywords |= {"RA_PNT": pointing.lon_deg, "DEC_PNT": pointing.lat_deg}
    keywords |= kept or {}
    if not pointing.drifts and not {"GLON_PNT", "GLAT_PNT"} <= set(keywords):
        icrs = SkyCoord(pointing.lon_deg, pointing.lat_deg, unit="deg", frame="icrs")
        keywords |= {
            "GLON_PNT": float(icrs.galactic.l.deg),
            "GLAT_PNT": float(icrs.galactic.b.deg),
        }
    if not {"ALT_PNT", "AZ_PNT"} <= set(keywords) and pointing.site is not None:
        keywords["AZ_PNT"], keywords["ALT_PNT"] = pointing.horizon(origin)
    return keywords


def events_keywords(run, *, header=None):
    """Mandatory keywords of an EVENTS HDU that follow from the run.

    What remains are those which only the producer of the data knows: ORIGIN,
    TELESCOP, INSTRUME, CREATOR, OBJECT.

    Parameters
    ----------
    run : `~gammapy_mimic.data.run.Run`
        Run with at least one good time interval. TSTART and TSTOP enclose its events,
        too: in some data events come up to a second after the last good time
        interval.
    header : mapping, optional
        EVENTS header that the run had so far. Values that still hold are kept as
        they are: TSTART and TSTOP if the GTIs lie in between and their sum is the
        header's ONTIME; ALT_PNT and AZ_PNT (of some observatories a mean over the
        run) if also pointing and location are the header's. Default is that of the
        run.

    Returns
    -------
    keywords : dict
        OBS_ID, TSTART, TSTOP, ONTIME, LIVETIME, DEADC, DATE-OBS, DATE-END (also
        TIME-OBS and TIME-END, if the header splits date and time), EQUINOX, RADECSYS
        and those of `reference_keywords`, `location_keywords`, `pointing_keywords`.
    """
    header, reference = run.header if header is None else header, run.reference
    own = header_reference(header)
    if own is None or not same_reference(own, reference):
        header = _without_times(header)
    keywords = {"OBS_ID": int(run.obs_id)}
    keywords |= reference_keywords(reference, header=header)
    times = _time_keywords(run, header)
    same_times = _equal(times, header, {"TSTART": 0, "TSTOP": 0})
    if len(run.seconds):
        times["TSTART"] = min(times["TSTART"], float(run.seconds.min()))
        times["TSTOP"] = max(times["TSTOP"], float(run.seconds.max()))
    keywords |= times
    keywords |= _date_keywords(times, run, header, same_times)
    same_altaz = False
    if run.pointing.site is not None:
        place = location_keywords(run.pointing.site, header=header)
        same_altaz = same_times and _equal(place, header, dict.fromkeys(place, 0))
        keywords |= place
    keywords |= _kept_or_new_pointing(run, times, header, same_altaz)
    keywords["EQUINOX"] = _float_or(header.get("EQUINOX"), 2000.0)
    keywords["RADECSYS"] = header.get("RADECSYS") or "ICRS"
    return keywords


def _kept_or_new_pointing(run, times, header, same_altaz):
    kept = _kept_pointing(run.pointing, header, same_altaz=same_altaz)
    middle = run.origin(0.5 * (times["TSTART"] + times["TSTOP"]))
    return pointing_keywords(run.pointing, origin=middle, kept=kept)


def _without_times(header):
    """Header without values that are relative to its reference time."""
    dropped = {"TSTART", "TSTOP", "MJDREFI", "MJDREFF", "DATE-OBS", "DATE-END"}
    return {key: header[key] for key in header if key not in dropped}


def _time_keywords(run, header):
    """TSTART, TSTOP, ONTIME, LIVETIME and DEADC."""
    (start_s, stop_s), ontime = run.gti_s, run.ontime_s
    keywords = {"TSTART": float(start_s.min()), "TSTOP": float(stop_s.max())}
    good = {"ONTIME": ontime, "DEADC": 1.0 - float(run.deadtime_fraction)}
    good["LIVETIME"] = ontime * good["DEADC"]
    if _equal(good, header, {"ONTIME": TIME_TOLERANCE_S}) and _encloses(
        header, keywords
    ):
        keywords = {key: float(header[key]) for key in keywords}
    tolerances = {
        "ONTIME": TIME_TOLERANCE_S,
        "DEADC": 1e-12,
        "LIVETIME": LIVETIME_RTOL * ontime,
    }
    return keywords | keep_equal(good, header, tolerances)


def _encloses(header, keywords):
    """Whether TSTART and TSTOP of the header lie around those of the GTIs."""
    start = _float_or(header.get("TSTART"), math.inf)
    stop = _float_or(header.get("TSTOP"), -math.inf)
    return (
        start <= keywords["TSTART"] + TIME_TOLERANCE_S
        and stop >= keywords["TSTOP"] - TIME_TOLERANCE_S
    )


def _date_keywords(times, run, header, same_times):
    """DATE-OBS and DATE-END in the scale of TIMESYS, written as the header does."""
    keywords = {}
    texts = isot(run, [times["TSTART"], times["TSTOP"]])
    for suffix, text in zip(("OBS", "END"), texts, strict=True):
        date = {f"DATE-{suffix}": text}
        if header.get(f"TIME-{suffix}"):
            day, clock = text.split("T")
            date = {f"DATE-{suffix}": day, f"TIME-{suffix}": clock}
        if same_times and all(header.get(name) for name in date):
            date = {name: header[name] for name in date}
        keywords |= date
    return keywords


def isot(run, seconds, *, scale=None):
    """Write times as ISO 8601 does.

    Parameters
    ----------
    run : `~gammapy_mimic.data.run.Run`
        Run whose reference time is meant.
    seconds : list of float
        Seconds since the reference.
    scale : str, optional
        Time scale. Default is that of the reference.

    Returns
    -------
    texts : list of str
        Dates with time.
    """
    scale = scale or run.reference.scale
    with error_context(f"run {run.obs_id}: date of its times"):
        if not {scale, run.reference.scale} <= set(_FROM_TT):
            time = run.reference + seconds * u.s
            return [str(text) for text in getattr(time, scale).isot]
        # following astropy, without its objects
        tt1, tt2 = run.origin(np.asarray(seconds))
        *dates, clocks = erfa.d2dtf(scale.upper(), 3, *_FROM_TT[scale](tt1, tt2))
        rows = zip(*dates, clocks.tolist(), strict=True)
        return [_ISOT.format(*date, *clock) for *date, clock in rows]


def _kept_pointing(pointing, header, *, same_altaz):
    """Pointing keywords of a header that still hold."""
    mode = str(header.get("OBS_MODE")).upper()
    if pointing.drifts != (mode == "DRIFT"):
        return {}
    kept = {"OBS_MODE": mode} if mode in OBS_MODES else {}
    names = ("AZ_PNT", "ALT_PNT") if pointing.drifts else ("RA_PNT", "DEC_PNT")
    position = dict(zip(names, (pointing.lon_deg, pointing.lat_deg), strict=True))
    if not _equal(position, header, dict.fromkeys(position, ANGLE_TOLERANCE_DEG)):
        return kept
    if not pointing.drifts:
        names += ("GLON_PNT", "GLAT_PNT")
        names += ("ALT_PNT", "AZ_PNT") if same_altaz else ()
    return kept | _numbers(header, names)


def _numbers(header, names):
    """Finite numbers that a header has under these names."""
    values = {name: _float_or(header.get(name), math.nan) for name in names}
    return {name: value for name, value in values.items() if math.isfinite(value)}


def keep_equal(keywords, header, tolerances):
    """Take the number of a header where it is the same within tolerance.

    Parameters
    ----------
    keywords : dict
        Numbers by keyword.
    header : mapping or None
        Header.
    tolerances : dict
        Absolute tolerances by keyword; others stay as they are.

    Returns
    -------
    kept : dict
        Numbers by keyword.
    """
    header = {} if header is None else header
    kept = {
        name: float(header[name])
        for name, tolerance in tolerances.items()
        if _equal(keywords, header, {name: tolerance})
    }
    return keywords | kept


def _equal(keywords, header, tolerances):
    """Whether a header has the same numbers within absolute tolerances."""
    return all(
        abs(_float_or(header.get(name), math.nan) - keywords[name]) <= tolerance
        for name, tolerance in tolerances.items()
    )


def _float_or(value, default):
    """Value as float, or the default if it is not a number."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return default


def gti_keywords(gti_s, *, reference, header=None):
    """Keywords of a GTI HDU.

    Parameters
    ----------
    gti_s : `~numpy.ndarray`
        Starts and ends of the good time intervals, at least one, shape (2, n).
    reference : `~astropy.time.Time`
        Reference time of the START and STOP columns.
    header : mapping, optional
        Header whose MJDREFF and TIMEREF are kept if they mean the same. Default is
        None.

    Returns
    -------
    keywords : dict
        HDUCLASS, HDUDOC, HDUVERS, HDUCLAS1, TSTART, TSTOP and those of
        `reference_keywords`.
    """
    keywords = hduclass_keywords("GTI")
    keywords |= reference_keywords(reference, header=header)
    keywords["TSTART"], keywords["TSTOP"] = float(gti_s[0].min()), float(gti_s[1].max())
    return keywords
