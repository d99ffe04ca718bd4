"""What each mimic set gives to a report: in several processes, and kept for the next.

The parts are kept in ``.campaign/report``, one file a set, with a key of all that they
depend on: the files of the set, what is measured, and the code that measures.
"""

import functools
import hashlib
import io
import json
import logging
import zipfile
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
from astropy.table import QTable, Table
from gammapy.data import Observations

import gammapy_mimic
from gammapy_mimic.campaign.processes import run_tasks
from gammapy_mimic.campaign.records import checksum
from gammapy_mimic.checks import open_store
from gammapy_mimic.data.compat import read_once
from gammapy_mimic.io.files import error_context
from gammapy_mimic.io.output import atomic_write

__all__ = ["SetPart", "measure_sets", "open_mimics"]

log = logging.getLogger(__name__)

_LIBRARIES = ("gammapy", "astropy", "numpy", "scipy")
_BROKEN = (OSError, EOFError, KeyError, ValueError, IndexError, zipfile.BadZipFile)


@dataclass
class SetPart:
    """What a mimic set gives to a report, all in plain arrays and tables."""

    arrays: dict
    """Arrays by name; of a judge, and ``events`` at the position, shape (n, 2)."""
    tables: dict
    """Tables by name; of a judge, and ``residuals`` of scrambling."""

    def write(self, path, key):
        """Write to a file, whole or not at all."""
        content = {f"array {name}": value for name, value in self.arrays.items()}
        for name, table in self.tables.items():
            text = io.StringIO()
            table.write(text, format="ascii.ecsv")
            kind = "qtable" if isinstance(table, QTable) else "table"
            content[f"{kind} {name}"] = np.array(text.getvalue())
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path, "wb") as file:
            np.savez(file, key=np.array(key), **content)

    @classmethod
    def read(cls, path, key):
        """Read from a file; None if there is none, or it is another one or broken."""
        part = cls({}, {})
        kinds = {"table": Table, "qtable": QTable}
        try:
            # numpy itself would leave a broken one open
            with path.open("rb") as file, np.load(file, allow_pickle=False) as content:
                if str(content["key"]) != key:
                    return None
                for full in set(content.files) - {"key"}:
                    kind, name = full.split(" ", 1)
                    value = content[full]
                    if kind == "array":
                        part.arrays[name] = value
                    else:
                        table = kinds[kind].read(str(value), format="ascii.ecsv")
                        part.tables[name] = table
        except _BROKEN as error:
            log.debug("%s is made again: %s", path, error)
            return None
        return part


def open_mimics(path):
    """Open the runs of a mimic set; errors name the file."""
    mimics = open_store(path).get_observations(required_irf="all-optional")
    return Observations([read_once(mimic) for mimic in mimics])


def measure_sets(judge, sets, stacked, folder, *, n_jobs=1):
    """Measure on mimic sets, or read what was measured before.

    Parameters
    ----------
    judge : `~gammapy_mimic.report.judge.MapJudge` or \
`~gammapy_mimic.report.judge.RegionJudge`
        What is measured.
    sets : dict of int to `~pathlib.Path`
        Folder of each mimic set.
    stacked : dict of int to collection of int
        OBS_IDs of the runs of each set that are stacked for map and position.
    folder : `~pathlib.Path`
        Where parts are kept.
    n_jobs : int, optional
        Number of processes. Default is 1. The parts do not depend on it.

    Yields
    ------
    number, part : int, `SetPart`
        In the order of ``sets``.
    """
    settings, found, tasks = judge.settings(), {}, []
    for number, store in sets.items():
        runs = tuple(sorted(int(it) for it in stacked[number]))
        key = _key(store, settings, runs)
        path = folder / f"{store.name}.npz"
        found[number] = SetPart.read(path, key)
        if found[number] is None:
            tasks.append((number, store, runs, path, key))
    measured = run_tasks(
        functools.partial(_measure, judge),
        iter(tasks),
        min(n_jobs, max(1, len(tasks))),
        "multiprocessing",
    )
    for number, part in found.items():
        yield number, next(measured)[1] if part is None else part


def _measure(judge, task):
    """Measure on a mimic set, and keep it."""
    _, store, runs, path, key = task
    with error_context(f"{store}"):
        mimics = open_mimics(store)
    part = judge.measure(mimics, runs, name=f"{store}")
    try:
        part.write(path, key)
    except OSError as error:
        log.debug("%s is not kept: %s", path, error)
    return part


def _key(store, settings, runs):
    """Checksum of all that the part of a mimic set depends on."""
    files = {
        path.relative_to(store).as_posix(): checksum(path)
        for path in sorted(store.rglob("*"))
        if path.is_file()
    }
    content = [files, settings, runs, _code()]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


@functools.cache
def _code():
    """Checksum of this package, and versions of the libraries."""
    package = Path(gammapy_mimic.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        digest.update(path.read_bytes())
    return [digest.hexdigest(), *(version(name) for name in _LIBRARIES)]
