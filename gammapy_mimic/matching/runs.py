"""Run tables: what a run has that donors and targets are compared by."""

import logging

import numpy as np
from astropy.coordinates import AltAz, SkyCoord
from astropy.table import Table
from astropy.time import Time
from gammapy.data import DataStore, Observation

from gammapy_mimic.data import read_run
from gammapy_mimic.data.compat import read_once
from gammapy_mimic.matching.index import (
    TEXT,
    UNITS,
    Index,
    as_array,
    from_index,
    stack_locations,
)
from gammapy_mimic.sky.geometry import offset_azimuth

__all__ = ["add_source_distance", "read_runs"]

log = logging.getLogger(__name__)

# values that are not positive are place holders
_POSITIVE = ("MUONEFF", "N_TELS", "ONTIME", "LIVETIME", "RATE")
# a run below the horizon gets a finite airmass that fits nothing
_LOWEST_ALT_DEG = 0.5
_ONLY_BAD = "has only bad times"


def _observation_row(observation):
    """Collect what one observation says of itself, by run table column."""
    meta, pointing = observation.meta, observation.pointing
    keywords = meta.optional if meta.optional is not None else {}
    if not keywords and observation.events is not None:
        keywords = observation.events.table.meta
    telescope = meta.obs_info.telescope if meta.obs_info is not None else None
    start, stop = observation.gti.time_start.min(), observation.gti.time_stop.max()
    row = {
        **keywords,
        "OBS_ID": int(observation.obs_id),
        "TELESCOP": telescope or keywords.get("TELESCOP"),
        "TIME": (start.tt.mjd + stop.tt.mjd) / 2,
        "SPAN": (stop - start).to_value("s"),
        "ONTIME": observation.observation_time_duration.to_value("s"),
        "LIVETIME": observation.observation_live_time_duration.to_value("s"),
    }
    if meta.target is not None and meta.target.name:
        row["OBJECT"] = meta.target.name
    if meta.target is not None and meta.target.position is not None:
        position = meta.target.position.icrs
        row |= {"RA_OBJ": position.ra.deg, "DEC_OBJ": position.dec.deg}
    dropped = ("RA_PNT", "DEC_PNT", "ALT_PNT", "AZ_PNT")
    row = {key: value for key, value in row.items() if key not in dropped}
    if pointing.fixed_icrs is not None:
        position = pointing.fixed_icrs
        row |= {"RA_PNT": position.ra.deg, "DEC_PNT": position.dec.deg}
    else:
        position = pointing.fixed_altaz
        row |= {"ALT_PNT": position.alt.deg, "AZ_PNT": position.az.deg}
    return row


def _from_observations(observations, argument, columns, needs_location):
    """Run table of observations, without what follows from the pointing."""
    rows, locations = [], []
    for observation in observations:
        row = _observation_row(observation)
        if needs_location and observation.observatory_earth_location is None:
            raise ValueError(
                f"run {observation.obs_id} has no telescope position: create the "
                "Observation with location=..., or give location to the matcher"
            )
        rows.append(row)
        locations.append(observation.observatory_earth_location)
    runs = Table({"OBS_ID": np.array([row["OBS_ID"] for row in rows], dtype=np.int64)})
    keys = ("TIME", "SPAN", "RA_PNT", "DEC_PNT", "ALT_PNT", "AZ_PNT", "ONTIME")
    keys += ("LIVETIME", "MUONEFF", "NSBLEVEL", "N_TELS", "RA_OBJ", "DEC_OBJ")
    for key in (*TEXT, *keys, *columns):
        runs[key] = as_array(key, [row.get(key) for row in rows])
    return runs, lambda: stack_locations(locations)


def _clean(runs):
    """Place holders become missing values, N_TELS is counted from TELLIST."""
    for key in _POSITIVE:
        if key not in runs.colnames:
            continue
        values = np.asarray(runs[key])
        runs[key] = np.where(values > 0, values, np.nan)
    runs["NSBLEVEL"] = np.where(runs["NSBLEVEL"] >= 0, runs["NSBLEVEL"], np.nan)
    for key in TEXT:
        values = np.asarray(runs[key], dtype=str)
        runs[key] = np.where(values == "NOT AVAILABLE", "", values)
    counted = [
        len([i for i in text.split(",") if i.strip()]) for text in runs["TELLIST"]
    ]
    counted = np.array(counted, dtype=float)
    runs["N_TELS"] = np.where(
        np.isnan(runs["N_TELS"]) & (counted > 0), counted, runs["N_TELS"]
    )


def _add_pointing(runs, location):
    """Altitude, azimuth, airmass, orientation and galactic latitude at mid-run."""
    time = Time(np.asarray(runs["TIME"]), format="mjd", scale="tt")
    frame = AltAz(obstime=time, location=location)
    ra, dec, alt, az = (
        np.array(runs[key], dtype=float)
        for key in ("RA_PNT", "DEC_PNT", "ALT_PNT", "AZ_PNT")
    )
    drift = np.isnan(ra)
    runs["DRIFT"] = drift.astype(float)
    runs["LATITUDE"] = location.lat.deg
    if drift.any():
        horizontal = SkyCoord(az[drift], alt[drift], unit="deg", frame=frame[drift])
        ra[drift], dec[drift] = horizontal.icrs.ra.deg, horizontal.icrs.dec.deg
    position = SkyCoord(ra, dec, unit="deg", frame="icrs")
    if not drift.all():
        horizontal = position[~drift].transform_to(frame[~drift])
        alt[~drift], az[~drift] = horizontal.alt.deg, horizontal.az.deg
    runs["ALT_PNT"], runs["AZ_PNT"] = alt, az
    runs["RA_PNT"], runs["DEC_PNT"] = ra, dec
    runs["AIRMASS"] = 1 / np.sin(np.radians(np.maximum(alt, _LOWEST_ALT_DEG)))
    # the celestial north pole stands at azimuth 0, as high as the latitude
    _, runs["ORIENTATION"] = offset_azimuth(0.0, location.lat.deg, az, alt)
    runs["GLAT_PNT"] = position.galactic.b.deg


def add_source_distance(runs, centers, radii_deg):
    """Add how far the pointings are from the edge of the nearest source.

    Parameters
    ----------
    runs : `~astropy.table.Table`
        Run table; the column SOURCE_DISTANCE (deg, not below 0) is added.
    centers : `~astropy.coordinates.SkyCoord`
        Positions of the sources.
    radii_deg : `~numpy.ndarray`
        Their radii, in degrees.
    """
    nearest = np.full(len(runs), 180.0)
    position = SkyCoord(runs["RA_PNT"], runs["DEC_PNT"], unit="deg", frame="icrs")
    for center, radius in zip(centers, radii_deg, strict=True):
        distance = position.separation(center).deg - radius
        nearest = np.minimum(nearest, np.maximum(distance, 0))
    runs["SOURCE_DISTANCE"] = nearest


def read_runs(
    data,
    wanted=(),
    *,
    argument="data",
    skip_broken=False,
    columns=None,
    location=None,
    bad_times=None,
):
    """Table of what runs are compared by.

    Parameters
    ----------
    data : `~gammapy.data.DataStore`, `~gammapy.data.ObservationTable`, \
`~gammapy.data.Observations` or list of `~gammapy.data.Observation`
        Runs. Of a data store the obs-index is used; EVENTS headers are read for
        what it lacks (TELESCOP: that of the first run stands for all).
    wanted : collection of str, optional
        Columns among TELESCOP, TELLIST, MUONEFF, NSBLEVEL, N_TELS and RATE (events
        of the index per ontime) worth opening event files for. Default is none.
    argument : str, optional
        Name of the argument in messages. Default is "data".
    skip_broken : bool, optional
        Leave out runs without time or pointing, with a warning, as long as there are
        others. Default is False: they are an error.
    columns : dict of str to `~gammapy_mimic.matching.features.Feature`, optional
        Further columns of the index or cards of EVENTS. Default is none.
    location : `~astropy.coordinates.EarthLocation`, optional
        Site, instead of what index and headers say. Default is None.
    bad_times : `~gammapy_mimic.matching.good_time.BadTimes`, optional
        Time that does not count. Default is none.

    Returns
    -------
    runs : `~astropy.table.Table`
        One row for each run, ordered by OBS_ID. RA_PNT, DEC_PNT, GLAT_PNT: pointing;
        ALT_PNT, AZ_PNT, AIRMASS (1 / cos of the zenith angle) and ORIENTATION
        (direction of the celestial pole as seen from the pointing, from the zenith
        towards increasing azimuth) at TIME, the middle of the run (MJD, TT);
        TELESCOP, N_TELS, TELLIST, SPAN (from start to end), ONTIME, LIVETIME,
        MUONEFF, NSBLEVEL, OBJECT, RA_OBJ, DEC_OBJ, LATITUDE (of the site) and DRIFT
        (1 in drift mode). NaN or empty text where unknown. ``meta["left_out"]``: list
        of (OBS_ID, why).

    Raises
    ------
    TypeError
        If ``data`` is none of these.
    ValueError
        If a run has no OBS_ID, time, pointing or site, or an OBS_ID is duplicated.
    """
    is_store = isinstance(data, DataStore)
    table = data.obs_table if is_store else data
    try:
        number = len(table)
    except TypeError:
        raise TypeError(
            f"{argument} = {data!r}: must be a DataStore, an ObservationTable or "
            "Observations"
        ) from None
    if number == 0:
        raise ValueError(f"{argument}: has no runs")
    if not isinstance(table, Table):
        for observation in table:
            if not isinstance(observation, Observation):
                raise TypeError(
                    f"{argument} holds {observation!r}: must be a DataStore, an "
                    "ObservationTable or Observations"
                )
            # which names what is broken, where gammapy would fail without a name
            read_run(observation, with_events=False)
        # each part of a file is read once
        data = [read_once(observation) for observation in table]
    columns = columns or {}
    if isinstance(table, Table):
        index = Index(table, data.hdu_table if is_store else None)
        runs, locate = from_index(index, wanted, columns)
        gone = []
    else:
        data, gone = _cut_observations(data, bad_times)
        runs, locate = _from_observations(data, argument, columns, location is None)
    given = location is not None
    location = stack_locations([location] * len(runs)) if given else locate()
    _check_unique(runs, argument)
    runs, location = _without_broken(runs, location, argument, skip_broken)
    if is_store and bad_times is not None:
        runs, location = _without_bad_times(runs, location, data, bad_times)
    runs.meta["left_out"] += gone
    if not len(runs):
        raise ValueError("bad_times leave no run")
    _clean(runs)
    _add_pointing(runs, location)
    for name, unit in UNITS.items():
        if name in runs.colnames:
            runs[name].unit = unit
    runs.sort("OBS_ID")
    return runs


def _cut_observations(observations, bad_times):
    """Observations without their bad times, and those of which nothing is left."""
    if bad_times is None:
        return observations, []
    cut, gone = [], []
    for observation in observations:
        gti = bad_times.good_gti(observation.obs_id, observation.gti)
        if len(gti.table):
            cut.append(bad_times.cut(observation))
        else:
            gone.append((int(observation.obs_id), _ONLY_BAD))
    if not cut:
        raise ValueError("bad_times leave no run")
    return cut, gone


def _without_bad_times(runs, location, store, bad_times):
    """Take bad times from the time of runs of a data store; their GTIs are read."""
    keep = np.ones(len(runs), dtype=bool)
    for row in np.flatnonzero(np.isin(runs["OBS_ID"], bad_times.obs_ids)):
        obs_id = int(runs["OBS_ID"][row])
        old = store.obs(obs_id, required_irf=[]).gti
        new = bad_times.good_gti(obs_id, old)
        if not len(new.table):
            keep[row] = False
            runs.meta["left_out"].append((obs_id, _ONLY_BAD))
            continue
        start, stop = new.time_start.min(), new.time_stop.max()
        part = float((new.time_sum / old.time_sum).to_value(""))
        runs["TIME"][row] = (start.tt.mjd + stop.tt.mjd) / 2
        runs["SPAN"][row] = (stop - start).to_value("s")
        for name in ("ONTIME", "LIVETIME"):
            runs[name][row] *= part
    return runs[keep], location[keep]


def _check_unique(runs, argument):
    """Raise an error for runs of the same name."""
    obs_id, number = np.unique(runs["OBS_ID"], return_counts=True)
    if (number > 1).any():
        raise ValueError(
            f"{argument}: OBS_ID {obs_id[number > 1].tolist()} more than once; "
            "runs are looked up by OBS_ID, keep one of each"
        )


def _without_broken(runs, location, argument, skip):
    """Keep the runs with time and pointing; others are an error, or in the meta."""
    has_place = np.where(
        np.isnan(runs["RA_PNT"]),  # drift mode
        _is_place(runs, "AZ_PNT", "ALT_PNT"),
        _is_place(runs, "RA_PNT", "DEC_PNT"),
    )
    problems = {
        "without pointing (RA_PNT, DEC_PNT)": ~has_place,
        "without time (TSTART, TSTOP)": ~np.isfinite(runs["TIME"]),
    }
    broken, left_out = np.zeros(len(runs), dtype=bool), []
    for problem, mask in problems.items():
        ids = np.asarray(runs["OBS_ID"])[mask & ~broken].tolist()
        left_out += [(obs_id, problem) for obs_id in ids]
        broken |= mask
        if not ids:
            continue
        text = f"{argument}: OBS_ID {ids} {problem}"
        if not skip or broken.all():
            raise ValueError(f"{text}; remove them")
        log.warning("%s, left out", text)
    runs, location = runs[~broken], location[~broken]
    runs.meta["left_out"] = left_out
    return runs, location


def _is_place(runs, lon, lat):
    """Whether two columns hold a place on the sphere, for each run."""
    lon, lat = (np.asarray(runs[name], dtype=float) for name in (lon, lat))
    return np.isfinite(lon) & (np.abs(lat) <= 90)
