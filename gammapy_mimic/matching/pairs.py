"""Pairs of target and donor, with the reasons why others were rejected."""

import json
from typing import Any

import numpy as np
from astropy import units as u
from astropy.table import Table
from gammapy.data import DataStore, Observations
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gammapy_mimic.io.figures import new_figure
from gammapy_mimic.matching import tables, text
from gammapy_mimic.matching.features import FEATURES, Feature
from gammapy_mimic.matching.good_time import Part
from gammapy_mimic.matching.index import UNITS

__all__ = ["PairTable"]


def runs_to_json(runs):
    """Run table as text, exact for floats."""
    return json.dumps({name: np.asarray(runs[name]).tolist() for name in runs.colnames})


class PairTable(Table):
    """Which donor stands in for which target.

    An `~astropy.table.Table`, to be written and read as ECSV. One row for each
    target and mimic set, ordered by set and target:

    * TARGET_OBS_ID, DONOR_OBS_ID: the runs; the donor is masked where there is none.
    * MIMIC_SET: number of the set from 0, best set first.
    * DISTANCE: root mean square of difference over tolerance.
    * DELTA_<FEATURE>: donor minus target; relative to the target for ontime, muon
      efficiency and rate. DELTA_AZIMUTH is wrapped; where both runs are within 10
      deg of the zenith it is the difference of the orientations.
    * RATE_RATIO, RATE_RATIO_ERR: event rate of the donor over that of the target,
      above the energy threshold, outside of sources; RATE_RATIO_BANDS in three bands
      of energy, whose edges are `rate_bands`.
    * RATE_CHI2: chi-square over degrees of freedom of the donor's rate against time.
    * RELAXED: cuts that were relaxed for this pair, else "none".

    With ``fill`` there is a row for each part of a target: TARGET_START, where it
    begins in the target's good time, START and STOP, the slice of the donor's good
    time, and MIMIC_OBS_ID, which is the target's OBS_ID for the first part, and that
    with two more digits (01, 02, ...) for further ones. With ``fill`` or ``reuse``
    SHARED is the part of the mimic's time that is also in others of the same set.

    The meta holds tolerances, relaxation, notes, ``warnings`` (list of str), the
    number of donors that each cut rejects, and the features of all runs, from which
    `rejected` is made when asked for. All of it survives writing to ECSV.
    """

    @property
    def targets(self) -> Table:
        """Features of all targets as a `~astropy.table.Table`."""
        return _runs(self, "targets")

    @property
    def donors(self) -> Table:
        """Features of all possible donors as a `~astropy.table.Table`."""
        return _runs(self, "donors")

    @property
    def features(self) -> dict[str, Feature]:
        """Features by name (dict)."""
        further = self.meta.get("columns", {}).items()
        own = {n: Feature(n, n, kind, "#", None, unit) for n, (kind, unit) in further}
        return {**FEATURES, **own}

    @property
    def rate_bands(self) -> u.Quantity:
        """Edges of the bands of RATE_RATIO_BANDS (`~astropy.units.Quantity`)."""
        return self.meta["rate_bands"] * u.TeV

    @property
    def warnings(self) -> list[str]:
        """What may make mimics wrong, a line each (list of str)."""
        return list(self.meta.get("warnings", []))

    @property
    def n_sets(self) -> int:
        """Number of mimic sets (int)."""
        return int(self.meta["n_mimics"])

    @property
    def notes(self) -> list[str]:
        """What was left out of the comparison (list of str)."""
        return list(self.meta["notes"])

    @property
    def left_out(self) -> dict[int, str]:
        """Targets that could not be compared at all, and why (dict of int to str)."""
        return {int(obs_id): str(why) for obs_id, why in self.meta.get("left_out", [])}

    @property
    def missing(self) -> list[int]:
        """Targets without a donor in any set (list of int)."""
        found = self["TARGET_OBS_ID"][self.has_donor]
        return sorted({int(i) for i in self["TARGET_OBS_ID"]} - {int(i) for i in found})

    @property
    def has_donor(self) -> np.ndarray:
        """Whether each row has a donor (array of bool)."""
        return ~np.ma.getmaskarray(np.ma.asarray(self["DONOR_OBS_ID"]))

    @property
    def rejected(self) -> Table:
        """Every cut that some pair of target and donor failed.

        A `~astropy.table.Table` with TARGET_OBS_ID, DONOR_OBS_ID, CUT, the values
        TARGET_VALUE and DONOR_VALUE, their DIFFERENCE and the LIMIT (all of them text
        with units), the tolerance before any relaxation. It has a row for each cut
        of each pair: for thousands of runs `why` and `cut_flow` are better.
        """
        return self.why()

    def why(self, *, target: int | None = None, donor: int | None = None) -> Table:
        """Select the rows of `rejected` for one target or one donor.

        Parameters
        ----------
        target, donor : int, optional
            OBS_ID of a target and of a donor. Default is None: all.

        Returns
        -------
        rejected : `~astropy.table.Table`
            See `rejected`; without rows if nothing speaks against the pair.

        Raises
        ------
        ValueError
            If the run is neither a target nor a donor.
        """
        return tables.rejected(self, target, donor)

    @property
    def cut_flow(self) -> Table:
        """How many donors of each target fall to which cut.

        A `~astropy.table.Table` with one row for each target: TARGET_OBS_ID, DONORS
        (how many there were), one column for each cut with the donors that passed
        the cuts before and fail this one, and LEFT; with relaxation also
        LEFT_RELAXED, those that are left if all of it is used.
        """
        return tables.cut_flow(self)

    @property
    def set_summary(self) -> Table:
        """Pairs, mean distance and mean differences of each mimic set.

        A `~astropy.table.Table` with MIMIC_SET, PAIRS, and the means of DISTANCE,
        RATE_RATIO, SHARED and all DELTA columns; masked where there is nothing to
        average.
        """
        return tables.set_summary(self)

    def summary(self) -> str:
        """Say what was found, and for targets without donor why.

        Returns
        -------
        text : str
            A line for the whole, one for each target without any donor, the notes.
        """
        return text.summary(self)

    def headlines(self) -> list[str]:
        """Say how the rates of donors and targets agree, and what was shared.

        Returns
        -------
        lines : list of str
            Ratio of the rates of pairs, within the tolerances and relaxed; how much of
            the targets' time is filled, and how much of that is used more than once.
        """
        return text.headlines(self)

    def to_observations(
        self,
        targets: Observations | DataStore,
        donors: Observations | DataStore,
        *,
        mimic_set: int = 0,
        **kwargs: Any,
    ) -> tuple[Observations, Observations]:
        """Get the observations of one set, pair by pair.

        For tools that want ready pairs of ON and OFF observations.

        Parameters
        ----------
        targets, donors : `~gammapy.data.DataStore` or `~gammapy.data.Observations`
            Where the runs are; they are looked up by OBS_ID.
        mimic_set : int, optional
            Number of the set. Default is 0.
        **kwargs
            Passed to `~gammapy.data.DataStore.get_observations`.

        Returns
        -------
        targets, donors : `~gammapy.data.Observations`
            As long as each other and in the same order. Targets without a donor
            are left out. Bad times are cut out and with ``fill`` all but the slices.

        Raises
        ------
        ValueError
            If the set does not exist or a run is not among the observations.
        """
        return _observations(self, targets, donors, mimic_set, kwargs)

    def part(self, row: int) -> Part:
        """Say what of the runs of a pair is used, without bad times.

        Parameters
        ----------
        row : int
            Row of the table.

        Returns
        -------
        part : `~gammapy_mimic.matching.good_time.Part`
            Part; its ``cut(target, donor)`` gives the two observations.
        """
        return _part(self, row)

    def plot(
        self,
        ax: Axes | None = None,
        *,
        mimic_set: int | None = None,
        letters: bool | None = None,
        **kwargs: Any,
    ) -> Axes:
        """Draw targets against donors; see `peek`.

        Parameters
        ----------
        ax : `~matplotlib.axes.Axes`, optional
            Axes. Default is None: the current ones.
        mimic_set : int, optional
            Set whose pairs are ringed. Default is None: all of them.
        letters : bool, optional
            Write the letter of the first failed cut. Default is None: up to 2500 pairs.
        **kwargs
            Passed to `~matplotlib.axes.Axes.pcolormesh`.

        Returns
        -------
        ax : `~matplotlib.axes.Axes`
            Axes.
        """
        from gammapy_mimic.matching.draw import plot_pairs

        return plot_pairs(self, ax, mimic_set=mimic_set, letters=letters, **kwargs)

    def _repr_html_(self) -> str:
        return f"<p>{text.first_line(self)}</p>{super()._repr_html_()}"

    def peek(self, figsize: tuple[float, float] = (11, 6)) -> Figure:
        """Quick look: distance as colour, chosen pairs ringed, reasons as letters.

        Parameters
        ----------
        figsize : tuple of float, optional
            Size of the figure in inches. Default is (11, 6).
        """
        figure = new_figure(figsize)
        self.plot(figure.add_subplot())
        return figure


def _runs(pairs, side):
    """Run table of one side, from the meta."""
    columns = json.loads(pairs.meta[side])
    units = {name: unit for name, unit in UNITS.items() if name in columns}
    runs = Table(columns, units=units)
    runs.meta["energy_edges"] = pairs.meta.get("energy_edges", [])
    return runs


def _part(pairs, row):
    """Give the part of a pair that is used; see `PairTable.part`."""
    target, donor = (int(pairs[f"{it}_OBS_ID"][row]) for it in ("TARGET", "DONOR"))
    bad = json.loads(pairs.meta.get("bad_times", "{}"))
    bad = {i: bad[str(i)] for i in (target, donor) if str(i) in bad}
    if "START" not in pairs.colnames:
        return Part(target, target, bad)
    times = (float(pairs[it][row]) for it in ("TARGET_START", "START", "STOP"))
    return Part(int(pairs["MIMIC_OBS_ID"][row]), target, bad, tuple(times))


def _observations(pairs, targets, donors, mimic_set, kwargs):
    """Observations of one set; see `PairTable.to_observations`."""
    if mimic_set not in range(pairs.n_sets):
        raise ValueError(f"mimic_set = {mimic_set}: must be 0 to {pairs.n_sets - 1}")
    keep = (pairs["MIMIC_SET"] == mimic_set) & pairs.has_donor
    target_ids, donor_ids = (
        [int(obs_id) for obs_id in pairs[column][keep]]
        for column in ("TARGET_OBS_ID", "DONOR_OBS_ID")
    )
    on, off = (
        _look_up(targets, target_ids, kwargs),
        _look_up(donors, donor_ids, kwargs),
    )
    parts = [pairs.part(int(row)) for row in np.flatnonzero(keep)]
    if all(part.is_whole for part in parts):
        return on, off
    cut = [part.cut(*runs) for part, *runs in zip(parts, on, off, strict=True)]
    return Observations([a for a, _ in cut]), Observations([b for _, b in cut])


def _look_up(data, ids, kwargs):
    """Observations with these OBS_IDs, in this order."""
    if isinstance(data, DataStore):
        return data.get_observations(ids, **kwargs)
    known = {int(observation.obs_id): observation for observation in data}
    absent = [i for i in ids if i not in known]
    if absent:
        raise ValueError(f"OBS_ID {absent} not among the observations given")
    return Observations([known[i] for i in ids])
