"""What GADF 0.3 asks of each HDU, and which part of it gammapy cannot do without.

References
----------
.. [GADF] Data formats for gamma-ray astronomy v0.3, sections "EVENTS", "GTI",
   "POINTING", "IRFs", "Observation index table" and "HDU index table",
   https://gamma-astro-data-formats.readthedocs.io/en/v0.3/
"""

from typing import NamedTuple

from gammapy_mimic.io.gadf import UNITS

__all__ = [
    "CLASSES_OF_TYPE",
    "COLUMN_ALIASES",
    "DEFAULTED",
    "EVENTS_COLUMNS",
    "FOV_ALIGNMENTS",
    "GTI_COLUMNS",
    "HDU_INDEX_COLUMNS",
    "IRF_COLUMNS",
    "LAST_MJD",
    "LOCATION",
    "OBS_INDEX_COLUMNS",
    "POINTING_COLUMNS",
    "POINTING_KEYWORDS",
    "SINCE_03",
    "TIME_REFERENCE",
    "TIME_SCALES",
    "VERSIONS",
    "Column",
    "Keyword",
    "events_keywords",
    "gti_keywords",
    "index_keywords",
    "irf_keywords",
]


class Keyword(NamedTuple):
    """A mandatory header keyword."""

    type: str
    """One of "int", "float", "str"."""
    values: tuple = ()
    """Values allowed, in upper case; empty if any will do."""
    limits: tuple | None = None
    """Lowest and highest value allowed."""


class Column(NamedTuple):
    """A mandatory column."""

    type: str
    """One of "int", "float", "float64", "str"."""
    units: tuple = ("",)
    """Units allowed; the first is the one to write, "" means none."""


VERSIONS = ("0.2", "0.3")
FOV_ALIGNMENTS = ("ALTAZ", "RADEC")
TIME_SCALES = ("TT", "UTC", "TAI", "TDB", "TCB", "TCG", "UT1")

DEFAULTED = frozenset({"TIMEUNIT", "TIMEREF"})
"""Keywords that readers replace by a default (GADF, "Time"): only a warning."""

SINCE_03 = frozenset({"OBS_MODE", "FOVALIGN"})
"""What a file of version 0.2 need not have."""

LAST_MJD = 100000
"""A reference time after this MJD (in 2132) is an error."""

TIME_REFERENCE = {
    "MJDREFI": Keyword("int", limits=(0, LAST_MJD)),
    "MJDREFF": Keyword("float"),
    "TIMEUNIT": Keyword("str", ("S",)),
    "TIMESYS": Keyword("str", TIME_SCALES),
    "TIMEREF": Keyword("str"),
}

LOCATION = {
    "GEOLON": Keyword("float", limits=(-180, 360)),
    "GEOLAT": Keyword("float", limits=(-90, 90)),
    "ALTITUDE": Keyword("float"),
}

_RADEC_POINTING = {
    "RA_PNT": Keyword("float", limits=(0, 360)),
    "DEC_PNT": Keyword("float", limits=(-90, 90)),
}
_ALTAZ_POINTING = {
    "ALT_PNT": Keyword("float", limits=(-90, 90)),
    "AZ_PNT": Keyword("float", limits=(0, 360)),
}

_RUN = {
    "OBS_ID": Keyword("int"),
    "TSTART": Keyword("float"),
    "TSTOP": Keyword("float"),
    "ONTIME": Keyword("float"),
    "LIVETIME": Keyword("float"),
    "DEADC": Keyword("float", limits=(0, 1)),
    "OBS_MODE": Keyword("str"),
    "EQUINOX": Keyword("float"),
    "RADECSYS": Keyword("str", ("ICRS", "FK5")),
    "ORIGIN": Keyword("str"),
    "TELESCOP": Keyword("str"),
    "INSTRUME": Keyword("str"),
    "CREATOR": Keyword("str"),
}


def _hduclass(*classes):
    keywords = {
        "HDUCLASS": Keyword("str", ("GADF",)),
        "HDUDOC": Keyword("str"),
        "HDUVERS": Keyword("str"),
    }
    for number, values in enumerate(classes, start=1):
        values = (values,) if isinstance(values, str) else values
        keywords[f"HDUCLAS{number}"] = Keyword("str", values)
    return keywords


def events_keywords(drift: bool) -> dict[str, Keyword]:
    """Mandatory keywords of EVENTS, for a run in drift mode or not."""
    pointing = _ALTAZ_POINTING if drift else _RADEC_POINTING
    return _hduclass("EVENTS") | _RUN | pointing | TIME_REFERENCE | LOCATION


def gti_keywords() -> dict[str, Keyword]:
    """Mandatory keywords of GTI."""
    return _hduclass("GTI") | TIME_REFERENCE


def irf_keywords(hdu_class: str) -> dict[str, Keyword]:
    """Mandatory keywords of an IRF of a class such as "aeff_2d"."""
    enclosure: tuple[str, ...] = ("FULL-ENCLOSURE", "POINT-LIKE")
    if hdu_class == "rad_max_2d":
        enclosure = ("POINT-LIKE",)
    kind = _HDUCLAS2[hdu_class.rsplit("_", 1)[0] if hdu_class[:3] != "psf" else "psf"]
    keywords = _hduclass("RESPONSE", kind, enclosure, hdu_class.upper())
    if hdu_class == "bkg_3d":
        keywords["FOVALIGN"] = Keyword("str")
    return keywords


def index_keywords(name: str) -> dict[str, Keyword]:
    """Mandatory keywords of an index table, "OBS" or "HDU"."""
    keywords = _hduclass("INDEX", name)
    return keywords | TIME_REFERENCE | LOCATION if name == "OBS" else keywords


POINTING_KEYWORDS = {
    **TIME_REFERENCE,
    "GEOLON": LOCATION["GEOLON"],
    "GEOLAT": LOCATION["GEOLAT"],
}

_HDUCLAS2 = {
    "aeff": "EFF_AREA",
    "edisp": "EDISP",
    # the pages on PSFs and the table of HDU classes disagree; readers take both
    "psf": ("RPSF", "PSF"),
    "bkg": "BKG",
    "rad_max": "RAD_MAX",
}

CLASSES_OF_TYPE = {
    "events": ("events",),
    "gti": ("gti",),
    "pointing": ("pointing",),
    "aeff": ("aeff_2d",),
    "edisp": ("edisp_2d",),
    "psf": ("psf_table", "psf_3gauss", "psf_king"),
    "bkg": ("bkg_2d", "bkg_3d"),
    "rad_max": ("rad_max_2d",),
}
"""HDU_TYPE and the HDU_CLASS values that go with it; gammapy refuses others."""

_DEG = ("deg",)
_SECOND = ("s",)

EVENTS_COLUMNS = {"EVENT_ID": Column("int")} | {
    name: Column("float64" if name == "TIME" else "float", (unit,))
    for name, unit in UNITS.items()
}

GTI_COLUMNS = {
    "START": Column("float64", _SECOND),
    "STOP": Column("float64", _SECOND),
}

POINTING_COLUMNS = {
    "TIME": Column("float64", _SECOND),
    "RA_PNT": Column("float", _DEG),
    "DEC_PNT": Column("float", _DEG),
}

OBS_INDEX_COLUMNS = {
    "OBS_ID": Column("int"),
    "OBS_MODE": Column("str"),
    "RA_PNT": Column("float", _DEG),
    "DEC_PNT": Column("float", _DEG),
    "TSTART": Column("float64", _SECOND),
    "TSTOP": Column("float64", _SECOND),
}

HDU_INDEX_COLUMNS = {
    "OBS_ID": Column("int"),
    "HDU_TYPE": Column("str"),
    "HDU_CLASS": Column("str"),
    "FILE_DIR": Column("str"),
    "FILE_NAME": Column("str"),
    "HDU_NAME": Column("str"),
}


def _axis(name, unit):
    return {f"{name}_{end}": Column("float", (unit,)) for end in ("LO", "HI")}


def _values(unit="", *names, other=()):
    return {name: Column("float", (unit, *other)) for name in names}


_RESPONSE = _axis("ENERG", "TeV") | _axis("THETA", "deg")

IRF_COLUMNS = {
    "aeff_2d": _RESPONSE | _values("m2", "EFFAREA"),
    "edisp_2d": _RESPONSE | _axis("MIGRA", "") | _values("", "MATRIX"),
    "psf_table": _RESPONSE | _axis("RAD", "deg") | _values("sr-1", "RPSF"),
    "psf_3gauss": _RESPONSE
    | _values("sr-1", "SCALE", other=("",))
    | _values("deg", "SIGMA_1", "SIGMA_2", "SIGMA_3")
    | _values("", "AMPL_2", "AMPL_3"),
    "psf_king": _RESPONSE | _values("deg", "SIGMA") | _values("", "GAMMA"),
    "bkg_2d": _RESPONSE | _values("s-1 MeV-1 sr-1", "BKG"),
    "bkg_3d": _axis("ENERG", "TeV")
    | _axis("DETX", "deg")
    | _axis("DETY", "deg")
    | _values("s-1 MeV-1 sr-1", "BKG"),
    "rad_max_2d": _RESPONSE | _values("deg", "RAD_MAX"),
}
"""Mandatory columns of each class of IRF."""

COLUMN_ALIASES = {"ENERG_LO": "ETRUE_LO", "ENERG_HI": "ETRUE_HI", "BKG": "BGD"}
"""Names of older files that gammapy still reads."""
