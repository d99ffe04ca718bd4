"""Mimics as the off counts of an On/Off analysis; the long table is in truth/."""

import numpy as np
import pytest
from astropy import units as u
from gammapy.datasets import MapDataset
from gammapy.makers import MapDatasetMaker, SpectrumDatasetMaker
from gammapy.maps import MapAxis, WcsGeom
from numpy.testing import assert_allclose
from truth.on_off_rate import (
    MISMATCH,
    draw,
    empty_dataset,
    experiment,
    source_position,
    summary,
)

from gammapy_mimic import MimicOnOffMaker
from gammapy_mimic.analysis.on_off_maker import _groups


def spectrum(target):
    dataset = empty_dataset().copy(name="target")
    geom = dataset.counts.geom
    dataset.counts = SpectrumDatasetMaker().make_counts(geom, target)
    return dataset


def test_rate_mismatch_is_corrected():
    """20 % more background in the mimic: 40 experiments, 4 sigma; control fails."""
    results = {way: summary(values) for way, values in experiment(40).items()}
    bias, error, covered = results["rate"]
    assert abs(bias) < 4 * error
    assert error < 0.05
    # binomial of 40 with 0.68: 0.46 to 0.90 are 3 sigma
    assert 0.46 <= covered <= 0.9
    bias, error, _ = results["exposure"]
    assert bias < -2 * error


def test_error_of_the_ratio_is_carried():
    target, mimic = draw(1)
    maker = MimicOnOffMaker(acceptance="rate")
    dataset = maker.run(spectrum(target), mimic, target=target)
    table = maker.table
    assert_allclose(1 / table["RATIO"][0], MISMATCH, rtol=0.2)
    off = SpectrumDatasetMaker().make_counts(dataset.counts.geom, mimic).data[:, 0, 0]
    ratio, error = np.asarray(table["RATIO"]), np.asarray(table["RATIO_ERR"])
    background = (dataset.alpha.data * dataset.counts_off.data)[:, 0, 0]
    assert_allclose(background[off > 0], (ratio * off)[off > 0])
    # relative variance: that of the off counts and that of the ratio
    some = off > 0
    relative = 1 / dataset.counts_off.data[:, 0, 0][some]
    assert_allclose(relative, 1 / off[some] + (error / ratio)[some] ** 2)


def test_exposure_and_background():
    target, mimic = draw(2)
    dataset = MimicOnOffMaker().run(spectrum(target), mimic)
    # the same IRFs and livetime
    assert_allclose(dataset.alpha.data[dataset.counts_off.data > 0], 1, rtol=0.01)
    two = MimicOnOffMaker().run(spectrum(target), [mimic, mimic])
    assert_allclose(two.counts_off.data, 2 * dataset.counts_off.data)
    assert_allclose(two.alpha.data[two.counts_off.data > 0], 0.5, rtol=0.01)
    with pytest.raises(ValueError, match="need a background model"):
        MimicOnOffMaker(acceptance="background").run(spectrum(target), mimic)


def test_maps():
    target, mimic = draw(3)
    energy = MapAxis.from_energy_bounds("0.8 TeV", "20 TeV", nbin=3)
    true = MapAxis.from_energy_bounds("0.3 TeV", "60 TeV", nbin=6, name="energy_true")
    geom = WcsGeom.create(
        skydir=source_position(), width=2 * u.deg, binsz=0.1 * u.deg, axes=[energy]
    )
    empty = MapDataset.create(geom, energy_axis_true=true)
    maker = MapDatasetMaker(selection=["counts", "exposure", "background"])
    dataset = maker.run(empty, target)
    for way in ("exposure", "background", "rate"):
        maker = MimicOnOffMaker(acceptance=way)
        on_off = maker.run(dataset, mimic, target=target)
        assert on_off.name == dataset.name
        assert type(on_off).__name__ == "MapDatasetOnOff"
        expected = 1 / MISMATCH if way == "rate" else 1.0
        table = maker.excess(on_off)
        assert_allclose(table["BACKGROUND"][0] / table["N_OFF"][0], expected, rtol=0.06)
        assert_allclose(table["N_ON"][0], table["N_ON"][1:].sum())
        assert table["EXCESS_ERR"][0] > np.sqrt(table["N_ON"][0])


def test_bins_are_joined_until_they_have_counts():
    assert _groups([900, 90, 30, 8, 3], [900, 90, 30, 8, 3]).tolist() == [2, 1, 0, 0, 0]
    assert _groups([3, 90, 30], [3, 90, 30]).tolist() == [1, 1, 0]
    assert _groups([3, 2], [3, 2]).tolist() == [0, 0]


def test_what_is_wrong():
    target, mimic = draw(4)
    with pytest.raises(ValueError, match="acceptance = 'rates': must be one of"):
        MimicOnOffMaker(acceptance="rates")
    with pytest.raises(TypeError, match="needs target="):
        MimicOnOffMaker(acceptance="rate").run(spectrum(target), mimic)
    with pytest.raises(TypeError, match="must be a gammapy Observation"):
        MimicOnOffMaker().run(spectrum(target), [5])
    with pytest.raises(ValueError, match="mimics: there is none"):
        MimicOnOffMaker().run(spectrum(target), [])
