"""Known sources: catalogs, region files, positions and names."""

from gammapy_mimic.sources.checksums import source_checksums
from gammapy_mimic.sources.known import known_sources, parse_sources
from gammapy_mimic.sources.region_files import write_regions

__all__ = ["known_sources", "parse_sources", "source_checksums", "write_regions"]
