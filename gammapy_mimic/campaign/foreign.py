"""Folders in which a campaign does not work, as files of somebody else are there."""

import os
from pathlib import Path

import numpy as np

from gammapy_mimic.campaign.folder import STORE
from gammapy_mimic.campaign.settings import is_settings_file
from gammapy_mimic.config import ConfigError
from gammapy_mimic.io.gadf import HDU_INDEX, OBS_INDEX
from gammapy_mimic.writer.index import is_own_index

__all__ = ["refuse_foreign"]

_TEXTS = ("pairs.ecsv", "rejected.ecsv", "provenance.yaml", "provenance.json")
_ADVICE = "take another mimic.outdir, such as mimics"


def refuse_foreign(folder, source=None, *, stores=(), overwrite=False):
    """Raise an error for a folder with files that no campaign has written.

    Parameters
    ----------
    folder : `~gammapy_mimic.campaign.folder.CampaignFolder`
        Folder, not changed.
    source : `~pathlib.Path`, optional
        File from which the configuration was read. Default is None.
    stores : iterable of `~gammapy.data.DataStore`, optional
        Data stores of the inputs. Default is none.
    overwrite : bool, optional
        Whether everything is to be made again. Default is False.

    Raises
    ------
    ConfigError
        If files of the campaign would stand among files of somebody else, or replace
        them.
    """
    folder.check_folders()
    path, config = folder.path, folder.config_path
    own_places = [Path.cwd()] + ([] if source is None else [source.parent])
    if not folder.state.exists() and any(_is_same(path, it) for it in own_places):
        raise ConfigError([f"{path} is where your own files are: {_ADVICE}"])
    if not config.exists():
        names = sorted(it.name for it in path.glob("mimic_*"))
        foreign = [name for name in names if STORE.fullmatch(name)]
        if foreign:
            raise ConfigError(
                [
                    f"{path} has {foreign[0]}, but no config.yaml: it is not the "
                    f"folder of a campaign; {_ADVICE}"
                ]
            )
    _check_data_stores(path, stores)
    if config.exists() and not folder.files.has(config):
        _check_copy(path, config, overwrite)
        return
    for name in _TEXTS:
        folder.files.check(path / name)


def _check_data_stores(path, stores):
    """Raise an error for another data store in the place of a mimic set.

    It is there by a link, perhaps, or is that from which runs are read.
    """
    sets = [it for it in sorted(path.glob("mimic_*")) if STORE.fullmatch(it.name)]
    places = {Path(os.path.realpath(it)): it for it in sets}
    for store in stores:
        table = store.hdu_table
        for name in np.unique(np.char.strip(np.asarray(table["FILE_DIR"], dtype=str))):
            place = (Path(table.base_dir) / name).resolve()
            if place in places:
                raise ConfigError(
                    [f"runs are read from {places[place]}, a mimic set: {_ADVICE}"]
                )
    for index in (it / name for it in sets for name in (OBS_INDEX, HDU_INDEX)):
        if _is_foreign_index(index):
            raise ConfigError(
                [
                    f"{index} was not written by this package: {index.parent} is "
                    f"another data store; {_ADVICE}, or move it away"
                ]
            )


def _is_foreign_index(path):
    """Whether an index is whole, and that of somebody else; broken ones are mended."""
    try:
        return path.is_file() and not is_own_index(path)
    except ValueError:
        return False


def _check_copy(path, config, overwrite):
    """Raise an error for a configuration without a record, but that of a campaign."""
    if not is_settings_file(config):
        raise ConfigError([f"{config} was not written by a campaign: {_ADVICE}"])
    if overwrite:
        raise ConfigError(
            [
                f"{path} is the copy of a campaign's folder without its records "
                f"(.campaign): nothing there is overwritten; {_ADVICE}, or remove it "
                "yourself"
            ]
        )


def _is_same(path, other):
    return path.exists() and other.exists() and path.samefile(other)
