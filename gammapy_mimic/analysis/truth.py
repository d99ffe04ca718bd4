"""What an injected source should be found as."""

import numpy as np
from astropy import units as u
from gammapy.modeling.models import Models

from gammapy_mimic.analysis.models import amplitude_of, source_models
from gammapy_mimic.config import MimicAnalysisConfig

__all__ = ["Truth"]


class Truth:
    """Values of quantities if all that was put in is found.

    An injected model belongs to the fitted source of its name, or to the only one if
    there is one of each.

    Parameters
    ----------
    config : `~gammapy_mimic.config.MimicAnalysisConfig`
        Configuration.
    models : `~gammapy.modeling.models.Models`
        Models of the target.
    injected : dict or None
        Models of the injected source, at scale 1.
    """

    def __init__(
        self, config: MimicAnalysisConfig, models: Models, injected: dict | None
    ) -> None:
        self.config = config
        put_in = Models() if injected is None else Models.from_dict(injected)
        sources, put_in = source_models(models), source_models(put_in)
        if len(put_in) == 1 and len(sources) == 1:
            self.pairs = {sources[0].name: (sources[0], put_in[0])}
        else:
            by_name = {model.name: model for model in put_in}
            self.pairs = {
                model.name: (model, by_name[model.name])
                for model in sources
                if model.name in by_name
            }

    def __call__(self, entry: dict) -> float | None:
        """Give the true value of a quantity.

        Parameters
        ----------
        entry : dict
            Quantity with ``name``, ``unit`` and ``injected``.

        Returns
        -------
        truth : float or None
            In the unit of the quantity; None if it is not known.
        """
        kind = entry["name"].partition(".")[0]
        if kind == "flux_points":
            pair = self.pairs.get(self.config.flux_points.source)
            find = self._dnde
        elif kind == "light_curve":
            pair = self.pairs.get(self.config.light_curve.source)
            find = self._flux
        else:
            model, _, parameter = entry["name"].rpartition(".")
            pair = self.pairs.get(model)
            if pair is None or parameter != amplitude_of(pair[0]).name:
                return None
            find = self._amplitude
        if pair is None:
            return None
        value = find(*pair, entry)
        return float(entry["injected"] * value.to_value(entry["unit"]))

    def _dnde(self, _, injected, entry):
        return injected.spectral_model(entry["energy"] * u.TeV)

    def _flux(self, _, injected, entry):
        axis = self.config.light_curve.energy_edges
        edges = np.geomspace(axis.min, axis.max, axis.nbins + 1)
        number = entry["name"].split(".")[2:]
        k = int(number[0]) if number else 0
        return injected.spectral_model.integral(edges[k], edges[k + 1])

    def _amplitude(self, fitted, injected, entry):
        """Amplitude of the fitted shape that has the flux put in."""
        axis = self.config.datasets.geom.axes.energy
        flux, reference = (
            model.spectral_model.integral(axis.min, axis.max)
            for model in (injected, fitted)
        )
        return amplitude_of(fitted).quantity * (flux / reference).to_value("")
