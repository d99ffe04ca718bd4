"""HDUs of the instrument response functions of a run."""

from dataclasses import dataclass

from astropy import units as u
from gammapy.irf import FoVAlignment, ParametricPSF

from gammapy_mimic.checks.standard import COLUMN_ALIASES
from gammapy_mimic.data import compat
from gammapy_mimic.io.gadf import HDUDOC, HDUVERS
from gammapy_mimic.io.header import changed_header, read_cards
from gammapy_mimic.io.tables import table_content

__all__ = ["OutputHDU", "irf_hdus"]

_OLD_NAMES = {old: name for name, old in COLUMN_ALIASES.items()}

_BACKGROUND_COLUMNS = ("BKG", "BGD")

_BACKGROUND_UNIT = "s-1 MeV-1 sr-1"
"""What gammapy takes where the unit of a background model cannot be read."""


@dataclass(frozen=True)
class OutputHDU:
    """An HDU as it goes into the file, and its entry in the HDU index."""

    name: str
    hdu_type: str
    hdu_class: str
    content: tuple
    """Header and data."""


def irf_hdus(observation, *, obs_id, is_mirrored):
    """Make the HDUs of all IRFs that a run has.

    Parameters
    ----------
    observation : `~gammapy.data.Observation`
        Observation.
    obs_id : int
        OBS_ID of the cards that have one.
    is_mirrored : bool
        Whether the EVENTS header makes gammapy mirror the background on reading.

    Returns
    -------
    hdus : list of `OutputHDU`
        HDUs. IRFs that were never loaded are copied from their files.
    """
    rad_max = compat.fixed_rad_max(observation)
    fixed = {} if rad_max is None else {"RAD_MAX": rad_max}
    hdus = []
    for name, irf in compat.irfs(observation).items():
        if irf is None or (name == "rad_max" and fixed):
            continue
        used = {hdu.name.upper() for hdu in hdus} | {"EVENTS", "GTI"}
        cards = fixed if name in ("aeff", "edisp") else {}
        if name == "bkg":
            irf = _background(observation, irf, is_mirrored=is_mirrored)
            cards = {"FOVALIGN": _written_alignment(observation, irf)}
        if isinstance(irf, compat.FileLocation):
            hdus.append(_copied(name, irf, _find(irf, obs_id), cards, obs_id, used))
        else:
            hdus.append(_encoded(name, irf, cards, obs_id, used))
    return hdus


def _background(observation, irf, *, is_mirrored):
    """Background model, or its place, with the alignment that the file is to have."""
    reverse = FoVAlignment.REVERSE_LON_RADEC
    if is_mirrored or compat.background_alignment(observation) != reverse:
        return irf
    return compat.mirrored(observation)


def _written_alignment(observation, irf):
    """FOVALIGN of the file; a mirrored model is RADEC there, gammapy mirrors it."""
    alignment = compat.background_alignment(observation)
    if alignment is None and isinstance(irf, compat.FileLocation):
        return _find(irf, observation.obs_id).header.get("FOVALIGN", "RADEC")
    if alignment is None:
        alignment = irf.fov_alignment
    return alignment.value.removeprefix("REVERSE_LON_")


def _find(location, obs_id):
    """HDU of a location, or an error that names the run."""
    try:
        return location.hdu()
    except KeyError as error:
        raise ValueError(
            f"OBS_ID {obs_id}: {location.path()} has no HDU {location.hdu_name!r}, "
            "although its index says so; correct the index"
        ) from error


def _copied(name, location, hdu, cards, obs_id, used):
    """HDU copied from a file, with as few cards changed as possible."""
    hdu_class = location.hdu_class
    changes = _corrections(hdu, hdu_class, obs_id)
    if "OBS_ID" in hdu.header:
        changes["OBS_ID"] = obs_id
    if isinstance(hdu.header.get("RAD_MAX"), int):
        changes["RAD_MAX"] = float(hdu.header["RAD_MAX"])
    changes |= location.keywords | cards
    extname = str(hdu.header.get("EXTNAME", ""))
    if not extname or extname.upper() in used:
        extname = changes["EXTNAME"] = _free_name(hdu_class, used)
    return OutputHDU(extname, name, hdu_class, (_changed(hdu, changes), hdu.data))


def _corrections(hdu, hdu_class, obs_id):
    """Cards by which an HDU says in GADF's words what gammapy takes it for.

    IRFs of CTA-1DC have HDUCLASS 'OGIP', HDUCLAS4 '2D', columns of older names, and a
    unit that cannot be read.
    """
    old, keywords = hdu.header, _class_keywords(hdu_class, obs_id)
    changes = {key: keywords[key] for key in keywords if key not in old}
    said = {key: str(old.get(key, "")).strip().upper() for key in keywords}
    if said["HDUCLASS"] != "GADF":
        changes |= {key: keywords[key] for key in ("HDUCLASS", "HDUDOC")}
    for key in ("HDUCLAS1", "HDUCLAS2", "HDUCLAS4"):
        # the PSF of some files has the name that GADF gives elsewhere
        if said[key] not in (keywords[key], keywords[key].removeprefix("R")):
            changes[key] = keywords[key]
    if not isinstance(old.get("HDUVERS", HDUVERS), str):
        changes["HDUVERS"] = str(old["HDUVERS"])
    # not hdu.columns, for which astropy would read all about them
    names = [old.get(f"TTYPE{number + 1}", "") for number in range(old["TFIELDS"])]
    for number, name in enumerate(names, start=1):
        if name in _OLD_NAMES and _OLD_NAMES[name] not in names:
            changes[f"TTYPE{number}"] = _OLD_NAMES[name]
        if name in _BACKGROUND_COLUMNS and not _is_unit(old.get(f"TUNIT{number}")):
            changes[f"TUNIT{number}"] = _BACKGROUND_UNIT
    return changes


def _is_unit(text):
    if not str(text or "").strip():
        return False
    unit = u.Unit(text, parse_strict="silent")
    return not isinstance(unit, u.UnrecognizedUnit)


def _changed(hdu, changes):
    """Header with other cards, and without those that would no longer be true."""
    old = hdu.header
    changes = {
        key: value
        for key, value in changes.items()
        if key not in old or old[key] != value or type(old[key]) is not type(value)
    }
    removed = [key for key in ("CHECKSUM", "DATASUM") if key in old]
    if not changes and not removed:
        return hdu.header_bytes
    return changed_header(hdu.header, changes, removed)


def _encoded(name, irf, cards, obs_id, used):
    """HDU of an IRF in memory."""
    keywords = _class_keywords(irf.tag, obs_id)
    table = irf.to_table(format="gadf-dl3")
    # The meta of the IRF, as to_table drops that of parametric PSFs.
    meta = dict(irf.meta or {})
    meta |= {key: keywords[key] for key in ("HDUCLASS", "HDUCLAS1", "HDUCLAS4")}
    for key in ("HDUDOC", "HDUVERS", "HDUCLAS2"):
        meta.setdefault(key, keywords[key])
    if irf.is_pointlike or name == "rad_max":
        meta["HDUCLAS3"] = "POINT-LIKE"
    elif not isinstance(irf, ParametricPSF) or "HDUCLAS3" not in meta:
        # of a parametric PSF gammapy forgets on reading that it is point-like
        meta["HDUCLAS3"] = "FULL-ENCLOSURE"
    if "OBS_ID" in meta:
        meta["OBS_ID"] = obs_id
    meta |= cards
    if "RAD_MAX" in meta:
        meta["RAD_MAX"] = float(meta["RAD_MAX"])
    extname = _free_name(irf.tag, used)
    columns = {column: table[column] for column in table.colnames}
    label = f"OBS_ID {obs_id}"
    content = table_content(columns, read_cards(meta), name=extname, label=label)
    return OutputHDU(extname, name, irf.tag, content)


def _class_keywords(hdu_class, obs_id):
    """HDUCLASS, HDUDOC, HDUVERS and HDUCLAS1 to 4 of an IRF."""
    specification = compat.irf_specification(hdu_class)
    if specification is None:
        raise ValueError(
            f"OBS_ID {obs_id}: an IRF of class {hdu_class!r} has no GADF format; use "
            "the table or parametric IRFs of gammapy.irf"
        )
    keywords = {**specification["mandatory_keywords"]}
    keywords.pop("FOVALIGN", None)
    return keywords | {"HDUDOC": HDUDOC, "HDUVERS": HDUVERS}


def _free_name(hdu_class, used):
    """EXTNAME that gammapy uses, numbered if it is taken."""
    name = compat.irf_specification(hdu_class)["extname"]
    number = 2
    free = name
    while free in used:
        free, number = f"{name} {number}", number + 1
    return free
