"""Numbers of one analysed set, by the names that they have in an ensemble."""

from typing import Any

import numpy as np
from astropy import units as u
from astropy.coordinates import Angle, SkyCoord
from gammapy.datasets import Datasets
from gammapy.estimators import FluxMaps, FluxPoints
from gammapy.modeling.models import Models
from regions import CircleSkyRegion

__all__ = [
    "amplitudes",
    "counts",
    "excess_map_values",
    "flux_point_values",
    "light_curve_values",
    "measured",
    "numbers_of",
    "unit_text",
]


def unit_text(unit: str | u.UnitBase) -> str:
    """Write a unit for figures and pages: exponents, no fraction; empty for numbers."""
    return u.Unit(unit).to_string("unicode", fraction=False)


def measured(
    value: float,
    error: float | None = None,
    unit: str | u.UnitBase = "",
    **bins: float,
) -> dict[str, Any]:
    """Give a quantity as plain values, as records hold them.

    Parameters
    ----------
    value : float
        Value.
    error : float, optional
        Its statistical error. Default is None: it has none.
    unit : str or `~astropy.units.Unit`, optional
        Unit. Default is none.
    **bins : float
        Edges of its bin.

    Returns
    -------
    quantity : dict
        What was given, without an error that is not a positive number.
    """
    error = np.nan if error is None else float(error)
    return {
        "value": float(value),
        "error": error if np.isfinite(error) and error > 0 else None,
        "unit": str(u.Unit(unit)),
        **{name: float(edge) for name, edge in bins.items()},
    }


def counts(
    datasets: Datasets, position: SkyCoord | None, radius: Angle
) -> dict[str, dict]:
    """Count in the on region, and predict the background there.

    Parameters
    ----------
    datasets : `~gammapy.datasets.Datasets`
        Data sets of a set of runs.
    position : `~astropy.coordinates.SkyCoord` or None
        Centre of the circle in which maps are summed; None: they are not.
    radius : `~astropy.coordinates.Angle`
        Its radius.

    Returns
    -------
    quantities : dict
        ``n_on``, ``background`` and ``excess``; of spectra also ``n_off`` and the
        significance ``sqrt_ts`` (Li & Ma 1983, ApJ 272, 317, eq. 17).
    """
    if datasets[0].tag.startswith("Spectrum"):
        info = Datasets(datasets).stack_reduce(name="sum").info_dict()
        on, background = info["counts"], info["background"]
        error = np.sqrt(max(on, 1))
        found = {}
        if "counts_off" in info:
            off = info["counts_off"]
            found["n_off"] = measured(off, np.sqrt(max(off, 1)))
            found["sqrt_ts"] = measured(info["sqrt_ts"])
            variance = background**2 / off if off > 0 else 0
            error = np.sqrt(max(on, 1) + variance)
    elif position is None:
        return {}
    else:
        on, background = np.sum(
            [_in_circle(it, position, radius) for it in datasets], axis=0
        )
        error, found = np.sqrt(max(on, 1)), {}
    return {
        "n_on": measured(on, np.sqrt(max(on, 1))),
        "background": measured(background),
        "excess": measured(on - background, error),
        **found,
    }


def _in_circle(dataset, position, radius):
    """Sum counts and predicted background of a map in a circle."""
    geom = dataset.counts.geom.to_image()
    inside = geom.region_mask([CircleSkyRegion(position, radius)]).data
    if dataset.mask_safe is not None:
        inside = inside & dataset.mask_safe.data
    background = dataset.npred_background()
    return [(it.data * inside).sum() for it in (dataset.counts, background)]


def excess_map_values(maps: FluxMaps, position: SkyCoord) -> dict[str, dict]:
    """Significance of an excess map at a position.

    Parameters
    ----------
    maps : `~gammapy.estimators.FluxMaps`
        Maps.
    position : `~astropy.coordinates.SkyCoord`
        Position.

    Returns
    -------
    quantities : dict
        ``sqrt_ts``, with the number of the bin if there are several energies.
    """
    values = np.ravel(maps.sqrt_ts.to_region_nd_map(position).data)
    if len(values) == 1:
        return {"sqrt_ts": measured(values[0])}
    edges = maps.geom.axes["energy"].edges.to_value("TeV")
    return {
        f"sqrt_ts.{k}": measured(value, energy_min=edges[k], energy_max=edges[k + 1])
        for k, value in enumerate(values)
    }


def amplitudes(models: Models) -> dict[str, dict]:
    """Fitted parameters.

    Parameters
    ----------
    models : `~gammapy.modeling.models.Models`
        Models after a fit.

    Returns
    -------
    quantities : dict
        ``<model>.<parameter>`` of each free parameter.
    """
    return {
        f"{model.name}.{parameter.name}": measured(
            parameter.value, parameter.error, parameter.unit
        )
        for model in models
        for parameter in model.parameters
        if not parameter.frozen
    }


def flux_point_values(points: FluxPoints) -> dict[str, dict]:
    """Flux points.

    Parameters
    ----------
    points : `~gammapy.estimators.FluxPoints`
        Flux points.

    Returns
    -------
    quantities : dict
        ``flux_points.<bin>``: dN/dE at the reference energy, with the bin's edges in
        TeV.
    """
    axis = points.geom.axes["energy"]
    edges, unit = axis.edges.to_value("TeV"), points.dnde.unit
    values, errors = (np.ravel(it.data) for it in (points.dnde, points.dnde_err))
    return {
        f"flux_points.{k}": measured(
            *(values[k], errors[k], unit),
            energy=axis.center[k].to_value("TeV"),
            energy_min=edges[k],
            energy_max=edges[k + 1],
        )
        for k in range(axis.nbin)
    }


def light_curve_values(curve: FluxPoints) -> dict[str, dict]:
    """Light curve.

    Parameters
    ----------
    curve : `~gammapy.estimators.FluxPoints`
        Light curve.

    Returns
    -------
    quantities : dict
        ``light_curve.<bin>``: flux in the energies of the light curve, with start and
        stop of the bin (MJD, TT); ``light_curve.<bin>.<energy bin>`` if there are
        several energies.
    """
    axis, n_energies = curve.geom.axes["time"], curve.geom.axes["energy"].nbin
    shape = axis.nbin, n_energies
    values, errors = (it.data.reshape(shape) for it in (curve.flux, curve.flux_err))
    start, stop = axis.time_min.tt.mjd, axis.time_max.tt.mjd
    return {
        f"light_curve.{k}" + (f".{e}" if n_energies > 1 else ""): measured(
            *(values[k, e], errors[k, e], curve.flux.unit),
            time_min=start[k],
            time_max=stop[k],
        )
        for k in range(axis.nbin)
        for e in range(n_energies)
    }


def numbers_of(result: dict[str, Any], name: str) -> dict[str, dict]:
    """Take what a user's function gives as quantities.

    Parameters
    ----------
    result : dict
        Numbers or `~astropy.units.Quantity` by name. ``<name>_err`` is the statistical
        error of ``<name>``.
    name : str
        Name of the function, for messages.

    Returns
    -------
    quantities : dict
        Quantities.

    Raises
    ------
    TypeError
        If it is not a dict of single numbers.
    """
    if not isinstance(result, dict) or not all(isinstance(it, str) for it in result):
        raise TypeError(f"{name} gives {result!r}: must be a dict of numbers by name")
    found = {}
    for key, value in result.items():
        try:
            found[key] = u.Quantity(value, dtype=float)
            found[key].item()
        except (TypeError, ValueError) as error:
            raise TypeError(f"{name} gives {key} = {value!r}: not a number") from error
    errors = {it for it in found if it.removesuffix("_err") in found.keys() - {it}}
    quantities = {}
    for key in found.keys() - errors:
        value, own = found[key], found.get(f"{key}_err")
        own = None if own is None else own.to_value(value.unit)
        quantities[key] = measured(value.value, own, value.unit)
    return {key: quantities[key] for key in found if key in quantities}
