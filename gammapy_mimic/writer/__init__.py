"""DL3 files and index tables from observations (GADF).

`write_datastore` writes any iterable of observations to a folder that
`gammapy.data.DataStore.from_dir` opens. `MimicWriter` is what it is made of, for
those who write one observation at a time or from several processes.

From the bottom up: `irfs` makes the HDUs of the instrument response, `events` those of
events and good times; `index` makes the two index tables; `store` writes files.
"""

from gammapy_mimic.writer.store import MimicWriter, write_datastore, write_run

__all__ = ["MimicWriter", "write_datastore", "write_run"]
