"""Draws from an empirical acceptance."""

import numpy as np

__all__ = [
    "draw_stratified",
    "energy_band_edges",
    "smooth_times",
]


def draw_stratified(weights, size, rng):
    """Draw indices with given weights, evenly spread over the cumulated weights.

    Each index is drawn as often as its weight says, to within two. Unlike with
    independent draws a histogram of what is drawn has hardly more noise than the
    weights themselves. The order is random.

    Parameters
    ----------
    weights : `~numpy.ndarray`
        Non-negative weights, shape (n,), of any sum larger than 0.
    size : int
        Number of draws.
    rng : `~numpy.random.Generator`
        Random numbers.

    Returns
    -------
    index : `~numpy.ndarray` of int
        Shape (size,).
    """
    cumulated = np.cumsum(weights)
    levels = (np.arange(size) + rng.random(size)) / size * cumulated[-1]
    index = np.searchsorted(cumulated, levels, side="right")
    # rounding may carry the last level to the very end
    last = np.searchsorted(cumulated, cumulated[-1], side="left")
    return rng.permutation(np.minimum(index, last))


def energy_band_edges(energy, *, max_bands, min_events):
    """Inner edges of energy bands that hold about as many events each.

    Parameters
    ----------
    energy : `~numpy.ndarray`
        Energies, shape (n,), n > 0.
    max_bands, min_events : int
        Largest number of bands, and smallest number of events in one.

    Returns
    -------
    edges : `~numpy.ndarray`
        Increasing; band k holds energies in (edges[k - 1], edges[k]], and none is
        empty.
    """
    n_bands = min(max(len(energy) // min_events, 1), max_bands)
    fractions = np.arange(1, n_bands) / n_bands
    edges = np.unique(np.quantile(energy, fractions, method="inverted_cdf"))
    return edges[edges < energy.max()]


def smooth_times(seconds, index, start, stop, rng):
    """Draw times as other times are distributed, within good time intervals.

    A new time lies between the middles of the intervals to the time before and the
    time after the one drawn, in elapsed good time: where the rate was high, there
    are many, but no time is repeated.

    Parameters
    ----------
    seconds : `~numpy.ndarray`
        Times to follow, shape (n,).
    index : `~numpy.ndarray` of int
        Which of them were drawn, shape (k,).
    start, stop : `~numpy.ndarray`
        Good time intervals in order of time, shape (m,).
    rng : `~numpy.random.Generator`
        Random numbers.

    Returns
    -------
    seconds : `~numpy.ndarray`
        New times, shape (k,).
    """
    knots = np.column_stack([start, stop]).ravel()
    length = np.column_stack([np.zeros(len(start)), stop - start]).ravel()
    ontime = np.cumsum(length)
    elapsed = np.interp(seconds, knots, ontime)
    order = np.argsort(elapsed, kind="stable")
    bounded = np.concatenate([[0], elapsed[order], ontime[-1:]])
    middle = (bounded[1:] + bounded[:-1]) / 2
    middle[[0, -1]] = bounded[[0, -1]]
    rank = np.empty(len(order), dtype=int)
    rank[order] = np.arange(len(order))
    low, high = middle[rank[index]], middle[rank[index] + 1]
    drawn = low + rng.random(len(index)) * (high - low)
    interval = np.clip(np.searchsorted(ontime[1::2], drawn), 0, len(start) - 1)
    return np.minimum(start[interval] + drawn - ontime[::2][interval], stop[interval])
