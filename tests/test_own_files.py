"""Nobody's file is lost: a campaign replaces and removes only what it has written."""

import logging
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from astropy import units as u
from helpers.campaigns import OBJECTS, settings, write_config
from helpers.faults import everything
from helpers.runs import POINTING, write_file, write_raw

from gammapy_mimic import MimicCampaign
from gammapy_mimic.campaign.matched import select_runs
from gammapy_mimic.campaign.records import claimed_file, read_record
from gammapy_mimic.config import ConfigError
from gammapy_mimic.matching import PairTable
from gammapy_mimic.report import write_report


@pytest.fixture
def out(reference, tmp_path):
    """Folder of a campaign that is done."""
    return Path(shutil.copytree(reference, tmp_path / "out"))


@pytest.fixture
def without_records(out):
    """As cp -r mimics/* other/ makes it."""
    shutil.rmtree(out / ".campaign")
    return out


def run(raw, out, *, overwrite=False, rematch=False, **changes):
    campaign = MimicCampaign(settings(raw, out, **changes))
    return campaign.run(overwrite=overwrite, rematch=rematch)


def visible(out):
    return {k: v for k, v in everything(out).items() if not k.startswith(".campaign")}


class TestCopyWithoutRecords:
    def test_same_configuration(self, raw, without_records):
        """All is made elsewhere, is found to be the same, and has its records again."""
        before = visible(without_records)
        assert run(raw, without_records).complete
        assert visible(without_records) == before
        assert run(raw, without_records).kept == 4

    @pytest.mark.parametrize(
        "changes",
        [{"random_state": 8}, {"n_mimics": 1}, {"donors": {"obs_ids": [3, 4, 5]}}],
    )
    def test_other_configuration(self, raw, without_records, changes):
        before = everything(without_records)
        for overwrite in (False, True):
            with pytest.raises(ConfigError, match=r"another mimic\.outdir"):
                run(raw, without_records, overwrite=overwrite, **changes)
            assert everything(without_records) == before

    def test_other_mimics(self, raw, without_records):
        """As made by another version: they stay, and each one is reported."""
        path = without_records / "mimic_000" / "1.fits"
        path.write_bytes(path.read_bytes() + bytes(2880))
        before = visible(without_records)
        result = run(raw, without_records)
        ((mimic_set, target, _, problem),) = result.failed
        assert (mimic_set, target) == (0, 1)
        assert f"{path} is there, this campaign has no record of it" in problem
        assert visible(without_records) == before


class TestForeignFolder:
    @pytest.fixture
    def foreign(self, tmp_path):
        path = tmp_path / "foreign"
        (path / "mimic_000").mkdir(parents=True)
        (path / "mimic_000" / "4711.fits").write_text("mine")
        return path

    @pytest.mark.parametrize("text", ["observations: {}", "a: [1", "{}", "\n"])
    @pytest.mark.parametrize("overwrite", [False, True])
    def test_any_configuration(self, raw, foreign, text, overwrite):
        (foreign / "config.yaml").write_text(text)
        before = everything(foreign)
        with pytest.raises(ConfigError, match=r"config\.yaml was not written by a cam"):
            run(raw, foreign, overwrite=overwrite)
        assert everything(foreign) == before

    @pytest.mark.parametrize("overwrite", [False, True])
    @pytest.mark.parametrize("name", ["config.yaml", "crab.yaml"])
    def test_folder_of_the_input_file(
        self, raw, tmp_path, monkeypatch, name, overwrite
    ):
        for out in (".", str(tmp_path)):
            path = write_config(tmp_path / name, settings(raw, out))
            (tmp_path / "pairs.ecsv").write_text("mine")
            before = everything(tmp_path)
            campaign = MimicCampaign.from_yaml(path)
            if out == ".":
                monkeypatch.chdir(tmp_path)
            with pytest.raises(ConfigError, match=r"is where your own files are"):
                campaign.run(overwrite=overwrite)
            assert everything(tmp_path) == before

    @pytest.mark.parametrize(
        "name", ["pairs.ecsv", "rejected.ecsv", "provenance.yaml", "config.yaml"]
    )
    @pytest.mark.parametrize("overwrite", [False, True])
    def test_one_file(self, raw, tmp_path, name, overwrite):
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / name).write_text("mine")
        with pytest.raises(ConfigError, match=f"{name} .*another mimic.outdir"):
            run(raw, tmp_path / "out", overwrite=overwrite)
        assert everything(tmp_path / "out") == {name: b"mine"}

    def test_what_is_in_no_place_of_its_own(self, raw, tmp_path):
        """Notes and figures of the user are no hindrance."""
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "notes.txt").write_text("mine")
        assert run(raw, tmp_path / "out").complete
        assert (tmp_path / "out" / "notes.txt").read_text() == "mine"


class TestFilesOfTheUser:
    def test_another_run(self, raw, out):
        """A file that no pair names stays, whatever is done."""
        path = out / "mimic_000" / "99.fits"
        path.write_text("mine")
        assert run(raw, out).kept == 4
        assert run(raw, out, overwrite=True).made == 4
        assert run(raw, out, overwrite=True, n_mimics=1, random_state=8).made == 2
        assert path.read_text() == "mine"

    def test_in_the_place_of_a_mimic(self, raw, out):
        path = out / "mimic_000" / "1.fits"
        (out / ".campaign" / "mimic_000" / "1.json").unlink()
        path.write_text("mine")
        for options in ({}, {"overwrite": True}):
            result = run(raw, out, **options)
            (failed,) = result.failed
            assert failed[:2] == (0, 1)
            assert f"{path} is there, this campaign has no record of it" in failed[3]
            assert path.read_text() == "mine"
        path.unlink()
        assert run(raw, out).made == 1

    def test_run_in_the_place_of_a_mimic_with_a_record(self, raw, out):
        """A broken mimic is made again; a run of somebody else stays."""
        path = out / "mimic_000" / "1.fits"
        for overwrite in (False, True):
            write_file(path, obs_id=1)
            mine = path.read_bytes()
            (failed,) = run(raw, out, overwrite=overwrite).failed
            assert "it stays" in failed[3]
            assert path.read_bytes() == mine
        path.unlink()
        assert run(raw, out).made == 1

    @pytest.mark.parametrize("overwrite", [False, True])
    @pytest.mark.parametrize("by_link", [False, True])
    def test_store_in_the_place_of_a_mimic_set(self, raw, out, by_link, overwrite):
        """Its index has a name of which there is a record."""
        other = out.parent / "other"
        write_raw(["full"], other, n_events=5)
        place = out / "mimic_000"
        shutil.rmtree(place)
        place.symlink_to(other) if by_link else shutil.copytree(other, place)
        before = everything(out), everything(other)
        with pytest.raises(ConfigError, match="mimic_000 is another data store"):
            run(raw, out, overwrite=overwrite)
        assert (everything(out), everything(other)) == before

    def test_runs_of_a_mimic_set(self, raw, out):
        """A campaign on its own mimics, or on a store to which a set is a link."""
        before = everything(out)
        for place in (out / "mimic_000", raw):
            if place == raw:
                shutil.rmtree(out / "mimic_001")
                (out / "mimic_001").symlink_to(raw)
                before = everything(out)
            with pytest.raises(ConfigError, match=r"are read from .* a mimic set"):
                run(place, out, donors={"obs_ids": [1, 2]}, overwrite=True)
            assert everything(out) == before

    @pytest.mark.parametrize(
        "name", ["systematic.ecsv", "local_systematic.ecsv", "figures/local.png"]
    )
    def test_in_the_place_of_a_file_of_the_report(self, out, name):
        (out / name).parent.mkdir(exist_ok=True)
        (out / name).write_text("mine")
        before = everything(out)
        with pytest.raises(FileExistsError, match=f"{name} exists; use overwrite"):
            write_report(out)
        assert everything(out) == before

    def test_uncompressed_one(self, raw, tmp_path):
        out = tmp_path / "out"
        run(raw, out, compress=True, n_mimics=1)
        (out / "mimic_000" / "1.fits").write_text("mine")
        run(raw, out, overwrite=True, compress=True, n_mimics=1)
        assert (out / "mimic_000" / "1.fits").read_text() == "mine"

    def test_changed_analysis(self, raw, out, caplog):
        """Settings stay that somebody has changed, until he wants everything again."""
        path = out / "mimic_000" / "analysis.yaml"
        content = yaml.safe_load(path.read_text())
        content["datasets"]["stack"] = not content["datasets"]["stack"]
        path.write_text(yaml.safe_dump(content))
        changed = path.read_text()
        assert run(raw, out).kept == 4
        assert path.read_text() == changed
        assert f"{path} was changed after it was written, and stays" in caplog.text
        run(raw, out, overwrite=True)
        assert path.read_text() != changed

    def test_changed_pairs(self, raw, out):
        path = out / "pairs.ecsv"
        path.write_text(path.read_text() + "\n")
        before = everything(out)
        with pytest.raises(ConfigError, match=r"not as it was written: .*--rematch"):
            run(raw, out)
        assert everything(out) == before
        assert run(raw, out, rematch=True).kept == 4

    def test_records_come_first(self, raw, tmp_path, monkeypatch):
        """Killed at any moment, there is no file of its own without a record."""
        out, replaced = tmp_path / "out", os.replace

        def spy(old, new, **options):
            path = Path(new)
            if ".campaign" not in path.parts:
                record = (out / ".campaign" / path.relative_to(out)).with_suffix(
                    ".json"
                )
                other = out / ".campaign" / f"{path.relative_to(out)}.json"
                assert claimed_file(record if record.exists() else other) == path.name
                seen.append(path.name)
            replaced(old, new, **options)

        seen = []
        monkeypatch.setattr(os, "replace", spy)
        run(raw, out)
        assert {"1.fits", "obs-index.fits.gz", "pairs.ecsv", "config.yaml"} <= set(seen)


class TestGrownArchive:
    @pytest.fixture
    def store(self, tmp_path):
        """Two targets, and one donor that is worse than those that come later."""
        return self.archive(tmp_path / "raw", 3)

    def archive(self, path, number):
        runs = [
            {"obs_id": i, "header": {"OBJECT": OBJECTS[i]}, "n_events": 30}
            for i in range(1, number + 1)
        ]
        # those that come later are nearer
        runs[2]["pointing"] = POINTING.directional_offset_by(0 * u.deg, 2 * u.deg)
        shutil.rmtree(path, ignore_errors=True)
        return write_raw(["full"] * number, path, runs=runs)

    def donors(self, out):
        table = PairTable.read(out / "pairs.ecsv")
        return list(np.ma.filled(np.ma.asarray(table["DONOR_OBS_ID"]), -1))

    def test_new_donors(self, store, tmp_path, caplog):
        out = tmp_path / "out"
        assert run(store, out, n_mimics=1).made == 1
        before = everything(out)
        self.archive(store, 5)
        with caplog.at_level(logging.WARNING):
            result = run(store, out, n_mimics=1)
        assert (result.made, result.kept) == (0, 1)
        assert (
            "rematch (--rematch) does, 2 pairs would change: mimic_000" in caplog.text
        )
        kept = everything(out)
        assert kept == before | {key: kept[key] for key in kept if "provenance" in key}
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            result = run(store, out, n_mimics=1, rematch=True)
        assert "2 pairs change: mimic_000, run 1: donor 3, now donor " in caplog.text
        assert (result.made, result.kept) == (2, 0)
        assert set(self.donors(out)) == {4, 5}
        assert run(store, out, n_mimics=1).kept == 2

    def test_donor_that_is_gone(self, store, tmp_path, monkeypatch):
        """What was made of it stays, until somebody wants other pairs."""
        out = tmp_path / "out"
        self.archive(store, 5)
        run(store, out, n_mimics=1)
        gone = self.donors(out)[0]
        before = everything(out)
        campaign = MimicCampaign(settings(store, out, n_mimics=1))
        left = {"obs_ids": [it for it in (3, 4, 5) if it != gone]}
        config = settings(store, out, donors=left, n_mimics=1)
        selected = select_runs(MimicCampaign(config).config)
        monkeypatch.setattr(
            "gammapy_mimic.campaign.core.select_runs", lambda _: selected
        )
        with pytest.raises(
            ConfigError, match=f"runs {gone} are no longer among the do"
        ):
            campaign.run()
        assert everything(out) == before
        assert campaign.run(rematch=True).complete
        assert gone not in self.donors(out)

    def test_only(self, raw, tmp_path):
        campaign = MimicCampaign(settings(raw, tmp_path / "out"))
        with pytest.raises(ValueError, match="only, rematch: "):
            campaign.run(only=0, rematch=True)


def test_what_is_made_again_is_reported(raw, out, tmp_path, caplog):
    """Also where donors have changed: no result is replaced in silence."""
    store = Path(shutil.copytree(raw, tmp_path / "raw"))
    run(store, out, overwrite=True)
    donor = read_record(out / ".campaign" / "mimic_000" / "1.json")["donor"]
    with (store / f"run_{donor}.fits").open("ab") as file:
        file.write(bytes(2880))
    result = run(store, out)
    assert f"{result.made} mimics that were there have been made again" in caplog.text
