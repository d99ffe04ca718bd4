"""Figures that pyplot knows, so that ``plt.show()`` and notebooks show them."""

from typing import Any

from matplotlib.figure import Figure

__all__ = ["new_figure"]


class _QuickLook(Figure):
    """Figure that is shown once also where a cell of a notebook ends with it."""

    def _ipython_display_(self):
        import matplotlib.pyplot as plt

        # it is shown now as any other figure, and not again at the end of the cell
        plt.close(self)
        raise NotImplementedError


def new_figure(figsize: tuple[float, float], **kwargs: Any) -> Figure:
    """Make a figure of pyplot.

    Parameters
    ----------
    figsize : tuple of float
        Size in inches.
    **kwargs
        Passed to `matplotlib.pyplot.figure`.

    Returns
    -------
    figure : `~matplotlib.figure.Figure`
        Figure, laid out to fit.
    """
    import matplotlib.pyplot as plt

    options = {"layout": "constrained", **kwargs}
    return plt.figure(figsize=figsize, FigureClass=_QuickLook, **options)
