"""Event rates of runs as a measure of the atmosphere and the instrument."""

from typing import Any

import numpy as np
from astropy import units as u
from astropy.coordinates import Angle, SkyCoord
from gammapy.data import Observation

from gammapy_mimic.sky.astrometry import interpolated_astrom
from gammapy_mimic.sky.geometry import Circles, offset_azimuth
from gammapy_mimic.sources.known import parse_sources

__all__ = ["OuterRate"]


class OuterRate:
    """Event rate in the outer field of view, a stand-in for the trigger rate.

    Most events far from the pointing are background, whatever the target is. Their
    rate follows the state of the atmosphere and of the telescopes, which vary more
    than zenith angle and muon efficiency show.

    Parameters
    ----------
    offset_min : `~astropy.units.Quantity`, optional
        Events farther than this from the pointing are counted. Default is 2 deg.
    offset_max : `~astropy.units.Quantity`, optional
        Events farther than this are not. Default is 10 deg.
    sources : see `~gammapy_mimic.sources.known.parse_sources`, optional
        Sources left out. Events at the same offset elsewhere stand for those in
        the circles. Default is none.
    theta : `~astropy.units.Quantity`, optional
        Radius left out about sources without a radius. Default is 0.3 deg.

    Examples
    --------
    >>> from gammapy_mimic.matching import OuterRate
    >>> OuterRate(sources="Crab Nebula")
    OuterRate(offset_min=2 deg, offset_max=10 deg, 1 source)
    """

    def __init__(
        self,
        *,
        offset_min: u.Quantity = 2 * u.deg,
        offset_max: u.Quantity = 10 * u.deg,
        sources: Any = None,
        theta: u.Quantity = 0.3 * u.deg,
    ) -> None:
        self.offset_min = Angle(offset_min)
        self.offset_max = Angle(offset_max)
        if not 0 * u.deg <= self.offset_min < self.offset_max:
            raise ValueError(
                f"offset_min = {offset_min}, offset_max = {offset_max}: "
                "must be 0 deg <= offset_min < offset_max"
            )
        self.sources = [] if sources is None else parse_sources(sources, theta=theta)

    def __repr__(self):
        number = len(self.sources)
        return (
            f"OuterRate(offset_min={self.offset_min.deg:g} deg, "
            f"offset_max={self.offset_max.deg:g} deg, "
            f"{number} source{'' if number == 1 else 's'})"
        )

    def __call__(self, observation: Observation) -> u.Quantity:
        """Rate of one run.

        Parameters
        ----------
        observation : `~gammapy.data.Observation`
            Run; its events are read.

        Returns
        -------
        rate : `~astropy.units.Quantity`
            Events per ontime, corrected for the area of the sources.
        """
        events = observation.events
        if events is None:
            raise ValueError(f"run {observation.obs_id} has no events")
        ontime = observation.observation_time_duration
        if observation.pointing.fixed_icrs is not None:
            pointing = observation.pointing.fixed_icrs.icrs
        else:
            with interpolated_astrom():
                pointing = observation.get_pointing_icrs(events.time)
        radec = events.radec.icrs
        place = radec.ra.deg, radec.dec.deg, pointing.ra.deg, pointing.dec.deg
        offset, azimuth = offset_azimuth(*place)
        outer = (offset >= self.offset_min.deg) & (offset < self.offset_max.deg)
        offset, azimuth = offset[outer], azimuth[outer]
        # sources move by little in the field of a drifting run: its middle will do
        middle = observation.get_pointing_icrs(observation.tmid)
        circles = self._circles(middle)
        keep = ~circles.contains(offset, azimuth).any(axis=0)
        weight = 1 / (1 - circles.covered_fraction(offset[keep]))
        return (weight.sum() / ontime).to("s-1")

    def _circles(self, pointing):
        """Put the sources in polar coordinates about the pointing."""
        if not self.sources:
            return Circles([], [], [])
        centers = SkyCoord([source.center for source in self.sources]).icrs
        distance, azimuth = offset_azimuth(
            centers.ra.deg, centers.dec.deg, pointing.ra.deg, pointing.dec.deg
        )
        theta = np.array([source.radius.to_value("deg") for source in self.sources])
        return Circles(distance, azimuth, theta)
