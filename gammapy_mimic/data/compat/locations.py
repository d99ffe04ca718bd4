"""Places of the parts of a run, on disk or in memory, and runs of one file."""

import copy
from types import MappingProxyType

from astropy.table import Table
from gammapy.data import GTI, FixedPointingInfo, Observation, ObservationMetaData
from gammapy.data.io import EventListReader
from gammapy.irf import IRF_REGISTRY, FoVAlignment
from gammapy.irf.io import UnknownHDUClass, _get_hdu_type_and_class
from gammapy.utils.fits import HDULocation
from gammapy.utils.scripts import make_path

from gammapy_mimic.data.compat.response import mirrored_background, to_gadf_alignment
from gammapy_mimic.data.header import events_header
from gammapy_mimic.io.files import SourceHDU, error_context, fits_file

__all__ = ["FileLocation", "LazyLocation", "open_run", "other_hdus", "read_once"]


class FileLocation(HDULocation):
    """Place of an HDU whose file is read once for all its parts.

    Attributes
    ----------
    keywords : dict
        Cards that an IRF is to have other than in its file.
    is_mirrored : bool
        Whether a background model is to be mirrored in longitude.
    """

    keywords = MappingProxyType({})
    is_mirrored = False

    @classmethod
    def from_location(cls, location):
        """Make one of any location."""
        return location if isinstance(location, cls) else cls.like(location)

    @classmethod
    def like(cls, location, **changes):
        """Copy of any location, perhaps with other attributes."""
        new = cls.__new__(cls)
        vars(new).update(vars(location), **changes)
        return new

    def path(self, abs_path=True):
        """Path in its data store, not in the working directory if it is missing."""
        if "_path" not in vars(self):
            self._path = make_path(self.base_dir) / self.file_dir / self.file_name
        return self._path

    def load(self):
        """Read the part as gammapy does; ValueError, with its name, if broken."""
        path = self.path()
        try:
            hdu = self.source()
        except KeyError as error:
            # gammapy would take a KeyError for a part that the run does not have
            raise ValueError(error.args[0]) from error
        with error_context(f"{path}: {self.hdu_class} (HDU {self.hdu_name})"):
            return self._convert(hdu)

    def source(self):
        """HDU as it is in the file; KeyError if the file has none of this name."""
        return fits_file(self.path()).hdu(self.hdu_name)

    def hdu(self):
        """HDU as it is to be written.

        Returns
        -------
        hdu : `~gammapy_mimic.io.files.SourceHDU`
            HDU, without the ``keywords``. KeyError if the file has none of this name.
        """
        hdu = self.source()
        if not self.is_mirrored:
            return hdu
        # of a target that many donors mimic only once
        if "mirrored" not in vars(hdu):
            hdu.mirrored = mirrored_background(hdu)
        return hdu.mirrored

    def _convert(self, hdu):
        if self.hdu_class == "pointing":
            return FixedPointingInfo.from_fits_header(hdu.header)
        if self.hdu_class == "observation_metadata":
            return _metadata(hdu.header)
        if self.hdu_class == "events":
            return EventListReader.from_gadf_hdu(hdu.table_hdu())
        if self.hdu_class == "gti":
            return GTI.from_table_hdu(hdu.table_hdu())
        # a copy, of columns that are read already
        table = Table(list(hdu.columns.values()), meta=hdu.cards | self.keywords)
        irf = IRF_REGISTRY.get_cls(self.hdu_class).from_table(table)
        if self.is_mirrored:
            irf._fov_alignment = FoVAlignment.REVERSE_LON_RADEC
            irf = to_gadf_alignment(irf)
        return irf


def _metadata(header):
    """Metadata of a run; without location where gammapy would give none at all."""
    if "GEOLON" in header:
        return ObservationMetaData.from_header(header)
    somewhere = {"GEOLON": 0.0, "GEOLAT": 0.0, "ALTITUDE": 0.0}
    meta = ObservationMetaData.from_header({**header, **somewhere})
    return meta.model_copy(update={"location": None})


class LazyLocation(FileLocation):
    """Place of a part that is in memory, and converted for gammapy when asked for.

    Parameters
    ----------
    hdu_class : {"events", "gti", "pointing", "observation_metadata"}
        Which part.
    run : `~gammapy_mimic.data.run.Run`
        Run that has it.
    """

    def __init__(self, hdu_class, run):
        super().__init__(hdu_class, file_dir="", file_name="", hdu_name=hdu_class)
        self.run = run
        self.loaded = None

    def load(self):
        """Convert the part; the same object each time, so that it can be changed."""
        if self.loaded is None:
            header = events_header(self.run)
            if self.hdu_class == "gti":
                content = self.run.gti_content(header)
            else:
                content = self.run.events_content(header)
            self.loaded = self._convert(SourceHDU.from_content(content))
        return self.loaded


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
        If there is no such file, or it is not a FITS file.
    ValueError
        If it has no EVENTS or no GTI HDU, or no OBS_ID.
    """
    path = make_path(path)
    whole = path.absolute()
    file = FileLocation(None, file_dir=str(whole.parent), file_name=whole.name)
    file._path = whole
    parts, _, _ = _sorted_hdus(path)
    for part in ("events", "gti"):
        if part not in parts:
            raise ValueError(f"{path} has no {part.upper()} HDU: it is not a DL3 file")
    with error_context(f"{path}: the header of EVENTS"):
        obs_id = parts["events"][0].header.get("OBS_ID")
    if not str(obs_id).strip().isdecimal():
        raise ValueError(f"{path}: OBS_ID = {obs_id!r} of EVENTS is not an integer")
    found = {
        part: FileLocation.like(file, hdu_class=hdu_class, hdu_name=hdu.name)
        for part, (hdu, hdu_class) in parts.items()
    }
    for part, hdu_class in (("pointing",) * 2, ("meta", "observation_metadata")):
        found[part] = FileLocation.like(found["events"], hdu_class=hdu_class)
    return Observation(obs_id=int(obs_id), **found)


def read_once(observation):
    """Run like this one that reads each file once for all its parts.

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
            vars(new)[key] = FileLocation.like(value)
    return new


def other_hdus(path):
    """HDUs of a file that are not a part of the run which `open_run` gives.

    Parameters
    ----------
    path : str or `~pathlib.Path`
        FITS file.

    Returns
    -------
    hdus : list of `~gammapy_mimic.io.files.SourceHDU`
        HDUs, but for the following.
    left_out : list of str
        Names of those that hold for the field of the run only: POINTING, and further
        events and good time intervals.
    """
    _, others, of_field = _sorted_hdus(path)
    return others, [hdu.name for hdu in of_field]


def _sorted_hdus(path):
    """Parts of the run of a file, with their class; others; others of its field."""
    parts, others, of_field = {}, [], []
    for hdu in fits_file(make_path(path)):
        with error_context(f"{path}: the header of {hdu.name or 'an HDU'}"):
            part, hdu_class = _type_and_class(hdu.name, hdu.header)
        is_repeated = part in parts
        if part == "pointing" or (is_repeated and part in ("events", "gti")):
            of_field.append(hdu)
        elif part is None or is_repeated:
            others.append(hdu)
        else:
            parts[part] = hdu, hdu_class
    return parts, others, of_field


def _type_and_class(name, header):
    """Gammapy's type and class of an HDU; None for one that it does not know."""
    for known in ("events", "gti", "pointing"):
        if known in (str(header.get("HDUCLAS1", "")).lower(), name.lower()):
            return known, known
    if str(header.get("HDUCLAS1", "")).lower() != "response":
        return None, None
    try:
        return _get_hdu_type_and_class(header)
    except UnknownHDUClass:
        return None, None
