"""How results and steps show themselves."""

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import QTable
from helpers.runs import make_run

from gammapy_mimic import AnnulusScrambler, MimicMaker
from gammapy_mimic.sources.places import position_of
from gammapy_mimic.validation import (
    BackgroundSystematic,
    LocalSystematic,
    TargetSignificance,
    field_checks,
    reduce_runs,
)
from gammapy_mimic.validation.significance import GlobalSignificance

TABLE = QTable({"RADIUS": [0.1, 0.3] * u.deg, "MEAN": [1.0, 1.1]})


def local():
    return LocalSystematic(TABLE, "ring")


def systematic():
    rng = np.random.default_rng(1)
    counts = rng.poisson(100, (6, 2))
    edges = [1, 2, 4] * u.TeV
    return BackgroundSystematic.from_counts(
        counts, np.full((6, 2), 100.0), range(6), energy_edges=edges
    )


def checks():
    run = make_run("full", obs_id=8, n_events=50)
    return field_checks(run, run)


@pytest.mark.parametrize("make", [local, systematic, checks])
def test_with_a_table(make):
    found = make()
    heading, *rows = repr(found).splitlines()
    assert heading.startswith(type(found).__name__)
    assert rows[0].split() == found.table.colnames or "..." in rows[0]
    assert max(map(len, repr(found).splitlines())) <= 120
    html = found._repr_html_()
    assert html.startswith(f"<p>{type(found).__name__}")
    assert "<table" in html


def test_without_a_table():
    found = TargetSignificance(np.array([-1.0, 1.0]), target=2.5)
    text = "TargetSignificance: mimics: 2 values, mean 0, scatter 1, target: 2.5"
    assert repr(found) == text
    assert found._repr_html_() == f"<p>{text}</p>"
    blind = TargetSignificance(np.array([-1.0, 1.0]))
    assert "target:" not in repr(blind)
    place = SkyCoord(83.6333, 22.0144, unit="deg")
    found = GlobalSignificance(4.2, place, np.zeros(9), np.zeros(3))
    assert "maximum: 4.2, position: 83.6333 22.0144" in repr(found)


def test_maker():
    """As gammapy's makers print themselves."""
    text = repr(MimicMaker(random_state=42))
    assert text.splitlines()[0] == "MimicMaker"
    settings = dict(line.split(":") for line in text.splitlines() if ":" in line)
    settings = {key.strip(): value.strip() for key, value in settings.items()}
    assert settings["alignment"] == "altaz"
    assert settings["random_state"] == "42"
    assert MimicMaker()._repr_html_().startswith("<pre>MimicMaker")


class TestNames:
    """A position may be the name of a source."""

    def test_same_as_its_position(self):
        run = make_run("full", obs_id=8, n_events=50)
        crab = SkyCoord(83.6333, 22.0144, unit="deg")
        maps = [reduce_runs([run], it, width=1 * u.deg) for it in ("Crab", crab)]
        center = [it.counts.geom.center_skydir for it in maps]
        assert center[0].separation(center[1]) < 0.01 * u.deg

    def test_unknown(self):
        with pytest.raises(ValueError, match="Crabb"):
            reduce_runs([], "Crabb")

    @pytest.mark.parametrize(
        "value", [3, (83.6, 22.0), SkyCoord([1, 2], [3, 4], unit="deg")]
    )
    def test_neither(self, value):
        with pytest.raises(TypeError, match="must be one SkyCoord, or the name"):
            position_of(value)

    def test_one_catalog(self):
        one, same = (AnnulusScrambler.from_catalog(it) for it in ("bright", ["bright"]))
        assert one.checksums == same.checksums
