"""The words and rules of the gamma astro data format (GADF), each in one place.

References
----------
.. [GADF] Data formats for gamma-ray astronomy v0.3, sections "EVENTS", "GTI", "Time",
   https://gamma-astro-data-formats.readthedocs.io/en/v0.3/
"""

import functools
import math

from gammapy.utils.time import time_ref_from_dict

from gammapy_mimic import __version__

__all__ = [
    "CREATOR",
    "HDUDOC",
    "HDUVERS",
    "HDU_INDEX",
    "MANDATORY",
    "OBS_INDEX",
    "OBS_MODES",
    "UNITS",
    "hduclass_keywords",
    "header_reference",
    "is_drift",
    "reference_keywords",
    "same_reference",
    "seconds_since",
]

CREATOR = f"gammapy_mimic {__version__}"
"""CREATOR of what this package writes: the program that first defined the events."""

HDUDOC = "https://github.com/open-gamma-ray-astro/gamma-astro-data-formats"
"""Where the format is described."""

HDUVERS = "0.3"
"""Version of the format that new HDUs follow."""

OBS_INDEX = "obs-index.fits.gz"
HDU_INDEX = "hdu-index.fits.gz"
"""Names of the index files of a data store."""

OBS_MODES = ("POINTING", "RASTER", "SLEW", "SCAN", "DRIFT")
"""Values of OBS_MODE; others are written as POINTING, as which gammapy takes them."""

MANDATORY = ("EVENT_ID", "TIME", "RA", "DEC", "ENERGY")
"""Mandatory columns of EVENTS, in the order of the file."""

UNITS = {"TIME": "s", "RA": "deg", "DEC": "deg", "ENERGY": "TeV"}
"""Units of the mandatory columns of EVENTS."""

SECONDS_PER_DAY = 86400.0
MJD_ZERO_JD = 2400000.5


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
        Reference time in the scale of TIMESYS; not to be changed.
    """
    if header is None or "MJDREFI" not in header or "MJDREFF" not in header:
        return None
    keys = ("MJDREFI", "MJDREFF", "TIMESYS")
    return _reference(*((key, header[key]) for key in keys if key in header))


@functools.lru_cache(maxsize=8)
def _reference(*cards):
    """Make a reference time; most runs have the same."""
    reference = time_ref_from_dict(dict(cards))
    if reference.scale == "local":
        raise ValueError(
            "TIMESYS = 'LOCAL' cannot be compared with other times; GADF has TT, UTC, "
            "TAI and the like"
        )
    return reference


def same_reference(one, other):
    """Whether two reference times and their scales are the same.

    Parameters
    ----------
    one, other : `~astropy.time.Time`
        Reference times.

    Returns
    -------
    same : bool
        False for the same time in another scale.
    """
    if one is other:
        return True
    return one.scale == other.scale and seconds_since(one, other) == 0


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
    own = header_reference(header)
    same = own is not None and same_reference(own, reference)
    if same and float(header["MJDREFI"]).is_integer():
        mjdrefi, mjdreff = int(header["MJDREFI"]), float(header["MJDREFF"])
    else:
        mjdrefi, mjdreff = _split_mjd(reference)
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


def is_drift(header):
    """Whether OBS_MODE is drift mode; gammapy takes all else as pointing.

    Parameters
    ----------
    header : mapping
        EVENTS header, or row of an observation index.

    Returns
    -------
    drifts : bool
        Whether the pointing is fixed in altitude and azimuth.
    """
    return str(header.get("OBS_MODE", "")).strip().upper() == "DRIFT"
