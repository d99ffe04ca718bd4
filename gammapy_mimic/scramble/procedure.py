"""What is done with the known sources of a run, one after the other."""

import functools
import logging

from gammapy_mimic.data import compat
from gammapy_mimic.scramble.methods import choose, find, refill, shuffle
from gammapy_mimic.scramble.psf import containment_deg, low_energy_tev
from gammapy_mimic.scramble.rings import Rings

__all__ = ["scramble_field"]

log = logging.getLogger(__name__)

STEEP_ZENITH_DEG = 40.0
"""Zenith angle beyond which the acceptance is not taken for symmetric."""


def scramble_field(observation, field, *, method, acceptance, rng):
    """Find the sources of a run, refill the bright ones and shuffle the others.

    Parameters
    ----------
    observation : `~gammapy.data.Observation`
        Run; its point-spread function and background model are looked at.
    field : `~gammapy_mimic.scramble.field_of_view.FieldOfView`
        Its events and known sources.
    method, acceptance : str
        See `~gammapy_mimic.AnnulusScrambler`.
    rng : `~numpy.random.Generator`
        Random numbers.

    Returns
    -------
    sources : list of tuple
        What was found of each source in the field of view, and the method taken.
    changes : list of `~gammapy_mimic.data.run.Change`
        What becomes of the events, one change after the other.
    after : `~gammapy_mimic.scramble.field_of_view.FieldOfView`
        The field after all of them.
    cards : dict
        Header cards on events that were removed and added.
    """
    numbers = field.in_view()
    if not numbers:
        return [], [], field, {}
    rings = Rings(
        observation.obs_id,
        acceptance,
        # nothing is loaded into the run, so that its IRFs are passed on as they are
        functools.partial(compat.background, compat.read_once(observation)),
        can_refill=method != "shuffle",
        is_steep=field.zenith_deg > STEEP_ZENITH_DEG,
        rng=rng,
    )
    sources = []
    for number in numbers:
        found = find(field, rings, number)
        sources.append((found, choose(field, found, method)))
    _warn(observation, field, rings, [found.ring for found, _ in sources])
    refilled = [found.ring for found, own in sources if own == "refill"]
    shuffled = [found.ring for found, own in sources if own == "shuffle"]
    changes, cards, after = [], {}, field
    if refilled:
        change, after, cards = refill(field, refilled, rng)
        changes.append(change)
        # the events have other places in the list now
        shuffled = [rings.measure_again(after, ring) for ring in shuffled]
    if shuffled:
        change, after = shuffle(after, shuffled, rings.measure_again, rng)
        changes.append(change)
    return sources, changes, after, cards


def _warn(observation, field, rings, found):
    """Warn of sources that their circles do not hold."""
    low_tev = low_energy_tev(field.energy_tev)
    offset_deg = field.circles.distance_deg[[ring.number for ring in found]]
    radii_deg = containment_deg(observation, low_tev, offset_deg)
    for row, ring in enumerate(found):
        theta_deg = field.circles.theta_deg[ring.number]
        # of rounded numbers the same is not smaller
        if radii_deg is not None and theta_deg < 0.99 * radii_deg[row]:
            log.warning(
                "%s: theta = %.2f deg is smaller than the radius of %.2f deg that "
                "holds 95 %% of a point-like source at %.2f TeV; take a larger theta, "
                "or theta = 'psf'",
                field.label(ring.number),
                *(theta_deg, radii_deg[row], low_tev),
            )
        rings.warn_of_excess_outside(field, ring)
