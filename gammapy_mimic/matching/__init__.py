"""Find donors for targets, and say why others do not fit."""

from gammapy_mimic.matching.cuts import FEATURES
from gammapy_mimic.matching.matcher import DonorMatcher
from gammapy_mimic.matching.pairs import PairTable
from gammapy_mimic.matching.rate import OuterRate

__all__ = ["FEATURES", "DonorMatcher", "OuterRate", "PairTable"]
