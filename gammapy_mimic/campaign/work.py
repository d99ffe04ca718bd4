"""One call of `MimicCampaign.run`: what is left to make, and what came of it."""

import hashlib
import json
import logging
import os
from contextlib import closing
from dataclasses import dataclass

import numpy as np
import yaml
from gammapy.data import DataStore

from gammapy_mimic.campaign.inputs import source_files
from gammapy_mimic.campaign.processes import run_tasks
from gammapy_mimic.campaign.records import checksum, read_record
from gammapy_mimic.campaign.result import CampaignResult
from gammapy_mimic.campaign.versions import program_version
from gammapy_mimic.campaign.worker import Task, make_mimic
from gammapy_mimic.config import ConfigError
from gammapy_mimic.data.compat import source_paths
from gammapy_mimic.data.compat.progress import one_bar
from gammapy_mimic.io.gadf import HDU_INDEX
from gammapy_mimic.matching import PairTable

__all__ = ["CampaignInputs", "CampaignWork"]

log = logging.getLogger(__name__)

_CHANGE_NO_MIMIC = {
    *("outdir", "relative_to", "n_mimics", "match", "donors"),
    *("analyse", "acknowledgement"),
}

_ANALYSIS_HEADER = """\
# The analysis of the targets, for the mimics of this folder. Paths are relative to
# the folder, so that it can be moved; run it there:
#   cd {name} && gammapy analysis run --filename analysis.yaml
"""


@dataclass(frozen=True)
class CampaignInputs:
    """Data stores whose tables hold only the runs that were selected, and pairs."""

    targets: DataStore
    donors: DataStore
    pairs: PairTable
    fingerprint: str
    """Fingerprint of what the pairs were matched from."""


class CampaignWork:
    """One call of `~gammapy_mimic.MimicCampaign.run`.

    Parameters
    ----------
    config : `~gammapy_mimic.config.MimicAnalysisConfig`
        Configuration.
    folder : `~gammapy_mimic.campaign.folder.CampaignFolder`
        Folder, which is locked.
    inputs : `CampaignInputs`
        Runs and pairs.
    sets : iterable of int
        Mimic sets that are made.

    Attributes
    ----------
    failed : list of tuple
        Set, OBS_IDs of target and donor, and problem of each mimic that could not be
        made.
    """

    def __init__(self, config, folder, inputs, sets):
        self.config = config
        self.folder = folder
        self.inputs = inputs
        self.sets = list(sets)
        # row of the pair table, by set and OBS_ID of the mimic
        self._row_of = {mimic_set: {} for mimic_set in self.sets}
        self._unpaired = []
        self._mjd = {
            side: dict(zip(runs["OBS_ID"].tolist(), runs["TIME"].tolist(), strict=True))
            for side, runs in (
                ("targets", inputs.pairs.targets),
                ("donors", inputs.pairs.donors),
            )
        }
        self._read_pairs()
        self._runs, self._checksums, self._analyses = {}, {}, {}
        self._settings_text = config.mimic.model_dump_json(exclude=_CHANGE_NO_MIMIC)
        self._settings = config.located().mimic
        self._source_files = source_files(self._settings)
        self._said = frozenset(inputs.pairs.warnings)
        self._kept = self._outdated = 0
        self.failed = []

    def _read_pairs(self):
        pairs, missing = self.inputs.pairs, set(self.inputs.pairs.missing)
        donors = np.ma.asarray(pairs["DONOR_OBS_ID"])
        absent = np.ma.getmaskarray(donors)
        for row in range(len(pairs)):
            mimic_set = int(pairs["MIMIC_SET"][row])
            target = int(pairs["TARGET_OBS_ID"][row])
            if mimic_set not in self._row_of:
                continue
            if not absent[row]:
                self._row_of[mimic_set][pairs.part(row).obs_id] = row
            elif target not in missing:
                self._unpaired.append((mimic_set, target))

    def run(self, n_jobs, backend, interrupts):
        """Make what is not there, and the indices of all sets."""
        for mimic_set in self.sets:
            self.folder.keep_only(mimic_set, set(self._row_of[mimic_set]))
        unfinished = list(self.sets)
        number = sum(len(row_of) for row_of in self._row_of.values())
        with (
            one_bar(number, "Mimics") as bar,
            closing(run_tasks(make_mimic, self._tasks(bar), n_jobs, backend)) as made,
        ):
            for task, problem in interrupts.between(made):
                # the processes go on during this
                while unfinished[0] < task.mimic_set:
                    self._finish(unfinished.pop(0))
                self._note(task, problem)
                bar.update(1)
        for mimic_set in unfinished:
            self._finish(mimic_set)
        if self._outdated:
            log.warning(
                "%d mimics that were there have been made again: their runs, catalogs "
                "or this package are no longer the same",
                self._outdated,
            )

    def _tasks(self, bar):
        """Mimics that are to be made, one after the other."""
        for mimic_set in self.sets:
            for obs_id, row in self._row_of[mimic_set].items():
                task = self._task(mimic_set, row)
                if self.folder.whole(mimic_set, obs_id, task.fingerprint):
                    self._kept += 1
                    bar.update(1)
                else:
                    self._outdated += self.folder.is_outdated(task)
                    self.folder.remove_index(self.folder.store_path(mimic_set))
                    yield task

    def _task(self, mimic_set, row):
        pairs = self.inputs.pairs
        part, donor_id = pairs.part(row), int(pairs["DONOR_OBS_ID"][row])
        target_id = part.target_id
        target, checksums = self._run("targets", target_id)
        donor, of_donor = self._run("donors", donor_id)
        checksums = {**checksums, **of_donor, **self._source_files}
        checksums = dict(sorted(checksums.items()))
        ids = [mimic_set, target_id, donor_id]
        if not part.is_whole:
            ids += [part.obs_id, part.times_s, part.bad_times]
        described = [program_version(), self._settings_text, ids, checksums]
        fingerprint = hashlib.sha256(json.dumps(described).encode()).hexdigest()
        return Task(
            target=target,
            donor=donor,
            part=part,
            mimic_set=mimic_set,
            settings=self._settings,
            outdir=self.folder.path,
            fingerprint=fingerprint,
            inputs=checksums,
            mjd=(self._mjd["targets"][target_id], self._mjd["donors"][donor_id]),
            said=self._said,
        )

    def _run(self, side, obs_id):
        """Give a run, which is not loaded, and the checksums of its files."""
        if (side, obs_id) not in self._runs:
            store = getattr(self.inputs, side)
            run = store.obs(obs_id, required_irf="all-optional")
            base = store.hdu_table.base_dir
            sums = {
                f"{side}/{os.path.relpath(path, base)}": self._sum(path)
                for path in source_paths(run)
            }
            self._runs[side, obs_id] = run, sums
        return self._runs[side, obs_id]

    def _sum(self, path):
        """Checksum of an input; none for one that cannot be read, which fails later."""
        if path not in self._checksums:
            try:
                self._checksums[path] = checksum(path)
            except OSError:
                self._checksums[path] = None
        return self._checksums[path]

    def _note(self, task, problem):
        if problem is not None:
            ids = int(task.target.obs_id), int(task.donor.obs_id)
            self.failed.append((task.mimic_set, *ids, problem))

    def _finish(self, mimic_set):
        """Write the index and the analysis of a set."""
        paths = [
            self.folder.record_path(mimic_set, obs_id)
            for obs_id in sorted(self._row_of[mimic_set])
        ]
        records = [record for record in map(read_record, paths) if record is not None]
        if not records:
            return
        try:
            self.folder.write_index(mimic_set, [record["rows"] for record in records])
        except ConfigError:
            # somebody else's index is true as long as his mimics, which failed, stay
            if mimic_set not in {failed[0] for failed in self.failed}:
                raise
            return
        store = self.folder.store_path(mimic_set)
        ids = [record["rows"]["obs"]["OBS_ID"] for record in records]
        if tuple(ids) not in self._analyses:
            # the same seen from each of the folders, which are side by side
            self._analyses[tuple(ids)] = _analysis(self.config, store, ids)
        header = _ANALYSIS_HEADER.format(name=store.name)
        text = [header, self._analyses[tuple(ids)]]
        self.folder.write_analysis(store / "analysis.yaml", text)

    def result(self):
        """Outcome, for the user."""
        number = sum(len(row_of) for row_of in self._row_of.values())
        paths = [self.folder.store_path(mimic_set) for mimic_set in self.sets]
        pairs = self.inputs.pairs
        missing = _reasons(pairs)
        missing |= {it: f"target {it}: {why}" for it, why in pairs.left_out.items()}
        return CampaignResult(
            outdir=self.folder.path,
            stores=tuple(p for p in paths if (p / HDU_INDEX).exists()),
            made=number - self._kept - len(self.failed),
            kept=self._kept,
            missing=missing,
            unpaired=tuple(self._unpaired),
            failed=tuple(self.failed),
            notes=(*pairs.headlines(), *pairs.warnings),
        )


def _reasons(pairs):
    """For each target without a donor, the line of the summary about it."""
    lines = pairs.summary().splitlines()
    reasons = {}
    for target in pairs.missing:
        start = f"target {target}:"
        found = [line for line in lines if line.startswith(start)]
        reasons[target] = found[0] if found else f"{start} no donor"
    return reasons


def _analysis(config, folder, obs_ids):
    """Gammapy analysis of a mimic set, with paths relative to its folder."""
    settings = config.to_dict()
    del settings["mimic"]
    settings["observations"] |= {
        "datastore": ".",
        "obs_ids": obs_ids,
        "obs_file": None,
        "obs_cone": dict.fromkeys(settings["observations"]["obs_cone"]),
    }
    if config.mimic.time == "donor":
        # the times are those of the donors, far from those of the targets
        settings["observations"]["obs_time"] = {"start": None, "stop": None}
    found, background = config.located(), settings["datasets"]["background"]
    background["exclusion"] = _relative(
        background["exclusion"], found.datasets.background.exclusion, folder
    )
    settings["general"]["models_file"] = _relative(
        settings["general"]["models_file"], found.general.models_file, folder
    )
    return yaml.safe_dump(settings, sort_keys=False, indent=4)


def _relative(path, found, folder):
    """Path of an existing input as seen from a folder; others as they are."""
    if path is None or "$" in path or os.path.isabs(path) or not found.exists():
        return path
    return os.path.relpath(found, folder)
