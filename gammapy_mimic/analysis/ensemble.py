"""`Ensemble`: what one analysis gives on all mimic sets."""

import html
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
from astropy.table import Table
from gammapy.estimators import FluxPoints
from gammapy.modeling.models import Models

from gammapy_mimic.analysis.figures import EnsemblePlots
from gammapy_mimic.analysis.flux_points import with_systematic
from gammapy_mimic.analysis.limits import recovery, sensitivity, upper_limits
from gammapy_mimic.analysis.summary import summary, summary_table
from gammapy_mimic.io.ecsv import write_ecsv
from gammapy_mimic.io.files import error_context
from gammapy_mimic.io.output import write_text

__all__ = ["Ensemble"]


@dataclass(frozen=True, repr=False)
class Ensemble(EnsemblePlots):
    """What one analysis gives on all mimic sets, whose fields hold no known source.

    Made by `~gammapy_mimic.MimicCampaign.analyse` and
    `~gammapy_mimic.MimicCampaign.map`; see `~gammapy_mimic.analysis.set_scatter` for
    the statistics.

    Attributes
    ----------
    quantities : list of dict
        For each quantity and each scale of an injected source: ``name``, ``unit``,
        ``injected`` (the scale, 0 without), ``values`` and ``errors`` in the order of
        ``sets`` (None where a set has none), ``mean``, ``mean_err``, ``scatter``,
        ``statistical``, ``systematic``, ``systematic_err``, ``systematic_ul`` (95 %),
        ``total``, ``n_dof``, ``pull_width``, ``n_sets``, ``n_donors``, ``n_effective``
        and ``truth``; None for what is not known. A test statistic has ``fractions``:
        how many sets are above 4, 9 and 25, and how many chi-square says; a bin has its
        edges ``energy_min`` and ``energy_max`` (TeV) or ``time_min`` and ``time_max``
        (MJD, TT).
    sets : list of int
        Mimic sets.
    failed : list of dict
        ``mimic_set`` (None: the targets), ``injected`` and ``reason`` of what failed.
    target : dict or None
        None while blind. For each quantity ``value``, ``error``, ``unit`` and
        ``p_value``, ``p_value_err``: the part of the sets without a source that are at
        least as large, (k + 1) / (n + 1), and its error with ``n_effective`` sets.
    meta : dict
        Versions, ``function``, ``models`` of the target, the ``source`` of the flux
        points, ``targets``, the runs that each set has, and ``notes``.

    Examples
    --------
    >>> from gammapy_mimic import Ensemble, MimicCampaign
    >>> ensemble = MimicCampaign.from_yaml("crab.yaml").analyse()  # doctest: +SKIP
    >>> ensemble = Ensemble.read("mimics/crab")  # doctest: +SKIP
    >>> ensemble.quantity("crab.amplitude")["systematic"]  # doctest: +SKIP
    """

    quantities: list
    sets: list
    failed: list = field(default_factory=list)
    target: dict | None = None
    meta: dict = field(default_factory=dict)

    def __repr__(self) -> str:
        names = ", ".join(self.names[:4]) + (", ..." if len(self.names) > 4 else "")
        scales = ", ".join(f"{it:g}" for it in self.scales[1:])
        return (
            f"<Ensemble of {len(self.sets)} mimic sets, {len(self.names)} quantities "
            f"({names}){f', injected x {scales}' if scales else ''}, "
            f"{len(self.failed)} failed, "
            f"{'blind' if self.target is None else 'with the targets'}>"
        )

    def _repr_html_(self):
        return html.escape(repr(self)) + summary_table(self)._repr_html_()

    @property
    def scales(self) -> list[float]:
        """Scales of the injected source, 0 for none (list of float)."""
        return sorted({it["injected"] for it in self.quantities} | {0.0})

    @property
    def names(self) -> list[str]:
        """Names of the quantities (list of str)."""
        return list(dict.fromkeys(it["name"] for it in self.quantities))

    def quantity(self, name: str, injected: float = 0.0) -> dict[str, Any]:
        """Give a quantity.

        Parameters
        ----------
        name : str
            Name, such as "crab.amplitude" or "flux_points.0".
        injected : float, optional
            Scale of the injected source. Default is 0: none.

        Returns
        -------
        quantity : dict
            Its entry in ``quantities``.

        Raises
        ------
        KeyError
            If there is none.
        """
        for found in self.quantities:
            if found["name"] == name and found["injected"] == injected:
                return found
        raise KeyError(
            f"no quantity {name!r} with injected = {injected:g}; there are "
            f"{', '.join(self.names)} with {', '.join(f'{it:g}' for it in self.scales)}"
        )

    @property
    def table(self) -> Table:
        """Values of all sets (`~astropy.table.Table`).

        A row for each MIMIC_SET and INJECTED, a column for each quantity, and FAILED
        with the reason if the analysis failed.
        """
        rows = [(scale, number) for scale in self.scales for number in self.sets]
        reasons = {
            (it["injected"], it["mimic_set"]): it["reason"] for it in self.failed
        }
        table = Table()
        table["MIMIC_SET"] = np.array([number for _, number in rows], dtype=int)
        table["INJECTED"] = np.array([scale for scale, _ in rows], dtype=float)
        for name in self.names:
            of_scale = {
                it["injected"]: it for it in self.quantities if it["name"] == name
            }
            nothing = {"values": [None] * len(self.sets)}
            values = [
                value
                for scale in self.scales
                for value in of_scale.get(scale, nothing)["values"]
            ]
            table[name] = np.array(values, dtype=float)
            table[name].unit = next(iter(of_scale.values()))["unit"] or None
        table["FAILED"] = np.array([reasons.get(row, "") for row in rows], dtype=str)
        return table

    @property
    def models(self) -> Models | None:
        """Models of the target (`~gammapy.modeling.models.Models`); None if none."""
        found = self.meta.get("models")
        return None if not found else Models.from_dict(found)

    @property
    def recovery(self) -> Table:
        """Flux found against flux put in; see `~gammapy_mimic.analysis.recovery`."""
        return recovery(self)

    @property
    def sensitivity(self) -> Table:
        """Flux that half of the sets see; see `~gammapy_mimic.analysis.sensitivity`."""
        return sensitivity(self)

    @property
    def upper_limits(self) -> Table:
        """Limits of the sets; see `~gammapy_mimic.analysis.upper_limits`."""
        return upper_limits(self)

    def summary(self) -> str:
        """Describe the ensemble.

        Returns
        -------
        text : str
            A line for each quantity without a source, and for each analysis that
            failed.
        """
        return summary(self)

    def apply_to(self, flux_points: FluxPoints) -> FluxPoints:
        """Give flux points the systematic error of their bins.

        Parameters
        ----------
        flux_points : `~gammapy.estimators.FluxPoints`
            Flux points of the target, in the bins that the mimics have. Not changed.

        Returns
        -------
        flux_points : `~gammapy.estimators.FluxPoints`
            New flux points; their tables have the columns ``dnde_sys`` and
            ``dnde_sys_ul`` (or those of another SED type): the systematic, and its 95 %
            upper limit.

        Raises
        ------
        ValueError
            If the bins are others, or the mimics have no flux points.
        """
        return with_systematic(self, flux_points)

    def write(self, folder: str | Path) -> None:
        """Write ``ensemble.ecsv`` and ``ensemble.json``.

        Parameters
        ----------
        folder : str or `~pathlib.Path`
            Folder; files in it are replaced, whole or not at all.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        content = {
            "quantities": self.quantities,
            "sets": self.sets,
            "failed": self.failed,
            "target": self.target,
            "meta": self.meta,
        }
        write_ecsv(self.table, folder / "ensemble.ecsv")
        text = json.dumps(content, indent=1, allow_nan=False)
        write_text(folder / "ensemble.json", [text])

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Read what an analysis has written.

        Parameters
        ----------
        path : str or `~pathlib.Path`
            ``ensemble.json``, its folder, or that of the campaign.

        Returns
        -------
        ensemble : `Ensemble`
            Ensemble.

        Raises
        ------
        OSError
            If there is no such file.
        ValueError
            If it is broken.
        """
        path = Path(path)
        if path.is_dir():
            below = path / "analysis" / "ensemble.json"
            path = below if below.is_file() else path / "ensemble.json"
        text = path.read_text(encoding="utf-8")
        with error_context(f"{path}: ensemble"):
            return cls(**json.loads(text))
