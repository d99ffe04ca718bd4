"""What runs are reduced from: held in memory, with background models without gaps."""

import copy

import numpy as np
import pytest
from gammapy.irf import Background2D, Background3D
from helpers.runs import open_raw

from gammapy_mimic.validation.reduction import fill_gaps, in_memory


@pytest.fixture
def bkg(tmp_path):
    return open_raw("hess", tmp_path, n_events=20)[0].bkg


def with_gaps(bkg, rng):
    """Model of the same axes with random rates, a third of them 0 and some NaN."""
    data = rng.uniform(1e-6, 1, bkg.data.shape).astype("f4")
    data[rng.random(data.shape) < 1 / 3] = 0
    data[rng.random(data.shape) < 1 / 30] = np.nan
    new = copy.copy(bkg)
    new.data = data
    return new


@pytest.mark.parametrize("kind", [Background2D, Background3D])
def test_gaps_are_filled_as_gammapy_does(bkg, kind):
    bkg = bkg.to_2d() if kind is Background2D else bkg
    given = with_gaps(bkg, np.random.default_rng(1))
    expected, before = copy.deepcopy(given), given.data.copy()
    expected.interp_missing_data("energy")
    found = fill_gaps(given)
    np.testing.assert_array_equal(found.data, expected.data)
    np.testing.assert_array_equal(given.data, before)
    assert np.sum(expected.data != before) > 3
    assert fill_gaps(None) is None


def test_a_held_run_is_not_read_again(tmp_path):
    run = open_raw("hess", tmp_path, n_events=20)[0]
    held = in_memory(run)
    assert held.events is held.events
    assert held.bkg is held.bkg
    assert run.events is not run.events
    assert held.obs_id == run.obs_id
