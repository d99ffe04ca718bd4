"""Write the page of all keys of the section ``mimic:``, from the models of the file."""

import re
import types
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from astropy import units as u
from pydantic import BaseModel

from gammapy_mimic.config import MimicConfig
from gammapy_mimic.config import types as own
from gammapy_mimic.config.paths import RawPath, RawPaths

HEAD = """\
# All keys of the YAML file

The file is an ordinary
[gammapy analysis file](https://docs.gammapy.org/2.1/user-guide/hli.html) with one more
section, `mimic:`. These are all keys of this section. `gammapy-mimic init` writes a
file with comments. An unknown key or a missing unit is an error that names the key and
says what to write. What each step does is in the [user guide](guide/index.md).
"""

VALUES = {
    own.AnyAngle: "angle, such as `45 deg`",
    own.PositiveAngle: "angle above zero, such as `2.5 deg`",
    own.Duration: "time, such as `30 d`",
    own.Number: "number ≥ 0",
    own.Fraction: "number ≥ 0 or percentage",
    own.Epoch: "dates, such as `2019-10-01`",
    own.Location: "name, or mapping, or `null`",
    RawPath: "path",
    RawPaths: "path or list of paths",
    bool: "`true` or `false`",
    int: "integer",
    str: "text",
    dict[str, Any]: "mapping",
    Any: "path or mapping",
    type(None): "`null`",
}


def values(annotation):
    """Say in words what may stand for a key."""
    if annotation in VALUES:
        return VALUES[annotation]
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        # a type with checks of its own
        return values(arguments[0])
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in arguments)
    if origin in (Union, types.UnionType):
        return ", or ".join(values(member) for member in arguments)
    if origin is list:
        return f"list of {values(arguments[0])}"
    if issubclass(annotation, BaseModel):
        return "section"
    raise TypeError(f"{annotation}: has no words in docs/keys.py")


def default(field):
    """Write a default as it stands in a YAML file."""
    if field.is_required():
        return "none, has to be given"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, BaseModel):
        return ""
    if isinstance(value, u.Quantity):
        return f"`{value.value:g} {value.unit}`"
    if value is None or isinstance(value, bool):
        return f"`{str(value).lower().replace('none', 'null')}`"
    return f"`{value}`"


def nested(annotation):
    """Give the model of a key that is a section, or a list of such, or None."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(nested, get_args(annotation))), None)


def roles(text):
    """Turn a docstring into one line of Markdown whose references are links."""
    text = " ".join(text.split()).replace("``", "`")
    return re.sub(r"(?<!\w)`(~?gammapy_mimic[\w.]*)`", r"{py:obj}`\1`", text)


def sections(model, name):
    """Yield the lines of a section and of those in it."""
    yield f"\n({name})=\n## `{name}`\n\n{roles(model.__doc__)}\n"
    inner = {}
    for key, field in model.model_fields.items():
        full = f"{name}.{key}"
        if not field.description:
            raise TypeError(f"{full}: has no description, a docstring after the key")
        below = nested(field.annotation)
        if below is not None:
            inner[full] = below
            term = f"[`{key}`](#{full})"
        else:
            term = f"[`{key}`]{{#{full.replace('.', '-')}}}"
        facts = [values(field.rebuild_annotation())]
        # else the description says what none means
        if "Default:" not in field.description:
            facts += [f"default {default(field)}"] if default(field) else []
        yield f"{term}\n: *{'; '.join(facts)}*\n\n  {roles(field.description)}\n"
    for full, below in inner.items():
        yield from sections(below, full)


def write(path: Path) -> None:
    """Write the page."""
    lines = [HEAD, *sections(MimicConfig, "mimic")]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write(Path(__file__).parent / "keys.md")
