"""Mimic sets in gammapy's analyses."""

from gammapy_mimic.analysis.mimic_analysis import MimicAnalysis

__all__ = ["MimicAnalysis"]
