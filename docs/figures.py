"""Draw the figures of the README and of the first page, from synthetic data."""

import tempfile
from pathlib import Path

from gammapy_mimic import AnnulusScrambler, MimicMaker, simulate_datastore
from gammapy_mimic.plotting import plot_mimic, plot_scramble

STATIC = Path(__file__).parent / "_static"


def draw():
    """Write mimic.png and scramble.png."""
    simulated = simulate_datastore(tempfile.mkdtemp(), random_state=1)
    store = simulated.datastore
    target = store.obs(simulated.target_ids[0])
    donor = store.obs(simulated.donor_ids[0])
    mimic = MimicMaker().run(target, donor)
    figure = plot_mimic(donor, mimic)[0].figure
    figure.savefig(STATIC / "mimic.png", dpi=80)

    scrambler = AnnulusScrambler(simulated.source.position, random_state=1)
    scrambled = scrambler.run(target)
    figure = plot_scramble(target, scrambled, scrambler)[0].figure
    figure.savefig(STATIC / "scramble.png", dpi=60)


if __name__ == "__main__":
    draw()
