"""The loop of an analysis over mimic sets: parallel, resumable."""

import hashlib
import inspect
import json
import logging
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from importlib.metadata import version

import yaml
from gammapy.analysis.config import LogConfig
from gammapy.data import Observations
from gammapy.modeling.models import Models

from gammapy_mimic import __version__
from gammapy_mimic.analysis.build import build_ensemble
from gammapy_mimic.analysis.ensemble import Ensemble
from gammapy_mimic.analysis.injection import check_full_enclosure
from gammapy_mimic.analysis.models import describe_free, free_amplitudes
from gammapy_mimic.analysis.point_like import check_on_region
from gammapy_mimic.analysis.steps import asked_steps
from gammapy_mimic.analysis.truth import Truth
from gammapy_mimic.analysis.worker import SetTask, analyse_set, name_of, open_runs
from gammapy_mimic.campaign.folder import open_folder
from gammapy_mimic.campaign.interrupts import interrupts_between_mimics
from gammapy_mimic.campaign.processes import run_tasks
from gammapy_mimic.campaign.records import checksum, read_record
from gammapy_mimic.campaign.selection import select_targets
from gammapy_mimic.config import ConfigError, MimicAnalysisConfig, expand
from gammapy_mimic.data.compat import source_paths
from gammapy_mimic.data.compat.progress import one_bar
from gammapy_mimic.io.arguments import check_flag
from gammapy_mimic.io.output import TEMPORARY

__all__ = ["analyse_campaign"]

log = logging.getLogger(__name__)

_FREE = ("log", "n_jobs", "outdir", "datasets_file", "models_file")
"""Settings of the section ``general`` that change no number: models are compared."""


def analyse_campaign(
    config: MimicAnalysisConfig,
    n_jobs: int,
    *,
    backend: str,
    only: int | None = None,
    unblind: bool = False,
    overwrite: bool = False,
    function: Callable[[Observations], dict] | None = None,
    models: Models | list | None = None,
) -> Ensemble:
    """Analyse all mimic sets; see `~gammapy_mimic.MimicCampaign.analyse`.

    Parameters
    ----------
    config : `~gammapy_mimic.config.MimicAnalysisConfig`
        Configuration.
    n_jobs, backend, only, unblind, overwrite, function, models
        As of `~gammapy_mimic.MimicCampaign.analyse` and
        `~gammapy_mimic.MimicCampaign.map`.

    Returns
    -------
    ensemble : `~gammapy_mimic.analysis.Ensemble`
        Ensemble, which is also written.
    """
    check_flag("unblind", unblind)
    check_flag("overwrite", overwrite)
    work = _Work(config, function=function, models=models)
    if n_jobs > 1:
        _check_picklable(function)
    with (
        work.folder.lock(only),
        interrupts_between_mimics(backend) as interrupts,
    ):
        work.remove_temporary(only)
        tasks = list(work.tasks(only, unblind))
        unfinished = [it for it in tasks if overwrite or not _is_done(it)]
        log.info(
            "%d of %d analyses are there", len(tasks) - len(unfinished), len(tasks)
        )
        with (
            one_bar(len(tasks), "Analyses") as bar,
            closing(run_tasks(analyse_set, iter(unfinished), n_jobs, backend)) as done,
        ):
            bar.update(len(tasks) - len(unfinished))
            for _ in interrupts.between(done):
                bar.update(1)
        with work.folder.provenance_lock():
            ensemble = work.ensemble(unblind)
            ensemble.write(work.path)
    return ensemble


class _Work:
    """One call of `analyse_campaign`."""

    def __init__(self, config, *, function, models):
        self.folder = open_folder(config)
        self.path = self.folder.path / "analysis"
        config = config.located()
        # gammapy would tell of each step of each set, and start processes in processes
        quiet = {"n_jobs": 1, "log": LogConfig(level="warning")}
        general = config.general.model_copy(update=quiet)
        self.config = config.model_copy(update={"general": general})
        self.function, self.notes = function, []
        self.models = _models(config, models)
        self.injected = _injected(config)
        self._check_campaign()
        self.runs, self.problems = _common_runs(self.folder, config.mimic.n_mimics)
        if not self.runs:
            raise ConfigError(
                [
                    f"{self.folder.path} has no whole mimic set: gammapy-mimic run "
                    "makes them"
                ]
            )
        if function is None:
            # mistakes are found before anything is done
            steps = asked_steps(self.config, self.models)
            free = free_amplitudes(self.models, config.mimic.analyse.free)
            if "fit" in steps:
                self.notes.append(describe_free(free))
                log.info("%s", self.notes[-1])
        scales = config.mimic.analyse.inject.scales if self.injected else []
        self.scales = sorted({0.0, *scales})
        run = open_runs(self._task(next(iter(self.runs)), 0.0))[0]
        if function is None:
            check_on_region(self.config, run)
        if len(self.scales) > 1:
            check_full_enclosure(run)

    def _check_campaign(self):
        differences = (
            self.folder.differences(self.config)
            if (self.folder.state.is_dir())
            else None
        )
        if differences is None:
            raise ConfigError(
                [f"{self.folder.path} has no mimics: gammapy-mimic run makes them"]
            )
        relevant = ("mimic.", "observations.")
        other = [it for it in differences if it.startswith(relevant)]
        if other:
            raise ConfigError(
                [
                    f"{self.folder.path} was made with another configuration:",
                    *(f"  {it}" for it in other),
                    "gammapy-mimic run makes the mimics of this one.",
                ]
            )

    @property
    def targets(self):
        """OBS_IDs of the targets, the same for all sets."""
        return next(iter(self.runs.values()))["targets"]

    @property
    def _label(self):
        if self.function is None:
            return "steps"
        return (
            name_of(self.function).replace(":", "_").replace("<", "").replace(">", "")
        )

    @property
    def records(self):
        """Folder of the records."""
        return self.folder.state / "analysis" / self._label

    def tasks(self, only, unblind):
        """Analyses of all sets, or of one, and of the targets."""
        sets = [it for it in self.runs if only is None or it == only]
        for mimic_set in sets:
            for scale in self.scales:
                yield self._task(mimic_set, scale)
        if unblind:
            yield self._target_task()

    def _task(self, mimic_set, scale):
        obs_ids, checksums = (self.runs[mimic_set][key] for key in ("mimics", "sums"))
        name = self.folder.store_path(mimic_set).name
        name += f"_x{scale:g}" if scale else ""
        task = SetTask(
            config=self.config,
            store=self.folder.store_path(mimic_set),
            obs_ids=obs_ids,
            mimic_set=mimic_set,
            scale=scale,
            models=_plain_models(self.models),
            injected=self.injected if scale else None,
            function=self.function,
            folder=self.path / name,
            record=self.records / f"{name}.json",
            fingerprint="",
        )
        return replace(task, fingerprint=_fingerprint(task, checksums))

    def _target_task(self):
        store = select_targets(self.config.observations).store
        obs_ids = self.targets
        observations = store.get_observations(list(obs_ids), required_irf=[])
        paths = {path for run in observations for path in source_paths(run)}
        task = SetTask(
            config=self.config,
            store=store.hdu_table.base_dir,
            obs_ids=obs_ids,
            mimic_set=None,
            scale=0.0,
            models=_plain_models(self.models),
            injected=None,
            function=self.function,
            folder=self.path / "targets",
            record=self.records / "targets.json",
            fingerprint="",
        )
        sums = sorted(checksum(path) for path in paths)
        return replace(task, fingerprint=_fingerprint(task, sums))

    def ensemble(self, unblind):
        """Ensemble of all sets that have been analysed."""
        records = {}
        for task in self.tasks(None, unblind=False):
            if _is_done(task):
                records[task.scale, task.mimic_set] = read_record(task.record)
        for mimic_set, problem in self.problems.items():
            for scale in self.scales:
                records[scale, mimic_set] = {"problem": problem}
        target = read_record(self._target_task().record) if unblind else None
        return build_ensemble(
            records,
            target=target,
            truth=Truth(self.config, self.models, self.injected),
            same_times=self.config.mimic.time == "target",
            meta={
                "function": None if self.function is None else name_of(self.function),
                "models": _plain_models(self.models),
                "source": self.config.flux_points.source,
                "targets": list(self.targets),
                "notes": self.notes,
            },
        )

    def remove_temporary(self, only):
        """Remove half files of processes that were killed."""
        name = "*" if only is None else f"{self.folder.store_path(only).name}*"
        for path in [*self.path.glob(f"{name}/.*"), *self.records.glob(f".{name}")]:
            if TEMPORARY.fullmatch(path.name):
                path.unlink(missing_ok=True)


def _is_done(task):
    record = read_record(task.record)
    return record is not None and record["fingerprint"] == task.fingerprint


def _models(config, models):
    """Models of the target, from the argument or the file."""
    path = config.general.models_file
    if models is None and path is not None:
        models = Models.read(expand(path, "general.models_file"))
    return Models([] if models is None else models)


def _plain_models(models):
    """Models as plain values; None if there are none."""
    if not len(models):
        return None
    return {"components": yaml.safe_load(models.to_yaml())["components"]}


def _injected(config):
    """Models of the injected source as plain values; None if there are none."""
    settings = config.mimic.analyse.inject
    if settings is None:
        return None
    if isinstance(settings.models, dict):
        return settings.models
    path = expand(settings.models, "mimic.analyse.inject.models")
    return _plain_models(Models.read(path))


def _common_runs(folder, n_mimics):
    """Find the runs of each whole mimic set, and why other sets are left out.

    Only sets of the same targets can be compared: those that most sets have.
    """
    found, problems = {}, {}
    for mimic_set in range(n_mimics):
        records = {
            obs_id: read_record(path)
            for obs_id, path in folder.records(mimic_set).items()
        }
        has_index = (folder.store_path(mimic_set) / "hdu-index.fits.gz").is_file()
        if not records or not has_index:
            problems[mimic_set] = (
                "there is no such mimic set; gammapy-mimic run makes it"
            )
            continue
        broken = [
            str(obs_id)
            for obs_id, record in records.items()
            if record is None or not folder.holds(mimic_set, record)
        ]
        if broken:
            problems[mimic_set] = (
                f"run {', '.join(broken)} is missing or not as it was written; "
                "gammapy-mimic run makes it again"
            )
            continue
        found[mimic_set] = {
            # several mimics may be of one target
            "targets": tuple(sorted({it["target"] for it in records.values()})),
            "mimics": tuple(records),
            "sums": sorted(record["sha256"] for record in records.values()),
        }
    if not found:
        return found, problems
    targets = Counter(it["targets"] for it in found.values())
    # the larger one of equally frequent ones
    common = max(targets, key=lambda it: (targets[it], len(it)))
    for mimic_set in [it for it in found if found[it]["targets"] != common]:
        difference = sorted(set(found.pop(mimic_set)["targets"]) ^ set(common))
        problems[mimic_set] = (
            "its targets are others than those of most sets: they differ in "
            f"{', '.join(map(str, difference))}"
        )
    return found, problems


def _fingerprint(task, checksums):
    """Fingerprint of all that the numbers of a set depend on."""
    settings = task.config.to_dict()
    mimic = settings.pop("mimic")
    settings["general"] = {
        key: value for key, value in settings["general"].items() if key not in _FREE
    }
    del settings["observations"]["datastore"]
    # its content is compared
    del settings["datasets"]["background"]["exclusion"]
    described = [
        [__version__, version("gammapy"), version("numpy")],
        settings,
        [mimic["time"], mimic["random_state"]],
        {**mimic["analyse"], "inject": None},
        [task.mimic_set, task.scale, task.obs_ids, checksums],
        [task.models, task.injected, _exclusion(task.config)],
        _described(task.function),
    ]
    text = json.dumps(described, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def _exclusion(config):
    path = config.datasets.background.exclusion
    return None if path is None else checksum(expand(path, "datasets.background"))


def _described(function):
    """Name, text and arguments of a function; what it calls is not looked at."""
    if function is None:
        return None
    inner = getattr(function, "func", function)
    try:
        text = inspect.getsource(inner)
    except (OSError, TypeError):
        text = repr(getattr(inner, "__code__", None) and inner.__code__.co_code)
    arguments = getattr(function, "args", ()), getattr(function, "keywords", {})
    return [name_of(function), text, repr(arguments)]


def _check_picklable(function):
    """Raise an error for a function that other processes cannot find by its name."""
    inner = getattr(function, "func", function)
    inner = getattr(inner, "__func__", inner)
    name = getattr(inner, "__qualname__", None)
    if name is None:  # an object that can be called
        return
    found = sys.modules.get(inner.__module__)
    for part in name.split("."):
        found = getattr(found, part, None)
    if found is not inner:
        raise ValueError(
            f"function {name_of(function)} cannot be sent to other processes: define "
            "it at the top of a module, or use n_jobs=1"
        )
