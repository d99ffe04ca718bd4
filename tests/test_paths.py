"""Where relative paths of a configuration start, and who is told of a changed rule."""

import logging
import shutil
from pathlib import Path

import pytest
import yaml
from helpers.runs import write_raw

from gammapy_mimic import MimicAnalysis, MimicCampaign
from gammapy_mimic.config import MimicAnalysisConfig


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return write_raw(["full"] * 3, tmp_path_factory.mktemp("paths"), n_events=30)


@pytest.fixture
def project(store, tmp_path, monkeypatch):
    """Folder with a configuration of relative paths, called from another folder."""
    project, other = tmp_path / "project", tmp_path / "other"
    other.mkdir()
    monkeypatch.chdir(other)
    shutil.copytree(store, project / "runs")
    (project / "off.txt").write_text("2\n3\n")
    (project / "away.reg").write_text("fk5\ncircle(200d, 10d, 0.1d)\n")
    settings = {
        "observations": {"datastore": "runs", "obs_ids": [1]},
        "mimic": {
            "donors": {"datastore": ["runs"], "obs_file": "off.txt"},
            "match": {"keep_away": ["away.reg"]},
            "scramble": None,
            "outdir": "out/mimics",
        },
    }
    path = project / "crab.yaml"
    path.write_text(yaml.safe_dump(settings))
    return path


def change(path, **mimic):
    settings = yaml.safe_load(path.read_text())
    settings["mimic"] |= mimic
    path.write_text(yaml.safe_dump(settings))


def test_they_start_from_the_file(project):
    result = MimicCampaign.from_yaml(project).run()
    assert result.complete
    assert result.outdir == project.parent / "out" / "mimics"
    assert list(Path.cwd().iterdir()) == []
    analysis = MimicAnalysis(project)
    analysis.get_observations()
    assert analysis.datastore.hdu_table.base_dir.parent == result.outdir


def test_they_are_found_from_the_results(project, monkeypatch):
    """The configuration in the folder of the results means the same runs."""
    outdir = MimicCampaign.from_yaml(project).run().outdir
    text = (outdir / "config.yaml").read_text()
    assert str(project.parent) not in text
    stored = MimicAnalysisConfig.read(outdir / "config.yaml").located()
    assert stored.observations.datastore.samefile(project.parent / "runs")
    assert stored.mimic.donors.obs_file.samefile(project.parent / "off.txt")
    # nothing is another one after all has been moved
    moved = project.parent.rename(project.parent.parent / "moved")
    result = MimicCampaign.from_yaml(moved / project.name).run()
    assert (result.made, result.kept) == (0, 1)
    assert (moved / "out" / "mimics" / "config.yaml").read_text() == text


def test_gammapys_start_from_the_working_directory_first(project):
    config = MimicAnalysisConfig.read(project)
    assert config.located().observations.datastore == project.parent / "runs"
    Path("runs").mkdir()
    assert config.located().observations.datastore == Path("runs")
    assert config.located().mimic.donors.datastore == [project.parent / "runs"]


def test_gammapys_steps_find_them(project):
    settings = yaml.safe_load(project.read_text())
    settings["datasets"] = {"background": {"exclusion": "away.reg"}}
    project.write_text(yaml.safe_dump(settings))
    config = MimicAnalysis(project).config
    assert config.datasets.background.exclusion == project.parent / "away.reg"
    assert config.mimic == MimicAnalysisConfig.read(project).mimic


def test_without_a_file_from_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = MimicAnalysisConfig.from_yaml("mimic: {outdir: a}")
    assert config.located().mimic.outdir == tmp_path / "a"


@pytest.mark.parametrize("path", ["$HOME/a", "~/a", "/a"])
def test_others_stay(path):
    config = MimicAnalysisConfig.from_yaml(f"mimic: {{outdir: {path}}}")
    assert config.located().mimic.outdir == Path(path)


def test_relative_to(project, tmp_path):
    change(project, relative_to="..")
    config = MimicAnalysisConfig.read(project)
    assert config.located().mimic.outdir.resolve() == tmp_path / "out" / "mimics"


def test_updates_and_copies_keep_the_file(project):
    config = MimicAnalysisConfig.read(project)
    for one in (config.update("mimic: {n_mimics: 2}"), config.model_copy(deep=True)):
        assert one.file == project


def test_a_campaign_where_it_was_before_is_told_of(project, caplog):
    """Earlier versions wrote to the working directory."""
    old = MimicAnalysisConfig.read(project).to_dict()
    shutil.copytree(project.parent / "runs", "runs")
    shutil.copy(project.parent / "off.txt", ".")
    shutil.copy(project.parent / "away.reg", ".")
    MimicCampaign(old).run()
    assert not (project.parent / "out").exists()
    with caplog.at_level(logging.WARNING):
        MimicCampaign.from_yaml(project).run()
    (line,) = [it for it in caplog.messages if it.startswith("mimic.outdir")]
    assert str(Path.cwd() / "out" / "mimics") in line
    assert "relative_to" in line
    caplog.clear()
    # asked for, it is the one of before
    change(project, relative_to=str(Path.cwd()))
    assert MimicCampaign.from_yaml(project).run().kept == 1
    assert not [it for it in caplog.messages if it.startswith("mimic.outdir")]
