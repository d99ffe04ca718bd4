"""A synthetic observatory whose truth is known.

`simulate_datastore` writes a small DL3 store, `simulate_observation` makes one run in
memory, `SyntheticBackground.draw` draws background events in the field of view alone.
"""

from gammapy_mimic.simulation.background import SyntheticBackground
from gammapy_mimic.simulation.run import SyntheticRun, simulate_observation
from gammapy_mimic.simulation.source import SyntheticSource
from gammapy_mimic.simulation.store import SimulatedStore, simulate_datastore

__all__ = [
    "SimulatedStore",
    "SyntheticBackground",
    "SyntheticRun",
    "SyntheticSource",
    "simulate_datastore",
    "simulate_observation",
]
