"""Every touch of a private or version-dependent part of gammapy."""

import copy

import numpy as np
from astropy import units as u
from astropy.coordinates.erfa_astrom import ErfaAstromInterpolator, erfa_astrom
from astropy.io import fits
from gammapy.data import GTI, FixedPointingInfo, Observation, ObservationMetaData
from gammapy.data.io import EventListReader
from gammapy.irf import IRF_REGISTRY, Background3D, FoVAlignment
from gammapy.irf.io import (
    IRF_DL3_HDU_SPECIFICATION,
    UnknownHDUClass,
    _get_hdu_type_and_class,
)
from gammapy.maps import MapAxis
from gammapy.utils.fits import HDULocation
from gammapy.utils.scripts import make_path

from gammapy_mimic.files import fits_file, naming

__all__ = [
    "background",
    "changed_keywords",
    "events_header",
    "events_location",
    "fires_reverse_lon",
    "fixed_rad_max",
    "holds",
    "interpolated_astrom",
    "irf_keywords",
    "irf_location",
    "irf_or_location",
    "irf_specification",
    "irf_with_keywords",
    "livetime_fraction",
    "new_observation",
    "open_run",
    "rad_max_table",
    "read_once",
    "source_paths",
    "to_gadf_alignment",
]

_IRF_ATTRIBUTES = {
    "aeff": "aeff",
    "edisp": "edisp",
    "psf": "psf",
    "bkg": "_bkg",
    "rad_max": "_rad_max",
}


def interpolated_astrom():
    """Context in which AltAz transformations of many times are fast.

    The astrometric values are interpolated between nodes 30 s apart, which changes
    positions by less than 1e-9 arcsec and takes a fiftieth of the time.

    Returns
    -------
    context : context manager
        To be used with ``with``.
    """
    return erfa_astrom.set(ErfaAstromInterpolator(30 * u.s))


def fires_reverse_lon(header):
    """Whether gammapy mirrors the background of a run with this EVENTS header.

    `gammapy.data.Observation.bkg` takes any background of such a run (H.E.S.S. DL3
    DR1) as ``REVERSE_LON_RADEC``, whatever its FOVALIGN says.

    Parameters
    ----------
    header : mapping or None
        EVENTS header, or ``observation.meta.optional``.

    Returns
    -------
    fires : bool
        True for CREATOR 'SASH FITS::EventListWriter' with HDUVERS '0.2'.
    """
    header = header or {}
    return (
        header.get("CREATOR") == "SASH FITS::EventListWriter"
        and header.get("HDUVERS") == "0.2"
    )


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
        header = fits_file(location.path(abs_path=True)).hdu(location.hdu_name).header
        return {**header, **changed_keywords(location)}
    irf = vars(observation).get(_IRF_ATTRIBUTES[name])
    return None if irf is None else irf.meta or {}


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
    try:
        return fits_file(location.path(abs_path=True)).hdu(location.hdu_name).header
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
    new = copy.copy(irf)
    if isinstance(irf, HDULocation):
        new.__class__ = _FileLocation
        new.keywords = {**changed_keywords(irf), **keywords}
    else:
        new.meta = {**(irf.meta or {}), **keywords}
    return new


def changed_keywords(location):
    """Cards that an IRF is to have other than in its file.

    Parameters
    ----------
    location : `~gammapy.utils.fits.HDULocation`
        Place of an IRF.

    Returns
    -------
    keywords : dict
        Cards; empty for most.
    """
    return getattr(location, "keywords", {})


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
    bkg = observation._bkg
    if bkg is None:
        return None
    alignment = bkg.fov_alignment
    if observation.meta is not None and fires_reverse_lon(observation.meta.optional):
        alignment = FoVAlignment.REVERSE_LON_RADEC
    if alignment != bkg.fov_alignment:
        bkg = copy.copy(bkg)
        bkg._fov_alignment = alignment
    return bkg


def to_gadf_alignment(bkg):
    """Background model in an alignment that the GADF format knows.

    Parameters
    ----------
    bkg : `~gammapy.irf.Background2D` or `~gammapy.irf.Background3D`
        Background model.

    Returns
    -------
    bkg : same type
        A model aligned with ``REVERSE_LON_RADEC`` is mirrored in longitude and
        then aligned with ``RADEC``: it means the same. Others are returned as
        they are.
    """
    if bkg.fov_alignment != FoVAlignment.REVERSE_LON_RADEC:
        return bkg
    meta = {**bkg.meta, "FOVALIGN": "RADEC"}
    if bkg.has_offset_axis:
        new = copy.copy(bkg)
        new._fov_alignment, new.meta = FoVAlignment.RADEC, meta
        return new
    lon = bkg.axes["fov_lon"]
    from_points = (
        MapAxis.from_nodes if lon.node_type == "center" else MapAxis.from_edges
    )
    points = lon.center if lon.node_type == "center" else lon.edges
    mirrored = from_points(-points[::-1], name="fov_lon", interp=lon.interp)
    return Background3D(
        axes=[bkg.axes["energy"], mirrored, bkg.axes["fov_lat"]],
        data=np.ascontiguousarray(bkg.data[:, ::-1, :]),
        unit=bkg.unit,
        is_pointlike=bkg.is_pointlike,
        fov_alignment=FoVAlignment.RADEC,
        meta=meta,
        interp_kwargs=bkg.interp_kwargs,
    )


def rad_max_table(observation):
    """Energy-dependent directional cut of a point-like run.

    Parameters
    ----------
    observation : `~gammapy.data.Observation`
        Observation.

    Returns
    -------
    rad_max : `~gammapy.irf.RadMax2D` or None
        None for a run without one, or whose cut is the RAD_MAX keyword of its
        IRFs: gammapy makes a table from the keyword, but such a table cannot be
        read back from a file.
    """
    rad_max = observation._rad_max
    if rad_max is None or rad_max.is_fixed_rad_max:
        return None
    return rad_max


def fixed_rad_max(observation):
    """Directional cut of a point-like run that is one number.

    Parameters
    ----------
    observation : `~gammapy.data.Observation`
        Observation.

    Returns
    -------
    rad_max : float or None
        RAD_MAX in deg. None if the run holds no such number apart from the RAD_MAX
        keyword of its IRFs.
    """
    rad_max = observation._rad_max
    if rad_max is None or not rad_max.is_fixed_rad_max:
        return None
    return float(rad_max.quantity.to_value("deg").item())


def irf_specification(hdu_class):
    """How gammapy writes an IRF: ``extname`` and ``mandatory_keywords``.

    Parameters
    ----------
    hdu_class : str
        Class as in the HDU index, such as "psf_king".

    Returns
    -------
    specification : dict or None
        None for a class that GADF files cannot hold.
    """
    return IRF_DL3_HDU_SPECIFICATION.get(hdu_class)


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
    locations = [value for value in values if isinstance(value, HDULocation)]
    return {location.path(abs_path=True) for location in locations}


def open_run(path):
    """Open the run of one file, from which each part is read when it is needed.

    `gammapy.data.Observation.read` reads all of it at once, so that nobody knows
    any more where an IRF came from.

    Parameters
    ----------
    path : str or `~pathlib.Path`
        FITS file with EVENTS, GTI and perhaps IRFs, which are found by their
        HDUCLAS keywords, whatever the names of their HDUs are.

    Returns
    -------
    observation : `~gammapy.data.Observation`
        Run.

    Raises
    ------
    OSError
        If there is no such file, or it is no FITS file.
    ValueError
        If it has no EVENTS or no GTI HDU, or no OBS_ID.
    """
    path = make_path(path)
    found, obs_id = {}, None
    for hdu in fits_file(path):
        with naming(f"{path}: the header of {hdu.name or 'an HDU'}"):
            hdu_type, hdu_class = _type_and_class(hdu.name, hdu.header)
            if hdu_type == "events" and hdu_type not in found:
                obs_id = hdu.header.get("OBS_ID")
        if hdu_type is not None and hdu_type not in found:
            found[hdu_type] = _location(path, hdu.name, hdu_class)
    for part in ("events", "gti"):
        if part not in found:
            raise ValueError(f"{path} has no {part.upper()} HDU: it is no DL3 file")
    if not str(obs_id).strip().isdecimal():
        raise ValueError(f"{path}: OBS_ID = {obs_id!r} of EVENTS is not an integer")
    name = found["events"].hdu_name
    found["pointing"] = _location(path, name, "pointing")
    found["meta"] = _location(path, name, "observation_metadata")
    return Observation(obs_id=int(obs_id), **found)


class _FileLocation(HDULocation):
    """Place of an HDU whose file is read once for all its parts."""

    def load(self):
        """Read the part as gammapy does; ValueError, with its name, if broken."""
        path = self.path(abs_path=True)
        hdu = fits_file(path).hdu(self.hdu_name)
        with naming(f"{path}: {self.hdu_class} (HDU {self.hdu_name})"):
            return self._convert(hdu)

    def _convert(self, hdu):
        if self.hdu_class == "pointing":
            return FixedPointingInfo.from_fits_header(hdu.header)
        if self.hdu_class == "observation_metadata":
            return ObservationMetaData.from_header(hdu.header)
        table_hdu = hdu.table_hdu()
        if self.hdu_class == "events":
            return EventListReader.from_gadf_hdu(table_hdu)
        if self.hdu_class == "gti":
            return GTI.from_table_hdu(table_hdu)
        hdulist = fits.HDUList([fits.PrimaryHDU(), table_hdu])
        table_hdu.header.update(changed_keywords(self))
        irf = IRF_REGISTRY.get_cls(self.hdu_class)
        return irf.from_hdulist(hdulist, hdu=table_hdu.name)


def read_once(observation):
    """Make a run like this one that reads each file once for all its parts.

    Parameters
    ----------
    observation : `~gammapy.data.Observation`
        Observation, not changed.

    Returns
    -------
    new : `~gammapy.data.Observation`
        Copy, whose errors on broken files name file and part.
    """
    new = copy.copy(observation)
    for key, value in vars(observation).items():
        if type(value) is HDULocation:
            location = copy.copy(value)
            location.__class__ = _FileLocation
            vars(new)[key] = location
    return new


def _location(path, hdu_name, hdu_class):
    return _FileLocation(
        hdu_class=hdu_class,
        file_dir=str(path.parent.absolute()),
        file_name=path.name,
        hdu_name=hdu_name,
    )


def _type_and_class(name, header):
    """Gammapy's type and class of an HDU; None for one that it does not know."""
    for known in ("events", "gti"):
        if known in (str(header.get("HDUCLAS1", "")).lower(), name.lower()):
            return known, known
    if str(header.get("HDUCLAS1", "")).lower() != "response":
        return None, None
    try:
        return _get_hdu_type_and_class(header)
    except UnknownHDUClass:
        return None, None


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
    if "_events" in values or is_filtered:
        return None
    return values.get("__events_hdu")


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
    for name in _IRF_ATTRIBUTES:
        if name not in changes:
            arguments[name] = irf_or_location(observation, name)
    return Observation(**{**arguments, **changes})
