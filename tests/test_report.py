"""The report of a campaign: self-contained, true to its numbers, and blind."""

import base64
import html
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import QTable, Table
from click.testing import CliRunner
from helpers.campaigns import OBJECTS, settings
from helpers.runs import write_raw
from regions import CircleSkyRegion

from gammapy_mimic import MimicCampaign, simulate_datastore
from gammapy_mimic.cli import main
from gammapy_mimic.report import write_report
from gammapy_mimic.report.measure import Campaign, measure
from gammapy_mimic.report.place import check_free_sky, place_of_interest
from gammapy_mimic.validation import BackgroundSystematic, local_systematic
from gammapy_mimic.validation.reduction import exclusion_mask, map_geometry


@pytest.fixture(scope="module")
def campaign(tmp_path_factory):
    """Two mimic sets of two targets, which hold a source of more than 20 sigma."""
    path = tmp_path_factory.mktemp("report")
    store = simulate_datastore(path / "runs", n_targets=2, n_donors=6, random_state=7)
    # which is told, and changes nothing
    for file in (path / "runs").rglob("*20[0-9][0-9].fits*"):
        with fits.open(file, mode="update") as hdus:
            hdus["EVENTS"].header["ONTIME"] = 99.0
    weak = store.weak_source
    lon, lat = (f"{angle.deg} deg" for angle in (weak.position.ra, weak.position.dec))
    source = {"name": weak.name, "lon": lon, "lat": lat}
    axis = {"min": "0.8 TeV", "max": "10 TeV", "nbins": 2}
    content = {
        "observations": {"datastore": str(store.path), "obs_ids": [1001, 1002]},
        "datasets": {
            "geom": {
                "wcs": {"skydir": {"frame": "icrs", "lon": "75 deg", "lat": "22 deg"}},
                "axes": {"energy": axis},
            }
        },
        "mimic": {
            # without its best donor, a target gets the one with the weak source
            "donors": {"where": {"TARGET_NAME": "Off data"}, "exclude": [2001]},
            "scramble": {"catalogs": ["bright"], "also": [source]},
            "n_mimics": 2,
            "match": {"muon_efficiency": None},
            "outdir": str(path / "mimics"),
        },
    }
    assert MimicCampaign(content).run().complete
    return path / "mimics"


@pytest.fixture(scope="module")
def blind(campaign):
    with pytest.MonkeyPatch.context() as patch:
        # a blinded report does not even open the targets
        patch.delattr(Campaign, "targets")
        return write_report(campaign, n_toys=3, overwrite=True).read_text()


def words(page):
    return html.unescape(re.sub(r"<style>.*?</style>|<[^>]+>", " ", page, flags=re.S))


def test_page_is_self_contained(blind, campaign):
    sources = re.findall(r"(?:src|href)='([^']*)'", blind)
    assert len(sources) >= 6
    for source in sources:
        kind, content = source.split(",", 1)
        assert kind == "data:image/png;base64"
        assert base64.b64decode(content).startswith(b"\x89PNG")
    assert "http" not in blind
    # the very same pictures lie beside it
    pictures = {path.read_bytes() for path in (campaign / "figures").glob("*.png")}
    assert {base64.b64decode(it.split(",", 1)[1]) for it in sources} == pictures


def test_warnings_of_the_pairs_are_listed(blind, campaign):
    warnings = Table.read(campaign / "pairs.ecsv").meta["warnings"]
    assert any("ONTIME = 99 s" in text for text in warnings)
    text = words(blind)
    assert all(text.count(it) == 1 for it in warnings)


def test_numbers_are_those_of_the_validation(blind, campaign):
    text = words(blind)
    row = BackgroundSystematic.read(campaign / "systematic.ecsv").table[0]
    if row["SYSTEMATIC"] > row["SYSTEMATIC_ERR"]:
        assert f"intrinsic systematic of {row['SYSTEMATIC']:.1%}" in text
    else:
        limit = f"intrinsic systematic of less than {row['SYSTEMATIC_UL']:.1%}"
        assert limit in text
    assert f"{row['MEAN']:.3f} ± {row['MEAN_ERR']:.3f} on average" in text
    assert "2 mimic sets with 4 runs were made from 4 donors" in text
    # the synthetic models are true: five errors
    assert row["MEAN"] == pytest.approx(1, abs=5 * row["MEAN_ERR"] + 0.02)
    assert "Weak source" in text
    assert list((campaign / "figures").glob("scrambled_*.png"))


def test_systematic_at_the_position_leads(blind, campaign):
    """Mimics are reduced once: the same as from the runs alone, but for pixels."""
    text = words(blind)
    assert text.index("Systematic error of the background at the") < text.index(
        "Donors"
    )
    table = QTable.read(campaign / "local_systematic.ecsv")
    found = Campaign.read(campaign)
    alone = local_systematic(
        found.runs(),
        found.position,
        radius=0.3 * u.deg,
        exclusion=found.sources(),
        energy_edges=found.geometry["energy_edges"],
    ).table[0]
    row = table[table["RADIUS"] == 0.3 * u.deg][0]
    assert row["N_DONORS"] == alone["N_DONORS"] == 4
    assert row["MEAN"] == pytest.approx(alone["MEAN"], abs=0.05)


def test_blind_unless_asked(blind, campaign):
    assert "This report is blinded" in words(blind)
    assert "The targets have" not in words(blind)
    page = write_report(campaign, n_toys=2, unblind=True, overwrite=True).read_text()
    (value,) = re.findall(r"The targets have ([+-][\d.]+)", words(page))
    assert float(value) > 15
    assert "empirical p-value 0.333" in words(page)  # (0 + 1) / (2 + 1)
    # the source itself is left out of the map, of mimics and targets alike
    found = r"largest significance of their map outside of known sources is ([\d.]+)"
    (largest,) = re.findall(found, words(page))
    assert float(largest) < 6
    assert "blinded" not in words(page)


def test_stacks_of_the_same_targets(campaign, tmp_path, caplog):
    """A set that has lost a target is measured, but not compared, and it is said."""
    folder = Path(shutil.copytree(campaign, tmp_path / "mimics"))
    for index in ("obs-index.fits.gz", "hdu-index.fits.gz"):
        path = folder / "mimic_001" / index
        table = Table.read(path)
        meta = {key: table.meta[key] for key in table.meta if key != "comments"}
        table = table[table["OBS_ID"] == 1001]
        table.meta = meta
        table.write(path, overwrite=True)
    found = measure(Campaign.read(folder), n_toys=0)
    # one stack of two targets is as much as two of one
    assert found.at_position.runs == (1001,)
    assert found.at_position.left_out == ()
    assert "the targets 1001 are compared" in caplog.text
    assert found.systematic.table["N_RUNS"][0] == 3


@pytest.fixture(scope="module")
def point_like(tmp_path_factory):
    path = tmp_path_factory.mktemp("point_like")
    runs = [
        {"obs_id": i, "header": {"OBJECT": name}, "seed": i}
        for i, name in OBJECTS.items()
    ]
    raw = write_raw(["rad_max"] * len(runs), path / "raw", runs=runs, n_events=4000)
    content = settings(raw, path / "out", scramble=None)
    axis = {"min": "0.25 TeV", "max": "10 TeV", "nbins": 2}
    content["datasets"]["geom"] = {"axes": {"energy": axis}}
    content["observations"]["required_irf"] = ["aeff", "edisp"]
    assert MimicCampaign(content).run().complete
    return path / "out"


def test_without_background_model(point_like):
    """On and off counts are judged; nothing needs a background model."""
    page = words(write_report(point_like, unblind=True).read_text())
    found = measure(Campaign.read(point_like), unblind=True)
    assert found.distributions == {}
    assert found.local.method == "reflected"
    row = found.on_off.table[0]
    assert found.systematic.table["N_RUNS"][0] == len(found.on_off.runs) == 4
    assert "On and off counts of all mimics" in page
    assert f"The targets have {found.target:+.1f}" in page
    # evenly drawn events: no source anywhere
    assert abs(row["SQRT_TS"]) < 4
    assert np.abs(found.significances).max() < 4


def at(*places):
    return SkyCoord(places, unit="deg")


def test_position_of_a_survey(caplog):
    """An object that no run sees, such as 0, 0, is not the position of interest."""
    field, off = at((359.0, 10), (1, 10)), SkyCoord("0d 0d")
    for target in (off, None):
        caplog.clear()
        position, note = place_of_interest(None, target, field, 2 * u.deg)
        assert position.separation(SkyCoord("0d 10d")) < 0.01 * u.deg
        assert "middle of the pointings" in note
        assert "skydir" in caplog.text
    assert (
        "lies 10.0 deg from the nearest pointing"
        in place_of_interest(None, off, at((0.0, 10)), 2 * u.deg)[1]
    )
    caplog.clear()
    seen = SkyCoord("0.5d 9.5d")
    assert place_of_interest(None, seen, field, 2 * u.deg) == (seen, "")
    # that of the configuration goes first
    assert place_of_interest(seen, off, field, 2 * u.deg) == (seen, "")
    assert not caplog.text
    with pytest.raises(ValueError, match=r"configuration, ICRS 0.*set datasets\.geom"):
        place_of_interest(off, seen, field, 2 * u.deg)
    # nothing lies between pointings all over the sky
    with pytest.raises(ValueError, match=r"RA_OBJ.*set datasets\.geom\.wcs\.skydir"):
        place_of_interest(None, off, at((30.0, 40), (90, -40)), 2 * u.deg)


@pytest.mark.parametrize(("radius", "is_warned"), [(0.5, False), (1.95, True)])
def test_known_sources_cover_part_of_the_field(radius, is_warned, caplog):
    pointing = at((10.0, 20))
    geom = map_geometry(pointing[0])
    source = CircleSkyRegion(pointing[0], radius * u.deg)
    check_free_sky(exclusion_mask(geom, [source]), pointing, 2 * u.deg)
    assert ("of the fields of view" in caplog.text) == is_warned


def test_known_sources_cover_all_of_the_field():
    pointing = at((10.0, 20))
    geom = map_geometry(pointing[0])
    # the corners of the map are free, but no run sees them
    mask = exclusion_mask(geom, [CircleSkyRegion(pointing[0], 2.2 * u.deg)])
    assert mask.data.any()
    with pytest.raises(ValueError, match=r"no sky is left.*mimic\.scramble\.catalogs"):
        check_free_sky(mask, pointing, 2 * u.deg)


def changed(folder, new, old_text, new_text):
    """Copy of a campaign with another configuration."""
    folder = Path(shutil.copytree(folder, new))
    text = (folder / "config.yaml").read_text()
    assert old_text in text
    (folder / "config.yaml").write_text(text.replace(old_text, new_text))
    return folder


def test_report_without_a_systematic(point_like, tmp_path):
    """Too few counts for a scatter: the report is made all the same, and says so."""
    folder = changed(point_like, tmp_path / "few", "0.25 TeV", "9.99 TeV")
    (folder / "systematic.ecsv").touch()
    page = words(write_report(folder, overwrite=True).read_text())
    assert "No systematic of the background can be given" in page
    assert "2 mimic sets with 4 runs were made from" in page
    assert "On and off counts of all mimics" in page
    # nothing of an earlier report is left beside it
    assert not (folder / "systematic.ecsv").exists()


def test_map_report_without_a_systematic(campaign, tmp_path):
    folder = changed(campaign, tmp_path / "none", "0.8 TeV", "9.99 TeV")
    # files are in order, so that none of them is blamed
    with pytest.raises(ValueError, match=r"^no pixel is left.*take lower or wider"):
        write_report(folder, overwrite=True)
    folder = changed(campaign, tmp_path / "few", "0.8 TeV", "9.3 TeV")
    found = measure(Campaign.read(folder), n_toys=0)
    assert found.systematic is None
    assert "needs at least two" in found.no_systematic


def numbers(found):
    """Texts of all tables of a measurement, and its plain numbers."""
    tables = [found.local.table, found.residuals, found.systematic.table]
    tables += [it.table for it in found.distributions.values()]
    shared = [] if found.at_position.shared is None else found.at_position.shared
    arrays = [found.significances, shared]
    arrays += [it.image.data for it in found.distributions.values()]
    arrays += [value for it in found.distributions.values() for value in it.values]
    return [str(it) for it in tables], [np.asarray(it).tobytes() for it in arrays]


@pytest.mark.parametrize("kind", ["campaign", "point_like"])
def test_sets_are_kept_and_shared_among_processes(kind, request, tmp_path):
    campaign = request.getfixturevalue(kind)
    folder = Path(shutil.copytree(campaign, tmp_path / "copy"))
    kept = folder / ".campaign" / "report"
    shutil.rmtree(kept, ignore_errors=True)

    def measured(**options):
        return numbers(measure(Campaign.read(folder), n_toys=3, **options))

    expected, files = measured(n_jobs=2), sorted(kept.iterdir())
    contents, times = [it.read_bytes() for it in files], [it.stat() for it in files]
    assert len(files) == 2
    # read again, not made again
    assert measured() == expected
    assert [it.stat().st_mtime_ns for it in files] == [it.st_mtime_ns for it in times]
    # a broken part and one of something else are made again
    files[0].write_bytes(contents[0][:1000])
    files[1].write_bytes(contents[0])
    assert measured() == expected
    assert [it.read_bytes() for it in files] == contents
    # and so is one that says that it is of another key
    with np.load(files[0]) as part:
        np.savez(files[0], **{**part, "key": np.array("other")})
    assert measured() == expected
    assert files[0].read_bytes() == contents[0]


def test_other_settings_are_measured_again(campaign, tmp_path):
    folder = Path(shutil.copytree(campaign, tmp_path / "copy"))
    one, other = (measure(Campaign.read(folder), n_toys=n) for n in (3, 4))
    assert [len(it.toy_maxima) for it in one.distributions.values()] == [3, 3]
    assert [len(it.toy_maxima) for it in other.distributions.values()] == [4, 4]
    folder = changed(folder, tmp_path / "energies", "0.8 TeV", "1.1 TeV")
    found = measure(Campaign.read(folder), n_toys=3)
    assert found.local.table["ENERGY_MIN"][0] == 1.1 * u.TeV


def test_mistakes(campaign, tmp_path):
    (campaign / "report.html").touch()
    with pytest.raises(FileExistsError, match="use overwrite"):
        write_report(campaign)
    with pytest.raises(ValueError, match=r"has no config\.yaml: give the folder"):
        write_report(tmp_path)
    done = CliRunner().invoke(main, ["report", str(tmp_path)])
    assert (done.exit_code, done.output.count("\n")) == (1, 1)
    for name in ("config.yaml", "pairs.ecsv", "provenance.yaml"):
        (tmp_path / name).write_bytes((campaign / name).read_bytes())
    with pytest.raises(ValueError, match="has no mimic set"):
        write_report(tmp_path)
