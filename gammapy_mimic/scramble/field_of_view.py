"""Events and known sources of a run in polar coordinates about its pointing."""

import dataclasses
import logging

import numpy as np

from gammapy_mimic.data.run import Change, Run
from gammapy_mimic.scramble.sampling import smooth_times
from gammapy_mimic.sky.geometry import Circles, from_offset_azimuth, offset_azimuth

__all__ = ["FieldOfView"]

log = logging.getLogger(__name__)

VIEW_CONTAINMENT = 0.99
"""The field of view ends at the offset that holds this part of the events."""


@dataclasses.dataclass(frozen=True)
class FieldOfView:
    """Events and known sources of a run in polar coordinates about its pointing.

    Parameters
    ----------
    run : `~gammapy_mimic.data.run.Run`
        Run of a fixed pointing.
    energy_tev : `~numpy.ndarray`
        Energies of its events, shape (n,).
    event_ids : `~numpy.ndarray` or None
        Their numbers, if they have some.
    regions : list of `~regions.CircleSkyRegion`
        Known sources.
    circles : `~gammapy_mimic.sky.geometry.Circles`
        The same in polar coordinates.
    offset_deg, azimuth_deg : `~numpy.ndarray`
        Places of the events, shape (n,).
    seconds : `~numpy.ndarray`
        Times of the events since the start of the first GTI, shape (n,).
    """

    run: Run
    energy_tev: np.ndarray
    event_ids: np.ndarray
    regions: list
    circles: Circles
    offset_deg: np.ndarray
    azimuth_deg: np.ndarray
    seconds: np.ndarray

    @classmethod
    def from_run(cls, run, regions):
        """Polar field of a run.

        Parameters
        ----------
        run : `~gammapy_mimic.data.run.Run`
            Run with events.
        regions : list of `~regions.CircleSkyRegion`
            Known sources.

        Returns
        -------
        field : `FieldOfView`
            Field. ValueError if the run drifts.
        """
        if run.pointing.drifts:
            raise ValueError(
                f"Run {run.obs_id} drifts, so that a source has no fixed ring about "
                "the pointing; take another donor"
            )
        pointing_deg = run.pointing.lon_deg, run.pointing.lat_deg
        centers = [region.center.icrs for region in regions]
        centers_deg = [(center.ra.deg, center.dec.deg) for center in centers]
        lon_deg, lat_deg = np.reshape(centers_deg, (-1, 2)).T
        theta_deg = [region.radius.to_value("deg") for region in regions]
        circles = Circles(*offset_azimuth(lon_deg, lat_deg, *pointing_deg), theta_deg)
        places = offset_azimuth(run.values("RA"), run.values("DEC"), *pointing_deg)
        ids = run.columns.get("EVENT_ID")
        ids = None if ids is None else np.asarray(ids)
        columns = run.values("ENERGY"), ids
        seconds = run.seconds - run.start_s
        return cls(run, *columns, list(regions), circles, *places, seconds)

    @property
    def pointing_deg(self):
        """Right ascension and declination of the pointing."""
        return self.run.pointing.lon_deg, self.run.pointing.lat_deg

    @property
    def zenith_deg(self):
        """Zenith angle of the pointing in the middle of the run; NaN without a site."""
        run = self.run
        if run.pointing.site is None:
            return np.nan
        middle_s = (run.gti_s[0].min() + run.gti_s[1].max()) / 2
        return 90 - run.pointing.horizon(run.origin(middle_s))[1]

    def name(self, number):
        """Name of a source."""
        return str(self.regions[number].meta.get("name", f"number {number}"))

    def label(self, number):
        """Run and source, for messages."""
        return f"Run {self.run.obs_id}, source {self.name(number)}"

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
            The others are logged.
        """
        offset_deg = self.offset_deg
        if len(offset_deg) == 0:
            log.info("Run %s has no events to scramble", self.run.obs_id)
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
        start, stop = self.run.gti_s[:, np.argsort(self.run.gti_s[0])]
        start, stop = start - self.run.start_s, stop - self.run.start_s
        return smooth_times(self.seconds, rows, start, stop, rng)

    def move(self, moved, offset_deg, azimuth_deg):
        """Give some events new places.

        Parameters
        ----------
        moved : `~numpy.ndarray` of int
            Which events, shape (k,).
        offset_deg, azimuth_deg : `~numpy.ndarray`
            Their new places, shape (k,).

        Returns
        -------
        change : `~gammapy_mimic.data.run.Change`
            What becomes of the events.
        after : `FieldOfView`
            The field after it.
        """
        place = from_offset_azimuth(offset_deg, azimuth_deg, *self.pointing_deg)
        change = Change(np.arange(len(self.offset_deg)), moved, *place)
        return change, self._after(change, offset_deg, azimuth_deg)

    def replace(self, kept, copied, offset_deg, azimuth_deg, seconds):
        """Remove events, and add copies of events at new places and times.

        Parameters
        ----------
        kept : `~numpy.ndarray` of int
            Events that stay as they are.
        copied : `~numpy.ndarray` of int
            Events to copy, shape (k,).
        offset_deg, azimuth_deg : `~numpy.ndarray`
            Places of the copies, shape (k,).
        seconds : `~numpy.ndarray`
            Times of the copies, as in `seconds`, shape (k,).

        Returns
        -------
        change : `~gammapy_mimic.data.run.Change`
            What becomes of the events: they are in order of time if the old ones
            were.
        after : `FieldOfView`
            The field after it.
        """
        rows, new = np.concatenate([kept, copied]), len(kept) + np.arange(len(copied))
        if np.all(np.diff(self.seconds) >= 0):
            all_seconds = np.concatenate([self.seconds[kept], seconds])
            order = np.argsort(all_seconds, kind="stable")
            place = np.empty(len(order), dtype=int)
            place[order] = np.arange(len(order))
            rows, new = rows[order], place[new]
        place = from_offset_azimuth(offset_deg, azimuth_deg, *self.pointing_deg)
        change = Change(rows, new, *place, seconds)
        return change, self._after(change, offset_deg, azimuth_deg)

    def _after(self, change, offset_deg, azimuth_deg):
        """Field after a change, whose new places are given in polar coordinates."""
        names = ("energy_tev", "offset_deg", "azimuth_deg", "seconds")
        columns = {name: getattr(self, name)[change.rows] for name in names}
        columns["offset_deg"][change.moved] = offset_deg
        columns["azimuth_deg"][change.moved] = azimuth_deg
        if change.seconds is not None:
            columns["seconds"][change.moved] = change.seconds
        return dataclasses.replace(self, **columns)
