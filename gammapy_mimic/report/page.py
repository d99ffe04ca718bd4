"""Write a report: its numbers, its figures, and the HTML page by Jinja templates."""

import base64
import io
import json
import logging
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import jinja2
import matplotlib.pyplot as plt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from gammapy_mimic.analysis import Ensemble
from gammapy_mimic.io.arguments import PathLike, check_flag
from gammapy_mimic.io.ecsv import write_ecsv
from gammapy_mimic.io.output import atomic_write, write_text
from gammapy_mimic.report.content import content
from gammapy_mimic.report.figures import draw_figures
from gammapy_mimic.report.measure import Campaign, measure
from gammapy_mimic.report.words import FILTERS

__all__ = ["write_report"]

log = logging.getLogger(__name__)

_RESULTS = (
    *("report.html", "report.json", "systematic.ecsv", "local_systematic.ecsv"),
    "figures/*.png",
)
"""Files that a report replaces or removes."""

PAGE = "report.html.j2"
DPI = 90


def write_report(
    folder: PathLike,
    *,
    unblind: bool = False,
    overwrite: bool = False,
    n_toys: int = 50,
    templates: PathLike | None = None,
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
    templates : str or `~pathlib.Path`, optional
        Folder with Jinja templates that stand in for those of the same name in
        ``gammapy_mimic/report/templates``. Default is None: none.
    n_jobs : int, optional
        Number of processes. Default is 1. The report does not depend on it.

    Returns
    -------
    path : `~pathlib.Path`
        File ``report.html``. It needs no other file and no network. All its numbers
        are in ``report.json``, the figures also in ``figures/``, the systematic of the
        field in ``systematic.ecsv``, that of the position in
        ``local_systematic.ecsv``.

    Raises
    ------
    ValueError
        If the folder is not a finished campaign, only some runs have a background
        model, the position of interest is not in a field of view, or ``templates`` has
        no template or a broken one.
    FileExistsError
        If there is a report already, or a file in the place of one of its files, and
        ``overwrite`` is False.
    """
    check_flag("unblind", unblind)
    folder = Path(folder)
    path = folder / "report.html"
    environment = _environment(templates)
    campaign = Campaign.read(folder)
    there = [it for name in _RESULTS for it in sorted(folder.glob(name))]
    if not check_flag("overwrite", overwrite) and there:
        raise FileExistsError(f"{there[0]} exists; use overwrite (--overwrite)")
    if campaign.missing:
        log.warning(
            "%s: %s missing; the report is on the other mimic sets",
            *(folder, ", ".join(campaign.missing)),
        )
    for place in (folder, folder / "figures"):
        _check_place(place)
    found = measure(campaign, unblind=unblind, n_toys=n_toys, n_jobs=n_jobs)
    ensemble = _ensemble(folder, unblind)
    numbers = content(campaign, found, ensemble, n_toys=n_toys)
    images, figures = {}, {}
    for name, caption, figure in draw_figures(campaign, found, ensemble):
        images[name] = _image(figure)
        figures[name] = _picture(images[name], caption, figure)
    page = environment.get_template(PAGE).render(**numbers, figures=figures)
    # all is made before anything is written
    (folder / "figures").mkdir(exist_ok=True)
    for name, image in images.items():
        with atomic_write(folder / "figures" / f"{name}.png", "wb") as file:
            file.write(image)
    if found.systematic is None:
        # nothing of an earlier report beside this one
        for old in (folder / "systematic.ecsv", folder / "figures" / "systematic.png"):
            old.unlink(missing_ok=True)
    else:
        found.systematic.write(folder / "systematic.ecsv", overwrite=True)
    write_ecsv(found.local.table, folder / "local_systematic.ecsv")
    text = json.dumps(numbers, indent=1, ensure_ascii=False, allow_nan=False)
    write_text(folder / "report.json", [text])
    write_text(path, [page])
    return path


def _environment(folder):
    """Templates of the package, and those of the user in their place."""
    loader: jinja2.BaseLoader = jinja2.PackageLoader("gammapy_mimic.report")
    own = set(loader.list_templates())
    if folder is not None:
        users = jinja2.FileSystemLoader(Path(folder))
        if not own & set(users.list_templates()):
            raise ValueError(
                f"templates = {folder}: no file there has the name of a template; "
                f"these are {', '.join(sorted(own))}"
            )
        loader = jinja2.ChoiceLoader([users, loader])
    environment = jinja2.Environment(
        loader=loader,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters.update(FILTERS)
    for name in own:
        try:
            environment.get_template(name)
        except jinja2.TemplateSyntaxError as error:
            raise ValueError(
                f"{error.filename}, line {error.lineno}: {error.message}"
            ) from error
    return environment


def _ensemble(folder, unblind):
    """Read what the user's analysis gave, without the targets while blind."""
    if not (folder / "analysis" / "ensemble.json").is_file():
        return None
    ensemble = Ensemble.read(folder)
    return ensemble if unblind else replace(ensemble, target=None)


def _check_place(folder):
    """Raise an error for a folder in which nothing can be written."""
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"{folder} is not a folder")
    if folder.exists() and not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(f"{folder} is read-only: no report can be written there")


def _image(figure: Figure) -> bytes:
    """Draw a figure, the same bytes each time."""
    stream = io.BytesIO()
    figure.set_dpi(DPI)
    # savefig would draw it twice, for its layout; without the version of matplotlib
    FigureCanvasAgg(figure).print_png(stream, metadata={"Software": None})
    plt.close(figure)
    return stream.getvalue()


def _picture(image: bytes, caption: str, figure: Figure) -> dict[str, Any]:
    """Give a figure as the templates take it."""
    width, height = (int(it * DPI) for it in figure.get_size_inches())
    data = base64.b64encode(image).decode("ascii")
    return {
        "caption": caption,
        "source": f"data:image/png;base64,{data}",
        "width": width,
        "height": height,
    }
