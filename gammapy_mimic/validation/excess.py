"""Significance maps of many skies at a time."""

import numpy as np
from astropy import units as u
from gammapy.estimators import ExcessMapEstimator
from gammapy.makers import RingBackgroundMaker
from gammapy.stats import CashCountsStatistic, WStatCountsStatistic
from scipy.fft import irfft2, next_fast_len, rfft2

from gammapy_mimic.io.arguments import check_choice
from gammapy_mimic.validation.reduction import exclusion_mask

__all__ = ["ExcessMaps"]

METHODS = ("ring", "fov")
RING = {"r_in": 0.5 * u.deg, "width": 0.3 * u.deg}
MAX_PIXELS = 150_000
"""Pixels, of all skies and energies, at a time: they fit into the processor's cache."""

NO_ACCEPTANCE = 1e-9
"""Part of the largest acceptance below which there is none: noise of the FFT."""


class ExcessMaps:
    """Procedure that turns counts into significances, for data and toys alike.

    It gives what `~gammapy.makers.RingBackgroundMaker` and
    `~gammapy.estimators.ExcessMapEstimator` give, of any number of skies at a time and
    ten times as fast. Where a pixel has no off counts at all, they take the noise of
    the FFT for off counts, so that chance decides whether it has a significance; here
    the ratio of acceptances is taken there.

    Parameters
    ----------
    dataset : `~gammapy.datasets.MapDataset`
        Background and safe mask; counts, for the scale of the background.
    exclusion : list of `~regions.SkyRegion`, `~gammapy.maps.Map` or None
        Exclusion regions, or a mask that is True outside of them.
    method : {"ring", "fov"}
        Background from a ring, or predicted one scaled to the counts by energy.
    correlation_radius : `~astropy.coordinates.Angle`
        Radius of the circle in which counts are summed.
    ring : dict or None
        Arguments of `~gammapy.makers.RingBackgroundMaker`.
    """

    def __init__(self, dataset, exclusion, method, correlation_radius, ring):
        check_choice("method", method, METHODS)
        self.method = method
        self.geom = dataset.counts.geom
        self.energy_edges = self.geom.axes["energy"].edges
        self.safe = dataset.mask_safe.data.astype(bool)
        self.outside = exclusion_mask(self.geom, exclusion).data
        self.used = self.safe & self.outside
        background = dataset.npred_background().data.astype(float)
        self.background = np.where(self.safe, background, 0)
        estimator = ExcessMapEstimator(correlation_radius)
        circle = estimator.estimate_kernel(dataset).data
        shape = self.background.shape[-2:]
        self.circle = _Sums(circle / circle.max(), shape)
        ring = RingBackgroundMaker(**(RING if ring is None else ring))
        self.ring = _Sums(ring.kernel(dataset.counts).array, shape)
        acceptance = self.ring(self.background * self.outside)
        self.has_off = self.safe & (
            acceptance > NO_ACCEPTANCE * acceptance.max(initial=0)
        )
        self.ratio = np.divide(
            self.background, acceptance, where=self.has_off, out=0 * acceptance
        )
        on, off = (
            _with_total(self.circle(np.where(self.has_off, it, 0)))
            for it in (self.background, acceptance)
        )
        self.alpha = on / np.where(off > 0, off, np.nan)
        self.model = self.scaled(dataset.counts.data)
        data = self.has_off if method == "ring" else self.safe & (self.model > 0)
        self.has_data = _any_and_each(data)
        self.is_selected = self.has_data & _any_and_each(self.used)

    def scaled(self, counts):
        """Background scaled to counts outside of the exclusion, by energy.

        Parameters
        ----------
        counts : `~numpy.ndarray`
            Counts, shape (..., n_energy, n_y, n_x).

        Returns
        -------
        background : `~numpy.ndarray`
            Same shape.
        """
        axes = (-2, -1)
        total = np.where(self.used, self.background, 0).sum(axis=axes, keepdims=True)
        found = np.where(self.used, counts, 0).sum(axis=axes, keepdims=True)
        norm = found / np.where(total > 0, total, np.inf)
        return np.where(self.safe, self.background * norm, 0)

    def significances(self, counts):
        """Significances of all energies together, then of each energy bin.

        Parameters
        ----------
        counts : `~numpy.ndarray`
            Counts, shape (..., n_energy, n_y, n_x).

        Returns
        -------
        significances : `~numpy.ndarray`
            Shape (..., 1 + n_energy, n_y, n_x); NaN where there is no background.
        """
        return self._significances(counts.astype(float), self.has_data)

    def select(self, significances):
        """Significances of the pixels that are used; NaN elsewhere."""
        return np.where(self.is_selected, significances, np.nan)

    def toys(self, n_toys, rng):
        """Significances of Poisson skies of the scaled background.

        Parameters
        ----------
        n_toys : int
            Number of skies.
        rng : `~numpy.random.Generator`
            Random numbers.

        Yields
        ------
        significances : `~numpy.ndarray`
            Some skies at a time, shape (n, 1 + n_energy, n_y, n_x); NaN in pixels
            that are not used.
        """
        chunk = max(1, MAX_PIXELS // self.model.size)
        for first in range(0, n_toys, chunk):
            number = min(chunk, n_toys - first)
            counts = rng.poisson(self.model, (number, *self.model.shape))
            # single precision holds them, and is twice as fast
            yield self._significances(counts.astype(np.float32), self.is_selected)

    def _significances(self, counts, wanted):
        """Significances where they are wanted; NaN elsewhere."""
        counts = np.where(self.safe, counts, 0)
        find = self._of_ring if self.method == "ring" else self._of_field
        shape = *counts.shape[:-3], *wanted.shape
        found = np.full(shape, np.nan)
        with np.errstate(all="ignore"):
            found[..., wanted] = find(counts, wanted).sqrt_ts
        return found

    def _of_ring(self, counts, wanted):
        """Li & Ma statistic with the background of a ring."""
        off = np.rint(self.ring(counts * self.outside))
        maps = np.array([counts, off, self.ratio * off], dtype=counts.dtype)
        maps[..., ~self.has_off] = 0
        n_on, n_off, expected = _with_total(self.circle(maps))[..., wanted]
        n_on, n_off = np.rint(n_on, dtype=float), np.rint(n_off, dtype=float)
        # where a circle has no off counts the acceptances are all that is known
        alpha = np.where(n_off > 0, expected / n_off, self.alpha[wanted])
        return WStatCountsStatistic(n_on, n_off, alpha)

    def _of_field(self, counts, wanted):
        """Cash statistic with the scaled background."""
        maps = np.array([counts, self.scaled(counts)], dtype=counts.dtype)
        n_on, expected = _with_total(self.circle(maps))[..., wanted]
        return CashCountsStatistic(np.rint(n_on, dtype=float), expected.astype(float))


def _any_and_each(mask):
    """Mask of any energy, then that of each energy bin."""
    return np.concatenate([mask.any(axis=0, keepdims=True), mask])


def _with_total(maps):
    """Map of all energies together, then that of each energy bin."""
    return np.concatenate([maps.sum(axis=-3, keepdims=True), maps], axis=-3)


class _Sums:
    """Sum of maps in a shape about each pixel, by FFT.

    Parameters
    ----------
    kernel : `~numpy.ndarray`
        Shape, whose transform is kept.
    shape : tuple of int
        Shape of the maps, (n_y, n_x).
    """

    def __init__(self, kernel, shape):
        kernel = kernel.reshape(kernel.shape[-2:])
        full = [n + k - 1 for n, k in zip(shape, kernel.shape, strict=True)]
        self.size = [next_fast_len(number, real=True) for number in full]
        self.kernel = rfft2(kernel, self.size)
        self.part = tuple(
            slice((k - 1) // 2, (k - 1) // 2 + n)
            for n, k in zip(shape, kernel.shape, strict=True)
        )

    def __call__(self, maps):
        spectrum = rfft2(maps, self.size)
        spectrum *= self.kernel
        return irfft2(spectrum, self.size)[..., *self.part]
