"""An import points only to the same or a lower level."""

import ast
from pathlib import Path

import gammapy_mimic

PACKAGE = Path(gammapy_mimic.__file__).parent

LEVELS = {
    # what all others stand on
    "io": 0,
    "sky": 0,
    # a run
    "data": 1,
    "sources": 2,
    "checks": 2,
    # what is done with runs
    "scramble": 3,
    "mimic": 3,
    "matching": 3,
    "writer": 3,
    "simulation": 3,
    # what is learnt from them
    "validation": 4,
    # many runs
    "config": 5,
    "campaign": 5,
    "analysis": 5,
    # what users call
    "report": 6,
    "__main__": 6,
    "cli": 6,
    "demo": 6,
    "location_faker": 6,
    "plotting": 6,
    "workflow": 6,
}


def test_every_folder_has_a_level():
    names = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py"}
    names |= {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert names - {"__init__"} == set(LEVELS)


def imported_modules(path):
    """Folders of the package that a file imports from, wherever in the file."""
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            names = [node.module]
            if node.module == "gammapy_mimic":
                names += [f"gammapy_mimic.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            if name.startswith("gammapy_mimic."):
                yield name.split(".")[1]


def test_imports_point_down():
    upward = []
    for path in PACKAGE.rglob("*.py"):
        folder = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if folder == "__init__":
            continue
        for other in imported_modules(path):
            if LEVELS.get(other, 0) > LEVELS[folder]:
                upward.append(f"{path.relative_to(PACKAGE)} imports {other}")
    assert not upward


def test_imports_are_seen(tmp_path):
    """Negative control: an upward import would be found."""
    path = tmp_path / "geometry.py"
    path.write_text("def f():\n    from gammapy_mimic import mimic\n")
    assert list(imported_modules(path)) == ["mimic"]
    assert LEVELS["mimic"] > LEVELS["sky"]
