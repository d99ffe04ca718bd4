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
from scipy.special import ndtr, stdtrit

__all__ = ["PrincipalComponentsNormSpectralModel", "binwise_model", "norm_tilt_model"]

NUMBERS = ("MEAN", "MEAN_ERR", "SYSTEMATIC", "SYSTEMATIC_ERR", "SYSTEMATIC_UL")


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
    of_norm = [row[name] for name in NUMBERS]
    of_tilt = [getattr(tilt, name.lower()) for name in NUMBERS]
    for parameter, numbers in ((spectral.norm, of_norm), (spectral.tilt, of_tilt)):
        mean, mean_err, *numbers = map(float, numbers)
        if np.isfinite(mean):
            sigma = _prior_sigma(row["N_DONORS"], mean_err, *numbers)
            sigma = float(np.hypot(sigma / np.sqrt(n_independent), mean_err))
            parameter.value, parameter.frozen = mean, False
            parameter.prior = GaussianPrior(mu=mean, sigma=sigma)
    return FoVBackgroundModel(dataset_name=dataset_name, spectral_model=spectral)


def binwise_model(systematic, dataset_name, n_independent):
    """Norm in energy bins whose full covariance is the prior.

    Parameters
    ----------
    systematic : `~gammapy_mimic.validation.BackgroundSystematic`
        What is known. Bins of offset are averaged; an energy bin that is not measured
        has the norm of the one below it, or above it if it is the first. Systematics
        of bins that are as like as chance allows are taken as alike.
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
    variance, error = _shrunk_variance(table)
    sigma = np.where(
        variance > error / 2,
        _student(2 * variance**2 / error**2) * np.sqrt(variance.clip(min=0)),
        table["SYSTEMATIC_UL"],
    )
    # the mean has the error of the systematic, which bins share, and a Poisson part
    share = table["MEAN_ERR"] ** 2 / np.where(table["RMS"] > 0, table["RMS"], 1) ** 2
    of_mean = np.minimum(share * variance.clip(min=0), table["MEAN_ERR"] ** 2)
    common = np.outer(sigma, sigma) / n_independent
    common += np.sqrt(np.outer(of_mean, of_mean))
    covariance = correlation * common + np.diag(table["MEAN_ERR"] ** 2 - of_mean)

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


def _student(freedom):
    """Student's factor of a standard deviation, for 68 %.

    What K runs say of another one is not normal, but has Student's distribution
    (Fisher 1935, Ann. Eugen. 6, 391).
    """
    return stdtrit(np.maximum(freedom, 1.0), ndtr(1))


def _prior_sigma(n_donors, mean_err, systematic, error, limit):
    """Give the systematic with Student's factor, or its limit where it is not seen.

    If a part f of the variance of K donors is systematic, this part is known as if it
    were alone with (K - 1) f^2 degrees of freedom (Satterthwaite 1946, Biometrics
    Bull. 2, 110). MEAN_ERR has Student's factor of its K - 1.
    """
    if not systematic > error:
        return limit
    rms = mean_err * np.sqrt(n_donors) / _student(n_donors - 1)
    return systematic * _student((n_donors - 1) * (systematic / rms) ** 4)


def _shrunk_variance(table):
    """Systematic variance of each bin, as like as they may be, and its error.

    A bin whose systematic is too small by chance would know the background too well.
    So each is drawn to the mean of all by the part of their scatter that is expected
    by chance (Opgen-Rhein & Strimmer 2007, Stat. Appl. Genet. Mol. Biol. 6, 9).
    """
    freedom = table["N_DONORS"] - 1.0
    predicted, total = table["PREDICTED"], table["RMS"] ** 2
    # at least that of a single count in all runs
    least = 1 / table["N_DONORS"] / predicted**2
    poisson = np.maximum(table["POISSON"] ** 2, least)
    measured, weight = total - poisson, predicted**2
    for _ in range(2):
        mean = max(np.average(measured, weights=weight), 0)
        weight = freedom / 2 / (mean + poisson) ** 2
    scatter = np.sum(weight * (measured - mean) ** 2)
    by_chance = (len(table) - 1) / scatter if scatter > len(table) - 1 else 1.0
    own = 1 - by_chance
    error = own**2 * 2 * total**2 / freedom + (1 - own**2) / weight.sum()
    return own * measured + by_chance * mean, np.sqrt(error)
