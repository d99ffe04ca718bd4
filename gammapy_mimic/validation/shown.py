"""How results show themselves, in a shell and in a notebook."""

import dataclasses
import html
import numbers

import numpy as np
from astropy.coordinates import SkyCoord

__all__ = ["ShownResult"]

_LINES, _WIDTH = 16, 120


class ShownResult:
    """Dataclass that shows its numbers and its ``table``.

    Its fields are told in short: numbers and texts as they are, positions in degrees,
    of a series of numbers how many, their mean and their scatter.
    """

    def __repr__(self) -> str:
        table = getattr(self, "table", None)
        lines = [] if table is None else table.pformat(_LINES, _WIDTH)
        return "\n".join([self._heading(), *lines])

    def _repr_html_(self) -> str:
        table = getattr(self, "table", None)
        heading = f"<p>{html.escape(self._heading())}</p>"
        return heading if table is None else heading + table._repr_html_()

    def _heading(self) -> str:
        fields = (it.name for it in dataclasses.fields(self))  # type: ignore[arg-type]
        told = {name: _in_short(getattr(self, name)) for name in fields}
        text = ", ".join(f"{name}: {it}" for name, it in told.items() if it)
        return f"{type(self).__name__}: {text}" if text else type(self).__name__


def _in_short(value):
    """Text of a value; empty for what is better looked at by itself."""
    if isinstance(value, str):
        return value
    if isinstance(value, numbers.Real):
        return f"{value:.4g}"
    if isinstance(value, SkyCoord) and value.isscalar:
        return value.icrs.to_string("decimal", precision=4)
    is_series = isinstance(value, np.ndarray) and value.ndim == 1
    # no quantities: edges of bins
    if not is_series or hasattr(value, "unit") or not np.isfinite(value).any():
        return ""
    mean, scatter = np.nanmean(value), np.nanstd(value)
    return f"{len(value)} values, mean {mean:.3g}, scatter {scatter:.2g}"
