"""Geometry: rotations, astrometry, the camera, and events in the field of view."""
