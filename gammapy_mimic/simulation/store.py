"""A data store full of synthetic runs."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from astropy import units as u
from astropy.coordinates import AltAz, SkyCoord
from astropy.time import Time
from gammapy.data import DataStore

from gammapy_mimic.data.seeds import child_seed, seed_sequence
from gammapy_mimic.io.arguments import PathLike, RandomState
from gammapy_mimic.simulation.background import SyntheticBackground
from gammapy_mimic.simulation.run import SITE, SyntheticRun
from gammapy_mimic.simulation.source import SyntheticSource
from gammapy_mimic.sky.astrometry import interpolated_astrom
from gammapy_mimic.writer import write_datastore

__all__ = ["SimulatedStore", "simulate_datastore"]

FIRST_TARGET_ID = 1001
FIRST_DONOR_ID = 2001
DONOR_TARGET_NAME = "Off data"
DURATION = 28 * u.min

#: Bright source in the field of the targets, about 1.5 times as bright as the Crab.
SOURCE = SyntheticSource(
    name="Synthetic source",
    position=SkyCoord(75 * u.deg, 22 * u.deg, frame="icrs"),
    amplitude=5e-11 * u.Unit("TeV-1 s-1 cm-2"),
)
WOBBLE_OFFSET = 0.5 * u.deg
WOBBLE_ANGLES_DEG = (0, 180, 90, 270)

# Zenith angles of about 19, 19, 44 and 51 deg: without and with gradient.
HOUR_ANGLES_H = (-1.2, 1.2, 3.2, 3.8)
FIRST_TARGET_NIGHT = Time("2019-12-01T00:00:00", scale="utc")
# from April to August, so that no donor can come near the source
FIRST_DONOR_NIGHT = Time("2020-04-20T00:00:00", scale="utc")
NIGHTS_BETWEEN_DONORS = 9
DONOR_NIGHTS = 13

MISFIT_ALTITUDE = 30 * u.deg

WEAK_AMPLITUDE = 2.8e-12 * u.Unit("TeV-1 s-1 cm-2")
WEAK_OFFSET = 0.8 * u.deg
WEAK_ANGLE = 60 * u.deg

_CONDITIONS, _EVENTS = 0, 1


@dataclass(frozen=True, kw_only=True)
class SimulatedStore:
    """Synthetic data store and the truth about it.

    Parameters
    ----------
    path : `~pathlib.Path`
        Folder of the store.
    target_ids, donor_ids : tuple of int
        OBS_IDs.
    source : `~gammapy_mimic.simulation.SyntheticSource`
        Bright source in the field of all targets.
    weak_source : `~gammapy_mimic.simulation.SyntheticSource` or None
        Weak source in the field of one donor.
    weak_donor_id : int or None
        OBS_ID of this donor.
    misfit_ids : tuple of int
        Donors that fit no target: at another zenith angle, or with one telescope
        less under a brighter sky, in turn.
    runs : dict
        `~gammapy_mimic.simulation.SyntheticRun` of each OBS_ID. It knows the true
        background, the expected numbers of events and the seed of the run.
    """

    path: Path
    target_ids: tuple
    donor_ids: tuple
    source: SyntheticSource
    weak_source: SyntheticSource | None
    weak_donor_id: int | None
    misfit_ids: tuple
    runs: dict

    @property
    def datastore(self) -> DataStore:
        """The `~gammapy.data.DataStore`, opened at each access."""
        return DataStore.from_dir(self.path)


def simulate_datastore(
    path: PathLike,
    *,
    n_targets: int = 4,
    n_donors: int = 8,
    duration: u.Quantity = DURATION,
    background: SyntheticBackground | None = None,
    background_irf: str | None = "bkg_3d_altaz",
    background_bias: float | Callable[[u.Quantity], Any] = 0.0,
    rate_scatter: float = 0.1,
    random_state: RandomState = None,
    overwrite: bool = False,
    compress: bool = False,
) -> SimulatedStore:
    """Simulate observations of a source, and of empty fields as donors, on disk.

    Targets (OBS_ID 1001, ...) wobble by 0.5 deg around one bright source and cycle
    through four hour angles, with zenith angles of about 19, 19, 44 and 51 deg. Donor
    2001 stands close to target 1001 in altitude and azimuth, 2002 to 1002 and so on
    cyclically, but on other nights and in other fields. The last quarter of the
    donors fits no target. One donor holds a weak source. Donors have the TARGET_NAME
    'Off data'. A run depends on
    its OBS_ID, ``n_targets`` (donors only) and ``random_state``, not on how many other
    runs there are, but for which donors are misfits or hold the weak source.

    Parameters
    ----------
    path : str or `~pathlib.Path`
        Folder to write to.
    n_targets, n_donors : int, optional
        Numbers of runs. Default is 4 and 8.
    duration : `~astropy.units.Quantity`, optional
        Time of observation of each run. Default is 28 min.
    background : `~gammapy_mimic.simulation.SyntheticBackground`, optional
        True background; its normalisation is scattered from run to run. Default is
        ``SyntheticBackground()``.
    background_irf : {"bkg_3d_altaz", "bkg_3d_radec", "bkg_2d", None}, optional
        Kind of background model of the runs. Default is "bkg_3d_altaz".
    background_bias : float or callable, optional
        Relative error of the background models, see
        `~gammapy_mimic.simulation.SyntheticRun`. Default is 0.
    rate_scatter : float, optional
        Standard deviation of the logarithm of the background rate from run to
        run. The background models follow it; half of it shows in MUONEFF. Default
        is 0.1.
    random_state : None, int, `~numpy.random.SeedSequence` or \
`~numpy.random.Generator`, optional
        Seed. The same seed gives the same bytes. Default is None.
    overwrite, compress : bool, optional
        As for `~gammapy_mimic.write_datastore`. Default is False.

    Returns
    -------
    simulated : `~gammapy_mimic.simulation.SimulatedStore`
        The store and its truth.

    Raises
    ------
    ValueError
        If a number of runs is negative or there is no target.

    Examples
    --------
    >>> from gammapy_mimic import simulate_datastore
    >>> simulated = simulate_datastore("runs", random_state=1)  # doctest: +SKIP
    >>> simulated.datastore.get_observations(simulated.target_ids)  # doctest: +SKIP
    """
    if n_targets < 1 or n_donors < 0:
        raise ValueError(
            f"n_targets = {n_targets}, n_donors = {n_donors}: "
            "need at least one target, and no negative number of donors"
        )
    sequence = seed_sequence(random_state)
    settings = {
        "duration": duration,
        "background": SyntheticBackground() if background is None else background,
        "background_irf": background_irf,
        "background_bias": background_bias,
    }
    targets = [_target(index, settings) for index in range(n_targets)]
    donors = [_donor(index, targets, sequence, settings) for index in range(n_donors)]
    n_misfits = n_donors // 4
    for index in range(n_donors - n_misfits, n_donors):
        donors[index] = _misfit(donors[index], index - (n_donors - n_misfits))
    weak = None
    if donors:
        index = min(n_targets, n_donors - n_misfits - 1)
        position = donors[index].pointing.directional_offset_by(WEAK_ANGLE, WEAK_OFFSET)
        source = SyntheticSource(
            name="Weak source", position=position, amplitude=WEAK_AMPLITUDE
        )
        weak = donors[index] = replace(donors[index], sources=(source,))
    runs = [_conditioned(run, sequence, rate_scatter) for run in [*targets, *donors]]
    write_datastore(
        (run.simulate() for run in runs), path, overwrite=overwrite, compress=compress
    )
    return SimulatedStore(
        path=Path(path),
        target_ids=tuple(run.obs_id for run in targets),
        donor_ids=tuple(run.obs_id for run in donors),
        source=SOURCE,
        weak_source=None if weak is None else weak.sources[0],
        weak_donor_id=None if weak is None else weak.obs_id,
        misfit_ids=tuple(run.obs_id for run in donors[n_donors - n_misfits :]),
        runs={run.obs_id: run for run in runs},
    )


def _target(index, settings):
    """Wobble run on the source."""
    angle = WOBBLE_ANGLES_DEG[index % len(WOBBLE_ANGLES_DEG)] * u.deg
    hour_angle = HOUR_ANGLES_H[index % len(HOUR_ANGLES_H)] * u.hourangle
    midnight = FIRST_TARGET_NIGHT + index * u.day
    sidereal = midnight.sidereal_time("mean", SITE.lon)
    wait = (SOURCE.position.ra + hour_angle - sidereal).wrap_at(180 * u.deg)
    middle = midnight + wait.hourangle * u.sday / 24
    return SyntheticRun(
        obs_id=FIRST_TARGET_ID + index,
        pointing=SOURCE.position.directional_offset_by(angle, WOBBLE_OFFSET),
        start=_whole_second(middle - settings["duration"] / 2),
        sources=(SOURCE,),
        header={
            "OBJECT": SOURCE.name,
            "TARGET_NAME": SOURCE.name,
            "RA_OBJ": float(SOURCE.position.ra.deg),
            "DEC_OBJ": float(SOURCE.position.dec.deg),
        },
        **settings,
    )


def _donor(index, targets, sequence, settings):
    """Run on an empty field, near a target in altitude and azimuth."""
    obs_id = FIRST_DONOR_ID + index
    rng = np.random.default_rng(child_seed(sequence, obs_id, _CONDITIONS, 1))
    like = targets[index % len(targets)].altaz()[1]
    altitude = like.alt + rng.uniform(-1.5, 1.5) * u.deg
    azimuth = like.az + rng.choice([-1, 1]) * rng.uniform(8, 30) * u.deg
    number = index % DONOR_NIGHTS
    night = FIRST_DONOR_NIGHT + number * NIGHTS_BETWEEN_DONORS * u.day
    middle = night + rng.uniform(-2, 3) * u.hour
    return SyntheticRun(
        obs_id=obs_id,
        pointing=_sky_position(altitude, azimuth, middle),
        start=_whole_second(middle - settings["duration"] / 2),
        header={"OBJECT": f"Off field {index + 1}", "TARGET_NAME": DONOR_TARGET_NAME},
        **settings,
    )


def _sky_position(altitude, azimuth, time):
    frame = AltAz(obstime=time, location=SITE)
    with interpolated_astrom():
        icrs = SkyCoord(alt=altitude, az=azimuth, frame=frame).icrs
    return SkyCoord(icrs.ra.round(3), icrs.dec.round(3), frame="icrs")


def _whole_second(time):
    return Time(np.round(time.unix), format="unix", scale="utc")


def _misfit(run, number):
    """Donor that fits no target, in one of two ways."""
    if number % 2:
        header = {**run.header, "N_TELS": 3, "TELLIST": "1,2,4", "NSBLEVEL": 9.0}
        return replace(run, header=header)
    middle = run.start + run.duration / 2
    altaz = run.altaz()[1]
    return replace(run, pointing=_sky_position(MISFIT_ALTITUDE, altaz.az, middle))


def _conditioned(run, sequence, rate_scatter):
    """Run with its own rate, muon efficiency, night sky, dead time and seed."""
    seed = child_seed(sequence, run.obs_id)
    rng = np.random.default_rng(child_seed(seed, _CONDITIONS))
    logarithm = rate_scatter * rng.normal()
    conditions = {
        "MUONEFF": _rounded(0.9 * np.exp(logarithm / 2) * rng.normal(1, 0.02)),
        "NSBLEVEL": _rounded(rng.normal(6, 0.3)),
    }
    normalisation = run.background.normalisation * float(np.exp(logarithm))
    return replace(
        run,
        background=replace(run.background, normalisation=normalisation),
        deadtime_fraction=_rounded(rng.uniform(0.05, 0.1)),
        header={**conditions, **run.header},
        seed=child_seed(seed, _EVENTS),
    )


def _rounded(value):
    return round(float(value), 4)
