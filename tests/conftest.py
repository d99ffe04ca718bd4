"""Fixtures shared by all tests."""

import os
from pathlib import Path

import matplotlib as mpl
import pytest
from astropy.utils import iers
from hypothesis import settings

mpl.use("agg")
# astropy 6 would first ask the network for a table of the Earth's rotation
iers.conf.auto_download = False
# the same examples each time: a gate must not fail by chance
settings.register_profile("same", derandomize=True)
settings.load_profile("same")


def pytest_collection_modifyitems(items):
    """Mark tests that need data, so that they can be run alone."""
    for item in items:
        if "hess_store" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.data)


@pytest.fixture(scope="session")
def hess_store():
    """Data store of H.E.S.S. DL3 DR1; tests that ask for it skip without data."""
    from gammapy.data import DataStore

    folder = Path(os.environ.get("GAMMAPY_DATA", "/nonexistent")) / "hess-dl3-dr1"
    if not (folder / "hdu-index.fits.gz").exists():
        pytest.skip("needs H.E.S.S. DL3 DR1 in $GAMMAPY_DATA")
    return DataStore.from_dir(folder)
