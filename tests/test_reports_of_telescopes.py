"""Campaigns and reports of runs of other telescopes, as they are published."""

import json
import os
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from gammapy_mimic.cli import main

DATA = Path(os.environ.get("GAMMAPY_DATA", "/nonexistent"))
AXES = {
    "energy": {"min": "0.2 TeV", "max": "10 TeV", "nbins": 4},
    "energy_true": {"min": "0.05 TeV", "max": "30 TeV", "nbins": 10},
}
MAGIC = {
    "observations": {
        "datastore": "$GAMMAPY_DATA/magic/rad_max/data",
        "obs_ids": [5029747],
        "required_irf": ["aeff", "edisp"],
    },
    "datasets": {
        "type": "1d",
        "geom": {"axes": AXES},
        "on_region": {"frame": "icrs", "lon": "83.633 deg", "lat": "22.014 deg"},
        "containment_correction": False,
        "background": {"method": "reflected"},
    },
    "mimic": {
        "donors": {"obs_ids": [5029748]},
        "match": {
            "azimuth": None,
            "effective_area": None,
            "relax": ["airmass", "ontime"],
        },
    },
}
CTA = {
    "observations": {
        "datastore": "$GAMMAPY_DATA/cta-1dc/index/gps",
        "obs_ids": [110380],
    },
    "datasets": {
        "type": "3d",
        "geom": {
            "axes": AXES,
            "wcs": {
                "skydir": {"frame": "galactic", "lon": "0 deg", "lat": "0.5 deg"},
                "binsize": "0.1 deg",
                "width": {"width": "5 deg", "height": "5 deg"},
            },
        },
        "background": {"method": "fov_background"},
    },
    # the site in their headers is wrong
    "mimic": {
        "donors": {"obs_ids": [111140]},
        "alignment": "radec",
        "match": {"azimuth": None, "airmass": None, "effective_area": None},
    },
}


@pytest.mark.data
# gammapy reads the background of CTA-1DC
@pytest.mark.filterwarnings("ignore:.*did not parse as fits unit")
@pytest.mark.parametrize(
    ("content", "kind", "said"),
    [
        (MAGIC, "on_off", "one set has no spread"),
        # known sources are all around
        (CTA, "local", "no mimic set has both counts and a background ring there"),
    ],
)
def test_campaign_and_report(content, kind, said, tmp_path):
    if not DATA.joinpath(*content["observations"]["datastore"].split("/")[1:]).exists():
        pytest.skip("needs their data in $GAMMAPY_DATA")
    path = tmp_path / "own.yaml"
    path.write_text(yaml.safe_dump(content))
    mimics = tmp_path / "mimics"
    for command in (["run", path], ["check", mimics], ["report", mimics]):
        done = CliRunner().invoke(main, [str(word) for word in command])
        assert done.exit_code == 0, done.output
    report = json.loads((mimics / "report.json").read_text())
    assert report["blinded"]
    assert report[kind]
    page = (mimics / "report.html").read_text()
    assert "nothing can be said of the systematic error" in page
    assert said in page
