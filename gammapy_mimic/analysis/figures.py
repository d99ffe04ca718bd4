"""Figures of an ensemble."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import numpy as np
from astropy import units as u
from gammapy.estimators import FluxPoints
from gammapy.modeling.models import SkyModel, SpectralModel
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import chi2

from gammapy_mimic.analysis.limits import significances
from gammapy_mimic.analysis.quantities import unit_text
from gammapy_mimic.io.figures import new_figure

__all__ = ["EnsemblePlots"]

E2_UNIT = u.Unit("erg cm-2 s-1")


def _number(value):
    return np.nan if value is None else value


def _unit(unit):
    """Give the unit in brackets for an axis, nothing for numbers."""
    text = unit_text(unit)
    return f" [{text}]" if text else ""


class EnsemblePlots:
    """Figures of an `~gammapy_mimic.Ensemble`, which has the numbers."""

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...

    def plot_spectrum(
        self,
        ax: Axes | None = None,
        target: FluxPoints | SpectralModel | SkyModel | None = None,
    ) -> Axes:
        """Draw the false spectrum of empty sky as a band, in E² dN/dE.

        Parameters
        ----------
        ax : `~matplotlib.axes.Axes`, optional
            Axes. Default is those of pyplot.
        target : `~gammapy.estimators.FluxPoints` or \
`~gammapy.modeling.models.SpectralModel`, optional
            What is drawn beside it. Default is the target's flux points, or while
            blind its assumed model.

        Returns
        -------
        ax : `~matplotlib.axes.Axes`
            Axes.

        Raises
        ------
        ValueError
            If the ensemble has no flux points.
        """
        bins = [
            it
            for it in self.quantities
            if it["injected"] == 0 and it["name"].startswith("flux_points.")
        ]
        if not bins:
            raise ValueError("the mimics have no flux points: set flux_points.energy")
        ax = plt.gca() if ax is None else ax
        factor = np.array([_e2_factor(it) for it in bins])
        columns = {
            key: factor * [_number(it[key]) for it in bins]
            for key in ("mean", "scatter", "systematic", "systematic_ul")
        }
        energy = np.array([it["energy"] for it in bins])
        edges = np.array([*(it["energy_min"] for it in bins), bins[-1]["energy_max"]])
        mean = columns["mean"]
        bands = [("scatter", "0.85", "scatter of the sets")]
        bands += [("systematic", "C0", "systematic")]
        for key, color, label in bands:
            width = columns[key]
            low, high = (
                np.append(values, values[-1]) for values in (mean - width, mean + width)
            )
            ax.fill_between(
                edges, low, high, step="post", color=color, alpha=0.7, label=label, lw=0
            )
        ax.plot(energy, mean, "_", color="k", ms=12, label="mean of the mimics")
        ax.axhline(0, color="gray", lw=0.8)
        _draw_target(self, ax, target, energy, edges)
        ax.set_xscale("log")
        # a limit where no systematic is seen
        limit = columns["systematic_ul"]
        for sign, label in ((1, "95 % limit of the systematic"), (-1, "_")):
            ax.step(
                edges,
                np.append(mean + sign * limit, (mean + sign * limit)[-1]),
                "C0:",
                where="post",
                label=label,
            )
        scale = np.nanmax(np.abs(columns["scatter"]))
        if np.isfinite(scale) and scale > 0:
            ax.set_yscale("symlog", linthresh=2 * scale, linscale=2)
            ax.margins(y=0.1)
        ax.set_xlabel("Energy [TeV]")
        ax.set_ylabel(f"E² dN/dE{_unit(E2_UNIT)}")
        # beside the axes, where it hides no points
        ax.legend(
            fontsize="small", loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2
        )
        return ax

    def plot_ts(self, ax: Axes | None = None, name: str | None = None) -> Axes:
        """Draw how the test statistic is distributed, beside chi-square.

        Parameters
        ----------
        ax : `~matplotlib.axes.Axes`, optional
            Axes. Default is those of pyplot.
        name : str, optional
            Quantity. Default is the test statistic of the first source.

        Returns
        -------
        ax : `~matplotlib.axes.Axes`
            Axes.
        """
        ax = plt.gca() if ax is None else ax
        if name is None:
            names = [it for it in self.names if it.endswith(".ts")]
            if not names:
                raise ValueError(
                    "the mimics have no test statistic: set general.models_file"
                )
            name = names[0]
        found = self.quantity(name)
        values = np.array(found["values"], dtype=float)
        values = np.sort(values[np.isfinite(values)])
        number = len(values)
        x = np.linspace(0, max(10, 1.1 * values.max(initial=0)), 300)
        ax.step(
            np.concatenate([[0], values]),
            np.concatenate([np.arange(number, 0, -1), [0]]) / max(number, 1),
            where="post",
            label=f"{number} mimic sets",
        )
        ax.plot(x, chi2.sf(x, found["n_dof_ts"]), "k--", label="χ² (statistics only)")
        if self.target is not None and name in self.target:
            value = self.target[name]["value"]
            label = f"targets: {value:.1f}"
            if value < x[-1]:
                ax.axvline(value, color="C3", label=label)
            else:
                label += ", to the right"
                place = {"transform": ax.transAxes, "clip_on": False}
                ax.plot(1, 0.5, "C3>", ms=10, label=label, **place)
        ax.set_yscale("log")
        ax.set_ylim(0.3 / max(number, 3), 1.5)
        ax.set_xlabel(f"TS of {name.removesuffix('.ts')}")
        ax.set_ylabel("Part of the sets above")
        ax.legend(fontsize="small")
        return ax

    def plot_values(self, ax: Axes | None = None, name: str | None = None) -> Axes:
        """Draw a quantity of all sets with mean and systematic.

        Parameters
        ----------
        ax : `~matplotlib.axes.Axes`, optional
            Axes. Default is those of pyplot.
        name : str, optional
            Quantity. Default is the amplitude of the source of the flux points, or else
            the excess.

        Returns
        -------
        ax : `~matplotlib.axes.Axes`
            Axes.
        """
        ax = plt.gca() if ax is None else ax
        name = _main_quantity(self) if name is None else name
        found = self.quantity(name)
        values = np.array(found["values"], dtype=float)
        errors = np.array(found["errors"], dtype=float)
        errors = np.where(np.isfinite(errors), errors, 0)
        ax.errorbar(self.sets, values, errors, fmt="ko", ms=4, label="mimic sets")
        mean, systematic = (_number(found[key]) for key in ("mean", "systematic"))
        ax.axhline(mean, color="C0", lw=1, label="mean")
        if np.isfinite(systematic):
            ax.axhspan(
                mean - systematic,
                mean + systematic,
                color="C0",
                alpha=0.3,
                lw=0,
                label="systematic",
            )
        target = (self.target or {}).get(name)
        if target is not None:
            ax.axhline(target["value"], color="C3", label="targets")
        ax.set_xlabel("Mimic set")
        ax.set_ylabel(f"{name}{_unit(found['unit'])}")
        ax.xaxis.get_major_locator().set_params(integer=True)
        ax.legend(fontsize="small")
        return ax

    def peek(self, figsize: tuple[float, float] = (13, 4)) -> Figure:
        """Draw the main quantity, the false spectrum and the test statistic.

        Parameters
        ----------
        figsize : tuple of float, optional
            Size in inches. Default is (13, 4).

        Returns
        -------
        figure : `~matplotlib.figure.Figure`
            Figure.
        """
        _main_quantity(self)  # an error before a figure is opened
        figure = new_figure(figsize, dpi=90)
        panels: list[Callable[..., Axes]] = [self.plot_values]
        if any(it.startswith("flux_points.") for it in self.names):
            panels.append(self.plot_spectrum)
        if any(it.endswith(".ts") for it in self.names):
            panels.append(self.plot_ts)
        axes = np.ravel(figure.subplots(1, len(panels)))
        for ax, panel in zip(axes, panels, strict=True):
            panel(ax)
        return figure

    def peek_injection(self, figsize: tuple[float, float] = (13, 4)) -> Figure:
        """Draw recovery, sensitivity and upper limits of an injected source.

        Parameters
        ----------
        figsize : tuple of float, optional
            Size in inches. Default is (13, 4).

        Returns
        -------
        figure : `~matplotlib.figure.Figure`
            Figure.

        Raises
        ------
        ValueError
            If no source was injected.
        """
        name = self.recovery["NAME"][0]
        figure = new_figure(figsize, dpi=90)
        one, two, three = figure.subplots(1, 3)
        _plot_recovery(self, one, name)
        _plot_seen(self, two, name)
        _plot_limits(self, three, name)
        return figure


def _e2_factor(entry):
    """Factor from dN/dE of a bin to E² dN/dE."""
    dnde = u.Quantity(entry["energy"], "TeV") ** 2 * u.Unit(entry["unit"])
    return dnde.to_value(E2_UNIT)


def _draw_target(ensemble, ax, target, energy, edges):
    own = ensemble.target or {}
    bins = [it for it in own.items() if it[0].startswith("flux_points.")]
    if target is None and bins:
        rows = [
            (it["energy"], _e2_factor(it), it["value"], _number(it["error"]))
            for _, it in bins
        ]
        x, factor, value, error = np.transpose(rows)
        ax.errorbar(x, value * factor, error * factor, fmt="C3o", label="targets")
        return
    if isinstance(target, FluxPoints):
        x = target.geom.axes["energy"].center.to_value("TeV")
        value, error = (
            np.ravel(it.quantity.to_value(E2_UNIT))
            for it in (target.e2dnde, target.e2dnde_err)
        )
        ax.errorbar(x, value, error, fmt="C3o", label="targets")
        return
    model, label = target, "model"
    if model is None:
        models, source = ensemble.models, ensemble.meta.get("source")
        if models is None or source not in models.names:
            return
        model, label = models[source], "assumed model of the target"
    if isinstance(model, SkyModel):
        model = model.spectral_model
    if not isinstance(model, SpectralModel):
        raise TypeError(f"target = {target!r}: must be FluxPoints or a SpectralModel")
    x = np.geomspace(edges[0], edges[-1], 100) * u.TeV
    ax.plot(x.value, (x**2 * model(x)).to_value(E2_UNIT), "C3", label=label)


def _plot_recovery(ensemble, ax, name):
    table = ensemble.recovery
    rows = table[table["NAME"] == name]
    for row in rows:
        found = ensemble.quantity(name, row["INJECTED"])
        values = np.array(found["values"], dtype=float)
        ax.plot(np.full(len(values), row["TRUTH"]), values, "k.", alpha=0.3)
    ax.errorbar(rows["TRUTH"], rows["MEAN"], rows["BIAS_ERR"], fmt="C0o", label="mean")
    ax.plot(rows["TRUTH"], rows["TRUTH"], "k--", label="what was put in")
    ax.set_xlabel(f"{name} put in{_unit(rows['UNIT'][0])}")
    ax.set_ylabel(f"Found{_unit(rows['UNIT'][0])}")
    ax.legend(fontsize="small")


def _plot_seen(ensemble, ax, name):
    truth, seen = significances(ensemble, name)
    for values, label in zip(seen, ("statistical", "with systematic"), strict=True):
        ax.plot(truth, values, "o-", label=label)
    ax.axhline(5, color="gray", ls="--")
    ax.set_xlabel(f"{name} put in{_unit(ensemble.quantity(name)['unit'])}")
    ax.set_ylabel("Median significance")
    ax.legend(fontsize="small")


def _plot_limits(ensemble, ax, name):
    table = ensemble.upper_limits
    rows = table[table["NAME"] == name]
    finite = np.isfinite(rows["LIMIT"])
    ax.plot(rows["TRUTH"][finite], rows["LIMIT"][finite], "o-", label="95 % limit")
    ax.plot(rows["TRUTH"], rows["TRUTH"], "k--", label="what was put in")
    top = np.max(np.append(rows["LIMIT"][finite], rows["TRUTH"]))
    ax.plot(
        rows["TRUTH"][~finite],
        np.full(np.sum(~finite), 1.1 * top),
        "C0^",
        label="_" if finite.all() else "beyond the largest scale",
    )
    for row, is_finite in zip(rows, finite, strict=True):
        place = row["TRUTH"], row["LIMIT"] if is_finite else 1.1 * top
        ax.annotate(
            f"{row['COVERAGE']:.2f}",
            place,
            xytext=(0, 6),
            textcoords="offset points",
            ha="center",
            fontsize="small",
        )
    ax.margins(y=0.15)
    ax.set_xlabel(f"{name} put in{_unit(rows['UNIT'][0])}")
    ax.set_ylabel("Median upper limit (numbers: coverage)")
    ax.legend(fontsize="small")


def _main_quantity(ensemble):
    """Name of the quantity that is shown first."""
    source = f"{ensemble.meta.get('source')}.amplitude"
    for name in (source, "excess", "n_on"):
        if name in ensemble.names:
            return name
    if not ensemble.names:
        reasons = "; ".join({it["reason"] for it in ensemble.failed})
        raise ValueError(f"no analysis gave a number: {reasons}")
    return ensemble.names[0]
