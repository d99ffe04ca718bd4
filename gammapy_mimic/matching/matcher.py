"""`DonorMatcher`: which background run can stand in for which target."""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from astropy import units as u
from astropy.coordinates import Angle, SkyCoord
from astropy.table import MaskedColumn, Table
from astropy.time import Time
from gammapy.data import DataStore, Observation, Observations, ObservationTable

from gammapy_mimic.data.compat import read_once
from gammapy_mimic.matching.assign import assign_sets
from gammapy_mimic.matching.cuts import FEATURES, Cuts, check_name, make_tolerances
from gammapy_mimic.matching.pairs import PairTable, runs_to_json
from gammapy_mimic.matching.rate import OuterRate
from gammapy_mimic.matching.runs import add_source_distance, read_runs
from gammapy_mimic.sources.known import parse_sources

__all__ = ["DonorMatcher"]

log = logging.getLogger(__name__)

BALANCED = ("airmass", "nsb")

_MAX_NAMED = 8


class DonorMatcher:
    """Find donors that were taken under the conditions of the targets.

    Pairs of target and donor that differ by more than a tolerance are rejected. Of
    the others an optimal assignment (`scipy.optimize.linear_sum_assignment`) takes
    those which serve as many targets as possible at the smallest sum of distances.
    The distance of a pair is the root mean square of difference over tolerance. A
    donor is never its own target, and is used once in a mimic set.

    Parameters
    ----------
    tolerances : mapping, optional
        Tolerances by name (see below) where they are not the default; the same can
        be given as keywords, which prevail. Default is None.
    n_mimics : int, optional
        Number of mimic sets, the best first. A pair of target and donor is in one
        set at most. Default is 1.
    relax : sequence, optional
        Cuts to relax, one after the other, for targets that would have no donor
        otherwise: names (the cut is dropped) or tuples of name and wider tolerance.
        What was relaxed for which pair is recorded. Default is (): none.
    balance : bool, optional
        Choose among nearly equal distances (their mean may grow by 0.05) so that
        the means of airmass and NSB of a set agree with those of the targets.
        Default is False.
    rate_proxy : None, "events" or callable, optional
        Event rate of a run, for RATE_RATIO and the tolerance ``rate``. None: all
        events over ontime, from the index where it has EVENT_COUNT. "events": the
        rate in the outer field, `~gammapy_mimic.matching.OuterRate`. A callable
        takes an `~gammapy.data.Observation` and returns a rate. The latter two read
        the events of all runs, None those of observations. Default is None.
    epochs : `~astropy.time.Time`, optional
        Times at which the instrument changed. Donors must be of the target's epoch.
        Default is None.
    keep_away : see `~gammapy_mimic.sources.known.parse_sources`, optional
        Sources which donors must not have in their field: positions, circles, names
        or a region file. Default is None.
    keep_away_distance : `~astropy.units.Quantity`, optional
        Least distance of a donor's pointing from the edge of these. Default is
        2.5 deg.
    exclude : sequence of int, optional
        OBS_IDs that are not used as donors. Default is ().
    **features
        Tolerances:

        * ``airmass=0.15``: difference of 1 / cos(zenith angle).
        * ``azimuth=45 * u.deg``: wrapped difference of azimuths. Within 10 deg of
          the zenith, on both sides, azimuth is ignored and the orientation of the
          field of view must agree instead, to the same tolerance. There a small
          step on the sky turns the azimuth by a large angle, and neither the
          zenith gradient nor the angle to the magnetic field depends much on it;
          what is left is how camera and array are turned against the sky. Runs on
          opposite sides of the zenith are upside down to each other and rejected.
        * ``n_tels=0``: difference of the number of telescopes.
        * ``ontime=0.1``: how much shorter the donor may be, relative to the target.
          Longer donors always pass.
        * ``muon_efficiency=0.1``: relative difference of MUONEFF.
        * ``nsb=1.5``: difference of NSBLEVEL.
        * ``telescope=0``: telescopes (TELESCOP) must be the same.
        * ``telescopes=None``: number of telescopes (TELLIST) not in common.
        * ``time=None``: difference of the times, such as ``30 * u.d``.
        * ``rate=None``: relative difference of the event rates.
        * ``galactic_latitude=None``: the least absolute latitude of a donor.

        None switches a cut off.

    Notes
    -----
    Altitude and azimuth are computed for the middle of the run from pointing, time
    and site, because those in index tables may be off by degrees. Features come
    from the obs-index of a data store, and from EVENTS headers if the index lacks
    them. A feature that one side lacks is skipped, with a note in the table.

    Examples
    --------
    >>> import astropy.units as u
    >>> from gammapy_mimic import DonorMatcher
    >>> matcher = DonorMatcher(n_mimics=5, azimuth=60 * u.deg, relax=["azimuth"])
    >>> matcher.tolerances["azimuth"]
    60.0
    """

    def __init__(
        self,
        *,
        tolerances: Mapping[str, Any] | None = None,
        n_mimics: int = 1,
        relax: Sequence[Any] = (),
        balance: bool = False,
        rate_proxy: str | Callable[[Observation], Any] | None = None,
        epochs: Sequence[Any] | None = None,
        keep_away: Any = None,
        keep_away_distance: u.Quantity | str = 2.5 * u.deg,
        exclude: Iterable[int] = (),
        **features: Any,
    ) -> None:
        self.tolerances = make_tolerances({**(tolerances or {}), **features})
        self.relax = _relaxation(relax, self.tolerances)
        if not isinstance(n_mimics, int | np.integer) or n_mimics < 1:
            raise ValueError(f"n_mimics = {n_mimics!r}: must be a positive integer")
        self.n_mimics = int(n_mimics)
        self.balance = bool(balance)
        if rate_proxy == "events":
            rate_proxy = OuterRate()
        if rate_proxy is not None and not callable(rate_proxy):
            raise TypeError(
                f"rate_proxy = {rate_proxy!r}: must be None, 'events' or a callable"
            )
        self.rate_proxy = rate_proxy
        self.epochs = None if epochs is None else Time(epochs)
        # circles keep their own radius, all other sources are points
        self.keep_away = (
            None if keep_away is None else parse_sources(keep_away, theta="1 arcsec")
        )
        self.keep_away_distance = Angle(keep_away_distance)
        self.exclude = [int(obs_id) for obs_id in exclude]

    def run(
        self,
        targets: Observations | DataStore | ObservationTable,
        donors: Observations | DataStore | ObservationTable,
        *,
        skip_broken: bool = False,
    ) -> PairTable:
        """Find the pairs.

        Parameters
        ----------
        targets, donors : `~gammapy.data.DataStore`, \
`~gammapy.data.ObservationTable` or `~gammapy.data.Observations`
            Runs, in any order; they may overlap. Of a data store only the index is
            read where that is enough.
        skip_broken : bool, optional
            Leave out runs without time or pointing, with a warning. Default is False:
            they are an error.

        Returns
        -------
        pairs : `PairTable`
            A row for each target and set, also where no donor was found.

        Raises
        ------
        TypeError
            If targets or donors are none of these.
        ValueError
            If there are no runs, an OBS_ID is duplicated, or a run has no pointing,
            time or site.
        """
        runs = {}
        for argument, data in (("targets", targets), ("donors", donors)):
            runs[argument] = self._read(data, argument, skip_broken)
        tolerances = self._active_tolerances()
        cuts = Cuts(runs["targets"], runs["donors"], tolerances)
        distance, level = cuts.evaluate(self.relax)
        deltas = self._balance_deltas(cuts) if self.balance else None
        chosen = assign_sets(distance, level, self.n_mimics, deltas)
        notes = _notes(runs, tolerances)
        pairs = self._table(runs, cuts, distance, level, chosen)
        pairs.meta.update(
            {
                "n_mimics": self.n_mimics,
                "balance": self.balance,
                "tolerances": {name: float(x) for name, x in tolerances.items()},
                "relax": [list(step) for step in self.relax],
                "notes": notes,
                "left_out": [list(item) for item in runs["targets"].meta["left_out"]],
                **{name: runs_to_json(table) for name, table in runs.items()},
            }
        )
        if pairs.missing:
            log.warning(
                "%d of %d targets have no donor: %s; see rejected or summary()",
                len(pairs.missing), len(runs["targets"]), pairs.missing,
            )  # fmt: skip
        return pairs

    def _active_tolerances(self):
        """Tolerances with those that arguments of their own stand for."""
        extra = {}
        if self.exclude:
            extra["excluded"] = 1.0
        if self.epochs is not None:
            extra["epoch"] = 0.0
        if self.keep_away:
            extra["keep_away"] = self.keep_away_distance.deg
        both = {**self.tolerances, **extra}
        return {name: both[name] for name in FEATURES if name in both}

    def _read(self, data, argument, skip_broken):
        """Run table with all columns that the tolerances need."""
        wanted = {FEATURES[name].column for name in self.tolerances}
        if not isinstance(data, DataStore | Table):
            # observations are about to be read anyway
            wanted.add("RATE")
        if self.rate_proxy is not None:
            wanted.discard("RATE")
        runs = read_runs(data, wanted, argument=argument, skip_broken=skip_broken)
        if self.rate_proxy is not None:
            runs["RATE"] = self._rates(data, runs["OBS_ID"], argument, skip_broken)
            runs["RATE"].unit = "s-1"
        runs["ALLOWED"] = (~np.isin(runs["OBS_ID"], self.exclude)).astype(float)
        if self.epochs is not None:
            runs["EPOCH"] = np.searchsorted(
                np.sort(self.epochs.tt.mjd), runs["TIME"], side="right"
            )
        if self.keep_away:
            centers = SkyCoord([region.center.icrs for region in self.keep_away])
            radii = [region.radius.to_value("deg") for region in self.keep_away]
            add_source_distance(runs, centers, radii)
        return runs

    def _rates(self, data, ids, argument, skip_broken):
        """Rate of each run by the rate proxy, in 1 / s; NaN for none."""
        if isinstance(data, DataStore):
            known = {
                int(i): lambda i=i: data.obs(int(i), required_irf="all-optional")
                for i in ids
            }
        elif isinstance(data, Table):
            raise TypeError(
                f"{argument}: an index table has no events for rate_proxy; "
                "give the DataStore or Observations"
            )
        else:
            known = {int(obs.obs_id): lambda obs=obs: obs for obs in data}
        rates = np.full(len(ids), np.nan)
        for row, obs_id in enumerate(ids):
            try:
                # errors of broken files name them
                rate = self.rate_proxy(read_once(known[int(obs_id)]()))
            except (OSError, ValueError) as error:
                if not skip_broken:
                    raise
                log.warning("Run %s has no rate: %s", obs_id, error)
            else:
                rates[row] = u.Quantity(rate, "s-1").value
        return np.where(rates > 0, rates, np.nan)

    def _balance_deltas(self, cuts):
        """Signed differences of the balanced features over their tolerances."""
        rows = np.arange(cuts.shape[0])[:, np.newaxis]
        columns = np.arange(cuts.shape[1])[np.newaxis]
        deltas = [
            cuts.delta(name, rows, columns) / cuts.tolerances[name]
            for name in BALANCED
            if cuts.tolerances.get(name, 0) > 0
        ]
        return np.array(deltas) if deltas else None

    def _table(self, runs, cuts, distance, level, chosen):
        """Pair table of an assignment, without its meta."""
        targets, donors = runs["targets"], runs["donors"]
        rows = np.tile(np.arange(len(targets)), len(chosen))
        columns = chosen.ravel()
        absent = columns < 0

        def masked(values, unit=None):
            values = np.ma.masked_array(values, mask=absent)
            if values.dtype.kind == "f":
                values = np.ma.masked_invalid(values)
            return MaskedColumn(values, unit=unit)

        pairs = PairTable()
        pairs["TARGET_OBS_ID"] = np.asarray(targets["OBS_ID"])[rows]
        pairs["DONOR_OBS_ID"] = masked(np.asarray(donors["OBS_ID"])[columns])
        pairs["MIMIC_SET"] = np.repeat(np.arange(len(chosen)), len(targets))
        pairs["DISTANCE"] = masked(distance[rows, columns])
        for name, tolerance in cuts.tolerances.items():
            feature = FEATURES[name]
            values = cuts.delta(name, rows, columns)
            of_interest = tolerance > 0 or name in dict(self.relax)
            if feature.counts and of_interest and not np.isnan(values).all():
                unit = feature.unit or None
                pairs[f"DELTA_{name.upper()}"] = masked(values, unit)
        turned = donors["ORIENTATION"][columns] - targets["ORIENTATION"][rows]
        turned = np.asarray((turned + 180) % 360 - 180)
        pairs["DELTA_ORIENTATION"] = masked(turned, "deg")
        ratio = np.asarray(donors["RATE"])[columns] / np.asarray(targets["RATE"])[rows]
        pairs["RATE_RATIO"] = masked(ratio)
        pairs["RELAXED"] = self._relaxed(cuts, rows, columns, level)
        return pairs

    def _relaxed(self, cuts, rows, columns, level):
        """Cuts that each pair fails and that were relaxed for it."""
        failed = cuts.failed(rows, columns)
        names = list(dict.fromkeys(name for name, _ in self.relax))
        texts = []
        for number, (row, column) in enumerate(zip(rows, columns, strict=True)):
            is_relaxed = column >= 0 and level[row, column] > 0
            used = [name for name in names if is_relaxed and failed[name][number]]
            texts.append(",".join(used) or "none")
        return np.array(texts)


def _relaxation(relax, tolerances):
    """Check steps of relaxation: (name, number or None)."""
    steps = []
    for item in [relax] if isinstance(relax, str) else relax:
        name, value = (item, None) if isinstance(item, str) else item
        check_name(name)
        if name not in tolerances:
            raise ValueError(f"relax: {name!r} is switched off already")
        if value is not None:
            value = make_tolerances({name: value})[name]
            tighter = value < tolerances[name]
            if tighter != (FEATURES[name].kind == "at_least"):
                raise ValueError(
                    f"relax: {name} = {value:g} is not wider than the tolerance "
                    f"{tolerances[name]:g}"
                )
        steps.append((name, value))
    return tuple(steps)


def _notes(runs, tolerances):
    """Say what the comparison had to leave out, and what looks wrong."""
    notes = [note for side, table in runs.items() for note in _run_notes(side, table)]
    for name in tolerances:
        column = FEATURES[name].column
        absent = {}
        for side, table in runs.items():
            values = np.asarray(table[column])
            gone = values == "" if values.dtype.kind == "U" else np.isnan(values)
            if gone.any():
                absent[side] = "all" if gone.all() else int(np.count_nonzero(gone))
        if "all" in absent.values():
            sides = [side for side, number in absent.items() if number == "all"]
            notes.append(f"{name} not compared: {' and '.join(sides)} lack {column}")
        elif absent:
            text = " and ".join(f"{number} {side}" for side, number in absent.items())
            notes.append(f"{name} not compared for {text} without {column}")
    for note in notes:
        log.info(note)
    return notes


def _run_notes(side, table):
    """Give notes on runs that were left out or cannot have been taken so."""
    for obs_id, why in table.meta["left_out"]:
        yield f"{side}: run {obs_id} {why}, left out"
    below = np.asarray(table["OBS_ID"])[np.asarray(table["ALT_PNT"]) < 0].tolist()
    if below:
        named = ", ".join(map(str, below[:_MAX_NAMED]))
        more = ", ..." if len(below) > _MAX_NAMED else ""
        note = (
            f"{side}: {len(below)} pointings below the horizon (run {named}{more}): "
            "are time (TSTART, MJDREFI, MJDREFF, TIMESYS) and site right?"
        )
        log.warning(note)
        yield note
