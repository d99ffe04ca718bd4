"""The README's Python example runs as it stands."""

import re
from pathlib import Path

import pytest

from gammapy_mimic.config import MimicAnalysisConfig

README = Path(__file__).parents[1] / "README.md"


def blocks(language):
    pattern = rf"^```{language}\n(.*?)^```"
    return re.findall(pattern, README.read_text(), re.DOTALL | re.MULTILINE)


def test_example_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (code,) = blocks("python")
    assert len(code.strip().splitlines()) == 12
    names = {}
    exec(compile(code, "README.md", "exec"), names)  # noqa: S102
    mimic, donor = names["mimic"].events.table, names["donors"][0].events.table
    assert mimic.meta["MIM_DON"] == names["simulated"].donor_ids[0]
    assert len(mimic) == len(donor)


def test_configuration_is_valid():
    (text,) = blocks("yaml")
    mimic = MimicAnalysisConfig.from_yaml(text).mimic
    assert (mimic.n_mimics, mimic.donors.where) == (4, {"TARGET_NAME": "Off data"})
    assert mimic.match.effective_area == 0.2
    assert mimic.match.azimuth is None


def test_two_shell_blocks():
    job, tests = blocks("bash")
    assert job.strip().endswith("gammapy-mimic demo")
    assert tests.strip().endswith("pytest -n 2")


@pytest.mark.parametrize(
    "command", re.findall(r"gammapy-mimic (\w+)", README.read_text())
)
def test_commands_of_the_readme_exist(command):
    from gammapy_mimic.cli import main

    assert command in main.commands
