"""What is known of a background model, as a gammapy model with priors."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from astropy import units as u
from gammapy.modeling import Parameter, Parameters
from gammapy.modeling.models import (
    SPECTRAL_MODEL_REGISTRY,
    FoVBackgroundModel,
    GaussianPrior,
    PowerLawNormSpectralModel,
    SpectralModel,
)
from numpy.typing import ArrayLike

__all__ = ["PrincipalComponentsNormSpectralModel", "binwise_model", "norm_tilt_model"]


class PrincipalComponentsNormSpectralModel(SpectralModel):
    r"""Norm in energy bins: a mean and principal components of its covariance.

    In bin i the norm is :math:`\mu_i + \sum_k a_k c_{ki}`, at least 0. If the rows of
    ``components`` are :math:`\sqrt{\lambda_k} e_k` of a covariance, standard normal
    amplitudes a give norms of this covariance. Below the first and above the last bin
    the norm is that of the bin.

    Parameters
    ----------
    energy : `~astropy.units.Quantity`
        Edges of the n energy bins.
    mean : array-like
        Norm in each bin where all amplitudes are 0.
    components : array-like
        Components, shape (n_components, n).
    amplitudes : sequence of float or `~gammapy.modeling.Parameters`, optional
        Amplitudes of the components. By default parameters ``amplitude_0`` ... at 0
        with standard normal priors.

    Raises
    ------
    ValueError
        If the shapes do not fit.
    """

    tag: ClassVar[list[str]] = [
        "PrincipalComponentsNormSpectralModel",
        "principal-components-norm",
    ]

    def __init__(
        self,
        energy: u.Quantity,
        mean: ArrayLike,
        components: ArrayLike,
        amplitudes: Sequence[float] | Parameters | None = None,
    ) -> None:
        self._energy = u.Quantity(energy)
        self._mean = np.array(mean, dtype=float)
        self._components = np.array(components, dtype=float)
        number = len(self._components)
        if self._components.shape != (number, len(self._mean)) or number == 0:
            raise ValueError(
                f"components of shape {self._components.shape}: must be "
                f"(number of components, {len(self._mean)})"
            )
        if self._energy.shape != (len(self._mean) + 1,):
            raise ValueError(
                f"energy has {self._energy.size} edges: {len(self._mean)} bins need "
                f"{len(self._mean) + 1}"
            )
        if amplitudes is None:
            amplitudes = [
                Parameter(f"amplitude_{k}", 0.0, prior=GaussianPrior(mu=0.0, sigma=1.0))
                for k in range(number)
            ]
        elif not isinstance(amplitudes[0], Parameter):
            amplitudes = [
                Parameter(f"amplitude_{k}", value) for k, value in enumerate(amplitudes)
            ]
        if len(amplitudes) != number:
            raise ValueError(f"{len(amplitudes)} amplitudes for {number} components")
        self.default_parameters = Parameters(list(amplitudes))
        super().__init__()

    @property
    def energy(self) -> u.Quantity:
        """Edges of the energy bins."""
        return self._energy

    @property
    def mean(self) -> np.ndarray:
        """Norm in each bin where all amplitudes are 0."""
        return self._mean

    @property
    def components(self) -> np.ndarray:
        """Principal components, shape (n_components, n)."""
        return self._components

    def evaluate(self, energy: u.Quantity, *amplitudes: float) -> u.Quantity:
        """Evaluate the norm.

        Parameters
        ----------
        energy : `~astropy.units.Quantity`
            Energies.
        *amplitudes : float
            Amplitudes.

        Returns
        -------
        norm : `~astropy.units.Quantity`
            Norm, of the shape of ``energy``.
        """
        norm = self._mean + np.array([float(a) for a in amplitudes]) @ self._components
        lower = self._energy[:-1].to_value(energy.unit)
        number = np.searchsorted(lower, energy.value, side="right") - 1
        return u.Quantity(np.maximum(norm, 0)[np.maximum(number, 0)])

    def __call__(self, energy: u.Quantity) -> u.Quantity:
        """Evaluate the norm with the current amplitudes."""
        return self.evaluate(energy, *self.parameters.value)

    def to_dict(self, full_output: bool = False) -> dict:
        """Give all that `from_dict` needs, as gammapy's models do."""
        data = super().to_dict(full_output=full_output)
        data["spectral"] |= {
            "energy": {
                "data": self._energy.value.tolist(),
                "unit": str(self._energy.unit),
            },
            "mean": self._mean.tolist(),
            "components": self._components.tolist(),
        }
        return data

    @classmethod
    def from_dict(
        cls, data: dict, **kwargs: object
    ) -> "PrincipalComponentsNormSpectralModel":
        """Make it from what `to_dict` gives."""
        data = data["spectral"]
        energy = u.Quantity(data["energy"]["data"], data["energy"]["unit"])
        parameters = Parameters.from_dict(data["parameters"])
        return cls(energy, data["mean"], data["components"], parameters)


SPECTRAL_MODEL_REGISTRY.append(PrincipalComponentsNormSpectralModel)


def norm_tilt_model(systematic, dataset_name, n_independent):
    """Power-law norm with normal priors on norm and tilt.

    Parameters
    ----------
    systematic : `~gammapy_mimic.validation.BackgroundSystematic`
        What is known.
    dataset_name : str
        Name of the data set.
    n_independent : int
        Independent runs of the data set.

    Returns
    -------
    model : `~gammapy.modeling.models.FoVBackgroundModel`
        Model that starts at the means. The tilt is frozen at 0 if it cannot be
        measured, with one energy bin.
    """
    row, tilt = systematic.table[0], systematic.tilt
    spectral = PowerLawNormSpectralModel(reference=tilt.reference * u.TeV)
    of_norm = [row[f"SYSTEMATIC{name}"] for name in ("", "_ERR", "_UL")]
    of_tilt = [tilt.systematic, tilt.systematic_err, tilt.systematic_ul]
    for parameter, mean, mean_err, sigmas in (
        (spectral.norm, row["MEAN"], row["MEAN_ERR"], of_norm),
        (spectral.tilt, tilt.mean, tilt.mean_err, of_tilt),
    ):
        if np.isfinite(mean):
            sigma = np.hypot(_prior_sigma(*sigmas) / np.sqrt(n_independent), mean_err)
            parameter.value, parameter.frozen = float(mean), False
            parameter.prior = GaussianPrior(mu=float(mean), sigma=float(sigma))
    return FoVBackgroundModel(dataset_name=dataset_name, spectral_model=spectral)


def binwise_model(systematic, dataset_name, n_independent):
    """Norm in energy bins whose full covariance is the prior.

    Parameters
    ----------
    systematic : `~gammapy_mimic.validation.BackgroundSystematic`
        What is known. Bins of offset are averaged; an energy bin that is not measured
        has the norm of the one below it, or above it if it is the first.
    dataset_name : str
        Name of the data set.
    n_independent : int
        Independent runs of the data set.

    Returns
    -------
    model : `~gammapy.modeling.models.FoVBackgroundModel`
        Model that starts at the means.
    """
    table = systematic.table[1:]
    is_measured = np.isfinite(table["MEAN"])
    table, correlation = (
        table[is_measured],
        systematic.correlation[np.ix_(is_measured, is_measured)],
    )
    systematic, error = table["SYSTEMATIC"], table["SYSTEMATIC_ERR"]
    sigma = _prior_sigma(systematic, error, table["SYSTEMATIC_UL"])
    # the mean has the error of the systematic, which bins share, and a Poisson part
    share = table["MEAN_ERR"] / np.where(table["RMS"] > 0, table["RMS"], 1)
    common = np.outer(sigma, sigma) / n_independent
    common += np.outer(systematic * share, systematic * share)
    own = table["MEAN_ERR"] ** 2 - (systematic * share) ** 2
    # what the size of the systematic is uncertain by, of each bin for itself: else
    # some combination of bins would be known too well
    uncertain = np.where(sigma == systematic, error, 0) ** 2
    own += uncertain * (1 / n_independent + share**2)
    covariance = correlation * common + np.diag(own)

    lower = np.unique(table["ENERGY_MIN"])
    in_bin = table["ENERGY_MIN"] == lower[:, np.newaxis]
    average = in_bin * table["PREDICTED"]
    average = average / average.sum(axis=1, keepdims=True)
    mean, covariance = average @ table["MEAN"], average @ covariance @ average.T
    values, vectors = np.linalg.eigh(covariance)
    is_used = values > 1e-12 * values.max()
    components = (vectors * np.sqrt(values.clip(min=0))).T[is_used][::-1]
    # A positive amplitude takes background away. Minuit has mixed derivatives from
    # steps upwards only: if flux and amplitude act against each other, the skewness of
    # Poisson counts cancels in them. Else the error of a flux that the systematic
    # limits is 10 to 20 % too small.
    is_more = components @ (in_bin @ table["PREDICTED"]) > 0
    components[is_more] *= -1
    energy = np.append(lower, table["ENERGY_MAX"].max())
    spectral = PrincipalComponentsNormSpectralModel(energy, mean, components)
    return FoVBackgroundModel(dataset_name=dataset_name, spectral_model=spectral)


def _prior_sigma(systematic, error, limit):
    """Give the systematic, or its upper limit where it does not exceed its error."""
    return np.where(systematic > error, systematic, limit)
