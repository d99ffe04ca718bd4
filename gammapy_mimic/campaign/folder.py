"""What a campaign keeps on disk, safe against being killed and against twins.

Beside the data stores of the mimic sets there is a hidden folder ``.campaign`` with
a record of each file that the campaign has written; see
`gammapy_mimic.campaign.records`. That of a mimic holds the rows for the index, the
checksum, and a fingerprint of what the mimic was made from: a mimic counts as made
only with it. Files without a record are somebody else's, and stay as they are.
"""

import logging
import re
from contextlib import contextmanager

from gammapy_mimic.campaign.locks import file_lock
from gammapy_mimic.campaign.records import (
    OwnFiles,
    checksum,
    claimed_file,
    read_record,
    remove_file,
)
from gammapy_mimic.campaign.settings import (
    compare_settings,
    is_analysis,
    settings_text,
)
from gammapy_mimic.config import ConfigError
from gammapy_mimic.io.gadf import HDU_INDEX, OBS_INDEX
from gammapy_mimic.io.output import (
    TEMPORARY,
    check_replaceable,
    file_error_context,
)
from gammapy_mimic.writer import MimicWriter

__all__ = ["STORE", "CampaignFolder"]

log = logging.getLogger(__name__)

STORE = re.compile(r"mimic_\d{3,}")
"""Names of folders of mimic sets."""

_RECORD = re.compile(r"-?\d+\.json")


class _Writer(MimicWriter):
    """Writer of files whose owner is known by their records."""

    def is_own(self, path):
        return True


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
        self.files = OwnFiles(path, self.state)
        self.config_path = path / "config.yaml"

    def store_path(self, mimic_set):
        """Folder of the data store of a mimic set."""
        return self.path / f"mimic_{mimic_set:03d}"

    def record_path(self, mimic_set, obs_id):
        """Record of a mimic."""
        return self.state / f"mimic_{mimic_set:03d}" / f"{obs_id}.json"

    def writer(self, mimic_set):
        """Writer of the data store of a mimic set."""
        path = self.store_path(mimic_set)
        return _Writer(path, overwrite=True, compress=self.compress)

    @contextmanager
    def lock(self, only=None):
        """Keep other campaigns out; the lock ends with the process, however it ends.

        Parameters
        ----------
        only : int, optional
            Set that is to be worked on: others may be worked on by other processes.
            Default is None: all.
        """
        self.check_folders()
        self.state.mkdir(parents=True, exist_ok=True)
        with self._locked("lock", shared=only is not None):
            if only is None:
                yield
                return
            with self._locked(f"lock_{only}"):
                yield

    def check_folders(self):
        """Raise an error if something else stands in the place of its folders."""
        for path in (self.path, self.state):
            _check_folder(path)

    def provenance_lock(self):
        """Lock for what several processes of a campaign write."""
        return self._locked("lock_provenance", patience_s=600)

    def _locked(self, name, **options):
        message = (
            f"{self.path}: another campaign is at work there; wait for its end, or "
            "take another mimic.outdir"
        )
        return file_lock(self.state / name, message, **options)

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
        differences = self._known_differences(config, overwrite and only is None)
        if differences and (not overwrite or only is not None):
            raise ConfigError(
                [
                    f"{self.path} was made with another configuration:",
                    *(f"  {difference}" for difference in differences),
                    self._advice(),
                ]
            )
        if overwrite:
            self._discard(only)
        if differences is None or differences:
            self.files.write(self.config_path, [settings_text(config)])
        self.remove_temporary(only)

    def _advice(self):
        if not self.files.has(self.config_path):  # a copy, which is not overwritten
            return "Take another mimic.outdir."
        return (
            "Take another mimic.outdir, or make all of it again with overwrite "
            "(--overwrite)."
        )

    def write_index(self, mimic_set, rows):
        """Write the index of a set.

        Parameters
        ----------
        mimic_set : int
            Set.
        rows : list of dict
            From the records of its mimics.
        """
        writer = self.writer(mimic_set)
        for name, content in writer.index_contents(rows).items():
            self.files.claim(writer.path / name, content)
        with file_error_context(writer.path):
            writer.write_index(rows)

    def write_analysis(self, path, pieces):
        """Write ``analysis.yaml`` of a set, unless somebody has made it his own.

        Parameters
        ----------
        path : `~pathlib.Path`
            File.
        pieces : iterable of str
            Text.
        """
        if self.files.is_changed(path) and is_analysis(path):
            log.warning(
                "%s was changed after it was written, and stays; remove it to have it "
                "written again",
                path,
            )
        else:
            self.files.write(path, pieces)

    def _folders(self, only):
        """Folders of a set or of all sets, and of their records."""
        sets = "mimic_*" if only is None else self.store_path(only).name
        paths = [*self.path.glob(sets), *self.state.glob(sets)]
        return sorted(path for path in paths if STORE.fullmatch(path.name))

    def _known_differences(self, config, all_again):
        """Differences; ConfigError, unless all is made again, if nobody can tell."""
        try:
            return self.differences(config)
        except ConfigError as error:
            if all_again:
                return error.problems
            raise ConfigError(
                [
                    f"{error.problems[0]}; without it nothing in its folder can be "
                    "kept: take another mimic.outdir, or make all of it again with "
                    "overwrite (--overwrite)"
                ]
            ) from error

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
        if not self.config_path.exists():
            return None
        if self.files.has(self.config_path) and not any(
            self.state.glob("mimic_*/*.json")
        ):
            return None
        return compare_settings(self.config_path, config)

    def _discard(self, only):
        """Remove the mimics of a set or of all sets, and nothing else."""
        pattern = "mimic_*" if only is None else self.store_path(only).name
        for records in sorted(self.state.glob(pattern)):
            folder = self.path / records.name
            self.remove_index(folder)
            self.files.remove(folder / "analysis.yaml")
            for record in records.glob("*.json"):
                self.remove_mimic(folder, record)
            for empty in (records, folder):
                is_folder = empty.is_dir() and not empty.is_symlink()
                if is_folder and not any(empty.iterdir()):
                    empty.rmdir()

    def remove_mimic(self, folder, record):
        """Remove a mimic of which there is a record: first its file."""
        name = claimed_file(record)
        if name is not None:
            for path in (folder / name, record):
                check_replaceable(path)
            for path in (folder / name, record):
                remove_file(path)

    def remove_index(self, folder):
        """Remove the index, so that nobody takes what is left for a data store."""
        for name in (OBS_INDEX, HDU_INDEX):
            self.files.remove(folder / name)

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
        top = [self.path, self.state] if only is None else []
        for folder in [*self._folders(only), *top]:
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
        for obs_id, record in self.records(mimic_set).items():
            if obs_id not in obs_ids:
                self.remove_index(folder)
                self.remove_mimic(folder, record)

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

    def is_outdated(self, task):
        """Whether a mimic of this pair is there which was made from something else."""
        record = read_record(self.record_path(task.mimic_set, task.target.obs_id))
        return (
            record is not None
            and record["donor"] == int(task.donor.obs_id)
            and record["fingerprint"] != task.fingerprint
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
