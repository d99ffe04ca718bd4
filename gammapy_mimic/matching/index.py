"""Keywords of runs from an obs-index, and from EVENTS headers where it lacks them."""

import logging

import numpy as np
from astropy import units as u
from astropy.coordinates import EarthLocation
from astropy.io import fits
from astropy.table import Table
from astropy.time import Time
from gammapy.data import observatory_locations

from gammapy_mimic.data.compat import FileLocation

__all__ = ["TEXT", "UNITS", "Index", "as_array", "from_index", "stack_locations"]

log = logging.getLogger(__name__)

UNITS = {
    "RA_PNT": "deg",
    "DEC_PNT": "deg",
    "ALT_PNT": "deg",
    "AZ_PNT": "deg",
    "ORIENTATION": "deg",
    "GLAT_PNT": "deg",
    "SOURCE_DISTANCE": "deg",
    "TIME": "d",
    "ONTIME": "s",
    "LIVETIME": "s",
    "SPAN": "s",
    "LATITUDE": "deg",
    "RA_OBJ": "deg",
    "DEC_OBJ": "deg",
    "LO_THRES": "TeV",
    "RATE": "1 / s",
    "RATE_SPECTRUM": "1 / s",
}

TEXT = ("TELESCOP", "TELLIST", "OBJECT")
_LOCATION = ("GEOLON", "GEOLAT", "ALTITUDE")


class Index:
    """Keywords of the runs of an obs-index, from EVENTS headers where it lacks them.

    Parameters
    ----------
    table : `~astropy.table.Table`
        The obs-index.
    hdu_table : `~gammapy.data.HDUIndexTable` or None
        Where the EVENTS headers are.
    """

    def __init__(self, table, hdu_table=None):
        self.table = table
        self.hdu_table = hdu_table
        self.obs_id = np.asarray(table["OBS_ID"]).astype(np.int64)
        folder = None if hdu_table is None else hdu_table.meta.get("BASE_DIR")
        self.label = "obs-index" if folder is None else f"obs-index of {folder}"
        self._headers = {}

    def header(self, row):
        """EVENTS header of a run; empty if there is none."""
        if row not in self._headers:
            self._headers[row] = self._read_header(self.obs_id[row])
        return self._headers[row]

    def _read_header(self, obs_id):
        known = [] if self.hdu_table is None else self.hdu_table.columns
        if "OBS_ID" not in known or obs_id not in self.hdu_table["OBS_ID"]:
            return {}
        location = self.hdu_table.hdu_location(
            obs_id=obs_id, hdu_type="events", warn_missing=False
        )
        if location is None:
            return {}
        try:
            path = FileLocation.from_location(location).path()
            header = dict(fits.getheader(path, location.hdu_name))
        except (OSError, KeyError) as error:
            # what needs the file will fail later; other runs can be matched
            log.warning("Run %s: its EVENTS header cannot be read: %s", obs_id, error)
            return {}
        return {**header, "EVENT_COUNT": header["NAXIS2"]}

    def get(self, key, *, index=True, header=False):
        """Values of a keyword for all runs, or None.

        Without ``index`` only headers are asked. With ``header`` the EVENTS header of
        the first run is asked for what the index lacks, and those of the other runs
        only if the first one has it.
        """
        values = None
        if index and key in self.table.colnames:
            values = self._column(key)
        elif index and key in self.table.meta:
            values = as_array(key, [self.table.meta[key]] * len(self.obs_id))
        if values is not None and not _missing(values).all():
            return values
        if header and len(self.obs_id) and key in self.header(0):
            rows = range(len(self.obs_id))
            return as_array(key, [self.header(row).get(key) for row in rows])
        return None

    def _column(self, key):
        column = self.table[key]
        if key in TEXT:
            return as_array(key, list(np.ma.filled(np.ma.asarray(column), "")))
        if column.dtype.kind in "OSU" or column.ndim > 1:
            return as_array(key, [None if v is np.ma.masked else v for v in column])
        unit = UNITS.get(key, "s" if key in ("TSTART", "TSTOP") else None)
        values = np.ma.asarray(getattr(column, "value", column)).astype(float)
        if unit is not None and column.unit not in (None, ""):
            values = values * self.factor(key, column.unit, unit)
        return np.ma.filled(values, np.nan)

    def factor(self, key, own, unit):
        """Give the factor from one unit to another."""
        try:
            return u.Unit(own).to(unit)
        except (u.UnitsError, ValueError) as error:
            raise ValueError(
                f"{self.label}: column {key} has the unit {str(own)!r}, not a unit "
                f"like {unit}"
            ) from error


def as_array(key, values):
    """Text or floats, with empty text or NaN for what is missing."""
    if key in (*TEXT, "TIMESYS"):
        text = [v.decode() if isinstance(v, bytes) else v for v in values]
        return np.array(["" if v is None else str(v).strip() for v in text], dtype=str)
    result = np.full(len(values), np.nan)
    for i, value in enumerate(values):
        try:
            result[i] = float(value)
        except (TypeError, ValueError):
            log.debug("%s = %r is not a number and counts as missing", key, value)
    return result


def _missing(values):
    return values == "" if values.dtype.kind == "U" else np.isnan(values)


def _in_unit(index, feature, values):
    """Values of a further column in the unit of its tolerance."""
    column = index.table[feature.name] if feature.name in index.table.colnames else None
    unit = getattr(column, "unit", None)
    if not feature.unit:
        return values
    if unit is None:
        raise ValueError(
            f"{index.label}: column {feature.name} has no unit: give its tolerance as "
            f"a plain number, without {feature.unit!r}"
        )
    return values * index.factor(feature.name, unit, feature.unit)


def from_index(index, wanted, columns=None):
    """Run table of an obs-index, without what follows from the pointing.

    Parameters
    ----------
    index : `Index`
        The index.
    wanted : collection of str
        Columns worth opening event files for.
    columns : dict of str to `~gammapy_mimic.matching.features.Feature`, optional
        Further columns. Default is none.

    Returns
    -------
    runs : `~astropy.table.Table`
        Runs.
    locate : callable
        Gives their sites, or raises a ValueError where nothing says them.
    """
    number, nothing = len(index.obs_id), np.full(len(index.obs_id), np.nan)

    def get(key, *, header=True):
        values = index.get(key, header=header)
        return nothing if values is None else values

    # seconds of the index and of headers may count from different times
    own = "TSTART" in index.table.colnames
    start, stop = get("TSTART"), get("TSTOP", header=not own)
    ontime = get("ONTIME")
    stop = np.where(np.isnan(stop), start + ontime, stop)
    runs = Table({"OBS_ID": index.obs_id})
    for key in TEXT:
        values = index.get(key, header=key == "TELLIST" and key in wanted)
        if values is None and key == "OBJECT":
            values = index.get("TARGET_NAME")
        if values is None and key == "TELESCOP" and key in wanted:
            # an index that does not name the telescope is taken to be of one only
            values = as_array(key, [index.header(0).get(key)] * number)
        runs[key] = np.full(number, "", dtype="U1") if values is None else values
    runs["TIME"] = _mjd(index, (start + stop) / 2, own)
    runs["SPAN"] = stop - start
    runs["RA_PNT"], runs["DEC_PNT"] = get("RA_PNT"), get("DEC_PNT")
    drift = np.isnan(runs["RA_PNT"]).any()
    for key in ("ALT_PNT", "AZ_PNT"):
        runs[key] = get(key) if drift else nothing
    runs["ONTIME"] = ontime
    for key in ("LIVETIME", "MUONEFF", "NSBLEVEL", "N_TELS"):
        runs[key] = get(key, header=key in wanted)
    for key in ("RA_OBJ", "DEC_OBJ"):
        runs[key] = get(key, header=False)
    if "RATE" in wanted:
        counts = get("EVENT_COUNT")
        runs["RATE"] = counts / np.where(ontime > 0, ontime, np.nan)
    for name, feature in (columns or {}).items():
        runs[name] = _in_unit(index, feature, get(name))
    return runs, lambda: _index_locations(index, runs["TELESCOP"])


def _mjd(index, seconds, own):
    """MJD (TT) of mission times, by the reference of the index or of the headers."""
    whole, fraction, scale = (
        index.get(key, index=own, header=True)
        for key in ("MJDREFI", "MJDREFF", "TIMESYS")
    )
    if whole is None:
        raise ValueError(
            f"{index.label} and EVENTS headers lack MJDREFI: the times of the runs are "
            "unknown; add MJDREFI, MJDREFF and TIMESYS to the meta of obs_table"
        )
    fraction = 0 * whole if fraction is None else fraction
    scale = np.full(len(whole), "tt") if scale is None else np.char.lower(scale)
    result = np.empty(len(whole))
    for name in np.unique(scale):
        of_scale = scale == name
        reference = (whole[of_scale], fraction[of_scale])
        if str(name) not in ("", *Time.SCALES):
            raise ValueError(
                f"{index.label} or EVENTS headers: TIMESYS = {str(name).upper()!r} is "
                f"no time scale; known are {', '.join(Time.SCALES).upper()}"
            )
        time = Time(*reference, format="mjd", scale=str(name) or "tt")
        result[of_scale] = (time + seconds[of_scale] * u.s).tt.mjd
    return result


def _index_locations(index, telescopes):
    """Site of each run: from the index, else the header of a run of the telescope."""
    values = [index.get(key) for key in _LOCATION]
    if values[2] is None:
        values[2] = index.get("GEOALT")
    if all(value is not None for value in values):
        lon, lat, height = values
        return EarthLocation.from_geodetic(lon * u.deg, lat * u.deg, height * u.m)
    _, first, inverse = np.unique(telescopes, return_index=True, return_inverse=True)
    return stack_locations([_site(index, int(row)) for row in first])[inverse]


def _site(index, row):
    """Site of one run: from its EVENTS header, else that of its telescope."""
    header = {**index.table.meta, **index.header(row)}
    height = header.get("ALTITUDE", header.get("GEOALT"))
    if height is not None and {"GEOLON", "GEOLAT"} <= set(header):
        lon, lat = float(header["GEOLON"]), float(header["GEOLAT"])
        return EarthLocation.from_geodetic(lon * u.deg, lat * u.deg, float(height))
    names = index.get("TELESCOP", header=True)
    name = "" if names is None else names[row].lower()
    if name in observatory_locations:
        return observatory_locations[name]
    raise ValueError(
        f"run {index.obs_id[row]} has no telescope position: add GEOLON, GEOLAT and "
        "ALTITUDE to the meta of the data store's obs_table"
    )


def stack_locations(locations):
    """Put locations into one array."""
    return EarthLocation.from_geocentric(
        *(
            [getattr(place, axis).to_value("m") for place in locations]
            for axis in "xyz"
        ),
        unit="m",
    )
