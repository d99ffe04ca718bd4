"""How the package is built: sizes, annotations, one home for each fact."""

import ast
import inspect
from importlib import import_module
from pathlib import Path

import pytest

import gammapy_mimic

PACKAGE = Path(gammapy_mimic.__file__).parent
API = Path(__file__).parents[1] / "docs" / "api" / "index.md"

MAX_MODULE = 400
MAX_CLASS = 250


def lengths():
    """Number of lines of each module, and of each class, by its name."""
    for path in PACKAGE.rglob("*.py"):
        name, text = path.relative_to(PACKAGE).as_posix(), path.read_text()
        yield name, len(text.splitlines()), MAX_MODULE
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ClassDef):
                length = node.end_lineno - node.lineno + 1
                yield f"{name} {node.name}", length, MAX_CLASS


def test_nothing_is_too_long():
    long = {name: n for name, n, most in lengths() if n > most}
    assert not long


def public_names():
    """Names in the list of the public API, relative to the package."""
    names = [line.strip() for line in API.read_text().splitlines()]
    known = set(gammapy_mimic.__all__)
    listed = [
        name
        for name in names
        if name in known or (name.isidentifier() is False and is_path(name))
    ]
    assert known - {"__version__"} <= set(listed)
    return listed


def is_path(name):
    parts = name.split(".")
    return len(parts) == 2 and all(part.isidentifier() for part in parts)


def functions(name):
    """Public functions of a public name: itself, or the methods of a class."""
    module, _, last = name.rpartition(".")
    package = import_module(f"gammapy_mimic.{module}") if module else gammapy_mimic
    thing = getattr(package, last)
    if inspect.isfunction(thing):
        return {name: thing}
    if not inspect.isclass(thing):
        return {}
    found = {}
    for key, value in vars(thing).items():
        value = getattr(value, "__func__", value)
        value = value.fget if isinstance(value, property) else value
        is_own = inspect.isfunction(value) and value.__module__ == thing.__module__
        # dataclasses annotate their own __init__
        if is_own and (not key.startswith("_") or key == "__init__"):
            found[f"{name}.{key}"] = value
    return found


def lacking_annotations(function):
    signature = inspect.signature(function)
    lacking = [
        parameter.name
        for parameter in signature.parameters.values()
        if parameter.annotation is parameter.empty
        and parameter.name not in ("self", "cls")
    ]
    # a generated __init__ has None
    if signature.return_annotation is signature.empty:
        lacking.append("return")
    return lacking


@pytest.mark.parametrize("name", public_names())
def test_public_functions_are_annotated(name):
    lacking = {key: lacking_annotations(f) for key, f in functions(name).items()}
    assert not {key: value for key, value in lacking.items() if value}


def test_types_are_for_users_too():
    assert (PACKAGE / "py.typed").is_file()


def test_lacking_annotations_are_seen():
    """Negative control."""

    def function(one: int, two):
        return one + two

    assert lacking_annotations(function) == ["two", "return"]


@pytest.mark.parametrize("fact", ['"hdu-index.fits.gz"', '"obs-index.fits.gz"'])
def test_a_fact_has_one_home(fact):
    homes = [path for path in PACKAGE.rglob("*.py") if f"= {fact}" in path.read_text()]
    assert homes == [PACKAGE / "io" / "gadf.py"]
