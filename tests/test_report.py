"""The report of a campaign: self-contained, true to its numbers, and blind."""

import base64
import html
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import QTable, Table
from click.testing import CliRunner
from helpers.campaigns import OBJECTS, settings
from helpers.runs import write_raw
from jinja2 import UndefinedError
from matplotlib.figure import Figure
from regions import CircleSkyRegion

from gammapy_mimic import MimicCampaign, simulate_datastore
from gammapy_mimic.analysis import Ensemble
from gammapy_mimic.cli import main
from gammapy_mimic.report import write_report
from gammapy_mimic.report.content import plain
from gammapy_mimic.report.measure import Campaign, measure
from gammapy_mimic.report.place import check_free_sky, place_of_interest
from gammapy_mimic.report.quote import LIMITS, Stack, quote
from gammapy_mimic.report.words import FILTERS
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
            "acknowledgement": "We thank <nobody>.",
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


@pytest.fixture(scope="module")
def measured(campaign):
    """The campaign, and its numbers."""
    opened = Campaign.read(campaign)
    return opened, measure(opened, n_toys=0)


def copy(folder, new):
    """Copy of a campaign, whose report may be written."""
    return Path(shutil.copytree(folder, new))


def words(page):
    text = re.sub(r"<style>.*?</style>|<[^>]+>", " ", page, flags=re.S)
    return " ".join(html.unescape(text).split())


SCHEMA = Path(__file__).parents[1] / "docs" / "_static" / "report.schema.json"


def report_numbers(folder):
    """Content of report.json, which has to follow its schema."""

    def refuse(name):
        raise AssertionError(f"{name} is not JSON")

    text = (folder / "report.json").read_text(encoding="utf-8")
    content = json.loads(text, parse_constant=refuse)
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator(schema).validate(content)
    # each key is described
    assert set(content) == set(schema["properties"])
    return content


def test_page_is_self_contained(blind, campaign):
    sources = re.findall(r'(?:src|href)="([^#"]+)"', blind)
    assert len(sources) >= 6
    assert len(blind) < 5e6
    for source in sources:
        kind, content = source.split(",", 1)
        assert kind == "data:image/png;base64"
        assert base64.b64decode(content).startswith(b"\x89PNG")
    assert not re.search(r"http|url\(|@import|<script", blind)
    # the very same pictures lie beside it
    pictures = {path.read_bytes() for path in (campaign / "figures").glob("*.png")}
    assert {base64.b64decode(it.split(",", 1)[1]) for it in sources} == pictures


def test_warnings_of_the_pairs_are_listed(blind, campaign):
    warnings = Table.read(campaign / "pairs.ecsv").meta["warnings"]
    assert any("ONTIME = 99 s" in text for text in warnings)
    text = words(blind)
    assert all(text.count(it) == 1 for it in warnings)
    assert set(warnings) <= set(report_numbers(campaign)["warnings"])


def test_numbers_are_those_of_the_validation(blind, campaign):
    text = words(blind)
    row = BackgroundSystematic.read(campaign / "systematic.ecsv").table[0]
    systematic = FILTERS["systematic"]({k.lower(): row[k] for k in row.colnames})
    assert f"an intrinsic systematic of {systematic}" in text
    mean = FILTERS["plus_minus"](row["MEAN"], row["MEAN_ERR"])
    assert f"Counts over predicted background are {mean} on average" in text
    assert report_numbers(campaign)["systematic"][0]["mean"] == row["MEAN"]
    assert "2 mimic sets with 4 mimics from 4 donors" in text
    # the synthetic models are true: five errors
    assert row["MEAN"] == pytest.approx(1, abs=5 * row["MEAN_ERR"] + 0.02)
    assert "Weak source" in text
    assert list((campaign / "figures").glob("scrambled_*.png"))


def test_systematic_at_the_position_leads(blind, campaign):
    """Mimics are reduced once: the same as from the runs alone, but for pixels."""
    text = words(blind)
    assert text.index("What you can quote") < text.index("Method")
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


def test_blind_unless_asked(blind, campaign, tmp_path):
    assert "This report is blinded" in words(blind)
    assert "The targets have" not in words(blind)
    found = report_numbers(campaign)
    assert found["blinded"]
    assert found["significance"]["target"] is found["significance"]["p_value"] is None
    folder = copy(campaign, tmp_path / "mimics")
    page = write_report(folder, n_toys=3, unblind=True, overwrite=True).read_text()
    (value,) = re.findall(r"The targets have ([+-][\d.]+)", words(page))
    assert float(value) > 15
    assert "empirical p-value 0.33 ± 0.27" in words(page)  # (0 + 1) / (2 + 1)
    found = report_numbers(folder)
    assert not found["blinded"]
    assert found["significance"]["targets"] == [1001, 1002]
    assert found["significance"]["target"] == pytest.approx(float(value), abs=0.05)
    # the source itself is left out of the map, of mimics and targets alike
    found = r"largest significance of their map outside of known sources is ([\d.]+)"
    (largest,) = re.findall(found, words(page))
    assert float(largest) < 6
    assert "blinded" not in words(page)


class Page(HTMLParser):
    """What a screen reader and a narrow screen need."""

    VOID = ("meta", "img", "link", "br")

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.ids, self.targets = [], [], [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.tags.append((tag, attrs))
        self.ids += [attrs["id"]] if "id" in attrs else []
        href = attrs.get("href", "")
        self.targets += [href[1:]] if href.startswith("#") else []
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def all(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]


def test_page_is_accessible(blind):
    page = Page(blind)
    assert set(page.targets) <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))
    assert all(len(it["alt"]) > 20 for it in page.all("img"))
    assert all(it.get("scope") in ("row", "col", "colgroup") for it in page.all("th"))
    assert any(it.get("name") == "viewport" for it in page.all("meta"))
    # of the checks of the camera and the maps the first is open
    assert len([it for it in page.all("details") if "open" in it]) == 2
    assert "prefers-color-scheme: dark" in blind
    assert "@media print" in blind
    # words, not names of columns
    assert not re.search(r"[A-Z]+_(CAL|UL|ERR|MIN)", words(blind))


def test_colours_have_contrast(blind):
    """WCAG 2.1: 4.5 for text, in both styles."""
    styles = re.findall(r":root \{(--text.*?)\}", blind, flags=re.S)[:2]
    for style in styles:
        colors = dict(re.findall(r"--(\w+): #(\w+)", style))
        for name in ("text", "dim", "link"):
            for back in ("back", "soft"):
                assert contrast(colors[name], colors[back]) > 4.5
    assert contrast("777777", "ffffff") < 4.5  # negative control


def contrast(one, other):
    def luminance(color):
        color = "".join(2 * it for it in color) if len(color) == 3 else color
        c = np.array([int(color[k : k + 2], 16) for k in (0, 2, 4)]) / 255
        c = np.where(c <= 0.03928, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
        return c @ [0.2126, 0.7152, 0.0722]

    low, high = sorted([luminance(one), luminance(other)])
    return (high + 0.05) / (low + 0.05)


def test_same_bytes_each_time(blind, campaign, tmp_path):
    folder = copy(campaign, tmp_path / "mimics")
    for path in (folder / "figures").iterdir():
        path.unlink()
    assert write_report(folder, n_toys=3, overwrite=True).read_text() == blind
    paths = [*folder.glob("*.json"), *folder.glob("*.ecsv"), *folder.glob("figures/*")]
    assert len(paths) > 10
    for path in paths:
        before = campaign / path.relative_to(folder)
        assert path.read_bytes() == before.read_bytes()


def test_method_table(blind, campaign):
    method = report_numbers(campaign)["method"]
    assert method["Position of interest"] == (
        "ICRS 75.0000, +22.0000 deg; from the configuration, datasets.geom.wcs.skydir"
    )
    assert "Weak source" in method["Scrambling"]
    assert "airmass within 0.15" in method["Match"]
    assert "muon efficiency" not in method["Match"]
    assert "3 Poisson toys" in method["Significance maps"]
    assert "livetime" in method["Targets"]
    position = report_numbers(campaign)["position"]
    assert position == {"ra": 75, "dec": 22, "from": "skydir"}
    text = words(blind)
    assert all(value in text for value in method.values())


def test_own_acknowledgement_is_escaped(blind, campaign):
    assert "We thank &lt;nobody&gt;." in blind
    assert report_numbers(campaign)["proposed_acknowledgement"] is None
    assert "H.E.S.S." not in blind


def test_what_can_be_quoted(measured):
    """Counts and ratio follow from systematic and background of the stack."""
    opened, found = measured
    stack, rows = Stack.of(opened, found), quote(opened, found)["rows"]
    assert stack.n_targets == stack.n_mimics == 2
    # as many counts as in the circle of a mimic set, but for time and rate
    inside = [
        np.sum(
            (run.events.radec.separation(found.position) < 0.5 * u.deg)
            & (run.events.energy > 0.8 * u.TeV)
            & (run.events.energy < 10 * u.TeV)
        )
        for run in opened.runs()
    ]
    row = next(it for it in rows if it["radius"] == 0.5)
    expected = np.sum(inside) / 2 * stack.counts_ratio
    assert row["background"] == pytest.approx(expected, abs=5 * np.sqrt(expected))
    assert expected > 100
    for it in rows:
        if it["verdict"] is None:
            continue
        size = it["systematic_ul"] if it["is_limit"] else it["systematic"]
        relative = np.sqrt(size**2 / 2 + it["mean_err"] ** 2)
        assert it["counts"] == pytest.approx(relative * it["background"])
        assert it["ratio"] == pytest.approx(relative * np.sqrt(it["background"]))
        limits = {"negligible": (0, 0.3), "to be added": (0.3, 1)}
        low, high = limits.get(it["verdict"], (1, np.inf))
        assert low <= it["ratio"] <= high
    assert LIMITS == (0.3, 1)


def test_flux_of_a_source(measured):
    """A source of the quoted flux gives the quoted counts."""
    opened, found = measured
    rows = quote(opened, found)["rows"]
    run = opened.observations(0)[0]
    energy = np.geomspace(0.8, 10, 200) * u.TeV
    offset = run.pointing.fixed_icrs.separation(found.position)
    area = run.aeff.evaluate(energy_true=energy, offset=offset)
    weight = energy.value**-2.5
    mean_area = np.trapezoid(weight * area, energy) / np.trapezoid(weight, energy)
    time = sum(it.observation_live_time_duration for it in opened.observations(0))
    row = next(it for it in rows if it["radius"] == 1)
    excess = row["flux"] * u.Unit("cm-2 s-1") * mean_area * time
    # circles of 1 deg hold all of a point-like source
    assert row["counts"] == pytest.approx(excess.to_value(""), rel=0.05)


def test_templates_of_the_user(blind, campaign, measured, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "gammapy_mimic.report.page.measure", lambda *_, **__: measured[1]
    )
    monkeypatch.setattr("gammapy_mimic.report.page.draw_figures", lambda *_: ())
    folder, own = copy(campaign, tmp_path / "mimics"), tmp_path / "templates"
    own.mkdir()
    (own / "method.html.j2").write_text("<p>Mine: {{ method.Alignment }}</p>\n")
    path = write_report(folder, overwrite=True, templates=own)
    before = path.read_text()
    assert "Mine: events keep their place" in words(before)
    assert "What you can quote" in words(before)
    (own / "method.html.j2").write_text("{% if %}")
    with pytest.raises(ValueError, match=r"method\.html\.j2, line 1: Expected"):
        write_report(folder, overwrite=True, templates=own)
    (own / "method.html.j2").rename(own / "methods.html")
    with pytest.raises(ValueError, match=r"no file there has the name of a template"):
        write_report(folder, overwrite=True, templates=own)
    assert path.read_text() == before


def test_nothing_is_left_of_a_report_that_failed(
    campaign, measured, tmp_path, monkeypatch
):
    monkeypatch.setattr(
        "gammapy_mimic.report.page.measure", lambda *_, **__: measured[1]
    )
    monkeypatch.setattr(
        "gammapy_mimic.report.page.draw_figures",
        lambda *_: [("empty", "Nothing", Figure((1, 1)))],
    )
    folder, own = tmp_path / "mimics", tmp_path / "templates"
    report = shutil.ignore_patterns("report.*", "*systematic.ecsv", "figures")
    shutil.copytree(campaign, folder, ignore=report)
    own.mkdir()
    (own / "method.html.j2").write_text("{{ unknown }}")
    before = sorted(folder.rglob("*"))
    with pytest.raises(UndefinedError, match="unknown"):
        write_report(folder, templates=own)
    assert sorted(folder.rglob("*")) == before
    # nobody has to ask for the earlier one to be replaced
    write_report(folder)
    assert (folder / "figures" / "empty.png").is_file()


def test_analysis_is_shown_blind(campaign, measured, tmp_path, monkeypatch):
    """The false spectrum is there, and the targets only if they are unblinded."""
    monkeypatch.setattr(
        "gammapy_mimic.report.page.measure", lambda *_, **__: measured[1]
    )
    monkeypatch.setattr("gammapy_mimic.report.page.draw_figures", lambda *_: ())
    folder = copy(campaign, tmp_path / "mimics")
    keys = ("mean", "mean_err", "scatter", "statistical", "systematic")
    entry = dict.fromkeys(keys, 1e-13) | {"name": "flux_points.0", "unit": "cm-2 s-1"}
    entry |= {"systematic_err": 3e-13, "systematic_ul": 7e-13, "pull_width": 1.0}
    entry |= {"energy": 2.0, "energy_min": 1.0, "energy_max": 4.0, "injected": 0.0}
    entry |= {"values": [1e-13] * 2, "errors": [1e-13] * 2, "n_sets": 2}
    entry |= {"n_effective": 2.0, "n_donors": 4}
    target = {"flux_points.0": {"value": 6.54e-11, "error": None, "unit": ""}}
    Ensemble([entry], [0, 1], [], target).write(folder / "analysis")
    text = words(write_report(folder, overwrite=True).read_text())
    row = "1 to 4 TeV (1.0 ± 1.0) × 10⁻¹³ s⁻¹ cm⁻², systematic < 7.0"  # noqa: RUF001
    assert row in text
    found = report_numbers(folder)["ensemble"]
    assert found["same_sets"]
    assert found["target"] is None


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((1.23456, 0.0234), "1.235 ± 0.023"),
        ((1.23456,), "1.23"),
        ((-0.001, 0.12), "0.00 ± 0.12"),
        ((2.46e-13, 3.1e-14, "cm-2"), "(2.46 ± 0.31) × 10⁻¹³ cm⁻²"),  # noqa: RUF001
        ((123456, 2100), "(1.235 ± 0.021) × 10⁵"),  # noqa: RUF001
        ((0.0, 0.14), "0.00 ± 0.14"),
        ((1840.2, 12), "1840 ± 12"),
        ((9.96, 0.996), "9.96 ± 1.00"),
        ((0,), "0"),
        ((5, np.nan), "5.00"),
        ((np.nan, 1), "-"),
        ((None,), "-"),
    ],
)
def test_digits_that_mean_something(arguments, text):
    assert FILTERS["plus_minus"](*arguments) == text


def test_plain_values():
    table = QTable({"A_B": [1, np.nan] * u.GeV, "C": [1, 2]})
    assert plain(table) == [{"a_b": 0.001, "c": 1}, {"a_b": None, "c": 2}]
    assert plain({1: (np.float64(np.inf), np.bool_(True))}) == {"1": [None, True]}
    assert plain(30 * u.arcmin) == 0.5


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
    content = report_numbers(point_like)
    assert content["distributions"] == []
    assert [it["mimic_set"] for it in content["on_off"]] == [0, 1]
    assert content["on_off"][0]["sqrt_ts"] == pytest.approx(
        content["significance"]["mimics"][0]
    )
    found = measure(Campaign.read(point_like), unblind=True)
    assert found.distributions == {}
    assert found.local.method == "reflected"
    row = found.on_off.table[0]
    assert found.systematic.table["N_RUNS"][0] == len(found.on_off.runs) == 4
    assert "On and off counts Stack of each mimic set" in page
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
        place = place_of_interest({}, target, field, 2 * u.deg)
        assert place.position.separation(SkyCoord("0d 10d")) < 0.01 * u.deg
        assert place.source == "pointings"
        assert "middle of the pointings" in place.note
        assert "skydir" in caplog.text
    assert (
        "lies 10.0 deg from the nearest pointing"
        in place_of_interest({}, off, at((0.0, 10)), 2 * u.deg).note
    )
    # nothing lies between pointings all over the sky
    with pytest.raises(ValueError, match=r"RA_OBJ.*set datasets\.geom\.wcs\.skydir"):
        place_of_interest({}, off, at((30.0, 40), (90, -40)), 2 * u.deg)


def test_which_position_goes_first(caplog):
    field, off = at((359.0, 10), (1, 10)), SkyCoord("0d 0d")
    seen, other = SkyCoord("0.5d 9.5d"), SkyCoord("0.4d 9.6d")

    def place(target, **configured):
        return place_of_interest(configured, target, field, 2 * u.deg)

    assert place(seen) == (seen, "object", "")
    assert place(off, skydir=seen) == (seen, "skydir", "")
    assert place(off, on_region=seen, skydir=other) == (seen, "on_region", "")
    assert not caplog.text
    found = place(other, on_region=off, skydir=seen)
    assert (found.position, found.source) == (seen, "skydir")
    assert "datasets.on_region, ICRS 0.0000, +0.0000 deg, lies 10.0" in caplog.text
    # the object is not what was asked for
    for configured in ({"skydir": off}, {"on_region": off, "skydir": off}):
        with pytest.raises(ValueError, match=r"ICRS 0\.0000, .*set datasets\.geom"):
            place(seen, **configured)


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
    assert "nothing can be said of the systematic error" in page
    assert "2 mimic sets with 4 mimics from" in page
    assert "On and off counts" in page
    assert report_numbers(folder)["systematic"] is None
    assert report_numbers(folder)["quote"]["headline"] is None
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


def test_other_settings_are_measured_again(blind, campaign, tmp_path):
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


def test_targets_that_several_donors_fill(tmp_path):
    """Mimics of all parts of a target are in its stack, beside the parts of donors."""
    runs = [{"obs_id": number, "seed": number} for number in range(1, 7)]
    for run in runs[:2]:
        run["header"] = {"OBJECT": "Crab"}
    for run in runs[2:]:
        run |= {"header": {"OBJECT": "Off data"}, "duration": 900 * u.s}
    raw = write_raw(["rad_max"] * 6, tmp_path / "raw", runs=runs, n_events=3000)
    match = {"fill": True, "azimuth": None, "airmass": None, "effective_area": None}
    options = {"scramble": None, "match": match, "n_mimics": 1}
    content = settings(raw, tmp_path / "out", **options)
    axis = {"min": "0.25 TeV", "max": "10 TeV", "nbins": 2}
    content["datasets"]["geom"] = {"axes": {"energy": axis}}
    content["observations"]["required_irf"] = ["aeff", "edisp"]
    assert MimicCampaign(content).run().complete
    page = words(write_report(tmp_path / "out").read_text())
    found = report_numbers(tmp_path / "out")
    assert found["n_mimics"] == found["match"]["n_pairs"] == 4
    assert found["match"]["fill"]
    assert "Targets are filled" in page
    assert found["significance"]["targets"] == [1, 2]
    # the whole time of both targets
    time = dict.fromkeys((1, 2), 0.0)
    for check in found["checks"]:
        time[check["target"]] += check["time"]
        # a mimic has the events of just that part of its donor
        assert [it["p_value"] for it in check["tests"]] == pytest.approx([1, 1, 1])
        assert f"{check['obs_id']} {check['target']} {check['donor']}" in page
    assert list(time.values()) == pytest.approx([1680, 1680], rel=0.02)
    assert found["on_off"][0]["n_on"] == found["on_off_energies"][0]["n_on"]
