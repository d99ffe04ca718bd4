"""The work of one process: mimics, one after the other."""

import json
import logging
import multiprocessing
import os
import signal
import threading
import zlib
from dataclasses import dataclass
from pathlib import Path

from astropy.io import fits
from gammapy.data import Observation

from gammapy_mimic.campaign.folder import CampaignFolder, checksum, write_text
from gammapy_mimic.config import MimicConfig

__all__ = ["Task", "make_mimic", "start_ray_worker", "start_worker"]

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


@dataclass(frozen=True)
class Task:
    """What it takes to make one mimic; small, as nothing is loaded."""

    target: Observation
    donor: Observation
    mimic_set: int
    settings: MimicConfig
    outdir: Path
    fingerprint: str
    inputs: dict
    """Checksums of the files of target and donor."""


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
    """
    folder = CampaignFolder(task.outdir, compress=task.settings.compress)
    record_path = folder.record_path(task.mimic_set, task.target.obs_id)
    writer = folder.writer(task.mimic_set)
    record_path.unlink(missing_ok=True)
    try:
        maker = task.settings.maker()
        mimic = maker.run(task.target, task.donor, mimic_set=task.mimic_set)
        rows = writer.write(mimic)
    except _RUN_ERRORS as error:
        log.debug("Traceback of the failed mimic:", exc_info=True)
        folder.remove_mimic(writer.path, record_path)
        return f"{type(error).__name__}: {error}"
    path = writer.file_path(task.target.obs_id)
    record = {
        "fingerprint": task.fingerprint,
        "donor": int(task.donor.obs_id),
        "file": path.name,
        "size": path.stat().st_size,
        "sha256": checksum(path),
        "inputs": task.inputs,
        "rows": rows,
    }
    write_text(record_path, [json.dumps(record)])
    return None


def start_worker():
    """Prepare a process of a pool to end with the campaign, however that ends."""
    # an interrupt from the keyboard goes to all; the campaign alone answers it
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "SIGPIPE"):
        # the campaign was killed and takes no results: end without a word
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def start_ray_worker(data):
    """Let a process of a cluster read catalogs where the campaign would.

    It has the environment of the shell that started the cluster.

    Parameters
    ----------
    data : str or None
        ``$GAMMAPY_DATA`` of the campaign, as absolute path; None if it is not set.
    """
    os.environ.pop("GAMMAPY_DATA", None)
    if data is not None:
        os.environ["GAMMAPY_DATA"] = data


def _end_with_parent():
    multiprocessing.parent_process().join()
    os._exit(1)
