"""Time of a turned background model, for fields that rotate little and much."""

import numpy as np
import pytest
from astropy import units as u
from gammapy.irf import Background3D
from gammapy.maps import MapAxis

from gammapy_mimic.mimic.background import turn_background


@pytest.mark.parametrize("rotation_deg", [0.5, 16, 110])
def bench_turn_background(tell_growth, rotation_deg):
    """Bins along an axis: 50 of 0.1 deg with 20 energies are a model of H.E.S.S."""
    angles = np.linspace(20, 20 + rotation_deg, 30) * u.deg

    def make_model(n):
        energy = MapAxis.from_energy_bounds("0.1 TeV", "100 TeV", nbin=20)
        edges = np.linspace(-2.5, 2.5, n + 1) * u.deg
        axes = [MapAxis.from_edges(edges, name=name) for name in ("fov_lon", "fov_lat")]
        rate = np.random.default_rng(0).random((20, n, n))
        return Background3D([energy, *axes], rate, "s-1 MeV-1 sr-1")

    models = {n: make_model(n) for n in (25, 50, 100)}
    tell_growth(
        {n: lambda bkg=bkg: turn_background(bkg, angles) for n, bkg in models.items()}
    )
