"""What the documentation makes of the package."""

import importlib.util
import re
from pathlib import Path

import pytest

from gammapy_mimic.config import MatchConfig, MimicConfig, ScrambleConfig

DOCS = Path(__file__).parents[1] / "docs"


def load(name):
    """Load a module of the folder of the documentation."""
    spec = importlib.util.spec_from_file_location(f"docs_{name}", DOCS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_page_of_keys(tmp_path):
    load("keys").write(tmp_path / "keys.md")
    page = (tmp_path / "keys.md").read_text()
    for section, model in {
        "mimic": MimicConfig,
        "mimic.match": MatchConfig,
        "mimic.scramble": ScrambleConfig,
    }.items():
        part = page.split(f"## `{section}`")[1].split("\n## ")[0]
        assert set(re.findall(r"^\[`(\w+)`\]", part, re.M)) == set(model.model_fields)
    assert "angle, such as `45 deg`, or `null`; default `45 deg`" in page


def test_links_to_other_projects():
    pytest.importorskip("sphinx")
    links = load("links")
    assert links.find("gammapy.data.Observation.get_pointing_icrs") is not None
    # negative control: what is not there is a broken reference
    assert links.find("gammapy.data.Observations.no_such_method") is None
    assert links.find("no_such_project.thing") is None
