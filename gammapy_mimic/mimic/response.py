"""Instrument response of a mimic: whose, turned where that is needed."""

import math
import numbers

from gammapy.irf import FoVAlignment

from gammapy_mimic.data import compat
from gammapy_mimic.mimic.background import turn_background
from gammapy_mimic.mimic.transfer import orientation_differences

__all__ = [
    "common_energy_range",
    "mimic_background",
    "mimic_irfs",
    "no_common_energies",
]


def mimic_irfs(giver, limits):
    """IRFs of a mimic, without the background.

    Parameters
    ----------
    giver : `~gammapy.data.Observation`
        The run whose IRFs they are.
    limits : dict
        From `common_energy_range`.

    Returns
    -------
    irfs : dict
        See `~gammapy_mimic.MimicMaker.make_irfs`.
    """
    irfs = {name: compat.irf(giver, name) for name in compat.IRFS if name != "bkg"}
    cards = compat.irf_keywords(giver, "aeff")
    if cards is not None and limits != {key: cards.get(key) for key in limits}:
        irfs["aeff"] = compat.irf_with_keywords(irfs["aeff"], limits)
    return irfs


def no_common_energies(target, donor, limits):
    """Find runs that have no energy at which both can be used.

    Parameters
    ----------
    target, donor : `~gammapy.data.Observation`
        The two runs.
    limits : dict
        From `common_energy_range`.

    Yields
    ------
    text : str
        Warning.
    """
    low, high = limits.get("LO_THRES", -math.inf), limits.get("HI_THRES", math.inf)
    if low >= high:
        yield (
            f"target run {target.obs_id} and donor run {donor.obs_id}: no energy is "
            f"above LO_THRES = {low:g} TeV and below HI_THRES = {high:g} TeV of their "
            "effective areas; of their mimic, the safe mask aeff-default leaves "
            "nothing: take another donor"
        )


def mimic_background(giver, target, donor, *, turns, alignment, time):
    """Background model of a mimic.

    Parameters
    ----------
    giver : `~gammapy.data.Observation`
        Run whose model it is.
    target, donor : `~gammapy_mimic.data.run.Run`
        The two runs.
    turns : bool
        Whether the model is turned with the events: that of a donor.
    alignment, time : optional
        See `~gammapy_mimic.mimic.transfer.move_run`.

    Returns
    -------
    bkg : `~gammapy.irf.Background2D`, `~gammapy.irf.Background3D`, \
`~gammapy.utils.fits.HDULocation` or None
        See `~gammapy_mimic.MimicMaker.make_background`.
    """
    held = compat.irf(giver, "bkg")
    # None for a radially symmetric model
    own = None if held is None else compat.background_alignment(giver)
    is_mirrored = own == FoVAlignment.REVERSE_LON_RADEC
    own = FoVAlignment.RADEC if is_mirrored else own
    if turns and own not in (None, alignment):
        model = compat.to_gadf_alignment(compat.background(giver))
        way = {"given": own, "alignment": alignment, "time": time}
        angle = orientation_differences(target, donor, **way)
        label = f"background model of donor run {donor.obs_id}"
        return turn_background(model, angle, label=label)
    return compat.mirrored(giver) if is_mirrored else held


def common_energy_range(*runs):
    """LO_THRES and HI_THRES between which all runs can be used.

    Parameters
    ----------
    *runs : `~gammapy.data.Observation`
        Runs, whose IRFs are not loaded.

    Returns
    -------
    limits : dict
        Energies in TeV by keyword, as far as the effective areas have them. A
        ValueError names the run whose limit is no number.
    """
    limits = {}
    for run in runs:
        cards = compat.irf_keywords(run, "aeff") or {}
        for key, stricter in (("LO_THRES", max), ("HI_THRES", min)):
            value = cards.get(key)
            if value is None:
                continue
            if not isinstance(value, numbers.Real) or isinstance(value, bool):
                raise ValueError(
                    f"run {run.obs_id} has {key} = {value!r} in its effective area: "
                    "must be a number (TeV)"
                )
            limits[key] = stricter(value, limits.get(key, value))
    return limits
