"""`Run`: a run as arrays, the only form in which runs are moved, scrambled and written.

`~gammapy_mimic.data.read_run` makes one of any observation, and
`~gammapy_mimic.data.to_observation` an observation of it.
"""

import logging
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from astropy import units as u
from astropy.table import Column
from astropy.time import Time

from gammapy_mimic.data.keywords import gti_keywords
from gammapy_mimic.io.gadf import MANDATORY, UNITS
from gammapy_mimic.io.tables import table_content
from gammapy_mimic.sky.astrometry import tt_days
from gammapy_mimic.sky.camera import Pointing
from gammapy_mimic.sky.columns import DEPENDENT_COLUMNS, dependent_columns
from gammapy_mimic.sky.positions import EventPositions

__all__ = ["Change", "Run", "check_events"]

log = logging.getLogger(__name__)

_GTI_CARDS = ("TELESCOP", "INSTRUME", "OBS_ID", "GEOLON", "GEOLAT", "ALTITUDE")
"""Cards of EVENTS that GTI has, too."""


@dataclass(frozen=True)
class Change:
    """What becomes of the events of a run whose sky changes.

    Parameters
    ----------
    rows : `~numpy.ndarray` of int
        Which of the old events each of the new ones is, shape (n,).
    moved : `~numpy.ndarray` of int
        Which of the new events have new places, shape (k,).
    lon_deg, lat_deg : `~numpy.ndarray`
        ICRS positions of those, shape (k,).
    seconds : `~numpy.ndarray`, optional
        Their new times since the start of the first good time interval: they are
        copies, which get an EVENT_ID of their own. By default the times stay.
    """

    rows: np.ndarray
    moved: np.ndarray
    lon_deg: np.ndarray
    lat_deg: np.ndarray
    seconds: np.ndarray = None

    def new_ids(self, old_ids):
        """EVENT_IDs of the copies: they follow on the largest old one."""
        first = int(old_ids.max()) + 1 if len(old_ids) else 1
        return first + np.arange(len(self.moved))


@dataclass(frozen=True)
class Run:
    """A run as arrays.

    Parameters
    ----------
    obs_id : int
        OBS_ID.
    header : dict
        Cards of EVENTS, as from `~gammapy_mimic.io.header.read_cards`.
    reference : `~astropy.time.Time`
        Time from which seconds count.
    gti_s : `~numpy.ndarray`
        Starts and ends of the good time intervals in seconds, shape (2, n).
    pointing : `~gammapy_mimic.sky.camera.Pointing`
        Location and pointing.
    deadtime_fraction : float
        Dead time per good time.
    seconds : `~numpy.ndarray`, optional
        Times of the events. Default is no events.
    columns : dict of `~astropy.table.Column`, optional
        Columns of the events by name, but TIME: RA and DEC in deg, ENERGY in TeV,
        others as they come. Default is none.
    """

    obs_id: int
    header: dict
    reference: Time
    gti_s: np.ndarray
    pointing: Pointing
    deadtime_fraction: float
    seconds: np.ndarray = field(default_factory=lambda: np.zeros(0))
    columns: dict = field(default_factory=dict)

    @property
    def ontime_s(self):
        """Sum of the good time, in seconds."""
        return float((self.gti_s[1] - self.gti_s[0]).sum())

    @property
    def start_s(self):
        """Start of the first good time interval, in seconds since the reference."""
        return float(self.gti_s[0].min())

    @cached_property
    def _tt(self):
        return tt_days(self.reference)

    def origin(self, seconds=0.0):
        """Time in the form that `gammapy_mimic.sky.camera` takes.

        Parameters
        ----------
        seconds : float, optional
            Seconds since the reference. Default is 0.

        Returns
        -------
        tt1, tt2 : float
            Parts of the Julian date (TT).
        """
        tt1, tt2 = self._tt
        return tt1, tt2 + seconds / 86400

    def __getitem__(self, rows):
        """Run with some of the events."""
        columns = {name: column[rows] for name, column in self.columns.items()}
        return replace(self, seconds=self.seconds[rows], columns=columns)

    def values(self, name):
        """Numbers of a column in double precision; angles in degrees, ENERGY in TeV.

        Masked values are NaN.
        """
        column = self.columns[name]
        values = np.ma.filled(np.ma.asarray(column).astype(float), np.nan)
        wanted = UNITS.get(name, "deg")
        if column.unit is None or column.unit == u.Unit(wanted):
            return values
        return column.unit.to(wanted, values)

    def moved(self, old, new, **options):
        """Run whose events got new places.

        Parameters
        ----------
        old, new : `~gammapy_mimic.sky.positions.EventPositions`
            Where the events are, and where they come to be.
        **options
            Of `~gammapy_mimic.sky.columns.dependent_columns`.

        Returns
        -------
        moved : `Run`
            Run with other columns. RA and DEC are float64.
        """
        columns = dict(self.columns)
        for name, values in (("RA", new.lon_deg), ("DEC", new.lat_deg)):
            columns[name] = Column(values, name=name, unit="deg")
        given = {
            name: self.values(name) for name in DEPENDENT_COLUMNS if name in columns
        }
        if given:
            options["label"] = f"Run {self.obs_id}"
            for name, values in dependent_columns(given, old, new, **options).items():
                column = columns.pop(name)
                if values is not None:
                    columns[name] = _like(values, column)
        # in the order that they had
        kept = {name: columns[name] for name in self.columns if name in columns}
        return replace(self, columns=kept)

    def changed(self, change):
        """Run whose sky changes.

        Parameters
        ----------
        change : `Change`
            What becomes of its events.

        Returns
        -------
        changed : `Run`
            Run with other events. RA and DEC are float64; columns that cannot follow
            the new places are removed.
        """
        run, part = self[change.rows], self[change.rows[change.moved]]
        origin, seconds = self.origin(self.start_s), part.seconds - self.start_s
        place = part.values("RA"), part.values("DEC")
        old = EventPositions(self.pointing, origin, seconds, *place)
        new = replace(old, lon_deg=change.lon_deg, lat_deg=change.lat_deg)
        if change.seconds is not None:
            new = replace(new, seconds=change.seconds)
        columns = part.moved(old, new).columns
        if change.seconds is not None and "EVENT_ID" in columns:
            ids = change.new_ids(np.asarray(self.columns["EVENT_ID"]).astype(np.int64))
            columns["EVENT_ID"] = Column(ids, name="EVENT_ID")
        kept = {
            name: _with_rows(column, change.moved, columns[name])
            for name, column in run.columns.items()
            if name in columns or not len(change.moved)
        }
        seconds = run.seconds
        if change.seconds is not None:
            seconds[change.moved] = change.seconds + self.start_s
        return replace(run, seconds=seconds, columns=kept)

    def events_content(self, header):
        """EVENTS HDU.

        Parameters
        ----------
        header : dict
            Its cards.

        Returns
        -------
        header, data : bytes
            As from `~gammapy_mimic.io.tables.table_content`.
        """
        given = dict(self.columns)
        given["TIME"] = Column(self.seconds, unit="s")
        given["EVENT_ID"] = self._event_ids()
        columns = {name: given.pop(name) for name in MANDATORY} | given
        label = f"OBS_ID {self.obs_id}"
        return table_content(columns, header, name="EVENTS", label=label)

    def _event_ids(self):
        """Integer and unique numbers of the events: those of the run, if they are."""
        column, n = self.columns.get("EVENT_ID"), len(self.seconds)
        if column is None:
            return np.arange(n, dtype=np.int64)
        is_number = column.dtype.kind in "iuf" and column.ndim == 1
        if is_number and not np.any(getattr(column, "mask", False)):
            ids = np.asarray(column).astype(np.int64)
            is_whole = np.array_equal(ids, np.asarray(column))
            # faster than numpy.unique
            if is_whole and np.all(np.diff(np.sort(ids)) > 0):
                return ids
        log.info(
            "OBS_ID %s: EVENT_ID does not hold one unique integer for each event; "
            "events are numbered.",
            self.obs_id,
        )
        return np.arange(n, dtype=np.int64)

    def gti_content(self, header):
        """GTI HDU, in the time reference of the events.

        Parameters
        ----------
        header : dict
            Cards of EVENTS.

        Returns
        -------
        header, data : bytes
            As from `~gammapy_mimic.io.tables.table_content`.
        """
        cards = gti_keywords(self.gti_s, reference=self.reference, header=header)
        cards |= {key: header[key] for key in _GTI_CARDS if key in header}
        columns = {
            name: Column(values, unit="s")
            for name, values in zip(("START", "STOP"), self.gti_s, strict=True)
        }
        label = f"OBS_ID {self.obs_id}"
        return table_content(columns, cards, name="GTI", label=label)


def _like(values_deg, column):
    """Degrees in the unit and type of a column."""
    unit = u.deg if column.unit is None else column.unit
    values = u.deg.to(unit, values_deg).astype(column.dtype)
    return Column(values, name=column.name, unit=column.unit)


def _with_rows(column, rows, other):
    """Column with some entries of another one; RA and DEC become float64."""
    data = column.astype(other.dtype)
    data[rows] = other
    return data


_LIMITS = {"ENERGY": (0, np.inf), "DEC": np.nextafter([-90, 90], [-np.inf, np.inf])}
_DAY_S = 86400.0


def check_events(run):
    """Raise an error for invalid values of events.

    Parameters
    ----------
    run : `Run`
        Run with events.

    Raises
    ------
    ValueError
        If a value is not finite, an energy not positive or a declination beyond
        90 deg, if a time is more than a day away from the good time, or if all
        events lie before or after it.
    """
    label, limits, time = f"run {run.obs_id}: EVENTS", dict(_LIMITS), run.seconds
    start, stop = run.gti_s[0].min(), run.gti_s[1].max()
    if len(time) and (time.max() < start or time.min() > stop):
        raise ValueError(
            f"{label} are all from outside of the good time intervals (GTI): are "
            "the time references (MJDREFI, MJDREFF, TIMESYS) of both HDUs right?"
        )
    limits["TIME"] = start - _DAY_S, stop + _DAY_S
    for name in UNITS:
        values = time if name == "TIME" else run.values(name)
        low, high = limits.get(name, (-np.inf, np.inf))
        bad = ~((values > low) & (values < high))
        if bad.any():
            raise ValueError(
                f"{label} has {bad.sum()} of {len(values)} events with an invalid "
                f"{name}, such as {values[bad][0]}; remove them"
            )
