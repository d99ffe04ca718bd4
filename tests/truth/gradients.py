"""A gradient over the camera that the background models lack, found at a place.

Runs of the synthetic observatory, 0.5 deg from the position, with radially symmetric
background models: 20 %/deg towards the zenith are 7 % there, over all azimuths. By
other places of the same offset (reflected) it is more, as these have it, too. Run by
hand: python tests/truth/gradients.py [number of runs]
"""

import sys

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.time import Time

from gammapy_mimic.simulation import SyntheticBackground, simulate_observation
from gammapy_mimic.validation import background_systematic, local_systematic

CENTER = SkyCoord(75, 22, unit="deg")
START = Time("2020-01-10T20:00:00")
EDGES = [0.6, 2, 20] * u.TeV
RADII = [0.1, 0.2, 0.3, 0.5] * u.deg


def runs(gradient, number):
    """Runs around the centre."""
    background = SyntheticBackground(
        rate=20 / u.s,
        gradient=gradient / u.deg,
        gradient_energy=None,
        gradient_zenith=None,
    )
    for k in range(number):
        yield simulate_observation(
            CENTER.directional_offset_by(360 / number * k * u.deg, 0.5 * u.deg),
            START + k * u.day,
            obs_id=k + 1,
            background=background,
            background_irf="bkg_2d",
            random_state=k,
        )


def main():
    """Print a table."""
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 12
    for gradient in (0.0, 0.1, 0.2):
        observations = list(runs(gradient, number))
        row = background_systematic(observations, energy_edges=EDGES).table[0]
        truth = 0.5 * gradient / np.sqrt(2)
        sys.stdout.write(
            f"gradient {gradient:.0%}/deg, {truth:.1%} at the place; the whole field: "
            f"{row['SYSTEMATIC']:.1%} +- {row['SYSTEMATIC_ERR']:.1%}\n"
        )
        for method in ("background", "ring", "reflected"):
            options = {"radius": RADII, "energy_edges": EDGES, "method": method}
            found = local_systematic(observations, CENTER, **options).first_rows()
            texts = [
                f"{row['RADIUS']:.1f}: {row['SYSTEMATIC']:.1%} +- "
                f"{row['SYSTEMATIC_ERR']:.1%} (< {row['SYSTEMATIC_UL']:.1%})"
                for row in found
            ]
            sys.stdout.write(f"  {method:10} {', '.join(texts)}\n")


if __name__ == "__main__":
    main()
