"""EVENTS and GTI HDUs of a run, from what it holds in memory."""

from astropy.io import fits
from gammapy.irf import FoVAlignment

from gammapy_mimic.data import compat, read_run
from gammapy_mimic.data.header import events_header
from gammapy_mimic.io.gadf import CREATOR
from gammapy_mimic.writer.irfs import OutputHDU, irf_hdus

__all__ = ["is_written", "run_hdus"]

WRITTEN = f"written by {CREATOR}"


def is_written(path):
    """Whether this package wrote the file of a run.

    Parameters
    ----------
    path : `~pathlib.Path`
        File.

    Returns
    -------
    is_written : bool or None
        By the HISTORY of its events; None if these cannot be read.
    """
    try:
        history = fits.getheader(path, "EVENTS").get("HISTORY", "")
    except (OSError, LookupError, ValueError, TypeError):
        return None
    return WRITTEN.rpartition(" ")[0] in str(history)


def run_hdus(observation):
    """Make all HDUs of a run but the primary one.

    Parameters
    ----------
    observation : `~gammapy.data.Observation`
        Observation, not changed.

    Returns
    -------
    header : dict
        Metadata that went into the EVENTS header.
    n_events : int
        Number of events.
    hdus : list of `OutputHDU`
        EVENTS, GTI and IRFs.
    """
    run = read_run(observation)
    if run.pointing.site is None:
        raise ValueError(
            f"run {run.obs_id} has no location of the observatory (GEOLON, GEOLAT, "
            "ALTITUDE); set it or leave the run out"
        )
    header = events_header(run)
    is_mirrored = compat.is_mirrored_by_gammapy(header)
    reverse = (None, FoVAlignment.REVERSE_LON_RADEC)
    if is_mirrored and compat.background_alignment(observation) not in reverse:
        # gammapy would mirror this background on reading
        _append_history(header, f"CREATOR was {header['CREATOR']}")
        header["CREATOR"], is_mirrored = CREATOR, False
    irfs = irf_hdus(observation, obs_id=run.obs_id, is_mirrored=is_mirrored)
    if irfs:
        _drop_calibration_database(header)
    _append_history(header, WRITTEN)
    hdus = [
        OutputHDU("EVENTS", "events", "events", run.events_content(header)),
        OutputHDU("GTI", "gti", "gti", run.gti_content(header)),
    ]
    return header, len(run.seconds), hdus + irfs


def _drop_calibration_database(header):
    """Drop CALDB and IRF, with which gammapy would not use the IRFs of the file."""
    if "CALDB" in header and "IRF" in header:
        caldb, irf = header.pop("CALDB"), header.pop("IRF")
        _append_history(header, f"IRFs of this file came from CALDB {caldb}, IRF {irf}")


def _append_history(header, line):
    """Append a HISTORY line unless it is there."""
    history = header.get("HISTORY", [])
    history = list(history) if isinstance(history, list | tuple) else [history]
    if line not in history:
        header["HISTORY"] = [*history, line]
