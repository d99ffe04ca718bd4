"""Link what other projects document, without their inventories (no network needed).

Their pages are named after the objects. An object that cannot be imported is a broken
reference, and Sphinx says so.
"""

import functools
import re
from importlib import import_module

from docutils import nodes
from sphinx.util.nodes import make_refnode

_PAGES = {
    "gammapy": "https://docs.gammapy.org/2.1/api/{page}.html#{name}",
    "astropy": "https://docs.astropy.org/en/stable/api/{page}.html#{name}",
    "regions": "https://astropy-regions.readthedocs.io/en/stable/api/{page}.html#{name}",
    "numpy.random": "https://numpy.org/doc/stable/reference/random/index.html",
    "numpy": "https://numpy.org/doc/stable/reference/generated/{page}.html",
    "scipy": "https://docs.scipy.org/doc/scipy/reference/generated/{page}.html",
    "matplotlib": "https://matplotlib.org/stable/api/_as_gen/{page}.html#{name}",
    "pathlib": "https://docs.python.org/3/library/pathlib.html#{name}",
}


@functools.cache
def find(name):
    """Find what a dotted name stands for, or None."""
    module, _, attribute = name.rpartition(".")
    while module:
        try:
            found = import_module(module)
        except ImportError:
            module, _, last = module.rpartition(".")
            attribute = f"{last}.{attribute}"
            continue
        for part in attribute.split("."):
            found = getattr(found, part, None)
        return found
    return None


def elsewhere(name, pattern, content):
    """Link an object of another project."""
    # a method is on the page of its class
    page = re.sub(r"(\.[A-Z]\w*)\.\w+$", r"\1", name)
    uri = pattern.format(page=page, name=name)
    return nodes.reference("", "", content, internal=False, refuri=uri, reftitle=name)


def here(env, node, content):
    """Link an object of this package that has its page under another name."""
    scope, name = node.get("py:module") or "", node["reftarget"]
    found = find(name) or find(f"{scope}.{name}")
    if found is None:
        return None
    for known, entry in env.domaindata["py"]["objects"].items():
        if find(known) is found:
            builder = env.app.builder
            source = env.docname
            return make_refnode(builder, source, entry.docname, known, content, known)
    # internal: it exists, but has no page
    return content


def link(_app, env, node, content):
    """Resolve a reference that Sphinx did not find; None is a broken one."""
    name = node["reftarget"]
    for project, pattern in _PAGES.items():
        if name.startswith(f"{project}."):
            return None if find(name) is None else elsewhere(name, pattern, content)
    return here(env, node, content)


def setup(app):
    """Connect to Sphinx."""
    app.connect("missing-reference", link)
    return {"parallel_read_safe": True}
