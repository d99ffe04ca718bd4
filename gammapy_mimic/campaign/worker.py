"""The work of one process: mimics, one after the other."""

import errno
import functools
import logging
import tempfile
import zlib
from dataclasses import dataclass
from pathlib import Path

from astropy.io import fits
from astropy.time import Time
from gammapy.data import Observation

from gammapy_mimic.campaign.folder import CampaignFolder
from gammapy_mimic.campaign.records import checksum, claimed_file, write_record
from gammapy_mimic.campaign.versions import versions
from gammapy_mimic.config import MimicConfig
from gammapy_mimic.data.compat import events_header
from gammapy_mimic.data.reading import check_indexed_id
from gammapy_mimic.io.output import check_replaceable, file_error_context
from gammapy_mimic.matching.good_time import Part
from gammapy_mimic.writer import MimicWriter
from gammapy_mimic.writer.events import is_written

__all__ = ["Task", "make_mimic"]

log = logging.getLogger(__name__)

# what astropy, gammapy and the decompressor raise on files that are broken, and
# this package on runs that cannot be used
_RUN_ERRORS = (
    OSError,
    EOFError,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    AttributeError,
    zlib.error,
    fits.VerifyError,
)
# the disk is full or must not be written to: so it is for all other mimics
_DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)

TIME_TOLERANCE_D = 10 / 1440
"""By how many days a run may have been taken before or after what the index says.

The sky turns by 2.5 deg during this time.
"""


@dataclass(frozen=True)
class Task:
    """What it takes to make one mimic; small, as nothing is loaded."""

    target: Observation
    donor: Observation
    part: Part
    """What of the two runs is used, and the OBS_ID of the mimic."""
    mimic_set: int
    settings: MimicConfig
    outdir: Path
    fingerprint: str
    inputs: dict
    """Checksums of the files of target and donor."""
    mjd: tuple
    """Middle of target and donor by the index, by which they were matched (MJD, TT)."""
    said: frozenset = frozenset()
    """Warnings of the pairs, which are not given again."""


def make_mimic(task):
    """Make a mimic and write its file and its record.

    Parameters
    ----------
    task : `Task`
        Which mimic, and how.

    Returns
    -------
    problem : str or None
        What went wrong, if the runs could not be used.

    Raises
    ------
    OSError
        If nothing can be written to the folder of the campaign.
    """
    folder = CampaignFolder(task.outdir, compress=task.settings.compress)
    record_path = folder.record_path(task.mimic_set, task.part.obs_id)
    store = folder.store_path(task.mimic_set)
    try:
        is_free = _claim(folder, task, record_path)
    except OSError as error:
        return _problem(error, task.outdir)
    try:
        make = _make if is_free else _make_elsewhere
        write_record(record_path, make(task, folder.writer(task.mimic_set)))
    except _RUN_ERRORS as error:
        problem = _problem(error, task.outdir)
        folder.remove_mimic(store, record_path)
        return problem
    return None


def _claim(folder, task, record_path):
    """Make the record of a file that is to be written; False if it is not our own."""
    path = folder.writer(task.mimic_set).file_path(task.part.obs_id)
    is_claimed = claimed_file(record_path) == path.name
    is_free = not path.exists() or (is_claimed and is_written(path) is not False)
    if is_free:
        check_replaceable(path)
        write_record(record_path, {"file": path.name, "pending": True})
    return is_free


def _make_elsewhere(task, writer):
    """Make a mimic in another folder, as a file without a record is in its place.

    That file stays, and is good if it has the very same content.
    """
    path = writer.file_path(task.part.obs_id)
    with tempfile.TemporaryDirectory() as elsewhere:
        record = _make(task, MimicWriter(elsewhere, compress=writer.compress))
    if checksum(path) != record["sha256"]:
        raise FileExistsError(
            f"{path} is there, this campaign has no record of it, and it is not what "
            "is to be made: it stays. Move it away, or take another mimic.outdir"
        )
    return record


def _make(task, writer):
    """Make a mimic, write it, and give its record."""
    maker = task.settings.maker()
    maker.reported = _reported(task.outdir)
    maker.reported |= task.said
    for run in (task.target, task.donor):
        check_indexed_id(run)
    runs = task.part.cut(task.target, task.donor)
    mimic = task.part.label(maker.run(*runs, mimic_set=task.mimic_set))
    for run, mjd in zip((task.target, task.donor), task.mjd, strict=True):
        _check_time(run, mjd)
    path = writer.file_path(task.part.obs_id)
    with file_error_context(path):
        rows = writer.write(mimic)
    return {
        "fingerprint": task.fingerprint,
        "target": int(task.target.obs_id),
        "donor": int(task.donor.obs_id),
        "file": path.name,
        "size": path.stat().st_size,
        "sha256": checksum(path),
        "inputs": task.inputs,
        "versions": versions(),
        "rows": rows,
    }


@functools.lru_cache(maxsize=4)
def _reported(outdir):
    """Warnings that this process has logged in a campaign."""
    return set()


def _problem(error, outdir):
    """Error of one mimic in one line; raised again if it is one of all mimics."""
    number, name = getattr(error, "errno", None), getattr(error, "filename", None)
    is_below = name is not None and Path(str(name)).is_relative_to(outdir)
    if number in _DISK_ERRORS or (number == errno.EACCES and is_below):
        raise error
    log.debug("Traceback of the failed mimic:", exc_info=error)
    # some texts of astropy have several lines
    return " ".join(f"{type(error).__name__}: {error}".split())


def _check_time(run, mjd):
    """Raise an error for a run that was matched by a time which is not its own."""
    header = events_header(run)
    try:
        middle = (float(header["TSTART"]) + float(header["TSTOP"])) / 2
        # the time scale does not matter to the tolerance
        own = float(header["MJDREFI"]) + float(header["MJDREFF"]) + middle / 86400
    except (KeyError, TypeError, ValueError):
        return
    if abs(own - mjd) > TIME_TOLERANCE_D:
        dates = [Time(date, format="mjd").isot[:19] for date in (own, mjd)]
        raise ValueError(
            f"run {run.obs_id} was taken at {dates[0]} by its EVENTS header, but at "
            f"{dates[1]} by the obs-index, from which its zenith angle was taken: fix "
            "TSTART, TSTOP, MJDREFI, MJDREFF or TIMESYS there"
        )
