"""The command ``gammapy-mimic``.

Gammapy is imported inside of the commands, so that help answers at once. `first` has
the commands that begin, `campaign` those that need a configuration, `results` those
that look at what was made; `common` is what they share.
"""

import logging

import click

from gammapy_mimic import __version__
from gammapy_mimic.cli.campaign import analyse, pairs, run
from gammapy_mimic.cli.first import demo, init, schema
from gammapy_mimic.cli.results import check, report

__all__ = ["main"]


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
    """Mimic observations: background runs in the field of view of a target.

    A session: "init" writes a configuration, "pairs" shows which donors there are,
    "run" makes the mimics, "check" validates them, "analyse" does with each set what
    you do with the targets, "report" summarises the results. "demo" needs no input.

    \b
    Exit codes: 0 all is well; 1 something is missing, broken or failed;
    2 wrong usage or configuration.

    \b
    Completion of commands and options in the shell, in its start-up file:
      bash: eval "$(_GAMMAPY_MIMIC_COMPLETE=bash_source gammapy-mimic)"
      zsh:  eval "$(_GAMMAPY_MIMIC_COMPLETE=zsh_source gammapy-mimic)"
      fish: _GAMMAPY_MIMIC_COMPLETE=fish_source gammapy-mimic | source
    """  # noqa: D301
    logging.basicConfig(
        level=log_level.upper(), format="%(levelname)s %(name)s: %(message)s"
    )


for command in (analyse, check, demo, init, pairs, report, run, schema):
    main.add_command(command)
