"""Checks of what a run says of itself against its events, its time and its site."""

from collections.abc import Collection, Iterator, Mapping

from gammapy.data import Observation

from gammapy_mimic.checks.consistency import HDURecord
from gammapy_mimic.checks.findings import Finding, error
from gammapy_mimic.data import read_run
from gammapy_mimic.data.compat import FileLocation
from gammapy_mimic.data.trust import findings
from gammapy_mimic.io.files import SourceHDU, error_context

__all__ = ["check_trust"]

_SAME = {
    "ONTIME =": ("ONTIME is",),
    "RADECSYS =": ("RADECSYS is", "EQUINOX is"),
    "_PNT =": ("RA_PNT is", "DEC_PNT is", "ALT_PNT is", "AZ_PNT is"),
    "of its good time intervals (GTI); mimics": ("events are in no GTI",),
}
"""Words of a finding, and of findings by GADF that say the same."""


class _OpenLocation(FileLocation):
    """Place of an HDU of a file that is read already."""

    def __init__(self, hdu_class, record):
        place = {"file_name": record.file, "hdu_name": record.name}
        super().__init__(hdu_class, file_dir="", **place)
        self.record = record

    def source(self):
        """HDU, whose bytes nobody needs."""
        return SourceHDU(self.record.hdu, b"", b"")


def check_trust(
    obs_id: int, records: Mapping[str, HDURecord], found: Collection[Finding]
) -> Iterator[Finding]:
    """Find what in a run contradicts its events, its time or its site.

    Parameters
    ----------
    obs_id : int
        OBS_ID of the index.
    records : dict
        `HDURecord` of each HDU_TYPE. Nothing is said of a run without EVENTS or GTI.
    found : collection of `Finding`
        What is known of the run. If it cannot be read and that explains why, nothing
        is added.

    Yields
    ------
    finding : `Finding`
        Finding with the key RUN.
    """
    events, gti = records.get("events"), records.get("gti")
    if events is None or gti is None or events.hdu is None or gti.hdu is None:
        # or they are those of another run, too, which is an error of the index
        return
    parts = {
        name: _OpenLocation(hdu_class, gti if name == "gti" else events)
        for name, hdu_class in _CLASSES.items()
    }
    try:
        with error_context(f"run {obs_id}"):
            run = read_run(Observation(obs_id=obs_id, **parts))
    except ValueError as exception:
        if not any(finding.level == "error" for finding in found):
            yield error("RUN", str(exception))
        return
    # of a mimic whose field of view is aligned with RA/Dec, the site does not matter
    alignment = "radec" if run.header.get("MIM_ALGN") == "radec" else "altaz"
    said = " ".join(finding.message for finding in found)
    for level, text in findings(run, alignment=alignment):
        same = [it for words, known in _SAME.items() if words in text for it in known]
        if not any(words in said for words in same):
            yield Finding(level, "RUN", text)


_CLASSES = {
    "events": "events",
    "gti": "gti",
    "pointing": "pointing",
    "meta": "observation_metadata",
}
