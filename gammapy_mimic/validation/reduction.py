"""Data sets of runs, reduced by gammapy."""

from astropy import units as u
from gammapy.datasets import MapDataset
from gammapy.makers import FoVBackgroundMaker, MapDatasetMaker, SafeMaskMaker
from gammapy.maps import Map, MapAxis, WcsGeom

from gammapy_mimic.data.compat import read_once

__all__ = ["ENERGY_EDGES", "exclusion_mask", "reduce_run", "reduce_runs"]

ENERGY_EDGES = [0.5, 0.8, 1.3, 2.1, 3.4, 20] * u.TeV
OFFSET_MAX = 2 * u.deg

OVERSAMPLING = 5
"""Parts of an energy bin in which the background model is integrated.

gammapy takes a power law from edge to edge, which for bins as wide as half a decade
is wrong by several per cent.
"""


def reduce_run(observation, geom, *, offset_max=OFFSET_MAX):
    """Make counts and predicted background of one run.

    Parameters
    ----------
    observation : `~gammapy.data.Observation`
        Run with a background model.
    geom : `~gammapy.maps.WcsGeom`
        Geometry with an energy axis.
    offset_max : `~astropy.coordinates.Angle`, optional
        Largest offset. Default is 2 deg.

    Returns
    -------
    dataset : `~gammapy.datasets.MapDataset`
        Counts, background, and the safe mask: within the offset and above the energy
        threshold of the run.

    Raises
    ------
    ValueError
        If the run has no background model.
    """
    # errors name the file
    observation = read_once(observation)
    if observation.bkg is None:
        raise ValueError(
            f"Run {observation.obs_id} has no background model, with which counts "
            "could be compared"
        )
    axis = geom.axes["energy"]
    axis_true = MapAxis.from_energy_edges(axis.edges, name="energy_true")
    empty = MapDataset.create(
        geom, energy_axis_true=axis_true, name=f"{observation.obs_id}"
    )
    maker = MapDatasetMaker(
        selection=["counts", "background"], background_oversampling=OVERSAMPLING
    )
    safe = SafeMaskMaker(["offset-max", "aeff-default"], offset_max=offset_max)
    return safe.run(maker.run(empty, observation), observation)


def reduce_runs(
    observations,
    position,
    *,
    energy_edges=ENERGY_EDGES,
    width=5 * u.deg,
    binsz=0.05 * u.deg,
    offset_max=OFFSET_MAX,
    exclusion=None,
):
    """Stack counts and predicted background of runs around a position.

    Parameters
    ----------
    observations : `~gammapy.data.Observations`
        Runs with background models, such as a mimic set.
    position : `~astropy.coordinates.SkyCoord`
        Centre of the map.
    energy_edges : `~astropy.units.Quantity`, optional
        Edges of the energy bins. Default is 0.5, 0.8, 1.3, 2.1, 3.4, 20 TeV.
    width, binsz : `~astropy.coordinates.Angle`, optional
        Width of the map and of a pixel. Default is 5 deg and 0.05 deg.
    offset_max : `~astropy.coordinates.Angle`, optional
        Largest offset from the pointing of a run. Default is 2 deg.
    exclusion : list of `~regions.SkyRegion` or `~gammapy.maps.Map`, optional
        Exclusion regions, or a mask that is True outside of them. Default is None.

    Returns
    -------
    dataset : `~gammapy.datasets.MapDataset`
        Data set with ``counts``, ``background`` and ``mask_safe``. The background of
        each run is scaled to its counts outside of the exclusion regions.
    """
    geom = WcsGeom.create(
        skydir=position.icrs,
        width=width,
        binsz=binsz,
        axes=[MapAxis.from_energy_edges(energy_edges)],
        proj="TAN",
    )
    axis_true = MapAxis.from_energy_edges(energy_edges, name="energy_true")
    stacked = MapDataset.create(geom, energy_axis_true=axis_true, name="stacked")
    fov = FoVBackgroundMaker(
        method="scale", exclusion_mask=exclusion_mask(geom, exclusion)
    )
    for observation in observations:
        dataset = reduce_run(observation, geom, offset_max=offset_max)
        stacked.stack(fov.run(dataset))
    return stacked


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
