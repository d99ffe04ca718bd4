"""What holds for all runs, whatever their pointing, time and site.

Runs are drawn at random by hypothesis; an example that fails is made small and shown.
"""

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import AltAz, EarthLocation, SkyCoord
from astropy.time import Time
from gammapy.data import DataStore
from gammapy.irf import FoVAlignment
from helpers.compare import assert_same_run
from helpers.runs import KINDS, make_run
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from gammapy_mimic import AnnulusScrambler, MimicMaker, write_datastore

TOLERANCE_DEG = 1e-6
"""How well a mimic keeps the place in the field of view."""

angles = st.floats(0, 360, exclude_max=True)
seeds = st.integers(0, 2**32 - 1)
latitudes = st.sampled_from([0, 60, -60, 89, -89])
quick = settings(max_examples=15, deadline=None)
all_alignments = pytest.mark.parametrize("alignment", ["altaz", "radec"])


def decimals(low, high):
    """Numbers with six digits: what degrees in radians and back do not change."""
    return st.integers(low * 10**6, high * 10**6).map(lambda n: n / 10**6)


@st.composite
def sites(draw):
    """A place on Earth."""
    lon, lat = draw(angles), draw(st.floats(-90, 90))
    height = draw(st.floats(0, 5000))
    return EarthLocation.from_geodetic(lon * u.deg, lat * u.deg, height * u.m)


@st.composite
def starts(draw):
    """A night between 2002 and 2024."""
    return Time(draw(st.floats(52300, 60600)), format="mjd", scale="tt")


@st.composite
def runs(draw, location, **options):
    """A run at a place, somewhere above its horizon."""
    start = draw(starts())
    alt, az = draw(st.floats(15, 90)), draw(angles)
    horizon = AltAz(obstime=start, location=location)
    pointing = SkyCoord(az, alt, unit="deg", frame=horizon).icrs
    pointing = SkyCoord(pointing.ra, pointing.dec)
    obs_id, seed = draw(st.integers(1, 10**6)), draw(seeds)
    return make_run(
        pointing=pointing,
        start=start,
        location=location,
        obs_id=obs_id,
        seed=seed,
        **options,
    )


@st.composite
def pairs(draw, **options):
    """A target and a donor of the same site."""
    location = draw(sites())
    return [draw(runs(location, **options)) for _ in range(2)]


def place(run, alignment):
    """Field-of-view vectors of the events, by gammapy itself."""
    frame = run.get_fov_frame(run.events.time, FoVAlignment[alignment.upper()])
    fov = run.events.radec.transform_to(frame)
    return SkyCoord(fov.fov_lon, fov.fov_lat)


def positions(run):
    table = run.events.table
    return SkyCoord(np.asarray(table["RA"]), np.asarray(table["DEC"]), unit="deg")


def as_double(run):
    """The same run with double precision positions, as mimics have them."""
    for name in ("RA", "DEC"):
        run.events.table[name] = run.events.table[name].astype(float)
    return run


@all_alignments
@given(pair=pairs(n_events=20))
@quick
def test_mimic_keeps_the_place_in_the_field_of_view(alignment, pair):
    target, donor = pair
    donor = as_double(donor)
    mimic = MimicMaker(alignment=alignment, background="target").run(target, donor)
    apart = place(donor, alignment).separation(place(mimic, alignment))
    assert apart.deg.max() < TOLERANCE_DEG
    assert_array_equal(mimic.events.table["ENERGY"], donor.events.table["ENERGY"])
    elapsed = [run.events.time - run.gti.time_start.min() for run in (donor, mimic)]
    assert_allclose(*(it.to_value("s") for it in elapsed), atol=1e-6)


@all_alignments
@given(pair=pairs(n_events=20))
@quick
def test_there_and_back_again_is_the_identity(alignment, pair):
    target, donor = pair
    donor = as_double(donor)
    maker = MimicMaker(alignment=alignment, background="target")
    back = maker.run(donor, maker.run(target, donor))
    assert positions(back).separation(positions(donor)).deg.max() < 1e-8
    assert np.abs((back.events.time - donor.events.time).to_value("s")).max() < 1e-6
    assert back.obs_id == donor.obs_id


@given(pair=pairs(n_events=20), site=sites())
@quick
def test_negative_control(pair, site):
    # another site is seen where the field of view is aligned with its horizon
    target, donor = pair
    mimic = MimicMaker(background="target").run(target, as_double(donor))
    own = mimic.observatory_earth_location
    apart = u.Quantity(own.to_geocentric()) - u.Quantity(site.to_geocentric())
    far = np.sqrt(np.sum(apart**2)) > 1 * u.km
    mimic._location = site
    shift = place(donor, "altaz").separation(place(mimic, "altaz"))
    assert (shift.deg.max() > TOLERANCE_DEG) == far


@all_alignments
@pytest.mark.parametrize("method", ["shuffle", "refill"])
@given(pair=pairs(n_events=400), azimuth=angles, seed=seeds)
@settings(max_examples=8, deadline=None)
def test_scrambler_in_the_maker_is_the_same_as_before_it(
    alignment, method, pair, azimuth, seed
):
    target, donor = pair
    pointing = donor.pointing.fixed_icrs
    source = pointing.directional_offset_by(azimuth * u.deg, 1 * u.deg)
    scrambler = AnnulusScrambler(source, method=method, random_state=seed)
    maker = MimicMaker(alignment=alignment, background="target")
    before = maker.run(target, scrambler.run(donor))
    maker = MimicMaker(alignment=alignment, background="target", scrambler=scrambler)
    inside = maker.run(target, donor)
    for name in ("RA", "DEC", "ENERGY"):
        assert_array_equal(before.events.table[name], inside.events.table[name])


@pytest.mark.parametrize("method", ["shuffle", "refill"])
@given(pair=pairs(n_events=400), azimuth=angles, seed=seeds)
@settings(max_examples=8, deadline=None)
def test_mimic_and_scramble_commute(method, pair, azimuth, seed):
    # in a field of view that is fixed to the sky, where a source stays a circle
    target, donor = pair
    donor = as_double(donor)
    maker = MimicMaker(alignment="radec", background="target")
    offset = azimuth * u.deg, 1 * u.deg
    results = []
    for moved_first in (False, True):
        run = maker.run(target, donor) if moved_first else donor
        source = run.pointing.fixed_icrs.directional_offset_by(*offset)
        # both runs have their own zenith angle, after which "auto" chooses
        scrambler = AnnulusScrambler(source, method=method, acceptance="events")
        run = scrambler.run(run, random_state=seed)
        results.append(run if moved_first else maker.run(target, run))
    apart = positions(results[0]).separation(positions(results[1]))
    assert apart.deg.max() < TOLERANCE_DEG


@given(
    kind=st.sampled_from(KINDS),
    n_events=st.integers(1, 30),
    ra=decimals(0, 359),
    dec=latitudes | decimals(-90, 90),
    start=starts(),
    seed=seeds,
    compress=st.booleans(),
)
@settings(max_examples=25, deadline=None)
def test_reading_is_the_inverse_of_writing(
    tmp_path_factory, kind, n_events, ra, dec, start, seed, compress
):
    pointing = SkyCoord(ra, dec, unit="deg")
    run = make_run(kind, n_events=n_events, pointing=pointing, start=start, seed=seed)
    path = tmp_path_factory.mktemp("store")
    write_datastore([run], path, compress=compress)
    read = DataStore.from_dir(path).obs(1, required_irf="all-optional")
    assert_same_run(run, read)
