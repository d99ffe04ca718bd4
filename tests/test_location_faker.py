"""Mimics from file to file."""

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.time import Time
from gammapy.data import Observation
from helpers.runs import KINDS, POINT_LIKE, POINTING, specification, write_file
from numpy.testing import assert_allclose, assert_array_equal

from gammapy_mimic import LocationFaker, MimicMaker
from gammapy_mimic.data import compat
from gammapy_mimic.scramble.residuals import scramble_residuals

TARGET = {
    "obs_id": 7,
    "pointing": SkyCoord(20, -50, unit="deg"),
    "start": Time("2021-03-02T19:47:00", scale="tt"),
}
SOURCES = [POINTING.directional_offset_by(a * u.deg, 0.8 * u.deg) for a in (0, 100)]


@pytest.fixture
def files(tmp_path):
    """Files of a target and a donor of a kind, ``.fits`` or ``.fits.gz``."""

    def make(kind="full", suffix=".fits", n_events=300):
        paths = tmp_path / f"12345{suffix}", tmp_path / f"98765{suffix}"
        for path, options in zip(paths, (TARGET, {"obs_id": 8}), strict=True):
            write_file(path, kind, n_events=n_events, **options)
        return paths

    return make


def raw_data(path):
    """Bytes of the data of each HDU, by HDUCLAS4."""
    with fits.open(path, memmap=False) as hdulist:
        return {
            hdu.header["HDUCLAS4"]: hdu.data.tobytes()
            for hdu in hdulist
            if "HDUCLAS4" in hdu.header
        }


def test_mimic_of_a_file(files, tmp_path):
    target, donor = files()
    before = target.read_bytes(), donor.read_bytes()
    LocationFaker().convert_fov(target, donor, tmp_path / "mimic" / "12345.fits")
    assert (target.read_bytes(), donor.read_bytes()) == before

    mimic = Observation.read(tmp_path / "mimic" / "12345.fits")
    assert mimic.obs_id == 7
    assert mimic.pointing.fixed_icrs.separation(TARGET["pointing"]).deg < 1e-9
    expected = MimicMaker().run(compat.open_run(target), compat.open_run(donor))
    assert_array_equal(mimic.events.table["RA"], expected.events.table["RA"])
    assert_array_equal(mimic.bkg.data, expected.bkg.data)
    # what nobody changed is the donor's, byte for byte
    new, old = raw_data(tmp_path / "mimic" / "12345.fits"), raw_data(donor)
    for name in ("AEFF_2D", "EDISP_2D", "PSF_TABLE"):
        assert new[name] == old[name]


def test_known_sources_are_scrambled(files, tmp_path):
    faker = LocationFaker(random_state=1)
    paths = files(n_events=3000)
    output = tmp_path / "mimic.fits"
    faker.convert_fov(*paths, output, scramble_point=SOURCES, scramble_theta=0.25)
    residuals = scramble_residuals([Observation.read(output)])
    assert_allclose(residuals["THETA"], 0.25)
    separation = SkyCoord(residuals["RA"], residuals["DEC"]).separation(
        SkyCoord(SOURCES)
    )
    assert_allclose(separation.deg, 0, atol=1e-9)
    first = output.read_bytes()
    faker.convert_fov(
        *paths, output, True, scramble_point=SOURCES, scramble_theta=0.25 * u.deg
    )
    assert output.read_bytes() == first


def test_background_of_the_target(files, tmp_path):
    target, donor = files("full")
    output = tmp_path / "mimic.fits"
    LocationFaker().convert_fov(target, donor, output, copy_background=True)
    assert raw_data(output)["BKG_3D"] == raw_data(target)["BKG_3D"]
    LocationFaker().convert_fov(target, donor, output, overwrite=True)
    assert raw_data(output)["BKG_3D"] != raw_data(donor)["BKG_3D"]  # turned
    radec = LocationFaker(alignment="radec")
    radec.convert_fov(target, donor, output, overwrite=True)
    assert raw_data(output)["BKG_3D"] == raw_data(donor)["BKG_3D"]


@pytest.mark.parametrize(
    "kind", [k for k in KINDS if not specification(k)["separate_irfs"]]
)
def test_every_kind_of_run(kind, files, tmp_path):
    paths = files(kind, suffix=".fits.gz", n_events=20)
    output = tmp_path / "mimic.fits.gz"
    mimic = LocationFaker().convert_fov(*paths, output)
    assert output.read_bytes()[:2] == b"\x1f\x8b"
    read = compat.open_run(output)
    assert_array_equal(read.events.table["DEC"], mimic.events.table["DEC"])
    assert set(raw_data(output)) == set(raw_data(paths[1]))


def test_unknown_hdus_are_copied_byte_for_byte(files, tmp_path, caplog):
    target, donor = files("full")
    with fits.open(donor, mode="update") as hdus:
        for name in ("POINT SPREAD FUNCTION", "BACKGROUND"):
            for key in list(hdus[name].header["HDUCLAS*"]):
                del hdus[name].header[key]
        cuts = fits.BinTableHDU.from_columns(
            [fits.Column("CUT", "D", array=np.array([0.7]))], name="GH_CUTS"
        )
        cuts.header["HDUCLAS1"], cuts.header["HDUCLAS2"] = "RESPONSE", "GH_CUTS"
        image = fits.ImageHDU(np.arange(6.0).reshape(2, 3), name="MAP")
        pointing = cuts.copy()
        pointing.name, pointing.header["HDUCLAS1"] = "POINTING", "POINTING"
        for hdu in (cuts, image, pointing):
            hdus.append(hdu)
    LocationFaker().convert_fov(target, donor, tmp_path / "mimic.fits")
    names = "POINT SPREAD FUNCTION", "BACKGROUND", "GH_CUTS", "MAP"
    for name in names:
        assert whole_hdu(tmp_path / "mimic.fits", name) == whole_hdu(donor, name)
    with fits.open(tmp_path / "mimic.fits") as hdus:
        assert [hdu.name for hdu in hdus[5:]] == list(names)
    assert "HDU POINTING is left out" in caplog.text
    assert "give the mimic no psf, bkg, which are" in caplog.text

    # with the target's IRFs, what belongs to them comes from there
    caplog.clear()
    own = LocationFaker(irfs="target")
    own.convert_fov(target, donor, tmp_path / "mimic.fits", overwrite=True)
    with fits.open(tmp_path / "mimic.fits") as hdus:
        assert "GH_CUTS" not in hdus
    assert "give the mimic no bkg, which" in caplog.text
    with pytest.raises(
        ValueError, match=r"copy_background = True: .* has no background"
    ):
        LocationFaker().convert_fov(
            donor, target, tmp_path / "x.fits", copy_background=True
        )
    assert not (tmp_path / "x.fits").exists()


@pytest.mark.parametrize("kind", ["full", *POINT_LIKE])
def test_nothing_is_said_of_irfs_that_are_all_there(kind, files, tmp_path, caplog):
    LocationFaker().convert_fov(*files(kind), tmp_path / "mimic.fits")
    assert "give the mimic no" not in caplog.text


def whole_hdu(path, name):
    """Bytes of an HDU, header and padding included."""
    with fits.open(path, memmap=False) as hdulist:
        place = hdulist[name].fileinfo()
    return path.read_bytes()[place["hdrLoc"] : place["datLoc"] + place["datSpan"]]


def test_wrong_input(files, tmp_path):
    target, donor = files()
    faker, output = LocationFaker(), tmp_path / "mimic.fits"
    with pytest.raises(ValueError, match="is one of the inputs"):
        faker.convert_fov(target, donor, target, overwrite=True)
    output.write_text("mine")
    with pytest.raises(FileExistsError, match="use overwrite=True"):
        faker.convert_fov(target, donor, output)
    assert output.read_text() == "mine"
    with pytest.raises(OSError, match="nothing"):
        faker.convert_fov(target, tmp_path / "nothing.fits", tmp_path / "new.fits")
    with pytest.raises(OSError, match="SIMPLE"):
        faker.convert_fov(target, output, tmp_path / "new.fits")
    fits.PrimaryHDU().writeto(tmp_path / "image.fits")
    with pytest.raises(ValueError, match="has no EVENTS HDU"):
        faker.convert_fov(target, tmp_path / "image.fits", tmp_path / "new.fits")
    with pytest.raises(ValueError, match="method = 'shake'"):
        LocationFaker(method="shake")
    with pytest.raises(ValueError, match="alignment = 'up'"):
        LocationFaker(alignment="up")
    assert not (tmp_path / "new.fits").exists()


def test_hess_files(hess_store, tmp_path):
    folder = hess_store.hdu_table.base_dir / "data"
    target, donor = (
        folder / f"hess_dl3_dr1_obs_id_0{obs_id}.fits.gz" for obs_id in (23523, 29177)
    )
    faker = LocationFaker(random_state=0)
    faker.convert_fov(target, donor, tmp_path / "a.fits", scramble_point="1ES 0414+009")
    faker.convert_fov(target, donor, tmp_path / "b.fits", copy_background=True)
    scrambled, plain = (Observation.read(tmp_path / f"{name}.fits") for name in "ab")
    # the ring of a source 0.5 deg away with theta 0.3 deg holds a tenth of the events
    moved = scrambled.events.table["RA"] != plain.events.table["RA"]
    assert 0.02 < np.mean(moved) < 0.3
    new, old = raw_data(tmp_path / "a.fits"), raw_data(donor)
    assert new["EDISP_2D"] == old["EDISP_2D"]
    assert new["PSF_TABLE"] == old["PSF_TABLE"]
