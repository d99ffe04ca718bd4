import hashlib
import logging
import os
from pathlib import Path

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import AltAz, EarthLocation, SkyCoord
from astropy.table import MaskedColumn, Table
from astropy.time import Time
from gammapy.catalog import CATALOG_REGISTRY, SourceCatalog4FGL
from gammapy.data import FixedPointingInfo, Observation
from numpy.testing import assert_allclose
from regions import (
    CircleAnnulusSkyRegion,
    CirclePixelRegion,
    CircleSkyRegion,
    EllipseSkyRegion,
    PixCoord,
    PointSkyRegion,
    Regions,
)

from gammapy_mimic.sources import catalogs, source_checksums
from gammapy_mimic.sources import known as sources
from gammapy_mimic.sources.known import (
    find_source,
    known_sources,
    parse_sources,
)
from gammapy_mimic.sources.region_files import read_regions, write_regions

THETA = 0.3 * u.deg
CRAB = SkyCoord(83.6332, 22.0145, unit="deg")  # PSR B0531+21


def names(regions):
    return [region.meta["name"] for region in regions]


def radii_deg(regions):
    return [region.radius.to_value("deg") for region in regions]


def circle(lon=10.0, lat=20.0, radius=0.5, frame="icrs", **meta):
    center = SkyCoord(lon, lat, unit="deg", frame=frame)
    return CircleSkyRegion(center, radius * u.deg, meta=meta)


@pytest.fixture
def no_data(monkeypatch):
    monkeypatch.delenv("GAMMAPY_DATA", raising=False)


@pytest.fixture
def catalog_data():
    """Skip without the catalogs of gammapy."""
    folder = Path(os.environ.get("GAMMAPY_DATA", "/nonexistent")) / "catalogs"
    if not (folder / "gammacat/gammacat.fits.gz").exists():
        pytest.skip("needs the catalogs of gammapy in $GAMMAPY_DATA")


# ---- parse_sources ----


def test_parse_positions():
    (one,) = parse_sources(CRAB, theta=THETA)
    assert isinstance(one, CircleSkyRegion)
    assert one.center.separation(CRAB).deg < 1e-10
    assert one.radius == 0.3 * u.deg
    assert names([one]) == ["J053432.0+220052"]

    array = SkyCoord([[0, 359.999], [10, 20]], [[0, 0], [-89.9, 90]], unit="deg")
    regions = parse_sources(array, theta="0.2 deg")
    assert_allclose([region.center.dec.deg for region in regions], [0, 0, -89.9, 90])
    assert radii_deg(regions) == [0.2] * 4
    assert parse_sources([], theta=THETA) == []


def test_parse_mixed(no_data):
    given = [
        CRAB.galactic,
        circle(name="blob"),
        [circle(text="from ds9", radius=0.4), "PKS 2155\u2212304"],
        Regions([circle(frame="galactic", radius=0.1)]),
    ]
    regions = parse_sources(given, theta=[0.1, 9, 9, 0.2, 9] * u.deg)
    # a circle keeps its radius, whatever theta says
    assert_allclose(radii_deg(regions), [0.1, 0.5, 0.4, 0.2, 0.1])
    assert names(regions)[1:4] == ["blob", "from ds9", "PKS 2155-304"]
    assert {region.center.frame.name for region in regions} == {"icrs"}
    assert regions[0].center.separation(CRAB).deg < 1e-9
    assert regions[4].center.separation(given[3][0].center).deg < 1e-9


def test_parse_accepts_its_own_result(no_data):
    regions = parse_sources(["M 87", CRAB], theta=THETA)
    again = parse_sources(regions, theta=1 * u.deg)
    assert names(again) == names(regions)
    assert radii_deg(again) == [0.3, 0.3]
    assert again[0].meta["tag"] == ["bright"]


def test_parse_does_not_change_its_input():
    region, position = circle(text="a"), CRAB.galactic
    before = region.copy()
    parse_sources([region, position], theta=THETA)
    assert region == before
    assert region.meta == {"text": "a"}
    assert position.frame.name == "galactic"


@pytest.mark.parametrize(
    ("theta", "match"),
    [
        (0 * u.deg, "theta = .*larger than 0 deg"),
        (100 * u.deg, "theta = 100.0 deg: must be smaller than 10 deg"),
        (-0.3 * u.deg, "theta = .*larger than 0 deg"),
        (np.nan * u.deg, "theta = .*finite"),
        (0.3, "theta = 0.3: must be an angle with its unit"),
        (0.3 * u.m, "theta = .*must be an angle"),
        ("0.3", "theta = '0.3': must be an angle with its unit"),
        (None, "theta = None: must be an angle"),
        ([0.1, 0.2, 0.3] * u.deg, "got 3 angles for 2 sources"),
        ([[0.1, 0.2]] * u.deg, "got 2 angles for 2 sources"),
    ],
)
def test_parse_theta_errors(theta, match):
    with pytest.raises(ValueError, match=match):
        parse_sources(SkyCoord([1, 2], [3, 4], unit="deg"), theta=theta)


@pytest.mark.parametrize(
    ("source", "error", "match"),
    [
        (SkyCoord(np.nan, 1, unit="deg"), ValueError, "Source 1 has no finite"),
        (circle(np.nan), ValueError, "Source 1 has no finite"),
        (circle(include=False), ValueError, "Source 1 is an excluded region"),
        (
            EllipseSkyRegion(CRAB, 1 * u.deg, 2 * u.deg),
            TypeError,
            "Source 1 is a EllipseSkyRegion: only circles",
        ),
        (CirclePixelRegion(PixCoord(1, 2), 3), TypeError, "circles on the sky"),
        (42, TypeError, "sources = 42: must be SkyCoord"),
        ([83, 22] * u.deg, TypeError, "sources = <Quantity .* must be SkyCoord"),
        (
            SkyCoord(10 * u.deg, 40 * u.deg, frame="altaz"),
            ValueError,
            "Source 1 is given in the frame altaz, without .*time and site",
        ),
        ("Mrk 422", ValueError, "'Mrk 422' is not in .*did you mean 'Mrk 421'"),
    ],
)
def test_parse_source_errors(no_data, source, error, match):
    with pytest.raises(error, match=match):
        parse_sources([CRAB, source], theta=THETA)


# ---- names ----


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Crab", "Crab nebula"),
        ("crab Nebula", "Crab nebula"),
        ("M 87", "M 87"),
        ("M87", "M 87"),
        ("Messier 87", "M 87"),
        ("1ES 1218+304", "1ES 1218+304"),
        ("Mrk421", "Mrk 421"),
        ("Markarian 421", "Mrk 421"),
        ("Mkn 501", "Mrk 501"),
        ("PKS 2155-304", "PKS 2155-304"),
        ("pks2155\u2212304", "PKS 2155-304"),
        ("PKS 2155\u2013304", "PKS 2155-304"),
        ("Cen A", "Cen A"),
        ("Centaurus A", "Cen A"),
        ("Vela Jr.", "Vela Junior"),
        ("Galactic Center", "Galactic centre"),
        ("Sgr A*", "Galactic centre"),
        ("LS I +61\u00b0303", "LS I +61 303"),
        ("W28", "W 28"),
        ("SNR G347.3-0.5", "RX J1713.7-3946"),
    ],
)
def test_find_source_without_data(no_data, name, expected):
    region = find_source(name)
    assert region.meta["name"] == expected
    assert region.meta["tag"] == ["bright"]


def test_find_source_extended(no_data):
    # disk of 1 deg: theta + radius; Gaussian of 0.17 deg: 3 sigma in quadrature
    assert find_source("Vela Jr", theta=0.2 * u.deg).radius.to_value("deg") == 1.2
    expected = np.sqrt(0.3**2 + (3 * 0.17) ** 2)
    assert_allclose(find_source("W 28").radius.to_value("deg"), expected)


def test_find_source_unknown(no_data):
    with pytest.raises(ValueError, match="'Crob' is not in bright; did you mean 'Crab"):
        find_source("Crob")
    with pytest.raises(ValueError, match=r"'xyz' is not in bright\. A source of any"):
        find_source("xyz")
    with pytest.raises(ValueError, match="not in any catalog"):
        find_source("Crab", catalogs=["hgps"])
    with pytest.raises(ValueError, match=r"theta = .*must be one angle"):
        find_source("Crab", theta=[0.1, 0.2] * u.deg)


def test_find_source_in_catalogs(catalog_data):
    found = {name: find_source(name) for name in ("HESS J1857+026", "Kookaburra")}
    assert found["HESS J1857+026"].meta["tag"] == ["gamma-cat"]
    # other name in gamma-cat of HESS J1418-609
    assert found["Kookaburra"].meta["name"] == "HESS J1418-609"
    assert find_source("1LHAASO J1219+2915").meta["tag"] == ["1LHAASO"]
    assert find_source("W49B", catalogs="hgps").meta["name"] == "HESS J1911+090"


# ---- the packaged table ----


def test_bright_sources_are_consistent():
    sources = catalogs.read("bright")
    assert 40 <= len(sources) <= 60
    owners = {}
    for source in sources:
        for name in (source.name, *source.aliases):
            assert owners.setdefault(catalogs.name_key(name), source.name) == (
                source.name
            )
        assert source.shape == "point" if source.size_deg == 0 else source.size_deg > 0
        assert source.shape in {"point", "gauss", "disk"}
    assert np.isfinite([(it.ra_deg, it.dec_deg) for it in sources]).all()


def test_bright_positions_agree_with_gammacat(catalog_data):
    # gamma-cat misprints the declination of IC 443, and gives VER J2019+368 the
    # position of CTB 87 and the gamma Cygni remnant that of the star
    wrong = {"IC 443", "VER J2019+368", "VER J2019+407"}
    catalog = CATALOG_REGISTRY.get_cls("gamma-cat")()
    measured = catalogs._positions(catalog)
    compared, deviating = 0, set()
    for source in catalogs.read("bright"):
        keys = {catalogs.name_key(name) for name in (source.name, *source.aliases)}
        rows = [
            row
            for row in range(len(catalog.table))
            if catalogs.name_key(catalog.source_name(row)) in keys
        ]
        position = SkyCoord(source.ra_deg, source.dec_deg, unit="deg")
        compared += len(rows) > 0
        separations = np.minimum(
            position.separation(catalog.positions[rows]).deg,
            position.separation(measured[rows]).deg,
        )
        if np.any(separations > max(0.1, source.size_deg)):
            deviating.add(source.name)
    assert compared >= 50
    assert deviating == wrong


# ---- sizes in catalogs ----


class FakeCatalog:
    """What the reader uses of a gammapy catalog, with rows made up here."""

    def __init__(self, tag, **columns):
        self.tag = tag
        self.table = Table(columns)
        number = len(self.table)
        self.positions = SkyCoord(np.arange(number) * 1.0, np.zeros(number), unit="deg")

    def source_name(self, row):
        return f"source {row}"


MASKED = MaskedColumn([0.1, 0.4, 0.0], mask=[False, False, True], unit="deg")


@pytest.mark.parametrize(
    ("catalog", "sizes_deg", "shapes"),
    [
        (
            FakeCatalog(
                "gamma-cat",
                morph_type=["gauss", "shell", "none"],
                morph_sigma=MASKED,
                morph_sigma2=[0.2, np.nan, np.nan],
                pos_ra=[0.1, 3.0, np.nan],
                pos_dec=[0.0, 0.0, np.nan],
                other_names=["a,b", "--", ""],
                gamma_names=["c", "", ""],
            ),
            [0.2, 0.4, 0.0],
            ["gauss", "disk", "point"],
        ),
        (
            FakeCatalog(
                "hgps",
                Spatial_Model=["Shell", "3-Gaussian", "Point-Like"],
                Size=MASKED,
                Identified_Object=["", "x", ""],
            ),
            [0.1, 0.4, 0.0],
            ["disk", "gauss", "point"],
        ),
        (
            FakeCatalog("3hwc", spec0_radius=[0.0, 0.5, np.nan]),
            [0.0, 0.5, 0.0],
            ["point", "disk", "point"],
        ),
        (
            FakeCatalog("1LHAASO", r39=MASKED, r39_b=[np.nan, 0.6, np.nan]),
            [0.1, 0.6, 0.0],
            ["gauss", "gauss", "point"],
        ),
    ],
    ids=lambda value: getattr(value, "tag", None),
)
def test_sizes(catalog, sizes_deg, shapes):
    sources = catalogs._read_gammapy(catalog)
    assert_allclose([source.size_deg for source in sources], sizes_deg)
    assert [source.shape for source in sources] == shapes
    if catalog.tag == "gamma-cat":
        # measured position where near, the object's where far off or missing
        assert_allclose([source.ra_deg for source in sources], [0.1, 1, 2])
        assert [source.aliases for source in sources] == [("a", "b", "c"), (), ()]


def test_sizes_fermi():
    catalog = FakeCatalog("4fgl", Extended_Source_Name=["", "IC 443  ", "no such"])
    catalog.extended_sources_table = Table(
        {"Source_Name": ["W44", " IC 443"], "Model_SemiMajor": [0.3, 0.27]}
    )
    sources = catalogs._read_gammapy(catalog)
    assert [source.size_deg for source in sources] == [0, 0.27, 0]
    assert SourceCatalog4FGL.tag == "4fgl"


@pytest.mark.parametrize(
    ("tag", "number"), [("gamma-cat", 162), ("hgps", 78), ("3hwc", 65), ("1LHAASO", 90)]
)
def test_read_real_catalogs(catalog_data, tag, number):
    sources = catalogs.read(tag)
    assert len(sources) == number
    values = [(it.ra_deg, it.dec_deg, it.size_deg) for it in sources]
    assert np.isfinite(values).all()
    assert all((it.size_deg > 0) == (it.shape != "point") for it in sources)


def test_gammacat_is_corrected(catalog_data):
    by_name = {source.name: source for source in catalogs.read("gamma-cat")}
    # gamma-cat has no size for SN 1006; its radio shell has 0.25 deg
    assert (by_name["SN 1006"].size_deg, by_name["SN 1006"].shape) == (0.25, "disk")
    assert by_name["SN 1006"].catalogs == ("gamma-cat", "bright")
    assert by_name["Centaurus A"].catalogs == ("gamma-cat",)


# ---- known_sources ----


def test_known_sources_without_data(no_data, caplog):
    sources._warn_of_missing.cache_clear()
    with caplog.at_level(logging.INFO):
        regions = known_sources(SkyCoord(185, 30, unit="deg"))
    assert names(regions) == ["1ES 1218+304", "1ES 1215+303", "W Comae"]
    assert radii_deg(regions) == [0.3] * 3
    assert "gamma-cat not found (GAMMAPY_DATA: not set)" in caplog.text
    assert "packaged list of 60 bright sources stands in" in caplog.text
    assert "3 known sources within 3 deg" in caplog.text
    assert "catalogs: bright" in caplog.text
    # once in a process, not for each of a thousand runs
    caplog.clear()
    known_sources(SkyCoord(185, 30, unit="deg"))
    assert "not found" not in caplog.text


def test_known_sources_missing_catalog(monkeypatch, tmp_path):
    monkeypatch.setenv("GAMMAPY_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"'hgps'.*does not exist .*'bright'"):
        known_sources(CRAB, catalogs=["bright", "hgps"])


def test_theta_by_distance(no_data):
    regions = known_sources(
        SkyCoord(185, 30, unit="deg"),
        catalogs=["bright"],
        theta=lambda distances_deg: 0.1 + distances_deg / 10,
    )
    separations = [
        SkyCoord(185, 30, unit="deg").separation(it.center) for it in regions
    ]
    assert_allclose(radii_deg(regions), [0.1 + it.deg / 10 for it in separations])


def test_points_are_point_like_sources():
    point = PointSkyRegion(CRAB, meta={"name": "my point"})
    (region,) = parse_sources(point, theta=THETA)
    assert region.meta["name"] == "my point"
    assert region.radius.to_value("deg") == 0.3


def test_checksums_of_what_is_used(no_data, tmp_path):
    path = tmp_path / "a.reg"
    path.write_text("# Region file format: DS9\nicrs\npoint(83.6,22.0) # tag={mine}\n")
    checksums = source_checksums(sources=["Crab", str(path), CRAB])
    assert list(checksums) == [str(path), "bright"]
    assert checksums[str(path)] == hashlib.sha256(path.read_bytes()).hexdigest()
    path.write_text(path.read_text() + "\n")
    assert source_checksums(sources=path)[str(path)] != checksums[str(path)]
    with pytest.raises(FileNotFoundError, match="hgps"):
        source_checksums(["hgps"])
    with pytest.raises(FileNotFoundError):
        source_checksums(sources=tmp_path / "b.reg")


def test_known_sources_says_what_was_used(catalog_data, caplog):
    with caplog.at_level(logging.INFO):
        known_sources(CRAB)
    assert "catalogs: gamma-cat" in caplog.text
    assert not [record for record in caplog.records if record.levelname == "WARNING"]


def test_known_sources_radius(no_data):
    # Vela Junior has a radius of 1 deg: its rim is 2 deg from here
    position = find_source("Vela Jr").center.directional_offset_by(0 * u.deg, 3 * u.deg)
    assert names(known_sources(position, 2.01 * u.deg, catalogs="bright")) == [
        "Vela Junior"
    ]
    assert known_sources(position, 1.99 * u.deg, catalogs="bright") == []


@pytest.mark.parametrize("lon", [0.0, 180.0])
@pytest.mark.parametrize("lat", [0.0, -60.0, 89.9, 90.0])
def test_known_sources_at_hard_places(lon, lat):
    position = SkyCoord(lon, lat, unit="deg")
    angles = [10, 100, 200, 300] * u.deg
    extra = position.directional_offset_by(angles, [2.9, 1, 2, 3.1] * u.deg)
    regions = known_sources(position, extra=extra, catalogs=())
    separations = [position.separation(region.center).deg for region in regions]
    assert_allclose(separations, [1, 2, 2.9], atol=1e-9)


def test_known_sources_merges_extra(no_data):
    blob = circle(CRAB.ra.deg, CRAB.dec.deg + 0.05, 0.2, name="my Crab")
    far = circle(CRAB.ra.deg, CRAB.dec.deg + 0.5, 0.4, name="blob")
    regions = known_sources(CRAB, extra=[far, blob], catalogs="bright")
    # nearer than 0.1 deg: one source, the user's name and place, the larger radius
    assert names(regions) == ["my Crab", "blob"]
    assert_allclose(radii_deg(regions), [0.3, 0.4])
    assert regions[0].meta["tag"] == ["bright"]
    assert blob.radius == 0.2 * u.deg


def fake_read(sources):
    return lambda tag: tuple(
        catalogs.CatalogSource(name, aliases, ra, 0.0, size, shape, (tag,))
        for name, aliases, ra, size, shape in sources[tag]
    )


def test_known_sources_cross_match(monkeypatch):
    sources = {
        "gamma-cat": [
            ("HESS J0001+000", ("SNR A",), 0.00, 0.2, "disk"),
            ("HESS J0002+000", ("MGRO X",), 1.00, 0.0, "point"),
            ("HESS J0003+000", ("MGRO X",), 1.30, 0.0, "point"),
        ],
        "hgps": [
            ("SNR A", (), 0.40, 0.3, "disk"),  # by name, 0.4 deg away
            ("other", (), 1.05, 0.0, "point"),  # by place
            ("HESS J0003+000", (), 2.00, 0.0, "point"),  # same name, too far
        ],
    }
    monkeypatch.setattr("gammapy_mimic.sources.known.read", fake_read(sources))
    regions = known_sources(SkyCoord(0, 0, unit="deg"), catalogs=("gamma-cat", "hgps"))
    assert names(regions) == [
        *("HESS J0001+000", "HESS J0002+000", "HESS J0003+000", "HESS J0003+000")
    ]
    assert_allclose([region.center.ra.deg for region in regions], [0, 1, 1.3, 2])
    # 0.3 + 0.3 deg of the other circle, 0.4 - 0.1 deg to reach it
    assert_allclose(radii_deg(regions), [0.9, 0.3, 0.3, 0.3])
    assert [region.meta["tag"] for region in regions] == [
        *(["gamma-cat", "hgps"], ["gamma-cat", "hgps"], ["gamma-cat"], ["hgps"])
    ]


def test_known_sources_of_several_catalogs(catalog_data):
    tags = ("gamma-cat", "hgps", "3hwc", "1LHAASO", "bright")
    regions = known_sources(CRAB, 0.5 * u.deg, catalogs=tags)
    assert names(regions).count("Crab nebula") == 1
    # centres further away than that: sources of LHAASO, wider than a degree
    assert all(region.meta["tag"] == ["1LHAASO"] for region in regions[1:])
    assert set(regions[0].meta["tag"]) == {"gamma-cat", "3hwc", "1LHAASO", "bright"}
    ls5039 = find_source("LS 5039").center
    regions = known_sources(ls5039, catalogs=("gamma-cat", "hgps"))
    assert names(regions).count("HESS J1825-137") == 1


@pytest.mark.parametrize(
    ("kwargs", "error", "match"),
    [
        (
            {"catalogs": "gammacat"},
            ValueError,
            "'gammacat' is not known; did you mean",
        ),
        ({"catalogs": ["tevcat"]}, ValueError, "Known are bright, gamma-cat, hgps"),
        ({"catalogs": ["1lhaaso"]}, ValueError, "did you mean '1LHAASO'"),
        ({"radius": 0 * u.deg}, ValueError, "radius = .*larger than 0"),
        ({"radius": 3}, ValueError, "radius = 3: must be an angle"),
        ({"theta": [1, 2] * u.deg}, ValueError, "theta = .*must be one angle"),
        ({"position": "Crab"}, TypeError, "must be SkyCoord or Observation"),
        ({"position": CRAB.reshape(1)}, TypeError, "must be SkyCoord or Observation"),
    ],
)
def test_known_sources_errors(kwargs, error, match):
    with pytest.raises(error, match=match):
        known_sources(**({"position": CRAB} | kwargs))


# ---- observations ----

SITE = EarthLocation(lat=-23.27 * u.deg, lon=16.5 * u.deg, height=1835 * u.m)


def observation(pointing, location=SITE):
    return Observation.create(
        pointing,
        location=location,
        obs_id=7,
        tstart=0 * u.s,
        livetime=1800 * u.s,
        reference_time=Time("2004-01-21T19:50:00"),
        irfs={},
    )


def test_known_sources_of_a_run(no_data, caplog):
    run = observation(FixedPointingInfo(fixed_icrs=CRAB))
    with caplog.at_level(logging.INFO):
        assert names(known_sources(run)) == ["Crab nebula"]
    assert "within 3 deg of run 7" in caplog.text


def test_known_sources_of_a_drifting_run(no_data):
    zenith = AltAz(alt=70 * u.deg, az=0 * u.deg)
    run = observation(FixedPointingInfo(fixed_altaz=zenith))
    # the sky turns by 7.5 deg in half an hour: sources along the track of right
    # ascension, 0.5 deg from start, middle and end, and one 2.4 deg beyond the end
    track = run.get_pointing_icrs(run.tstart + [0, 900, 1800, 2500] * u.s)
    extra = track.directional_offset_by(0 * u.deg, 0.5 * u.deg)
    regions = known_sources(run, 1 * u.deg, extra=extra, catalogs=())
    found = [region.center.ra.deg for region in regions]
    assert_allclose(np.sort(found), np.sort(extra[:3].ra.deg), atol=1e-9)


def test_known_sources_of_a_drifting_run_without_site():
    zenith = AltAz(alt=70 * u.deg, az=0 * u.deg)
    run = observation(FixedPointingInfo(fixed_altaz=zenith), location=None)
    with pytest.raises(ValueError, match="run 7 drifts but has no telescope location"):
        known_sources(run)


def test_off_runs_with_known_sources(hess_store, catalog_data):
    """Ten of the 45 off runs of H.E.S.S. DR1 have a gamma-cat source within 3 deg."""
    table = hess_store.obs_table
    off = table["OBS_ID"][table["TARGET_NAME"] == "Off data"]
    assert len(off) == 45
    found = {}
    for run in hess_store.get_observations(off, required_irf=[]):
        separations = {
            region.meta["name"]: region.center.separation(run.pointing.fixed_icrs).deg
            for region in known_sources(run)
        }
        if separations:
            found[run.obs_id] = separations
    # the shell of Westerlund 1 reaches into one more run; its centre is not in 3 deg
    assert found.pop(22022) == {"Westerlund 1": pytest.approx(3.67, abs=0.01)}
    ngc253 = {"NGC 253": pytest.approx(0.70, abs=0.01)}
    blazar = {"1ES 0414+009": pytest.approx(0.50, abs=0.01)}
    assert found == {
        20339: {
            "Centaurus A": pytest.approx(0.70, abs=0.01),
            "1ES 1312-423": pytest.approx(1.94, abs=0.01),
        },
        20734: {"SN 1006": pytest.approx(0.51, abs=0.01)},
        23143: {"PKS 0548-322": pytest.approx(0.50, abs=0.01)},
        23736: {
            "30 Dor C": pytest.approx(0.57, abs=0.01),
            "N 157B": pytest.approx(0.63, abs=0.01),
            "LMC N132D": pytest.approx(0.91, abs=0.01),
        },
        29024: ngc253,
        29072: ngc253,
        29118: ngc253,
        29177: blazar,
        29487: ngc253,
        29556: blazar,
    }


# ---- region files ----


@pytest.mark.parametrize("number", [0, 1, 3])
def test_region_file_round_trip(no_data, tmp_path, number):
    path = tmp_path / "sources.reg"
    given = parse_sources(["Crab", "Vela Jr", CRAB][:number], theta=THETA)
    write_regions(given, path)
    regions = read_regions(path)
    assert names(regions) == names(given)
    again = parse_sources(str(path), theta=1 * u.deg)
    assert names(again) == names(given)
    assert_allclose(radii_deg(again), radii_deg(given), atol=1e-9)
    for region, expected in zip(again, given, strict=True):
        assert region.center.separation(expected.center).deg < 1e-8
        assert region.meta.get("tag") == expected.meta.get("tag")


def test_region_file_other_shapes(tmp_path):
    path = tmp_path / "rings"
    ring = CircleAnnulusSkyRegion(
        CRAB, 0.2 * u.deg, 0.8 * u.deg, meta={"name": "ring 1"}
    )
    write_regions([ring, circle(frame="galactic")], path)
    regions = read_regions(path)
    assert regions[0].meta["name"] == "ring 1"
    assert "name" not in regions[1].meta
    assert ring.meta == {"name": "ring 1"}
    with pytest.raises(TypeError, match="CircleAnnulusSkyRegion: only circles"):
        parse_sources(path, theta=THETA)
    write_regions(ring, path, overwrite=True)
    assert len(read_regions(str(path))) == 1


def test_region_file_written_by_ds9(tmp_path):
    path = tmp_path / "ds9.reg"
    path.write_text(
        "# Region file format: DS9 version 4.1\n"
        "global color=green dashlist=8 3 width=1\n"
        "fk5\n"
        'circle(5:34:31.97,+22:00:52.1,1080.0") # text={Crab}\n'
        "galactic\n"
        "circle(184.5,-5.8,0.2) # color=red\n"
    )
    regions = parse_sources([path], theta=THETA)
    assert regions[0].meta["name"] == "Crab"
    assert regions[0].center.separation(CRAB).deg < 1e-3
    assert_allclose(radii_deg(regions), [0.3, 0.2])


@pytest.mark.parametrize(
    ("line", "error", "match"),
    [
        ("image; circle(10,20,5)", TypeError, "Source 0 is a CirclePixelRegion"),
        ("icrs; box(10,20,1,1,0)", TypeError, "Source 0 is a RectangleSkyRegion"),
        ("icrs; -circle(10,20,1)", ValueError, "Source 0 is an excluded region"),
    ],
)
def test_region_file_unusable(tmp_path, line, error, match):
    path = tmp_path / "bad.reg"
    path.write_text(f"# Region file format: DS9\n{line}\n")
    with pytest.raises(error, match=match):
        parse_sources(path, theta=THETA)


def test_region_file_errors(tmp_path):
    path = tmp_path / "a.reg"
    with pytest.raises(FileNotFoundError, match=r"a\.reg"):
        parse_sources(path, theta=THETA)
    write_regions([circle()], path)
    with pytest.raises(FileExistsError, match=r"a\.reg exists; use overwrite=True"):
        write_regions([circle()], path)
    with pytest.raises(TypeError, match="Only sky regions can be written"):
        write_regions([CirclePixelRegion(PixCoord(1, 2), 3)], tmp_path / "b.reg")
    with pytest.raises(ValueError, match="braces cannot be written"):
        write_regions([circle(name="a {b}")], tmp_path / "b.reg")
    assert not (tmp_path / "b.reg").exists()
