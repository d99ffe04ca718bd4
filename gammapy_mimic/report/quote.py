"""What may be quoted: the error of the background in the stack of the targets."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from gammapy.modeling.models import PowerLawSpectralModel

from gammapy_mimic.report.measure import Campaign, Measurement
from gammapy_mimic.validation.position import TargetSignificance

__all__ = [
    "INDEX",
    "LIMITS",
    "Stack",
    "first_rows",
    "headline",
    "mimic_significance",
    "of_radius",
    "quote",
]

INDEX = 2.5
"""Power law by which excess counts become a flux."""

LIMITS = (0.3, 1.0)
"""Parts of the statistical error at which an error of the background begins to count,
and to dominate: with 0.3 the two together are 4 % more than the statistical error."""

PARTS = 10
"""Parts of an energy bin in which the effective area is averaged."""

FLUX_UNIT = u.Unit("cm-2 s-1")


@dataclass(frozen=True)
class Stack:
    """The stack of the targets, as far as it can be known without looking at them."""

    n_targets: int
    """Targets that have the position in their field of view."""
    n_mimics: float
    """Mimics of a set that have it, on average."""
    counts_ratio: float
    """Background counts of the targets over those of a mimic set: by time and rate."""
    time_ratio: float
    """The same of the time alone."""

    @classmethod
    def of(cls, campaign: Campaign, found: Measurement) -> "Stack":
        """Take time and rate of the targets from the pairs."""
        pairs, runs = campaign.pairs, found.at_position.runs
        targets = pairs.targets[np.isin(pairs.targets["OBS_ID"], runs)]
        pointing = SkyCoord(targets["RA_PNT"], targets["DEC_PNT"], unit="deg")
        largest = campaign.geometry["offset_max"]
        # those of drift scans are not known
        n_targets, n_mimics = (
            int(np.sum(~(it.separation(found.position) >= largest)))
            for it in (pointing, campaign.pointings)
        )
        seconds, rate = _times_and_rates(campaign, runs)
        total = len(campaign.sets) * float(np.sum(targets["ONTIME"]))
        return cls(
            n_targets,
            n_mimics / len(campaign.sets),
            total / float(np.sum(seconds * rate)),
            total / float(np.sum(seconds)),
        )


def _times_and_rates(campaign, runs):
    """Time in s of each mimic of some targets, and the rate of its donor over theirs.

    Where the ratio is not known it is 1.
    """
    found = []
    for number, table in campaign.indices.items():
        seconds = dict(zip(table["OBS_ID"].tolist(), table["ONTIME"], strict=True))
        for row in campaign.rows(number):
            if row["MIMIC_OBS_ID"] in seconds and row["TARGET_OBS_ID"] in runs:
                ratio = float(np.ma.filled(row["RATE_RATIO"], np.nan))
                ratio = ratio if np.isfinite(ratio) else 1.0
                found.append((seconds[row["MIMIC_OBS_ID"]], ratio))
    return np.array(found, dtype=float).T


def quote(campaign: Campaign, found: Measurement) -> dict[str, Any]:
    r"""Turn the systematic at the position into what may be quoted.

    With the systematic S of a run and the mean M of counts over prediction, each with
    its error, the background of a stack of n targets that err independently has the
    relative error

    .. math:: \sigma = \sqrt{S^2 / n + \sigma_M^2}

    (as `~gammapy_mimic.validation.BackgroundSystematic.to_model` takes it), with the
    upper limit in place of an S that is not seen. The statistical error is that of the
    background counts B which are expected in the circle, :math:`\sqrt{B (1 + \alpha)}`
    with on and off counts.

    Parameters
    ----------
    campaign : `~gammapy_mimic.report.Campaign`
        Campaign.
    found : `~gammapy_mimic.report.measure.Measurement`
        Numbers.

    Returns
    -------
    quote : dict
        ``n_targets`` and ``rows``, one for each row of the table of the systematic at
        the position: its edges (TeV, deg), ``background`` counts in the circle,
        ``statistical`` error, ``relative`` error of the background, the same in
        ``counts`` and ``flux`` (cm-2 s-1), in statistical errors (``ratio``; if all
        runs have their error in common ``ratio_common``; ``bias`` of the mean), whether
        it is a limit, and the ``verdict``.
    """
    stack = Stack.of(campaign, found)
    table = found.local.table
    alpha = 0.0 if found.on_off is None else float(found.on_off.table["ALPHA"][0])
    response = _response(campaign, found, stack)
    rows = [
        _row(row, stack, alpha, seen)
        for row, seen in zip(table, response.ravel(), strict=True)
    ]
    return {"n_targets": stack.n_targets, "index": INDEX, "rows": rows}


def _row(row, stack, alpha, response):
    """One row; ``response`` is the excess for a flux of one."""
    background = row["PREDICTED"] * stack.n_mimics * stack.counts_ratio
    statistical = np.sqrt(background * (1 + alpha))
    is_seen = bool(row["SYSTEMATIC"] > row["SYSTEMATIC_ERR"])
    systematic = row["SYSTEMATIC" if is_seen else "SYSTEMATIC_UL"]
    relative = np.hypot(systematic / np.sqrt(stack.n_targets or 1), row["MEAN_ERR"])
    counts = relative * background
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio, flux = counts / statistical, counts / response
        common = np.hypot(systematic, row["MEAN_ERR"]) * background / statistical
        bias = (row["MEAN"] - 1) * background / statistical
    return {
        "radius": row["RADIUS"].to_value("deg"),
        "energy_min": row["ENERGY_MIN"].to_value("TeV"),
        "energy_max": row["ENERGY_MAX"].to_value("TeV"),
        "background": background,
        "statistical": statistical,
        "systematic": row["SYSTEMATIC"],
        "systematic_err": row["SYSTEMATIC_ERR"],
        "systematic_ul": row["SYSTEMATIC_UL"],
        "mean": row["MEAN"],
        "mean_err": row["MEAN_ERR"],
        "n_donors": int(row["N_DONORS"]),
        "relative": relative,
        "counts": counts,
        "flux": flux,
        "ratio": ratio,
        "ratio_common": common,
        "bias": bias,
        "is_limit": not is_seen,
        "verdict": _verdict(ratio),
    }


def _verdict(ratio):
    """Say what an error in statistical errors means; None if it is not known."""
    if not np.isfinite(ratio):
        return None
    words = "negligible", "to be added", "dominates"
    return words[int(np.searchsorted(LIMITS, ratio, side="right"))]


def headline(rows: list[dict], radius_deg: float) -> dict | None:
    """Row of the first screen: all energies, of the circle nearest to a radius.

    Only circles whose error is known count. None if there is none.
    """
    known = [row for row in first_rows(rows) if row["verdict"] is not None]
    return min(known, key=lambda it: abs(it["radius"] - radius_deg), default=None)


def first_rows(rows: list[dict]) -> list[dict]:
    """Rows for all energies together, one for each radius."""
    found: dict[float, dict] = {}
    for row in rows:
        found.setdefault(row["radius"], row)
    return list(found.values())


def of_radius(rows: list[dict], radius_deg: float) -> list[dict]:
    """Rows of the energy bins for one radius; none if there is one bin only."""
    found = [row for row in rows if row["radius"] == radius_deg][1:]
    return found if len(found) > 1 else []


def mimic_significance(at_position: TargetSignificance) -> dict[str, float]:
    """Mean and spread of the significances of the mimic sets at the position.

    Returns
    -------
    found : dict
        ``mean``, ``mean_err`` (of as many sets as they are worth) and ``spread``, the
        standard deviation; NaN for too few sets.
    """
    values = at_position.mimics[np.isfinite(at_position.mimics)]
    spread = float(values.std(ddof=1)) if len(values) > 1 else np.nan
    mean = float(values.mean()) if len(values) else np.nan
    error = spread / np.sqrt(max(at_position.n_effective, 1))
    return {"mean": mean, "mean_err": error, "spread": spread}


def _response(campaign, found, stack):
    """Excess in each circle and energy range for a flux of 1 cm-2 s-1 in that range.

    Of a point-like source with a power law, without energy dispersion. The mimics of
    the first set stand for the targets.
    """
    edges = campaign.geometry["energy_edges"]
    radii = np.unique(found.local.table["RADIUS"])
    model = PowerLawSpectralModel(index=INDEX, amplitude="1 cm-2 s-1 TeV-1")
    excess = np.zeros((len(radii), len(edges) - 1)) * u.Unit("cm2 s")
    flux = model.integral(edges[:-1], edges[1:]).to(FLUX_UNIT)
    part = (np.arange(PARTS) + 0.5)[:, np.newaxis] / PARTS
    fine = edges[:-1] * (edges[1:] / edges[:-1]) ** part
    number = next(iter(campaign.sets))
    for run in campaign.observations(number):
        offset = run.get_pointing_icrs(run.tmid).separation(found.position)
        if offset >= campaign.geometry["offset_max"]:
            continue
        weight = model(fine) * fine
        area = run.aeff.evaluate(energy_true=fine, offset=offset)
        exposure = (area * run.observation_live_time_duration).to("cm2 s")
        exposure = exposure * _containment(run, radii, fine, offset)
        excess += np.sum(weight * exposure, axis=1) / np.sum(weight, axis=0)
    excess = excess.value * stack.time_ratio
    whole = np.sum(excess * flux.value, axis=1, keepdims=True) / flux.value.sum()
    return np.concatenate([whole, excess], axis=1)


def _containment(run, radii, energy, offset):
    """Part of a point-like source in each circle, shape (n_radii, n_parts, n_bins)."""
    if run.psf is None:
        return np.ones((len(radii), 1, 1))
    if "rad" in run.psf.axes.names:
        # a circle beyond what the file has holds what there is
        radii = np.minimum(radii, run.psf.axes["rad"].edges[-1])
    found = run.psf.containment(
        rad=radii[:, np.newaxis, np.newaxis], energy_true=energy, offset=offset
    )
    return np.nan_to_num(u.Quantity(found).to_value(""))
