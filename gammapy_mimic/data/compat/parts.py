"""Parts of an observation, without reading more of it than is needed.

gammapy keeps the place on disk of a part that nobody has looked at in a private slot.
Each function here takes it from there, and the public attribute, slower but right,
where the slot is not there.
"""

from gammapy.data import Observation
from gammapy.utils.fits import HDULocation

from gammapy_mimic.data.compat.locations import FileLocation, LazyLocation

__all__ = [
    "events_header",
    "has_own_location",
    "holds",
    "lazy_run",
    "livetime_fraction",
    "optional_keywords",
    "part",
    "source_paths",
    "to_observation",
]

_PARTS = ("events", "gti", "pointing", "meta")
_FILTERED = ("events", "gti")


def _unread(observation, name):
    """Place of a part that was never read, set or filtered; None for others."""
    values = vars(observation)
    location = values.get(f"__{name}_hdu")
    own_filter = observation.obs_filter
    is_filtered = name in _FILTERED and (
        own_filter.time_filter or own_filter.event_filters
    )
    is_read = f"_{name}" in values or getattr(location, "loaded", None) is not None
    return None if is_read or is_filtered else location


def part(observation, name):
    """Part of an observation as it is held.

    Parameters
    ----------
    observation : `~gammapy.data.Observation`
        Observation.
    name : {"events", "gti", "pointing", "meta"}
        Which part.

    Returns
    -------
    part : `FileLocation` or object
        Its place on disk while nobody has read, set or filtered it, else what the
        attribute of this name gives.
    """
    location = _unread(observation, name)
    if location is None or isinstance(location, LazyLocation):
        return getattr(observation, name)
    return FileLocation.from_location(location)


def has_own_location(observation):
    """Whether the site of a run was given apart from its header.

    Parameters
    ----------
    observation : `~gammapy.data.Observation`
        Observation.

    Returns
    -------
    has_own : bool
        True, too, if that cannot be known without reading the metadata.
    """
    return getattr(observation, "_location", "unknown") is not None


def lazy_run(observation):
    """Run that an observation was made of and still is.

    Parameters
    ----------
    observation : `~gammapy.data.Observation`
        Observation.

    Returns
    -------
    run : `~gammapy_mimic.data.run.Run` or None
        None for other observations, and if a part was looked at or set: it may have
        been changed.
    """
    locations = [_unread(observation, name) for name in _PARTS]
    if not all(isinstance(location, LazyLocation) for location in locations):
        return None
    run = locations[0].run
    is_changed = has_own_location(observation) or observation.obs_id != run.obs_id
    return None if is_changed else run


def to_observation(run, **irfs):
    """Observation whose parts are made when they are asked for.

    Parameters
    ----------
    run : `~gammapy_mimic.data.run.Run`
        Run.
    **irfs
        IRFs or their places, as from `irfs`.

    Returns
    -------
    observation : `~gammapy.data.Observation`
        Run in memory.
    """
    classes = ("events", "gti", "pointing", "observation_metadata")
    parts = {
        name: LazyLocation(hdu_class, run)
        for name, hdu_class in zip(_PARTS, classes, strict=True)
    }
    return Observation(obs_id=run.obs_id, **parts, **irfs)


def optional_keywords(observation):
    """Cards that gammapy keeps in ``observation.meta.optional``."""
    if _unread(observation, "meta") is not None:
        return events_header(observation)
    return None if observation.meta is None else observation.meta.optional


def events_header(observation):
    """EVENTS header of a run, whose events are not read for that.

    Parameters
    ----------
    observation : `~gammapy.data.Observation`
        Observation.

    Returns
    -------
    header : dict
        Cards, not to be changed; empty for a run without events.
    """
    location = vars(observation).get("__events_hdu")
    if "_events" in vars(observation) or location is None:
        events = observation.events
        return {} if events is None else events.table.meta
    if isinstance(location, LazyLocation):
        loaded = location.loaded
        return location.run.header if loaded is None else loaded.table.meta
    try:
        return FileLocation.from_location(location).source().cards
    except KeyError:
        return {}


def holds(observation, name):
    """Whether a run has events or GTIs, loaded or on disk.

    `gammapy.data.Observation.available_hdus` says no for an empty event list.

    Parameters
    ----------
    observation : `~gammapy.data.Observation`
        Observation.
    name : {"events", "gti"}
        What to look for.

    Returns
    -------
    holds : bool
        False if it is None. Nothing is loaded.
    """
    values = vars(observation)
    if f"_{name}" not in values and f"__{name}_hdu" not in values:
        return getattr(observation, name) is not None
    return values.get(f"_{name}", values.get(f"__{name}_hdu")) is not None


def livetime_fraction(observation):
    """Part of the livetime that the event filters of a run keep.

    As `gammapy.data.ObservationFilter.livetime_fraction`, which in gammapy 2.1 fails
    for a filter on the phase: its option is now called ``values``.

    Parameters
    ----------
    observation : `~gammapy.data.Observation`
        Observation.

    Returns
    -------
    fraction : float
        1 without a filter on the column PHASE.
    """
    filters = observation.obs_filter.event_filters
    options = filters[0].get("opts", {}) if filters else {}
    if options.get("parameter") != "PHASE":
        return 1
    low, high = options["values"] if "values" in options else options["band"]
    return high - low


def source_paths(observation):
    """Files that an observation is still to be read from.

    Parameters
    ----------
    observation : `~gammapy.data.Observation`
        Observation.

    Returns
    -------
    paths : set of `~pathlib.Path`
        Paths; empty for an observation in memory.
    """
    return {
        FileLocation.from_location(value).path()
        for value in vars(observation).values()
        if isinstance(value, HDULocation) and not isinstance(value, LazyLocation)
    }
