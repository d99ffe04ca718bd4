"""Configuration of Sphinx."""

import os
import shutil
from pathlib import Path

import gammapy_mimic

HERE = Path(__file__).parent

# Sphinx wants its sources in one folder; the notebooks live beside it
shutil.rmtree(HERE / "notebooks", ignore_errors=True)
shutil.copytree(
    HERE.parent / "notebooks",
    HERE / "notebooks",
    ignore=shutil.ignore_patterns(".ipynb_checkpoints"),
)

project = "gammapy_mimic"
author = "The gammapy_mimic developers"
project_copyright = "The gammapy_mimic developers"
version = release = gammapy_mimic.__version__

extensions = [
    "myst_nb",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx-mathjax-offline",
    "sphinx.ext.viewcode",
    "sphinx_click",
]
# the other projects' inventories need the network
if os.environ.get("DOCS_LINKS"):
    extensions.append("sphinx.ext.intersphinx")
    intersphinx_mapping = {
        "python": ("https://docs.python.org/3", None),
        "numpy": ("https://numpy.org/doc/stable", None),
        "astropy": ("https://docs.astropy.org/en/stable", None),
        "regions": ("https://astropy-regions.readthedocs.io/en/stable", None),
        "gammapy": ("https://docs.gammapy.org/2.1", None),
    }

exclude_patterns = ["_build", "**.ipynb_checkpoints"]
default_role = "any" if os.environ.get("DOCS_LINKS") else None
myst_enable_extensions = ["dollarmath", "deflist", "colon_fence"]
myst_heading_anchors = 3

# notebooks are executed by the tests, and shown as they are
nb_execution_mode = "off"
nb_merge_streams = True

autosummary_generate = True
autodoc_member_order = "bysource"
numpydoc_show_class_members = False

templates_path = ["_templates"]
html_theme = "pydata_sphinx_theme"
html_title = f"gammapy_mimic {version}"
html_static_path = ["_static"]
html_theme_options = {
    "navigation_with_keys": False,
    "show_toc_level": 2,
    "header_links_before_dropdown": 6,
}
html_sidebars = {"index": []}
