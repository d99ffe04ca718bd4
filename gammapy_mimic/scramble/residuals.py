"""What scrambling leaves at the sources: header cards and tables."""

from collections.abc import Iterable

import numpy as np
from astropy import units as u
from astropy.table import Table, vstack
from gammapy.data import Observation

from gammapy_mimic import __version__
from gammapy_mimic.data.compat import read_once
from gammapy_mimic.io.files import error_context

__all__ = [
    "residual_table",
    "scramble_header",
    "scramble_residuals",
    "scramble_seed",
]

_CARDS = {
    "NA": "SOURCE",
    "RA": "RA",
    "DE": "DEC",
    "TH": "THETA",
    "BE": "BEFORE",
    "EX": "EXPECTED",
    "ER": "EXPECTED_ERROR",
    "AF": "AFTER",
}
"""Header cards of a source, ``SCR_<key><number>``, and columns of the residuals."""

_TYPES = {"SOURCE": str, "BEFORE": int, "AFTER": int}
_UNITS = {"RA": "deg", "DEC": "deg", "THETA": "deg"}


def scramble_header(header, rows, *, settings, sequence):
    """EVENTS header of a scrambled run.

    Parameters
    ----------
    header : dict
        Header of the run, not changed.
    rows : list of dict
        One for each source, with the columns of the residuals.
    settings : dict
        Further cards: what was done.
    sequence : `~numpy.random.SeedSequence`
        Seed of this run.

    Returns
    -------
    header : dict
        With cards ``SCR_*`` for the run, ``SCR_<key><number>`` for each source and
        one line of HISTORY for each source.
    """
    header = {k: v for k, v in header.items() if not k.startswith("SCR_")}
    header |= {"SCR_NSRC": len(rows)} | settings
    # numpy.random.SeedSequence(int(SCR_SEED), spawn_key=SCR_SKEY) gives it back
    entropy = np.atleast_1d(np.asarray(sequence.entropy, dtype=object))
    header["SCR_SEED"] = ",".join(str(int(word)) for word in entropy)
    header["SCR_SKEY"] = ",".join(str(key) for key in sequence.spawn_key)
    header["SCR_VERS"] = __version__
    history = header.get("HISTORY", [])
    history = [history] if isinstance(history, str) else list(history)
    for number, row in enumerate(rows, start=1):
        for key, column in _CARDS.items():
            header[f"SCR_{key}{number}"] = row[column]
        history.append(
            f"gammapy_mimic {__version__}: scrambled {row['SOURCE']} at "
            f"{row['RA']:.4f} {row['DEC']:+.4f}, theta {row['THETA']:.3f} deg"
        )
    if history:
        header["HISTORY"] = history
    return header


def scramble_seed(header):
    """Seed with which a run was scrambled, from its EVENTS header.

    Parameters
    ----------
    header : mapping
        Header of a scrambled run, or of a mimic that was made of one.

    Returns
    -------
    sequence : `~numpy.random.SeedSequence`
        With it the same scrambler gives the same run again.
    """
    entropy = [int(word) for word in header["SCR_SEED"].split(",")]
    key = [int(part) for part in header["SCR_SKEY"].split(",") if part]
    return np.random.SeedSequence(
        entropy[0] if len(entropy) == 1 else entropy, spawn_key=key
    )


def residual_table(rows, obs_id=None):
    """Table of residuals.

    Parameters
    ----------
    rows : list of dict
        One for each source.
    obs_id : int, optional
        Run. Default is None, for no rows.

    Returns
    -------
    residuals : `~astropy.table.Table`
        See `scramble_residuals`.
    """
    table = Table()
    table["OBS_ID"] = np.full(len(rows), obs_id) if rows else np.zeros(0, dtype=int)
    for column in _CARDS.values():
        values = [row[column] for row in rows]
        table[column] = np.array(values, dtype=_TYPES.get(column, float))
        if column in _UNITS:
            table[column].unit = u.Unit(_UNITS[column])
    table["DIFFERENCE"] = table["AFTER"] - table["EXPECTED"]
    table["ERROR"] = np.sqrt(table["EXPECTED"])
    return table


def scramble_residuals(observations: Iterable[Observation]) -> Table:
    """Read from the headers of runs what scrambling found and left at each source.

    Parameters
    ----------
    observations : `~gammapy.data.Observations` or sequence of \
`~gammapy.data.Observation`
        Scrambled runs, or mimics of scrambled donors, in memory or read from disk.
        Others give no rows.

    Returns
    -------
    residuals : `~astropy.table.Table`
        One row per run and source, with OBS_ID, SOURCE, RA, DEC, THETA; counts in
        the source circle BEFORE; what the off-source part of the ring predicts
        there, EXPECTED, and its statistical error EXPECTED_ERROR; counts AFTER;
        DIFFERENCE = AFTER - EXPECTED, and ERROR, the Poisson error of the counts
        that are drawn, sqrt(EXPECTED).
    """
    tables = [residual_table([])]
    for observation in observations:
        # errors name the file
        header = read_once(observation).events.table.meta
        with error_context(f"run {observation.obs_id}: its SCR_ cards"):
            rows = [
                {column: header[f"SCR_{key}{number}"] for key, column in _CARDS.items()}
                for number in range(1, int(header.get("SCR_NSRC", 0)) + 1)
            ]
        if rows:
            tables.append(residual_table(rows, observation.obs_id))
    # an empty table would turn its columns of text into one of another length
    return vstack(tables[1:]) if len(tables) > 1 else tables[0]
