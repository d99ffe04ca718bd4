"""Figures of a report."""

import numpy as np
from matplotlib.figure import Figure

from gammapy_mimic.plotting import plot_mimic, plot_scramble
from gammapy_mimic.residuals import scramble_seed

__all__ = ["draw_figures"]

MAX_PAIRS = 6
MAX_SCRAMBLED = 3


def draw_figures(campaign, found):
    """Draw all figures.

    Parameters
    ----------
    campaign : `~gammapy_mimic.report.measure.Campaign`
        Campaign.
    found : `~gammapy_mimic.report.measure.Measurement`
        Numbers.

    Yields
    ------
    name, caption : str
        File name without ending, and caption.
    figure : `~matplotlib.figure.Figure`
        Figure.
    """
    yield (
        "pairs",
        "Targets and donors, with the distance of each pair.",
        _pairs(campaign),
    )
    caption = (
        "Significances of all pixels in each mimic set (all energies), with the normal "
        "distribution and the measured mean and width."
    )
    yield "significance", caption, _significance(found)
    caption = "Significance at the position of interest in each mimic set"
    caption += "." if found.target is None else ", and in the targets (line)."
    yield "position", caption, _position(found)
    caption = (
        "Counts over predicted background: mean over the mimics, with the intrinsic "
        "systematic (band) and the error of the mean (bar). First the whole field."
    )
    yield "systematic", caption, _systematic(found.systematic)
    yield from _runs(campaign)


def _pairs(campaign):
    figure = Figure(figsize=(12, 6), layout="constrained")
    campaign.pairs.plot(ax=figure.add_subplot())
    return figure


def _significance(found):
    number = len(found.distributions)
    columns = min(3, number)
    rows = int(np.ceil(number / columns))
    figure = Figure(figsize=(5 * columns, 3.8 * rows), layout="constrained")
    for index, (mimic_set, distribution) in enumerate(found.distributions.items()):
        ax = figure.add_subplot(rows, columns, index + 1)
        distribution.plot(ax)
        ax.set_title(f"Mimic set {mimic_set}")
    return figure


def _position(found):
    figure = Figure(figsize=(6, 3.5), layout="constrained")
    ax = figure.add_subplot()
    ax.hist(found.significances, np.arange(-5, 5.5, 0.5), label="mimic sets")
    if found.target is not None:
        ax.axvline(found.target, color="C3", label=f"targets: {found.target:.1f}")
    ax.set_xlabel("Significance at the position")
    ax.set_ylabel("Mimic sets")
    ax.legend()
    return figure


def _systematic(systematic):
    figure = Figure(figsize=(8, 4), layout="constrained")
    ax, table = figure.add_subplot(), systematic.table
    x = np.arange(len(table))
    mean, band = table["MEAN"], table["SYSTEMATIC"]
    ax.bar(x, 2 * band, bottom=mean - band, width=0.6, alpha=0.3, label="systematic")
    ax.errorbar(x, mean, table["MEAN_ERR"], fmt="ko", label="mean")
    ax.axhline(1, color="gray", lw=0.8)
    ax.use_sticky_edges = False
    ax.margins(y=0.1)
    edges = zip(table["ENERGY_MIN"], table["ENERGY_MAX"], strict=True)
    labels = [f"{low.value:.2g} - {high.value:.2g}" for low, high in edges]
    ax.set_xticks(x, ["all", *labels[1:]], rotation=45)
    ax.set_xlabel("Energy [TeV]")
    ax.set_ylabel("Counts / prediction")
    ax.legend()
    return figure


def _runs(campaign):
    """Donor beside mimic of the first set, and what scrambling did in any set."""
    donors = campaign.donors()
    mimics = campaign.observations(next(iter(campaign.sets)))
    for mimic in list(mimics)[:MAX_PAIRS]:
        donor = _donor(donors, mimic)
        figure = plot_mimic(donor, mimic)[0].figure
        caption = f"Donor {donor.obs_id} and the mimic of run {mimic.obs_id}."
        yield f"mimic_{mimic.obs_id}", caption, figure
    scrambler, drawn = campaign.config.mimic.maker().scrambler, set()
    for mimic in campaign.runs():
        header = mimic.events.table.meta
        is_new = header.get("SCR_NSRC", 0) and header["MIM_DON"] not in drawn
        if is_new and len(drawn) < MAX_SCRAMBLED:
            donor = _donor(donors, mimic)
            drawn.add(donor.obs_id)
            again = scrambler.run(donor, random_state=scramble_seed(header))
            figure = plot_scramble(donor, again, scrambler)[0].figure
            caption = f"Scrambling of known sources in donor {donor.obs_id}."
            yield f"scrambled_{donor.obs_id}", caption, figure


def _donor(donors, mimic):
    obs_id = mimic.events.table.meta["MIM_DON"]
    return donors.obs(obs_id, required_irf="all-optional")
