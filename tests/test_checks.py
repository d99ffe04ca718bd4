"""A clean store has no findings; each thing that is broken has exactly one."""

import gzip
import os
import shutil

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from gammapy.data import DataStore
from helpers.runs import (
    FULL_ENCLOSURE,
    KINDS,
    irf_classes,
    make_run,
    write_file,
    write_raw,
)

from gammapy_mimic import check_datastore, write_datastore
from gammapy_mimic.checks.standard import (
    EVENTS_COLUMNS,
    GTI_COLUMNS,
    HDU_INDEX_COLUMNS,
    IRF_COLUMNS,
    OBS_INDEX_COLUMNS,
    POINTING_COLUMNS,
    POINTING_KEYWORDS,
    events_keywords,
    gti_keywords,
    index_keywords,
    irf_keywords,
)

FILE = "run_1.fits"
OBS_INDEX, HDU_INDEX = "obs-index.fits.gz", "hdu-index.fits.gz"
HDU_NAMES = {
    "aeff": "EFFECTIVE AREA",
    "edisp": "ENERGY DISPERSION",
    "psf": "POINT SPREAD FUNCTION",
    "bkg": "BACKGROUND",
    "rad_max": "RAD_MAX",
}
KIND_OF_CLASS = {
    "aeff_2d": "full",
    "edisp_2d": "full",
    "psf_table": "full",
    "psf_3gauss": "psf_3gauss",
    "psf_king": "psf_king",
    "bkg_2d": "bkg_2d",
    "bkg_3d": "full",
    "rad_max_2d": "rad_max",
}
WARNED = {"TIMEUNIT", "TIMEREF"}
"""Missing keywords for which readers have a default."""

NOT_CLEAN = {
    "hess": {("warning", "EQUINOX")},
    "reverse_lon": {("warning", "FOVALIGN")},
    "no_event_id": {("error", "EVENT_ID")},
    "messy": {("error", "DATASUM"), ("error", "OBS_ID"), ("warning", "EQUINOX")},
}
"""What the constructed runs break on purpose."""


@pytest.fixture(scope="module")
def templates(tmp_path_factory):
    """Folder of a clean store of any kind, made when first asked for."""
    folder = tmp_path_factory.mktemp("templates")

    def get(kind, only=None):
        path = folder / f"{kind}-{only}"
        if not path.exists():
            write_raw(kind, path, n_events=20)
            if only is not None:
                prune(path, only)
        return path

    return get


def prune(path, hdu):
    """Leave one IRF or none, and few index columns: the many checks are then fast."""
    kept = ("EVENTS", "GTI", hdu)
    with fits.open(path / FILE, memmap=False) as hdulist:
        few = [item for item in hdulist[1:] if item.name in kept]
        fits.HDUList([hdulist[0], *few]).writeto(path / FILE, overwrite=True)

    def change(index):
        index.data = index.data[np.isin(index.data["HDU_NAME"], kept)]

    edit(path / HDU_INDEX, "HDU_INDEX", change)
    names = {*OBS_INDEX_COLUMNS, "ALT_PNT", "AZ_PNT", "DEADC", "EVENT_COUNT"}
    edit(
        path / OBS_INDEX,
        "OBS_INDEX",
        lambda hdu: replace_columns(hdu, [c for c in hdu.columns if c.name in names]),
    )


@pytest.fixture
def store(templates, tmp_path):
    """Copy of a clean store of a kind, to be broken."""

    def get(kind="full", only=None):
        return shutil.copytree(templates(kind, only), tmp_path / kind)

    return get


def edit(path, hdu, change):
    """Change one HDU of a file; ``change`` takes the HDU."""
    if isinstance(change, Blank):
        return change(path, hdu)
    with fits.open(path, memmap=False) as hdulist:
        index = hdulist.index_of(hdu)
        for item in hdulist:
            # load the data before the file is overwritten
            item.data  # noqa: B018
        change(hdulist[index])
        hdulist.writeto(path, overwrite=True)


class Blank:
    """Change of a header card in the bytes of a file, which is fast."""

    def __init__(self, card, new):
        self.card, self.new = card, new

    def __call__(self, path, hdu):
        raw = path.read_bytes()
        packed = path.suffix == ".gz"
        raw = gzip.decompress(raw) if packed else raw
        start = raw.index(f"EXTNAME = '{hdu}".encode())
        start = raw.rindex(b"XTENSION", 0, start)
        end = raw.index(b"END" + 77 * b" ", start)
        cards = [raw[place : place + 80] for place in range(start, end, 80)]
        (number,) = (k for k, card in enumerate(cards) if card.startswith(self.card))
        cards[number] = self.new(cards[number])
        raw = raw[:start] + b"".join(cards) + raw[end:]
        path.write_bytes(gzip.compress(raw, 1) if packed else raw)


def without_keyword(name):
    return Blank(f"{name:8}= ".encode(), lambda _: 80 * b" ")


def without_column(name):
    """Another name for the column, of which nobody knows."""

    n = max(8, len(name))

    def rename(card):
        return card.replace(f"'{name:8}'".encode(), b"'" + n * b"X" + b"'")

    return _Column(name, rename)


class _Column(Blank):
    def __init__(self, name, new):
        self.name, self.new = name, new

    def __call__(self, path, hdu):
        with fits.open(path) as hdulist:
            number = hdulist[hdu].columns.names.index(self.name) + 1
        self.card = f"TTYPE{number:<3}= ".encode()
        super().__call__(path, hdu)


def replace_columns(hdu, columns):
    """Give a table other columns, in place."""
    header = hdu.header.copy()
    for key in list(header):
        if key.startswith(("TFORM", "TUNIT", "TTYPE", "TDIM", "TNULL")):
            del header[key]
    other = fits.BinTableHDU.from_columns(columns, header=header)
    hdu.data, hdu.header = other.data, other.header


def with_keyword(name, value):
    def change(hdu):
        hdu.header[name] = value

    return change


def with_value(name, row, value):
    def change(hdu):
        hdu.data[name][row] = value

    return change


def with_format(name, format_, **kwargs):
    """Replace a column by one of another FITS format or unit."""

    def change(hdu):
        old = hdu.columns[name]
        kwargs.setdefault("unit", old.unit)
        array = np.array(hdu.data[name])
        array = array.astype(str) if "A" in format_ else array
        new = fits.Column(name, format=format_, array=array, **kwargs)
        columns = [new if item.name == name else item for item in hdu.columns]
        replace_columns(hdu, columns)

    return change


def found(path):
    return [(row["LEVEL"], row["KEY"]) for row in check_datastore(path)]


# --- clean stores -----------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_constructed_runs(kind, templates):
    assert set(found(templates(kind))) == NOT_CLEAN.get(kind, set())


def test_clean_store_gives_an_empty_table(templates):
    findings = check_datastore(str(templates("full")))
    assert isinstance(findings, Table)
    assert len(findings) == 0
    assert findings.colnames == ["OBS_ID", "FILE", "HDU", "LEVEL", "KEY", "MESSAGE"]
    assert findings.meta == {"N_RUNS": 1, "N_FILES": 1, "N_MIRRORED": 0}


def test_many_runs_of_many_kinds(tmp_path):
    kinds = [kind for kind in FULL_ENCLOSURE if kind not in NOT_CLEAN]
    findings = check_datastore(write_raw(kinds, tmp_path, n_events=5))
    assert len(findings) == 0
    assert findings.meta["N_RUNS"] == len(kinds)
    assert findings.meta["N_FILES"] == len(kinds) + 1  # one has its IRFs apart


def test_place_of_a_finding(store):
    path = store()
    edit(path / FILE, "EVENTS", without_keyword("ORIGIN"))
    (row,) = check_datastore(path)
    assert (row["OBS_ID"], row["FILE"], row["HDU"]) == (1, FILE, "EVENTS")
    assert row["MESSAGE"] == "Mandatory keyword ORIGIN is missing"


def test_finding_of_no_run_is_masked(store):
    path = store()
    edit(path / OBS_INDEX, "OBS_INDEX", without_keyword("GEOLON"))
    (row,) = check_datastore(path)
    assert row["OBS_ID"] is np.ma.masked
    assert row["FILE"] == OBS_INDEX


# --- one thing missing ----------------------------------------------------------------


def missing_cases():
    for name in events_keywords(drift=False):
        yield "full", FILE, "EVENTS", without_keyword(name), name
    # without OBS_MODE a drift run would be taken for a pointing one
    for name in sorted(set(events_keywords(drift=True)) - {"OBS_MODE"}):
        yield "drift", FILE, "EVENTS", without_keyword(name), name
    for name in gti_keywords():
        yield "full", FILE, "GTI", without_keyword(name), name
    for name in index_keywords("OBS"):
        yield "full", OBS_INDEX, "OBS_INDEX", without_keyword(name), name
    for name in index_keywords("HDU"):
        yield "full", HDU_INDEX, "HDU_INDEX", without_keyword(name), name
    for hdu, columns, file in (
        ("EVENTS", EVENTS_COLUMNS, FILE),
        ("GTI", GTI_COLUMNS, FILE),
        ("OBS_INDEX", OBS_INDEX_COLUMNS, OBS_INDEX),
    ):
        for name in columns:
            yield "full", file, hdu, without_column(name), name
    for hdu_class, kind in KIND_OF_CLASS.items():
        hdu = HDU_NAMES[
            hdu_class.removesuffix("_2d").split("_")[0]
            if hdu_class != "rad_max_2d"
            else "rad_max"
        ]
        for name in irf_keywords(hdu_class):
            yield kind, FILE, hdu, without_keyword(name), name
        for name in IRF_COLUMNS[hdu_class]:
            yield kind, FILE, hdu, without_column(name), name


@pytest.mark.parametrize(
    ("kind", "file", "hdu", "change", "name"),
    [
        pytest.param(*case, id=f"{case[0]}-{case[2]}-{case[4]}")
        for case in missing_cases()
    ],
)
def test_missing(kind, file, hdu, change, name, store):
    path = store(kind, only=hdu)
    edit(path / file, hdu, change)
    assert found(path) == [("warning" if name in WARNED else "error", name)]


@pytest.mark.parametrize("name", HDU_INDEX_COLUMNS)
def test_missing_column_of_hdu_index(name, store):
    path = store()
    edit(path / HDU_INDEX, "HDU_INDEX", without_column(name))
    assert found(path) == [("error", name)]


# --- one thing wrong --------------------------------------------------------------

BAD_VALUES = [
    # kind, file, HDU, change, findings
    ("full", FILE, "EVENTS", with_keyword("OBS_ID", "1"), ["error OBS_ID"]),
    ("full", FILE, "EVENTS", with_keyword("OBS_ID", 2), ["error OBS_ID"]),
    ("full", FILE, "EVENTS", with_keyword("OBS_ID", 1.5), ["error OBS_ID"] * 2),
    ("full", FILE, "EVENTS", with_keyword("EQUINOX", 2000), ["warning EQUINOX"]),
    ("full", FILE, "EVENTS", with_keyword("EQUINOX", "J2000"), ["error EQUINOX"]),
    ("full", FILE, "EVENTS", with_keyword("TELESCOP", 3), ["error TELESCOP"]),
    ("full", FILE, "EVENTS", with_keyword("MJDREFI", 51544.0), ["warning MJDREFI"]),
    ("full", FILE, "EVENTS", with_keyword("TIMESYS", "tt"), ["warning TIMESYS"]),
    ("full", FILE, "EVENTS", with_keyword("TIMESYS", "LOCAL"), ["error TIMESYS"]),
    ("full", FILE, "EVENTS", with_keyword("TIMEUNIT", "d"), ["error TIMEUNIT"]),
    ("full", FILE, "EVENTS", with_keyword("HDUCLASS", "OGIP"), ["error HDUCLASS"]),
    ("full", FILE, "EVENTS", with_keyword("HDUVERS", "0.9"), ["warning HDUVERS"]),
    ("full", FILE, "EVENTS", with_keyword("OBS_MODE", "WOBBLE"), ["warning OBS_MODE"]),
    ("full", FILE, "EVENTS", with_keyword("RADECSYS", "B1950"), ["error RADECSYS"]),
    ("full", FILE, "EVENTS", with_keyword("GEOLAT", 123.0), ["error GEOLAT"]),
    (
        "full",
        FILE,
        "EVENTS",
        with_keyword("DEADC", 0.9),
        ["error DEADC", "warning DEADC"],
    ),
    (
        "full",
        FILE,
        "EVENTS",
        with_keyword("DEADC", 1.5),
        ["error DEADC", "error DEADC", "warning DEADC"],
    ),
    ("full", FILE, "EVENTS", with_keyword("RA_PNT", 83.7), ["error RA_PNT"]),
    ("full", FILE, "EVENTS", with_keyword("DEC_PNT", -21.5), ["error DEC_PNT"]),
    ("full", FILE, "EVENTS", with_value("ENERGY", 2, 0.0), ["error ENERGY"]),
    ("full", FILE, "EVENTS", with_value("ENERGY", 2, np.nan), ["error ENERGY"]),
    ("full", FILE, "EVENTS", with_value("RA", 2, np.nan), ["error RA"]),
    ("full", FILE, "EVENTS", with_value("RA", 2, -1.0), ["warning RA"]),
    ("full", FILE, "EVENTS", with_value("DEC", 2, 90.5), ["error DEC"]),
    (
        "full",
        FILE,
        "EVENTS",
        with_value("TIME", 2, np.inf),
        ["error TIME", "warning TIME", "error TSTOP"],
    ),
    (
        "full",
        FILE,
        "EVENTS",
        with_value("EVENT_ID", 2, 281474976710656),
        ["error EVENT_ID"],
    ),
    ("full", FILE, "EVENTS", with_format("EVENT_ID", "1D"), ["error EVENT_ID"]),
    ("full", FILE, "EVENTS", with_format("EVENT_ID", "1J", bzero=2**31), []),
    (
        "full",
        FILE,
        "EVENTS",
        with_format("ENERGY", "1D", unit="GeV"),
        ["warning ENERGY"],
    ),
    ("full", FILE, "EVENTS", with_format("ENERGY", "1D", unit="m"), ["error ENERGY"]),
    (
        "full",
        FILE,
        "EVENTS",
        with_format("ENERGY", "1D", unit="TeVV"),
        ["error ENERGY"],
    ),
    ("full", FILE, "EVENTS", with_format("RA", "1D", unit=""), ["error RA"]),
    ("full", FILE, "EVENTS", with_format("RA", "1E"), []),
    ("full", FILE, "EVENTS", with_format("RA", "20A"), ["error RA"]),
    (
        "columns",
        FILE,
        "EVENTS",
        with_format("MULTIP", "1I", unit="pieces"),
        ["warning MULTIP"],
    ),
    (
        "full",
        FILE,
        "GTI",
        with_keyword("MJDREFI", 51545),
        ["error TSTOP", "warning TIME", "warning MJDREFI"],
    ),
    (
        "full",
        FILE,
        "GTI",
        with_value("STOP", 0, 0.0),
        ["error STOP", "error ONTIME", "error TSTART", "warning TIME"],
    ),
    (
        "multi_gti",
        FILE,
        "GTI",
        with_format("START", "1E"),
        ["error START", "error ONTIME", "error TSTART"],
    ),
    ("full", FILE, "EFFECTIVE AREA", with_keyword("OBS_ID", 7), ["warning OBS_ID"]),
    (
        "full",
        FILE,
        "EFFECTIVE AREA",
        with_format("EFFAREA", "24D", unit="cm2", dim="(8,3)"),
        ["warning EFFAREA"],
    ),
    (
        "full",
        FILE,
        "EFFECTIVE AREA",
        with_keyword("HDUCLAS3", "BOTH"),
        ["error HDUCLAS3"],
    ),
    (
        "fixed_rad_max",
        FILE,
        "EFFECTIVE AREA",
        with_keyword("RAD_MAX", 1),
        ["error RAD_MAX"],
    ),
    (
        "fixed_rad_max",
        FILE,
        "EFFECTIVE AREA",
        without_keyword("RAD_MAX"),
        ["error RAD_MAX"],
    ),
    (
        "full",
        FILE,
        "BACKGROUND",
        with_keyword("FOVALIGN", "GALACTIC"),
        ["error FOVALIGN"],
    ),
    ("full", FILE, "BACKGROUND", with_value("BKG", 0, np.nan), ["warning BKG"]),
    ("full", FILE, "BACKGROUND", with_value("DETX_LO", 0, 1.0), ["error DETX_LO"]),
    ("full", OBS_INDEX, "OBS_INDEX", with_keyword("GEOLON", "16.5"), ["error GEOLON"]),
    (
        "full",
        OBS_INDEX,
        "OBS_INDEX",
        with_value("OBS_MODE", 0, "DRIFT"),
        ["error OBS_MODE"],
    ),
    (
        "full",
        OBS_INDEX,
        "OBS_INDEX",
        with_value("RA_PNT", 0, np.nan),
        ["error RA_PNT", "error RA_PNT"],
    ),
    ("full", OBS_INDEX, "OBS_INDEX", with_value("TSTART", 0, 1e8), ["error TSTART"]),
    (
        "full",
        OBS_INDEX,
        "OBS_INDEX",
        with_value("EVENT_COUNT", 0, 5),
        ["warning EVENT_COUNT"],
    ),
    ("full", OBS_INDEX, "OBS_INDEX", with_format("TSTART", "1E"), ["error TSTART"]),
    ("full", OBS_INDEX, "OBS_INDEX", with_format("RA_PNT", "1E"), []),
    (
        "full",
        OBS_INDEX,
        "OBS_INDEX",
        with_value("OBS_ID", 0, 9),
        ["error OBS_ID", "error OBS_ID"],
    ),
    (
        "full",
        HDU_INDEX,
        "HDU_INDEX",
        with_value("HDU_TYPE", 2, "area"),
        ["error HDU_TYPE"],
    ),
    (
        "full",
        HDU_INDEX,
        "HDU_INDEX",
        with_value("HDU_CLASS", 4, "psf_king"),
        ["error HDU_CLASS"],
    ),
    (
        "full",
        HDU_INDEX,
        "HDU_INDEX",
        with_value("HDU_CLASS", 4, "gti"),
        ["error HDU_CLASS"] * 2,
    ),
    (
        "full",
        HDU_INDEX,
        "HDU_INDEX",
        with_value("HDU_NAME", 4, "PSF"),
        ["error HDU_NAME"],
    ),
    (
        "full",
        HDU_INDEX,
        "HDU_INDEX",
        with_value("HDU_NAME", 4, "PRIMARY"),
        ["error XTENSION"],
    ),
    (
        "full",
        HDU_INDEX,
        "HDU_INDEX",
        with_value("OBS_ID", 1, 2),
        ["error HDU_TYPE"] * 2 + ["error OBS_ID"],
    ),
]


@pytest.mark.parametrize(
    ("kind", "file", "hdu", "change", "expected"),
    BAD_VALUES,
    ids=[f"{number}-{case[2]}" for number, case in enumerate(BAD_VALUES)],
)
def test_bad_value(kind, file, hdu, change, expected, store):
    path = store(kind, only=None if file == HDU_INDEX else hdu)
    edit(path / file, hdu, change)
    assert sorted(" ".join(item) for item in found(path)) == sorted(expected)


def test_events_outside(store):
    path = store("multi_gti")

    def change(hdu):
        start, stop = hdu.header["TSTART"], hdu.header["TSTOP"]
        hdu.data["TIME"][0] = start - 1
        hdu.data["TIME"][-2:] = stop + 2, stop + 3
        hdu.data["TIME"][10] = start + 0.3 * (stop - start)  # in a gap

    edit(path / FILE, "EVENTS", change)
    messages = {row["KEY"]: row["MESSAGE"] for row in check_datastore(path)}
    assert messages["TSTART"] == "1 of 20 events are before TSTART, by up to 1 s"
    assert messages["TSTOP"] == "2 of 20 events are after TSTOP, by up to 3 s"
    assert ("warning", "TIME") in found(path)


def test_few_events_after_the_last_gti_are_no_finding(tmp_path):
    """GADF allows them; here 1 of 200 events, between the last GTI and TSTOP."""
    path = write_raw("full", tmp_path / "raw", n_events=200)

    def change(hdu):
        hdu.header["TSTOP"] += 1
        hdu.data["TIME"][-1] = hdu.header["TSTOP"] - 0.5

    edit(path / FILE, "EVENTS", change)
    # only the index has not heard of the new TSTOP
    assert found(path) == [("error", "TSTOP")]


def test_gti_disordered_and_overlapping(store):
    path = store("multi_gti")

    def swap(hdu):
        hdu.data[:] = hdu.data[::-1].copy()

    edit(path / FILE, "GTI", swap)
    assert found(path) == [("warning", "START")]

    def overlap(hdu):
        hdu.data["STOP"][2] += 400  # of 420 s, the gap is 210 s

    edit(path / FILE, "GTI", overlap)
    assert ("error", "GTI") in found(path)


def test_no_gti_row(store):
    path = store()
    edit(path / FILE, "GTI", lambda hdu: setattr(hdu, "data", hdu.data[:0]))
    assert found(path) == [("error", "GTI")]


def test_irf_with_two_rows(store):
    path = store()
    edit(path / FILE, "BACKGROUND", lambda hdu: setattr(hdu, "data", hdu.data[[0, 0]]))
    assert found(path) == [("error", "NAXIS2")]


def test_irf_array_of_wrong_size(store):
    path = store()
    edit(path / FILE, "EFFECTIVE AREA", with_format("ENERG_LO", "8D"))
    assert found(path) == []

    def change(hdu):
        area = fits.Column("EFFAREA", format="4D", unit="m2", array=np.ones((1, 4)))
        replace_columns(hdu, [*hdu.columns[:-1], area])

    edit(path / FILE, "EFFECTIVE AREA", change)
    assert found(path) == [("error", "EFFAREA")]


def test_older_column_names(store):
    path = store()
    edit(path / FILE, "BACKGROUND", lambda hdu: hdu.columns.change_name("BKG", "BGD"))
    assert found(path) == [("warning", "BKG")]


def test_mirrored_background(store):
    """Gammapy ignores FOVALIGN of H.E.S.S. data; of other data it does not."""
    path = store("hess")
    assert check_datastore(path).meta["N_MIRRORED"] == 1
    edit(path / FILE, "BKG", with_keyword("FOVALIGN", "ALTAZ"))
    findings = [row for row in check_datastore(path) if row["KEY"] == "FOVALIGN"]
    assert "gammapy reads REVERSE_LON_RADEC" in findings[0]["MESSAGE"]
    edit(path / FILE, "EVENTS", with_keyword("CREATOR", "something else"))
    assert found(path) == [("warning", "EQUINOX")]
    assert check_datastore(path).meta["N_MIRRORED"] == 0


def test_version_02_lacks_what_came_later(store):
    path = store("hess")
    edit(path / FILE, "EVENTS", without_keyword("OBS_MODE"))
    edit(path / FILE, "BKG", without_keyword("FOVALIGN"))
    expected = {("warning", key) for key in ("EQUINOX", "OBS_MODE", "FOVALIGN")}
    assert set(found(path)) == expected


def test_unequal_time_systems(store):
    path = store("utc")
    edit(path / FILE, "GTI", with_keyword("TIMESYS", "TT"))
    # taken as TT the intervals lie 64.184 s earlier: 32 leap seconds of 2005
    messages = {row["KEY"]: row["MESSAGE"] for row in check_datastore(path)}
    assert messages["TIMESYS"] == "TIMESYS TT is not that of EVENTS"
    assert "TSTART" in messages


# --- files ------------------------------------------------------------------------


def test_checksums(store):
    path = store()
    with fits.open(path / FILE, memmap=False) as hdulist:
        hdulist.writeto(path / FILE, overwrite=True, checksum=True)
    assert found(path) == []
    raw = bytearray((path / FILE).read_bytes())
    with fits.open(path / FILE) as hdulist:
        offset = hdulist["BACKGROUND"].fileinfo()["datLoc"]
    raw[offset + 7] ^= 1
    (path / FILE).write_bytes(raw)
    findings = check_datastore(path)
    assert list(findings["HDU"]) == ["BACKGROUND"]
    assert list(findings["KEY"]) == ["DATASUM"]
    raw[offset + 7] ^= 1
    key = raw.index(b"Constructed runs")
    raw[key] = ord("K")
    (path / FILE).write_bytes(raw)
    assert found(path) == [("error", "CHECKSUM")]


def test_missing_file(store):
    path = store()
    (path / FILE).unlink()
    assert found(path) == [("error", "FILE_NAME")]


def test_no_fits_file(store):
    path = store()
    (path / FILE).write_text("nothing of use")
    assert found(path) == [("error", "FITS")]


@pytest.mark.parametrize("index", [OBS_INDEX, HDU_INDEX])
def test_unreadable_index(index, store):
    path = store()
    (path / index).write_bytes(gzip.compress(b"nothing of use"))
    assert found(path) == [("error", "FITS")]


@pytest.mark.parametrize("fraction", [0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.97])
@pytest.mark.parametrize("packed", [False, True])
def test_truncated_file(fraction, packed, store):
    path = store()
    raw = (path / FILE).read_bytes()
    raw = gzip.compress(raw, 1) if packed else raw
    (path / FILE).write_bytes(raw[: int(fraction * len(raw))])
    findings = check_datastore(path)
    assert len(findings) >= 1
    assert "error" in findings["LEVEL"]


def test_garbage_never_crashes(store):
    """Bytes of the file overwritten at random; any table is fine, no exception."""
    path = store()
    rng = np.random.default_rng(5)
    original = (path / FILE).read_bytes()
    for _ in range(40):
        raw = bytearray(original)
        for place in rng.integers(0, len(raw), 30):
            raw[place] = rng.integers(0, 256)
        for place in rng.integers(2880, 12000, 6):  # in the header of EVENTS
            raw[place] = rng.integers(32, 127)
        (path / FILE).write_bytes(raw)
        assert isinstance(check_datastore(path), Table)


def test_unmentioned_files(store):
    path = store()
    write_file(path / "run_2.fits", obs_id=2, n_events=2)
    # another store inside is not part of this one
    write_raw("full", path / "inner", n_events=2)
    (row,) = check_datastore(path)
    assert (row["FILE"], row["LEVEL"], row["KEY"]) == ("run_2.fits", "warning", "FILE")


def test_no_obs_index(store):
    path = store()
    (path / OBS_INDEX).unlink()
    assert found(path) == [("error", "FILE")]


@pytest.mark.parametrize("name", [".", "nowhere"])
def test_no_store(name, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"has no hdu-index\.fits\.gz"):
        check_datastore(tmp_path / name)


def test_absolute_folder(store):
    path = store()

    def change(hdu):
        text = str(path)
        folder = fits.Column("FILE_DIR", f"{len(text)}A", array=[text] * 6)
        others = [item for item in hdu.columns if item.name != "FILE_DIR"]
        replace_columns(hdu, [*others, folder])

    edit(path / HDU_INDEX, "HDU_INDEX", change)
    assert set(found(path)) == {("warning", "FILE_DIR")}


@pytest.mark.parametrize("extra", [0, 1])
def test_size_and_md5(extra, store):
    path = store()
    size = os.path.getsize(path / FILE) + extra

    def change(hdu):
        columns = [
            fits.Column("SIZE", "1K", array=[size] * 6),
            fits.Column("MD5", "32A", array=["0" * 32 if extra else ""] * 6),
        ]
        replace_columns(hdu, [*hdu.columns, *columns])

    edit(path / HDU_INDEX, "HDU_INDEX", change)
    expected = [("warning", "SIZE"), ("error", "MD5")] if extra else []
    assert found(path) == expected


def test_events_shared_by_two_runs(tmp_path):
    path = write_raw(["full", "full"], tmp_path, n_events=5)
    edit(path / HDU_INDEX, "HDU_INDEX", with_value("FILE_NAME", slice(6, 12), FILE))
    findings = check_datastore(path)
    shared = findings[findings["KEY"] == "HDU_NAME"]
    assert list(shared["HDU"]) == ["EVENTS", "GTI"]
    assert "OBS_ID" in findings["KEY"]


def test_repeated_rows(tmp_path):
    path = write_raw(["full", "full"], tmp_path, n_events=5)
    edit(path / HDU_INDEX, "HDU_INDEX", with_value("OBS_ID", slice(6, 12), 1))
    edit(path / OBS_INDEX, "OBS_INDEX", with_value("OBS_ID", 1, 1))
    keys = found(path)
    assert keys.count(("error", "HDU_TYPE")) == len(irf_classes("full")) + 2
    assert ("error", "OBS_ID") in keys


def test_pointing_hdu(store):
    path = store()
    reference = {"MJDREFI": 51544, "MJDREFF": 0.5, "TIMEUNIT": "s", "TIMESYS": "TT"}
    place = {"TIMEREF": "LOCAL", "GEOLON": 16.5, "GEOLAT": -23.3}
    table = Table({"TIME": [1.0], "RA_PNT": [83.6], "DEC_PNT": [22.0]})
    for name, unit in zip(table.colnames, ("s", "deg", "deg"), strict=True):
        table[name].unit = unit
    table.meta = {**reference, **place}
    with fits.open(path / FILE, memmap=False) as hdulist:
        hdulist.append(fits.BinTableHDU(table, name="POINTING"))
        hdulist.writeto(path / FILE, overwrite=True)
    index = Table.read(path / HDU_INDEX)
    index.add_row((1, "pointing", "pointing", "", FILE, "POINTING"))
    index.write(path / HDU_INDEX, overwrite=True)
    assert found(path) == []
    for name in POINTING_KEYWORDS:
        assert name in table.meta
    whole = (path / FILE).read_bytes()
    for name in POINTING_COLUMNS:
        edit(path / FILE, "POINTING", without_column(name))
        assert found(path) == [("error", name)]
        (path / FILE).write_bytes(whole)


# --- real data ------------------------------------------------------------------------


def test_hess_dr1(hess_store):
    """What is known of H.E.S.S. DR1 (GADF 0.2), and nothing else."""
    findings = check_datastore(hess_store.hdu_table.base_dir)
    assert findings.meta["N_RUNS"] == 105
    counts = {
        (level, key): int(
            np.sum((findings["LEVEL"] == level) & (findings["KEY"] == key))
        )
        for level, key in set(zip(findings["LEVEL"], findings["KEY"], strict=True))
    }
    assert counts == {
        # 320 events in all, up to 0.93 s after the end of the run
        ("error", "TSTOP"): 89,
        # numbers as strings in the header of the observation index
        ("error", "GEOLON"): 1,
        ("error", "GEOLAT"): 1,
        ("error", "ALTITUDE"): 1,
        ("warning", "OBS_MODE"): 1,
        ("warning", "EQUINOX"): 105,
        ("warning", "SIZE"): 105,
    }
    assert findings.meta["N_MIRRORED"] == 105


@pytest.mark.parametrize("kind", KINDS)
def test_written_store_is_clean(kind, templates, tmp_path):
    store = DataStore.from_dir(templates(kind))
    observations = store.get_observations(required_irf="all-optional")
    write_datastore(observations, tmp_path / "out")
    assert found(tmp_path / "out") == []


def test_processes_find_the_same(tmp_path):
    """Also in the same order; each run in its own file, and with shared IRFs."""
    for name in ("apart", "together"):
        path = tmp_path / name
        write_datastore([make_run(obs_id=i, n_events=20) for i in range(1, 6)], path)
        for obs_id in (2, 4):
            edit(
                path / f"{obs_id}.fits",
                "EVENTS",
                lambda hdu: hdu.header.pop("TELESCOP"),
            )
        if name == "together":
            share_irfs(path)
        one, two = (check_datastore(path, n_jobs=n_jobs) for n_jobs in (1, 2))
        assert one.pformat(max_lines=-1) == two.pformat(max_lines=-1)
        assert one.meta == two.meta
        assert set(one["OBS_ID"]) >= {2, 4}


def share_irfs(path):
    """Let the index name the IRFs of the first run for all runs."""

    def change(hdu):
        is_irf = np.isin(hdu.data["HDU_TYPE"], ("events", "gti"), invert=True)
        hdu.data["FILE_NAME"][is_irf] = hdu.data["FILE_NAME"][0]

    edit(path / HDU_INDEX, "HDU_INDEX", change)
