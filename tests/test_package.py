"""What holds for the package as a whole."""

import importlib
import os
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


class TestUnusableRegions:
    """A version of regions with which gammapy itself cannot be imported."""

    @pytest.fixture
    def python(self, tmp_path, monkeypatch):
        """Run Python where regions lacks what gammapy needs of it."""
        (tmp_path / "regions").mkdir()
        (tmp_path / "regions" / "__init__.py").touch()
        path = [str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])]
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path))

        def run(*args):
            command = [sys.executable, *args]
            return subprocess.run(command, check=False, capture_output=True, text=True)

        return run

    def test_public_names_say_what_to_do(self, python):
        done = python("-c", "import gammapy_mimic; gammapy_mimic.MimicMaker")
        assert done.returncode == 1
        assert 'pip install "regions' in done.stderr.splitlines()[-1]

    def test_command_line(self, python, tmp_path):
        command = "-c", "from gammapy_mimic.cli import main; main()"
        done = python(*command, "--help")
        assert (done.returncode, done.stderr) == (0, "")
        done = python(*command, "check", str(tmp_path))
        assert done.returncode == 1
        assert done.stderr.startswith("Error: gammapy cannot be imported")
        assert done.stderr.count("\n") == 1

    def test_other_reasons_are_not_hidden(self, monkeypatch):
        def fail(name):
            raise ImportError("no module named numpy")

        monkeypatch.setattr(gammapy_mimic, "import_module", fail)
        with pytest.raises(ImportError, match=r"^no module named numpy$"):
            _ = gammapy_mimic.MimicMaker

    def test_no_version_is_asked_for(self, monkeypatch):
        """Gammapy's main branch works with regions 0.13."""
        monkeypatch.setattr("importlib.metadata.version", lambda name: "0.13")
        assert importlib.reload(gammapy_mimic).MimicMaker is not None


def test_import_does_not_load_gammapy():
    """So that the command line answers at once."""
    code = "import sys, gammapy_mimic.cli; sys.exit('gammapy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    code = "import sys, gammapy_mimic.mimic.maker; sys.exit('gammapy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 1
