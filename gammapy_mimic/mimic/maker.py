"""`MimicMaker`: a background run moved into the field of view of a target."""

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from astropy.coordinates import EarthLocation
from gammapy.data import Observation, Observations
from gammapy.irf import FoVAlignment
from gammapy.makers import Maker

from gammapy_mimic.data import check_events, to_observation
from gammapy_mimic.data.gti import near_good_time
from gammapy_mimic.data.seeds import seed_sequence
from gammapy_mimic.data.trust import background_findings, false_times
from gammapy_mimic.io.arguments import RandomState, check_choice, check_flag
from gammapy_mimic.mimic.background import state_alignment
from gammapy_mimic.mimic.inputs import (
    check_arguments,
    check_pair,
    check_scrambler,
    contradictions,
    known_to,
    pair_seed,
    read_pair,
    scramble,
    sources_of_pair,
)
from gammapy_mimic.mimic.lookup import chosen_pairs
from gammapy_mimic.mimic.provenance import mimic_header
from gammapy_mimic.mimic.response import (
    common_energy_range,
    mimic_background,
    mimic_irfs,
    no_common_energies,
)
from gammapy_mimic.mimic.transfer import move_run
from gammapy_mimic.sky.location import parse_location

__all__ = ["MimicMaker"]

log = logging.getLogger(__name__)

_CHOICES = {
    "alignment": ("altaz", "radec"),
    "time": ("target", "donor"),
    "background": ("donor", "target"),
    "irfs": ("donor", "target"),
}


class _ShownMaker(Maker):
    """Maker that shows itself as it is printed."""

    __repr__ = Maker.__str__


class MimicMaker(_ShownMaker):
    """Make mimics: background runs moved into the field of view of a target.

    A mimic has the events of a donor (a background run of another field) and the
    OBS_ID, pointing, object and location of the target. It can be analysed exactly
    as the target is.

    The number of events, their energies, the ontime, the dead time and the livetime
    are the donor's. Each event keeps its place in the field of view: field-of-view
    longitude and latitude of the chosen alignment are the same before and after,
    on the sphere, at any declination.

    Parameters
    ----------
    alignment : {"altaz", "radec"}, optional
        Field of view in which events keep their place. "altaz" is the camera: from
        the donor's pointing at the time of the event to the target's pointing at
        its new time. "radec" turns the camera by the difference of the parallactic
        angles. Default is "altaz".
    time : {"target", "donor"}, optional
        With "target" times and good time intervals are shifted so that the mimic
        starts when the target starts; with "donor" they are kept. Default is
        "target".
    background : {"donor", "target"}, optional
        Whose background model the mimic gets. A donor's model that is aligned
        otherwise than the events are moved is turned with them. Default is
        "donor".
    irfs : {"donor", "target"}, optional
        Whose other IRFs the mimic gets. Default is "donor".
    fov_alignment : {None, "altaz", "radec"}, optional
        In which field of view a Background3D without the card FOVALIGN is given.
        Default is None: it is taken as "radec", as gammapy does, with a warning.
    location : `~astropy.coordinates.EarthLocation`, str or dict, optional
        Site of both runs, where their headers are wrong: a location, the name of one
        of `gammapy.data.observatory_locations`, or ``lon``, ``lat`` and ``height``.
        Default is None, which takes that of the headers.
    crop : bool, optional
        Shorten the mimic to the ontime of the target: its first good time, or the
        slice of a pair (`~gammapy_mimic.DonorMatcher`, ``crop``). Default is False.
    allow_other_telescope : bool, optional
        Allow target and donor of different telescopes. Default is False.
    scrambler : object, optional
        Any object with a method ``run(observation)`` that gives an observation. It
        is applied to the donor in its own field, before the transfer. If ``run`` takes
        ``random_state``, each pair has a seed of its own. Default is None.
    random_state : None, int, `~numpy.random.SeedSequence` or \
`~numpy.random.Generator`, optional
        Seed for the scrambler. Each (target, donor, mimic set) has a child seed, so
        that a mimic depends neither on the order nor on the number of processes.
        None takes fresh entropy, unless the scrambler has a seed of its own.
        Default is None.

    Raises
    ------
    ValueError
        If an option has none of its values.
    TypeError
        If ``scrambler`` has no ``run``, or ``random_state`` is not a valid seed.

    Notes
    -----
    Events of the donor up to 2 s outside of its good time intervals are kept and stay
    outside; others are left out, with a warning that says how many.

    Headers that contradict events, time or site are warned of, once a run; with
    ``alignment="altaz"`` a pointing below the horizon is an error.

    The energy threshold (LO_THRES of the effective area) of a mimic is the higher
    one of target and donor, and HI_THRES the lower one, as in Wach et al. 2024, A&A
    690, A250: neither run can be trusted beyond.

    Examples
    --------
    >>> from gammapy.data import DataStore
    >>> from gammapy_mimic import MimicMaker
    >>> store = DataStore.from_dir("$GAMMAPY_DATA/hess-dl3-dr1")  # doctest: +SKIP
    >>> maker = MimicMaker()
    >>> mimic = maker.run(store.obs(23523), store.obs(25345))  # doctest: +SKIP
    """

    tag = "MimicMaker"

    def __init__(
        self,
        *,
        alignment: str = "altaz",
        time: str = "target",
        background: str = "donor",
        irfs: str = "donor",
        fov_alignment: str | None = None,
        location: EarthLocation | str | Mapping[str, Any] | None = None,
        crop: bool = False,
        allow_other_telescope: bool = False,
        scrambler: Any = None,
        random_state: RandomState = None,
    ) -> None:
        self.alignment = check_choice("alignment", alignment, _CHOICES["alignment"])
        self._alignment = FoVAlignment[self.alignment.upper()]
        self.time = check_choice("time", time, _CHOICES["time"])
        self.background = check_choice("background", background, _CHOICES["background"])
        self.irfs = check_choice("irfs", irfs, _CHOICES["irfs"])
        if fov_alignment is not None:
            check_choice("fov_alignment", fov_alignment, _CHOICES["alignment"])
        self.fov_alignment = fov_alignment
        self.location = None if location is None else parse_location(location)
        self.crop = check_flag("crop", crop)
        other = check_flag("allow_other_telescope", allow_other_telescope)
        self.allow_other_telescope = other
        self.scrambler = check_scrambler(scrambler)
        self.random_state = random_state
        self._seed = None if random_state is None else seed_sequence(random_state)
        self.reported: set[str] = set()  # warnings that are not logged again

    def run(
        self, target: Observation, donor: Observation, *, mimic_set: int = 0
    ) -> Observation:
        """Make one mimic.

        Parameters
        ----------
        target : `~gammapy.data.Observation`
            Run to be mimicked. It needs pointing and good time intervals, its
            events are not used.
        donor : `~gammapy.data.Observation`
            Run that gives the events.
        mimic_set : int, optional
            Number of the mimic set; a part of the seed. Default is 0.

        Returns
        -------
        mimic : `~gammapy.data.Observation`
            New observation. IRFs that are unchanged and lie on disk are not loaded.

        Raises
        ------
        ValueError
            If a run lacks what is needed, or the telescopes differ.
        """
        check_arguments(target, donor, mimic_set)
        seed = pair_seed(self._seed, self.scrambler, target, donor, mimic_set)
        target_run, run = read_pair(target, donor, location=self.location)
        check_events(run)
        check_pair(target_run, run, self.crop, self.allow_other_telescope)
        scrambled, file_times = known_to(self.scrambler, donor), false_times(run)
        self._warn(*contradictions(target_run, run, self.alignment, self.time))
        self._warn(*sources_of_pair(target_run, run, scrambled))
        is_near = near_good_time(run.gti_s, run.seconds)
        run = run if is_near.all() else run[is_near]
        if self.scrambler is not None:
            donor = state_alignment(donor, self.fov_alignment)
            donor, run = scramble(self.scrambler, donor, run, seed)
        way = {"alignment": self._alignment, "time": self.time, "crop": self.crop}
        mimic = move_run(target_run, run, **way)
        settings = {name: getattr(self, name) for name in (*_CHOICES, "crop")}
        header = mimic_header(target_run, run, mimic, settings=settings, seed=seed)
        header |= {f"MIM_{key[:4]}": value for key, value in file_times.items()}
        return to_observation(
            replace(mimic, header=header),
            bkg=self._background(target, donor, target_run, run),
            **self.make_irfs(target, donor),
        )

    def run_pairs(
        self, targets: Any, donors: Any, pairs: Any, *, mimic_set: int | None = None
    ) -> Observations:
        """Make the mimics of a table of pairs.

        Parameters
        ----------
        targets, donors : `~gammapy.data.Observations`, `~gammapy.data.DataStore`, \
list or dict of `~gammapy.data.Observation`
            Runs, found by OBS_ID (the keys of a dict, too).
        pairs : `~astropy.table.Table`, list of tuple or dict
            Table with columns TARGET_OBS_ID, DONOR_OBS_ID (masked where a target
            has no donor: skipped) and perhaps MIMIC_SET; or (target, donor) OBS_IDs,
            or donor by target, of one set, 0.
        mimic_set : int, optional
            Make only the mimics of this set. Default is None, which makes all.

        Returns
        -------
        mimics : `~gammapy.data.Observations`
            One mimic a pair, in the order of the pairs. Mimics of several sets have
            the same OBS_IDs, and each set needs a data store of its own.

        Raises
        ------
        TypeError
            If targets or donors are not collections of observations.
        ValueError
            If an OBS_ID is duplicated, or a run or mimic set is not there.
        """
        mimics = Observations()
        for part in chosen_pairs(targets, donors, pairs, mimic_set):
            mimic = self.run(part.target, part.donor, mimic_set=part.mimic_set)
            mimics.append(part.label(mimic))
        return mimics

    def make_irfs(self, target: Observation, donor: Observation) -> dict[str, Any]:
        """IRFs of the mimic, without the background.

        Parameters
        ----------
        target, donor : `~gammapy.data.Observation`
            The two runs.

        Returns
        -------
        irfs : dict
            Arguments ``aeff``, ``edisp``, ``psf`` and ``rad_max`` of
            `~gammapy.data.Observation`; where nothing was changed, the place on disk.
        """
        limits = common_energy_range(target, donor)
        self._warn(*no_common_energies(target, donor, limits))
        return mimic_irfs(donor if self.irfs == "donor" else target, limits)

    def make_background(self, target: Observation, donor: Observation) -> Any:
        """Background model of the mimic.

        Parameters
        ----------
        target, donor : `~gammapy.data.Observation`
            The two runs.

        Returns
        -------
        bkg : `~gammapy.irf.Background2D`, `~gammapy.irf.Background3D`, \
`~gammapy.utils.fits.HDULocation` or None
            Model that means in the mimic what it meant in its own run: turned with
            the donor's events where its alignment is not the one in which they
            keep their place. None if the run has none.
        """
        runs = read_pair(target, donor, location=self.location, with_events=False)
        return self._background(target, donor, *runs)

    def _background(self, target, donor, *runs):
        options = {"alignment": self._alignment, "time": self.time}
        turns = self.background == "donor"
        giver = donor if turns else target
        stated = state_alignment(giver, self.fov_alignment)
        bkg = mimic_background(stated, *runs, turns=turns, **options)
        # a model that was turned is loaded now
        self._warn(*background_findings(giver, self.fov_alignment))
        return bkg

    def _warn(self, *texts):
        for text in texts:
            if text not in self.reported:
                self.reported.add(text)
                log.warning(text)
