"""What makes a donor fit a target: features, differences and tolerances."""

from dataclasses import dataclass
from difflib import get_close_matches

import numpy as np
from astropy import units as u

__all__ = ["FEATURES", "Cuts", "Feature", "make_tolerances"]

NEAR_ZENITH_DEG = 10.0


@dataclass(frozen=True)
class Feature:
    """One property in which donor and target are compared.

    Parameters
    ----------
    name : str
        Name of the tolerance.
    column : str
        Column of the run table.
    kind : str
        How it is compared: "difference", "angle" (wrapped), "relative" (to the
        target), "shorter" (relative, a longer donor is welcome), "same", "other"
        (must differ), "sets" (elements not in common) or "at_least" (of the donor
        alone, by absolute value).
    letter : str
        Letter that stands for the cut in figures.
    default : float or None
        Default tolerance; None is off.
    unit : str
        Unit of the tolerance and the column; empty for plain numbers.
    """

    name: str
    column: str
    kind: str
    letter: str
    default: float | None = None
    unit: str = ""

    @property
    def counts(self):
        """Whether the feature is part of the distance."""
        return self.kind in ("difference", "angle", "relative", "shorter")


# the order is that of the cut flow
FEATURES = {
    feature.name: feature
    for feature in (
        Feature("itself", "OBS_ID", "other", "i", 0),
        Feature("excluded", "ALLOWED", "at_least", "x"),
        Feature("telescope", "TELESCOP", "same", "T", 0),
        Feature("n_tels", "N_TELS", "difference", "n", 0),
        Feature("telescopes", "TELLIST", "sets", "l"),
        Feature("epoch", "EPOCH", "same", "e"),
        Feature("galactic_latitude", "GLAT_PNT", "at_least", "g", None, "deg"),
        Feature("keep_away", "SOURCE_DISTANCE", "at_least", "s", None, "deg"),
        Feature("airmass", "AIRMASS", "difference", "a", 0.15),
        Feature("azimuth", "AZ_PNT", "angle", "z", 45, "deg"),
        Feature("ontime", "ONTIME", "shorter", "o", 0.1),
        Feature("muon_efficiency", "MUONEFF", "relative", "m", 0.1),
        Feature("nsb", "NSBLEVEL", "difference", "b", 1.5),
        Feature("time", "TIME", "difference", "t", None, "d"),
        Feature("rate", "RATE", "relative", "r"),
    )
}

# set by arguments of their own
RESERVED = ("itself", "excluded", "epoch", "keep_away")


def _tolerance(name, value):
    """Plain number of a tolerance in the unit of its feature."""
    unit = FEATURES[name].unit
    try:
        number = float(u.Quantity(value).to_value(unit))
    except (TypeError, ValueError, u.UnitConversionError) as error:
        need = f"a value with a unit, as '3 {unit}'" if unit else "a plain number"
        raise ValueError(f"tolerance {name} = {value!r}: must be {need}") from error
    if not number >= 0:
        raise ValueError(f"tolerance {name} = {value!r}: must not be negative")
    return number


def check_name(name):
    """Raise an error for a feature that has no tolerance."""
    names = [key for key in FEATURES if key not in RESERVED]
    if name not in names:
        near = get_close_matches(str(name), names, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ValueError(f"no tolerance {name!r}: {hint}choose from {names}")


def make_tolerances(given):
    """Tolerances of all features in the order of the cut flow.

    Parameters
    ----------
    given : mapping
        Tolerances that differ from the defaults, with their units; None switches
        a feature off.

    Returns
    -------
    tolerances : dict of str to float
        Those that are on, in the units of `FEATURES`.

    Raises
    ------
    ValueError
        For an unknown name, a missing or wrong unit or a negative tolerance.
    """
    for name in given:
        check_name(name)
    result = {}
    for name, feature in FEATURES.items():
        value = given.get(name, feature.default)
        if name in given and value is not None:
            value = _tolerance(name, value)
        if value is not None:
            result[name] = value
    return result


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


class Cuts:
    """Compare every target with every donor.

    Parameters
    ----------
    targets, donors : `~astropy.table.Table`
        Run tables, see `gammapy_mimic.matching.runs`.
    tolerances : dict of str to float
        Tolerances in the units of `FEATURES`.

    Notes
    -----
    A value that one side lacks (NaN or empty text) neither rejects a pair nor
    counts in its distance.
    """

    def __init__(self, targets, donors, tolerances):
        self.tolerances = {n: tolerances[n] for n in FEATURES if n in tolerances}
        self.targets, self.donors = {}, {}
        for name in self.tolerances:
            column = FEATURES[name].column
            t, d = np.asarray(targets[column]), np.asarray(donors[column])
            if FEATURES[name].kind == "sets":
                self._sets, t, d = _uncommon(t, d)
            elif t.dtype.kind == "U":
                t, d = _codes(t, d)
            self.targets[column], self.donors[column] = t, d
        for name in ("ALT_PNT", "ORIENTATION"):
            self.targets[name] = np.asarray(targets[name])
            self.donors[name] = np.asarray(donors[name])
        self.shape = len(targets), len(donors)

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
        feature = FEATURES[name]
        t = self.targets[feature.column][rows]
        d = self.donors[feature.column][columns]
        if feature.kind == "sets":
            return self._sets[t, d]
        if feature.kind == "angle":
            return self._azimuth(t, d, rows, columns)
        if feature.kind in ("relative", "shorter"):
            return d / t - 1
        if feature.kind == "at_least":
            return np.broadcast_to(np.abs(d), np.broadcast_shapes(t.shape, d.shape))
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
        kind = FEATURES[name].kind
        delta = self.delta(name, rows, columns)
        amount = np.abs(np.minimum(delta, 0) if kind == "shorter" else delta)
        if FEATURES[name].counts and tolerance > 0:
            return amount / tolerance
        if kind == "other":
            failed = amount == 0
        elif kind == "at_least":
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

    def evaluate(self, relax=()):
        """Distance of all pairs and how far the cuts must be relaxed.

        Parameters
        ----------
        relax : sequence of (str, float or None)
            Feature and wider tolerance (None: off), applied one after the other.

        Returns
        -------
        distance : `~numpy.ndarray` of float, shape (targets, donors)
            Root mean square of difference over tolerance.
        level : `~numpy.ndarray` of int, shape (targets, donors)
            How many steps of ``relax`` the pair needs; -1 where none suffices.
        """
        distance, level = np.empty(self.shape), np.empty(self.shape, dtype=np.int8)
        # blocks of targets: temporary arrays stay small
        step = max(1, 500_000 // max(1, self.shape[1]))
        for start in range(0, self.shape[0], step):
            rows = np.arange(start, min(start + step, self.shape[0]))
            distance[rows], level[rows] = self._block(rows[:, np.newaxis], relax)
        return distance, level

    def _block(self, rows, relax):
        columns = np.arange(self.shape[1])[np.newaxis]
        shape = len(rows), self.shape[1]
        squares, number = np.zeros(shape), np.zeros(shape)
        level = np.zeros(shape, dtype=np.int8)
        for name, tolerance in self.tolerances.items():
            term = self.term(name, rows, columns, tolerance)
            needed = np.where(term > 1, -1, 0)
            for step, (relaxed, wide) in reversed(list(enumerate(relax, start=1))):
                if relaxed == name:
                    # a comparison with NaN is False: what is missing passes
                    fails = wide is not None and (
                        self.term(name, rows, columns, wide) > 1
                    )
                    needed = np.where((term > 1) & ~np.asarray(fails), step, needed)
            level = np.where((level < 0) | (needed < 0), -1, np.maximum(level, needed))
            if FEATURES[name].counts and tolerance > 0:
                squares += np.where(np.isnan(term), 0, term**2)
                number += ~np.isnan(term)
        return np.sqrt(squares / np.maximum(number, 1)), level
