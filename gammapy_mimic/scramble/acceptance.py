"""Acceptance of a ring about the pointing, as its events show it."""

import numpy as np

from gammapy_mimic.scramble.sampling import draw_stratified, energy_band_edges
from gammapy_mimic.sky.geometry import (
    arc_half_width,
    solid_angle_fractions,
    solid_angle_radii,
)

__all__ = ["EventAcceptance", "RingAcceptance", "free_rows"]

MAX_BANDS = 30
MIN_BAND_EVENTS = 25
"""Energy bands of a ring: at most so many, with at least so many events each."""

MIN_FREE = 0.1
N_FREE_ROWS = 400
"""Radii of which a smaller part is free of sources do not count as measured."""


class RingAcceptance:
    """Acceptance of a ring: where its events may lie.

    Its kinds answer the same three questions: where the events lie when they are
    shuffled, how many of them are expected in the circle of a source, and where in
    the circle they lie when they are drawn back.

    Parameters
    ----------
    inner_deg, outer_deg : float
        Radii of the ring.
    circles : `~gammapy_mimic.sky.geometry.Circles`
        All known sources.
    offset_deg, azimuth_deg : `~numpy.ndarray`
        Places of the events in the ring, shape (n,).
    excluded : `~gammapy_mimic.sky.geometry.Circles`, optional
        Outside of these is off-source sky: the known sources with a margin. Default is
        without one.
    """

    def __init__(
        self, inner_deg, outer_deg, circles, offset_deg, azimuth_deg, *, excluded=None
    ):
        self.inner_deg, self.outer_deg = inner_deg, outer_deg
        self.circles = circles
        self.excluded = circles if excluded is None else excluded
        self.n_events = len(offset_deg)
        inside = self.excluded.contains(offset_deg, azimuth_deg)
        self.off_source = np.flatnonzero(~inside.any(axis=0))

    def keep_outside(self, circles, size, draw):
        """Draw places, again and again where they fall into circles.

        Parameters
        ----------
        circles : `~gammapy_mimic.sky.geometry.Circles`
            Where nothing may lie.
        size : int
            How many places.
        draw : callable
            Gets the indices of the missing ones, gives their offsets and azimuths.

        Returns
        -------
        offset_deg, azimuth_deg : `~numpy.ndarray`
            Shape (size,).
        """
        offset_deg, azimuth_deg = np.empty(size), np.empty(size)
        missing = np.arange(size)
        while len(missing):
            offset_deg[missing], azimuth_deg[missing] = draw(missing)
            inside = circles.contains(offset_deg[missing], azimuth_deg[missing])
            missing = missing[inside.any(axis=0)]
        return offset_deg, azimuth_deg


class EventAcceptance(RingAcceptance):
    """Acceptance of a ring as its own events show it, the same at all azimuths.

    The off-source events of the ring are the sample. An event at a radius of which
    a part f is free of sources stands for 1 / f events. Radii of which next to
    nothing is free get the level of the radii next to them.

    Parameters
    ----------
    inner_deg, outer_deg, circles, offset_deg, azimuth_deg, excluded
        Ring, known sources and events, as for `RingAcceptance`.
    energy : `~numpy.ndarray`
        Energies, shape (n,).

    Attributes
    ----------
    sample : `~numpy.ndarray` of int
        Which ring event each entry of the sample is, shape (k,).
    """

    def __init__(
        self,
        inner_deg,
        outer_deg,
        circles,
        offset_deg,
        azimuth_deg,
        energy,
        *,
        excluded=None,
    ):
        ring = inner_deg, outer_deg, circles
        super().__init__(*ring, offset_deg, azimuth_deg, excluded=excluded)
        self.energy = energy
        self.sample = self.off_source
        self.radius_deg = offset_deg[self.sample]
        self._weigh()

    def _weigh(self):
        free = 1 - self.excluded.covered_fraction(self.radius_deg)
        self.weight = 1 / np.maximum(free, MIN_FREE)
        _, is_free = free_rows(self.inner_deg, self.outer_deg, self.excluded)
        if is_free.all() or not is_free.any() or len(self.sample) == 0:
            return
        closed, rows = np.flatnonzero(~is_free), np.flatnonzero(is_free)
        near = rows[np.argsort(np.abs(rows - closed.mean()))[: len(closed)]]
        ring = (self.inner_deg, self.outer_deg)
        fraction = solid_angle_fractions(self.radius_deg, *ring)
        row = np.clip((fraction * N_FREE_ROWS).astype(int), 0, N_FREE_ROWS - 1)
        stand_in = np.flatnonzero(np.isin(row, near))
        # evenly spread over the closed radii: multiples of the golden ratio
        spread = np.mod(np.arange(1, len(stand_in) + 1) * 0.6180339887498949, 1)
        spread = spread * len(closed)
        new_row = closed[spread.astype(int)] + np.mod(spread, 1)
        new_radius_deg = solid_angle_radii(new_row / N_FREE_ROWS, *ring)
        kept = np.flatnonzero(is_free[row])
        entry = np.concatenate([kept, stand_in])
        factor = np.repeat([1, len(closed) / len(near)], [len(kept), len(stand_in)])
        self.radius_deg = np.concatenate([self.radius_deg[kept], new_radius_deg])
        self.weight = self.weight[entry] * factor
        self.sample = self.sample[entry]

    def shuffle(self, rng):
        """Draw new places for all events of the ring.

        Parameters
        ----------
        rng : `~numpy.random.Generator`
            Random numbers.

        Returns
        -------
        offset_deg, azimuth_deg : `~numpy.ndarray`
            Shape (n,). Radii follow those of the sample in the same energy band.
        """
        sample_energy = self.energy[self.sample]
        edges = energy_band_edges(
            sample_energy, max_bands=MAX_BANDS, min_events=MIN_BAND_EVENTS
        )
        # small integers are sorted much faster
        band = np.searchsorted(edges, self.energy).astype(np.int16)
        sample_band = np.searchsorted(edges, sample_energy).astype(np.int16)
        order = np.argsort(self.radius_deg)
        order = order[np.argsort(sample_band[order], kind="stable")]
        limits = np.searchsorted(sample_band[order], np.arange(len(edges) + 2))
        offset_deg = np.empty(self.n_events)
        by_band = np.split(
            np.argsort(band, kind="stable"), np.cumsum(np.bincount(band))[:-1]
        )
        for number, events in enumerate(by_band):
            entries = order[limits[number] : limits[number + 1]]
            drawn = draw_stratified(self.weight[entries], len(events), rng)
            offset_deg[events] = self.radius_deg[entries[drawn]]
        return offset_deg, rng.uniform(0, 360, self.n_events)

    def expected(self, number, *, excluding=()):
        """Predict events in a circle, for each entry of the sample.

        Parameters
        ----------
        number : int
            Which circle.
        excluding : sequence of int, optional
            Leave out what these circles cover. Default is none.

        Returns
        -------
        expected : `~numpy.ndarray`
            Shape (k,); the sum is the number of events expected in the circle.
        """
        covered = self.circles[[*excluding, number]].covered_fraction(self.radius_deg)
        if len(excluding):
            others = self.circles[list(excluding)]
            covered = covered - others.covered_fraction(self.radius_deg)
        # a fully covered arc may keep a tiny width by rounding
        return self.weight * np.where(covered > 1e-9, covered, 0)

    def place(self, entries, number, rng, *, excluding=()):
        """Draw places in a circle.

        Parameters
        ----------
        entries : `~numpy.ndarray` of int
            Entries of the sample, whose radii are kept, shape (m,).
        number, excluding
            As for `expected`.
        rng : `~numpy.random.Generator`
            Random numbers.

        Returns
        -------
        offset_deg, azimuth_deg : `~numpy.ndarray`
            Shape (m,).
        """
        circle = self.circles[number]
        radius_deg = self.radius_deg[entries]
        half_deg = arc_half_width(radius_deg, circle.distance_deg, circle.theta_deg)

        def draw(missing):
            turn = rng.uniform(-1, 1, len(missing)) * half_deg[missing]
            return radius_deg[missing], np.mod(circle.azimuth_deg + turn, 360)

        return self.keep_outside(self.circles[list(excluding)], len(entries), draw)


def free_rows(inner_deg, outer_deg, circles):
    """Which parts of a ring, equal in solid angle, have an arc free of circles.

    Parameters
    ----------
    inner_deg, outer_deg : float
        Radii of the ring.
    circles : `~gammapy_mimic.sky.geometry.Circles`
        Known sources.

    Returns
    -------
    radius_deg : `~numpy.ndarray`
        Middles of the parts, from the inner to the outer radius.
    is_free : `~numpy.ndarray` of bool
        Whether at least a tenth of the azimuths is free.
    """
    fraction = (np.arange(N_FREE_ROWS) + 0.5) / N_FREE_ROWS
    radius_deg = solid_angle_radii(fraction, inner_deg, outer_deg)
    return radius_deg, 1 - circles.covered_fraction(radius_deg) >= MIN_FREE
