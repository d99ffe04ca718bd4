"""Numbers that tell how far a result can be trusted.

Each result is a small object with a ``table`` and a way to draw it. Nothing here looks
at a target unless it is handed one.

`reduction` makes data sets of runs with gammapy; `systematic`, `local`, `on_off`,
`significance`, `position` and `field` measure on them, with `statistics`.
"""

from gammapy_mimic.validation.background_prior import (
    PrincipalComponentsNormSpectralModel,
)
from gammapy_mimic.validation.field import FieldChecks, field_checks
from gammapy_mimic.validation.local import LocalSystematic, local_systematic
from gammapy_mimic.validation.on_off import OnOffCounts, on_off
from gammapy_mimic.validation.position import (
    TargetSignificance,
    shared_events,
    target_significance,
)
from gammapy_mimic.validation.reduction import reduce_runs
from gammapy_mimic.validation.significance import (
    GlobalSignificance,
    SignificanceDistribution,
    global_significance,
    significance_distribution,
)
from gammapy_mimic.validation.systematic import (
    BackgroundSystematic,
    background_systematic,
)

__all__ = [
    "BackgroundSystematic",
    "FieldChecks",
    "GlobalSignificance",
    "LocalSystematic",
    "OnOffCounts",
    "PrincipalComponentsNormSpectralModel",
    "SignificanceDistribution",
    "TargetSignificance",
    "background_systematic",
    "field_checks",
    "global_significance",
    "local_systematic",
    "on_off",
    "reduce_runs",
    "shared_events",
    "significance_distribution",
    "target_significance",
]
