"""Read what a campaign has written; errors name the file."""

from pathlib import Path

from gammapy_mimic.config.checking import parse_yaml
from gammapy_mimic.io.ecsv import read_ecsv
from gammapy_mimic.io.files import error_context
from gammapy_mimic.matching import PairTable

__all__ = ["mimic_files", "read_pairs", "read_provenance"]

_PAIR_COLUMNS = ("TARGET_OBS_ID", "DONOR_OBS_ID", "MIMIC_SET")
_PROVENANCE = {"made_with": list, "mimic_sets": (dict, type(None))}


def read_pairs(path):
    """Read ``pairs.ecsv``.

    Parameters
    ----------
    path : `~pathlib.Path`
        File.

    Returns
    -------
    pairs : `~gammapy_mimic.matching.PairTable`
        Pairs, with a row for each target and set.

    Raises
    ------
    OSError
        If the file cannot be opened.
    ValueError
        If it is broken.
    """
    pairs = read_ecsv(path, PairTable)
    absent = [name for name in _PAIR_COLUMNS if name not in pairs.colnames]
    if absent:
        raise ValueError(
            f"{path} is not a table of pairs: no column {', '.join(absent)}"
        )
    with error_context(f"{path}: its metadata"):
        number = pairs.n_sets * len(pairs.targets)
        # of a target that is filled there may be several rows
        keys = {*zip(pairs["MIMIC_SET"], pairs["TARGET_OBS_ID"], strict=True)}
        # both are needed for the summary and the cut flow
        pairs.cut_flow  # noqa: B018
    if len(keys) != number or (len(pairs) > number and not pairs.meta.get("fill")):
        raise ValueError(f"{path} has {len(pairs)} rows, not {number}: it is not whole")
    return pairs


def read_provenance(path):
    """Read ``provenance.yaml``.

    Parameters
    ----------
    path : `~pathlib.Path`
        File.

    Returns
    -------
    provenance : dict
        Content.

    Raises
    ------
    OSError
        If the file cannot be opened.
    ValueError
        If it is broken.
    """
    content = Path(path).read_bytes()
    with error_context(str(path)):
        provenance = parse_yaml(content.decode("utf-8"), "provenance")
        wrong = [
            key
            for key, kind in _PROVENANCE.items()
            if key not in provenance or not isinstance(provenance[key], kind)
        ]
        if wrong:
            raise ValueError(f"no {', '.join(wrong)} as a campaign writes it")
        list(mimic_files(provenance))
    return provenance


def mimic_files(provenance):
    """List the files of the mimics.

    Parameters
    ----------
    provenance : dict
        As read from ``provenance.yaml``.

    Yields
    ------
    mimic_set, file, sha256 : str
        Names of folder and file, and the checksum with which it was written.
    """
    for name, runs in (provenance["mimic_sets"] or {}).items():
        for run in runs.values():
            yield str(name), str(run["file"]), str(run["sha256"])
