"""The part of `MimicCampaign` that analyses what it has made."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from gammapy.data import Observations
from gammapy.modeling.models import Models

from gammapy_mimic.config import MimicAnalysisConfig

if TYPE_CHECKING:
    from gammapy_mimic.analysis import Ensemble

__all__ = ["CampaignAnalyses"]


class CampaignAnalyses:
    """Analyses of the mimic sets of a campaign."""

    config: MimicAnalysisConfig

    def analyse(
        self,
        n_jobs: int = 1,
        *,
        models: Models | list | None = None,
        parallel_backend: str = "multiprocessing",
        only: int | None = None,
        unblind: bool = False,
        overwrite: bool = False,
    ) -> "Ensemble":
        """Analyse each mimic set as the targets, with gammapy's own steps.

        The steps are those of `~gammapy.analysis.Analysis` for which the configuration
        has settings, or ``mimic.analyse.steps``. Amplitudes of sources are fitted
        without a lower bound, and their shapes are frozen (``mimic.analyse.free``).
        Results are in ``analysis/`` of ``mimic.outdir``; what an earlier call with the
        same settings has done is kept.

        Parameters
        ----------
        n_jobs : int, optional
            Number of processes; see `run`. Default is 1.
        models : `~gammapy.modeling.models.Models` or list, optional
            Models of the target. Default is those of ``general.models_file``.
        parallel_backend : {"multiprocessing", "ray"}, optional
            See `run`. Default is "multiprocessing".
        only : int, optional
            Analyse only this mimic set. Default is None.
        unblind : bool, optional
            Analyse the targets, too. Default is False.
        overwrite : bool, optional
            Analyse again what is there. Default is False.

        Returns
        -------
        ensemble : `~gammapy_mimic.analysis.Ensemble`
            What the analysis gives on the sets. A set on which it fails is in
            ``failed``, with the reason.

        Raises
        ------
        ConfigError
            If there are no mimics, or they were made with another configuration.
        ValueError
            If a step lacks its settings, or a source cannot be put in.
        OSError
            As of `run`.
        """
        from gammapy_mimic.analysis.runner import analyse_campaign

        self._check(n_jobs, parallel_backend, only)
        return analyse_campaign(
            self.config,
            n_jobs,
            models=models,
            backend=parallel_backend,
            only=only,
            unblind=unblind,
            overwrite=overwrite,
        )

    def map(
        self,
        function: Callable[[Observations], dict],
        n_jobs: int = 1,
        *,
        parallel_backend: str = "multiprocessing",
        only: int | None = None,
        unblind: bool = False,
        overwrite: bool = False,
    ) -> "Ensemble":
        """Call a function for each mimic set.

        Parameters
        ----------
        function : callable
            Takes the `~gammapy.data.Observations` of a set and gives a dict of numbers
            or `~astropy.units.Quantity` by name. ``<name>_err`` is the statistical
            error of ``<name>``.
        n_jobs, parallel_backend, only, unblind, overwrite
            As of `analyse`. A function that was changed is called again; changes in
            what it calls are not noticed: use ``overwrite``.

        Returns
        -------
        ensemble : `~gammapy_mimic.analysis.Ensemble`
            The same table and statistics as of `analyse`.

        Raises
        ------
        TypeError
            If it is not a function.
        ConfigError, ValueError, OSError
            As of `analyse`, or if the function cannot be sent to other processes.
        """
        from gammapy_mimic.analysis.runner import analyse_campaign

        if not callable(function):
            raise TypeError(f"function = {function!r}: must be a function")
        self._check(n_jobs, parallel_backend, only)
        return analyse_campaign(
            self.config,
            n_jobs,
            function=function,
            backend=parallel_backend,
            only=only,
            unblind=unblind,
            overwrite=overwrite,
        )

    def _check(self, n_jobs, parallel_backend, only):
        raise NotImplementedError
