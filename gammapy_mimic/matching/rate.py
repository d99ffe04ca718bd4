"""Event rates of runs as a measure of the atmosphere and the instrument."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from astropy import units as u
from astropy.coordinates import Angle, SkyCoord
from gammapy.data import EventList, Observation
from regions import CircleSkyRegion

from gammapy_mimic.sky.astrometry import interpolated_astrom
from gammapy_mimic.sky.geometry import Circles, offset_azimuth
from gammapy_mimic.sources.known import parse_sources

__all__ = ["OuterRate", "rate_chi2"]

# counts in a time bin, and the number of bins
_COUNTS_PER_BIN = 25
_TIME_BINS = (5, 30)
_LEAST_FREE = 0.05


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
    energy_min : `~astropy.units.Quantity`, optional
        Events of lower energy are not counted. Default is None: all are.

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
        energy_min: u.Quantity | None = None,
    ) -> None:
        self.offset_min = Angle(offset_min)
        self.offset_max = Angle(offset_max)
        if not 0 * u.deg <= self.offset_min < self.offset_max:
            raise ValueError(
                f"offset_min = {offset_min}, offset_max = {offset_max}: "
                "must be 0 deg <= offset_min < offset_max"
            )
        self.sources = [] if sources is None else parse_sources(sources, theta=theta)
        self.energy_min = 0 * u.TeV if energy_min is None else u.Quantity(energy_min)

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
        rows, weight = self.counted(observation, events)
        energy = events.energy[rows]
        ontime = observation.observation_time_duration
        return (weight[energy >= self.energy_min].sum() / ontime).to("s-1")

    def counted(
        self,
        observation: Observation,
        events: EventList,
        sources: Sequence[CircleSkyRegion] = (),
    ) -> tuple[np.ndarray, np.ndarray]:
        """Events that count, and how much.

        Parameters
        ----------
        observation : `~gammapy.data.Observation`
            Run.
        events : `~gammapy.data.EventList`
            Its events.
        sources : list of `~regions.CircleSkyRegion`, optional
            Further sources left out. Default is none.

        Returns
        -------
        rows : `~numpy.ndarray` of int
            Numbers of the events, of all energies.
        weight : `~numpy.ndarray`
            Ring over the part of the ring that no circle covers, at the offset of
            each of these events.

        Raises
        ------
        ValueError
            If there are no events.
        """
        if events is None:
            raise ValueError(f"run {observation.obs_id} has no events")
        if observation.pointing.fixed_icrs is not None:
            pointing = observation.pointing.fixed_icrs.icrs
        else:
            with interpolated_astrom():
                pointing = observation.get_pointing_icrs(events.time)
        ra, dec = (
            u.Quantity(events.table[name], "deg").value.astype(float)
            for name in ("RA", "DEC")
        )
        offset, azimuth = offset_azimuth(ra, dec, pointing.ra.deg, pointing.dec.deg)
        outer = (offset >= self.offset_min.deg) & (offset < self.offset_max.deg)
        rows = np.flatnonzero(outer)
        offset, azimuth = offset[rows], azimuth[rows]
        # sources move by little in the field of a drifting run: its middle will do
        middle = observation.get_pointing_icrs(observation.tmid)
        circles = _circles([*self.sources, *sources], middle)
        keep = ~circles.contains(offset, azimuth).any(axis=0)
        free = 1 - circles.covered_fraction(offset[keep])
        # of a ring that is nearly all covered nothing can be said
        is_seen = free > _LEAST_FREE
        return rows[keep][is_seen], 1 / free[is_seen]


def _circles(sources, pointing):
    """Put sources in polar coordinates about the pointing."""
    if not sources:
        return Circles([], [], [])
    centers = SkyCoord([source.center for source in sources]).icrs
    distance, azimuth = offset_azimuth(
        centers.ra.deg, centers.dec.deg, pointing.ra.deg, pointing.dec.deg
    )
    theta = np.array([source.radius.to_value("deg") for source in sources])
    return Circles(distance, azimuth, theta)


def rate_chi2(seconds: Any, start: Any, stop: Any) -> float:
    """How far the rate of a run is from a straight line in time.

    The good time is divided into equal parts of at least 25 events on average, at
    most 30 of them, and a straight line is fitted to their counts.

    Parameters
    ----------
    seconds : array-like
        Times of the events.
    start, stop : array-like
        Good time intervals on the same clock.

    Returns
    -------
    chi2 : float
        Pearson's chi-square over the degrees of freedom: 1 on average for a rate
        that changes linearly, more with clouds. NaN for fewer than 125 events.
    """
    start, stop = np.atleast_1d(start), np.atleast_1d(stop)
    order = np.argsort(start)
    start, stop = start[order], stop[order]
    before = np.cumsum(stop - start) - (stop - start)
    index = np.clip(np.searchsorted(start, seconds, side="right") - 1, 0, None)
    inside = np.clip(np.asarray(seconds) - start[index], 0, (stop - start)[index])
    number = min(_TIME_BINS[1], len(inside) // _COUNTS_PER_BIN)
    if number < _TIME_BINS[0]:
        return np.nan
    counts, _ = np.histogram(
        before[index] + inside, bins=number, range=(0, np.sum(stop - start))
    )
    x = np.linspace(-1, 1, number)
    # the weights of the fit must not depend on how each count has come out
    fit = counts.mean() + x * (counts @ x) / (x @ x)
    fit = np.maximum(fit, 0.1 * counts.mean())
    return float(np.sum((counts - fit) ** 2 / fit) / (number - 2))
