"""`MimicMaker`: a background run moved into the field of view of a target."""

import inspect
import logging

import numpy as np
from astropy import units as u
from gammapy.data import EventList, Observation, ObservationMetaData, Observations
from gammapy.irf import Background3D, FoVAlignment
from gammapy.makers import Maker

from gammapy_mimic import compat
from gammapy_mimic.background import turn_background
from gammapy_mimic.events import (
    check_events,
    event_positions,
    fov_coordinates,
    move_events,
    sky_positions,
)
from gammapy_mimic.gadf import header_reference
from gammapy_mimic.provenance import mimic_header
from gammapy_mimic.sampling import child_seed, seed_sequence
from gammapy_mimic.times import in_scale, moved_gti, spread_times

__all__ = ["MimicMaker"]

log = logging.getLogger(__name__)

_CHOICES = {
    "alignment": ("altaz", "radec"),
    "time": ("target", "donor"),
    "background": ("donor", "target"),
    "irfs": ("donor", "target"),
}

_SAME_SITE = 5 * u.km
"""Two runs farther apart than this are of different telescopes."""


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
    crop : bool, optional
        Shorten the mimic to the ontime of the target. Default is False.
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
        If ``scrambler`` has no ``run``, or ``random_state`` is no seed.

    Notes
    -----
    Events of the donor outside of its good time intervals (in H.E.S.S. DL3 DR1 up to
    one second after the end) are kept and stay outside.

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
        crop=False,
        allow_other_telescope=False,
        scrambler=None,
        random_state=None,
    ):
        self.alignment = _choice("alignment", alignment)
        self.time = _choice("time", time)
        self.background = _choice("background", background)
        self.irfs = _choice("irfs", irfs)
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
        _check_is_run("target", target)
        _check_is_run("donor", donor)
        # each access to a part of a run on disk reads it anew: read once, and of the
        # target's events nothing but the header
        events = compat.events_location(target) or target.events
        target = compat.new_observation(target, events=events)
        donor = compat.new_observation(donor)
        _check_parts("target", target)
        _check_parts("donor", donor)
        target, donor = _with_location(target, donor)
        seed = self._pair_seed(target, donor, mimic_set)
        if donor.events is None:
            raise ValueError(f"donor run {donor.obs_id} has no events")
        check_events(donor)
        _check_telescopes(target, donor, self.allow_other_telescope)

        donor = self._scramble(donor, seed)
        gti = self._make_gti(target, donor, _time_reference(target, donor))
        events = self._make_events(
            self._select_events(target, donor, gti), target, donor
        )
        events.table.meta = mimic_header(
            target,
            donor,
            gti=gti,
            event_time=events.time,
            settings={name: getattr(self, name) for name in (*_CHOICES, "crop")},
            seed=seed,
        )
        return Observation(
            obs_id=target.obs_id,
            meta=ObservationMetaData.from_header(events.table.meta),
            gti=gti,
            events=events,
            pointing=target.pointing,
            location=target.observatory_earth_location,
            bkg=self.make_background(target, donor),
            **self.make_irfs(target, donor),
        )

    def run_pairs(self, targets, donors, pairs, *, mimic_set=None):
        """Make the mimics of a table of pairs.

        Parameters
        ----------
        targets, donors : `~gammapy.data.Observations` or `~gammapy.data.DataStore`
            Runs, found by OBS_ID.
        pairs : `~astropy.table.Table` or list of tuple
            Table with columns TARGET_OBS_ID, DONOR_OBS_ID (masked where a target
            has no donor: skipped) and perhaps MIMIC_SET, or (target, donor) OBS_IDs.
        mimic_set : int, optional
            Make only the mimics of this set. Default is None, which makes all.

        Returns
        -------
        mimics : `~gammapy.data.Observations`
            One mimic a pair, in the order of the pairs. Mimics of several sets have
            the same OBS_IDs, and each set needs a data store of its own.
        """
        mimics = []
        for target_id, donor_id, number in _rows(pairs):
            if mimic_set is not None and number != mimic_set:
                continue
            target = _find_run(targets, target_id, "targets")
            donor = _find_run(donors, donor_id, "donors")
            mimics.append(self.run(target, donor, mimic_set=number))
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
        names = ("aeff", "edisp", "psf", "rad_max")
        irfs = {name: compat.irf_or_location(giver, name) for name in names}
        keywords = [compat.irf_keywords(run, "aeff") for run in (giver, other)]
        limits = _common_energy_range(keywords)
        if keywords[0] is None:
            return irfs
        if limits != {key: keywords[0].get(key) for key in limits}:
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
        giver = donor if self.background == "donor" else target
        bkg = compat.background(giver)
        if bkg is None:
            return None
        model = compat.to_gadf_alignment(bkg)
        moved_with_events = model.fov_alignment.name.lower() == self.alignment
        is_turned = (
            self.background == "donor"
            and isinstance(model, Background3D)
            and not moved_with_events
        )
        if is_turned:
            angle = self._orientation_differences(model.fov_alignment, target, donor)
            return turn_background(model, angle)
        unchanged = model is bkg and compat.irf_location(giver, "bkg")
        return unchanged or model

    def _orientation_differences(self, alignment, target, donor):
        """By how much the transfer turns places given in another alignment.

        At times spread over the donor's good time: the orientation changes in a run.
        """
        time = spread_times(donor.gti)
        new_time = time + self._shift(target, donor)
        lon, lat = np.zeros(len(time)) * u.deg, np.full(len(time), 1.0) * u.deg
        probe = sky_positions(lon, lat, time, donor, alignment)
        moved, _ = self._transfer(probe, time, new_time, target, donor)
        lon, lat = fov_coordinates(moved, new_time, target, alignment)
        # the probe was on the latitude axis, at 90 deg from that of longitude
        return np.arctan2(np.sin(lat), np.sin(lon) * np.cos(lat)) - 90 * u.deg

    def _transfer(self, position, time, new_time, target, donor):
        """Give the new positions, and the place in the field of view that is kept."""
        alignment = FoVAlignment[self.alignment.upper()]
        place = fov_coordinates(position, time, donor, alignment)
        position = sky_positions(*place, new_time, target, alignment)
        return position, (alignment, *place)

    def _make_events(self, events, target, donor):
        time = events.time + self._shift(target, donor)
        time = in_scale(time, _time_reference(target, donor))
        position = event_positions(events.table)
        position, place = self._transfer(position, events.time, time, target, donor)
        return move_events(
            events,
            position,
            source=donor,
            destination=target,
            time=time,
            place=place,
            keep_unknown=self.alignment == "altaz",
        )

    def _shift(self, target, donor):
        if self.time == "donor":
            return 0 * u.s
        return target.gti.time_start.min() - donor.gti.time_start.min()

    def _make_gti(self, target, donor, reference):
        ontime = target.gti.time_sum if self.crop else None
        shift = self._shift(target, donor)
        return moved_gti(donor.gti, shift, reference=reference, ontime=ontime)

    def _select_events(self, target, donor, gti):
        """Donor's events; with ``crop`` only those before the mimic's end."""
        events = donor.events
        end = gti.time_stop.max() - self._shift(target, donor)
        if not self.crop or end >= donor.gti.time_stop.max():
            return events
        return EventList(events.table[events.time < end], meta=events.meta)

    def _pair_seed(self, target, donor, mimic_set):
        if self._seed is None:
            own = getattr(self.scrambler, "random_state", None)
            return (
                None if self.scrambler is None or own is not None else seed_sequence()
            )
        return child_seed(self._seed, target.obs_id, donor.obs_id, mimic_set)

    def _scramble(self, donor, seed):
        if self.scrambler is None:
            return donor
        parameters = inspect.signature(self.scrambler.run).parameters
        if seed is not None and "random_state" in parameters:
            return self.scrambler.run(donor, random_state=seed)
        return self.scrambler.run(donor)


def _check_is_run(role, run):
    if not isinstance(run, Observation):
        raise TypeError(
            f"{role} = {run!r}: must be a gammapy Observation; "
            "get one by DataStore.obs(obs_id)"
        )
    if not isinstance(run.obs_id, int | np.integer):
        raise ValueError(f"{role} run has obs_id = {run.obs_id!r}: must be an integer")


def _check_parts(role, run):
    for part in ("gti", "pointing"):
        if getattr(run, part) is None:
            raise ValueError(f"{role} run {run.obs_id} has no {part}")
    if len(run.gti.table) == 0:
        raise ValueError(f"{role} run {run.obs_id} has an empty GTI table")
    if not np.all(run.gti.time_stop > run.gti.time_start):
        raise ValueError(
            f"{role} run {run.obs_id} has a good time interval (GTI) that does not end "
            "after it starts"
        )


def _choice(name, value):
    if value not in _CHOICES[name]:
        allowed = " or ".join(repr(choice) for choice in _CHOICES[name])
        raise ValueError(f"{name} = {value!r}: must be {allowed}")
    return value


def _with_location(target, donor):
    """Both runs; one that has no location stands where the other one does."""
    sites = [run.observatory_earth_location for run in (target, donor)]
    known = [site for site in sites if site is not None]
    if not known:
        raise ValueError(
            f"neither target run {target.obs_id} nor donor run {donor.obs_id} has a "
            "location: set GEOLON, GEOLAT and ALTITUDE"
        )
    if len(known) == 2:
        return target, donor
    return [compat.new_observation(run, location=known[0]) for run in (target, donor)]


def _check_telescopes(target, donor, allow_other):
    if allow_other:
        return
    headers = [compat.events_header(run) for run in (target, donor)]
    names = [str(header.get("TELESCOP", "")).strip().upper() for header in headers]
    advice = "take a donor of the same telescope, or allow_other_telescope = True"
    if all(names) and names[0] != names[1]:
        raise ValueError(
            f"donor run {donor.obs_id} is of telescope {names[1]!r}, target run "
            f"{target.obs_id} of {names[0]!r}: {advice}"
        )
    sites = [run.observatory_earth_location for run in (target, donor)]
    xyz = [u.Quantity(site.to_geocentric()) for site in sites]
    distance = np.sqrt(np.sum((xyz[0] - xyz[1]) ** 2))
    if distance > _SAME_SITE:
        raise ValueError(
            f"donor run {donor.obs_id} was taken {distance.to('km'):.0f} away from "
            f"target run {target.obs_id}: {advice}"
        )


def _time_reference(target, donor):
    """Take the reference time of the target's header, if it has one."""
    for run in (target, donor):
        reference = header_reference(compat.events_header(run))
        if reference is not None:
            return reference
    return target.gti.time_ref


def _common_energy_range(keywords):
    """LO_THRES and HI_THRES in which both runs can be used, of their cards."""
    limits = {}
    for key, stricter in (("LO_THRES", max), ("HI_THRES", min)):
        values = [cards[key] for cards in keywords if cards and key in cards]
        if values:
            limits[key] = stricter(values)
    return limits


def _rows(pairs):
    """(target, donor, mimic set) of each pair that has a donor."""
    if not hasattr(pairs, "colnames"):
        yield from ((int(target), int(donor), 0) for target, donor in pairs)
        return
    missing = {"TARGET_OBS_ID", "DONOR_OBS_ID"} - set(pairs.colnames)
    if missing:
        raise ValueError(f"pairs has no column {', '.join(sorted(missing))}")
    for row in pairs:
        if row["DONOR_OBS_ID"] is np.ma.masked:
            log.info("Run %s has no donor: no mimic made", row["TARGET_OBS_ID"])
            continue
        number = row["MIMIC_SET"] if "MIMIC_SET" in pairs.colnames else 0
        yield int(row["TARGET_OBS_ID"]), int(row["DONOR_OBS_ID"]), int(number)


def _find_run(runs, obs_id, name):
    if isinstance(runs, Observations):
        if str(obs_id) not in runs.ids:
            raise ValueError(f"pairs names run {obs_id}, which is not in {name}")
        return runs[str(obs_id)]
    if obs_id not in runs.obs_ids:
        raise ValueError(f"pairs names run {obs_id}, which is not in {name}")
    return runs.obs(obs_id, required_irf="all-optional")
