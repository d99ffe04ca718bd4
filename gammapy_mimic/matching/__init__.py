"""Find donors for targets, and say why others do not fit."""

from gammapy_mimic.matching.features import FEATURES
from gammapy_mimic.matching.good_time import BadTimes
from gammapy_mimic.matching.matcher import DonorMatcher
from gammapy_mimic.matching.pairs import PairTable
from gammapy_mimic.matching.rate import OuterRate, rate_chi2

__all__ = [
    "FEATURES",
    "BadTimes",
    "DonorMatcher",
    "OuterRate",
    "PairTable",
    "rate_chi2",
]
