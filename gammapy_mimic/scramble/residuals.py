"""What scrambling leaves at the sources: header cards and tables."""

import re
import unicodedata
from collections.abc import Iterable

import numpy as np
from astropy import units as u
from astropy.table import Table
from gammapy.data import Observation

from gammapy_mimic import __version__
from gammapy_mimic.data.compat import read_once
from gammapy_mimic.io.files import error_context

__all__ = [
    "card_text",
    "checksum_cards",
    "residual_row",
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
    "NE": "N_EFF",
    "ME": "METHOD",
    "AC": "ACCEPTANCE",
}
"""Header cards of a source, ``SCR_<key><number>``, and columns of the residuals."""

_BAND_CARDS = {
    "B": "BEFORE",
    "X": "EXPECTED",
    "R": "EXPECTED_ERROR",
    "F": "AFTER",
}
"""Cards of its three energy bands: ``SCR_<key><band><number>``."""

_EDGE_CARDS = {"L1": 0, "L2": 1}
"""Cards of the energies between the bands, in TeV."""

N_BANDS = 3
_TYPES = {"SOURCE": str, "METHOD": str, "ACCEPTANCE": str, "BEFORE": int, "AFTER": int}
_UNITS = {"RA": "deg", "DEC": "deg", "THETA": "deg"}
_UNITS |= {"ENERGY_MIN": "TeV", "ENERGY_MAX": "TeV"}
_BAND_COLUMNS = ("SOURCE", "ENERGY_MIN", "ENERGY_MAX", *_BAND_CARDS.values())

_DASHES = re.compile("[\u2010-\u2015\u2212]")
_MAX_NAME = 60


def card_text(text):
    """Text as a header card can hold it.

    Parameters
    ----------
    text : str
        Any text.

    Returns
    -------
    text : str
        Printable ASCII, up to 60 characters: dashes become minus signs, accents go,
        other characters become question marks.
    """
    text = unicodedata.normalize("NFKD", _DASHES.sub("-", text))
    text = "".join(letter for letter in text if not unicodedata.combining(letter))
    text = text.encode("ascii", errors="replace").decode()
    return " ".join(re.sub("[^ -~]", " ", text).split())[:_MAX_NAME]


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
        header |= _source_cards(row, number)
        history.append(
            f"gammapy_mimic {__version__}: scrambled {row['SOURCE']} at "
            f"{row['RA']:.4f} {row['DEC']:+.4f}, theta {row['THETA']:.3f} deg"
        )
    if history:
        header["HISTORY"] = history
    return header


def checksum_cards(checksums):
    """Cards of catalogs and region files.

    Parameters
    ----------
    checksums : dict of str
        SHA-256 by name.

    Returns
    -------
    cards : dict
        ``SCR_CT<number>``, name, and ``SCR_CS<number>``, checksum, for each.
    """
    cards = {}
    for number, (name, sha256) in enumerate(checksums.items(), start=1):
        cards[f"SCR_CT{number}"] = card_text(name)
        cards[f"SCR_CS{number}"] = sha256
    return cards


def _source_cards(row, number):
    """Cards of a source."""
    cards = {f"SCR_{key}{number}": row[column] for key, column in _CARDS.items()}
    for key, edge in _EDGE_CARDS.items():
        cards[f"SCR_{key}{number}"] = row["EDGES"][edge]
    for key, column in _BAND_CARDS.items():
        for band in range(N_BANDS):
            cards[f"SCR_{key}{band + 1}{number}"] = row["BANDS"][column][band]
    return cards


def _read_source_cards(header, number):
    """Row of a source from its cards; KeyError if one is missing."""
    row = {column: header[f"SCR_{key}{number}"] for key, column in _CARDS.items()}
    row["EDGES"] = [header[f"SCR_{key}{number}"] for key in _EDGE_CARDS]
    row["BANDS"] = {
        column: [header[f"SCR_{key}{band + 1}{number}"] for band in range(N_BANDS)]
        for key, column in _BAND_CARDS.items()
    }
    return row


def residual_row(field, found, method, *, after):
    """Make a row of the residuals.

    Parameters
    ----------
    field : `~gammapy_mimic.scramble.field_of_view.FieldOfView`
        Events before.
    found : `~gammapy_mimic.scramble.methods.Found`
        Source.
    method : {"shuffle", "refill"}
        What was done with it.
    after : `~gammapy_mimic.scramble.field_of_view.FieldOfView`
        Events after.

    Returns
    -------
    row : dict
        Columns of the residuals; ``EDGES``, two energies in TeV, and ``BANDS``, the
        same columns for the three bands.
    """
    number, counts = found.ring.number, found.count(after)
    center = field.regions[number].center.icrs
    expected, error = float(found.expected[0]), float(found.error[0])
    n_eff = expected
    if method == "refill" and expected > 0:
        n_eff = expected**2 / (expected + error**2)
    return {
        "SOURCE": card_text(field.name(number)),
        "RA": float(center.ra.deg),
        "DEC": float(center.dec.deg),
        "THETA": float(field.circles.theta_deg[number]),
        "BEFORE": int(found.before[0]),
        "EXPECTED": expected,
        "EXPECTED_ERROR": error,
        "AFTER": int(counts[0]),
        "N_EFF": n_eff,
        "METHOD": method,
        "ACCEPTANCE": found.ring.kind,
        "EDGES": found.edges_tev.tolist(),
        "BANDS": {
            "BEFORE": found.before[1:].tolist(),
            "EXPECTED": found.expected[1:].tolist(),
            "EXPECTED_ERROR": found.error[1:].tolist(),
            "AFTER": counts[1:].tolist(),
        },
    }


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


def residual_table(runs, *, by_energy=False):
    """Table of residuals.

    Parameters
    ----------
    runs : list of tuple
        OBS_ID and rows, one for each source, as from `residual_row`.
    by_energy : bool, optional
        Whether there is one row for each energy band. Default is False.

    Returns
    -------
    residuals : `~astropy.table.Table`
        See `scramble_residuals`.
    """
    rows = [
        {"OBS_ID": obs_id, **each}
        for obs_id, own in runs
        for row in own
        for each in (_bands(row) if by_energy else [row])
    ]
    table = Table()
    for column in ("OBS_ID", *(_BAND_COLUMNS if by_energy else _CARDS.values())):
        values = [row[column] for row in rows]
        # an OBS_ID is an integer or text
        dtype = _TYPES.get(column, float)
        dtype = (None if rows else int) if column == "OBS_ID" else dtype
        table[column] = np.array(values, dtype=dtype)
        if column in _UNITS:
            table[column].unit = u.Unit(_UNITS[column])
    table["DIFFERENCE"] = table["AFTER"] - table["EXPECTED"]
    table["ERROR"] = np.sqrt(table["EXPECTED"] + table["EXPECTED_ERROR"] ** 2)
    return table


def _bands(row):
    edges = [0.0, *row["EDGES"], np.inf]
    for band in range(N_BANDS):
        columns = {column: values[band] for column, values in row["BANDS"].items()}
        energies = {"ENERGY_MIN": edges[band], "ENERGY_MAX": edges[band + 1]}
        yield {"SOURCE": row["SOURCE"], **energies, **columns}


def scramble_residuals(
    observations: Iterable[Observation], *, by_energy: bool = False
) -> Table:
    """Read from the headers of runs what scrambling found and left at each source.

    Parameters
    ----------
    observations : `~gammapy.data.Observations` or sequence of \
`~gammapy.data.Observation`
        Scrambled runs, or mimics of scrambled donors, in memory or read from disk.
        Others give no rows.
    by_energy : bool, optional
        Give one row for each of three energy bands, with ENERGY_MIN and ENERGY_MAX:
        below the energy that 60 % of the background of the ring have, from there to
        that which 90 % have, and above. Default is False.

    Returns
    -------
    residuals : `~astropy.table.Table`
        One row per run and source, with OBS_ID, SOURCE, RA, DEC, THETA; counts in
        the source circle BEFORE; what the off-source part of the ring predicts
        there, EXPECTED, and its statistical error EXPECTED_ERROR; counts AFTER;
        N_EFF, the number of independent events that would be as well known as
        those in the circle are now: EXPECTED for a shuffled one, and
        EXPECTED**2 / (EXPECTED + EXPECTED_ERROR**2) for a refilled one, which is a
        copy of events of the ring; METHOD and ACCEPTANCE that were taken;
        DIFFERENCE = AFTER - EXPECTED; and ERROR, that of the counts as a measure of
        the true background, sqrt(EXPECTED + EXPECTED_ERROR**2).
    """
    runs = []
    for observation in observations:
        # errors name the file
        header = read_once(observation).events.table.meta
        with error_context(f"run {observation.obs_id}: its SCR_ cards"):
            numbers = range(1, int(header.get("SCR_NSRC", 0)) + 1)
            rows = [_read_source_cards(header, number) for number in numbers]
        runs.append((observation.obs_id, rows))
    return residual_table(runs, by_energy=by_energy)
