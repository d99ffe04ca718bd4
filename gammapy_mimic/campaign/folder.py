"""What a campaign keeps on disk, safe against being killed and against twins.

Beside the data stores of the mimic sets there is a hidden folder ``.campaign`` with
one small JSON file a mimic, written after the file of the mimic: it holds the rows
for the index, the checksum, and a fingerprint of what the mimic was made from. A
mimic counts as made only with its record.
"""

import errno
import hashlib
import json
import logging
import re
import time
from contextlib import contextmanager
from pathlib import Path

import yaml

from gammapy_mimic.config import ConfigError, MimicAnalysisConfig
from gammapy_mimic.io.output import TEMPORARY, check_replaceable, write_text
from gammapy_mimic.writer import MimicWriter

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None

__all__ = ["CampaignFolder", "checksum", "read_record", "write_record"]

log = logging.getLogger(__name__)

# processes of a campaign that was killed end within this time
_PATIENCE_S = 3.0
# errors of file systems that have no locks
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP)
_STORE = re.compile(r"mimic_\d{3,}")
_RUN_FILE = re.compile(r"(-?\d+)\.fits(\.gz)?")
_RECORD = re.compile(r"-?\d+\.json")
_NO_FILE = (FileNotFoundError, IsADirectoryError, NotADirectoryError)
# settings that change nothing in what is made
_FREE = ("mimic.outdir", "mimic.analyse", "general.log", "general.n_jobs")


def checksum(path):
    """SHA-256 of a file, as hexadecimal text."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_record(path, record):
    """Write the record of a mimic, with a checksum of itself.

    Parameters
    ----------
    path : `~pathlib.Path`
        File.
    record : dict
        Plain values.
    """
    write_text(path, [json.dumps({**record, "checksum": _own_checksum(record)})])


def read_record(path):
    """Record of a mimic; None if there is none that is as it was written."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (*_NO_FILE, ValueError, RecursionError):
        return None
    is_whole = isinstance(record, dict) and record.pop("checksum", None) == (
        _own_checksum(record)
    )
    return record if is_whole else None


def _own_checksum(record):
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()


class CampaignFolder:
    """Folder of a campaign.

    Parameters
    ----------
    path : `~pathlib.Path`
        Folder.
    compress : bool, optional
        Whether event files are compressed. Default is False.
    """

    def __init__(self, path, *, compress=False):
        self.path = path
        self.compress = compress
        self.state = path / ".campaign"
        self.config_path = path / "config.yaml"

    def store_path(self, mimic_set):
        """Folder of the data store of a mimic set."""
        return self.path / f"mimic_{mimic_set:03d}"

    def record_path(self, mimic_set, obs_id):
        """Record of a mimic."""
        return self.state / f"mimic_{mimic_set:03d}" / f"{obs_id}.json"

    def writer(self, mimic_set):
        """Writer of the data store of a mimic set."""
        return MimicWriter(
            self.store_path(mimic_set), overwrite=True, compress=self.compress
        )

    @contextmanager
    def lock(self, only=None):
        """Keep other campaigns out; the lock ends with the process, however it ends.

        Parameters
        ----------
        only : int, optional
            Set that is to be worked on: others may be worked on by other processes.
            Default is None: all.
        """
        for path in (self.path, self.state):
            _check_folder(path)
        self.state.mkdir(parents=True, exist_ok=True)
        with self._locked("lock", shared=only is not None):
            if only is None:
                yield
                return
            with self._locked(f"lock_{only}"):
                yield

    def provenance_lock(self):
        """Lock for what several processes of a campaign write."""
        return self._locked("lock_provenance", patience_s=600)

    @contextmanager
    def _locked(self, name, *, shared=False, patience_s=None):
        if fcntl is None:
            yield
            return
        # child processes inherit the lock: it holds until the last one has ended
        with (self.state / name).open("a+") as file:
            kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
            patience_s = _PATIENCE_S if patience_s is None else patience_s
            end = time.monotonic() + patience_s
            while not _try_lock(file, kind):
                if time.monotonic() > end:
                    raise BlockingIOError(
                        f"{self.path}: another campaign is at work there; wait for "
                        "its end, or take another mimic.outdir"
                    )
                time.sleep(0.05)
            try:
                yield
            finally:
                _unlock(file)

    def prepare(self, config, *, overwrite=False, only=None):
        """Make the folder ready for a configuration.

        Parameters
        ----------
        config : `~gammapy_mimic.config.MimicAnalysisConfig`
            Configuration.
        overwrite : bool, optional
            Remove earlier mimics. Default is False.
        only : int, optional
            Set that is to be made. Default is None: all.

        Raises
        ------
        ConfigError
            If the folder belongs to another configuration, and ``overwrite`` is
            False or ``only`` is given.
        """
        for path in self._folders(only):
            _check_folder(path)
        self._refuse_foreign()
        differences = self._known_differences(config, overwrite and only is None)
        if differences and (not overwrite or only is not None):
            raise ConfigError(
                [
                    f"{self.path} was made with another configuration:",
                    *(f"  {difference}" for difference in differences),
                    "Take another mimic.outdir, or make all of it anew with overwrite "
                    "(--overwrite).",
                ]
            )
        if overwrite:
            self._discard(only)
        if differences is None or differences:
            text = yaml.safe_dump(config.to_dict(), sort_keys=False, indent=4)
            write_text(self.config_path, [text])
        self.remove_temporary(only)

    def _folders(self, only):
        """Folders of a set or of all sets, and of their records."""
        sets = "mimic_*" if only is None else self.store_path(only).name
        paths = [*self.path.glob(sets), *self.state.glob(sets)]
        return sorted(path for path in paths if _STORE.fullmatch(path.name))

    def _known_differences(self, config, all_anew):
        """Differences; ConfigError, unless all is made anew, if nobody can tell."""
        try:
            return self.differences(config)
        except ConfigError as error:
            if all_anew:
                return error.problems
            raise ConfigError(
                [
                    f"{error.problems[0]}; without it nothing in its folder can be "
                    "kept: take another mimic.outdir, or make all of it anew with "
                    "overwrite (--overwrite)"
                ]
            ) from error

    def _refuse_foreign(self):
        """Never work in a folder of mimic sets that no campaign has made."""
        if self.config_path.exists():
            return
        names = sorted(path.name for path in self.path.glob("mimic_*"))
        foreign = [name for name in names if _STORE.fullmatch(name)]
        if foreign:
            raise ConfigError(
                [
                    f"{self.path} has {foreign[0]}, but no config.yaml: it is "
                    "no campaign's folder; take another mimic.outdir"
                ]
            )

    def differences(self, config):
        """Compare a configuration with the one that the folder was made with.

        Parameters
        ----------
        config : `~gammapy_mimic.config.MimicAnalysisConfig`
            Configuration.

        Returns
        -------
        differences : list of str or None
            A line for each key that differs; None if nothing has been made yet.

        Raises
        ------
        ConfigError
            If the configuration of the folder cannot be read any more.
        """
        if not self.config_path.exists() or not any(self.state.glob("mimic_*/*.json")):
            return None
        old = MimicAnalysisConfig.read(self.config_path)
        old, new = (dict(_flat(it.to_dict(), "")) for it in (old, config))
        return [
            f"{key}: {old.get(key)!r} there, {new.get(key)!r} now"
            for key in dict.fromkeys([*old, *new])
            if old.get(key) != new.get(key) and not key.startswith(_FREE)
        ]

    def _discard(self, only):
        """Remove the mimics of a set or of all sets, and nothing else."""
        pattern = "mimic_*" if only is None else self.store_path(only).name
        for records in sorted(self.state.glob(pattern)):
            folder = self.path / records.name
            self.remove_index(folder)
            _remove(folder / "analysis.yaml")
            for record in records.glob("*.json"):
                self.remove_mimic(folder, record)
            for empty in (records, folder):
                is_folder = empty.is_dir() and not empty.is_symlink()
                if is_folder and not any(empty.iterdir()):
                    empty.rmdir()

    def remove_mimic(self, folder, record):
        """Remove a mimic: first its record, then its file."""
        files = [folder / f"{record.stem}{suffix}" for suffix in (".fits", ".fits.gz")]
        for path in (record, *files):
            check_replaceable(path)
        for path in (record, *files):
            _remove(path)

    def remove_index(self, folder):
        """Remove the index, so that nobody takes what is left for a data store."""
        for name in ("obs-index.fits.gz", "hdu-index.fits.gz"):
            _remove(folder / name)

    def remove_temporary(self, only=None):
        """Remove half files of processes that were killed.

        Parameters
        ----------
        only : int, optional
            Set to look at; others may be written to in the moment. Default is None:
            all.
        """
        for path in list(self.temporary(only)):
            log.info("Removed %s, left by a killed process", path)
            path.unlink(missing_ok=True)

    @contextmanager
    def clean_on_error(self, only=None):
        """Context after whose failure no half files are left; see `remove_temporary`.

        A process that was killed, or one of ray's pool, ends in the middle of its work.
        """
        try:
            yield
        except BaseException:
            self.remove_temporary(only)
            raise

    def temporary(self, only=None):
        """Find files that have not been finished.

        Parameters
        ----------
        only : int, optional
            Set to look at. Default is None: all.

        Yields
        ------
        path : `~pathlib.Path`
            File.
        """
        for folder in [*self._folders(only), *([self.path] if only is None else [])]:
            if folder.is_dir():
                yield from filter(_is_temporary, folder.iterdir())

    def keep_only(self, mimic_set, obs_ids):
        """Remove mimics of a set that are not wanted any more.

        Parameters
        ----------
        mimic_set : int
            Set.
        obs_ids : set of int
            Those that are wanted.
        """
        folder = self.store_path(mimic_set)
        there = {path.stem for path in (self.state / folder.name).glob("*.json")}
        files = map(_RUN_FILE.fullmatch, (path.name for path in folder.glob("*.fits*")))
        there |= {match[1] for match in files if match}
        for name in there - {str(obs_id) for obs_id in obs_ids}:
            self.remove_index(folder)
            self.remove_mimic(folder, self.record_path(mimic_set, name))

    def whole(self, mimic_set, obs_id, fingerprint):
        """Whether a mimic is there, whole, and made from the same.

        Parameters
        ----------
        mimic_set, obs_id : int
            Which mimic.
        fingerprint : str
            Fingerprint of what it is to be made from.

        Returns
        -------
        whole : bool
            Whether it can be kept.
        """
        record = read_record(self.record_path(mimic_set, obs_id))
        return (
            record is not None
            and record["fingerprint"] == fingerprint
            and self.holds(mimic_set, record)
        )

    def records(self, mimic_set):
        """Find the records of a set.

        Parameters
        ----------
        mimic_set : int
            Set.

        Returns
        -------
        paths : dict of int to `~pathlib.Path`
            File for each OBS_ID, in the order of these.
        """
        paths = self.record_path(mimic_set, 0).parent.glob("*.json")
        found = {int(it.stem): it for it in paths if _RECORD.fullmatch(it.name)}
        return dict(sorted(found.items()))

    def holds(self, mimic_set, record):
        """Whether the file of a mimic is as it was written.

        Parameters
        ----------
        mimic_set : int
            Set.
        record : dict
            Record of the mimic.

        Returns
        -------
        holds : bool
            Whether the file is there, with the size and the checksum of the record.
        """
        path = self.store_path(mimic_set) / record["file"]
        return (
            path.is_file()
            and path.stat().st_size == record["size"]
            and checksum(path) == record["sha256"]
        )


def _check_folder(path):
    """Raise an error for what stands where a folder is to be."""
    if path.is_symlink() and not path.exists():
        raise FileNotFoundError(f"mimic.outdir: {path} is a link that leads nowhere")
    if path.exists() and not path.is_dir():
        raise NotADirectoryError(f"mimic.outdir: {path} is not a folder")


def _is_temporary(path):
    return TEMPORARY.fullmatch(path.name) is not None


def _remove(path):
    """Remove a file or a link; no folder, and no read-only file."""
    check_replaceable(path)
    if path.is_file() or path.is_symlink():
        path.unlink()


def _try_lock(file, kind):
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        log.warning("%s cannot be locked: run one campaign at a time", file.name)
    return True


def _unlock(file):
    try:
        fcntl.flock(file, fcntl.LOCK_UN)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise


def _flat(settings, path):
    """Dotted keys and values of nested settings."""
    for key, value in settings.items():
        here = f"{path}.{key}".removeprefix(".")
        if isinstance(value, dict) and value:
            yield from _flat(value, here)
        else:
            yield here, value
