"""The report of a campaign: self-contained, true to its numbers, and blind."""

import base64
import html
import re

import pytest
from click.testing import CliRunner

from gammapy_mimic import MimicCampaign, simulate_datastore
from gammapy_mimic.cli import main
from gammapy_mimic.report import write_report
from gammapy_mimic.report.measure import Campaign
from gammapy_mimic.validation import BackgroundSystematic


@pytest.fixture(scope="module")
def campaign(tmp_path_factory):
    """Two mimic sets of two targets, which hold a source of more than 20 sigma."""
    path = tmp_path_factory.mktemp("report")
    store = simulate_datastore(path / "runs", n_targets=2, n_donors=6, random_state=7)
    weak = store.weak_source
    lon, lat = (f"{angle.deg} deg" for angle in (weak.position.ra, weak.position.dec))
    source = {"name": weak.name, "lon": lon, "lat": lat}
    axis = {"min": "0.8 TeV", "max": "10 TeV", "nbins": 2}
    settings = {
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
    assert MimicCampaign(settings).run().complete
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


def test_numbers_are_those_of_the_validation(blind, campaign):
    text = words(blind)
    row = BackgroundSystematic.read(campaign / "systematic.ecsv").table[0]
    assert f"intrinsic systematic of {row['SYSTEMATIC']:.1%}" in text
    assert f"{row['MEAN']:.3f} ± {row['MEAN_ERR']:.3f} on average" in text
    assert "2 mimic sets with 4 runs" in text
    # the synthetic models are true: five errors
    assert row["MEAN"] == pytest.approx(1, abs=5 * row["MEAN_ERR"] + 0.02)
    assert "Weak source" in text
    assert list((campaign / "figures").glob("scrambled_*.png"))


def test_blind_unless_asked(blind, campaign):
    assert "This report is blinded" in words(blind)
    assert "The targets have" not in words(blind)
    page = write_report(campaign, n_toys=2, unblind=True, overwrite=True).read_text()
    (value,) = re.findall(r"The targets have ([+-][\d.]+)", words(page))
    assert float(value) > 15
    assert "empirical p-value 0.333" in words(page)  # (0 + 1) / (2 + 1)
    assert "blinded" not in words(page)


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
