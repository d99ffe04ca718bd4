"""The README's Python example runs as it stands."""

import re
import shlex
import subprocess
import sys
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


def commands_of_the_campaign():
    """Commands that the README gives for its configuration, with their outputs."""
    (block,) = [it for it in blocks("console") if "pairs crab.yaml" in it]
    parts = re.split(r"(?m)^\$ (.*)\n", block)[1:]
    for command, output in zip(parts[::2], parts[1::2], strict=True):
        yield re.sub(r" +#.*", "", command), output.splitlines()


def called(command, folder):
    """Run a command of the README; ``cd x && command`` in the folder x."""
    place = re.match(r"cd (\S+) && (.*)", command)
    if place:
        folder, command = folder / place[1], place[2]
    name, *args = shlex.split(command)
    module = [sys.executable, "-m", name.replace("-", "_"), *args]
    return subprocess.run(module, cwd=folder, capture_output=True, text=True)


def test_campaign_of_the_readme(hess_store, tmp_path):
    """From the configuration as it stands to a data reduction by gammapy alone."""
    (tmp_path / "crab.yaml").write_text(blocks("yaml")[0])
    said = {}
    for command, output in commands_of_the_campaign():
        done = called(command, tmp_path)
        assert done.returncode == 0, done.stderr
        said[command] = done.stdout.splitlines(), output
    found, shown = said["gammapy-mimic pairs crab.yaml"]
    is_row = re.compile(r" *\d{5} ").match
    rows = [line.split() for line in filter(is_row, found)]
    assert rows == [line.split() for line in filter(is_row, shown)]
    assert len(rows) == 4
    found, shown = said["gammapy-mimic check mimics/crab"]
    assert found == shown
    assert any(command.startswith("cd ") for command in said)
    assert list((tmp_path / "mimics" / "crab" / "mimic_001").glob("datasets*"))
    for command in (
        "gammapy-mimic analyse crab.yaml",
        "gammapy-mimic report mimics/crab",
    ):
        assert f"`{command}`" in README.read_text()
        done = called(command, tmp_path)
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "mimics" / "crab" / "analysis" / "ensemble.ecsv").exists()
    assert (tmp_path / "mimics" / "crab" / "report.json").exists()
