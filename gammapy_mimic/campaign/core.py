"""`MimicCampaign`: the loop over targets and mimic sets."""

import hashlib
import importlib.util
import io
import json
import logging
import os
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np
import yaml
from gammapy.data import DataStore, Observations

from gammapy_mimic.campaign.analyses import CampaignAnalyses
from gammapy_mimic.campaign.folder import CampaignFolder
from gammapy_mimic.campaign.foreign import refuse_foreign
from gammapy_mimic.campaign.inputs import source_files
from gammapy_mimic.campaign.interrupts import interrupts_between_mimics
from gammapy_mimic.campaign.processes import check_main_is_guarded, run_tasks
from gammapy_mimic.campaign.progress import one_bar
from gammapy_mimic.campaign.provenance import write_provenance
from gammapy_mimic.campaign.records import checksum, read_record
from gammapy_mimic.campaign.rematch import choose_pairs
from gammapy_mimic.campaign.result import CampaignResult
from gammapy_mimic.campaign.selection import select_donors, select_targets
from gammapy_mimic.campaign.versions import program_version
from gammapy_mimic.campaign.worker import Task, make_mimic
from gammapy_mimic.config import ConfigError, MimicAnalysisConfig, expand
from gammapy_mimic.config.checking import check_settings
from gammapy_mimic.data.compat import source_paths
from gammapy_mimic.io.arguments import PathLike
from gammapy_mimic.io.gadf import HDU_INDEX
from gammapy_mimic.matching import PairTable
from gammapy_mimic.sources.known import available_catalogs

__all__ = ["MimicCampaign"]

log = logging.getLogger(__name__)

_BACKENDS = ("multiprocessing", "ray")

_ANALYSIS_HEADER = """\
# The analysis of the targets, for the mimics of this folder. Paths are relative to
# the folder, so that it can be moved; run it there:
#   cd {name} && gammapy analysis run --filename analysis.yaml
"""


class MimicCampaign(CampaignAnalyses):
    """Mimic data sets of a list of targets.

    For each mimic set there is a folder with a data store and a gammapy
    ``analysis.yaml`` of its own. Mimics are written one by one: memory does not grow
    with their number. The result depends neither on the number of processes nor on
    whether the campaign was interrupted: started again with the same configuration
    it keeps what is whole and makes the rest.

    Parameters
    ----------
    config : `~gammapy_mimic.config.MimicAnalysisConfig` or dict
        Configuration.

    Raises
    ------
    ConfigError
        If there are mistakes in the configuration.

    Examples
    --------
    >>> from gammapy_mimic import MimicCampaign
    >>> campaign = MimicCampaign.from_yaml("crab.yaml")  # doctest: +SKIP
    >>> result = campaign.run(n_jobs=2)  # doctest: +SKIP
    >>> print(result.summary())  # doctest: +SKIP
    """

    def __init__(self, config: MimicAnalysisConfig) -> None:
        if isinstance(config, dict):
            config = check_settings(MimicAnalysisConfig, config, "configuration")
        if not isinstance(config, MimicAnalysisConfig):
            raise TypeError(f"config = {config!r}: must be a MimicAnalysisConfig")
        self.config = config
        self._source: Path | None = None

    @classmethod
    def from_yaml(cls, path: PathLike) -> Self:
        """Make a campaign of a YAML file.

        Parameters
        ----------
        path : str or `~pathlib.Path`
            File: a gammapy analysis configuration with a section ``mimic:``.

        Returns
        -------
        campaign : `MimicCampaign`
            Campaign.
        """
        campaign = cls(MimicAnalysisConfig.read(path))
        campaign._source = Path(path).absolute()
        return campaign

    def match(self) -> PairTable:
        """Find donors for the targets.

        Returns
        -------
        pairs : `~gammapy_mimic.matching.PairTable`
            Pairs, and why other donors were rejected. Nothing is written.
        """
        return self._inputs().pairs

    def make(self, mimic_set: int = 0) -> Observations:
        """Make the mimics of one set in memory.

        Parameters
        ----------
        mimic_set : int, optional
            Which set. Default is 0.

        Returns
        -------
        mimics : `~gammapy.data.Observations`
            The same mimics that `run` writes. Nothing is written.
        """
        inputs = self._inputs()
        return self.config.mimic.maker().run_pairs(
            inputs.targets, inputs.donors, inputs.pairs, mimic_set=mimic_set
        )

    def store_path(self, mimic_set: int = 0) -> Path | None:
        """Find the data store of a mimic set that `run` has written.

        Parameters
        ----------
        mimic_set : int, optional
            Which set. Default is 0.

        Returns
        -------
        path : `~pathlib.Path` or None
            Folder. None if it is not there, or was made from other observations or
            with other settings of the section ``mimic``: a message is logged.
        """
        path = expand(self.config.mimic.outdir, "mimic.outdir")
        folder = CampaignFolder(path, compress=self.config.mimic.compress)
        store = folder.store_path(mimic_set)
        if not (store / HDU_INDEX).exists():
            return None
        relevant = ("mimic.", "observations.")
        try:
            differences = folder.differences(self.config) or ()
        except ConfigError as error:
            log.warning("%s is not used: %s", store, error)
            return None
        other = [line for line in differences if line.startswith(relevant)]
        if other:
            log.warning(
                "%s is not used: it was made with another configuration: %s",
                store,
                "; ".join(other),
            )
        return None if other else store

    def _inputs(self):
        settings = self.config.mimic
        targets = select_targets(self.config.observations)
        donors = select_donors(settings.donors, self.config.observations)
        pairs = self.config.matcher().run(targets.store, donors, skip_broken=True)
        pairs.meta["left_out"] += [list(item) for item in targets.incomplete.items()]
        pairs.meta["notes"] += [
            f"targets: run {obs_id}, left out: {why}"
            for obs_id, why in targets.incomplete.items()
        ]
        return _Inputs(targets.store, donors, pairs)

    def run(
        self,
        n_jobs: int = 1,
        *,
        parallel_backend: str = "multiprocessing",
        overwrite: bool = False,
        only: int | None = None,
        rematch: bool = False,
    ) -> CampaignResult:
        """Make all mimics, or those that an interrupted call has left.

        Parameters
        ----------
        n_jobs : int, optional
            Number of processes. With more than one, a script has to guard its calls by
            ``if __name__ == "__main__":`` where processes import it (macOS, Windows,
            Python 3.14). Default is 1.
        parallel_backend : {"multiprocessing", "ray"}, optional
            With "ray" the processes may be on other machines. Default is
            "multiprocessing".
        overwrite : bool, optional
            Make everything again, also where the folder holds mimics of another
            configuration: those that a campaign has made are removed. Default is
            False.
        only : int, optional
            Make only this mimic set; several such calls may work at a time. Default
            is None.
        rematch : bool, optional
            Match again where pairs have been made before, say which ones change, and
            replace their mimics. Default is False: pairs that are there are kept, also
            where the archive has got runs that would fit better.

        Returns
        -------
        result : `CampaignResult`
            What was made, and what could not be made.

        Raises
        ------
        ConfigError
            If the folder was made with another configuration, or holds files in the
            place of its own which no campaign has written.
        BlockingIOError
            If another campaign is at work in the folder.
        OSError
            If a data store cannot be opened, or the folder cannot be written to, as on
            a full disk, or a process was killed: what is whole stays, and the campaign
            can be resumed.
        """
        self._check(n_jobs, parallel_backend, only)
        if only is not None and rematch:
            raise ValueError(
                "only, rematch: the pairs of all sets are matched together"
            )
        settings = self.config.mimic
        path = expand(settings.outdir, "mimic.outdir")
        folder = CampaignFolder(path, compress=settings.compress)
        inputs = self._inputs()
        if settings.scramble is not None:
            # broken or missing ones are reported before anything is made
            available_catalogs(settings.scramble.catalogs)
        refuse_foreign(folder, self._source, overwrite=overwrite)
        with (
            folder.lock(only),
            interrupts_between_mimics(parallel_backend) as interrupts,
        ):
            folder.prepare(self.config, overwrite=overwrite, only=only)
            with folder.clean_on_error(only):
                all_again = rematch or (overwrite and only is None)
                pairs = choose_pairs(folder, inputs.pairs, rematch=all_again)
                inputs = replace(inputs, pairs=pairs)
                _write_pairs(folder, pairs)
                sets = range(settings.n_mimics) if only is None else [only]
                work = _Work(self.config, folder, inputs, sets)
                work.run(n_jobs, parallel_backend, interrupts)
                stores = {"targets": inputs.targets, "donors": inputs.donors}
                try:
                    write_provenance(folder, self.config, stores)
                except ConfigError:
                    # somebody else's, whose mimics stay and failed here
                    if not work.failed:
                        raise
                return work.result()

    def _check(self, n_jobs, parallel_backend, only):
        if isinstance(n_jobs, bool) or not isinstance(n_jobs, int) or n_jobs < 1:
            raise ValueError(f"n_jobs = {n_jobs!r}: must be a positive integer")
        check_main_is_guarded()
        if parallel_backend not in _BACKENDS:
            raise ValueError(
                f"parallel_backend = {parallel_backend!r}: must be one of {_BACKENDS}"
            )
        if parallel_backend == "ray" and importlib.util.find_spec("ray") is None:
            raise ValueError(
                "parallel_backend = 'ray': ray is not installed; "
                'run: pip install "gammapy-mimic[distributed]"'
            )
        number = self.config.mimic.n_mimics
        if only is not None and only not in range(number):
            raise ValueError(f"only = {only!r}: must be a set from 0 to {number - 1}")


@dataclass(frozen=True)
class _Inputs:
    """Data stores whose tables hold only the runs that were selected, and pairs."""

    targets: DataStore
    donors: DataStore
    pairs: PairTable


class _Work:
    """One call of `MimicCampaign.run`."""

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
        self._settings_text = config.mimic.model_dump_json(
            exclude={"outdir", "n_mimics", "match", "donors", "analyse"}
        )
        self._source_files = source_files(config.mimic)
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
            settings=self.config.mimic,
            outdir=self.folder.path,
            fingerprint=fingerprint,
            inputs=checksums,
            mjd=(self._mjd["targets"][target_id], self._mjd["donors"][donor_id]),
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


def _write_pairs(folder, pairs):
    for name, table in (("pairs", pairs), ("rejected", pairs.cut_flow)):
        with io.StringIO() as text:
            table.write(text, format="ascii.ecsv")
            folder.files.write(folder.path / f"{name}.ecsv", [text.getvalue()])


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
    background, general = settings["datasets"]["background"], settings["general"]
    for section, key in ((background, "exclusion"), (general, "models_file")):
        section[key] = _relative(section[key], folder)
    return yaml.safe_dump(settings, sort_keys=False, indent=4)


def _relative(path, folder):
    """Path of an existing input as seen from a folder; others as they are."""
    if path is None or "$" in path or os.path.isabs(path) or not os.path.exists(path):
        return path
    return os.path.relpath(path, folder)
