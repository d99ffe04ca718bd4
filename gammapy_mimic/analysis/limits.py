"""Sources that were put in: found again, seen, and excluded."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from astropy.table import Table
from scipy.special import stdtrit

if TYPE_CHECKING:
    from gammapy_mimic.analysis.ensemble import Ensemble

__all__ = ["recovery", "sensitivity", "upper_limits"]

N_SIGMA = 5.0
CONFIDENCE = 0.95


def _arrays(entry):
    return (np.array(entry[key], dtype=float) for key in ("values", "errors"))


def _injected(ensemble):
    """For each quantity whose truth is known, its entries in the order of scale."""
    found = {}
    for scale in ensemble.scales:
        for name in ensemble.names:
            try:
                entry = ensemble.quantity(name, scale)
            except KeyError:
                continue
            if entry["truth"] is not None:
                found.setdefault(name, []).append(entry)
    found = {name: it for name, it in found.items() if len(it) > 1}
    if not found:
        raise ValueError(
            "no source was put in of which the truth is known: set "
            "mimic.analyse.inject, with a model named as that which is fitted"
        )
    return found


def recovery(ensemble: Ensemble) -> Table:
    """Compare what was found with what was put in.

    Parameters
    ----------
    ensemble : `~gammapy_mimic.analysis.Ensemble`
        Ensemble with an injected source.

    Returns
    -------
    table : `~astropy.table.Table`
        For each quantity whose truth is known, and each scale: NAME, INJECTED, UNIT,
        TRUTH, MEAN, BIAS = MEAN - TRUTH and its error BIAS_ERR, WIDTH (root mean square
        of (value - TRUTH) / error), COVERAGE (part of the sets whose error reaches the
        truth; 0.683 if errors are right), N_SETS.

    Raises
    ------
    ValueError
        If no source was put in.
    """
    rows = []
    for name, entries in _injected(ensemble).items():
        for entry in entries:
            values, errors = _arrays(entry)
            with np.errstate(invalid="ignore"):
                pull = (values - entry["truth"]) / errors
            pull = pull[np.isfinite(pull)]
            number = max(len(pull), 1)
            rows.append(
                {
                    "NAME": name,
                    "INJECTED": entry["injected"],
                    "UNIT": entry["unit"],
                    "TRUTH": entry["truth"],
                    "MEAN": _number(entry["mean"]),
                    "BIAS": _number(entry["mean"]) - entry["truth"],
                    "BIAS_ERR": _number(entry["mean_err"]),
                    "WIDTH": np.sqrt(np.sum(pull**2) / number),
                    "COVERAGE": np.sum(np.abs(pull) < 1) / number,
                    "N_SETS": entry["n_sets"],
                }
            )
    return Table(rows)


def sensitivity(ensemble: Ensemble) -> Table:
    """Find the flux that half of the sets see at 5 standard deviations.

    Parameters
    ----------
    ensemble : `~gammapy_mimic.analysis.Ensemble`
        Ensemble with an injected source.

    Returns
    -------
    table : `~astropy.table.Table`
        For each quantity whose truth is known: NAME, UNIT, FLUX at which the median of
        the significances is 5 when only statistical errors count, and
        FLUX_SYSTEMATIC when the systematic without a source counts, too; SCALE and
        SCALE_SYSTEMATIC, the same in scales. Interpolated between scales, NaN beyond
        them.

    Raises
    ------
    ValueError
        If no source was put in.
    """
    rows = []
    for name, entries in _injected(ensemble).items():
        truth, seen = significances(ensemble, name)
        scale = [it["injected"] for it in entries]
        row = {"NAME": name, "UNIT": entries[0]["unit"]}
        for suffix, values in zip(("", "_SYSTEMATIC"), seen, strict=True):
            row[f"FLUX{suffix}"] = _crossing(truth, values)
            row[f"SCALE{suffix}"] = _crossing(scale, values)
        rows.append(row)
    return Table(rows)


def significances(
    ensemble: Ensemble, name: str
) -> tuple[list[float], tuple[list[float], list[float]]]:
    """Median significance of the sets against the flux put in.

    Parameters
    ----------
    ensemble : `~gammapy_mimic.analysis.Ensemble`
        Ensemble with an injected source.
    name : str
        Quantity.

    Returns
    -------
    truth : list of float
        Flux put in.
    seen : tuple of list
        Median significances with statistical errors alone, and with the systematic.
    """
    entries = _injected(ensemble)[name]
    false = _number(entries[0]["systematic"])
    seen, seen_systematic = (
        [_median_significance(it, ensemble, systematic) for it in entries]
        for systematic in (0.0, false)
    )
    return [it["truth"] for it in entries], (seen, seen_systematic)


def _median_significance(entry, ensemble, systematic):
    """Median over sets; from the test statistic where there is one."""
    values, errors = _arrays(entry)
    model = entry["name"].partition(".")[0]
    try:
        ts, _ = _arrays(ensemble.quantity(f"{model}.ts", entry["injected"]))
        significance = np.sign(values) * np.sqrt(np.maximum(ts, 0))
    except KeyError:
        significance = values / errors
    # the false source adds to the variance
    ratio = np.sqrt(1 + (systematic / errors) ** 2)
    return np.nanmedian(significance / ratio)


def _crossing(x, y, level=N_SIGMA):
    """Where a rising curve reaches a level; NaN if it does not."""
    x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    above = np.flatnonzero(y >= level)
    if not len(above) or not above[0]:
        return np.nan
    k = above[0]
    return float(np.interp(level, y[k - 1 : k + 1], x[k - 1 : k + 1]))


def upper_limits(ensemble: Ensemble) -> Table:
    r"""Upper limits at 95 % that hold with systematics, by test inversion.

    A flux F is excluded by a value q if sets with a source of this flux give so little
    with a probability of less than 5 %. With mean :math:`\mu(F)` and total standard
    deviation s(F) of the sets with an injected source, interpolated between the scales,
    the limit solves :math:`\mu(F) - q = t\, s(F) \sqrt{1 + 1 / n}` where t is the 95 %
    point of Student's distribution.

    Parameters
    ----------
    ensemble : `~gammapy_mimic.analysis.Ensemble`
        Ensemble with an injected source.

    Returns
    -------
    table : `~astropy.table.Table`
        For each quantity whose truth is known, and each scale: NAME, INJECTED, UNIT,
        TRUTH, LIMIT (median over the sets), COVERAGE (part of the sets whose limit is
        not below the truth; 0.95 if limits are right), LIMIT_TARGET (of the target, in
        the row of scale 0; NaN while blind). Limits beyond the largest scale are
        infinite: add scales.

    Raises
    ------
    ValueError
        If no source was put in.
    """
    rows = []
    for name, entries in _injected(ensemble).items():
        curve = _limit_curve(entries)
        target = (ensemble.target or {}).get(name, {}).get("value")
        for entry in entries:
            values, _ = _arrays(entry)
            limits = _limits(curve, values[np.isfinite(values)])
            of_target = target if entry["injected"] == 0 else None
            rows.append(
                {
                    "NAME": name,
                    "INJECTED": entry["injected"],
                    "UNIT": entry["unit"],
                    "TRUTH": entry["truth"],
                    "LIMIT": np.median(limits) if len(limits) else np.nan,
                    "COVERAGE": np.mean(limits >= entry["truth"])
                    if len(limits)
                    else np.nan,
                    "LIMIT_TARGET": np.nan
                    if of_target is None
                    else _limits(curve, np.array([of_target]))[0],
                }
            )
    return Table(rows)


def _limit_curve(entries):
    """Truths, and the values below which each of them is excluded."""
    truth, excluded = [], []
    for entry in entries:
        if entry["total"] is None or entry["n_dof"] is None:
            continue
        t = stdtrit(entry["n_dof"], CONFIDENCE)
        spread = entry["total"] * np.sqrt(1 + 1 / entry["n_effective"])
        truth.append(entry["truth"])
        excluded.append(entry["mean"] - t * spread)
    # less flux is never excluded by more counts
    return np.array(truth), np.maximum.accumulate(excluded) if truth else np.array([])


def _limits(curve, values):
    """Largest flux that each value does not exclude."""
    truth, excluded = curve
    if len(truth) < 2:
        return np.full(len(values), np.nan)
    # below what no source at all gives, the limit is none at all
    limits = np.interp(values, excluded, truth, left=0)
    return np.where(values > excluded[-1], np.inf, limits)


def _number(value):
    return np.nan if value is None else value
