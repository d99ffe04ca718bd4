"""``provenance.yaml``: versions, seeds, and checksums of what went in and came out."""

import platform
from importlib.metadata import version

import yaml

from gammapy_mimic import __version__
from gammapy_mimic.campaign.folder import checksum, read_record
from gammapy_mimic.io.output import write_text

__all__ = ["write_provenance"]

_LIBRARIES = ("gammapy", "astropy", "numpy", "regions", "scipy")
_DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def write_provenance(folder, config, stores):
    """Write the file, set by set.

    Parameters
    ----------
    folder : `~gammapy_mimic.campaign.folder.CampaignFolder`
        Folder of the campaign, with its records.
    config : `~gammapy_mimic.config.MimicAnalysisConfig`
        Configuration.
    stores : dict of str to `~gammapy.data.DataStore`
        Data stores of targets and donors.
    """
    with folder.provenance_lock():
        write_text(folder.path / "provenance.yaml", _pieces(folder, config, stores))


def _pieces(folder, config, stores):
    observations, donors = config.observations, config.mimic.donors
    paths = {
        "targets": observations.datastore,
        "donors": donors.datastore or observations.datastore,
    }
    yield _dump(
        {
            "program": f"gammapy_mimic {__version__}",
            "python": platform.python_version(),
            "libraries": {name: version(name) for name in _LIBRARIES},
            "random_state": config.mimic.random_state,
            "data_stores": {
                name: {"path": str(path), **_index_checksums(stores[name])}
                for name, path in paths.items()
            },
        }
    )
    inputs = {}
    yield "mimic_sets:\n"
    for mimic_set in range(config.mimic.n_mimics):
        runs = _runs(folder, mimic_set, inputs)
        if runs:
            yield _indented(_dump({folder.store_path(mimic_set).name: runs}))
    yield _dump({"inputs": dict(sorted(inputs.items()))})


def _runs(folder, mimic_set, inputs):
    """Entries of the mimics of a set; what they were made from goes into inputs."""
    runs = {}
    for obs_id, path in folder.records(mimic_set).items():
        record = read_record(path)
        if record is None:
            continue
        inputs |= record["inputs"]
        row = record["rows"]["obs"]
        runs[obs_id] = {
            "file": record["file"],
            "sha256": record["sha256"],
            "target": record["target"],
            "donor": record["donor"],
            "seed": row.get("MIM_SEED"),
            "spawn_key": row.get("MIM_SKEY"),
        }
    return runs


def _index_checksums(store):
    folder = store.hdu_table.base_dir
    names = sorted(path.name for path in folder.glob("*-index.fits*"))
    return {name: checksum(folder / name) for name in names}


def _dump(content):
    return yaml.dump(content, Dumper=_DUMPER, sort_keys=False)


def _indented(text):
    return "".join(f"  {line}" for line in text.splitlines(keepends=True))
