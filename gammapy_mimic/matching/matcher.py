"""`DonorMatcher`: which background run can stand in for which target."""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from astropy import units as u
from astropy.coordinates import EarthLocation, SkyCoord
from astropy.time import Time
from gammapy.data import DataStore, Observation, Observations, ObservationTable

from gammapy_mimic.io.arguments import check_flag
from gammapy_mimic.io.shown import Shown
from gammapy_mimic.matching.arguments import (
    energy_range,
    keep_away_circles,
    make_rate_proxy,
    making_options,
    positive_int,
    relaxation,
    sequence,
)
from gammapy_mimic.matching.choose import choose
from gammapy_mimic.matching.cuts import Cuts
from gammapy_mimic.matching.features import (
    FEATURES,
    make_columns,
    make_tolerances,
)
from gammapy_mimic.matching.good_time import BadTimes
from gammapy_mimic.matching.inputs import (
    active_tolerances,
    make_measurement,
    read_side,
)
from gammapy_mimic.matching.notes import left_out_notes, tell
from gammapy_mimic.matching.pairs import PairTable
from gammapy_mimic.matching.rows import make_pairs
from gammapy_mimic.matching.text import with_limit
from gammapy_mimic.sky.location import parse_location
from gammapy_mimic.sources.known import parse_sources

__all__ = ["DonorMatcher"]

log = logging.getLogger(__name__)

_THETA = 0.3 * u.deg


def _settings(self):
    """Give what is shown of a matcher."""
    known = {**FEATURES, **self.columns}
    limits = {name: (known[name], it) for name, it in self.tolerances.items()}
    energy = [it for it in (self.energy_min, self.energy_max) if it is not None]
    return {
        "mimic sets": self.n_mimics,
        "tolerances": ", ".join(
            f"{name} {with_limit(it, feature)}"
            for name, (feature, it) in limits.items()
            if feature.counts
        ),
        "relax": ", ".join(name for name, _ in self.relax),
        "energies": " - ".join(f"{it:g}" for it in energy),
        "fill": "yes" if self.fill else "",
        "uses of a donor": self.reuse if self.reuse > 1 else "",
    }


class DonorMatcher(Shown):
    """Find donors that were taken under the conditions of the targets.

    Pairs of target and donor that differ by more than a tolerance are rejected. Of
    the others an optimal assignment (`scipy.optimize.linear_sum_assignment`) takes
    those which serve as many targets as possible at the smallest sum of distances.
    The distance of a pair is the root mean square of difference over tolerance. A
    donor is never its own target, and is used once in a mimic set.

    Parameters
    ----------
    tolerances : mapping, optional
        Tolerances by name (see below) where they are not the default; the same can
        be given as keywords, which prevail. Default is None.
    n_mimics : int, optional
        Number of mimic sets, the best first. A pair of target and donor is in one
        set at most. Default is 1.
    relax : sequence, optional
        Cuts to relax, one after the other, for targets that would have no donor
        otherwise: names (the cut is dropped) or tuples of name and wider tolerance.
        What was relaxed for which pair is recorded. Default is (): none.
    balance : bool, optional
        Choose among nearly equal distances (their mean may grow by 0.05) so that
        the means of airmass and NSB of a set agree with those of the targets.
        Default is False.
    columns : mapping, optional
        Tolerances of further numeric columns of the index or cards of EVENTS: a
        number in the unit of the column, a quantity, or a percentage of the target's
        value, such as ``{"TRANSMISSION": 0.1, "TRGRATE": "10%"}``. Default is none.
    energy_min, energy_max : `~astropy.units.Quantity`, optional
        Energy range of the analysis. Effective areas are compared in it, and rates
        above ``energy_min``; in each pair above the energy thresholds (LO_THRES) of
        both runs. Default is None: rates are compared above these thresholds, and
        effective areas are not.
    rate_proxy : None, "events", "index" or callable, optional
        Event rate of a run, for RATE_RATIO and the tolerance ``rate``. None: the
        rate within 2.5 deg. "events": the rate in the outer field,
        `~gammapy_mimic.matching.OuterRate`. Both leave out the position of interest,
        the object of each run and known sources. They read the events of paired runs,
        and with the tolerance ``rate`` of all that pass the other cuts. "index": all
        events over ontime by EVENT_COUNT of the index, without opening a file; also
        used where there are none. A callable takes an `~gammapy.data.Observation` and
        returns a rate. Default is None.
    position : `~astropy.coordinates.SkyCoord`, optional
        Position of interest; no rate counts events within 0.3 deg of it.
    sources : see `~gammapy_mimic.sources.known.parse_sources`, optional
        Sources that no rate counts, besides bright ones. Default is None.
    catalogs : sequence of str, optional
        Catalogs of sources that no rate counts and donors are warned of.
    scrambled : callable, optional
        Takes the pointing of a donor (SkyCoord) and gives the circles that will be
        scrambled in it; donors are not warned of these. Default is None: nothing.
    fill : bool, optional
        Take several donors for a target until their good time is that of the target,
        and of longer donors the slice whose altitude and azimuth fit best. The
        tolerance ``ontime`` is off then. Default is False.
    reuse : int, optional
        How often a donor (with ``fill`` the same time of a donor) may be used in a
        set. The column SHARED says what part of a mimic is in others of its set.
        Default is 1.
    crop : bool, optional
        Take of longer donors the slice whose track fits best. Default is False.
    bad_times : str, `~pathlib.Path` or `~astropy.table.Table`, optional
        Times that do not count, see `~gammapy_mimic.matching.BadTimes`. Default is
        none.
    location : `~astropy.coordinates.EarthLocation`, str or dict, optional
        Site of all runs, as for `~gammapy_mimic.MimicMaker`.
    epochs : `~astropy.time.Time`, optional
        Times at which the instrument changed. Donors must be of the target's epoch.
    keep_away : see `~gammapy_mimic.sources.known.parse_sources`, optional
        Sources which donors must not have in their field.
    keep_away_distance : `~astropy.units.Quantity`, optional
        Least distance of a donor's pointing from the edge of these. Default is
        2.5 deg.
    exclude : sequence of int, optional
        OBS_IDs that are not used as donors.
    making : dict, optional
        Arguments ``alignment``, ``background`` and ``fov_alignment`` of the
        `~gammapy_mimic.MimicMaker`, if not its defaults: what is warned of.
    **features
        Tolerances:

        * ``airmass=0.15``: difference of 1 / cos(zenith angle).
        * ``azimuth=45 * u.deg``: wrapped difference of azimuths. Within 10 deg of
          the zenith, on both sides, azimuth is ignored and the orientation of the
          field of view must agree instead, to the same tolerance. There a small
          step on the sky turns the azimuth by a large angle, and neither the
          zenith gradient nor the angle to the magnetic field depends much on it;
          what is left is how camera and array are turned against the sky. Runs on
          opposite sides of the zenith are upside down to each other and rejected.
        * ``n_tels=0``: difference of the number of telescopes.
        * ``ontime=0.1``: how much shorter the donor may be, relative to the target.
          Longer donors always pass.
        * ``muon_efficiency=0.1``: relative difference of MUONEFF.
        * ``nsb=1.5``: difference of NSBLEVEL.
        * ``telescope=0``: telescopes (TELESCOP) must be the same.
        * ``telescopes=None``: number of telescopes (TELLIST) not in common.
        * ``time=None``: difference of the times, such as ``30 * u.d``.
        * ``effective_area=0.1``: largest relative difference of the effective areas
          within 1 deg, in the energy range of the analysis.
        * ``threshold=None``: relative difference of the thresholds (LO_THRES).
        * ``rate=None``: relative difference of the event rates.
        * ``rate_chi2=None``: largest chi-square over degrees of freedom of the
          donor's rate against time, see `~gammapy_mimic.matching.rate_chi2`.
        * ``galactic_latitude=None``: the least absolute latitude of a donor.

        None switches a cut off.

    Notes
    -----
    Altitude and azimuth are computed for the middle of the run from pointing, time
    and site, because those in index tables may be off by degrees. Features come
    from the obs-index of a data store, and from EVENTS headers if the index lacks
    them. A feature that one side lacks is skipped, with a note in the table. Runs
    below the horizon never match, unless neither airmass nor azimuth is compared.

    Examples
    --------
    >>> import astropy.units as u
    >>> from gammapy_mimic import DonorMatcher
    >>> matcher = DonorMatcher(n_mimics=5, azimuth=60 * u.deg, relax=["azimuth"])
    >>> matcher.tolerances["azimuth"]
    60.0
    """

    def __init__(
        self,
        *,
        tolerances: Mapping[str, Any] | None = None,
        n_mimics: int = 1,
        relax: Sequence[Any] = (),
        balance: bool = False,
        columns: Mapping[str, Any] | None = None,
        energy_min: u.Quantity | None = None,
        energy_max: u.Quantity | None = None,
        rate_proxy: str | Callable[[Observation], Any] | None = None,
        position: SkyCoord | None = None,
        sources: Any = None,
        catalogs: Iterable[str] = ("bright",),
        scrambled: Callable[[SkyCoord], Iterable[Any]] | None = None,
        fill: bool = False,
        reuse: int = 1,
        crop: bool = False,
        bad_times: Any = None,
        location: EarthLocation | str | Mapping | None = None,
        epochs: Sequence[Any] | None = None,
        keep_away: Any = None,
        keep_away_distance: u.Quantity | str = 2.5 * u.deg,
        exclude: Iterable[int] = (),
        making: Mapping[str, str | None] | None = None,
        **features: Any,
    ) -> None:
        self.tolerances = make_tolerances({**(tolerances or {}), **features})
        self.columns, more = make_columns(columns or {})
        self.tolerances |= more
        self.relax = relaxation(relax, self.tolerances, self.columns)
        self.n_mimics = positive_int("n_mimics", n_mimics)
        self.reuse = positive_int("reuse", reuse)
        self.fill, self.crop = check_flag("fill", fill), check_flag("crop", crop)
        self.balance = check_flag("balance", balance)
        if self.balance and (self.fill or self.reuse > 1):
            raise ValueError("balance = True: not possible with fill or reuse")
        if self.fill:
            self.tolerances.pop("ontime", None)
            self.relax = tuple(step for step in self.relax if step[0] != "ontime")
        self.energy_min, self.energy_max = energy_range(energy_min, energy_max)
        self.rate_proxy = make_rate_proxy(rate_proxy)
        self.position = position
        self.sources = [] if sources is None else parse_sources(sources, theta=_THETA)
        self.catalogs, self.scrambled = sequence("catalogs", catalogs), scrambled
        is_read = isinstance(bad_times, BadTimes)
        self.bad_times = bad_times if is_read else BadTimes(bad_times)
        self.location = None if location is None else parse_location(location)
        self.epochs = None if epochs is None else Time(epochs)
        away = keep_away_circles(keep_away, keep_away_distance)
        self.keep_away, self.keep_away_distance = away
        self.exclude = [int(obs_id) for obs_id in sequence("exclude", exclude)]
        self.making = making_options(making or {})

    _shown = _settings

    def run(
        self,
        targets: Observations | DataStore | ObservationTable,
        donors: Observations | DataStore | ObservationTable,
        *,
        skip_broken: bool = False,
    ) -> PairTable:
        """Find the pairs.

        Parameters
        ----------
        targets, donors : `~gammapy.data.DataStore`, \
`~gammapy.data.ObservationTable` or `~gammapy.data.Observations`
            Runs, in any order; they may overlap. Of a data store only the index is
            read where that is enough.
        skip_broken : bool, optional
            Leave out runs without time or pointing, with a warning. Default is False:
            they are an error.

        Returns
        -------
        pairs : `PairTable`
            A row for each target and set, also where no donor was found.

        Raises
        ------
        TypeError
            If targets or donors are none of these.
        ValueError
            If there are no runs, an OBS_ID is duplicated, or a run has no pointing,
            time or site.
        """
        data = {"targets": targets, "donors": donors}
        runs = {
            name: read_side(self, it, name, skip_broken) for name, it in data.items()
        }
        measured = {
            name: make_measurement(self, it, runs[name], skip_broken)
            for name, it in data.items()
        }
        can_measure = all(it.is_possible for it in measured.values())
        tolerances = active_tolerances(self, can_measure)
        features = {**FEATURES, **self.columns}
        cuts = Cuts(runs["targets"], runs["donors"], tolerances, features)
        wanted = {
            "threshold": "threshold" in tolerances,
            "area": "effective_area" in tolerances,
            "rate": "rate" in tolerances and self.rate_proxy != "index",
            "chi2": "rate_chi2" in tolerances,
        }

        def measure(*rows):
            for side, of_side in zip(measured.values(), rows, strict=True):
                side(of_side, **wanted)

        evaluation = cuts.evaluate(self.relax, measure)
        slices = choose(self, cuts, evaluation, runs)
        if can_measure and self.rate_proxy != "index":
            rows, columns = slices["row"], slices["column"]
            measured["targets"](np.unique(rows[columns >= 0]), rate=True)
            measured["donors"](np.unique(columns[columns >= 0]), rate=True)
        pairs = make_pairs(runs, cuts, evaluation, slices, self)
        pairs.meta["notes"] = left_out_notes(runs, tolerances, cuts.features)
        tell(log, self, pairs, runs, slices, measured)
        return pairs
