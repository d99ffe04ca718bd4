"""Sources put into runs: events drawn by gammapy with the IRFs of each run."""

import copy
from collections.abc import Iterable

import numpy as np
from astropy import units as u
from astropy.table import vstack
from gammapy.data import GTI, EventList, Observation
from gammapy.datasets import MapDatasetEventSampler, create_map_dataset_from_observation
from gammapy.maps import MapAxis
from gammapy.modeling.models import ModelBase, Models, SkyModel

from gammapy_mimic.analysis.models import scaled_models
from gammapy_mimic.data.seeds import seed_sequence
from gammapy_mimic.io.arguments import RandomState

__all__ = ["check_full_enclosure", "inject"]

COLUMNS = ("EVENT_ID", "TIME", "RA", "DEC", "ENERGY")
"""Columns that a drawn event has, those that GADF demands."""

BIN_SIZE = 0.01 * u.deg
MARGIN = 0.3 * u.deg
"""Width of the map beyond the source; events are smeared by the PSF without it."""
BINS_PER_DECADE = 20


def inject(
    observation: Observation,
    models: SkyModel | Iterable[ModelBase],
    *,
    scale: float = 1.0,
    random_state: RandomState = None,
) -> Observation:
    """Put sources into a run.

    Their events are drawn by `~gammapy.datasets.MapDatasetEventSampler`, with effective
    area, PSF, energy dispersion, good time intervals and livetime of the run.

    Parameters
    ----------
    observation : `~gammapy.data.Observation`
        Run with full-enclosure IRFs. It is not changed.
    models : `~gammapy.modeling.models.SkyModel`, list of these or \
`~gammapy.modeling.models.Models`
        Sources.
    scale : float, optional
        Factor by which the flux is multiplied. Default is 1.
    random_state : None, int, `~numpy.random.SeedSequence` or \
`~numpy.random.Generator`, optional
        Seed. Default is None.

    Returns
    -------
    observation : `~gammapy.data.Observation`
        New run in memory. Its events have the columns EVENT_ID, TIME, RA, DEC and
        ENERGY, which all events have, and MC_ID: 0 for those of the run, k for those
        of the k-th source. EVENT_IDs of drawn events follow on the largest one of the
        run. The cards MIM_INJ (scale) and MIM_NINJ (number of drawn events) and
        HISTORY say what was added.

    Raises
    ------
    ValueError
        If the run has point-like IRFs, or a source has no position or no amplitude.

    Examples
    --------
    >>> from gammapy_mimic.analysis import inject
    >>> run = inject(mimic, source, scale=0.01, random_state=1)  # doctest: +SKIP
    """
    check_full_enclosure(observation)
    random = np.random.RandomState(np.random.MT19937(seed_sequence(random_state)))
    own = observation.events.table
    drawn = []
    for number, model in enumerate(scaled_models(models, scale), 1):
        for events in _draw(observation, model, random) if scale > 0 else ():
            events["MC_ID"] = np.full(len(events), number)
            drawn.append(events)
    table = own[[name for name in COLUMNS if name in own.colnames]]
    table["MC_ID"] = np.zeros(len(own), dtype=int)
    number = sum(map(len, drawn))
    if number:
        added = vstack(drawn, metadata_conflicts="silent")
        first = table["EVENT_ID"].max() + 1 if len(table) else 1
        added["EVENT_ID"] = np.arange(first, first + number)
        added = _like(added, table)
        table = vstack([table, added], metadata_conflicts="silent")
        table = table[np.argsort(table["TIME"].mjd, kind="stable")]
    table.meta = {**own.meta, **_cards(own.meta, models, scale, number)}
    new = copy.copy(observation)
    new.events = EventList(table)
    return new


def check_full_enclosure(observation: Observation) -> None:
    """Raise an error for a run into which no source can be put.

    Parameters
    ----------
    observation : `~gammapy.data.Observation`
        Run.

    Raises
    ------
    ValueError
        If it has point-like IRFs, or no PSF or energy dispersion.
    """
    if observation.rad_max is not None or observation.aeff.is_pointlike:
        raise ValueError(
            f"run {observation.obs_id} has point-like IRFs: they tell how many events "
            "of a source lie within RAD_MAX, but not where, and a source cannot be put "
            "in; take runs with full-enclosure IRFs, or leave out mimic.analyse.inject"
        )
    lacking = [name for name in ("psf", "edisp") if getattr(observation, name) is None]
    if lacking:
        raise ValueError(
            f"run {observation.obs_id} has no {' and no '.join(lacking)}: a source "
            "cannot be put in without it"
        )


def _draw(observation, model, random):
    """Tables of the drawn events of a source, for each good time interval."""
    if model.position is None:
        raise ValueError(f"model {model.name!r} has no position: it cannot be put in")
    dataset = _dataset(observation, model)
    exposure = dataset.exposure
    gti, total = observation.gti, observation.gti.time_sum
    sampler = MapDatasetEventSampler(random_state=random)
    for start, stop in zip(gti.time_start, gti.time_stop, strict=True):
        # gammapy draws times in one interval only
        dataset.exposure = exposure * ((stop - start) / total).to_value("")
        dataset.gti = GTI.create(start, stop, reference_time=gti.time_ref)
        dataset.models = Models([model])
        events = sampler.sample_sources(dataset)
        if len(events):
            events = sampler.sample_edisp(
                dataset.edisp, sampler.sample_psf(dataset.psf, events)
            )
            yield events["TIME", "RA", "DEC", "ENERGY"]


def _dataset(observation, model):
    """IRFs of a run around a source."""
    observation = copy.copy(observation)
    for name in ("aeff", "psf", "edisp"):
        # gammapy would read each of them several times
        setattr(observation, name, getattr(observation, name))
    observation.bkg = None
    radius = model.evaluation_radius
    radius = 0 * u.deg if radius is None else radius
    true = observation.aeff.axes["energy_true"].edges
    axis = MapAxis.from_energy_bounds(
        true[0], true[-1], nbin=BINS_PER_DECADE, per_decade=True, name="energy_true"
    )
    return create_map_dataset_from_observation(
        observation,
        energy_axis_true=axis,
        # not looked at: energies are drawn from the energy dispersion
        energy_axis=MapAxis.from_energy_bounds(true[0], true[-1], nbin=1),
        spatial_width=2 * (radius + MARGIN),
        spatial_bin_size=BIN_SIZE,
        position=model.position,
    )


def _like(added, table):
    """Drawn events in the units and types of those of the run."""
    added = added[[name for name in (*COLUMNS, "MC_ID") if name in table.colnames]]
    added["TIME"] = getattr(added["TIME"], table["TIME"].scale)
    for name in ("RA", "DEC", "ENERGY"):
        unit = table[name].unit
        values = u.Quantity(added[name])
        added[name] = values if unit is None else values.to(unit)
    return added


def _cards(meta, models, scale, number):
    names = ", ".join(model.name for model in scaled_models(models, 1))
    history = meta.get("HISTORY", [])
    history = [history] if isinstance(history, str) else list(history)
    line = f"gammapy_mimic: {number} events of {names} x {scale:g} put in"
    return {"MIM_INJ": float(scale), "MIM_NINJ": number, "HISTORY": [*history, line]}
