"""Mimics as a step of `gammapy.workflow`; see `gammapy_mimic.analysis.workflow`."""

from gammapy_mimic.analysis.workflow import MimicWorkflowConfig, MimicWorkflowStep

__all__ = ["MimicWorkflowConfig", "MimicWorkflowStep"]
