"""Check of a campaign's folder: whether all it wrote is there, and as it was."""

import numpy as np

from gammapy_mimic.campaign.folder import CampaignFolder
from gammapy_mimic.campaign.reading import read_pairs, read_provenance
from gammapy_mimic.campaign.records import read_record
from gammapy_mimic.checks.findings import Report, error, warning
from gammapy_mimic.config import MimicAnalysisConfig
from gammapy_mimic.config.checking import parse_yaml
from gammapy_mimic.io.ecsv import read_ecsv

__all__ = ["check_campaign", "is_campaign"]


def _read_config(path):
    """Read a configuration; a campaign writes it with all its settings."""
    settings = parse_yaml(path.read_text(encoding="utf-8"), str(path))
    if "mimic" not in settings:
        raise ValueError(f"{path} has no section 'mimic': it is not whole")
    return MimicAnalysisConfig.read(path)


_READERS = {
    "config.yaml": _read_config,
    "pairs.ecsv": read_pairs,
    "rejected.ecsv": read_ecsv,
    "provenance.yaml": read_provenance,
}
_AGAIN = "gammapy-mimic run makes it again"


def is_campaign(path):
    """Whether a folder holds anything that only a campaign writes.

    Parameters
    ----------
    path : `~pathlib.Path`
        Folder.

    Returns
    -------
    is_campaign : bool
        False for a data store by itself.
    """
    return any((path / name).exists() for name in (".campaign", *_READERS))


def check_campaign(path):
    """Check the files of a campaign, except the contents of its data stores.

    Parameters
    ----------
    path : `~pathlib.Path`
        Folder of the campaign.

    Returns
    -------
    findings : `~astropy.table.Table`
        As of `~gammapy_mimic.check_datastore`; no rows if all is well.
    """
    folder, report = CampaignFolder(path), Report()
    found = {
        name: _attempt(report, read, path / name, file=name)
        for name, read in _READERS.items()
    }
    if found["pairs.ecsv"] is not None:
        _check_mimics(folder, found["pairs.ecsv"], report)
    left = _attempt(report, lambda: list(folder.temporary()))
    for file in left or ():
        finding = warning("FILE", "Left by a process that was killed, or is at work")
        report.add([finding], file=str(file.relative_to(path)))
    return report.table()


def _attempt(report, function, *args, **place):
    """Call a function; None, and a finding, if something cannot be read."""
    try:
        return function(*args)
    except FileNotFoundError:
        report.add([error("FILE", "The file is missing")], **place)
    except (OSError, ValueError) as exception:
        report.add([error("FILE", " ".join(str(exception).split()))], **place)
    return None


def _check_mimics(folder, pairs, report):
    """Check files and records of all pairs."""
    for mimic_set in range(pairs.n_sets):
        chosen = pairs.has_donor & (pairs["MIMIC_SET"] == mimic_set)
        targets = [pairs.part(row).obs_id for row in np.flatnonzero(chosen)]
        store = folder.store_path(mimic_set)
        if not targets:
            continue
        if not store.is_dir():
            finding = error("FILE", f"The mimic set is missing; {_AGAIN}")
            report.add([finding], file=store.name)
            continue
        name = f"{store.name}/analysis.yaml"
        _attempt(report, MimicAnalysisConfig.read, store / "analysis.yaml", file=name)
        for target in targets:
            place = {"obs_id": target, "file": store.name}
            finding = _attempt(report, _check_mimic, folder, mimic_set, target, **place)
            if finding is not None:
                report.add([finding], **place)


def _check_mimic(folder, mimic_set, target):
    """Find what is wrong with the mimic of a target; None if all is well."""
    record = read_record(folder.record_path(mimic_set, target))
    if record is None:
        return error("RECORD", f"There is no mimic, or no whole record of it; {_AGAIN}")
    if not folder.holds(mimic_set, record):
        text = (
            f"{record['file']} is missing or was changed after it was written; {_AGAIN}"
        )
        return error("SHA256", text)
    return None
