"""Response functions of the synthetic observatory."""

from collections.abc import Callable
from typing import Any

import numpy as np
from astropy import units as u
from gammapy.irf import (
    PSF3D,
    Background2D,
    Background3D,
    EffectiveAreaTable2D,
    EnergyDispersion2D,
    FoVAlignment,
)
from gammapy.maps import MapAxis

from gammapy_mimic.simulation.background import SyntheticBackground
from gammapy_mimic.sky.geometry import rotate_fov

__all__ = [
    "BACKGROUND_IRFS",
    "ENERGY_RESOLUTION",
    "PSF_WIDTH",
    "TELESCOPE",
    "background_irf",
    "effective_area",
    "energy_dispersion",
    "energy_threshold",
    "point_spread",
]

#: Name of the synthetic instrument in all headers.
TELESCOPE = "SYNTH"

#: Standard deviation of reconstructed over true energy.
ENERGY_RESOLUTION = 0.15

#: Standard deviation of the point spread in each direction.
PSF_WIDTH = 0.06 * u.deg

#: What a run may have as its background model.
BACKGROUND_IRFS = ("bkg_3d_altaz", "bkg_3d_radec", "bkg_2d", None)

THRESHOLD_POWER = 2.5
AREA_POWER = -2
AREA_WIDTH_DEG = 1.8
BACKGROUND_PITCH_DEG = 0.15
BACKGROUND_BINS_PER_DECADE = 16


def _true_energy_axis():
    return MapAxis.from_energy_bounds(
        "0.05 TeV", "120 TeV", nbin=10, per_decade=True, name="energy_true"
    )


def energy_threshold(zenith: u.Quantity) -> u.Quantity:
    """Energy below which the run should not be used; rises with zenith angle.

    Parameters
    ----------
    zenith : `~astropy.units.Quantity`
        Zenith angle.

    Returns
    -------
    threshold : `~astropy.units.Quantity`
        Energy in TeV.
    """
    return 0.3 * u.TeV * np.cos(zenith).to_value("") ** -THRESHOLD_POWER


def effective_area(zenith: u.Quantity) -> EffectiveAreaTable2D:
    """Effective area, from gammapy's parametrisation for H.E.S.S.

    The energy scales with ``cos(zenith) ** -2.5``, the same as for the background, and
    the area with ``cos(zenith) ** -2``, as the pool of Cherenkov light does. With
    offset the area falls off as a Gaussian of 1.8 deg.

    Parameters
    ----------
    zenith : `~astropy.units.Quantity`
        Mean zenith angle of the run.

    Returns
    -------
    aeff : `~gammapy.irf.EffectiveAreaTable2D`
        Effective area, with LO_THRES and HI_THRES.
    """
    energy = _true_energy_axis()
    offset = MapAxis.from_nodes(np.linspace(0, 3.5, 8), unit="deg", name="offset")
    cos_zenith = np.cos(zenith).to_value("")
    scale = cos_zenith**THRESHOLD_POWER
    scaled = MapAxis.from_energy_edges(energy.edges * scale, name="energy_true")
    on_axis = EffectiveAreaTable2D.from_parametrization(scaled, "HESS").quantity
    on_axis = on_axis * cos_zenith**AREA_POWER
    fall = np.exp(-(offset.center.to_value("deg") ** 2) / (2 * AREA_WIDTH_DEG**2))
    meta = {
        "TELESCOP": TELESCOPE,
        "INSTRUME": TELESCOPE,
        "LO_THRES": float(energy_threshold(zenith).to_value("TeV")),
        "HI_THRES": 100.0,
    }
    return EffectiveAreaTable2D(
        axes=[energy, offset],
        data=(on_axis[:, :1] * fall).to_value("m2"),
        unit="m2",
        meta=meta,
    )


def energy_dispersion() -> EnergyDispersion2D:
    """Energy dispersion: a Gaussian of 15 per cent without bias.

    Returns
    -------
    edisp : `~gammapy.irf.EnergyDispersion2D`
        Energy dispersion.
    """
    migra = MapAxis.from_bounds(0.2, 1.8, nbin=80, node_type="edges", name="migra")
    edisp = EnergyDispersion2D.from_gauss(
        energy_axis_true=_true_energy_axis(),
        migra_axis=migra,
        offset_axis=MapAxis.from_nodes([0, 3.5], unit="deg", name="offset"),
        bias=0,
        sigma=ENERGY_RESOLUTION,
    )
    edisp.meta = {"TELESCOP": TELESCOPE, "INSTRUME": TELESCOPE}
    return edisp


def point_spread() -> PSF3D:
    """Point spread function: a Gaussian of 0.06 deg.

    Returns
    -------
    psf : `~gammapy.irf.PSF3D`
        Point spread function.
    """
    energy = MapAxis.from_energy_bounds(
        "0.05 TeV", "120 TeV", nbin=4, per_decade=True, name="energy_true"
    )
    offset = MapAxis.from_nodes([0, 3.5], unit="deg", name="offset")
    rad = MapAxis.from_bounds(0, 0.45, nbin=90, unit="deg", name="rad")
    ratio = (rad.center / PSF_WIDTH).to_value("")
    profile = np.exp(-(ratio**2) / 2) / (2 * np.pi * PSF_WIDTH**2)
    data = np.broadcast_to(profile.to_value("sr-1"), (energy.nbin, offset.nbin, 90))
    meta = {"TELESCOP": TELESCOPE, "INSTRUME": TELESCOPE}
    return PSF3D(axes=[energy, offset, rad], data=data.copy(), unit="sr-1", meta=meta)


def background_irf(
    background: SyntheticBackground,
    kind: str,
    zenith: u.Quantity,
    weight: np.ndarray,
    angle: u.Quantity,
    bias: Callable[[u.Quantity], Any],
) -> Background2D | Background3D:
    """Background model of a run: the mean of the true rate over its time.

    Parameters
    ----------
    background : `~gammapy_mimic.simulation.SyntheticBackground`
        The truth.
    kind : str
        One of `BACKGROUND_IRFS`.
    zenith : `~astropy.units.Quantity`
        Zenith angles during the run, shape (n,).
    weight : array-like
        Their weights, with sum 1, shape (n,).
    angle : `~astropy.units.Quantity`
        Angles from the field-of-view latitude aligned with altitude to the one aligned
        with declination, shape (n,).
    bias : callable
        Relative error for energies: the model is the truth over 1 + bias.

    Returns
    -------
    bkg : `~gammapy.irf.Background3D` or `~gammapy.irf.Background2D`
        Background model, float32.
    """
    energy, lon, lat = _background_axes()
    if kind == "bkg_2d":
        return _background_2d(background, energy, zenith, weight, bias)
    place = np.meshgrid(
        lon.center.to_value("deg"), lat.center.to_value("deg"), indexing="ij"
    )
    if kind == "bkg_3d_altaz":
        places, alignment = [place] * len(zenith), FoVAlignment.ALTAZ
    else:
        # azimuth runs the other way round than right ascension
        mirrored = -place[0], place[1]
        turned = [rotate_fov(*mirrored, each) for each in angle.to_value("deg")]
        places, alignment = turned, FoVAlignment.RADEC
    axes = [energy, lon, lat]
    data = sum(
        part * _rate(background, energy, lon_deg, lat_deg, each)
        for part, (lon_deg, lat_deg), each in zip(weight, places, zenith, strict=True)
    )
    return _as_irf(Background3D, axes, data, bias, alignment)


def _background_axes():
    low, high = 0.1 * u.TeV, 100 * u.TeV
    energy = MapAxis.from_energy_bounds(
        low, high, nbin=BACKGROUND_BINS_PER_DECADE, per_decade=True, name="energy"
    )
    edges = np.arange(-22, 23) * BACKGROUND_PITCH_DEG
    lon = MapAxis.from_edges(edges, unit="deg", name="fov_lon")
    return energy, lon, MapAxis.from_edges(edges, unit="deg", name="fov_lat")


def _rate(background, energy, lon_deg, lat_deg, zenith):
    """Evaluate the true rate at the nodes of the model.

    Nodes just outside of the field get the rate as well, so that interpolation is
    right up to the edge.
    """
    return background.rate_at(
        energy.center[:, np.newaxis, np.newaxis],
        lon_deg * u.deg,
        lat_deg * u.deg,
        zenith,
        margin=1.5 * BACKGROUND_PITCH_DEG * u.deg,
    )


def _background_2d(background, energy, zenith, weight, bias):
    """Background model by offset: the mean over all directions."""
    pitch = BACKGROUND_PITCH_DEG
    offset = MapAxis.from_edges(np.arange(23) * pitch, unit="deg", name="offset")
    azimuth = np.radians(np.arange(0, 360, 7.5))
    radius = offset.center.to_value("deg")[:, np.newaxis]
    lat = np.degrees(np.arcsin(np.sin(np.radians(radius)) * np.cos(azimuth)))
    lon = np.degrees(
        np.arctan2(
            np.sin(np.radians(radius)) * np.sin(azimuth), np.cos(np.radians(radius))
        )
    )
    data = sum(
        part * _rate(background, energy, lon, lat, each).mean(axis=2)
        for part, each in zip(weight, zenith, strict=True)
    )
    return _as_irf(Background2D, [energy, offset], data, bias, FoVAlignment.ALTAZ)


def _as_irf(cls, axes, data, bias, alignment):
    wrong = 1 + np.broadcast_to(bias(axes[0].center), axes[0].nbin)
    data = data / wrong.reshape((-1,) + (1,) * (data.ndim - 1))
    return cls(
        axes=axes,
        data=data.value.astype("float32"),
        unit=data.unit,
        fov_alignment=alignment,
        meta={
            "TELESCOP": TELESCOPE,
            "INSTRUME": TELESCOPE,
            "FOVALIGN": alignment.value,
        },
    )
