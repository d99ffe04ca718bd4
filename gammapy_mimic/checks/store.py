"""The check of a whole store: index tables, files, runs."""

import gzip
import hashlib
import io
import os
import warnings
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.io import fits
from astropy.table import Table
from astropy.utils.exceptions import AstropyUserWarning
from gammapy.utils.scripts import make_path

from gammapy_mimic.checks.consistency import (
    HDURecord,
    check_against_index,
    check_run,
    is_mirrored,
)
from gammapy_mimic.checks.findings import Report, error, warning
from gammapy_mimic.checks.hdus import (
    check_checksum,
    check_events,
    check_gti,
    check_irf,
    check_pointing,
    read_header,
    scalar_column,
)
from gammapy_mimic.checks.indices import (
    check_hdu_rows,
    check_index_table,
    check_obs_rows,
    first_table,
    table_rows,
)
from gammapy_mimic.checks.parts import READ_ERRORS, split_runs
from gammapy_mimic.checks.standard import CLASSES_OF_TYPE, HDU_INDEX_COLUMNS
from gammapy_mimic.checks.trust import check_trust
from gammapy_mimic.io.arguments import PathLike
from gammapy_mimic.io.gadf import HDU_INDEX, OBS_INDEX

__all__ = ["check_datastore"]

_TYPE_OF_CLASS = {
    name: kind for kind, names in CLASSES_OF_TYPE.items() for name in names
}


def check_datastore(path: PathLike, *, n_jobs: int = 1) -> Table:
    """Check a DL3 data store against GADF 0.3 and the needs of gammapy.

    Looks at both index tables and at every HDU that they name: mandatory keywords
    and columns with type and unit, values of events and good time intervals, axes of
    IRFs, whether index, headers and data agree, and whether what the headers say can
    be true: pointing and events, time and site, ONTIME and good time. Each file is
    read once.

    Parameters
    ----------
    path : str or `~pathlib.Path`
        Folder that holds ``hdu-index.fits.gz`` and ``obs-index.fits.gz``.
    n_jobs : int, optional
        Number of processes; runs that share a file are checked in the same one.
        Default is 1.

    Returns
    -------
    findings : `~astropy.table.Table`
        One row for each finding; no rows if all is well. Columns: OBS_ID (masked if
        the finding is not about a run), FILE (relative to the folder), HDU, LEVEL, KEY
        (keyword, column or subject; RUN for what cannot be true) and MESSAGE. LEVEL
        "error" breaks GADF 0.3, gammapy or mimics, "warning" is worth knowing. A file
        that cannot be read is a finding.
        The table's ``meta`` has the numbers of runs and files, N_RUNS and N_FILES,
        and N_MIRRORED, the number of runs whose background model gammapy mirrors
        because their EVENTS have the CREATOR and HDUVERS of H.E.S.S. DL3 DR1.

    Raises
    ------
    FileNotFoundError
        If the folder does not exist or has no HDU index.

    Examples
    --------
    >>> from gammapy_mimic import check_datastore
    >>> check_datastore("mimic/").pprint()  # doctest: +SKIP
    """
    folder = make_path(path)
    if not (folder / HDU_INDEX).is_file():
        raise FileNotFoundError(
            f"path = {str(folder)!r} has no {HDU_INDEX}: give a data store's folder"
        )
    return _StoreCheck(folder).run(n_jobs)


class _StoreCheck:
    """One check of one store."""

    def __init__(self, path):
        self.path = path
        self.report = Report()
        self.index_header = {}
        self.obs_rows = {}
        self.resolution_s = 0.0
        self.seen = {}
        """`HDURecord` of each HDU read so far, by file and name."""
        self.unreadable = set()
        self.n_mirrored = 0

    def run(self, n_jobs=1):
        """Run all checks and return the table of findings."""
        hdu_rows = self._read_hdu_index()
        self._read_obs_index()
        runs = defaultdict(list)
        for row in hdu_rows:
            runs[row["OBS_ID"]].append(row)
        self._compare_indices(runs)
        parts = split_runs(runs, 4 * n_jobs, _file) if runs and n_jobs > 1 else [runs]
        if len(parts) > 1:
            with ProcessPoolExecutor(n_jobs) as pool:
                found = list(pool.map(self.check_part, parts))
        else:
            found = map(self.check_part, parts)
        found = {obs_id: it for part in found for obs_id, it in part.items()}
        for obs_id in runs:
            rows, mirrored = found[obs_id]
            self.report.rows += rows
            self.n_mirrored += mirrored
        files = {_file(row) for row in hdu_rows}
        if hdu_rows:
            self._find_unmentioned(files)
        return self.report.table(
            N_RUNS=len(runs), N_FILES=len(files), N_MIRRORED=self.n_mirrored
        )

    # index tables

    def _read_index(self, file, name):
        """Header and rows of an index table, None if it cannot be read."""
        with _warnings_to(self.report, file=file):
            try:
                with _open(self.path / file) as (hdulist, _):
                    hdu = first_table(hdulist)
                    findings = list(check_index_table(hdu, name))
                    header, rows = read_header(hdu), table_rows(hdu)
                    dtype = hdu.columns.dtype
            except READ_ERRORS as exception:
                self.report.add([_unreadable(exception)], file=file)
                return None
        if not rows:
            findings.append(error("NAXIS2", "The index has no rows"))
        self.report.add(findings, file=file, hdu=header.get("EXTNAME") or "")
        wrong = {finding.key for finding in findings if finding.level == "error"}
        return header, rows, dtype, wrong

    def _read_hdu_index(self):
        index = self._read_index(HDU_INDEX, "HDU")
        if index is None:
            return []
        _, rows, _, wrong = index
        if wrong & set(HDU_INDEX_COLUMNS):
            return []
        for obs_id, finding in check_hdu_rows(rows):
            self.report.add([finding], obs_id=obs_id, file=HDU_INDEX)
        return rows

    def _read_obs_index(self):
        if not (self.path / OBS_INDEX).is_file():
            message = f"No {OBS_INDEX}: runs cannot be selected"
            self.report.add([error("FILE", message)], file=OBS_INDEX)
            return
        index = self._read_index(OBS_INDEX, "OBS")
        if index is None:
            return
        self.index_header, rows, dtype, wrong = index
        if "OBS_ID" in wrong:
            return
        for obs_id, finding in check_obs_rows(rows):
            self.report.add([finding], obs_id=obs_id, file=OBS_INDEX)
        self.obs_rows = {row["OBS_ID"]: row for row in rows}
        # times of 10^8 s in single precision are good to 8 s only
        if "TSTART" in dtype.names and dtype["TSTART"].str[1:] == "f4":
            times = [row["TSTART"] for row in rows]
            self.resolution_s = float(np.spacing(np.float32(max(times, default=0))))

    def _compare_indices(self, runs):
        if not self.obs_rows or not runs:
            return
        for obs_id in self.obs_rows:
            if obs_id not in runs:
                finding = error("OBS_ID", f"Run {obs_id} is not in {HDU_INDEX}")
                self.report.add([finding], obs_id=obs_id, file=OBS_INDEX)
        for obs_id in runs:
            if obs_id not in self.obs_rows:
                finding = error("OBS_ID", f"Run {obs_id} is not in {OBS_INDEX}")
                self.report.add([finding], obs_id=obs_id, file=HDU_INDEX)

    def _find_unmentioned(self, files):
        # not Path.resolve, which gives up at a link that leads to itself
        known = {os.path.realpath(self.path / file) for file in files}
        known |= {os.path.realpath(self.path / name) for name in (HDU_INDEX, OBS_INDEX)}
        inner = {index.parent for index in self.path.rglob(HDU_INDEX)} - {self.path}
        for file in sorted(self.path.rglob("*.fits*")):
            if file.suffix not in (".fits", ".gz") or inner & set(file.parents):
                continue
            if os.path.realpath(file) not in known:
                finding = warning("FILE", f"The file is not in {HDU_INDEX}")
                self.report.add([finding], file=str(file.relative_to(self.path)))

    # runs

    def check_part(self, runs):
        """Give rows of the report, and whether gammapy mirrors it, for each run."""
        found, known = {}, self.report
        for obs_id, rows in runs.items():
            self.report = Report(known.rows_of(obs_id))
            number = len(self.report.rows)
            mirrored = self._check_run(obs_id, rows)
            found[obs_id] = self.report.rows[number:], mirrored
        self.report = known
        return found

    def _check_run(self, obs_id, rows):
        """Check a run; give whether gammapy mirrors its background model."""
        by_file = defaultdict(list)
        for row in rows:
            by_file[_file(row)].append(row)
        records = {}
        for file, file_rows in by_file.items():
            for row, record in self._read_file(obs_id, file, file_rows):
                records.setdefault(row["HDU_TYPE"], record)
        for record, finding in check_run(obs_id, records):
            self.report.add([finding], obs_id=obs_id, file=record.file, hdu=record.name)
        events, row = records.get("events"), self.obs_rows.get(obs_id)
        if events is not None and row is not None:
            findings = check_against_index(
                events.header, events.n_rows, row, self.index_header, self.resolution_s
            )
            self.report.add(findings, obs_id=obs_id, file=events.file, hdu=events.name)
        if events is not None:
            place = {"obs_id": obs_id, "file": events.file, "hdu": events.name}
            known = self.report.of_run(obs_id)
            with _warnings_to(self.report, **place):
                self.report.add(check_trust(obs_id, records, known), **place)
        # records are kept for runs that share an IRF: without what needs memory
        for record in records.values():
            record.times = record.gti = record.hdu = None
        return is_mirrored(records)

    def _read_file(self, obs_id, file, rows):
        """Pairs of index row and record; reads and checks HDUs not seen so far."""
        new = [row for row in rows if (file, row["HDU_NAME"]) not in self.seen]
        if new and file not in self.unreadable:
            with _warnings_to(self.report, obs_id=obs_id, file=file):
                self._check_file(obs_id, file, new)
        for row in rows:
            record = self.seen.get((file, row["HDU_NAME"]))
            if record is None:
                continue
            if row not in new and record.hdu_type in ("events", "gti"):
                finding = error("HDU_NAME", "The HDU is also that of another run")
                self.report.add([finding], obs_id=obs_id, file=file, hdu=record.name)
            yield row, record

    def _check_file(self, obs_id, file, rows):
        try:
            with _open(self.path / file) as (hdulist, raw):
                self.report.add(_check_size(rows[0], raw), obs_id=obs_id, file=file)
                for row in rows:
                    self._check_hdu(obs_id, file, hdulist, row)
        except FileNotFoundError:
            finding = error("FILE_NAME", "The file that the index names is missing")
            self.report.add([finding], obs_id=obs_id, file=file)
            self.unreadable.add(file)
        except READ_ERRORS as exception:
            self.report.add([_unreadable(exception)], obs_id=obs_id, file=file)
            self.unreadable.add(file)

    def _check_hdu(self, obs_id, file, hdulist, row):
        place = {"obs_id": obs_id, "file": file, "hdu": row["HDU_NAME"]}
        try:
            hdu = hdulist[row["HDU_NAME"]]
        except KeyError:
            finding = error("HDU_NAME", "The HDU that the index names is missing")
            self.report.add([finding], **place)
            return
        if not isinstance(hdu, fits.BinTableHDU):
            self.report.add(
                [error("XTENSION", "The HDU is not a binary table")], **place
            )
            return
        try:
            header = read_header(hdu)
            self.report.add(list(check_checksum(hdu)), **place)
            hdu_class, findings = _class_of(row, header)
            findings += _check_class(hdu, header, hdu_class)
            record = _record(hdu, header, hdu_class, file, row)
        except READ_ERRORS as exception:
            self.report.add([_unreadable(exception)], **place)
            return
        self.report.add(findings, **place)
        self.seen[file, row["HDU_NAME"]] = record


def _file(row):
    return (Path(row["FILE_DIR"]) / row["FILE_NAME"]).as_posix()


@contextmanager
def _open(path):
    """Context: a FITS file, read whole and unpacked at once, and its raw bytes.

    Not by `astropy.io.fits.open` of the path: SIZE and MD5 of the index need all
    bytes, and the file would be read and unpacked a second time for them.
    """
    raw = path.read_bytes()
    data = gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
    with fits.open(io.BytesIO(data), memmap=False) as hdulist:
        yield hdulist, raw


@contextmanager
def _warnings_to(report, **place):
    """Context: what astropy warns of becomes findings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    texts = [
        str(item.message)
        for item in caught
        if issubclass(item.category, AstropyUserWarning)
        and not issubclass(item.category, u.UnitsWarning)
    ]
    for text in dict.fromkeys(texts):
        level = error if "truncated" in text else warning
        report.add([level("FITS", text)], **place)


def _unreadable(exception):
    text = f"{type(exception).__name__}: {exception}"
    return error("FITS", f"Cannot be read: {text}")


def _check_size(row, raw):
    if "SIZE" in row and row["SIZE"] > 0 and row["SIZE"] != len(raw):
        message = f"The file has {len(raw)} bytes, SIZE of the index is {row['SIZE']}"
        yield warning("SIZE", message)
    digest = row.get("MD5")
    if digest and digest.lower() != hashlib.md5(raw, usedforsecurity=False).hexdigest():
        yield error("MD5", "The MD5 sum of the file is not that of the index")


def _class_of(row, header):
    """HDU class by header, if the index has another of the same family."""
    named = row["HDU_CLASS"]
    actual = str(header.get("HDUCLAS4") or header.get("HDUCLAS1") or "").lower()
    if actual == named or actual not in _TYPE_OF_CLASS:
        return named, []
    message = f"HDU_CLASS of the index is {named!r}, the header says {actual!r}"
    return actual, [error("HDU_CLASS", message)]


def _check_class(hdu, header, hdu_class):
    if hdu_class == "events":
        return list(check_events(hdu, header))
    if hdu_class == "gti":
        return list(check_gti(hdu, header))
    if hdu_class == "pointing":
        return list(check_pointing(hdu, header))
    if hdu_class in _TYPE_OF_CLASS:
        return list(check_irf(hdu, header, hdu_class))
    return []


def _record(hdu, header, hdu_class, file, row):
    record = HDURecord(row["HDU_TYPE"], file, row["HDU_NAME"], header, len(hdu.data))
    if hdu_class == "events":
        record.times, record.hdu = scalar_column(hdu, "TIME"), hdu
    if hdu_class == "gti":
        record.hdu = hdu
        edges = [scalar_column(hdu, name) for name in ("START", "STOP")]
        if all(edge is not None for edge in edges):
            record.gti = np.stack(edges, axis=1)
    return record
