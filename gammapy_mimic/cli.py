"""The command ``gammapy-mimic``.

Gammapy is imported inside of the commands, so that help answers at once.
"""

import logging
import sys
from contextlib import contextmanager
from pathlib import Path

import click

from gammapy_mimic import __version__, check_gammapy
from gammapy_mimic.io.logs import only_errors

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


@main.command(cls=ListCommand)
@click.option("--out", default="mimic-demo", show_default=True, help="Output folder.")
@click.option(
    "--random-state",
    "--seed",
    default=0,
    show_default=True,
    type=click.IntRange(min=0),
    help="Seed.",
)
@click.option(
    "--datastore", help="Take the runs of this data store, not synthetic ones."
)
@click.option("--targets", multiple=True, type=int, help="OBS_IDs, one or more.")
@click.option("--donors", multiple=True, type=int, help="OBS_IDs, in this order.")
@click.option(
    "--overwrite", is_flag=True, help="Replace the results of an earlier demo."
)
def demo(out, random_state, datastore, targets, donors, overwrite):
    """Make mimics, write a data store, reduce it with gammapy and draw it.

    Without --datastore the runs are simulated: nothing is downloaded. With it, the
    first donor is for the first target, and so on; without --donors they are
    matched among all other runs. Known sources of the donors are scrambled.
    """
    if (datastore is None) != (not targets) or (donors and not targets):
        raise click.UsageError("--datastore and --targets go together")
    _set_up()
    from gammapy_mimic.demo import run_demo

    table = _run(
        run_demo,
        out,
        datastore=datastore,
        targets=targets,
        donors=donors,
        random_state=random_state,
        overwrite=overwrite,
    )
    click.echo("\n".join(table.pformat(max_lines=-1, max_width=-1)))
    click.echo(f"Mimics: {out}/mimics   figures: {out}/figures")


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


@main.command()
@click.argument("file", type=click.Path(dir_okay=False))
@click.option(
    "--from",
    "source",
    type=CONFIG_FILE,
    help="Gammapy analysis file to which the section 'mimic' is added.",
)
@click.option("--overwrite", is_flag=True, help="Replace FILE if it exists.")
def init(file, source, overwrite):
    """Write a configuration with comments to FILE.

    It is an ordinary gammapy analysis file with one more section, "mimic". With
    --from the text of your own file is kept, and only the section is added.
    """
    path = Path(file)
    if path.exists() and not overwrite:
        raise click.UsageError(f"{file} exists; use --overwrite to replace it")
    from gammapy_mimic.config import template

    text = None
    if source is not None:
        text = _run(_read_text, source)
    text = _run(template, text, file=source)
    from gammapy_mimic.io.output import atomic_write

    with _errors_as_messages(), atomic_write(path) as new:
        new.write(text)
    click.echo(f"Wrote {file}; next: edit it, then gammapy-mimic pairs {file}")


@main.command()
@click.argument("file", type=CONFIG_FILE)
@click.option("--why", type=int, help="Explain why this run (OBS_ID) is not used.")
@click.option(
    "--write", type=click.Path(dir_okay=False), help="Write the pairs to an ECSV file."
)
@click.option("--plot", type=click.Path(dir_okay=False), help="Draw them to a file.")
def pairs(file, why, write, plot):
    """Show which donors there are for the targets of FILE, without making mimics."""
    _set_up()
    from gammapy_mimic.campaign import MimicCampaign, explain_run, overview
    from gammapy_mimic.io.ecsv import write_ecsv
    from gammapy_mimic.io.output import save_figure

    campaign = _run(MimicCampaign.from_yaml, file)
    # the text that is printed next repeats the warnings
    with only_errors("gammapy_mimic.matching.matcher"):
        found = _run(campaign.match, file=file)
    if why is not None:
        click.echo(_run(explain_run, found, why))
        return
    click.echo(overview(found))
    if write is not None:
        _run(write_ecsv, found, write)
    if plot is not None:
        _run(save_figure, found.peek(), plot)
    without = sorted([*found.missing, *found.left_out])
    if without:
        names = ", ".join(map(str, without))
        raise click.ClickException(f"no donor for {names}")


@main.command()
@click.argument("file", type=CONFIG_FILE)
@PROCESSES
@BACKEND
@click.option("--overwrite", is_flag=True, help="Make everything again.")
@click.option(
    "--only", type=click.IntRange(min=0), help="Make only this mimic set, from 0."
)
@click.option(
    "--rematch",
    is_flag=True,
    help="Match again, say which pairs change, and replace their mimics.",
)
def run(file, n_jobs, parallel_backend, overwrite, only, rematch):
    """Make the mimics of FILE.

    What an earlier, interrupted call has made is kept, and the rest is made. So are
    pairs of target and donor, also where new runs would fit better; see --rematch. For
    a cluster: one call with --only for each mimic set, at the same time.
    """
    if only is not None and rematch:
        raise click.UsageError("--rematch is for all mimic sets, --only for one")
    _set_up()
    from gammapy_mimic.campaign import MimicCampaign

    campaign = _run(MimicCampaign.from_yaml, file)
    _check_only(only, file, campaign)
    with only_errors("gammapy_mimic.matching.matcher"):
        result = _run(
            campaign.run,
            n_jobs,
            parallel_backend=parallel_backend,
            overwrite=overwrite,
            only=only,
            rematch=rematch,
            file=file,
        )
    click.echo(result.summary())
    if not result.complete:
        raise click.exceptions.Exit(1)


@main.command()
@click.argument("file", type=CONFIG_FILE)
@PROCESSES
@BACKEND
@click.option("--only", type=click.IntRange(min=0), help="Analyse only this set.")
@click.option("--unblind", is_flag=True, help="Analyse the targets themselves, too.")
@click.option("--overwrite", is_flag=True, help="Analyse again what is there.")
@click.option(
    "--function", metavar="MODULE:NAME", help="Call this, not gammapy's steps."
)
def analyse(file, n_jobs, only, function, **options):
    """Analyse each mimic set of FILE as the targets, with gammapy's own steps.

    What is done is kept. The targets are not looked at, unless you say --unblind.
    """
    _set_up()
    from gammapy_mimic.analysis.worker import load_function
    from gammapy_mimic.campaign import MimicCampaign

    campaign = _run(MimicCampaign.from_yaml, file)
    _check_only(only, file, campaign)
    options |= {"n_jobs": n_jobs, "only": only, "file": file}
    if function is None:
        found = _run(campaign.analyse, **options)
    else:
        found = _run(campaign.map, _run(load_function, function), **options)
    click.echo(found.summary())
    click.echo(f"Wrote {campaign.config.mimic.outdir}/analysis/ensemble.ecsv")
    if found.failed:
        raise click.exceptions.Exit(1)


@main.command()
@click.argument("folder", metavar="DIR", type=click.Path(exists=True, file_okay=False))
def check(folder):
    """Check the data store in DIR, or all those of a campaign, file by file."""
    _set_up()
    from gammapy.utils.pbar import progress_bar

    from gammapy_mimic.campaign import check_campaign, is_campaign
    from gammapy_mimic.checks import check_datastore

    path, failed = Path(folder), 0
    sets = sorted(store for store in path.glob("mimic_[0-9]*") if store.is_dir())
    if is_campaign(path):
        findings = _run(check_campaign, path)
        if len(findings):
            failed += _print_findings(f"{path}: campaign", findings)
    elif not sets:
        sets = [path]
    for store in progress_bar(sets, desc="Check"):
        try:
            findings = check_datastore(store)
        except OSError as error:
            click.echo(f"FAIL {store}: {error}")
            failed += 1
        else:
            name = f"{store}: {findings.meta['N_RUNS']} runs"
            failed += _print_findings(name, findings)
    if failed:
        raise click.exceptions.Exit(1)


def _print_findings(name, findings):
    """Print findings; return whether there are errors among them."""
    levels = [str(level) for level in findings["LEVEL"]]
    errors, warnings = levels.count("error"), levels.count("warning")
    verdict = "FAIL" if errors else "PASS"
    click.echo(f"{verdict} {name}, {errors} errors, {warnings} warnings")
    if len(findings):
        click.echo("\n".join(findings.pformat(max_lines=-1, max_width=-1)))
    return errors > 0


class ConfigException(click.ClickException):
    """Mistake in a configuration: exit code 2."""

    exit_code = 2


@main.command()
@click.argument("folder", metavar="DIR", type=click.Path(exists=True, file_okay=False))
@click.option("--unblind", is_flag=True, help="Look at the targets themselves, too.")
@click.option("--overwrite", is_flag=True, help="Replace an earlier report.")
def report(folder, unblind, overwrite):
    """Write report.html on the campaign in DIR.

    The report is blind: data of the targets at the position of interest are read
    only with --unblind.
    """
    _set_up()
    from gammapy_mimic.report import Campaign, write_report

    path = _run(write_report, folder, unblind=unblind, overwrite=overwrite)
    click.echo(f"Wrote {path}")
    missing = Campaign.read(folder).missing
    if missing:
        names = ", ".join(missing)
        raise click.ClickException(
            f"it lacks {names}; gammapy-mimic run makes what is missing"
        )


def _check_only(only, file, campaign):
    """Raise an error for a set that a campaign does not have."""
    number = campaign.config.mimic.n_mimics
    if only is not None and only >= number:
        raise click.UsageError(f"--only {only}: {file} has sets 0 to {number - 1}")


def _set_up():
    """Prepare matplotlib for work without a screen; progress on terminals only."""
    try:
        check_gammapy()
    except ImportError as error:
        raise click.ClickException(str(error)) from error
    import matplotlib as mpl

    from gammapy_mimic.data.compat.progress import show_bars

    mpl.use("agg")
    show_bars(sys.stderr.isatty())


def _read_text(path):
    try:
        return Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not a text file in UTF-8") from error


def _run(function, *args, file=None, **kwargs):
    """Call a function; a user's mistake becomes a message and an exit code."""
    with _errors_as_messages(file):
        return function(*args, **kwargs)


@contextmanager
def _errors_as_messages(file=None):
    """Context in which a user's mistake becomes a message and an exit code."""
    try:
        yield
    except (OSError, ValueError) as error:
        from gammapy_mimic.config import ConfigError

        if not isinstance(error, ConfigError):
            raise click.ClickException(str(error)) from error
        text = str(error) if file is None else f"{file}: {error}"
        raise ConfigException(text) from error
