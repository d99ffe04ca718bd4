"""Known sources of a run disappear into its background."""

from gammapy_mimic.scramble.residuals import scramble_residuals
from gammapy_mimic.scramble.scrambler import AnnulusScrambler

__all__ = ["AnnulusScrambler", "scramble_residuals"]
