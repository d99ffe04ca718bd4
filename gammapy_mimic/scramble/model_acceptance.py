"""Acceptance of a ring about the pointing, as the background model says it."""

import numpy as np
from astropy import units as u
from gammapy.irf import FoVAlignment

from gammapy_mimic.data import compat
from gammapy_mimic.scramble.acceptance import RingAcceptance
from gammapy_mimic.scramble.sampling import draw_stratified
from gammapy_mimic.sky.geometry import (
    from_offset_azimuth,
    offset_azimuth,
    solid_angle_radii,
)
from gammapy_mimic.sky.positions import EventPositions

__all__ = ["GridAcceptance", "grid_acceptance", "grid_cells"]

GRID_SHAPE = (30, 360)
"""Cells of a background model in a ring: in radius and in azimuth."""

N_CELL_PARTS = 10
"""Into how many parts a cell is divided to see how much of it is in a circle."""

N_ENERGY_PARTS = 4
"""Steps from one energy of a background model to the next.

Near the threshold the shape changes so much that with a single step the mean of both
shapes predicts up to 1 % more in a circle than the model, which gammapy interpolates
logarithmically.
"""

_N_TURNS = 101


class GridAcceptance(RingAcceptance):
    """Acceptance of a ring as a background model says it.

    The model is given on cells of equal solid angle in the field of view, which may
    turn against the sky.

    Parameters
    ----------
    inner_deg, outer_deg : float
        Radii of the ring.
    circles : `~gammapy_mimic.sky.geometry.Circles`
        All known sources.
    offset_deg, azimuth_deg : `~numpy.ndarray`
        Places of the events in the ring, shape (n,).
    rate : `~numpy.ndarray`
        Rate in the cells, shape (n_energy, n_radius, n_azimuth), at the middles of
        equal parts of the ring's solid angle and of azimuth.
    node : `~numpy.ndarray` of int
        At which energy of the model each event is, shape (n,).
    turn_deg : `~numpy.ndarray`
        Azimuth in the field of view of azimuth 0 on the sky, at the time of each
        event, shape (n,).
    sense : {1, -1}
        Whether both azimuths grow in the same sense.
    excluded : `~gammapy_mimic.sky.geometry.Circles`, optional
        As for `~gammapy_mimic.scramble.acceptance.RingAcceptance`.
    """

    def __init__(
        self,
        inner_deg,
        outer_deg,
        circles,
        offset_deg,
        azimuth_deg,
        *,
        rate,
        node,
        turn_deg,
        sense,
        excluded=None,
    ):
        ring = inner_deg, outer_deg, circles
        super().__init__(*ring, offset_deg, azimuth_deg, excluded=excluded)
        self.rate, self.node = rate, node
        self.turn_deg, self.sense = turn_deg, sense
        self.sample = self.off_source

    def shuffle(self, rng):
        """Draw new places for all events of the ring; see `EventAcceptance`."""
        return self._draw(np.arange(self.n_events), rng)

    def _draw(self, events, rng):
        _, n_radius, n_azimuth = self.rate.shape
        cell = np.empty(len(events), dtype=int)
        for node in np.unique(self.node[events]):
            mine = np.flatnonzero(self.node[events] == node)
            cell[mine] = draw_stratified(self.rate[node].ravel(), len(mine), rng)
        row, column = np.divmod(cell, n_azimuth)
        fraction = (row + rng.random(len(events))) / n_radius
        offset_deg = solid_angle_radii(fraction, self.inner_deg, self.outer_deg)
        turned_deg = (column + rng.random(len(events))) * 360 / n_azimuth
        azimuth_deg = self.sense * (turned_deg - self.turn_deg[events])
        return offset_deg, np.mod(azimuth_deg, 360)

    def expected(self, number, *, excluding=()):
        """Predict events in a circle, for each entry of the sample.

        The model's content of the circle over that of the off-source part of the
        ring, at energy and time of the event. See `EventAcceptance`.
        """
        n_azimuth = self.rate.shape[2]
        step = np.rint(self.turn_deg[self.sample] * n_azimuth / 360).astype(int)
        node = self.node[self.sample]
        result = np.empty(len(self.sample))
        wanted, free = self._parts_of_cells(number, excluding)
        for each in np.unique(step):
            content, rest = (
                np.tensordot(self.rate, np.roll(part, each, axis=1), axes=2)
                for part in (wanted, free)
            )
            ratio = np.divide(content, rest, out=np.zeros(len(rest)), where=rest > 0)
            mine = step == each
            result[mine] = ratio[node[mine]]
        return result

    def _parts_of_cells(self, number, excluding):
        """Part of each cell that is in a circle, and part that is off-source.

        For a field of view that is not turned; each cell is divided in radius.
        """
        _, n_radius, n_azimuth = self.rate.shape
        ring = (self.inner_deg, self.outer_deg)
        cells = grid_cells(*ring, n_radius * N_CELL_PARTS, n_azimuth)
        offset_deg, azimuth_deg = (axis.ravel() for axis in cells)
        places = offset_deg, self.sense * azimuth_deg
        inside = self.circles.contains(*places)
        wanted = inside[number] & ~inside[list(excluding)].any(axis=0)
        free = ~self.excluded.contains(*places).any(axis=0)
        shape = (n_radius, N_CELL_PARTS, n_azimuth)
        return (part.reshape(shape).mean(axis=1) for part in (wanted, free))

    def place(self, entries, number, rng, *, excluding=()):
        """Draw places in a circle; see `EventAcceptance`."""
        events = self.sample[entries]

        def draw(missing):
            return self._draw_in_circle(events[missing], number, rng)

        return self.keep_outside(self.circles[list(excluding)], len(entries), draw)

    def _draw_in_circle(self, events, number, rng):
        offset_deg, azimuth_deg = np.empty(len(events)), np.empty(len(events))
        missing = np.arange(len(events))
        while len(missing):
            place = self._draw(events[missing], rng)
            offset_deg[missing], azimuth_deg[missing] = place
            missing = missing[~self.circles[number].contains(*place)[0]]
        return offset_deg, azimuth_deg


def grid_cells(inner_deg, outer_deg, n_radius, n_azimuth):
    """Middles of cells of equal solid angle in a ring.

    Parameters
    ----------
    inner_deg, outer_deg : float
        Radii of the ring.
    n_radius, n_azimuth : int
        Number of cells.

    Returns
    -------
    offset_deg, azimuth_deg : `~numpy.ndarray`
        Shape (n_radius, n_azimuth).
    """
    fraction = (np.arange(n_radius) + 0.5) / n_radius
    offset_deg = solid_angle_radii(fraction, inner_deg, outer_deg)
    azimuth_deg = (np.arange(n_azimuth) + 0.5) * 360 / n_azimuth
    return np.meshgrid(offset_deg, azimuth_deg, indexing="ij")


def grid_acceptance(run, bkg, ring_deg, circles, excluded, events, rng):
    """Make the acceptance of a ring after the background model of the run.

    Parameters
    ----------
    run : `~gammapy_mimic.data.run.Run`
        Gives the field of view at the times of the events.
    bkg : `~gammapy.irf.Background2D` or `~gammapy.irf.Background3D`
        Background model with its true alignment.
    ring_deg : tuple of float
        Inner and outer radius.
    circles, excluded : `~gammapy_mimic.sky.geometry.Circles`
        All known sources, and what is not off-source sky.
    events : tuple
        Offsets and azimuths in degrees, energies in TeV and times since the start of
        the run in seconds, of the events in the ring, shape (n,) each.
    rng : `~numpy.random.Generator`
        Picks for each event the energy of the model below or above, by distance
        in the logarithm, which is a linear interpolation on average.

    Returns
    -------
    acceptance : `GridAcceptance`
        Acceptance.

    Raises
    ------
    ValueError
        If the model is zero all over the ring.
    """
    offset_deg, azimuth_deg, energy_tev, seconds = events
    bkg = compat.to_gadf_alignment(bkg)
    rate = _evaluate(bkg, *grid_cells(*ring_deg, *GRID_SHAPE))
    good = rate.sum(axis=(1, 2)) > 0
    if not good.any():
        raise ValueError("the background model is zero all over the ring")
    rate = _between_energies(rate[good])
    node_energy = np.log(bkg.axes["energy"].center.to_value("TeV")[good])
    place = N_ENERGY_PARTS * np.arange(len(node_energy))
    node = np.interp(np.log(energy_tev), node_energy, place)
    if bkg.has_offset_axis or bkg.fov_alignment != FoVAlignment.ALTAZ:
        turn_deg, sense = np.zeros(len(seconds)), -1
    else:
        turn_deg, sense = _turn_of_altaz_deg(run, seconds), 1
    return GridAcceptance(
        *ring_deg,
        circles,
        offset_deg,
        azimuth_deg,
        excluded=excluded,
        rate=rate,
        node=np.floor(node + rng.random(len(node))).astype(int),
        turn_deg=turn_deg,
        sense=sense,
    )


def _evaluate(bkg, offset_deg, azimuth_deg):
    """Rates at all energies of the model, shape (n_energy, *shape of the cells)."""
    if bkg.has_offset_axis:
        place = {"offset": offset_deg}
    else:
        lon_deg, lat_deg = from_offset_azimuth(offset_deg, azimuth_deg, 0, 0)
        place = {"fov_lon": (lon_deg + 180) % 360 - 180, "fov_lat": lat_deg}
    coords = {}
    for name, value_deg in place.items():
        # beyond its last bin the model says nothing: keep its level there
        low, high = bkg.axes[name].edges.to_value("deg")[[0, -1]]
        coords[name] = np.clip(value_deg, low + 1e-6, high - 1e-6) * u.deg
    energy = bkg.axes["energy"].center[:, np.newaxis, np.newaxis]
    rate = bkg.evaluate(energy=energy, **coords)
    return np.clip(np.nan_to_num(rate.to_value(bkg.unit)), 0, None)


def _between_energies(rate):
    """Rates also at energies between those of the model, interpolated as by gammapy."""
    place = np.arange(N_ENERGY_PARTS * (len(rate) - 1) + 1) / N_ENERGY_PARTS
    below = place.astype(int)
    above = np.minimum(below + 1, len(rate) - 1)
    part = (place - below)[:, np.newaxis, np.newaxis]
    linear = (1 - part) * rate[below] + part * rate[above]
    # a bin that was empty by chance at one of the energies must not be so between
    is_filled = (rate[below] > 0) & (rate[above] > 0)
    log_rate = np.log(np.where(rate > 0, rate, 1))
    logarithmic = np.exp((1 - part) * log_rate[below] + part * log_rate[above])
    return np.where(is_filled, logarithmic, linear)


def _turn_of_altaz_deg(run, seconds):
    """Azimuth in the AltAz-aligned field of view of azimuth 0 on the sky.

    Seen on the sky right ascension and azimuth run in opposite senses, but
    field-of-view azimuth runs from latitude to longitude, which decreases with
    azimuth: so both senses are the same.
    """
    place = from_offset_azimuth(1.0, 0.0, run.pointing.lon_deg, run.pointing.lat_deg)
    nodes = np.linspace(seconds.min(), seconds.max(), _N_TURNS)
    probe = EventPositions(run.pointing, run.origin(run.start_s), nodes, *place)
    _, turn_deg = offset_azimuth(*probe.fov_deg(FoVAlignment.ALTAZ), 0, 0)
    x, y = np.cos(np.radians(turn_deg)), np.sin(np.radians(turn_deg))
    x, y = np.interp(seconds, nodes, x), np.interp(seconds, nodes, y)
    return np.degrees(np.arctan2(y, x))
