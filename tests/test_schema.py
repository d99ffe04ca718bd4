"""The JSON schema: what is valid by it, and that every key is described."""

import json

import pytest
import yaml
from click.testing import CliRunner

from gammapy_mimic.cli import main
from gammapy_mimic.config import MimicAnalysisConfig, json_schema, template
from gammapy_mimic.config.template import _SECTION

jsonschema = pytest.importorskip("jsonschema")

FULL = """
observations: {datastore: runs, obs_ids: [1, 2], obs_time: {start: "2019-12-01"}}
datasets:
    type: 1d
    on_region: {frame: icrs, lon: 83.6 deg, lat: 22 deg, radius: 0.1 deg}
    geom: {axes: {energy: {min: 0.7 TeV, max: 20 TeV, nbins: 8}}}
mimic:
    donors: {datastore: [a, b], where: {ZEN_PNT: {min: 3}}, obs_ids: [4]}
    match: {airmass: null, azimuth: 30 deg, ontime: 10%, relax: [azimuth, {nsb: 2}]}
    scramble: {catalogs: [gamma-cat], theta: psf, also:
        [{name: mine, lon: 83.1 deg, lat: 21.2 deg, radius: 0.4 deg}]}
    location: {lon: -70.3 deg, lat: -24.7 deg, height: 2150 m}
    analyse: {steps: [fit], inject: {models: a.yaml, scales: [0.5, 1]}}
"""


@pytest.fixture(scope="module")
def validator():
    return jsonschema.Draft202012Validator(json_schema())


def test_is_a_schema(validator):
    validator.check_schema(json_schema())


@pytest.mark.parametrize("text", [template(), _SECTION, FULL, "{}"])
def test_valid(validator, text):
    MimicAnalysisConfig.from_yaml(text)
    assert list(validator.iter_errors(yaml.safe_load(text))) == []


def test_what_is_written_is_valid(validator):
    settings = MimicAnalysisConfig.from_yaml(FULL).to_dict()
    assert list(validator.iter_errors(settings)) == []


@pytest.mark.parametrize(
    "text",
    [
        "mimic: {n_mimic: 2}",
        "mimic: {n_mimics: two}",
        "mimic: {n_mimics: 0}",
        "mimic: {match: {azimuth: 45}}",
        "mimic: {match: {ontime: 10 deg}}",
        "mimic: {match: {nsb: -1}}",
        "mimic: {alignment: sky}",
        "datasets: {type: 2d}",
        "observation: {}",
    ],
)
def test_mistakes(validator, text):
    """Negative control."""
    assert not validator.is_valid(yaml.safe_load(text))


OWN = ["Mimic", "Donors", "Match", "Scramble", "Source", "Analyse", "Inject"]


def keys(schema):
    """Keys of all sections of this package, with their schemas."""
    for name in OWN:
        yield from schema["$defs"][f"{name}Config"]["properties"].items()


def test_keys_are_described():
    lacking = [name for name, key in keys(json_schema()) if "description" not in key]
    assert lacking == []
    texts = [key["description"] for _, key in keys(json_schema())]
    assert not [text for text in texts if "`" in text or "\n" in text]


def test_command(tmp_path):
    printed = CliRunner().invoke(main, ["schema"])
    assert json.loads(printed.output) == json_schema()
    path = tmp_path / "mimic.schema.json"
    done = CliRunner().invoke(main, ["schema", "--out", str(path)])
    assert done.exit_code == 0
    assert path.read_text() == printed.output
    assert f"$schema={path.name}" in template()
