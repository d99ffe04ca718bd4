"""Background of the synthetic observatory: a formula that is drawn from exactly."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from astropy import units as u
from scipy.special import gamma as gamma_function

from gammapy_mimic.data.seeds import seed_sequence
from gammapy_mimic.io.arguments import RandomState
from gammapy_mimic.sky.geometry import from_offset_azimuth, offset_azimuth

__all__ = ["SyntheticBackground"]

ENERGY_RANGE_TEV = (0.1, 100.0)
MAX_OFFSET_DEG = 3.0

# good to 1e-8
N_QUADRATURE = {"energy": 40, "offset": 20, "azimuth": 16}


@dataclass(frozen=True, kw_only=True)
class SyntheticBackground:
    r"""Background rate in the field of view that is aligned with altitude and azimuth.

    With offset :math:`\theta`, zenith angle :math:`z` and field-of-view latitude
    :math:`y`, per time, energy and solid angle:

    .. math::
        R = n r \cos^{1.5}(z)\, S(E, z)
            \frac{e^{-\theta^2 / 2\sigma^2(E)}}{\Omega(E)}\, e^{g(E, z)\, y}

    * :math:`S \propto E^{-2.7} e^{-E_0 / E}`, with integral 1 and
      :math:`E_0 = 0.6\,\mathrm{TeV} \cos^{-2.5}(z)`: the threshold rises with zenith
      angle;
    * :math:`\sigma = w (E / \mathrm{TeV})^{s}`: the field is wider at high energies;
      :math:`\Omega = 2 \pi \sigma^2 (1 - e^{-\theta_{max}^2 / 2\sigma^2})`;
    * :math:`g`: see `gradient_at`;
    * no events beyond 3 deg from the pointing, below 0.1 TeV and above 100 TeV.

    The rate is per time of observation (not corrected for dead time), as GADF
    defines it for background models.

    Parameters
    ----------
    normalisation : float, optional
        Factor n on the rate. Default is 1.
    rate : `~astropy.units.Quantity`, optional
        Rate r of all energies over the whole field at the zenith, without gradient.
        Default is 5 / s.
    width : `~astropy.units.Quantity`, optional
        Width w of the field at 1 TeV. Default is 1.2 deg.
    width_slope : float, optional
        Power s with which the width grows with energy. Default is 0.2.
    gradient : `~astropy.units.Quantity`, optional
        Relative change of the rate per angle towards higher altitude, at low
        energies and large zenith angles. Default is 0.34 / deg, as measured for
        H.E.S.S. below threshold at zenith angles of 45 to 56 deg.
    gradient_energy : `~astropy.units.Quantity`, optional
        Energy at which half of the gradient is left. None: the same gradient at all
        energies. Default is 1 TeV.
    gradient_zenith : `~astropy.units.Quantity`, optional
        Zenith angles at which the gradient sets in and is complete, shape (2,).
        None: the same gradient at all zenith angles. Default is (35, 50) deg.

    Examples
    --------
    >>> from astropy import units as u
    >>> from gammapy_mimic.simulation import SyntheticBackground
    >>> background = SyntheticBackground()
    >>> events = background.draw(28 * u.min, 20 * u.deg, random_state=1)
    >>> sorted(events)
    ['energy', 'fov_lat', 'fov_lon', 'time']
    """

    normalisation: float = 1.0
    rate: u.Quantity = 5 / u.s
    width: u.Quantity = 1.2 * u.deg
    width_slope: float = 0.2
    gradient: u.Quantity = 0.34 / u.deg
    gradient_energy: u.Quantity | None = 1 * u.TeV
    gradient_zenith: u.Quantity | None = (35, 50) * u.deg

    index = 2.7
    threshold = 0.6 * u.TeV
    threshold_power = 2.5
    zenith_power = 1.5
    energy_range = ENERGY_RANGE_TEV * u.TeV
    max_offset = MAX_OFFSET_DEG * u.deg

    def __post_init__(self) -> None:
        """Check the parameters."""
        if not self.normalisation >= 0:
            raise ValueError(f"normalisation = {self.normalisation}: must be >= 0")
        for name, unit in [("rate", "s-1"), ("width", "deg")]:
            if not getattr(self, name).to_value(unit) > 0:
                raise ValueError(f"{name} = {getattr(self, name)}: must be positive")
        if self.gradient_zenith is not None:
            first, last = self.gradient_zenith.to_value("deg")
            if not first < last:
                raise ValueError(
                    f"gradient_zenith = {self.gradient_zenith}: must be increasing"
                )

    def gradient_at(self, energy: u.Quantity, zenith: u.Quantity) -> u.Quantity:
        r"""Gradient of the rate with altitude.

        .. math::
            g = g_0 \frac{1}{1 + (E / E_g)^4}
                \mathrm{clip}\left(\frac{z - z_1}{z_2 - z_1}, 0, 1\right)

        Parameters
        ----------
        energy, zenith : `~astropy.units.Quantity`
            Energy and zenith angle; broadcast.

        Returns
        -------
        gradient : `~astropy.units.Quantity`
            d ln(rate) / d(field-of-view latitude), in 1 / deg.
        """
        energy_tev, zenith_deg = energy.to_value("TeV"), zenith.to_value("deg")
        return _gradient(self, energy_tev, zenith_deg) / u.deg

    def width_at(self, energy: u.Quantity) -> u.Quantity:
        """Width of the field.

        Parameters
        ----------
        energy : `~astropy.units.Quantity`
            Energy.

        Returns
        -------
        width : `~astropy.units.Quantity`
            Standard deviation of the radial profile, in deg.
        """
        return _width(self, energy.to_value("TeV")) * u.deg

    def radial_profile(self, energy: u.Quantity, offset: u.Quantity) -> np.ndarray:
        """Rate relative to that at the pointing, without the gradient.

        Parameters
        ----------
        energy, offset : `~astropy.units.Quantity`
            Energy and distance from the pointing; broadcast.

        Returns
        -------
        profile : `~numpy.ndarray`
            1 at the pointing, 0 beyond 3 deg.
        """
        ratio = (offset / self.width_at(energy)).to_value("")
        return np.where(offset <= self.max_offset, np.exp(-(ratio**2) / 2), 0.0)

    def spectrum(self, energy: u.Quantity, zenith: u.Quantity) -> u.Quantity:
        """Rate per energy over the whole field, without the gradient.

        Parameters
        ----------
        energy, zenith : `~astropy.units.Quantity`
            Energy and zenith angle; broadcast.

        Returns
        -------
        spectrum : `~astropy.units.Quantity`
            Rate in 1 / (s TeV).
        """
        cos_zenith = np.cos(zenith).to_value("")
        threshold = _threshold(self, cos_zenith)
        x = threshold / energy.to_value("TeV")
        # inverse-gamma distribution of the energy
        density = x**self.index * np.exp(-x) / gamma_function(self.index - 1)
        rate = _total_rate(self, cos_zenith)
        return rate * density / threshold / (u.s * u.TeV)

    def rate_at(
        self,
        energy: u.Quantity,
        fov_lon: u.Quantity,
        fov_lat: u.Quantity,
        zenith: u.Quantity,
        *,
        margin: u.Quantity = 0 * u.deg,
    ) -> u.Quantity:
        """Background rate.

        Parameters
        ----------
        energy, fov_lon, fov_lat, zenith : `~astropy.units.Quantity`
            Energy, place in the field of view aligned with altitude and azimuth,
            zenith angle of the pointing; broadcast.
        margin : `~astropy.units.Quantity`, optional
            Continue the formula beyond the edge of the field by so much, for nodes
            of an interpolation. Default is 0 deg.

        Returns
        -------
        rate : `~astropy.units.Quantity`
            Rate in 1 / (s MeV sr).
        """
        lon_deg, lat_deg = fov_lon.to_value("deg"), fov_lat.to_value("deg")
        offset_deg, _ = offset_azimuth(lon_deg, lat_deg, 0.0, 0.0)
        energy_tev = energy.to_value("TeV")
        sigma = _width(self, energy_tev)
        edge = self.max_offset.to_value("deg")
        inside = offset_deg <= edge + margin.to_value("deg")
        square = offset_deg**2 / (2 * sigma**2) - _gradient(
            self, energy_tev, zenith.to_value("deg")
        ) * np.asarray(lat_deg)
        area = 2 * np.pi * np.radians(sigma) ** 2
        area *= -np.expm1(-(edge**2) / (2 * sigma**2))
        shape = np.where(inside, np.exp(-square), 0.0) / area / u.sr
        in_range = (energy >= self.energy_range[0]) & (energy <= self.energy_range[1])
        return (in_range * self.spectrum(energy, zenith) * shape).to("s-1 MeV-1 sr-1")

    def expected_rate(
        self,
        zenith: u.Quantity,
        *,
        energy_range: u.Quantity | None = None,
        offset_range: u.Quantity | None = None,
    ) -> u.Quantity:
        """Rate in a range of energies and a ring around the pointing.

        Parameters
        ----------
        zenith : `~astropy.units.Quantity`
            Zenith angle, scalar.
        energy_range, offset_range : `~astropy.units.Quantity`, optional
            Lower and upper limit, shape (2,). Default is everything.

        Returns
        -------
        rate : `~astropy.units.Quantity`
            Integral of `rate_at`, in 1 / s.
        """
        return _integral(self, zenith, energy_range, offset_range) / u.s

    def draw(
        self,
        duration: u.Quantity,
        zenith: u.Quantity | Callable[[np.ndarray], u.Quantity],
        *,
        random_state: RandomState = None,
    ) -> dict[str, u.Quantity]:
        """Draw background events of a run, as arrays.

        The number of events is Poisson distributed. Draws follow the formula without
        any binning: candidates are drawn from an upper limit of the rate and thinned.

        Parameters
        ----------
        duration : `~astropy.units.Quantity`
            Time of observation.
        zenith : `~astropy.units.Quantity` or callable
            Zenith angle, or a function that gives it for seconds since the start.
        random_state : None, int, `~numpy.random.SeedSequence` or \
`~numpy.random.Generator`, optional
            Seed. Default is None.

        Returns
        -------
        events : dict of `~astropy.units.Quantity`
            ``time`` since the start, ``energy``, ``fov_lon`` (-180 to 180 deg) and
            ``fov_lat``, each of shape (n,), in the order of time.
        """
        rng = np.random.default_rng(seed_sequence(random_state))
        return _draw(self, duration.to_value("s"), zenith, rng)


def _gradient(background, energy_tev, zenith_deg):
    value = background.gradient.to_value("deg-1")
    if background.gradient_energy is not None:
        value = value / (
            1 + (energy_tev / background.gradient_energy.to_value("TeV")) ** 4
        )
    if background.gradient_zenith is not None:
        first, last = background.gradient_zenith.to_value("deg")
        value = value * np.clip((zenith_deg - first) / (last - first), 0, 1)
    return value


def _width(background, energy_tev):
    return background.width.to_value("deg") * energy_tev**background.width_slope


def _threshold(background, cos_zenith):
    return (
        background.threshold.to_value("TeV") * cos_zenith**-background.threshold_power
    )


def _total_rate(background, cos_zenith):
    at_zenith = background.normalisation * background.rate.to_value("s-1")
    return at_zenith * np.clip(cos_zenith, 0, None) ** background.zenith_power


def _integral(background, zenith, energy_range, offset_range):
    """Rate in ranges of energy and offset, in 1 / s."""
    if energy_range is None:
        energy_range = background.energy_range
    if offset_range is None:
        offset_range = u.Quantity([0 * u.deg, background.max_offset])
    low, high = np.clip(energy_range.to_value("TeV"), *ENERGY_RANGE_TEV)
    log_energy, weight = _legendre(np.log(low), np.log(high), "energy")
    energy_tev = np.exp(log_energy)
    near, far = np.clip(offset_range.to_value("deg"), 0, MAX_OFFSET_DEG)
    offset_deg, ring = _legendre(near, far, "offset")
    ring = np.sin(np.radians(offset_deg)) * np.radians(ring)
    n_azimuth = N_QUADRATURE["azimuth"]
    azimuth_deg = np.arange(n_azimuth) * 360 / n_azimuth
    lon, lat = from_offset_azimuth(offset_deg[:, np.newaxis], azimuth_deg, 0.0, 0.0)
    rate = background.rate_at(
        energy_tev[:, np.newaxis, np.newaxis] * u.TeV,
        lon * u.deg,
        lat * u.deg,
        zenith,
    ).mean(axis=2) * (2 * np.pi * u.sr)
    total = np.einsum("ij,i,j", rate.to_value("s-1 TeV-1"), energy_tev * weight, ring)
    return total


def _draw(background, seconds, zenith, rng):
    """Draw events from an upper limit of the rate, and thin them to the rate."""
    # neither the gradient nor the zenith angle can make the rate higher
    lift = abs(background.gradient.to_value("deg-1")) * MAX_OFFSET_DEG
    highest = _total_rate(background, 1.0) * np.exp(lift)
    time = np.sort(rng.uniform(0, seconds, rng.poisson(highest * seconds)))
    at = zenith(time) if callable(zenith) else zenith
    zenith_deg = np.broadcast_to(at.to_value("deg"), time.shape)
    cos_zenith = np.cos(np.radians(zenith_deg))
    kept = rng.random(len(time)) * _total_rate(background, 1.0) < _total_rate(
        background, cos_zenith
    )
    time, zenith_deg, cos_zenith = time[kept], zenith_deg[kept], cos_zenith[kept]
    energy = _threshold(background, cos_zenith) / rng.gamma(
        background.index - 1, size=len(time)
    )
    offset = _draw_offset(background, energy, rng)
    azimuth = rng.uniform(0, 360, len(time))
    lon, lat = from_offset_azimuth(offset, azimuth, 0.0, 0.0)
    # equal areas of the plane are not quite equal areas of the sphere
    weight = np.sinc(np.radians(offset) / np.pi)
    weight *= np.exp(_gradient(background, energy, zenith_deg) * lat - lift)
    kept = rng.random(len(time)) < weight
    kept &= (energy >= ENERGY_RANGE_TEV[0]) & (energy <= ENERGY_RANGE_TEV[1])
    return {
        "time": time[kept] * u.s,
        "energy": energy[kept] * u.TeV,
        "fov_lon": ((lon[kept] + 180) % 360 - 180) * u.deg,
        "fov_lat": lat[kept] * u.deg,
    }


def _draw_offset(background, energy_tev, rng):
    """Offsets of a Gaussian in the plane, cut at the edge of the field."""
    double_variance = 2 * _width(background, energy_tev) ** 2
    inside = -np.expm1(-(MAX_OFFSET_DEG**2) / double_variance)
    uniform = rng.random(len(energy_tev))
    return np.sqrt(-double_variance * np.log1p(-uniform * inside))


def _legendre(low, high, name):
    """Nodes and weights of a Gauss-Legendre quadrature."""
    nodes, weights = np.polynomial.legendre.leggauss(N_QUADRATURE[name])
    return 0.5 * (high - low) * (nodes + 1) + low, 0.5 * (high - low) * weights
