"""A small campaign of simulated runs whose mimics can be analysed."""

from astropy import units as u
from gammapy.modeling.models import (
    Models,
    PointSpatialModel,
    PowerLawSpectralModel,
    SkyModel,
)

from gammapy_mimic import simulate_datastore

SPECTRUM = {
    "type": "1d",
    "stack": True,
    "geom": {
        "axes": {
            "energy": {"min": "0.8 TeV", "max": "10 TeV", "nbins": 2},
            "energy_true": {"min": "0.4 TeV", "max": "20 TeV", "nbins": 8},
        }
    },
    "on_region": {
        "frame": "icrs",
        "lon": "75 deg",
        "lat": "22 deg",
        "radius": "0.2 deg",
    },
    "containment_correction": True,
    "background": {"method": "reflected"},
    "safe_mask": {"methods": ["aeff-default"], "parameters": {}},
}


def crab(amplitude=3.5e-11, name="crab"):
    spectrum = PowerLawSpectralModel(
        amplitude=amplitude * u.Unit("TeV-1 s-1 cm-2"), index=2.6
    )
    spectrum.amplitude.min = 0
    place = PointSpatialModel(lon_0="75 deg", lat_0="22 deg", frame="icrs")
    return SkyModel(spectral_model=spectrum, spatial_model=place, name=name)


def to_analyse(folder, n_sets=3, n_donors=8):
    """Settings of a campaign of two targets; runs and models are written."""
    simulate_datastore(folder / "runs", n_targets=2, n_donors=n_donors, random_state=7)
    Models([crab()]).write(folder / "models.yaml")
    return {
        "general": {"models_file": str(folder / "models.yaml")},
        "observations": {
            "datastore": str(folder / "runs"),
            "obs_ids": [1001, 1002],
        },
        "datasets": SPECTRUM,
        "mimic": {
            "donors": {"where": {"TARGET_NAME": "Off data"}},
            "scramble": None,
            "n_mimics": n_sets,
            "match": {"muon_efficiency": None},
            "outdir": str(folder / "mimics"),
        },
    }
