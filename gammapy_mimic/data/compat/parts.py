"""Parts of an observation, without reading more of it than is needed.

gammapy keeps the place on disk of a part that nobody has looked at in a private slot.
Each function here takes it from there, and the public attribute, slower but right,
where the slot is not there.
"""

import copy

from gammapy.data import Observation
from gammapy.irf import FoVAlignment
from gammapy.utils.fits import HDULocation

from gammapy_mimic.data.compat.locations import FileLocation, LazyLocation
from gammapy_mimic.data.compat.response import (
    background,
    is_mirrored_by_gammapy,
    rad_max_table,
    to_gadf_alignment,
)
from gammapy_mimic.io.files import error_context

__all__ = [
    "IRFS",
    "background_alignment",
    "events_header",
    "has_own_location",
    "holds",
    "irf",
    "irf_keywords",
    "irf_location",
    "irf_with_keywords",
    "irfs",
    "lacks_fov_alignment",
    "lazy_run",
    "livetime_fraction",
    "mirrored",
    "part",
    "source_paths",
    "to_observation",
    "with_fov_alignment",
]

IRFS = ("aeff", "edisp", "psf", "bkg", "rad_max")
"""Which IRFs a run may have, in the order of the file."""

_IRF_SLOTS = {
    "aeff": "aeff",
    "edisp": "edisp",
    "psf": "psf",
    "bkg": "_bkg",
    "rad_max": "_rad_max",
}
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
    location : `FileLocation` or None
        None if the IRF is absent or lives in memory.
    """
    slot = _IRF_SLOTS[name]
    # gammapy makes a table of a RAD_MAX keyword as soon as somebody looks
    if name != "rad_max" and slot in vars(observation):
        return None
    location = vars(observation).get(f"_{slot}_hdu")
    return None if location is None else FileLocation.from_location(location)


def irf(observation, name):
    """IRF as it is held: a location on disk if possible, else the object.

    Parameters
    ----------
    observation : `~gammapy.data.Observation`
        Observation.
    name : {"aeff", "edisp", "psf", "bkg", "rad_max"}
        Which IRF.

    Returns
    -------
    irf : `~gammapy.irf.IRF`, `FileLocation` or None
        What can be handed to `to_observation`; nothing is loaded that has a place.
    """
    location = irf_location(observation, name)
    if location is not None:
        return location
    if name == "rad_max":
        return rad_max_table(observation)
    return background(observation) if name == "bkg" else getattr(observation, name)


def irfs(observation):
    """IRFs as they are held, see `irf`.

    Parameters
    ----------
    observation : `~gammapy.data.Observation`
        Observation.

    Returns
    -------
    irfs : dict
        Arguments of `~gammapy.data.Observation`, also for those that are absent.
    """
    return {name: irf(observation, name) for name in IRFS}


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
    keywords : dict or None
        Header or metadata; None if there is no such IRF.
    """
    held = irf(observation, name)
    if isinstance(held, FileLocation):
        return held.source().cards | held.keywords
    return None if held is None else held.meta or {}


def irf_with_keywords(irf, keywords):
    """Change cards of an IRF, which is not loaded for that.

    Parameters
    ----------
    irf : `~gammapy.irf.IRF` or `FileLocation`
        IRF, as from `irf`; not changed.
    keywords : dict
        Cards to set.

    Returns
    -------
    changed : same type
        Copy with these cards, which has them when it is loaded or written.
    """
    if isinstance(irf, FileLocation):
        return FileLocation.like(irf, keywords={**irf.keywords, **keywords})
    new = copy.copy(irf)
    new.meta = {**(irf.meta or {}), **keywords}
    return new


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
    if location.is_mirrored:
        return FoVAlignment.RADEC
    if is_mirrored_by_gammapy(_optional_keywords(observation)):
        return FoVAlignment.REVERSE_LON_RADEC
    with error_context(f"{location.path()}: FOVALIGN (HDU {location.hdu_name})"):
        return FoVAlignment(irf_keywords(observation, "bkg").get("FOVALIGN", "RADEC"))


def lacks_fov_alignment(observation):
    """Whether nothing says how the background model of a run is aligned.

    gammapy takes such a model as aligned with RA/Dec.

    Parameters
    ----------
    observation : `~gammapy.data.Observation`
        Observation, whose background model is not loaded.

    Returns
    -------
    is_lacking : bool
        True for a Background3D without FOVALIGN, unless it was made in memory with
        another alignment than gammapy's default. False without a model, for a
        Background2D, and where gammapy mirrors the model of H.E.S.S. data.
    """
    if background_alignment(observation) != FoVAlignment.RADEC:
        return False
    location = irf_location(observation, "bkg")
    if location is not None and location.is_mirrored:
        return False
    return "FOVALIGN" not in irf_keywords(observation, "bkg")


def with_fov_alignment(observation, alignment):
    """Run whose background model says how it is aligned.

    Parameters
    ----------
    observation : `~gammapy.data.Observation`
        Observation with a Background3D, which is not loaded; not changed.
    alignment : `~gammapy.irf.FoVAlignment`
        Alignment.

    Returns
    -------
    new : `~gammapy.data.Observation`
        Copy.
    """
    bkg = irf_with_keywords(irf(observation, "bkg"), {"FOVALIGN": alignment.value})
    new = copy.copy(observation)
    if not isinstance(bkg, HDULocation):
        bkg._fov_alignment = alignment
    new.bkg = bkg
    return new


def mirrored(observation):
    """Background model that is mirrored by gammapy, in an alignment that GADF knows.

    Parameters
    ----------
    observation : `~gammapy.data.Observation`
        Run whose model is aligned with ``REVERSE_LON_RADEC``.

    Returns
    -------
    bkg : `~gammapy.irf.Background3D` or `FileLocation`
        Model aligned with ``RADEC`` that means the same, or the place of one.
    """
    location = irf_location(observation, "bkg")
    if location is None:
        return to_gadf_alignment(background(observation))
    return FileLocation.like(location, is_mirrored=True)


def _optional_keywords(observation):
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
