"""Files of a data store, each written whole or not at all."""

import collections.abc
import itertools
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from astropy.table import vstack
from gammapy.data import DataStore, Observation, ObservationTable
from gammapy.utils.scripts import make_path

from gammapy_mimic.data.compat import source_paths
from gammapy_mimic.data.reading import checked_obs_id, quick_check
from gammapy_mimic.io.arguments import PathLike, check_flag
from gammapy_mimic.io.files import PRIMARY, compress
from gammapy_mimic.io.gadf import HDU_INDEX, OBS_INDEX
from gammapy_mimic.io.output import atomic_write
from gammapy_mimic.writer.events import is_written, run_hdus
from gammapy_mimic.writer.index import (
    hdu_index,
    index_rows,
    is_own_index,
    obs_index,
    read_rows,
    stored_gzip,
)

__all__ = ["MimicWriter", "write_datastore", "write_run"]

log = logging.getLogger(__name__)


class MimicWriter:
    """Writer of a data store, one observation at a time.

    It holds nothing but its settings and the OBS_IDs it has written, so that copies
    of it may work in several processes: each calls `write` for its observations, the
    rows which that returns are collected, and `write_index` is called once at the
    end. Until then the folder has no index, and `gammapy.data.DataStore.from_dir`
    does not open it.

    Parameters
    ----------
    path : str or `~pathlib.Path`
        Folder of the store. It is made when the first file is written.
    overwrite : bool, optional
        Whether existing files may be replaced: those that this package wrote, and from
        which no observation is read. Default is False.
    compress : bool, optional
        Whether files are ``<OBS_ID>.fits.gz`` and not ``<OBS_ID>.fits``. They take
        half of the space and twice the time. Default is False.

    Examples
    --------
    >>> writer = MimicWriter("mimic")
    >>> rows = [writer.write(observation) for observation in observations]
    >>> writer.write_index(rows)
    """

    def __init__(
        self, path: PathLike, *, overwrite: bool = False, compress: bool = False
    ) -> None:
        if not isinstance(path, str | Path) or not str(path):
            raise TypeError(f"path = {path!r}: must be a folder")
        self.path = make_path(path)
        self.overwrite = check_flag("overwrite", overwrite)
        self.compress = check_flag("compress", compress)
        self._written: set[int] = set()

    def file_path(self, obs_id: int) -> Path:
        """Path of the file of a run."""
        return self.path / f"{obs_id}.fits{'.gz' if self.compress else ''}"

    def check(self, obs_ids: Iterable[int] = ()) -> None:
        """Raise an error for what could not be written, and write nothing.

        Parameters
        ----------
        obs_ids : iterable of int, optional
            Runs that are to be written. Default is none: only the folder and its
            index are looked at.
        """
        if self.path.exists() and not self.path.is_dir():
            raise NotADirectoryError(f"path={str(self.path)!r} is not a folder")
        seen = set()
        for obs_id in obs_ids:
            if obs_id in seen:
                raise _duplicate(obs_id)
            seen.add(obs_id)
        self._check_index()
        for path in map(self.file_path, seen):
            self._check_file(path)

    def is_own(self, path: Path) -> bool:
        """Whether a file of a run may be replaced: whether this package wrote it.

        Parameters
        ----------
        path : `~pathlib.Path`
            File.

        Returns
        -------
        is_own : bool
            By the HISTORY of its events.
        """
        return bool(is_written(path))

    def _check_file(self, path):
        """Raise an error for a file of a run that must not be replaced."""
        _check_new(path, self.overwrite)
        if path.is_file() and not self.is_own(path):
            raise FileExistsError(
                f"{path} was not written by this package and is not replaced; write to "
                "another folder, or move it away"
            )

    def _check_index(self):
        """Raise an error for an index that must not be replaced."""
        for path in (self.path / OBS_INDEX, self.path / HDU_INDEX):
            _check_new(path, self.overwrite)
            if path.exists() and not is_own_index(path):
                raise FileExistsError(
                    f"{path} was not written by this package and is not replaced; "
                    "write to another folder"
                )

    def write(self, observation: Observation) -> Any:
        """Write the file of one observation.

        IRFs that were never loaded are copied from their files without decoding.
        An index that the folder has is removed when the first of its files is
        replaced, as it would no longer be true.

        Parameters
        ----------
        observation : `~gammapy.data.Observation`
            Observation, not changed.

        Returns
        -------
        rows : dict
            Rows for the index, for `write_index`. They can be pickled.
        """
        obs_id = checked_obs_id(observation)
        if obs_id in self._written:
            raise _duplicate(obs_id)
        path = self.file_path(obs_id)
        self._check_file(path)
        self.check_sources(observation)
        size, *written = _write_run(observation, path, before=self._remove_index)
        self._written.add(obs_id)
        return index_rows(*written, file_name=path.name, size=size)

    def check_sources(self, observation: Observation) -> None:
        """Raise an error if a run is read from a file that might be replaced.

        Parameters
        ----------
        observation : `~gammapy.data.Observation`
            Observation.
        """
        if not self.overwrite:
            return
        folder = self.path.resolve()
        for source in source_paths(observation):
            if source.resolve().is_relative_to(folder):
                raise ValueError(
                    f"OBS_ID {observation.obs_id} is read from {source}, in the folder "
                    "that is to be overwritten; write to another folder"
                )

    def _remove_index(self):
        """Remove both index files."""
        for name in (OBS_INDEX, HDU_INDEX):
            (self.path / name).unlink(missing_ok=True)

    def index_contents(
        self, rows: Iterable[Any], *, obs_table: ObservationTable | None = None
    ) -> dict[str, bytes]:
        """Make both index files, without writing them.

        Parameters
        ----------
        rows, obs_table
            See `write_index`.

        Returns
        -------
        contents : dict of str to bytes
            Content for each name of a file.
        """
        rows = sorted(rows, key=lambda row: row["obs"]["OBS_ID"])
        if not rows:
            raise ValueError("No observations: there is nothing to write an index of")
        for first, second in itertools.pairwise(rows):
            if first["obs"]["OBS_ID"] == second["obs"]["OBS_ID"]:
                raise _duplicate(first["obs"]["OBS_ID"])
        tables = {OBS_INDEX: obs_index(rows, obs_table), HDU_INDEX: hdu_index(rows)}
        return {name: stored_gzip(content) for name, content in tables.items()}

    def write_index(
        self, rows: Iterable[Any], *, obs_table: ObservationTable | None = None
    ) -> None:
        """Write both index files, which makes the folder a data store.

        Parameters
        ----------
        rows : iterable of dict
            What `write` returned, in any order. The index is sorted by OBS_ID.
        obs_table : `~gammapy.data.ObservationTable`, optional
            Table whose further columns are passed through to the observation index,
            by OBS_ID. Default is None.
        """
        contents = self.index_contents(rows, obs_table=obs_table)
        self._check_index()
        self._remove_index()
        for name, content in contents.items():
            _write_file(self.path / name, [content])


def write_run(
    observation: Observation,
    path: PathLike,
    *,
    overwrite: bool = False,
    other_hdus: Iterable[Any] = (),
) -> None:
    """Write one observation to one file, without index tables.

    Parameters
    ----------
    observation : `~gammapy.data.Observation`
        Observation, not changed.
    path : str or `~pathlib.Path`
        File; its folder is made if need be. It is compressed if its name ends with
        ``.gz``.
    overwrite : bool, optional
        Whether an existing file may be replaced. Default is False.
    other_hdus : iterable of `~gammapy_mimic.io.files.SourceHDU`, optional
        HDUs that come last, byte for byte. Default is none.

    Raises
    ------
    ValueError
        If the OBS_ID is not an integer, or the run has no events, GTI, pointing or
        location.
    FileExistsError
        If the file is there already and ``overwrite`` is False.
    """
    path = make_path(path)
    _check_new(path, check_flag("overwrite", overwrite))
    _write_run(observation, path, other_hdus=other_hdus)


def _write_run(observation, path, *, before=None, other_hdus=()):
    """Write the file of a run; gives its size, and what `run_hdus` gives."""
    header, n_events, hdus = run_hdus(observation)
    pieces = [PRIMARY, *itertools.chain(*(hdu.content for hdu in hdus))]
    for hdu in other_hdus:
        pieces += [hdu.header_bytes, hdu.data]
    if path.suffix == ".gz":
        pieces = [compress(b"".join(pieces))]
    path.parent.mkdir(parents=True, exist_ok=True)
    _write_file(path, pieces, before=before)
    log.info("OBS_ID %s: %d events written to %s", header["OBS_ID"], n_events, path)
    return sum(len(piece) for piece in pieces), header, n_events, hdus


def _check_new(path, overwrite):
    """Raise an error for an existing file that must not be replaced."""
    if not overwrite and path.exists():
        raise FileExistsError(f"{path} exists; use overwrite=True or another folder")


def _duplicate(obs_id):
    """Error for a duplicated OBS_ID."""
    return ValueError(
        f"OBS_ID {obs_id} is duplicated; a data store has each OBS_ID once: write the "
        "runs to separate folders or give them other OBS_IDs"
    )


def _write_file(path, pieces, *, before=None):
    """Write the bytes of a file, whole or not at all.

    ``before`` is called between writing and renaming if the file exists already.
    """
    with atomic_write(path, "wb") as file:
        file.writelines(pieces)
        if before is not None and path.exists():
            file.flush()  # which may fail
            before()


def write_datastore(
    observations: Iterable[Observation],
    path: PathLike,
    *,
    overwrite: bool = False,
    compress: bool = False,
    obs_table: ObservationTable | None = None,
) -> DataStore:
    """Write observations to a folder that gammapy opens as a data store.

    The files are ``<OBS_ID>.fits`` with EVENTS, GTI and all IRFs that the run has,
    and the index files ``obs-index.fits.gz`` and ``hdu-index.fits.gz``, which
    come last. Paths in the index are relative, the folder can be moved. The same
    observations give the same bytes.

    Each file appears whole or not at all. If an error is raised, complete
    files of earlier observations stay, without an index.

    Parameters
    ----------
    observations : iterable of `~gammapy.data.Observation`
        Observations, such as `~gammapy.data.Observations`, a list or a generator.
        One at a time is in memory. They are not changed.
    path : str or `~pathlib.Path`
        Folder, made if need be.
    overwrite : bool, optional
        Whether runs are added to a store that this package wrote, and its runs of the
        same OBS_ID replaced. No file is removed: which runs and files of earlier calls
        stay is logged. Default is False: there may be no store.
    compress : bool, optional
        Whether the files are compressed. Default is False.
    obs_table : `~gammapy.data.ObservationTable`, optional
        Observation table of the source, whose further columns are passed through to
        the observation index, by OBS_ID. Cards of the EVENTS headers such as MUONEFF
        are there anyway. Default is None.

    Returns
    -------
    data_store : `~gammapy.data.DataStore`
        The store.

    Raises
    ------
    TypeError
        If ``observations`` is a single one, or not of observations, or an argument is
        of another type.
    ValueError
        If an OBS_ID is duplicated or not an integer, or a run has no events, GTI,
        pointing or location.
        With ``overwrite``, if one is still to be read from a file of the folder.
    FileExistsError
        If files are there already and ``overwrite`` is False, or this package did not
        write them.

    Examples
    --------
    >>> from gammapy_mimic import write_datastore
    >>> data_store = write_datastore(mimics, "mimic")
    """
    if isinstance(observations, Observation):
        raise TypeError("observations is a single one; give a list: [observation]")
    if obs_table is not None and "OBS_ID" not in getattr(obs_table, "colnames", ()):
        raise TypeError(f"obs_table = {obs_table!r}: must be a table with OBS_ID")
    writer = MimicWriter(path, overwrite=overwrite, compress=compress)
    known = isinstance(observations, collections.abc.Sequence)
    writer.check(map(quick_check, observations) if known else ())
    if known:
        for observation in observations:
            writer.check_sources(observation)
    old_rows, obs_table = _earlier_rows(writer.path, obs_table)
    rows = [writer.write(observation) for observation in observations]
    new = {row["obs"]["OBS_ID"] for row in rows}
    kept = [row for row in old_rows if row["obs"]["OBS_ID"] not in new]
    writer.write_index([*kept, *rows], obs_table=obs_table)
    _log_earlier(writer.path, old_rows, kept, rows)
    return DataStore.from_dir(writer.path.resolve())


def _earlier_rows(folder, obs_table):
    """Rows of a store that is there, and the table of columns to pass through."""
    paths = folder / OBS_INDEX, folder / HDU_INDEX
    if not all(path.exists() for path in paths):
        return [], obs_table
    rows, earlier = read_rows(*paths)
    tables = [table for table in (obs_table, earlier) if table is not None]
    # of several rows of a run, the last one is taken
    return rows, vstack(tables[::-1], metadata_conflicts="silent")


def _log_earlier(folder, old_rows, kept, rows):
    """Say what a store has of earlier calls."""
    if kept:
        ids = ", ".join(str(row["obs"]["OBS_ID"]) for row in kept)
        log.warning("%s: runs of an earlier call stay in the store: %s", folder, ids)
    names = {entry["FILE_NAME"] for row in (*kept, *rows) for entry in row["hdus"]}
    left = {entry["FILE_NAME"] for row in old_rows for entry in row["hdus"]} - names
    if left:
        log.warning(
            "%s: files that are no longer in the index stay: %s; remove them if you do "
            "not need them",
            folder,
            ", ".join(sorted(left)),
        )
