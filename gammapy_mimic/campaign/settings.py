"""``config.yaml``: the configuration that a campaign's folder was made with."""

import os

import yaml

from gammapy_mimic.config import MimicAnalysisConfig

__all__ = ["compare_settings", "is_analysis", "is_settings_file", "settings_text"]

# settings that change nothing in what is made
_FREE = (
    "mimic.outdir",
    "mimic.relative_to",
    "mimic.analyse",
    "mimic.acknowledgement",
    "general.log",
    "general.n_jobs",
)


def settings_text(config, folder):
    """Write a configuration with all its settings, as YAML for a folder."""
    settings = config.to_dict()
    if config.located().to_dict() != settings:
        settings["mimic"]["relative_to"] = _path_from(folder, config.folder)
    return yaml.safe_dump(settings, sort_keys=False, indent=4)


def _path_from(folder, path):
    try:
        return os.path.relpath(path, folder)
    except ValueError:  # on another drive
        return str(path)


def is_settings_file(path):
    """Whether a file is just as `settings_text` writes it: no user's."""
    try:
        text = path.read_text(encoding="utf-8")
        return text == settings_text(MimicAnalysisConfig.read(path), path.parent)
    except (OSError, ValueError):
        return False


def is_analysis(path):
    """Whether a file holds settings of an analysis, whoever wrote them."""
    try:
        MimicAnalysisConfig.read(path)
    except (OSError, ValueError):
        return False
    return True


def compare_settings(path, config):
    """Compare a configuration with the one in a file.

    Parameters
    ----------
    path : `~pathlib.Path`
        File.
    config : `~gammapy_mimic.config.MimicAnalysisConfig`
        Configuration.

    Returns
    -------
    differences : list of str
        A line for each key that differs and may change the result.

    Raises
    ------
    ConfigError
        If the file cannot be read.
    """
    old = MimicAnalysisConfig.read(path)
    there, now = (dict(_flat(it.to_dict(), "")) for it in (old, config))
    # one path can be written in several ways
    places = [dict(_flat(it.located().to_dict(), "")) for it in (old, config)]
    return [
        f"{key}: {there.get(key)!r} there, {now.get(key)!r} now"
        for key in dict.fromkeys([*there, *now])
        if there.get(key) != now.get(key)
        and places[0].get(key) != places[1].get(key)
        and not key.startswith(_FREE)
    ]


def _flat(settings, path):
    """Dotted keys and values of nested settings."""
    for key, value in settings.items():
        here = f"{path}.{key}".removeprefix(".")
        if isinstance(value, dict) and value:
            yield from _flat(value, here)
        else:
            yield here, value
