"""Does the prior of a background model give the right error of a source's flux?

Each experiment measures the systematic on K donors, draws the background of a stack and
a source, and fits both with gammapy. Truth, in 0.63 to 0.73 of the fits: the flux lies
within its error; the pulls have a width of 0.9 to 1.15. The error is that of
`Fit().run`, and the one when Minuit computes it a second time, from smaller steps.

    python tests/truth/prior.py [number of fits] [case ...]
"""

import sys

import numpy as np
from astropy import units as u
from gammapy.datasets import SpectrumDataset
from gammapy.irf import EDispKernelMap
from gammapy.maps import Map, MapAxis, RegionGeom
from gammapy.modeling import Fit
from gammapy.modeling.models import PowerLawSpectralModel, SkyModel

from gammapy_mimic.validation import BackgroundSystematic

EDGES = [0.5, 0.8, 1.3, 2.1, 3.4, 20] * u.TeV
RUN = np.array([400.0, 380.0, 200.0, 100.0, 80.0])
AXIS = MapAxis.from_energy_edges(EDGES)
TRUE = MapAxis.from_energy_edges(np.geomspace(0.4, 25, 25) * u.TeV, name="energy_true")
GEOM = RegionGeom.create("icrs;circle(0,0,0.1)", axes=[AXIS])
AMPLITUDE = 2e-12


def factors(rng, number, *, norm=0.0, own=0.0, tilt=0.0):
    """Counts over prediction of runs: a common norm, each bin's own, and a tilt."""
    center = np.sqrt(EDGES[1:] * EDGES[:-1]).value
    common = 1 + rng.normal(0, norm, (number, 1))
    bins = 1 + rng.normal(0, own, (number, len(RUN)))
    return (common * bins * center ** -rng.normal(0, tilt, (number, 1))).clip(0.01)


def measured(rng, n_donors, uses, **truth):
    """Systematic of donors, each of which is used several times."""
    counts = rng.poisson(RUN * factors(rng, n_donors, **truth))
    donors = np.repeat(np.arange(n_donors), uses)
    return BackgroundSystematic.from_counts(
        counts[donors], np.tile(RUN, (len(donors), 1)), donors, energy_edges=EDGES
    )


def stack(rng, model, factor, scale=10):
    """Counts of a source and of the background of ``scale`` runs, wrong by a factor."""
    dataset = SpectrumDataset.create(GEOM, energy_axis_true=TRUE, name="stack")
    dataset.exposure.data[...] = 7.2e9
    dataset.edisp = EDispKernelMap.from_diagonal_response(
        energy_axis=AXIS, energy_axis_true=TRUE, geom=GEOM.to_image()
    )
    background = scale * RUN[:, np.newaxis, np.newaxis]
    dataset.background.data = background
    dataset.mask_safe.data[...] = True
    dataset.gti = None
    spectrum = PowerLawSpectralModel(
        amplitude=AMPLITUDE * u.Unit("TeV-1 s-1 cm-2"), index=2.5
    )
    spectrum.index.frozen = True
    dataset.models = [SkyModel(spectral_model=spectrum, name="source")]
    expected = dataset.npred_signal().data + background * factor.reshape(-1, 1, 1)
    dataset.counts = Map.from_geom(GEOM, data=rng.poisson(expected).astype(float))
    dataset.models = [*dataset.models, model]
    return dataset


def exact_error(dataset):
    """Error of the flux from exact derivatives over that of the fit.

    For models that are linear in their parameters.
    """
    parameters = dataset.models.parameters.free_parameters
    derivative, prior = [], []
    for parameter in parameters:
        with parameters.restore_status():
            npred = dataset.npred().data.copy()
            step = parameter.value or 1.0
            parameter.value += step
            derivative.append((dataset.npred().data - npred).ravel() / step)
        has_prior = parameter.prior is not None
        prior.append(parameter.prior.sigma.value**-2 if has_prior else 0.0)
    unit = np.array([AMPLITUDE, *np.ones(len(prior) - 1)])[:, np.newaxis]
    derivative = unit * derivative
    weight = (dataset.counts.data / dataset.npred().data ** 2).ravel()
    curvature = (derivative * weight) @ derivative.T + np.diag(prior)
    error = AMPLITUDE * np.sqrt(np.linalg.inv(curvature)[0, 0])
    return error / dataset.models.parameters["amplitude"].error


def pulls(
    seed,
    n_fits,
    *,
    n_donors,
    kind="norm-tilt",
    uses=1,
    n_runs=1,
    frozen=False,
    **truth,
):
    """Pulls of the flux in many experiments; ``frozen``: with the mean background.

    Shape (2, n_fits): with gammapy's error, and with the one computed again.
    """
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(n_fits):
        systematic = measured(rng, n_donors, uses, **truth)
        model = systematic.to_model("stack", kind, n_runs=n_runs)
        for parameter in model.parameters if frozen else ():
            parameter.frozen, parameter.prior = True, None
        factor = factors(rng, n_runs, **truth).mean(axis=0)
        dataset = stack(rng, model, factor)
        minuit = Fit().run([dataset]).optimize_result.minuit
        flux = dataset.models.parameters["amplitude"]
        errors = [flux.error]
        minuit.hesse()
        errors.append(minuit.errors[0] * flux.scale)
        found.append((flux.value - AMPLITUDE) / np.array(errors))
    return np.transpose(found)


CASES = {
    "common norm, 5 donors": {"n_donors": 5, "norm": 0.1},
    "common norm, 20 donors": {"n_donors": 20, "norm": 0.1},
    "common norm, 5 donors x 10": {"n_donors": 5, "uses": 10, "norm": 0.1},
    "common norm, stack of 20": {"n_donors": 20, "n_runs": 20, "norm": 0.1},
    "each bin, 20 donors": {"n_donors": 20, "own": 0.1, "kind": "binwise"},
    "each bin, stack of 20": {
        "n_donors": 20,
        "n_runs": 20,
        "own": 0.1,
        "kind": "binwise",
    },
    "common norm, 20 donors, binwise": {
        "n_donors": 20,
        "norm": 0.1,
        "kind": "binwise",
    },
    "norm and tilt, 20 donors": {"n_donors": 20, "norm": 0.1, "tilt": 0.1},
    "norm and tilt, 20 donors, binwise": {
        "n_donors": 20,
        "norm": 0.1,
        "tilt": 0.1,
        "kind": "binwise",
    },
}


if __name__ == "__main__":
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    wanted = sys.argv[2:] or CASES
    for name in wanted:
        found = pulls(1, number, **CASES[name])
        held, width = np.mean(np.abs(found) < 1, axis=1), found.std(axis=1)
        print(
            f"10 % {name:32} coverage {held[0]:.3f} pulls {found[0].mean():+.2f} +- "
            f"{width[0]:.2f}, computed again {held[1]:.3f} +- {width[1]:.2f}",
            flush=True,
        )
