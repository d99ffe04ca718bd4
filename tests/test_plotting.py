"""What the figures show."""

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from gammapy.maps import WcsGeom
from helpers.runs import make_run
from matplotlib.figure import Figure

from gammapy_mimic import AnnulusScrambler, MimicMaker
from gammapy_mimic.plotting import plot_mimic, plot_scramble, plot_sky


@pytest.fixture(scope="module")
def donor():
    return make_run("full", obs_id=8, n_events=3000)


def test_sky_has_its_events_pointing_and_object(donor):
    ax = plot_sky(donor, smooth=0.01 * u.deg, width=8 * u.deg)
    mesh, *points = ax.collections
    # smoothing keeps the sum; all events are within 2.5 deg
    assert mesh.get_array().sum() == pytest.approx(3000, rel=1e-3)
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == ["pointing", "Field 8"]
    transform = points[0].get_offset_transform() - ax.transData
    pointing = transform.transform(points[0].get_offsets())[0]
    # in the middle of a map that is 8 deg wide, in pixels of 0.05 deg
    middle = np.mean(ax.get_xlim()), np.mean(ax.get_ylim())
    np.testing.assert_allclose(pointing, middle)
    np.testing.assert_allclose(np.ptp(ax.get_xlim()), 160, rtol=0.01)


def test_sky_in_axes_of_another_projection(donor):
    """The events appear at their places whatever the projection."""
    pointing = donor.get_pointing_icrs(donor.tmid)
    geom = WcsGeom.create(skydir=pointing, width=6, binsz=0.1, frame="galactic")
    ax = Figure().add_subplot(projection=geom.wcs)
    assert plot_sky(donor, ax) is ax
    mesh = ax.collections[0]
    drawn = mesh.get_transform() - ax.transData
    row, column = np.unravel_index(mesh.get_array().argmax(), mesh.get_array().shape)
    corner = drawn.transform(mesh.get_coordinates()[row, column])
    own = plot_sky(donor)
    mesh = own.collections[0]
    drawn = mesh.get_transform() - own.transData
    expected = drawn.transform(mesh.get_coordinates()[row, column])
    expected = own.wcs.pixel_to_world(*expected)
    assert geom.wcs.pixel_to_world(*corner).separation(expected) < 1e-6 * u.deg


def test_sky_needs_axes_of_the_sky(donor):
    with pytest.raises(TypeError, match="must be WCSAxes"):
        plot_sky(donor, Figure().add_subplot())


def test_mimic_beside_its_donor(donor):
    target = make_run("full", obs_id=7, pointing=SkyCoord("10d -30d"), n_events=10)
    mimic = MimicMaker().run(target, donor)
    left, right = plot_mimic(donor, mimic)
    assert left.get_title() == "Donor: run 8, 3000 events"
    assert right.get_title() == "Mimic of run 7 with the events of run 8"
    assert right.wcs.wcs.crval == pytest.approx([10, -30])


@pytest.fixture(scope="module")
def scrambled(donor):
    sources = SkyCoord([83.6, 84.6], [22.2, 21.2], unit="deg")
    scrambler = AnnulusScrambler(sources, method="shuffle", random_state=1)
    return plot_scramble(donor, scrambler.run(donor), scrambler), scrambler


def test_six_panels(scrambled):
    axes, _ = scrambled
    assert [ax.get_title() for ax in axes[:3]] == ["Before", "After", "Before - after"]
    before, after, difference = (ax.images[-1].get_array() for ax in axes[:3])
    np.testing.assert_allclose(difference, before - after, atol=1e-12)
    # two annuli, each with an inner and an outer circle in one patch
    assert len(axes[2].patches) == 2
    assert all(patch.get_edgecolor()[:3] == (1, 0, 0) for patch in axes[2].patches)


def totals(ax, scale=1):
    return [np.sum(patch.get_data().values * scale) for patch in ax.patches[:2]]


def test_radial_and_azimuth_panels_hold_all_events(scrambled):
    radial, azimuth = scrambled[0][3:5]
    edges = radial.patches[0].get_data().edges
    area = 2 * np.pi * -np.diff(np.cos(np.radians(edges))) * np.degrees(1) ** 2
    assert totals(radial, area) == pytest.approx([3000, 3000])
    # where rings overlap, an event may go from one ring to the other
    before, after = totals(azimuth)
    assert after == pytest.approx(before, rel=0.05)


def test_residual_panel_is_the_table(scrambled):
    axes, scrambler = scrambled
    (table,) = axes[5].tables
    cells = table.get_celld()
    for number, row in enumerate(scrambler.residuals, start=1):
        assert cells[number, 0].get_text().get_text() == row["SOURCE"]
        assert cells[number, 1].get_text().get_text() == row["METHOD"]
        assert int(cells[number, 2].get_text().get_text()) == row["BEFORE"]
        assert int(cells[number, 4].get_text().get_text()) == row["AFTER"]


def test_a_run_without_sources(donor):
    scrambler = AnnulusScrambler(SkyCoord("200d -80d"), random_state=1)
    axes = plot_scramble(donor, scrambler.run(donor), scrambler)
    assert "no known source" in axes[5].texts[0].get_text()
