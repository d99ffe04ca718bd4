"""Campaign of two targets and four donors on constructed runs."""

import yaml

TARGETS = (1, 2)
DONORS = (3, 4, 5)
FAR = 6  # too far from the targets in airmass
# OBJECT is what "where" selects by
OBJECTS = dict.fromkeys(TARGETS, "Crab") | dict.fromkeys((*DONORS, FAR), "Off data")


def settings(raw, out, **changes):
    mimic = {
        "donors": {"where": {"OBJECT": "Off data"}},
        "scramble": {
            "catalogs": [],
            # 0.8 deg from the pointing
            "also": [{"name": "blob", "lon": "83.63 deg", "lat": "22.3 deg"}],
        },
        "n_mimics": 2,
        "random_state": 7,
        "outdir": str(out),
    }
    return {
        "observations": {"datastore": str(raw), "obs_ids": list(TARGETS)},
        "datasets": {"type": "3d"},
        "mimic": {**mimic, **changes},
    }


def write_config(path, content):
    path.write_text(yaml.safe_dump(content))
    return path


def contents(out):
    """Bytes of all that belongs to the result."""
    return {
        str(path.relative_to(out)): path.read_bytes()
        for path in sorted(out.rglob("*"))
        if path.is_file()
        and ".campaign" not in path.parts
        and path.name != "config.yaml"
    }
