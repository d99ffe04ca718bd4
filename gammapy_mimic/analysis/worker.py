"""The work of one process: the analysis of one set after the other."""

import importlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from astropy import units as u
from astropy.coordinates import Angle, SkyCoord
from gammapy.data import Observations
from gammapy.modeling.models import Models

from gammapy_mimic.analysis.injection import inject
from gammapy_mimic.analysis.models import source_models
from gammapy_mimic.analysis.quantities import numbers_of
from gammapy_mimic.analysis.steps import FAILURES, map_radius, run_steps
from gammapy_mimic.campaign.records import write_record
from gammapy_mimic.checks import open_store
from gammapy_mimic.config import MimicAnalysisConfig
from gammapy_mimic.data.compat import read_once
from gammapy_mimic.data.compat.progress import no_bars
from gammapy_mimic.data.seeds import child_seed, seed_sequence
from gammapy_mimic.io.logs import only_errors
from gammapy_mimic.io.output import atomic_write

__all__ = ["SetTask", "analyse_set", "open_runs", "position_of"]

_INJECTION = 0x1413
"""Key of the seeds of injected events, away from those of the mimics."""


@dataclass(frozen=True)
class SetTask:
    """What it takes to analyse one set; small, as nothing is loaded."""

    config: MimicAnalysisConfig
    store: Path
    """Data store of the set, or of the targets."""
    obs_ids: tuple
    mimic_set: int | None
    """None: the targets."""
    scale: float
    models: dict | None
    """Models of the target."""
    injected: dict | None
    function: Callable | None
    folder: Path
    """Where files for the user go."""
    record: Path
    fingerprint: str


def analyse_set(task: SetTask) -> None:
    """Analyse one set of runs, and write what it gives.

    Parameters
    ----------
    task : `SetTask`
        Which set, and how.
    """
    models = _models(task.models)
    position = position_of(task.config, models)
    record: dict[str, Any] = {"fingerprint": task.fingerprint, "problem": None}
    record["values"] = {}
    files: dict[str, bytes] = {}
    with no_bars(), only_errors("gammapy.modeling.iminuit"):
        try:
            observations = open_runs(task)
            if task.mimic_set is not None:
                record |= _origin(observations, position, map_radius(task.config))
            if task.scale > 0:
                observations = _with_source(task, observations)
            if task.function is not None:
                with np.errstate(all="ignore"):
                    result = task.function(observations)
                record["values"] = numbers_of(result, name_of(task.function))
            else:
                run = run_steps(task.config, observations, models, position)
                record |= {"values": run.values, "problem": run.problem}
                record["notes"] = run.notes
                files = run.files
        except FAILURES as error:
            record["problem"] = " ".join(f"{type(error).__name__}: {error}".split())
    task.record.unlink(missing_ok=True)
    for name, content in files.items():
        task.folder.mkdir(parents=True, exist_ok=True)
        with atomic_write(task.folder / name, "wb") as file:
            file.write(content)
    write_record(task.record, record)


def _models(content):
    return Models() if content is None else Models.from_dict(content)


def name_of(function: Callable) -> str:
    """Name of a function, for people."""
    inner = getattr(function, "func", function)
    return f"{inner.__module__}:{getattr(inner, '__qualname__', repr(inner))}"


def open_runs(task: SetTask) -> Observations:
    """Open the runs of a set, as the section ``observations`` says.

    Parameters
    ----------
    task : `SetTask`
        Which set.

    Returns
    -------
    observations : `~gammapy.data.Observations`
        Runs.
    """
    settings = task.config.observations
    observations = open_store(task.store).get_observations(
        list(task.obs_ids), required_irf=settings.required_irf
    )
    # gammapy opens the file again for each part, and many parts several times
    observations = Observations([read_once(run) for run in observations])
    start, stop = settings.obs_time.start, settings.obs_time.stop
    # with the donors' times those of the targets mean nothing
    if start is not None and (
        task.mimic_set is None or task.config.mimic.time == "target"
    ):
        pairs = [[start, stop]] if start.isscalar else zip(start, stop, strict=True)
        observations = observations.select_time(list(pairs))
    return observations


def position_of(config: MimicAnalysisConfig, models: Models) -> SkyCoord | None:
    """Find the position of interest.

    Parameters
    ----------
    config : `~gammapy_mimic.config.MimicAnalysisConfig`
        Configuration.
    models : `~gammapy.modeling.models.Models`
        Models of the target; may be empty.

    Returns
    -------
    position : `~astropy.coordinates.SkyCoord` or None
        Centre of the on region of spectra, position of the source of the flux points,
        or else of the first source, or centre of the map.
    """
    region = config.datasets.on_region
    if region.lon is not None:
        return SkyCoord(region.lon, region.lat, frame=region.frame or "icrs").icrs
    sources = source_models(models)
    sources.sort(key=lambda model: model.name != config.flux_points.source)
    for model in sources:
        if model.position is not None:
            return model.position.icrs
    sky = config.datasets.geom.wcs.skydir
    if sky.lon is not None:
        return SkyCoord(sky.lon, sky.lat, frame=sky.frame or "icrs").icrs
    return None


def _origin(observations, position, radius):
    """Livetime of each donor, and its events near the position."""
    donors, events = {}, {}
    for run in observations:
        table = run.events.table
        donor = str(table.meta["MIM_DON"])
        livetime = run.observation_live_time_duration.to_value("s")
        donors[donor] = donors.get(donor, 0.0) + float(livetime)
        near = np.ones(len(table), dtype=bool)
        if position is not None:
            place = SkyCoord(
                u.Quantity(table["RA"], "deg"), u.Quantity(table["DEC"], "deg")
            )
            near = place.separation(position) < Angle(radius)
        ids = table["EVENT_ID"][near] if "EVENT_ID" in table.colnames else ()
        events.setdefault(donor, []).extend(int(it) for it in ids)
    return {"donors": donors, "events": events}


def _with_source(task, observations):
    """Put the source into the runs, seeded by set, target and scale."""
    models = _models(task.injected)
    root = seed_sequence(task.config.mimic.random_state)
    scale_key = int(np.float64(task.scale).view(np.uint64))
    runs = []
    for run in observations:
        key = _INJECTION, task.mimic_set, int(run.obs_id), scale_key
        seed = child_seed(root, *key)
        runs.append(inject(run, models, scale=task.scale, random_state=seed))
    return Observations(runs)


def load_function(text: str) -> Callable:
    """Import a function.

    Parameters
    ----------
    text : str
        ``module:function``.

    Returns
    -------
    function : callable
        Function.

    Raises
    ------
    ValueError
        If there is no such module or function.
    """
    module, colon, name = text.partition(":")
    if not (module and colon and name):
        raise ValueError(f"function {text!r}: write it as my_module:my_function")
    # as Python does for a script
    sys.path.insert(0, "")
    try:
        function = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"function {text!r} cannot be imported: {error}") from error
    if not callable(function):
        raise ValueError(f"function {text!r} is not a function")
    return function
