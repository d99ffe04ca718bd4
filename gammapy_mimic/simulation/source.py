"""Gamma-ray sources in the sky of the synthetic observatory."""

from dataclasses import dataclass

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from gammapy.irf import EffectiveAreaTable2D
from gammapy.modeling.models import (
    PointSpatialModel,
    PowerLawSpectralModel,
    SkyModel,
)

from gammapy_mimic.simulation.irfs import ENERGY_RESOLUTION, PSF_WIDTH
from gammapy_mimic.sky.geometry import from_offset_azimuth

__all__ = ["SyntheticSource"]

N_ENERGY_NODES = 500


@dataclass(frozen=True, kw_only=True, eq=False)
class SyntheticSource:
    """Gamma-ray source: a point with a power-law spectrum.

    Parameters
    ----------
    name : str
        Name.
    position : `~astropy.coordinates.SkyCoord`
        Position.
    amplitude : `~astropy.units.Quantity`
        Differential flux at 1 TeV, as 1 / (TeV s cm2).
    index : float, optional
        Spectral index. Default is 2.6.
    """

    name: str
    position: SkyCoord
    amplitude: u.Quantity
    index: float = 2.6

    def model(self) -> SkyModel:
        """Make the sky model of the source for gammapy.

        Returns
        -------
        model : `~gammapy.modeling.models.SkyModel`
            New model.
        """
        icrs = self.position.icrs
        return SkyModel(
            name=self.name,
            spatial_model=PointSpatialModel(
                lon_0=icrs.ra, lat_0=icrs.dec, frame="icrs"
            ),
            spectral_model=self._spectrum(),
        )

    def _spectrum(self):
        return PowerLawSpectralModel(
            amplitude=self.amplitude, index=self.index, reference=1 * u.TeV
        )

    def expected(
        self, aeff: EffectiveAreaTable2D, pointing: SkyCoord, livetime: u.Quantity
    ) -> tuple[u.Quantity, np.ndarray]:
        """Predict the numbers of events.

        Parameters
        ----------
        aeff : `~gammapy.irf.EffectiveAreaTable2D`
            Effective area.
        pointing : `~astropy.coordinates.SkyCoord`
            Pointing.
        livetime : `~astropy.units.Quantity`
            Livetime.

        Returns
        -------
        energy : `~astropy.units.Quantity`
            True energies, shape (n,).
        cumulative : `~numpy.ndarray`
            Expected number of events up to each energy, shape (n,).
        """
        centers = aeff.axes["energy_true"].center
        energy: u.Quantity = np.geomspace(centers[0], centers[-1], N_ENERGY_NODES)
        area = aeff.evaluate(
            energy_true=energy, offset=self.position.separation(pointing)
        )
        density = (self._spectrum()(energy) * energy * area * livetime).to_value("")
        steps = np.diff(np.log(energy.to_value("TeV")))
        steps *= (density[1:] + density[:-1]) / 2
        return energy, np.concatenate([[0], np.cumsum(steps)])

    def draw(
        self,
        aeff: EffectiveAreaTable2D,
        pointing: SkyCoord,
        livetime: u.Quantity,
        rng: np.random.Generator,
    ) -> tuple[u.Quantity, SkyCoord]:
        """Draw events: a Poisson number, smeared in energy and position.

        Parameters
        ----------
        aeff, pointing, livetime
            As for `expected`.
        rng : `~numpy.random.Generator`
            Generator.

        Returns
        -------
        energy : `~astropy.units.Quantity`
            Reconstructed energies, shape (n,).
        position : `~astropy.coordinates.SkyCoord`
            Reconstructed positions, shape (n,).
        """
        energy, cumulative = self.expected(aeff, pointing, livetime)
        n_events = rng.poisson(cumulative[-1])
        uniform = rng.uniform(0, cumulative[-1], n_events)
        log_energy = np.interp(uniform, cumulative, np.log(energy.to_value("TeV")))
        energy_tev = np.exp(log_energy) * rng.normal(1, ENERGY_RESOLUTION, n_events)
        radius_deg = PSF_WIDTH.to_value("deg") * rng.rayleigh(size=n_events)
        centre = self.position.icrs
        lon, lat = from_offset_azimuth(
            radius_deg, rng.uniform(0, 360, n_events), centre.ra.deg, centre.dec.deg
        )
        return energy_tev * u.TeV, SkyCoord(lon, lat, unit="deg", frame="icrs")
