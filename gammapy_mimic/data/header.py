"""The whole EVENTS header of a run."""

import logging

import numpy as np

from gammapy_mimic.data.keywords import events_keywords
from gammapy_mimic.io.gadf import CREATOR, HDUDOC, HDUVERS
from gammapy_mimic.io.header import read_cards

__all__ = ["events_header"]

log = logging.getLogger(__name__)


def events_header(run):
    """EVENTS header of a run: its cards, overlaid by what follows from the run.

    Parameters
    ----------
    run : `~gammapy_mimic.data.run.Run`
        Run.

    Returns
    -------
    header : dict
        Cards, with all that GADF demands.
    """
    header = read_cards(run.header)
    _overlay(header, events_keywords(run))
    if header["OBS_MODE"] == "DRIFT":
        for key in ("RA_PNT", "DEC_PNT", "GLON_PNT", "GLAT_PNT"):
            header.pop(key, None)
    _normalise(header)
    for key in ("RA_OBJ", "DEC_OBJ"):
        value = header.get(key)
        if value is not None and not _is_number(value):
            del header[key]
            log.warning(
                "Run %s: %s = %r is dropped: gammapy reads no run whose object is not "
                "at a number",
                run.obs_id,
                key,
                value,
            )
    for key in ("ORIGIN", "TELESCOP", "INSTRUME"):
        header[key] = header.get(key) or "UNKNOWN"
    header["CREATOR"] = header.get("CREATOR") or CREATOR
    return header


def _is_number(value):
    is_real = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    return is_real and bool(np.isfinite(value))


def _overlay(header, changed):
    """Change cards to those that follow from the run."""
    same_times = all(changed[key] == header.get(key) for key in ("TSTART", "TSTOP"))
    if "TELAPSE" in header and not same_times:
        header["TELAPSE"] = changed["TSTOP"] - changed["TSTART"]
    header |= changed


def _normalise(header):
    """Fix cards that are not GADF, and those of gammapy's event sampler."""
    if header.get("HDUCLASS") != "GADF":
        version = str(header.get("HDUVERS"))
        if version not in ("0.1", "0.2", "0.3"):
            header["HDUVERS"] = HDUVERS
        header |= {"HDUCLASS": "GADF", "HDUDOC": HDUDOC}
    header.setdefault("HDUDOC", HDUDOC)
    header.setdefault("HDUVERS", HDUVERS)
    header["HDUCLAS1"] = "EVENTS"
    for key in ("RADESYSa", "RADESYSA", "RADESYS"):
        header.pop(key, None)
    for key in ("N_TELS", "TELLIST", "OBJECT"):
        if isinstance(header.get(key), str) and not header[key].strip():
            header.pop(key)
    count = header.get("NDSKEYS")
    if isinstance(count, str):
        header.pop("NDSKEYS")
        if count.strip().isdigit():
            header["NDSKEYS"] = int(count)
