"""The main job: from runs to a reduced data store of mimics, with figures."""

from pathlib import Path

import numpy as np
import pytest
from astropy import units as u
from gammapy.data import DataStore
from helpers.faults import everything
from helpers.runs import POINTING, open_raw

from gammapy_mimic import check_datastore
from gammapy_mimic.demo import run_demo


def test_without_data(tmp_path):
    table = run_demo(tmp_path / "demo", random_state=3)
    assert list(table["run"]) == [1001, 1002, 1003, 1004]
    assert len(np.unique(table["donor"])) == 4
    # the donor with the weak source is among them
    assert list(table["scrambled"]) == ["Weak source", "-", "-", "-"]
    assert (tmp_path / "demo" / "figures" / "scrambled_2005.png").stat().st_size > 0
    store = DataStore.from_dir(tmp_path / "demo" / "mimics")
    assert list(store.obs_ids) == list(table["run"])
    for row in table:
        events = store.obs(row["run"]).events.table
        assert events.meta["MIM_DON"] == row["donor"]
        assert len(events) == row["events"]
        assert (tmp_path / "demo" / "figures" / f"{row['run']}.png").stat().st_size > 0
        # the synthetic background models are true: five Poisson deviations
        assert abs(row["counts"] - row["background"]) < 5 * row["background"] ** 0.5
    assert len(check_datastore(tmp_path / "demo" / "mimics")) == 0
    before = everything(tmp_path)
    for options in ({}, {"datastore": tmp_path / "raw", "targets": [1]}):
        with pytest.raises(FileExistsError, match=r"holds results .*\(--overwrite\)"):
            run_demo(tmp_path / "demo", random_state=3, **options)
    store = tmp_path / "demo" / "runs"
    with pytest.raises(FileExistsError, match="lies in the folder"):
        run_demo(tmp_path / "demo", datastore=store, targets=[1001], overwrite=True)
    assert everything(tmp_path) == before
    # with runs of one's own, nothing of the first demo is left; what is no result stays
    (tmp_path / "demo" / "figures" / "mine.png").write_text("mine")
    open_raw(["full"] * 2, tmp_path / "raw", n_events=200)
    options = {"datastore": tmp_path / "raw", "targets": [1], "donors": [2]}
    run_demo(tmp_path / "demo", overwrite=True, **options)
    left = {str(it.relative_to(tmp_path / "demo")) for it in _files(tmp_path / "demo")}
    stores = {"mimics/1.fits", "mimics/obs-index.fits.gz", "mimics/hdu-index.fits.gz"}
    names = ("1", "scrambled_2", "mine")
    figures = {f"figures/{name}.png" for name in names}
    assert left == {*stores, *figures, "pairs.ecsv", ".demo.json"}


def _files(folder):
    return filter(Path.is_file, folder.rglob("*"))


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("name", ["mimics/1.fits", "runs/a", "pairs.ecsv"])
def test_files_of_somebody_else(tmp_path, name, overwrite):
    path = tmp_path / "demo" / name
    path.parent.mkdir(parents=True)
    path.write_text("mine")
    with pytest.raises(FileExistsError, match=r"demo holds .*\(--out\)"):
        run_demo(tmp_path / "demo", overwrite=overwrite)
    assert everything(tmp_path) == {f"demo/{name}": b"mine"}


def test_runs_of_ones_own(tmp_path):
    open_raw(["full", "full", "full"], tmp_path / "raw", n_events=200)
    table = run_demo(
        tmp_path / "demo", datastore=tmp_path / "raw", targets=[1, 3], donors=[2, 1]
    )
    assert list(table["run"]) == [1, 3]
    assert list(table["donor"]) == [2, 1]


def test_donors_are_matched_if_not_given(tmp_path):
    """Run 3 points elsewhere, at another zenith angle."""
    far = {"pointing": POINTING.directional_offset_by(0 * u.deg, 40 * u.deg)}
    near = {"pointing": POINTING.directional_offset_by(0 * u.deg, 3 * u.deg)}
    open_raw(["full"] * 3, tmp_path / "raw", n_events=200, runs=[{}, near, far])
    options = {"datastore": tmp_path / "raw", "targets": [1]}
    table = run_demo(tmp_path / "demo", **options)
    assert list(table["donor"]) == [2]
    with pytest.raises(ValueError, match="no target has a donor"):
        run_demo(tmp_path / "none", datastore=tmp_path / "raw", targets=[3])


def test_wrong_runs(tmp_path):
    open_raw(["full", "full"], tmp_path / "raw", n_events=20)
    options = {"datastore": tmp_path / "raw"}
    with pytest.raises(ValueError, match="runs 5, 7 are not in the data store"):
        run_demo(tmp_path / "demo", targets=[1, 5], donors=[2, 7], **options)
    with pytest.raises(ValueError, match="2 targets and 1 donors given"):
        run_demo(tmp_path / "demo", targets=[1, 2], donors=[2], **options)
    assert not (tmp_path / "demo").exists()
