"""gammapy's analysis with an on region that is a point."""

from astropy.coordinates import SkyCoord
from gammapy.analysis import Analysis
from gammapy.maps import RegionGeom
from regions import PointSkyRegion

__all__ = ["PointAnalysis"]


class PointAnalysis(Analysis):
    """`~gammapy.analysis.Analysis`, in which an on region without radius is a point.

    gammapy's makers take a point where RAD_MAX depends on energy; its analysis always
    makes a circle.
    """

    def point_finder(self):
        """Give what finds the off regions of a point."""
        raise NotImplementedError

    @property
    def is_point(self):
        """Whether the on region is a point."""
        settings = self.config.datasets
        return settings.type == "1d" and settings.on_region.radius is None

    def _create_region_geometry(self, settings, axes):
        if not self.is_point:
            return super()._create_region_geometry(settings, axes)
        centre = SkyCoord(settings.lon, settings.lat, frame=settings.frame)
        return RegionGeom.create(PointSkyRegion(centre), axes=axes)

    def _create_background_maker(self):
        if not self.is_point:
            return super()._create_background_maker()
        settings = self.config.datasets.background
        written = settings.parameters
        settings.parameters = {**written, "region_finder": self.point_finder()}
        settings.parameters.pop("n_off_regions", None)
        try:
            return super()._create_background_maker()
        finally:
            settings.parameters = written
