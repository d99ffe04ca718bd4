"""What a campaign keeps on disk, safe against being killed and against twins.

Beside the data stores of the mimic sets there is a hidden folder ``.campaign`` with
a record of each file that the campaign has written; see
`gammapy_mimic.campaign.records`. That of a mimic holds the rows for the index, the
checksum, and a fingerprint of what the mimic was made from: a mimic counts as made
only with it. Files without a record are somebody else's, and stay as they are.
"""

import logging
import re
from contextlib import contextmanager, nullcontext
from pathlib import Path

from gammapy_mimic.campaign.locks import file_lock
from gammapy_mimic.campaign.mimic_files import MimicFiles
from gammapy_mimic.campaign.settings import compare_settings, is_analysis, settings_text
from gammapy_mimic.config import ConfigError, expand
from gammapy_mimic.io.output import TEMPORARY

__all__ = ["STORE", "CampaignFolder", "open_folder"]

log = logging.getLogger(__name__)

STORE = re.compile(r"mimic_\d{3,}")
"""Names of folders of mimic sets."""


class CampaignFolder(MimicFiles):
    """Folder of a campaign: whose it is, who works in it, and its mimics.

    Parameters
    ----------
    path : `~pathlib.Path`
        Folder.
    compress : bool, optional
        Whether event files are compressed. Default is False.
    """

    def __init__(self, path, *, compress=False):
        super().__init__(path, compress=compress)
        self.config_path = path / "config.yaml"

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

    def pairs_lock(self, only):
        """Lock in which the first of several sets is matched, for all of them."""
        if only is None:
            return nullcontext()
        return self._locked("lock_pairs", patience_s=3600)

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
            self.files.write(self.config_path, [settings_text(config, self.path)])
        self.remove_temporary(only)

    def _advice(self):
        if not self.files.has(self.config_path):  # a copy, which is not overwritten
            return "Take another mimic.outdir."
        return (
            "Take another mimic.outdir, or make all of it again with overwrite "
            "(--overwrite)."
        )

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


def open_folder(config):
    """Find the folder of a campaign, which need not be there yet.

    Parameters
    ----------
    config : `~gammapy_mimic.config.MimicAnalysisConfig`
        Configuration. A warning is logged for a campaign which is where a relative
        ``mimic.outdir`` was looked for before: in the working directory.

    Returns
    -------
    folder : `CampaignFolder`
        Folder.
    """
    given, compress = config.mimic.outdir, config.mimic.compress
    path = expand(config.located().mimic.outdir, "mimic.outdir")
    before = CampaignFolder(expand(given, "mimic.outdir"), compress=compress)
    is_other = before.path != path and config.mimic.relative_to is None
    if is_other and before.state.is_dir():
        log.warning(
            "mimic.outdir = '%s' is %s, as it starts from the folder of the "
            "configuration; the campaign in %s, in the working directory, is not used. "
            "Move it there, or set mimic.relative_to: %s",
            *(given, path, before.path, Path.cwd()),
        )
    return CampaignFolder(path, compress=compress)


def _check_folder(path):
    """Raise an error for what stands where a folder is to be."""
    if path.is_symlink() and not path.exists():
        raise FileNotFoundError(f"mimic.outdir: {path} is a link that leads nowhere")
    if path.exists() and not path.is_dir():
        raise NotADirectoryError(f"mimic.outdir: {path} is not a folder")


def _is_temporary(path):
    return TEMPORARY.fullmatch(path.name) is not None
