"""The demonstration: from runs to a data store of mimics that gammapy reduces."""

import logging
from pathlib import Path

from astropy import units as u
from astropy.table import Table
from gammapy.data import DataStore, Observations
from gammapy.datasets import MapDataset
from gammapy.makers import MapDatasetMaker, SafeMaskMaker
from gammapy.maps import MapAxis, WcsGeom
from gammapy.utils.pbar import progress_bar

from gammapy_mimic.mimic import MimicMaker
from gammapy_mimic.plotting import plot_mimic
from gammapy_mimic.simulation import simulate_datastore
from gammapy_mimic.writer import write_datastore

__all__ = ["reduce_run", "run_demo"]

log = logging.getLogger(__name__)

ENERGY_RANGE = (0.5, 20) * u.TeV
OFFSET_MAX = 2 * u.deg


def run_demo(
    out, *, datastore=None, targets=None, donors=None, random_state=0, overwrite=False
):
    """Make mimics, write them, open them with gammapy, reduce and draw them.

    Parameters
    ----------
    out : str or `~pathlib.Path`
        Folder for the results: the data store ``mimics/``, one figure a run in
        ``figures/`` and, without ``datastore``, the synthetic runs in ``runs/``.
    datastore : str or `~pathlib.Path`, optional
        Folder of a data store. By default synthetic runs are made.
    targets, donors : list of int, optional
        OBS_IDs; the first donor is for the first target and so on. Needed if
        ``datastore`` is given.
    random_state : int, optional
        Seed. Default is 0.
    overwrite : bool, optional
        Replace the results of an earlier call. Default is False.

    Returns
    -------
    table : `~astropy.table.Table`
        One row a mimic: run, donor, number of events, livetime, pointing, and
        counts and predicted background as reduced by gammapy (0.5 to 20 TeV above
        the threshold, offset below 2 deg).

    Raises
    ------
    ValueError
        If a run is missing, or there are fewer donors than targets.
    """
    out = Path(out)
    if datastore is None:
        simulated = simulate_datastore(
            out / "runs", random_state=random_state, overwrite=overwrite
        )
        store = simulated.datastore
        targets, donors = simulated.target_ids, simulated.donor_ids
    else:
        store = DataStore.from_dir(datastore)
    pairs = _pairs(store, targets, donors)
    maker = MimicMaker(random_state=random_state)
    runs = Observations([store.obs(obs_id, "all-optional") for obs_id in store.obs_ids])
    made = (
        maker.run_pairs(runs, runs, [pair])[0]
        for pair in progress_bar(pairs, desc="Mimics")
    )
    mimics = write_datastore(made, out / "mimics", overwrite=overwrite)
    return _report(store, mimics, pairs, out / "figures")


def _pairs(store, targets, donors):
    targets, donors = list(targets or []), list(donors or [])
    unknown = sorted({*targets, *donors} - {int(obs_id) for obs_id in store.obs_ids})
    if unknown:
        raise ValueError(
            f"runs {', '.join(map(str, unknown))} are not in the data store "
            f"{store.hdu_table.base_dir}"
        )
    if not targets or len(donors) < len(targets):
        raise ValueError(
            f"{len(targets)} targets and {len(donors)} donors given: "
            "need at least one target, and a donor for each"
        )
    return list(zip(targets, donors[: len(targets)], strict=True))


def _report(store, mimics, pairs, folder):
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for target_id, donor_id in progress_bar(pairs, desc="Reduction"):
        mimic = mimics.obs(target_id, "all-optional")
        donor = store.obs(donor_id, "all-optional")
        pointing = mimic.get_pointing_icrs(mimic.tmid)
        counts, background = reduce_run(mimic)
        rows.append(
            {
                "run": target_id,
                "donor": donor_id,
                "events": len(mimic.events.table),
                "livetime": mimic.observation_live_time_duration.to("min"),
                "pointing": pointing.to_string("decimal", precision=3),
                "counts": counts,
                "background": background,
            }
        )
        axes = plot_mimic(donor, mimic)
        axes[0].figure.savefig(folder / f"{target_id}.png", dpi=100)
    table = Table(rows)
    table["livetime"].info.format = ".2f"
    table["background"].info.format = ".0f"
    return table


def reduce_run(observation):
    """Reduce a run with gammapy: its counts and its predicted background.

    Parameters
    ----------
    observation : `~gammapy.data.Observation`
        Run with IRFs and background model.

    Returns
    -------
    counts : int
        Counts from 0.5 to 20 TeV, above the energy threshold of the run and within
        2 deg of the pointing.
    background : float
        Predicted background there.
    """
    pointing = observation.get_pointing_icrs(observation.tmid)
    axis = MapAxis.from_energy_bounds(*ENERGY_RANGE, nbin=6)
    axis_true = MapAxis.from_energy_bounds(
        *ENERGY_RANGE * [0.5, 2], nbin=10, name="energy_true"
    )
    geom = WcsGeom.create(
        skydir=pointing.icrs, width=2 * OFFSET_MAX, binsz=0.1, axes=[axis], proj="TAN"
    )
    empty = MapDataset.create(geom, energy_axis_true=axis_true)
    maker = MapDatasetMaker(selection=["counts", "background"])
    safe = SafeMaskMaker(["offset-max", "aeff-default"], offset_max=OFFSET_MAX)
    dataset = safe.run(maker.run(empty, observation), observation)
    mask = dataset.mask_safe.data
    return int(dataset.counts.data[mask].sum()), dataset.background.data[mask].sum()
