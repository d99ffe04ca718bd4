"""``provenance.yaml``: versions, seeds, and checksums of what went in and came out.

Beside it ``provenance.json`` says the same in PROV-JSON. Both are put together from the
records of the mimics: of versions and catalogs there are as many groups as were used.

References
----------
.. [PROV-JSON] The PROV-JSON Serialization, W3C Member Submission 24 April 2013,
   https://www.w3.org/submissions/prov-json/
"""

import json

import yaml

from gammapy_mimic.campaign.inputs import other_files
from gammapy_mimic.campaign.records import checksum, read_record

__all__ = ["write_provenance"]

_DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
_PREFIX = {
    "mimic": "urn:gammapy-mimic:",
    "file": "urn:gammapy-mimic:file:",
    "run": "urn:gammapy-mimic:run:",
    "with": "urn:gammapy-mimic:made-with:",
}


def write_provenance(folder, config, stores):
    """Write both files, set by set.

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
        records = _Records(folder, config.mimic.n_mimics)
        texts = {
            "provenance.yaml": _yaml(records, config, stores),
            "provenance.json": _prov_json(records),
        }
        for name, pieces in texts.items():
            folder.files.write(folder.path / name, pieces)


class _Records:
    """Records of the mimics, which are read when they are asked for."""

    def __init__(self, folder, n_mimics):
        self._folder = folder
        self._n_mimics = n_mimics
        self._made_with, self._inputs = {}, {}

    def sets(self):
        """Name, and mimics by OBS_ID, of each set that is there."""
        for mimic_set in range(self._n_mimics):
            paths = self._folder.records(mimic_set)
            records = {obs_id: read_record(path) for obs_id, path in paths.items()}
            runs = {
                obs_id: self._run(record)
                for obs_id, record in records.items()
                if record is not None
            }
            if runs:
                yield self._folder.store_path(mimic_set).name, runs

    def _run(self, record):
        inputs = record["inputs"]
        for name, value in inputs.items():
            self._inputs.setdefault(name, {})[value] = None
        files = {k: v for k, v in inputs.items() if _is_source_file(k)}
        group = {"versions": record.get("versions", {}), "files": files}
        group = json.dumps(group, sort_keys=True)
        row = record["rows"]["obs"]
        return {
            "file": record["file"],
            "sha256": record["sha256"],
            "target": record["target"],
            "donor": record["donor"],
            "seed": row.get("MIM_SEED"),
            "spawn_key": row.get("MIM_SKEY"),
            "made_with": self._made_with.setdefault(group, len(self._made_with)),
            "inputs": {k: v for k, v in inputs.items() if not _is_source_file(k)},
        }

    def made_with(self):
        """Versions and catalogs of the sets that were gone through."""
        return [json.loads(group) for group in self._made_with]

    def inputs(self):
        """Checksums of all that went into them; a list where a file has changed."""
        known = {name: list(values) for name, values in sorted(self._inputs.items())}
        return {
            name: values[0] if len(values) == 1 else values
            for name, values in known.items()
        }


def _is_source_file(name):
    return not name.startswith(("targets/", "donors/"))


def _yaml(records, config, stores):
    observations, donors = config.observations, config.mimic.donors
    paths = {
        "targets": observations.datastore,
        "donors": donors.datastore or observations.datastore,
    }
    yield _dump(
        {
            "random_state": config.mimic.random_state,
            "data_stores": {
                name: {"path": str(path), **_index_checksums(stores[name])}
                for name, path in paths.items()
            },
            "files": other_files(config),
        }
    )
    yield "mimic_sets:\n"
    for name, runs in records.sets():
        shown = {
            obs_id: {key: it for key, it in run.items() if key != "inputs"}
            for obs_id, run in runs.items()
        }
        yield _indented(_dump({name: shown}))
    yield _dump({"made_with": records.made_with(), "inputs": records.inputs()})


def _prov_json(records):
    """PROV-JSON: a bundle for each set, and what was used besides runs."""
    yield f'{{"prefix": {json.dumps(_PREFIX)},\n"bundle": {{'
    separator = "\n"
    for name, runs in records.sets():
        key, bundle = json.dumps(f"mimic:{name}"), json.dumps(_bundle(name, runs))
        yield f"{separator}{key}: {bundle}"
        separator = ",\n"
    agents, files = {}, {}
    for number, group in enumerate(records.made_with()):
        agents[f"with:{number}"] = {
            "prov:type": {"$": "prov:SoftwareAgent", "type": "prov:QUALIFIED_NAME"},
            **{f"mimic:{key}": value for key, value in group["versions"].items()},
        }
        files |= {
            _file_id(key, value): {"mimic:path": key, "mimic:sha256": str(value)}
            for key, value in group["files"].items()
        }
    rest = {"agent": agents, "entity": files}
    rest = {key: value for key, value in rest.items() if value}
    yield "}" + "".join(f",\n{json.dumps(k)}: {json.dumps(v)}" for k, v in rest.items())
    yield "}\n"


def _bundle(name, runs):
    """Statements on the mimics of a set."""
    bundle = {"entity": {}, "activity": {}, "agent": {}}
    relations = ("wasGeneratedBy", "used", "wasDerivedFrom", "wasAssociatedWith")
    bundle |= {key: {} for key in relations}
    for obs_id, run in runs.items():
        mimic, making = f"file:{name}/{run['file']}", f"run:{name}/{obs_id}"
        agent = f"with:{run['made_with']}"
        bundle["entity"][mimic] = {"mimic:sha256": run["sha256"]}
        bundle["activity"][making] = {
            f"mimic:{key}": run[key]
            for key in ("target", "donor", "seed", "spawn_key")
            if run[key] is not None
        }
        bundle["agent"][agent] = {}
        bundle["wasGeneratedBy"][f"_:g{obs_id}"] = {
            "prov:entity": mimic,
            "prov:activity": making,
        }
        bundle["wasAssociatedWith"][f"_:a{obs_id}"] = {
            "prov:activity": making,
            "prov:agent": agent,
        }
        for number, (path, value) in enumerate(run["inputs"].items()):
            used = _file_id(path, value)
            bundle["entity"][used] = {"mimic:path": path, "mimic:sha256": str(value)}
            bundle["used"][f"_:u{obs_id}_{number}"] = {
                "prov:activity": making,
                "prov:entity": used,
            }
            bundle["wasDerivedFrom"][f"_:d{obs_id}_{number}"] = {
                "prov:generatedEntity": mimic,
                "prov:usedEntity": used,
            }
    return bundle


def _file_id(path, value):
    """Name of an input: another one for another content."""
    return f"file:{path}@{str(value)[:12]}"


def _index_checksums(store):
    folder = store.hdu_table.base_dir
    names = sorted(path.name for path in folder.glob("*-index.fits*"))
    return {name: checksum(folder / name) for name in names}


def _dump(content):
    return yaml.dump(content, Dumper=_DUMPER, sort_keys=False)


def _indented(text):
    return "".join(f"  {line}" for line in text.splitlines(keepends=True))
