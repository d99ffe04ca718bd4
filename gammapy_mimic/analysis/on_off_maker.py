"""`MimicOnOffMaker`: mimics as the off counts of an On/Off analysis."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from astropy import units as u
from astropy.table import Table
from gammapy.data import Observation
from gammapy.datasets import (
    MapDataset,
    MapDatasetOnOff,
    SpectrumDataset,
    SpectrumDatasetOnOff,
)
from gammapy.makers import Maker, MapDatasetMaker, SpectrumDatasetMaker
from gammapy.maps import Map, MapAxis

from gammapy_mimic.matching import OuterRate
from gammapy_mimic.sources.known import known_sources, parse_sources

__all__ = ["MimicOnOffMaker"]

_CHOICES = ("exposure", "background", "rate")

# counts on either side from which a ratio of rates is taken
_LEAST_COUNTS = 20


class MimicOnOffMaker(Maker):
    """Make On/Off datasets of a target, with its mimics as off.

    The off counts are those of the mimics at the same place of the field of view, by
    energy. What differs is how they are scaled.

    Parameters
    ----------
    acceptance : {"exposure", "background", "rate"}, optional
        What the acceptances are: livetime times effective area; the background that
        the models of target and mimics predict; or the measured ratio of the rates in
        the field of view outside of sources, by energy. The first two take
        conditions to be equal that no IRF describes, the last one measures them.
        Default is "exposure".
    sources : see `~gammapy_mimic.sources.known.parse_sources`, optional
        Sources left out of the rates, besides the place that is analysed, the object
        of the target and bright sources. Default is None.
    theta : `~astropy.units.Quantity`, optional
        Radius that is left out about a source without a radius. Default is 0.3 deg.

    Attributes
    ----------
    table : `~astropy.table.Table` or None
        Ratio of the rates of the last run: ENERGY_MIN, ENERGY_MAX, N_TARGET, N_MIMIC,
        RATIO (target over mimics) and RATIO_ERR. None unless ``acceptance="rate"``.

    Raises
    ------
    ValueError
        If ``acceptance`` has none of its values.

    Notes
    -----
    The error of a measured ratio r enters a spectrum dataset by the weight
    ``f = 1 / (1 + n_off * (sigma_r / r)**2)`` on both off counts and off acceptance:
    the background stays, and its relative variance becomes ``1 / n_off +
    (sigma_r / r)**2``. In a map it is common to all pixels and cannot be given to
    each: `excess` has it.

    Examples
    --------
    >>> maker = MimicOnOffMaker(acceptance="rate")
    >>> on_off = maker.run(dataset, mimic, target=target)  # doctest: +SKIP
    >>> maker.excess(on_off)  # doctest: +SKIP
    """

    tag = "MimicOnOffMaker"

    def __init__(
        self,
        acceptance: str = "exposure",
        *,
        sources: Any = None,
        theta: u.Quantity = 0.3 * u.deg,
    ) -> None:
        if acceptance not in _CHOICES:
            raise ValueError(f"acceptance = {acceptance!r}: must be one of {_CHOICES}")
        self.acceptance = acceptance
        self.theta = theta
        self.sources = [] if sources is None else parse_sources(sources, theta=theta)
        self.table = None

    def run(
        self,
        dataset: MapDataset,
        mimics: Observation | Iterable[Observation],
        *,
        target: Observation | None = None,
    ) -> MapDatasetOnOff:
        """Make the On/Off dataset of one target.

        Parameters
        ----------
        dataset : `~gammapy.datasets.MapDataset` or \
`~gammapy.datasets.SpectrumDataset`
            Reduced target; not changed.
        mimics : `~gammapy.data.Observation` or sequence of these
            Its mimic, or several: their counts are added.
        target : `~gammapy.data.Observation`, optional
            The target itself, needed for ``acceptance="rate"``. Default is None.

        Returns
        -------
        dataset : `~gammapy.datasets.MapDatasetOnOff` or \
`~gammapy.datasets.SpectrumDatasetOnOff`
            Dataset of the same name. Energies below the threshold (LO_THRES) of a
            mimic are masked.

        Raises
        ------
        TypeError
            If mimics are not observations, or the target is needed and not given.
        ValueError
            If a background model is needed and missing, or the rates have no events.
        """
        mimics = [mimics] if isinstance(mimics, Observation) else list(mimics)
        for run in [*mimics, *([] if target is None else [target])]:
            if not isinstance(run, Observation):
                raise TypeError(f"{run!r}: must be a gammapy Observation")
        if not mimics:
            raise ValueError("mimics: there is none")
        counts_off, ratio = _counts(dataset, mimics), None
        if self.acceptance == "rate":
            if not isinstance(target, Observation):
                raise TypeError("acceptance = 'rate' needs target=, its observation")
            ratio = self._measure(dataset, target, mimics)
            on, off = counts_off.copy(data=1.0), counts_off.copy(data=1.0)
            shape = (-1, *(1,) * (counts_off.data.ndim - 1))
            off.data = off.data / ratio["RATIO"].reshape(shape)
        elif self.acceptance == "background":
            on, off = _background(dataset, mimics)
        else:
            on, off = _exposure(dataset, mimics)
        if ratio is not None and isinstance(dataset, SpectrumDataset):
            relative = (ratio["RATIO_ERR"] / ratio["RATIO"]).reshape(shape)
            weight = 1 / (1 + counts_off.data * relative**2)
            counts_off.data, off.data = counts_off.data * weight, off.data * weight
        return _on_off(dataset, mimics, counts_off, on, off)

    def excess(self, dataset: MapDatasetOnOff) -> Table:
        """Excess by energy, with the error of the measured ratio of the last run.

        Parameters
        ----------
        dataset : `~gammapy.datasets.MapDatasetOnOff` or \
`~gammapy.datasets.SpectrumDatasetOnOff`
            As of `run`.

        Returns
        -------
        table : `~astropy.table.Table`
            ENERGY_MIN, ENERGY_MAX (first row: all energies), N_ON, N_OFF, BACKGROUND
            (off counts times alpha), EXCESS and EXCESS_ERR, of all pixels that are
            not masked.
        """
        axis = dataset.counts.geom.axes["energy"]
        mask = np.ones(dataset.counts.data.shape, dtype=bool)
        if dataset.mask is not None:
            mask = dataset.mask.data.astype(bool)
        places = tuple(range(1, mask.ndim))

        def summed(values):
            return np.where(mask, np.nan_to_num(values), 0).sum(axis=places)

        n_on, n_off = summed(dataset.counts.data), summed(dataset.counts_off.data)
        alpha = dataset.alpha.data
        background = summed(alpha * dataset.counts_off.data)
        variance = n_on + summed(alpha**2 * dataset.counts_off.data)
        # common to all pixels of a band; in a spectrum it is in the off counts already
        common = np.zeros(len(n_on))
        if self.table is not None and not isinstance(dataset, SpectrumDatasetOnOff):
            common = background * (self.table["RATIO_ERR"] / self.table["RATIO"])
        total, totals = self._group_sums(common), (n_on, n_off, background, variance)
        n_on, n_off, background, variance = (np.r_[it.sum(), it] for it in totals)
        variance += np.r_[total, common**2]
        edges = axis.edges
        return Table(
            {
                "ENERGY_MIN": edges[np.r_[0, 0 : axis.nbin]],
                "ENERGY_MAX": edges[np.r_[-1, 1 : axis.nbin + 1]],
                "N_ON": n_on,
                "N_OFF": n_off,
                "BACKGROUND": background,
                "EXCESS": n_on - background,
                "EXCESS_ERR": np.sqrt(variance),
            }
        )

    def _group_sums(self, common):
        """Variance of a sum over energies: bins that share a ratio err together."""
        if self.table is None:
            return 0.0
        group = np.asarray(self.table["GROUP"])
        return float(sum(common[group == it].sum() ** 2 for it in np.unique(group)))

    def _measure(self, dataset, target, mimics):
        """Ratio of the rates of target and mimics outside of sources, by energy."""
        axis = dataset.counts.geom.axes["energy"]
        edges = axis.edges.to_value("TeV")
        rate = OuterRate(offset_min=0.3 * u.deg, offset_max=2.5 * u.deg)
        sources = self._left_out(dataset, target)
        counts = []
        for runs in ([target], mimics):
            number = np.zeros(axis.nbin)
            for run in runs:
                events = run.events
                rows, _ = rate.counted(run, events, sources)
                energy = events.energy[rows].to_value("TeV")
                number += np.histogram(energy, edges)[0]
            counts.append(number)
        group = _groups(*counts)
        n_on, n_off = (
            np.bincount(group, weights=it, minlength=group.max() + 1)[group]
            for it in counts
        )
        if not (n_on > 0).all() or not (n_off > 0).all():
            raise ValueError(
                f"run {target.obs_id}: target or mimics have no events outside of "
                "sources, so that their rates cannot be compared"
            )
        self.table = Table(
            {
                "ENERGY_MIN": axis.edges[:-1],
                "ENERGY_MAX": axis.edges[1:],
                "N_TARGET": counts[0],
                "N_MIMIC": counts[1],
                "RATIO": n_on / n_off,
                "RATIO_ERR": n_on / n_off * np.sqrt(1 / n_on + 1 / n_off),
                "GROUP": group,
            }
        )
        return {name: np.asarray(self.table[name]) for name in ("RATIO", "RATIO_ERR")}

    def _left_out(self, dataset, target):
        """Circles that do not count in the rates."""
        geom = dataset.counts.geom
        extra = list(self.sources)
        if isinstance(dataset, SpectrumDataset):
            extra += parse_sources(geom.center_skydir, theta=_radius(geom, self.theta))
        own = None if target.meta.target is None else target.meta.target.position
        if own is not None and np.isfinite([own.icrs.ra.deg, own.icrs.dec.deg]).all():
            extra += parse_sources(own, theta=self.theta)
        return known_sources(
            target.get_pointing_icrs(target.tmid),
            3.5 * u.deg,
            catalogs=("bright",),
            extra=extra or None,
            theta=self.theta,
        )


def _maker(dataset):
    is_spectrum = isinstance(dataset, SpectrumDataset)
    return (SpectrumDatasetMaker if is_spectrum else MapDatasetMaker)()


def _counts(dataset, mimics):
    geom = dataset.counts.geom
    counts = Map.from_geom(geom, dtype=float)
    for mimic in mimics:
        counts.data += _maker(dataset).make_counts(geom, mimic).data
    return counts


def _background(dataset, mimics):
    if dataset.background is None or any(mimic.bkg is None for mimic in mimics):
        raise ValueError(
            "acceptance = 'background': target and mimics need a background model"
        )
    off = Map.from_geom(dataset.counts.geom, dtype=float)
    for mimic in mimics:
        model = _maker(dataset).make_background(off.geom, mimic)
        off.data += model.data
    return dataset.background.copy(), off


def _exposure(dataset, mimics):
    """Livetime times effective area at the energies of the counts."""
    geom = dataset.counts.geom
    energy = geom.axes["energy"]
    axis = MapAxis.from_energy_edges(energy.edges, name="energy_true")
    geom_true = geom.to_image().to_cube([axis])
    off = Map.from_geom(geom, dtype=float)
    for mimic in mimics:
        exposure = _maker(dataset).make_exposure(geom_true, mimic)
        off.data += exposure.quantity.to_value("m2 s")
    coords = geom_true.get_coord()
    values = dataset.exposure.interp_by_coord(coords, fill_value=None)
    values = u.Quantity(values, dataset.exposure.unit).to_value("m2 s")
    return Map.from_geom(geom, data=values.reshape(geom.data_shape)), off


def _on_off(dataset, mimics, counts_off, on, off):
    parts = {
        "acceptance": on,
        "acceptance_off": off,
        "counts_off": counts_off,
        "name": dataset.name,
    }
    if isinstance(dataset, SpectrumDataset):
        new = SpectrumDatasetOnOff.from_spectrum_dataset(dataset=dataset, **parts)
    else:
        new = MapDatasetOnOff.from_map_dataset(dataset, **parts)
    limits = [(mimic.aeff.meta or {}).get("LO_THRES", 0) for mimic in mimics]
    mask = counts_off.geom.energy_mask(energy_min=max(limits) * u.TeV)
    new.mask_safe = mask if new.mask_safe is None else new.mask_safe & mask
    return new


def _radius(geom, theta):
    """Radius of the region of a spectrum, and at least theta."""
    radius = getattr(geom.region, "radius", None)
    return theta if radius is None else max(radius, theta)


def _groups(n_on, n_off):
    """Join energy bins, from the highest downward, until they have enough counts."""
    group, number = np.zeros(len(n_on), dtype=int), 0
    on = off = 0.0
    for index in reversed(range(len(n_on))):
        group[index] = number
        on, off = on + n_on[index], off + n_off[index]
        if min(on, off) >= _LEAST_COUNTS and index:
            number, on, off = number + 1, 0.0, 0.0
    if number and min(on, off) < _LEAST_COUNTS:
        # what is left at the lowest energies joins its neighbour
        group[group == number] = number - 1
    return group
