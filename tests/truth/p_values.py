"""p-values of empty synthetic campaigns, whose mimic sets share donors, are uniform.

In a campaign each target has a donor, a donor is used once in a set, and no pair of
target and donor twice. The position of interest lies at one of a few places of the
camera (wobble positions), as the target says: a donor has the same events at a place
whatever the target. Run by hand: python tests/truth/p_values.py
"""

import sys

import numpy as np
from scipy.stats import kstest

from gammapy_mimic.validation import TargetSignificance

EXPECTED = 40.0  # counts of a run at the position
CAMPAIGNS = {
    # donors, targets, sets, places
    "8 donors, 4 targets, 5 sets": (8, 4, 5, 4),
    "8 donors, 4 targets, 8 sets": (8, 4, 8, 4),
    "8 donors, 4 targets, 8 sets, 2 places": (8, 4, 8, 2),
    "24 donors, 21 targets, 20 sets": (24, 21, 20, 4),
    "24 donors, 21 targets, 20 sets, 2 places": (24, 21, 20, 2),
    "24 donors, 21 targets, 20 sets, 1 place": (24, 21, 20, 1),
}
N_CAMPAIGNS = 1000
FALSE_ALARM = 1e-3


def campaign(n_donors, n_targets, n_sets, n_places, rng, signal=0.0):
    """One campaign, with what its mimic sets share as it is known from their events."""
    counts = rng.poisson(EXPECTED, (n_donors, n_places))
    donors, shifts = rng.permutation(n_donors), rng.permutation(n_donors)[:n_sets]
    targets = np.arange(n_targets)
    used = np.zeros((n_sets, n_donors, n_places), bool)
    for number, shift in enumerate(shifts):
        used[number, donors[(targets + shift) % n_donors], targets % n_places] = True
    # a part of the donor's events, as `shared_events` counts them
    total = np.einsum("sdp,dp->s", used, counts)
    both = np.einsum("sdp,tdp,dp->st", used, used, counts)
    expected = n_targets * EXPECTED
    target = rng.poisson(expected + signal)
    found = TargetSignificance(
        (total - expected) / np.sqrt(expected),
        (target - expected) / np.sqrt(expected),
        shared=both / np.sqrt(np.outer(total, total)),
    )
    return found


def p_values(setting, n_campaigns, seed, *, signal=0.0, is_shared=True):
    """p-values, each spread evenly over its step, and the mean effective number."""
    rng = np.random.default_rng(seed)
    found, effective = [], []
    for _ in range(n_campaigns):
        one = campaign(*setting, rng, signal)
        if not is_shared:
            one = TargetSignificance(one.mimics, one.target)
        found.append(one.p_value - rng.uniform() / (one.n_independent + 1))
        effective.append(one.n_effective)
    return np.array(found), np.mean(effective)


def main():
    """Print the table; a control of a signal of 1.5 deviations has to fail."""
    for name, setting in CAMPAIGNS.items():
        expected = setting[1] * EXPECTED
        for text, options in {
            "": {},
            "sharing not known": {"is_shared": False},
            "signal": {"signal": 1.5 * np.sqrt(expected)},
        }.items():
            values, effective = p_values(setting, N_CAMPAIGNS, 2, **options)
            test = kstest(values, "uniform").pvalue
            low = np.mean(values < 0.05)
            verdict = "uniform" if test > FALSE_ALARM else "NOT uniform"
            sys.stdout.write(
                f"{name:42} {text:18} n_eff {effective:5.1f} KS {test:8.2g} "
                f"P(p<0.05) = {low:.3f} {verdict}\n"
            )


if __name__ == "__main__":
    main()
