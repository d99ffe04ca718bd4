"""Counts of runs as a table of ratios, for the systematic of the background."""

import logging
from typing import NamedTuple

import numpy as np
from astropy import units as u
from astropy.table import QTable
from gammapy.maps import MapAxis, WcsGeom

from gammapy_mimic.validation.reduction import exclusion_mask, reduce_run
from gammapy_mimic.validation.statistics import MIN_PREDICTED, DonorRatios, scatter

__all__ = [
    "Tilt",
    "checked_counts",
    "count_cells",
    "count_run",
    "left_out_runs",
    "level_and_shape",
    "measure_tilt",
    "require_donors",
    "sums",
    "systematic_table",
]

log = logging.getLogger(__name__)


class Tilt(NamedTuple):
    """Spectral tilt -d ln(counts / prediction) / d ln(energy) from donor to donor.

    The numbers are those of the table, for the tilt; ``reference`` is the mean energy
    (of the logarithm, in TeV) of the predicted counts, where level and tilt do not
    depend on each other. NaN where there is one energy bin only.
    """

    mean: float
    systematic: float
    mean_err: float
    systematic_err: float
    systematic_ul: float
    reference: float


def count_run(observation, energy_edges, offset_edges, exclusion):
    """Sum counts and prediction of a run, by energy and offset."""
    pointing = observation.get_pointing_icrs(observation.tmid)
    geom = WcsGeom.create(
        skydir=pointing.icrs,
        width=2 * offset_edges[-1],
        binsz=0.1,
        axes=[MapAxis.from_energy_edges(energy_edges)],
        proj="TAN",
    )
    dataset = reduce_run(observation, geom, offset_max=offset_edges[-1])
    return count_cells(dataset, pointing, offset_edges, exclusion_mask(geom, exclusion))


def count_cells(dataset, pointing, offset_edges, mask):
    """Sum counts and prediction of a reduced run, by energy and offset.

    ``mask`` is the map that `exclusion_mask` gives, in the geometry of the data set.
    """
    used = dataset.mask_safe.data & mask.data
    image = dataset.counts.geom.to_image()
    offset = image.separation(pointing.icrs).to_value("deg")
    number = np.digitize(offset, offset_edges.to_value("deg")) - 1
    found = []
    for data in (dataset.counts.data, dataset.background.data):
        data = np.where(used, data, 0)
        cells = [data[:, number == k].sum(axis=1) for k in range(len(offset_edges) - 1)]
        found.append(np.stack(cells, axis=1))
    return found


def checked_counts(counts, predicted, variance, donors, energy_edges, offset_edges):
    """Give counts, prediction and its variance as arrays (run, energy, offset).

    A run without any counts is broken: nothing is predicted for it.

    Raises
    ------
    ValueError
        If the shapes do not fit, or a number is negative or not finite.
    """
    n_offset = 1 if offset_edges is None else len(offset_edges) - 1
    shape = (len(donors), len(energy_edges) - 1, n_offset)
    allowed = [shape, shape[:2]] if n_offset == 1 else [shape]
    variance = np.zeros(np.shape(predicted)) if variance is None else variance
    named = {"counts": counts, "predicted": predicted, "predicted_variance": variance}
    checked = []
    for name, data in named.items():
        data = np.asarray(data, dtype=float)
        if data.shape not in allowed:
            raise ValueError(
                f"{name} has the shape {data.shape}: {len(donors)} donors, the energy "
                f"and the offset edges need {' or '.join(map(str, allowed))}"
            )
        if not np.all(np.isfinite(data) & (data >= 0)):
            raise ValueError(f"{name} must be finite and not negative")
        checked.append(data.reshape(shape))
    checked[1] = np.where(checked[0].any(axis=(1, 2), keepdims=True), checked[1], 0)
    return checked


def sums(data):
    """Sum an array (run, energy, offset): whole field, by energy, and all bins."""
    number = len(data)
    return (
        data.sum(axis=(1, 2))[:, np.newaxis],
        data.sum(axis=2),
        data.reshape(number, data.shape[1] * data.shape[2]),
    )


class TooFewDonorsError(ValueError):
    """Fewer than two donors can be used: there is no scatter to measure."""


def require_donors(field: DonorRatios, used: np.ndarray) -> None:
    """Raise an error unless two donors are used; ``used`` is of each run."""
    n_donors = np.isfinite(field.ratio).sum()
    if n_donors < 2:
        raise TooFewDonorsError(
            f"{len(used)} runs given: {used.sum()} of {len(used)} runs have counts and "
            f"a predicted background of more than {MIN_PREDICTED:g} counts, and come "
            f"from {n_donors} donors; the scatter from donor to donor needs at least "
            "two, and a useful one some ten: add donors, or take longer runs, lower "
            "energies or larger offsets"
        )


def systematic_table(
    field: DonorRatios, bins: DonorRatios, energy_edges, offset_edges
) -> QTable:
    """Make the rows for the whole field and for each bin."""
    table = QTable()
    n_energy = len(energy_edges) - 1
    n_offset = bins.ratio.shape[-1] // n_energy
    low, high = (
        np.repeat(it, n_offset) for it in (energy_edges[:-1], energy_edges[1:])
    )
    table["ENERGY_MIN"] = np.concatenate([energy_edges[:1], low])
    table["ENERGY_MAX"] = np.concatenate([energy_edges[-1:], high])
    if offset_edges is not None:
        low, high = (
            np.tile(it, n_energy) for it in (offset_edges[:-1], offset_edges[1:])
        )
        table["OFFSET_MIN"] = np.concatenate([offset_edges[:1], low])
        table["OFFSET_MAX"] = np.concatenate([offset_edges[-1:], high])
    both = (field, bins)
    table["N_RUNS"] = np.concatenate([it.n_runs for it in both])
    found = [scatter(it.ratio, it.variance) for it in both]
    table["N_DONORS"] = np.concatenate([it.pop("N_DONORS") for it in found])
    predicted = np.concatenate([it.predicted for it in both], axis=1)
    n_predicted = np.isfinite(predicted).sum(axis=0)
    total = np.nansum(predicted, axis=0)
    table["PREDICTED"] = total / np.where(n_predicted > 0, n_predicted, np.nan)
    for name in found[0]:
        table[name] = np.concatenate([it[name] for it in found])
    return table


def left_out_runs(table, used, names):
    """Name the runs that are not used in each row, here and in the log.

    Parameters
    ----------
    table : `~astropy.table.QTable`
        Rows.
    used : `~numpy.ndarray` of bool
        Shape (n_runs, n_rows).
    names : `~numpy.ndarray`
        Names of the runs.

    Returns
    -------
    names : list of str
        Names of the runs that are left out, for each row.
    """
    found = []
    for row, is_used in zip(table, used.T, strict=True):
        found.append(", ".join(str(name) for name in names[~is_used]))
        if found[-1]:
            offset = ""
            if "OFFSET_MIN" in table.colnames:
                offset = f", {row['OFFSET_MIN'].value:.3g} to {row['OFFSET_MAX']:.3g}"
            log.warning(
                "%.3g to %s%s: %d of %d runs are left out, as they have no counts, or "
                "no more than %g are predicted above their energy threshold: %s",
                row["ENERGY_MIN"].value,
                f"{row['ENERGY_MAX']:.3g}",
                offset,
                np.sum(~is_used),
                len(names),
                MIN_PREDICTED,
                found[-1],
            )
    return found


def level_and_shape(table: QTable, covariance: np.ndarray) -> tuple[float, np.ndarray]:
    """Systematic of the level of the field, and of each bin relative to it.

    The level is the mean of the bins, weighted by their prediction.
    """
    is_measured = np.isfinite(table["SYSTEMATIC"][1:])
    weight = np.where(is_measured, np.nan_to_num(table["PREDICTED"][1:]), 0)
    weight = weight / weight.sum()
    covariance = np.nan_to_num(covariance)
    level = float(np.sqrt(weight @ covariance @ weight))
    relative = np.eye(len(weight)) - weight
    shape = np.sqrt(np.diag(relative @ covariance @ relative.T).clip(min=0))
    return level, np.where(is_measured, shape, np.nan)


def measure_tilt(by_energy: DonorRatios, energy_edges: u.Quantity) -> Tilt:
    """Measure the tilt of each donor and its scatter.

    It is the slope of a straight line in ln E, relative to the level of the donor,
    with the predicted counts as weights.
    """
    x = np.log(np.sqrt(energy_edges[1:] * energy_edges[:-1]).to_value("TeV"))
    weight = np.nan_to_num(by_energy.predicted)
    ratio = np.nan_to_num(by_energy.ratio)
    total = weight.sum(axis=1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        x_mean = (weight * x).sum(axis=1, keepdims=True) / total
        level = (weight * ratio).sum(axis=1, keepdims=True) / total
        slope = weight * (x - x_mean)
        norm = level[:, 0] * (slope * (x - x_mean)).sum(axis=1)
        tilt = np.where(norm > 0, -(slope * ratio).sum(axis=1) / norm, np.nan)
        variance = (slope**2 * np.nan_to_num(by_energy.variance)).sum(axis=1) / norm**2
    variance = np.where(np.isfinite(tilt), variance, np.nan)
    found = scatter(tilt[:, np.newaxis], variance[:, np.newaxis])
    reference = np.exp(np.sum(weight * x) / np.sum(weight))
    value = {name: float(it[0]) for name, it in found.items()}
    return Tilt(
        mean=value["MEAN"],
        systematic=value["SYSTEMATIC"],
        mean_err=value["MEAN_ERR"],
        systematic_err=value["SYSTEMATIC_ERR"],
        systematic_ul=value["SYSTEMATIC_UL"],
        reference=float(reference),
    )
