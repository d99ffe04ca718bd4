"""One run of the synthetic observatory."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from astropy import units as u
from astropy.coordinates import AltAz, EarthLocation, SkyCoord
from astropy.time import Time
from gammapy.data import GTI, EventList, FixedPointingInfo, Observation
from gammapy.data.metadata import ObservationMetaData
from gammapy.irf import FoVAlignment
from scipy.interpolate import CubicSpline

from gammapy_mimic.data.seeds import child_seed, seed_sequence
from gammapy_mimic.io import gadf
from gammapy_mimic.io.arguments import RandomState
from gammapy_mimic.simulation import irfs
from gammapy_mimic.simulation.background import SyntheticBackground
from gammapy_mimic.simulation.events import REFERENCE, event_header, event_table
from gammapy_mimic.simulation.source import SyntheticSource
from gammapy_mimic.sky.astrometry import interpolated_astrom
from gammapy_mimic.sky.positions import fov_coordinates, sky_positions

__all__ = [
    "REFERENCE",
    "SITE",
    "SyntheticRun",
    "simulate_observation",
]

#: Where the synthetic observatory stands.
SITE = EarthLocation.from_geodetic(0 * u.deg, 30 * u.deg, 2000 * u.m)

N_TIME_NODES = 12
N_ALTITUDE_NODES = 33


@dataclass(frozen=True, kw_only=True)
class SyntheticRun:
    """Everything that there is to know about a run, before its events are drawn.

    Parameters
    ----------
    pointing : `~astropy.coordinates.SkyCoord`
        Pointing, fixed in the sky.
    start : `~astropy.time.Time`
        Start.
    duration : `~astropy.units.Quantity`, optional
        Time of observation, one good time interval. Default is 28 min.
    obs_id : int, optional
        OBS_ID. Default is 1.
    background : `SyntheticBackground`, optional
        The true background. Default is ``SyntheticBackground()``.
    sources : tuple of `SyntheticSource`, optional
        Sources in the sky. Default is none.
    deadtime_fraction : float, optional
        Dead time per time of observation. Default is 0.07.
    background_irf : {"bkg_3d_altaz", "bkg_3d_radec", "bkg_2d", None}, optional
        Kind of the background model that the run has: the mean of the truth over
        the run, turned or averaged over azimuth where the kind asks for it. Default
        is "bkg_3d_altaz".
    background_bias : float or callable, optional
        Relative error of the background model: the truth is 1 + bias times the
        model. A callable gives it for energies. Events do not depend on it. Default
        is 0.
    header : dict, optional
        Cards of the EVENTS header to add or replace.
    location : `~astropy.coordinates.EarthLocation`, optional
        Location of the observatory. Default is longitude 0 deg, latitude 30 deg,
        2000 m.
    seed : `~numpy.random.SeedSequence`, optional
        Seed of the run. Default is fresh entropy, new for each run.
    """

    pointing: SkyCoord
    start: Time
    duration: u.Quantity = 28 * u.min
    obs_id: int = 1
    background: SyntheticBackground = field(default_factory=SyntheticBackground)
    sources: tuple = ()
    deadtime_fraction: float = 0.07
    background_irf: str | None = "bkg_3d_altaz"
    background_bias: float | Callable[[u.Quantity], Any] = 0.0
    header: dict = field(default_factory=dict)
    location: EarthLocation = SITE
    seed: np.random.SeedSequence = field(default_factory=np.random.SeedSequence)

    def __post_init__(self) -> None:
        """Check the arguments."""
        if not self.duration.to_value("s") > 0:
            raise ValueError(
                f"run {self.obs_id}: duration = {self.duration}: must be positive"
            )
        if not 0 <= self.deadtime_fraction < 1:
            raise ValueError(
                f"run {self.obs_id}: deadtime_fraction = {self.deadtime_fraction}: "
                "must be at least 0 and less than 1"
            )
        if self.background_irf not in irfs.BACKGROUND_IRFS:
            raise ValueError(
                f"run {self.obs_id}: background_irf = {self.background_irf!r}: "
                f"must be one of {irfs.BACKGROUND_IRFS}"
            )
        if np.any(self.altaz().alt <= 0 * u.deg):
            raise ValueError(
                f"run {self.obs_id}: pointing {self.pointing.to_string('decimal')} "
                f"is below the horizon at {self.start.utc.isot}: choose another start"
            )

    @property
    def livetime(self) -> u.Quantity:
        """Time of observation without dead time."""
        return self.duration * (1 - self.deadtime_fraction)

    def bias(self, energy: u.Quantity) -> float | np.ndarray:
        """Relative error of the background model: truth over model, minus one.

        Parameters
        ----------
        energy : `~astropy.units.Quantity`
            Energies.

        Returns
        -------
        bias : float or `~numpy.ndarray`
            Relative error.
        """
        given = self.background_bias
        return given(energy) if callable(given) else float(given)

    def altaz(self, time: Time | None = None) -> SkyCoord:
        """Altitude and azimuth of the pointing.

        Parameters
        ----------
        time : `~astropy.time.Time`, optional
            Times. Default is start, middle and end of the run.

        Returns
        -------
        altaz : `~astropy.coordinates.SkyCoord`
            Altitude and azimuth.
        """
        if time is None:
            time = self.start + np.array([0, 0.5, 1]) * self.duration
        with interpolated_astrom():
            return self.pointing.transform_to(
                AltAz(obstime=time, location=self.location)
            )

    def expected_background(
        self,
        *,
        energy_range: u.Quantity | None = None,
        offset_range: u.Quantity | None = None,
    ) -> float:
        """Predict the number of background events.

        Parameters
        ----------
        energy_range, offset_range : `~astropy.units.Quantity`, optional
            Ranges of reconstructed energy and offset, shape (2,). Default is all.

        Returns
        -------
        n_events : float
            Expected number.
        """
        time, weight = self._time_nodes()
        rate = [
            self.background.expected_rate(
                zenith, energy_range=energy_range, offset_range=offset_range
            )
            for zenith in 90 * u.deg - self.altaz(time).alt
        ]
        return float((self.duration * np.dot(weight, u.Quantity(rate))).to_value(""))

    def expected_source(self, source: SyntheticSource) -> float:
        """Predict the number of events of a source, of all energies.

        Parameters
        ----------
        source : `SyntheticSource`
            One of the sources.

        Returns
        -------
        n_events : float
            Expected number of detected events.
        """
        _, cumulative = source.expected(self._aeff(), self.pointing, self.livetime)
        return float(cumulative[-1])

    def simulate(self) -> Observation:
        """Draw the events of the run.

        Returns
        -------
        observation : `~gammapy.data.Observation`
            New run in memory. The column MC_ID is 0 for background, 1 for the first
            source, and so on; DETX and DETY are longitude and latitude in the field
            of view aligned with altitude and azimuth.
        """
        reference_s = gadf.seconds_since(self.start, REFERENCE)
        start = REFERENCE + reference_s * u.s
        gti = GTI.create(start, start + self.duration, reference_time=REFERENCE)
        pointing = FixedPointingInfo(fixed_icrs=_icrs(self.pointing))
        header = event_header(self, pointing, gti)
        observation = Observation(
            obs_id=self.obs_id,
            meta=ObservationMetaData.from_header(header),
            gti=gti,
            pointing=pointing,
            location=self.location,
            aeff=self._aeff(),
            edisp=irfs.energy_dispersion(),
            psf=irfs.point_spread(),
            bkg=self._background_model(),
        )
        parts = [self._background_events(observation, start)]
        parts += [
            self._source_events(observation, start, number)
            for number in range(1, len(self.sources) + 1)
        ]
        observation.events = EventList(event_table(parts, start, header))
        return observation

    def _aeff(self):
        return irfs.effective_area(90 * u.deg - self.altaz().alt[1])

    def _time_nodes(self):
        """Give times and weights to integrate over the run."""
        nodes, weights = np.polynomial.legendre.leggauss(N_TIME_NODES)
        return self.start + (nodes + 1) / 2 * self.duration, weights / 2

    def _background_model(self):
        if self.background_irf is None:
            return None
        time, weight = self._time_nodes()
        # angle from the zenith to north in the AltAz-aligned field of view
        frame = Observation(
            pointing=FixedPointingInfo(fixed_icrs=_icrs(self.pointing)),
            location=self.location,
        )
        north = self.pointing.directional_offset_by(0 * u.deg, 0.5 * u.deg)
        lon, lat = fov_coordinates(north, time, frame, FoVAlignment.ALTAZ)
        return irfs.background_irf(
            self.background,
            self.background_irf,
            90 * u.deg - self.altaz(time).alt,
            weight,
            np.arctan2(lat, lon).to("deg") - 90 * u.deg,
            self.bias,
        )

    def _zenith_function(self):
        """Zenith angle for seconds since the start."""
        seconds = np.linspace(0, self.duration.to_value("s"), N_ALTITUDE_NODES)
        altitude = self.altaz(self.start + seconds * u.s).alt
        # the sine is smooth also where the pointing passes the zenith
        spline = CubicSpline(seconds, np.sin(altitude).to_value(""))
        return lambda time: np.arccos(np.clip(spline(time), -1, 1)) * u.rad

    def _background_events(self, observation, start):
        drawn = self.background.draw(
            self.duration,
            self._zenith_function(),
            random_state=child_seed(self.seed, 0),
        )
        place = drawn["fov_lon"], drawn["fov_lat"]
        time = start + drawn["time"]
        position = sky_positions(*place, time, observation, FoVAlignment.ALTAZ)
        return drawn["time"], drawn["energy"], position, place, 0

    def _source_events(self, observation, start, number):
        rng = np.random.default_rng(child_seed(self.seed, number))
        energy, position = self.sources[number - 1].draw(
            observation.aeff, self.pointing, self.livetime, rng
        )
        time = rng.uniform(0, self.duration.to_value("s"), len(energy)) * u.s
        low, high = self.background.energy_range
        seen = position.separation(self.pointing) <= self.background.max_offset
        seen &= (energy >= low) & (energy <= high)
        time, energy, position = time[seen], energy[seen], position[seen]
        place = fov_coordinates(position, start + time, observation, FoVAlignment.ALTAZ)
        return time, energy, position, place, number


def _icrs(position):
    return SkyCoord(position.icrs.ra, position.icrs.dec, frame="icrs")


def simulate_observation(
    pointing: SkyCoord,
    start: Time | str,
    *,
    random_state: RandomState = None,
    **options: Any,
) -> Observation:
    """Simulate one run in memory.

    Parameters
    ----------
    pointing : `~astropy.coordinates.SkyCoord`
        Pointing, fixed in the sky.
    start : `~astropy.time.Time` or str
        Start, of a time at which the pointing is above the horizon.
    random_state : None, int, `~numpy.random.SeedSequence` or \
`~numpy.random.Generator`, optional
        Seed. Default is None.
    **options
        Other arguments of `SyntheticRun`: ``duration``, ``obs_id``, ``background``,
        ``sources``, ``background_irf``, ``background_bias`` and more.

    Returns
    -------
    observation : `~gammapy.data.Observation`
        Run with events, good time interval, IRFs and EVENTS header.

    Examples
    --------
    >>> from astropy.coordinates import SkyCoord
    >>> from gammapy_mimic.simulation import simulate_observation
    >>> pointing = SkyCoord("05h00m", "+22d")
    >>> run = simulate_observation(pointing, "2019-12-05T23:00", random_state=1)
    >>> run.events.table.meta["TELESCOP"]
    'SYNTH'
    """
    run = SyntheticRun(
        pointing=pointing,
        start=Time(start),
        seed=seed_sequence(random_state),
        **{**options, "sources": tuple(options.get("sources", ()))},
    )
    return run.simulate()
