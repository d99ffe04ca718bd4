"""Fixtures shared by all tests."""

import gc
import os
import shutil
import signal
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import pytest
import yaml
from astropy import units as u
from astropy.utils import iers
from helpers.campaigns import OBJECTS, settings
from helpers.faults import campaign_in
from helpers.headers import read_quickly
from helpers.runs import POINTING, write_raw
from hypothesis import settings as hypothesis_settings

mpl.use("agg")
# astropy 6 would first ask the network for a table of the Earth's rotation
iers.conf.auto_download = False
read_quickly()
# a shell ignores Ctrl-C for what it runs in the background; tests send it
signal.signal(signal.SIGINT, signal.default_int_handler)
# the same examples each time: a gate must not fail by chance
hypothesis_settings.register_profile("same", derandomize=True)
hypothesis_settings.load_profile("same")


def pytest_collection_modifyitems(items):
    """Mark tests that need data, so that they can be run alone."""
    for item in items:
        if "hess_store" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.data)


def pytest_collection_finish():
    """Take what is imported for good, so that it is not searched for garbage."""
    gc.freeze()


@pytest.fixture(autouse=True)
def _close_figures():
    """Forget the figures of a test, of which pyplot warns when they are many."""
    yield
    plt.close("all")


@pytest.fixture(scope="session")
def hess_store():
    """Data store of H.E.S.S. DL3 DR1; tests that ask for it skip without data."""
    from gammapy.data import DataStore

    folder = Path(os.environ.get("GAMMAPY_DATA", "/nonexistent")) / "hess-dl3-dr1"
    if not (folder / "hdu-index.fits.gz").exists():
        pytest.skip("needs H.E.S.S. DL3 DR1 in $GAMMAPY_DATA")
    return DataStore.from_dir(folder)


@pytest.fixture(scope="session")
def tiny_store(tmp_path_factory):
    """Data store of five short runs; not to be changed."""
    return write_raw(["full"] * 5, tmp_path_factory.mktemp("tiny"), n_events=30)


@pytest.fixture
def tiny(tiny_store, tmp_path):
    """Campaign of two targets and three donors, whose files may be damaged."""
    return campaign_in(tmp_path, Path(shutil.copytree(tiny_store, tmp_path / "raw")))


@pytest.fixture(scope="session")
def tiny_reference(tiny_store, tmp_path_factory):
    """Output folder of the same campaign, which nobody has disturbed."""
    from gammapy_mimic import MimicCampaign

    campaign = campaign_in(tmp_path_factory.mktemp("reference"), tiny_store)
    assert MimicCampaign.from_yaml(campaign.config).run().complete
    return campaign.out


@pytest.fixture
def made(tiny, tiny_reference):
    """The campaign `tiny`, done; its files may be damaged."""
    shutil.copytree(tiny_reference, tiny.out)
    config = tiny.out / "config.yaml"
    content = yaml.safe_load(config.read_text())
    content["observations"]["datastore"] = str(tiny.store)
    config.write_text(yaml.safe_dump(content))
    return tiny


@pytest.fixture(scope="session")
def raw(tmp_path_factory):
    """Store with two targets and four donors, one of which fits no target."""
    runs = [
        {"obs_id": i, "header": {"OBJECT": name}, "n_events": 60}
        for i, name in OBJECTS.items()
    ]
    # 41 deg of altitude for the others; 20 deg less is an airmass of 2.8, not 1.5
    runs[-1]["pointing"] = POINTING.directional_offset_by(0 * u.deg, 20 * u.deg)
    return write_raw(["full"] * len(runs), tmp_path_factory.mktemp("raw"), runs=runs)


@pytest.fixture(scope="session")
def reference(raw, tmp_path_factory):
    """Campaign that nobody has disturbed."""
    from gammapy_mimic import MimicCampaign

    out = tmp_path_factory.mktemp("reference") / "out"
    result = MimicCampaign(settings(raw, out)).run()
    assert result.complete
    return out


@pytest.fixture
def source_warnings():
    """Ask for the warnings of sources in donors; see `few_warnings`."""


@pytest.fixture(autouse=True)
def few_warnings(request, monkeypatch):
    """Constructed runs all look at the Crab Nebula, of which few tests want to hear."""
    if "source_warnings" not in request.fixturenames:
        name = "gammapy_mimic.mimic.maker.sources_of_pair"
        monkeypatch.setattr(name, lambda *_: [])
