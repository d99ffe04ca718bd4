"""JSON schema of the YAML file, for editors and other programs."""

import inspect
import re
from typing import Any

from astropy import units as u
from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema

from gammapy_mimic.config.models import MimicAnalysisConfig

__all__ = ["json_schema"]


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
        """Describe a section and its keys in one line each."""
        made = super().model_schema(schema)
        for key in made.get("properties", {}).values():
            if "description" in key:
                key["description"] = _plain(key["description"])
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


def _plain(text):
    """Text without the markup of docstrings, in one line."""
    text = re.sub(r"``([^`]*)``", r"\1", text)
    text = re.sub(r"`~?(?:[\w.]*\.)?(\w+)`", r"\1", text)
    return " ".join(text.split())
