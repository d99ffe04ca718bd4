"""Ctrl-C while mimics are made.

Python raises KeyboardInterrupt wherever the program happens to be: in the middle of a
process pool's own work this leaves its locks held, and everybody waits forever. Here
an interrupt is only noted, and raised between two mimics.
"""

import signal
import threading
import time
from contextlib import contextmanager

__all__ = ["Interrupts", "interrupts_between_mimics", "without_interrupts"]

_IMPATIENT_S = 1.0
"""An interrupt that comes so long after the first one does not wait for a mimic."""


class Interrupts:
    """Interrupts that have come."""

    def __init__(self):
        self._first_s = None

    def note(self, *_):
        """Note an interrupt; raise it if the user has waited for an earlier one."""
        now_s = time.monotonic()
        if self._first_s is None:
            self._first_s = now_s
        elif now_s - self._first_s > _IMPATIENT_S:
            raise KeyboardInterrupt

    def check(self):
        """Raise an interrupt that has been noted."""
        if self._first_s is not None:
            raise KeyboardInterrupt

    def between(self, items):
        """Go through items, and raise an interrupt before the next one."""
        for item in items:
            self.check()
            yield item
        self.check()


@contextmanager
def interrupts_between_mimics(backend):
    """Context in which Ctrl-C is only noted.

    Parameters
    ----------
    backend : {"multiprocessing", "ray"}
        With ray interrupts are raised at once, as it waits for a mimic.

    Yields
    ------
    interrupts : `Interrupts`
        What was noted. One that nobody has raised is raised at the end.
    """
    interrupts = Interrupts()
    is_main = threading.current_thread() is threading.main_thread()
    # not where somebody ignores it (nohup) or has an answer of his own
    is_default = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if backend == "ray" or not is_main or not is_default:
        yield interrupts
        return
    signal.signal(signal.SIGINT, interrupts.note)
    try:
        yield interrupts
        interrupts.check()
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@contextmanager
def without_interrupts():
    """Context in which processes are started: they never get an interrupt."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    old = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, old)
