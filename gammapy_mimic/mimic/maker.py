"""`MimicMaker`: a background run moved into the field of view of a target."""

import inspect
import logging
import numbers
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from astropy import units as u
from gammapy.data import Observations
from gammapy.irf import FoVAlignment
from gammapy.makers import Maker

from gammapy_mimic.data import check_events, compat, to_observation
from gammapy_mimic.data.gti import first_of, near_good_time, spread_times
from gammapy_mimic.data.seeds import child_seed, seed_sequence
from gammapy_mimic.data.trust import ERROR, false_times, findings, horizon
from gammapy_mimic.io.arguments import check_choice
from gammapy_mimic.io.gadf import same_reference, seconds_since
from gammapy_mimic.matching.pairs import PairTable
from gammapy_mimic.mimic.background import state_alignment, turn_background
from gammapy_mimic.mimic.inputs import (
    check_is_run,
    check_pair,
    read_donor,
    read_pair,
    sources_of_pair,
)
from gammapy_mimic.mimic.lookup import RunsById
from gammapy_mimic.mimic.provenance import mimic_header
from gammapy_mimic.sky.location import parse_location
from gammapy_mimic.sky.positions import EventPositions

__all__ = ["MimicMaker"]

log = logging.getLogger(__name__)

_CHOICES = {
    "alignment": ("altaz", "radec"),
    "time": ("target", "donor"),
    "background": ("donor", "target"),
    "irfs": ("donor", "target"),
}


class MimicMaker(Maker):
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
        Shorten the mimic to the ontime of the target: its first good time, gaps not
        counted. Default is False.
    allow_other_telescope : bool, optional
        Allow target and donor of different telescopes. Default is False.
    scrambler : object, optional
        Any object with a method ``run(observation)`` that gives an observation. It
        is applied to the donor in its own field, before the transfer. If ``run``
        takes ``random_state``, it gets a seed of its own for each pair. Default is
        None.
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
    Events of the donor up to 2 s outside of its good time intervals (in H.E.S.S. DL3
    DR1 up to one second after the end) are kept and stay outside. Others are left
    out, as their time does not count, and a warning says how many.

    What the headers say is compared with events, time and site. With
    ``alignment="altaz"`` a pointing below the horizon is an error. Warnings are logged
    once a run: ONTIME that is not the sum of the good time (the file's ONTIME and
    LIVETIME stay in the cards MIM_ONTI and MIM_LIVE), a pointing that is not where
    the events are, ALT_PNT and AZ_PNT that are not where the pointing is, no site.

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
        alignment="altaz",
        time="target",
        background="donor",
        irfs="donor",
        fov_alignment=None,
        location=None,
        crop=False,
        allow_other_telescope=False,
        scrambler=None,
        random_state=None,
    ):
        self.alignment = check_choice("alignment", alignment, _CHOICES["alignment"])
        self._alignment = FoVAlignment[self.alignment.upper()]
        self.time = check_choice("time", time, _CHOICES["time"])
        self.background = check_choice("background", background, _CHOICES["background"])
        self.irfs = check_choice("irfs", irfs, _CHOICES["irfs"])
        if fov_alignment is not None:
            check_choice("fov_alignment", fov_alignment, _CHOICES["alignment"])
        self.fov_alignment = fov_alignment
        self.location = None if location is None else parse_location(location)
        self.crop = bool(crop)
        self.allow_other_telescope = bool(allow_other_telescope)
        if scrambler is not None and not callable(getattr(scrambler, "run", None)):
            raise TypeError(
                f"scrambler = {scrambler!r}: must have a method run(observation), "
                "such as gammapy_mimic.AnnulusScrambler"
            )
        self.scrambler = scrambler
        self.random_state = random_state
        self._seed = None if random_state is None else seed_sequence(random_state)
        self.reported = set()
        """Warnings that were logged and are not logged again (set of str)."""

    def run(self, target, donor, *, mimic_set=0):
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
        check_is_run("target", target)
        check_is_run("donor", donor)
        seed = self._pair_seed(target, donor, mimic_set)
        target_run, run = read_pair(target, donor, location=self.location)
        check_events(run)
        check_pair(
            target_run,
            run,
            crop=self.crop,
            allow_other_telescope=self.allow_other_telescope,
        )
        self._check_trust(target_run, run)
        for text in sources_of_pair(target_run, run, self._scrambled(donor)):
            self._warn(text)
        file_times = false_times(run)
        is_near = near_good_time(run.gti_s, run.seconds)
        if not is_near.all():
            run = run[is_near]
        if self.scrambler is not None:
            if self.fov_alignment is not None:
                donor = state_alignment(donor, self.fov_alignment)
            donor = self._scramble(to_observation(run, **compat.irfs(donor)), seed)
            run = replace(read_donor(donor), pointing=run.pointing)
        mimic = self._move_run(target_run, run)
        settings = {name: getattr(self, name) for name in (*_CHOICES, "crop")}
        header = mimic_header(target_run, run, mimic, settings=settings, seed=seed)
        header |= {f"MIM_{key[:4]}": value for key, value in file_times.items()}
        return to_observation(
            replace(mimic, header=header),
            bkg=self._background(target, donor, target_run, run),
            **self.make_irfs(target, donor),
        )

    def _move_run(self, target, donor):
        """Make a mimic, which still lacks its header."""
        gti_s, run = donor.gti_s - donor.start_s, donor
        if self.crop and target.ontime_s < donor.ontime_s:
            gti_s = first_of(gti_s, target.ontime_s)
            run = donor[donor.seconds - donor.start_s < gti_s[1].max()]
        # counted from the start, so that no digit is lost
        elapsed, origin = run.seconds - donor.start_s, donor.origin(donor.start_s)
        place = run.values("RA"), run.values("DEC")
        old = EventPositions(donor.pointing, origin, elapsed, *place)
        start_s = self._start_s(target, donor)
        new = old.moved(target.pointing, target.origin(start_s), self._alignment)
        # columns in the camera that follow no known convention stay right
        is_kept = self.alignment == "altaz"
        return replace(
            run.moved(old, new, known=self._alignment, keep_unknown=is_kept),
            obs_id=target.obs_id,
            reference=target.reference,
            gti_s=gti_s + start_s,
            pointing=target.pointing,
            seconds=elapsed + start_s,
        )

    def _start_s(self, target, donor):
        """Start of the mimic's good time, counted as the target's."""
        if self.time == "target":
            return target.start_s
        if same_reference(donor.reference, target.reference):
            return donor.start_s
        return donor.start_s + seconds_since(donor.reference, target.reference)

    def run_pairs(self, targets, donors, pairs, *, mimic_set=None):
        """Make the mimics of a table of pairs.

        Parameters
        ----------
        targets, donors : `~gammapy.data.Observations`, `~gammapy.data.DataStore`, \
list or dict of `~gammapy.data.Observation`
            Runs, found by OBS_ID, which the keys of a dict have to be, too.
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
            If an OBS_ID of targets or donors is duplicated, a run is not there, or
            the pairs have no such mimic set.
        """
        targets, donors = RunsById(targets, "targets"), RunsById(donors, "donors")
        _check_mimic_set(mimic_set, pairs)
        mimics = []
        for row, target_id, donor_id, number in _rows(pairs):
            if mimic_set is not None and number != mimic_set:
                continue
            target, donor = targets.find(target_id), donors.find(donor_id)
            if not isinstance(pairs, PairTable):
                mimics.append(self.run(target, donor, mimic_set=number))
                continue
            part = pairs.part(row)
            mimic = self.run(*part.cut(target, donor), mimic_set=number)
            mimics.append(part.label(mimic))
        return Observations(mimics)

    def make_irfs(self, target, donor):
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
        giver, other = (donor, target) if self.irfs == "donor" else (target, donor)
        irfs = {name: compat.irf(giver, name) for name in compat.IRFS if name != "bkg"}
        cards = compat.irf_keywords(giver, "aeff")
        limits = _common_energy_range(giver, other)
        if cards is not None and limits != {key: cards.get(key) for key in limits}:
            irfs["aeff"] = compat.irf_with_keywords(irfs["aeff"], limits)
        return irfs

    def make_background(self, target, donor):
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

    def _background(self, target, donor, target_run, donor_run):
        giver = donor if self.background == "donor" else target
        giver = state_alignment(giver, self.fov_alignment)
        held = compat.irf(giver, "bkg")
        # None for a radially symmetric model
        alignment = None if held is None else compat.background_alignment(giver)
        is_mirrored = alignment == FoVAlignment.REVERSE_LON_RADEC
        own = FoVAlignment.RADEC if is_mirrored else alignment
        if self.background == "donor" and own not in (None, self._alignment):
            model = compat.to_gadf_alignment(compat.background(giver))
            angle = self._orientation_differences(own, target_run, donor_run)
            label = f"background model of donor run {donor.obs_id}"
            return turn_background(model, angle, label=label)
        return compat.mirrored(giver) if is_mirrored else held

    def _orientation_differences(self, alignment, target, donor):
        """By how much the transfer turns places given in another alignment.

        At times spread over the donor's good time: the orientation changes in a run.
        """
        seconds = spread_times(donor.gti_s) - donor.start_s
        origin = donor.origin(donor.start_s)
        # on the latitude axis, at 90 deg from that of longitude
        probe = EventPositions.from_fov(
            donor.pointing, origin, seconds, (0.0, 1.0), alignment
        )
        origin = target.origin(self._start_s(target, donor))
        moved = probe.moved(target.pointing, origin, self._alignment)
        lon, lat = np.radians(moved.fov_deg(alignment))
        return np.arctan2(np.sin(lat), np.sin(lon) * np.cos(lat)) * u.rad - 90 * u.deg

    def _pair_seed(self, target, donor, mimic_set):
        if self._seed is None:
            own = getattr(self.scrambler, "random_state", None)
            return (
                None if self.scrambler is None or own is not None else seed_sequence()
            )
        return child_seed(self._seed, target.obs_id, donor.obs_id, mimic_set)

    def _check_trust(self, target, donor):
        """Raise an error, or warn, where runs contradict themselves."""
        for role, run in (("target", target), ("donor", donor)):
            for level, text in findings(run, alignment=self.alignment):
                if level == ERROR:
                    raise ValueError(f"{role} {text}")
                self._warn(text)
        if self.alignment == "altaz" and self.time == "donor":
            moved = replace(donor, pointing=target.pointing)
            altitude_deg = horizon(moved)[1]
            if altitude_deg < 0:
                self._warn(
                    f"run {target.obs_id}: its pointing is {-altitude_deg:.1f} deg "
                    f"below the horizon at the time of donor run {donor.obs_id}; take "
                    'time="target", or alignment="radec"'
                )

    def _warn(self, text):
        if text not in self.reported:
            self.reported.add(text)
            log.warning(text)

    def _scrambled(self, donor):
        """Give the sources that are scrambled in a donor, as far as that is known."""
        sources = getattr(self.scrambler, "sources", None)
        return list(sources(donor)) if callable(sources) else []

    def _scramble(self, donor, seed):
        if self.scrambler is None:
            return donor
        parameters = inspect.signature(self.scrambler.run).parameters
        if seed is not None and "random_state" in parameters:
            return self.scrambler.run(donor, random_state=seed)
        return self.scrambler.run(donor)


def _common_energy_range(*runs):
    """LO_THRES and HI_THRES between which all runs can be used."""
    limits = {}
    for run in runs:
        cards = compat.irf_keywords(run, "aeff") or {}
        for key, stricter in (("LO_THRES", max), ("HI_THRES", min)):
            value = cards.get(key)
            if value is None:
                continue
            if not isinstance(value, numbers.Real) or isinstance(value, bool):
                raise ValueError(
                    f"run {run.obs_id} has {key} = {value!r} in its effective area: "
                    "must be a number (TeV)"
                )
            limits[key] = stricter(value, limits.get(key, value))
    return limits


def _rows(pairs):
    """(row, target, donor, mimic set) of each pair that has a donor."""
    if not hasattr(pairs, "colnames"):
        rows = pairs.items() if isinstance(pairs, Mapping) else pairs
        for number, (target, donor) in enumerate(rows):
            yield number, int(target), int(donor), 0
        return
    missing = {"TARGET_OBS_ID", "DONOR_OBS_ID"} - set(pairs.colnames)
    if missing:
        raise ValueError(f"pairs has no column {', '.join(sorted(missing))}")
    for index, row in enumerate(pairs):
        if row["DONOR_OBS_ID"] is np.ma.masked:
            log.info("Run %s has no donor: no mimic made", row["TARGET_OBS_ID"])
            continue
        number = row["MIMIC_SET"] if "MIMIC_SET" in pairs.colnames else 0
        yield index, int(row["TARGET_OBS_ID"]), int(row["DONOR_OBS_ID"]), int(number)


def _check_mimic_set(mimic_set, pairs):
    """Raise an error for a mimic set that the pairs do not have."""
    known = {0}
    if "MIMIC_SET" in getattr(pairs, "colnames", ()):
        known = {int(number) for number in pairs["MIMIC_SET"]}
    if mimic_set is not None and mimic_set not in known:
        raise ValueError(
            f"mimic_set = {mimic_set!r}: is not a set of the pairs, which are "
            f"{', '.join(map(str, sorted(known))) or 'none'}"
        )
