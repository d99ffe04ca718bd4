"""Which known sources a run is searched for, and how large their circles are."""

import functools

import numpy as np

from gammapy_mimic.data import read_run
from gammapy_mimic.scramble.psf import containment_deg, low_energy_tev
from gammapy_mimic.sky.geometry import offset_azimuth
from gammapy_mimic.sources.checksums import source_checksums
from gammapy_mimic.sources.circles import circle_region
from gammapy_mimic.sources.known import (
    available_catalogs,
    known_sources,
    parse_sources,
    resolve_sources,
)

__all__ = ["CatalogFinder", "SourceFinder"]

PSF = "psf"


class SourceFinder:
    """Give the same sources for each run.

    Parameters
    ----------
    sources
        See `~gammapy_mimic.sources.parse_sources`.
    theta : `~astropy.coordinates.Angle` or "psf"
        Radius of a point-like source, or of each source.

    Attributes
    ----------
    checksums : dict of str
        SHA-256 of catalogs and region files, by name.
    """

    def __init__(self, sources, theta):
        self.takes_psf = isinstance(theta, str) and theta == PSF
        self.sources, self.theta = resolve_sources(sources), theta
        self.fixed = None if self.takes_psf else parse_sources(sources, theta=theta)
        self.checksums = source_checksums(sources=sources)

    def regions(self, observation):
        """Circles of the sources.

        Parameters
        ----------
        observation : `~gammapy.data.Observation`
            Run.

        Returns
        -------
        regions : list of `~regions.CircleSkyRegion`
            With ``meta["name"]``. ValueError if the run has no point-spread function
            although that is to give theta.
        """
        if not self.takes_psf:
            return list(self.fixed)
        if observation.pointing.fixed_icrs is None:
            raise ValueError(
                f"Run {observation.obs_id} drifts, so that theta = 'psf' has no offset "
                "at which to take it; take another donor"
            )
        pointing = observation.pointing.fixed_icrs.icrs
        places = [(source.ra_deg, source.dec_deg) for source in self.sources]
        lon_deg, lat_deg = np.reshape(places, (-1, 2)).T
        offset_deg, _ = offset_azimuth(
            lon_deg, lat_deg, pointing.ra.deg, pointing.dec.deg
        )
        radii_deg = psf_theta_deg(observation, offset_deg)
        return list(map(circle_region, self.sources, radii_deg))

    def described(self):
        """Say where the sources come from."""
        names = [str(source.name) for source in self.sources]
        more = f" and {len(names) - 5} more" if len(names) > 5 else ""
        return ", ".join(names[:5]) + more or "none"


class CatalogFinder(SourceFinder):
    """Look the sources of each run up in catalogs.

    Parameters
    ----------
    catalogs, radius, extra
        See `~gammapy_mimic.known_sources`.
    theta
        As for `SourceFinder`.

    Raises
    ------
    FileNotFoundError
        If a catalog that is named is not there.
    """

    def __init__(self, catalogs, radius, extra, theta):
        super().__init__([] if extra is None else extra, theta)
        self.tags, self.radius, self.extra = available_catalogs(catalogs), radius, extra
        self.checksums |= source_checksums(self.tags)

    def regions(self, observation):
        """Circles of the sources in the field of a run; see `SourceFinder`."""
        theta = self.theta
        if self.takes_psf:
            theta = functools.partial(psf_theta_deg, observation)
        return known_sources(
            observation,
            self.radius,
            catalogs=self.tags,
            extra=self.extra,
            theta=theta,
        )

    def described(self):
        """Say where the sources come from."""
        catalogs = f"{', '.join(self.tags)} within {self.radius}"
        return f"{catalogs}; {super().described()}" if self.sources else catalogs


def psf_theta_deg(observation, offset_deg):
    """Radii of point-like sources by the point-spread function of a run.

    Parameters
    ----------
    observation : `~gammapy.data.Observation`
        Run; nothing is loaded into it.
    offset_deg : `~numpy.ndarray`
        Distances of the sources from the pointing, shape (n,).

    Returns
    -------
    radius_deg : `~numpy.ndarray`
        Radii, shape (n,). ValueError if the run has no point-spread function there.
    """
    energy_tev = low_energy_tev(read_run(observation).values("ENERGY"))
    radius_deg = containment_deg(observation, energy_tev, offset_deg)
    if radius_deg is None or np.isnan(radius_deg).any():
        raise ValueError(
            f"Run {observation.obs_id} has no point-spread function that holds 95 % "
            f"of a source at {energy_tev:.2f} TeV, which theta = 'psf' needs; give "
            "theta as an angle"
        )
    return radius_deg
