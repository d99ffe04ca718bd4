"""An ensemble in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from astropy.table import Table

if TYPE_CHECKING:
    from gammapy_mimic.analysis.ensemble import Ensemble

__all__ = ["summary", "summary_table"]


def summary(ensemble: Ensemble) -> str:
    """Describe an ensemble; see `Ensemble.summary`."""
    empty = [it for it in ensemble.quantities if it["injected"] == 0]
    n_donors = max((it["n_donors"] for it in empty), default=0)
    number = len(ensemble.sets)
    lines = [
        f"{number} mimic set{'s' * (number != 1)} of {n_donors} donor"
        f"{'s' * (n_donors != 1)}, "
        f"{len(ensemble.failed)} of their analyses failed"
    ]
    if empty:
        lines += summary_table(ensemble).pformat(max_lines=-1, max_width=-1)
    lines += [_fractions(it) for it in empty if "fractions" in it]
    if empty and not any(it["mean_err"] for it in empty):
        lines.append(
            "note: nothing is known of the scatter and the systematic, which takes "
            "sets of several donors; the values are those of this empty sky alone"
        )
    lines += _failed(ensemble)
    lines += [f"note: {it}" for it in ensemble.meta.get("notes", ())]
    if len(ensemble.scales) > 1:
        lines += _injection(ensemble)
    if ensemble.target is None:
        lines.append("blind: the targets were not analysed (--unblind)")
    else:
        lines += _target(ensemble)
    return "\n".join(lines)


def summary_table(ensemble: Ensemble) -> Table:
    """Table of all quantities without an injected source, as text."""
    return Table(rows=[_row(it) for it in ensemble.quantities if it["injected"] == 0])


def _failed(ensemble):
    """Lines about what failed; one for all scales if the reason is the same."""
    scales = {}
    for it in ensemble.failed:
        key = it["mimic_set"], it["reason"]
        scales.setdefault(key, []).append(it["injected"])
    for (mimic_set, reason), found in scales.items():
        name = "targets" if mimic_set is None else f"mimic_{mimic_set:03d}"
        text = ", ".join(f"{it:g}" for it in found)
        source = "" if found[0] == 0 else f" with a source x {text}"
        yield f"{name}{source}: {reason}"


def _row(entry):
    """Row of the table; what is not known is a dash."""
    text = {
        key: "-" if entry[key] is None else f"{entry[key]:.3g}"
        for key in ("mean", "scatter", "statistical", "systematic", "pull_width")
    }
    for key, error in (("mean", "mean_err"), ("systematic", "systematic_err")):
        if entry[error] is not None:
            text[key] += f" ± {entry[error]:.2g}"
    return {"quantity": entry["name"], "n_sets": entry["n_sets"], **text} | {
        "unit": entry["unit"]
    }


def _fractions(entry):
    parts = (
        f"{it['fraction']:.3g} above {it['above']} (χ²: {it['chi2']:.3g})"
        for it in entry["fractions"]
        if it["fraction"] is not None
    )
    return f"{entry['name']}: {', '.join(parts)}"


def _injection(ensemble):
    """Lines about the injected source; none if its truth is not known."""
    try:
        found, seen, limits = (
            getattr(ensemble, it) for it in ("recovery", "sensitivity", "upper_limits")
        )
    except ValueError:
        return
    for row in found[found["INJECTED"] > 0]:
        yield (
            f"{row['NAME']} x {row['INJECTED']:g}: put in {row['TRUTH']:.3g}, found "
            f"{row['MEAN']:.3g} ± {row['BIAS_ERR']:.2g}, errors reach the truth in "
            f"{row['COVERAGE']:.0%} of the sets"
        )
    for row in seen:
        values = [row["FLUX"], row["FLUX_SYSTEMATIC"]]
        text = [
            f"{it:.3g} {row['UNIT']}" if np.isfinite(it) else "beyond the largest scale"
            for it in values
        ]
        yield (
            f"{row['NAME']}: half of the sets see at 5 sigma {text[0]}, with the "
            f"systematic {text[1]}"
        )
    for row in limits[limits["INJECTED"] == 0]:
        text = f"{row['LIMIT']:.3g} {row['UNIT']}"
        if not np.isfinite(row["LIMIT"]):
            text = "beyond the largest scale"
        yield f"{row['NAME']}: 95 % upper limit of an empty set {text}"


def _target(ensemble):
    for name, it in ensemble.target.items():
        error = "" if it["error"] is None else f" ± {it['error']:.2g}"
        p_value = (
            ""
            if it["p_value"] is None
            else f", p-value {it['p_value']:.3g} ± {it['p_value_err']:.2g}"
        )
        yield f"targets: {name} = {it['value']:.3g}{error} {it['unit']}{p_value}"
