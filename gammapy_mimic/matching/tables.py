"""Tables about pairs: why others were rejected, and what the sets are like."""

import json

import numpy as np
from astropy.table import Table

from gammapy_mimic.matching.cuts import Cuts
from gammapy_mimic.matching.text import rejections

__all__ = ["cut_flow", "donor_shares", "rejected", "set_summary"]


def rejected(pairs, target=None, donor=None):
    """Cuts that pairs of target and donor failed; see `PairTable.why`."""
    targets, donors = pairs.targets, pairs.donors
    cuts = Cuts(targets, donors, pairs.meta["tolerances"], pairs.features)
    rows = _rows(targets, target, "target")[:, np.newaxis]
    columns = _rows(donors, donor, "donor")[np.newaxis]
    shape = rows.shape[0], columns.shape[1]
    parts = []
    for name, failed in cuts.failed(rows, columns).items():
        i, j = np.nonzero(np.broadcast_to(failed, shape))
        place = rows[i, 0], columns[0, j]
        parts.append(rejections(cuts, name, *place, targets, donors))
    result = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
    table = Table(result)
    # a stable sort: the cuts of a pair stay in the order of the cut flow
    return table[np.lexsort([table["DONOR_OBS_ID"], table["TARGET_OBS_ID"]])]


def _rows(runs, obs_id, role):
    """Rows of one run, or of all for None."""
    if obs_id is None:
        return np.arange(len(runs))
    rows = np.flatnonzero(runs["OBS_ID"] == obs_id)
    if not len(rows):
        raise ValueError(f"{role} = {obs_id!r}: no {role} has this OBS_ID")
    return rows


def cut_flow(pairs):
    """How many donors fall to which cut; see `PairTable.cut_flow`."""
    counts = json.loads(pairs.meta["cut_flow"])
    number = len(json.loads(pairs.meta["donors"])["OBS_ID"])
    table = Table({"TARGET_OBS_ID": pairs.targets["OBS_ID"]})
    table["DONORS"] = number
    for name, values in counts.items():
        if name != "LEFT_RELAXED" or pairs.meta["relax"]:
            table[name] = values
    return table


def set_summary(pairs):
    """Means of each mimic set; see `PairTable.set_summary`."""
    names = [name for name in pairs.colnames if name.startswith("DELTA_")]
    shared = [name for name in ("SHARED",) if name in pairs.colnames]
    rows = []
    for number in range(pairs.n_sets):
        part = pairs[(pairs["MIMIC_SET"] == number) & pairs.has_donor]
        row = {"MIMIC_SET": number, "PAIRS": len(part)}
        for name in ("DISTANCE", *names, "RATE_RATIO", *shared):
            row[name] = np.ma.mean(np.ma.masked_invalid(part[name]))
        rows.append(row)
    units = {name: pairs[name].unit for name in names if pairs[name].unit}
    return Table(rows, units=units)


def donor_shares(pairs):
    """Say in how many of a donor's mimics an event is, over their number.

    Parameters
    ----------
    pairs : `~gammapy_mimic.matching.PairTable`
        Pairs.

    Returns
    -------
    shares : dict of int to float
        1 for each donor whose mimics all have the same events, less where they are of
        other slices; the mean over the events of its mimics.
    """
    rows = pairs[pairs.has_donor]
    if "START" not in rows.colnames:
        return {int(donor): 1.0 for donor in rows["DONOR_OBS_ID"]}
    shares = {}
    for donor in np.unique(np.asarray(rows["DONOR_OBS_ID"])).tolist():
        own = rows[rows["DONOR_OBS_ID"] == donor]
        start, stop = (np.asarray(own[name]) for name in ("START", "STOP"))
        edges = np.unique([start, stop])
        middle, length = (edges[1:] + edges[:-1]) / 2, np.diff(edges)
        uses = np.sum((start < middle[:, None]) & (middle[:, None] < stop), axis=1)
        mean_use = np.sum(length * uses**2) / np.sum(length * uses)
        shares[donor] = float(mean_use) / len(own)
    return shares
