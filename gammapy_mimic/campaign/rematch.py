"""The pairs of a campaign: those that are there are kept until somebody asks."""

import hashlib
import json
import logging
from pathlib import Path

import numpy as np

from gammapy_mimic.campaign.inputs import other_files, source_files
from gammapy_mimic.campaign.reading import read_pairs
from gammapy_mimic.campaign.records import checksum, read_record, write_record
from gammapy_mimic.campaign.versions import program_version
from gammapy_mimic.config import ConfigError, expand
from gammapy_mimic.matching import DonorMatcher

__all__ = ["choose_pairs", "known_pairs", "note_inputs", "pairs_fingerprint"]

log = logging.getLogger(__name__)

_MAX_NAMED = 5


def choose_pairs(folder, found, *, rematch=False):
    """Choose between the pairs of an earlier call and those of today.

    Parameters
    ----------
    folder : `~gammapy_mimic.campaign.folder.CampaignFolder`
        Folder of the campaign.
    found : `~gammapy_mimic.matching.PairTable`
        Pairs as they are matched now: runs may have been added.
    rematch : bool, optional
        Whether those of today are to be taken. Default is False.

    Returns
    -------
    pairs : `~gammapy_mimic.matching.PairTable`
        Pairs to be made. Differences are logged.

    Raises
    ------
    ConfigError
        If the earlier ones cannot be read any more, or their runs are gone.
    """
    path = folder.path / "pairs.ecsv"
    if not path.exists():
        return found
    try:
        if folder.files.is_changed(path):
            raise ValueError(f"{path} is not as it was written")
        kept = read_pairs(path)
    except ValueError as error:
        if rematch:
            return found
        advice = "rematch (--rematch) makes new pairs"
        raise ConfigError([f"{error}: {advice}"]) from error
    changes = _changes(kept, found)
    if not changes:
        return found
    shown = "; ".join(changes[:_MAX_NAMED]) + ("; ..." if changes[_MAX_NAMED:] else "")
    if rematch:
        log.warning("%s: %d pairs change: %s", path, len(changes), shown)
        return found
    _check_runs(kept, found, path)
    log.warning(
        "%s is kept. Matched again, as rematch (--rematch) does, %d pairs would "
        "change: %s",
        path,
        len(changes),
        shown,
    )
    return kept


def pairs_fingerprint(config, stores):
    """Fingerprint of all that pairs are matched from.

    Parameters
    ----------
    config : `~gammapy_mimic.config.MimicAnalysisConfig`
        Configuration.
    stores : dict of str to `~gammapy.data.DataStore`
        Selected targets and donors.

    Returns
    -------
    fingerprint : str
        Of settings, program, index tables, catalogs, and of size and time of the files
        of the runs.
    """
    settings = config.to_dict()
    for key in ("outdir", "analyse", "random_state", "compress"):
        settings["mimic"].pop(key, None)
    described = [program_version(), settings, source_files(config.mimic)]
    described.append(other_files(config))
    bad_times = config.mimic.donors.bad_times
    if bad_times is not None:
        described.append(checksum(expand(bad_times, "mimic.donors.bad_times")))
    for store in stores.values():
        described += map(checksum, store.hdu_table.meta["INDEX_FILES"])
        described.append([int(it) for it in store.obs_table["OBS_ID"]])
        described.append(sorted(_file_states(store)))
    text = json.dumps(described, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def _file_states(store):
    """Name, size and time of change of the files of the runs of a store."""
    hdus, base = store.hdu_table, store.hdu_table.base_dir
    is_used = np.isin(hdus["OBS_ID"], store.obs_table["OBS_ID"])
    for name in {(str(a), str(b)) for a, b in hdus["FILE_DIR", "FILE_NAME"][is_used]}:
        path = Path(base, *name)
        if path.is_file():
            state = path.stat()
            yield str(path), state.st_size, state.st_mtime_ns


def known_pairs(folder, fingerprint):
    """Read the pairs of a folder, if they were matched from the same.

    Parameters
    ----------
    folder : `~gammapy_mimic.campaign.folder.CampaignFolder`
        Folder of the campaign.
    fingerprint : str
        As of `pairs_fingerprint`.

    Returns
    -------
    pairs : `~gammapy_mimic.matching.PairTable` or None
        Pairs, whose warnings are logged; None if they have to be matched.
    """
    path, record = folder.path / "pairs.ecsv", read_record(_note(folder))
    is_known = record is not None and record["fingerprint"] == fingerprint
    if not is_known or not path.is_file() or checksum(path) != record["sha256"]:
        return None
    pairs = read_pairs(path)
    log.info("%s is taken: it was matched from the same", path)
    for text in pairs.warnings:
        logging.getLogger(DonorMatcher.__module__).warning(text)
    return pairs


def note_inputs(folder, fingerprint):
    """Note from what the pairs that were just written were matched."""
    record = {
        "fingerprint": fingerprint,
        "sha256": checksum(folder.path / "pairs.ecsv"),
    }
    if read_record(_note(folder)) != record:
        write_record(_note(folder), record)


def _note(folder):
    return folder.state / "pairs_inputs.json"


def _changes(old, new):
    """Lines about pairs that differ."""
    old, new = _used(old), _used(new)
    return [
        f"mimic_{mimic_set:03d}, run {target}: "
        f"{_donor(old.get((mimic_set, target)))}, now "
        f"{_donor(new.get((mimic_set, target)))}"
        for mimic_set, target in sorted({*old, *new})
        if old.get((mimic_set, target)) != new.get((mimic_set, target))
    ]


def _donor(used):
    if used is None:
        return "no donor"
    names = (
        str(donor) if times is None else f"{donor} ({times[1]:.0f} - {times[2]:.0f} s)"
        for donor, times in used
    )
    return f"donor {', '.join(names)}"


def _used(pairs):
    """Donors, and their slices, for each set and target that has one."""
    donors = np.ma.asarray(pairs["DONOR_OBS_ID"])
    used: dict[tuple[int, int], list] = {}
    for row in np.flatnonzero(~np.ma.getmaskarray(donors)).tolist():
        part = pairs.part(row)
        key = int(pairs["MIMIC_SET"][row]), part.target_id
        used.setdefault(key, []).append((int(donors[row]), part.times_s))
    return used


def _check_runs(kept, found, path):
    """Raise an error if runs of pairs are no longer among those that are chosen."""
    pairs = _used(kept)
    donors = {donor for parts in pairs.values() for donor, _ in parts}
    used = {"targets": {target for _, target in pairs}, "donors": donors}
    for side, obs_ids in used.items():
        gone = sorted(obs_ids - {int(it) for it in getattr(found, side)["OBS_ID"]})
        if gone:
            names = ", ".join(map(str, gone))
            raise ConfigError(
                [
                    f"{path}: runs {names} are no longer among the {side}; rematch "
                    "(--rematch) makes new pairs, or take another mimic.outdir"
                ]
            )
