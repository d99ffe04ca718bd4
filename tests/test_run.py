"""Runs as arrays, and the observations that are made of them when looked at."""

import copy
import pickle

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.time import Time
from gammapy.data import DataStore, Observation
from helpers.compare import assert_same_background, assert_same_irf, exact_fov
from helpers.runs import (
    FULL_ENCLOSURE,
    KINDS,
    POINTING,
    make_run,
    specification,
    write_file,
)
from numpy.testing import assert_allclose, assert_array_equal

from gammapy_mimic import AnnulusScrambler, MimicMaker, write_datastore
from gammapy_mimic.data import Run, compat, read_run, to_observation
from gammapy_mimic.scramble.residuals import scramble_residuals
from gammapy_mimic.writer import write_run

TARGET = {
    "pointing": SkyCoord(20, -50, unit="deg"),
    "start": Time("2021-03-02T19:47:00", scale="tt"),
    "obs_id": 7,
}
IN_ONE_FILE = [kind for kind in KINDS if not specification(kind)["separate_irfs"]]


@pytest.fixture
def pair(tmp_path):
    """Files of a target, run 7, and a donor, run 8, of a kind."""

    def make(kind, target_kind="full", **options):
        return (
            write_file(tmp_path / "target.fits", target_kind, **TARGET, n_events=5),
            write_file(tmp_path / "donor.fits", kind, obs_id=8, n_events=40, **options),
        )

    return make


_IN_MEMORY = {}


def in_memory(path):
    """Run read by gammapy, with nothing left on disk; each of the few is read once."""
    content = path.read_bytes()
    if content not in _IN_MEMORY:
        _IN_MEMORY[content] = compat.open_run(path).copy(in_memory=True)
    return copy.deepcopy(_IN_MEMORY[content])


def assert_same_mimic(one, other):
    # events without a name get one in a file
    names = [n for n in one.events.table.colnames if n in other.events.table.colnames]
    assert set(one.events.table.colnames) - set(names) <= {"EVENT_ID"}
    assert names == other.events.table.colnames
    for name in names:
        first, second = (run.events.table[name] for run in (one, other))
        if name == "TIME":
            # one double of some hundred million seconds
            apart = np.abs((first - second).to_value("s"))
            assert apart.max(initial=0) < 2e-7
            continue
        assert first.dtype.newbyteorder("=") == second.dtype.newbyteorder("="), name
        assert first.unit == second.unit, name
        if name in ("RA", "DEC"):
            assert_array_equal(first, second, err_msg=name)
        elif first.dtype.kind == "f":
            assert_allclose(first, second, rtol=1e-6, atol=1e-9, err_msg=name)
        else:
            assert_array_equal(first, second, err_msg=name)
    for name in ("time_start", "time_stop"):
        apart = getattr(one.gti, name) - getattr(other.gti, name)
        assert np.abs(apart.to_value("s")).max() < 2e-7
    assert one.observation_dead_time_fraction == other.observation_dead_time_fraction
    assert_same_background(one.bkg, other.bkg)
    for name in ("aeff", "edisp", "psf"):
        first, second = (getattr(run, name) for run in (one, other))
        assert (first is None) == (second is None)
        if first is not None:
            assert_same_irf(first, second)


@pytest.mark.parametrize(
    ("alignment", "background"),
    [("altaz", "donor"), ("altaz", "target"), ("radec", "donor")],
)
@pytest.mark.parametrize("kind", IN_ONE_FILE)
def test_same_mimics_as_of_runs_in_memory(kind, alignment, background, pair):
    paths = pair(kind, target_kind=kind if background == "target" else "full")
    options = {"alignment": alignment, "background": background}
    maker = MimicMaker(**options, allow_other_telescope=True)
    mimic = maker.run(*map(compat.open_run, paths))
    slow = maker.run(*map(in_memory, paths))
    assert_same_mimic(mimic, slow)
    header, other = mimic.events.table.meta, slow.events.table.meta
    for key in set(header) | set(other):
        if isinstance(header.get(key), float):
            assert_allclose(header[key], other[key], rtol=1e-12, atol=1e-7, err_msg=key)
        # the last digit of a date may differ, and EXTNAME is that of a file
        elif key not in ("DATE-OBS", "DATE-END", "EXTNAME"):
            assert header[key] == other[key], key


@pytest.mark.parametrize("options", [{"crop": True}, {"time": "donor"}])
@pytest.mark.parametrize("kind", ["full", "multi_gti", "utc", "hess", "drift"])
def test_same_mimics_with_other_options(kind, options, pair):
    target, donor = pair(kind)
    write_file(target.with_name("short.fits"), **TARGET, duration=700 * u.s)
    paths = target.with_name("short.fits"), donor
    maker = MimicMaker(**options, background="target", allow_other_telescope=True)
    mimic = maker.run(*map(compat.open_run, paths))
    slow = maker.run(*map(in_memory, paths))
    assert 0 < len(mimic.events.table) == len(slow.events.table)
    assert_same_mimic(mimic, slow)
    if kind != "drift":
        old, new = exact_fov(in_memory(donor), "altaz"), exact_fov(mimic, "altaz")
        n = len(new[0])
        assert_allclose(np.array(new), np.array(old)[:, :n], rtol=0, atol=1e-6)


@pytest.mark.parametrize("acceptance", ["events", "background"])
@pytest.mark.parametrize("method", ["shuffle", "refill"])
@pytest.mark.parametrize("kind", ["full", "hess", "columns", "bkg_altaz", "multi_gti"])
def test_same_scrambled_runs_as_of_runs_in_memory(kind, method, acceptance, tmp_path):
    path = write_file(tmp_path / "run.fits", kind, n_events=2000)
    source = POINTING.directional_offset_by(50 * u.deg, 1 * u.deg)
    scrambler = AnnulusScrambler(
        source, method=method, acceptance=acceptance, random_state=1
    )
    run = scrambler.run(compat.open_run(path))
    assert compat.lazy_run(run) is not None
    slow = scrambler.run(in_memory(path))
    assert_same_mimic(run, slow)
    header, other = run.events.table.meta, slow.events.table.meta
    assert {key for key in header if key.startswith("SCR_")} == {
        key for key in other if key.startswith("SCR_")
    }
    for key in other:
        if key.startswith("SCR_"):
            assert header[key] == other[key], key
    # cards of a file hold 72 characters
    assert "".join(header["HISTORY"]) == "".join(other["HISTORY"])
    residuals = scrambler.residuals
    assert residuals["AFTER"][0] == residuals["AFTER"][1]


@pytest.mark.parametrize("method", ["shuffle", "refill"])
def test_scrambled_mimics_are_lazy(method, pair, tmp_path):
    source = POINTING.directional_offset_by(50 * u.deg, 1 * u.deg)
    scrambler = AnnulusScrambler(source, method=method)
    maker = MimicMaker(scrambler=scrambler, random_state=3, background="target")
    paths = pair("full")
    write_file(paths[1], obs_id=8, n_events=2000)
    mimic = maker.run(*map(compat.open_run, paths))
    assert compat.lazy_run(mimic) is not None
    assert_same_mimic(mimic, maker.run(*map(in_memory, paths)))
    assert len(scramble_residuals([mimic])) == 1


class OldScrambler:
    """A scrambler of somebody else, who works with gammapy's objects."""

    def run(self, observation):
        events = copy.deepcopy(observation.events)
        events.table["ENERGY"] = 2 * events.table["ENERGY"]
        return observation.copy(in_memory=True, events=events)


def test_any_scrambler_will_do(pair):
    paths = pair("full")
    maker = MimicMaker(scrambler=OldScrambler(), background="target")
    mimic = maker.run(*map(compat.open_run, paths))
    plain = MimicMaker(background="target").run(*map(compat.open_run, paths))
    assert_allclose(mimic.events.energy, 2 * plain.events.energy)
    assert_array_equal(mimic.events.table["RA"], plain.events.table["RA"])


@pytest.mark.parametrize("kind", IN_ONE_FILE)
def test_looking_at_a_mimic_does_not_change_what_is_written(kind, pair, tmp_path):
    maker = MimicMaker(allow_other_telescope=True)
    contents = []
    for look in (False, True):
        mimic = maker.run(*map(compat.open_run, pair_once(pair, kind, tmp_path)))
        if look:
            for name in ("events", "gti", "meta", "pointing"):
                assert getattr(mimic, name) is not None
        assert (compat.lazy_run(mimic) is None) == look
        path = tmp_path / f"mimic_{look}.fits"
        write_run(mimic, path)
        contents.append(path.read_bytes())
    assert contents[0] == contents[1]


def pair_once(pair, kind, tmp_path):
    paths = tmp_path / "target.fits", tmp_path / "donor.fits"
    return paths if paths[0].exists() else pair(kind)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_a_run(kind):
    observation = make_run(kind, n_events=3 if kind != "empty" else 0)
    run = read_run(observation)
    assert isinstance(run, Run)
    assert len(run.seconds) == len(observation.events.table)
    assert compat.lazy_run(to_observation(run)) is run


# --- an observation that is made when it is looked at ---------------------------


@pytest.fixture
def mimic(pair):
    return MimicMaker(background="target").run(*map(compat.open_run, pair("full")))


def test_parts_are_the_same_object_each_time(mimic):
    assert mimic.events is mimic.events
    assert mimic.gti is mimic.gti
    mimic.events.table["ENERGY"][0] = 77
    assert mimic.events.table["ENERGY"][0] == 77


def test_changes_are_written(mimic, tmp_path):
    mimic.events.table["ENERGY"][0] = 77
    mimic.events.table["NEW"] = np.arange(40)
    write_run(mimic, tmp_path / "mimic.fits")
    table = Observation.read(tmp_path / "mimic.fits").events.table
    assert table["ENERGY"][0] == 77
    assert_array_equal(table["NEW"], np.arange(40))


def test_another_name_is_written(mimic, tmp_path):
    mimic.obs_id = 99
    store = write_datastore([mimic], tmp_path / "store")
    assert store.obs_ids.tolist() == [99]
    assert store.obs(99).events.table.meta["OBS_ID"] == 99


def test_filters_are_applied(mimic, tmp_path):
    middle = mimic.gti.time_start[0] + [0, 400] * u.s
    part = mimic.select_time(middle)
    assert 0 < len(part.events.table) < 40
    write_run(part, tmp_path / "part.fits")
    read = Observation.read(tmp_path / "part.fits")
    assert len(read.events.table) == len(part.events.table)
    assert_allclose(read.gti.time_sum.to_value("s"), 400)


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
def test_copies(mimic, copied):
    other = copied(mimic)
    assert_array_equal(other.events.table["RA"], mimic.events.table["RA"])
    assert other.pointing.fixed_icrs.ra == mimic.pointing.fixed_icrs.ra


def test_pickled(mimic, tmp_path):
    other = pickle.loads(pickle.dumps(mimic))  # noqa: S301
    assert compat.lazy_run(other) is not None
    assert_array_equal(other.events.table["RA"], mimic.events.table["RA"])
    for number, run in enumerate((mimic, other)):
        write_run(run, tmp_path / f"{number}.fits")
    contents = [(tmp_path / f"{number}.fits").read_bytes() for number in (0, 1)]
    assert contents[0] == contents[1]


def test_gammapys_own_copy_in_memory(mimic):
    other = mimic.copy(in_memory=True)
    assert_array_equal(other.events.table["RA"], mimic.events.table["RA"])
    assert set(other.available_hdus) == set(mimic.available_hdus)


def test_mimic_of_a_mimic(pair):
    target, donor = map(compat.open_run, pair("full"))
    maker = MimicMaker(background="target")
    back = maker.run(donor, maker.run(target, donor))
    assert compat.lazy_run(back) is not None
    donor = in_memory(pair_paths(donor))
    apart = back.events.radec.separation(donor.events.radec)
    assert apart.deg.max() < 1e-8


def pair_paths(run):
    (path,) = compat.source_paths(run)
    return path


def test_nothing_of_a_mimic_is_read_from_a_file(mimic, tmp_path):
    assert compat.source_paths(mimic) != set()  # its IRFs
    for path in compat.source_paths(mimic):
        path.unlink()
    assert len(mimic.events.table) == 40
    assert mimic.meta.target.name == "Field 7"


# --- background models that gammapy mirrors ------------------------------------


def test_mirrored_in_the_file_as_in_memory(tmp_path):
    path = write_file(tmp_path / "run.fits", "hess", n_events=3)
    run = compat.open_run(path)
    expected = compat.to_gadf_alignment(compat.background(run))
    mirrored = compat.mirrored(run)
    assert isinstance(mirrored, compat.FileLocation)
    found = mirrored.load()
    assert_array_equal(found.data, expected.data)
    hdu = mirrored.hdu().table_hdu()
    irf = type(found).from_hdulist(fits.HDUList([fits.PrimaryHDU(), hdu]), hdu=hdu.name)
    assert irf.fov_alignment == expected.fov_alignment
    assert_array_equal(irf.data, expected.data)
    for name in ("fov_lon", "fov_lat", "energy"):
        assert_allclose(irf.axes[name].edges, expected.axes[name].edges)
    # negative control: the model is not symmetric
    assert not np.array_equal(irf.data, run._bkg.data)


@pytest.mark.parametrize("kind", [k for k in IN_ONE_FILE if k in FULL_ENCLOSURE])
def test_store_of_mimics(kind, pair, tmp_path):
    maker = MimicMaker(allow_other_telescope=True)
    mimic = maker.run(*map(compat.open_run, pair(kind)))
    write_datastore([mimic], tmp_path / "store")
    read = DataStore.from_dir(tmp_path / "store").obs(7, required_irf="all-optional")
    assert_same_mimic(read, mimic)
