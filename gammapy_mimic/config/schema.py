"""JSON schema of the YAML file, for editors and other programs."""

import inspect
import re
import textwrap
from typing import Any

from astropy import units as u
from gammapy.analysis.config import GammapyBaseConfig
from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema

from gammapy_mimic.config.models import MimicAnalysisConfig
from gammapy_mimic.config.section import MatchConfig, MimicConfig, ScrambleConfig
from gammapy_mimic.matching import DonorMatcher
from gammapy_mimic.mimic.maker import MimicMaker
from gammapy_mimic.scramble.scrambler import AnnulusScrambler

__all__ = ["describe_keys", "json_schema"]

_ARGUMENTS_OF = {
    MatchConfig: DonorMatcher,
    MimicConfig: MimicMaker,
    ScrambleConfig: AnnulusScrambler,
}
"""Sections whose keys are arguments of a class, which describes them."""

# "name, name : type" and, indented below, what it is
_ENTRY = re.compile(r"^(\w[\w, ]*) : .*\n((?: {4}.*\n|\n)+)", re.MULTILINE)
# the same in a list: "* ``name=default``: what it is"
_ITEM = re.compile(r"^ *\* ``(\w+)=[^`]*``: ((?:.+\n)(?: +[^* ].*\n)*)", re.MULTILINE)


class _Schema(GenerateJsonSchema):
    """Schema with astropy's types as text, and with descriptions of all keys."""

    def is_instance_schema(self, schema):
        """Angles, quantities and times are written as text."""
        return {"type": "string"}

    def encode_default(self, dft):
        """Write a default as in the file."""
        if isinstance(dft, u.Quantity):
            return f"{dft.value:g} {dft.unit}"
        if isinstance(dft, BaseModel):
            return dft.model_dump(mode="json")
        return super().encode_default(dft)

    def model_schema(self, schema):
        """Describe the keys of a section."""
        made = super().model_schema(schema)
        described = describe_keys(schema["cls"])
        for name, key in made.get("properties", {}).items():
            if name in described:
                key.setdefault("description", described[name])
        first, *_ = (inspect.getdoc(schema["cls"]) or "").split("\n\n")
        made["description"] = _plain(first)
        return made


def json_schema() -> dict[str, Any]:
    """Make the JSON schema of a configuration file.

    Returns
    -------
    schema : dict
        Schema of what is read (pydantic's mode "validation"), of gammapy's sections
        and of ``mimic``, with descriptions and defaults.
    """
    schema = MimicAnalysisConfig.model_json_schema(
        mode="validation", schema_generator=_Schema
    )
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": "Configuration of gammapy_mimic",
    }


def describe_keys(section: type[GammapyBaseConfig]) -> dict[str, str]:
    """Describe the keys of a section.

    Parameters
    ----------
    section : type
        Pydantic model of the section.

    Returns
    -------
    descriptions : dict of str to str
        What each key is, as the model says it, or the class whose argument it is.
    """
    described: dict[str, str] = {}
    for source in (_ARGUMENTS_OF.get(section), section):
        text = f"{inspect.getdoc(source)}\n" if source is not None else ""
        for pattern in (_ITEM, _ENTRY):
            for names, body in pattern.findall(text):
                described |= dict.fromkeys(names.split(", "), _plain(body))
    if section in _ARGUMENTS_OF:
        described = {
            name: text
            for name, text in described.items()
            if not text.startswith("Arguments of")
        }
    return {key: it for key, it in described.items() if key in section.model_fields}


def _plain(text):
    """Text without the markup of docstrings, in one line."""
    text = re.sub(r"``([^`]*)``", r"\1", textwrap.dedent(text))
    text = re.sub(r"`~?(?:[\w.]*\.)?(\w+)`", r"\1", text)
    text = " ".join(text.split())
    return text[:1].upper() + text[1:]
