"""The demonstration: from runs to a data store of mimics that gammapy reduces.

Match, scramble, move, write, open, reduce, draw: each step of a campaign once.
"""

import logging
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.table import Table
from gammapy.data import DataStore
from gammapy.maps import MapAxis, WcsGeom
from gammapy.utils.pbar import progress_bar
from gammapy.utils.scripts import make_path
from regions import CircleSkyRegion

from gammapy_mimic.campaign.records import claimed_file, remove_file, write_record
from gammapy_mimic.checks import open_store
from gammapy_mimic.io.arguments import PathLike, RandomState, check_flag
from gammapy_mimic.io.ecsv import write_ecsv
from gammapy_mimic.io.output import save_figure
from gammapy_mimic.matching import DonorMatcher
from gammapy_mimic.mimic.maker import MimicMaker
from gammapy_mimic.plotting import plot_mimic, plot_scramble
from gammapy_mimic.scramble.residuals import scramble_residuals, scramble_seed
from gammapy_mimic.scramble.scrambler import AnnulusScrambler
from gammapy_mimic.simulation import simulate_datastore
from gammapy_mimic.validation import reduction
from gammapy_mimic.writer import write_datastore

__all__ = ["reduce_run", "run_demo"]

log = logging.getLogger(__name__)

ENERGY_RANGE = (0.5, 20) * u.TeV
OFFSET_MAX = 2 * u.deg

_CLAIM = ".demo.json"
_RESULTS = ("runs", "mimics", "figures", "pairs.ecsv")
_OWN = re.compile(r"-?\d+\.fits|(obs|hdu)-index\.fits\.gz|(scrambled_)?-?\d+\.png")
"""What the demonstration writes to its folders."""

RELAXED = ("muon_efficiency", "azimuth")
"""Cuts that may be given up for a target that has no donor otherwise."""


def run_demo(
    out: PathLike,
    *,
    datastore: PathLike | None = None,
    targets: Sequence[int] | None = None,
    donors: Sequence[int] | None = None,
    random_state: RandomState = 0,
    overwrite: bool = False,
) -> Table:
    """Make mimics, write them, open them with gammapy, reduce and draw them.

    Known sources of the donors are scrambled before.

    Parameters
    ----------
    out : str or `~pathlib.Path`
        Folder for the results: the data store ``mimics/``, one figure a run, and one
        for each scrambled donor, in ``figures/``, the pairs in ``pairs.ecsv`` and,
        without ``datastore``, the synthetic runs in ``runs/``.
    datastore : str or `~pathlib.Path`, optional
        Folder of a data store. By default synthetic runs are made.
    targets : list of int, optional
        OBS_IDs. Needed if ``datastore`` is given.
    donors : list of int, optional
        OBS_IDs: the first donor is for the first target and so on. By default they
        are matched, among all other runs.
    random_state : int, optional
        Seed. Default is 0.
    overwrite : bool, optional
        Replace the results of an earlier call: nothing of them stays. Default is False.

    Returns
    -------
    table : `~astropy.table.Table`
        One row a mimic: run, donor, number of events, livetime, pointing, counts
        and predicted background as reduced by gammapy (0.5 to 20 TeV above the
        threshold, offset below 2 deg), and the sources that were scrambled.

    Raises
    ------
    ValueError
        If a run is missing, no target has a donor, or there are fewer donors than
        targets.
    FileExistsError
        If ``out`` holds results, and ``overwrite`` is False or they are not those of
        an earlier call.
    """
    out = Path(out)
    _check_folder(out, datastore, overwrite)
    if datastore is None:
        _clear(out)
        simulated = simulate_datastore(out / "runs", random_state=random_state)
        store, targets = simulated.datastore, list(simulated.target_ids)
        # without its best donor, the first target gets the one with the weak source
        pairs = _matched_pairs(store, targets, simulated.donor_ids[1:])
        weak_source = simulated.runs[simulated.weak_donor_id].sources[0]
        circle = CircleSkyRegion(weak_source.position, 0.3 * u.deg)
        circle.meta["name"] = weak_source.name
        scrambler = AnnulusScrambler(circle)
    else:
        store = open_store(datastore, needs_obs_index=not donors)
        pairs = _pairs(store, list(targets or []), list(donors or []))
        scrambler = AnnulusScrambler.from_catalog()
        _clear(out)
    maker = MimicMaker(scrambler=scrambler, random_state=random_state)
    made = (
        maker.run(_run(store, target_id), _run(store, donor_id))
        for target_id, donor_id in progress_bar(pairs, desc="Mimics")
    )
    try:
        mimics = write_datastore(made, out / "mimics")
    except BaseException:
        if not any((out / name).exists() for name in _RESULTS):
            remove_file(out / _CLAIM)
        raise
    chosen = Table(rows=pairs, names=["TARGET_OBS_ID", "DONOR_OBS_ID"])
    write_ecsv(chosen, out / "pairs.ecsv")
    table = _report(store, mimics, pairs, out / "figures")
    _draw_scrambled(store, mimics, pairs, scrambler, out / "figures")
    return table


def _check_folder(out, datastore, overwrite):
    """Raise an error for results that are not to be replaced."""
    there = [name for name in _RESULTS if (out / name).exists()]
    if not there:
        return
    names = ", ".join(there)
    if not check_flag("overwrite", overwrite):
        raise FileExistsError(
            f"{out} holds results ({names}): use overwrite (--overwrite) to replace "
            "those of an earlier demo, or take another folder (--out)"
        )
    if claimed_file(out / _CLAIM) is None:
        raise FileExistsError(
            f"{out} holds {names} which no demo has written: they are not replaced; "
            "take another folder (--out)"
        )
    if datastore is not None and make_path(datastore).resolve().is_relative_to(
        out.resolve()
    ):
        raise FileExistsError(
            f"{datastore} lies in the folder {out}, which is to be overwritten: take "
            "another folder (--out)"
        )


def _clear(out):
    """Remove what an earlier call has written, and claim the folder."""
    for name in _RESULTS:
        files = [out / name] if "." in name else [*(out / name).glob("*")]
        for path in files:
            if path.name == name or _OWN.fullmatch(path.name):
                remove_file(path)
        if (out / name).is_dir() and not any((out / name).iterdir()):
            (out / name).rmdir()
    write_record(out / _CLAIM, {"file": out.name, "pending": True})


def _run(store, obs_id):
    return store.obs(obs_id, required_irf="all-optional")


def _pairs(store, targets, donors):
    """(target, donor) OBS_IDs, in the order given or as matched."""
    known = {int(obs_id) for obs_id in store.obs_ids}
    unknown = sorted({*targets, *donors} - known)
    if unknown:
        raise ValueError(
            f"runs {', '.join(map(str, unknown))} are not in the data store "
            f"{store.hdu_table.base_dir}"
        )
    if not donors and targets:
        return _matched_pairs(store, targets, sorted(known - {*targets}))
    if not targets or len(donors) < len(targets):
        raise ValueError(
            f"{len(targets)} targets and {len(donors)} donors given: "
            "need at least one target, and a donor for each"
        )
    return list(zip(targets, donors[: len(targets)], strict=True))


def _matched_pairs(store, targets, donors):
    ids = store.obs_table["OBS_ID"]
    of_targets, of_donors = (
        DataStore(store.hdu_table, store.obs_table[np.isin(ids, chosen)])
        for chosen in (targets, donors)
    )
    matcher = DonorMatcher(relax=RELAXED)
    found = matcher.run(of_targets, of_donors)
    log.info("%s", found.summary())
    if not found.has_donor.any():
        raise ValueError(f"no target has a donor:\n{found.summary()}")
    chosen = found[found.has_donor]
    return [(int(r["TARGET_OBS_ID"]), int(r["DONOR_OBS_ID"])) for r in chosen]


def _draw_scrambled(store, mimics, pairs, scrambler, folder):
    """Six panels for each donor of which a source was scrambled, as it was."""
    for target_id, donor_id in pairs:
        header = _run(mimics, target_id).events.table.meta
        if header.get("SCR_NSRC", 0) == 0:
            continue
        donor = _run(store, donor_id)
        scrambled = scrambler.run(donor, random_state=scramble_seed(header))
        axes = plot_scramble(donor, scrambled, scrambler)
        save_figure(axes[0].figure, folder / f"scrambled_{donor_id}.png", dpi=80)


def _report(store, mimics, pairs, folder):
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for target_id, donor_id in progress_bar(pairs, desc="Reduction"):
        mimic, donor = _run(mimics, target_id), _run(store, donor_id)
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
                "scrambled": ", ".join(scramble_residuals([mimic])["SOURCE"]) or "-",
            }
        )
        axes = plot_mimic(donor, mimic)
        save_figure(axes[0].figure, folder / f"{target_id}.png", dpi=100)
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
    geom = WcsGeom.create(
        skydir=pointing.icrs, width=2 * OFFSET_MAX, binsz=0.1, axes=[axis], proj="TAN"
    )
    dataset = reduction.reduce_run(observation, geom, offset_max=OFFSET_MAX)
    mask = dataset.mask_safe.data
    return int(dataset.counts.data[mask].sum()), dataset.background.data[mask].sum()
