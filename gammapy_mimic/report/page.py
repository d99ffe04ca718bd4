"""The HTML page of a report: text, tables and figures in one file."""

import base64
import html
import io
import logging
import os
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg

from gammapy_mimic import __version__
from gammapy_mimic.io.arguments import PathLike, check_flag
from gammapy_mimic.io.ecsv import write_ecsv
from gammapy_mimic.io.output import atomic_write, write_text
from gammapy_mimic.report.figures import MAX_PAIRS, MAX_SCRAMBLED, draw_figures
from gammapy_mimic.report.judge import ON_RADIUS
from gammapy_mimic.report.measure import Campaign, measure

__all__ = ["write_report"]

log = logging.getLogger(__name__)

_RESULTS = (
    *("report.html", "report.json", "systematic.ecsv", "local_systematic.ecsv"),
    "figures/systematic.png",
)
"""Files that a report replaces or removes."""

_STYLE = """
body {font: 16px/1.5 sans-serif; max-width: 62em; margin: 2em auto; padding: 0 1em}
table {border-collapse: collapse; font-size: 13px; margin: 1em 0}
td, th {border: 1px solid #bbb; padding: 2px 8px; text-align: right}
img {max-width: 100%} figure {margin: 1.5em 0} figcaption {color: #555}
.note {background: #f4f4f4; padding: .5em 1em; border-left: 4px solid #888}
"""

_HESS = (
    "This work made use of data from the H.E.S.S. DL3 public test data release 1 "
    "(HESS DL3 DR1, H.E.S.S. collaboration, 2018)."
)


def write_report(
    folder: PathLike,
    *,
    unblind: bool = False,
    overwrite: bool = False,
    n_toys: int = 50,
    n_jobs: int = 1,
) -> Path:
    """Write the report of a campaign.

    Parameters
    ----------
    folder : str or `~pathlib.Path`
        Folder of the campaign, ``mimic.outdir``.
    unblind : bool, optional
        Show what the targets themselves have at the position of interest. Default
        is False: their data are not opened.
    overwrite : bool, optional
        Replace an earlier report. Default is False.
    n_toys : int, optional
        Number of toys by which significance maps are calibrated. Default is 50.
    n_jobs : int, optional
        Number of processes. Default is 1. The report does not depend on it.

    Returns
    -------
    path : `~pathlib.Path`
        File ``report.html``. It needs no other file and no network. The figures are
        also in ``figures/``, the systematic of the field in ``systematic.ecsv``, that
        of the position in ``local_systematic.ecsv``.

    Raises
    ------
    ValueError
        If the folder is not a finished campaign, or only some runs have a background
        model.
    FileExistsError
        If there is a report already, or a file in the place of one of its files, and
        ``overwrite`` is False.
    """
    check_flag("unblind", unblind)
    path = Path(folder) / "report.html"
    campaign = Campaign.read(folder)
    there = [it for it in (Path(folder) / name for name in _RESULTS) if it.exists()]
    if not check_flag("overwrite", overwrite) and there:
        raise FileExistsError(f"{there[0]} exists; use overwrite (--overwrite)")
    if campaign.missing:
        log.warning(
            "%s: %s missing; the report is on the other mimic sets",
            *(folder, ", ".join(campaign.missing)),
        )
    figures = Path(folder) / "figures"
    for place in (Path(folder), figures):
        _check_place(place)
    found = measure(campaign, unblind=unblind, n_toys=n_toys, n_jobs=n_jobs)
    figures.mkdir(exist_ok=True)
    pictures = {}
    for name, caption, figure in draw_figures(campaign, found):
        content = io.BytesIO()
        figure.set_dpi(90)
        # savefig would draw it twice, for its layout
        FigureCanvasAgg(figure).print_png(content)
        plt.close(figure)
        with atomic_write(figures / f"{name}.png", "wb") as file:
            file.write(content.getvalue())
        pictures[name] = _picture(content.getvalue(), caption)
    if found.systematic is None:
        # nothing of an earlier report beside this one
        for old in (Path(folder) / "systematic.ecsv", figures / "systematic.png"):
            old.unlink(missing_ok=True)
    else:
        found.systematic.write(Path(folder) / "systematic.ecsv", overwrite=True)
    write_ecsv(found.local.table, Path(folder) / "local_systematic.ecsv")
    write_text(path, [_page(campaign, found, pictures)])
    return path


def _check_place(folder):
    """Raise an error for a folder in which nothing can be written."""
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"{folder} is not a folder")
    if folder.exists() and not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(f"{folder} is read-only: no report can be written there")


def _page(campaign, found, pictures):
    title = f"Mimics in {campaign.path.absolute().name}"
    parts = [
        f"<!DOCTYPE html><html lang='en'><head><meta charset='utf-8'>"
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style></head><body>",
        f"<h1>{html.escape(title)}</h1>",
        *_summary(campaign, found),
        "<h2>Systematic error of the background at the position</h2>",
        pictures.pop("local"),
        _table(found.local.table),
        "<h2>Donors</h2>",
        f"<pre>{html.escape(campaign.pairs.summary())}</pre>",
        pictures.pop("pairs"),
        "<h2>Significance of an empty sky</h2>",
        pictures.pop("position"),
        *(
            f"<h3>Mimic set {number}</h3>{_table(distribution.table)}"
            f"{pictures.pop(f'significance_{number:03d}')}"
            for number, distribution in found.distributions.items()
        ),
        *_on_off(found, pictures),
        "<h2>Systematic error of the background</h2>",
        *_systematic(found, pictures),
        "<h2>Scrambled sources</h2>",
        _table(found.residuals) if len(found.residuals) else "<p>None.</p>",
        "<h2>Donor and mimic in the camera</h2>",
        *(
            f"<h3>Run {obs_id}</h3>{_table(check.table)}{_table(check.gradients)}"
            f"{pictures.pop(f'field_{obs_id}')}"
            for obs_id, check in found.checks.items()
        ),
        f"<h2>Pictures</h2><p>Mimics of the first set, up to {MAX_PAIRS}; scrambled "
        f"donors of all sets, up to {MAX_SCRAMBLED}.</p>",
        *pictures.values(),
        "</body></html>",
    ]
    return "\n".join(parts)


def _summary(campaign, found):
    """Paragraphs with all headline numbers, as for a paper."""
    mimic = campaign.config.mimic
    text = f"Missing: {', '.join(campaign.missing)}. " if campaign.missing else ""
    text += (
        f"{len(campaign.sets)} mimic sets with {_runs(campaign, found)} donors "
        f"(alignment {mimic.alignment}, times of the {mimic.time}, background model of "
        f"the {mimic.background}, random_state {mimic.random_state}). "
        f"{_local(found.local)} "
    )
    if found.distributions:
        rows = [it.table[0] for it in found.distributions.values()]
        mean, width = (
            np.array([row[key] for row in rows]) for key in ("MEAN_CAL", "WIDTH_CAL")
        )
        text += (
            "Relative to Poisson toys, the significance maps have means of "
            f"{mean.min():+.2f} to {mean.max():+.2f} and widths of {width.min():.2f} "
            f"to {width.max():.2f}. "
        )
    text += _of_field(found)
    yield f"<p>{html.escape(text)}</p>"
    note = f"{campaign.place[1]} " if campaign.place[1] else ""
    yield f"<p class='note'>{html.escape(_position(found, note))}</p>"
    versions = " or ".join(
        ", ".join(f"{name} {value}" for name, value in group["versions"].items())
        for group in campaign.provenance["made_with"]
    )
    yield f"<p>gammapy_mimic {__version__}; made with {html.escape(versions)}.</p>"
    header = campaign.observations(next(iter(campaign.sets)))[0].events.table.meta
    if str(header.get("TELESCOP")).upper() == "HESS":
        yield f"<p>{_HESS}</p>"


def _runs(campaign, found):
    """Count the runs that are used and their donors, as part of a sentence."""
    if found.systematic is not None:
        level = found.systematic.table[0]
        return f"{level['N_RUNS']} runs were made from {level['N_DONORS']}"
    number = sum(len(campaign.obs_ids(it)) for it in campaign.sets)
    pairs = campaign.pairs[campaign.pairs.has_donor]
    pairs = pairs[np.isin(pairs["MIMIC_SET"], list(campaign.sets))]
    return f"{number} runs were made from {len(set(pairs['DONOR_OBS_ID']))}"


def _of_field(found):
    """Sentence on the systematic of the whole field, or of on over off counts."""
    if found.systematic is None:
        return f"No systematic of the background can be given: {found.no_systematic}."
    level = found.systematic.table[0]
    what = "predicted background" if found.on_off is None else "alpha times off counts"
    return (
        f"Counts over {what} are {level['MEAN']:.3f} ± {level['MEAN_ERR']:.3f} on "
        f"average; they scatter from donor to donor by {level['RMS']:.1%}, of which "
        f"{level['POISSON']:.1%} are Poisson: an intrinsic systematic of "
        f"{_percent(level)}."
    )


def _local(local):
    """Sentence on what a source at the position sees."""
    rows = [row for row in local.first_rows() if np.isfinite(row["SYSTEMATIC"])]
    if not rows:
        return (
            "Nothing can be said of the systematic at the position: too few donors "
            "have it in their field of view, with enough counts."
        )
    numbers = ", ".join(
        f"{_percent(row)} about a mean of {row['MEAN']:.2f} ± {row['MEAN_ERR']:.2f} "
        f"({row['RADIUS']:.2g})"
        for row in rows
    )
    return (
        "The background that a source at the position of interest sees is uncertain "
        "by, after the level of each run, in circles of the radius in brackets: "
        f"{numbers}."
    )


def _percent(row):
    """Systematic of a row with its error, or its upper limit if it is not seen."""
    if row["SYSTEMATIC"] > row["SYSTEMATIC_ERR"]:
        return f"{row['SYSTEMATIC']:.1%} ± {row['SYSTEMATIC_ERR']:.1%}"
    return f"less than {row['SYSTEMATIC_UL']:.1%} (95 %)"


def _position(found, note):
    """Sentences on the significance at the position, and of the targets there."""
    at_position = found.at_position
    place = found.position.to_string("decimal", precision=3)
    values = ", ".join(f"{value:+.1f}" for value in found.significances)
    text = (
        f"At the position of interest (ICRS {place} deg, radius {ON_RADIUS}) the "
        f"mimic sets have significances of {values}. {note}"
    )
    if at_position.left_out:
        names = ", ".join(str(it) for it in at_position.left_out)
        text += f"Sets (from 0) that lack some of the targets are left out: {names}. "
    text += (
        f"The stacks hold the targets {', '.join(str(it) for it in at_position.runs)}. "
        f"By the events that they share there, the sets are worth "
        f"{at_position.n_effective:.1f} independent ones. "
    )
    if found.target is None:
        return text + (
            "This report is blinded: the data of the targets were not opened. "
            "To unblind it: gammapy-mimic report --unblind."
        )
    text += (
        f"The targets have {found.target:+.1f}: empirical p-value "
        f"{at_position.p_value:.3f} ± {at_position.p_value_error:.3f} "
        f"(the least possible one is {1 / (at_position.n_independent + 1):.3f})."
    )
    if found.largest is not None:
        place = found.largest.position.to_string("decimal", precision=2)
        text += (
            f" The largest significance of their map outside of known sources is "
            f"{found.largest.maximum:.1f} at {place} deg: global p-value "
            f"{found.largest.p_value:.3f} by toys, {found.largest.p_value_mimics:.3f} "
            "by the maps of the mimic sets."
        )
    return text


def _systematic(found, pictures):
    """Table and figure of the systematic of the field, or why there are none."""
    if found.systematic is None:
        yield f"<p>None: {html.escape(found.no_systematic)}.</p>"
    else:
        yield _table(found.systematic.table)
        yield pictures.pop("systematic")


def _on_off(found, pictures):
    """Section of a report without a background model."""
    if found.on_off is not None:
        yield "<h2>On and off counts of all mimics</h2>"
        yield _table(found.on_off.table)
        yield pictures.pop("on_off")


def _table(table):
    """Table in HTML, with four digits."""
    table = table.copy()
    for column in table.itercols():
        if column.dtype.kind == "f":
            column.info.format = ".4g"
    return "\n".join(table.pformat(max_lines=-1, max_width=-1, html=True))


def _picture(content, caption):
    data = base64.b64encode(content).decode("ascii")
    return (
        f"<figure><img alt='{html.escape(caption)}' "
        f"src='data:image/png;base64,{data}'>"
        f"<figcaption>{html.escape(caption)}</figcaption></figure>"
    )
