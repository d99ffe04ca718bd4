"""Good time intervals as arrays of seconds, of shape (2, n): starts and ends."""

import numpy as np

__all__ = ["first_of", "overlap", "spread_times"]


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
