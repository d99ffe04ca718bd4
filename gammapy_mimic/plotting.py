"""Figures of runs and mimics."""

import numpy as np
from astropy import units as u
from gammapy.maps import Map
from matplotlib.figure import Figure

__all__ = ["plot_mimic", "plot_sky"]


def plot_sky(
    observation,
    *,
    fig=None,
    subplot=111,
    width=5 * u.deg,
    binsz=0.05 * u.deg,
    smooth=0.1 * u.deg,
):
    """Draw the events of a run on the sky, with its pointing and its object.

    Parameters
    ----------
    observation : `~gammapy.data.Observation`
        Run.
    fig : `~matplotlib.figure.Figure`, optional
        Figure to draw in. By default a new one is made.
    subplot : int or `~matplotlib.gridspec.SubplotSpec`, optional
        Place in the figure. Default is 111.
    width : `~astropy.coordinates.Angle`, optional
        Width of the map. Default is 5 deg.
    binsz : `~astropy.coordinates.Angle`, optional
        Size of a pixel. Default is 0.05 deg.
    smooth : `~astropy.coordinates.Angle`, optional
        Width of the Gaussian by which the counts are smoothed. Default is 0.1 deg.

    Returns
    -------
    ax : `~astropy.visualization.wcsaxes.WCSAxes`
        Axes in ICRS.
    """
    fig = Figure(figsize=(6, 5)) if fig is None else fig
    pointing = observation.get_pointing_icrs(observation.tmid)
    counts = Map.create(
        skydir=pointing,
        width=width.to_value("deg"),
        binsz=binsz.to_value("deg"),
        proj="TAN",
        frame="icrs",
    )
    counts.fill_events(observation.events)
    ax = fig.add_subplot(subplot, projection=counts.geom.wcs)
    counts.smooth(smooth).plot(ax=ax, cmap="viridis", vmin=0)
    fig.colorbar(ax.images[-1], ax=ax, label="smoothed counts per pixel")

    world = ax.get_transform("icrs")
    ax.scatter(
        pointing.ra.deg,
        pointing.dec.deg,
        transform=world,
        marker="+",
        s=120,
        c="red",
        label="pointing",
    )
    target = observation.meta.target
    position = None if target is None else target.position
    if position is not None and np.isfinite(position.icrs.ra.deg):
        ax.scatter(
            position.icrs.ra.deg,
            position.icrs.dec.deg,
            transform=world,
            marker="o",
            s=150,
            facecolors="none",
            edgecolors="white",
            label=target.name or "object",
        )
    ax.set_xlim(-0.5, counts.data.shape[1] - 0.5)
    ax.set_ylim(-0.5, counts.data.shape[0] - 0.5)
    ax.legend(loc="lower right", fontsize="small")
    return ax


def plot_mimic(donor, mimic, *, fig=None, **kwargs):
    """Draw the donor's sky beside the mimic in the target's field.

    Parameters
    ----------
    donor, mimic : `~gammapy.data.Observation`
        Donor, and the mimic that was made of it.
    fig : `~matplotlib.figure.Figure`, optional
        Figure to draw in. By default a new one is made.
    **kwargs
        Passed to `plot_sky`.

    Returns
    -------
    axes : tuple of `~astropy.visualization.wcsaxes.WCSAxes`
        Donor's and mimic's axes.
    """
    fig = Figure(figsize=(13, 5.2), layout="constrained") if fig is None else fig
    left = plot_sky(donor, fig=fig, subplot=121, **kwargs)
    right = plot_sky(mimic, fig=fig, subplot=122, **kwargs)
    left.set_title(f"Donor: run {donor.obs_id}, {len(donor.events.table)} events")
    right.set_title(
        f"Mimic of run {mimic.obs_id} with the events of run {donor.obs_id}"
    )
    return left, right
