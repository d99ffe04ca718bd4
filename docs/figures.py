"""Draw the figures of the README and of the gallery, from synthetic data."""

import io
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
from astropy import units as u
from PIL import Image

from gammapy_mimic import (
    AnnulusScrambler,
    DonorMatcher,
    MimicMaker,
    simulate_datastore,
)
from gammapy_mimic.plotting import plot_mimic, plot_scramble, plot_sky
from gammapy_mimic.validation import (
    background_systematic,
    field_checks,
    local_systematic,
    reduce_runs,
    significance_distribution,
    target_significance,
)

STATIC = Path(__file__).parent / "_static"
EDGES = [1, 2, 5, 20] * u.TeV


def save(figure, path, width=900):
    """Write a figure, as wide as a page, with a palette: a third of the bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=width / figure.get_size_inches()[0])
    image = Image.open(buffer).convert("RGB")
    image.quantize(64, dither=Image.Dither.NONE).save(path, optimize=True)
    plt.close(figure)


def figures():
    """Give names and figures."""
    simulated = simulate_datastore(
        tempfile.mkdtemp(), n_donors=20, rate_scatter=0.1, random_state=1
    )
    store, position = simulated.datastore, simulated.source.position
    targets = store.get_observations(simulated.target_ids)
    donors = store.get_observations(simulated.donor_ids)
    scrambler = AnnulusScrambler(position, random_state=1)
    scrambled = scrambler.run(targets[0])
    yield "scramble", plot_scramble(targets[0], scrambled, scrambler)[0].figure

    pairs = DonorMatcher(n_mimics=3, relax=["muon_efficiency"]).run(targets, donors)
    yield "pairs", pairs.peek()
    maker = MimicMaker(
        scrambler=AnnulusScrambler(simulated.weak_source.position), random_state=1
    )
    sets = [maker.run_pairs(targets, donors, pairs, mimic_set=n) for n in range(3)]
    mimics = [mimic for mimic_set in sets for mimic in mimic_set]
    donor = donors[str(pairs["DONOR_OBS_ID"][0])]
    yield "mimic", plot_mimic(donor, sets[0][0])[0].figure
    yield "camera", field_checks(donor, sets[0][0]).peek()
    yield "sky", plot_sky(sets[0][0]).figure

    datasets = [reduce_runs(it, position, energy_edges=EDGES) for it in sets]
    yield "significance", significance_distribution(datasets[0], n_toys=20).peek()
    yield "position", target_significance(datasets, position).peek()
    yield "local", local_systematic(mimics, position, energy_edges=EDGES).peek()
    yield "systematic", background_systematic(donors, energy_edges=EDGES).peek()


if __name__ == "__main__":
    for name, figure in figures():
        save(figure, STATIC / f"{name}.png")
