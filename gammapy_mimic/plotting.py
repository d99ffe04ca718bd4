"""Figures of runs and mimics."""

from typing import Any

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.visualization.wcsaxes import WCSAxes
from gammapy.data import Observation
from gammapy.maps import Map, WcsGeom
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gammapy_mimic.io.figures import new_figure
from gammapy_mimic.scramble.residuals import scramble_residuals
from gammapy_mimic.scramble.scrambler import AnnulusScrambler
from gammapy_mimic.sky.geometry import offset_azimuth
from gammapy_mimic.sky.positions import event_positions

__all__ = ["plot_mimic", "plot_scramble", "plot_sky"]

MAX_BAND_TABLE = 3
"""Up to so many sources their counts are shown by energy, too."""


def plot_sky(
    observation: Observation,
    ax: WCSAxes | None = None,
    *,
    width: u.Quantity = 5 * u.deg,
    binsz: u.Quantity = 0.05 * u.deg,
    smooth: u.Quantity = 0.1 * u.deg,
) -> WCSAxes:
    """Draw the events of a run on the sky, with its pointing and its object.

    Parameters
    ----------
    observation : `~gammapy.data.Observation`
        Run.
    ax : `~astropy.visualization.wcsaxes.WCSAxes`, optional
        Axes of any sky projection. Default is None: new ones in ICRS, centred on the
        pointing.
    width : `~astropy.coordinates.Angle`, optional
        Width of the map. Default is 5 deg.
    binsz : `~astropy.coordinates.Angle`, optional
        Size of a pixel. Default is 0.05 deg.
    smooth : `~astropy.coordinates.Angle`, optional
        Width of the Gaussian by which the counts are smoothed. Default is 0.1 deg.

    Returns
    -------
    ax : `~astropy.visualization.wcsaxes.WCSAxes`
        Axes.

    Raises
    ------
    TypeError
        If the axes have no sky projection.
    """
    pointing = observation.get_pointing_icrs(observation.tmid)
    counts = Map.create(
        skydir=pointing,
        width=width.to_value("deg"),
        binsz=binsz.to_value("deg"),
        proj="TAN",
        frame="icrs",
    )
    counts.fill_events(observation.events)
    if ax is None:
        ax = _sky_axes(new_figure((6, 5)), 111, observation)
    elif not isinstance(ax, WCSAxes):
        raise TypeError(
            f"ax = {ax!r}: must be WCSAxes, such as "
            "figure.add_subplot(projection=geom.wcs)"
        )
    # as a mesh, since an image has to have the projection of its axes
    n_lat, n_lon = counts.data.shape
    mesh = ax.pcolormesh(
        np.arange(n_lon + 1) - 0.5,
        np.arange(n_lat + 1) - 0.5,
        counts.smooth(smooth).data,
        transform=ax.get_transform(counts.geom.wcs),
        vmin=0,
    )
    ax.figure.colorbar(mesh, ax=ax, label="smoothed counts per pixel")
    # the object may be outside of the map
    ax.autoscale_view()
    ax.set_autoscale_on(False)

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
    ax.set_aspect("equal")
    ax.legend(loc="lower right", fontsize="small")
    return ax


def _sky_axes(figure, subplot, observation):
    """Axes in ICRS, centred on the pointing of a run."""
    pointing = observation.get_pointing_icrs(observation.tmid)
    geom = WcsGeom.create(
        skydir=pointing, width=5, binsz=0.05, proj="TAN", frame="icrs"
    )
    ax = figure.add_subplot(subplot, projection=geom.wcs)
    ax.set_xlabel("Right Ascension")
    ax.set_ylabel("Declination")
    return ax


def plot_mimic(
    donor: Observation, mimic: Observation, *, fig: Figure | None = None, **kwargs: Any
) -> tuple[WCSAxes, WCSAxes]:
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
    fig = new_figure((13, 5.2)) if fig is None else fig
    left, right = (
        plot_sky(run, _sky_axes(fig, 121 + number, run), **kwargs)
        for number, run in enumerate((donor, mimic))
    )
    left.set_title(f"Donor: run {donor.obs_id}, {len(donor.events.table)} events")
    right.set_title(
        f"Mimic of run {mimic.obs_id} with the events of run {donor.obs_id}"
    )
    return left, right


def plot_scramble(
    observation: Observation,
    scrambled: Observation,
    scrambler: AnnulusScrambler,
    *,
    fig: Figure | None = None,
    width: u.Quantity = 5 * u.deg,
) -> list[Axes]:
    """Draw what scrambling did to a run, in six panels.

    Above: counts before, after, and their difference with the annuli in red. Below:
    distance of the events from the pointing; azimuth about the pointing of the
    events in the annuli, counted from the source; counts in the source circles
    before, as expected from the ring, and after, also in three energy bands.

    Parameters
    ----------
    observation, scrambled : `~gammapy.data.Observation`
        Run before and after.
    scrambler : `~gammapy_mimic.AnnulusScrambler`
        What made one of the other; gives the annuli.
    fig : `~matplotlib.figure.Figure`, optional
        Figure to draw in. By default a new one is made.
    width : `~astropy.coordinates.Angle`, optional
        Width of the maps. Default is 5 deg.

    Returns
    -------
    axes : list of `~matplotlib.axes.Axes`
        The six panels.
    """
    fig = new_figure((16, 9)) if fig is None else fig
    annuli = scrambler.annuli(observation)
    axes = _scramble_maps(fig, observation, scrambled, annuli, width)
    axes.append(_radial_panel(fig.add_subplot(234), observation, scrambled, annuli))
    axes.append(_azimuth_panel(fig.add_subplot(235), observation, scrambled))
    axes.append(_residual_panel(fig.add_subplot(236), scrambled))
    fig.suptitle(
        f"Run {observation.obs_id}, scrambled with method = {scrambler.method!r}, "
        f"acceptance = {scrambler.acceptance!r}"
    )
    return axes


def _scramble_maps(fig, observation, scrambled, annuli, width):
    before = Map.create(
        skydir=observation.pointing.fixed_icrs,
        width=width.to_value("deg"),
        binsz=0.05,
        proj="TAN",
        frame="icrs",
    )
    after = before.copy()
    before.fill_events(observation.events)
    after.fill_events(scrambled.events)
    before, after = (counts.smooth(0.07 * u.deg) for counts in (before, after))
    top = before.data.max()
    panels = (
        (before, "Before", {"cmap": "viridis", "vmin": 0, "vmax": top}),
        (after, "After", {"cmap": "viridis", "vmin": 0, "vmax": top}),
        (
            before - after,
            "Before - after",
            {"cmap": "RdBu_r", "vmin": -top, "vmax": top},
        ),
    )
    axes = []
    for number, (counts, title, kwargs) in enumerate(panels):
        ax = fig.add_subplot(2, 3, number + 1, projection=counts.geom.wcs)
        counts.plot(ax=ax, fig=ax.figure, **kwargs)
        fig.colorbar(ax.images[-1], ax=ax, label="smoothed counts per pixel")
        ax.set_title(title)
        axes.append(ax)
    for annulus in annuli:
        annulus.to_pixel(before.geom.wcs).plot(ax=axes[2], edgecolor="red", lw=1.5)
    return axes


def _polar(observation):
    """Offset and azimuth of the events about the pointing, in degrees."""
    position = event_positions(observation.events.table)
    pointing = observation.pointing.fixed_icrs
    return offset_azimuth(
        position.ra.deg, position.dec.deg, pointing.ra.deg, pointing.dec.deg
    )


def _radii_deg(annulus):
    return annulus.inner_radius.to_value("deg"), annulus.outer_radius.to_value("deg")


def _steps(ax, runs, values, edges, scale=1.0):
    for run, value, style in zip(runs, values, ("C0-", "C1--"), strict=True):
        counts = np.histogram(value, edges)[0] * scale
        ax.stairs(counts, edges, color=style[:2], ls=style[2:], label=run)
    ax.legend()


def _radial_panel(ax, observation, scrambled, annuli):
    edges = np.linspace(0, 3, 61)
    solid_angle = 2 * np.pi * -np.diff(np.cos(np.radians(edges))) * np.degrees(1) ** 2
    offsets = [_polar(run)[0] for run in (observation, scrambled)]
    _steps(ax, ("before", "after"), offsets, edges, 1 / solid_angle)
    for annulus in annuli:
        ax.axvspan(*_radii_deg(annulus), color="red", alpha=0.1, lw=0)
    ax.set_xlabel("Offset from the pointing [deg]")
    ax.set_ylabel("Events per square degree")
    return ax


def _azimuth_panel(ax, observation, scrambled):
    pointing = observation.pointing.fixed_icrs.icrs
    azimuths = ([], [])
    for row in scramble_residuals([scrambled]):
        source = SkyCoord(row["RA"], row["DEC"], unit="deg")
        distance = pointing.separation(source).deg
        origin = pointing.position_angle(source).deg
        for found, run in zip(azimuths, (observation, scrambled), strict=True):
            offset, azimuth = _polar(run)
            is_inside = np.abs(offset - distance) <= row["THETA"]
            found.append((azimuth[is_inside] - origin + 180) % 360 - 180)
    azimuths = [np.concatenate([*found, []]) for found in azimuths]
    _steps(ax, ("before", "after"), azimuths, np.linspace(-180, 180, 37))
    ax.set_ylim(0, None)
    ax.set_xlabel("Azimuth about the pointing, from the source [deg]")
    ax.set_ylabel("Events in the annuli")
    return ax


def _residual_panel(ax, scrambled):
    ax.set_axis_off()
    residuals = scramble_residuals([scrambled])
    if len(residuals) == 0:
        ax.text(0.5, 0.5, "no known source in the field", ha="center")
        return ax
    rows = [_residual_cells(row["SOURCE"], row["METHOD"], row) for row in residuals]
    if len(residuals) <= MAX_BAND_TABLE:
        for row in scramble_residuals([scrambled], by_energy=True):
            low, high = row["ENERGY_MIN"], row["ENERGY_MAX"]
            band = f"{low:.2g} to {high:.2g} TeV"
            if not np.isfinite(high):
                band = f"above {low:.2g} TeV"
            rows.append(_residual_cells(row["SOURCE"], band, row))
    columns = ["source", "method", "before", "expected", "after", "after - expected"]
    table = ax.table(rows, colLabels=columns, loc="center", cellLoc="center")
    table.auto_set_font_size(False)
    table.set_fontsize(9)
    table.auto_set_column_width(list(range(len(columns))))
    table.scale(1, 1.6)
    ax.set_title("Counts in the source circles")
    return ax


def _residual_cells(source, what, row):
    difference = f"{row['DIFFERENCE']:+.1f} ± {row['ERROR']:.1f}"
    counts = f"{row['BEFORE']}", f"{row['EXPECTED']:.1f}", f"{row['AFTER']}"
    return [source, what, *counts, difference]
