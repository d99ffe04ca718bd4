"""The two runs of a mimic: read, and checked against each other."""

import inspect
from dataclasses import replace

import numpy as np
from astropy import units as u
from astropy.coordinates import EarthLocation
from astropy.table import Table
from gammapy.data import Observation

from gammapy_mimic.data import compat, read_run, to_observation
from gammapy_mimic.data.gti import overlap
from gammapy_mimic.data.seeds import child_seed, seed_sequence
from gammapy_mimic.data.trust import ERROR, findings, horizon
from gammapy_mimic.matching.warn import source_warnings
from gammapy_mimic.sky.location import geodetic_site

__all__ = [
    "check_arguments",
    "check_is_run",
    "check_pair",
    "check_scrambler",
    "contradictions",
    "known_to",
    "pair_seed",
    "read_pair",
    "scramble",
    "sources_of_pair",
]

_FIRST_MJD, _LAST_MJD = 30_000, 100_000
"""From 1941 to 2132: ERFA knows the sky then."""

_SAME_SITE = 5 * u.km
"""Two runs farther apart than this are of different telescopes."""


def check_is_run(role, run):
    """Raise an error for what is no run, or one without a valid OBS_ID."""
    if not isinstance(run, Observation):
        raise TypeError(
            f"{role} = {run!r}: must be a gammapy Observation; "
            "get one by DataStore.obs(obs_id)"
        )
    if not isinstance(run.obs_id, int | np.integer):
        raise ValueError(f"{role} run has obs_id = {run.obs_id!r}: must be an integer")


def check_arguments(target, donor, mimic_set):
    """Raise an error for what are no runs, or not the number of a mimic set."""
    check_is_run("target", target)
    check_is_run("donor", donor)
    is_int = isinstance(mimic_set, int | np.integer) and not isinstance(mimic_set, bool)
    if not is_int or mimic_set < 0:
        raise ValueError(f"mimic_set = {mimic_set!r}: must be an integer from 0 on")


def read_pair(target, donor, *, location=None, with_events=True):
    """Read target and donor.

    Parameters
    ----------
    target, donor : `~gammapy.data.Observation`
        The two runs. The events of the target are not read.
    location : `~astropy.coordinates.EarthLocation`, optional
        Where both stand. Default is None: where they say; one that has no location
        stands where the other one does.
    with_events : bool, optional
        Whether the events of the donor are wanted. Default is True.

    Returns
    -------
    target, donor : `~gammapy_mimic.data.run.Run`
        The two runs, with a location.

    Raises
    ------
    ValueError
        If a run is broken or no location is known; with the role of the run.
    """
    runs = _read("target", target, with_events=False), read_donor(donor, with_events)
    if location is not None:
        site = geodetic_site(location)
        return [_placed(run, site) for run in runs]
    known = [run.pointing.site for run in runs if run.pointing.site is not None]
    if not known:
        raise ValueError(
            f"neither target run {target.obs_id} nor donor run {donor.obs_id} has a "
            "location: set GEOLON, GEOLAT and ALTITUDE, or give location=..."
        )
    return [
        run if run.pointing.site is not None else _placed(run, known[0]) for run in runs
    ]


def read_donor(donor, with_events=True):
    """Read a donor; errors say that it is one."""
    return _read("donor", donor, with_events=with_events)


def _read(role, run, **options):
    try:
        return read_run(run, **options)
    except ValueError as error:
        raise ValueError(f"{role} {error}") from error


def _placed(run, site):
    return replace(run, pointing=replace(run.pointing, site=site))


def check_pair(target, donor, crop, allow_other_telescope):
    """Raise an error for runs of which no mimic can be made.

    Parameters
    ----------
    target, donor : `~gammapy_mimic.data.run.Run`
        The two runs.
    crop, allow_other_telescope : bool
        See `~gammapy_mimic.MimicMaker`.

    Raises
    ------
    ValueError
        If good time would count twice, a date is impossible, or the telescopes differ.
    """
    # of the target only the sum of its good time matters, if at all
    for role, run in (("donor", donor), ("target", target))[: 1 + crop]:
        if overlap(run.gti_s):
            raise ValueError(
                f"{role} run {run.obs_id} has good time intervals (GTI) that "
                "overlap: their time would count twice"
            )
    for role, run in (("donor", donor), ("target", target)):
        mjd = sum(run.origin(run.start_s)) - 2400000.5
        if not _FIRST_MJD < mjd < _LAST_MJD:
            raise ValueError(
                f"{role} run {run.obs_id} starts at MJD {mjd:.0f}, which cannot "
                "be: are MJDREFI, MJDREFF and TIMESYS right?"
            )
    if not allow_other_telescope:
        _check_telescopes(target, donor)


def _check_telescopes(target, donor):
    names = [
        str(run.header.get("TELESCOP", "")).strip().upper() for run in (target, donor)
    ]
    advice = "take a donor of the same telescope, or allow_other_telescope = True"
    if all(names) and names[0] != names[1]:
        raise ValueError(
            f"donor run {donor.obs_id} is of telescope {names[1]!r}, target run "
            f"{target.obs_id} of {names[0]!r}: {advice}"
        )
    sites = target.pointing.site, donor.pointing.site
    if sites[0] == sites[1]:
        return
    xyz = [
        u.Quantity(EarthLocation.from_geodetic(*site).to_geocentric()) for site in sites
    ]
    distance = np.sqrt(np.sum((xyz[0] - xyz[1]) ** 2))
    if distance > _SAME_SITE:
        raise ValueError(
            f"donor run {donor.obs_id} was taken {distance.to('km'):.0f} away from "
            f"target run {target.obs_id}: {advice}"
        )


def sources_of_pair(target, donor, scrambled):
    """Warn of a donor that holds the target's object or a bright source.

    Parameters
    ----------
    target, donor : `~gammapy_mimic.data.run.Run`
        The two runs. Nothing is said in drift mode, or if they are the same run.
    scrambled : list of `~regions.CircleSkyRegion`
        Sources that are scrambled in the donor.

    Returns
    -------
    warnings : list of str
        As of `~gammapy_mimic.matching.warn.source_warnings`, by the packaged table.
    """
    if donor.pointing.drifts or target.obs_id == donor.obs_id:
        return []
    pointing = {"RA_PNT": donor.pointing.lon_deg, "DEC_PNT": donor.pointing.lat_deg}
    aim = {"OBJECT": str(target.header.get("OBJECT", ""))}
    for key in ("RA_OBJ", "DEC_OBJ"):
        value = target.header.get(key)
        aim[key] = float(value) if isinstance(value, int | float) else np.nan
    runs = {
        "targets": Table([{"OBS_ID": target.obs_id, **aim}]),
        "donors": Table([{"OBS_ID": donor.obs_id, **pointing}]),
    }
    chosen = {"row": np.zeros(1, dtype=int), "column": np.zeros(1, dtype=int)}
    return source_warnings(
        runs, chosen, catalogs=("bright",), scrambled=lambda _: scrambled
    )


def known_to(scrambler, donor):
    """Give the sources that are scrambled in a donor, as far as that is known."""
    sources = getattr(scrambler, "sources", None)
    return list(sources(donor)) if callable(sources) else []


def scramble(scrambler, donor, run, seed):
    """Scramble a donor, with the seed of its pair where the scrambler takes one.

    Parameters
    ----------
    scrambler : object
        See `~gammapy_mimic.MimicMaker`.
    donor : `~gammapy.data.Observation`
        Donor.
    run : `~gammapy_mimic.data.run.Run`
        What was read of it, perhaps without some of its events.
    seed : `~numpy.random.SeedSequence` or None
        Seed.

    Returns
    -------
    scrambled : `~gammapy.data.Observation`
        Donor with other events.
    run : `~gammapy_mimic.data.run.Run`
        The same, as it is read.
    """
    parameters = inspect.signature(scrambler.run).parameters
    takes_seed = seed is not None and "random_state" in parameters
    options = {"random_state": seed} if takes_seed else {}
    scrambled = scrambler.run(to_observation(run, **compat.irfs(donor)), **options)
    if not isinstance(scrambled, Observation):
        raise TypeError(
            f"scrambler.run gives {scrambled!r} for donor run {donor.obs_id}: must be "
            "a gammapy Observation"
        )
    return scrambled, replace(read_donor(scrambled), pointing=run.pointing)


def contradictions(target, donor, alignment, time):
    """Find where runs contradict themselves; an error where they cannot be used.

    Parameters
    ----------
    target, donor : `~gammapy_mimic.data.run.Run`
        The two runs.
    alignment, time : str
        See `~gammapy_mimic.MimicMaker`.

    Yields
    ------
    text : str
        Warning.
    """
    for role, run in (("target", target), ("donor", donor)):
        for level, text in findings(run, alignment=alignment):
            if level == ERROR:
                raise ValueError(f"{role} {text}")
            yield text
    if alignment == "altaz" and time == "donor":
        altitude_deg = horizon(replace(donor, pointing=target.pointing))[1]
        if altitude_deg < 0:
            yield (
                f"run {target.obs_id}: its pointing is {-altitude_deg:.1f} deg "
                f"below the horizon at the time of donor run {donor.obs_id}; take "
                'time="target", or alignment="radec"'
            )


def check_scrambler(scrambler):
    """Take a scrambler if it is one; None is none."""
    has_run = callable(getattr(scrambler, "run", None))
    if scrambler is not None and (isinstance(scrambler, type) or not has_run):
        raise TypeError(
            f"scrambler = {scrambler!r}: must have a method run(observation), "
            "such as gammapy_mimic.AnnulusScrambler"
        )
    return scrambler


def pair_seed(seed, scrambler, target, donor, mimic_set):
    """Seed of a pair; None where the scrambler has its own, or there is none."""
    if seed is not None:
        return child_seed(seed, target.obs_id, donor.obs_id, mimic_set)
    has_own = getattr(scrambler, "random_state", None) is not None
    return None if scrambler is None or has_own else seed_sequence()
