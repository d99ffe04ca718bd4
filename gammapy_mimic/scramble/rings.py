"""Rings of known sources: where to measure the background, and with what."""

import logging
from dataclasses import dataclass, replace

import numpy as np

from gammapy_mimic.scramble.acceptance import (
    EventAcceptance,
    RingAcceptance,
    free_rows,
)
from gammapy_mimic.scramble.model_acceptance import grid_acceptance
from gammapy_mimic.sky.geometry import Circles

__all__ = ["Ring", "Rings", "expectation"]

log = logging.getLogger(__name__)

MIN_OPEN_SHARE = 0.5
"""Part of a source circle at whose radii there must be off-source sky."""

NEARLY_OPEN_SHARE = 0.95
"""Part from which on it is not worth a warning."""

MIN_FREE_RING = 0.25
"""Part of a ring that must be off-source if a background model gives its shape."""

MARGIN_DEG = 0.15
"""Sky so close to a source circle does not count as off-source where the ring has
enough of it without: there are the tails of the point-spread function."""

MAX_MARGIN_SIGMA = 3.0
"""Excess within the margin from which on theta is taken for too small."""


@dataclass(frozen=True)
class Ring:
    """Ring of a source.

    Parameters
    ----------
    number : int
        Source, its place in the field's list.
    acceptance : `~gammapy_mimic.scramble.acceptance.RingAcceptance`
        Where the ring's events may lie.
    inside : `~numpy.ndarray` of int
        Which events of the field are in the ring, shape (n,).
    kind : {"events", "background"}
        What the acceptance was taken from.
    is_wider : bool
        Whether the own ring of the source is nearly covered by sources, so that a
        wider one was taken: nothing can be shuffled then.
    has_margin : bool
        Whether sky just outside of the circles does not count as off-source.
    """

    number: int
    acceptance: RingAcceptance
    inside: np.ndarray
    kind: str
    is_wider: bool = False
    has_margin: bool = False

    @property
    def sample(self):
        """Events of the field that the entries of the acceptance's sample are."""
        return self.inside[self.acceptance.sample]


class Rings:
    """Measure the rings of a run.

    Parameters
    ----------
    obs_id : int
        Run.
    acceptance : {"auto", "events", "background"}
        What is asked for.
    load_background : callable
        Gives the background model of the run, or None.
    can_refill : bool
        Whether a source whose ring is covered may be refilled.
    is_steep : bool
        Whether the run is at a zenith angle at which the acceptance is not
        symmetric.
    rng : `~numpy.random.Generator`
        Random numbers.
    """

    def __init__(
        self, obs_id, acceptance, load_background, *, can_refill, is_steep, rng
    ):
        self.acceptance, self.can_refill, self.rng = acceptance, can_refill, rng
        self._load, self._bkg = load_background, None
        self._is_loaded = False
        self.kind = "events" if acceptance == "auto" else acceptance
        if acceptance == "auto" and is_steep:
            self.kind = "events" if self.background is None else "background"
            what = "its events" if self.background is None else "its background model"
            log.info(
                "Run %s, at a large zenith angle: acceptance of rings from %s",
                obs_id,
                what,
            )
        if self.kind == "background" and self.background is None:
            raise ValueError(
                f"Run {obs_id} has no background model, which "
                "acceptance = 'background' needs; take acceptance = 'events'"
            )

    @property
    def background(self):
        """Background model of the run, loaded when it is needed; None without one."""
        if not self._is_loaded:
            self._bkg, self._is_loaded = self._load(), True
        return self._bkg

    def measure(self, field, number, *, with_margin=False):
        """Measure the ring of a source.

        Parameters
        ----------
        field : `~gammapy_mimic.scramble.field_of_view.FieldOfView`
            Events.
        number : int
            Source.
        with_margin : bool, optional
            Whether sky just outside of the circles, with the tails of bright sources,
            does not count as off-source, as far as the ring has enough of it without.
            Default is False.

        Returns
        -------
        ring : `Ring`
            Ring.

        Raises
        ------
        ValueError
            If there is no off-source ring, or it holds no events.
        """
        kind, own_deg = self._kind(field, number), field.ring_deg(number)
        if kind == "events":
            ring_deg = _checked_open(field, number)
        else:
            ring_deg = self._free_ring(field, number)
        excluded, wide = field.circles, _with_margin(field.circles)
        if with_margin and self._is_open(kind, ring_deg, wide, field.circles[number]):
            excluded = wide
        ring = self._make(field, number, ring_deg, kind, field.circles, excluded)
        if len(ring.acceptance.sample) == 0:
            raise _no_events(field, number, ring_deg)
        is_wider = ring_deg != own_deg
        return replace(ring, is_wider=is_wider, has_margin=excluded is wide)

    def warn_of_excess_outside(self, field, ring):
        """Warn if there is an excess just outside of the circle of a source.

        Parameters
        ----------
        field : `~gammapy_mimic.scramble.field_of_view.FieldOfView`
            Events before scrambling.
        ring : `Ring`
            Ring of the source.
        """
        # the circle with its margin, as one source more
        circles, wide = field.circles, _with_margin(field.circles)
        circles = Circles(
            np.append(circles.distance_deg, circles.distance_deg[ring.number]),
            np.append(circles.azimuth_deg, circles.azimuth_deg[ring.number]),
            np.append(circles.theta_deg, wide.theta_deg[ring.number]),
        )
        number, known = len(circles) - 1, range(len(circles) - 1)
        distance_deg, outer_deg = circles.distance_deg[-1], circles.theta_deg[-1]
        ring_deg = max(distance_deg - outer_deg, 0.0), distance_deg + outer_deg
        is_open = _open_share(ring_deg, wide, circles[number]) >= NEARLY_OPEN_SHARE
        if ring.is_wider or not is_open:
            return
        places = ring_deg, ring.kind, circles, wide
        acceptance = self._make(field, ring.number, *places).acceptance
        expected, error = expectation(
            acceptance, acceptance.expected(number, excluding=known)
        )
        inside = circles.contains(field.offset_deg, field.azimuth_deg)
        excess = np.sum(inside[number] & ~inside[:number].any(axis=0)) - expected
        sigma = np.hypot(error, np.sqrt(expected))
        if excess > MAX_MARGIN_SIGMA * sigma:
            log.warning(
                "%s: an excess of %.0f +- %.0f events just outside of its circle, %.2f "
                "to %.2f deg from it; take a larger theta, or name the source that is "
                "there",
                field.label(ring.number),
                *(excess, sigma, field.circles.theta_deg[ring.number], outer_deg),
            )

    def measure_again(self, field, ring):
        """Measure a ring as before, after other events have moved."""
        return self.measure(field, ring.number, with_margin=ring.has_margin)

    @staticmethod
    def _is_open(kind, ring_deg, excluded, circle):
        """Whether a ring has enough off-source sky."""
        if kind == "background":
            return _free_share(ring_deg, excluded) >= MIN_FREE_RING
        return _open_share(ring_deg, excluded, circle) >= MIN_OPEN_SHARE

    def _kind(self, field, number):
        """Find what the acceptance of a ring is taken from."""
        if self.acceptance != "auto" or self.kind == "background":
            return self.kind
        share = _open_share(
            field.ring_deg(number), field.circles, field.circles[number]
        )
        if share >= MIN_OPEN_SHARE or not self.can_refill or self.background is None:
            return self.kind
        log.info(
            "%s: no off-source ring left; its level is taken from the background model",
            field.label(number),
        )
        return "background"

    def _make(self, field, number, ring_deg, kind, circles, excluded):
        offset_deg = field.offset_deg
        is_inside = (offset_deg >= ring_deg[0]) & (offset_deg <= ring_deg[1])
        inside = np.flatnonzero(is_inside)
        places = offset_deg[inside], field.azimuth_deg[inside]
        energy_tev = field.energy_tev[inside]
        if kind == "events":
            acceptance = EventAcceptance(
                *ring_deg, circles, *places, energy_tev, excluded=excluded
            )
            return Ring(number, acceptance, inside, kind)
        if len(inside) == 0:
            raise _no_events(field, number, ring_deg)
        events = (*places, energy_tev, field.seconds[inside])
        try:
            sky = ring_deg, circles, excluded
            acceptance = grid_acceptance(
                field.run, self.background, *sky, events, self.rng
            )
        except ValueError as error:
            raise ValueError(
                f"{field.label(number)}: {error}; take acceptance = 'events', or "
                "another donor"
            ) from error
        return Ring(number, acceptance, inside, kind)

    def _free_ring(self, field, number):
        """Ring of a source, or a wider one if that is nearly covered by sources."""
        ring_deg = field.ring_deg(number)
        if _free_share(ring_deg, field.circles) >= MIN_FREE_RING:
            return ring_deg
        if not self.can_refill:
            raise ValueError(
                f"{field.label(number)}: no off-source ring left, {ring_deg[0]:.2f} "
                f"to {ring_deg[1]:.2f} deg from the pointing, into which its events "
                "could be shuffled; take method = 'refill', or another donor"
            )
        wider_deg = 0.0, ring_deg[1] + 2 * float(field.circles.theta_deg[number])
        if _free_share(wider_deg, field.circles) < MIN_FREE_RING:
            raise ValueError(
                f"{field.label(number)}: no off-source sky left within "
                f"{wider_deg[1]:.2f} deg of the pointing; take another donor"
            )
        return wider_deg


def expectation(acceptance, expected):
    """Events expected in a circle, with the statistical error of that.

    Parameters
    ----------
    acceptance : `~gammapy_mimic.scramble.acceptance.RingAcceptance`
        Acceptance of the ring.
    expected : `~numpy.ndarray`
        What it expects there for each entry of its sample, shape (k,).

    Returns
    -------
    expected, error : float
        Number, and its error.
    """
    # an event of the sample may stand for several radii
    per_event = np.bincount(acceptance.sample, weights=expected)
    return float(expected.sum()), float(np.sqrt(np.sum(per_event**2)))


def _no_events(field, number, ring_deg):
    return ValueError(
        f"{field.label(number)}: no events in its ring, {ring_deg[0]:.2f} to "
        f"{ring_deg[1]:.2f} deg from the pointing, outside of the known sources; take "
        "another donor, a larger theta, or leave the source out"
    )


def _with_margin(circles):
    """Give the same circles with the margin around them."""
    return replace(circles, theta_deg=circles.theta_deg + MARGIN_DEG)


def _open_share(ring_deg, excluded, circle):
    """Part of a circle at whose radii there is off-source sky."""
    radius_deg, is_free = free_rows(*ring_deg, excluded)
    in_circle = circle.covered_fraction(radius_deg)
    return in_circle[is_free].sum() / in_circle.sum()


def _checked_open(field, number):
    """Ring of a source, if at enough of its radii there is off-source sky."""
    ring_deg = field.ring_deg(number)
    share = _open_share(ring_deg, field.circles, field.circles[number])
    if share < MIN_OPEN_SHARE:
        raise ValueError(
            f"{field.label(number)}: no off-source ring left, {ring_deg[0]:.2f} to "
            f"{ring_deg[1]:.2f} deg from the pointing; take method = 'refill' with "
            "acceptance = 'background', or another donor"
        )
    if share < 1:
        # a few per cent do not change what comes out
        log.log(
            logging.WARNING if share < NEARLY_OPEN_SHARE else logging.INFO,
            "%s: %.0f %% of its circle is at radii that sources cover at nearly all "
            "azimuths; the level there is taken from the radii next to them",
            field.label(number),
            100 * (1 - share),
        )
    return ring_deg


def _free_share(ring_deg, circles):
    """Part of the solid angle of a ring that is free of sources."""
    radius_deg, _ = free_rows(*ring_deg, circles)
    return 1 - circles.covered_fraction(radius_deg).mean()
