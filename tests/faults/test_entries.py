"""Public entries other than the command, on what is broken or as good as nothing."""

import numpy as np
import pytest
import yaml
from astropy import units as u
from astropy.io import fits
from astropy.table import Table
from gammapy.data import DataStore, Observations
from helpers.faults import (
    FAULTS,
    INDEX_FAULTS,
    as_folder,
    change_bytes,
    change_hdus,
    contents,
    everything,
    gti,
    keyword,
    one_value,
    settings,
    truncated,
    without_column,
    without_hdu,
)
from helpers.runs import POINTING, make_run, write_file, write_raw

from gammapy_mimic import (
    AnnulusScrambler,
    DonorMatcher,
    LocationFaker,
    MimicAnalysis,
    MimicCampaign,
    MimicMaker,
    MimicWriter,
    check_datastore,
    known_sources,
    scramble_residuals,
    simulate_datastore,
    write_datastore,
)
from gammapy_mimic.checks import open_store
from gammapy_mimic.data import compat
from gammapy_mimic.sources.known import parse_sources, read_regions
from gammapy_mimic.validation import (
    BackgroundSystematic,
    TargetSignificance,
    background_systematic,
    field_checks,
    reduce_runs,
    significance_distribution,
)

SOURCE = POINTING.directional_offset_by(0 * u.deg, 0.8 * u.deg)
ENERGY = [0.5, 20] * u.TeV
WIDE = {"energy_edges": ENERGY, "offset_edges": [0, 2.5] * u.deg}


# --- runs of which a file is broken ------------------------------------------------

ENTRIES = {
    "reduce_runs": lambda runs: reduce_runs(runs, POINTING, energy_edges=ENERGY),
    "background_systematic": lambda runs: background_systematic(runs, **WIDE),
    "field_checks": lambda runs: field_checks(*runs),
    "scramble_residuals": scramble_residuals,
    "known_sources": lambda runs: known_sources(runs[1], catalogs="bright"),
    "DonorMatcher": lambda runs: DonorMatcher().run(runs, runs),
    "AnnulusScrambler": lambda runs: AnnulusScrambler([SOURCE]).run(runs[1]),
    "MimicMaker": lambda runs: MimicMaker().run(runs[0], runs[1]),
    "run_pairs": lambda runs: MimicMaker().run_pairs(runs, runs, [(1, 2)]),
}


@pytest.mark.parametrize("fault", ["truncated", "not FITS", "no EVENTS"])
@pytest.mark.parametrize("entry", ENTRIES)
def test_broken_run(tiny, entry, fault):
    """An error names the file, or the run."""
    store = DataStore.from_dir(tiny.store)
    runs = store.get_observations([1, 2], required_irf="all-optional")
    FAULTS[fault][0](tiny.file(2))
    with pytest.raises((OSError, ValueError), match=r"run_2\.fits|run 2"):
        ENTRIES[entry](runs)


def test_broken_run_among_those_that_are_written(tiny, tmp_path):
    """The whole ones stay, without an index."""
    runs = DataStore.from_dir(tiny.store).get_observations([1, 2, 3])
    truncated(tiny.file(2))
    for write in (_write_all, _write_one_by_one):
        with pytest.raises(OSError, match=r"run_2\.fits"):
            write(runs, tmp_path / write.__name__)
        assert sorted(contents(tmp_path / write.__name__)) == ["1.fits"]


def _write_all(runs, path):
    write_datastore(runs, path)


def _write_one_by_one(runs, path):
    writer = MimicWriter(path)
    writer.write_index([writer.write(run) for run in runs])


def test_rates_of_broken_runs(tiny, caplog):
    """The matcher goes on without the rate of a broken run, and names its file."""
    store = DataStore.from_dir(tiny.store)
    truncated(tiny.file(2))
    pairs = DonorMatcher(rate_proxy="events").run(store, store)
    assert "run 2 cannot be read" in caplog.text
    assert "run_2.fits is broken" in caplog.text
    donors = pairs.donors
    rates = dict(zip(donors["OBS_ID"], donors["RATE_SPECTRUM"], strict=True))
    assert np.isnan(rates[2]).all()
    assert rates[1].sum() > 0


@pytest.mark.parametrize("fault", INDEX_FAULTS)
def test_broken_store(tiny, fault):
    name, damage, word = INDEX_FAULTS[fault]
    damage(tiny.store / name)
    with pytest.raises((OSError, ValueError), match=word) as caught:
        open_store(tiny.store)
    assert str(tiny.store / name) in str(caught.value)


def test_whole_store(tiny):
    """Negative control; and what may be several times, or missing."""
    assert len(open_store(tiny.store).obs_table) == 5
    change_hdus(_with_another_psf)(tiny.store / "hdu-index.fits.gz")
    (tiny.store / "obs-index.fits.gz").unlink()
    assert open_store(tiny.store, needs_obs_index=False).obs_table is None


def _with_another_psf(hdulist):
    data = hdulist[1].data
    row = np.flatnonzero(data["HDU_TYPE"] == "psf")[0]
    hdulist[1].data = data[[*range(len(data)), row]]


# --- OBS_IDs that come twice -------------------------------------------------------


class TestTwice:
    def test_among_observations(self, tmp_path):
        run = make_run(n_events=5)
        with pytest.raises(ValueError, match=r"donors: OBS_ID \[1\] more than once"):
            DonorMatcher().run([make_run(obs_id=2, n_events=5)], [run, run])
        for write in (_write_all, _write_one_by_one):
            with pytest.raises(ValueError, match="OBS_ID 1 is duplicated"):
                write([run, run], tmp_path / write.__name__)
        # before anything was written where that can be known
        assert not (tmp_path / "_write_all").exists()
        assert sorted(contents(tmp_path / "_write_one_by_one")) == ["1.fits"]

    def test_in_an_index_table(self, tiny_store):
        store = DataStore.from_dir(tiny_store)
        table = store.obs_table[[0, 1, 1]]
        with pytest.raises(ValueError, match=r"targets: OBS_ID \[2\] more than once"):
            DonorMatcher().run(table, store)

    def test_in_a_list_of_runs(self, tiny):
        """The same run is meant."""
        content = settings(tiny.store, tiny.out, targets=(1, 1, 2), donors=(3, 3, 4))
        pairs = MimicCampaign(content).match()
        assert list(pairs.targets["OBS_ID"]) == [1, 2]
        assert list(pairs.donors["OBS_ID"]) == [3, 4]

    def test_in_two_headers(self, tmp_path):
        """From file to file the runs are known by their files."""
        paths = [tmp_path / name for name in ("target.fits", "donor.fits", "out.fits")]
        for number, path in enumerate(paths[:2]):
            write_file(path, obs_id=7, n_events=20 + number)
        LocationFaker().convert_fov(*paths)
        assert len(compat.open_run(paths[2]).events.table) == 21


# --- good time ---------------------------------------------------------------------


def intervals(*edges):
    """GTI with these intervals, in seconds after the start of the run."""

    def change(data):
        start = data["START"].min()
        new = np.repeat(data[:1], len(edges))
        for row, (low, high) in enumerate(edges):
            new["START"][row], new["STOP"][row] = start + low, start + high
        return new

    return gti(change)


@pytest.fixture
def files(tmp_path):
    """Files of a target, run 7, and a donor, run 8, of 1680 s each."""
    paths = tmp_path / "target.fits", tmp_path / "donor.fits"
    for path, obs_id in zip(paths, (7, 8), strict=True):
        write_file(path, obs_id=obs_id, n_events=50)
    return paths


class TestGoodTime:
    @pytest.mark.parametrize("names", [["START"], ["STOP"], ["START", "STOP"]])
    def test_several_numbers_in_a_row(self, files, names):
        def change(hdulist):
            old = hdulist["GTI"]
            columns = [
                fits.Column(c.name, "2D", c.unit, array=np.c_[c.array, c.array])
                if c.name in names
                else c
                for c in old.columns
            ]
            new = fits.BinTableHDU.from_columns(columns, old.header, name="GTI")
            hdulist[hdulist.index_of("GTI")] = new

        change_hdus(change)(files[1])
        for use in (
            lambda run: AnnulusScrambler(SOURCE).run(run),
            lambda run: MimicMaker().run(compat.open_run(files[0]), run),
        ):
            with pytest.raises(ValueError, match=r"run 8|donor\.fits"):
                use(compat.open_run(files[1]))

    @pytest.mark.parametrize("crop", [False, True])
    def test_order_does_not_matter(self, files, tmp_path, crop):
        """The same intervals come out as of ordered ones."""
        made = []
        for number, edges in enumerate(
            (((800, 1680), (0, 700)), ((0, 700), (800, 1680)))
        ):
            intervals(*edges)(files[1])
            output = tmp_path / f"{number}.fits"
            LocationFaker(crop=crop).convert_fov(*files, output)
            made.append(compat.open_run(output).gti.table)
        for name in ("START", "STOP"):
            one, other = (np.sort(table[name].mjd) for table in made)
            assert np.all(one == other)

    @pytest.mark.parametrize(
        "edges",
        [((0, 1000), (900, 1680)), ((0, 1680), (0, 1680)), ((0, 1680), (8, 9))],
    )
    @pytest.mark.parametrize("number", [0, 1])
    def test_overlap(self, files, tmp_path, edges, number):
        """The time would count twice; of a target it counts if the mimic is cropped."""
        intervals(*edges)(files[number])
        with pytest.raises(ValueError, match=rf"run {7 + number} .*overlap"):
            LocationFaker(crop=number == 0).convert_fov(*files, tmp_path / "out.fits")
        assert not (tmp_path / "out.fits").exists()

    def test_touching_intervals_do_not_overlap(self, files, tmp_path):
        intervals((0, 800), (800, 1680))(files[1])
        mimic = LocationFaker().convert_fov(*files, tmp_path / "out.fits")
        assert mimic.observation_time_duration.to_value("s") == pytest.approx(1680)

    @pytest.mark.parametrize("edges", [((0, np.nan),), ((0, np.inf),), ((5, 5),)])
    def test_no_time(self, files, tmp_path, edges):
        intervals(*edges)(files[1])
        with pytest.raises(ValueError, match=r"(run 8|donor\.fits).*(GTI|gti)"):
            LocationFaker().convert_fov(*files, tmp_path / "out.fits")
        assert not (tmp_path / "out.fits").exists()


class TestTimeReferences:
    """Each file may count from another time; what counts is that it says so."""

    def test_of_files_and_index(self, tmp_path):
        runs = [{"obs_id": i} for i in (1, 2, 3)]
        write_raw(["full", "utc", "hess"], tmp_path / "raw", runs=runs, n_events=20)
        assert "error" not in list(check_datastore(tmp_path / "raw")["LEVEL"])
        store = open_store(tmp_path / "raw")
        # all were taken at the same time
        pairs = DonorMatcher(telescope=None).run(store, store)
        assert np.ptp(pairs.donors["ALT_PNT"]) < 0.01
        # and so is what is made of them
        mimic = MimicMaker().run(store.obs(1), store.obs(2))
        write_datastore([mimic], tmp_path / "out")
        assert not len(check_datastore(tmp_path / "out"))
        late = mimic.gti.time_start[0] - store.obs(1).gti.time_start[0]
        assert abs(late.to_value("s")) < 1e-6

    def test_of_events_and_gti(self, files, tmp_path):
        """Told, unless both are right."""
        keyword("GTI", "MJDREFI", 40000)(files[1])
        with pytest.raises(ValueError, match="MJDREFI, MJDREFF, TIMESYS"):
            LocationFaker().convert_fov(*files, tmp_path / "out.fits")
        gti(_earlier)(files[1])
        LocationFaker().convert_fov(*files, tmp_path / "out.fits")


def _earlier(data):
    """Count from MJD 40000, not 51544."""
    for name in ("START", "STOP"):
        data[name] += (51544 - 40000) * 86400.0
    return data


# --- runs without events -----------------------------------------------------------


class TestNoEvents:
    @pytest.fixture
    def full(self):
        return make_run(n_events=50, draw="background")

    @pytest.fixture
    def empty(self):
        return make_run("empty", obs_id=2)

    def test_mimics(self, full, empty, tmp_path):
        """They work on both sides, and the files are as good as others."""
        for target, donor, number in ((full, empty, 0), (empty, full, 50)):
            mimic = MimicMaker().run(target, donor)
            assert len(mimic.events.table) == number
            path = tmp_path / str(target.obs_id)
            write_datastore([mimic], path)
            assert "error" not in list(check_datastore(path)["LEVEL"])

    @pytest.mark.parametrize("method", ["shuffle", "refill"])
    def test_scrambled(self, empty, method):
        """There is nothing to do."""
        scrambled = AnnulusScrambler([SOURCE], method=method).run(empty)
        assert len(scrambled.events.table) == 0
        assert scrambled.events.table.meta["SCR_NSRC"] == 0

    def test_matched(self, full, empty):
        pairs = DonorMatcher().run([full], [empty])
        assert list(pairs["DONOR_OBS_ID"]) == [2]

    def test_reduced(self, empty):
        dataset = reduce_runs(Observations([empty]), POINTING, energy_edges=ENERGY)
        assert dataset.counts.data.sum() == 0
        with pytest.raises(ValueError, match=r"no pixel is left .* have counts"):
            significance_distribution(dataset, n_toys=0)

    def test_compared(self, full, empty):
        """Nothing is measured, and nothing said by accident."""
        for runs in ((empty, empty), (full, empty), (empty, full)):
            checks = field_checks(*runs)
            assert np.all(np.isnan(checks.table["P_VALUE"]))
            assert len(checks.peek().axes) == 3

    def test_systematic(self, full, empty):
        for number, first in enumerate((empty, full)):
            with pytest.raises(ValueError, match=f"{number} of 2 runs have counts and"):
                background_systematic([first, empty], **WIDE)

    def test_residuals(self, empty):
        assert len(scramble_residuals([empty])) == 0


def test_no_runs():
    with pytest.raises(ValueError, match="donors: has no runs"):
        DonorMatcher().run([make_run(n_events=5)], [])
    with pytest.raises(ValueError, match="0 runs given"):
        background_systematic([])
    dataset = reduce_runs([], POINTING, energy_edges=ENERGY)
    with pytest.raises(ValueError, match="no pixel is left"):
        significance_distribution(dataset, n_toys=0)
    with pytest.raises(ValueError, match="nothing to write an index of"):
        write_datastore([], "unused")


@pytest.mark.parametrize("runs", ["run", [3], "ab"])
def test_what_is_no_run(runs):
    with pytest.raises(TypeError, match="must be a DataStore, an ObservationTable or"):
        DonorMatcher().run([make_run(n_events=5)], runs)


# --- numbers -----------------------------------------------------------------------


class TestSignificance:
    def test_target_without_data(self):
        found = TargetSignificance(np.array([0.0, 1.0]), np.nan)
        assert np.isnan(found.p_value)
        assert np.isnan(found.p_value_error)

    def test_mimics_without_data(self):
        """They do not count as mimics that stay below the target."""
        found = TargetSignificance(np.array([0.0, 1.0, np.nan, np.nan]), 0.5)
        assert found.p_value == (1 + 1) / (2 + 1)


def test_one_energy_bin():
    """The correlation of one bin with itself is drawn, too."""
    runs = [
        make_run(obs_id=number, n_events=300, draw="background", seed=number)
        for number in (1, 2, 3)
    ]
    found = background_systematic(runs, **WIDE)
    assert found.correlation.shape == (1, 1)
    assert len(found.peek().axes) >= 2


@pytest.mark.parametrize(
    "content", [b"", b"hello", b"\xff\n", b"# %ECSV 1.0\n# ---\na\n1\n"]
)
def test_systematic_of_another_file(tmp_path, content):
    path = tmp_path / "systematic.ecsv"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"systematic\.ecsv"):
        BackgroundSystematic.read(path)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"systematic\.ecsv"):
        BackgroundSystematic.read(path)


@pytest.mark.parametrize("cards", [{"SCR_NSRC": "x"}, {"SCR_NSRC": 1}])
def test_broken_cards_of_a_scrambled_run(cards):
    run = make_run(obs_id=5, n_events=5)
    run.events.table.meta.update(cards)
    with pytest.raises(ValueError, match="run 5: its SCR_ cards"):
        scramble_residuals([run])


# --- sources -----------------------------------------------------------------------

REGIONS = {
    "no bytes": (b"", "holds no region"),
    "a comment": (b"# hello\n", "holds no region"),
    "a word": (b"hello(", 'unable to parse line "hello\\("'),
    "a FITS file": (b"SIMPLE  =  T", "unable to parse line"),
    "half a line": (b"icrs\ncircle(83.6,22.0,0.3)\ncircle(83.6,22", "cannot be read"),
    "no frame": (b"circle(83.6,22,0.3)\n", "coordinate frame was not found"),
    "another frame": (b"linear\ncircle(83.6,22,0.3)\n", "frame was not found"),
    "no numbers": (b"icrs\ncircle(a,b,c)\n", "cannot be read"),
    "no UTF-8": (b"\xff\xfe\x00\x01", "cannot be read"),
    "beyond the pole": (b"icrs\ncircle(83.6,95,0.3)\n", "cannot be read"),
    "no size": (b"icrs\ncircle(83.6,22,-0.3)\n", "cannot be read"),
    "a NaN": (b"icrs\ncircle(nan,22,0.3)\n", "no finite position"),
    "a box": (b"icrs\nbox(83,22,1,1,0)\n", "RectangleSkyRegion: only circles"),
}


@pytest.mark.parametrize("fault", REGIONS)
def test_broken_region_file(tmp_path, fault):
    content, words = REGIONS[fault]
    path = tmp_path / "sources.reg"
    path.write_bytes(content)
    for entry in (
        lambda: parse_sources(path, theta="0.3 deg"),
        lambda: known_sources(POINTING, extra=path, catalogs=()),
        lambda: AnnulusScrambler(path),
        lambda: DonorMatcher(keep_away=path),
    ):
        with pytest.raises((TypeError, ValueError), match=words) as caught:
            entry()
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("damage", [as_folder, lambda path: path.unlink()])
def test_region_file_that_is_none(tmp_path, damage):
    path = tmp_path / "sources.reg"
    path.touch()
    damage(path)
    with pytest.raises(OSError, match=r"sources\.reg"):
        AnnulusScrambler(path)


def test_drawings_beside_the_sources(tmp_path, caplog):
    """DS9 saves rulers and the like with the regions."""
    path = tmp_path / "sources.reg"
    path.write_text("icrs\ncircle(83.6,22,0.3)\nvector(83.6,22,1,45)\n")
    assert len(read_regions(path)) == 1
    assert "vector" in caplog.text


@pytest.mark.parametrize("content", [b"", b"hello", b"SIMPLE  =                    T"])
def test_broken_catalog(tmp_path, monkeypatch, content):
    folder = tmp_path / "catalogs" / "gammacat"
    folder.mkdir(parents=True)
    (folder / "gammacat.fits.gz").write_bytes(content)
    monkeypatch.setenv("GAMMAPY_DATA", str(tmp_path))
    with pytest.raises(ValueError, match="catalog 'gamma-cat' in GAMMAPY_DATA = "):
        known_sources(POINTING)


# --- campaigns and analyses in Python ----------------------------------------------


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (None, FileNotFoundError),
        ("folder", IsADirectoryError),
        (b"a: [", ValueError),
        (b"\xff", ValueError),
        (b"mimic: {n_mimic: 1}", ValueError),
    ],
)
@pytest.mark.parametrize("entry", [MimicAnalysis, MimicCampaign.from_yaml])
def test_broken_configuration(tmp_path, entry, content, error):
    path = tmp_path / "crab.yaml"
    if content == "folder":
        path.mkdir()
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(error, match=r"crab\.yaml"):
        entry(path)


class TestAnalysis:
    """Mimics that lie on disk are taken only if they are what is asked for."""

    @pytest.mark.parametrize("name", ["obs-index.fits.gz", "hdu-index.fits.gz"])
    def test_broken_store(self, made, name):
        truncated(made.out / "mimic_000" / name)
        with pytest.raises(OSError, match=f"{name} is broken"):
            MimicAnalysis(made.config).get_observations()

    def test_broken_configuration_of_the_folder(self, made, caplog):
        change_bytes(lambda _: b"a: [")(made.out / "config.yaml")
        analysis = MimicAnalysis(made.config)
        analysis.get_observations()
        assert "mimic_000 is not used" in caplog.text
        assert analysis.observations.ids == ["1", "2"]

    def test_broken_donor(self, tiny):
        truncated(tiny.file(3))
        with pytest.raises(OSError, match=r"run_3\.fits is broken"):
            MimicAnalysis(tiny.config).get_observations()


# --- stores that are written where something is ------------------------------------


class TestSimulation:
    @pytest.fixture
    def options(self):
        return {"n_targets": 1, "n_donors": 0, "duration": 30 * u.s, "random_state": 1}

    @pytest.mark.parametrize("n_targets", [0, -1])
    def test_numbers(self, tmp_path, n_targets):
        with pytest.raises(ValueError, match=f"n_targets = {n_targets}"):
            simulate_datastore(tmp_path / "out", n_targets=n_targets)
        assert not (tmp_path / "out").exists()

    def test_a_file(self, tmp_path, options):
        (tmp_path / "out").write_text("mine")
        with pytest.raises(NotADirectoryError, match=r"out' is not a folder"):
            simulate_datastore(tmp_path / "out", **options)
        assert (tmp_path / "out").read_text() == "mine"

    def test_a_store(self, tmp_path, options):
        write_raw("full", tmp_path, n_events=2)
        before = everything(tmp_path)
        with pytest.raises(FileExistsError, match=r"index\.fits\.gz exists; use over"):
            simulate_datastore(tmp_path, **options)
        assert everything(tmp_path) == before
        # not even with it: those files are not of this package
        with pytest.raises(
            FileExistsError, match=r"index\.fits\.gz was not written by"
        ):
            simulate_datastore(tmp_path, **options, overwrite=True)
        assert everything(tmp_path) == before

    def test_a_broken_store(self, tmp_path, options):
        (tmp_path / "hdu-index.fits.gz").write_text("mine")
        with pytest.raises((OSError, ValueError), match=r"hdu-index\.fits\.gz"):
            simulate_datastore(tmp_path, **options, overwrite=True)
        assert contents(tmp_path) == {"hdu-index.fits.gz": b"mine"}


class TestWriter:
    def test_a_file(self, tmp_path):
        (tmp_path / "out").write_text("mine")
        run = make_run(n_events=2)
        for write in (_write_all, _write_one_by_one):
            with pytest.raises(OSError, match="out"):
                write([run], tmp_path / "out")
        assert (tmp_path / "out").read_text() == "mine"

    def test_a_run_without_time(self, tmp_path):
        run = make_run(n_events=5)
        run.events.table["TIME"][2] = np.nan
        with pytest.raises(
            ValueError, match="run 1: EVENTS has an invalid TIME in row 2"
        ):
            write_datastore([run], tmp_path / "out")
        assert not (tmp_path / "out").exists()

    @pytest.mark.parametrize("rows", [[{}], [{"obs": {}, "hdus": []}], ["x"]])
    def test_rows_that_are_none(self, tmp_path, rows):
        with pytest.raises((KeyError, TypeError)):
            MimicWriter(tmp_path / "out").write_index(rows)
        assert not (tmp_path / "out").exists()


class TestCheck:
    def test_places(self, tmp_path):
        (tmp_path / "file").touch()
        (tmp_path / "loop").symlink_to("loop")
        for name in ("nowhere", "file", "loop"):
            with pytest.raises(FileNotFoundError, match=name):
                check_datastore(tmp_path / name)

    def test_links(self, tiny):
        """A file may be a link; one that leads nowhere is a finding."""
        tiny.file(1).rename(tiny.store / "other")
        tiny.file(1).symlink_to("other")
        for number, target in ((2, "nowhere"), (3, "run_3.fits")):
            tiny.file(number).unlink()
            tiny.file(number).symlink_to(target)
        found = check_datastore(tiny.store)
        assert set(found["FILE"]) == {"run_2.fits", "run_3.fits"}
        assert set(found["LEVEL"]) == {"error"}

    @pytest.mark.parametrize("name", ["obs", "hdu"])
    def test_index_without_rows(self, tiny, name):
        INDEX_FAULTS[f"{name}: no rows"][1](tiny.store / f"{name}-index.fits.gz")
        found = check_datastore(tiny.store)
        assert "The index has no rows" in list(found["MESSAGE"])

    def test_hdus_that_are_missing(self, tiny):
        without_hdu("EVENTS")(tiny.file(1))
        (found,) = check_datastore(tiny.store)
        assert (found["HDU"], found["KEY"]) == ("EVENTS", "HDU_NAME")


def test_values_of_the_index_that_are_none(tiny, tmp_path):
    """Without the campaign's patience they are errors."""
    one_value("DEC_PNT", 100.0, hdu=1, row=1)(tiny.store / "obs-index.fits.gz")
    store = open_store(tiny.store)
    with pytest.raises(ValueError, match=r"targets: OBS_ID \[2\] without pointing"):
        DonorMatcher().run(store, store)
    pairs = DonorMatcher().run(store, store, skip_broken=True)
    assert pairs.left_out == {2: "without pointing (RA_PNT, DEC_PNT)"}
    # and a file keeps it
    again = type(pairs).read(_written(pairs, tmp_path / "pairs.ecsv"))
    assert again.left_out == pairs.left_out


def _written(pairs, path):
    pairs.write(path)
    return path


def test_headers_are_not_needed_for_pairs(tiny, caplog):
    """What the index lacks is asked of the files, and left out if they are broken."""
    without_column(1, "N_TELS")(tiny.store / "obs-index.fits.gz")
    tiny.file(1).write_bytes(b"hello")
    store = open_store(tiny.store)
    pairs = DonorMatcher().run(store, store)
    assert len(pairs) == 5
    assert "Run 1: its EVENTS header cannot be read" in caplog.text


def test_yaml_of_a_campaign_that_was_edited(made):
    """What is on disk is not taken for something else."""
    text = yaml.safe_load((made.out / "config.yaml").read_text())
    text["mimic"]["random_state"] = 5
    (made.out / "config.yaml").write_text(yaml.safe_dump(text))
    campaign = MimicCampaign.from_yaml(made.config)
    assert campaign.store_path(0) is None
    with pytest.raises(ValueError, match="random_state: 5 there, 0 now"):
        campaign.run()


# --- words in the place of True and False ---------------------------------------------


def flags_of(folder):
    run, other = (make_run("full", obs_id=k, n_events=9) for k in (1, 2))
    files = [write_file(folder / f"{k}.fits", obs_id=k, n_events=9) for k in (1, 2)]
    convert = LocationFaker().convert_fov
    out, campaign = folder / "out", MimicCampaign(settings(folder, folder / "out"))
    return {
        "crop": lambda flag: MimicMaker(crop=flag),
        "allow_other_telescope": lambda flag: MimicMaker(allow_other_telescope=flag),
        "fill": lambda flag: DonorMatcher(fill=flag),
        "balance": lambda flag: DonorMatcher(balance=flag),
        "overwrite": lambda flag: write_datastore([run], out, overwrite=flag),
        "compress": lambda flag: write_datastore([other], out, compress=flag),
        "copy_background": lambda flag: convert(
            *files, out / "3.fits", copy_background=flag
        ),
        "rematch": lambda flag: campaign.run(rematch=flag),
    }


@pytest.mark.parametrize("flag", ["no", "False", 0, None])
def test_what_is_neither_true_nor_false(tmp_path, flag):
    """The text "False" would be taken as True."""
    for name, call in flags_of(tmp_path).items():
        with pytest.raises(TypeError, match=f"{name} = .*: must be True or False"):
            call(flag)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"catalogs": "bright"}, TypeError, r"catalogs = 'bright': must be a list"),
        ({"exclude": 5}, TypeError, "exclude = 5: must be a list"),
        ({"exclude": "5"}, TypeError, "exclude = '5': must be a list"),
        (
            {"keep_away_distance": 2},
            ValueError,
            "keep_away_distance = 2: must be an angle with its unit",
        ),
    ],
)
def test_arguments_of_the_matcher(options, error, words):
    with pytest.raises(error, match=words):
        DonorMatcher(**options)


@pytest.mark.parametrize("runs", ["abc", [None], {1: None}, [1]])
def test_what_is_written_is_observations(tmp_path, runs):
    with pytest.raises(TypeError, match="is not a gammapy Observation"):
        write_datastore(runs, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_places_and_tables_of_a_store(tmp_path, monkeypatch):
    """An empty text would be the folder where one is."""
    monkeypatch.chdir(tmp_path)
    run = make_run("full", n_events=9)
    for path in ("", None, 3):
        with pytest.raises(TypeError, match=r"path = .*: must be a folder"):
            write_datastore([run], path)
    for table in ("x", Table({"a": [1]})):
        with pytest.raises(
            TypeError, match=r"(?s)obs_table = .*: must be a table with"
        ):
            write_datastore([run], "out", obs_table=table)
    assert not list(tmp_path.iterdir())


def test_local_times(tmp_path):
    path = tmp_path / "run.fits"
    write_file(path, header={"TIMESYS": "LOCAL"})
    with pytest.raises(ValueError, match=r"run.fits.*TIMESYS = 'LOCAL' cannot be"):
        MimicMaker().run(make_run("full"), compat.open_run(path))


def test_times_of_several_numbers():
    """As gammapy reads a column with TDIM = (1)."""
    run = make_run("full", n_events=9)
    table = run.events.table
    table["TIME"] = table["TIME"].reshape(-1, 1)
    with pytest.raises(ValueError, match="column TIME must hold one time in each row"):
        MimicMaker().run(run, run)
