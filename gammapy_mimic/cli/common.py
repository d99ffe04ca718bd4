"""Options that commands share, and how mistakes of users become messages."""

import sys
from contextlib import contextmanager

import click

from gammapy_mimic import check_gammapy

__all__ = [
    "BACKEND",
    "CONFIG_FILE",
    "FOLDER",
    "PROCESSES",
    "ListCommand",
    "call",
    "errors_as_messages",
    "set_up",
]

CONFIG_FILE = click.Path(exists=True, dir_okay=False)
PROCESSES = click.option(
    "-j",
    "--n-jobs",
    default=1,
    show_default=True,
    type=click.IntRange(min=1),
    help="Number of processes.",
)
BACKEND = click.option(
    "--parallel-backend",
    "--backend",
    default="multiprocessing",
    show_default=True,
    type=click.Choice(["multiprocessing", "ray"]),
    help="How processes are run; ray also on several machines.",
)
FOLDER = click.Path(exists=True, file_okay=False)


class ListCommand(click.Command):
    """Command whose options with ``multiple`` take several values in a row."""

    def parse_args(self, ctx, args):
        """Write ``--name 1 2 3`` as ``--name 1 --name 2 --name 3``."""
        names = {
            name
            for option in self.params
            if getattr(option, "multiple", False)
            for name in option.opts
        }
        expanded, current = [], None
        for arg in args:
            if arg.startswith("-"):
                current = arg if arg in names else None
                expanded.append(arg)
            elif current is None or expanded[-1] == current:
                expanded.append(arg)
            else:
                expanded += [current, arg]
        return super().parse_args(ctx, expanded)


class ConfigException(click.ClickException):
    """Mistake in a configuration: exit code 2."""

    exit_code = 2


def set_up():
    """Prepare matplotlib for work without a screen; progress on terminals only."""
    try:
        check_gammapy()
    except ImportError as error:
        raise click.ClickException(str(error)) from error
    import matplotlib as mpl

    from gammapy_mimic.data.compat.progress import show_bars

    mpl.use("agg")
    show_bars(sys.stderr.isatty())


def call(function, *args, file=None, **kwargs):
    """Call a function; a user's mistake becomes a message and an exit code."""
    with errors_as_messages(file):
        return function(*args, **kwargs)


@contextmanager
def errors_as_messages(file=None):
    """Context in which a user's mistake becomes a message and an exit code."""
    try:
        yield
    except (OSError, ValueError) as error:
        from gammapy_mimic.config import ConfigError

        if not isinstance(error, ConfigError):
            raise click.ClickException(str(error)) from error
        text = str(error) if file is None else f"{file}: {error}"
        raise ConfigException(text) from error
