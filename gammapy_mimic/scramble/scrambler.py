"""`AnnulusScrambler`: known sources of a run disappear into its background."""

import logging
import zlib
from dataclasses import replace

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import vstack
from regions import CircleAnnulusSkyRegion, RegionMeta

from gammapy_mimic.data import check_events, compat, read_run, to_observation
from gammapy_mimic.data.seeds import child_seed, seed_sequence
from gammapy_mimic.io.arguments import check_choice
from gammapy_mimic.scramble.acceptance import EventAcceptance, free_rows
from gammapy_mimic.scramble.field_of_view import FieldOfView
from gammapy_mimic.scramble.model_acceptance import grid_acceptance
from gammapy_mimic.scramble.residuals import residual_table, scramble_header
from gammapy_mimic.sources.known import known_sources, parse_sources

__all__ = ["AnnulusScrambler"]

log = logging.getLogger(__name__)

_CHOICES = {"method": ("shuffle", "refill"), "acceptance": ("events", "background")}

MIN_OPEN_SHARE = 0.5
"""Part of a source circle at whose radii there must be off-source sky."""

NEARLY_OPEN_SHARE = 0.95
"""Part from which on it is not worth a warning."""

MIN_FREE_RING = 0.25
"""Part of a ring that must be off-source if a background model gives its shape."""


class AnnulusScrambler:
    """Scramble the events of known sources into the background of their run.

    Each source has a ring about the pointing: its distance from the pointing plus
    and minus theta. What is in the ring outside of all known sources tells what a
    source-free ring looks like.

    Parameters
    ----------
    sources : `~astropy.coordinates.SkyCoord`, `~regions.CircleSkyRegion`, str, \
`~pathlib.Path` or sequence of these
        Known sources: positions, circles (whose radius is their theta), names, or
        a DS9 region file. See `~gammapy_mimic.sources.known.parse_sources`.
    theta : `~astropy.coordinates.Angle`, optional
        Radius of a source, one angle or one per source. Default is 0.3 deg.
    method : {"shuffle", "refill"}, optional
        With "shuffle" all events of the ring get a new azimuth and a new radius.
        Their number, times and energies stay, so that a bright source raises the
        level of its ring. With "refill" the events in the source circle are removed
        and as many drawn back as the rest of the ring predicts, with a Poisson
        fluctuation. The rest of the run stays as it is. Default is "shuffle".
    acceptance : {"events", "background"}, optional
        "events" takes the level from the events of the ring, by energy, as a
        function of radius alone. "background" takes it from the run's own
        background model, also as a function of azimuth: for runs at large zenith
        angles. Default is "events".
    random_state : None, int, `~numpy.random.SeedSequence` or \
`~numpy.random.Generator`, optional
        Seed. Each run has a child seed after its OBS_ID, so that the result does
        not depend on the order of the runs. None takes fresh entropy once, when
        the scrambler is made. Default is None.

    Attributes
    ----------
    random_state
        As given.

    Raises
    ------
    ValueError
        If an option has none of its values, or theta is not positive.

    Notes
    -----
    Sources are taken one after the other, each on the places that the one before
    left; the sky of a run without any source keeps its radial profile, also where
    rings overlap.

    Radii that are free of sources only by a part f of their azimuths count 1 / f.
    Where less than a tenth is free, as for a source closer than its theta to the
    pointing, the level of the radii next to them is taken, with a warning.

    Examples
    --------
    >>> from astropy import units as u
    >>> from astropy.coordinates import SkyCoord
    >>> from gammapy_mimic import AnnulusScrambler
    >>> crab = SkyCoord(83.633, 22.014, unit="deg")
    >>> scrambler = AnnulusScrambler(crab, theta=0.3 * u.deg, random_state=42)
    >>> scrambled = scrambler.run(observation)  # doctest: +SKIP
    >>> print(scrambler.residuals)  # doctest: +SKIP
    """

    def __init__(
        self,
        sources,
        *,
        theta=0.3 * u.deg,
        method="shuffle",
        acceptance="events",
        random_state=None,
    ):
        self.method = check_choice("method", method, _CHOICES["method"])
        self.acceptance = check_choice("acceptance", acceptance, _CHOICES["acceptance"])
        self.theta = theta
        self.random_state = random_state
        self._sequence = seed_sequence(random_state)
        self._regions = parse_sources(sources, theta=theta)
        self._catalog = None
        self._residuals = []

    @classmethod
    def from_catalog(
        cls,
        catalogs=("gamma-cat",),
        *,
        radius=3 * u.deg,
        extra=None,
        theta=0.3 * u.deg,
        **kwargs,
    ):
        """Scrambler that looks up the sources of each run by itself.

        Parameters
        ----------
        catalogs : sequence of str, optional
            Catalogs, see `~gammapy_mimic.known_sources`. Default is gamma-cat.
        radius : `~astropy.coordinates.Angle`, optional
            Distance from the pointing up to which sources are taken. Default is
            3 deg.
        extra : optional
            Further sources, as for the class. Default is None.
        theta : `~astropy.coordinates.Angle`, optional
            Radius of a point-like source. Default is 0.3 deg.
        **kwargs
            Other options of the class.

        Returns
        -------
        scrambler : `AnnulusScrambler`
            Scrambler.
        """
        extra = [] if extra is None else parse_sources(extra, theta=theta)
        scrambler = cls(extra, theta=theta, **kwargs)
        scrambler._catalog = {"radius": radius, "catalogs": tuple(catalogs)}
        return scrambler

    @property
    def residuals(self):
        """What was found and left at each source, of all runs so far.

        See `~gammapy_mimic.scramble_residuals`, which gives the same for
        runs that were scrambled in other processes or read from disk.
        """
        return vstack(self._residuals) if self._residuals else residual_table([])

    def sources(self, observation):
        """Known sources that a run is searched for.

        Parameters
        ----------
        observation : `~gammapy.data.Observation`
            Run.

        Returns
        -------
        regions : list of `~regions.CircleSkyRegion`
            Circles with ``meta["name"]``; some may be outside of the field.
        """
        if self._catalog is None:
            return list(self._regions)
        extra = self._regions or None
        return known_sources(
            observation, extra=extra, theta=self.theta, **self._catalog
        )

    def annuli(self, observation):
        """Rings from which the events of a run are taken.

        Parameters
        ----------
        observation : `~gammapy.data.Observation`
            Run.

        Returns
        -------
        annuli : list of `~regions.CircleAnnulusSkyRegion`
            One for each source in the field, with ``meta["name"]``.
        """
        field = self._field(observation)
        pointing = SkyCoord(*field.pointing_deg, unit="deg", frame="icrs")
        annuli = []
        for number in field.in_view():
            # a region cannot have an inner radius of zero
            inner, outer = np.maximum(field.ring_deg(number), 1e-6) * u.deg
            meta = RegionMeta({"name": field.name(number)})
            annuli.append(CircleAnnulusSkyRegion(pointing, inner, outer, meta=meta))
        return annuli

    def run(self, observation, *, random_state=None):
        """Scramble the known sources of one run.

        Parameters
        ----------
        observation : `~gammapy.data.Observation`
            Run; not changed. Of its IRFs only the background model is loaded, and
            that only with ``acceptance="background"``.
        random_state : None, int, `~numpy.random.SeedSequence` or \
`~numpy.random.Generator`, optional
            Seed of this run. Default is None: the scrambler's own seed with the
            OBS_ID.

        Returns
        -------
        scrambled : `~gammapy.data.Observation`
            New observation. Cards of its EVENTS header that begin with ``SCR_``,
            and HISTORY, tell what was done.

        Raises
        ------
        ValueError
            If the run drifts or has no events, or a source has no off-source ring.
        """
        field = self._field(observation)
        sequence = self._run_sequence(observation.obs_id, random_state)
        rng = np.random.default_rng(sequence)
        numbers = field.in_view()
        bkg = self._background(observation) if numbers else None

        places = field.offset_deg, field.azimuth_deg
        rings = [self._ring(field, number, bkg, *places, rng) for number in numbers]
        rows = [
            _found(field, number, acceptance)
            for number, (acceptance, _) in zip(numbers, rings, strict=True)
        ]
        if self.method == "shuffle":
            change, places, cards = self._shuffle(field, numbers, rings, bkg, rng)
        else:
            change, places, cards = _refill(field, numbers, rings, rng)
        for row, number in zip(rows, numbers, strict=True):
            row["AFTER"] = int(field.circles[number].contains(*places).sum())
        settings = {"SCR_METH": self.method, "SCR_ACC": self.acceptance, **cards}
        header = scramble_header(
            field.run.header, rows, settings=settings, sequence=sequence
        )
        if rows:
            self._residuals.append(residual_table(rows, observation.obs_id))
        changed = replace(field.run.changed(change), header=header)
        return to_observation(changed, **compat.irfs(observation))

    def _field(self, observation):
        """Run, and its events and known sources in polar coordinates."""
        run = read_run(observation)
        check_events(run)
        return FieldOfView.from_run(run, self.sources(observation))

    def _run_sequence(self, obs_id, random_state):
        if random_state is not None:
            return seed_sequence(random_state)
        is_number = isinstance(obs_id, int | np.integer) and obs_id >= 0
        key = obs_id if is_number else zlib.crc32(str(obs_id).encode())
        return child_seed(self._sequence, key)

    def _background(self, observation):
        if self.acceptance == "events":
            return None
        bkg = compat.background(observation)
        if bkg is None:
            raise ValueError(
                f"Run {observation.obs_id} has no background model, which "
                "acceptance = 'background' needs; take acceptance = 'events'"
            )
        return bkg

    def _ring(self, field, number, bkg, offset_deg, azimuth_deg, rng):
        """Measure the ring of a source: acceptance, and which events are in it."""
        if bkg is None:
            ring_deg = _check_open(field, number)
        else:
            ring_deg = self._free_ring(field, number)
        is_inside = (offset_deg >= ring_deg[0]) & (offset_deg <= ring_deg[1])
        inside = np.flatnonzero(is_inside)
        places = offset_deg[inside], azimuth_deg[inside]
        energy_tev = field.energy_tev[inside]
        if bkg is None:
            acceptance = EventAcceptance(*ring_deg, field.circles, *places, energy_tev)
        else:
            events = (*places, energy_tev, field.seconds[inside])
            acceptance = _from_model(field, number, bkg, ring_deg, events, rng)
        if len(acceptance.sample) == 0:
            raise ValueError(
                f"{field.label(number)}: no events in its ring, {ring_deg[0]:.2f} to "
                f"{ring_deg[1]:.2f} deg from the pointing, outside of the known "
                "sources; take another donor, a larger theta, or leave the source out"
            )
        return acceptance, inside

    def _free_ring(self, field, number):
        """Ring of a source, or a wider one if that is nearly covered by sources."""
        ring_deg = field.ring_deg(number)
        if _free_share(ring_deg, field.circles) >= MIN_FREE_RING:
            return ring_deg
        if self.method == "shuffle":
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

    def _shuffle(self, field, numbers, rings, bkg, rng):
        """Move the events of one ring after the other."""
        offset_deg, azimuth_deg = field.offset_deg.copy(), field.azimuth_deg.copy()
        moved = np.zeros(len(offset_deg), dtype=bool)
        for done, (number, (acceptance, inside)) in enumerate(
            zip(numbers, rings, strict=True)
        ):
            if field.overlaps(number, numbers[:done]):
                acceptance, inside = self._ring(
                    field, number, bkg, offset_deg, azimuth_deg, rng
                )
            offset_deg[inside], azimuth_deg[inside] = acceptance.shuffle(rng)
            moved[inside] = True
        moved = np.flatnonzero(moved)
        change = field.move(moved, offset_deg[moved], azimuth_deg[moved])
        return change, (offset_deg, azimuth_deg), {}


def _refill(field, numbers, rings, rng):
    """Empty the source circles and draw back what their rings predict."""
    places = field.offset_deg, field.azimuth_deg
    is_removed = field.circles[numbers].contains(*places).any(axis=0)
    kept = np.flatnonzero(~is_removed)
    copied, drawn = [np.zeros(0, dtype=int)], [np.zeros((2, 0))]
    for done, (number, (acceptance, inside)) in enumerate(
        zip(numbers, rings, strict=True)
    ):
        excluding = numbers[:done]
        expected = acceptance.expected(number, excluding=excluding)
        entries = np.repeat(np.arange(len(expected)), rng.poisson(expected))
        copied.append(inside[acceptance.sample[entries]])
        drawn.append(acceptance.place(entries, number, rng, excluding=excluding))
    copied, drawn = np.concatenate(copied), np.concatenate(drawn, axis=1)
    change = field.replace(kept, copied, *drawn, field.new_seconds(copied, rng))
    cards = {"SCR_NDEL": int(is_removed.sum()), "SCR_NNEW": len(copied)}
    if len(copied) and field.event_ids is not None:
        # the new events are those with these EVENT_IDs
        ids = change.new_ids(field.event_ids)
        cards |= {"SCR_ID1": int(ids[0]), "SCR_ID2": int(ids[-1])}
    after = [
        np.concatenate([old[kept], new]) for old, new in zip(places, drawn, strict=True)
    ]
    return change, after, cards


def _found(field, number, acceptance):
    """Tell what is known of a source before anything is moved."""
    expected = acceptance.expected(number)
    center = field.regions[number].center.icrs
    inside = field.circles[number].contains(field.offset_deg, field.azimuth_deg)
    # an event of the sample may stand for several radii
    per_event = np.bincount(acceptance.sample, weights=expected)
    return {
        "SOURCE": field.name(number),
        "RA": float(center.ra.deg),
        "DEC": float(center.dec.deg),
        "THETA": float(field.circles.theta_deg[number]),
        "BEFORE": int(inside.sum()),
        "EXPECTED": float(expected.sum()),
        "EXPECTED_ERROR": float(np.sqrt(np.sum(per_event**2))),
    }


def _from_model(field, number, bkg, ring_deg, events, rng):
    try:
        return grid_acceptance(field.run, bkg, ring_deg, field.circles, events, rng)
    except ValueError as error:
        raise ValueError(
            f"{field.label(number)}: {error}; take acceptance = 'events', or another "
            "donor"
        ) from error


def _check_open(field, number):
    """Ring of a source, if at enough of its radii there is off-source sky."""
    ring_deg = field.ring_deg(number)
    radius_deg, is_free = free_rows(*ring_deg, field.circles)
    in_circle = field.circles[number].covered_fraction(radius_deg)
    share = in_circle[is_free].sum() / in_circle.sum()
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
