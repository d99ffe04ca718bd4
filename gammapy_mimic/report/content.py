"""All numbers of a report as plain values: what ``report.json`` holds."""

from typing import Any

import numpy as np
from astropy import units as u
from astropy.table import Table

from gammapy_mimic import __version__
from gammapy_mimic.analysis import Ensemble
from gammapy_mimic.report.judge import ON_RADIUS
from gammapy_mimic.report.measure import Campaign, Measurement
from gammapy_mimic.report.method import match_summary, method_table
from gammapy_mimic.report.quote import (
    LIMITS,
    headline,
    mimic_significance,
    quote,
)
from gammapy_mimic.report.words import plural
from gammapy_mimic.validation import SignificanceDistribution

__all__ = ["content", "plain"]

_UNITS = ("TeV", "deg")
"""Units in which energies and angles are given."""

_FEW_DONORS = 10
"""Donors below which their scatter is not well known."""

_RATES = (0.67, 1.5)
"""Ratios of the rates of donor and target beyond which they are hardly alike: rates of
runs under like conditions scatter by some 20 %."""

DR1 = (
    "This work made use of data from the H.E.S.S. DL3 public test data release 1 "
    "(HESS DL3 DR1, H.E.S.S. collaboration, 2018)."
)


def plain(value: Any) -> Any:
    """Turn a value into what JSON knows: numbers in TeV and deg, None for NaN.

    Parameters
    ----------
    value : object
        Number, text, `~astropy.units.Quantity`, table, array, dict or list of these.
        Tables become lists of dicts with the names of columns in lower case.

    Returns
    -------
    value : object
        Plain value.
    """
    if isinstance(value, Table):
        columns = {name.lower(): plain(value[name]) for name in value.colnames}
        rows = zip(*columns.values(), strict=True)
        return [dict(zip(columns, row, strict=True)) for row in rows]
    if isinstance(value, dict):
        return {str(key): plain(it) for key, it in value.items()}
    if isinstance(value, u.Quantity):
        units = [it for it in _UNITS if value.unit.is_equivalent(it)]
        return plain(value.to_value(units[0]) if units else value.value)
    if isinstance(value, np.ma.MaskedArray):
        return [plain(it) for it in value.tolist()]
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(it) for it in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


def content(
    campaign: Campaign,
    found: Measurement,
    ensemble: Ensemble | None = None,
    *,
    n_toys: int = 50,
) -> dict[str, Any]:
    """Collect the numbers of a report.

    Parameters
    ----------
    campaign : `~gammapy_mimic.report.Campaign`
        Campaign.
    found : `~gammapy_mimic.report.measure.Measurement`
        Numbers.
    ensemble : `~gammapy_mimic.Ensemble`, optional
        What the user's analysis gave on the mimic sets, blind if the report is. Default
        is None: it did not run.
    n_toys : int, optional
        Number of toys for each significance map. Default is 50.

    Returns
    -------
    content : dict
        Plain values; see the schema of ``report.json``.
    """
    match = match_summary(campaign)
    quoted = quote(campaign, found)
    own = campaign.config.datasets.on_region.radius
    radius = ON_RADIUS if own is None else u.Quantity(own)
    head = headline(quoted["rows"], radius.to_value("deg"))
    position = found.position.icrs
    systematic = found.systematic
    result = {
        "name": campaign.path.absolute().name,
        "version": __version__,
        "made_with": [it["versions"] for it in campaign.provenance["made_with"]],
        "blinded": found.target is None,
        "position": {
            "ra": position.ra.deg,
            "dec": position.dec.deg,
            "from": campaign.place.source,
        },
        "quote": {
            **quoted,
            "headline": head,
            "limits": LIMITS,
        },
        "significance": _significance(found),
        "ensemble": None if ensemble is None else _ensemble(ensemble, campaign),
        "match": match,
        "method": method_table(campaign, found, match, n_toys),
        "mimic_sets": list(campaign.sets),
        "missing": campaign.missing,
        "n_mimics": sum(len(campaign.obs_ids(it)) for it in campaign.sets),
        "local": found.local.table,
        "local_method": found.local.method,
        "systematic": None if systematic is None else systematic.table,
        "no_systematic": found.no_systematic,
        "on_off": [
            {"mimic_set": number, **_on_off(row)}
            for number, row in found.on_off_of_set.items()
        ],
        "on_off_energies": None if found.on_off is None else found.on_off.table,
        "distributions": [
            {"mimic_set": number, **_distribution(it)}
            for number, it in found.distributions.items()
        ],
        "residuals": found.residuals,
        "checks": list(_checks(campaign, found)),
    }
    result = plain(result)
    result["warnings"] = _warnings(campaign, found)
    result["notes"] = list(campaign.pairs.notes)
    result["cautions"] = list(_cautions(result))
    result["acknowledgement"] = campaign.config.mimic.acknowledgement
    proposed = result["acknowledgement"] is None and _is_dr1(campaign)
    result["proposed_acknowledgement"] = DR1 if proposed else None
    return result


def _significance(found):
    """Significances at the position; the target's is None while blind."""
    at_position = found.at_position
    largest = None
    if found.largest is not None:
        place = found.largest.position.icrs
        largest = {
            "maximum": found.largest.maximum,
            "ra": place.ra.deg,
            "dec": place.dec.deg,
            "p_value": found.largest.p_value,
            "p_value_mimics": found.largest.p_value_mimics,
        }
    return {
        "mimics": at_position.mimics,
        **mimic_significance(at_position),
        "n_sets": at_position.n_sets,
        "n_effective": at_position.n_effective,
        "radius": ON_RADIUS,
        "targets": at_position.runs,
        "left_out": at_position.left_out,
        "target": at_position.target,
        "p_value": at_position.p_value,
        "p_value_err": at_position.p_value_error,
        "p_value_least": 1 / (at_position.n_independent + 1),
        "largest": largest,
    }


def _ensemble(ensemble, campaign):
    """Give what the user's analysis finds in sets without a source."""
    kept = "name unit mean mean_err scatter statistical systematic systematic_err "
    kept += "systematic_ul pull_width n_sets n_effective energy energy_min energy_max"
    names = kept.split()
    return {
        "quantities": [
            {name: it[name] for name in names if name in it}
            for it in ensemble.quantities
            if it["injected"] == 0
        ],
        "sets": ensemble.sets,
        "same_sets": set(ensemble.sets) == set(campaign.sets),
        "n_failed": len(ensemble.failed),
        "target": ensemble.target,
    }


def _on_off(row):
    names = ["N_ON", "N_OFF", "ALPHA", "EXCESS", "SQRT_TS"]
    return {name.lower(): row[name] for name in names}


def _distribution(distribution: SignificanceDistribution):
    """All energies together, and each of them."""
    rows = [_distribution_row(row) for row in distribution.table]
    return {**rows[0], "energies": rows}


def _distribution_row(row):
    """Row of the table, with keys that are there without toys, too."""
    names = ["ENERGY_MIN", "ENERGY_MAX", "N_PIXELS", "MEAN", "MEAN_ERR"]
    names += ["WIDTH", "WIDTH_ERR", "MEAN_CAL", "WIDTH_CAL", "MAX", "MAX_P_VALUE"]
    return {it.lower(): row[it] if it in row.colnames else None for it in names}


def _checks(campaign, found):
    """Comparison of the mimics of the first set with their donors."""
    number = next(iter(campaign.sets))
    table = campaign.indices[number]
    seconds = dict(zip(table["OBS_ID"].tolist(), table["ONTIME"].tolist(), strict=True))
    rows = found.residuals[found.residuals["MIMIC_SET"] == number]
    for row in campaign.rows(number):
        obs_id = int(row["MIMIC_OBS_ID"])
        if obs_id not in found.checks:
            continue
        check = found.checks[obs_id]
        yield {
            "obs_id": obs_id,
            "target": row["TARGET_OBS_ID"],
            "donor": row["DONOR_OBS_ID"],
            "time": seconds[obs_id],
            "scrambled": list(rows["SOURCE"][rows["OBS_ID"] == obs_id]),
            "tests": check.table,
            "gradients": check.gradients,
        }


def _warnings(campaign, found):
    """List what may make the numbers wrong, a line each."""
    lines = list(campaign.pairs.warnings)
    if campaign.place.note:
        lines.append(campaign.place.note)
    if campaign.missing:
        lines.append(f"Mimic sets that are missing: {', '.join(campaign.missing)}.")
    if found.at_position.left_out:
        names = ", ".join(f"{it}" for it in found.at_position.left_out)
        lines.append(
            f"Mimic sets (from 0) that lack some of the targets {names} are not "
            "compared at the position."
        )
    if found.systematic is None:
        lines.append(f"No systematic of the field can be given: {found.no_systematic}.")
    return lines


def _cautions(result):
    """Say what to mind before a number is quoted, a sentence each."""
    match, sets = result["match"], result["significance"]
    if result["quote"]["headline"] is None:
        yield (
            "Nothing can be said of the systematic at the position: too few donors "
            "have it in their field of view, with enough counts."
        )
    if match["n_donors"] < _FEW_DONORS:
        yield (
            f"Only {plural(match['n_donors'], 'donor')}: how much they scatter is not "
            f"well known (some {_FEW_DONORS} are wanted)."
        )
    if match["n_relaxed"]:
        yield (
            f"{match['n_relaxed']} of {match['n_pairs']} pairs are outside of the "
            "tolerances of the match."
        )
    ratio = match["rate_ratio"]
    if ratio is None:
        yield "Rates of donors and targets were not compared."
    elif not _RATES[0] <= ratio["min"] <= ratio["max"] <= _RATES[1]:
        yield (
            f"Rates of donors are {ratio['min']:.2f} to {ratio['max']:.2f} of those of "
            f"their targets: beyond {_RATES[0]} to {_RATES[1]} runs are hardly alike."
        )
    if sets["n_effective"] < 0.8 * sets["n_sets"]:
        yield (
            f"The {sets['n_sets']} mimic sets share events at the position and are "
            f"worth {sets['n_effective']:.1f} independent ones."
        )
    if match["without_donor"]:
        names = ", ".join(str(it) for it in match["without_donor"])
        yield f"Targets without a donor: {names}."


def _is_dr1(campaign):
    """Whether donors are files of the H.E.S.S. DL3 public test data release 1."""
    names = [str(it) for it in campaign.donors.hdu_table["FILE_NAME"]]
    return any(it.startswith("hess_dl3_dr1_") for it in names)
