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
    edges = zip(table["ENERGY_MIN"], table["ENERGY_MAX"], strict=True)
    labels = [f"{low.value:.2g} - {high.value:.2g}" for low, high in edges]
    ax.set_xticks(x, ["all", *labels[1:]], rotation=45)
    ax.set_xlabel(f"Energy [{table['ENERGY_MIN'].unit}]")
    ax.set_ylabel("Counts / prediction")
    ax.legend()
    return ax


def peek_systematic(systematic, figsize):
    """Draw the table, and the correlation between its bins, in a new figure."""
    figure = new_figure(figsize, dpi=90)
    plot_systematic(systematic.table, figure.add_subplot(1, 3, (1, 2)))
    ax = figure.add_subplot(133)
    image = ax.imshow(systematic.correlation, cmap="RdBu_r", vmin=-1, vmax=1)
    bins = range(1, len(systematic.table))
    ax.set_xticks(range(len(bins)), bins)
    ax.set_yticks(range(len(bins)), bins)
    ax.set_xlabel("Bin")
    figure.colorbar(image, ax=ax, label="Correlation between bins")
    return figure
