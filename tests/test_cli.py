"""The command: what it prints, and its exit codes 0, 1 (data) and 2 (usage)."""

import subprocess
import sys

import pytest
import yaml
from astropy.table import Table
from click.testing import CliRunner
from gammapy.utils import pbar
from helpers.runs import write_raw

from gammapy_mimic import __version__
from gammapy_mimic.cli import main
from gammapy_mimic.config import MimicAnalysisConfig
from gammapy_mimic.matching import PairTable

COMMANDS = ("demo", "init", "pairs", "run", "check", "report", "schema")


@pytest.fixture(scope="session")
def store(tmp_path_factory):
    """Two runs as targets and three as donors."""
    return write_raw(["full"] * 5, tmp_path_factory.mktemp("cli"), n_events=60)


@pytest.fixture
def config(store, tmp_path):
    """Path of a configuration."""
    return write(tmp_path / "crab.yaml", store, tmp_path)


def write(path, store, outdir, targets=(1, 2), donors=(3, 4, 5), **changes):
    mimic = {"donors": {"obs_ids": list(donors)}, "outdir": str(outdir / "out")}
    settings = {
        "observations": {"datastore": str(store), "obs_ids": list(targets)},
        "mimic": {"scramble": None, "n_mimics": 2, **mimic, **changes},
    }
    path.write_text(yaml.safe_dump(settings))
    return path


@pytest.fixture
def invoke(monkeypatch):
    """Call the command; a traceback is an error in any case."""
    monkeypatch.setattr(pbar, "SHOW_PROGRESS_BAR", False)

    def call(*args, code=0):
        result = CliRunner().invoke(main, [str(arg) for arg in args])
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert "Traceback" not in result.output
        assert result.exit_code == code, result.output
        return result.output

    return call


class TestGroup:
    @pytest.mark.parametrize("option", ["-h", "--help"])
    def test_help(self, invoke, option):
        text = invoke(option)
        for name in COMMANDS:
            assert f"\n  {name} " in text
        assert "_GAMMAPY_MIMIC_COMPLETE=bash_source" in text
        assert "Exit codes" in text

    @pytest.mark.parametrize("name", COMMANDS)
    def test_help_of_commands(self, invoke, name):
        assert "Usage:" in invoke(name, "-h")

    def test_version(self, invoke):
        assert invoke("--version") == f"gammapy-mimic, version {__version__}\n"

    def test_as_module(self):
        command = [sys.executable, "-m", "gammapy_mimic", "--version"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert done.stdout == f"gammapy-mimic, version {__version__}\n"

    def test_help_does_not_wait_for_gammapy(self):
        """What takes time are these imports."""
        code = (
            "import sys; from gammapy_mimic.cli import main\n"
            "try: main(['run', '-h'])\n"
            "finally: print(sorted({'gammapy', 'astropy', 'numpy'} & set(sys.modules)))"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        assert done.stdout.splitlines()[-1] == "[]"

    @pytest.mark.parametrize(
        "args",
        [["nothing"], ["run"], ["run", "no.yaml"], ["--log-level", "loud", "run"]],
    )
    def test_usage(self, invoke, args):
        assert "Usage:" in invoke(*args, code=2)


class TestInit:
    def test_new(self, invoke, tmp_path):
        path = tmp_path / "crab.yaml"
        assert f"gammapy-mimic pairs {path}" in invoke("init", path)
        assert MimicAnalysisConfig.read(path).mimic.n_mimics == 1

    def test_exists(self, invoke, tmp_path):
        path = tmp_path / "crab.yaml"
        path.write_text("mine")
        assert "use --overwrite" in invoke("init", path, code=2)
        assert path.read_text() == "mine"
        invoke("init", path, "--overwrite")
        MimicAnalysisConfig.read(path)

    def test_from(self, invoke, tmp_path):
        mine, path = tmp_path / "mine.yaml", tmp_path / "crab.yaml"
        mine.write_text("observations: {obs_ids: [5]}   # five\n")
        invoke("init", path, "--from", mine)
        assert path.read_text().startswith(mine.read_text())
        assert MimicAnalysisConfig.read(path).observations.obs_ids == [5]

    def test_where_nothing_can_be_written(self, invoke, tmp_path):
        text = invoke("init", tmp_path / "none" / "new.yaml", code=1)
        assert "No such file" in text

    def test_from_what_is_no_text(self, invoke, tmp_path):
        (tmp_path / "old.yaml").write_bytes(b"\xff\xfe\xf1")
        options = "--from", tmp_path / "old.yaml"
        text = invoke("init", tmp_path / "new.yaml", *options, code=1)
        assert "old.yaml is not a text file" in text
        assert not (tmp_path / "new.yaml").exists()

    def test_from_what_has_the_section(self, invoke, tmp_path):
        mine = tmp_path / "mine.yaml"
        mine.write_text("mimic: {n_mimics: 2}\n")
        text = invoke("init", tmp_path / "crab.yaml", "--from", mine, code=2)
        assert "a section 'mimic' already" in text
        assert not (tmp_path / "crab.yaml").exists()


class TestProposals:
    """What is proposed by the index of the user's own runs."""

    @pytest.fixture
    def own(self, tmp_path):
        """Store of two targets and two off runs, with a column that says so."""
        path = write_raw(["full"] * 4, tmp_path / "runs", n_events=9)
        self.set_columns(path, OBJECT=["Crab", "Crab", "Off data", "Off field 2"])
        return path

    def set_columns(self, path, **columns):
        table = Table.read(path / "obs-index.fits.gz")
        for name, values in columns.items():
            table[name] = values
        table.write(path / "obs-index.fits.gz", overwrite=True)

    def init(self, invoke, store, targets=(1, 2)):
        mine, new = store.parent / "mine.yaml", store.parent / "new.yaml"
        observations = {"datastore": str(store), "obs_ids": list(targets)}
        mine.write_text(yaml.safe_dump({"observations": observations}))
        printed = invoke("init", new, "--from", mine, "--overwrite")
        assert new.read_text().startswith(mine.read_text())
        return printed, MimicAnalysisConfig.read(new)

    def test_off_runs(self, invoke, own):
        _, config = self.init(invoke, own)
        assert config.mimic.donors.where == {"OBJECT": ["Off data", "Off field 2"]}
        assert config.mimic.scramble.theta == "psf"
        # the catalog that is proposed needs gammapy's data
        new = own.parent / "new.yaml"
        new.write_text(new.read_text().replace("[gamma-cat]", "[bright]"))
        assert "2 targets, 2 possible" in invoke("pairs", new)

    def test_other_objects(self, invoke, own):
        """Offset is not off."""
        self.set_columns(own, OBJECT=["Crab", "Crab", "Offset 3", "M 87"])
        _, config = self.init(invoke, own)
        assert config.mimic.donors.where == {"OBJECT": ["M 87", "Offset 3"]}

    def test_other_runs(self, invoke, own):
        self.set_columns(own, OBJECT=["Crab"] * 4)
        _, config = self.init(invoke, own)
        assert config.mimic.donors.where == {}
        assert config.mimic.donors.obs_ids == [3, 4]

    def test_position(self, invoke, own):
        self.set_columns(own, RA_OBJ=83.6, DEC_OBJ=22.0)
        printed, _ = self.init(invoke, own)
        assert "lon: 83.6000 deg, lat: 22.0000 deg" in printed
        options = "--datastore", own, "--targets", 1, 2
        printed = invoke("init", own.parent / "c.yaml", *options)
        assert "Mind" not in printed
        config = MimicAnalysisConfig.read(own.parent / "c.yaml")
        assert config.datasets.geom.wcs.skydir.lon.deg == 83.6
        assert config.observations.obs_ids == [1, 2]

    def test_point_like(self, invoke, tmp_path):
        store = write_raw(["rad_max"] * 2, tmp_path / "runs", n_events=9)
        printed, config = self.init(invoke, store, targets=[1])
        (line,) = [it for it in printed.splitlines() if "required_irf" in it]
        assert "rad_max" in line
        assert "bkg" not in line
        assert config.mimic.scramble.theta.deg == 0.3

    def test_broken_index(self, invoke, own):
        (own / "hdu-index.fits.gz").write_bytes(b"no")
        printed, config = self.init(invoke, own)
        assert "Nothing is proposed" in printed
        assert config.mimic.donors.where == {"TARGET_NAME": "Off data"}


class TestPairs:
    def test_dry_run(self, invoke, config, tmp_path):
        text = invoke("pairs", config)
        assert "2 targets, 3 possible donors" in text
        assert "0 of 3" in text
        assert not (tmp_path / "out").exists()

    def test_files(self, invoke, config, tmp_path):
        ecsv, png = tmp_path / "p.ecsv", tmp_path / "p.png"
        invoke("pairs", config, "--write", ecsv, "--plot", png)
        assert len(PairTable.read(ecsv)) == 4
        assert png.read_bytes().startswith(b"\x89PNG")

    def test_why(self, invoke, config):
        assert "run 3 fits 2 of 2 targets" in invoke("pairs", config, "--why", 3)
        text = invoke("pairs", config, "--why", 77, code=1)
        assert "run 77 is neither a target nor a possible donor" in text

    def test_no_donor(self, invoke, store, tmp_path):
        """A run is never its own donor."""
        path = write(tmp_path / "c.yaml", store, tmp_path, (1, 2), (1,), n_mimics=1)
        text = invoke("pairs", path, code=1)
        assert "1 of 1: 1 itself" in text
        assert "no donor for 1" in text


class TestRun:
    def test_run(self, invoke, config, tmp_path):
        text = invoke("run", config)
        assert f"2 mimic sets with 4 runs (4 made, 0 kept) in {tmp_path}/out" in text
        assert "(0 made, 4 kept)" in invoke("run", config, "-j", 2)
        assert "(4 made, 0 kept)" in invoke("run", config, "-j", 2, "--overwrite")

    def test_only(self, invoke, config, tmp_path):
        assert "1 mimic set with 2 runs" in invoke("run", config, "--only", 1)
        assert not (tmp_path / "out" / "mimic_000").exists()
        assert "has sets 0 to 1" in invoke("run", config, "--only", 2, code=2)

    def test_all_mistakes_of_the_config(self, invoke, store, tmp_path):
        path = write(tmp_path / "c.yaml", store, tmp_path, n_mimic=5, crop="ja")
        text = invoke("run", path, code=2)
        assert f"{path}: mimic.n_mimic: unknown key; did you mean 'n_mimics'?" in text
        assert f"{path}: mimic.crop = 'ja': must be a valid boolean" in text
        assert not (tmp_path / "out").exists()

    def test_mistake_found_later(self, invoke, store, tmp_path):
        path = write(tmp_path / "c.yaml", store, tmp_path, donors=[77])
        text = invoke("run", path, code=2)
        assert f"{path}: mimic.donors: runs 77 are not in its data store" in text

    def test_variable_that_is_not_set(self, invoke, tmp_path, monkeypatch):
        monkeypatch.delenv("GAMMAPY_DATA", raising=False)
        invoke("init", tmp_path / "c.yaml")
        text = invoke("pairs", tmp_path / "c.yaml", code=2)
        assert "GAMMAPY_DATA is not set, but observations.datastore" in text
        assert "try gammapy-mimic demo" in text

    def test_store_that_is_not_there(self, invoke, tmp_path):
        path = write(tmp_path / "c.yaml", tmp_path / "nowhere", tmp_path)
        assert "does not exist" in invoke("run", path, code=1)

    def test_changed_config(self, invoke, config, store, tmp_path):
        invoke("run", config, "--only", 0)
        write(config, store, tmp_path, random_state=5)
        text = invoke("run", config, code=2)
        assert "mimic.random_state: 0 there, 5 now" in text
        assert "--overwrite" in text
        assert "4 made" in invoke("run", config, "--overwrite")

    def test_incomplete(self, invoke, store, tmp_path):
        path = write(tmp_path / "c.yaml", store, tmp_path, (1, 2), (1,), n_mimics=1)
        text = invoke("run", path, code=1)
        assert "1 mimic set with 1 run " in text
        assert "no mimic of target 1: " in text


class TestCheck:
    def test_campaign(self, invoke, config, tmp_path):
        invoke("run", config)
        text = invoke("check", tmp_path / "out")
        for number in range(2):
            assert f"PASS {tmp_path}/out/mimic_{number:03d}: 2 runs, 0 errors" in text
        (tmp_path / "out" / "mimic_001" / "1.fits").write_bytes(b"")
        (tmp_path / "out" / "mimic_000" / "hdu-index.fits.gz").unlink()
        text = invoke("check", tmp_path / "out", code=1)
        assert f"FAIL {tmp_path}/out/mimic_001: 2 runs" in text
        assert f"FAIL {tmp_path}/out/mimic_000: path = " in text
        assert "has no hdu-index.fits.gz" in text

    def test_store(self, invoke, config, tmp_path):
        invoke("run", config)
        assert "PASS" in invoke("check", tmp_path / "out" / "mimic_000")

    def test_no_store(self, invoke, tmp_path):
        assert "has no hdu-index.fits.gz" in invoke("check", tmp_path, code=1)
        invoke("check", tmp_path / "nowhere", code=2)


class TestDemo:
    def test_options_that_go_together(self, invoke):
        assert "go together" in invoke("demo", "--datastore", "x", code=2)

    def test_store_that_is_not_there(self, invoke, tmp_path):
        out, nowhere = tmp_path / "out", tmp_path / "nowhere"
        options = ("--out", out, "--datastore", nowhere, "--targets", 1, "--donors", 2)
        assert "Error: " in invoke("demo", *options, code=1)


def test_output_of_pairs_is_a_table(invoke, config, tmp_path):
    """One row for each target, under one header."""
    lines = invoke("pairs", config).splitlines()
    # before the table stands how the rates agree
    assert lines[1].startswith("rate of donor / target above ")
    assert lines[2].split()[:3] == ["target", "zenith", "azimuth"]
    ids = [int(line.split()[0]) for line in lines[4:6]]
    assert ids == [1, 2]
    invoke("pairs", config, "--write", tmp_path / "p.ecsv")
    assert isinstance(Table.read(tmp_path / "p.ecsv"), Table)
