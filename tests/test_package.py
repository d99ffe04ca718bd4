"""What holds for the package as a whole."""

import importlib
import subprocess
import sys

import pytest

import gammapy_mimic


def test_public_names_exist():
    for name in gammapy_mimic.__all__:
        assert getattr(gammapy_mimic, name) is not None
    assert set(gammapy_mimic.__all__) <= set(dir(gammapy_mimic))
    with pytest.raises(AttributeError, match="no attribute 'MimicMake'"):
        _ = gammapy_mimic.MimicMake


def test_unusable_regions_version_is_refused(monkeypatch):
    monkeypatch.setattr("importlib.metadata.version", lambda name: "0.12.1")
    with pytest.raises(ImportError, match='pip install "regions'):
        importlib.reload(gammapy_mimic)
    monkeypatch.undo()
    importlib.reload(gammapy_mimic)


def test_import_does_not_load_gammapy():
    """So that the command line answers at once."""
    code = "import sys, gammapy_mimic.cli; sys.exit('gammapy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    code = "import sys, gammapy_mimic.mimic.maker; sys.exit('gammapy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 1
