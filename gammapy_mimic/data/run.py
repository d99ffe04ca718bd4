"""Runs in plain numbers, as DL3 files hold them.

gammapy's objects of one run take longer to make than a mimic. Where both runs of a
mimic are on disk, in tables of the plain kind, they are read as numbers, moved as
numbers and written as numbers. Whatever is not plain is left to gammapy.
"""

import functools
import logging
import math
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from astropy.time import Time
from gammapy.data import PointingMode

from gammapy_mimic.data import compat
from gammapy_mimic.io.cards import COMMENTARY, Header, as_dict
from gammapy_mimic.io.files import SourceHDU, error_context
from gammapy_mimic.io.gadf import (
    gti_keywords,
    header_reference,
    location_keywords,
    same_reference,
    seconds_since,
)
from gammapy_mimic.io.headers import make_header
from gammapy_mimic.io.tables import binary_table, number_column, read_columns
from gammapy_mimic.sky.astrometry import tt_days
from gammapy_mimic.sky.camera import Pointing
from gammapy_mimic.sky.events import (
    DEPENDENT_COLUMNS,
    EventPositions,
    check_values,
    dependent_columns,
)

__all__ = [
    "MANDATORY",
    "UNITS",
    "Run",
    "check_run",
    "events_table",
    "gti_seconds",
    "gti_table",
    "plain_run",
]

log = logging.getLogger(__name__)

UNITS = {"RA": "deg", "DEC": "deg", "ENERGY": "TeV"}
"""Units that GADF demands of the mandatory columns."""

MANDATORY = ("EVENT_ID", "TIME", "RA", "DEC", "ENERGY")
"""Columns that GADF demands, in the order of the file."""

# of seconds of the same length
_SCALES = ("tt", "tai", "utc")


@dataclass(frozen=True)
class Run:
    """A run in plain numbers.

    Parameters
    ----------
    obs_id : int
        OBS_ID.
    header : mapping
        Cards of EVENTS.
    reference : `~astropy.time.Time`
        Time from which seconds count.
    tt : tuple of float
        The same, as from `~gammapy_mimic.sky.astrometry.tt_days`.
    gti_s : `~numpy.ndarray`
        Starts and ends of the good time intervals, shape (2, n).
    ontime_s : float
        Sum of the good time.
    pointing : `~gammapy_mimic.sky.camera.Pointing`
        Location and pointing.
    deadtime_fraction : float
        Dead time per good time.
    seconds : `~numpy.ndarray`
        Times of the events.
    columns : dict, optional
        Columns of the events as a file holds them, by name. Default is none.
    gti_reference : `~astropy.time.Time`, optional
        Time from which those of the good time intervals count. Default is
        ``reference``.
    header_is_final : bool, optional
        Whether the cards are known to say what the run says. Default is False.
    """

    obs_id: int
    header: object
    reference: Time
    tt: tuple
    gti_s: np.ndarray
    ontime_s: float
    pointing: Pointing
    deadtime_fraction: float
    seconds: np.ndarray
    columns: dict = field(default_factory=dict)
    gti_reference: Time = None
    header_is_final: bool = False

    @classmethod
    def from_observation(cls, observation, events=None):
        """Run in plain numbers of an observation, without columns.

        Parameters
        ----------
        observation : `~gammapy.data.Observation`
            Run with GTI, pointing and metadata.
        events : `~gammapy.data.EventList`, optional
            Its events. By default only their header is looked at.

        Returns
        -------
        run : `Run`
            The same run.

        Raises
        ------
        ValueError
            If its good time intervals have no single start and stop each.
        """
        header, seconds = compat.events_header(observation), np.zeros(0)
        gti = observation.gti
        shapes = {gti.time_start.shape, gti.time_stop.shape}
        if len(shapes) > 1 or max(map(len, shapes)) > 1:
            raise ValueError(
                f"run {observation.obs_id}: START and STOP of its good time intervals "
                "(GTI) must be one number in each row"
            )
        with error_context(f"run {observation.obs_id}: reference time of EVENTS"):
            reference = header_reference(header) or gti.time_ref
        if events is not None:
            seconds = seconds_since(events.table["TIME"], reference)
        pointing = Pointing.from_observation(observation)
        if pointing.site is not None:
            # the very numbers of the header, where they mean the same
            site = location_keywords(pointing.site, header=header)
            pointing = replace(pointing, site=tuple(site.values()))
        return cls(
            obs_id=observation.obs_id,
            header=header,
            reference=reference,
            tt=tt_days(reference),
            gti_s=gti_seconds(gti, gti.time_ref),
            ontime_s=float(gti.time_sum.to_value("s")),
            pointing=pointing,
            deadtime_fraction=observation.observation_dead_time_fraction,
            seconds=np.atleast_1d(seconds),
            gti_reference=gti.time_ref,
        )

    @cached_property
    def good_s(self):
        """Starts and ends of the good time intervals since the reference."""
        own = self.gti_reference
        if own is None or same_reference(own, self.reference):
            return self.gti_s
        return self.gti_s + seconds_since(own, self.reference)

    @property
    def start_s(self):
        """Start of the first good time interval, in seconds since the reference."""
        return float(self.good_s[0].min())

    def origin(self, seconds=0.0):
        """Time in the form that `gammapy_mimic.sky.camera` takes.

        Parameters
        ----------
        seconds : float, optional
            Seconds since the reference. Default is 0.

        Returns
        -------
        tt1, tt2 : float
            Parts of the Julian date.
        """
        tt1, tt2 = self.tt
        return tt1, tt2 + seconds / 86400

    def __getitem__(self, rows):
        """Run with some of the events."""
        columns = {
            name: replace(column, data=column.data[rows])
            for name, column in self.columns.items()
        }
        return replace(self, seconds=self.seconds[rows], columns=columns)

    def values(self, name):
        """Numbers of a column in double precision, in the unit that the file has."""
        return self.columns[name].data.astype(float)

    def moved(self, old, new, **options):
        """Run whose events got new places.

        Parameters
        ----------
        old, new : `~gammapy_mimic.sky.events.EventPositions`
            Where the events are, and where they come to be.
        **options
            Of `~gammapy_mimic.sky.events.dependent_columns`.

        Returns
        -------
        moved : `Run`
            Run with other columns. RA and DEC are float64.
        """
        columns = dict(self.columns)
        columns["RA"] = number_column("RA", new.lon_deg, "deg")
        columns["DEC"] = number_column("DEC", new.lat_deg, "deg")
        given = {
            name: self.values(name) for name in DEPENDENT_COLUMNS if name in columns
        }
        label = f"Run {self.obs_id}"
        changed = (
            dependent_columns(given, old, new, label=label, **options) if given else {}
        )
        for name, values in changed.items():
            if values is None:
                del columns[name]
            else:
                data = values.astype(columns[name].data.dtype)
                columns[name] = replace(columns[name], data=data)
        return replace(self, columns=columns)

    def changed(self, change):
        """Run whose sky changes, as `~gammapy_mimic.sky.events.changed_events`.

        Parameters
        ----------
        change : `~gammapy_mimic.sky.events.Change`
            What becomes of its events.

        Returns
        -------
        changed : `Run`
            Run with other columns.
        """
        run, part = self[change.rows], self[change.rows[change.moved]]
        origin, seconds = self.origin(self.start_s), part.seconds - self.start_s
        old = EventPositions(
            self.pointing, origin, seconds, part.values("RA"), part.values("DEC")
        )
        new = replace(old, lon_deg=change.lon_deg, lat_deg=change.lat_deg)
        if change.seconds is not None:
            new = replace(new, seconds=change.seconds)
        columns = part.moved(old, new).columns
        if change.seconds is not None and "EVENT_ID" in columns:
            ids = change.new_ids(self.columns["EVENT_ID"].data.astype(np.int64))
            columns["EVENT_ID"] = replace(columns["EVENT_ID"], data=ids)
        kept = {
            name: _with_rows(column, change.moved, columns[name])
            for name, column in run.columns.items()
            if name in columns or not len(change.moved)
        }
        seconds = run.seconds
        if change.seconds is not None:
            seconds[change.moved] = change.seconds + self.start_s
        return replace(run, seconds=seconds, columns=kept, header_is_final=False)

    def hdu(self, name):
        """Part of the run as a file would have it, for gammapy's readers.

        Parameters
        ----------
        name : {"events", "gti", "pointing", "observation_metadata"}
            Which part.

        Returns
        -------
        hdu : `~gammapy_mimic.io.files.SourceHDU`
            HDU.
        """
        header, data = (gti_table if name == "gti" else events_table)(self, self.header)
        return SourceHDU(header, Header(header), data)


def _with_rows(column, rows, other):
    """Column with some entries of another one; RA and DEC become float64."""
    data = column.data.astype(other.data.dtype)
    data[rows] = other.data
    return replace(column, form=other.form, data=data)


def check_run(run):
    """Raise an error for events that cannot be; see `check_events`.

    Parameters
    ----------
    run : `Run`
        Run with columns.
    """
    columns = {"TIME": run.seconds} | {name: run.values(name) for name in UNITS}
    check_values(columns, run.good_s, f"run {run.obs_id}: EVENTS", day=86400)


def events_table(run, header):
    """EVENTS HDU of a run.

    Parameters
    ----------
    run : `Run`
        Run with all columns.
    header : mapping
        Its cards.

    Returns
    -------
    header, data : bytes
        As from `~gammapy_mimic.io.tables.binary_table`.
    """
    given = {**run.columns, "TIME": number_column("TIME", run.seconds, "s")}
    given["EVENT_ID"] = _event_ids(run)
    columns = [given.pop(name) for name in MANDATORY] + list(given.values())
    cards = make_header(header, label=f"OBS_ID {run.obs_id}, EVENTS")
    return binary_table(columns, cards, name="EVENTS")


def _event_ids(run):
    """Integer and unique numbers of the events: those of the run, if they are."""
    column, n = run.columns.get("EVENT_ID"), len(run.seconds)
    if column is not None:
        ids = column.data.astype(np.int64)
        is_whole = column.data.dtype.kind in "iu" or np.array_equal(ids, column.data)
        if is_whole and _all_different(ids):
            return number_column("EVENT_ID", ids)
        log.info("OBS_ID %s: EVENT_ID is not unique, events are numbered.", run.obs_id)
    return number_column("EVENT_ID", np.arange(n, dtype=np.int64))


def _all_different(numbers):
    # faster than numpy.unique
    return bool(np.all(np.diff(np.sort(numbers)) > 0))


def gti_table(run, header):
    """GTI HDU of a run, in the time reference of its events or its own.

    Parameters
    ----------
    run : `Run`
        Run.
    header : mapping
        Cards of its EVENTS.

    Returns
    -------
    header, data : bytes
        As from `~gammapy_mimic.io.tables.binary_table`.
    """
    reference = run.reference if run.gti_reference is None else run.gti_reference
    keywords = gti_keywords(run.gti_s, reference=reference, header=header)
    shared = ("TELESCOP", "INSTRUME", "OBS_ID", "GEOLON", "GEOLAT", "ALTITUDE")
    keywords |= {key: header[key] for key in shared if key in header}
    columns = [
        number_column(name, values, "s")
        for name, values in zip(("START", "STOP"), run.gti_s, strict=True)
    ]
    cards = make_header(keywords, label=f"OBS_ID {run.obs_id}, GTI")
    return binary_table(columns, cards, name="GTI")


def gti_seconds(gti, reference):
    """Give starts and ends of good time intervals.

    Parameters
    ----------
    gti : `~gammapy.data.GTI`
        Good time intervals.
    reference : `~astropy.time.Time`
        Time from which seconds count.

    Returns
    -------
    seconds : `~numpy.ndarray`
        Shape (2, n).
    """
    times = gti.time_start, gti.time_stop
    return np.stack([np.atleast_1d(seconds_since(time, reference)) for time in times])


def plain_run(observation, *, with_events=True):
    """Run in plain numbers of an observation that was not loaded, and is plain.

    Parameters
    ----------
    observation : `~gammapy.data.Observation`
        Run on disk, or a mimic of such runs.
    with_events : bool, optional
        Whether more of the events than their header is wanted. Default is True.

    Returns
    -------
    run : `Run` or None
        None for a run of which something was loaded, set or filtered, or whose file
        is not of the plain kind or broken: gammapy reads it, or says what is wrong.
    """
    held = compat.lazy_run(observation)
    if held is not None:
        return held
    locations = compat.unloaded_parts(observation)
    if locations is None or not isinstance(observation.obs_id, int):
        return None
    try:
        events, gti = (location.source() for location in locations)
        return _read(observation.obs_id, events, gti, with_events)
    except (LookupError, ValueError, TypeError, AttributeError, ArithmeticError):
        return None


def _read(obs_id, events, gti, with_events):
    """Run of two HDUs; any of several errors if they are not plain."""
    header = events.header
    cards = as_dict(header)  # which fails if one of them is broken
    if any(isinstance(cards[key], list) for key in set(cards).difference(COMMENTARY)):
        raise ValueError("a card that comes several times")
    if gti.header.get("TIMEUNIT", "s") != "s":
        raise ValueError("good time is not counted in seconds")
    good = read_columns(gti.header, gti.data)
    gti_s = np.stack([_column(good, name, "s") for name in ("START", "STOP")])
    deadtime_fraction = 1 - _number(header, "DEADC")
    reference, tt = _reference(header)
    columns, seconds = _events(events) if with_events else ({}, np.zeros(0))
    is_sound = (
        gti_s.size > 0
        and np.all(np.isfinite(gti_s))
        and np.all(gti_s[1] > gti_s[0])
        and np.all(np.isfinite(seconds))
        and 0 <= deadtime_fraction <= 1
    )
    if not is_sound:
        raise ValueError("times that others have to complain of")
    return Run(
        obs_id=obs_id,
        header=header,
        reference=reference,
        tt=tt,
        gti_s=gti_s,
        ontime_s=float((gti_s[1] - gti_s[0]).sum()),
        pointing=_pointing(header),
        deadtime_fraction=deadtime_fraction,
        seconds=seconds,
        columns=columns,
        gti_reference=_reference(gti.header)[0],
    )


def _events(hdu):
    """Columns and times of the events."""
    columns = read_columns(hdu.header, hdu.data)
    for name, unit in UNITS.items():
        _check_plain(columns, name, unit)
    if "EVENT_ID" in columns and columns["EVENT_ID"].cards:
        raise ValueError("EVENT_ID is not plain")
    for name in set(DEPENDENT_COLUMNS) & set(columns):
        _check_plain(columns, name, "deg")
    # gammapy drops what follows from RA and Dec, too
    kept = {name: columns[name] for name in columns if name not in ("GLON", "GLAT")}
    return kept, _column(columns, "TIME", "s")


def _reference(header):
    """Give the reference time, as gammapy has it and as ERFA takes it."""
    values = (_number(header, key) for key in ("MJDREFI", "MJDREFF"))
    return _plain_reference(*values, header.get("TIMESYS", "tt").lower())


@functools.lru_cache(maxsize=8)
def _plain_reference(mjdrefi, mjdreff, scale):
    """Make a reference time; most runs have the same."""
    if scale not in _SCALES:
        raise ValueError("no time scale of plain seconds")
    reference = Time(mjdrefi, mjdreff, format="mjd", scale=scale)
    return reference, tt_days(reference)


def _pointing(header):
    """Location and pointing, by the rules of gammapy."""
    if "GEOALT" in header:
        raise ValueError("a card that gammapy takes instead of ALTITUDE")
    site = tuple(_number(header, key) for key in ("GEOLON", "GEOLAT", "ALTITUDE"))
    drifts = header.get("OBS_MODE", "POINTING").upper() == PointingMode.DRIFT.name
    keys = ("AZ_PNT", "ALT_PNT") if drifts else ("RA_PNT", "DEC_PNT")
    lon_deg, lat_deg = (_number(header, key) for key in keys)
    if abs(lat_deg) > 90 or abs(site[1]) > 90:
        raise ValueError("an angle beyond the pole")
    return Pointing(site, lon_deg, lat_deg, drifts)


def _number(header, key):
    value = header[key]
    if type(value) not in (int, float) or not math.isfinite(value):
        raise ValueError(f"{key} is not a number")
    return float(value)


def _check_plain(columns, name, unit):
    """Raise an error for a column that is not one of numbers in this unit."""
    column = columns[name]
    forms = ("D", "1D") if unit == "s" else ("E", "1E", "D", "1D")
    if column.form not in forms or column.cards != {"TUNIT": unit}:
        raise ValueError(f"{name} is not plain")


def _column(columns, name, unit):
    """Values of a column of numbers in this unit."""
    _check_plain(columns, name, unit)
    column = columns[name]
    with np.errstate(invalid="ignore"):  # of signalling NaN; others complain of NaN
        return column.data.astype(float)
