"""Commands that begin: the demonstration, a new configuration, and its schema."""

import json
from pathlib import Path

import click

from gammapy_mimic.cli.common import (
    CONFIG_FILE,
    ListCommand,
    call,
    errors_as_messages,
    set_up,
)

__all__ = ["demo", "init", "schema"]


@click.command(cls=ListCommand)
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
    set_up()
    from gammapy_mimic.demo import run_demo

    table = call(
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


@click.command(cls=ListCommand)
@click.argument("file", type=click.Path(dir_okay=False))
@click.option(
    "--from",
    "source",
    type=CONFIG_FILE,
    help="Gammapy analysis file to which the section 'mimic' is added.",
)
@click.option("--datastore", help="Data store of your runs.")
@click.option("--targets", multiple=True, type=int, help="OBS_IDs, one or more.")
@click.option("--overwrite", is_flag=True, help="Replace FILE if it exists.")
def init(file, source, datastore, targets, overwrite):
    """Write a configuration with comments to FILE.

    It is an ordinary gammapy analysis file with one more section, "mimic". With
    --from the text of your own file is kept, and only the section is added; with
    --datastore and --targets it is made for your runs. Which runs may be donors, and
    the size of a point-like source, are proposed by what the data store holds.
    """
    path = Path(file)
    if path.exists() and not overwrite:
        raise click.UsageError(f"{file} exists; use --overwrite to replace it")
    if (datastore is None) != (not targets) or (datastore and source):
        raise click.UsageError("--datastore and --targets go together, without --from")
    set_up()
    from gammapy_mimic.config.template import example, template

    if datastore is not None:
        plain = call(example, datastore, list(targets), None)
        text = call(example, datastore, list(targets), _suggestions(plain, path))
    elif source is not None:
        own = call(_read_text, source)
        found = _suggestions(call(template, own, file=source), path)
        text = call(template, own, found, file=source)
    else:
        text = template()
    from gammapy_mimic.io.output import atomic_write

    with errors_as_messages(), atomic_write(path) as new:
        new.write(text)
    click.echo(f"Wrote {file}; next: edit it, then gammapy-mimic pairs {file}")


def _suggestions(text, path):
    """Look into the data store of a new configuration; None without proposals."""
    from gammapy_mimic.config import MimicAnalysisConfig
    from gammapy_mimic.config.suggest import suggest

    with errors_as_messages(path):
        config = MimicAnalysisConfig.from_yaml(text)
    try:
        found = suggest(config)
    except (OSError, ValueError) as error:
        click.echo(f"Nothing is proposed from the data store: {error}", err=True)
        return None
    for note in () if found is None else found.notes:
        click.echo(f"Mind: {note}")
    return found


def _read_text(path):
    try:
        return Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not a text file in UTF-8") from error


@click.command()
@click.option("--out", type=click.Path(dir_okay=False), help="Write it to this file.")
def schema(out):
    """Print the JSON schema of the configuration.

    Editors complete and check a configuration by it, and say what each key is. A new
    file of "init" names it mimic.schema.json.
    """
    set_up()
    from gammapy_mimic.config import json_schema
    from gammapy_mimic.io.output import write_text

    text = json.dumps(json_schema(), indent=2)
    if out is None:
        click.echo(text)
    else:
        call(write_text, out, [text, "\n"])
        click.echo(f"Wrote {out}")
