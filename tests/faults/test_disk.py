"""Disks that are full, places that are forbidden, links, and two campaigns at once.

A full disk is a real one: a small file system of its own, seen by one forked process.
Where modes are to bind root, a forked process gives up the privilege to pass them by.
"""

import functools
import os
import shutil
import stat
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from astropy import units as u
from astropy.table import Table
from gammapy.data import DataStore
from helpers.faults import (
    assert_nothing_half_written,
    call,
    contents,
    error_line,
    everything,
    in_child,
    in_children,
    invoke,
    obey_modes,
    settings,
    tiny_disk,
)
from helpers.runs import open_raw, write_file

from gammapy_mimic import LocationFaker, simulate_datastore, write_datastore
from gammapy_mimic.report import page, write_report

ROOM = 20000
"""Size in KiB of a disk with room enough."""

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


# --- full disk ----------------------------------------------------------------------

MIMICS = [
    (
        f"pending {k}",
        f"mimic_000/{k}.fits",
        f".campaign/mimic_000/{k}.json",
        f"freed {k}",
    )
    for k in (1, 2)
]
TEXTS = ["config.yaml", "pairs.ecsv", "rejected.ecsv"]
INDEX = ["mimic_000/obs-index.fits.gz", "mimic_000/hdu-index.fits.gz"]
WRITTEN = [
    *(it for name in TEXTS for it in (f".campaign/{name}.json", name)),
    ".campaign/pairs_inputs.json",
    *MIMICS[0],
    *MIMICS[1],
    *(f".campaign/{name}.json" for name in INDEX),
    *INDEX,
    ".campaign/mimic_000/analysis.yaml.json",
    "mimic_000/analysis.yaml",
    ".campaign/provenance.yaml.json",
    "provenance.yaml",
]
"""Files in the order in which they are written.

The record of a mimic is there before it, in a short form, and is replaced afterwards.
"""
SHORT_RECORD = {"pending": 4, "freed": -4}


def _size_without(name, reference):
    """Size in KiB of a disk on which all files have room up to this one."""
    before = WRITTEN[: WRITTEN.index(name)]
    return sum(SHORT_RECORD.get(it.split()[0]) or _kib(reference / it) for it in before)


def _kib(path):
    """Room that a file takes on the small disk, in pages."""
    return -(-path.stat().st_size // 4096) * 4


def _campaign_on_full_disk(tiny, size, options):
    """What is said on a full disk, and what is there in the end."""
    resize = tiny_disk(tiny.out, size)
    said = invoke("run", tiny.config, *options, code=1)
    assert_nothing_half_written(tiny.out)
    resize(ROOM)
    again = invoke("run", tiny.config, code=0)
    shutil.copytree(tiny.out, tiny.out.with_name("copy"))
    return said, again


@pytest.mark.parametrize(
    "name",
    [
        "pairs.ecsv",
        "mimic_000/1.fits",
        ".campaign/mimic_000/1.json",
        "mimic_000/hdu-index.fits.gz",
        "provenance.yaml",
    ],
)
def test_campaign(tiny, tiny_reference, name):
    """The disk gets full with this file; with room again, all is as if it had not."""
    tiny.out.mkdir()
    size = _size_without(name, tiny_reference)
    text, _ = in_child(_campaign_on_full_disk, tiny, size, ())
    # an index is named by its folder
    path = tiny.out / ("mimic_000" if "index" in name else name)
    line = error_line(text)
    assert line.startswith(f"Error: [Errno 28] No space left on device: '{path}")
    assert contents(tiny.out.with_name("copy")) == contents(tiny_reference)


def test_campaign_of_two_processes(tiny, tiny_reference):
    """One of them finds no room while the other one works."""
    tiny.out.mkdir()
    size = _size_without("mimic_000/2.fits", tiny_reference) + 8
    text, again = in_child(_campaign_on_full_disk, tiny, size, ("-j", 2))
    assert f"No space left on device: '{tiny.out}/mimic_000/" in error_line(text)
    assert "1 mimic set with 2 runs" in again
    assert contents(tiny.out.with_name("copy")) == contents(tiny_reference)


def _again_on_full_disk(made):
    """Make one mimic of a whole campaign again, without room for it."""
    whole = everything(made.out)
    room = sum(map(_kib, filter(Path.is_file, made.out.rglob("*"))))
    resize = tiny_disk(made.out, ROOM)
    for name, content in whole.items():
        (made.out / name).parent.mkdir(parents=True, exist_ok=True)
        (made.out / name).write_bytes(content)
    # what the pairs were matched from is noted for its place
    invoke("run", made.config, code=0)
    (made.out / "mimic_000" / "1.fits").unlink()
    resize(room - 60)
    text = invoke("run", made.config, code=1)
    left = contents(made.out)
    resize(ROOM)
    return text, sorted(left), invoke("run", made.config, code=0)


def test_nothing_is_lost(made):
    """What is whole stays; only the index goes, as it would no longer be true."""
    text, left, again = in_child(_again_on_full_disk, made)
    assert f"left on device: '{made.out}/mimic_000/1.fits'" in error_line(text)
    assert "mimic_000/2.fits" in left
    assert not [name for name in left if name.endswith("index.fits.gz")]
    assert "(1 made, 1 kept)" in again


def _write_on_full_disk(kind, folder, size):
    resize = tiny_disk(folder, size)
    error = _error(kind, folder)
    left = sorted(str(path) for path in folder.rglob("*") if path.is_file())
    resize(ROOM)
    assert _error(kind, folder, overwrite=True) is None
    return error, left


def _error(kind, folder, **options):
    try:
        kind(folder, **options)
    except OSError as error:
        return str(error)
    return None


def _convert(folder, **options):
    paths = folder.with_name("target.fits"), folder.with_name("donor.fits")
    LocationFaker().convert_fov(*paths, folder / "mimic.fits", **options)


def test_file_to_file(tmp_path):
    for name, obs_id in (("target", 7), ("donor", 8)):
        write_file(tmp_path / f"{name}.fits", obs_id=obs_id, n_events=20)
    (tmp_path / "out").mkdir()
    error, left = in_child(_write_on_full_disk, _convert, tmp_path / "out", 40)
    assert "No space left on device" in error
    assert str(tmp_path / "out" / "mimic.fits") in error
    assert left == []


@pytest.mark.parametrize(
    ("size", "name"),
    [(4, "1.fits"), (80, "2.fits"), (112, "obs-index.fits.gz")],
)
def test_store(tmp_path, size, name):
    """Whole files stay, without an index; a run takes 56 KiB."""
    observations = open_raw(["full", "full"], tmp_path / "raw", n_events=20)

    def write(folder, **options):
        write_datastore(observations, folder, **options)

    (tmp_path / "out").mkdir()
    error, left = in_child(_write_on_full_disk, write, tmp_path / "out", size)
    assert "No space left on device" in error
    assert str(tmp_path / "out" / name) in error
    whole = {"1.fits": [], "2.fits": ["1.fits"]}.get(name, ["1.fits", "2.fits"])
    assert [Path(path).name for path in left] == whole


class _Systematic:
    """Stands for the numbers of a report."""

    def write(self, path, *, overwrite):
        with page.atomic_write(path) as file:
            file.write("x" * 5000)


def _report_on_full_disk(out, size):
    resize = tiny_disk(out / "figures", size)
    (out / "figures" / "a.png").write_bytes(b"old")
    error = _error(lambda folder: write_report(folder, overwrite=True), out)
    left = {path.name: path.stat().st_size for path in (out / "figures").iterdir()}
    old = (out / "report.html").read_text()
    resize(ROOM)
    write_report(out, overwrite=True)
    return error, left, old, (out / "report.html").read_text()


def test_report(made, monkeypatch):
    """The earlier report stays."""
    from matplotlib.figure import Figure

    def draw(campaign, found, ensemble):
        for name in "ab":
            yield name, "A caption", Figure(figsize=(1, 1))

    monkeypatch.setattr(page, "draw_figures", draw)
    monkeypatch.setattr(page, "content", lambda *_, **__: {})
    templates = made.out.with_name("templates")
    templates.mkdir()
    (templates / page.PAGE).write_text("new")
    write = functools.partial(write_report, templates=templates)
    monkeypatch.setattr(sys.modules[__name__], "write_report", write)
    monkeypatch.setattr(
        page,
        "measure",
        lambda *_, **__: SimpleNamespace(
            systematic=_Systematic(), local=SimpleNamespace(table=Table())
        ),
    )
    (made.out / "figures").mkdir()
    (made.out / "report.html").write_text("old")
    error, left, old, new = in_child(_report_on_full_disk, made.out, 4)
    assert "No space left on device" in error
    assert str(made.out / "figures" / "a.png") in error
    assert left == {"a.png": 3}
    assert (old, new) == ("old", "new")


def _command_on_full_disk(folder, args, name):
    tiny_disk(folder, 4)
    (folder / name).write_text("mine")
    text = invoke(*args, code=1)
    return text, {path.name: path.read_text() for path in folder.iterdir()}


@pytest.mark.parametrize("command", ["pairs --write", "pairs --plot", "init"])
def test_other_commands(tiny, tmp_path, command):
    """A file that is there stays as it is."""
    folder = tmp_path / "disk"
    folder.mkdir()
    path = folder / ("p.png" if command.endswith("plot") else "p.txt")
    args = [*command.split(), path, "--overwrite"]
    if command != "init":
        args = ["pairs", tiny.config, command.split()[1], path]
    text, left = in_child(_command_on_full_disk, folder, args, path.name)
    assert f"No space left on device: '{path}'" in error_line(text)
    assert left == {path.name: "mine"}


# --- modes ---------------------------------------------------------------------------


def _forbidden(args, code):
    obey_modes()
    return invoke(*args, code=code)


@pytest.fixture
def permit(tmp_path):
    """All modes as they were, so that the folder can be removed."""
    yield
    for path in (tmp_path, *tmp_path.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o700)


@pytest.mark.usefixtures("permit")
class TestForbidden:
    @pytest.mark.parametrize("name", ["obs-index.fits.gz", "hdu-index.fits.gz"])
    def test_index(self, tiny, name):
        (tiny.store / name).chmod(0)
        for command in ("pairs", "run"):
            line = error_line(in_child(_forbidden, [command, tiny.config], 1))
            assert f"Permission denied: '{tiny.store / name}'" in line
        assert not tiny.out.exists()
        text = in_child(_forbidden, ["check", tiny.store], 1)
        assert f"Permission denied: '{tiny.store / name}'" in text

    def test_event_file(self, tiny):
        """The others are made."""
        tiny.file(3).chmod(0)
        text = in_child(_forbidden, ["run", tiny.config], 1)
        assert "1 mimic set with 1 run (1 made, 0 kept)" in text
        problem = text.split("run 1 from donor 3 failed: ")[1]
        assert f"Permission denied: '{tiny.file(3)}'" in problem
        assert_nothing_half_written(tiny.out)
        text = in_child(_forbidden, ["check", tiny.store], 1)
        assert f"Permission denied: '{tiny.file(3)}'" in text
        assert "5 runs, 1 errors" in text

    def test_store(self, tiny):
        tiny.store.chmod(0)
        line = error_line(in_child(_forbidden, ["run", tiny.config], 1))
        assert "Permission denied" in line
        assert str(tiny.store) in line

    def test_configuration(self, tiny):
        tiny.config.chmod(0)
        for command in ("pairs", "run"):
            text = in_child(_forbidden, [command, tiny.config], 2)
            assert f"File '{tiny.config}' is not readable" in error_line(text)

    def test_outdir(self, tiny):
        tiny.out.mkdir(mode=0o500)
        line = error_line(in_child(_forbidden, ["run", tiny.config], 1))
        assert f"Permission denied: '{tiny.out}" in line
        assert not list(tiny.out.iterdir())

    def test_outdir_that_is_done(self, made):
        before = everything(made.out)
        made.out.chmod(0o500)
        for path in made.out.rglob("*"):
            path.chmod(0o500 if path.is_dir() else 0o400)
        for command in (["run", made.config], ["report", made.out]):
            line = error_line(in_child(_forbidden, command, 1))
            assert str(made.out) in line
        assert "PASS" in in_child(_forbidden, ["check", made.out], 0)
        for path in (made.out, *made.out.rglob("*")):
            path.chmod(0o700)
        assert everything(made.out) == before

    @pytest.mark.parametrize("name", ["mimic_000", ".campaign/mimic_000"])
    def test_mimic_set(self, made, name):
        (made.out / "mimic_000" / "1.fits").write_bytes(b"")
        (made.out / name).chmod(0o500)
        line = error_line(in_child(_forbidden, ["run", made.config], 1))
        assert f"Permission denied: '{made.out / name}" in line
        (made.out / name).chmod(0o700)
        assert_nothing_half_written(made.out / "mimic_001")

    def test_read_only_file(self, made):
        """It is not replaced; the others are made."""
        path = made.out / "mimic_000" / "1.fits"
        path.write_bytes(b"mine")
        path.chmod(0o400)
        text = in_child(_forbidden, ["run", made.config], 1)
        problem = text.split("run 1 from donor 3 failed: ")[1]
        assert f"{path} is read-only and is not replaced" in problem
        assert "(0 made, 1 kept)" in text
        assert path.read_bytes() == b"mine"

    def test_read_only_mimic(self, made):
        """Not even made again."""
        path = made.out / "mimic_000" / "1.fits"
        path.chmod(0o400)
        before = everything(made.out / "mimic_000")
        line = error_line(in_child(_forbidden, ["run", made.config, "--overwrite"], 1))
        assert f"{path} is read-only and is not replaced" in line
        assert everything(made.out / "mimic_000").items() <= before.items()
        assert path.exists()

    @pytest.mark.parametrize("name", ["pairs.ecsv", "config.yaml"])
    def test_read_only_text(self, made, name):
        (made.out / name).chmod(0o400)
        before = (made.out / name).read_bytes()
        settings_ = settings(made.store, made.out, n_mimics=2)
        made.config.write_text(yaml.safe_dump(settings_))
        text = in_child(_forbidden, ["run", made.config, "--overwrite"], 1)
        assert f"{made.out / name} is read-only" in error_line(text)
        assert (made.out / name).read_bytes() == before

    def test_folder_of_a_report(self, made):
        made.out.chmod(0o500)
        line = error_line(in_child(_forbidden, ["report", made.out], 1))
        assert f"{made.out} is read-only: no report" in line

    def test_places_of_results(self, tiny, tmp_path):
        folder = tmp_path / "closed"
        folder.mkdir(mode=0o500)
        demo = ["--datastore", tiny.store, "--targets", 1, "--donors", 3]
        for command in (
            ["init", folder / "c.yaml"],
            ["pairs", tiny.config, "--write", folder / "p.ecsv"],
            ["pairs", tiny.config, "--plot", folder / "p.png"],
            ["demo", "--out", folder / "demo", *demo],
        ):
            line = error_line(in_child(_forbidden, command, 1))
            assert f"Permission denied: '{folder}" in line
        assert not list(folder.iterdir())

    @pytest.mark.parametrize("entry", ["simulate", "write", "convert"])
    def test_python(self, tiny, tmp_path, entry):
        folder = tmp_path / "closed"
        folder.mkdir(mode=0o500)
        error = in_child(_forbidden_in_python, entry, tiny, folder)
        assert error is not None
        assert f"Permission denied: '{folder}" in error
        assert not list(folder.iterdir())


def _forbidden_in_python(entry, tiny, folder):
    entries = {
        "simulate": lambda path: simulate_datastore(
            path, n_targets=1, n_donors=0, duration=30 * u.s, random_state=1
        ),
        "write": lambda path: write_datastore(
            DataStore.from_dir(tiny.store).get_observations([1]), path
        ),
        "convert": lambda path: LocationFaker().convert_fov(
            tiny.file(1), tiny.file(2), path / "mimic.fits"
        ),
    }
    obey_modes()
    return _error(entries[entry], folder)


def test_umask(tiny):
    """New files get the mode that it gives, and not that of a temporary file."""
    before = os.umask(0o027)
    try:
        invoke("run", tiny.config, code=0)
    finally:
        os.umask(before)
    for path in (tiny.out, *tiny.out.rglob("*")):
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode == (0o750 if path.is_dir() else 0o640), path


def test_mode_of_a_file_that_is_there(made):
    path = made.out / "provenance.yaml"
    path.write_text("mine")
    path.chmod(0o600)
    invoke("run", made.config, code=0)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_text() != "mine"


# --- links ---------------------------------------------------------------------------


def test_mimic_set_on_another_disk(made, tiny_reference, tmp_path):
    """A link to a folder is followed, and stays."""
    (tmp_path / "disk").mkdir()
    for name in ("mimic_000", ".campaign"):
        shutil.move(made.out / name, tmp_path / "disk" / name)
        (made.out / name).symlink_to(tmp_path / "disk" / name)
    assert "(0 made, 2 kept)" in invoke("run", made.config, code=0)
    assert "(2 made, 0 kept)" in invoke("run", made.config, "--overwrite", code=0)
    invoke("check", made.out, code=0)
    for name in ("mimic_000", ".campaign"):
        assert (made.out / name).is_symlink()
    disk = tmp_path / "disk" / "mimic_000"
    assert contents(disk) == contents(tiny_reference / "mimic_000")


@pytest.mark.parametrize("name", ["pairs.ecsv", "mimic_000/1.fits"])
def test_links_to_files(made, tiny_reference, tmp_path, name):
    """A whole file may lie elsewhere. What is written again replaces the link.

    So nothing outside of the folder is ever written to, and no archive of links.
    """
    path, elsewhere = made.out / name, tmp_path / "elsewhere"
    shutil.move(path, elsewhere)
    path.symlink_to(elsewhere)
    assert "(0 made, 2 kept)" in invoke("run", made.config, code=0)
    # what does not change is not written
    assert path.is_symlink()
    before = elsewhere.read_bytes()
    assert "(2 made, 0 kept)" in invoke("run", made.config, "--overwrite", code=0)
    assert elsewhere.read_bytes() == before
    assert contents(made.out) == contents(tiny_reference)


def test_links_that_lead_nowhere(made, tiny_reference):
    """In the place of a file they are replaced, even one that leads to itself."""
    path = made.out / "mimic_000" / "1.fits"
    path.unlink()
    path.symlink_to(path.name)
    invoke("check", made.out, code=1)
    assert "(1 made, 1 kept)" in invoke("run", made.config, code=0)
    assert contents(made.out) == contents(tiny_reference)


# --- two at once ------------------------------------------------------------------


@pytest.fixture
def slow(monkeypatch):
    """Campaigns that work longer than another one waits."""
    from gammapy_mimic.campaign import locks, work

    def make(task):
        time.sleep(0.4)
        return made(task)

    made = work.make_mimic
    monkeypatch.setattr(work, "make_mimic", make)
    monkeypatch.setattr(locks, "_PATIENCE_S", 0.1)


@pytest.mark.usefixtures("slow")
def test_one_of_two_wins(tiny, tiny_reference):
    """The other one ends with one line, and the result is that of one."""
    command = call, "run", tiny.config
    (won, summary), (lost, text) = sorted(in_children(command, command))
    assert (won, lost) == (0, 1)
    assert "1 mimic set with 2 runs (2 made, 0 kept)" in summary
    words = f"{tiny.out}: another campaign is at work there; wait for its end"
    assert words in error_line(text)
    assert contents(tiny.out) == contents(tiny_reference)
    invoke("check", tiny.out, code=0)


def test_single_sets_at_once(tiny):
    """Both are made, and the result is that of one call."""
    content = settings(tiny.store, tiny.out, n_mimics=2)
    tiny.config.write_text(yaml.safe_dump(content))
    calls = [(call, "run", tiny.config, "--only", number) for number in (0, 1)]
    for code, text in in_children(*calls):
        assert code == 0
        assert "1 mimic set with 2 runs (2 made, 0 kept)" in text
    made = contents(tiny.out), (tiny.out / "provenance.yaml").read_bytes()
    invoke("check", tiny.out, code=0)
    shutil.rmtree(tiny.out)
    invoke("run", tiny.config, code=0)
    assert (contents(tiny.out), (tiny.out / "provenance.yaml").read_bytes()) == made
