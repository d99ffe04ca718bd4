"""Every legal FITS table of GADF columns is read, or refused by name."""

import logging

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.table import MaskedColumn, Table
from helpers.runs import write_file

from gammapy_mimic import MimicMaker
from gammapy_mimic.data import check_events, compat, read_run
from gammapy_mimic.writer import write_run

N = 12


@pytest.fixture
def path(tmp_path):
    return write_file(tmp_path / "run.fits", "full", n_events=N)


def change(path, *, columns=(), without=(), header=None, hdu="EVENTS"):
    """Replace columns of a table, and set or delete cards."""
    with fits.open(path, memmap=False) as hdulist:
        old = hdulist[hdu]
        names = {column.name for column in columns} | set(without)
        kept = [column for column in old.columns if column.name not in names]
        new = fits.BinTableHDU.from_columns([*columns, *kept], header=old.header)
        for key, value in (header or {}).items():
            new.header[key] = value
        hdulist[hdu] = new
        hdulist.writeto(path, overwrite=True)
    return path


def column(name, form, array, **options):
    return fits.Column(name, form, array=array, **options)


KINDS = {
    "unsigned": column("X", "J", np.arange(N, dtype="u4"), bzero=2**31),
    "unsigned long": column("X", "K", np.arange(N, dtype="u8"), bzero=2**63),
    "scaled": column("X", "D", np.arange(N) * 0.5, bscale=0.5, bzero=3),
    "null": column("X", "J", np.arange(N), null=4),
    "text": column("X", "5A", np.array(["a", "", "ccccc"] * 4)),
    "logical": column("X", "L", np.arange(N) % 2 == 0),
    "logical vector": column("X", "3L", np.arange(3 * N).reshape(N, 3) % 2 == 0),
    "vector": column("X", "3E", np.arange(3 * N).reshape(N, 3)),
    "array": column("X", "6D", np.arange(6 * N).reshape(N, 3, 2), dim="(2,3)"),
    "complex": column("X", "C", np.arange(N) * 1j),
    "byte": column("X", "B", np.arange(N)),
    "bits": column("EVENT_TYPE", "32X", np.arange(32 * N).reshape(N, 32) % 3 == 0),
    "strange unit": column("X", "D", np.arange(N), unit="photons per furlong"),
}


@pytest.mark.filterwarnings("ignore:.*did not parse as fits unit")
@pytest.mark.parametrize("kind", KINDS)
def test_columns_of_any_kind_pass(kind, path, tmp_path):
    name = KINDS[kind].name
    change(path, columns=[KINDS[kind]])
    observation = compat.open_run(path)
    mimic = MimicMaker().run(observation, observation)
    write_run(mimic, tmp_path / "mimic.fits")
    one, other = (
        Table.read(it, hdu="EVENTS") for it in (path, tmp_path / "mimic.fits")
    )
    np.testing.assert_array_equal(one[name], other[name])
    assert one[name].unit == other[name].unit
    assert np.array_equal(
        np.ma.getmaskarray(one[name]), np.ma.getmaskarray(other[name])
    )
    # as gammapy has it
    table = observation.events.table
    np.testing.assert_array_equal(mimic.events.table[name], table[name])


def test_undefined_values_of_a_scaled_column(path, tmp_path):
    # astropy looks for TNULL among the scaled values
    change(path, columns=[column("X", "I", np.arange(N), null=4)])
    change(path, header={"TSCAL1": 2.0, "TZERO1": -4.0})
    expected = Table.read(path, hdu="EVENTS")["X"]
    assert expected.mask.tolist() == [k == 4 for k in range(N)]
    observation = compat.open_run(path)
    assert np.array_equal(read_run(observation).columns["X"].mask, expected.mask)
    mimic = MimicMaker().run(observation, observation)
    write_run(mimic, tmp_path / "mimic.fits")
    written = Table.read(tmp_path / "mimic.fits", hdu="EVENTS")["X"]
    assert np.array_equal(written.mask, expected.mask)


@pytest.mark.parametrize(
    ("name", "unit", "factor"),
    [
        ("ENERGY", "GeV", 1000),
        ("RA", "rad", np.pi / 180),
        ("DEC", "arcmin", 60),
        ("TIME", "d", 1 / 86400),
    ],
)
def test_units_are_converted(name, unit, factor, path):
    expected = read_run(compat.open_run(path))
    values = np.array(fits.getdata(path, "EVENTS")[name], dtype=float) * factor
    change(path, columns=[column(name, "D", values, unit=unit)])
    found = read_run(compat.open_run(path))
    if name == "TIME":
        np.testing.assert_allclose(found.seconds, expected.seconds, rtol=0, atol=1e-5)
    else:
        values = found.values(name)
        np.testing.assert_allclose(values, expected.values(name), rtol=1e-12)
        assert found.columns[name].unit == expected.columns[name].unit


@pytest.mark.parametrize("name", ["RA", "DEC", "ENERGY", "TIME"])
def test_the_unit_of_gadf_is_taken_where_there_is_none(name, path, caplog):
    expected = read_run(compat.open_run(path))
    values = np.array(fits.getdata(path, "EVENTS")[name])
    change(path, columns=[column(name, "D", values)])
    with caplog.at_level(logging.INFO):
        found = read_run(compat.open_run(path))
    assert caplog.text.count(f"column {name} has no unit") == 1
    if name != "TIME":
        np.testing.assert_array_equal(found.values(name), expected.values(name))
    np.testing.assert_array_equal(found.seconds, expected.seconds)


def test_gti_without_units(path):
    expected = read_run(compat.open_run(path))
    data = fits.getdata(path, "GTI")
    new = [column(name, "D", np.array(data[name])) for name in ("START", "STOP")]
    change(path, columns=new, hdu="GTI")
    np.testing.assert_array_equal(read_run(compat.open_run(path)).gti_s, expected.gti_s)


@pytest.mark.parametrize("form", ["2K", "5A", "D"])
def test_event_ids_that_are_not_one_integer_are_numbered(form, path, tmp_path):
    values = {
        "2K": np.arange(2 * N).reshape(N, 2),
        "5A": np.array(["a"] * N),
        "D": np.full(N, 0.5),
    }
    change(path, columns=[column("EVENT_ID", form, values[form])])
    write_run(compat.open_run(path), tmp_path / "out.fits")
    table = Table.read(tmp_path / "out.fits", hdu="EVENTS")
    np.testing.assert_array_equal(table["EVENT_ID"], np.arange(N))
    old = Table.read(path, hdu="EVENTS")
    for name in ("TIME", "RA", "ENERGY"):
        np.testing.assert_array_equal(table[name], old[name])


@pytest.mark.parametrize(
    ("new", "match"),
    [
        (column("RA", "2D", np.zeros((N, 2)), unit="deg"), "column RA must hold one"),
        (column("ENERGY", "3A", np.array(["a"] * N)), "column ENERGY must hold one"),
        (column("DEC", "D", np.zeros(N), unit="TeV"), "DEC is in 'TeV', not in deg"),
        (column("TIME", "D", np.full(N, np.nan), unit="s"), "invalid TIME in row 0"),
    ],
)
def test_what_cannot_be_read_is_refused(new, match, path):
    change(path, columns=[new])
    with pytest.raises(ValueError, match=f"run.fits: EVENTS .*{match}"):
        read_run(compat.open_run(path))


def test_missing_column(path):
    change(path, without=["ENERGY"])
    with pytest.raises(ValueError, match=r"run.fits: EVENTS .*has no column ENERGY"):
        read_run(compat.open_run(path))


def test_masked_energies_are_invalid(path):
    observation = compat.open_run(path).copy(in_memory=True)
    table = observation.events.table
    table["ENERGY"] = MaskedColumn(table["ENERGY"], mask=np.arange(N) == 3)
    table["ENERGY"].unit = "TeV"
    with pytest.raises(ValueError, match="1 of 12 events with an invalid ENERGY"):
        check_events(read_run(observation))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["START", "STOP"])
def test_invalid_gti(name, value, path, tmp_path):
    with fits.open(path, mode="update") as hdulist:
        hdulist["GTI"].data[name][0] = value
    with pytest.raises(ValueError, match=f"run.fits: GTI .*invalid {name} in row 0"):
        write_run(compat.open_run(path), tmp_path / "out.fits")
    assert not (tmp_path / "out.fits").exists()


def test_cards_of_any_kind_pass(path, tmp_path):
    with fits.open(path, mode="update") as hdulist:
        header = hdulist["EVENTS"].header
        header["HIERARCH A long keyword"] = 7
        header["LONGTEXT"] = "x" * 200
        header.append(("TWICE", 1), end=True)
        header.append(("TWICE", 2), end=True)
        header.append(fits.Card("UNDEF", fits.card.UNDEFINED), end=True)
        header["COMMENT"] = "a comment"
    write_run(compat.open_run(path), tmp_path / "out.fits")
    header = fits.getheader(tmp_path / "out.fits", "EVENTS")
    assert header["A LONG KEYWORD"] == 7
    assert header["LONGTEXT"] == "x" * 200
    assert [card.value for card in header.cards if card.keyword == "TWICE"] == [1, 2]
    assert "UNDEF" in header
    assert header["UNDEF"] is None
    assert "a comment" in header["COMMENT"]


@pytest.mark.parametrize("key", ["RA_OBJ", "DEC_OBJ", "ALT_PNT"])
def test_text_where_gammapy_wants_a_number(key, path, tmp_path, caplog):
    change(path, header={key: "unknown"})
    write_run(compat.open_run(path), tmp_path / "out.fits")
    meta = compat.open_run(tmp_path / "out.fits").meta
    assert meta is not None
    if key.endswith("OBJ"):
        assert f"{key} = 'unknown' is dropped" in caplog.text
        assert meta.target.position is None


def test_a_number_is_no_text(path, tmp_path, caplog):
    """Negative control: what is right is not warned of."""
    write_run(compat.open_run(path), tmp_path / "out.fits")
    assert not caplog.records
    assert u.isclose(
        compat.open_run(tmp_path / "out.fits").meta.target.position.ra,
        compat.open_run(path).meta.target.position.ra,
    )
