"""How large a circle has to be to hold a source, by the point-spread function."""

import numpy as np
from astropy import units as u

from gammapy_mimic.data import compat

__all__ = ["containment_deg", "low_energy_tev"]

CONTAINMENT = 0.95
LOW_ENERGY_QUANTILE = 0.1
"""Energy at which the point-spread function is looked at: below are so many events."""


def low_energy_tev(energy_tev):
    """Low energy of a run: a tenth of its events are below; NaN without events."""
    return np.quantile(energy_tev, LOW_ENERGY_QUANTILE) if len(energy_tev) else np.nan


def containment_deg(observation, energy_tev, offset_deg):
    """Radii that hold 95 % of the events of point-like sources.

    Parameters
    ----------
    observation : `~gammapy.data.Observation`
        Run; nothing is loaded into it.
    energy_tev : float
        Energy.
    offset_deg : `~numpy.ndarray`
        Distances of the sources from the pointing, shape (n,).

    Returns
    -------
    radius_deg : `~numpy.ndarray` or None
        Radii, shape (n,); NaN where the point-spread function says nothing. None if
        the run has none.
    """
    psf = compat.read_once(observation).psf
    if psf is None or not np.isfinite(energy_tev):
        return None
    edges_deg = psf.axes["offset"].edges.to_value("deg")
    radius = psf.containment_radius(
        CONTAINMENT,
        energy_true=energy_tev * u.TeV,
        # beyond its last bin it is as in the last one
        offset=np.clip(offset_deg, edges_deg[0], edges_deg[-1]) * u.deg,
    )
    radius_deg = np.broadcast_to(radius.to_value("deg"), np.shape(offset_deg))
    return np.where(radius_deg > 0, radius_deg, np.nan)
