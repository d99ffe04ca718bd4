"""What the figures show."""

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from helpers.runs import make_run

from gammapy_mimic import AnnulusScrambler, MimicMaker
from gammapy_mimic.plotting import plot_mimic, plot_scramble, plot_sky


@pytest.fixture(scope="module")
def donor():
    return make_run("full", obs_id=8, n_events=3000)


def test_sky_has_its_events_pointing_and_object(donor):
    ax = plot_sky(donor, smooth=0.01 * u.deg, width=8 * u.deg)
    # smoothing keeps the sum; all events are within 2.5 deg
    assert ax.images[-1].get_array().sum() == pytest.approx(3000, rel=1e-3)
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == ["pointing", "Field 8"]
    pointing = ax.collections[0].get_offsets()[0]
    center = (np.array(ax.images[-1].get_array().shape) - 1) / 2
    transform = ax.collections[0].get_offset_transform() - ax.transData
    np.testing.assert_allclose(
        transform.transform(np.array([pointing]))[0], center, atol=0.01
    )


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
    scrambler = AnnulusScrambler(sources, random_state=1)
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
        assert int(cells[number, 1].get_text().get_text()) == row["BEFORE"]
        assert int(cells[number, 3].get_text().get_text()) == row["AFTER"]


def test_a_run_without_sources(donor):
    scrambler = AnnulusScrambler(SkyCoord("200d -80d"), random_state=1)
    axes = plot_scramble(donor, scrambler.run(donor), scrambler)
    assert "no known source" in axes[5].texts[0].get_text()
