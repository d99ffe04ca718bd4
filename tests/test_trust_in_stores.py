"""What contradicts events, time and site of a run is found in a store, once."""

import os
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from gammapy.data import DataStore
from helpers.runs import write_raw

from gammapy_mimic import MimicMaker, check_datastore, write_datastore

CTA = Path(os.environ.get("GAMMAPY_DATA", "")) / "cta-1dc" / "index" / "gps"
FILE, OBS_INDEX = "run_1.fits", "obs-index.fits.gz"


def set_pointing(events, gti, row):
    events.header["DEC_PNT"] += 3
    row["DEC_PNT"] += 3


def set_site(events, gti, row):
    events.header["GEOLON"] -= 180


def set_ontime(events, gti, row):
    for name in ("ONTIME", "LIVETIME"):
        events.header[name] *= 1.5


def set_horizon(events, gti, row):
    events.header["AZ_PNT"] += 90


def cut_good_time(events, gti, row):
    # a cloud, of which ONTIME knows
    gti.data["STOP"] -= 4
    events.header["ONTIME"] -= 4
    events.header["LIVETIME"] = events.header["ONTIME"] * events.header["DEADC"]
    events.data["TIME"][-1] = gti.data["STOP"][0] + 3


def at_one_place(events, gti, row):
    events.data["RA"], events.data["DEC"] = events.header["RA_PNT"], 21.0


def no_change(events, gti, row):
    pass


CASES = [
    (no_change, []),
    (set_pointing, [("warning", "run 1: the median of its events lies 3.")]),
    (set_site, [("error", "below the horizon of its site (GEOLON = -163.5 deg")]),
    (set_ontime, [("error", "ONTIME is 2520.0 s, the GTIs sum up to 1680.0 s")]),
    (set_horizon, [("warning", "AZ_PNT = 112.7 deg are 64 deg from")]),
    (cut_good_time, [("warning", "run 1: 1 of 200 events lie more than 2 s outside")]),
    (at_one_place, [("error", "all 200 events are at one place, RA = 83.6333")]),
]


@pytest.mark.parametrize(
    ("change", "expected"), CASES, ids=lambda it: it.__name__ if callable(it) else ""
)
def test_what_cannot_be_true_is_found_once(change, expected, tmp_path):
    write_raw("full", tmp_path, n_events=200)
    with (
        fits.open(tmp_path / FILE, memmap=False) as file,
        fits.open(tmp_path / OBS_INDEX, memmap=False) as index,
    ):
        change(file["EVENTS"], file["GTI"], index["OBS_INDEX"].data[0])
        file.writeto(tmp_path / FILE, overwrite=True)
        index.writeto(tmp_path / OBS_INDEX, overwrite=True)
    table = check_datastore(tmp_path)
    # the index is not what this is about
    table = table[
        [
            "of the index" not in text and "in the index" not in text
            for text in table["MESSAGE"]
        ]
    ]
    assert len(table) == len(expected), table["MESSAGE"].tolist()
    for row, (level, words) in zip(table, expected, strict=True):
        assert row["LEVEL"] == level
        assert words in row["MESSAGE"]
        assert (row["OBS_ID"], row["FILE"], row["HDU"]) == (1, FILE, "EVENTS")


def test_broken_times_are_one_finding(tmp_path):
    write_raw("full", tmp_path, n_events=30)
    with fits.open(tmp_path / FILE, mode="update") as file:
        file["GTI"].data["STOP"] = np.nan
    assert not (check_datastore(tmp_path)["KEY"] == "RUN").any()


@pytest.mark.skipif(not CTA.is_dir(), reason="needs CTA-1DC in $GAMMAPY_DATA")
def test_mimics_of_a_store_with_a_false_site(tmp_path):
    findings = check_datastore(CTA)
    below = findings[findings["KEY"] == "RUN"]
    assert below["OBS_ID"].tolist() == [110380, 111140]
    assert all("below the horizon of its site" in text for text in below["MESSAGE"])
    store = DataStore.from_dir(CTA)
    maker = MimicMaker(alignment="radec", fov_alignment="radec")
    mimics = maker.run_pairs(store, store, [(110380, 111140)])
    write_datastore(mimics, tmp_path)
    assert not (check_datastore(tmp_path)["LEVEL"] == "error").any()
