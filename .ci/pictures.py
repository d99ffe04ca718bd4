"""Check that executed notebooks show pictures, each once: FOLDER.

A notebook without outputs (not executed, for want of data) is left out.
"""

import json
import sys
from collections import Counter
from pathlib import Path


def pictures(path):
    """Pictures of each cell of a notebook; None if it has not been executed."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    cells = [cell for cell in cells if cell["cell_type"] == "code"]
    if not any(cell["outputs"] for cell in cells):
        return None
    return [
        [
            it["data"]["image/png"]
            for it in cell["outputs"]
            if "image/png" in it.get("data", {})
        ]
        for cell in cells
    ]


def problems(path):
    """Say what is wrong with the pictures of a notebook."""
    found = pictures(path)
    if found is None:
        return
    if not any(found):
        yield f"{path}: no cell shows a picture"
    for number, shown in enumerate(found, start=1):
        if len(Counter(shown)) < len(shown):
            yield f"{path}: code cell {number} shows a picture twice"


def main(folder):
    """Print what is wrong; return the exit code."""
    found = [
        it for path in sorted(Path(folder).glob("*.ipynb")) for it in problems(path)
    ]
    sys.stderr.writelines(f"{line}\n" for line in found)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
