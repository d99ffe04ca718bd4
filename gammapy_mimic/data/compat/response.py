"""Instrument response functions of a run, and how gammapy takes them."""

import copy

import numpy as np
from gammapy.irf import Background3D, FoVAlignment
from gammapy.irf.io import IRF_DL3_HDU_SPECIFICATION
from gammapy.maps import MapAxis

from gammapy_mimic.io.files import SourceHDU
from gammapy_mimic.io.header import BLOCK, changed_header

__all__ = [
    "fixed_rad_max",
    "irf_specification",
    "is_mirrored_by_gammapy",
    "mirrored_background",
    "rad_max_table",
    "to_gadf_alignment",
]


def is_mirrored_by_gammapy(header):
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


def mirrored_background(hdu):
    """Background model in a file, mirrored in longitude.

    What `to_gadf_alignment` makes of a model that was read, in a tenth of the time.

    Parameters
    ----------
    hdu : `~gammapy_mimic.io.files.SourceHDU`
        Three-dimensional model aligned with ``REVERSE_LON_RADEC``.

    Returns
    -------
    mirrored : `~gammapy_mimic.io.files.SourceHDU`
        Model aligned with ``RADEC``.
    """
    table = hdu.table_hdu()
    (name,) = {"BKG", "BGD"} & set(table.columns.names)
    # energies come first or last, longitudes are always in the middle
    cube = table.data[name][0]
    cube[:] = cube[:, ::-1].copy()
    low, high = (table.data[f"DETX_{end}"][0] for end in ("LO", "HI"))
    low[:], high[:] = -high[::-1], -low[::-1]
    data = table.data.tobytes()
    padding = bytes(-len(data) % BLOCK)
    header = changed_header(hdu.header, {"FOVALIGN": "RADEC"})
    return SourceHDU.from_content((header, data + padding))


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
    rad_max = _rad_max(observation)
    return None if rad_max is None or rad_max.is_fixed_rad_max else rad_max


def _rad_max(observation):
    """Directional cut that a run holds apart from its IRFs."""
    # the public attribute makes one of the IRFs, too, which is one number then
    return getattr(
        observation, "_rad_max" if hasattr(observation, "_rad_max") else "rad_max"
    )


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
    rad_max = _rad_max(observation)
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
