"""The result of a campaign."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from gammapy.data import DataStore

from gammapy_mimic.checks import open_store

__all__ = ["CampaignResult"]


@dataclass(frozen=True, kw_only=True)
class CampaignResult:
    """Outcome of a campaign.

    Parameters
    ----------
    outdir : `~pathlib.Path`
        Folder.
    stores : tuple of `~pathlib.Path`
        Folders of the mimic sets that have at least one run.
    made, kept : int
        Number of mimics that were made, and that had been made before.
    missing : dict of int to str
        Targets without a donor in any set, and why.
    unpaired : tuple of (int, int)
        Mimic set and target for which no donor was left.
    failed : tuple of (int, int, int, str)
        Mimic set, target, donor and what went wrong.
    notes : tuple of str
        How rates of donors and targets agree, what is shared, and warnings.
    """

    outdir: Path
    stores: tuple = ()
    made: int = 0
    kept: int = 0
    missing: dict = field(default_factory=dict)
    unpaired: tuple = ()
    failed: tuple = ()
    notes: tuple = ()

    @property
    def complete(self) -> bool:
        """Whether each target has a mimic in each set (bool)."""
        return not (self.missing or self.unpaired or self.failed)

    def data_stores(self) -> Iterator[DataStore]:
        """Open the data stores of the mimic sets one after the other."""
        for path in self.stores:
            yield open_store(path)

    def summary(self) -> str:
        """Describe the outcome.

        Returns
        -------
        text : str
            A line for the whole, and one for each thing that is missing.
        """
        number = self.made + self.kept
        here = Path.cwd()
        is_below = self.outdir.is_relative_to(here)
        folder = self.outdir.relative_to(here) if is_below else self.outdir
        lines = [
            f"{len(self.stores)} mimic set{'s' * (len(self.stores) != 1)} with "
            f"{number} run{'s' * (number != 1)} ({self.made} made, {self.kept} kept) "
            f"in {folder}",
            *self.notes,
        ]
        lines += [f"no mimic of {reason}" for reason in self.missing.values()]
        by_set: dict[int, list[str]] = {}
        for mimic_set, target in self.unpaired:
            by_set.setdefault(mimic_set, []).append(str(target))
        lines += [
            f"mimic_{mimic_set:03d}: no donor was left for {', '.join(targets)}"
            for mimic_set, targets in by_set.items()
        ]
        lines += [
            f"mimic_{mimic_set:03d}: run {target} from donor {donor} failed: {problem}"
            for mimic_set, target, donor, problem in self.failed
        ]
        return "\n".join(lines)
