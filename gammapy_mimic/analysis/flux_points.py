"""Flux points with a column for the systematic error."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from astropy import units as u
from gammapy.estimators import FluxPoints
from gammapy.maps import Map

if TYPE_CHECKING:
    from gammapy_mimic.analysis.ensemble import Ensemble

__all__ = ["SystematicFluxPoints", "with_systematic"]

SUFFIXES = ("sys", "sys_ul")
DNDE_UNIT = "TeV-1 s-1 cm-2"


class SystematicFluxPoints(FluxPoints):
    """`~gammapy.estimators.FluxPoints` with the systematic error of each bin.

    Tables and files have two more columns, such as ``dnde_sys`` and ``dnde_sys_ul``
    (95 %); all else is gammapy's.
    """

    @staticmethod
    def all_quantities(sed_type: str) -> list[str]:
        """All quantities of an SED type."""
        prefix = "norm" if sed_type == "likelihood" else sed_type
        own = [f"{prefix}_{suffix}" for suffix in SUFFIXES]
        return [*FluxPoints.all_quantities(sed_type), *own]

    def __getattr__(self, name):
        prefix, _, suffix = name.partition("_")
        if suffix in SUFFIXES:
            norm = self._data.get(f"norm_{suffix}")
            if norm is None or prefix == "norm":
                return norm
            return norm * getattr(self, f"{prefix}_ref")
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")


def with_systematic(
    ensemble: Ensemble, flux_points: FluxPoints
) -> SystematicFluxPoints:
    """Flux points with the systematic error of an ensemble; see `Ensemble.apply_to`."""
    bins = [
        it
        for it in ensemble.quantities
        if it["injected"] == 0 and it["name"].startswith("flux_points.")
    ]
    if not bins:
        raise ValueError(
            "the mimics have no flux points: set flux_points.energy and run "
            "gammapy-mimic analyse again"
        )
    edges = flux_points.geom.axes["energy"].edges.to_value("TeV")
    found = {suffix: np.full(len(edges) - 1, np.nan) for suffix in SUFFIXES}
    dnde_ref = np.ravel(flux_points.dnde_ref.to_value(DNDE_UNIT))
    for k, limits in enumerate(pairwise(edges)):
        own = [(it["energy_min"], it["energy_max"]) for it in bins]
        same = [np.allclose(limits, it, rtol=1e-3) for it in own]
        if not any(same):
            there = ", ".join(f"{low:.3g} - {high:.3g}" for low, high in own)
            raise ValueError(
                f"flux_points has a bin {limits[0]:.3g} - {limits[1]:.3g} TeV, the "
                f"mimics have {there} TeV: take the same flux_points.energy for both"
            )
        bin_ = bins[same.index(True)]
        for suffix, key in zip(SUFFIXES, ("systematic", "systematic_ul"), strict=True):
            value = np.nan if bin_[key] is None else bin_[key]
            dnde = u.Quantity(value, bin_["unit"]).to_value(DNDE_UNIT)
            found[suffix][k] = dnde / dnde_ref[k]
    maps = {it: getattr(flux_points, it) for it in flux_points.available_quantities}
    for suffix, values in found.items():
        data = values.reshape(flux_points.norm.data.shape)
        maps[f"norm_{suffix}"] = Map.from_geom(flux_points.geom, data=data)
    return SystematicFluxPoints(
        data=maps,
        reference_model=flux_points.reference_model,
        meta=dict(flux_points.meta),
        gti=flux_points.gti,
    )
