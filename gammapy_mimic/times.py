"""Good time intervals and times of a run that is moved to another night."""

import numpy as np
from astropy import units as u
from gammapy.data import GTI

__all__ = ["in_scale", "moved_gti", "spread_times"]


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
        start, stop = _first_of(start, stop, ontime)
    return GTI.create(
        in_scale(start, reference), in_scale(stop, reference), reference_time=reference
    )


def _first_of(start, stop, ontime):
    """Cut intervals so that their sum is at most ``ontime``."""
    order = np.argsort(start)
    start, stop = start[order], stop[order]
    length = (stop - start).to_value("s")
    left = ontime.to_value("s") - (np.cumsum(length) - length)
    kept = left > 0
    start, stop, length, left = start[kept], stop[kept], length[kept], left[kept]
    if left[-1] < length[-1]:
        stop = stop.copy()
        stop[-1] = start[-1] + left[-1] * u.s
    return start, stop


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
