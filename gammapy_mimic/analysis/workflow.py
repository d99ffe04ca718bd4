"""Mimics as a step of `gammapy.workflow`. Experimental; needs gammapy 2.1.

Import this module to register the step ``mimic``, then name it in
``general.steps`` in place of ``observations``:

>>> from gammapy.workflow import Workflow
>>> from gammapy_mimic.analysis.workflow import MimicWorkflowConfig
>>> config = MimicWorkflowConfig(
...     general={"steps": ["mimic", "datasets"], "overwrite": [True, True]}
... )
>>> workflow = Workflow(config)
"""

import logging

from gammapy.workflow import WORKFLOW_STEP_REGISTRY, WorkflowConfig
from gammapy.workflow.steps import WorkflowStepBase

from gammapy_mimic.campaign.selection import select_donors, select_targets
from gammapy_mimic.config import MimicConfig

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
    """Make the first mimic set in memory; it takes the place of the observations."""

    tag = "mimic"

    def _run(self):
        settings = self.config.mimic
        targets = select_targets(self.config.observations).store
        donors = select_donors(settings.donors, self.config.observations)
        pairs = self.config.matcher().run(targets, donors)
        self.inputs.observations = settings.maker().run_pairs(
            targets, donors, pairs, mimic_set=0
        )
        log.info("Number of mimics: %d", len(self.inputs.observations))


if MimicWorkflowStep not in WORKFLOW_STEP_REGISTRY:
    WORKFLOW_STEP_REGISTRY.append(MimicWorkflowStep)
