"""Mimic sets in gammapy's analyses.

`mimic_analysis` is gammapy's `~gammapy.analysis.Analysis` of one set. Of all sets:
`steps` holds gammapy's steps and `quantities` the numbers they give, `models` what is
fitted on an empty sky, `injection` puts sources into runs, `worker` analyses one set
and `runner` all of them, `build` makes an `Ensemble` with the statistics of `scatter`,
`limits` says what became of an injected source, and `figures` draws.
"""

from gammapy_mimic.analysis.ensemble import Ensemble
from gammapy_mimic.analysis.injection import inject
from gammapy_mimic.analysis.limits import recovery, sensitivity, upper_limits
from gammapy_mimic.analysis.mimic_analysis import MimicAnalysis
from gammapy_mimic.analysis.models import free_amplitudes
from gammapy_mimic.analysis.on_off_maker import MimicOnOffMaker
from gammapy_mimic.analysis.scatter import set_scatter

__all__ = [
    "Ensemble",
    "MimicAnalysis",
    "MimicOnOffMaker",
    "free_amplitudes",
    "inject",
    "recovery",
    "sensitivity",
    "set_scatter",
    "upper_limits",
]
