"""An observation gives the same mimic, byte for byte, whatever was done with it."""

import os
import pickle
from pathlib import Path

import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.time import Time
from gammapy.data import DataStore
from helpers.runs import KINDS, POINTING, write_raw

from gammapy_mimic import AnnulusScrambler, MimicMaker
from gammapy_mimic.writer import write_run


def untouched(observation):
    return observation


def looked_at(observation):
    assert str(observation)
    for name in ("gti", "meta", "pointing", "events", "rad_max", "bkg"):
        getattr(observation, name)
    return observation


def events_set(observation):
    observation.events = observation.events
    return observation


def gti_set(observation):
    # gammapy lets nobody set it once there are events
    observation._gti = observation.gti
    return observation


def pickled(observation):
    return pickle.loads(pickle.dumps(observation))  # noqa: S301


def copied(observation):
    return observation.copy()


def in_memory(observation):
    return observation.copy(in_memory=True)


def filtered(observation):
    gti = observation.gti
    start, stop = gti.time_start.min() - 1 * u.h, gti.time_stop.max() + 1 * u.h
    return observation.select_time(Time([start, stop]))


WAYS = (looked_at, events_set, gti_set, pickled, copied, in_memory, filtered)


def hdus(path):
    """Bytes of all HDUs of a file, by name."""
    content = path.read_bytes()
    with fits.open(path) as hdulist:
        places = {hdu.name: hdu.fileinfo() for hdu in hdulist}
    return {
        name: content[place["hdrLoc"] : place["datLoc"] + place["datSpan"]]
        for name, place in places.items()
    }


def made(maker, target, donor, path):
    write_run(maker.run(target, donor), path, overwrite=True)
    return hdus(path)


def assert_same_mimics(maker, target, donor, path, *, is_target=True):
    """``target`` and ``donor`` give a fresh observation each time."""
    expected = made(maker, target(), donor(), path)
    for way in WAYS:
        for pair in [(target(), way(donor()))] + is_target * [(way(target()), donor())]:
            found = made(maker, *pair, path)
            assert len(found) == len(expected), way.__name__
            # IRFs that gammapy has decoded have to be encoded again
            names = ("EVENTS", "GTI") if way is in_memory else expected
            for name in names:
                assert found[name] == expected[name], (way.__name__, name)


@pytest.fixture(scope="module")
def target(tmp_path_factory):
    options = {"pointing": SkyCoord(20, -50, unit="deg"), "n_events": 5}
    options["start"] = Time("2021-03-02T19:47:00", scale="tt")
    folder = tmp_path_factory.mktemp("target")
    store = DataStore.from_dir(write_raw("full", folder, **options))
    return lambda: store.obs(1)


@pytest.mark.parametrize("kind", KINDS)
def test_constructed(kind, target, tmp_path):
    store = DataStore.from_dir(write_raw(kind, tmp_path / "raw", n_events=40))

    def donor():
        return store.obs(1, required_irf="all-optional")

    maker = MimicMaker(background="target", allow_other_telescope=True)
    # the target is the same for all kinds
    path = tmp_path / "mimic.fits"
    assert_same_mimics(maker, target, donor, path, is_target=kind == "full")


@pytest.mark.parametrize(
    ("kind", "method"),
    [("full", "shuffle"), ("hess", "refill"), ("multi_gti", "shuffle")],
)
def test_scrambled(kind, method, target, tmp_path):
    store = DataStore.from_dir(write_raw(kind, tmp_path / "raw", n_events=1000))
    source = POINTING.directional_offset_by(50 * u.deg, 1 * u.deg)
    scrambler = AnnulusScrambler(source, method=method, random_state=1)
    maker = MimicMaker(
        background="target", allow_other_telescope=True, scrambler=scrambler
    )

    def donor():
        return store.obs(1)

    path = tmp_path / "mimic.fits"
    assert_same_mimics(maker, target, donor, path, is_target=False)


def test_a_changed_event_is_seen(target, tmp_path):
    """Negative control: one number that differs gives other bytes."""
    maker = MimicMaker(background="target")
    expected = made(maker, target(), target(), tmp_path / "mimic.fits")
    donor = target().copy(in_memory=True)
    donor.events.table["ENERGY"][2] *= 1.0001
    found = made(maker, target(), donor, tmp_path / "mimic.fits")
    assert found["EVENTS"] != expected["EVENTS"]


STORES = {
    "hess-dl3-dr1": (23523, 25345),
    "magic/rad_max/data": (5029747, 5029748),
    "cta-1dc/index/gps": (110380, 111140),
}


@pytest.mark.data
# gammapy reads the background of CTA-1DC
@pytest.mark.filterwarnings("ignore:.*did not parse as fits unit")
@pytest.mark.parametrize("store", STORES)
def test_real(store, tmp_path):
    folder = Path(os.environ.get("GAMMAPY_DATA", "/nonexistent")) / store
    if not (folder / "hdu-index.fits.gz").exists():
        pytest.skip(f"needs {store} in $GAMMAPY_DATA")
    runs = DataStore.from_dir(folder)

    def run(number):
        obs_id = STORES[store][number]
        return lambda: runs.obs(obs_id, "all-optional")

    maker = MimicMaker(alignment="radec", background="target")
    path = tmp_path / "mimic.fits"
    assert_same_mimics(maker, run(0), run(1), path)
