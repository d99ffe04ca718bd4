"""Good time of runs: bad times taken out, and slices."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.table import Table
from astropy.time import Time
from gammapy.data import GTI, Observation

from gammapy_mimic.data import compat, read_run, to_observation
from gammapy_mimic.data.keywords import LIVETIME_RTOL, TIME_TOLERANCE_S, keep_equal
from gammapy_mimic.io.ecsv import read_ecsv

__all__ = ["BadTimes", "Part", "good_slice", "with_gti"]

_COLUMNS = ("OBS_ID", "START", "STOP")
# cards of the whole run, which are worked out again where they are wanted
_WHOLE_RUN = ("TSTART", "TSTOP", "TELAPSE")
# modified Julian dates that a plain number can be (1932 to 2132)
_MJD = (27_000, 100_000)


class BadTimes:
    """Times of runs that are not to be used, such as clouds or lightning.

    Parameters
    ----------
    source : str, `~pathlib.Path` or `~astropy.table.Table`, optional
        Table, or ECSV file, with columns OBS_ID, START and STOP. The times are
        `~astropy.time.Time`, text that it understands, modified Julian dates, or
        seconds since MJDREFI + MJDREFF of the meta. TIMESYS of the meta is their
        time scale where the column has none; the default is UTC. Default is None:
        no bad time.

    Raises
    ------
    OSError
        If the file cannot be opened.
    ValueError
        If a column is missing or is not a time, or an interval does not end after
        it starts.

    Examples
    --------
    >>> from astropy.table import Table
    >>> start, stop = "2004-12-08 20:10", "2004-12-08 20:15"
    >>> bad = BadTimes(Table({"OBS_ID": [23523], "START": [start], "STOP": [stop]}))
    >>> bad.obs_ids
    [23523]
    """

    def __init__(self, source: str | Path | Table | None = None) -> None:
        self._of_run = {}
        if source is None:
            return
        label = "bad_times" if isinstance(source, Table) else f"bad_times: {source}"
        if isinstance(source, str | Path):
            source = read_ecsv(source)
        if not isinstance(source, Table):
            raise TypeError(f"bad_times = {source!r}: must be a Table or an ECSV file")
        absent = [name for name in _COLUMNS if name not in source.colnames]
        if absent:
            raise ValueError(f"{label}: no column {', '.join(absent)}")
        if not len(source):
            return
        start, stop = (_times(source, name, label) for name in _COLUMNS[1:])
        ids = [int(obs_id) for obs_id in source["OBS_ID"]]
        wrong = np.flatnonzero(~(stop > start))
        if len(wrong):
            raise ValueError(
                f"{label}: run {ids[wrong[0]]}: START {start[wrong[0]].isot} is not "
                f"before STOP {stop[wrong[0]].isot}"
            )
        for obs_id in dict.fromkeys(ids):
            rows = np.array(ids) == obs_id
            self._of_run[obs_id] = start[rows], stop[rows]

    @classmethod
    def from_mjd(cls, intervals: dict[int, list]) -> "BadTimes":
        """Make them of numbers, as `to_mjd` gives them."""
        new = cls()
        for obs_id, pairs in intervals.items():
            times = Time(np.array(pairs, dtype=float), format="mjd", scale="tt")
            new._of_run[int(obs_id)] = times[:, 0], times[:, 1]
        return new

    def to_mjd(self, obs_ids: Collection[int] | None = None) -> dict[int, list]:
        """Give them as modified Julian dates (TT).

        Parameters
        ----------
        obs_ids : collection of int, optional
            Only those of these runs. Default is None: all.

        Returns
        -------
        intervals : dict of int to list of list of float
            Start and stop of each bad time, by OBS_ID.
        """
        return {
            obs_id: np.stack([start.tt.mjd, stop.tt.mjd], axis=1).tolist()
            for obs_id, (start, stop) in self._of_run.items()
            if obs_ids is None or obs_id in obs_ids
        }

    @property
    def obs_ids(self) -> list[int]:
        """Runs that have bad times (list of int)."""
        return list(self._of_run)

    def good_gti(self, obs_id: int, gti: GTI) -> GTI:
        """Good time intervals without the bad times of a run.

        Parameters
        ----------
        obs_id : int
            Run.
        gti : `~gammapy.data.GTI`
            Its good time intervals; not changed.

        Returns
        -------
        gti : `~gammapy.data.GTI`
            What is left of them, perhaps nothing; the same where no time is bad.
        """
        if int(obs_id) not in self._of_run:
            return gti
        start, stop = _seconds(gti)
        for bad_start, bad_stop in zip(*self._of_run[int(obs_id)], strict=True):
            low = (bad_start - gti.time_ref).to_value("s")
            high = (bad_stop - gti.time_ref).to_value("s")
            # what is left before and after the bad time
            ends = np.stack([np.minimum(stop, low), stop], axis=1)
            starts = np.stack([start, np.maximum(start, high)], axis=1)
            keep = ends > starts
            start, stop = starts[keep], ends[keep]
        return _gti(start, stop, gti)

    def cut(self, observation: Observation) -> Observation:
        """Run without its bad times.

        Parameters
        ----------
        observation : `~gammapy.data.Observation`
            Run; not changed.

        Returns
        -------
        observation : `~gammapy.data.Observation`
            The same where no time is bad, else one in memory.
        """
        if int(observation.obs_id) not in self._of_run:
            return observation
        gti = self.good_gti(observation.obs_id, observation.gti)
        return with_gti(observation, gti)


def _times(table, name, label):
    """Column as `~astropy.time.Time`."""
    column = table[name]
    if isinstance(column, Time):
        return column
    scale = str(table.meta.get("TIMESYS", "utc")).lower()
    try:
        if column.dtype.kind in "SUO":
            return Time([str(value).strip() for value in column], scale=scale)
        if column.unit is not None and u.Unit(column.unit) != u.d:
            day = float(table.meta["MJDREFI"]) + float(table.meta["MJDREFF"])
            return Time(day, format="mjd", scale=scale) + u.Quantity(column).to("s")
        values = np.asarray(column, dtype=float)
        if not ((values > _MJD[0]) & (values < _MJD[1])).all():
            raise ValueError(f"{values.tolist()[:3]} are not modified Julian dates")
        return Time(values, format="mjd", scale=scale)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{label}: column {name} is not a time: {error}; write dates such as "
            "2004-12-08 20:10:00, modified Julian dates, or seconds with MJDREFI and "
            "MJDREFF in the meta"
        ) from error


def _seconds(gti):
    """Give starts and ends in order of time, in seconds since the reference."""
    start, stop = (
        np.atleast_1d((time - gti.time_ref).to_value("s"))
        for time in (gti.time_start, gti.time_stop)
    )
    order = np.argsort(start)
    return start[order], stop[order]


def _gti(start_s, stop_s, like):
    """Good time intervals from seconds since the reference of others."""
    scale = like.time_start.scale
    times = (getattr(like.time_ref + s * u.s, scale) for s in (start_s, stop_s))
    return GTI.create(*times, reference_time=like.time_ref)


def good_slice(gti, start, stop):
    """Part of the good time of a run.

    Parameters
    ----------
    gti : `~gammapy.data.GTI`
        Good time intervals; not changed.
    start, stop : `~astropy.units.Quantity`
        Beginning and end of the part, in good time since the start of the run: what
        lies between two intervals does not count.

    Returns
    -------
    gti : `~gammapy.data.GTI`
        Good time intervals whose sum is ``stop - start``, or less at the end of the
        run.
    """
    low, high = _seconds(gti)
    before = np.cumsum(high - low) - (high - low)
    start_s, stop_s = (u.Quantity(value).to_value("s") for value in (start, stop))
    first = low + np.clip(start_s - before, 0, high - low)
    last = low + np.clip(stop_s - before, 0, high - low)
    keep = last > first
    return _gti(first[keep], last[keep], gti)


def with_gti(observation, gti):
    """Run with other good time intervals, and only the events in them.

    Parameters
    ----------
    observation : `~gammapy.data.Observation`
        Run; not changed.
    gti : `~gammapy.data.GTI`
        Its new good time intervals.

    Returns
    -------
    observation : `~gammapy.data.Observation`
        Run whose events are in memory.

    Raises
    ------
    ValueError
        If no good time is left.
    """
    run = _with_gti(read_run(observation), gti)
    seconds = run.seconds[:, np.newaxis]
    inside = ((seconds >= run.gti_s[0]) & (seconds <= run.gti_s[1])).any(axis=1)
    return to_observation(run[inside], **compat.irfs(observation))


def _with_gti(run, gti):
    """Run as arrays with other good time intervals, and all its events."""
    if not len(gti.table):
        raise ValueError(f"run {run.obs_id}: no good time is left")
    ends = gti.time_start, gti.time_stop
    gti_s = np.array([(time - run.reference).to_value("s") for time in ends])
    return _with_own_times(replace(run, gti_s=gti_s))


def _with_own_times(run):
    """Part of a run without the times that its header gives for the whole run."""
    good = {"ONTIME": run.ontime_s}
    good["LIVETIME"] = run.ontime_s * (1 - run.deadtime_fraction)
    given = {key: value for key, value in good.items() if key in run.header}
    limits = {"ONTIME": TIME_TOLERANCE_S, "LIVETIME": LIVETIME_RTOL * run.ontime_s}
    kept = keep_equal(given, run.header, limits)
    if all(kept[key] == run.header[key] for key in given):
        return run
    header = {key: it for key, it in run.header.items() if key not in _WHOLE_RUN}
    return replace(run, header=header | kept)


@dataclass(frozen=True)
class Part:
    """What of two runs becomes a mimic, and what that is called.

    Parameters
    ----------
    obs_id : int
        OBS_ID of the mimic.
    target_id : int
        OBS_ID of the target.
    bad_times : dict of int to list
        Bad times of both runs, see `BadTimes.to_mjd`.
    times_s : tuple of float or None
        Good time at which the part begins in the target, and at which the slice of
        the donor begins and ends. None for whole runs.
    """

    obs_id: int
    target_id: int
    bad_times: dict
    times_s: tuple | None = None

    @property
    def is_whole(self):
        """Whether both runs are taken as they are (bool)."""
        return self.times_s is None and not self.bad_times

    def cut(self, target, donor):
        """Cut two runs.

        Parameters
        ----------
        target, donor : `~gammapy.data.Observation`
            Runs; not changed.

        Returns
        -------
        target, donor : `~gammapy.data.Observation`
            The same, or what is to be used of them; the target has the OBS_ID of the
            mimic.
        """
        if self.is_whole:
            return target, donor
        span = None
        if self.times_s is not None:
            begin, start, stop = self.times_s
            span = begin, begin + stop - start
        run = read_run(self._cut(target, span))
        header = {**run.header, "OBS_ID": self.obs_id}
        run = replace(run, obs_id=self.obs_id, header=header)
        target = to_observation(run, **compat.irfs(target))
        return target, self.cut_donor(donor)

    def cut_donor(self, donor):
        """Cut the donor alone, see `cut`."""
        if self.is_whole:
            return donor
        return self._cut(donor, None if self.times_s is None else self.times_s[1:])

    def _cut(self, run, span_s):
        """Run without its bad times, and only a part of its good time."""
        gti = BadTimes.from_mjd(self.bad_times).good_gti(run.obs_id, run.gti)
        if span_s is not None:
            gti = good_slice(gti, *(value * u.s for value in span_s))
        return with_gti(run, gti)

    def label(self, mimic):
        """Write into a mimic to which target it belongs (card MIM_TGT).

        Parameters
        ----------
        mimic : `~gammapy.data.Observation`
            Mimic.

        Returns
        -------
        mimic : `~gammapy.data.Observation`
            The same for a whole target, whose OBS_ID it has, else one with the card.
        """
        if self.times_s is None:
            return mimic
        run = read_run(mimic)
        header = {**run.header, "MIM_TGT": self.target_id}
        return to_observation(replace(run, header=header), **compat.irfs(mimic))
