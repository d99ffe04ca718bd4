"""Commands that make and analyse the mimics of a configuration."""

import click

from gammapy_mimic.cli.common import BACKEND, CONFIG_FILE, PROCESSES, call, set_up
from gammapy_mimic.io.logs import only_errors

__all__ = ["analyse", "pairs", "run"]


@click.command()
@click.argument("file", type=CONFIG_FILE)
@click.option("--why", type=int, help="Explain why this run (OBS_ID) is not used.")
@click.option(
    "--write", type=click.Path(dir_okay=False), help="Write the pairs to an ECSV file."
)
@click.option("--plot", type=click.Path(dir_okay=False), help="Draw them to a file.")
def pairs(file, why, write, plot):
    """Show which donors there are for the targets of FILE, without making mimics."""
    set_up()
    from gammapy_mimic.campaign import MimicCampaign, explain_run, overview
    from gammapy_mimic.io.ecsv import write_ecsv
    from gammapy_mimic.io.output import save_figure

    campaign = call(MimicCampaign.from_yaml, file)
    # the text that is printed next repeats the warnings
    with only_errors("gammapy_mimic.matching.matcher"):
        found = call(campaign.match, file=file)
    if why is not None:
        click.echo(call(explain_run, found, why))
        return
    click.echo(overview(found))
    if write is not None:
        call(write_ecsv, found, write)
    if plot is not None:
        call(save_figure, found.peek(), plot)
    without = sorted([*found.missing, *found.left_out])
    if without:
        names = ", ".join(map(str, without))
        raise click.ClickException(f"no donor for {names}")


@click.command()
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
    set_up()
    from gammapy_mimic.campaign import MimicCampaign

    campaign = call(MimicCampaign.from_yaml, file)
    _check_only(only, file, campaign)
    with only_errors("gammapy_mimic.matching.matcher"):
        result = call(
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


@click.command()
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
    set_up()
    from gammapy_mimic.analysis.worker import load_function
    from gammapy_mimic.campaign import MimicCampaign
    from gammapy_mimic.config import expand

    campaign = call(MimicCampaign.from_yaml, file)
    _check_only(only, file, campaign)
    options |= {"n_jobs": n_jobs, "only": only, "file": file}
    if function is None:
        found = call(campaign.analyse, **options)
    else:
        found = call(campaign.map, call(load_function, function), **options)
    click.echo(found.summary())
    folder = expand(campaign.config.located().mimic.outdir, "mimic.outdir")
    click.echo(f"Wrote {folder}/analysis/ensemble.ecsv")
    if found.failed:
        raise click.exceptions.Exit(1)


def _check_only(only, file, campaign):
    """Raise an error for a set that a campaign does not have."""
    number = campaign.config.mimic.n_mimics
    if only is not None and only >= number:
        raise click.UsageError(f"--only {only}: {file} has sets 0 to {number - 1}")
