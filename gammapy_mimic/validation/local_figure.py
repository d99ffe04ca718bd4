"""Figure of the systematic error at a place."""

import numpy as np
from matplotlib.ticker import LogLocator

__all__ = ["plot_local"]


def plot_local(rows, ax):
    """Draw the systematic of all energies by radius, or its limit if it is not seen."""
    x = rows["RADIUS"].to_value("deg")
    values, error = rows["SYSTEMATIC"], rows["SYSTEMATIC_ERR"]
    is_seen = values > error
    if is_seen.any():
        ax.errorbar(
            *(x[is_seen], 100 * values[is_seen], 100 * error[is_seen]),
            fmt="o",
            capsize=3,
            label="systematic of a run",
        )
    limit = 100 * rows["SYSTEMATIC_UL"][~is_seen]
    if np.isfinite(limit).any():
        ax.errorbar(
            *(x[~is_seen], limit, 0.3 * limit),
            fmt="_",
            uplims=True,
            color="C1",
            label="not seen: 95 % upper limit",
        )
    predicted = np.where(rows["PREDICTED"] > 0, rows["PREDICTED"], np.nan)
    label = "Poisson error of the counts of a run"
    ax.plot(x, 100 / np.sqrt(predicted), "k--", label=label)
    ax.set_yscale("log")
    # labels of all minor ticks would overlap
    ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.yaxis.set_major_formatter("{x:.3g}")
    ax.yaxis.set_minor_formatter("")
    ax.set_xlabel("Radius of the circle [deg]")
    ax.set_ylabel("Systematic of the background [%]")
    # beside the points, not upon them
    ax.legend(fontsize="small", loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2)
    return ax
