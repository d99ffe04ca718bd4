"""Execute notebooks and keep their outputs, small enough for the repository.

    python docs/outputs.py notebooks/01_quickstart.ipynb

Whoever reads the documentation where it was built without data still sees them. What
differs from call to call (times, ids of tables, temporary folders) is taken out, and so
are progress bars; pictures get a palette.
"""

import base64
import io
import os
import re
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from PIL import Image

COLOURS = 64


def shrink(png):
    """Give a PNG, as base64 text, a palette."""
    image = Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB")
    buffer = io.BytesIO()
    image.quantize(COLOURS, dither=Image.Dither.NONE).save(buffer, "PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode()


def clean(text):
    """Take out what depends on machine and call."""
    data = os.environ.get("GAMMAPY_DATA")
    if data:
        text = text.replace(data, "$GAMMAPY_DATA")
    folder = re.escape(f"{tempfile.gettempdir()}/{tempfile.gettempprefix()}")
    text = re.sub(rf"{folder}\w+", "…", text)
    text = re.sub(r"\S+/site-packages/", "", text)
    # what a progress bar has overwritten, and its last state
    text = re.sub(r"[^\n]*\r(?!\n)", "", text.replace("\r\n", "\n"))
    text = re.sub(r"^\w+: +\d+%\|.*\n?", "", text, flags=re.MULTILINE)
    return re.sub(r'<table id="table\d+"', "<table", text)


def tidy_output(output):
    """Clean one output in place."""
    if "text" in output:
        output["text"] = clean(output["text"])
    for kind, content in output.get("data", {}).items():
        output["data"][kind] = (
            shrink(content) if kind == "image/png" else clean(content)
        )


def tidy(notebook):
    """Clean all outputs of a notebook in place."""
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            for output in cell.outputs:
                tidy_output(output)
            cell.outputs = [it for it in cell.outputs if it.get("text", "…")]


def tidy_file(path):
    """Clean the outputs of the notebook in a file."""
    notebook = nbformat.read(path, as_version=4)
    tidy(notebook)
    nbformat.write(notebook, path)


def store(path):
    """Execute a notebook and write it with its outputs."""
    notebook = nbformat.read(path, as_version=4)
    resources = {"metadata": {"path": str(path.parent)}}
    NotebookClient(notebook, timeout=3600, resources=resources).execute()
    tidy(notebook)
    nbformat.write(notebook, path)


if __name__ == "__main__":
    os.environ.pop("MPLBACKEND", None)
    for name in sys.argv[1:]:
        store(Path(name).resolve())
