"""Altitude and azimuth of runs by time, and the slices that fit best."""

import numpy as np

__all__ = ["Tracks", "best_start"]

_SIDEREAL_DEG_PER_S = 360.98564736629 / 86400

# how finely tracks are compared and slices are moved
STEP_S = 60.0


class Tracks:
    """Where runs point to, as seen from the ground, by time.

    A run that follows the sky turns about the pole from where it was at its middle;
    a run in drift mode stays.

    Parameters
    ----------
    runs : `~astropy.table.Table`
        Run table: ALT_PNT, AZ_PNT at the middle, LATITUDE of the site, DRIFT, SPAN
        (from the start to the end) and ONTIME.
    """

    def __init__(self, runs):
        names = ("ALT_PNT", "AZ_PNT", "LATITUDE", "DRIFT", "SPAN", "ONTIME")
        columns = [np.asarray(runs[name], dtype=float) for name in names]
        alt, az, lat = np.radians(columns[:3])
        self._alt_az_deg, self._lat, self._drift = columns[:2], lat, columns[3] > 0
        self._span, ontime = columns[4:]
        self._stretch = np.where(ontime > 0, self._span / ontime, 1.0)
        sin_dec = np.sin(lat) * np.sin(alt) + np.cos(lat) * np.cos(alt) * np.cos(az)
        self._dec = np.arcsin(np.clip(sin_dec, -1, 1))
        self._hour = np.arctan2(
            -np.sin(az) * np.cos(alt),
            np.sin(alt) * np.cos(lat) - np.cos(alt) * np.cos(az) * np.sin(lat),
        )

    def at(self, row, good_s):
        """Airmass and azimuth of a run.

        Parameters
        ----------
        row : int
            Run.
        good_s : array-like
            Seconds of good time since the start; gaps are taken to be spread evenly.

        Returns
        -------
        airmass, azimuth_deg : `~numpy.ndarray`
            1 / cos of the zenith angle, and azimuth in degrees.
        """
        elapsed = np.asarray(good_s) * self._stretch[row] - self._span[row] / 2
        if self._drift[row]:
            alt, az = (np.full(elapsed.shape, it[row]) for it in self._alt_az_deg)
            return 1 / np.sin(np.radians(alt)), az
        hour = self._hour[row] + np.radians(_SIDEREAL_DEG_PER_S * elapsed)
        dec, lat = self._dec[row], self._lat[row]
        sin_alt = np.sin(lat) * np.sin(dec) + np.cos(lat) * np.cos(dec) * np.cos(hour)
        north = np.cos(lat) * np.sin(dec) - np.sin(lat) * np.cos(dec) * np.cos(hour)
        azimuth = np.degrees(np.arctan2(-np.cos(dec) * np.sin(hour), north)) % 360
        return 1 / np.maximum(sin_alt, 0.01), azimuth


def best_start(target, donor, *, begin_s, length_s, free, scale):
    """Find the slice of a donor whose track is nearest to that of the target.

    Parameters
    ----------
    target, donor : tuple of `Tracks` and int
        Tracks and the row of the run.
    begin_s : float
        Good time of the target from which on it is to be matched.
    length_s : float
        Length of the slice.
    free : list of tuple of float
        Intervals of the donor's good time from which it may be taken.
    scale : tuple of float
        Differences of airmass and azimuth (deg) that are equally bad.

    Returns
    -------
    start_s : float
        Where the slice begins; of equally good ones the first.
    """
    steps = np.linspace(0, length_s, max(2, int(np.ceil(length_s / STEP_S)) + 1))
    airmass, azimuth = target[0].at(target[1], begin_s + steps)
    starts = np.concatenate(
        [
            np.unique(
                np.append(np.arange(low, high - length_s, STEP_S), high - length_s)
            )
            for low, high in free
            if high - low >= length_s
        ]
    )
    own_airmass, own_azimuth = donor[0].at(donor[1], starts[:, np.newaxis] + steps)
    turned = (own_azimuth - azimuth + 180) % 360 - 180
    square = ((own_airmass - airmass) / scale[0]) ** 2 + (turned / scale[1]) ** 2
    return float(starts[np.argmin(square.mean(axis=1).round(9))])
