"""IRFs of an observation, without loading those that nobody changes."""

import copy

import numpy as np
from gammapy.irf import FoVAlignment, IRFMap
from gammapy.maps import Map

from gammapy_mimic.data.compat.locations import FileLocation
from gammapy_mimic.data.compat.parts import optional_keywords
from gammapy_mimic.data.compat.response import (
    is_mirrored_by_gammapy,
    rad_max_table,
    to_gadf_alignment,
)
from gammapy_mimic.io.files import error_context

__all__ = [
    "IRFS",
    "background",
    "background_alignment",
    "background_rates",
    "irf",
    "irf_keywords",
    "irf_location",
    "irf_with_keywords",
    "irfs",
    "lacks_fov_alignment",
    "mirrored",
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

    Raises
    ------
    ValueError
        If the IRF is a map, as those of HAWC.
    """
    location = irf_location(observation, name)
    if location is not None:
        if "map" in location.hdu_class.split("_"):
            raise _is_a_map(observation, name, location.hdu_class)
        return location
    if name == "rad_max":
        return rad_max_table(observation)
    # without what a map lacks and a background model is asked for
    held = vars(observation).get(_IRF_SLOTS[name])
    if isinstance(held, Map | IRFMap):
        raise _is_a_map(observation, name, type(held).__name__)
    return background(observation) if name == "bkg" else getattr(observation, name)


def background(observation):
    """Background model of a run with the alignment that gammapy gives to it.

    `gammapy.data.Observation.bkg` changes the user's object when it mirrors a
    background; this does not.

    Parameters
    ----------
    observation : `~gammapy.data.Observation`
        Observation.

    Returns
    -------
    bkg : `~gammapy.irf.Background2D`, `~gammapy.irf.Background3D` or None
        Background model, a copy where its alignment had to be set.
    """
    # asked of the class: that of the run would be read from its file
    if not hasattr(type(observation), "_bkg"):
        return observation.bkg
    bkg = observation._bkg
    if bkg is None:
        return None
    alignment = bkg.fov_alignment
    # without a look at the metadata, after which all of the run would count as read
    if is_mirrored_by_gammapy(optional_keywords(observation)):
        alignment = FoVAlignment.REVERSE_LON_RADEC
    if alignment != bkg.fov_alignment:
        bkg = copy.copy(bkg)
        bkg._fov_alignment = alignment
    return bkg


def _is_a_map(observation, name, kind):
    return ValueError(
        f"run {observation.obs_id}: its {name} is a map ({kind}), as those of HAWC; "
        "mimics need IRFs that depend on the place in the field of view, such as "
        "aeff_2d, edisp_2d, psf_table and bkg_3d: leave the run out"
    )


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
    if is_mirrored_by_gammapy(optional_keywords(observation)):
        return FoVAlignment.REVERSE_LON_RADEC
    with error_context(f"{location.path()}: FOVALIGN (HDU {location.hdu_name})"):
        return FoVAlignment(irf_keywords(observation, "bkg").get("FOVALIGN", "RADEC"))


def background_rates(observation):
    """Rates of the background model of a run, which is not loaded for that.

    Parameters
    ----------
    observation : `~gammapy.data.Observation`
        Observation.

    Returns
    -------
    rates : `~numpy.ndarray`
        In whatever order and unit; empty without a model.
    """
    bkg = irf(observation, "bkg")
    if not isinstance(bkg, FileLocation):
        return np.zeros(0) if bkg is None else bkg.data
    with error_context(f"{bkg.path()}: background model (HDU {bkg.hdu_name})"):
        columns = bkg.source().columns
        # CTA-1DC has the other name
        return np.asarray(columns["BKG" if "BKG" in columns else "BGD"], dtype=float)


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
    if not isinstance(bkg, FileLocation):
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
