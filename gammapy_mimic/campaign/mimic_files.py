"""The mimics of a campaign: their files, and the records that go with them."""

import re

from gammapy_mimic.campaign.records import (
    OwnFiles,
    checksum,
    claimed_file,
    read_record,
    remove_file,
)
from gammapy_mimic.io.gadf import HDU_INDEX, OBS_INDEX
from gammapy_mimic.io.output import check_replaceable, file_error_context
from gammapy_mimic.writer import MimicWriter
from gammapy_mimic.writer.events import is_written

__all__ = ["MimicFiles"]

_RECORD = re.compile(r"-?\d+\.json")


class _Writer(MimicWriter):
    """Writer of files whose owner is known by their records."""

    def is_own(self, path):
        return True


class MimicFiles:
    """Mimics of a campaign on disk.

    A mimic is a file in the data store of its set and a record of it, see
    `gammapy_mimic.campaign.records`.

    Parameters
    ----------
    path : `~pathlib.Path`
        Folder of the campaign.
    compress : bool, optional
        Whether event files are compressed. Default is False.
    """

    def __init__(self, path, *, compress=False):
        self.path = path
        self.compress = compress
        self.state = path / ".campaign"
        self.files = OwnFiles(path, self.state)

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

    def remove_mimic(self, folder, record):
        """Remove a mimic of which there is a record: first its file."""
        name = claimed_file(record)
        if name is not None:
            # somebody else's run, in its place by now, stays
            is_foreign = is_written(folder / name) is False
            paths = [record] if is_foreign else [folder / name, record]
            for path in paths:
                check_replaceable(path)
            for path in paths:
                remove_file(path)

    def remove_index(self, folder):
        """Remove the index, so that nobody takes what is left for a data store."""
        for name in (OBS_INDEX, HDU_INDEX):
            self.files.remove(folder / name)
