"""Background models that are turned together with their events."""

import functools
import logging

import numpy as np
from astropy import units as u
from astropy.coordinates import Angle
from gammapy.data import Observation
from gammapy.irf import Background3D, FoVAlignment
from gammapy.maps import MapAxis
from scipy import sparse

from gammapy_mimic.data import compat
from gammapy_mimic.sky.geometry import rotate_fov

__all__ = ["state_alignment", "turn_background"]

log = logging.getLogger(__name__)

STEP_DEG = 2.0
"""Angles that differ by less than this are taken together.

3 deg from the pointing, half of it is 0.05 deg: less than the bins of any model.
"""

MAX_CHANGE = 0.01
"""A larger relative change of the rate in the whole field is warned of."""

MIN_SHARE = 0.01
"""Energy bins that hold less of all counts are not looked at for that."""

N_ANGLES = 4
"""From so many groups of angles on, one place in each bin is enough.

The places of one angle only, one a bin, see some old bins more and others less: by
10 % (rms) at 45 deg. Four places a bin make it 1 %, and so do several angles.
"""

PLACE_DIGITS = 5
"""Digits of a place in units of bins.

Bin edges in files are often float32. Without rounding, a turn by 90 deg would leave
1e-7 of the rate of its neighbour in an empty bin, which then no longer is empty.
"""


def state_alignment(
    observation: Observation, fov_alignment: str | None = None
) -> Observation:
    """Run whose background model says in which field of view it is given.

    Parameters
    ----------
    observation : `~gammapy.data.Observation`
        Run, not changed.
    fov_alignment : {"altaz", "radec"}, optional
        Alignment of a Background3D without FOVALIGN. Default is None: it is taken
        as aligned with RA/Dec, as gammapy does.

    Returns
    -------
    stated : `~gammapy.data.Observation`
        The same run, or a copy of one whose model has no FOVALIGN and gets it.
    """
    if fov_alignment is None or not compat.lacks_fov_alignment(observation):
        return observation
    alignment = FoVAlignment[fov_alignment.upper()]
    return compat.with_fov_alignment(observation, alignment)


def turn_background(
    bkg: Background3D, angle: Angle | u.Quantity, *, label: str = "background model"
) -> Background3D:
    """Background model turned about the pointing axis.

    The turned rate at a place is the old rate at the place turned back, interpolated
    linearly between the middles of four bins and in no way between energies. So the
    turned model is linear in the rates, bins far from any rate stay empty, and the
    sum within the field stays. (gammapy interpolates logarithmically: next to a bin
    without counts this loses half of the rate, or more.) With several angles the mean
    of the turned models is returned: what a field that rotates through these angles
    sees.

    Parameters
    ----------
    bkg : `~gammapy.irf.Background3D`
        Background model, not changed.
    angle : `~astropy.coordinates.Angle` or `~astropy.units.Quantity`
        Angle or angles, shape (n,), from field-of-view longitude to latitude.
    label : str, optional
        What a warning calls the model. Default is "background model".

    Returns
    -------
    turned : `~gammapy.irf.Background3D`
        New model with the unit and alignment of the old one. Its spatial axes are
        extended where that is needed to hold the corners of the old model.

    Notes
    -----
    Beyond the edges of the old model the rate is 0; a bin that lies partly beyond has
    its mean rate. Rates that are not finite are unknown: they count neither as a rate
    nor as 0, and a bin of which more than half comes from such bins is NaN.

    A warning is logged if the rate in the whole field changes by more than 1 % in an
    energy bin that holds at least 1 % of the counts.
    """
    edges = [bkg.axes[name].edges.to_value("deg") for name in ("fov_lon", "fov_lat")]
    axes = _axes_with_room(bkg, edges)
    rate = np.ascontiguousarray(bkg.data.reshape(len(bkg.data), -1).T, dtype=float)
    groups = list(_groups(np.atleast_1d(u.Quantity(angle).to_value("deg"))))
    shape = tuple(axis.nbin for axis in axes)
    data = _turned_rate(rate, edges, axes, groups).T.reshape(-1, *shape)
    turned = Background3D(
        axes=[bkg.axes["energy"], *axes],
        data=data.astype(np.result_type(bkg.data, "f4")),
        unit=bkg.unit,
        is_pointlike=bkg.is_pointlike,
        fov_alignment=bkg.fov_alignment,
        meta=dict(bkg.meta),
        interp_kwargs=bkg.interp_kwargs,
    )
    _warn_of_change(bkg, turned, label)
    return turned


def _turned_rate(rate, edges, axes, groups):
    """Rates in all bins of the new axes, shape (n_bins, n_energy)."""
    n_bins = axes[0].nbin * axes[1].nbin
    known = np.isfinite(rate)
    has_unknown = not known.all()
    if has_unknown:
        rate = np.where(known, rate, 0)
    total, seen, inside = np.zeros((n_bins, rate.shape[1])), 0.0, 0.0
    for angle_deg, weight in groups:
        shift = 0.25 * abs(np.sin(np.radians(2 * angle_deg)))
        shifts = (-shift, shift) if len(groups) < N_ANGLES and shift > 0 else (0.0,)
        matrix = weight * _weights(edges, axes, angle_deg, shifts)
        total += matrix @ rate
        if has_unknown:
            seen = seen + matrix @ known
            inside = inside + matrix.sum(axis=1)[:, np.newaxis]
    if has_unknown:
        is_known = (seen > 0.5 * inside) | (inside == 0)
        factor = np.divide(inside, seen, out=np.ones_like(seen), where=seen > 0)
        total = np.where(is_known, total * factor, np.nan)
    return total


def _weights(edges, axes, angle_deg, shifts):
    """Weight of each old bin in each new one: bilinear, 0 beyond the old model.

    The mean over places in the new bin, at these shifts from its middle along each
    axis, in units of its width.
    """
    lon_deg, lat_deg = rotate_fov(*_places(axes, shifts), -angle_deg)
    (i, u_lon, in_lon), (j, u_lat, in_lat) = (
        _place(value, edge)
        for value, edge in zip((lon_deg, lat_deg), edges, strict=True)
    )
    n_lon, n_lat = (len(edge) - 1 for edge in edges)
    # the neighbours of the last bin have no weight
    right, above = np.minimum(i + 1, n_lon - 1), np.minimum(j + 1, n_lat - 1)
    index = [i * n_lat + j, i * n_lat + above, right * n_lat + j, right * n_lat + above]
    weight = [(1 - u_lon) * (1 - u_lat), (1 - u_lon) * u_lat]
    weight += [u_lon * (1 - u_lat), u_lon * u_lat]
    values = np.stack(weight, axis=-1) * (in_lon * in_lat)[..., np.newaxis]
    n_bins, n_places = lon_deg.shape
    starts = 4 * n_places * np.arange(n_bins + 1)
    columns = np.stack(index, axis=-1).ravel()
    shape = (n_bins, n_lon * n_lat)
    return sparse.csr_array((values.ravel() / n_places, columns, starts), shape)


def _place(value, edges):
    """Bin below, part of the way to the next one, and how much is within the edges."""
    centers = (edges[1:] + edges[:-1]) / 2
    # beyond the middle of the last bin its rate holds, up to its edge
    place = np.interp(value, centers, np.arange(len(centers)))
    place = np.round(place, PLACE_DIGITS)
    below = place.astype(int)
    low = (value - edges[0]) / (edges[1] - edges[0]) + 0.5
    high = (edges[-1] - value) / (edges[-1] - edges[-2]) + 0.5
    within = np.clip(low, 0, 1) * np.clip(high, 0, 1)
    return below, place - below, np.round(within, PLACE_DIGITS)


def _places(axes, shifts):
    """Longitude and latitude of places in all bins, shape (n_bins, n_places)."""
    lon, lat = (
        axis.center.to_value("deg")[:, np.newaxis]
        + axis.bin_width.to_value("deg")[:, np.newaxis] * shifts
        for axis in axes
    )
    shape = (len(lon), len(lat), len(shifts), len(shifts))
    lon = np.broadcast_to(lon[:, np.newaxis, :, np.newaxis], shape)
    lat = np.broadcast_to(lat[np.newaxis, :, np.newaxis, :], shape)
    n_bins = shape[0] * shape[1]
    return lon.reshape(n_bins, -1), lat.reshape(n_bins, -1)


def _warn_of_change(old, new, label):
    """Warn of energy bins in which the rate in the whole field is another one."""
    before, after = (_rate_in_field(bkg) for bkg in (old, new))
    counts = before * old.axes["energy"].bin_width.to_value("TeV")
    matters = counts > MIN_SHARE * max(counts.sum(), 0)
    change = np.abs(np.divide(after, before, where=matters, out=np.ones_like(after)))
    change -= 1
    worst = np.argmax(np.abs(change))
    if abs(change[worst]) > MAX_CHANGE:
        low, high = old.axes["energy"].edges.to_value("TeV")[worst : worst + 2]
        log.warning(
            "%s: turned with its events, its rate in the whole field changes by "
            "%+.1f %% from %.3g to %.3g TeV; give it smaller bins in the field of view",
            label,
            100 * change[worst],
            low,
            high,
        )


def _rate_in_field(bkg):
    """Rate times solid angle, summed over the field, for each energy."""
    lon, lat = (bkg.axes[name] for name in ("fov_lon", "fov_lat"))
    height = np.diff(np.sin(lat.edges.to_value("rad")))
    solid_angle = lon.bin_width.to_value("rad")[:, np.newaxis] * height
    data = bkg.data.reshape(len(bkg.data), -1).astype(float)
    return np.where(np.isfinite(data), data, 0) @ solid_angle.ravel()


def _groups(angles_deg):
    """(mean angle, weight) of groups of angles that are close to each other."""
    mean = np.angle(np.mean(np.exp(1j * np.radians(angles_deg))), deg=True)
    spread = np.sort((angles_deg - mean + 180) % 360 - 180)
    index = np.floor((spread - spread[0]) / STEP_DEG)
    for group in np.unique(index):
        members = spread[index == group]
        yield mean + members.mean(), len(members) / len(spread)


def _axes_with_room(bkg, edges):
    """Spatial axes that hold the model in any orientation."""
    used = np.nonzero(np.any(bkg.data != 0, axis=0))
    far = [
        np.maximum(np.abs(edge[index]), np.abs(edge[index + 1]))
        for edge, index in zip(edges, used, strict=True)
    ]
    reach = np.hypot(*far).max(initial=0)
    return [
        _axis(name, tuple(_extended(edge, reach)))
        for name, edge in zip(("fov_lon", "fov_lat"), edges, strict=True)
    ]


@functools.lru_cache(maxsize=16)
def _axis(name, edges_deg):
    """Axis with these edges; donors of one telescope mostly share them."""
    return MapAxis.from_edges(edges_deg * u.deg, name=name)


def _extended(edges, reach):
    """Edges with more bins, as wide as the outermost ones, up to +-reach."""
    low, high = edges[1] - edges[0], edges[-1] - edges[-2]
    # a little slack: edges in files are often float32
    n_low = max(0, int(np.ceil((edges[0] + reach) / low - 1e-3)))
    n_high = max(0, int(np.ceil((reach - edges[-1]) / high - 1e-3)))
    before = edges[0] - low * np.arange(n_low, 0, -1)
    after = edges[-1] + high * np.arange(1, n_high + 1)
    return np.concatenate([before, edges, after])
