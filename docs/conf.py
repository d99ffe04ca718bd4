"""Configuration of Sphinx."""

import shutil
import sys
from pathlib import Path

import gammapy_mimic

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import keys  # noqa: E402
import outputs  # noqa: E402

keys.write(HERE / "keys.md")

# Sphinx wants its sources in one folder; the notebooks live beside it
shutil.rmtree(HERE / "notebooks", ignore_errors=True)
shutil.copytree(
    HERE.parent / "notebooks",
    HERE / "notebooks",
    ignore=shutil.ignore_patterns(".ipynb_checkpoints"),
)
for path in (HERE / "notebooks").glob("*.ipynb"):
    outputs.tidy_file(path)

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
    "links",
]
exclude_patterns = ["_build", "**.ipynb_checkpoints"]
# a name in single quotes is a link, and one that leads nowhere is an error
default_role = "py:obj"
nitpicky = True
myst_enable_extensions = ["attrs_inline", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

# notebooks are executed by the tests, and shown as they are
nb_execution_mode = "off"
nb_merge_streams = True

autosummary_generate = True
autodoc_member_order = "bysource"
# they are in the descriptions of the parameters, with units and shapes
autodoc_typehints = "none"
numpydoc_show_class_members = False

templates_path = ["_templates"]
html_theme = "pydata_sphinx_theme"
html_title = f"gammapy_mimic {version}"
html_static_path = ["_static"]
html_css_files = ["mimic.css"]
html_theme_options = {
    "navigation_with_keys": False,
    "show_toc_level": 2,
    "header_links_before_dropdown": 7,
}
# without pages beside them
_ALONE = "index install gallery keys misleading migration performance stability"
html_sidebars = {page: [] for page in [*_ALONE.split(), "changelog"]}
