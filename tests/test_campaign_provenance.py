"""What a result says about how it was made."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from helpers.campaigns import settings

import gammapy_mimic
from gammapy_mimic import MimicCampaign
from gammapy_mimic.campaign import versions, worker
from gammapy_mimic.campaign.inputs import other_files, source_files
from gammapy_mimic.campaign.records import read_record
from gammapy_mimic.config import MimicAnalysisConfig

NAMES = {"gammapy_mimic", "python", "numpy", "astropy", "gammapy", "scipy", "regions"}


def provenance(out):
    return yaml.safe_load((out / "provenance.yaml").read_text())


def test_one_group(reference):
    made = provenance(reference)
    (group,) = made["made_with"]
    assert set(group["versions"]) == NAMES
    assert group["files"] == {}
    record = read_record(reference / ".campaign" / "mimic_000" / "1.json")
    assert record["versions"] == group["versions"] == versions.versions()
    for runs in made["mimic_sets"].values():
        assert {run["made_with"] for run in runs.values()} == {0}


def test_several_groups(raw, reference, tmp_path, monkeypatch):
    """Mimics that other versions made are said to be theirs."""
    out = Path(shutil.copytree(reference, tmp_path / "out"))
    (out / "mimic_001" / "2.fits").unlink()
    other = versions.versions() | {"numpy": "99.0"}
    monkeypatch.setattr(worker, "versions", lambda: other)
    assert MimicCampaign(settings(raw, out)).run().kept == 3
    made = provenance(out)
    assert [it["versions"]["numpy"] for it in made["made_with"]] == [
        versions.versions()["numpy"],
        "99.0",
    ]
    groups = [
        run["made_with"]
        for runs in made["mimic_sets"].values()
        for run in runs.values()
    ]
    assert groups == [0, 0, 0, 1]


def test_other_commit(raw, reference, tmp_path, monkeypatch, caplog):
    """Another state of this package makes its own mimics, and says so."""
    from gammapy_mimic.campaign import work

    out = Path(shutil.copytree(reference, tmp_path / "out"))
    monkeypatch.setattr(work, "program_version", lambda: "0.1.0+g0123456789ab")
    assert MimicCampaign(settings(raw, out)).run().made == 4
    assert "4 mimics that were there have been made again" in caplog.text


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_commit(tmp_path, monkeypatch):
    def git(*args):
        options = {"capture_output": True, "text": True, "check": True}
        command = ["git", "-C", tmp_path, "-c", "user.name=a", "-c", "user.email=b"]
        return subprocess.run([*command, *args], **options).stdout.strip()

    package = tmp_path / "gammapy_mimic"
    package.mkdir()
    (package / "__init__.py").write_text("")
    monkeypatch.setattr(gammapy_mimic, "__file__", str(package / "__init__.py"))
    version = versions.program_version.__wrapped__
    assert version() == gammapy_mimic.__version__
    git("init")
    git("add", ".")
    git("commit", "-m", "one")
    commit = git("rev-parse", "HEAD")[:12]
    assert version() == f"{gammapy_mimic.__version__}+g{commit}"
    (package / "__init__.py").write_text("a = 1")
    assert version() == f"{gammapy_mimic.__version__}+g{commit}-dirty"


class TestCatalogs:
    @pytest.fixture
    def data(self, tmp_path, monkeypatch):
        folder = tmp_path / "data"
        (folder / "catalogs").mkdir(parents=True)
        self.write(folder, 22.3)
        monkeypatch.setenv("GAMMAPY_DATA", str(folder))
        return folder

    def write(self, folder, dec):
        (folder / "catalogs" / "2HWC.ecsv").write_text(
            "# %ECSV 1.0\n# ---\n# datatype:\n# - {name: source_name, datatype: string}"
            "\n# - {name: ra, datatype: float64}\n# - {name: dec, datatype: float64}\n"
            f'source_name ra dec\n"2HWC J0534+223" 83.63 {dec}\n'
        )

    def config(self, raw, out):
        return settings(raw, out, n_mimics=1, scramble={"catalogs": ["2hwc"]})

    def test_change(self, raw, tmp_path, data, caplog):
        """It changes the mimics: they are made again, and that is reported."""
        campaign = MimicCampaign(self.config(raw, tmp_path / "out"))
        campaign.run()
        old = provenance(tmp_path / "out")["made_with"][0]["files"]
        assert list(old) == ["catalogs/2hwc"]
        assert campaign.run().kept == 2
        self.write(data, 22.4)
        assert campaign.run().made == 2
        assert "2 mimics that were there have been made again" in caplog.text
        assert provenance(tmp_path / "out")["made_with"][0]["files"] != old

    def test_missing(self, raw, tmp_path, data):
        config = MimicAnalysisConfig(**self.config(raw, tmp_path / "out"))
        assert source_files(config.mimic)["catalogs/2hwc"] is not None
        (data / "catalogs" / "2HWC.ecsv").unlink()
        assert source_files(config.mimic) == {"catalogs/2hwc": None}


def test_files_of_the_analysis(raw, tmp_path):
    """They change no mimic."""
    config = settings(raw, tmp_path / "out")
    path = tmp_path / "mask.fits"
    path.write_text("mask")
    config["datasets"]["background"] = {"exclusion": str(path)}
    found = other_files(MimicAnalysisConfig(**config))
    assert list(found) == ["datasets.background.exclusion"]


def test_prov_json(reference):
    """It is what W3C's PROV-JSON is, to another program."""
    model = pytest.importorskip("prov.model")
    content = json.loads((reference / "provenance.json").read_text())
    document = model.ProvDocument.deserialize(reference / "provenance.json")
    made = provenance(reference)
    bundles = {str(bundle.identifier): bundle for bundle in document.bundles}
    assert set(bundles) == {f"mimic:{name}" for name in made["mimic_sets"]}
    for name, runs in made["mimic_sets"].items():
        bundle = bundles[f"mimic:{name}"]
        entities = {
            str(it.identifier): dict(it.attributes)
            for it in bundle.get_records(model.ProvEntity)
        }
        for run in runs.values():
            values = {str(it) for it in entities[f"file:{name}/{run['file']}"].values()}
            assert values == {run["sha256"]}
        assert len(list(bundle.get_records(model.ProvGeneration))) == len(runs)
        # of a target and of a donor
        assert len(list(bundle.get_records(model.ProvDerivation))) == 2 * len(runs)
        assert len(list(bundle.get_records(model.ProvUsage))) == 2 * len(runs)
    (agent,) = document.get_records(model.ProvAgent)
    assert versions.program_version() in {str(value) for _, value in agent.attributes}
    assert set(content) == {"prefix", "bundle", "agent"}
