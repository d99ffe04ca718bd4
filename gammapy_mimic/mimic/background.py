"""Background models that are turned together with their events."""

import numpy as np
from astropy import units as u
from gammapy.irf import Background3D
from gammapy.maps import MapAxes, MapAxis

from gammapy_mimic.sky.geometry import rotate_fov

__all__ = ["turn_background"]

STEP_DEG = 2.0
"""Angles that differ by less than this are taken together.

3 deg from the pointing, half of it is 0.05 deg: less than the bins of any model.
"""


def turn_background(bkg, angle):
    """Background model turned about the pointing axis.

    The turned rate at a place is the old rate at the place turned back, interpolated
    as gammapy does. With several angles the mean of the turned models is returned:
    what a field that rotates through these angles sees.

    Parameters
    ----------
    bkg : `~gammapy.irf.Background3D`
        Background model, not changed.
    angle : `~astropy.coordinates.Angle`
        Angle or angles, shape (n,), from field-of-view longitude to latitude.

    Returns
    -------
    turned : `~gammapy.irf.Background3D`
        New model with the unit and alignment of the old one. Its spatial axes are
        extended where that is needed to hold the corners of the old model. Places
        that come from outside of the old model have rate 0.
    """
    axes = MapAxes([bkg.axes["energy"], *_axes_with_room(bkg)])
    lon, lat = (axes[name].center.to_value("deg") for name in ("fov_lon", "fov_lat"))
    lon, lat = np.meshgrid(lon, lat, indexing="ij")
    energy = axes["energy"].center[:, np.newaxis, np.newaxis]
    total = np.zeros(axes.shape)
    for angle_deg, weight in _groups(np.atleast_1d(u.Quantity(angle).to_value("deg"))):
        total += weight * _rate(bkg, energy, *rotate_fov(lon, lat, -angle_deg))
    return Background3D(
        axes=axes,
        data=total.astype(bkg.data.dtype),
        unit=bkg.unit,
        is_pointlike=bkg.is_pointlike,
        fov_alignment=bkg.fov_alignment,
        meta=dict(bkg.meta),
        interp_kwargs=bkg.interp_kwargs,
    )


def _rate(bkg, energy, lon_deg, lat_deg):
    """Rate as gammapy interpolates it, without its overflow outside of the model."""
    is_inside, place = True, {}
    for name, value in (("fov_lon", lon_deg), ("fov_lat", lat_deg)):
        edges = bkg.axes[name].edges.to_value("deg")
        is_inside = is_inside & (value >= edges[0]) & (value <= edges[-1])
        place[name] = np.clip(value, edges[0], edges[-1]) * u.deg
    rate = bkg.evaluate(energy=energy, **place).to_value(bkg.unit)
    return np.where(is_inside, rate, 0)


def _groups(angles_deg):
    """(mean angle, weight) of groups of angles that are close to each other."""
    mean = np.angle(np.mean(np.exp(1j * np.radians(angles_deg))), deg=True)
    spread = np.sort((angles_deg - mean + 180) % 360 - 180)
    index = np.floor((spread - spread[0]) / STEP_DEG)
    for group in np.unique(index):
        members = spread[index == group]
        yield mean + members.mean(), len(members) / len(spread)


def _axes_with_room(bkg):
    """Spatial axes that hold the model in any orientation."""
    axes = [bkg.axes[name] for name in ("fov_lon", "fov_lat")]
    used = np.nonzero(np.any(bkg.data > 0, axis=0))
    edges = [axis.edges.to_value("deg") for axis in axes]
    far = [
        np.maximum(np.abs(edge[index]), np.abs(edge[index + 1]))
        for edge, index in zip(edges, used, strict=True)
    ]
    reach = np.hypot(*far).max(initial=0)
    return [
        MapAxis.from_edges(_extended(edge, reach) * u.deg, name=axis.name)
        for axis, edge in zip(axes, edges, strict=True)
    ]


def _extended(edges, reach):
    """Edges with more bins, as wide as the outermost ones, up to +-reach."""
    low, high = edges[1] - edges[0], edges[-1] - edges[-2]
    # a little slack: edges in files are often float32
    n_low = max(0, int(np.ceil((edges[0] + reach) / low - 1e-3)))
    n_high = max(0, int(np.ceil((reach - edges[-1]) / high - 1e-3)))
    before = edges[0] - low * np.arange(n_low, 0, -1)
    after = edges[-1] + high * np.arange(1, n_high + 1)
    return np.concatenate([before, edges, after])
