"""Figures of the systematic of the background."""

import numpy as np

from gammapy_mimic.io.figures import new_figure

__all__ = ["peek_systematic", "plot_systematic"]


def plot_systematic(table, ax):
    """Draw mean and systematic of each row of the table."""
    x = np.arange(len(table))
    mean, band = table["MEAN"], table["SYSTEMATIC"]
    limit = np.where(band > table["SYSTEMATIC_ERR"], np.nan, table["SYSTEMATIC_UL"])
    ax.bar(x, 2 * band, 0.6, bottom=mean - band, alpha=0.3, label="systematic")
    ax.bar(
        x,
        2 * limit,
        0.6,
        bottom=mean - limit,
        fill=False,
        ls=":",
        label="not seen: 95 % limit",
    )
    ax.errorbar(x, mean, table["MEAN_ERR"], fmt="ko", label="mean")
    ax.axhline(1, color="gray", lw=0.8)
    ax.use_sticky_edges = False
    ax.margins(y=0.1)
    ax.set_xticks(x, ["all", *_names(table)], rotation=45)
    ax.set_xlabel(f"Energy [{table['ENERGY_MIN'].unit}]")
    ax.set_ylabel("Counts / prediction")
    # beside the bands, not upon them
    ax.legend(fontsize="small", loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3)
    return ax


def _names(table):
    """Name the bins by their energies."""
    edges = zip(table["ENERGY_MIN"][1:], table["ENERGY_MAX"][1:], strict=True)
    return [f"{low.value:.2g} - {high.value:.2g}" for low, high in edges]


def peek_systematic(systematic, figsize):
    """Draw the table, and the correlation between its bins, in a new figure."""
    figure = new_figure(figsize, dpi=90)
    plot_systematic(systematic.table, figure.add_subplot(1, 3, (1, 2)))
    ax = figure.add_subplot(133)
    image = ax.imshow(systematic.correlation, cmap="RdBu_r", vmin=-1, vmax=1)
    names = _names(systematic.table)
    ax.set_xticks(range(len(names)), names, rotation=90)
    ax.set_yticks(range(len(names)), names)
    unit = systematic.table["ENERGY_MIN"].unit
    ax.set_xlabel(f"Energy [{unit}]")
    ax.set_ylabel(f"Energy [{unit}]")
    figure.colorbar(
        image, ax=ax, label="Correlation between bins", location="bottom", shrink=0.8
    )
    return figure
