"""Checks of a configuration: one error lists all mistakes and how to fix them."""

import types
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

import yaml
from astropy.units import UnitsError
from pydantic import BaseModel, TypeAdapter, ValidationError

__all__ = ["ConfigError", "check_settings", "parse_yaml"]

ConfigT = TypeVar("ConfigT", bound=BaseModel)

# blocks that gammapy writes in addition to the settings
_NO_SETTINGS = ("metadata", "checksum")
# what PyYAML raises on values that are not what they look like, such as a month 13
_VALUE_ERRORS = (ValueError, TypeError, LookupError, AttributeError, RecursionError)


class ConfigError(ValueError):
    """Mistakes in a configuration.

    Parameters
    ----------
    problems : list of str
        One line for each mistake.
    """

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = list(problems)
        super().__init__("\n".join(self.problems))

    def __reduce__(self):
        return type(self), (self.problems,)


class _UniqueKeyLoader(yaml.SafeLoader):
    """Loader for which a duplicated key is an error, not an overwrite."""

    def construct_mapping(self, node, deep=False):
        """Construct a mapping after a look at its keys."""
        seen = {}
        for key, _ in node.value:
            if not isinstance(key.value, str):
                raise yaml.constructor.ConstructorError(
                    problem="a key is a list or a mapping",
                    problem_mark=key.start_mark,
                )
            line = seen.setdefault(key.value, key.start_mark.line + 1)
            if line != key.start_mark.line + 1:
                raise yaml.constructor.ConstructorError(
                    problem=f"{key.value!r} is duplicated, first in line {line}",
                    problem_mark=key.start_mark,
                )
        return super().construct_mapping(node, deep=deep)


def parse_yaml(text: str, name: str) -> dict[str, Any]:
    """Read the settings of a YAML text.

    Parameters
    ----------
    text : str
        YAML.
    name : str
        Name of the file, for messages.

    Returns
    -------
    settings : dict
        Settings; without the blocks that gammapy appends on writing.

    Raises
    ------
    ConfigError
        If the text is not valid YAML or not a mapping.
    """
    try:
        # a SafeLoader: it makes nothing but plain Python objects
        settings = yaml.load(text, Loader=_UniqueKeyLoader)  # noqa: S506
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f" line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or " ".join(str(error).split())
        raise ConfigError([f"{name}:{place} is not valid YAML: {problem}"]) from error
    except _VALUE_ERRORS as error:
        problem = f"{type(error).__name__}: {error}"
        raise ConfigError([f"{name}: a value cannot be read: {problem}"]) from error
    if settings is None:
        return {}
    if not isinstance(settings, dict):
        raise ConfigError(
            [f"{name}: must hold keys and values, not {type(settings).__name__}"]
        )
    return {key: value for key, value in settings.items() if key not in _NO_SETTINGS}


def check_settings(
    model: type[ConfigT], settings: dict[str, Any], name: str
) -> ConfigT:
    """Validate settings, and report all mistakes together.

    Pydantic alone would stop at the first angle without a unit, for which astropy
    raises errors that it does not collect.

    Parameters
    ----------
    model : type
        Pydantic model.
    settings : dict
        Settings.
    name : str
        Name of the file, for messages.

    Returns
    -------
    config : BaseModel
        Instance of the model.

    Raises
    ------
    ConfigError
        With one line for each mistake: file, dotted key, value and what to write.
    """
    problems = _problems(model, settings, (), model)
    if problems:
        raise ConfigError([f"{name}: {problem}" for problem in problems])
    return model(**settings)


def _problems(model, settings, path, root):
    """One line for each mistake in the settings of a model."""
    problems = list(_key_problems(model, settings, path, root))
    if problems:
        return problems
    # what concerns several keys, or keys that are missing
    try:
        model(**settings)
    except ValidationError as error:
        return list(_validation_problems(error, path))
    return []


def _key_problems(model, settings, path, root):
    """Mistakes in single keys."""
    fields = model.model_fields
    for key, value in settings.items():
        here = (*path, key)
        if key not in fields:
            yield f"{_dotted(here)}: unknown key{_hint(key, path, fields, root)}"
            continue
        nested, item = _models_in(fields[key].annotation)
        if nested is not None and isinstance(value, dict):
            yield from _problems(nested, value, here, root)
        elif (
            nested is not None
            and value is None
            and type(None) not in get_args(fields[key].annotation)
        ):
            # an empty section, such as "datasets:" with all its keys commented out
            yield f"{_dotted(here)}: the section is empty; remove it or fill it"
        elif item is not None and isinstance(value, list):
            for number, entry in enumerate(value):
                if isinstance(entry, dict):
                    yield from _problems(item, entry, (*here, number), root)
                else:
                    yield from _leaf_problems(item, entry, (*here, number))
        else:
            yield from _leaf_problems(fields[key].rebuild_annotation(), value, here)
    for key, field in fields.items():
        if field.is_required() and key not in settings:
            yield f"{_dotted((*path, key))}: is missing"


def _leaf_problems(annotation, value, path):
    try:
        TypeAdapter(annotation, config=_adapter_config(annotation)).validate_python(
            value
        )
    except (ValidationError, UnitsError, TypeError, ValueError) as error:
        advice = _unit_advice(annotation, value)
        if advice is None and isinstance(error, ValidationError):
            yield from _validation_problems(error, path)
        else:
            yield _line(path, value, advice or str(error))


def _adapter_config(annotation):
    """Permit gammapy's types; a model has a configuration of its own."""
    arguments = (annotation, *get_args(annotation))
    if any(
        isinstance(item, type) and issubclass(item, BaseModel) for item in arguments
    ):
        return None
    return {"arbitrary_types_allowed": True}


def _validation_problems(error, path):
    """Lines for what pydantic found; of a union only the first problem."""
    seen = set()
    for detail in error.errors():
        # without the names that pydantic gives to the members of a union
        location = [
            part
            for part in detail["loc"]
            if isinstance(part, int) or part.isidentifier()
        ]
        here = (*path, *location)
        if here in seen:
            continue
        seen.add(here)
        message = detail["msg"].removeprefix("Value error, ")
        message = message.replace("Input should be ", "must be ")
        if detail["type"] == "missing":
            yield f"{_dotted(here)}: is missing"
        else:
            yield _line(here, detail["input"], message)


def _line(path, value, message):
    if isinstance(value, dict | BaseModel):
        return f"{_dotted(path)}: {message}"
    return f"{_dotted(path)} = {value!r}: {message}"


def _dotted(path):
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.removeprefix(".")


def _unit_advice(annotation, value):
    """Say what to write for one of gammapy's own quantities."""
    described = str(annotation)
    unit = "deg" if "Angle" in described else "TeV" if "energy" in described else None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return f"needs a unit; write '{number:g} {unit}'" if unit else None


def _hint(key, path, fields, root):
    """Name the nearest valid key, here or in another section."""
    near = get_close_matches(str(key), list(fields), n=1)
    if near:
        return f"; did you mean {near[0]!r}?"
    elsewhere = [
        dotted for name, dotted in _all_keys(root, ()) if name == key and dotted
    ]
    if elsewhere:
        return f"; did you mean {elsewhere[0]!r}?"
    return f"; {_dotted(path) or 'the file'} has {', '.join(fields)}"


def _all_keys(model, path):
    # the section of this package first: it is what people are writing
    for name in sorted(model.model_fields, key=lambda name: name != "mimic"):
        field = model.model_fields[name]
        yield name, _dotted((*path, name))
        nested, _ = _models_in(field.annotation)
        if nested is not None:
            yield from _all_keys(nested, (*path, name))


def _models_in(annotation):
    """Model that an annotation stands for, and model of the items of a list."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation, None
    origin = get_origin(annotation)
    if origin is Annotated:
        return _models_in(get_args(annotation)[0])
    if origin in (Union, types.UnionType):
        for member in get_args(annotation):
            found = _models_in(member)
            if found != (None, None):
                return found
    if origin is list:
        return None, _models_in(get_args(annotation)[0])[0]
    return None, None
