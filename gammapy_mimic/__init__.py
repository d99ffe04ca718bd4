"""Mimic observations: background runs moved into the field of view of a target.

The public names are loaded when they are first used, so that
``gammapy-mimic --help`` need not wait for gammapy.
"""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version

__version__ = "0.1.0"

_PUBLIC = {
    "AnnulusScrambler": "scramble",
    "DonorMatcher": "matching",
    "Ensemble": "analysis",
    "LocationFaker": "location_faker",
    "MimicAnalysis": "analysis",
    "MimicCampaign": "campaign",
    "MimicMaker": "mimic",
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
    "MimicWriter",
    "PairTable",
    "__version__",
    "check_datastore",
    "known_sources",
    "scramble_residuals",
    "simulate_datastore",
    "write_datastore",
]


def _require_regions():
    """Stop at once where gammapy itself would fail on import, and say why."""
    try:
        found = version("regions")
    except PackageNotFoundError:
        return
    major, minor = (int(part) for part in found.split(".")[:2])
    if (major, minor) >= (0, 12):
        raise ImportError(
            f"gammapy does not work with regions {found}; "
            'run: pip install "regions>=0.9,<0.12"'
        )


_require_regions()


def __getattr__(name):
    if name not in _PUBLIC:
        raise AttributeError(f"module 'gammapy_mimic' has no attribute {name!r}")
    return getattr(import_module(f"gammapy_mimic.{_PUBLIC[name]}"), name)


def __dir__():
    return sorted({*globals(), *__all__})
