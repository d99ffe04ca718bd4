"""Private slots of gammapy that get other names: slower, but right."""

import pytest
from astropy.coordinates import SkyCoord
from astropy.time import Time
from gammapy.data import DataStore
from gammapy.utils.fits import HDULocation, LazyFitsData
from helpers.compare import IRFS
from helpers.runs import open_raw

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


@pytest.mark.parametrize("kind", ["full", "hess", "rad_max"])
@pytest.mark.parametrize("names", [*((name,) for name in SLOTS), SLOTS])
def test_nothing_is_lost(kind, names, renamed, tmp_path):
    open_raw(kind, tmp_path / "donor", n_events=20)
    place = {"pointing": SkyCoord(20, -50, unit="deg"), "n_events": 5}
    open_raw(kind, tmp_path / "target", start=Time("2021-03-02T19:47:00"), **place)

    def mimic_store(name):
        target, donor = (
            DataStore.from_dir(tmp_path / role).obs(1, "all-optional")
            for role in ("target", "donor")
        )
        mimic = MimicMaker(background="target").run(target, donor)
        return write_datastore([mimic], tmp_path / name).obs(1, "all-optional")

    expected = mimic_store("expected")
    expected = read_run(expected), compat.irfs(expected)
    renamed(names)
    found = mimic_store("found")
    assert len(found.events.table) == len(expected[0].seconds) == 20
    assert (found.events.table["RA"] == expected[0].columns["RA"]).all()
    for name in IRFS:
        has_one = getattr(found, name) is not None
        assert has_one == (expected[1][name] is not None), name
