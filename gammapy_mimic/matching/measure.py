"""What is measured on the events and IRFs of runs that may be paired."""

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import Table
from gammapy.data import DataStore

from gammapy_mimic.data import read_run
from gammapy_mimic.data.compat import read_once
from gammapy_mimic.matching.rate import OuterRate, rate_chi2
from gammapy_mimic.sources.known import known_sources, parse_sources

__all__ = ["BANDS", "Measurement", "energy_edges", "field_rate"]

BANDS = 3
"""Number of energy bands in which rates are compared."""

OFFSETS = [0, 0.5, 1] * u.deg
"""Where effective areas are compared."""

THETA = 0.3 * u.deg
"""Radius about the position of interest and point-like sources that is left out."""

_BINS_PER_DECADE = 20
_LOWEST, _HIGHEST = 0.01 * u.TeV, 100 * u.TeV
_FIELD = 2.5 * u.deg


def energy_edges(energy_min, energy_max):
    """Edges of the fine energy bins, from the lowest to the highest energy.

    Parameters
    ----------
    energy_min, energy_max : `~astropy.units.Quantity` or None
        Range of the analysis. None is 10 GeV and 100 TeV.

    Returns
    -------
    edges : `~numpy.ndarray`
        In TeV, at least twenty a decade.
    """
    low = (_LOWEST if energy_min is None else energy_min).to_value("TeV")
    high = (_HIGHEST if energy_max is None else energy_max).to_value("TeV")
    number = int(np.ceil(_BINS_PER_DECADE * np.log10(high / low) - 1e-9))
    return np.geomspace(low, high, max(BANDS, number) + 1)


class Measurement:
    """Read what is to be compared from the files of runs, each of them once.

    Parameters
    ----------
    data : `~gammapy.data.DataStore` or `~gammapy.data.Observations`
        Runs.
    runs : `~astropy.table.Table`
        Their run table; columns are added or filled.
    edges : `~numpy.ndarray`
        Energy edges in TeV.
    rate : `OuterRate`
        Which events count in rates.
    position : `~astropy.coordinates.SkyCoord`, optional
        Position of interest. Default is None.
    catalogs : sequence of str, optional
        Catalogs whose sources are left out of rates. Default is the packaged table.
    sources : list of `~regions.CircleSkyRegion`, optional
        Further sources left out. Default is none.
    bad_times : `~gammapy_mimic.matching.good_time.BadTimes`, optional
        Time that does not count. Default is none.
    skip_broken : bool, optional
        Leave out runs that are broken, as those whose files are missing. Default is
        False: they are an error.
    find : callable, optional
        Takes a run, and gives warnings of it (list of str). Default is none.

    Attributes
    ----------
    warnings : dict of int to list of str
        By row, for each run whose rate was measured.

    Notes
    -----
    Events near the position of interest, near the object of a run and near known
    sources never count, so that nothing is learnt about the targets.
    """

    def __init__(
        self,
        data,
        runs,
        edges,
        rate,
        *,
        position=None,
        catalogs=("bright",),
        sources=(),
        bad_times=None,
        skip_broken=False,
        find=None,
    ):
        self.runs, self.edges, self.rate = runs, edges, rate
        self.bad_times, self.skip_broken = bad_times, skip_broken
        self._options = {"catalogs": catalogs, "theta": THETA}
        self._extra = list(sources)
        if position is not None:
            self._extra += parse_sources(position, theta=THETA)
        self._open = _opener(data)
        self._done, self._find, self.warnings = {}, find, {}
        runs.meta["energy_edges"] = edges.tolist()

    @property
    def is_possible(self):
        """Whether there are files or observations to read (bool)."""
        return self._open is not None

    def __call__(self, rows, *, threshold=False, area=False, rate=False, chi2=False):
        """Measure some runs.

        Parameters
        ----------
        rows : sequence of int
            Rows of the run table.
        threshold, area, rate, chi2 : bool, optional
            What is to be measured. Default is False.
        """
        wanted = {"threshold": threshold, "area": area, "rate": rate, "chi2": chi2}
        wanted = {name for name, is_wanted in wanted.items() if is_wanted}
        if not self.is_possible or not wanted:
            return
        for row in rows:
            self.runs.meta["is_measured"] = True
            missing = wanted - self._done.get(row, set())
            if not missing:
                continue
            try:
                values = self._measure(row, missing)
            except (OSError, ValueError) as error:
                # a file that is not there or not whole leaves out its own run only
                if not self.skip_broken and not isinstance(error, OSError):
                    raise
                self._note(row, error)
                values = {}
            self._done.setdefault(row, set()).update(wanted)
            self._fill(row, values)

    def _note(self, row, error):
        obs_id = int(self.runs["OBS_ID"][row])
        text = f"run {obs_id} cannot be read and compared: {error}"
        self.runs.meta.setdefault("unreadable", []).append(text)

    def _fill(self, row, values):
        """Put values into the run table, whose columns are made when needed."""
        for name, value in values.items():
            if name not in self.runs.colnames:
                shape = (len(self.runs), *np.shape(value))
                self.runs[name] = np.full(shape, np.nan)
            self.runs[name][row] = value

    def _measure(self, row, wanted):
        obs_id = int(self.runs["OBS_ID"][row])
        run = self._open(obs_id)
        # which names what is broken, where gammapy would fail without a name
        read_run(run, with_events=False)
        values = {}
        if "rate" in wanted and self._find is not None:
            self.warnings[row] = self._find(run)
        aeff = run.aeff
        # maps and effective areas without offset are not compared
        if aeff is not None and {"energy_true", "offset"} <= set(aeff.axes.names):
            values["LO_THRES"] = _threshold(aeff)
            if "area" in wanted:
                values["AEFF"] = self._area(aeff)
        if wanted & {"rate", "chi2"} and isinstance(self.rate, OuterRate):
            values |= self._rates(run, self.runs[row])
        elif "rate" in wanted:
            values["RATE"] = u.Quantity(self.rate(run), "s-1").value
        return values

    def _area(self, aeff):
        energy = np.sqrt(self.edges[:-1] * self.edges[1:]) * u.TeV
        axis = aeff.axes["offset"]
        # files of one offset, such as MAGIC's, hold for that alone
        offset = OFFSETS if axis.nbin > 1 else axis.center
        area = aeff.evaluate(energy_true=energy[:, np.newaxis], offset=offset)
        area = np.broadcast_to(area, (len(energy), len(OFFSETS)), subok=True)
        # four digits are enough, and keep the tables of pairs small
        return _rounded(area.to_value("m2"), 4)

    def _rates(self, run, row):
        if self.bad_times is not None:
            run = self.bad_times.cut(run)
        # each access to a part of a run on disk reads it again
        events, gti = run.events, run.gti
        sources = self._sources(row, {} if events is None else events.table.meta)
        rows, weight = self.rate.counted(run, events, sources)
        energy = events.energy[rows].to_value("TeV")
        livetime = run.observation_live_time_duration.to_value("s")
        spectrum, variance = (
            np.histogram(energy, self.edges, weights=it)[0]
            for it in (weight, weight**2)
        )
        start, stop = (
            (time - gti.time_ref).to_value("s")
            for time in (gti.time_start, gti.time_stop)
        )
        seconds = (events.time[rows] - gti.time_ref).to_value("s")
        return {
            "RATE_SPECTRUM": _rounded(spectrum / livetime),
            "RATE_VARIANCE": _rounded(variance / livetime**2),
            "RATE_CHI2": round(rate_chi2(seconds, start, stop), 4),
        }

    def _sources(self, row, header):
        """Circles in the field of a run that must not be looked at."""
        extra = list(self._extra)
        own = [
            value if np.isfinite(value) else header.get(key, np.nan)
            for key, value in ((key, row[key]) for key in ("RA_OBJ", "DEC_OBJ"))
        ]
        own = np.array(own, dtype=float)
        if np.isfinite(own).all() and abs(own[1]) <= 90:
            extra += parse_sources(SkyCoord(*own, unit="deg"), theta=THETA)
        pointing = SkyCoord(row["RA_PNT"], row["DEC_PNT"], unit="deg")
        radius = self.rate.offset_max + 1 * u.deg
        return known_sources(pointing, radius, extra=extra or None, **self._options)


def _threshold(aeff):
    """LO_THRES in TeV; NaN if there is none."""
    value = (aeff.meta or {}).get("LO_THRES")
    try:
        return float(value) if value is not None and float(value) > 0 else np.nan
    except (TypeError, ValueError):
        return np.nan


def _rounded(values, digits=8):
    """Round to some significant digits."""
    scale = 10.0 ** (digits - 1 - np.floor(np.log10(np.maximum(values, 1e-300))))
    return np.where(values > 0, np.round(values * scale) / scale, 0.0)


def _opener(data):
    """Make a function that gives a run by its OBS_ID; None without files."""
    if isinstance(data, DataStore):
        if not len(data.hdu_table):
            return None
        return lambda obs_id: read_once(data.obs(obs_id, required_irf="all-optional"))
    if isinstance(data, Table):
        return None
    known = {int(observation.obs_id): observation for observation in data}
    return lambda obs_id: read_once(known[obs_id])


def field_rate():
    """Rate of the field of view, the default measure of RATE_RATIO."""
    # nearer to the pointing a source of the target may cover all there is
    return OuterRate(offset_min=0.5 * u.deg, offset_max=_FIELD)
