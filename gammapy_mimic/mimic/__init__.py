"""A background run is moved into the field of view of a target."""

from gammapy_mimic.mimic.maker import MimicMaker

__all__ = ["MimicMaker"]
