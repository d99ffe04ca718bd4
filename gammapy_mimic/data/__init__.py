"""A run as arrays, the door to and from gammapy, and what touches its inside."""
