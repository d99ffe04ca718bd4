"""Locks on files: between processes and machines, on all systems.

They end with the process that holds them, however it ends. On Linux and macOS the
processes that it has started hold them as well, until the last one has ended.
"""

import errno
import logging
import time
from contextlib import contextmanager

import portalocker
from portalocker import LockFlags

__all__ = ["file_lock"]

log = logging.getLogger(__name__)

# processes of a campaign that was killed end within this time
_PATIENCE_S = 3.0
# errors of file systems that have no locks
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP)


@contextmanager
def file_lock(path, message, *, shared=False, patience_s=None):
    """Context with a lock.

    Parameters
    ----------
    path : `~pathlib.Path`
        File that is locked; it is made, and stays.
    message : str
        Text of the error if somebody else has the lock.
    shared : bool, optional
        Whether others may have it, too, if they share it. Default is False.
    patience_s : float, optional
        Time to wait for it in seconds. Default is None: 3 s.

    Raises
    ------
    BlockingIOError
        If somebody else has the lock.
    """
    with path.open("a+") as file:
        patience_s = _PATIENCE_S if patience_s is None else patience_s
        is_locked, end = _try_lock(file, shared), time.monotonic() + patience_s
        while is_locked is False:
            if time.monotonic() > end:
                raise BlockingIOError(message)
            time.sleep(0.05)
            is_locked = _try_lock(file, shared)
        try:
            yield
        finally:
            if is_locked:
                # closing would not do: other processes have the file open, too
                portalocker.unlock(file)


def _try_lock(file, shared):
    """Lock a file; False if somebody else has the lock, None if there are no locks."""
    kind = LockFlags.SHARED if shared else LockFlags.EXCLUSIVE
    try:
        portalocker.lock(file, kind | LockFlags.NON_BLOCKING)
    except portalocker.AlreadyLocked:
        return False
    except portalocker.LockException as error:
        cause = error.__cause__
        if not isinstance(cause, OSError):
            raise OSError(f"{file.name} cannot be locked: {error}") from error
        if cause.errno not in _NO_LOCKS:
            raise OSError(cause.errno, cause.strerror, file.name) from error
        log.warning("%s cannot be locked: run one campaign at a time", file.name)
        return None
    return True
