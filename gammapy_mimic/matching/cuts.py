"""Compare all targets with all donors."""

import numpy as np

from gammapy_mimic.matching.features import FEATURES, MEASURED

__all__ = ["Cuts", "Evaluation"]

NEAR_ZENITH_DEG = 10.0

# pairs that are compared at a time: temporary arrays stay small
_BLOCK = 500_000
_MEASURED_BLOCK = 20_000


def _codes(targets, donors):
    """Text as numbers that are equal where the text is; NaN for empty text."""
    text = np.concatenate([np.asarray(side, dtype=str) for side in (targets, donors)])
    code = np.unique(text, return_inverse=True)[1].astype(float)
    code[text == ""] = np.nan
    return code[: len(targets)], code[len(targets) :]


def _uncommon(targets, donors):
    """Count list elements that only one of two runs has; NaN if unknown."""
    unique, inverse = np.unique(
        np.concatenate([targets, donors]).astype(str), return_inverse=True
    )
    sets = [{i.strip() for i in text.split(",") if i.strip()} for text in unique]
    table = np.array(
        [[len(a ^ b) if a and b else np.nan for b in sets] for a in sets], dtype=float
    )
    return table, inverse[: len(targets)], inverse[len(targets) :]


class Evaluation:
    """Distances of all pairs, and how many each cut rejects.

    Parameters
    ----------
    shape : tuple of int
        Number of targets and of donors.
    names : sequence of str
        Cuts.

    Attributes
    ----------
    level : `~numpy.ndarray` of int, shape (targets, donors)
        How many steps of relaxation the pair needs; -1 where none suffices.
    rejected : dict of str to `~numpy.ndarray`
        For each cut the number of donors that passed the cuts before and fail it
        (before any relaxation), for each target.
    """

    def __init__(self, shape, names):
        self.level = np.zeros(shape, dtype=np.int8)
        self.rejected = {name: np.zeros(shape[0], dtype=int) for name in names}
        self._squares = np.zeros(shape, dtype=np.float32)
        self._number = np.zeros(shape, dtype=np.uint8)

    def distance(self, rows, columns):
        """Root mean square of difference over tolerance of some pairs."""
        number = np.maximum(self._number[rows, columns], 1)
        return np.sqrt(self._squares[rows, columns].astype(float) / number)

    def distances(self):
        """Distances of all pairs in single precision, shape (targets, donors)."""
        return np.sqrt(self._squares / np.maximum(self._number, 1))

    def left(self):
        """Donors of each target that pass all cuts, and with all relaxation."""
        strict, relaxed = self.level == 0, self.level >= 0
        return np.count_nonzero(strict, axis=1), np.count_nonzero(relaxed, axis=1)


class Cuts:
    """Compare every target with every donor.

    Parameters
    ----------
    targets, donors : `~astropy.table.Table`
        Run tables, see `gammapy_mimic.matching.runs`.
    tolerances : dict of str to float
        Tolerances in the units of the features.
    features : dict of str to `~gammapy_mimic.matching.features.Feature`, optional
        Features in the order of the cut flow. Default is those that are built in.

    Notes
    -----
    A value that one side lacks (NaN or empty text) neither rejects a pair nor
    counts in its distance.
    """

    def __init__(self, targets, donors, tolerances, features=FEATURES):
        self.features = features
        self.tolerances = {n: tolerances[n] for n in features if n in tolerances}
        self._tables = targets, donors
        self.targets, self.donors = {}, {}
        for name in self.tolerances:
            self._take(name)
        for name in ("ALT_PNT", "ORIENTATION"):
            self.targets[name] = np.asarray(targets[name])
            self.donors[name] = np.asarray(donors[name])
        self.shape = len(targets), len(donors)

    def _take(self, name):
        """Take the columns of a feature from the tables, as numbers."""
        feature = self.features[name]
        sides = [_measured(it) if name in MEASURED else {} for it in self._tables]
        has_rates = all("RATE" in table.colnames for table in self._tables)
        if feature.kind == "area" or (feature.kind == "rate" and not has_rates):
            self._spectra = sides
            return
        column = feature.column
        t, d = (
            side.get(column, np.full(len(table), np.nan))
            if name in MEASURED and feature.kind != "rate"
            else np.asarray(table[column])
            for side, table in zip(sides, self._tables, strict=True)
        )
        if feature.kind == "sets":
            self._sets, t, d = _uncommon(t, d)
        elif t.dtype.kind == "U":
            t, d = _codes(t, d)
        self.targets[column], self.donors[column] = t, d

    def delta(self, name, rows, columns):
        """Signed difference donor minus target of a feature.

        Parameters
        ----------
        name : str
            Feature.
        rows, columns : array-like of int
            Indices of targets and of donors; broadcast against each other.

        Returns
        -------
        delta : `~numpy.ndarray` of float
            In the unit of the feature; a fraction of the target's value for
            relative features. NaN where one side lacks it.
        """
        feature = self.features[name]
        if feature.kind in ("area", "rate") and feature.column not in self.targets:
            compare = area_difference if feature.kind == "area" else rate_ratio
            values = compare(*self._spectra, *np.broadcast_arrays(rows, columns))
            return values if feature.kind == "area" else values - 1
        t = self.targets[feature.column][rows]
        d = self.donors[feature.column][columns]
        if feature.kind == "sets":
            return self._sets[t, d]
        if feature.kind == "angle" and name == "azimuth":
            return self._azimuth(t, d, rows, columns)
        if feature.kind == "angle":
            return (d - t + 180) % 360 - 180
        if feature.is_relative:
            with np.errstate(divide="ignore", invalid="ignore"):
                return d / t - 1
        if feature.kind in ("at_least", "at_most"):
            return np.broadcast_to(np.abs(d), np.broadcast_shapes(t.shape, d.shape))
        if feature.kind == "above":
            return np.minimum(t, d)
        return np.subtract(d, t, dtype=float)

    def _azimuth(self, t, d, rows, columns):
        """Azimuth difference, near the zenith that of the orientations."""
        near = self.targets["ALT_PNT"][rows] > 90 - NEAR_ZENITH_DEG
        near = near & (self.donors["ALT_PNT"][columns] > 90 - NEAR_ZENITH_DEG)
        turned = self.donors["ORIENTATION"][columns] - self.targets["ORIENTATION"][rows]
        return (np.where(near, turned, d - t) + 180) % 360 - 180

    def term(self, name, rows, columns, tolerance):
        """Difference in units of a tolerance (above 1: rejected).

        Other parameters are those of `delta`. Features that are no part of the
        distance give 0 or infinity, missing values NaN.
        """
        feature = self.features[name]
        delta = self.delta(name, rows, columns)
        amount = np.abs(np.minimum(delta, 0) if feature.kind == "shorter" else delta)
        if feature.counts and tolerance > 0:
            return amount / tolerance
        if feature.kind == "other":
            failed = amount == 0
        elif feature.kind == "above":
            failed = delta < tolerance
        elif feature.kind == "at_least":
            failed = amount < tolerance
        else:
            failed = amount > tolerance
        return np.where(np.isnan(amount), np.nan, np.where(failed, np.inf, 0.0))

    def failed(self, rows, columns):
        """Which cuts reject a pair: dict of feature name to boolean array."""
        return {
            name: self.term(name, rows, columns, tolerance) > 1
            for name, tolerance in self.tolerances.items()
        }

    def evaluate(self, relax=(), measure=None):
        """Distance of all pairs and how far the cuts must be relaxed.

        Parameters
        ----------
        relax : sequence of (str, float or None)
            Feature and wider tolerance (None: off), applied one after the other.
        measure : callable, optional
            Called before features that have to be measured are compared, with the
            indices of the targets and of the donors that are left; it fills the
            columns of the run tables. Default is None: they are there.

        Returns
        -------
        evaluation : `Evaluation`
            Result.
        """
        result = Evaluation(self.shape, self.tolerances)
        measured = [name for name in MEASURED if name in self.tolerances]
        indexed = [name for name in self.tolerances if name not in measured]
        step = max(1, _BLOCK // max(1, self.shape[1]))
        columns = np.arange(self.shape[1])[np.newaxis]
        for start in range(0, self.shape[0], step):
            rows = np.arange(start, min(start + step, self.shape[0]))[:, np.newaxis]
            self._compare(result, indexed, (rows, columns), relax)
        if not measured:
            return result
        rows, columns = np.nonzero(result.level >= 0)
        if measure is not None:
            measure(np.unique(rows), np.unique(columns))
            for name in measured:
                self._take(name)
        for start in range(0, len(rows), _MEASURED_BLOCK):
            part = slice(start, start + _MEASURED_BLOCK)
            self._compare(result, measured, (rows[part], columns[part]), relax)
        return result

    def _compare(self, result, names, place, relax):
        """Apply some cuts to some pairs, and add what comes out to the result."""
        # a slice of rows is changed in place, pairs one by one are written back
        is_block = place[0].ndim == 2
        key = (slice(place[0][0, 0], place[0][-1, 0] + 1),) if is_block else place
        level, squares = result.level[key], result._squares[key]
        number = result._number[key]
        for name in names:
            tolerance = self.tolerances[name]
            term = self.term(name, *place, tolerance)
            fails = np.broadcast_to(term > 1, level.shape)
            lost = fails & (level == 0)
            if is_block:
                result.rejected[name][key] = np.count_nonzero(lost, axis=1)
            else:
                np.add.at(result.rejected[name], place[0][lost], 1)
            needed = np.where(fails, -1, 0).astype(np.int8)
            for step, (relaxed, wide) in reversed(list(enumerate(relax, start=1))):
                if relaxed == name:
                    # a comparison with NaN is False: what is missing passes
                    still = wide is not None and self.term(name, *place, wide) > 1
                    needed = np.where(fails & ~np.asarray(still), step, needed)
            level[...] = np.where(
                (level < 0) | (needed < 0), -1, np.maximum(level, needed)
            )
            if self.features[name].counts and tolerance > 0:
                is_known = ~np.isnan(term)
                squares += np.where(is_known, np.minimum(term, 1e18), 0) ** 2
                number += is_known
        result.level[key], result._squares[key] = level, squares
        result._number[key] = number


def _measured(runs):
    """Measured columns of a run table; empty if nothing was measured."""
    names = (
        "LO_THRES",
        "RATE_CHI2",
        "AEFF",
        "RATE_SPECTRUM",
        "RATE_VARIANCE",
    )
    columns = {name: np.asarray(runs[name]) for name in names if name in runs.colnames}
    return {**columns, "EDGES": np.asarray(runs.meta.get("energy_edges", ()))}


def _first_bin(targets, donors, rows, columns):
    """First energy bin that lies above the thresholds of both runs of a pair."""
    limit = np.fmax(targets["LO_THRES"][rows], donors["LO_THRES"][columns])
    limit = np.nan_to_num(limit, nan=0.0)
    # an edge that is the threshold but for rounding is above it
    return np.searchsorted(targets["EDGES"], limit * (1 - 1e-6))


def area_difference(targets, donors, rows, columns):
    """Largest relative difference of the effective areas of pairs.

    Parameters
    ----------
    targets, donors : dict
        Measured columns: AEFF of shape (runs, energies, offsets), LO_THRES, EDGES.
    rows, columns : `~numpy.ndarray` of int
        Indices of targets and of donors, of the same shape.

    Returns
    -------
    difference : `~numpy.ndarray`
        Donor over target minus one where that is farthest from 0, above the
        thresholds of both runs; NaN where one side has no effective area.
    """
    shape, rows, columns = rows.shape, rows.ravel(), columns.ravel()
    if "AEFF" not in targets or "AEFF" not in donors:
        return np.full(shape, np.nan)
    if not len(rows):
        return np.zeros(shape)
    t, d = targets["AEFF"][rows], donors["AEFF"][columns]
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = d / t - 1
    number = np.arange(t.shape[1])
    below = number < _first_bin(targets, donors, rows, columns)[:, np.newaxis]
    amount = np.where(below[..., np.newaxis] | np.isnan(ratio), -1, np.abs(ratio))
    flat, ratio = (it.reshape(len(rows), t[0].size) for it in (amount, ratio))
    worst = flat.argmax(axis=1)[:, np.newaxis]
    value = np.take_along_axis(ratio, worst, axis=1)[:, 0]
    is_known = np.take_along_axis(flat, worst, axis=1)[:, 0] >= 0
    return np.where(is_known, value, np.nan).reshape(shape)


def rate_ratio(targets, donors, rows, columns, *, error=False, bins=None):
    """Ratio of the rates of pairs, donor over target, above both thresholds.

    Parameters
    ----------
    targets, donors : dict
        Measured columns: RATE_SPECTRUM and RATE_VARIANCE of shape (runs, energies),
        LO_THRES, EDGES.
    rows, columns : `~numpy.ndarray` of int
        Indices of targets and of donors, of the same shape.
    error : bool, optional
        Also give the statistical error. Default is False.
    bins : slice, optional
        Energy bins to add up. Default is all.

    Returns
    -------
    ratio : `~numpy.ndarray`
        Ratio; NaN where one side has no events. With ``error`` also its error.
    """
    shape, rows, columns = rows.shape, rows.ravel(), columns.ravel()
    if "RATE_SPECTRUM" not in targets or "RATE_SPECTRUM" not in donors:
        nothing = np.full(shape, np.nan)
        return (nothing, nothing) if error else nothing
    first = _first_bin(targets, donors, rows, columns)
    start, stop, _ = (bins or slice(None)).indices(targets["RATE_SPECTRUM"].shape[1])
    first = np.clip(first, start, stop)

    def above(side, name, index):
        # sums from the last bin down to each bin
        summed = np.cumsum(side[name][:, start:stop][:, ::-1], axis=1)[:, ::-1]
        summed = np.pad(summed, ((0, 0), (0, 1)))
        return summed[index, first - start]

    t, d = (
        above(targets, "RATE_SPECTRUM", rows),
        above(donors, "RATE_SPECTRUM", columns),
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where((t > 0) & (d > 0), d / t, np.nan)
        if not error:
            return ratio.reshape(shape)
        parts = above(targets, "RATE_VARIANCE", rows) / t**2
        parts = parts + above(donors, "RATE_VARIANCE", columns) / d**2
    return ratio.reshape(shape), (ratio * np.sqrt(parts)).reshape(shape)
