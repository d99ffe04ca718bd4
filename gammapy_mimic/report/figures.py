"""Figures of a report."""

from collections.abc import Iterator

from matplotlib.figure import Figure

from gammapy_mimic.analysis import Ensemble
from gammapy_mimic.plotting import plot_mimic, plot_scramble
from gammapy_mimic.report.measure import Campaign, Measurement
from gammapy_mimic.scramble.residuals import scramble_seed

__all__ = ["draw_figures"]

MAX_SETS = 4
"""Mimic sets whose maps are drawn; numbers are given of all."""

MAX_PAIRS = 2
MAX_SCRAMBLED = 2


def draw_figures(
    campaign: Campaign, found: Measurement, ensemble: Ensemble | None = None
) -> Iterator[tuple[str, str, Figure]]:
    """Draw all figures.

    Parameters
    ----------
    campaign : `~gammapy_mimic.report.measure.Campaign`
        Campaign.
    found : `~gammapy_mimic.report.measure.Measurement`
        Numbers.
    ensemble : `~gammapy_mimic.Ensemble`, optional
        What the user's analysis gave. Default is None.

    Yields
    ------
    name, caption : str
        File name without ending, and caption.
    figure : `~matplotlib.figure.Figure`
        Figure.
    """
    figure = Figure(figsize=(12, 6), layout="constrained")
    campaign.pairs.plot(ax=figure.add_subplot())
    yield "pairs", "Targets and donors, with the distance of each pair.", figure
    caption = "Significance at the position of interest in each mimic set"
    caption += "." if found.target is None else ", and in the targets (line)."
    yield "position", caption, found.at_position.peek()
    caption = (
        "Systematic of the background as a source at the position sees it, with its "
        "error, by the radius of the circle; an upper limit (arrow) where it is not "
        "seen. Dashed: what Poisson fluctuations alone can show."
    )
    yield "local", caption, found.local.peek()
    if found.on_off is not None:
        caption = (
            "Counts of all mimics in the on region, and expected from off regions."
        )
        yield "on_off", caption, found.on_off.peek()
    if found.systematic is not None:
        caption = (
            "Counts over predicted background: mean over the mimics, with the "
            "intrinsic systematic (band) and the error of the mean (bar). First the "
            "whole field. Right: correlation from run to run between the bins."
        )
        yield "systematic", caption, found.systematic.peek()
    caption = (
        "Mimic set {}: significance map with the position of interest; all its pixels, "
        "with the normal distribution and the measured mean and width; the same by "
        "energy."
    )
    for number in list(found.distributions)[:MAX_SETS]:
        figure = found.distributions[number].peek(position=found.position)
        yield f"significance_{number:03d}", caption.format(number), figure
    if ensemble is not None and ensemble.names:
        caption = (
            "Your analysis on the mimic sets: the main quantity of each set with mean "
            "and systematic, the false spectrum, and the test statistic, as far as "
            "there are any."
        )
        yield "analysis", caption, ensemble.peek()
    yield from _runs(campaign, found)


def _runs(campaign, found):
    """Donor beside mimic of the first set, and what scrambling did in any set."""
    first = next(iter(campaign.sets))
    for mimic in list(campaign.observations(first))[:MAX_PAIRS]:
        donor = campaign.donor(mimic)
        caption = f"Mimic {mimic.obs_id} and its donor {donor.obs_id}, in the camera."
        yield f"field_{mimic.obs_id}", caption, found.checks[mimic.obs_id].peek()
        figure = plot_mimic(donor, mimic)[0].figure
        caption = f"Donor {donor.obs_id} and mimic {mimic.obs_id}, on the sky."
        yield f"mimic_{mimic.obs_id}", caption, figure
    scrambler, drawn = campaign.config.mimic.maker().scrambler, set()
    for mimic in campaign.runs():
        if len(drawn) == MAX_SCRAMBLED:
            break
        header = mimic.events.table.meta
        if header.get("SCR_NSRC", 0) and header["MIM_DON"] not in drawn:
            donor = campaign.donor(mimic)
            drawn.add(donor.obs_id)
            again = scrambler.run(donor, random_state=scramble_seed(header))
            figure = plot_scramble(donor, again, scrambler)[0].figure
            caption = f"Scrambling of known sources in donor {donor.obs_id}."
            yield f"scrambled_{donor.obs_id}", caption, figure
