"""Events and known sources of a run in polar coordinates about its pointing."""

import logging
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from gammapy.data import EventList, Observation, PointingMode

from gammapy_mimic.events import event_positions, move_events
from gammapy_mimic.geometry import Circles, from_offset_azimuth, offset_azimuth
from gammapy_mimic.sampling import smooth_times

__all__ = ["PolarField"]

log = logging.getLogger(__name__)

VIEW_CONTAINMENT = 0.99
"""The field of view ends at the offset that holds this part of the events."""


@dataclass(frozen=True)
class PolarField:
    """Events and known sources of a run in polar coordinates about its pointing.

    Parameters
    ----------
    observation : `~gammapy.data.Observation`
        Run, in memory.
    pointing_deg : tuple of float
        Right ascension and declination of the pointing.
    regions : list of `~regions.CircleSkyRegion`
        Known sources.
    circles : `~gammapy_mimic.geometry.Circles`
        The same in polar coordinates.
    offset_deg, azimuth_deg : `~numpy.ndarray`
        Places of the events, shape (n,).
    """

    observation: Observation
    pointing_deg: tuple
    regions: list
    circles: Circles
    offset_deg: np.ndarray
    azimuth_deg: np.ndarray

    @classmethod
    def of(cls, observation, regions):
        """Polar field of a run.

        Parameters
        ----------
        observation : `~gammapy.data.Observation`
            Run.
        regions : list of `~regions.CircleSkyRegion`
            Known sources.

        Returns
        -------
        field : `PolarField`
            Field.

        Raises
        ------
        ValueError
            If the run drifts or has no events.
        """
        if observation.pointing.mode != PointingMode.POINTING:
            raise ValueError(
                f"Run {observation.obs_id} drifts, so that a source has no fixed "
                "ring about the pointing; take another donor"
            )
        if observation.events is None:
            raise ValueError(f"Run {observation.obs_id} has no events")
        pointing = observation.pointing.fixed_icrs.icrs
        pointing_deg = float(pointing.ra.deg), float(pointing.dec.deg)
        centers = [region.center.icrs for region in regions]
        centers_deg = [(center.ra.deg, center.dec.deg) for center in centers]
        lon_deg, lat_deg = np.reshape(centers_deg, (-1, 2)).T
        theta_deg = [region.radius.to_value("deg") for region in regions]
        circles = Circles(*offset_azimuth(lon_deg, lat_deg, *pointing_deg), theta_deg)
        position = event_positions(observation.events.table)
        lon_deg, lat_deg = position.ra.deg, position.dec.deg
        places = offset_azimuth(lon_deg, lat_deg, *pointing_deg)
        return cls(observation, pointing_deg, list(regions), circles, *places)

    @cached_property
    def energy_tev(self):
        """Energies of the events in TeV, shape (n,)."""
        column = self.observation.events.table["ENERGY"]
        energy = u.Quantity(np.asarray(column, dtype=float), column.unit)
        return energy.to_value("TeV")

    @property
    def time(self):
        """Times of the events, shape (n,)."""
        return self.observation.events.table["TIME"]

    @cached_property
    def seconds(self):
        """Times of the events since the start of the first GTI, shape (n,)."""
        return (self.time - self.observation.gti.time_start.min()).to_value("s")

    def name(self, number):
        """Name of a source."""
        return str(self.regions[number].meta.get("name", f"number {number}"))

    def label(self, number):
        """Run and source, for messages."""
        return f"Run {self.observation.obs_id}, source {self.name(number)}"

    def ring_deg(self, number):
        """Inner and outer radius of the ring of a source, in degrees."""
        distance_deg = float(self.circles.distance_deg[number])
        theta_deg = float(self.circles.theta_deg[number])
        return max(distance_deg - theta_deg, 0.0), distance_deg + theta_deg

    def in_view(self):
        """Find the sources whose rings begin in the field of view.

        Returns
        -------
        numbers : list of int
            Of the others the log tells.
        """
        offset_deg = self.offset_deg
        if len(offset_deg) == 0:
            log.info("Run %s has no events to scramble", self.observation.obs_id)
            return []
        edge_deg = np.quantile(offset_deg, VIEW_CONTAINMENT)
        inside = []
        for number in range(len(self.circles)):
            if self.ring_deg(number)[0] <= edge_deg:
                inside.append(number)
            else:
                log.info(
                    "%s: outside of the field of view, which ends at %.2f deg; "
                    "nothing to scramble",
                    self.label(number),
                    edge_deg,
                )
        return inside

    def overlaps(self, number, others):
        """Whether the ring of a source has radii in common with other rings."""
        inner_deg, outer_deg = self.ring_deg(number)
        rings_deg = [self.ring_deg(other) for other in others]
        return any(low <= outer_deg and inner_deg <= high for low, high in rings_deg)

    def new_seconds(self, rows, rng):
        """Draw times for copies of events.

        Parameters
        ----------
        rows : `~numpy.ndarray` of int
            Events that are copied, shape (k,).
        rng : `~numpy.random.Generator`
            Random numbers.

        Returns
        -------
        seconds : `~numpy.ndarray`
            Times as in `seconds`, in the good time intervals, near to those of the
            events, shape (k,).
        """
        gti = self.observation.gti
        order = np.argsort(gti.time_start)
        reference = gti.time_start[order[0]]
        start = (gti.time_start[order] - reference).to_value("s")
        stop = (gti.time_stop[order] - reference).to_value("s")
        return smooth_times(self.seconds, rows, start, stop, rng)

    def move(self, moved, offset_deg, azimuth_deg):
        """Event list in which some events have new places.

        Parameters
        ----------
        moved : `~numpy.ndarray` of int
            Which events, shape (k,).
        offset_deg, azimuth_deg : `~numpy.ndarray`
            Their new places, shape (k,).

        Returns
        -------
        events : `~gammapy.data.EventList`
            New event list. RA and DEC are float64.
        """
        table = self.observation.events.table.copy()
        changed = self._moved_rows(moved, offset_deg, azimuth_deg)
        # setting times is slow, and these stay
        changed.remove_column("TIME")
        return self._with_rows(table, changed, moved)

    def replace(self, kept, copied, offset_deg, azimuth_deg, seconds):
        """Event list of some of the events and of copies at new places and times.

        Parameters
        ----------
        kept : `~numpy.ndarray` of int
            Events that stay as they are.
        copied : `~numpy.ndarray` of int
            Events to copy, shape (k,). Copies get EVENT_IDs that follow on the
            largest one.
        offset_deg, azimuth_deg : `~numpy.ndarray`
            Places of the copies, shape (k,).
        seconds : `~numpy.ndarray`
            Times of the copies, as in `seconds`, shape (k,).

        Returns
        -------
        events : `~gammapy.data.EventList`
            New event list, in order of time if the old one was. RA and DEC are
            float64.
        """
        old = self.observation.events.table
        time = self.observation.gti.time_start.min() + seconds * u.s
        time = getattr(time, self.time.scale)
        changed = self._moved_rows(copied, offset_deg, azimuth_deg, time)
        if "EVENT_ID" in changed.colnames:
            first = old["EVENT_ID"].max() + 1 if len(old) else 1
            changed["EVENT_ID"] = first + np.arange(len(changed))
        rows, new = np.concatenate([kept, copied]), len(kept) + np.arange(len(copied))
        if np.all(np.diff(self.seconds) >= 0):
            all_seconds = np.concatenate([self.seconds[kept], seconds])
            order = np.argsort(all_seconds, kind="stable")
            place = np.empty(len(order), dtype=int)
            place[order] = np.arange(len(order))
            rows, new = rows[order], place[new]
        return self._with_rows(old[rows], changed, new)

    def _moved_rows(self, rows, offset_deg, azimuth_deg, time=None):
        lon_deg, lat_deg = from_offset_azimuth(
            offset_deg, azimuth_deg, *self.pointing_deg
        )
        events = self.observation.events
        return move_events(
            EventList(events.table[rows], meta=events.meta),
            SkyCoord(lon_deg, lat_deg, unit="deg", frame="icrs"),
            source=self.observation,
            time=time,
        ).table

    def _with_rows(self, table, changed, rows):
        """Put changed rows in; columns that they have lost go."""
        if len(rows):
            table.keep_columns(["TIME", *changed.colnames])
        for name in ("RA", "DEC"):
            table[name] = table[name].astype(float)
        for name in changed.colnames:
            if name in table.colnames:
                table[name][rows] = changed[name]
        events = self.observation.events
        return EventList(table, meta=events.meta.model_copy(deep=True))
