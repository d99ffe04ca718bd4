"""Mimic sets in gammapy's analyses."""

from gammapy_mimic.analysis.mimic_analysis import MimicAnalysis
from gammapy_mimic.analysis.on_off_maker import MimicOnOffMaker

__all__ = ["MimicAnalysis", "MimicOnOffMaker"]
