"""Good time intervals as arrays of seconds, of shape (2, n): starts and ends."""

import numpy as np

__all__ = ["first_of", "near_good_time", "overlap", "spread_times"]

TOLERANCE_S = 2.0
"""Events may be as far outside: in H.E.S.S. DL3 DR1 up to one second after the end."""


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


def near_good_time(gti_s, seconds, *, tolerance_s=TOLERANCE_S):
    """Which times lie in the good time, or near to it.

    Parameters
    ----------
    gti_s : `~numpy.ndarray`
        Starts and ends of the intervals, in any order, shape (2, n).
    seconds : `~numpy.ndarray`
        Times, shape (m,).
    tolerance_s : float, optional
        How far outside of an interval a time may lie. Default is 2 s.

    Returns
    -------
    is_near : `~numpy.ndarray` of bool
        Shape (m,).
    """
    start, stop = gti_s[:, np.argsort(gti_s[0])]
    # intervals may overlap: the last end of all that have started
    index = np.searchsorted(start - tolerance_s, seconds, side="right") - 1
    is_before_end = seconds <= np.maximum.accumulate(stop)[index] + tolerance_s
    return (index >= 0) & is_before_end


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


def spread_times(gti_s, *, step_s=60.0):
    """Spread times evenly over good time intervals.

    Parameters
    ----------
    gti_s : `~numpy.ndarray`
        Starts and ends of the intervals, shape (2, n).
    step_s : float, optional
        Largest distance between two times. Default is a minute.

    Returns
    -------
    seconds : `~numpy.ndarray`
        Middles of equal parts of each interval, at least one of each, shape (n,).
    """
    start, length = gti_s[0], gti_s[1] - gti_s[0]
    n_parts = np.maximum(1, np.ceil(length / step_s)).astype(int)
    interval = np.repeat(np.arange(len(length)), n_parts)
    fraction = np.concatenate([(np.arange(n) + 0.5) / n for n in n_parts])
    return start[interval] + fraction * length[interval]
