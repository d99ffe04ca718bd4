"""Commands that look at what was made."""

import functools
from contextlib import closing
from pathlib import Path

import click

from gammapy_mimic.cli.common import FOLDER, PROCESSES, call, set_up

__all__ = ["check", "report"]


@click.command()
@click.argument("folder", metavar="DIR", type=FOLDER)
@PROCESSES
def check(folder, n_jobs):
    """Check the data store in DIR, or all those of a campaign, file by file."""
    set_up()
    from gammapy_mimic.campaign import check_campaign, is_campaign

    path, failed = Path(folder), 0
    stores = sorted(it for it in path.glob("mimic_[0-9]*") if it.is_dir())
    if is_campaign(path):
        findings = call(check_campaign, path)
        if len(findings):
            failed += _print_findings(f"{path}: campaign", findings)
    elif not stores:
        stores = [path]
    failed += call(_check_stores, stores, n_jobs)
    if failed:
        raise click.exceptions.Exit(1)


def _check_stores(stores, n_jobs):
    """Check data stores, print the findings, and return in how many are errors."""
    from gammapy_mimic.campaign.processes import run_tasks
    from gammapy_mimic.data.compat.progress import one_bar

    # one store has all processes; several share them, so that each starts only once
    within, among = (n_jobs, 1) if len(stores) == 1 else (1, n_jobs)
    check_store = functools.partial(_check_store, n_jobs=within)
    tasks, failed = iter(stores), 0
    with (
        one_bar(len(stores), "Check") as bar,
        closing(run_tasks(check_store, tasks, among, "multiprocessing")) as found,
    ):
        for store, findings in found:
            bar.update(1)
            if isinstance(findings, OSError):
                click.echo(f"FAIL {store}: {findings}")
                failed += 1
            else:
                name = f"{store}: {findings.meta['N_RUNS']} runs"
                failed += _print_findings(name, findings)
    return failed


def _check_store(store, n_jobs):
    """Give the findings on a store, or the error if it cannot be opened."""
    from gammapy_mimic.checks import check_datastore

    try:
        return check_datastore(store, n_jobs=n_jobs)
    except OSError as error:
        return error


def _print_findings(name, findings):
    """Print findings; return whether there are errors among them."""
    levels = [str(level) for level in findings["LEVEL"]]
    errors, warnings = levels.count("error"), levels.count("warning")
    verdict = "FAIL" if errors else "PASS"
    click.echo(f"{verdict} {name}, {errors} errors, {warnings} warnings")
    if len(findings):
        click.echo("\n".join(findings.pformat(max_lines=-1, max_width=-1)))
    return errors > 0


@click.command()
@click.argument("folder", metavar="DIR", type=FOLDER)
@PROCESSES
@click.option("--unblind", is_flag=True, help="Look at the targets themselves, too.")
@click.option("--overwrite", is_flag=True, help="Replace an earlier report.")
@click.option(
    "--template",
    "templates",
    metavar="DIR",
    type=FOLDER,
    help="Folder with Jinja templates in place of those of the package.",
)
def report(folder, n_jobs, unblind, overwrite, templates):
    """Write report.html on the campaign in DIR, and report.json with its numbers.

    The report is blind: data of the targets at the position of interest are read
    only with --unblind.
    """
    set_up()
    from gammapy_mimic.report import Campaign, write_report

    options = {
        "n_jobs": n_jobs,
        "unblind": unblind,
        "overwrite": overwrite,
        "templates": templates,
    }
    path = call(write_report, folder, **options)
    click.echo(f"Wrote {path}")
    missing = Campaign.read(folder).missing
    if missing:
        names = ", ".join(missing)
        raise click.ClickException(
            f"it lacks {names}; gammapy-mimic run makes what is missing"
        )
