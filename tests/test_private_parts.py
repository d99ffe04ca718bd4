"""Private slots of gammapy that get other names: slower, but right."""

import pytest
from astropy.coordinates import SkyCoord
from astropy.time import Time
from gammapy.data import DataStore
from gammapy.utils.fits import HDULocation, LazyFitsData
from helpers.compare import IRFS
from helpers.runs import write_raw

from gammapy_mimic import MimicMaker, write_datastore
from gammapy_mimic.data import compat, read_run

SLOTS = ("aeff", "edisp", "psf", "_bkg", "_rad_max", "_events", "_gti", "_pointing")
SLOTS += ("_meta",)


@pytest.fixture
def renamed(monkeypatch):
    """Give the slots of some lazily loaded parts another name."""

    def rename(names):
        def slot(descriptor):
            known = descriptor.name in names
            return f"_{descriptor.name}_{'place' if known else 'hdu'}"

        def get(self, instance, objtype):
            if instance is None:
                return self
            if self.name in vars(instance):
                return vars(instance)[self.name]
            location = vars(instance)[slot(self)]
            value = location.load()
            if self.cache and location.cache:
                vars(instance)[self.name] = value
            return value

        def put(self, instance, value):
            is_place = isinstance(value, HDULocation)
            vars(instance)[slot(self) if is_place else self.name] = value

        monkeypatch.setattr(LazyFitsData, "__get__", get)
        monkeypatch.setattr(LazyFitsData, "__set__", put)

    return rename


def mimic_of(folder, out):
    """Mimic of stores of a target and a donor, read again from its own store."""
    target, donor = (
        DataStore.from_dir(folder / role).obs(1, "all-optional")
        for role in ("target", "donor")
    )
    mimic = MimicMaker(background="target").run(target, donor)
    return write_datastore([mimic], out).obs(1, "all-optional")


@pytest.fixture(scope="module", params=["full", "hess", "rad_max"])
def of_a_kind(request, tmp_path_factory):
    """Stores of a target and a donor, and run and IRFs of the mimic of them."""
    kind, folder = request.param, tmp_path_factory.mktemp("stores")
    write_raw(kind, folder / "donor", n_events=20)
    place = {"pointing": SkyCoord(20, -50, unit="deg"), "n_events": 5}
    write_raw(kind, folder / "target", start=Time("2021-03-02T19:47:00"), **place)
    expected = mimic_of(folder, folder / "expected")
    return folder, (read_run(expected), compat.irfs(expected))


@pytest.mark.parametrize("names", [*((name,) for name in SLOTS), SLOTS])
def test_nothing_is_lost(of_a_kind, names, renamed, tmp_path):
    folder, expected = of_a_kind
    renamed(names)
    found = mimic_of(folder, tmp_path / "found")
    assert len(found.events.table) == len(expected[0].seconds) == 20
    assert (found.events.table["RA"] == expected[0].columns["RA"]).all()
    for name in IRFS:
        has_one = getattr(found, name) is not None
        assert has_one == (expected[1][name] is not None), name
