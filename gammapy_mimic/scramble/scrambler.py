"""`AnnulusScrambler`: known sources of a run disappear into its background."""

import functools
import zlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import Table
from gammapy.data import Observation
from regions import CircleAnnulusSkyRegion, CircleSkyRegion, RegionMeta

from gammapy_mimic.data import check_events, compat, read_run, to_observation
from gammapy_mimic.data.run import Run
from gammapy_mimic.data.seeds import child_seed, seed_sequence
from gammapy_mimic.io.arguments import RandomState, check_choice
from gammapy_mimic.io.shown import Shown
from gammapy_mimic.scramble.field_of_view import FieldOfView
from gammapy_mimic.scramble.finder import CatalogFinder, SourceFinder
from gammapy_mimic.scramble.procedure import scramble_field
from gammapy_mimic.scramble.residuals import (
    checksum_cards,
    residual_row,
    residual_table,
    scramble_header,
)
from gammapy_mimic.sources.known import Sources

__all__ = ["AnnulusScrambler"]

_CHOICES = {
    "method": ("auto", "shuffle", "refill"),
    "acceptance": ("auto", "events", "background"),
}


def _settings(self):
    """Give what is shown of a scrambler."""
    return {
        "sources": self._finder.described(),
        "theta": self.theta,
        "method": self.method,
        "acceptance": self.acceptance,
        "random_state": self.random_state,
    }


class AnnulusScrambler(Shown):
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
    theta : `~astropy.coordinates.Angle` or "psf", optional
        Radius of a source, one angle or one per source. With "psf" that which holds
        95 % of the events of a point-like source by the run's point-spread function,
        at the offset of the source and at the energy below which a tenth of the
        run's events is. A smaller circle is warned of. Default is 0.3 deg.
    method : {"auto", "shuffle", "refill"}, optional
        With "shuffle" all events of the ring get a new azimuth and a new radius.
        Their number, times and energies stay, so that a bright source raises the
        level of its ring. With "refill" the events in the source circle are removed
        and as many drawn back as the rest of the ring predicts, with a Poisson
        fluctuation. The rest of the run stays as it is. With "auto" a source is
        shuffled unless it stands out in its circle by more than 2 sigma, in all
        energies or in any of three energy bands: then it is refilled. The log says
        so for each source. Default is "auto".
    acceptance : {"auto", "events", "background"}, optional
        "events" takes the level from the events of the ring, by energy, as a
        function of radius alone. "background" takes it from the run's own
        background model, also as a function of azimuth: for runs at large zenith
        angles. "auto" is "background" beyond 40 deg of zenith angle if the run has a
        background model, else "events"; a source without off-source ring, as one at
        the pointing, is refilled from the background model. Default is "auto".
    random_state : None, int, `~numpy.random.SeedSequence` or \
`~numpy.random.Generator`, optional
        Seed. Each run has a child seed after its OBS_ID, so that the result does
        not depend on the order of the runs. None takes fresh entropy once, when
        the scrambler is made. Default is None.

    Raises
    ------
    ValueError
        If an option has none of its values, theta is not positive, or a catalog or
        region file is broken.
    FileNotFoundError
        If a catalog or a region file is not there.

    Notes
    -----
    Those that are refilled come first. Sources are taken one after the other, each on
    the places that the one before left; the sky of a run without any source keeps its
    radial profile, also where rings overlap.

    Radii that are free of sources only by a part f of their azimuths count 1 / f.
    Where less than a tenth is free, as for a source closer than its theta to the
    pointing, the level of the radii next to them is taken, with a warning.

    Of a source that stands out by more than 2 sigma the sky within 0.15 deg of its
    circle does not count as off-source if the ring has enough of it without: the
    tails of the point-spread function are there. An excess of more than 3 sigma there
    is warned of.

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
        sources: Sources,
        *,
        theta: u.Quantity | str = 0.3 * u.deg,
        method: str = "auto",
        acceptance: str = "auto",
        random_state: RandomState = None,
    ) -> None:
        self.method = check_choice("method", method, _CHOICES["method"])
        self.acceptance = check_choice("acceptance", acceptance, _CHOICES["acceptance"])
        self.theta = theta
        self.random_state = random_state
        self._sequence = seed_sequence(random_state)
        self._finder = SourceFinder(sources, theta)
        self._residuals: list[tuple] = []

    @classmethod
    def from_catalog(
        cls,
        catalogs: Sequence[str] | None = None,
        *,
        radius: u.Quantity | str = 3 * u.deg,
        extra: Sources | None = None,
        theta: u.Quantity | str = 0.3 * u.deg,
        **kwargs: Any,
    ) -> "AnnulusScrambler":
        """Scrambler that looks up the sources of each run by itself.

        Parameters
        ----------
        catalogs : sequence of str, optional
            Catalogs, see `~gammapy_mimic.known_sources`. Default is gamma-cat and,
            where that is not in ``$GAMMAPY_DATA``, the packaged table of bright
            sources, with a warning.
        radius : `~astropy.coordinates.Angle`, optional
            Distance from the pointing up to which sources are taken. Default is
            3 deg.
        extra : optional
            Further sources, as for the class. Default is None.
        theta : `~astropy.coordinates.Angle` or "psf", optional
            Radius of a point-like source, as for the class. Default is 0.3 deg.
        **kwargs
            Other options of the class.

        Returns
        -------
        scrambler : `AnnulusScrambler`
            Scrambler.

        Raises
        ------
        FileNotFoundError
            If a catalog that is named is not in ``$GAMMAPY_DATA``.
        """
        scrambler = cls([], theta=theta, **kwargs)
        scrambler._finder = CatalogFinder(catalogs, radius, extra, theta)
        return scrambler

    _shown = _settings

    @property
    def checksums(self) -> dict[str, str]:
        """SHA-256 of the catalogs and region files that are used, by name."""
        return dict(self._finder.checksums)

    @property
    def residuals(self) -> Table:
        """What was found and left at each source, of all runs so far.

        See `~gammapy_mimic.scramble_residuals`, which gives the same for
        runs that were scrambled in other processes or read from disk.
        """
        return residual_table(self._residuals)

    @property
    def residuals_by_energy(self) -> Table:
        """The same in three energy bands."""
        return residual_table(self._residuals, by_energy=True)

    def sources(self, observation: Observation) -> list[CircleSkyRegion]:
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
        return self._finder.regions(observation)

    def annuli(self, observation: Observation) -> list[CircleAnnulusSkyRegion]:
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

    def run(
        self, observation: Observation, *, random_state: RandomState = None
    ) -> Observation:
        """Scramble the known sources of one run.

        Parameters
        ----------
        observation : `~gammapy.data.Observation`
            Run; not changed. Of its IRFs only the point-spread function is read, and
            the background model where it gives the acceptance.
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
        sources, changes, after, cards = scramble_field(
            observation, field, method=self.method, acceptance=self.acceptance, rng=rng
        )
        rows = [residual_row(field, *pair, after=after) for pair in sources]
        settings = {"SCR_METH": self.method, "SCR_ACC": self.acceptance, **cards}
        settings |= checksum_cards(self._finder.checksums)
        header = scramble_header(
            field.run.header, rows, settings=settings, sequence=sequence
        )
        self._residuals.append((observation.obs_id, rows))
        changed = functools.reduce(Run.changed, changes, field.run)
        return to_observation(
            replace(changed, header=header), **compat.irfs(observation)
        )

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
