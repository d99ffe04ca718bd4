"""Build source distribution and wheel, and try them: FOLDER PYTHON.

The wheel is built from the source distribution, installed where PYTHON is, which has
all that it needs, and makes the demonstration.
"""

import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
IN_SOURCE = ("docs/index.md", "notebooks/01_quickstart.ipynb", "tests/conftest.py")
IN_WHEEL = ("gammapy_mimic/py.typed", "gammapy_mimic/__main__.py")


def run(*command, **options):
    """Run a command; an error ends all."""
    subprocess.run([str(it) for it in command], check=True, **options)  # noqa: S603


def check_names(names, wanted):
    """Raise an error for files that a distribution lacks."""
    lacking = [it for it in wanted if not any(name.endswith(it) for name in names)]
    if lacking:
        raise SystemExit(f"the distribution lacks {lacking}")


def main(folder, python):
    """Build and try."""
    folder = Path(folder).absolute()
    # the wheel comes from the source distribution, unpacked
    run(sys.executable, "-m", "build", "--outdir", folder, ROOT)
    (source,), (wheel,) = folder.glob("*.tar.gz"), folder.glob("*.whl")
    with tarfile.open(source) as archive:
        check_names(archive.getnames(), IN_SOURCE)
    with zipfile.ZipFile(wheel) as archive:
        check_names(archive.namelist(), IN_WHEEL)
        (metadata,) = (it for it in archive.namelist() if it.endswith("/METADATA"))
        if b"](docs/" in archive.read(metadata):
            raise SystemExit("the description has relative links")
    pip = (python, "-m", "pip", "install", "-q", "--force-reinstall", "--no-deps")
    run(*pip, wheel)
    # what its metadata ask for is there
    run(python, "-m", "pip", "check")
    with tempfile.TemporaryDirectory() as place:
        run(Path(python).with_name("gammapy-mimic"), "demo", cwd=place)
        command = (python, "-m", "gammapy_mimic")
        run(*command, "check", "mimic-demo/mimics", cwd=place)


if __name__ == "__main__":
    main(*sys.argv[1:])
