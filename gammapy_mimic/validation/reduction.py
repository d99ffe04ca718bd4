"""Data sets of runs, reduced by gammapy."""

import copy
from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import Table, vstack
from gammapy.data import Observation
from gammapy.datasets import MapDataset
from gammapy.irf import Background2D, Background3D
from gammapy.makers import FoVBackgroundMaker, MapDatasetMaker, SafeMaskMaker
from gammapy.maps import Map, MapAxis, WcsGeom
from gammapy.utils.interpolation import interpolation_scale

from gammapy_mimic.data.compat import read_once
from gammapy_mimic.io.arguments import check_edges
from gammapy_mimic.sources.places import position_of

__all__ = [
    "ENERGY_EDGES",
    "exclusion_mask",
    "in_memory",
    "reduce_run",
    "reduce_runs",
    "stack_run",
]

ENERGY_EDGES = [0.5, 0.8, 1.3, 2.1, 3.4, 20] * u.TeV
OFFSET_MAX = 2 * u.deg
WIDTH, PIXEL = 5 * u.deg, 0.05 * u.deg

FINEST = 0.08
"""Width in decades, at most, of the parts of an energy bin in which a run is reduced.

gammapy takes the background model as one power law from edge to edge, which for bins
as wide as half a decade is wrong by several per cent (in such parts by 0.2 %), and an
energy threshold within a bin would cost all of it.
"""


def reduce_run(observation, geom, *, offset_max=OFFSET_MAX, background=True):
    """Make counts and predicted background of one run.

    Parameters
    ----------
    observation : `~gammapy.data.Observation`
        Run with a background model.
    geom : `~gammapy.maps.WcsGeom`
        Geometry with an energy axis.
    offset_max : `~astropy.coordinates.Angle`, optional
        Largest offset. Default is 2 deg.
    background : bool, optional
        Predict the background. Default is True; False for runs without a model.

    Returns
    -------
    dataset : `~gammapy.datasets.MapDataset`
        Counts and background, within the offset and above the energy threshold of the
        run: of an energy bin in which that lies the part above it. The safe mask is
        True where a bin has any such part. ``meta_table`` has the columns OBS_ID and
        DONOR_OBS_ID (that of a run that is not a mimic is its own).

    Raises
    ------
    ValueError
        If the run has no background model.
    """
    observation = in_memory(observation)
    if background and observation.bkg is None:
        raise ValueError(
            f"Run {observation.obs_id} has no background model, with which counts "
            "could be compared; on_off and local_systematic(method='reflected') "
            "need none"
        )
    fine = geom.to_image().to_cube([_fine_axis(geom.axes["energy"])])
    empty = MapDataset(counts=Map.from_geom(fine), name=f"{observation.obs_id}")
    selection = ["counts", "background"] if background else ["counts"]
    # in_memory has done that
    maker = MapDatasetMaker(selection, background_interp_missing_data=False)
    safe = SafeMaskMaker(["offset-max", "aeff-default"], offset_max=offset_max)
    found = safe.run(maker.run(empty, observation), observation)
    dataset = found.resample_energy_axis(geom.axes["energy"], name=found.name)
    dataset.meta_table = Table(
        {"OBS_ID": [observation.obs_id], "DONOR_OBS_ID": [donor_of(observation)]}
    )
    return dataset


def in_memory(observation):
    """Run whose events and IRFs are read once: gammapy reads them at each access.

    Parameters
    ----------
    observation : `~gammapy.data.Observation`
        Run, not changed.

    Returns
    -------
    held : `~gammapy.data.Observation`
        The same run. Gaps of its background model in energy are filled, see
        `fill_gaps`.
    """
    # errors name the file
    held = copy.copy(read_once(observation))
    held.events, held.aeff = held.events, held.aeff
    held.bkg = fill_gaps(held.bkg)
    return held


def fill_gaps(bkg):
    """Background model with a rate where there is one at lower and higher energies.

    This is the interpolation of `~gammapy.irf.IRF.interp_missing_data`, of all bins
    at once: one after the other they take most of the time of a prediction.

    Parameters
    ----------
    bkg : `~gammapy.irf.Background2D`, `~gammapy.irf.Background3D` or other
        Model, not changed.

    Returns
    -------
    filled : same as ``bkg``
        Model; itself if it is none of these two, or has no gaps.
    """
    if not isinstance(bkg, Background2D | Background3D):
        return bkg
    axis = bkg.axes.index("energy")
    data = np.moveaxis(bkg.data.copy(), axis, 0)
    known, number = np.isfinite(data) & (data != 0), len(data)
    index = np.arange(number).reshape(number, *[1] * (data.ndim - 1))
    below = np.maximum.accumulate(np.where(known, index, -1))
    above = np.minimum.accumulate(np.where(known, index, number)[::-1])[::-1]
    place = np.nonzero(~known & (below >= 0) & (above < number))
    if not len(place[0]):
        return bkg
    scale = interpolation_scale(bkg.interp_kwargs.get("values_scale", "lin"))
    low, high = below[place], above[place]
    first, last = (scale(data[it, *place[1:]]).astype(float) for it in (low, high))
    data[place] = scale.inverse(
        (last - first) / (high - low) * (place[0] - low) + first
    )
    filled = copy.copy(bkg)
    filled.data = np.moveaxis(data, 0, axis)
    return filled


def _fine_axis(axis):
    """Split the bins of an energy axis into parts that are narrow enough."""
    edges = np.log10(axis.edges.value)
    parts = [
        np.linspace(low, high, int(np.ceil((high - low) / FINEST)), endpoint=False)
        for low, high in pairwise(edges)
    ]
    edges = 10 ** np.concatenate([*parts, edges[-1:]])
    return MapAxis.from_energy_edges(edges, unit=axis.unit, name=axis.name)


def donor_of(observation):
    """OBS_ID of the donor of a mimic; of another run its own."""
    return observation.events.table.meta.get("MIM_DON", observation.obs_id)


def map_geometry(position, energy_edges=ENERGY_EDGES, width=WIDTH, binsz=PIXEL):
    """Geometry with a position in the middle of a pixel."""
    half = int(np.ceil((width / binsz).to_value("") / 2 - 0.5))
    return WcsGeom.create(
        skydir=position.icrs,
        npix=2 * half + 1,
        binsz=binsz,
        axes=[MapAxis.from_energy_edges(energy_edges)],
        proj="TAN",
    )


def reduce_runs(
    observations: Iterable[Observation],
    position: SkyCoord | str,
    *,
    energy_edges: u.Quantity = ENERGY_EDGES,
    width: u.Quantity = WIDTH,
    binsz: u.Quantity = PIXEL,
    offset_max: u.Quantity = OFFSET_MAX,
    exclusion: Sequence | Map | None = None,
) -> MapDataset:
    """Stack counts and predicted background of runs around a position.

    Parameters
    ----------
    observations : iterable of `~gammapy.data.Observation`
        Runs with background models, such as a mimic set. One at a time is held.
    position : `~astropy.coordinates.SkyCoord` or str
        Centre of the map, in the middle of a pixel, or the name of a source there.
    energy_edges : `~astropy.units.Quantity`, optional
        Edges of the energy bins. Default is 0.5, 0.8, 1.3, 2.1, 3.4, 20 TeV.
    width, binsz : `~astropy.coordinates.Angle`, optional
        Width of the map, at least, and of a pixel. Default is 5 deg and 0.05 deg.
    offset_max : `~astropy.coordinates.Angle`, optional
        Largest offset from the pointing of a run. Default is 2 deg.
    exclusion : list of `~regions.SkyRegion` or `~gammapy.maps.Map`, optional
        Exclusion regions, or a mask that is True outside of them. Default is None.

    Returns
    -------
    dataset : `~gammapy.datasets.MapDataset`
        Data set with ``counts``, ``background`` and ``mask_safe``. The background of
        each run is scaled to its counts outside of the exclusion regions.
        ``meta_table`` has a row for each run, with OBS_ID and DONOR_OBS_ID.

    Raises
    ------
    ValueError
        If a run has no background model, or the edges do not increase.
    TypeError
        If the position is neither a `~astropy.coordinates.SkyCoord` nor a name, or the
        edges have no unit of energy.
    """
    energy_edges = check_edges("energy_edges", energy_edges, "TeV")
    geom = map_geometry(position_of(position), energy_edges, width, binsz)
    stacked, mask = empty_stack(geom), exclusion_mask(geom, exclusion)
    for observation in observations:
        stack_run(stacked, reduce_run(observation, geom, offset_max=offset_max), mask)
    return stacked


def empty_stack(geom):
    """Make a data set to which runs can be added by `stack_run`."""
    maps = {name: Map.from_geom(geom) for name in ("counts", "background")}
    mask = Map.from_geom(geom, data=False, dtype=bool)
    return MapDataset(**maps, mask_safe=mask, name="stacked")


def stack_run(stacked, dataset, mask):
    """Add a run to a data set in place, with its background scaled to its counts.

    Parameters
    ----------
    stacked : `~gammapy.datasets.MapDataset`
        From `empty_stack`.
    dataset : `~gammapy.datasets.MapDataset`
        From `reduce_run`, in the same geometry.
    mask : `~gammapy.maps.Map`
        From `exclusion_mask`: counts outside of the regions give the scale.
    """
    rows = [stacked.meta_table, dataset.meta_table]
    fov = FoVBackgroundMaker(method="scale", exclusion_mask=mask)
    scaled = fov.run(dataset.copy(name=dataset.name))
    # gammapy would make one row of all runs
    scaled.meta_table = None
    stacked.stack(scaled)
    stacked.meta_table = vstack([it for it in rows if it is not None])


def exclusion_mask(geom, exclusion):
    """Map that is True outside of exclusion regions.

    Parameters
    ----------
    geom : `~gammapy.maps.WcsGeom`
        Geometry.
    exclusion : list of `~regions.SkyRegion`, `~gammapy.maps.Map` or None
        Regions with a centre to leave out, or a map that is True outside of them.

    Returns
    -------
    mask : `~gammapy.maps.Map`
        Mask of the image plane.
    """
    image = geom.to_image()
    if isinstance(exclusion, Map):
        mask = exclusion.interp_to_geom(image, method="nearest")
        return Map.from_geom(image, data=mask.data.astype(bool))
    # a plane projection knows nothing of what lies behind
    center, reach = geom.center_skydir, 60 * u.deg
    near = [it for it in exclusion or () if center.separation(it.center) < reach]
    if not near:
        return Map.from_geom(image, data=True, dtype=bool)
    return image.region_mask(near, inside=False)
