"""What is read from disk is data, never a program."""

import ast
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import yaml
from helpers.faults import call, change_bytes, settings

import gammapy_mimic
from gammapy_mimic import AnnulusScrambler, MimicAnalysis, MimicCampaign
from gammapy_mimic.config import MimicAnalysisConfig, template
from gammapy_mimic.io.ecsv import read_ecsv
from gammapy_mimic.sources import catalogs
from gammapy_mimic.validation import BackgroundSystematic

PACKAGE = Path(gammapy_mimic.__file__).parent

TAGS = (
    "!!python/object/apply:os.mkdir ['{}']",
    "!!python/object/new:os.mkdir ['{}']",
    "!!python/object/apply:subprocess.check_call [[mkdir, '{}']]",
    "!!python/object/apply:builtins.exec ['import os; os.mkdir(\"{}\")']",
)


class _Program:
    """What makes a folder when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.fixture
def marker(tmp_path):
    """Folder that a payload would make."""
    path = tmp_path / "made_by_payload"
    yield path
    assert not path.exists()


def pickled(marker):
    return pickle.dumps(_Program(marker))


def tagged(marker, number=0):
    return TAGS[number].format(marker)


def test_payloads_work(tmp_path):
    """Negative control: read by those who execute them, all make the folder."""
    for number in range(len(TAGS)):
        path = tmp_path / str(number)
        yaml.unsafe_load(f"key: {tagged(path, number)}")
        assert path.is_dir()
    pickle.loads(pickled(tmp_path / "pickle"))  # noqa: S301
    assert (tmp_path / "pickle").is_dir()


# --- YAML --------------------------------------------------------------------------


@pytest.mark.parametrize("number", range(len(TAGS)))
@pytest.mark.parametrize("key", ["mimic", "observations", "unknown", "metadata"])
def test_configuration(tiny, marker, key, number):
    text = f"{key}: {tagged(marker, number)}\n"
    tiny.config.write_text(text)
    for command in ("pairs", "run"):
        code, said = call(command, tiny.config)
        assert code == 2
        assert str(tiny.config) in said
    assert call("init", tiny.config.with_name("new"), "--from", tiny.config)[0] == 2
    for entry in (
        lambda: MimicAnalysis(tiny.config),
        lambda: MimicCampaign.from_yaml(tiny.config),
        lambda: MimicAnalysisConfig.from_yaml(text),
        lambda: MimicAnalysisConfig().update(text),
        lambda: template(text),
    ):
        with pytest.raises(ValueError, match="is not valid YAML"):
            entry()


@pytest.mark.parametrize(
    ("name", "commands"),
    [
        ("config.yaml", ("run", "check", "report")),
        ("provenance.yaml", ("check", "report")),
        ("mimic_000/analysis.yaml", ("check",)),
    ],
)
def test_files_of_a_campaign(made, marker, name, commands):
    (made.out / name).write_text(f"mimic: {tagged(marker)}\n")
    for command in commands:
        code, said = call(command, made.config if command == "run" else made.out)
        assert code in (1, 2)
        assert Path(name).name in said


def test_gammapy_reads_safely(tmp_path, marker):
    """The analysis files are written for it, too."""
    from gammapy.analysis import AnalysisConfig
    from gammapy.utils.scripts import read_yaml

    path = tmp_path / "analysis.yaml"
    path.write_text(f"general: {tagged(marker)}\n")
    for read in (AnalysisConfig.read, read_yaml):
        with pytest.raises(yaml.YAMLError):
            read(path)
    with pytest.raises(yaml.YAMLError):
        AnalysisConfig.from_yaml(path.read_text())


# --- tables ------------------------------------------------------------------------


def ecsv(meta):
    """Table whose metadata are this YAML."""
    lines = ["%ECSV 1.0", "---", "datatype:", "- {name: a, datatype: int64}", meta]
    return "".join(f"# {line}\n" for line in lines) + "a\n1\n"


METAS = {
    "a Python tag": lambda marker: f"meta: {tagged(marker)}",
    "a Python tag deeper": lambda marker: f"meta: {{b: [{tagged(marker)}]}}",
    "a class": lambda marker: (
        "meta: {__serialized_columns__: {a: !astropy.table.SerializedColumn "
        f"{{__class__: os.mkdir, path: '{marker}'}}}}}}"
    ),
    "another class": lambda marker: (
        "meta: {__serialized_columns__: {a: {__class__: subprocess.Popen, "
        f"args: [mkdir, '{marker}']}}}}}}"
    ),
}


@pytest.mark.parametrize("name", METAS)
def test_tables(made, marker, name):
    text = ecsv(METAS[name](marker))
    for file in ("pairs.ecsv", "rejected.ecsv", "systematic.ecsv"):
        (made.out / file).write_text(text)
        with pytest.raises(ValueError, match=file):
            read_ecsv(made.out / file)
    with pytest.raises(ValueError, match=r"systematic\.ecsv"):
        BackgroundSystematic.read(made.out / "systematic.ecsv")
    for command in ("check", "report"):
        code, said = call(command, made.out)
        assert code == 1
        assert "pairs.ecsv" in said


def test_tables_of_others_are_read(tmp_path):
    """Negative control: without the payload it is a table."""
    (tmp_path / "a.ecsv").write_text(ecsv("meta: {b: [1]}"))
    assert read_ecsv(tmp_path / "a.ecsv").meta == {"b": [1]}


# --- pickles -----------------------------------------------------------------------


PICKLES = {
    "raw/run_3.fits": ("run",),
    "raw/obs-index.fits.gz": ("pairs", "run"),
    "raw/hdu-index.fits.gz": ("pairs", "run"),
    "config.yaml": ("pairs", "run"),
    "out/config.yaml": ("check", "report", "run"),
    "out/pairs.ecsv": ("check", "report"),
    "out/rejected.ecsv": ("check",),
    "out/provenance.yaml": ("check", "report"),
    "out/.campaign/mimic_000/1.json": ("check", "run"),
    "out/mimic_000/1.fits": ("check", "report"),
    "out/mimic_000/analysis.yaml": ("check",),
    "out/mimic_000/hdu-index.fits.gz": ("check",),
}
"""Files, and the commands that read them."""


@pytest.mark.parametrize("name", PICKLES)
def test_pickle_in_the_place_of_a_file(made, marker, name):
    change_bytes(lambda _: pickled(marker))(made.config.parent / name)
    for command in PICKLES[name]:
        place = made.config if command in ("pairs", "run") else made.out
        # a record is made again, and that is all
        assert call(command, place)[0] in ((0, 1) if ".json" in name else (1, 2))


@pytest.mark.parametrize("suffix", [".txt", ".pkl", ".npy", ".npz", ".reg", ".ecsv"])
def test_pickle_as_input(tiny, marker, suffix):
    """An array of objects is a pickle, too."""
    path = tiny.config.with_name(f"input{suffix}")
    path.write_bytes(pickled(marker))
    if suffix == ".npy":
        np.save(path, np.array([_Program(marker)]), allow_pickle=True)
    if suffix == ".npz":
        np.savez(path, a=np.array([_Program(marker)]))
    for donors in ({"obs_file": str(path)}, {"datastore": str(path)}):
        content = settings(tiny.store, tiny.out)
        content["mimic"]["donors"] = donors
        tiny.config.write_text(yaml.safe_dump(content))
        for command in ("pairs", "run"):
            assert call(command, tiny.config)[0] in (1, 2)
    for command in ("pairs", "run"):
        assert call(command, path)[0] == 2
    with pytest.raises((TypeError, ValueError)):
        AnnulusScrambler(path)


@pytest.mark.parametrize("name", ["gammacat.fits.gz", "gammacat.pkl"])
def test_pickle_among_catalogs(tmp_path, monkeypatch, marker, name):
    folder = tmp_path / "catalogs" / "gammacat"
    folder.mkdir(parents=True)
    (folder / name).write_bytes(pickled(marker))
    monkeypatch.setenv("GAMMAPY_DATA", str(tmp_path))
    with pytest.raises((ValueError, FileNotFoundError), match="gamma"):
        catalogs.read("gamma-cat")


# --- the package itself ------------------------------------------------------------

MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
CALLS = {"eval", "exec", "compile", "__import__"}
UNSAFE = {
    ("yaml", name)
    for name in ("unsafe_load", "full_load", "Loader", "UnsafeLoader", "FullLoader")
} | {(module, name) for module in ("np", "numpy") for name in ("load", "fromregex")}
"""Of these, numpy.load is safe where it is told so."""


def executing(path):
    """What in a file would execute what it reads, as far as names tell."""
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    safe = {
        id(node.func)
        for node in nodes
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) == "np.load"
        and "allow_pickle=False" in map(ast.unparse, node.keywords)
    }
    for node in nodes:
        if id(node) in safe:
            continue
        if isinstance(node, ast.Import):
            yield from MODULES & {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield from MODULES & {node.module.split(".")[0]}
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            yield from CALLS & {node.func.id}
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            yield from UNSAFE & {(node.value.id, node.attr)}


def loaders(path):
    """Loaders of ``yaml.load``; None where it has none."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        is_load = isinstance(node, ast.Call) and ast.unparse(node.func) == "yaml.load"
        if is_load:
            given = {keyword.arg: keyword.value for keyword in node.keywords}
            yield ast.unparse(given["Loader"]) if "Loader" in given else None


def test_nothing_executes_what_it_reads():
    files = sorted(PACKAGE.rglob("*.py"))
    assert len(files) > 50
    assert {
        path.name: set(executing(path)) for path in files if set(executing(path))
    } == {}


def test_loaders_are_safe():
    from gammapy_mimic.config import checking

    used = [loader for path in PACKAGE.rglob("*.py") for loader in loaders(path)]
    assert used == ["_UniqueKeyLoader"]
    assert issubclass(checking._UniqueKeyLoader, yaml.SafeLoader)


@pytest.mark.parametrize(
    "text",
    [
        "import pickle",
        "from joblib import load",
        "eval('1')",
        "import yaml\nyaml.unsafe_load('')",
        "import yaml\nyaml.load('', Loader=yaml.Loader)",
        "import numpy as np\nnp.load('a')",
    ],
)
def test_they_would_be_seen(tmp_path, text):
    """Negative control."""
    (tmp_path / "a.py").write_text(text)
    assert set(executing(tmp_path / "a.py"))
