"""The command on broken input: one line with file or run and cause, and an exit code.

0: all is well, 1: something is missing, broken or failed, 2: wrong usage or
configuration. Nothing is left half-written, and the rest of a campaign goes on.
"""

import json
import os
import shutil
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import yaml
from helpers.faults import (
    FAULTS,
    INDEX_FAULTS,
    as_folder,
    assert_nothing_half_written,
    campaign_in,
    change_bytes,
    change_hdus,
    contents,
    error_line,
    everything,
    invoke,
    keyword,
    one_value,
    settings,
    truncated,
    unit,
    without_keyword,
)
from helpers.runs import write_raw

from gammapy_mimic import check_datastore
from gammapy_mimic.campaign.records import read_record

FIRST_BROKEN = 101
BROKEN = dict(enumerate(FAULTS, start=FIRST_BROKEN))
"""Fault of each broken run."""

TARGETS = [
    obs_id
    for obs_id, fault in BROKEN.items()
    if not fault.startswith(("NaN", "no column", "GTI without"))
]
"""Those that are tried as targets, too."""

HARMLESS = {"no keyword OBS_ID", "text as OBS_ID"}
"""Faults of a donor's file that do not matter: the index tells which run it is."""

TRUE_WORDS = {"unknown unit": "energy", "no EVENTS": "events", "no GTI": "gti"}
"""What the message has here: a user's warnings are no errors, HDUs are in an index."""


# --- event files ------------------------------------------------------------------


@pytest.fixture(scope="module")
def broken_store(tmp_path_factory):
    """Store with two whole runs, and one for each fault of an event file."""
    folder = tmp_path_factory.mktemp("broken")
    ids = [1, 2, *BROKEN]
    runs = [{"obs_id": obs_id} for obs_id in ids]
    write_raw(["full"] * len(ids), folder / "raw", runs=runs, n_events=20)
    for obs_id, fault in BROKEN.items():
        FAULTS[fault][0](folder / "raw" / f"run_{obs_id}.fits")
    return folder / "raw"


@pytest.fixture(scope="module")
def campaign_of_broken_donors(broken_store, tmp_path_factory):
    """Campaign with one mimic set for each donor, and what the command says."""
    donors = [2, *BROKEN]
    options = {"targets": [1], "donors": donors, "n_mimics": len(donors)}
    campaign = campaign_in(tmp_path_factory.mktemp("out"), broken_store, **options)
    return campaign.out, invoke("run", campaign.config, code=1)


def line_about(text, start):
    (line,) = (line for line in text.splitlines() if start in line)
    return line


@pytest.mark.parametrize("obs_id", BROKEN, ids=BROKEN.get)
def test_broken_donor(campaign_of_broken_donors, obs_id):
    fault, (out, text) = BROKEN[obs_id], campaign_of_broken_donors
    if fault in HARMLESS:
        assert f"donor {obs_id} " not in text
        return
    line = line_about(text, f"run 1 from donor {obs_id} failed: ")
    problem = line.split("failed: ")[1]
    assert f"run_{obs_id}.fits" in problem or f"run {obs_id}" in problem
    assert TRUE_WORDS.get(fault, FAULTS[fault][1].lower()) in problem.lower()
    # and nothing is left of it
    mimic_set = line.split(":")[0]
    assert not (out / mimic_set).exists() or not list((out / mimic_set).iterdir())


def test_whole_donors_are_used(campaign_of_broken_donors):
    out, text = campaign_of_broken_donors
    number = 1 + len(HARMLESS)
    assert f"{number} mimic sets with {number} runs ({number} made, 0 kept)" in text
    assert_nothing_half_written(out)
    stores = sorted(path.parent for path in out.glob("mimic_*/hdu-index.fits.gz"))
    assert len(stores) == number
    for store in stores:
        assert "error" not in list(check_datastore(store)["LEVEL"])


@pytest.fixture(scope="module")
def campaign_of_broken_targets(broken_store, tmp_path_factory):
    """Campaign with one mimic set for each target, and what the command says."""
    options = {"targets": list(TARGETS), "donors": [2], "n_mimics": len(TARGETS)}
    campaign = campaign_in(tmp_path_factory.mktemp("out"), broken_store, **options)
    return campaign.out, invoke("run", campaign.config, code=1)


@pytest.mark.parametrize("obs_id", TARGETS, ids=BROKEN.get)
def test_broken_target(campaign_of_broken_targets, obs_id):
    """What is not taken from a target may be broken; of its events only the header."""
    out, text = campaign_of_broken_targets
    if f"run {obs_id} from donor 2 failed: " in text:
        problem = line_about(text, f"run {obs_id} from donor 2 failed: ")
        problem = problem.split("failed: ")[1]
        assert f"run_{obs_id}.fits" in problem or f"run {obs_id}" in problem
        return
    (file,) = out.glob(f"mimic_*/{obs_id}.fits")
    assert "error" not in list(check_datastore(file.parent)["LEVEL"])


def test_pairs_of_broken_files(broken_store, tmp_path):
    """Pairs are found by the index."""
    campaign = campaign_in(tmp_path, broken_store, targets=[1], donors=[2, *BROKEN])
    assert f"{1 + len(BROKEN)} possible donors" in invoke(
        "pairs", campaign.config, code=0
    )


@pytest.fixture(scope="module")
def findings(broken_store):
    """What the check of the store finds, by file."""
    lines = invoke("check", broken_store, code=1).splitlines()
    return {
        obs_id: [line for line in lines if f"run_{obs_id}.fits" in line]
        for obs_id in (1, 2, *BROKEN)
    }


@pytest.mark.parametrize("obs_id", BROKEN, ids=BROKEN.get)
def test_check_lists_it(findings, obs_id):
    assert any(" error " in line for line in findings[obs_id])


def test_check_goes_on(findings):
    assert not findings[1]
    assert not findings[2]


@pytest.mark.parametrize("damage", [truncated, as_folder])
@pytest.mark.parametrize("obs_id", [1, 3])
def test_demo_with_broken_runs(tiny, obs_id, damage):
    damage(tiny.file(obs_id))
    options = ("--datastore", tiny.store, "--targets", 1, "--donors", 3)
    text = invoke("demo", "--out", tiny.out, *options, code=1)
    assert f"run_{obs_id}.fits" in error_line(text)
    assert not list(tiny.out.rglob("*.*"))


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.unlink(),
        lambda path: (path.unlink(), path.symlink_to("nowhere")),
        lambda path: (path.unlink(), path.symlink_to(path.name)),
    ],
    ids=["missing", "a link that leads nowhere", "a loop"],
)
def test_file_that_is_missing(tiny, damage):
    """Its run is left out, and the other donors are taken."""
    damage(tiny.file(3))
    text = invoke("run", tiny.config, code=0)
    assert "2 made, 0 kept" in text
    assert "donors: run 3, left out" in invoke("pairs", tiny.config, code=0)
    assert_nothing_half_written(tiny.out)
    assert "run_3.fits" in invoke("check", tiny.store, code=1)


def test_file_that_is_a_folder(tiny):
    as_folder(tiny.file(3))
    text = invoke("run", tiny.config, code=1)
    problem = line_about(text, "donor 3 failed: ").split("failed: ")[1]
    assert str(tiny.file(3)) in problem
    assert (tiny.out / "mimic_000" / "2.fits").exists()
    assert_nothing_half_written(tiny.out)


def test_runs_without_events(tiny):
    """Their mimics are as good as others, but tell nothing."""

    def clear(hdulist):
        hdulist["EVENTS"].data = hdulist["EVENTS"].data[:0]

    for obs_id in (1, 3, 4, 5):
        change_hdus(clear)(tiny.file(obs_id))
    assert "(2 made, 0 kept)" in invoke("run", tiny.config, code=0)
    assert "0 errors, 0 warnings" in invoke("check", tiny.out, code=0)
    line = error_line(invoke("report", tiny.out, code=1))
    assert "in which runs have counts and predicted background" in line


# --- index tables -----------------------------------------------------------------


# without an obs-index the headers are asked
NEEDED = [
    fault for fault in INDEX_FAULTS if fault not in ("obs: missing", "obs: a loop")
]


@pytest.mark.parametrize("fault", NEEDED)
def test_broken_index(tiny, fault):
    name, damage, word = INDEX_FAULTS[fault]
    damage(tiny.store / name)
    demo = ("demo", "--datastore", tiny.store, "--targets", 1, "--out", tiny.out)
    for command in (("pairs", tiny.config), ("run", tiny.config), demo):
        line = error_line(invoke(*command, code=1))
        assert str(tiny.store / name) in line
        assert word in line
    assert not tiny.out.exists()
    assert name in invoke("check", tiny.store, code=1)


HDU = "OBS_INDEX"

# damage of the observation index, what is said of it
INDEX_VALUES = {
    "TSTART in furlongs": (
        unit("TSTART", "furlong", hdu=HDU),
        "TSTART has the unit 'furlong'",
    ),
    "TSTART in m": (unit("TSTART", "m", hdu=HDU), "TSTART has the unit 'm'"),
    "unknown time scale": (keyword(HDU, "TIMESYS", "xyz"), "TIMESYS = 'XYZ'"),
}


@pytest.mark.parametrize("fault", INDEX_VALUES)
def test_index_that_cannot_be_used(tiny, fault):
    damage, words = INDEX_VALUES[fault]
    damage(tiny.store / "obs-index.fits.gz")
    for command in ("pairs", "run"):
        line = error_line(invoke(command, tiny.config, code=1))
        assert f"obs-index of {tiny.store}" in line
        assert words in line
    assert not tiny.out.exists()
    invoke("check", tiny.store, code=1)


# damage of one row of the observation index, what is said of its run
ROWS = {
    "no time": (("TSTART", np.nan), "without time (TSTART, TSTOP)"),
    "DEC_PNT of 100 deg": (("DEC_PNT", 100.0), "without pointing"),
    "no DEC_PNT": (("DEC_PNT", np.nan), "without pointing"),
}


@pytest.mark.parametrize("fault", ROWS)
def test_broken_row_of_a_donor(tiny, fault):
    """It is left out, with a note; the others suffice."""
    value, words = ROWS[fault]
    one_value(*value, hdu=HDU, row=2)(tiny.store / "obs-index.fits.gz")
    text = invoke("pairs", tiny.config, code=0)
    assert f"note: donors: run 3 {words}" in text
    assert "2 possible donors" in text
    invoke("check", tiny.store, code=1)


def test_broken_row_of_a_target(tiny):
    """It has no mimic; the other one has."""
    value, words = ROWS["no time"]
    one_value(*value, hdu=HDU, row=0)(tiny.store / "obs-index.fits.gz")
    assert error_line(invoke("pairs", tiny.config, code=1)) == "Error: no donor for 1"
    text = invoke("run", tiny.config, code=1)
    assert f"no mimic of target 1: {words}" in text
    assert "1 mimic set with 1 run (1 made, 0 kept)" in text


def test_all_rows_are_broken(tiny):
    for row in (2, 3, 4):
        one_value("DEC_PNT", 100.0, hdu=HDU, row=row)(tiny.store / "obs-index.fits.gz")
    line = error_line(invoke("run", tiny.config, code=1))
    assert "donors: OBS_ID [3, 4, 5] without pointing" in line


def test_hdus_that_the_index_lacks(tiny):
    """A target without events in the index is missing, not forgotten."""
    damage = one_value("HDU_TYPE", "junk", hdu=1, row=0)
    damage(tiny.store / "hdu-index.fits.gz")
    invoke("pairs", tiny.config, code=1)
    text = invoke("run", tiny.config, code=1)
    assert "no mimic of target 1: hdu-index lacks what is required (events, gti" in text
    assert "(1 made, 0 kept)" in text


@pytest.mark.parametrize(
    "damage",
    [keyword(HDU, "MJDREFI", 40000), one_value("TSTART", 5e8, hdu=HDU, row=2)],
    ids=["of all runs", "of one run"],
)
def test_times_of_the_index_are_not_those_of_the_files(tiny, damage):
    """By them runs were matched, so that no mimic is made of such a pair."""
    damage(tiny.store / "obs-index.fits.gz")
    # no cut finds it by chance
    changes = {"match": {"airmass": None, "azimuth": None, "ontime": None}}
    content = settings(tiny.store, tiny.out, **changes)
    tiny.config.write_text(yaml.safe_dump(content))
    text = invoke("run", tiny.config, code=1)
    line = line_about(text, "run 1 from donor 3 failed: ")
    assert "by its EVENTS header, but at" in line
    assert "by the obs-index" in line


def test_pointing_below_the_horizon(tiny):
    """Half a day off, or at another place: a note for those who look at pairs."""
    keyword(HDU, "MJDREFF", 0.0)(tiny.store / "obs-index.fits.gz")
    text = invoke("pairs", tiny.config, code=1)
    assert "targets: 2 pointings below the horizon (run 1, 2), which never mat" in text
    assert "Error: no donor for 1, 2" in text


@pytest.mark.parametrize("name", ["MJDREFI", "GEOLON"])
def test_headers_stand_in_for_the_index(tiny, name):
    without_keyword(HDU, name)(tiny.store / "obs-index.fits.gz")
    # the right time and place: the zenith angle is the true one
    assert "     1   48.1 " in invoke("pairs", tiny.config, code=0)
    assert name in invoke("check", tiny.store, code=1)


# --- the configuration -------------------------------------------------------------

YAML = {
    "half a list": "mimic: {donors: [\n",
    "a tab": "mimic:\n\tdonors: 1\n",
    "a list": "- 1\n",
    "a word": "hello",
    "two documents": "a: 1\n---\nb: 2\n",
    "a key twice": "mimic: {n_mimics: 1}\nmimic: {n_mimics: 2}\n",
    "a list as key": "? [1]\n: 2\n",
    "a NUL": "a: \0\n",
    "no such date": "a: 2020-13-45\n",
    "no number": "a: !!int x\n",
    "no truth": "a: !!bool x\n",
    "deep": f"a: {'[' * 600}",
    "no UTF-8": b"\xff\xfe",
    "Python": "mimic: !!python/object/apply:os.getpid []\n",
}


@pytest.mark.parametrize("fault", YAML)
def test_broken_yaml(tiny, fault):
    text = YAML[fault]
    tiny.config.write_bytes(text if isinstance(text, bytes) else text.encode())
    for command in ("pairs", "run"):
        line = error_line(invoke(command, tiny.config, code=2))
        assert line.startswith(f"Error: {tiny.config}: ")
    assert not tiny.out.exists()
    new = tiny.config.with_name("new.yaml")
    code = 1 if fault == "no UTF-8" else 2
    text = invoke("init", new, "--from", tiny.config, code=code)
    assert str(tiny.config) in error_line(text)
    assert not new.exists()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"donors": {"where": {"OBJECT": {"a": 1}}}},
            "where: OBJECT: a range is",
        ),
        ({"outdir": "a\0b"}, "mimic.outdir = 'a\\x00b': must be a path, and hold no"),
        ({"n_mimics": 10**30}, "n_mimics = 1000000000000000000000000000000: must be"),
        ({"match": {"airmass": float("nan")}}, "mimic.match.airmass = nan: must be"),
    ],
)
def test_values_that_cannot_be(tiny, changes, words):
    tiny.config.write_text(
        yaml.safe_dump(settings(tiny.store, tiny.out, **changes), allow_unicode=True)
        if "donors" not in changes
        else yaml.safe_dump({"mimic": changes})
    )
    for command in ("pairs", "run"):
        assert words in error_line(invoke(command, tiny.config, code=2))


def test_configuration_is_a_folder(tiny, tmp_path):
    (tmp_path / "folder.yaml").mkdir()
    for command in ("pairs", "run"):
        text = invoke(command, tmp_path / "folder.yaml", code=2)
        assert "folder.yaml' is a directory" in text
    text = invoke("init", tmp_path / "new.yaml", "--from", tmp_path, code=2)
    assert "is a directory" in text
    assert "is a directory" in invoke("init", tmp_path, code=2)


@pytest.mark.parametrize(
    ("content", "code", "words"),
    [
        (None, 1, "No such file"),
        (b"", 2, "needs one OBS_ID a line"),
        (b"\xff\xfe\x00\x01", 2, "needs one OBS_ID a line"),
        (b"a\nb\n", 2, "needs one OBS_ID a line"),
        (b"3.7\n", 2, "needs one OBS_ID a line"),
        (b"3\n77\n", 2, "runs 77 are not in its data store"),
    ],
)
def test_broken_obs_file(tiny, tmp_path, content, code, words):
    path = tmp_path / "off.txt"
    if content is not None:
        path.write_bytes(content)
    changes = settings(tiny.store, tiny.out)
    changes["mimic"]["donors"] = {"obs_file": str(path)}
    tiny.config.write_text(yaml.safe_dump(changes))
    for command in ("pairs", "run"):
        line = error_line(invoke(command, tiny.config, code=code))
        assert words in line
        assert "off.txt" in line or "runs 77" in line


def test_broken_region_file(tiny, tmp_path):
    """A source that is missed would stay in the field of the donors."""
    (tmp_path / "away.reg").write_text("icrs\ncircle(83.6,22.0,0.3)\ncircle(83.6,2")
    match = {"keep_away": [str(tmp_path / "away.reg")]}
    content = settings(tiny.store, tiny.out, match=match)
    tiny.config.write_text(yaml.safe_dump(content))
    for command in ("pairs", "run"):
        line = error_line(invoke(command, tiny.config, code=2))
        assert "away.reg" in line
    assert not tiny.out.exists()


def test_broken_catalog(tiny, tmp_path, monkeypatch):
    """Told once, before anything is made."""
    folder = tmp_path / "data" / "catalogs" / "gammacat"
    folder.mkdir(parents=True)
    (folder / "gammacat.fits.gz").write_bytes(b"hello")
    monkeypatch.setenv("GAMMAPY_DATA", str(tmp_path / "data"))
    content = settings(tiny.store, tiny.out, scramble={"catalogs": ["gamma-cat"]})
    tiny.config.write_text(yaml.safe_dump(content))
    line = error_line(invoke("run", tiny.config, code=1))
    assert f"catalog 'gamma-cat' in GAMMAPY_DATA = {tmp_path / 'data'}" in line
    assert not tiny.out.exists()


# --- places that are none ------------------------------------------------------------


def test_outdir_that_is_none(tiny):
    """A link that leads nowhere, a loop, and a file on the way."""
    for target, words in (
        ("nowhere", "is a link that leads nowhere"),
        ("out", "is a link that leads nowhere"),
    ):
        tiny.out.unlink(missing_ok=True)
        tiny.out.symlink_to(target)
        line = error_line(invoke("run", tiny.config, code=1))
        assert f"{tiny.out} {words}" in line
        assert os.readlink(tiny.out) == target
    tiny.out.unlink()
    content = settings(tiny.store, tiny.config / "out")
    path = tiny.config.with_name("other.yaml")
    path.write_text(yaml.safe_dump(content))
    assert str(tiny.config) in error_line(invoke("run", path, code=1))


@pytest.mark.parametrize("name", ["mimic_000", ".campaign", ".campaign/mimic_000"])
@pytest.mark.parametrize("what", ["a file", "a loop"])
def test_part_of_the_outdir_that_is_none(made, name, what):
    path = made.out / name
    shutil.rmtree(path)
    if what == "a file":
        path.write_text("mine")
    else:
        path.symlink_to(path.name)
    before = everything(made.out)
    line = error_line(invoke("run", made.config, code=1))
    assert str(path) in line
    assert ("is not a folder" if what == "a file" else "leads nowhere") in line
    assert everything(made.out) == before
    invoke("check", made.out, code=1)


@pytest.mark.parametrize("command", ["check", "report"])
def test_folder_that_is_none(tmp_path, command):
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    for name in ("nowhere", "file", "loop"):
        text = invoke(command, tmp_path / name, code=2)
        assert name in error_line(text)


def test_places_of_pairs_and_init(tiny, tmp_path):
    nowhere = tmp_path / "nowhere"
    for option, name in (("--write", "p.ecsv"), ("--plot", "p.png")):
        text = invoke("pairs", tiny.config, option, nowhere / name, code=1)
        assert str(nowhere / name) in error_line(text)
    text = invoke("pairs", tiny.config, "--plot", tmp_path / "p.xyz", code=1)
    assert "xyz" in error_line(text)
    text = invoke("init", nowhere / "c.yaml", code=1)
    assert str(nowhere / "c.yaml") in error_line(text)
    assert {path.name for path in tmp_path.iterdir()} == {"raw", "config.yaml"}


def test_places_of_the_demo(tiny):
    options = ("--datastore", tiny.store, "--targets", 1, "--donors", 3)
    tiny.out.write_text("mine")
    text = invoke("demo", "--out", tiny.out, *options, code=1)
    assert str(tiny.out) in error_line(text)
    assert tiny.out.read_text() == "mine"
    tiny.out.unlink()
    (tiny.out / "mimics").mkdir(parents=True)
    (tiny.out / "mimics" / "hdu-index.fits.gz").write_text("mine")
    text = invoke("demo", "--out", tiny.out, *options, code=1)
    assert "use overwrite" in error_line(text)
    assert contents(tiny.out) == {"mimics/hdu-index.fits.gz": b"mine"}


# --- the folder of a campaign ---------------------------------------------------------


def change_record(change):
    def damage(path):
        path.write_text(json.dumps(change(json.loads(path.read_text()))))

    return damage


def _without(key):
    return change_record(lambda record: {k: v for k, v in record.items() if k != key})


RECORDS = {
    "half": truncated,
    "no UTF-8": change_bytes(lambda _: b"\xff"),
    "a list": change_record(lambda record: [record]),
    "a text": change_record(lambda _: "record"),
    "nothing": change_record(lambda _: None),
    "deep": change_bytes(lambda _: b"[" * 100000),
    "another number": change_bytes(
        lambda text: text.replace(b'"donor": ', b'"donor": 1')
    ),
    "another place": change_record(lambda record: record | {"file": "../config.yaml"}),
    **{
        f"no {key}": _without(key)
        for key in (
            "fingerprint",
            "file",
            "size",
            "sha256",
            "inputs",
            "rows",
            "checksum",
        )
    },
}


@pytest.mark.parametrize("fault", RECORDS)
def test_record_that_is_none(tiny_reference, tmp_path, fault):
    path = shutil.copy(tiny_reference / ".campaign" / "mimic_000" / "1.json", tmp_path)
    assert read_record(Path(path))["donor"] == 3
    RECORDS[fault](Path(path))
    assert read_record(Path(path)) is None


def test_broken_record(made, tiny_reference):
    """Its mimic is made again, and nothing else."""
    RECORDS["no rows"](made.out / ".campaign" / "mimic_000" / "1.json")
    text = invoke("check", made.out, code=1)
    assert "RECORD There is no mimic, or no whole record of it" in text
    assert f"PASS {made.out}/mimic_000: 2 runs" in text
    assert "(1 made, 1 kept)" in invoke("run", made.config, code=0)
    assert contents(made.out) == contents(tiny_reference)
    invoke("check", made.out, code=0)


@pytest.mark.parametrize("name", [".campaign/mimic_000/1.json", "mimic_000/1.fits"])
def test_folder_in_the_place_of_a_file(made, tiny_reference, name):
    """This mimic fails, the others are made or kept."""
    as_folder(made.out / name)
    invoke("check", made.out, code=1)
    text = invoke("run", made.config, code=1)
    assert str(made.out / name) in line_about(text, "run 1 from donor 3 failed: ")
    assert "(0 made, 1 kept)" in text
    assert_nothing_half_written(made.out)
    (made.out / name).rmdir()
    assert "(1 made, 1 kept)" in invoke("run", made.config, code=0)
    assert contents(made.out) == contents(tiny_reference)


@pytest.mark.parametrize(
    "name",
    ["config.yaml", "provenance.yaml", "mimic_000/analysis.yaml"],
)
def test_folder_in_the_place_of_a_text(made, name):
    as_folder(made.out / name)
    before = everything(made.out / "mimic_000")
    line = error_line(invoke("run", made.config, code=1))
    assert str(made.out / name) in line
    assert ".tmp" not in line
    assert_nothing_half_written(made.out)
    after = everything(made.out / "mimic_000")
    assert after == before
    assert name in invoke("check", made.out, code=1)


def test_broken_configuration_of_a_campaign(made, tiny_reference):
    """Nobody knows how the mimics were made: they stay, or all are made again."""
    (made.out / "config.yaml").write_bytes(b"a: [1")
    before = everything(made.out)
    for command in (("run", made.config), ("run", made.config, "--only", 0)):
        line = error_line(invoke(*command, code=2))
        assert str(made.out / "config.yaml") in line
        assert "--overwrite" in line
    invoke("run", made.config, "--only", 0, "--overwrite", code=2)
    assert str(made.out / "config.yaml") in error_line(
        invoke("report", made.out, code=2)
    )
    assert "config.yaml" in invoke("check", made.out, code=1)
    assert everything(made.out) == before
    assert "(2 made, 0 kept)" in invoke("run", made.config, "--overwrite", code=0)
    assert contents(made.out) == contents(tiny_reference)
    assert "(0 made, 2 kept)" in invoke("run", made.config, code=0)


def _cut_rows(content):
    return b"".join(content.splitlines(keepends=True)[:-1])


# file, damage, what the report says of it
CAMPAIGN_FILES = {
    "pairs: missing": ("pairs.ecsv", lambda path: path.unlink(), "has no pairs.ecsv"),
    "pairs: half": ("pairs.ecsv", truncated, "cannot be read"),
    "pairs: empty": ("pairs.ecsv", change_bytes(lambda _: b""), "cannot be read"),
    "pairs: a word": (
        "pairs.ecsv",
        change_bytes(lambda _: b"config"),
        "cannot be read",
    ),
    "pairs: no UTF-8": ("pairs.ecsv", change_bytes(lambda _: b"\xff\n"), "cannot be"),
    "pairs: a row less": ("pairs.ecsv", change_bytes(_cut_rows), "it is not whole"),
    "pairs: another table": (
        "pairs.ecsv",
        change_bytes(lambda text: text.replace(b"TARGET_OBS_ID", b"OBS_ID")),
        "no column TARGET_OBS_ID",
    ),
    "provenance: half": ("provenance.yaml", truncated, "cannot be read"),
    "provenance: empty": (
        "provenance.yaml",
        change_bytes(lambda _: b""),
        "no made_with, mimic_sets",
    ),
    "provenance: a list": (
        "provenance.yaml",
        change_bytes(lambda _: b"[1]"),
        "must hold keys and values",
    ),
    "provenance: flat": (
        "provenance.yaml",
        change_bytes(lambda _: b"made_with: []\nmimic_sets: {a: [1]}\n"),
        "cannot be read",
    ),
    "mimic: missing": ("mimic_000/1.fits", lambda path: path.unlink(), "No such file"),
    "mimic: half": ("mimic_000/1.fits", truncated, "was changed after it was written"),
    "mimic: not FITS": (
        "mimic_000/1.fits",
        change_bytes(lambda _: b"hello"),
        "was changed after it was written",
    ),
    "mimic: another value": (
        "mimic_000/1.fits",
        one_value("RA", np.nan),
        "was changed after it was written",
    ),
    **{
        f"mimic set: {fault}": (f"mimic_000/{name}", damage, word)
        for fault, (name, damage, word) in INDEX_FAULTS.items()
        if fault in ("obs: missing", "obs: no rows", "hdu: truncated", "hdu: no rows")
    },
}


@pytest.mark.parametrize("fault", CAMPAIGN_FILES)
def test_broken_file_of_a_campaign(made, fault):
    """The check lists it, and the report says it at once."""
    name, damage, word = CAMPAIGN_FILES[fault]
    damage(made.out / name)
    before = everything(made.out)
    line = error_line(invoke("report", made.out, code=1))
    assert Path(name).name in line
    assert word in line
    assert Path(name).name in invoke("check", made.out, code=1)
    assert everything(made.out) == before


def test_run_mends_broken_files(made, tiny_reference):
    for fault in (
        "provenance: half",
        "mimic: half",
        "mimic set: obs: no rows",
    ):
        name, damage, _ = CAMPAIGN_FILES[fault]
        damage(made.out / name)
    assert "(1 made, 1 kept)" in invoke("run", made.config, code=0)
    assert contents(made.out) == contents(tiny_reference)
    invoke("check", made.out, code=0)


def test_broken_pairs_are_not_made_again_in_silence(made, tiny_reference):
    name, damage, _ = CAMPAIGN_FILES["pairs: half"]
    damage(made.out / name)
    assert "--rematch" in error_line(invoke("run", made.config, code=2))
    invoke("run", made.config, "--rematch", code=0)
    assert contents(made.out) == contents(tiny_reference)


def test_check_goes_on_with_the_rest(tiny_store, tmp_path, monkeypatch):
    """All findings at once, of three mimic sets."""
    campaign = campaign_in(tmp_path, tiny_store, targets=[1], n_mimics=3)
    invoke("run", campaign.config, code=0)
    assert invoke("check", campaign.out, code=0).count("PASS") == 3
    (campaign.out / "provenance.yaml").write_text("a: [")
    (campaign.out / "rejected.ecsv").unlink()
    (campaign.out / "mimic_000" / "analysis.yaml").write_text("- 1")
    truncated(campaign.out / "mimic_000" / "1.fits")
    shutil.rmtree(campaign.out / "mimic_001")
    (campaign.out / "mimic_001").write_text("mine")
    (campaign.out / "mimic_002" / ".1.fits.1-0123abcd.tmp").touch()
    (campaign.out / "mimic_002" / "x.fits").symlink_to("x.fits")
    text = invoke("check", campaign.out, code=1)
    assert f"FAIL {campaign.out}: campaign, 5 errors, 1 warnings" in text
    for words in (
        "provenance.yaml cannot be read",
        "rejected.ecsv",
        "mimic_000/analysis.yaml: must hold keys and values",
        "1.fits is missing or was changed after it was written",
        "The mimic set is missing",
        "Left by a process that was killed",
    ):
        assert words in text
    assert f"FAIL {campaign.out}/mimic_000: 1 runs" in text
    assert f"PASS {campaign.out}/mimic_002: 1 runs, 0 errors, 1 warnings" in text
    # processes are started once for all sets: each reads astropy's table of the
    # Earth's rotation, which takes as long as forty mimics
    pools = []
    for module in ("campaign.processes", "checks.store"):
        monkeypatch.setattr(
            f"gammapy_mimic.{module}.ProcessPoolExecutor",
            lambda *args, **kwargs: (
                pools.append(args) or ProcessPoolExecutor(*args, **kwargs)
            ),
        )
    assert invoke("check", "-j", 2, campaign.out, code=1) == text
    assert len(pools) == 1


def test_report_without_counts(made):
    """Runs that are too short for any statement: the report says so."""
    invoke("report", made.out, code=0)
    text = (made.out / "report.html").read_text()
    assert "0 of 2 runs have counts and a predicted background of more than 5" in text


def test_report_of_unreadable_donors(tiny):
    """Found out before the long work."""
    invoke("run", tiny.config, code=0)
    truncated(tiny.file(3))
    assert "run_3.fits is broken" in error_line(invoke("report", tiny.out, code=1))
    shutil.rmtree(tiny.store)
    assert "does not exist" in error_line(invoke("report", tiny.out, code=1))


@pytest.mark.parametrize(
    ("name", "words"),
    [("figures", "figures is not a folder"), ("report.html", "report.html exists")],
)
def test_place_of_the_report(made, name, words):
    (made.out / name).write_text("mine")
    assert words in error_line(invoke("report", made.out, code=1))
    assert (made.out / name).read_text() == "mine"


def test_headers_of_the_check_are_those_of_the_files(tiny):
    """A file with the OBS_ID of another run is not used."""
    keyword("EVENTS", "OBS_ID", 4)(tiny.file(3))
    assert "OBS_ID is 4, in the index it is 3" in invoke("check", tiny.store, code=1)
    text = invoke("run", tiny.config, code=1)
    assert "which the index names for it, says OBS_ID = 4" in text
