"""The steps of gammapy's analysis on the runs of one set, and the numbers they give."""

import io
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
from astropy.coordinates import Angle, SkyCoord
from gammapy.data import Observations
from gammapy.modeling.models import Models

from gammapy_mimic.analysis.models import amplitude_of, free_amplitudes, source_models
from gammapy_mimic.analysis.point_like import PointLikeAnalysis
from gammapy_mimic.analysis.quantities import (
    amplitudes,
    counts,
    excess_map_values,
    flux_point_values,
    light_curve_values,
    measured,
)
from gammapy_mimic.config import MimicAnalysisConfig
from gammapy_mimic.config.analyse import STEPS

__all__ = ["AnalysisRun", "asked_steps", "run_steps"]

STARTS = (0.01, 1.0)
"""Amplitudes from which a fit starts, in those of the target's model, in turn."""

FAILURES = (
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    AttributeError,
    RuntimeError,
)
"""What gammapy, astropy and scipy raise for data on which a step cannot be done."""


@dataclass
class AnalysisRun:
    """What the steps give for one set of runs.

    Attributes
    ----------
    values : dict
        For each quantity its ``value``, ``error`` (None if it has none), ``unit`` and,
        of bins, their edges.
    problem : str or None
        Why a step failed; what was measured before it stays.
    files : dict of str to bytes
        Content of files for the user, by name.
    notes : list of str
        What the user should know of the numbers.
    """

    values: dict = field(default_factory=dict)
    problem: str | None = None
    files: dict = field(default_factory=dict)
    notes: list = field(default_factory=list)


def asked_steps(config: MimicAnalysisConfig, models: Models) -> list[str]:
    """Find the steps that a configuration asks for.

    Parameters
    ----------
    config : `~gammapy_mimic.config.MimicAnalysisConfig`
        Configuration.
    models : `~gammapy.modeling.models.Models`
        Models of the target; may be empty.

    Returns
    -------
    steps : list of str
        ``mimic.analyse.steps``, or all for which there are settings. The excess map
        is made before the fit, so that it does not have the source taken out.

    Raises
    ------
    ValueError
        If a step is asked for whose settings are not there.
    """
    lacking = _lacking(config, models)
    steps: list[str] = list(config.mimic.analyse.steps)
    for name in steps:
        if lacking[name]:
            raise ValueError(f"mimic.analyse.steps: {name!r}, but {lacking[name]}")
        if name in _FLUXES and "fit" not in steps[: steps.index(name)]:
            raise ValueError(f"mimic.analyse.steps: {name!r} needs 'fit' before it")
    if steps:
        steps = ["datasets", *(name for name in steps if name != "datasets")]
    else:
        is_asked = {"excess-map": "excess_map" in config.model_fields_set}
        steps = [it for it in STEPS if not lacking[it] and is_asked.get(it, True)]
    names = [model.name for model in source_models(models)]
    for name in set(_FLUXES) & set(steps):
        section = name.replace("-", "_")
        source = getattr(config, section).source
        if source not in names:
            raise ValueError(
                f"{section}.source = {source!r}: must be one of {', '.join(names)}, "
                "the models of general.models_file"
            )
    return steps


_FLUXES = {"flux-points": "energy", "light-curve": "energy_edges"}
"""Steps that fit the flux in bins, and the setting that has the bins."""


def _lacking(config, models):
    """For each step what it lacks; None if nothing."""
    lacks_fit = None if len(models) else "general.models_file is not set"
    is_map = config.datasets.type == "3d"
    lacking = {"datasets": None, "fit": lacks_fit}
    lacking["excess-map"] = None if is_map else "datasets.type is not '3d'"
    for name, key in _FLUXES.items():
        section = name.replace("-", "_")
        axis = getattr(getattr(config, section), key)
        lacks_axis = None in (axis.min, axis.max, axis.nbins)
        lacks_axis = f"{section}.{key} is not set" if lacks_axis else None
        lacking[name] = lacks_fit or lacks_axis
    return lacking


def run_steps(
    config: MimicAnalysisConfig,
    observations: Observations,
    models: Models,
    position: SkyCoord | None = None,
) -> AnalysisRun:
    """Run the steps of gammapy's `~gammapy.analysis.Analysis` on a set of runs.

    Parameters
    ----------
    config : `~gammapy_mimic.config.MimicAnalysisConfig`
        Configuration.
    observations : `~gammapy.data.Observations`
        Runs.
    models : `~gammapy.modeling.models.Models`
        Models of the target, which are freed for an empty sky.
    position : `~astropy.coordinates.SkyCoord`, optional
        Where maps are looked at. Default is None: nowhere.

    Returns
    -------
    run : `AnalysisRun`
        Numbers and files.
    """
    analysis, found = PointLikeAnalysis(config.to_analysis_config()), AnalysisRun()
    analysis.observations = observations
    for name in asked_steps(config, models):
        try:
            # numpy would warn of bins without counts in each set
            with np.errstate(all="ignore"):
                _STEPS[name](analysis, found, config, models, position)
        except FAILURES as error:
            found.problem = " ".join(f"{name}: {type(error).__name__}: {error}".split())
            break
    return found


def _datasets(analysis, found, config, models, position):
    analysis.get_datasets()
    if not len(analysis.datasets):
        raise ValueError("no run has an off region")
    found.values |= counts(analysis.datasets, position, map_radius(config))


def map_radius(config: MimicAnalysisConfig) -> Angle:
    """Radius around the position in which counts of a map are summed.

    Parameters
    ----------
    config : `~gammapy.analysis.AnalysisConfig`
        Configuration.

    Returns
    -------
    radius : `~astropy.coordinates.Angle`
        That of the on region, or else the correlation radius of the excess map.
    """
    radius = config.datasets.on_region.radius
    return config.excess_map.correlation_radius if radius is None else radius


def _excess_map(analysis, found, config, models, position):
    analysis.get_excess_map()
    if position is not None:
        found.values |= excess_map_values(analysis.excess_map, position)
    content = io.BytesIO()
    analysis.excess_map.to_hdulist(sed_type="flux").writeto(content)
    found.files["excess_map.fits"] = content.getvalue()


def _fit(analysis, found, config, models, position):
    found.notes += _sparse(analysis.datasets)
    analysis.set_models(free_amplitudes(models, config.mimic.analyse.free))
    for start in STARTS:
        for model in source_models(models):
            amplitude = amplitude_of(analysis.models[model.name])
            amplitude.value = start * amplitude_of(model).value
        analysis.run_fit()
        result = analysis.fit_result
        if result.success:
            break
    else:
        raise ValueError(f"the fit did not converge: {result.optimize_result.message}")
    found.values |= amplitudes(analysis.models)
    found.notes += _at_limit(analysis, found.values)
    for model in source_models(analysis.models):
        ts = _null_stat(analysis, model) - result.total_stat
        found.values[f"{model.name}.ts"] = measured(ts)
    found.files["models.yaml"] = analysis.models.to_yaml().encode()


def _sparse(datasets):
    """Note on bins in which the W statistic holds an amplitude at zero.

    Without off counts it takes a negative excess for a background that should have been
    seen in the off region, and has a kink at zero.
    """
    number = sum(
        np.sum(it.mask.data & (it.counts_off.data == 0)) if it.mask is not None else 0
        for it in datasets
        if it.stat_type == "wstat" and it.counts_off is not None
    )
    if not number:
        return []
    return [
        "bins without off counts, in which no amplitude can be negative: values are "
        "held at zero; stack the data sets, or take wider bins"
    ]


def _at_limit(analysis, values):
    """Note on amplitudes at the limit of the Poisson likelihood, and their errors.

    Where a model predicts less than nothing the likelihood has an edge, at which the
    error of a fit means nothing.
    """
    is_at_limit = any(
        np.any(it.npred().data[it.mask.data] <= 0)
        for it in analysis.datasets
        if it.stat_type == "cash" and it.mask is not None
    )
    names = [
        f"{it.name}.{amplitude_of(it).name}" for it in source_models(analysis.models)
    ]
    names = [name for name in names if values[name]["value"] < 0]
    if not is_at_limit or not names:
        return []
    for name in names:
        values[name]["error"] = None
    return [
        f"{', '.join(names)} is so negative that no counts at all are predicted "
        "somewhere: its error is taken from the other sets; take larger pixels or bins"
    ]


def _null_stat(analysis, model):
    """Fit statistic without a source, with all else fitted again."""
    amplitude, parameters = amplitude_of(model), analysis.datasets.parameters
    with parameters.restore_status():
        amplitude.value = 0
        for parameter in model.parameters:
            parameter.frozen = True
        if len(parameters.free_parameters):
            analysis.fit.optimize(analysis.datasets)
        return analysis.datasets.stat_sum()


def _flux_points(analysis, found, config, models, position):
    with _reference(analysis, models, config.flux_points.source):
        analysis.get_flux_points()
    points = analysis.flux_points.data
    found.values |= flux_point_values(points)
    found.files["flux_points.ecsv"] = _ecsv(points.to_table(sed_type="dnde"))


def _light_curve(analysis, found, config, models, position):
    with _reference(analysis, models, config.light_curve.source):
        analysis.get_light_curve()
    curve = analysis.light_curve
    found.values |= light_curve_values(curve)
    table = curve.to_table(format="lightcurve", sed_type="flux")
    found.files["light_curve.ecsv"] = _ecsv(table)


@contextmanager
def _reference(analysis, models, source):
    """Context in which a source has the amplitude of the target's model.

    gammapy fits the flux in a bin relative to the model, which on an empty sky is close
    to zero; the flux itself does not depend on it.
    """
    amplitude = amplitude_of(analysis.models[source])
    fitted, amplitude.value = amplitude.value, amplitude_of(models[source]).value
    try:
        yield
    finally:
        amplitude.value = fitted


def _ecsv(table):
    content = io.StringIO()
    table.write(content, format="ascii.ecsv")
    return content.getvalue().encode()


_STEPS = {
    "datasets": _datasets,
    "excess-map": _excess_map,
    "fit": _fit,
    "flux-points": _flux_points,
    "light-curve": _light_curve,
}
