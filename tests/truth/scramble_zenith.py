"""Refilled circles on the zenith and on the horizon side of steep off runs: a table.

Run by hand: ``python tests/truth/scramble_zenith.py``, with ``$GAMMAPY_DATA`` set; two
minutes. No source is put in: what the ring predicts is compared with the untouched
events, in all energies and below 1.2 TeV, with the Poisson error of the untouched ones.
"""

import logging
import warnings

import numpy as np
from astropy import units as u
from gammapy.data import DataStore

from gammapy_mimic import AnnulusScrambler

OBS_IDS = (26827, 29683, 29433, 26791, 29526)
OFFSETS_DEG, TURNS_DEG, E_MAX = (0.5, 1.0), (-30, 0, 30), 1.2


def zenith_angle_deg(observation):
    """Position angle at the pointing of the direction to the zenith, at mid time."""
    altaz = observation.get_pointing_altaz(observation.tmid)
    above = altaz.directional_offset_by(0 * u.deg, 0.1 * u.deg)
    pointing = observation.pointing.fixed_icrs.icrs
    return pointing.position_angle(above.icrs).deg


def ratios(acceptance, offset_deg, side_deg):
    """Events left over untouched ones, and the error, in all energies and below."""
    store = DataStore.from_dir("$GAMMAPY_DATA/hess-dl3-dr1")
    untouched, left = np.zeros(2), np.zeros(2)
    for obs_id in OBS_IDS:
        run = store.obs(obs_id)
        pointing, up = run.pointing.fixed_icrs.icrs, zenith_angle_deg(run)
        for turn_deg in TURNS_DEG:
            angle = (up + side_deg + turn_deg) * u.deg
            source = pointing.directional_offset_by(angle, offset_deg * u.deg)
            options = {"method": "refill", "acceptance": acceptance}
            scrambler = AnnulusScrambler(source, **options)
            for seed in range(4):
                new = scrambler.run(run, random_state=seed)
                left += counts(new, source) / 4
            untouched += counts(run, source)
    return left / untouched, np.sqrt(untouched) / untouched


def counts(observation, source):
    table = observation.events.table
    position = observation.events.radec
    inside = position.separation(source).deg <= 0.3
    return np.array([inside.sum(), (inside & (table["ENERGY"] < E_MAX)).sum()])


def main():
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    for acceptance in ("events", "background", "auto"):
        for offset_deg in OFFSETS_DEG:
            for side, side_deg in (("zenith", 0), ("horizon", 180)):
                ratio, error = ratios(acceptance, offset_deg, side_deg)
                text = f"all {ratio[0]:.3f} +- {error[0]:.3f}, below {E_MAX} TeV "
                text += f"{ratio[1]:.3f} +- {error[1]:.3f}"
                label = f"{acceptance:10s} {offset_deg} deg {side:7s}"
                print(label, text, flush=True)


if __name__ == "__main__":
    main()
