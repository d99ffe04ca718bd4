"""One progress bar for the whole campaign, instead of one for each of its steps."""

from contextlib import contextmanager

from gammapy.utils import pbar

__all__ = ["no_bars", "one_bar", "show_bars"]


def show_bars(is_shown):
    """Set whether gammapy shows progress bars in this process."""
    pbar.SHOW_PROGRESS_BAR = is_shown


@contextmanager
def no_bars():
    """Context in which gammapy shows no progress bars."""
    shown, pbar.SHOW_PROGRESS_BAR = pbar.SHOW_PROGRESS_BAR, False
    try:
        yield
    finally:
        pbar.SHOW_PROGRESS_BAR = shown


@contextmanager
def one_bar(number, name):
    """Context with a progress bar, shown if the user wants bars, and no others.

    Parameters
    ----------
    number : int
        Number of steps.
    name : str
        Text before the bar.
    """
    bar = pbar.progress_bar(range(number), desc=name)
    try:
        with no_bars():
            yield bar
    finally:
        bar.close()
