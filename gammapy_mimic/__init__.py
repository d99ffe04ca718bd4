"""Mimic observations: background runs moved into the field of view of a target.

The public names are loaded when they are first used, so that
``gammapy-mimic --help`` need not wait for gammapy.
"""

from importlib import import_module
from typing import Any

__version__ = "0.2.0"

_PUBLIC = {
    "AnnulusScrambler": "scramble",
    "DonorMatcher": "matching",
    "Ensemble": "analysis",
    "LocationFaker": "location_faker",
    "MimicAnalysis": "analysis",
    "MimicCampaign": "campaign",
    "MimicMaker": "mimic",
    "MimicOnOffMaker": "analysis",
    "MimicWriter": "writer",
    "PairTable": "matching",
    "check_datastore": "checks",
    "known_sources": "sources",
    "scramble_residuals": "scramble",
    "simulate_datastore": "simulation",
    "write_datastore": "writer",
}

__all__ = [
    "AnnulusScrambler",
    "DonorMatcher",
    "Ensemble",
    "LocationFaker",
    "MimicAnalysis",
    "MimicCampaign",
    "MimicMaker",
    "MimicOnOffMaker",
    "MimicWriter",
    "PairTable",
    "__version__",
    "check_datastore",
    "known_sources",
    "scramble_residuals",
    "simulate_datastore",
    "write_datastore",
]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'gammapy_mimic' has no attribute {name!r}")
    check_gammapy()
    return getattr(import_module(f"gammapy_mimic.{_PUBLIC[name]}"), name)


def check_gammapy() -> None:
    """Raise an ImportError that says what to do if gammapy cannot be imported.

    Not by the version of regions: each version of gammapy has another upper limit.
    """
    try:
        import_module("gammapy.maps")
    except ImportError as error:
        if "regions" not in str(error):
            raise
        raise ImportError(
            f"gammapy cannot be imported, as it does not work with the installed "
            f'version of regions; run: pip install "regions>=0.9,<0.12" ({error})'
        ) from error


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
