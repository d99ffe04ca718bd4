"""A run as arrays: the door in, the door out, and what touches gammapy's inside."""

from gammapy_mimic.data.compat import to_observation
from gammapy_mimic.data.reading import read_run
from gammapy_mimic.data.run import Change, Run, check_events

__all__ = ["Change", "Run", "check_events", "read_run", "to_observation"]
