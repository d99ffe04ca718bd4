"""Mimics as a step of `gammapy.workflow`. Experimental; needs gammapy 2.1.

Import this module to register the step ``mimic``, then name it in
``general.steps`` in place of ``observations``:

>>> from gammapy.workflow import Workflow
>>> from gammapy_mimic.analysis.workflow import MimicWorkflowConfig
>>> config = MimicWorkflowConfig(
...     general={"steps": ["mimic", "datasets"], "overwrite": [True, True]}
... )
>>> workflow = Workflow(config)
>>> workflow.run()  # doctest: +SKIP

Another mimic set than the first is an argument of the step:

>>> workflow.run(["mimic"], mimic_set=1)  # doctest: +SKIP
>>> workflow.run(["datasets"])  # doctest: +SKIP
"""

import logging
from typing import Any

from gammapy.workflow import WORKFLOW_STEP_REGISTRY, WorkflowConfig
from gammapy.workflow.steps import WorkflowStepBase

from gammapy_mimic.analysis.mimic_analysis import check_mimic_set
from gammapy_mimic.campaign.selection import select_donors, select_targets
from gammapy_mimic.config import MimicConfig, analysis_matcher

__all__ = ["MimicWorkflowConfig", "MimicWorkflowStep"]

log = logging.getLogger(__name__)

if not hasattr(WorkflowStepBase, "inputs"):
    raise ImportError("gammapy_mimic.analysis.workflow needs gammapy 2.1 or later")


class MimicWorkflowConfig(WorkflowConfig):
    """Gammapy's workflow configuration with one more section, ``mimic``.

    Attributes
    ----------
    mimic : `~gammapy_mimic.config.MimicConfig`
        As in `~gammapy_mimic.config.MimicAnalysisConfig`.
    """

    mimic: MimicConfig = MimicConfig()


class MimicWorkflowStep(WorkflowStepBase):
    """Make a mimic set in memory; it takes the place of the observations.

    Parameters
    ----------
    config : `MimicWorkflowConfig`
        Configuration.
    mimic_set : int, optional
        Which mimic set. Default is 0.
    **kwargs
        Passed to gammapy's base class.

    Raises
    ------
    ValueError
        If the number of the mimic set is not valid.
    """

    tag = "mimic"

    def __init__(
        self, config: MimicWorkflowConfig, *, mimic_set: int = 0, **kwargs: Any
    ) -> None:
        super().__init__(config, **kwargs)
        check_mimic_set(mimic_set, config.mimic)
        self.mimic_set = mimic_set

    def _run(self):
        settings = self.config.mimic
        targets = select_targets(self.config.observations).store
        donors = select_donors(settings.donors, self.config.observations)
        pairs = analysis_matcher(self.config).run(targets, donors)
        self.inputs.observations = settings.maker().run_pairs(
            targets, donors, pairs, mimic_set=self.mimic_set
        )
        log.info("Number of mimics: %d", len(self.inputs.observations))


if MimicWorkflowStep not in WORKFLOW_STEP_REGISTRY:
    WORKFLOW_STEP_REGISTRY.append(MimicWorkflowStep)
