"""The command ``gammapy-mimic``.

Gammapy is imported inside of the commands, so that help answers at once.
"""

import logging
import sys

import click

from gammapy_mimic import __version__

__all__ = ["main"]


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


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="gammapy-mimic")
@click.option(
    "--log-level",
    default="warning",
    show_default=True,
    type=click.Choice(
        ["debug", "info", "warning", "error", "critical"], case_sensitive=False
    ),
    help="How much is logged.",
)
def main(log_level):
    """Mimic observations: background runs in the field of view of a target."""
    logging.basicConfig(
        level=log_level.upper(), format="%(levelname)s %(name)s: %(message)s"
    )


@main.command(cls=ListCommand)
@click.option("--out", default="mimic-demo", show_default=True, help="Output folder.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(min=0))
@click.option(
    "--datastore", help="Take the runs of this data store, not synthetic ones."
)
@click.option("--targets", multiple=True, type=int, help="OBS_IDs, one or more.")
@click.option("--donors", multiple=True, type=int, help="OBS_IDs, one for each target.")
@click.option("--overwrite", is_flag=True, help="Replace earlier results in DIR.")
def demo(out, seed, datastore, targets, donors, overwrite):
    """Make mimics, write a data store, reduce it with gammapy and draw it.

    Without --datastore the runs are simulated: nothing is downloaded. With it, the
    first donor is for the first target, and so on.
    """
    if (datastore is None) != (not targets and not donors):
        raise click.UsageError("--datastore, --targets and --donors go together")
    _set_up()
    from gammapy_mimic.demo import run_demo

    table = _run(
        run_demo,
        out,
        datastore=datastore,
        targets=targets,
        donors=donors,
        random_state=seed,
        overwrite=overwrite,
    )
    click.echo("\n".join(table.pformat(max_lines=-1, max_width=-1)))
    click.echo(f"Mimics: {out}/mimics   figures: {out}/figures")


def _set_up():
    """Prepare matplotlib for work without a screen; progress on terminals only."""
    import matplotlib as mpl
    from gammapy.utils import pbar

    mpl.use("agg")
    pbar.SHOW_PROGRESS_BAR = sys.stderr.isatty()


def _run(function, *args, **kwargs):
    """Call a function; a user's mistake becomes one line and exit code 1."""
    try:
        return function(*args, **kwargs)
    except (OSError, ValueError) as error:
        raise click.ClickException(str(error)) from error
