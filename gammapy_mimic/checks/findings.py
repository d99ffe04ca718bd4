"""Findings and the report that collects them."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from astropy.table import MaskedColumn, Table

__all__ = ["Finding", "Report", "error", "warning"]

COLUMNS = ("OBS_ID", "FILE", "HDU", "LEVEL", "KEY", "MESSAGE")


class Finding(NamedTuple):
    """One thing that is wrong or worth knowing."""

    level: str
    key: str
    message: str


def error(key: str, message: str) -> Finding:
    """Something that breaks GADF 0.3 or gammapy."""
    return Finding("error", key, message)


def warning(key: str, message: str) -> Finding:
    """Something worth knowing."""
    return Finding("warning", key, message)


class Report:
    """Collects findings with the place where they were made."""

    def __init__(self, rows: Iterable[tuple] = ()) -> None:
        self.rows: list[tuple] = list(rows)

    def add(
        self,
        findings: Iterable[Finding],
        *,
        obs_id: int | None = None,
        file: str = "",
        hdu: str = "",
    ) -> None:
        """Add findings that belong to a run, a file and an HDU."""
        for finding in findings:
            self.rows.append((obs_id, file, hdu, *finding))

    def of_run(self, obs_id: int) -> list[Finding]:
        """All findings that belong to a run."""
        return [Finding(*row[3:]) for row in self.rows_of(obs_id)]

    def rows_of(self, obs_id: int) -> list[tuple]:
        """Give the findings that belong to a run, with their places."""
        return [row for row in self.rows if row[0] == obs_id]

    def table(self, **meta: Any) -> Table:
        """All findings as a table, in the order in which they were added."""
        columns = list(zip(*self.rows, strict=True)) or [()] * len(COLUMNS)
        table = Table(meta=meta)
        table["OBS_ID"] = MaskedColumn(
            [0 if value is None else value for value in columns[0]],
            mask=[value is None for value in columns[0]],
            dtype=np.int64,
        )
        for name, values in zip(COLUMNS[1:], columns[1:], strict=True):
            table[name] = np.array(values, dtype=str)
        return table
