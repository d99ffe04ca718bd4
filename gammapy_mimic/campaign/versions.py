"""What a mimic was made with."""

import functools
import platform
import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path

import gammapy_mimic

__all__ = ["program_version", "versions"]

_LIBRARIES = ("gammapy", "astropy", "numpy", "scipy", "regions")


@functools.cache
def program_version():
    """Version of this package, with the git commit if it runs from a work tree.

    Returns
    -------
    version : str
        Such as "0.1.0", or "0.1.0+g396fd49c0ffe", with "-dirty" where files of the
        work tree have been changed.
    """
    folder = Path(gammapy_mimic.__file__).parents[1]
    git = shutil.which("git")
    if git is None or not (folder / ".git").exists():
        return gammapy_mimic.__version__
    command = [git, "-C", str(folder), "describe", "--always", "--dirty", "--exclude=*"]
    result = subprocess.run(  # noqa: S603
        [*command, "--abbrev=12"], capture_output=True, text=True, check=False
    )
    commit = result.stdout.strip()
    return gammapy_mimic.__version__ + (f"+g{commit}" if commit else "")


@functools.cache
def versions():
    """Versions of this package, of Python and of the libraries that it stands on.

    Returns
    -------
    versions : dict of str to str
        Version for each name.
    """
    return {
        "gammapy_mimic": program_version(),
        "python": platform.python_version(),
        **{name: version(name) for name in _LIBRARIES},
    }
