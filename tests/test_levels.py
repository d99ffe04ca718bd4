"""An import points only to the same or a lower level."""

import ast
from pathlib import Path

import gammapy_mimic

PACKAGE = Path(gammapy_mimic.__file__).parent

LEVELS = {
    "astrometry": 0,
    "camera": 0,
    "cards": 0,
    "geometry": 0,
    "headers": 0,
    "tables": 0,
    "sampling": 0,
    "compat": 0,
    "ecsv": 0,
    "files": 0,
    "gadf": 0,
    "output": 0,
    "acceptance": 1,
    "background": 1,
    "catalogs": 1,
    "events": 1,
    "matching": 1,
    "model_acceptance": 1,
    "polar_field": 1,
    "provenance": 1,
    "residuals": 1,
    "run": 1,
    "sources": 1,
    "times": 1,
    "mimic": 2,
    "scramble": 2,
    "writer": 3,
    "checks": 3,
    "validation": 3,
    "simulation": 3,
    "config": 4,
    "plotting": 4,
    "campaign": 5,
    "demo": 5,
    "location_faker": 5,
    "analysis": 6,
    "report": 6,
    "cli": 6,
    "workflow": 6,
}


def test_every_module_has_a_level():
    names = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py"}
    names |= {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert names - {"__init__"} == set(LEVELS)


def imported_modules(path):
    """Modules of the package that a file imports, wherever in the file."""
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
        module = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if module == "__init__":
            continue
        for other in imported_modules(path):
            if LEVELS.get(other, 0) > LEVELS[module]:
                upward.append(f"{module} imports {other}")
    assert not upward


def test_imports_are_seen(tmp_path):
    """Negative control: an upward import would be found."""
    path = tmp_path / "geometry.py"
    path.write_text("def f():\n    from gammapy_mimic import mimic\n")
    assert list(imported_modules(path)) == ["mimic"]
    assert LEVELS["mimic"] > LEVELS["geometry"]
