"""Campaigns: streamed, the same for any number of processes, and resumable."""

import errno
import gzip
import hashlib
import json
import logging
import os
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from astropy.io import fits
from astropy.table import Table
from gammapy.analysis import Analysis, AnalysisConfig
from gammapy.data import DataStore
from gammapy.utils import pbar
from helpers.campaigns import (
    DONORS,
    FAR,
    TARGETS,
    contents,
    settings,
)

from gammapy_mimic import (
    MimicCampaign,
    MimicMaker,
    check_datastore,
    write_datastore,
)
from gammapy_mimic.campaign import explain_run, locks, overview
from gammapy_mimic.campaign.folder import CampaignFolder
from gammapy_mimic.campaign.processes import run_tasks
from gammapy_mimic.campaign.worker import make_mimic
from gammapy_mimic.config import ConfigError, MimicAnalysisConfig
from gammapy_mimic.io.output import write_text
from gammapy_mimic.matching import PairTable


def copied(reference, tmp_path):
    return Path(shutil.copytree(reference, tmp_path / "out"))


def change_times(out):
    return {path: path.stat().st_mtime_ns for path in out.glob("mimic_*/*.fits")}


class TestResult:
    def test_layout(self, reference):
        names = set(contents(reference))
        runs = {"1.fits", "2.fits", "analysis.yaml"}
        runs |= {"obs-index.fits.gz", "hdu-index.fits.gz"}
        sets = {f"mimic_{k:03d}/{name}" for k in (0, 1) for name in runs}
        texts = {"pairs.ecsv", "rejected.ecsv", "provenance.yaml", "provenance.json"}
        assert names == sets | texts

    def test_mimics_are_those_of_the_maker(self, raw, reference, tmp_path):
        """Step by step by hand, the bytes are the same."""
        campaign = MimicCampaign(settings(raw, tmp_path / "unused"))
        pairs = campaign.match()
        store = DataStore.from_dir(raw)
        maker = campaign.config.mimic.maker()
        assert isinstance(maker, MimicMaker)
        for number in range(2):
            mimics = maker.run_pairs(store, store, pairs, mimic_set=number)
            write_datastore(mimics, tmp_path / str(number))
            for path in (tmp_path / str(number)).iterdir():
                made = reference / f"mimic_{number:03d}" / path.name
                assert made.read_bytes() == path.read_bytes()

    def test_donors(self, reference):
        """Each donor once in a set, none is a target, never the one too far."""
        pairs = PairTable.read(reference / "pairs.ecsv")
        for number in range(2):
            of_set = pairs["DONOR_OBS_ID"][pairs["MIMIC_SET"] == number]
            assert len(set(of_set)) == 2
            assert set(of_set) <= set(DONORS)
            table = DataStore.from_dir(reference / f"mimic_{number:03d}").obs_table
            assert list(table["MIM_DON"]) == list(of_set)
        rejected = Table.read(reference / "rejected.ecsv")
        assert set(rejected["airmass"]) == {1}

    def test_stores_pass_the_check(self, reference):
        for number in range(2):
            findings = check_datastore(reference / f"mimic_{number:03d}")
            assert "error" not in list(findings["LEVEL"])

    def test_scrambled(self, reference):
        observation = DataStore.from_dir(reference / "mimic_000").obs(1)
        assert observation.events.table.meta["SCR_METH"] == "auto"

    def test_provenance(self, reference):
        made = yaml.safe_load((reference / "provenance.yaml").read_text())
        assert made["random_state"] == 7
        entry = made["mimic_sets"]["mimic_001"][2]
        content = (reference / "mimic_001" / "2.fits").read_bytes()
        assert entry["sha256"] == hashlib.sha256(content).hexdigest()
        assert entry["spawn_key"] == f"2,{entry['donor']},1"
        raw_path = Path(made["data_stores"]["donors"]["path"])
        for name, value in made["inputs"].items():
            path = raw_path / name.split("/", 1)[1]
            assert hashlib.sha256(path.read_bytes()).hexdigest() == value
        used = {
            row["donor"]
            for k in range(2)
            for row in made["mimic_sets"][f"mimic_{k:03d}"].values()
        }
        assert set(made["inputs"]) == {
            *(f"donors/run_{i}.fits" for i in used),
            *(f"targets/run_{i}.fits" for i in TARGETS),
        }

    def test_analysis_runs_after_a_move(self, reference, tmp_path, monkeypatch):
        folder = copied(reference, tmp_path) / "mimic_001"
        monkeypatch.chdir(folder)
        config = AnalysisConfig.read("analysis.yaml")
        assert config.datasets.type == "3d"
        analysis = Analysis(config)
        analysis.get_observations()
        assert analysis.observations.ids == ["1", "2"]
        assert analysis.observations[0].psf is not None

    def test_inputs_are_not_changed(self, raw, tmp_path):
        before = contents(raw)
        MimicCampaign(settings(raw, tmp_path / "out", n_mimics=1)).run()
        assert contents(raw) == before

    def test_seed_matters(self, raw, reference, tmp_path):
        """Negative control of all comparisons of bytes."""
        out = tmp_path / "out"
        MimicCampaign(settings(raw, out, random_state=8)).run()
        one, other = contents(reference), contents(out)
        assert one["mimic_000/1.fits"] != other["mimic_000/1.fits"]


class TestParallel:
    def test_two_processes(self, raw, reference, tmp_path):
        MimicCampaign(settings(raw, tmp_path / "out")).run(n_jobs=2)
        assert contents(tmp_path / "out") == contents(reference)

    def test_single_sets(self, raw, reference, tmp_path):
        campaign = MimicCampaign(settings(raw, tmp_path / "out"))
        assert campaign.run(only=1).made == 2
        assert not (tmp_path / "out" / "mimic_000").exists()
        with pytest.MonkeyPatch.context() as patch:
            # the pairs of the first call are read: nothing has changed
            patch.setattr("gammapy_mimic.DonorMatcher.run", None)
            campaign.run(only=0)
        assert contents(tmp_path / "out") == contents(reference)

    def test_sets_at_a_time(self, raw, reference, tmp_path, monkeypatch):
        """Locked set by set; the provenance has both."""
        monkeypatch.setattr(locks, "_PATIENCE_S", 0.1)
        out = tmp_path / "out"
        campaign = MimicCampaign(settings(raw, out))
        other = CampaignFolder(out)
        with other.lock(only=0):
            campaign.run(only=1)
            with pytest.raises(BlockingIOError, match="another campaign is at work"):
                campaign.run(only=0)
        campaign.run(only=0)
        assert contents(out) == contents(reference)

    def test_ray_is_not_there(self, raw, tmp_path, monkeypatch):
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
        campaign = MimicCampaign(settings(raw, tmp_path / "out"))
        with pytest.raises(ValueError, match=r"ray is not installed; .*distributed"):
            campaign.run(2, parallel_backend="ray")

    def test_ray(self, raw, reference, tmp_path):
        pytest.importorskip("ray")
        MimicCampaign(settings(raw, tmp_path / "out")).run(2, parallel_backend="ray")
        assert contents(tmp_path / "out") == contents(reference)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"n_jobs": 0}, "n_jobs = 0: must be a positive integer"),
            ({"n_jobs": True}, "n_jobs = True"),
            ({"parallel_backend": "dask"}, "parallel_backend = 'dask': must be one of"),
            ({"only": 2}, "only = 2: must be a set from 0 to 1"),
        ],
    )
    def test_options(self, raw, tmp_path, options, message):
        campaign = MimicCampaign(settings(raw, tmp_path / "out"))
        with pytest.raises(ValueError, match=message):
            campaign.run(**options)
        assert not (tmp_path / "out").exists()


class TestResume:
    def test_nothing_to_do(self, raw, reference, tmp_path):
        out = copied(reference, tmp_path)
        times = change_times(out)
        result = MimicCampaign(settings(raw, out)).run()
        assert (result.made, result.kept) == (0, 4)
        assert change_times(out) == times
        assert contents(out) == contents(reference)

    # what a campaign that was killed may leave, and worse
    @pytest.mark.parametrize(
        ("damage", "n_made"),
        [
            (lambda out: (out / "mimic_000/1.fits").unlink(), 1),
            (lambda out: (out / "mimic_001/obs-index.fits.gz").unlink(), 0),
            (lambda out: os.truncate(out / "mimic_000/2.fits", 2880), 1),
            (lambda out: _flip_a_byte(out / "mimic_000/2.fits"), 1),
            (lambda out: shutil.rmtree(out / "mimic_000"), 2),
            (lambda out: (out / "provenance.yaml").write_text("half"), 0),
            (lambda out: (out / "mimic_000/analysis.yaml").write_text("half"), 0),
            (lambda out: (out / "mimic_000/.1.fits.123-0123abcd.tmp").touch(), 0),
            (lambda out: (out / ".pairs.ecsv.123-0123abcd.tmp").touch(), 0),
            (lambda out: (out / ".campaign/.a.json.123-0123abcd.tmp").touch(), 0),
            (
                lambda out: (
                    out / ".campaign/mimic_000/.1.json.1-0123abcd.tmp"
                ).touch(),
                0,
            ),
        ],
    )
    def test_damage(self, raw, reference, tmp_path, damage, n_made):
        out = copied(reference, tmp_path)
        times = change_times(out)
        damage(out)
        result = MimicCampaign(settings(raw, out)).run()
        assert (result.made, result.kept) == (n_made, 4 - n_made)
        assert contents(out) == contents(reference)
        assert not list(out.rglob("*.tmp"))
        kept = [path for path, time in change_times(out).items() if times[path] == time]
        assert len(kept) == 4 - n_made

    @pytest.mark.parametrize(
        ("damage", "n_made"),
        [
            (lambda out: (out / ".campaign/mimic_001/2.json").unlink(), 1),
            (lambda out: (out / ".campaign/mimic_001/2.json").write_text('{"fi'), 1),
            (lambda out: shutil.rmtree(out / ".campaign"), 4),
        ],
    )
    def test_damaged_records(self, raw, reference, tmp_path, damage, n_made):
        """A mimic without a record is made elsewhere, and is found to be the same."""
        out = copied(reference, tmp_path)
        times = change_times(out)
        damage(out)
        result = MimicCampaign(settings(raw, out)).run()
        assert (result.made, result.kept) == (n_made, 4 - n_made)
        assert change_times(out) == times
        assert contents(out) == contents(reference)
        assert MimicCampaign(settings(raw, out)).run().kept == 4

    def test_changed_input(self, raw, reference, tmp_path):
        """A mimic whose donor file has changed is made again."""
        out = copied(reference, tmp_path)
        store = Path(shutil.copytree(raw, tmp_path / "raw"))
        MimicCampaign(settings(store, out)).run(overwrite=True)
        pairs = PairTable.read(out / "pairs.ecsv")
        donor = int(pairs["DONOR_OBS_ID"][0])
        with (store / f"run_{donor}.fits").open("ab") as file:
            file.write(bytes(2880))  # padding, allowed in FITS
        result = MimicCampaign(settings(store, out)).run()
        assert result.made == np.count_nonzero(pairs["DONOR_OBS_ID"] == donor)

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
    @pytest.mark.parametrize("n_jobs", [1, 2])
    @pytest.mark.parametrize("seed", range(2))
    def test_killed(self, raw, reference, tmp_path, n_jobs, seed):
        """Killed again and again, at random moments after one more mimic (seeded)."""
        rng = np.random.default_rng([seed, n_jobs])
        out = tmp_path / "out"
        campaign = MimicCampaign(settings(raw, out))
        for _ in range(3):
            _run_and_kill(campaign, out, n_jobs, rng.uniform(0, 0.1))
        result = campaign.run(n_jobs)
        assert result.complete
        assert result.kept > 0
        assert contents(out) == contents(reference)
        assert not list(out.rglob("*.tmp"))

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
    @pytest.mark.parametrize("n_jobs", [1, 2])
    def test_interrupted(self, raw, reference, tmp_path, monkeypatch, n_jobs):
        """Interrupted from the keyboard, which reaches all processes."""
        from gammapy_mimic.campaign import work

        out = tmp_path / "out"
        campaign = MimicCampaign(settings(raw, out))
        with monkeypatch.context() as patch:
            patch.setattr(work, "make_mimic", _make_slowly)
            code = _run_and_kill(campaign, out, n_jobs, 0.1, os.killpg, signal.SIGINT)
        assert code == 130
        assert not list(out.rglob("*.tmp"))
        assert campaign.run(n_jobs).kept > 0
        assert contents(out) == contents(reference)

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
    def test_process_killed(self, raw, reference, tmp_path, monkeypatch):
        """The system takes one of its processes, not the campaign itself."""
        from gammapy_mimic.campaign import work

        out = tmp_path / "out"
        with monkeypatch.context() as patch:
            patch.setattr(work, "make_mimic", _make_or_die)
            with pytest.raises(
                ChildProcessError, match="one of the 2 processes was killed"
            ):
                MimicCampaign(settings(raw, out)).run(2)
        assert not list(out.rglob("*.tmp"))
        assert MimicCampaign(settings(raw, out)).run(2).complete
        assert contents(out) == contents(reference)


def _make_slowly(task):
    problem = make_mimic(task)
    time.sleep(0.5)
    return problem


def _make_or_die(task):
    if (task.mimic_set, task.target.obs_id) == (1, 2):
        os.kill(os.getpid(), signal.SIGKILL)
    return make_mimic(task)


def _flip_a_byte(path):
    content = bytearray(path.read_bytes())
    content[-3000] ^= 1
    path.write_bytes(content)


def _run_and_kill(campaign, out, n_jobs, delay, kill=os.kill, number=signal.SIGKILL):
    """Run a campaign in a process of its own; kill it after one more mimic.

    Gives its exit code if it ends in a way of its own.
    """
    before = len(list(out.glob("mimic_*/*.fits")))
    process = os.fork()
    if not process:
        os.setsid()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            campaign.run(n_jobs)
        except KeyboardInterrupt:
            os._exit(130)
        os._exit(0)
    while len(list(out.glob("mimic_*/*.fits"))) <= before:
        time.sleep(0.001)
        if os.waitpid(process, os.WNOHANG) != (0, 0):
            return None
    time.sleep(delay)
    kill(process, number)
    return os.WEXITSTATUS(os.waitpid(process, 0)[1])


class TestFolder:
    def test_changed_config(self, raw, reference, tmp_path):
        out = copied(reference, tmp_path)
        before = contents(out)
        changed = settings(raw, out, random_state=8, n_mimics=1)
        with pytest.raises(ConfigError) as caught:
            MimicCampaign(changed).run()
        assert caught.value.problems[1:-1] == [
            "  mimic.n_mimics: 2 there, 1 now",
            "  mimic.random_state: 7 there, 8 now",
        ]
        assert "--overwrite" in caught.value.problems[-1]
        assert contents(out) == before

    def test_overwrite(self, raw, reference, tmp_path):
        """As if the folder had been empty; what is not the campaign's stays."""
        out = copied(reference, tmp_path)
        (out / "notes.txt").write_text("mine")
        changed = settings(raw, out, random_state=8, n_mimics=1)
        result = MimicCampaign(changed).run(overwrite=True)
        assert result.made == 2
        fresh = settings(raw, tmp_path / "fresh", random_state=8, n_mimics=1)
        MimicCampaign(fresh).run()
        assert (out / "notes.txt").read_text() == "mine"
        (out / "notes.txt").unlink()
        assert contents(out) == contents(tmp_path / "fresh")
        # and the configuration is the new one
        assert MimicCampaign(changed).run().kept == 2

    def test_overwrite_one_set(self, raw, reference, tmp_path):
        out = copied(reference, tmp_path)
        times = change_times(out)
        assert MimicCampaign(settings(raw, out)).run(overwrite=True, only=1).made == 2
        assert contents(out) == contents(reference)
        new = {
            path.parent.name
            for path, t in change_times(out).items()
            if times[path] != t
        }
        assert new == {"mimic_001"}
        changed = settings(raw, out, random_state=8)
        with pytest.raises(ConfigError, match="another configuration"):
            MimicCampaign(changed).run(overwrite=True, only=1)

    def test_what_does_not_matter(self, raw, reference, tmp_path):
        """Moved to another place, with another level of the log."""
        out = copied(reference, tmp_path)
        config = {
            **settings(raw, out),
            "general": {"n_jobs": 2, "log": {"level": "debug"}},
        }
        assert MimicCampaign(config).run().kept == 4

    def test_config_can_be_run_again(self, raw, reference, tmp_path, monkeypatch):
        config = MimicAnalysisConfig.read(reference / "config.yaml")
        assert config == MimicAnalysisConfig(**settings(raw, reference))

    def test_foreign_folder(self, raw, tmp_path):
        foreign = tmp_path / "out" / "mimic_000"
        foreign.mkdir(parents=True)
        (foreign / "1.fits").write_text("mine")
        for overwrite in (False, True):
            with pytest.raises(
                ConfigError, match=r"has mimic_000, but no config\.yaml"
            ):
                MimicCampaign(settings(raw, tmp_path / "out")).run(overwrite=overwrite)
        assert (foreign / "1.fits").read_text() == "mine"

    def test_file_in_the_way(self, raw, tmp_path):
        (tmp_path / "out").touch()
        with pytest.raises(NotADirectoryError, match="is not a folder"):
            MimicCampaign(settings(raw, tmp_path / "out")).run()

    def test_two_at_a_time(self, raw, tmp_path, monkeypatch):
        monkeypatch.setattr(locks, "_PATIENCE_S", 0.1)
        folder = CampaignFolder(tmp_path / "out")
        campaign = MimicCampaign(settings(raw, tmp_path / "out"))
        with folder.lock(), pytest.raises(BlockingIOError, match="another campaign"):
            campaign.run()
        with folder.lock(only=1), pytest.raises(BlockingIOError, match="another"):
            campaign.run()
        assert campaign.run().complete

    @pytest.mark.parametrize(
        ("number", "text"), [(errno.ENOLCK, "No locks"), (errno.EIO, "Input/output")]
    )
    def test_file_system_without_locks(
        self, raw, tmp_path, monkeypatch, caplog, number, text
    ):
        def flock(file, kind):
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(locks.portalocker.portalocker, "LOCKER", flock)
        campaign = MimicCampaign(settings(raw, tmp_path / "out"))
        if number == errno.ENOLCK:
            assert campaign.run().complete
            assert "cannot be locked: run one campaign at a time" in caplog.text
        else:
            with pytest.raises(OSError, match=f"{text} error: .*lock"):
                campaign.run()

    def test_written_whole_or_not_at_all(self, tmp_path):
        def pieces():
            yield "first"
            raise OSError("disk full")

        with pytest.raises(OSError, match="disk full"):
            write_text(tmp_path / "a", pieces())
        assert not list(tmp_path.iterdir())


class TestIncomplete:
    def test_no_donor(self, raw, tmp_path):
        config = settings(raw, tmp_path / "out", n_mimics=1)
        config["observations"]["obs_ids"] = [*TARGETS, FAR]
        config["mimic"]["donors"] = {"obs_ids": list(DONORS)}
        result = MimicCampaign(config).run()
        assert not result.complete
        assert list(result.missing) == [FAR]
        assert "target 6: 3 of 3 donors rejected: 3 airmass" in result.summary()
        assert "1 mimic set with 2 runs" in result.summary()
        (store,) = result.data_stores()
        assert list(store.obs_table["OBS_ID"]) == list(TARGETS)

    def test_too_many_sets(self, raw, tmp_path):
        config = settings(raw, tmp_path / "out", n_mimics=3)
        config["mimic"]["donors"] = {"obs_ids": list(DONORS[:2])}
        result = MimicCampaign(config).run()
        assert result.unpaired == ((2, 1), (2, 2))
        assert "mimic_002: no donor was left for 1, 2" in result.summary()
        assert len(result.stores) == 2

    @pytest.mark.parametrize("n_jobs", [1, 2])
    def test_bad_donor(self, raw, tmp_path, n_jobs):
        """It is reported, the others are made; once it is mended, so is the rest."""
        store, out = Path(shutil.copytree(raw, tmp_path / "raw")), tmp_path / "out"
        campaign = MimicCampaign(settings(store, out))
        pairs = campaign.match()
        bad = int(pairs["DONOR_OBS_ID"][0])
        content = (store / f"run_{bad}.fits").read_bytes()
        (store / f"run_{bad}.fits").write_bytes(b"")
        result = campaign.run(n_jobs)
        number = np.count_nonzero(pairs["DONOR_OBS_ID"] == bad)
        assert len(result.failed) == number
        assert {failed[2] for failed in result.failed} == {bad}
        assert result.made == 4 - number
        assert f"from donor {bad} failed: " in result.summary()
        for path in result.stores:
            assert len(check_datastore(path)) == 0
        (store / f"run_{bad}.fits").write_bytes(content)
        result = campaign.run(n_jobs)
        assert result.complete
        assert (result.made, result.kept) == (number, 4 - number)

    def test_bad_donor_found_again(self, raw, tmp_path):
        """A mimic whose donor has become unreadable does not stay."""
        store, out = Path(shutil.copytree(raw, tmp_path / "raw")), tmp_path / "out"
        campaign = MimicCampaign(settings(store, out, n_mimics=1))
        campaign.run()
        donor = int(campaign.match()["DONOR_OBS_ID"][0])
        (store / f"run_{donor}.fits").write_bytes(b"")
        result = campaign.run()
        assert len(result.failed) == 1
        assert not (out / "mimic_000" / "1.fits").exists()
        (found,) = result.data_stores()
        assert list(found.obs_table["OBS_ID"]) == [2]


class TestSelection:
    @pytest.mark.parametrize(
        ("donors", "message"),
        [
            ({}, "say which runs are donors"),
            (
                {"where": {"NAME": "x"}},
                "not a column of the donor store",
            ),
            (
                {"where": {"OBJECT": "Off"}},
                "no run has it; there are 'Crab', 'Off data'",
            ),
            ({"where": {"ONTIME": "long"}}, "the column has numbers"),
            ({"obs_ids": [3, 77]}, "runs 77 are not in its data store"),
            (
                {"where": {"OBJECT": "Crab", "OBS_ID": 3}},
                "no run of .* is left: .* 2 after where: OBJECT = 'Crab', 0 after "
                "where: OBS_ID = 3",
            ),
            ({"datastore": "$UNSET_VARIABLE/x"}, "UNSET_VARIABLE is not set, but"),
        ],
    )
    def test_donors(self, raw, tmp_path, donors, message):
        config = settings(raw, tmp_path / "out")
        config["mimic"]["donors"] = donors
        with pytest.raises(ConfigError, match=message):
            MimicCampaign(config).match()

    def test_where(self, raw, tmp_path):
        def donors(**where):
            config = settings(raw, tmp_path / "out", donors={"where": where})
            return list(MimicCampaign(config).match().donors["OBS_ID"])

        assert donors(OBJECT=["Off data"]) == [3, 4, 5, 6]
        assert donors(OBS_ID=[4, 5]) == [4, 5]
        assert donors(OBJECT=["Off data", "Crab"]) == [1, 2, 3, 4, 5, 6]
        assert donors(OBJECT="Off data", OBS_ID=3) == [3]

    def test_files(self, raw, tmp_path):
        (tmp_path / "on.txt").write_text("1\n")
        (tmp_path / "off.txt").write_text("3\n5\n")
        config = settings(raw, tmp_path / "out")
        config["observations"] |= {"obs_ids": [], "obs_file": str(tmp_path / "on.txt")}
        config["mimic"]["donors"] = {"obs_file": str(tmp_path / "off.txt")}
        pairs = MimicCampaign(config).match()
        assert list(pairs.targets["OBS_ID"]) == [1]
        assert list(pairs.donors["OBS_ID"]) == [3, 5]

    def test_exclude(self, raw, tmp_path):
        donors = {"obs_ids": list(DONORS), "exclude": [3]}
        pairs = MimicCampaign(settings(raw, tmp_path, donors=donors)).match()
        assert set(pairs["DONOR_OBS_ID"]) == {4, 5}

    @pytest.mark.parametrize(
        "change",
        [
            # 20 deg from the others lies run 6
            {
                "obs_cone": {
                    "frame": "icrs",
                    "lon": "83.6 deg",
                    "lat": "21.5 deg",
                    "radius": "5 deg",
                }
            },
            {"obs_time": {"start": "2020-12-04", "stop": "2020-12-05"}},
        ],
    )
    def test_as_gammapy_does(self, raw, tmp_path, change):
        config = settings(raw, tmp_path / "out")
        config["observations"] = {"datastore": str(raw), **change}
        found = MimicCampaign(config).match().targets["OBS_ID"]
        plain = Analysis(AnalysisConfig(observations=config["observations"]))
        plain.get_observations()
        assert list(found) == sorted(int(i) for i in plain.observations.ids)

    def test_errors_of_targets(self, raw, tmp_path):
        for change, message in (
            ({"obs_ids": [1, 99]}, "observations: runs 99 are not in"),
            ({"obs_file": "x.txt"}, "give obs_ids or obs_file, not both"),
            (
                {"obs_time": {"start": "1999-01-01", "stop": "1999-01-02"}},
                "observations: no run of .* is left: .*, 0 after obs_time",
            ),
            (
                {"required_irf": ["rad_max"]},
                "is left: .*; run 1: hdu-index lacks what is required .*rad_max",
            ),
        ):
            config = settings(raw, tmp_path / "out")
            config["observations"] |= change
            with pytest.raises(ConfigError, match=message):
                MimicCampaign(config).match()

    def test_stores_that_are_not_there(self, raw, tmp_path):
        config = settings(raw, tmp_path / "out")
        config["observations"]["datastore"] = str(tmp_path / "nowhere")
        with pytest.raises(FileNotFoundError, match="does not exist"):
            MimicCampaign(config).match()
        config["observations"]["datastore"] = str(tmp_path)
        with pytest.raises(OSError, match="is not a valid data store"):
            MimicCampaign(config).match()

    def test_config_types(self):
        with pytest.raises(TypeError, match="must be a MimicAnalysisConfig"):
            MimicCampaign("crab.yaml")
        with pytest.raises(ConfigError, match="did you mean 'n_mimics'"):
            MimicCampaign({"mimic": {"n_mimic": 3}})


class TestOverview:
    def test_overview(self, raw, tmp_path):
        pairs = MimicCampaign(settings(raw, tmp_path, n_mimics=4)).match()
        text = overview(pairs)
        assert "2 targets, 4 possible donors (1.9 h), 4 mimic sets asked for" in text
        assert "1 of 4: 1 airmass" in text
        assert "2 of 8 mimics have no donor" in text
        assert "--why OBS_ID, such as 6" in text

    def test_target_without_donor(self, raw, tmp_path):
        config = settings(raw, tmp_path, donors={"obs_ids": [*DONORS]}, n_mimics=1)
        config["observations"]["obs_ids"] = [1, FAR]
        config["mimic"]["match"] = {"relax": ["azimuth"]}
        text = overview(MimicCampaign(config).match())
        assert "1 target without any donor within the tolerances" in text
        assert "1 of 2 mimics have no donor" in text
        assert "3 of 3: 3 airmass" in text

    def test_explain(self, raw, tmp_path):
        pairs = MimicCampaign(settings(raw, tmp_path)).match()
        text = explain_run(pairs, FAR)
        assert "As a donor, run 6 fits 0 of 2 targets" in text
        assert "airmass" in text
        assert "fits 2 of 2 targets: 1, 2" in explain_run(pairs, 3)
        assert "As a target, run 1 fits 3 of 4 donors: 3, 4, 5" in explain_run(pairs, 1)
        with pytest.raises(ValueError, match="neither a target nor a possible donor"):
            explain_run(pairs, 99)


def test_memory_is_that_of_one_mimic(raw, tmp_path, monkeypatch):
    """No task, run or result is held until the end: counted by what comes back."""
    from gammapy_mimic.campaign import work

    in_advance, taken = [], []

    def counted(tasks):
        for task in tasks:
            taken.append(task.fingerprint)
            yield task

    def spy(function, tasks, *options):
        for task, result in run_tasks(function, counted(tasks), *options):
            assert result is None
            in_advance.append(len(taken) - len(in_advance))
            yield task, result

    monkeypatch.setattr(work, "run_tasks", spy)
    MimicCampaign(settings(raw, tmp_path / "out")).run()
    assert in_advance == [1, 1, 1, 1]


def test_one_progress_bar(raw, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(pbar, "SHOW_PROGRESS_BAR", True)
    MimicCampaign(settings(raw, tmp_path / "out")).run()
    assert pbar.SHOW_PROGRESS_BAR
    text = capsys.readouterr().err
    assert "Mimics: 100%" in text
    assert "4/4" in text
    assert text.count("\n") == 1


def test_records_tell_the_index(reference):
    """The rows in the records are those of the index."""
    table = DataStore.from_dir(reference / "mimic_000").obs_table
    for row in table:
        record = reference / ".campaign" / "mimic_000" / f"{row['OBS_ID']}.json"
        stored = json.loads(record.read_text())["rows"]["obs"]
        for name in ("TSTART", "RA_PNT", "ALT_PNT", "LIVETIME", "MIM_DON"):
            assert stored[name] == row[name]


def test_index_files_have_no_time_stamp(reference):
    content = (reference / "mimic_000" / "obs-index.fits.gz").read_bytes()
    assert content[4:8] == bytes(4)
    assert gzip.decompress(content).startswith(b"SIMPLE")


def test_warning_names_what_is_missing(raw, tmp_path, caplog):
    config = settings(raw, tmp_path / "out", donors={"obs_ids": [FAR]})
    with caplog.at_level(logging.WARNING, logger="gammapy_mimic"):
        pairs = MimicCampaign(config).match()
    assert pairs.missing == list(TARGETS)
    assert "2 of 2 targets have no donor" in caplog.text


def test_doubtful_runs_are_told_once(raw, tmp_path, caplog):
    """By the pairs; what only the maker can see, by the maker."""
    store = shutil.copytree(raw, tmp_path / "runs")
    for obs_id in DONORS:
        with fits.open(store / f"run_{obs_id}.fits", mode="update") as hdus:
            hdus["EVENTS"].header["ONTIME"] = 99.0
            del hdus["BACKGROUND"].header["FOVALIGN"]
    campaign = MimicCampaign(settings(store, tmp_path / "out"))
    result = campaign.run()
    logged = [it.getMessage() for it in caplog.records]
    pairs = PairTable.read(tmp_path / "out" / "pairs.ecsv")
    paired = set(pairs["DONOR_OBS_ID"].tolist())
    for words in ("ONTIME = 99 s", "no FOVALIGN"):
        texts = [it for it in logged if words in it]
        assert len(texts) == len(set(texts)) == len(paired)
        assert all(result.notes.count(text) == 1 for text in texts)
        assert all(pairs.warnings.count(text) == 1 for text in texts)
    caplog.clear()
    campaign.make()
    logged = [it.getMessage() for it in caplog.records]
    assert sum("ONTIME = 99 s" in it for it in logged) == len(paired)
    config = settings(store, tmp_path / "out", fov_alignment="altaz")
    pairs = MimicCampaign(config).match()
    assert not any("FOVALIGN" in text for text in pairs.warnings)
    assert any("ONTIME" in text for text in pairs.warnings)
    # pairs of the index alone say nothing, but each mimic does
    caplog.clear()
    config = settings(store, tmp_path / "other", match={"rate_proxy": "index"})
    result = MimicCampaign(config).run()
    logged = [it.getMessage() for it in caplog.records]
    assert sum("ONTIME = 99 s" in it for it in logged) == len(paired)
    assert not any("ONTIME" in note for note in result.notes)
