"""Picture of a pair table."""

import numpy as np

from gammapy_mimic.matching.cuts import Cuts

__all__ = ["plot_pairs"]

MAX_LETTERS = 2500
# none of them is in the colour map
RING_COLORS = ("tab:orange", "tab:red", "black", "magenta", "tab:brown", "tab:gray")


def plot_pairs(pairs, ax=None, *, mimic_set=None, letters=None, **kwargs):
    """Draw targets against donors; see `PairTable.plot` for the parameters."""
    import matplotlib.pyplot as plt

    ax = plt.gca() if ax is None else ax
    targets, donors = pairs.targets, pairs.donors
    cuts = Cuts(targets, donors, pairs.meta["tolerances"], pairs.features)
    distance, first = _matrix(cuts)
    kwargs = {"cmap": "viridis_r", "vmin": 0, "vmax": 1, **kwargs}
    shown = np.ma.masked_array(distance, mask=first >= 0)
    mesh = ax.pcolormesh(
        np.arange(len(donors) + 1) - 0.5,
        np.arange(len(targets) + 1) - 0.5,
        shown,
        **kwargs,
    )
    ax.figure.colorbar(mesh, ax=ax, label="Distance (1: at the tolerances)")
    if letters or (letters is None and first.size <= MAX_LETTERS):
        _write_letters(ax, first, [cuts.features[name] for name in cuts.tolerances])
    _ring_pairs(ax, pairs, targets, donors, mimic_set)
    _label(ax, targets, donors)
    return ax


def _matrix(cuts):
    """Distance of each pair and the number of the first cut it fails, or -1."""
    distance = cuts.evaluate().distances()
    first = np.full(cuts.shape, -1)
    rows, columns = np.arange(cuts.shape[0])[:, None], np.arange(cuts.shape[1])[None]
    for number, failed in enumerate(cuts.failed(rows, columns).values()):
        first[failed & (first < 0)] = number
    return distance, first


def _write_letters(ax, first, features):
    """Letter of the first failed cut, with a legend of those that occur."""
    for row, column in np.argwhere(first >= 0):
        letter = features[first[row, column]].letter
        ax.text(column, row, letter, ha="center", va="center", color="0.45", fontsize=7)
    used = [features[number] for number in np.unique(first[first >= 0])]
    text = ", ".join(f"{feature.letter} {feature.name}" for feature in used)
    if text:
        ax.set_title(f"rejected by: {text}", fontsize="small", loc="left")


def _ring_pairs(ax, pairs, targets, donors, mimic_set):
    """Draw a ring about each chosen pair, of a colour for each set."""
    row = {int(obs_id): number for number, obs_id in enumerate(targets["OBS_ID"])}
    column = {int(obs_id): number for number, obs_id in enumerate(donors["OBS_ID"])}
    numbers = range(pairs.n_sets) if mimic_set is None else [mimic_set]
    for number in numbers:
        part = pairs[pairs["MIMIC_SET"] == number]
        part = part[~np.ma.getmaskarray(np.ma.asarray(part["DONOR_OBS_ID"]))]
        x = [column[int(obs_id)] for obs_id in part["DONOR_OBS_ID"]]
        y = [row[int(obs_id)] for obs_id in part["TARGET_OBS_ID"]]
        color = RING_COLORS[number % len(RING_COLORS)]
        style = {"s": 110, "facecolors": "none", "linewidths": 1.8}
        ax.scatter(x, y, edgecolors=color, label=f"set {number}", **style)
    ax.legend(fontsize="small", loc="upper left", bbox_to_anchor=(0, -0.12), ncols=8)


def _label(ax, targets, donors):
    """Run numbers at the axes, as many as can be read."""
    for axis, runs, rotation in ((ax.xaxis, donors, 90), (ax.yaxis, targets, 0)):
        step = -(-len(runs) // 60)
        axis.set_ticks(
            np.arange(0, len(runs), step),
            labels=[str(obs_id) for obs_id in runs["OBS_ID"][::step]],
            rotation=rotation,
            fontsize=7,
        )
    ax.invert_yaxis()
    ax.set(xlabel="Donor OBS_ID", ylabel="Target OBS_ID")
