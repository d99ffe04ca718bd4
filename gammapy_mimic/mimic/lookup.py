"""Runs of pairs, found by their OBS_IDs."""

import logging
from collections import Counter
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from gammapy.data import DataStore, Observation

from gammapy_mimic.data.reading import check_indexed_id
from gammapy_mimic.matching.pairs import PairTable

__all__ = ["RunsById", "chosen_pairs"]

log = logging.getLogger(__name__)


class ChosenPair(NamedTuple):
    """Observations of a pair, and how the mimic is to be named."""

    target: Observation
    donor: Observation
    mimic_set: int
    label: Callable


def chosen_pairs(targets, donors, pairs, mimic_set=None):
    """Find the runs of pairs.

    Parameters
    ----------
    targets, donors, pairs, mimic_set
        See `~gammapy_mimic.MimicMaker.run_pairs`.

    Yields
    ------
    pair : `ChosenPair`
        Slices of both runs, where the pairs are of slices.
    """
    targets, donors = RunsById(targets, "targets"), RunsById(donors, "donors")
    _check_mimic_set(mimic_set, pairs)
    for row, target_id, donor_id, number in _rows(pairs):
        if mimic_set is not None and number != mimic_set:
            continue
        runs, label = (targets.find(target_id), donors.find(donor_id)), _as_it_is
        if isinstance(pairs, PairTable):
            part = pairs.part(row)
            runs, label = part.cut(*runs), part.label
        yield ChosenPair(*runs, number, label)


def _as_it_is(mimic):
    return mimic


class RunsById:
    """Runs that are found by OBS_ID.

    Parameters
    ----------
    runs : `~gammapy.data.DataStore`, `~gammapy.data.Observations`, list or dict
        Data store, observations, or a dict of observations by OBS_ID.
    name : str
        Name of the argument, for messages.

    Raises
    ------
    TypeError
        If ``runs`` is none of these.
    ValueError
        If an OBS_ID is duplicated, or the key of a dict is not its run's OBS_ID.
    """

    def __init__(self, runs, name):
        self.name = name
        self.store = runs if isinstance(runs, DataStore) else None
        if self.store is not None:
            self._runs = {int(obs_id): None for obs_id in runs.obs_ids}
            return
        listed = self._listed(runs)
        counts = Counter(run.obs_id for run in listed)
        repeated = [str(obs_id) for obs_id, number in counts.items() if number > 1]
        if repeated:
            raise ValueError(
                f"{name}: OBS_ID {', '.join(repeated)} is duplicated; pairs find runs "
                "by OBS_ID: keep one run of each, or give them other OBS_IDs"
            )
        self._runs = {run.obs_id: run for run in listed}

    def _listed(self, runs):
        """Observations of a collection, each of which is checked."""
        is_dict = isinstance(runs, Mapping)
        try:
            listed = list(runs.values() if is_dict else runs)
        except TypeError:
            listed = [None]
        if isinstance(runs, Observation) or not all(
            isinstance(run, Observation) for run in listed
        ):
            raise TypeError(
                f"{self.name} = {runs!r}: must be a DataStore, Observations, or a list "
                "or dict of observations"
            )
        for key, run in runs.items() if is_dict else ():
            if str(key) != str(run.obs_id):
                raise ValueError(
                    f"{self.name}[{key!r}] is run {run.obs_id}: the keys must be "
                    "OBS_IDs"
                )
        return listed

    def find(self, obs_id):
        """Find a run.

        Parameters
        ----------
        obs_id : int
            OBS_ID.

        Returns
        -------
        observation : `~gammapy.data.Observation`
            Run. ValueError if there is none, or its file is that of another run.
        """
        if obs_id not in self._runs:
            raise ValueError(f"pairs names run {obs_id}, which is not in {self.name}")
        if self.store is None:
            return self._runs[obs_id]
        run = self.store.obs(obs_id, required_irf="all-optional")
        check_indexed_id(run)
        return run


def _rows(pairs):
    """(row, target, donor, mimic set) of each pair that has a donor."""
    if not hasattr(pairs, "colnames"):
        for number, (target, donor) in enumerate(_id_pairs(pairs)):
            yield number, target, donor, 0
        return
    missing = {"TARGET_OBS_ID", "DONOR_OBS_ID"} - set(pairs.colnames)
    if missing:
        raise ValueError(f"pairs has no column {', '.join(sorted(missing))}")
    for index, row in enumerate(pairs):
        if row["DONOR_OBS_ID"] is np.ma.masked:
            log.info("Run %s has no donor: no mimic made", row["TARGET_OBS_ID"])
            continue
        number = row["MIMIC_SET"] if "MIMIC_SET" in pairs.colnames else 0
        yield index, int(row["TARGET_OBS_ID"]), int(row["DONOR_OBS_ID"]), int(number)


def _id_pairs(pairs):
    """OBS_IDs of target and donor, of pairs that are not in a table."""
    try:
        rows = pairs.items() if isinstance(pairs, Mapping) else pairs
        return [(int(target), int(donor)) for target, donor in rows]
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"pairs = {pairs!r}: must be a table such as DonorMatcher gives, a list of "
            "(target, donor) OBS_IDs, or a dict of donor by target"
        ) from error


def _check_mimic_set(mimic_set, pairs):
    """Raise an error for a mimic set that the pairs do not have."""
    known = {0}
    if "MIMIC_SET" in getattr(pairs, "colnames", ()):
        known = {int(number) for number in pairs["MIMIC_SET"]}
    if mimic_set is not None and mimic_set not in known:
        raise ValueError(
            f"mimic_set = {mimic_set!r}: is not a set of the pairs, which are "
            f"{', '.join(map(str, sorted(known))) or 'none'}"
        )
