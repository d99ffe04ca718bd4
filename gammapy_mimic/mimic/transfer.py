"""Events, good time and orientation of a run in the field of another one."""

from dataclasses import replace

import numpy as np
from astropy import units as u
from gammapy.irf import FoVAlignment

from gammapy_mimic.data.gti import first_of, spread_times
from gammapy_mimic.io.gadf import same_reference, seconds_since
from gammapy_mimic.sky.positions import EventPositions

__all__ = ["move_run", "orientation_differences"]


def move_run(target, donor, *, alignment, time, crop):
    """Make a mimic, which still lacks its header.

    Parameters
    ----------
    target, donor : `~gammapy_mimic.data.run.Run`
        The two runs.
    alignment : `~gammapy.irf.FoVAlignment`
        Field of view in which events keep their place.
    time : {"target", "donor"}
        Whose start the mimic has.
    crop : bool
        Whether it is shortened to the ontime of the target.

    Returns
    -------
    mimic : `~gammapy_mimic.data.run.Run`
        The donor's events in the target's field; with the donor's header.
    """
    gti_s, run = donor.gti_s - donor.start_s, donor
    if crop and target.ontime_s < donor.ontime_s:
        gti_s = first_of(gti_s, target.ontime_s)
        run = donor[donor.seconds - donor.start_s < gti_s[1].max()]
    # counted from the start, so that no digit is lost
    elapsed, origin = run.seconds - donor.start_s, donor.origin(donor.start_s)
    place = run.values("RA"), run.values("DEC")
    old = EventPositions(donor.pointing, origin, elapsed, *place)
    start_s = _start_s(target, donor, time)
    new = old.moved(target.pointing, target.origin(start_s), alignment)
    # columns in the camera that follow no known convention stay right
    is_kept = alignment == FoVAlignment.ALTAZ
    return replace(
        run.moved(old, new, known=alignment, keep_unknown=is_kept),
        obs_id=target.obs_id,
        reference=target.reference,
        gti_s=gti_s + start_s,
        pointing=target.pointing,
        seconds=elapsed + start_s,
    )


def _start_s(target, donor, time):
    """Start of the mimic's good time, counted as the target's."""
    if time == "target":
        return target.start_s
    if same_reference(donor.reference, target.reference):
        return donor.start_s
    return donor.start_s + seconds_since(donor.reference, target.reference)


def orientation_differences(target, donor, *, given, alignment, time):
    """By how much the transfer turns places given in another alignment.

    Parameters
    ----------
    target, donor : `~gammapy_mimic.data.run.Run`
        The two runs.
    given : `~gammapy.irf.FoVAlignment`
        Alignment in which the places are given.
    alignment, time : optional
        See `move_run`.

    Returns
    -------
    angle : `~astropy.units.Quantity`
        At times spread over the donor's good time: the orientation changes in a run.
    """
    seconds = spread_times(donor.gti_s) - donor.start_s
    origin = donor.origin(donor.start_s)
    # on the latitude axis, at 90 deg from that of longitude
    probe = EventPositions.from_fov(donor.pointing, origin, seconds, (0.0, 1.0), given)
    origin = target.origin(_start_s(target, donor, time))
    moved = probe.moved(target.pointing, origin, alignment)
    lon, lat = np.radians(moved.fov_deg(given))
    return np.arctan2(np.sin(lat), np.sin(lon) * np.cos(lat)) * u.rad - 90 * u.deg
