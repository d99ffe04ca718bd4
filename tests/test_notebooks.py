"""Notebooks are kept with outputs that readers can see, and that fit a repository."""

import json
from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))


def outputs(path):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [output for cell in cells for output in cell.get("outputs", [])]


def texts(output):
    yield "".join(output.get("text", ""))
    data = output.get("data", {})
    yield from ("".join(data[kind]) for kind in data if kind != "image/png")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_stored_outputs_are_small_and_of_no_machine(path):
    assert path.stat().st_size < 300_000
    for output in outputs(path):
        assert output["output_type"] != "error"
        for text in texts(output):
            for trace in ("/tmp/", "/home/", "/site-packages/", "\r"):  # noqa: S108
                assert trace not in text


@pytest.mark.parametrize("name", ["01", "02", "03", "04"])
def test_pictures_are_stored(name):
    path = next(path for path in NOTEBOOKS if path.name.startswith(name))
    pictures = [it for it in outputs(path) if "image/png" in it.get("data", {})]
    assert len(pictures) >= 2
    # a figure that is only named is one that nobody sees
    unseen = [
        text
        for output in outputs(path)
        if "image/png" not in output.get("data", {})
        for text in texts(output)
        if text.startswith("<Figure size")
    ]
    assert not unseen
