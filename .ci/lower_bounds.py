"""Print the lower bounds of pyproject.toml as constraints for pip.

Arguments, such as gammapy==2.1, stand in for the bounds of these packages.
"""

import re
import sys
import tomllib
from pathlib import Path

with (Path(__file__).parents[1] / "pyproject.toml").open("rb") as file:
    dependencies = tomllib.load(file)["project"]["dependencies"]
bounds = dict(re.match(r"([\w-]+)>=([\d.]+)", it).groups() for it in dependencies)
bounds |= dict(argument.split("==") for argument in sys.argv[1:])
sys.stdout.writelines(f"{name}=={version}\n" for name, version in bounds.items())
