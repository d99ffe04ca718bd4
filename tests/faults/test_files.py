"""Broken input: one clear line with file or run and cause, and nothing half-written."""

import shutil
from pathlib import Path

import pytest
import yaml
from astropy import units as u
from click.testing import CliRunner
from helpers.campaigns import TARGETS, contents, settings
from helpers.faults import FAULTS
from helpers.runs import POINTING, write_file

from gammapy_mimic import (
    AnnulusScrambler,
    DonorMatcher,
    LocationFaker,
    check_datastore,
    write_datastore,
)
from gammapy_mimic.cli import main
from gammapy_mimic.data import compat

SOURCE = POINTING.directional_offset_by(0 * u.deg, 0.8 * u.deg)


@pytest.fixture
def files(tmp_path):
    """Files of a target, run 7, and a donor, run 8."""
    paths = tmp_path / "target.fits", tmp_path / "donor.fits"
    for path, obs_id in zip(paths, (7, 8), strict=True):
        write_file(path, obs_id=obs_id, n_events=20)
    return paths


@pytest.mark.parametrize("fault", FAULTS)
def test_file_to_file(files, tmp_path, fault):
    damage, word = FAULTS[fault]
    damage(files[1])
    output = tmp_path / "out" / "mimic.fits"
    with pytest.raises((OSError, ValueError), match=word) as caught:
        LocationFaker().convert_fov(*files, output)
    assert "donor.fits" in str(caught.value) or "run 8" in str(caught.value)
    assert not output.parent.exists() or not list(output.parent.iterdir())


def test_whole_files_pass(files, tmp_path):
    LocationFaker().convert_fov(*files, tmp_path / "mimic.fits")
    assert len(compat.open_run(tmp_path / "mimic.fits").events.table) == 20


def _scramble(path, _):
    AnnulusScrambler([SOURCE], theta=0.2 * u.deg).run(compat.open_run(path))


def _match(path, _):
    run = compat.open_run(path)
    DonorMatcher().run([run], [run])


def _write(path, folder):
    write_datastore([compat.open_run(path)], folder / "store")


@pytest.mark.parametrize("entry", [_scramble, _match, _write])
@pytest.mark.parametrize("fault", FAULTS)
def test_other_entries(files, tmp_path, fault, entry):
    """What an entry does not need may be broken; nothing else gets out."""
    FAULTS[fault][0](files[1])
    message = ""
    try:
        entry(files[1], tmp_path)
    except (OSError, ValueError) as error:
        message = str(error)
    if message:
        assert any(name in message for name in ("donor.fits", "un 8", "OBS_ID 8"))
        assert not list((tmp_path / "store").glob("*"))


@pytest.fixture
def campaign_files(raw, tmp_path):
    """Copy of a store, configuration for it and the output folder."""
    store = Path(shutil.copytree(raw, tmp_path / "raw"))
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(settings(store, tmp_path / "out")))
    return store, config, tmp_path / "out"


def _file_of(store, obs_id):
    (path,) = (it for it in store.rglob("*.fits*") if str(obs_id) in it.stem)
    return path


@pytest.mark.parametrize(
    "fault", ["truncated", "not FITS", "no column RA", "NaN in DEC", "energy in m"]
)
def test_campaign_goes_on(campaign_files, fault):
    """Mimics of the broken donor fail, each with a line; the others are there."""
    store, config, out = campaign_files
    FAULTS[fault][0](_file_of(store, 3))
    result = CliRunner().invoke(main, ["run", str(config)])
    assert result.exit_code == 1
    failed = [line for line in result.output.splitlines() if "3" in line]
    assert any(FAULTS[fault][1] in line for line in failed)
    assert "Traceback" not in result.output
    made = sorted(out.glob("mimic_*/[0-9].fits"))
    assert 0 < len(made) < 2 * len(TARGETS)
    for folder in {path.parent for path in made}:
        findings = check_datastore(folder)
        assert "error" not in [str(level) for level in findings["LEVEL"]]


def test_outdir_is_a_file(campaign_files):
    _, config, out = campaign_files
    out.write_text("mine")
    result = CliRunner().invoke(main, ["run", str(config)])
    assert result.exit_code in (1, 2)
    assert str(out) in result.output
    assert out.read_text() == "mine"


def test_outdir_is_a_symlink(campaign_files, tmp_path):
    """The folder that it leads to is filled, and the link stays."""
    _, config, out = campaign_files
    (tmp_path / "elsewhere").mkdir()
    out.symlink_to("elsewhere")
    assert CliRunner().invoke(main, ["run", str(config)]).exit_code == 0
    assert out.is_symlink()
    assert "mimic_000/1.fits" in contents(tmp_path / "elsewhere")


@pytest.mark.parametrize("command", ["pairs", "run"])
def test_yaml_is_only_data(tmp_path, command):
    config = tmp_path / "config.yaml"
    config.write_text(
        f"mimic: !!python/object/apply:os.mkdir ['{tmp_path / 'made'}']\n"
    )
    result = CliRunner().invoke(main, [command, str(config)])
    assert result.exit_code == 2
    assert "config.yaml" in result.output
    assert not (tmp_path / "made").exists()
