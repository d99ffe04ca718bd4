"""How a result was made, in words: the method table of a report."""

from itertools import chain

import numpy as np

from gammapy_mimic.report.judge import ON_RADIUS
from gammapy_mimic.report.measure import TARGET_EXCLUSION, Campaign, Measurement
from gammapy_mimic.report.place import WORDS, coordinates
from gammapy_mimic.report.words import hours, plural, span
from gammapy_mimic.validation.excess import RING
from gammapy_mimic.validation.reduction import PIXEL

__all__ = ["match_summary", "method_table"]

_PREDICTIONS = {
    "background": "the background model, scaled to the counts of the run outside of "
    "the circle",
    "reflected": "other places of the same offset (reflected regions)",
}


def match_summary(campaign: Campaign) -> dict:
    """Numbers on the pairs of the mimic sets that are there.

    Returns
    -------
    match : dict
        ``n_pairs``, ``n_relaxed``, ``rate_ratio`` (min, median, max; None where rates
        are not known), ``rate_energy_min`` (TeV) above which they count, ``relaxed``
        (pairs for each cut), ``n_targets``, ``n_donors`` that are used, ``n_possible``
        donors, ``without_donor`` (OBS_IDs of targets), ``shared_time`` (part of the
        time of the mimics that is in another one of the same set) and ``targets``, a
        list with what each target got.
    """
    pairs = campaign.pairs
    used = pairs[pairs.has_donor & np.isin(pairs["MIMIC_SET"], list(campaign.sets))]
    ratio = _known(used, "RATE_RATIO")
    names = [it.split(",") for it in used["RELAXED"] if it != "none"]
    cuts = list(chain(*names))
    quantiles = np.quantile(ratio, [0, 0.5, 1]).tolist() if len(ratio) else []
    rates = dict(zip(("min", "median", "max"), quantiles, strict=False))
    return {
        "n_pairs": len(used),
        "n_relaxed": len(names),
        "rate_ratio": rates or None,
        "rate_energy_min": pairs.meta.get("energy_min"),
        "relaxed": {name: cuts.count(name) for name in sorted(set(cuts))},
        "n_targets": len(set(used["TARGET_OBS_ID"].tolist())),
        "n_donors": len(set(used["DONOR_OBS_ID"].tolist())),
        "n_possible": len(pairs.donors),
        "without_donor": pairs.missing,
        "fill": bool(pairs.meta.get("fill", False)),
        "reuse": int(pairs.meta.get("reuse", 1)),
        "shared": float(np.mean(_known(used, "SHARED")))
        if "SHARED" in used.colnames and len(used)
        else 0.0,
        "targets": [_target(row, used) for row in pairs.targets],
    }


def _known(table, name):
    values = np.ma.filled(np.ma.asarray(table[name], dtype=float), np.nan)
    return values[np.isfinite(values)]


def _target(target, used):
    """Say what one target got, in all sets."""
    rows = used[used["TARGET_OBS_ID"] == target["OBS_ID"]]
    relaxed = set(chain(*(it.split(",") for it in rows["RELAXED"]))) - {"none"}
    return {
        "obs_id": int(target["OBS_ID"]),
        "zenith": 90 - float(target["ALT_PNT"]),
        "azimuth": float(target["AZ_PNT"]),
        "livetime": float(target["LIVETIME"]),
        "n_sets": len(set(rows["MIMIC_SET"].tolist())),
        "donors": list(dict.fromkeys(rows["DONOR_OBS_ID"].tolist())),
        "distance": _known(rows, "DISTANCE").tolist(),
        "rate_ratio": _known(rows, "RATE_RATIO").tolist(),
        "relaxed": sorted(relaxed),
    }


def method_table(
    campaign: Campaign, found: Measurement, match: dict, n_toys: int
) -> dict[str, str]:
    """Describe how mimics were made and judged, by the name of each step."""
    mimic = campaign.config.mimic
    geometry = campaign.geometry
    edges = geometry["energy_edges"].to_value("TeV")
    rows = {
        "Position of interest": f"ICRS {coordinates(found.position)}; from the "
        f"{WORDS[campaign.place.source].removeprefix('the ')}",
        "Targets": _runs(campaign.pairs.targets, found.at_position.runs),
        "Mimics": _mimics(campaign, match),
        "Alignment": _ALIGNMENT[mimic.alignment],
        "Times": f"those of the {mimic.time}"
        + (", shortened to the time of the target" if mimic.crop else ""),
        "Background model": f"that of the {mimic.background}"
        if found.on_off is None
        else "none",
        "Other response": f"effective area, energy dispersion and PSF of the "
        f"{mimic.irfs}",
        "Scrambling": _scrambling(mimic.scramble, found),
        "Match": _tolerances(campaign),
        "Relaxed": ", ".join(
            f"{_name(name)} for {plural(number, 'pair')}"
            for name, number in match["relaxed"].items()
        )
        or "nothing",
        "Use of donors": _use_of_donors(match),
        "Energies": f"{edges[0]:.3g} to {edges[-1]:.3g} TeV in "
        f"{plural(len(edges) - 1, 'bin')}, above the threshold of each run",
        "Field of view": f"up to {_deg(geometry['offset_max'])} from the pointing",
        "Circles": f"radii {', '.join(f'{it:.2g}' for it in _radii(found))} deg; "
        f"prediction by {_PREDICTIONS[found.local.method]}",
    }
    if found.on_off is None:
        inner, width = (RING[it].to_value("deg") for it in ("r_in", "width"))
        rows["Significance maps"] = (
            f"counts in a circle of {_deg(ON_RADIUS)} about each pixel of "
            f"{_deg(PIXEL)}, background from a ring of {inner:.2g} to "
            f"{inner + width:.2g} deg with the background model as acceptance (Li & "
            f"Ma 1983, eq. 17); {n_toys} Poisson toys for each"
        )
    else:
        rows["On and off counts"] = (
            "on region at the position, off regions reflected about the pointing (Li "
            "& Ma 1983, eq. 17)"
        )
    rows["Exclusion"] = _exclusion(campaign)
    rows["Seed"] = f"random_state {mimic.random_state}"
    return rows


_KINDS = {"at_least": "at least", "at_most": "at most", "sets": "different by up to"}
_WORDS = {
    "n_tels": "number of telescopes",
    "nsb": "night-sky background",
    "rate_chi2": "chi-square of the donor's rate",
    "keep_away": "distance from sources",
}

_ALIGNMENT = {
    "altaz": "events keep their place in the camera (field of view along the horizon)",
    "radec": "events keep their place in the field of view along RA and Dec",
}


def _runs(table, stacked):
    """Give number, livetime and thresholds of runs."""
    text = plural(len(table), "run")
    for name, word in (("LIVETIME", "livetime"), ("ONTIME", "time")):
        seconds = np.nansum(np.asarray(table[name], dtype=float))
        if seconds > 0:
            text += f" with a {word} of {hours(seconds)}"
            break
    text += _thresholds(table)
    if len(stacked) < len(table):
        names = ", ".join(str(it) for it in stacked)
        text += f"; compared at the position: {names}"
    return text


def _thresholds(table):
    column = table["LO_THRES"] if "LO_THRES" in table.colnames else ()
    known = [float(it) for it in column if np.isfinite(it)]
    if not known:
        return "; no energy threshold is given"
    return f"; energy threshold {span(known)} TeV"


def _mimics(campaign, match):
    donors = campaign.pairs.donors
    rows = campaign.pairs[campaign.pairs.has_donor]
    donors = donors[np.isin(donors["OBS_ID"], np.ma.compressed(rows["DONOR_OBS_ID"]))]
    text = (
        f"{plural(len(campaign.sets), 'mimic set')} with "
        f"{plural(match['n_pairs'], 'mimic')} from "
        f"{plural(match['n_donors'], 'donor')} of {match['n_possible']}"
    )
    tables = campaign.indices.values()
    seconds = [np.nansum(np.asarray(it["LIVETIME"], dtype=float)) for it in tables]
    livetime = span([it / 3600 for it in seconds])
    return f"{text}; livetime of a set {livetime} h{_thresholds(donors)}"


def _scrambling(scramble, found):
    if scramble is None:
        return "none"
    theta = scramble.theta if isinstance(scramble.theta, str) else _deg(scramble.theta)
    theta = "of the size of the point-spread function" if theta == "psf" else theta
    catalogs = "the default catalogs"
    if scramble.catalogs is not None:
        catalogs = ", ".join(scramble.catalogs) or "no catalog"
    text = (
        f"known sources of donors from {catalogs} within {_deg(scramble.radius)} of "
        f"the pointing; circles {theta}; method {scramble.method}, acceptance of the "
        f"ring {scramble.acceptance}"
    )
    also = ", ".join(it.name for it in scramble.also)
    number = len(found.residuals)
    text += f"; further sources: {also}" if also else ""
    return f"{text}; {number} in all mimics"


def _tolerances(campaign):
    """Largest differences of target and donor."""
    pairs = campaign.pairs
    texts = []
    for name, tolerance in pairs.meta["tolerances"].items():
        if any(note.startswith(f"{name} not compared") for note in pairs.notes):
            continue
        feature = pairs.features[name]
        value = f"{tolerance:.3g} {feature.unit}".strip()
        if feature.is_relative:
            value = f"{100 * tolerance:.3g} %"
        how = "within" if feature.counts else _KINDS.get(feature.kind)
        is_same = feature.kind == "same" or (feature.counts and not tolerance)
        if is_same:
            texts.append(f"same {_WORDS.get(name, _name(name))}")
        elif how:
            texts.append(f"{_WORDS.get(name, _name(name))} {how} {value}")
    return ", ".join(texts)


def _use_of_donors(match):
    number = "up to " + plural(match["reuse"], "time") if match["reuse"] > 1 else "once"
    text = f"a donor serves {number} in a mimic set"
    if match["fill"]:
        text = f"several donors for a target, until its time is filled; {text}"
    return text


def _exclusion(campaign):
    text = f"{_deg(TARGET_EXCLUSION)} about the position"
    if campaign.config.mimic.scramble is not None:
        number = len(campaign.sources()) - 1
        text += f", {plural(number, 'catalogued source')} of its field"
    mask = campaign.config.datasets.background.exclusion
    return text + (f", the mask {mask.name}" if mask is not None else "")


def _name(name):
    return name.replace("_", " ")


def _radii(found):
    return np.unique(found.local.table["RADIUS"].to_value("deg"))


def _deg(angle):
    return f"{angle.to_value('deg'):.3g} deg"
