"""Whether a mimic looks as its donor does."""

from dataclasses import dataclass, field

import numpy as np
from astropy import units as u
from astropy.table import Table
from gammapy.data import Observation
from gammapy.irf import FoVAlignment
from matplotlib.figure import Figure
from scipy.stats import ks_2samp

from gammapy_mimic.data.compat import read_once
from gammapy_mimic.io.figures import new_figure
from gammapy_mimic.sky.positions import event_positions, fov_coordinates
from gammapy_mimic.validation.shown import ShownResult

__all__ = ["FieldChecks", "field_checks"]


_LABELS = {
    "offset2": "Offset squared [deg2]",
    "azimuth": "Azimuth in the camera [rad]",
    "energy": "Energy [TeV]",
}


@dataclass(frozen=True, repr=False)
class FieldChecks(ShownResult):
    """Comparison of a donor and its mimic.

    Attributes
    ----------
    table : `~astropy.table.Table`
        Rows "offset2", "azimuth" and "energy": two-sided Kolmogorov-Smirnov distance
        and P_VALUE, nan if a run has no events there. Azimuths are those in the
        camera, from the zenith.
    gradients : `~astropy.table.Table`
        Rows "donor" and "mimic": GRADIENT, the relative change of the rate towards
        higher altitude, and its ERROR, in 1 / deg.
    samples : dict
        Values of donor and mimic that were compared, for each quantity.
    """

    table: Table
    gradients: Table
    samples: dict = field(repr=False)

    def peek(self, figsize: tuple = (13, 3.8)) -> Figure:
        """Draw offset squared, azimuth and energy of both runs in a new figure."""
        figure = new_figure(figsize)
        for number, (name, samples) in enumerate(self.samples.items()):
            ax = figure.add_subplot(1, 3, number + 1)
            both = np.concatenate(samples)
            if not len(both):
                ax.set_title(f"{_LABELS[name]}: no events")
                continue
            edges = np.linspace(both.min(), both.max(), 31)
            if name == "energy":
                edges = np.geomspace(both.min(), both.max(), 31)
                ax.set_xscale("log")
                ax.set_yscale("log")
            styles = zip(samples, ("donor", "mimic"), ("-", "--"), strict=True)
            for sample, label, style in styles:
                ax.hist(sample, edges, histtype="step", ls=style, lw=1.5, label=label)
            ax.set_xlabel(_LABELS[name])
            ax.set_ylabel("Events in the bin")
            p_value = self.table["P_VALUE"][number]
            # beside the curves, not upon them
            ax.legend(
                title=f"KS p-value {p_value:.2g}",
                loc="lower center",
                bbox_to_anchor=(0.5, 1),
                ncols=2,
            )
        return figure


def field_checks(
    donor: Observation,
    mimic: Observation,
    *,
    offset_max: u.Quantity = 2 * u.deg,
    energy_range: u.Quantity | None = None,
) -> FieldChecks:
    """Compare the fields of view of a donor and its mimic, in the camera.

    Without scrambling and cropping they are equal for ``alignment="altaz"``.

    Parameters
    ----------
    donor, mimic : `~gammapy.data.Observation`
        The two runs.
    offset_max : `~astropy.coordinates.Angle`, optional
        Largest offset of the events that are compared. Default is 2 deg.
    energy_range : `~astropy.units.Quantity`, optional
        Energies that are compared, shape (2,). Default is None: all.

    Returns
    -------
    checks : `FieldChecks`
        Comparison.
    """
    fields = [_field(run, offset_max, energy_range) for run in (donor, mimic)]
    samples = {
        name: (fields[0][number], fields[1][number])
        for number, name in enumerate(_LABELS)
    }
    rows = []
    for name, (before, after) in samples.items():
        found = np.nan, np.nan
        if len(before) and len(after):
            test = ks_2samp(before, after, method="asymp")
            found = test.statistic, test.pvalue
        rows.append((name, *found))
    table = Table(rows=rows, names=["QUANTITY", "DISTANCE", "P_VALUE"])
    gradients = [
        (name, *it[3]) for name, it in zip(("donor", "mimic"), fields, strict=True)
    ]
    gradients = Table(rows=gradients, names=["RUN", "GRADIENT", "ERROR"])
    gradients["GRADIENT"].unit = gradients["ERROR"].unit = u.Unit("deg-1")
    return FieldChecks(table, gradients, samples)


def _field(run, offset_max, energy_range):
    """Offset squared, azimuth, energy, and (gradient, error)."""
    # errors name the file
    run = read_once(run)
    events = run.events
    position = event_positions(events.table)
    lon, lat = fov_coordinates(position, events.time, run, FoVAlignment.ALTAZ)
    x, y = lon.to_value("deg"), lat.to_value("deg")
    energy = events.energy.to_value("TeV")
    used = np.hypot(x, y) < offset_max.to_value("deg")
    if energy_range is not None:
        low, high = energy_range.to_value("TeV")
        used &= (energy >= low) & (energy < high)
    x, y, energy = x[used], y[used], energy[used]
    gradient = np.nan, np.nan
    if len(y):
        # for a rate f(offset) (1 + g y): <y> = g <y^2>
        gradient = y.mean() / np.mean(y**2), 1 / np.sqrt(np.sum(y**2))
    return x**2 + y**2, np.arctan2(x, y), energy, gradient
