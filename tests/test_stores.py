"""Data stores that gammapy opens, and runs that a campaign can do without."""

import shutil

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from gammapy.data import DataStore
from gammapy.irf import PSFMap
from gammapy.maps import MapAxis
from helpers.campaigns import OBJECTS, settings
from helpers.runs import make_run, write_raw

from gammapy_mimic import MimicCampaign, MimicMaker
from gammapy_mimic.checks import merged_store, observation_table, open_store
from gammapy_mimic.config import ConfigError, MimicAnalysisConfig

HDU_INDEX, OBS_INDEX = "hdu-index.fits.gz", "obs-index.fits.gz"
COLUMNS = ["TARGET_OBS_ID", "DONOR_OBS_ID", "MIMIC_SET"]


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    path = tmp_path_factory.mktemp("store") / "raw"
    objects = [{"header": {"OBJECT": OBJECTS[number]}} for number in range(1, 6)]
    return write_raw(["full"] * 5, path, runs=objects, n_events=40)


@pytest.fixture
def raw(template, tmp_path):
    return shutil.copytree(template, tmp_path / "raw")


def campaign(raw, tmp_path, **changes):
    content = settings(raw, tmp_path / "out", scramble=None, n_mimics=1, **changes)
    return MimicCampaign(MimicAnalysisConfig.model_validate(content))


def pairs_of(raw, tmp_path, **changes):
    pairs = campaign(raw, tmp_path, **changes).match()
    return np.array(pairs[COLUMNS].filled(-1).as_array().tolist()), pairs


def in_one_file(raw):
    with fits.open(raw / HDU_INDEX) as hdus, fits.open(raw / OBS_INDEX) as runs:
        tables = hdus[1].copy(), runs[1].copy()
        for table, name in zip(tables, ("HDU_INDEX", "OBS_INDEX"), strict=True):
            table.name = name
        fits.HDUList([fits.PrimaryHDU(), *tables]).writeto(raw / "both.fits")
    for name in (HDU_INDEX, OBS_INDEX):
        (raw / name).unlink()
    return raw / "both.fits"


def without_obs_index(raw):
    (raw / OBS_INDEX).unlink()
    return raw


@pytest.mark.parametrize("change", [in_one_file, without_obs_index])
def test_stores_that_gammapy_opens(change, raw, tmp_path):
    expected, _ = pairs_of(raw, tmp_path)
    store = change(raw)
    assert (pairs_of(store, tmp_path)[0] == expected).all()
    result = campaign(store, tmp_path).run()
    assert (result.made, result.complete) == (2, True)


def test_several_donor_stores(raw, tmp_path):
    expected, _ = pairs_of(raw, tmp_path, donors={"obs_ids": [3, 4, 5]})
    second = shutil.copytree(raw, tmp_path / "second")
    for folder, ids in ((raw, (1, 2, 3)), (second, (4, 5))):
        for name in (HDU_INDEX, OBS_INDEX):
            table = Table.read(folder / name)
            table[np.isin(table["OBS_ID"], ids)].write(folder / name, overwrite=True)
    # times that count from elsewhere
    runs = Table.read(second / OBS_INDEX)
    runs.meta["MJDREFI"] += 1
    for name in ("TSTART", "TSTOP"):
        runs[name] -= 86400
    runs.write(second / OBS_INDEX, overwrite=True)
    stores = [str(raw), str(second)]
    donors = {"datastore": stores, "where": {"OBJECT": "Off data"}}
    found, pairs = pairs_of(raw, tmp_path, donors=donors)
    assert (found == expected).all()
    assert np.ptp(pairs.donors["TIME"]) < 1e-6
    assert campaign(raw, tmp_path, donors=donors).run().complete
    text = (tmp_path / "out" / "provenance.yaml").read_text()
    assert f"second/{OBS_INDEX}" in text

    # an index that does not say from when its times count
    for key in ("MJDREFI", "MJDREFF", "TIMESYS"):
        runs.meta.pop(key)
    runs.write(second / OBS_INDEX, overwrite=True)
    _, pairs = pairs_of(raw, tmp_path, donors=donors)
    assert np.ptp(pairs.donors["TIME"]) < 1e-6
    twice = {"datastore": [str(raw), str(raw)]}
    with pytest.raises(ConfigError, match="3 OBS_IDs are in several data stores, such"):
        campaign(raw, tmp_path, donors=twice).match()


def test_merged_store_leaves_the_stores_as_they_are(raw):
    store = open_store(raw)
    before = store.hdu_table.copy(), store.obs_table.copy()
    assert merged_store([store]).obs(2).obs_id == 2
    assert (store.hdu_table == before[0]).all()
    assert store.obs_table.colnames == before[1].colnames


@pytest.mark.parametrize("change", [lambda raw: raw, without_obs_index, "no MJDREF"])
def test_a_missing_file_leaves_out_one_run(change, raw, tmp_path):
    for obs_id in (1, 4):
        (raw / f"run_{obs_id}.fits").unlink()
    if callable(change):
        change(raw)
    else:
        with fits.open(raw / OBS_INDEX, mode="update") as hdus:
            for key in ("MJDREFI", "MJDREFF", "TIMESYS"):
                del hdus[1].header[key]
    changes = {"donors": {"obs_ids": [3, 5]}} if change is without_obs_index else {}
    named = [2] if change is without_obs_index else [1, 2]
    content = settings(raw, tmp_path / "out", scramble=None, n_mimics=1, **changes)
    content["observations"]["obs_ids"] = named
    work = MimicCampaign(MimicAnalysisConfig.model_validate(content))
    pairs = work.match()
    assert pairs.targets["OBS_ID"].tolist() == [2]
    assert pairs.donors["OBS_ID"].tolist() == [3, 5]
    if change is not without_obs_index:
        notes = " ".join(pairs.notes)
        assert "targets: run 1, left out: its file is missing: " in notes
        assert "donors: run 4, left out: its file is missing: " in notes
    assert work.run().made == 1


def test_observation_table_of_headers(raw, caplog):
    (raw / "run_2.fits").unlink()
    store = DataStore.from_dir(raw)
    table = observation_table(store.hdu_table)
    assert table["OBS_ID"].tolist() == [1, 3, 4, 5]
    assert table["OBJECT"].tolist() == [OBJECTS[it] for it in (1, 3, 4, 5)]
    rows = store.obs_table[np.isin(store.obs_table["OBS_ID"], table["OBS_ID"])]
    assert (table["TSTART"] == rows["TSTART"]).all()
    assert "Run 2 is left out" in caplog.text
    for path in raw.glob("run_*"):
        path.unlink()
    with pytest.raises(OSError, match="the EVENTS of no run can be read"):
        observation_table(store.hdu_table)


def test_file_of_another_run_is_refused(raw):
    shutil.copy(raw / "run_3.fits", raw / "run_4.fits")
    store = DataStore.from_dir(raw)
    with pytest.raises(ValueError, match=r"run 4: .*run_4.fits, .* says OBS_ID = 3"):
        MimicMaker().run_pairs(store, store, [(1, 4)])
    assert len(MimicMaker().run_pairs(store, store, [(1, 3)])) == 1


def test_maps_as_irfs_are_refused_by_name(raw):
    target, donor = make_run("full", obs_id=1), make_run("full", obs_id=2)
    axes = [MapAxis.from_bounds(0, 1, 4, unit="deg", name="rad")]
    axes.append(MapAxis.from_energy_bounds("1 TeV", "10 TeV", 2, name="energy_true"))
    donor.psf = PSFMap.from_gauss(axes[1], axes[0])
    with pytest.raises(ValueError, match=r"run 2: its psf is a map \(PSFMap\)"):
        MimicMaker().run(target, donor)
    # on disk, as the index says
    table = Table.read(raw / HDU_INDEX)
    table["HDU_CLASS"] = [
        str(it).replace("psf_table", "psf_map") for it in table["HDU_CLASS"]
    ]
    table.write(raw / HDU_INDEX, overwrite=True)
    store = DataStore.from_dir(raw)
    with pytest.raises(ValueError, match=r"its psf is a map \(psf_map\)"):
        MimicMaker().run_pairs(store, store, [(1, 3)])
