"""Files besides the runs that a campaign is made from."""

from pathlib import Path

from gammapy_mimic.campaign.records import checksum
from gammapy_mimic.config import expand
from gammapy_mimic.sources.catalogs import catalog_files
from gammapy_mimic.sources.known import available_catalogs

__all__ = ["other_files", "source_files"]


def source_files(settings):
    """Find the files that say where known sources are: they change the mimics.

    Parameters
    ----------
    settings : `~gammapy_mimic.config.MimicConfig`
        Section ``mimic:``.

    Returns
    -------
    checksums : dict of str to str
        SHA-256 for each catalog and region file; None for a file that is missing.
    """
    scramble = settings.scramble
    if scramble is None:
        return {}
    tags = available_catalogs(scramble.catalogs)
    catalogs = {
        f"catalogs/{name}": path
        for tag in tags
        for name, path in catalog_files(tag).items()
    }
    return _checksums(catalogs | _named(scramble, "mimic.scramble"))


def other_files(config):
    """Find the files that change pairs and analyses, but not the mimics.

    Parameters
    ----------
    config : `~gammapy_mimic.config.MimicAnalysisConfig`
        Configuration.

    Returns
    -------
    checksums : dict of str to str
        SHA-256 for each file that is there.
    """
    config = config.located()
    general, background = config.general, config.datasets.background
    paths = {
        "general.models_file": general.models_file,
        "datasets.background.exclusion": background.exclusion,
        "observations.obs_file": config.observations.obs_file,
        "mimic.donors.obs_file": config.mimic.donors.obs_file,
    }
    paths |= {
        f"mimic.match.keep_away/{name}": name
        for name in config.mimic.match.keep_away
        if Path(name).suffix
    }
    given = {key: expand(it, key) for key, it in paths.items() if it is not None}
    return {key: it for key, it in _checksums(given).items() if it is not None}


def _named(model, key):
    """Paths among the settings of a section."""
    values = {
        f"{key}.{name}": getattr(model, name) for name in type(model).model_fields
    }
    return {
        name: expand(value, name)
        for name, value in values.items()
        if isinstance(value, Path)
    }


def _checksums(paths):
    return {name: checksum(it) if it.is_file() else None for name, it in paths.items()}
