"""Check whether a DL3 store follows GADF 0.3 and gammapy can read it."""

from gammapy_mimic.checks.merging import merged_store, observation_table
from gammapy_mimic.checks.opening import open_store
from gammapy_mimic.checks.store import check_datastore

__all__ = ["check_datastore", "merged_store", "observation_table", "open_store"]
