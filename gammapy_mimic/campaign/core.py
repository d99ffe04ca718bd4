"""`MimicCampaign`: the loop over targets and mimic sets."""

import importlib.util
import io
import logging
from dataclasses import replace
from pathlib import Path
from typing import Self

from gammapy.data import Observations

from gammapy_mimic.campaign.analyses import CampaignAnalyses
from gammapy_mimic.campaign.folder import open_folder
from gammapy_mimic.campaign.foreign import refuse_foreign
from gammapy_mimic.campaign.interrupts import interrupts_between_mimics
from gammapy_mimic.campaign.matched import matched, select_runs
from gammapy_mimic.campaign.processes import check_main_is_guarded
from gammapy_mimic.campaign.provenance import write_provenance
from gammapy_mimic.campaign.rematch import choose_pairs, note_inputs
from gammapy_mimic.campaign.result import CampaignResult
from gammapy_mimic.campaign.work import CampaignWork
from gammapy_mimic.config import ConfigError, MimicAnalysisConfig
from gammapy_mimic.config.checking import check_settings
from gammapy_mimic.io.arguments import PathLike, check_flag
from gammapy_mimic.io.gadf import HDU_INDEX
from gammapy_mimic.io.shown import Shown
from gammapy_mimic.matching import PairTable
from gammapy_mimic.sources.known import available_catalogs

__all__ = ["MimicCampaign"]

log = logging.getLogger(__name__)

_BACKENDS = ("multiprocessing", "ray")


class MimicCampaign(CampaignAnalyses, Shown):
    """Mimic data sets of a list of targets.

    For each mimic set there is a folder with a data store and a gammapy
    ``analysis.yaml`` of its own. Mimics are written one by one: memory does not grow
    with their number. The result depends neither on the number of processes nor on
    whether the campaign was interrupted: started again with the same configuration
    it keeps what is whole and makes the rest.

    Parameters
    ----------
    config : `~gammapy_mimic.config.MimicAnalysisConfig` or dict
        Configuration.

    Raises
    ------
    ConfigError
        If there are mistakes in the configuration.

    Examples
    --------
    >>> from gammapy_mimic import MimicCampaign
    >>> campaign = MimicCampaign.from_yaml("crab.yaml")  # doctest: +SKIP
    >>> result = campaign.run(n_jobs=2)  # doctest: +SKIP
    >>> print(result.summary())  # doctest: +SKIP
    """

    def __init__(self, config: MimicAnalysisConfig) -> None:
        if isinstance(config, dict):
            config = check_settings(MimicAnalysisConfig, config, "configuration")
        if not isinstance(config, MimicAnalysisConfig):
            raise TypeError(f"config = {config!r}: must be a MimicAnalysisConfig")
        self.config = config

    @classmethod
    def from_yaml(cls, path: PathLike) -> Self:
        """Make a campaign of a YAML file.

        Parameters
        ----------
        path : str or `~pathlib.Path`
            File: a gammapy analysis configuration with a section ``mimic:``.

        Returns
        -------
        campaign : `MimicCampaign`
            Campaign.
        """
        return cls(MimicAnalysisConfig.read(path))

    def _shown(self):
        mimic, ids = self.config.mimic, self.config.observations.obs_ids
        donors = mimic.donors.model_dump(exclude_defaults=True)
        return {
            "file": self.config.file,
            "targets": f"{len(ids)} runs"
            if ids
            else self.config.observations.datastore,
            "donors": ", ".join(f"{name}: {it}" for name, it in donors.items()),
            "outdir": mimic.outdir,
        }

    def match(self) -> PairTable:
        """Find donors for the targets.

        Returns
        -------
        pairs : `~gammapy_mimic.matching.PairTable`
            Pairs, and why other donors were rejected. Nothing is written.
        """
        return self._inputs().pairs

    def make(self, mimic_set: int = 0) -> Observations:
        """Make the mimics of one set in memory.

        Parameters
        ----------
        mimic_set : int, optional
            Which set. Default is 0.

        Returns
        -------
        mimics : `~gammapy.data.Observations`
            The same mimics that `run` writes. Nothing is written.
        """
        inputs = self._inputs()
        maker = self.config.located().mimic.maker()
        # they are logged already
        maker.reported |= set(inputs.pairs.warnings)
        return maker.run_pairs(
            inputs.targets, inputs.donors, inputs.pairs, mimic_set=mimic_set
        )

    def store_path(self, mimic_set: int = 0) -> Path | None:
        """Find the data store of a mimic set that `run` has written.

        Parameters
        ----------
        mimic_set : int, optional
            Which set. Default is 0.

        Returns
        -------
        path : `~pathlib.Path` or None
            Folder. None if it is not there, or was made from other observations or
            with other settings of the section ``mimic``: a message is logged.
        """
        folder = open_folder(self.config)
        store = folder.store_path(mimic_set)
        if not (store / HDU_INDEX).exists():
            return None
        relevant = ("mimic.", "observations.")
        try:
            differences = folder.differences(self.config) or ()
        except ConfigError as error:
            log.warning("%s is not used: %s", store, error)
            return None
        other = [line for line in differences if line.startswith(relevant)]
        if other:
            log.warning(
                "%s is not used: it was made with another configuration: %s",
                store,
                "; ".join(other),
            )
        return None if other else store

    def _inputs(self):
        config = self.config.located()
        return matched(config, select_runs(config))

    def run(
        self,
        n_jobs: int = 1,
        *,
        parallel_backend: str = "multiprocessing",
        overwrite: bool = False,
        only: int | None = None,
        rematch: bool = False,
    ) -> CampaignResult:
        """Make all mimics, or those that an interrupted call has left.

        Parameters
        ----------
        n_jobs : int, optional
            Number of processes. With more than one, a script has to guard its calls by
            ``if __name__ == "__main__":`` where processes import it (macOS, Windows,
            Python 3.14). Default is 1.
        parallel_backend : {"multiprocessing", "ray"}, optional
            With "ray" the processes may be on other machines. Default is
            "multiprocessing".
        overwrite : bool, optional
            Make everything again, also where the folder holds mimics of another
            configuration: those that a campaign has made are removed. Default is
            False.
        only : int, optional
            Make only this mimic set; several such calls may work at a time. Default
            is None.
        rematch : bool, optional
            Match again where pairs have been made before, say which ones change, and
            replace their mimics. Default is False: pairs that are there are kept, also
            where the archive has got runs that would fit better.

        Returns
        -------
        result : `~gammapy_mimic.campaign.CampaignResult`
            What was made, and what could not be made.

        Raises
        ------
        ConfigError
            If the folder was made with another configuration, or holds files in the
            place of its own which no campaign has written.
        BlockingIOError
            If another campaign is at work in the folder.
        OSError
            If a data store cannot be opened, or the folder cannot be written to, as on
            a full disk, or a process was killed: what is whole stays, and the campaign
            can be resumed.
        """
        self._check(n_jobs, parallel_backend, only)
        check_flag("overwrite", overwrite)
        if check_flag("rematch", rematch) and only is not None:
            raise ValueError(
                "only, rematch: the pairs of all sets are matched together"
            )
        settings = self.config.mimic
        folder, config = open_folder(self.config), self.config.located()
        selected = select_runs(config)
        # sets that are made at the same time are matched once, see below
        inputs = None if only is not None else matched(config, selected)
        if (scramble := config.mimic.scramble) is not None:
            # broken or missing ones are reported before anything is made
            available_catalogs(scramble.catalogs)
        stores = {side: selection.store for side, selection in selected.items()}
        refuse_foreign(
            folder, self.config.file, stores=stores.values(), overwrite=overwrite
        )
        with (
            folder.lock(only),
            interrupts_between_mimics(parallel_backend) as interrupts,
        ):
            with folder.pairs_lock(only):
                inputs = inputs or matched(config, selected, folder)
                folder.prepare(self.config, overwrite=overwrite, only=only)
                all_again = rematch or (overwrite and only is None)
                with folder.clean_on_error(only):
                    inputs = _settled(folder, inputs, all_again)
            with folder.clean_on_error(only):
                sets = range(settings.n_mimics) if only is None else [only]
                work = CampaignWork(self.config, folder, inputs, sets)
                work.run(n_jobs, parallel_backend, interrupts)
                try:
                    write_provenance(folder, self.config, stores)
                except ConfigError:
                    # somebody else's, whose mimics stay and failed here
                    if not work.failed:
                        raise
                return work.result()

    def _check(self, n_jobs, parallel_backend, only):
        if isinstance(n_jobs, bool) or not isinstance(n_jobs, int) or n_jobs < 1:
            raise ValueError(f"n_jobs = {n_jobs!r}: must be a positive integer")
        check_main_is_guarded()
        if parallel_backend not in _BACKENDS:
            raise ValueError(
                f"parallel_backend = {parallel_backend!r}: must be one of {_BACKENDS}"
            )
        if parallel_backend == "ray" and importlib.util.find_spec("ray") is None:
            raise ValueError(
                "parallel_backend = 'ray': ray is not installed; "
                'run: pip install "gammapy-mimic[distributed]"'
            )
        number = self.config.mimic.n_mimics
        if only is not None and (isinstance(only, bool) or only not in range(number)):
            raise ValueError(f"only = {only!r}: must be a set from 0 to {number - 1}")


def _settled(folder, inputs, all_again):
    """Give the inputs with the pairs that are to be made, which are written."""
    pairs = choose_pairs(folder, inputs.pairs, rematch=all_again)
    _write_pairs(folder, pairs)
    if pairs is inputs.pairs:
        note_inputs(folder, inputs.fingerprint)
    return replace(inputs, pairs=pairs)


def _write_pairs(folder, pairs):
    for name, table in (("pairs", pairs), ("rejected", pairs.cut_flow)):
        with io.StringIO() as text:
            table.write(text, format="ascii.ecsv")
            folder.files.write(folder.path / f"{name}.ecsv", [text.getvalue()])
