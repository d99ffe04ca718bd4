"""Every figure of the package is one of pyplot: shown by plt.show(), and once."""

import ast
import json
import runpy
import subprocess
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from helpers.runs import make_run
from matplotlib.figure import Figure

import gammapy_mimic
from gammapy_mimic import AnnulusScrambler, DonorMatcher, MimicMaker
from gammapy_mimic.io.figures import new_figure
from gammapy_mimic.plotting import plot_mimic, plot_scramble, plot_sky
from gammapy_mimic.validation import TargetSignificance

PACKAGE = Path(gammapy_mimic.__file__).parent


def test_no_figure_hides_from_pyplot():
    """Only in a report a figure is made without pyplot."""
    hidden = []
    for path in PACKAGE.rglob("*.py"):
        name = path.relative_to(PACKAGE).as_posix()
        for node in ast.walk(ast.parse(path.read_text())):
            is_call = isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
            if is_call and node.func.id == "Figure" and not name.startswith("report/"):
                hidden.append(f"{name}:{node.lineno}")
    assert not hidden


@pytest.fixture(scope="module")
def runs():
    donor = make_run("full", obs_id=8, n_events=300)
    target = make_run("full", obs_id=7, n_events=30)
    return donor, target, MimicMaker().run(target, donor)


def pairs(donor, target):
    return DonorMatcher(effective_area=None).run([target], [donor])


def scramble(donor, _):
    scrambler = AnnulusScrambler(SkyCoord(83.6, 22.2, unit="deg"), random_state=1)
    return plot_scramble(donor, scrambler.run(donor), scrambler)


@pytest.mark.parametrize(
    "draw",
    [
        lambda donor, mimic, _: plot_sky(donor),
        lambda donor, mimic, _: plot_mimic(donor, mimic),
        lambda donor, mimic, _: scramble(donor, mimic),
        lambda donor, mimic, target: pairs(donor, target).peek(),
        lambda donor, mimic, target: pairs(donor, target).plot(),
        lambda donor, mimic, target: TargetSignificance(np.zeros(3)).peek(),
        lambda donor, mimic, target: TargetSignificance(np.zeros(3)).plot(),
    ],
    ids=["sky", "mimic", "scramble", "pairs_peek", "pairs", "target_peek", "target"],
)
def test_figures_of_runs(runs, draw):
    donor, target, mimic = runs
    draw(donor, mimic, target)
    assert len(plt.get_fignums()) == 1


def functions_that_draw():
    """Functions that draw in new figures, or in axes that need not be given."""
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.FunctionDef):
                continue
            # those of axes that are given
            required = node.args.args[: len(node.args.args) - len(node.args.defaults)]
            needs_axes = "ax" in [it.arg for it in required]
            if node.name.startswith(("peek", "plot")) and not needs_axes:
                name = f"{path.relative_to(PACKAGE).as_posix()}:{node.name}"
                yield pytest.param(node, id=name)


@pytest.mark.parametrize("node", list(functions_that_draw()))
def test_every_figure_is_one_of_pyplot(node):
    """Each makes one, takes the current axes, or hands on to one that does."""
    names = {it.id for it in ast.walk(node) if isinstance(it, ast.Name)}
    attributes = {it.attr for it in ast.walk(node) if isinstance(it, ast.Attribute)}
    own = {"new_figure", "peek_systematic", "plot_pairs"}
    assert names & own or attributes & {"gca"}


class TestNotebooks:
    @pytest.fixture
    def shown(self):
        """Formats in which a notebook shows what stands at the end of a cell."""
        formatters = pytest.importorskip("IPython.core.formatters")
        formatter = formatters.DisplayFormatter()
        png = formatter.formatters["image/png"]
        png.enabled = True
        png.for_type(Figure, lambda _: b"png")
        return lambda figure: set(formatter.format(figure)[0])

    def test_once(self, shown):
        """What was shown is no longer among what pyplot shows at the end of a cell."""
        assert "image/png" in shown(new_figure((3, 2)))
        assert plt.get_fignums() == []
        # negative control: any other figure of pyplot comes once more
        assert "image/png" in shown(plt.figure())
        assert len(plt.get_fignums()) == 1

    def test_kernel(self, monkeypatch):
        """Once in each cell, however it ends, and so in the first one that draws."""
        nbformat = pytest.importorskip("nbformat")
        nbclient = pytest.importorskip("nbclient")
        pytest.importorskip("ipykernel")
        monkeypatch.delenv("MPLBACKEND", raising=False)
        draw = "ax = new_figure((3, 2)).add_subplot()"
        sources = [
            "from gammapy_mimic.io.figures import new_figure",
            f"{draw}\nax.figure",
            draw,
            f"import matplotlib.pyplot as plt\n{draw}\nplt.show()",
        ]
        cells = [nbformat.v4.new_code_cell(source) for source in sources]
        notebook = nbformat.v4.new_notebook(cells=cells)
        nbclient.NotebookClient(notebook).execute()
        pictures = [
            sum("image/png" in output.get("data", {}) for output in cell.outputs)
            for cell in notebook.cells
        ]
        assert pictures == [0, 1, 1, 1]

    def test_again_in_a_later_cell(self, shown):
        figure = new_figure((3, 2))
        plt.close(figure)
        assert "image/png" in shown(figure)

    def test_without_axes_the_current_ones(self):
        ax = plt.figure().add_subplot()
        found = pairs(*(make_run("full", obs_id=i, n_events=9) for i in (1, 2)))
        assert found.plot() is ax


class TestPicturesOfNotebooks:
    """The check of the gate on executed notebooks."""

    @pytest.fixture
    def problems(self, tmp_path):
        place = Path(__file__).parents[1] / ".ci" / "pictures.py"
        script = runpy.run_path(str(place))

        def check(*cells):
            outputs = [
                [{"data": {"image/png": it}} for it in pictures] for pictures in cells
            ]
            cells = [{"cell_type": "code", "outputs": it} for it in outputs]
            path = tmp_path / "n.ipynb"
            path.write_text(json.dumps({"cells": cells}))
            return [line.removeprefix(f"{path}: ") for line in script["problems"](path)]

        return check

    def test_each_once(self, problems):
        assert problems(["a"], [], ["a", "b"]) == []

    def test_not_executed(self, problems):
        assert problems([], []) == []

    def test_twice(self, problems):
        """Negative control."""
        assert problems(["a"], ["b", "b"]) == ["code cell 2 shows a picture twice"]

    def test_none(self, tmp_path, problems):
        problems([])
        path = tmp_path / "n.ipynb"
        cell = {"cell_type": "code", "outputs": [{"text": "3"}]}
        path.write_text(json.dumps({"cells": [cell]}))
        script = Path(__file__).parents[1] / ".ci" / "pictures.py"
        command = [sys.executable, str(script), str(tmp_path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert "no cell shows a picture" in done.stderr
