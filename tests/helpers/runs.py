"""Small constructed runs of every kind of DL3 file, with truth by construction.

The files are made with plain astropy, so that each peculiarity of header and columns
is under control; nothing of the package is used. ``make_run`` gives the same run as
an in-memory `~gammapy.data.Observation`.

Truth: events lie in the good time intervals; with ``draw="background"`` they follow
`background_rate`, which is also what the background model of the run holds.
"""

import copy
import functools
import gzip
import pickle
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from astropy import units as u
from astropy.coordinates import AltAz, EarthLocation, SkyCoord, offset_by
from astropy.coordinates.erfa_astrom import ErfaAstromInterpolator, erfa_astrom
from astropy.io import fits
from astropy.table import Table
from astropy.time import Time, TimeDelta
from gammapy.data import (
    GTI,
    DataStore,
    EventList,
    FixedPointingInfo,
    Observation,
    ObservationMetaData,
)
from gammapy.irf import IRF_REGISTRY

LOCATION = EarthLocation.from_geodetic(
    lon=16.5002222222222 * u.deg, lat=-23.2717777777778 * u.deg, height=1835 * u.m
)
POINTING = SkyCoord(83.633333333333, 21.514444444444, unit="deg", frame="icrs")
START = Time("2020-12-04T22:08:10.184", scale="tt")
"""The default pointing is then at altitude 41 deg, azimuth 22 deg."""

DURATION = 1680 * u.s
DEADC = 0.9375
"""Live fraction; exact in binary, so that LIVETIME = DEADC * ONTIME exactly."""

LON_GRADIENT, LAT_GRADIENT = 0.6, -0.35
"""Gradients of the logarithm of the background per degree."""

FOV_LON_EDGES = np.linspace(-2.0, 3.0, 11)
FOV_LAT_EDGES = np.linspace(-3.0, 3.0, 13)
BKG_ENERGY_EDGES = np.geomspace(0.1, 100, 7)
THETA_EDGES = np.array([0.0, 0.5, 1.5, 3.5])
ENERGY_EDGES = np.geomspace(0.05, 200, 9)
INDEX = 2.7

RAD_MAX = 0.125

_EXTRA_COLUMNS = (
    *("ALT", "AZ", "GLON", "GLAT", "DETX", "DETY", "Xoff", "Yoff"),
    *("MC_ID", "MULTIP", "MASKED", "LABEL", "EVENT_TYPE"),
)

_DEFAULTS = {
    "psf": "psf_table",
    "bkg": "bkg_3d",
    "fovalign": "RADEC",
    "pointlike": None,
    "drift": False,
    "columns": (),
    "event_id": True,
    "float32": False,
    "node_axes": False,
    "separate_irfs": False,
    "transposed_bkg": False,
    "hdu_names": "upper",
    "gtis": ((0.0, 1.0),),
    "timesys": "tt",
    "mjdref": (51544, 0.5),
    "far_events": 0,
    "header": {},
    "comments": False,
    "n_events": None,
}

_HESS_HEADER = {
    "CREATOR": "SASH FITS::EventListWriter",
    "HDUVERS": "0.2",
    "TELESCOP": "HESS",
    "INSTRUME": "H.E.S.S. Phase I",
    "OBS_MODE": "WOBBLE",
    "RADECSYS": "FK5",
    "EQUINOX": 2000,
    "TIMEREF": "local",
    "MUONEFF": 0.907074809074402,
}

_SPECIFICATION = {
    "full": {},
    "hess": {
        "header": _HESS_HEADER,
        "float32": True,
        "node_axes": True,
        "transposed_bkg": True,
        "hdu_names": "short",
        "mjdref": (51910, 0.000742870370370241),
        "far_events": 2,
    },
    "reverse_lon": {"fovalign": "REVERSE_LON_RADEC"},
    "bkg_altaz": {"fovalign": "ALTAZ"},
    "bkg_2d": {"bkg": "bkg_2d"},
    "no_bkg": {"bkg": None},
    "psf_3gauss": {"psf": "psf_3gauss"},
    "psf_king": {"psf": "psf_king"},
    "rad_max": {"pointlike": "table", "psf": None, "bkg": None},
    "fixed_rad_max": {
        "pointlike": "fixed",
        "psf": None,
        "bkg": None,
        "columns": ("Xoff", "Yoff"),
        "timesys": "utc",
        "mjdref": (53402, 0.0),
        "header": {"NSBLEVEL": 5.5},
    },
    "drift": {"drift": True, "fovalign": "ALTAZ"},
    "multi_gti": {"gtis": ((0.0, 0.25), (0.375, 0.5), (0.625, 1.0))},
    "utc": {"timesys": "utc", "mjdref": (53402, 0.0)},
    "detx": {"columns": ("DETX", "DETY"), "fovalign": "ALTAZ"},
    "xoff": {"columns": ("Xoff", "Yoff")},
    "columns": {"columns": _EXTRA_COLUMNS},
    "no_event_id": {"event_id": False},
    "empty": {"n_events": 0},
    "separate_irfs": {"separate_irfs": True},
    "messy": {
        "comments": True,
        "header": {
            "OBS_ID": str,
            "EQUINOX": 2000,
            "TELLIST": "T1,T2,T4",
            "MID00001": 1,
            "CHECKSUM": "AAAAAAAAAAAAAAAA",
            "DATASUM": "1234567890",
            "NDSKEYS": 1,
            "DSTYP1": "TIME",
        },
    },
}

KINDS = tuple(_SPECIFICATION)
"""Names of all kinds, for ``pytest.mark.parametrize``."""

FULL_ENCLOSURE = tuple(
    name for name, spec in _SPECIFICATION.items() if not spec.get("pointlike")
)
POINT_LIKE = tuple(name for name in KINDS if name not in FULL_ENCLOSURE)


def specification(kind):
    """All options of a kind of run, as a dict."""
    return {**_DEFAULTS, **_SPECIFICATION[kind]}


def background_rate(energy, fov_lon, fov_lat):
    """True background rate: power law times exponential gradients in lon and lat.

    It is symmetric in no axis. Linear in the logarithm, so that gammapy's
    interpolation of the tabulated values is exact between the outer bin centres.
    """
    gradient = LON_GRADIENT * fov_lon.to_value("deg")
    gradient = gradient + LAT_GRADIENT * fov_lat.to_value("deg")
    norm = 1e-6 * u.Unit("s-1 MeV-1 sr-1")
    return norm * energy.to_value("TeV") ** -INDEX * np.exp(gradient)


def true_alignment(kind):
    """Alignment that gammapy gives to the background model of a kind of run."""
    if kind == "hess":
        return "REVERSE_LON_RADEC"
    return specification(kind)["fovalign"]


# --- events ---------------------------------------------------------------------


def _seconds(time, reference):
    t, r = time.tai, reference.tai
    return (t.jd1 - r.jd1) * 86400 + (t.jd2 - r.jd2) * 86400


def _reference(spec):
    return Time(*spec["mjdref"], format="mjd", scale=spec["timesys"])


def _gti_seconds(spec, start, duration):
    """START and STOP after the reference; whole milliseconds, sums are exact."""
    begin = np.round(_seconds(start, _reference(spec)), 3)
    fractions = np.array(spec["gtis"])
    return begin + fractions * duration.to_value("s")


def _draw_times(gti, n_events, rng):
    length = np.diff(gti, axis=1)[:, 0]
    elapsed = np.sort(rng.uniform(0, length.sum(), n_events))
    edges = np.cumsum(length)
    interval = np.searchsorted(edges, elapsed, side="right").clip(max=len(edges) - 1)
    return gti[interval, 0] + elapsed - (edges - length)[interval]


def _draw_exponential(low, high, gradient, size, rng):
    """Inverse of the cumulative distribution of exp(gradient * x) on low..high."""
    part = rng.uniform(size=size) * np.expm1(gradient * (high - low))
    return low + np.log1p(part) / gradient


def _draw_power_law(low, high, index, size, rng):
    a, b = low ** (1 - index), high ** (1 - index)
    return (a + rng.uniform(size=size) * (b - a)) ** (1 / (1 - index))


def _centers(edges):
    return (edges[1:] + edges[:-1]) / 2


def _draw_fov(n_events, draw, far_events, rng):
    """Places in the field of view, in degrees."""
    if draw == "background":
        # gammapy takes the model as zero beyond the outer bin centres
        lon, lat = _centers(FOV_LON_EDGES), _centers(FOV_LAT_EDGES)
        return (
            _draw_exponential(lon[0], lon[-1], LON_GRADIENT, n_events, rng),
            _draw_exponential(lat[0], lat[-1], LAT_GRADIENT, n_events, rng),
        )
    if draw != "disc":
        raise ValueError(f"Unknown draw={draw!r}: use 'disc' or 'background'")
    offset = 2.5 * np.sqrt(rng.uniform(size=n_events))
    angle = rng.uniform(0, 2 * np.pi, n_events)
    n_far = min(far_events, n_events)
    offset[:n_far] = np.linspace(40, 73, n_far)
    # spherical lon and lat of points at these offsets
    x, y = np.cos(np.radians(offset)), np.sin(np.radians(offset)) * np.cos(angle)
    lat = np.arcsin(np.sin(np.radians(offset)) * np.sin(angle))
    return np.degrees(np.arctan2(y, x)), np.degrees(lat)


def _around(lon0, lat0, fov_lon_deg, fov_lat_deg):
    """Points at field-of-view places about a centre; fov_lon runs against lon."""
    lon, lat = np.radians(fov_lon_deg), np.radians(fov_lat_deg)
    x, y, z = np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)
    angle, distance = np.arctan2(-y, z), np.arctan2(np.hypot(y, z), x)
    return offset_by(lon0, lat0, angle * u.rad, distance * u.rad)


def fov_offsets(lon0, lat0, lon, lat):
    """Field-of-view lon and lat in degrees of points about a centre (GADF sign)."""
    dlon = (lon - lon0).to_value("rad")
    lat, lat0 = lat.to_value("rad"), lat0.to_value("rad")
    x = np.cos(lat) * np.cos(lat0) * np.cos(dlon) + np.sin(lat) * np.sin(lat0)
    y = -np.cos(lat) * np.sin(dlon)
    z = np.sin(lat) * np.cos(lat0) - np.cos(lat) * np.sin(lat0) * np.cos(dlon)
    return np.degrees(np.arctan2(y, x)), np.degrees(np.arcsin(z.clip(-1, 1)))


class _Sky:
    """Where a run points, at given times."""

    def __init__(self, pointing, drift, location, middle):
        self.drift, self.location = drift, location
        with erfa_astrom.set(ErfaAstromInterpolator(30 * u.s)):
            self.middle_altaz = pointing.transform_to(
                AltAz(obstime=middle, location=location)
            )
        self.pointing = pointing

    def frame(self, time):
        return AltAz(obstime=time, location=self.location)

    def altaz(self, time):
        if not self.drift:
            return self.pointing.transform_to(self.frame(time))
        one = np.ones(time.shape)
        az, alt = self.middle_altaz.az * one, self.middle_altaz.alt * one
        return SkyCoord(az=az, alt=alt, frame=self.frame(time))

    def icrs(self, time):
        return self.altaz(time).icrs if self.drift else self.pointing

    def place(self, fov_lon_deg, fov_lat_deg, time, alignment):
        """ICRS positions of places in the field of view."""
        if alignment == "ALTAZ":
            center = self.altaz(time)
            az, alt = _around(center.az, center.alt, fov_lon_deg, fov_lat_deg)
            return SkyCoord(az=az, alt=alt, frame=self.frame(time)).icrs
        if alignment == "REVERSE_LON_RADEC":
            fov_lon_deg = -fov_lon_deg
        center = self.icrs(time)
        return SkyCoord(*_around(center.ra, center.dec, fov_lon_deg, fov_lat_deg))


def _column(name, format_, array, unit=None, **kwargs):
    return fits.Column(name=name, format=format_, array=array, unit=unit, **kwargs)


def _sky_columns(names, position, time, sky):
    """Values in degrees of the pairs of columns that follow from the positions."""
    if len(time) == 0:
        return {name: np.zeros(0) for name in names}
    values = {}
    if {"ALT", "DETX"} & set(names):
        place, center = position.transform_to(sky.frame(time)), sky.altaz(time)
        values["ALT"], values["AZ"] = place.alt.deg, place.az.deg
        fov = fov_offsets(center.az, center.alt, place.az, place.alt)
        values["DETX"], values["DETY"] = fov
    if "GLON" in names:
        galactic = position.galactic
        values["GLON"], values["GLAT"] = galactic.l.deg, galactic.b.deg
    if "Xoff" in names:
        center = sky.icrs(time)
        fov = fov_offsets(center.ra, center.dec, position.ra, position.dec)
        values["Xoff"], values["Yoff"] = fov
    return values


def _extra_columns(names, position, time, sky, rng):
    sky_values = _sky_columns(names, position, time, sky)
    n = len(time)
    integers = rng.integers(2, 5, n)
    columns = [
        _column(name, "1E", sky_values[name], "deg")
        for name in names
        if name in sky_values
    ]
    other = {
        "MC_ID": ("1J", np.arange(n) % 3, {}),
        "MULTIP": ("1I", integers, {}),
        "MASKED": ("1J", np.where(np.arange(n) % 4, integers, -999), {"null": -999}),
        "LABEL": ("8A", np.array([f"ev{k % 7}" for k in range(n)], dtype="U8"), {}),
        "EVENT_TYPE": ("32X", rng.integers(0, 2, (n, 32)).astype(bool), {}),
    }
    for name, (format_, array, kwargs) in other.items():
        if name in names:
            columns.append(_column(name, format_, array, **kwargs))
    return columns


def _events_hdu(kind, spec, header, gti, sky, n_events, draw, rng):
    seconds = _draw_times(gti, n_events, rng)
    lon, lat = _draw_fov(n_events, draw, spec["far_events"], rng)
    energy = _draw_power_law(0.2, 50, INDEX, n_events, rng)
    if draw == "background":
        edges = np.sqrt(BKG_ENERGY_EDGES[1:] * BKG_ENERGY_EDGES[:-1])
        energy = _draw_power_law(edges[0], edges[-1], INDEX, n_events, rng)

    with erfa_astrom.set(ErfaAstromInterpolator(30 * u.s)):
        time = _reference(spec) + TimeDelta(seconds, format="sec", scale="tai")
        position = SkyCoord([], [], unit="deg")
        if n_events:
            alignment = true_alignment(kind)
            if draw == "disc":
                alignment = "ALTAZ" if spec["drift"] else "RADEC"
            position = sky.place(lon, lat, time, alignment)
            position = SkyCoord(position.ra, position.dec)
        extra = _extra_columns(spec["columns"], position, time, sky, rng)
    real = "1E" if spec["float32"] else "1D"
    columns = [
        _column("TIME", "1D", seconds, "s"),
        _column("RA", real, position.ra.deg, "deg"),
        _column("DEC", real, position.dec.deg, "deg"),
        _column("ENERGY", real, energy, "TeV"),
    ]
    if spec["event_id"]:
        numbers = np.arange(n_events) * 3 + 281474976710656
        columns.insert(0, _column("EVENT_ID", "1K", numbers))
    return _table_hdu(columns + extra, "EVENTS", header)


# --- headers and IRFs ---------------------------------------------------------------


def _table_hdu(columns, name, header):
    hdu = fits.BinTableHDU.from_columns(columns, name=name)
    for key, value in header.items():
        for item in value if isinstance(value, list) else [value]:
            card = fits.Card(key, item)
            hdu.header.append(card, end=True, bottom=key in ("COMMENT", "HISTORY"))
    return hdu


def _gadf_keywords(spec, **classes):
    version = spec["header"].get("HDUVERS", "0.3")
    doc = "https://github.com/open-gamma-ray-astro/gamma-astro-data-formats"
    return {"HDUCLASS": "GADF", "HDUDOC": doc, "HDUVERS": version, **classes}


def _time_keywords(spec):
    return {
        "MJDREFI": spec["mjdref"][0],
        "MJDREFF": spec["mjdref"][1],
        "TIMEUNIT": "s",
        "TIMESYS": spec["timesys"].upper(),
        "TIMEREF": spec["header"].get("TIMEREF", "LOCAL"),
    }


def _location_keywords(location):
    return {
        "GEOLON": location.lon.deg,
        "GEOLAT": location.lat.deg,
        "ALTITUDE": location.height.to_value("m"),
    }


def _pointing_keywords(sky):
    altaz, icrs = sky.middle_altaz, sky.pointing
    keywords = {
        "OBS_MODE": "DRIFT" if sky.drift else "POINTING",
        "ALT_PNT": altaz.alt.deg,
        "AZ_PNT": altaz.az.deg,
    }
    if not sky.drift:
        keywords |= {
            "RA_PNT": icrs.ra.deg,
            "DEC_PNT": icrs.dec.deg,
            "GLON_PNT": icrs.galactic.l.deg,
            "GLAT_PNT": icrs.galactic.b.deg,
        }
    return keywords


def _events_header(spec, obs_id, gti, sky):
    ontime = float(np.diff(gti, axis=1).sum())
    keywords = {
        **_gadf_keywords(spec, HDUCLAS1="EVENTS"),
        "OBS_ID": obs_id,
        "TSTART": float(gti.min()),
        "TSTOP": float(gti.max()),
        "ONTIME": ontime,
        "LIVETIME": ontime * DEADC,
        "DEADC": DEADC,
        **_pointing_keywords(sky),
        "EQUINOX": 2000.0,
        "RADECSYS": "ICRS",
        "ORIGIN": "Constructed runs",
        "TELESCOP": "TEST",
        "INSTRUME": "Test array",
        "CREATOR": "constructed run",
        "OBJECT": f"Field {obs_id}",
        "RA_OBJ": sky.pointing.ra.deg,
        "DEC_OBJ": min(sky.pointing.dec.deg + 0.5, 90.0),
        "N_TELS": 4,
        "TELLIST": "1,2,3,4",
        **_time_keywords(spec),
        **_location_keywords(sky.location),
    }
    return keywords


def _overlay(keywords, spec, header, obs_id):
    keywords = {**keywords, **spec["header"], **header}
    if keywords["OBS_ID"] is str:
        keywords["OBS_ID"] = str(obs_id)
    if spec["comments"]:
        keywords["COMMENT"] = ["A first comment", "and a second one"]
        keywords["HISTORY"] = ["calibrated", "reconstructed"]
        keywords["TELLIST"] = ["T1,T2,T4", "T1,T2"]
    return {key: value for key, value in keywords.items() if value is not None}


def _axis(name, edges, unit, *, nodes=False):
    low, high = edges[:-1], edges[1:]
    if nodes:
        low = high = (low + high) / 2
    dtype = "E" if nodes else "D"
    return [
        _column(f"{name}_LO", f"{len(low)}{dtype}", low[np.newaxis], unit),
        _column(f"{name}_HI", f"{len(high)}{dtype}", high[np.newaxis], unit),
    ]


def _cube(name, array, unit):
    """Column with one array; its FITS axes run opposite to those of numpy."""
    dim = str(array.shape[::-1]).replace(" ", "")
    return _column(name, f"{array.size}E", array[np.newaxis], unit, dim=dim)


def _irf_grids():
    energy = np.sqrt(ENERGY_EDGES[1:] * ENERGY_EDGES[:-1])
    return np.meshgrid(_centers(THETA_EDGES), energy, indexing="ij")


def _response_axes(spec):
    theta = _axis("THETA", THETA_EDGES, "deg", nodes=spec["node_axes"])
    return [*_axis("ENERG", ENERGY_EDGES, "TeV"), *theta]


def _aeff(spec):
    theta, energy = _irf_grids()
    area = 1e5 * energy**0.5 / (1 + energy**0.25) * np.exp(-((theta / 3) ** 2))
    return [*_response_axes(spec), _cube("EFFAREA", area, "m2")]


def _edisp(spec):
    edges = np.linspace(0.2, 2.2, 21)
    peak = np.exp(-0.5 * ((_centers(edges) - 1.05) / 0.15) ** 2)
    peak /= np.sum(peak * np.diff(edges))
    shape = (len(THETA_EDGES) - 1, len(edges) - 1, len(ENERGY_EDGES) - 1)
    matrix = np.broadcast_to(peak[:, np.newaxis], shape)
    axes = _response_axes(spec)
    return [*axes, *_axis("MIGRA", edges, ""), _cube("MATRIX", matrix, "")]


def _psf_table(spec):
    edges = np.linspace(0, 0.6, 25)
    theta, energy = _irf_grids()
    sigma = (0.06 + 0.01 * theta) * energy**-0.1
    rad = _centers(edges)[:, np.newaxis, np.newaxis]
    psf = np.exp(-0.5 * (rad / sigma) ** 2)
    solid_angle = np.diff(2 * np.pi * (1 - np.cos(np.radians(edges))))
    psf /= np.sum(psf * solid_angle[:, np.newaxis, np.newaxis], axis=0)
    axes = _response_axes(spec)
    return [*axes, *_axis("RAD", edges, "deg"), _cube("RPSF", psf, "sr-1")]


def _psf_3gauss(spec):
    theta, energy = _irf_grids()
    sigma = (0.05 + 0.01 * theta) * energy**-0.1
    values = {
        "SCALE": (1 / (2 * np.pi * np.radians(sigma) ** 2), "sr-1"),
        "SIGMA_1": (sigma, "deg"),
        "AMPL_2": (0.1 * np.ones_like(sigma), ""),
        "SIGMA_2": (2 * sigma, "deg"),
        "AMPL_3": (np.zeros_like(sigma), ""),
        "SIGMA_3": (3 * sigma, "deg"),
    }
    cubes = [_cube(name, *value) for name, value in values.items()]
    return [*_response_axes(spec), *cubes]


def _psf_king(spec):
    theta, energy = _irf_grids()
    sigma = (0.05 + 0.01 * theta) * energy**-0.1
    gamma = _cube("GAMMA", 2 + 0 * sigma, "")
    return [*_response_axes(spec), gamma, _cube("SIGMA", sigma, "deg")]


def _bkg_3d(spec):
    energy = np.sqrt(BKG_ENERGY_EDGES[1:] * BKG_ENERGY_EDGES[:-1]) * u.TeV
    lon, lat = _centers(FOV_LON_EDGES) * u.deg, _centers(FOV_LAT_EDGES) * u.deg
    energy, lon, lat = np.meshgrid(energy, lon, lat, indexing="ij")
    rate = background_rate(energy, lon, lat).to_value("s-1 MeV-1 sr-1")
    # gammapy reads (energy, lon, lat) from either order
    rate = rate if spec["transposed_bkg"] else rate.T
    return [
        *_axis("DETX", FOV_LON_EDGES, "deg"),
        *_axis("DETY", FOV_LAT_EDGES, "deg"),
        *_axis("ENERG", BKG_ENERGY_EDGES, "TeV"),
        _cube("BKG", rate, "s-1 MeV-1 sr-1"),
    ]


def _bkg_2d(spec):
    energy = np.sqrt(BKG_ENERGY_EDGES[1:] * BKG_ENERGY_EDGES[:-1]) * u.TeV
    offset, energy = np.meshgrid(_centers(THETA_EDGES) * u.deg, energy, indexing="ij")
    rate = background_rate(energy, 0 * u.deg, 0 * u.deg).to_value("s-1 MeV-1 sr-1")
    rate = rate * np.exp(-((offset.to_value("deg") / 2) ** 2))
    return [
        *_axis("ENERG", BKG_ENERGY_EDGES, "TeV"),
        *_axis("THETA", THETA_EDGES, "deg"),
        _cube("BKG", rate, "s-1 MeV-1 sr-1"),
    ]


def _rad_max(spec):
    theta, energy = _irf_grids()
    cut = 0.2 - 0.02 * np.log10(energy) + 0.01 * theta
    return [*_response_axes(spec), _cube("RAD_MAX", cut, "deg")]


_IRFS = {
    # class: (type, HDUCLAS2, columns, HDU name, short HDU name)
    "aeff_2d": ("aeff", "EFF_AREA", _aeff, "EFFECTIVE AREA", "AEFF"),
    "edisp_2d": ("edisp", "EDISP", _edisp, "ENERGY DISPERSION", "EDISP"),
    "psf_table": ("psf", "RPSF", _psf_table, "POINT SPREAD FUNCTION", "PSF"),
    "psf_3gauss": ("psf", "RPSF", _psf_3gauss, "POINT SPREAD FUNCTION", "PSF"),
    "psf_king": ("psf", "RPSF", _psf_king, "POINT SPREAD FUNCTION", "PSF"),
    "bkg_3d": ("bkg", "BKG", _bkg_3d, "BACKGROUND", "BKG"),
    "bkg_2d": ("bkg", "BKG", _bkg_2d, "BACKGROUND", "BKG"),
    "rad_max_2d": ("rad_max", "RAD_MAX", _rad_max, "RAD_MAX", "RAD_MAX"),
}


def _irf_hdu(hdu_class, spec, obs_id):
    _, clas2, columns, name, short_name = _IRFS[hdu_class]
    enclosure = "POINT-LIKE" if spec["pointlike"] else "FULL-ENCLOSURE"
    header = _gadf_keywords(
        spec,
        HDUCLAS1="RESPONSE",
        HDUCLAS2=clas2,
        HDUCLAS3=enclosure,
        HDUCLAS4=hdu_class.upper(),
    )
    header["TELESCOP"] = spec["header"].get("TELESCOP", "TEST")
    header["INSTRUME"] = spec["header"].get("INSTRUME", "Test array")
    if not spec["separate_irfs"]:
        header["OBS_ID"] = obs_id
    if hdu_class == "aeff_2d":
        header |= {"LO_THRES": 0.5, "HI_THRES": 100.0}
    if hdu_class == "bkg_3d" and spec["fovalign"] is not None:
        header["FOVALIGN"] = spec["fovalign"]
    if spec["pointlike"] == "fixed":
        header["RAD_MAX"] = RAD_MAX
    name = short_name if spec["hdu_names"] == "short" else name
    return _table_hdu(columns(spec), name, header)


def irf_classes(kind):
    """HDU classes of the IRFs that a kind of run has."""
    spec = specification(kind)
    classes = ["aeff_2d", "edisp_2d", spec["psf"], spec["bkg"]]
    classes += ["rad_max_2d"] if spec["pointlike"] == "table" else []
    return [name for name in classes if name is not None]


# --- runs ------------------------------------------------------------------------


def make_hdulist(
    kind="full",
    *,
    obs_id=1,
    pointing=POINTING,
    location=LOCATION,
    start=START,
    duration=DURATION,
    n_events=500,
    draw="disc",
    seed=0,
    header=None,
):
    """Run as FITS HDUs: PRIMARY, EVENTS, GTI and the IRFs.

    Parameters
    ----------
    kind : str
        One of `KINDS`.
    obs_id : int
        Observation ID.
    pointing : `~astropy.coordinates.SkyCoord`
        Pointing; for drift mode the one at the middle of the run.
    location, start, duration
        Where, when and how long. A run with gaps has less ontime than that.
    n_events : int
        Number of events; kind "empty" has none.
    draw : {"disc", "background"}
        Uniform in a disc of radius 2.5 deg, or from `background_rate` in the
        alignment of the kind's background model.
    seed : int
        Seed of the events.
    header : dict, optional
        Cards of EVENTS to set; None as value removes one.
    """
    spec = specification(kind)
    rng = np.random.default_rng([seed, obs_id])
    gti = _gti_seconds(spec, start, duration)
    middle = _reference(spec) + TimeDelta(gti.mean(), format="sec", scale="tai")
    sky = _Sky(pointing.icrs, spec["drift"], location, middle)
    cards = _events_header(spec, obs_id, gti, sky)
    cards = _overlay(cards, spec, header or {}, obs_id)
    n_events = n_events if spec["n_events"] is None else spec["n_events"]
    events = _events_hdu(kind, spec, cards, gti, sky, n_events, draw, rng)

    gti_columns = [_column("START", "1D", gti[:, 0], "s")]
    gti_columns.append(_column("STOP", "1D", gti[:, 1], "s"))
    gti_cards = {**_gadf_keywords(spec, HDUCLAS1="GTI"), **_time_keywords(spec)}
    gti_hdu = _table_hdu(gti_columns, "GTI", gti_cards)

    irfs = [_irf_hdu(name, spec, obs_id) for name in irf_classes(kind)]
    return fits.HDUList([fits.PrimaryHDU(), events, gti_hdu, *irfs])


def _once(make):
    """Make the same once: tests ask for the same few runs again and again.

    What comes out must not be changed.
    """
    made = {}

    @functools.wraps(make)
    def known(*args, **kwargs):
        key = pickle.dumps((args, kwargs))
        if key not in made:
            made[key] = make(*args, **kwargs)
        return made[key]

    return known


@_once
def _content(kind, **kwargs):
    make_hdulist(kind, **kwargs).writeto(stream := BytesIO())
    return stream.getvalue()


def write_file(path, kind="full", **kwargs):
    """Write a run to a file; arguments of `make_hdulist`. Gives the path."""
    path, content = Path(path), _content(kind, **kwargs)
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def _event_list(hdu):
    table = Table.read(hdu)
    meta = table.meta
    scale = meta["TIMESYS"].lower()
    reference = Time(meta["MJDREFI"], meta["MJDREFF"], format="mjd", scale=scale)
    columns = {"TIME": reference + u.Quantity(table["TIME"].astype(float), "s")}
    columns |= {name: table[name].quantity for name in ("ENERGY", "RA", "DEC")}
    new = Table(columns, meta=meta)
    for name in table.colnames:
        # as gammapy does, which leaves GLON and GLAT out
        if name not in {*columns, "GLON", "GLAT"}:
            new[name] = table[name]
    return EventList(new)


def make_run(kind="full", **kwargs):
    """Run as an in-memory `~gammapy.data.Observation`; arguments of `make_hdulist`."""
    return copy.deepcopy(_run_in_memory(kind, **kwargs))


@_once
def _run_in_memory(kind, **kwargs):
    hdulist = make_hdulist(kind, **kwargs)
    events = _event_list(hdulist["EVENTS"])
    header = events.table.meta
    irfs = {}
    for name, hdu in zip(irf_classes(kind), hdulist[3:], strict=True):
        cls = IRF_REGISTRY.get_cls(name)
        irfs[_IRFS[name][0]] = cls.from_table(Table.read(hdu))
    return Observation(
        obs_id=kwargs.get("obs_id", 1),
        events=events,
        gti=GTI.from_table_hdu(hdulist["GTI"]),
        meta=ObservationMetaData.from_header(header),
        pointing=FixedPointingInfo.from_fits_header(header),
        location=kwargs.get("location", LOCATION),
        **irfs,
    )


def write_raw(kinds, path, *, runs=None, **kwargs):
    """Write a data store with plain astropy: one file a run and both indices.

    Parameters
    ----------
    kinds : str or sequence of str
        Kind of each run. The first run has OBS_ID 1, the next 2 and so on.
    path : path-like
        Folder, made if needed.
    runs : sequence of dict, optional
        Arguments of `make_hdulist` for each run.
    **kwargs
        Arguments of `make_hdulist` for all runs.

    Returns
    -------
    path : `~pathlib.Path`
        The folder, for ``DataStore.from_dir``.
    """
    kinds = [kinds] if isinstance(kinds, str) else list(kinds)
    path = Path(path)
    path.mkdir(parents=True, exist_ok=True)
    for name, content in _store(kinds, runs, kwargs).items():
        (path / name).write_bytes(content)
    return path


@_once
def _store(kinds, runs, kwargs):
    """Names and contents of the files of a store."""
    hdu_rows, obs_rows = [], []
    with TemporaryDirectory() as folder:
        path = Path(folder)
        for number, kind in enumerate(kinds):
            options = {"obs_id": number + 1, **kwargs, **(runs[number] if runs else {})}
            hdulist = make_hdulist(kind, **options)
            hdu_rows += _write_run(kind, hdulist, path, options["obs_id"])
            obs_rows.append(_obs_row(specification(kind), hdulist, options["obs_id"]))
        _write_indices(path, hdu_rows, obs_rows, kwargs.get("location", LOCATION))
        return {file.name: file.read_bytes() for file in path.iterdir()}


def open_raw(kinds, path, **kwargs):
    """Lazy observations of a store made by `write_raw`."""
    store = DataStore.from_dir(write_raw(kinds, path, **kwargs))
    return store.get_observations(required_irf="all-optional")


def _write_run(kind, hdulist, path, obs_id):
    file_name, irf_name = f"run_{obs_id}.fits", f"run_{obs_id}.fits"
    if specification(kind)["separate_irfs"]:
        irf_name = f"irfs_{obs_id}.fits"
        primary = fits.PrimaryHDU()
        fits.HDUList([primary, *hdulist[3:]]).writeto(path / irf_name)
        fits.HDUList(hdulist[:3]).writeto(path / file_name)
    else:
        hdulist.writeto(path / file_name)
    rows = [
        (obs_id, "events", "events", "", file_name, "EVENTS"),
        (obs_id, "gti", "gti", "", file_name, "GTI"),
    ]
    for name, hdu in zip(irf_classes(kind), hdulist[3:], strict=True):
        rows.append((obs_id, _IRFS[name][0], name, "", irf_name, hdu.name))
    return rows


def _obs_row(spec, hdulist, obs_id):
    header = hdulist["EVENTS"].header
    names = "RA_PNT DEC_PNT ALT_PNT AZ_PNT GLON_PNT GLAT_PNT ONTIME LIVETIME DEADC"
    row = {name: header.get(name, np.nan) for name in names.split()}
    row |= {"OBS_ID": obs_id, "OBS_MODE": header.get("OBS_MODE", "POINTING")}
    row["ZEN_PNT"] = 90 - row["ALT_PNT"]
    index_reference = _reference(_DEFAULTS)
    for name in ("TSTART", "TSTOP"):
        met = TimeDelta(header[name], format="sec", scale="tai")
        row[name] = _seconds(_reference(spec) + met, index_reference)
    for name in ("OBJECT", "TELESCOP", "TELLIST"):
        row[name] = header.get(name, "")
    for name in ("RA_OBJ", "DEC_OBJ", "MUONEFF", "NSBLEVEL"):
        row[name] = header.get(name, np.nan)
    row["N_TELS"] = header.get("N_TELS", 0)
    row["EVENT_COUNT"] = header["NAXIS2"]
    return row


def _write_indices(path, hdu_rows, obs_rows, location):
    names = ["OBS_ID", "HDU_TYPE", "HDU_CLASS", "FILE_DIR", "FILE_NAME", "HDU_NAME"]
    hdu_table = Table(rows=hdu_rows, names=names)
    index = _gadf_keywords(_DEFAULTS, HDUCLAS1="INDEX")
    hdu_table.meta = {**index, "HDUCLAS2": "HDU", "EXTNAME": "HDU_INDEX"}
    hdu_table.write(path / "hdu-index.fits.gz")

    obs_table = Table(rows=obs_rows)
    for name in obs_table.colnames:
        if name.endswith(("_PNT", "_OBJ")):
            obs_table[name].unit = "deg"
        if name in ("TSTART", "TSTOP", "ONTIME", "LIVETIME"):
            obs_table[name].unit = "s"
    obs_table.meta = {**index, "HDUCLAS2": "OBS", "EXTNAME": "OBS_INDEX"}
    obs_table.meta |= _time_keywords(_DEFAULTS) | _location_keywords(location)
    obs_table.write(path / "obs-index.fits.gz")
