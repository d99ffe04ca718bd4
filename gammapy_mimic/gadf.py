"""Header keywords and times of the gamma astro data format (GADF).

What of an EVENTS or GTI header follows from an observation is worked out here, once
for all who write headers. Every function with a ``header`` argument keeps the value
that this header has, if it still says the same: a file value such as MJDREFF or
ONTIME then passes through unchanged to the last bit.

References
----------
.. [GADF] Data formats for gamma-ray astronomy v0.3, sections "EVENTS", "GTI", "Time",
   https://gamma-astro-data-formats.readthedocs.io/en/v0.3/
"""

import math

import numpy as np
from astropy import units as u
from astropy.coordinates import AltAz, EarthLocation, SkyCoord
from astropy.time import Time
from gammapy.data import PointingMode
from gammapy.utils.time import time_ref_from_dict

from gammapy_mimic.compat import interpolated_astrom

__all__ = [
    "HDUDOC",
    "HDUVERS",
    "events_keywords",
    "gti_keywords",
    "hduclass_keywords",
    "header_reference",
    "location_keywords",
    "pointing_keywords",
    "reference_keywords",
    "seconds_since",
]

#: Where the format is described.
HDUDOC = "https://github.com/open-gamma-ray-astro/gamma-astro-data-formats"

#: Version of the format that new HDUs follow.
HDUVERS = "0.3"

#: Values of OBS_MODE; anything else is written as POINTING, as which gammapy takes it.
OBS_MODES = ("POINTING", "RASTER", "SLEW", "SCAN", "DRIFT")

SECONDS_PER_DAY = 86400.0
MJD_ZERO_JD = 2400000.5

# Differences up to these come from rounding, not from a change of the run.
TIME_TOLERANCE_S = 1e-6
ANGLE_TOLERANCE_DEG = 1e-9
HEIGHT_TOLERANCE_M = 1e-3
LIVETIME_RTOL = 1e-6


def hduclass_keywords(*classes):
    """HDUCLASS, HDUDOC, HDUVERS and HDUCLAS1... of an HDU.

    Parameters
    ----------
    *classes : str
        Values of HDUCLAS1, HDUCLAS2, ...

    Returns
    -------
    keywords : dict
        Keywords.
    """
    keywords = {"HDUCLASS": "GADF", "HDUDOC": HDUDOC, "HDUVERS": HDUVERS}
    keywords.update({f"HDUCLAS{i}": name for i, name in enumerate(classes, start=1)})
    return keywords


def seconds_since(time, reference):
    """Seconds between a reference time and times, as GADF files hold them.

    The difference is taken in TAI, whole days and fractions apart. So leap seconds
    count, and times that were read from a file give the file's numbers back to the
    last bit.

    Parameters
    ----------
    time : `~astropy.time.Time`
        Times of any scale.
    reference : `~astropy.time.Time`
        Reference time (MJDREFI + MJDREFF).

    Returns
    -------
    seconds : float64 `~numpy.ndarray` or float
        Seconds, in the shape of ``time``.
    """
    time, reference = time.tai, reference.tai
    days = (time.jd1 - reference.jd1) * SECONDS_PER_DAY
    return days + (time.jd2 - reference.jd2) * SECONDS_PER_DAY


def header_reference(header):
    """Read the reference time of a header, or None if it gives none.

    Parameters
    ----------
    header : mapping
        Header with MJDREFI, MJDREFF and TIMESYS (default TT).

    Returns
    -------
    reference : `~astropy.time.Time` or None
        Reference time in the scale of TIMESYS.
    """
    if header is None or "MJDREFI" not in header or "MJDREFF" not in header:
        return None
    return time_ref_from_dict(header)


def reference_keywords(reference, *, header=None):
    """Keywords of the time reference.

    Parameters
    ----------
    reference : `~astropy.time.Time`
        Reference time.
    header : mapping, optional
        Header whose MJDREFF (and TIMEREF) is kept if it means the same time. Default
        is None.

    Returns
    -------
    keywords : dict
        MJDREFI (int), MJDREFF (float), TIMEUNIT ('s'), TIMESYS, TIMEREF.
    """
    header = {} if header is None else header
    mjdrefi, mjdreff = _split_mjd(reference)
    own = header_reference(header)
    if own is not None and own.scale == reference.scale:
        same = seconds_since(own, reference) == 0
        if same and float(header["MJDREFI"]).is_integer():
            mjdrefi, mjdreff = int(header["MJDREFI"]), float(header["MJDREFF"])
    return {
        "MJDREFI": mjdrefi,
        "MJDREFF": mjdreff,
        "TIMEUNIT": "s",
        "TIMESYS": reference.scale.upper(),
        "TIMEREF": header.get("TIMEREF") or "LOCAL",
    }


def _split_mjd(time):
    """MJD as a whole number of days and a fraction in [0, 1)."""
    start = math.floor(time.jd1 - MJD_ZERO_JD)
    fraction = (time.jd1 - MJD_ZERO_JD - start) + time.jd2
    days = math.floor(fraction)
    return start + days, float(fraction - days)


def location_keywords(location, *, header=None):
    """Keywords of the place of the observatory.

    Parameters
    ----------
    location : `~astropy.coordinates.EarthLocation`
        Location of the observatory.
    header : mapping, optional
        Header whose values are kept if they mean the same place. Default is None.

    Returns
    -------
    keywords : dict
        GEOLON (deg), GEOLAT (deg), ALTITUDE (m).
    """
    if not isinstance(location, EarthLocation):
        raise TypeError(f"location must be an EarthLocation, got {location!r}")
    keywords = {
        "GEOLON": float(location.lon.to_value("deg")),
        "GEOLAT": float(location.lat.to_value("deg")),
        "ALTITUDE": float(location.height.to_value("m")),
    }
    return _keep_equal(
        keywords,
        header,
        {
            "GEOLON": ANGLE_TOLERANCE_DEG,
            "GEOLAT": ANGLE_TOLERANCE_DEG,
            "ALTITUDE": HEIGHT_TOLERANCE_M,
        },
    )


def pointing_keywords(pointing, *, time, location):
    """Keywords of the pointing.

    Parameters
    ----------
    pointing : `~gammapy.data.FixedPointingInfo`
        Pointing, fixed in the sky (OBS_MODE POINTING) or in altitude and azimuth
        (DRIFT).
    time : `~astropy.time.Time`
        Time for which altitude and azimuth hold, usually the middle of the run.
    location : `~astropy.coordinates.EarthLocation`
        Location of the observatory.

    Returns
    -------
    keywords : dict
        OBS_MODE, ALT_PNT, AZ_PNT, and unless the mode is DRIFT: RA_PNT, DEC_PNT,
        GLON_PNT, GLAT_PNT; all in deg.
    """
    if pointing.mode is PointingMode.DRIFT:
        altaz = pointing.fixed_altaz
        keywords = {"OBS_MODE": "DRIFT"}
    else:
        icrs = SkyCoord(pointing.fixed_icrs.data, frame="icrs")
        with interpolated_astrom():
            altaz = icrs.transform_to(AltAz(obstime=time, location=location))
        keywords = {
            "OBS_MODE": "POINTING",
            "RA_PNT": _degrees(icrs.ra),
            "DEC_PNT": _degrees(icrs.dec),
            "GLON_PNT": _degrees(icrs.galactic.l),
            "GLAT_PNT": _degrees(icrs.galactic.b),
        }
    keywords["ALT_PNT"] = _degrees(altaz.alt)
    keywords["AZ_PNT"] = _degrees(altaz.az)
    return keywords


def _degrees(angle):
    """Degrees of an angle that holds one value."""
    return float(np.squeeze(angle.to_value("deg")))


def events_keywords(
    *,
    obs_id,
    pointing,
    location,
    gti,
    deadtime_fraction,
    reference,
    event_time=None,
    header=None,
):
    """Mandatory keywords of an EVENTS HDU that follow from the observation.

    What remains are those which only the producer of the data knows: ORIGIN,
    TELESCOP, INSTRUME, CREATOR, OBJECT.

    Parameters
    ----------
    obs_id : int
        Observation identifier.
    pointing : `~gammapy.data.FixedPointingInfo`
        Pointing.
    location : `~astropy.coordinates.EarthLocation`
        Location of the observatory.
    gti : `~gammapy.data.GTI`
        Good time intervals, at least one.
    deadtime_fraction : float
        Dead time per good time.
    reference : `~astropy.time.Time`
        Reference time of TSTART, TSTOP and the TIME column.
    event_time : `~astropy.time.Time`, optional
        Times of the events, shape (n,). TSTART and TSTOP enclose them, too: in some
        data events come up to a second after the last good time interval. Default
        is None.
    header : mapping, optional
        EVENTS header that the run had so far. Values that still hold are kept as
        they are: TSTART and TSTOP if the GTIs lie in between and their sum is the
        header's ONTIME; ALT_PNT and AZ_PNT (of some observatories a mean over the
        run) if also pointing and location are the header's. Default is None.

    Returns
    -------
    keywords : dict
        OBS_ID, TSTART, TSTOP, ONTIME, LIVETIME, DEADC, DATE-OBS, DATE-END (also
        TIME-OBS and TIME-END, if the header splits date and time), EQUINOX, RADECSYS
        and those of `reference_keywords`, `location_keywords`, `pointing_keywords`.
    """
    header = {} if header is None else header
    own = header_reference(header)
    if own is None or seconds_since(own, reference) != 0:
        header = _without_times(header)
    keywords = {"OBS_ID": int(obs_id)}
    keywords |= reference_keywords(reference, header=header)
    times = _time_keywords(gti, deadtime_fraction, reference, header)
    same_times = _equal(times, header, {"TSTART": 0, "TSTOP": 0})
    times |= _enclosing(times, event_time, reference)
    keywords |= times
    keywords |= _date_keywords(times, reference, header, same_times)
    keywords |= location_keywords(location, header=header)
    middle = reference + 0.5 * (times["TSTART"] + times["TSTOP"]) * u.s
    places = ("GEOLON", "GEOLAT", "ALTITUDE")
    same_place = _equal(keywords, header, dict.fromkeys(places, 0))
    kept = _kept_pointing(pointing, header, same_altaz=same_times and same_place)
    if not _pointing_names(pointing) <= set(kept):
        kept = pointing_keywords(pointing, time=middle, location=location) | kept
    keywords |= kept
    keywords["EQUINOX"] = _float_or(header.get("EQUINOX"), 2000.0)
    keywords["RADECSYS"] = header.get("RADECSYS") or "ICRS"
    return keywords


def _without_times(header):
    """Header without values that are relative to its reference time."""
    dropped = {"TSTART", "TSTOP", "MJDREFI", "MJDREFF", "DATE-OBS", "DATE-END"}
    return {key: header[key] for key in header if key not in dropped}


def _time_keywords(gti, deadtime_fraction, reference, header):
    """TSTART, TSTOP, ONTIME, LIVETIME and DEADC."""
    start = seconds_since(gti.time_start, reference)
    stop = seconds_since(gti.time_stop, reference)
    ontime = float(gti.time_sum.to_value("s"))
    keywords = {"TSTART": float(start.min()), "TSTOP": float(stop.max())}
    good = {"ONTIME": ontime, "DEADC": 1.0 - float(deadtime_fraction)}
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
    return keywords | _keep_equal(good, header, tolerances)


def _encloses(header, keywords):
    """Whether TSTART and TSTOP of the header lie around those of the GTIs."""
    start = _float_or(header.get("TSTART"), math.inf)
    stop = _float_or(header.get("TSTOP"), -math.inf)
    return (
        start <= keywords["TSTART"] + TIME_TOLERANCE_S
        and stop >= keywords["TSTOP"] - TIME_TOLERANCE_S
    )


def _enclosing(times, event_time, reference):
    """TSTART and TSTOP around the events as well."""
    if event_time is None or len(event_time) == 0:
        return {}
    seconds = seconds_since(event_time, reference)
    return {
        "TSTART": min(times["TSTART"], float(np.min(seconds))),
        "TSTOP": max(times["TSTOP"], float(np.max(seconds))),
    }


def _date_keywords(times, reference, header, same_times):
    """DATE-OBS and DATE-END in the scale of TIMESYS, written as the header does."""
    keywords = {}
    for suffix, key in [("OBS", "TSTART"), ("END", "TSTOP")]:
        time = Time(reference + times[key] * u.s, format="isot")
        date = {f"DATE-{suffix}": time.isot}
        if header.get(f"TIME-{suffix}"):
            day, clock = time.isot.split("T")
            date = {f"DATE-{suffix}": day, f"TIME-{suffix}": clock}
        if same_times and all(header.get(name) for name in date):
            date = {name: header[name] for name in date}
        keywords |= date
    return keywords


def _pointing_names(pointing):
    """Names of the keywords that `pointing_keywords` gives."""
    names = {"OBS_MODE", "ALT_PNT", "AZ_PNT"}
    if pointing.mode is not PointingMode.DRIFT:
        names |= {"RA_PNT", "DEC_PNT", "GLON_PNT", "GLAT_PNT"}
    return names


def _kept_pointing(pointing, header, *, same_altaz):
    """Pointing keywords of a header that still hold."""
    drift = pointing.mode is PointingMode.DRIFT
    if drift != (str(header.get("OBS_MODE")).upper() == "DRIFT"):
        return {}
    mode = str(header.get("OBS_MODE")).upper()
    kept = {"OBS_MODE": mode} if mode in OBS_MODES else {}
    if drift:
        fixed, names = pointing.fixed_altaz, {"ALT_PNT": "alt", "AZ_PNT": "az"}
    else:
        fixed, names = pointing.fixed_icrs, {"RA_PNT": "ra", "DEC_PNT": "dec"}
    position = {key: _degrees(getattr(fixed, name)) for key, name in names.items()}
    if not _equal(position, header, dict.fromkeys(position, ANGLE_TOLERANCE_DEG)):
        return kept
    if not drift:
        names = [*names, "GLON_PNT", "GLAT_PNT"]
        names += ["ALT_PNT", "AZ_PNT"] if same_altaz else []
    return kept | _numbers(header, names)


def _numbers(header, names):
    """Finite numbers that a header has under these names."""
    values = {name: _float_or(header.get(name), math.nan) for name in names}
    return {name: value for name, value in values.items() if math.isfinite(value)}


def _keep_equal(keywords, header, tolerances):
    """Keywords, with the header's number where it is the same within tolerance."""
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
    """Value as float, or the default if it is no number."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return default


def gti_keywords(*, gti, reference, header=None):
    """Keywords of a GTI HDU.

    Parameters
    ----------
    gti : `~gammapy.data.GTI`
        Good time intervals, at least one.
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
    keywords["TSTART"] = float(seconds_since(gti.time_start, reference).min())
    keywords["TSTOP"] = float(seconds_since(gti.time_stop, reference).max())
    return keywords
