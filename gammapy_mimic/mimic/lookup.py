"""Runs of pairs, found by their OBS_IDs."""

from collections import Counter
from collections.abc import Mapping

from gammapy.data import DataStore, Observation

from gammapy_mimic.data.reading import check_indexed_id

__all__ = ["RunsById"]


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
