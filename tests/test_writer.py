"""What is written reads back the same, for every kind of run; errors write nothing."""

import copy
import gzip
import inspect
import logging
import os
import pickle
import shutil

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import AltAz, EarthLocation, SkyCoord
from astropy.io import fits
from astropy.table import MaskedColumn, Table
from astropy.time import Time
from gammapy.data import (
    GTI,
    DataStore,
    EventList,
    FixedPointingInfo,
    Observation,
    ObservationFilter,
    ObservationMetaData,
)
from gammapy.datasets import MapDataset
from gammapy.irf import Background3D, FoVAlignment, RadMax2D
from gammapy.makers import MapDatasetMaker
from gammapy.maps import MapAxis, WcsGeom
from gammapy.utils.time import time_ref_from_dict
from helpers import runs
from helpers.compare import (
    assert_same_background,
    assert_same_events,
    assert_same_irf,
    assert_same_run,
)
from numpy.testing import assert_allclose

from gammapy_mimic import MimicWriter, check_datastore, write_datastore
from gammapy_mimic.io.gadf import CREATOR
from gammapy_mimic.writer.index import stored_gzip

# --- how two runs are compared ---


def read_back(store, obs_id=1):
    """Run as read through the index, and as read from its file alone."""
    by_index = store.obs(obs_id, required_irf="all-optional")
    rows = store.hdu_table[store.hdu_table["OBS_ID"] == obs_id]
    path = store.hdu_table.meta["BASE_DIR"] + "/" + rows["FILE_NAME"][0]
    return by_index, Observation.read(path)


def header_of(path, name="EVENTS"):
    with fits.open(path) as hdus:
        return hdus[name].header.copy()


def no_temporary_files(folder):
    return not any(name.endswith(".tmp") for name in os.listdir(folder))


# --- round trips of every kind ---


@pytest.mark.parametrize("held", ["lazy", "memory"])
@pytest.mark.parametrize("kind", runs.KINDS)
def test_round_trip(kind, held, tmp_path):
    if held == "lazy":
        run = runs.open_raw(kind, tmp_path / "raw", n_events=40)[0]
    else:
        run = runs.make_run(kind, n_events=40)
    store = write_datastore([run], tmp_path / "new")
    for new in read_back(store):
        assert_same_run(run, new)
    classes = ["events", "gti", *runs.irf_classes(kind)]
    assert sorted(store.hdu_table["HDU_CLASS"]) == sorted(classes)
    with fits.open(tmp_path / "new" / "1.fits") as hdus:
        hdus.verify("exception")
        assert len(hdus) == len(classes) + 1


@pytest.mark.parametrize("kind", ["full", "hess", "rad_max", "psf_king", "messy"])
def test_writing_again_what_was_written_changes_no_byte(kind, tmp_path):
    run = runs.make_run(kind, n_events=40)
    store = write_datastore([run], tmp_path / "a")
    again = store.get_observations(required_irf="all-optional")
    write_datastore(again, tmp_path / "b")
    for name in ("1.fits", "obs-index.fits.gz", "hdu-index.fits.gz"):
        first, second = ((tmp_path / f / name).read_bytes() for f in "ab")
        assert first == second, name


def test_same_observations_give_the_same_bytes(tmp_path):
    run = runs.make_run("hess", n_events=40)
    for folder in "ab":
        write_datastore([run], tmp_path / folder, compress=True)
    names = sorted(os.listdir(tmp_path / "a"))
    assert names == ["1.fits.gz", "hdu-index.fits.gz", "obs-index.fits.gz"]
    for name in names:
        contents = [(tmp_path / folder / name).read_bytes() for folder in "ab"]
        assert contents[0] == contents[1]
    plain = write_datastore([run], tmp_path / "c").hdu_table.meta["BASE_DIR"]
    with open(f"{plain}/1.fits", "rb") as file:
        compressed = (tmp_path / "a" / "1.fits.gz").read_bytes()
        assert gzip.decompress(compressed) == file.read()


def test_store_can_be_moved_and_opened_from_elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = runs.make_run("full", n_events=40)
    store = write_datastore([run], "there/mimic")
    monkeypatch.chdir("/")
    # opened by a relative path, still found after the working directory changed
    assert len(store.obs(1).events.table) == 40
    shutil.move(tmp_path / "there", tmp_path / "elsewhere")
    for new in read_back(DataStore.from_dir(tmp_path / "elsewhere" / "mimic")):
        assert_same_run(run, new)


def test_observations_are_not_changed(tmp_path):
    run = runs.make_run("hess", n_events=40)
    events, meta = run.events.table.copy(), copy.deepcopy(run.events.table.meta)
    alignment, data = run._bkg.fov_alignment, run._bkg.data.copy()
    write_datastore([run], tmp_path)
    assert dict(run.events.table.meta) == dict(meta)
    assert run.events.table.colnames == events.colnames
    assert all(np.all(run.events.table[n] == events[n]) for n in ("RA", "ENERGY"))
    assert run.events.meta.creation is None
    assert run._bkg.fov_alignment == alignment
    assert np.array_equal(run._bkg.data, data)


# --- IRFs ---


@pytest.mark.parametrize("suffix", [".fits", ".fits.gz"])
def test_untouched_irfs_are_copied_byte_for_byte(suffix, tmp_path):
    run = runs.open_raw("full", tmp_path / "raw", n_events=3)[0]
    source = tmp_path / "raw" / "run_1.fits"
    content = source.read_bytes()
    if suffix == ".fits.gz":
        source.write_bytes(gzip.compress(content))
    write_datastore([run], tmp_path / "new")
    written = (tmp_path / "new" / "1.fits").read_bytes()
    with fits.open(tmp_path / "raw" / "run_1.fits") as hdus:
        for index in range(3, len(hdus)):
            hdus[index].data  # noqa: B018  # so that fileinfo is complete
            info = hdus[index].fileinfo()
            start, stop = info["hdrLoc"], info["datLoc"] + info["datSpan"]
            assert content[start:stop] in written, hdus[index].name


def test_only_cards_that_must_change_are_changed(tmp_path):
    run = runs.open_raw("full", tmp_path / "raw", n_events=3)[0]
    source = header_of(tmp_path / "raw" / "run_1.fits", "EFFECTIVE AREA")
    with fits.open(tmp_path / "raw" / "run_1.fits", mode="update") as hdus:
        for hdu in hdus:
            hdu.add_checksum()
    run.obs_id = 77
    write_datastore([run], tmp_path / "new")
    new = header_of(tmp_path / "new" / "77.fits", "EFFECTIVE AREA")
    diff = fits.HeaderDiff(source, new)
    assert diff.diff_keyword_values == {"OBS_ID": [(1, 77)]}
    assert not diff.diff_keyword_count
    assert not diff.diff_keywords
    assert str(source.cards["LO_THRES"]) == str(new.cards["LO_THRES"])


def test_checksums_of_the_source_are_dropped(tmp_path):
    run = runs.make_run("messy", n_events=3)
    assert "CHECKSUM" in run.events.table.meta
    write_datastore([run], tmp_path)
    with fits.open(tmp_path / "1.fits", checksum=True) as hdus:
        assert not any("CHECKSUM" in hdu.header for hdu in hdus)
        assert not any("DATASUM" in hdu.header for hdu in hdus)


@pytest.mark.parametrize("kind", ["psf_3gauss", "psf_king"])
def test_parametric_psf_has_a_full_header(kind, tmp_path):
    write_datastore([runs.make_run(kind, n_events=3)], tmp_path)
    with fits.open(tmp_path / "1.fits") as hdus:
        header = next(h.header for h in hdus if "PSF" in h.name)
    classes = [header[f"HDUCLAS{i}"] for i in range(1, 5)]
    assert classes == ["RESPONSE", "RPSF", "FULL-ENCLOSURE", kind.upper()]
    assert header["HDUCLASS"] == "GADF"
    assert header["TELESCOP"] == "TEST"


def test_missing_class_cards_are_added_to_a_copied_irf(tmp_path):
    run = runs.open_raw("full", tmp_path / "raw", n_events=3)[0]
    with fits.open(tmp_path / "raw" / "run_1.fits", mode="update") as hdus:
        for name in ("HDUCLAS1", "HDUCLAS3", "HDUCLASS"):
            del hdus["EFFECTIVE AREA"].header[name]
        hdus["EFFECTIVE AREA"].header["HDUCLAS4"] = "2D"
        del hdus["BACKGROUND"].header["FOVALIGN"]
    store = write_datastore([run], tmp_path / "new")
    new = header_of(tmp_path / "new" / "1.fits", "EFFECTIVE AREA")
    assert new["HDUCLAS4"] == "AEFF_2D"
    assert new["HDUCLAS3"] == "FULL-ENCLOSURE"
    # gammapy takes a model without FOVALIGN as RADEC
    bkg = header_of(tmp_path / "new" / "1.fits", "BACKGROUND")
    assert bkg["FOVALIGN"] == "RADEC"
    for new in read_back(store):
        assert_same_run(run, new)


@pytest.mark.filterwarnings("ignore:.*did not parse as fits unit")
def test_copied_irfs_of_older_files_become_gadf(tmp_path):
    # as those of CTA-1DC
    run = runs.open_raw("full", tmp_path / "raw", n_events=3)[0]
    older = {"HDUCLASS": "OGIP", "HDUDOC": "???", "HDUCLAS1": "RESP", "HDUVERS": 0.2}
    with fits.open(tmp_path / "raw" / "run_1.fits", mode="update") as hdus:
        for hdu in hdus[3:]:
            hdu.header.update(older)
            hdu.header["HDUCLAS4"] = hdu.header["HDUCLAS4"].rpartition("_")[2]
        names = hdus["ENERGY DISPERSION"].header
        for key in names["TTYPE*"]:
            names[key] = names[key].replace("ENERG_", "ETRUE_")
        cards = hdus["BACKGROUND"].header
        number = next(key[5:] for key in cards["TTYPE*"] if cards[key] == "BKG")
        cards[f"TTYPE{number}"], cards[f"TUNIT{number}"] = "BGD", "1/s/MeV/sr"
    store = write_datastore([run], tmp_path / "new")
    findings = check_datastore(tmp_path / "new")
    assert not len(findings), findings
    assert len(check_datastore(tmp_path / "raw")["HDU"]) > 10  # what was there before
    for new in read_back(store):
        assert_same_run(run, new)


@pytest.mark.parametrize("touched", [False, True])
@pytest.mark.parametrize("kind", runs.POINT_LIKE)
@pytest.mark.parametrize("held", ["lazy", "memory"])
def test_rad_max_is_a_table_only_if_it_depends_on_energy(kind, touched, held, tmp_path):
    run = runs.open_raw(kind, tmp_path / "raw", n_events=3)[0]
    if held == "memory":
        run = run.copy(in_memory=True)
    if touched:
        assert run.rad_max is not None
    store = write_datastore([run], tmp_path / "new")
    assert ("rad_max" in store.hdu_table["HDU_TYPE"]) == (kind == "rad_max")
    for new in read_back(store):
        position = {"energy": 1 * u.TeV, "offset": 0.5 * u.deg}
        expected = run.rad_max.evaluate(**position)
        assert new.rad_max.evaluate(**position) == expected
    if kind == "fixed_rad_max":
        for name in ("EFFECTIVE AREA", "ENERGY DISPERSION"):
            value = header_of(tmp_path / "new" / "1.fits", name)["RAD_MAX"]
            assert value == runs.RAD_MAX
            assert type(value) is float


@pytest.mark.parametrize("held", ["lazy", "memory"])
def test_fixed_rad_max_object_becomes_the_keyword(held, tmp_path):
    run = runs.open_raw("fixed_rad_max", tmp_path / "raw", n_events=3)[0]
    if held == "memory":
        run = run.copy(in_memory=True)
    cut = RadMax2D.from_irf(run.aeff)
    cut.data[...] = 1
    run._rad_max = cut
    store = write_datastore([run], tmp_path / "new")
    for new in read_back(store):
        assert new.rad_max.evaluate(energy=1 * u.TeV, offset=0 * u.deg) == 1 * u.deg


def test_irf_without_a_format_is_refused(tmp_path):
    run = runs.make_run("full", n_events=3)
    run.psf = run.edisp
    run.psf.tag = "psf_map"
    with pytest.raises(ValueError, match="OBS_ID 1: an IRF of class 'psf_map'"):
        write_datastore([run], tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_hdu_that_is_missing_in_the_source_is_an_error(tmp_path):
    run = runs.open_raw("full", tmp_path / "raw", n_events=3)[0]
    with fits.open(tmp_path / "raw" / "run_1.fits", mode="update") as hdus:
        del hdus["ENERGY DISPERSION"]
    with pytest.raises(ValueError, match=r"OBS_ID 1: .* no HDU 'ENERGY DISPERSION'"):
        write_datastore([run], tmp_path / "new")


def test_irfs_of_equal_names_get_names_of_their_own(tmp_path):
    run = runs.open_raw("full", tmp_path / "raw", n_events=3)[0]
    # the PSF comes from another file, where it has the name of the effective area
    other = runs.open_raw("full", tmp_path / "other", n_events=3)[0]
    with fits.open(tmp_path / "other" / "run_1.fits", mode="update") as hdus:
        del hdus["EFFECTIVE AREA"]
        hdus["POINT SPREAD FUNCTION"].name = "EFFECTIVE AREA"
    run.__dict__["_psf_hdu"] = other.__dict__["_psf_hdu"]
    run.__dict__["_psf_hdu"].hdu_name = "EFFECTIVE AREA"
    store = write_datastore([run], tmp_path / "new")
    assert len(set(store.hdu_table["HDU_NAME"])) == 6
    for new in read_back(store):
        assert_same_run(run, new)


# --- background alignment ---


def with_background(run, alignment):
    """Give a run its own background model, said to be aligned so."""
    bkg = run._bkg
    run.bkg = Background3D(
        axes=bkg.axes,
        data=bkg.data,
        unit=bkg.unit,
        fov_alignment=alignment,
        meta={"HDUCLAS2": "BKG"},
    )
    return run


@pytest.mark.parametrize("held", ["lazy", "memory"])
@pytest.mark.parametrize("meta_fires", [True, False])
@pytest.mark.parametrize("header_fires", [True, False])
@pytest.mark.parametrize("alignment", [*FoVAlignment])
def test_background_means_the_same_before_and_after(
    alignment, header_fires, meta_fires, held, tmp_path
):
    """All ways in which header, metadata and FOVALIGN can disagree."""
    run = runs.open_raw("hess", tmp_path / "raw", n_events=3)[0]
    if held == "lazy":
        with fits.open(tmp_path / "raw" / "run_1.fits", mode="update") as hdus:
            hdus["BKG"].header["FOVALIGN"] = alignment.value
            if not header_fires:
                hdus["EVENTS"].header["CREATOR"] = "another program"
    else:
        run = with_background(run.copy(in_memory=True), alignment)
        if not header_fires:
            run._events.table.meta["CREATOR"] = "another program"
    hess = "SASH FITS::EventListWriter" if meta_fires else "another program"
    run.meta.optional |= {"CREATOR": hess, "HDUVERS": "0.2"}
    store = write_datastore([run], tmp_path / "new")
    for new in read_back(store):
        assert_same_background(run.bkg, new.bkg)
    header = header_of(tmp_path / "new" / "1.fits")
    with fits.open(tmp_path / "new" / "1.fits") as hdus:
        written = hdus[-1].header["FOVALIGN"]
    assert written in ("RADEC", "ALTAZ")
    true = "REVERSE_LON_RADEC" if meta_fires else alignment.value
    kept = true == "REVERSE_LON_RADEC" or not header_fires
    assert (header["CREATOR"] == CREATOR) != kept
    if not kept:
        assert "CREATOR was SASH FITS::EventListWriter" in list(header["HISTORY"])


def test_comparison_of_backgrounds_sees_a_mirrored_one():
    """Negative control of the test above."""
    bkg = runs.make_run("full", n_events=3).bkg
    mirrored = copy.copy(bkg)
    mirrored._fov_alignment = FoVAlignment.REVERSE_LON_RADEC
    with pytest.raises(AssertionError):
        assert_same_background(bkg, mirrored)


def test_creator_stays_without_a_3d_background(tmp_path):
    run = runs.make_run("hess", n_events=3)
    run.bkg = runs.make_run("bkg_2d", n_events=3).bkg
    store = write_datastore([run], tmp_path)
    header = header_of(tmp_path / "1.fits")
    assert header["CREATOR"] == "SASH FITS::EventListWriter"
    for new in read_back(store):
        assert_same_background(run.bkg, new.bkg)


# --- what is changed in memory ---


def test_changes_in_memory_override_the_header(tmp_path):
    run = runs.make_run("full", n_events=40)
    start = run.gti.time_start[0] + [0, 900] * u.s
    location = EarthLocation.from_geodetic(-17.9, 28.7, 2200)
    changed = Observation(
        obs_id=42,
        events=run.events,
        gti=GTI.create(start, start + 600 * u.s, run.gti.time_ref),
        meta=run.meta.model_copy(update={"deadtime_fraction": 0.25}),
        pointing=FixedPointingInfo(fixed_icrs=SkyCoord(80, 20, unit="deg")),
        location=location,
        aeff=run.aeff,
    )
    store = write_datastore([changed], tmp_path)
    header = header_of(tmp_path / "42.fits")
    assert header["OBS_ID"] == 42
    assert header["RA_PNT"] == 80
    assert abs(header["GLON_PNT"] - runs.POINTING.galactic.l.deg) > 0.5
    assert_allclose(header["ONTIME"], 1200, rtol=1e-12)
    assert_allclose(header["LIVETIME"], 900, rtol=1e-12)
    assert header["DEADC"] == 0.75
    assert_allclose(header["GEOLAT"], 28.7, rtol=1e-12)
    assert header_of(tmp_path / "42.fits", "EFFECTIVE AREA")["OBS_ID"] == 42
    for new in read_back(store, 42):
        assert new.obs_id == 42
        assert_allclose(new.observation_dead_time_fraction, 0.25, rtol=1e-14)
        assert len(new.gti.table) == 2
        assert new.pointing.fixed_icrs.ra.deg == 80
    row = store.obs_table[0]
    assert (row["RA_PNT"], row["DEADC"], row["EVENT_COUNT"]) == (80, 0.75, 40)


@pytest.mark.parametrize("kind", ["full", "multi_gti"])
def test_time_filter_is_written(kind, tmp_path):
    run = runs.open_raw(kind, tmp_path / "raw", n_events=200)[0]
    begin = run.gti.time_start[0]
    part = run.select_time(Time([begin + 300 * u.s, begin + 1200 * u.s]))
    assert 0 < len(part.events.table) < 200
    store = write_datastore([part], tmp_path / "new")
    header = header_of(tmp_path / "new" / "1.fits")
    assert_allclose(header["ONTIME"], part.gti.time_sum.value, rtol=1e-12)
    assert_allclose(header["TSTOP"] - header["TSTART"], 900, atol=300)
    for new in read_back(store):
        # a new GTI edge is only as exact as a 64 bit number of seconds: 1e-7 s
        assert_allclose(
            (new.gti.time_start - part.gti.time_start).to_value("s"), 0, atol=2e-7
        )
        assert_same_events(part.events, new.events)


def test_phase_filter_keeps_the_livetime(tmp_path):
    run = runs.make_run("full", n_events=40)
    run.events.table["PHASE"] = np.linspace(0, 1, 40)
    names = inspect.signature(EventList.select_parameter).parameters
    band = "values" if "values" in names else "band"
    options = {"parameter": "PHASE", band: (0.25, 0.75)}
    run.obs_filter = ObservationFilter(
        event_filters=[{"type": "custom", "opts": options}]
    )
    expected = 0.5 * 1680 * runs.DEADC
    for new in read_back(write_datastore([run], tmp_path)):
        assert_allclose(new.observation_live_time_duration.value, expected)
        assert len(new.events.table) == len(run.events.table) == 20


def test_drift_replaces_the_sky_position(tmp_path):
    run = runs.make_run("full", n_events=3)
    altaz = AltAz(alt=70 * u.deg, az=180 * u.deg)
    run._pointing = FixedPointingInfo(fixed_altaz=altaz)
    store = write_datastore([run], tmp_path)
    header = header_of(tmp_path / "1.fits")
    assert header["OBS_MODE"] == "DRIFT"
    assert not {"RA_PNT", "DEC_PNT", "GLON_PNT", "GLAT_PNT"} & set(header)
    assert np.isnan(np.ma.filled(store.obs_table["RA_PNT"], np.nan)[0])
    for new in read_back(store):
        assert new.pointing.fixed_altaz.alt.deg == 70


# --- columns and cards ---


def test_columns_of_events(tmp_path):
    run = runs.make_run("columns", n_events=40)
    table = run.events.table
    table["SMALL"] = np.arange(40, dtype="u2") + 60000
    table["TINY"] = np.arange(40, dtype="i1") - 20
    table["FLAG"] = np.arange(40) % 2 == 0
    table["CUBE"] = np.arange(240, dtype="f4").reshape(40, 2, 3)
    table["WORDS"] = np.array([["ab", "cde"]] * 40)
    table["GAPS"] = MaskedColumn(np.arange(40.0), mask=np.arange(40) % 5 == 0)
    table["WHOLE"] = MaskedColumn(
        np.arange(40, dtype="u4"), mask=np.arange(40) == 3, fill_value=7
    )
    write_datastore([run], tmp_path)
    with fits.open(tmp_path / "1.fits") as hdus:
        columns = hdus["EVENTS"].columns
        assert columns.names[:5] == ["EVENT_ID", "TIME", "RA", "DEC", "ENERGY"]
        forms = dict(zip(columns.names, columns.formats, strict=True))
        assert forms["EVENT_TYPE"] == "32X"
        assert forms["TIME"] == "D"
        assert forms["MC_ID"] == "J"
        assert forms["MULTIP"] == "I"
    new = Observation.read(tmp_path / "1.fits").events.table
    for name in ("SMALL", "TINY", "FLAG", "CUBE", "WORDS", "EVENT_TYPE", "LABEL"):
        assert np.array_equal(new[name], table[name]), name
    for name in ("GAPS", "WHOLE", "MASKED"):
        assert np.array_equal(new[name].mask, table[name].mask), name
        assert np.array_equal(new[name].compressed(), table[name].compressed()), name


def test_columns_that_a_table_cannot_hold_are_left_out_with_a_warning(tmp_path, caplog):
    run = runs.make_run("full", n_events=4)
    table = run.events.table
    table["PLACE"] = SkyCoord([1, 2, 3, 4], [0, 0, 0, 0], unit="deg")
    table["THING"] = np.array([{}, [], None, 1], dtype=object)
    table["WHEN"] = table["TIME"]
    table["NAME"] = ["α", "b", "c", "d"]  # noqa: RUF001
    write_datastore([run], tmp_path)
    new = Observation.read(tmp_path / "1.fits").events.table
    assert "PLACE" not in new.colnames
    assert "THING" not in new.colnames
    assert "NAME" not in new.colnames
    for text in ("PLACE is left out", "THING is left out", "NAME is left out"):
        assert text in caplog.text
    assert "column WHEN is written in seconds" in caplog.text
    reference = Time(51544, 0.5, format="mjd", scale="tt")
    back = reference + u.Quantity(new["WHEN"])
    assert np.all((back - table["TIME"]).to_value("s") == 0)


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        (np.array([5, 6, 9]), [5, 6, 9]),
        (np.array([5.0, 6.0, 9.0]), [5, 6, 9]),
        (np.array([5, 5, 9]), [0, 1, 2]),
        (MaskedColumn([5, 6, 9], mask=[0, 1, 0]), [0, 1, 2]),
        (np.array(["a", "b", "c"]), [0, 1, 2]),
        (None, [0, 1, 2]),
    ],
)
def test_event_id_is_an_integer_and_unique(ids, expected, tmp_path):
    run = runs.make_run("no_event_id", n_events=3)
    if ids is not None:
        run.events.table["EVENT_ID"] = ids
    write_datastore([run], tmp_path)
    with fits.open(tmp_path / "1.fits") as hdus:
        assert hdus["EVENTS"].columns["EVENT_ID"].format == "K"
        assert list(hdus["EVENTS"].data["EVENT_ID"]) == expected


def test_columns_are_in_the_units_of_gadf(tmp_path):
    run = runs.make_run("full", n_events=5)
    table = run.events.table
    energy = table["ENERGY"].quantity
    table["ENERGY"] = energy.to("GeV")
    table["RA"] = table["RA"].quantity.to("rad")
    write_datastore([run], tmp_path)
    with fits.open(tmp_path / "1.fits") as hdus:
        columns = hdus["EVENTS"].columns
        assert columns["ENERGY"].unit == "TeV"
        assert columns["RA"].unit == "deg"
        assert_allclose(hdus["EVENTS"].data["ENERGY"], energy.value, rtol=1e-14)


def test_cards_survive(tmp_path):
    run = runs.make_run("messy", n_events=3)
    header = run.events.table.meta
    header["LONG"] = "a long text " * 12
    header["A long keyword"] = 3
    header["UNDEFINED"] = fits.card.Undefined()
    header["FLAG"] = np.bool_(True)
    header["SMALL"] = np.float32(0.5)
    header["LENGTH"] = 3 * u.m
    store = write_datastore([run], tmp_path)
    new = header_of(tmp_path / "1.fits")
    assert list(new["HISTORY"]) == [
        "calibrated",
        "reconstructed",
        f"written by {CREATOR}",
    ]
    assert list(new["COMMENT"]) == ["A first comment", "and a second one"]
    assert new.count("TELLIST") == 2
    assert new["DSTYP1"] == "TIME"
    assert new["MID00001"] == 1
    assert new["LONG"] == header["LONG"].rstrip()
    assert new["A LONG KEYWORD"] == 3
    assert new["FLAG"] is True
    assert new["SMALL"] == 0.5
    assert new["LENGTH"] == 3
    assert type(new["OBS_ID"]) is int
    assert type(new["EQUINOX"]) is float
    read = store.obs(1).events.table.meta
    assert read["HISTORY"][0] == "calibrated"
    assert read["comments"] == ["A first comment", "and a second one"]


def test_cards_that_cannot_be_held_are_left_out_with_a_warning(tmp_path, caplog):
    run = runs.make_run("full", n_events=3)
    run.events.table.meta |= {
        "NOTHING": None,
        "NOTANUM": np.nan,
        "PLACE": SkyCoord(1, 2, unit="deg"),
        "GREEK": "α",  # noqa: RUF001
        "NESTED": {"a": 1},
        "HISTORY": ["naïve"],
    }
    write_datastore([run], tmp_path)
    new = header_of(tmp_path / "1.fits")
    # an undefined value
    assert new["NOTHING"] is None
    for name in ("NOTANUM", "PLACE", "GREEK", "NESTED"):
        assert name not in new
        assert f"OBS_ID 1, EVENTS: {name} is left out" in caplog.text
    assert new["HISTORY"][0] == "na?ve"


def test_header_of_a_simulated_run_is_normalised(tmp_path):
    """Cards as gammapy's MapDatasetEventSampler writes them."""
    run = runs.make_run("full", n_events=3)
    header = run.events.table.meta
    for name in ("RADECSYS", "HDUCLASS", "ORIGIN", "CREATOR"):
        header.pop(name)
    header |= {
        "EQUINOX": "J2000",
        "RADESYSa": "ICRS",
        "N_TELS": "",
        "TELLIST": "",
        "NDSKEYS": " 3 ",
        "TIMESYS": "tt",
        "HDUVERS": "1.0.0",
        "CALDB": "1dc",
        "IRF": "South_z20_50h",
    }
    store = write_datastore([run], tmp_path)
    new = header_of(tmp_path / "1.fits")
    assert new["EQUINOX"] == 2000
    assert new["RADECSYS"] == "ICRS"
    assert new["NDSKEYS"] == 3
    assert new["TIMESYS"] == "TT"
    assert new["HDUCLASS"] == "GADF"
    assert new["HDUVERS"] == "0.3"
    assert new["CREATOR"] == CREATOR
    assert new["ORIGIN"] == "UNKNOWN"
    # gammapy would take the IRFs of the calibration database and not of the file
    assert not {"CALDB", "IRF", "N_TELS", "TELLIST", "RADESYSA"} & set(new)
    assert any("South_z20_50h" in line for line in new["HISTORY"])
    for new in read_back(store):
        assert_same_events(run.events, new.events)


def test_bare_events_get_a_whole_header(tmp_path):
    """Events without any metadata: all that is needed comes from the observation."""
    run = runs.make_run("full", n_events=5)
    names = ["TIME", "RA", "DEC", "ENERGY"]
    bare = Table({name: run.events.table[name] for name in names})
    bare_run = Observation(
        obs_id=9,
        events=EventList(bare),
        gti=run.gti,
        pointing=run.pointing,
        location=runs.LOCATION,
        meta=ObservationMetaData(deadtime_fraction=0.5),
    )
    store = write_datastore([bare_run], tmp_path)
    for new in read_back(store, 9):
        assert_same_events(bare_run.events, new.events)
        assert new.observation_dead_time_fraction == 0.5
        assert new.obs_id == 9
    header = header_of(tmp_path / "9.fits")
    mandatory = (
        "HDUCLASS HDUDOC HDUVERS HDUCLAS1 OBS_ID TSTART TSTOP ONTIME LIVETIME DEADC "
        "OBS_MODE RA_PNT DEC_PNT ALT_PNT AZ_PNT EQUINOX RADECSYS ORIGIN TELESCOP "
        "INSTRUME CREATOR MJDREFI MJDREFF TIMEUNIT TIMESYS TIMEREF GEOLON GEOLAT "
        "ALTITUDE"
    )
    assert set(mandatory.split()) <= set(header)
    gti = header_of(tmp_path / "9.fits", "GTI")
    needed = "HDUCLAS1 MJDREFI MJDREFF TIMEUNIT TIMESYS TIMEREF TSTART TSTOP GEOLON"
    assert set(needed.split()) <= set(gti)


def test_gti_in_memory_may_have_another_time_reference(tmp_path):
    run = runs.make_run("full", n_events=5)
    reference = Time("2015-01-01", scale="utc")
    other = GTI.create(run.gti.time_start, run.gti.time_stop, reference)
    new_run = Observation(
        obs_id=1,
        events=run.events,
        gti=other,
        pointing=run.pointing,
        meta=run.meta,
        location=runs.LOCATION,
    )
    store = write_datastore([new_run], tmp_path)
    # both count from the time reference of the events
    for name in ("GTI", "EVENTS"):
        assert header_of(tmp_path / "1.fits", name)["TIMESYS"] == "TT"
    for new in read_back(store):
        # 2e-8 s: one double of 2e8 s
        start = (new.gti.time_start - run.gti.time_start).to_value("s")
        assert_allclose(start, 0, atol=3e-8)
        assert_same_events(run.events, new.events)


# --- index tables ---


def test_index_tables(tmp_path):
    kinds = ["hess", "fixed_rad_max", "drift"]
    observations = [
        runs.make_run(kind, obs_id=obs_id, n_events=4 + obs_id)
        for obs_id, kind in zip([3, 1, 2], kinds, strict=True)
    ]
    observations[0].events.table.meta |= {"MIM_DON": 7, "QUALITY": 0}
    write_datastore(observations, tmp_path)
    hdu_table = Table.read(tmp_path / "hdu-index.fits.gz")
    assert hdu_table.meta["EXTNAME"] == "HDU_INDEX"
    assert set(hdu_table["FILE_DIR"]) == {"."}
    assert hdu_table["SIZE"][0] == (tmp_path / "1.fits").stat().st_size
    obs_table = Table.read(tmp_path / "obs-index.fits.gz")
    assert list(obs_table["OBS_ID"]) == [1, 2, 3]
    assert list(obs_table["EVENT_COUNT"]) == [5, 6, 7]
    assert list(obs_table["OBS_MODE"]) == ["POINTING", "DRIFT", "POINTING"]
    assert obs_table["RA_PNT"].dtype.itemsize == 8
    assert str(obs_table["ALT_PNT"].unit) == "deg"
    assert_allclose(obs_table["ZEN_PNT"], 90 - obs_table["ALT_PNT"])
    # only one run each has these
    assert list(obs_table["MIM_DON"].mask) == [True, True, False]
    assert obs_table["MIM_DON"][2] == 7
    assert obs_table["QUALITY"].dtype.kind == "i"
    assert list(obs_table["NSBLEVEL"].mask) == [False, True, True]
    needed = "MJDREFI MJDREFF TIMEUNIT TIMESYS TIMEREF GEOLON GEOLAT ALTITUDE HDUVERS"
    assert set(needed.split()) <= set(obs_table.meta)


def test_index_has_one_time_reference(tmp_path):
    kinds = ["utc", "hess", "full"]
    observations = [
        runs.make_run(kind, obs_id=i, n_events=3) for i, kind in enumerate(kinds)
    ]
    store = write_datastore(observations, tmp_path)
    for row, observation in zip(store.obs_table, observations, strict=True):
        start = time_ref_from_dict(store.obs_table.meta) + row["TSTART"] * u.s
        start = (start - observation.gti.time_start[0]).to_value("s")
        # 6e-8 s: one double of 5e8 s
        assert abs(start) < 1e-7
    assert store.obs_table.meta["TIMESYS"] == "UTC"


def test_sites_that_differ_are_columns(tmp_path):
    location = EarthLocation.from_geodetic(-17.9, 28.7, 2200)
    observations = [
        runs.make_run("full", obs_id=1, n_events=3),
        runs.make_run("full", obs_id=2, n_events=3, location=location),
    ]
    store = write_datastore(observations, tmp_path)
    assert_allclose(store.obs_table["GEOLAT"], [-23.2717777777778, 28.7], rtol=1e-12)


def test_columns_of_the_source_table_are_passed_through(tmp_path):
    observations = [runs.make_run("full", obs_id=i, n_events=3) for i in (1, 2)]
    source = Table(
        {
            "OBS_ID": [5, 2],
            "QUALITY": [1, 0],
            "SAFE_ENERGY_LO": [0.5, 0.7] * u.TeV,
            "TARGET_NAME": ["Crab", "Off data"],
            "RA_PNT": [1.0, 1.0],
            "TIME-OBS": ["00:00:00", "00:00:00"],
            "WHEN": Time([50000, 50001], format="mjd"),
        }
    )
    store = write_datastore(observations, tmp_path, obs_table=source)
    table = store.obs_table
    assert list(table["QUALITY"].mask) == [True, False]
    assert table["QUALITY"][1] == 0
    assert table["TARGET_NAME"][1] == "Off data"
    assert table["SAFE_ENERGY_LO"].unit == "TeV"
    assert table["SAFE_ENERGY_LO"][1] == 0.7
    assert_allclose(table["RA_PNT"], runs.POINTING.ra.deg)
    assert not {"TIME-OBS", "WHEN"} & set(table.colnames)
    assert source["OBS_ID"][0] == 5


# --- errors, overwriting, interruption ---


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"obs_id": "7"}, "OBS_ID '7' is not an integer"),
        ({"obs_id": None}, "OBS_ID None is not an integer"),
        ({"obs_id": True}, "OBS_ID True is not an integer"),
        ({"obs_id": 2**63}, "is not an integer"),
        ({"obs_id": 1}, "OBS_ID 1 is duplicated"),
        ({"_events": None}, "run 2 has no events"),
        ({"_gti": None}, "run 2 has no good time intervals"),
        ({"_pointing": None}, "run 2 has no pointing"),
        ({"_location": None}, "run 2 has no location"),
    ],
)
@pytest.mark.parametrize("iterable", [list, iter])
def test_bad_run_is_refused(change, match, iterable, tmp_path):
    good = runs.make_run("full", obs_id=1, n_events=3)
    bad = runs.make_run("full", obs_id=2, n_events=3)
    bad._meta = bad.meta.model_copy(update={"location": None})
    for name, value in change.items():
        setattr(bad, name, value)
    with pytest.raises(ValueError, match=match):
        write_datastore(iterable([good, bad]), tmp_path / "new")
    if iterable is list:
        assert not (tmp_path / "new").exists()
    else:
        # the first run was complete, there is no index
        assert os.listdir(tmp_path / "new") == ["1.fits"]


def test_empty_gti_is_refused(tmp_path):
    run = runs.make_run("full", n_events=3)
    begin = run.gti.time_stop[0]
    nothing = run.select_time(Time([begin + 1 * u.h, begin + 2 * u.h]))
    with pytest.raises(ValueError, match="run 1: GTI: there is no good time"):
        write_datastore([nothing], tmp_path)


@pytest.mark.parametrize("card", ["MJDREFI", "GEOLON", "RA_PNT"])
def test_card_that_gammapy_misses_in_a_file_is_named(card, tmp_path):
    run = runs.open_raw("full", tmp_path / "raw", n_events=3)[0]
    with fits.open(tmp_path / "raw" / "run_1.fits", mode="update") as hdus:
        del hdus["EVENTS"].header[card]
    with pytest.raises(ValueError, match=f"run.?1.*{card}"):
        write_datastore([run], tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_nothing_to_write(tmp_path):
    with pytest.raises(ValueError, match="No observations"):
        write_datastore([], tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_single_observation_is_refused(tmp_path):
    with pytest.raises(TypeError, match=r"a single one; give a list"):
        write_datastore(runs.make_run("full", n_events=3), tmp_path / "new")


def test_existing_files_are_refused_before_anything_is_written(tmp_path):
    observations = [runs.make_run("full", obs_id=i, n_events=3) for i in (1, 2)]
    (tmp_path / "2.fits").write_text("mine")
    with pytest.raises(FileExistsError, match=r"2\.fits exists; use overwrite=True"):
        write_datastore(observations, tmp_path)
    assert os.listdir(tmp_path) == ["2.fits"]
    with pytest.raises(FileExistsError, match=r"2\.fits exists"):
        write_datastore(iter(observations), tmp_path)
    assert (tmp_path / "2.fits").read_text() == "mine"
    assert no_temporary_files(tmp_path)


def test_existing_index_is_refused_at_the_start(tmp_path):
    write_datastore([runs.make_run("full", n_events=3)], tmp_path)

    def generator():
        raise AssertionError("nothing is asked for")
        yield

    with pytest.raises(FileExistsError, match="obs-index"):
        write_datastore(generator(), tmp_path)
    with pytest.raises(FileExistsError, match="obs-index"):
        MimicWriter(tmp_path).check()


def test_path_that_is_a_file(tmp_path):
    path = tmp_path / "file"
    path.write_text("mine")
    with pytest.raises(NotADirectoryError, match="is not a folder"):
        write_datastore([runs.make_run("full", n_events=3)], path)
    assert path.read_text() == "mine"


INDEX = ["hdu-index.fits.gz", "obs-index.fits.gz"]


def n_events(store):
    return {obs.obs_id: len(obs.events.table) for obs in store.get_observations()}


def test_overwriting_adds_and_replaces(tmp_path, caplog):
    """No file is removed, and none of another program is replaced."""
    old = [runs.make_run("full", obs_id=i, n_events=3) for i in (1, 2, 3)]
    first = write_datastore(old, tmp_path).obs_table
    (tmp_path / "9.fits").write_text("mine")
    new = [runs.make_run("full", obs_id=i, n_events=8) for i in (2, 4)]
    store = write_datastore(new, tmp_path, overwrite=True)
    assert n_events(store) == {1: 3, 2: 8, 3: 3, 4: 8}
    assert "runs of an earlier call stay in the store: 1, 3" in caplog.text
    for name in first.colnames:
        rows = store.obs_table["OBS_ID"]
        kept = store.obs_table[name][(rows == 1) | (rows == 3)]
        assert list(kept) == list(first[name][[0, 2]])
    # but for 9.fits, of which it warns
    assert "error" not in list(check_datastore(tmp_path)["LEVEL"])
    names = [f"{number}.fits" for number in (1, 2, 3, 4, 9)]
    assert sorted(os.listdir(tmp_path)) == [*names, *INDEX]
    caplog.clear()
    store = write_datastore(new, tmp_path, overwrite=True, compress=True)
    assert n_events(store) == {1: 3, 2: 8, 3: 3, 4: 8}
    assert "no longer in the index stay: 2.fits, 4.fits; remove them" in caplog.text
    names += ["2.fits.gz", "4.fits.gz"]
    assert sorted(os.listdir(tmp_path)) == sorted([*names, *INDEX])


def test_columns_of_an_earlier_table_stay(tmp_path):
    old = [runs.make_run("full", obs_id=i, n_events=3) for i in (1, 2)]
    table = Table({"OBS_ID": [1, 2], "NIGHT": [5, 6]})
    write_datastore(old, tmp_path, obs_table=table)
    new = runs.make_run("full", obs_id=3, n_events=3)
    for given, night in ((None, None), (Table({"OBS_ID": [3], "NIGHT": [7]}), 7)):
        store = write_datastore([new], tmp_path, overwrite=True, obs_table=given)
        assert list(store.obs_table["NIGHT"][:2]) == [5, 6]
        if night is not None:
            assert store.obs_table["NIGHT"][2] == night


def everything(folder):
    return {it.name: it.read_bytes() for it in folder.iterdir()}


def test_index_of_another_program_is_not_replaced(tmp_path):
    runs.write_raw("full", tmp_path, n_events=3)
    before = everything(tmp_path)
    new = runs.make_run("full", obs_id=2, n_events=3)
    with pytest.raises(FileExistsError, match=r"obs-index\.fits\.gz was not wr"):
        write_datastore([new], tmp_path, overwrite=True)
    assert everything(tmp_path) == before


@pytest.mark.parametrize("make", [list, iter])
def test_files_of_another_program_are_not_replaced(tmp_path, make):
    (tmp_path / "1.fits").write_text("mine")
    runs.make_hdulist("full", obs_id=2, n_events=3).writeto(tmp_path / "2.fits")
    before = everything(tmp_path)
    for obs_id in (1, 2):
        new = make([runs.make_run("full", obs_id=obs_id, n_events=3)])
        with pytest.raises(FileExistsError, match=rf"{obs_id}\.fits was not wr"):
            write_datastore(new, tmp_path, overwrite=True)
        assert everything(tmp_path) == before


@pytest.mark.parametrize("make", [list, iter])
@pytest.mark.parametrize("n_loaded", [0, 2])
def test_store_from_which_runs_are_read_is_not_overwritten(tmp_path, make, n_loaded):
    """The case of mimics that are written to the store of their donors."""
    observations = [runs.make_run("full", obs_id=i, n_events=3) for i in (1, 2, 3)]
    store = write_datastore(observations, tmp_path / "store")
    before = everything(tmp_path / "store")
    (tmp_path / "link").symlink_to(tmp_path / "store")
    found = store.get_observations([2])
    for name in ["events", "gti"][:n_loaded]:
        assert getattr(found[0], name) is not None
    for path in (tmp_path / "store", tmp_path / "link", tmp_path):
        with pytest.raises(ValueError, match=r"OBS_ID 2 is read from .*2\.fits, in"):
            write_datastore(make(found), path, overwrite=True)
        assert everything(tmp_path / "store") == before
    assert n_events(write_datastore(found, tmp_path / "other")) == {2: 3}


def test_store_is_overwritten_by_what_is_in_memory(tmp_path):
    run = runs.make_run("hess", n_events=30)
    write_datastore([run], tmp_path)
    write_datastore([run], tmp_path, overwrite=True)
    for new in read_back(DataStore.from_dir(tmp_path)):
        assert_same_run(run, new)


@pytest.mark.parametrize("size", [0, 1, 65535, 65536, 200000])
def test_gzip_has_the_same_bytes_everywhere(size):
    content = np.random.default_rng(size).bytes(size)
    packed = stored_gzip(content)
    assert gzip.decompress(packed) == content
    # header, blocks of at most 65535 bytes, checksum and size
    assert packed[:10] == bytes.fromhex("1f8b08000000000000ff")
    assert len(packed) == 10 + 5 * max(1, -(-size // 65535)) + size + 8


def test_index_has_the_same_bytes_everywhere(tmp_path):
    """Written down once, from Python 3.11 and zlib 1.3."""
    write_datastore([runs.make_run("full", n_events=3)], tmp_path)
    content = (tmp_path / "hdu-index.fits.gz").read_bytes()
    assert content == stored_gzip(gzip.decompress(content))


def test_interruption_leaves_whole_files_and_no_index(tmp_path):
    observations = [runs.make_run("full", obs_id=i, n_events=3) for i in (1, 2)]
    write_datastore(observations, tmp_path)
    old = (tmp_path / "2.fits").read_bytes()

    def generator():
        yield runs.make_run("full", obs_id=1, n_events=8)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_datastore(generator(), tmp_path, overwrite=True)
    # an index that describes the old file 1 would be a lie
    assert sorted(os.listdir(tmp_path)) == ["1.fits", "2.fits"]
    assert len(Observation.read(tmp_path / "1.fits").events.table) == 8
    assert (tmp_path / "2.fits").read_bytes() == old


def test_failing_disk_leaves_the_old_file(tmp_path, monkeypatch):
    run = runs.make_run("full", n_events=3)
    write_datastore([run], tmp_path)
    before = {name: (tmp_path / name).read_bytes() for name in os.listdir(tmp_path)}

    def full(self, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.replace", full)
    changed = runs.make_run("full", n_events=30)
    with pytest.raises(OSError, match="No space left"):
        write_datastore([changed], tmp_path, overwrite=True)
    assert (tmp_path / "1.fits").read_bytes() == before["1.fits"]
    assert no_temporary_files(tmp_path)


def test_permissions_follow_the_umask(tmp_path):
    old = os.umask(0o027)
    try:
        write_datastore([runs.make_run("full", n_events=3)], tmp_path / "new")
    finally:
        os.umask(old)
    for name in os.listdir(tmp_path / "new"):
        assert (tmp_path / "new" / name).stat().st_mode & 0o777 == 0o640


def test_one_observation_at_a_time_is_asked_for(tmp_path):
    """When the second run is asked for, the first is on disk."""
    seen = []

    def generator():
        for obs_id in (1, 2):
            seen.append(sorted(tmp_path.glob("*.fits")))
            yield runs.make_run("full", obs_id=obs_id, n_events=3)

    write_datastore(generator(), tmp_path)
    assert [len(files) for files in seen] == [0, 1]


def test_writer_works_in_several_processes(tmp_path):
    """Writer and rows are pickled, as they are on the way to a worker and back."""
    writer = MimicWriter(tmp_path / "new")
    assert not (tmp_path / "new").exists()
    rows = []
    for obs_id in (2, 1):
        worker = pickle.loads(pickle.dumps(writer))  # noqa: S301
        run = runs.make_run("hess", obs_id=obs_id, n_events=3)
        rows.append(pickle.loads(pickle.dumps(worker.write(run))))  # noqa: S301
    assert not (tmp_path / "new" / "hdu-index.fits.gz").exists()
    writer.write_index(iter(rows))
    store = DataStore.from_dir(tmp_path / "new")
    assert list(store.obs_table["OBS_ID"]) == [1, 2]
    with pytest.raises(ValueError, match="OBS_ID 2 is duplicated"):
        MimicWriter(tmp_path / "other").write_index([rows[0], rows[0]])


def test_writing_is_logged_and_not_warned_of(tmp_path, caplog):
    caplog.set_level(logging.INFO, logger="gammapy_mimic")
    write_datastore([runs.make_run("full", n_events=3)], tmp_path)
    levels = {r.levelname for r in caplog.records if r.name.startswith("gammapy_mimic")}
    assert levels == {"INFO"}
    assert "OBS_ID 1: 3 events written to" in caplog.text


# --- gammapy's reduction, and real data ---


def reduce(observation, energy=(0.5, 20), width=4):
    """Dataset of gammapy's standard reduction."""
    axes = {
        name: MapAxis.from_energy_bounds(*bounds, nbin=n, unit="TeV", name=name)
        for name, bounds, n in [("energy", energy, 3), ("energy_true", (0.3, 40), 5)]
    }
    geom = WcsGeom.create(
        skydir=observation.get_pointing_icrs(observation.tmid),
        width=width,
        binsz=0.2,
        axes=[axes["energy"]],
    )
    dataset = MapDataset.create(geom, energy_axis_true=axes["energy_true"], name="x")
    return MapDatasetMaker().run(dataset, observation)


def assert_same_dataset(first, second):
    """Equal to the last bit."""
    for name in ("counts", "exposure", "background"):
        one, other = (getattr(dataset, name).data for dataset in (first, second))
        assert np.array_equal(one, other), name
    for name in ("psf_map", "edisp_map"):
        kind = name.split("_")[0]
        one, other = (getattr(getattr(d, kind), name).data for d in (first, second))
        assert np.array_equal(one, other), name


@pytest.mark.parametrize(
    "kind", ["full", "hess", "psf_3gauss", "multi_gti", "bkg_altaz"]
)
def test_reduction_is_identical(kind, tmp_path):
    run = runs.open_raw(kind, tmp_path / "raw", n_events=500)[0]
    new = write_datastore([run], tmp_path / "new").obs(1)
    expected = reduce(run)
    assert expected.counts.data.sum() > 0
    assert expected.npred_background().data.sum() > 0
    assert_same_dataset(expected, reduce(new))


def test_hess_runs_come_back_identical(hess_store, tmp_path, monkeypatch):
    """All runs of H.E.S.S. DL3 DR1, moved and opened from elsewhere."""
    observations = hess_store.get_observations()
    write_datastore(observations, tmp_path / "a", obs_table=hess_store.obs_table)
    shutil.move(tmp_path / "a", tmp_path / "b")
    monkeypatch.chdir("/")
    store = DataStore.from_dir(tmp_path / "b")
    assert len(store.obs_ids) == len(hess_store.obs_ids) == 105
    assert np.array_equal(store.obs_ids, hess_store.obs_ids)
    for obs_id in hess_store.obs_ids:
        old, new = hess_store.obs(obs_id), store.obs(obs_id)
        assert_same_events(old.events, new.events)
        # gammapy reads a part at each access
        one, other = old.gti, new.gti
        for name in ("time_start", "time_stop"):
            apart = getattr(one, name) - getattr(other, name)
            assert np.all(apart.to_value("s") == 0)
        assert old.meta.deadtime_fraction == new.meta.deadtime_fraction
        for name in ("aeff", "edisp", "psf", "bkg"):
            one, other = getattr(old, name), getattr(new, name)
            assert_same_irf(one, other)
        assert one.fov_alignment == other.fov_alignment
    for name in ("QUALITY", "TARGET_NAME", "SAFE_ENERGY_LO"):
        assert list(store.obs_table[name]) == list(hess_store.obs_table[name])


@pytest.mark.parametrize("held", ["lazy", "memory"])
def test_hess_reduction_is_identical(held, hess_store, tmp_path):
    observations = hess_store.get_observations([23523, 20136, 25345])
    written = observations
    if held == "memory":
        written = [run.copy(in_memory=True) for run in observations]
    store = write_datastore(written, tmp_path)
    for run in observations:
        new = store.obs(run.obs_id)
        assert_same_dataset(reduce(run), reduce(new))
