"""The header of a mimic: who it is, from what it was made, with which seed."""

import numpy as np

from gammapy_mimic import __version__
from gammapy_mimic.data.keywords import (
    LIVETIME_RTOL,
    TIME_TOLERANCE_S,
    events_keywords,
    isot,
    keep_equal,
)
from gammapy_mimic.io import gadf

__all__ = ["mimic_header"]

# What belongs to the target, not to the events: taken from it, or absent.
_TARGET_KEYS = (
    "OBJECT",
    "RA_OBJ",
    "DEC_OBJ",
    "CONV_RA",
    "CONV_DEC",
    "TARGET_NAME",
    "TARGET_TAG",
)

# What describes the donor's file and is wrong for any other one. The time and
# date cards, the pointing and the location are computed again.
_DONOR_FILE_KEYS = (
    "CHECKSUM",
    "CREATED",
    "DATASUM",
    "DATE",
    "EXTNAME",
    "EXTVER",
    "RADESYS",
    "TELAPSE",
    "TIME-OBS",
    "TIME-END",
    "ALT_PNT",
    "AZ_PNT",
    "RA_PNT",
    "DEC_PNT",
    "GLON_PNT",
    "GLAT_PNT",
    "ZEN_PNT",
)


def mimic_header(target, donor, mimic, *, settings, seed=None):
    """EVENTS header of a mimic.

    What describes how the events were taken (telescopes, muon efficiency, night
    sky background, event class, ...) is the donor's. What says which run it is
    (OBS_ID, object, pointing, location, times) is the target's. Cards that begin
    with ``MIM_`` and a HISTORY line say how the mimic was made.

    Parameters
    ----------
    target, donor : `~gammapy_mimic.data.run.Run`
        The two runs. The donor may have been scrambled.
    mimic : `~gammapy_mimic.data.run.Run`
        Times, location and pointing of the mimic; its header is not used.
    settings : dict
        Arguments of `~gammapy_mimic.MimicMaker`: ``alignment``, ``time``,
        ``background``, ``irfs`` and ``crop``.
    seed : `~numpy.random.SeedSequence`, optional
        Seed of this mimic, if one was used. Default is None.

    Returns
    -------
    header : dict
        Cards, to be used as ``events.table.meta``.
    """
    donor_header, target_header = donor.header, target.header
    dropped = {*_TARGET_KEYS, *_DONOR_FILE_KEYS}
    header = {k: v for k, v in donor_header.items() if k not in dropped}
    header.update({k: target_header[k] for k in _TARGET_KEYS if k in target_header})
    header.update(events_keywords(mimic, header=target_header))
    # the donor's, without the rounding that shifted times bring
    good = {"ONTIME": TIME_TOLERANCE_S, "LIVETIME": LIVETIME_RTOL * mimic.ontime_s}
    header = keep_equal(header, donor_header, good)
    header["RADECSYS"], header["EQUINOX"] = "ICRS", 2000.0
    header["HDUVERS"], header["HDUDOC"] = gadf.HDUVERS, gadf.HDUDOC
    header["CREATOR"] = gadf.CREATOR
    header.update(_provenance_cards(donor, settings, seed))
    header["HISTORY"] = [*_lines(donor_header), *_history(target, donor)]
    return header


def _lines(header):
    history = header.get("HISTORY", [])
    return [history] if isinstance(history, str) else list(history)


def _provenance_cards(donor, settings, seed):
    cards = {"MIM_DON": donor.obs_id, "MIM_DOBJ": str(donor.header.get("OBJECT", ""))}
    names = (
        ("MIM_DAZ", "MIM_DALT") if donor.pointing.drifts else ("MIM_DRA", "MIM_DDEC")
    )
    cards |= zip(names, (donor.pointing.lon_deg, donor.pointing.lat_deg), strict=True)
    (cards["MIM_DTST"],) = isot(donor, [donor.start_s], scale="utc")
    cards["MIM_ALGN"] = settings["alignment"]
    cards["MIM_TIME"] = settings["time"]
    cards["MIM_BKG"] = settings["background"]
    cards["MIM_IRFS"] = settings["irfs"]
    cards["MIM_CROP"] = settings["crop"]
    if seed is not None:
        # numpy.random.SeedSequence(int(MIM_SEED), spawn_key=MIM_SKEY) gives it back
        entropy = np.atleast_1d(seed.entropy)
        cards["MIM_SEED"] = ",".join(str(int(word)) for word in entropy)
        cards["MIM_SKEY"] = ",".join(str(key) for key in seed.spawn_key)
    cards["MIM_VERS"] = __version__
    return cards


def _history(target, donor):
    # a card holds 72 characters
    lines = []
    if creator := donor.header.get("CREATOR"):
        lines.append(f"Run {donor.obs_id} first written by {creator}")
    lines.append(
        f"{gadf.CREATOR}: run {donor.obs_id} as a mimic of run {target.obs_id}"
    )
    return lines
