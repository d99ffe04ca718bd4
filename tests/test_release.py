"""What is published with a version agrees with it."""

import json
import re
import tomllib
from pathlib import Path

import pytest
import yaml

from gammapy_mimic import __version__

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def recipe():
    """Lines of the conda recipe."""
    return (ROOT / "recipe" / "meta.yaml").read_text()


@pytest.mark.parametrize(
    "version",
    [
        yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"],
        json.loads((ROOT / "codemeta.json").read_text())["version"],
        re.search(r'set version = "(.*)"', recipe())[1],
    ],
    ids=["citation", "codemeta", "recipe"],
)
def test_version(version):
    assert version == __version__


def test_changelog_begins_with_this_version():
    headings = re.findall(r"(?m)^## (.*)$", (ROOT / "CHANGELOG.md").read_text())
    version = headings[0].removesuffix(" (unreleased)")
    assert version == __version__
    assert headings[0] in (version, f"{version} (unreleased)")
    assert len(set(headings)) == len(headings)


def test_recipe_has_the_dependencies():
    """By another name in conda, but with the same versions."""
    names = {"matplotlib": "matplotlib-base", "isal": "python-isal"}
    for dependency in PROJECT["dependencies"]:
        if "sys_platform" in dependency:  # a recipe for all systems
            continue
        name, versions = re.match(r"([\w-]+)(.*)", dependency).groups()
        line = f"    - {names.get(name, name).lower()} {versions}\n"
        assert line in recipe()


def test_extras():
    extras = PROJECT["optional-dependencies"]
    # who installs the package for use gets no linters
    for name in ("all", "test", "distributed", "notebooks", "docs"):
        assert not [it for it in extras[name] if it.startswith(("ruff", "mypy"))]
    assert {"ruff", "mypy"} <= {re.match(r"[\w-]+", it)[0] for it in extras["dev"]}


def test_readme_on_a_package_index():
    """Links and pictures have whole addresses there; those within the page stay."""
    hook = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]
    hook = hook["metadata"]["hooks"]["fancy-pypi-readme"]
    text = (ROOT / "README.md").read_text()
    relative = re.compile(r"\]\((?!https?:|#)[^)]*\)")
    assert relative.search(text)
    for it in hook["substitutions"]:
        text = re.sub(it["pattern"], it["replacement"], text)
    assert not relative.search(text)
    home = PROJECT["urls"]["Source"]
    assert "![Events of a donor on its own sky, and as a mimic" in text
    assert f"]({home}/raw/main/docs/_static/mimic.png)" in text
    assert f"]({home}/blob/main/CONTRIBUTING.md)" in text
    assert "](#hess-data)" in text
