"""Shuffle or refill: what becomes of the events of known sources."""

import dataclasses
import logging

import numpy as np

from gammapy_mimic.scramble.rings import Ring, expectation

__all__ = ["Found", "choose", "find", "refill", "shuffle"]

log = logging.getLogger(__name__)

BAND_QUANTILES = (0.6, 0.9)
"""Three energy bands: below their edges is so much of the ring's off-source events."""

STANDS_OUT_SIGMA = 2.0
"""Excess from which on a source is refilled and not shuffled."""


@dataclasses.dataclass(frozen=True)
class Found:
    """What is known of a source before anything is moved.

    Parameters
    ----------
    ring : `~gammapy_mimic.scramble.rings.Ring`
        Its ring.
    edges_tev : `~numpy.ndarray`
        Inner edges of three energy bands, shape (2,).
    before : `~numpy.ndarray` of int
        Counts in its circle: in all energies, and in the bands, shape (4,).
    expected, error : `~numpy.ndarray`
        What the ring predicts there, with the error of that, shape (4,).
    """

    ring: Ring
    edges_tev: np.ndarray
    before: np.ndarray
    expected: np.ndarray
    error: np.ndarray

    @property
    def sigma(self):
        """Excess over its error, in all energies and the bands, shape (4,)."""
        excess = self.before - self.expected
        error = np.hypot(self.error, np.sqrt(self.expected))
        # no background at all: any event stands out
        limit = np.where(excess > 0, np.inf, 0.0)
        return np.divide(excess, error, out=limit, where=error > 0)

    @property
    def stands_out(self):
        """Whether there is an excess in all energies or any band."""
        return bool(self.sigma.max() > STANDS_OUT_SIGMA)

    def count(self, field):
        """Count what is in the circle of the source, as `before`."""
        inside = field.circles[self.ring.number].contains(
            field.offset_deg, field.azimuth_deg
        )[0]
        return _by_band(field.energy_tev[inside], self.edges_tev)


def _by_band(energy_tev, edges_tev):
    band = np.searchsorted(edges_tev, energy_tev)
    return np.append(len(energy_tev), np.bincount(band, minlength=3))


def find(field, rings, number):
    """Measure the ring of a source and what stands out in its circle.

    Parameters
    ----------
    field : `~gammapy_mimic.scramble.field_of_view.FieldOfView`
        Events.
    rings : `~gammapy_mimic.scramble.rings.Rings`
        Measures rings.
    number : int
        Source.

    Returns
    -------
    found : `Found`
        What was found. If the source stands out, sky just outside of the circles does
        not count as off-source.
    """
    found = _find(field, rings.measure(field, number))
    if found.stands_out:
        found = _find(field, rings.measure(field, number, with_margin=True))
    return found


def _find(field, ring):
    energy_tev = field.energy_tev[ring.sample]
    edges_tev = np.quantile(energy_tev, BAND_QUANTILES)
    band = np.searchsorted(edges_tev, energy_tev)
    expected = ring.acceptance.expected(ring.number)
    pairs = [
        expectation(ring.acceptance, np.where(chosen, expected, 0))
        for chosen in (band >= 0, band == 0, band == 1, band == 2)
    ]
    found = Found(ring, edges_tev, np.zeros(4, dtype=int), *np.transpose(pairs))
    return dataclasses.replace(found, before=found.count(field))


def choose(field, found, method):
    """Choose what is done with a source.

    Parameters
    ----------
    field : `~gammapy_mimic.scramble.field_of_view.FieldOfView`
        Events, for the log.
    found : `Found`
        Source.
    method : {"auto", "shuffle", "refill"}
        What is asked for.

    Returns
    -------
    method : {"shuffle", "refill"}
        With "auto": refill if the source stands out, or if there is no ring into
        which its events could be shuffled.
    """
    if method != "auto":
        return method
    is_refilled = found.stands_out or found.ring.is_wider
    log.info(
        "%s: %+.1f sigma in all energies; %+.1f, %+.1f, %+.1f below %.2f, between and "
        "above %.2f TeV: %s",
        field.label(found.ring.number),
        *found.sigma,
        *found.edges_tev,
        "refilled" if is_refilled else "shuffled",
    )
    return "refill" if is_refilled else "shuffle"


def refill(field, rings, rng):
    """Empty source circles and draw back what their rings predict.

    Parameters
    ----------
    field : `~gammapy_mimic.scramble.field_of_view.FieldOfView`
        Events.
    rings : list of `~gammapy_mimic.scramble.rings.Ring`
        Rings of the sources.
    rng : `~numpy.random.Generator`
        Random numbers.

    Returns
    -------
    change : `~gammapy_mimic.data.run.Change`
        What becomes of the events.
    after : `~gammapy_mimic.scramble.field_of_view.FieldOfView`
        The field after it.
    cards : dict
        Header cards: how many events were removed and added, and their EVENT_IDs.
    """
    numbers = [ring.number for ring in rings]
    places = field.offset_deg, field.azimuth_deg
    is_removed = field.circles[numbers].contains(*places).any(axis=0)
    copied, drawn = [np.zeros(0, dtype=int)], [np.zeros((2, 0))]
    for done, ring in enumerate(rings):
        excluding = numbers[:done]
        expected = ring.acceptance.expected(ring.number, excluding=excluding)
        entries = np.repeat(np.arange(len(expected)), rng.poisson(expected))
        copied.append(ring.sample[entries])
        place = entries, ring.number, rng
        drawn.append(ring.acceptance.place(*place, excluding=excluding))
    copied, drawn = np.concatenate(copied), np.concatenate(drawn, axis=1)
    seconds = field.new_seconds(copied, rng)
    kept = np.flatnonzero(~is_removed)
    change, after = field.replace(kept, copied, *drawn, seconds)
    cards = {"SCR_NDEL": int(is_removed.sum()), "SCR_NNEW": len(copied)}
    if len(copied) and field.event_ids is not None:
        # the new events are those with these EVENT_IDs
        ids = change.new_ids(field.event_ids)
        cards |= {"SCR_ID1": int(ids[0]), "SCR_ID2": int(ids[-1])}
    return change, after, cards


def shuffle(field, rings, measure, rng):
    """Move the events of one ring after the other.

    Parameters
    ----------
    field : `~gammapy_mimic.scramble.field_of_view.FieldOfView`
        Events.
    rings : list of `~gammapy_mimic.scramble.rings.Ring`
        Rings of the sources.
    measure : callable
        Gets field and ring, and measures the ring again where events have moved.
    rng : `~numpy.random.Generator`
        Random numbers.

    Returns
    -------
    change : `~gammapy_mimic.data.run.Change`
        What becomes of the events.
    after : `~gammapy_mimic.scramble.field_of_view.FieldOfView`
        The field after it.
    """
    after, is_moved = field, np.zeros(len(field.offset_deg), dtype=bool)
    numbers = [ring.number for ring in rings]
    for done, ring in enumerate(rings):
        if after.overlaps(ring.number, numbers[:done]):
            ring = measure(after, ring)
        _, after = after.move(ring.inside, *ring.acceptance.shuffle(rng))
        is_moved[ring.inside] = True
    moved = np.flatnonzero(is_moved)
    return field.move(moved, after.offset_deg[moved], after.azimuth_deg[moved])
