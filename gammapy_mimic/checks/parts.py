"""Parts of a store that are checked apart from each other, and what can go wrong."""

import zlib

import numpy as np
from astropy.io import fits
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

__all__ = ["READ_ERRORS", "split_runs"]

READ_ERRORS = (
    OSError,
    EOFError,
    zlib.error,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    AssertionError,
    UnboundLocalError,
    OverflowError,
    MemoryError,
    fits.VerifyError,
)
"""Errors that astropy and the decompressor raise on broken files."""


def split_runs(runs, number, file_of):
    """Split runs into parts of which no two have a file in common.

    Parameters
    ----------
    runs : dict
        Rows of the HDU index for each OBS_ID.
    number : int
        Number of parts; there are fewer where runs share files.
    file_of : callable
        Gives the file of a row.

    Returns
    -------
    parts : list of dict
        Runs of each part, in their order.
    """
    files = {}
    edges = [
        (place, files.setdefault(file_of(row), len(runs) + len(files)))
        for place, rows in enumerate(runs.values())
        for row in rows
    ]
    size = len(runs) + len(files)
    graph = coo_array((np.ones(len(edges)), np.transpose(edges)), shape=(size, size))
    _, group = connected_components(graph, directed=False)
    _, group = np.unique(group[: len(runs)], return_inverse=True)
    parts = [{} for _ in range(min(number, group.max() + 1))]
    for (obs_id, rows), part in zip(runs.items(), group % len(parts), strict=True):
        parts[part][obs_id] = rows
    return parts
