"""Records: what a campaign knows about the files that it has written.

They are small JSON files in the hidden folder ``.campaign``, with a checksum of their
own. The record of a file is there before the file is: a file without a valid record is
the user's, and is neither replaced nor removed.
"""

import hashlib
import json
from pathlib import Path

from gammapy_mimic.config import ConfigError
from gammapy_mimic.io.output import check_replaceable, write_text

__all__ = [
    "OwnFiles",
    "checksum",
    "claimed_file",
    "read_record",
    "remove_file",
    "write_record",
]

_NO_FILE = (FileNotFoundError, IsADirectoryError, NotADirectoryError)


def checksum(path):
    """SHA-256 of a file, as hexadecimal text."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_record(path, record):
    """Write a record, with a checksum of itself.

    Parameters
    ----------
    path : `~pathlib.Path`
        File of the record.
    record : dict
        Plain values. With ``pending`` it only says to whom a file belongs that is
        being written.
    """
    write_text(path, [json.dumps({**record, "checksum": _own_checksum(record)})])


def read_record(path):
    """Record of a file; None if there is none that is whole and as it was written."""
    record = _read(path)
    return None if record is None or "pending" in record else record


def claimed_file(path):
    """Name of the file that a record is of, perhaps one that is still being written.

    None if there is no valid record.
    """
    record = _read(path)
    return None if record is None else record.get("file")


def _read(path):
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


class OwnFiles:
    """Files of a folder other than mimics, with a record of each.

    Parameters
    ----------
    path : `~pathlib.Path`
        Folder.
    state : `~pathlib.Path`
        Folder of the records.
    """

    def __init__(self, path, state):
        self.path = path
        self.state = state

    def _record(self, path):
        return self.state / f"{path.relative_to(self.path)}.json"

    def has(self, path):
        """Whether there is a record of a file."""
        return claimed_file(self._record(path)) is not None

    def check(self, path):
        """Raise ConfigError for a file that is there and has no record."""
        if path.exists() and not self.has(path):
            raise ConfigError(
                [
                    f"{path} is there, and this campaign has no record of it: it is "
                    "not replaced. Move it away, or take another mimic.outdir"
                ]
            )

    def is_changed(self, path):
        """Whether a text file is no longer as it was written."""
        record = read_record(self._record(path))
        return (
            record is not None
            and path.is_file()
            and checksum(path) not in (record["sha256"], record["before"])
        )

    def write(self, path, pieces):
        """Write a text file, unless it is there with this content.

        Parameters
        ----------
        path : `~pathlib.Path`
            File.
        pieces : iterable of str
            Text.

        Raises
        ------
        ConfigError
            If there is another file of which there is no record.
        """
        text = "".join(pieces)
        old = checksum(path) if path.is_file() else None
        new = hashlib.sha256(text.encode("utf-8")).hexdigest()
        if new != old:
            self.check(path)
        if new != old or not self.has(path):
            record = {"file": path.name, "sha256": new, "before": old}
            write_record(self._record(path), record)
        if new != old:
            write_text(path, [text])

    def claim(self, path, content):
        """Make the record of a file that is to be written; errors are as of `write`.

        Parameters
        ----------
        path : `~pathlib.Path`
            File.
        content : bytes
            What is to be written.
        """
        if not path.is_file() or path.read_bytes() != content:
            self.check(path)
        write_record(self._record(path), {"file": path.name, "pending": True})

    def remove(self, path):
        """Remove a file and its record, if there is one."""
        if self.has(path):
            remove_file(path)
            remove_file(self._record(path))


def remove_file(path):
    """Remove a file or a link; no folder, and no read-only file."""
    check_replaceable(path)
    if path.is_file() or path.is_symlink():
        path.unlink()
