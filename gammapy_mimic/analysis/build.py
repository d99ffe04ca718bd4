"""From the records of single sets to their ensemble."""

from collections import Counter
from collections.abc import Callable
from importlib.metadata import version

import numpy as np
from scipy.stats import chi2

from gammapy_mimic import __version__
from gammapy_mimic.analysis.ensemble import Ensemble
from gammapy_mimic.analysis.scatter import donor_overlap, event_overlap, set_scatter

__all__ = ["build_ensemble"]

TS_LEVELS = (4, 9, 25)
_EDGES = ("energy", "energy_min", "energy_max", "time_min", "time_max")
SAME_TIME_D = 2 / 86400
"""Bins of light curves that start within this time are the same."""


def build_ensemble(
    records: dict[tuple[float, int], dict],
    *,
    target: dict | None = None,
    truth: Callable[[dict], float | None] | None = None,
    meta: dict | None = None,
    same_times: bool = True,
) -> Ensemble:
    """Make an ensemble.

    Parameters
    ----------
    records : dict
        For each scale and mimic set what `~gammapy_mimic.analysis.worker.analyse_set`
        has recorded, or ``{"problem": reason}``.
    target : dict, optional
        The same of the targets. Default is None: blind.
    truth : callable, optional
        Takes an entry of ``quantities`` and gives the value that was put in, or None.
        Default is None: nothing was put in.
    meta : dict, optional
        See `~gammapy_mimic.analysis.Ensemble`. Default is none.
    same_times : bool, optional
        Whether bins of light curves are the same if they start at the same time, not if
        they have the same number. Default is True.

    Returns
    -------
    ensemble : `~gammapy_mimic.analysis.Ensemble`
        Ensemble.
    """
    sets = sorted({mimic_set for _, mimic_set in records})
    scales = sorted({scale for scale, _ in records})
    everything = [*records.values(), *([target] if target else [])]
    if same_times:
        _name_by_time(everything)
    quantities = []
    for scale in scales:
        rows = [records.get((scale, number), {}) for number in sets]
        names = dict.fromkeys(it for row in rows for it in row.get("values", {}))
        overlaps = _Overlaps(rows)
        for name in names:
            entry = _entry(name, scale, rows, overlaps)
            entry["truth"] = None if truth is None else truth(entry)
            quantities.append(entry)
    meta = dict(meta or {})
    meta["notes"] = [*meta.get("notes", ()), *_notes(records.values())]
    failed = [
        {"mimic_set": number, "injected": scale, "reason": record["problem"]}
        for (scale, number), record in sorted(records.items())
        if record.get("problem")
    ]
    if target and target.get("problem"):
        reason = target["problem"]
        failed.append({"mimic_set": None, "injected": 0.0, "reason": reason})
    return Ensemble(
        quantities=quantities,
        sets=sets,
        failed=failed,
        target=None if target is None else _target(target, quantities),
        meta={
            "program": f"gammapy_mimic {__version__}",
            "gammapy": version("gammapy"),
            **meta,
        },
    )


class _Overlaps:
    """What the sets share in donors and events; the same for many quantities."""

    def __init__(self, rows):
        self.rows = rows
        self._known = {}

    def of(self, used):
        """Give number of donors and overlaps of some sets."""
        key = tuple(used)
        if key not in self._known:
            rows = [self.rows[k] for k in used]
            names = sorted({donor for row in rows for donor in row["donors"]})
            shares = np.array(
                [[row["donors"].get(donor, 0) for donor in names] for row in rows]
            )
            shares = shares / shares.sum(axis=1, keepdims=True)
            events = event_overlap([_events(row) for row in rows])
            self._known[key] = len(names), donor_overlap(shares), events
        return self._known[key]


def _events(row):
    return [(donor, event) for donor, ids in row["events"].items() for event in ids]


def _entry(name, scale, rows, overlaps):
    """Statistics of one quantity, with None for what is not known."""
    found = [row.get("values", {}).get(name) for row in rows]
    values = np.array([np.nan if it is None else it["value"] for it in found])
    errors = np.array(
        [np.nan if it is None or it["error"] is None else it["error"] for it in found]
    )
    used = np.flatnonzero(np.isfinite(values))
    if np.isfinite(errors[used]).any():
        # what a fit could not estimate is taken to be as in the other sets
        mean = np.sqrt(np.nanmean(errors[used] ** 2))
        filled = np.where(np.isfinite(errors), errors, mean)
    else:
        filled = errors
    first = next(it for it in found if it is not None)
    entry = {"name": name, "unit": first["unit"], "injected": float(scale)}
    entry |= {key: first[key] for key in _EDGES if key in first}
    entry |= {"values": _plain(values), "errors": _plain(errors)}
    n_donors, donors, events = overlaps.of(used) if len(used) else (0, None, np.eye(0))
    scatter = set_scatter(values[used], filled[used], donors, events)
    entry |= {key: _or_none(value) for key, value in scatter.items()}
    entry |= {"n_sets": len(used), "n_donors": n_donors}
    if name.endswith(".ts"):
        dof = first.get("n_dof_ts", 1)
        entry["n_dof_ts"] = dof
        entry["fractions"] = [
            {
                "above": level,
                "fraction": _or_none(np.mean(values[used] > level))
                if len(used)
                else None,
                "chi2": float(chi2.sf(level, dof)),
            }
            for level in TS_LEVELS
        ]
    return entry


def _target(target, quantities):
    """Values of the targets, beside those of the sets without a source."""
    found, empty = {}, {it["name"]: it for it in quantities if it["injected"] == 0}
    for name, own in target["values"].items():
        found[name] = {**own, "p_value": None, "p_value_err": None, "n_effective": None}
        if name not in empty or not np.isfinite(own["value"]):
            continue
        values = np.array(empty[name]["values"], dtype=float)
        values = values[np.isfinite(values)]
        n_effective = empty[name]["n_effective"]
        p_value = (np.sum(values >= own["value"]) + 1) / (len(values) + 1)
        found[name]["p_value"] = float(p_value)
        error = np.sqrt(p_value * (1 - p_value) / (n_effective + 1))
        found[name] |= {"p_value_err": float(error), "n_effective": n_effective}
    return found


def _name_by_time(records):
    """Give bins of light curves numbers by their start, which some sets may lack."""
    starts = sorted(
        it["time_min"]
        for record in records
        for it in record.get("values", {}).values()
        if "time_min" in it
    )
    groups = np.cumsum(np.diff(starts, prepend=starts[:1]) > SAME_TIME_D)
    for record in records:
        if "values" not in record:
            continue
        named = {}
        for name, it in record["values"].items():
            if "time_min" in it:
                kind, _, *energy = name.split(".")
                number = groups[np.searchsorted(starts, it["time_min"])]
                name = ".".join([kind, str(number), *energy])
            named[name] = it
        record["values"] = named


def _notes(records):
    """Give notes of the sets once, with the number of sets that have it."""
    notes = Counter(note for record in records for note in record.get("notes", ()))
    return [
        f"{number} of {len(records)} analyses: {it}" for it, number in notes.items()
    ]


def _plain(values):
    return [_or_none(value) for value in values]


def _or_none(value):
    return float(value) if np.isfinite(value) else None
