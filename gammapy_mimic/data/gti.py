"""Good time intervals and times of a run that is moved to another night."""

import numpy as np
from astropy import units as u
from gammapy.data import GTI

__all__ = ["first_of", "in_scale", "moved_gti", "overlap", "spread_times"]


def in_scale(time, reference):
    """Give times in the time scale of a reference time.

    Parameters
    ----------
    time, reference : `~astropy.time.Time`
        Times, and the time whose scale is wanted.

    Returns
    -------
    time : `~astropy.time.Time`
        The very same times where the scale is right already.
    """
    return time if time.scale == reference.scale else getattr(time, reference.scale)


def moved_gti(gti, shift, *, reference, ontime=None):
    """Good time intervals at another time.

    Parameters
    ----------
    gti : `~gammapy.data.GTI`
        Good time intervals, not changed.
    shift : `~astropy.units.Quantity` or `~astropy.time.TimeDelta`
        By how much they move.
    reference : `~astropy.time.Time`
        Reference time and time scale of the result.
    ontime : `~astropy.units.Quantity`, optional
        Keep only the first of the good time, up to this sum. Default is None, which
        keeps all.

    Returns
    -------
    moved : `~gammapy.data.GTI`
        New good time intervals.
    """
    start, stop = gti.time_start + shift, gti.time_stop + shift
    if ontime is not None:
        first = start.min()
        seconds = [(time - first).to_value("s") for time in (start, stop)]
        start, stop = first + first_of(np.array(seconds), ontime.to_value("s")) * u.s
    return GTI.create(
        in_scale(start, reference), in_scale(stop, reference), reference_time=reference
    )


def overlap(gti_s):
    """Whether some good time counts twice.

    Parameters
    ----------
    gti_s : `~numpy.ndarray`
        Starts and ends of the intervals in seconds, in any order, shape (2, n).

    Returns
    -------
    overlap : bool
        False for intervals that overlap by no more than a millisecond.
    """
    start, stop = gti_s[:, np.argsort(gti_s[0])]
    return bool(np.any(start[1:] - np.maximum.accumulate(stop)[:-1] < -1e-3))


def first_of(gti_s, ontime_s):
    """Good time intervals cut so that their sum is at most an ontime.

    Parameters
    ----------
    gti_s : `~numpy.ndarray`
        Starts and ends of the intervals, shape (2, n).
    ontime_s : float
        Sum of those that are wanted.

    Returns
    -------
    first_s : `~numpy.ndarray`
        The first of the intervals, in order of time.
    """
    start, stop = gti_s[:, np.argsort(gti_s[0])]
    before = np.cumsum(stop - start) - (stop - start)
    stop = np.minimum(stop, start + ontime_s - before)
    return np.stack([start, stop])[:, stop > start]


def spread_times(gti, *, step=60 * u.s):
    """Spread times evenly over good time intervals.

    Parameters
    ----------
    gti : `~gammapy.data.GTI`
        Good time intervals.
    step : `~astropy.units.Quantity`, optional
        Largest distance between two times. Default is 60 s.

    Returns
    -------
    times : `~astropy.time.Time`
        Middles of equal parts of each interval, at least one of each, shape (n,).
    """
    length = gti.time_delta.to_value("s")
    n_parts = np.maximum(1, np.ceil(length / step.to_value("s"))).astype(int)
    interval = np.repeat(np.arange(len(length)), n_parts)
    fraction = np.concatenate([(np.arange(n) + 0.5) / n for n in n_parts])
    return gti.time_start[interval] + fraction * length[interval] * u.s
