"""Parts of an observation, without reading more of it than is needed."""

import copy
from collections import ChainMap

from gammapy.data import Observation
from gammapy.irf import FoVAlignment
from gammapy.utils.fits import HDULocation

from gammapy_mimic.data.compat.irfs import (
    background,
    is_mirrored_by_gammapy,
    rad_max_table,
    to_gadf_alignment,
)
from gammapy_mimic.data.compat.locations import FileLocation, LazyLocation, read_once
from gammapy_mimic.io.files import error_context

__all__ = [
    "background_alignment",
    "events_header",
    "events_location",
    "holds",
    "irf_keywords",
    "irf_location",
    "irf_or_location",
    "irf_with_keywords",
    "lazy_irfs",
    "lazy_observation",
    "lazy_run",
    "livetime_fraction",
    "mirrored",
    "new_observation",
    "source_paths",
    "unloaded_parts",
]

_IRF_ATTRIBUTES = {
    "aeff": "aeff",
    "edisp": "edisp",
    "psf": "psf",
    "bkg": "_bkg",
    "rad_max": "_rad_max",
}


def irf_location(observation, name):
    """Where on disk an IRF lies that was never loaded or replaced.

    Parameters
    ----------
    observation : `~gammapy.data.Observation`
        Observation.
    name : {"aeff", "edisp", "psf", "bkg", "rad_max"}
        Which IRF.

    Returns
    -------
    location : `~gammapy.utils.fits.HDULocation` or None
        None if the IRF is absent or lives in memory.
    """
    attribute = _IRF_ATTRIBUTES[name]
    if name != "rad_max" and attribute in vars(observation):
        return None
    return vars(observation).get(f"_{attribute}_hdu")


def irf_keywords(observation, name):
    """Cards of an IRF, which is not loaded for that.

    Parameters
    ----------
    observation : `~gammapy.data.Observation`
        Observation.
    name : {"aeff", "edisp", "psf", "bkg", "rad_max"}
        Which IRF.

    Returns
    -------
    keywords : mapping or None
        Header or metadata; None if there is no such IRF.
    """
    location = irf_location(observation, name)
    if location is not None:
        header = FileLocation.from_location(location).source().header
        return ChainMap(getattr(location, "keywords", {}), header)
    irf = vars(observation).get(_IRF_ATTRIBUTES[name])
    return None if irf is None else irf.meta or {}


def background_alignment(observation):
    """Alignment of a background model that is not radially symmetric.

    Parameters
    ----------
    observation : `~gammapy.data.Observation`
        Observation.

    Returns
    -------
    alignment : `~gammapy.irf.FoVAlignment` or None
        The one that gammapy gives to ``observation.bkg``, which is not loaded for
        that. None without a model, or if it is a Background2D.
    """
    location = irf_location(observation, "bkg")
    if location is None:
        bkg = background(observation)
        if bkg is None or bkg.has_offset_axis:
            return None
        return bkg.fov_alignment
    if location.hdu_class != "bkg_3d":
        return None
    if getattr(location, "is_mirrored", False):
        return FoVAlignment.RADEC
    if is_mirrored_by_gammapy(_optional_keywords(observation)):
        return FoVAlignment.REVERSE_LON_RADEC
    path = FileLocation.from_location(location).path()
    with error_context(f"{path}: FOVALIGN (HDU {location.hdu_name})"):
        return FoVAlignment(irf_keywords(observation, "bkg").get("FOVALIGN", "RADEC"))


def mirrored(observation):
    """Background model that is mirrored by gammapy, in an alignment that GADF knows.

    Parameters
    ----------
    observation : `~gammapy.data.Observation`
        Run whose model is aligned with ``REVERSE_LON_RADEC``.

    Returns
    -------
    bkg : `~gammapy.irf.Background3D` or `~gammapy.utils.fits.HDULocation`
        Model aligned with ``RADEC`` that means the same, or the place of one.
    """
    location = irf_location(observation, "bkg")
    if location is None:
        return to_gadf_alignment(background(observation))
    return FileLocation.like(location, is_mirrored=True)


def _optional_keywords(observation):
    """Cards that gammapy keeps in ``observation.meta.optional``."""
    values = vars(observation)
    if "_meta" not in values and values.get("__meta_hdu") is not None:
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
    header : mapping
        Cards, not to be changed; empty for a run without events.
    """
    location = events_location(observation)
    if location is None:
        events = observation.events
        return {} if events is None else events.table.meta
    if isinstance(location, LazyLocation):
        return location.run.header
    try:
        return FileLocation.from_location(location).source().header
    except KeyError:
        return {}


def irf_with_keywords(irf, keywords):
    """Change cards of an IRF, which is not loaded for that.

    Parameters
    ----------
    irf : `~gammapy.irf.IRF` or `~gammapy.utils.fits.HDULocation`
        IRF, as from `irf_or_location`; not changed.
    keywords : dict
        Cards to set.

    Returns
    -------
    changed : same type
        Copy with these cards, which has them when it is loaded or written.
    """
    if isinstance(irf, HDULocation):
        keywords = {**getattr(irf, "keywords", {}), **keywords}
        return FileLocation.like(irf, keywords=keywords)
    new = copy.copy(irf)
    new.meta = {**(irf.meta or {}), **keywords}
    return new


def irf_or_location(observation, name):
    """IRF as it is held: a location on disk if possible, else the object.

    What comes back can be handed to `new_observation`; nothing is loaded.
    """
    location = irf_location(observation, name)
    if location is not None:
        return location
    if name == "rad_max":
        return rad_max_table(observation)
    return vars(observation).get(_IRF_ATTRIBUTES[name])


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
    values = vars(observation).values()
    return {
        FileLocation.from_location(value).path()
        for value in values
        if isinstance(value, HDULocation) and not isinstance(value, LazyLocation)
    }


def events_location(observation):
    """Where on disk the events of a run lie, if none were set and none filtered.

    Parameters
    ----------
    observation : `~gammapy.data.Observation`
        Observation.

    Returns
    -------
    location : `~gammapy.utils.fits.HDULocation` or None
        None if the events are in memory.
    """
    values = vars(observation)
    is_filtered = (
        observation.obs_filter.time_filter or observation.obs_filter.event_filters
    )
    location = None if is_filtered else values.get("__events_hdu")
    if "_events" in values or getattr(location, "loaded", None) is not None:
        return None
    return location


def new_observation(observation, **changes):
    """Observation like another one, in which some parts are replaced.

    IRFs that lie on disk stay there; the rest is read, each file once.

    Parameters
    ----------
    observation : `~gammapy.data.Observation`
        Observation to start from.
    **changes
        Arguments of `~gammapy.data.Observation` to replace. Events and IRFs may be
        given as `~gammapy.utils.fits.HDULocation`.

    Returns
    -------
    new : `~gammapy.data.Observation`
        New observation.
    """
    observation = read_once(observation)
    meta = observation.meta
    fraction = livetime_fraction(observation)
    if fraction != 1:
        # the filter is applied to the events below and then forgotten
        dead = 1 - (1 - observation.observation_dead_time_fraction) * fraction
        meta = meta.model_copy(update={"deadtime_fraction": dead})
    arguments = {
        "obs_id": observation.obs_id,
        "meta": meta,
        "gti": observation.gti,
        "pointing": observation.pointing,
        "location": observation.observatory_earth_location,
    }
    if "events" not in changes:
        arguments["events"] = observation.events
    return Observation(**{**arguments, **lazy_irfs(observation), **changes})


def lazy_irfs(observation):
    """IRFs as they are held, see `irf_or_location`.

    Parameters
    ----------
    observation : `~gammapy.data.Observation`
        Observation.

    Returns
    -------
    irfs : dict
        Arguments of `~gammapy.data.Observation`, also for those that are absent.
    """
    return {name: irf_or_location(observation, name) for name in _IRF_ATTRIBUTES}


_PARTS = ("events", "gti", "pointing", "meta")


def unloaded_parts(observation):
    """Places of events and good time intervals, if nothing was loaded or set.

    Parameters
    ----------
    observation : `~gammapy.data.Observation`
        Observation.

    Returns
    -------
    locations : list of `FileLocation` or None
        EVENTS, which gives pointing and metadata too, and GTI. None if one of them
        was loaded, set, filtered or lies elsewhere.
    """
    values = vars(observation)
    is_loaded = any(f"_{name}" in values for name in _PARTS)
    locations = [values.get(f"__{name}_hdu") for name in _PARTS]
    if is_loaded or None in locations or observation._location is not None:
        return None
    if events_location(observation) is None:
        return None
    events, gti, *others = map(FileLocation.from_location, locations)
    same = [(it.path(), it.hdu_name) for it in (events, *others)]
    return None if len(set(same)) > 1 else [events, gti]


def lazy_run(observation):
    """Run in plain numbers that an observation was made of and still is.

    Parameters
    ----------
    observation : `~gammapy.data.Observation`
        Observation.

    Returns
    -------
    run : `~gammapy_mimic.data.run.Run` or None
        None for other observations, and if a part was loaded or set: it may have
        been changed.
    """
    values = vars(observation)
    locations = [values.get(f"__{name}_hdu") for name in _PARTS]
    if not all(isinstance(location, LazyLocation) for location in locations):
        return None
    is_touched = (
        any(f"_{name}" in values for name in _PARTS)
        or events_location(observation) is None
        or observation._location is not None
        or observation.obs_id != locations[0].run.obs_id
    )
    return None if is_touched else locations[0].run


def lazy_observation(run, **irfs):
    """Observation whose parts are made of plain numbers when they are asked for.

    Parameters
    ----------
    run : `~gammapy_mimic.data.run.Run`
        Run in plain numbers.
    **irfs
        IRFs or their places.

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
