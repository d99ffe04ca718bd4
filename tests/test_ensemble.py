"""The user's analysis on every mimic set, and the statistics of its results."""

import copy
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from astropy import units as u
from astropy.table import Table
from click.testing import CliRunner
from gammapy.estimators import FluxPoints
from gammapy.modeling.models import Models
from helpers.campaigns import write_config
from helpers.ensembles import SPECTRUM, crab, to_analyse
from helpers.runs import make_run
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import chi2

from gammapy_mimic import Ensemble, MimicAnalysis, MimicCampaign
from gammapy_mimic.analysis import free_amplitudes, inject, set_scatter
from gammapy_mimic.analysis.build import build_ensemble
from gammapy_mimic.analysis.scatter import donor_overlap, event_overlap
from gammapy_mimic.cli import main
from gammapy_mimic.config import ConfigError

MAP = {
    "type": "3d",
    "geom": {
        "wcs": {
            "skydir": {"frame": "icrs", "lon": "75 deg", "lat": "22 deg"},
            "binsize": "0.1 deg",
            "width": {"width": "2 deg", "height": "2 deg"},
        },
        "axes": SPECTRUM["geom"]["axes"],
    },
    "background": {"method": "fov_background"},
    "safe_mask": {"methods": ["offset-max"], "parameters": {"offset_max": "2 deg"}},
}
AXIS = {"min": "0.8 TeV", "max": "10 TeV", "nbins": 1}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Campaign of three sets of two targets, made once; not to be changed."""
    content = to_analyse(tmp_path_factory.mktemp("ensemble"))
    assert MimicCampaign(content).run().complete
    return content


@pytest.fixture(scope="module")
def analysed(made, tmp_path_factory):
    """Settings and ensemble of all steps, with a source put in, and the targets."""
    content = copy_of(made, tmp_path_factory.mktemp("analysed"))
    content["flux_points"] = {"energy": AXIS, "source": "crab"}
    # gammapy's Analysis logs the upper limits
    content["flux_points"]["parameters"] = {"selection_optional": ["ul"]}
    content["light_curve"] = {"energy_edges": AXIS, "source": "crab"}
    content["light_curve"]["parameters"] = {"selection_optional": []}
    content["mimic"]["analyse"] = {"inject": {"models": crab(), "scales": [0.4]}}
    ensemble = MimicCampaign(content).analyse(unblind=True)
    return content, ensemble


@pytest.fixture
def settings(made, tmp_path):
    """Give its settings, with a folder of its own."""
    return copy_of(made, tmp_path)


def copy_of(made, folder):
    content = copy.deepcopy(made)
    shutil.copytree(made["mimic"]["outdir"], folder / "mimics")
    content["mimic"]["outdir"] = str(folder / "mimics")
    return content


def numbers(observations):
    """What a user may measure."""
    events = [run.events.table for run in observations]
    number = sum(map(len, events))
    energy = np.median(np.concatenate([it["ENERGY"] for it in events])) * u.TeV
    return {"n": number, "n_err": np.sqrt(number), "energy": energy}


def test_gammapys_own_steps_on_every_set(analysed):
    settings, ensemble = analysed
    assert ensemble.failed == []
    assert ensemble.sets == [0, 1, 2]
    names = ["n_on", "background", "excess", "n_off", "sqrt_ts", "crab.amplitude"]
    names += ["crab.ts", "flux_points.0", "light_curve.0"]
    assert ensemble.names == names

    # the second set by hand, with gammapy's steps
    analysis = MimicAnalysis(settings, mimic_set=1)
    analysis.get_observations()
    analysis.get_datasets()
    on = sum(it.counts.data.sum() for it in analysis.datasets)
    assert ensemble.quantity("n_on")["values"][1] == on
    analysis.set_models(free_amplitudes(Models([crab()])))
    analysis.run_fit()
    amplitude = analysis.models["crab"].parameters["amplitude"]
    found = ensemble.quantity("crab.amplitude")
    assert_allclose(found["values"][1], amplitude.value, atol=0.02 * amplitude.error)
    assert_allclose(found["errors"][1], amplitude.error, rtol=0.02)
    assert u.Unit(found["unit"]) == "TeV-1 s-1 cm-2"

    folder = ensemble_folder(settings)
    written = Table.read(folder / "ensemble.ecsv")
    assert written.colnames == ["MIMIC_SET", "INJECTED", *names, "FAILED"]
    assert_array_equal(written["n_on"], ensemble.table["n_on"])
    assert written["crab.amplitude"].unit == "TeV-1 s-1 cm-2"
    content = json.loads((folder / "ensemble.json").read_text())
    assert list(dict.fromkeys(it["name"] for it in content["quantities"])) == names
    keys = "name unit injected values mean mean_err scatter statistical systematic "
    keys += "systematic_err n_sets n_donors"
    assert set(keys.split()) <= content["quantities"][0].keys()
    assert content["failed"] == []
    points = FluxPoints.read(
        folder / "mimic_001" / "flux_points.ecsv", reference_model=crab().spectral_model
    )
    flux = ensemble.quantity("flux_points.0")["values"][1]
    assert_allclose(points.dnde.data.item(), flux)
    assert Ensemble.read(settings["mimic"]["outdir"]) == ensemble


def ensemble_folder(settings):
    return Path(settings["mimic"]["outdir"]) / "analysis"


def test_amplitudes_may_be_negative_and_shapes_are_frozen():
    source = crab()
    free = free_amplitudes(Models([source]))["crab"]
    assert [it.name for it in free.parameters.free_parameters] == ["amplitude"]
    assert np.isnan(free.parameters["amplitude"].min)
    # the models of the target are not changed
    assert source.parameters["amplitude"].min == 0
    assert not source.parameters["index"].frozen
    source.parameters["amplitude"].frozen = True
    free = free_amplitudes(Models([source]), ["crab.index"])["crab"]
    assert {it.name for it in free.parameters.free_parameters} == {"amplitude", "index"}
    with pytest.raises(ValueError, match=r"free = \['indx'\]: the models have no such"):
        free_amplitudes(Models([source]), ["indx"])


def test_blind_unless_asked(analysed, monkeypatch):
    from gammapy_mimic.analysis import runner

    settings, ensemble = analysed
    target = ensemble.target["crab.amplitude"]
    # the simulated source
    assert abs(target["value"] - 5e-11) < 5 * target["error"]
    assert target["p_value"] == 0.25
    assert 0 < target["n_effective"] <= 3
    assert ensemble.target["crab.ts"]["value"] > 100
    assert "targets: crab.amplitude" in ensemble.summary()
    # blind, although the targets have been analysed before
    monkeypatch.setattr(runner, "select_targets", None)
    blind = MimicCampaign(settings).analyse()
    assert blind.target is None
    assert blind.quantities == ensemble.quantities
    content = json.loads((ensemble_folder(settings) / "ensemble.json").read_text())
    assert content["target"] is None
    ensemble.write(ensemble_folder(settings))


def test_maps(settings):
    settings["datasets"] = MAP
    settings["excess_map"] = {"correlation_radius": "0.2 deg"}
    settings["mimic"]["analyse"] = {"steps": ["datasets", "excess_map", "fit"]}
    ensemble = MimicCampaign(settings).analyse(only=2)
    assert ensemble.sets == [2]
    names = ["n_on", "background", "excess", "sqrt_ts", "crab.amplitude"]
    assert ensemble.names == [*names, "stacked-bkg.norm", "crab.ts"]
    assert ensemble_folder(settings).joinpath("mimic_002/excess_map.fits").is_file()
    assert abs(ensemble.quantity("stacked-bkg.norm")["mean"] - 1) < 0.1
    # one set tells nothing of the scatter
    assert ensemble.quantity("n_on")["mean_err"] is None


def test_steps_need_their_settings(settings):
    settings["mimic"]["analyse"] = {"steps": ["flux-points"]}
    with pytest.raises(ValueError, match=r"flux_points\.energy is not set"):
        MimicCampaign(settings).analyse()
    settings["mimic"]["analyse"] = {"steps": ["excess-map"]}
    with pytest.raises(ValueError, match=r"datasets\.type is not '3d'"):
        MimicCampaign(settings).analyse()
    settings["general"] = {}
    settings["mimic"]["analyse"] = {}
    ensemble = MimicCampaign(settings).analyse(only=0)
    assert "n_on" in ensemble.names
    assert "crab.amplitude" not in ensemble.names


def test_what_fails_is_a_row_with_its_reason(settings):
    settings["flux_points"] = {"energy": AXIS, "source": "nebula"}
    with pytest.raises(ValueError, match="source = 'nebula': must be one of crab"):
        MimicCampaign(settings).analyse()
    # which gammapy's step does not take
    parameters = {"selection_optional": ["nothing"]}
    settings["flux_points"] = {"energy": AXIS, "source": "crab"}
    settings["flux_points"]["parameters"] = parameters
    ensemble = MimicCampaign(settings).analyse()
    assert [it["mimic_set"] for it in ensemble.failed] == [0, 1, 2]
    # what was measured before stays
    assert np.isfinite(ensemble.table["crab.amplitude"]).all()
    assert ensemble.table["FAILED"][0].startswith("flux-points: ")
    assert "mimic_000: flux-points: " in ensemble.summary()


def fails_for_some(observations):
    n = len(observations[0].events.table)
    if fails_for_some.calls == 1:
        fails_for_some.calls += 1
        raise ValueError("no counts")
    fails_for_some.calls += 1
    return {"n": n}


def test_a_function_of_the_user(settings):
    fails_for_some.calls = 0
    ensemble = MimicCampaign(settings).map(fails_for_some)
    assert ensemble.failed == [
        {"mimic_set": 1, "injected": 0.0, "reason": "ValueError: no counts"}
    ]
    assert ensemble.quantity("n")["values"][1] is None
    assert ensemble.quantity("n")["n_sets"] == 2
    ensemble = MimicCampaign(settings).map(numbers)
    assert ensemble.quantity("energy")["unit"] == "TeV"
    assert ensemble.quantity("energy")["statistical"] is None
    n = ensemble.quantity("n")
    assert_allclose(n["statistical"], np.sqrt(np.mean(n["values"])))
    with pytest.raises(ValueError, match="no analysis gave a number: TypeError"):
        MimicCampaign(settings).map(lambda _: 3).peek()
    for wrong in (lambda _: 3, lambda _: {"a": "b"}, lambda _: {"a": [1, 2]}):
        reason = MimicCampaign(settings).map(wrong).failed[0]["reason"]
        assert reason.startswith("TypeError")
    with pytest.raises(TypeError, match="must be a function"):
        MimicCampaign(settings).map("numbers")
    with pytest.raises(ValueError, match="cannot be sent to other processes"):
        MimicCampaign(settings).map(lambda _: {"a": 1}, n_jobs=2)


def test_what_is_there_is_kept_and_processes_do_not_matter(settings):
    campaign = MimicCampaign(settings)
    first = campaign.map(counted)
    calls = counted.calls
    assert campaign.map(counted) == first
    assert counted.calls == calls
    assert campaign.map(counted, overwrite=True) == first
    assert counted.calls == calls + 3
    # other arguments are another function
    campaign.map(partial(counted, factor=2))
    assert counted.calls == calls + 6
    folder = ensemble_folder(settings)
    content = (folder / "ensemble.json").read_bytes()
    campaign.map(partial(counted, factor=2), n_jobs=2, overwrite=True)
    assert (folder / "ensemble.json").read_bytes() == content
    # as of a process that was killed
    (record := next(folder.parent.rglob(".campaign/analysis/*/mimic_001.json")))
    record.write_text(record.read_text()[:20])
    half = record.with_name(f".{record.name}.1-01234567.tmp")
    half.touch()
    campaign.map(counted)
    assert not half.exists()


def counted(observations, factor=1):
    counted.calls += 1
    return {"n": factor * sum(len(run.events.table) for run in observations)}


counted.calls = 0


SLOW = """
import time
from pathlib import Path
def measure(observations):
    # of a second set until it may
    while any(Path().glob("mimics/.campaign/analysis/*/*")) and Path("wait").exists():
        time.sleep(0.05)
    return {"n": len(observations[0].events.table)}
"""


def test_killed_and_resumed(settings, tmp_path):
    (tmp_path / "slow.py").write_text(SLOW)
    (tmp_path / "wait").touch()
    config = write_config(tmp_path / "config.yaml", settings)
    command = [sys.executable, "-c", "from gammapy_mimic.cli import main; main()"]
    command += ["analyse", str(config), "--function", "slow:measure"]
    process = subprocess.Popen(command, cwd=tmp_path)
    records = ensemble_folder(settings).parent / ".campaign" / "analysis"
    end = time.monotonic() + 120
    while not list(records.rglob("mimic_000.json")) and time.monotonic() < end:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not ensemble_folder(settings).joinpath("ensemble.json").exists()
    kept = next(records.rglob("mimic_000.json"))
    written = kept.stat().st_mtime_ns
    (tmp_path / "wait").unlink()
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "3 mimic sets" in done.stdout
    assert kept.stat().st_mtime_ns == written


def test_sets_of_other_targets_and_broken_ones_are_left_out(settings):
    campaign = MimicCampaign(settings)
    out = ensemble_folder(settings).parent
    (out / "mimic_000" / "1001.fits").write_bytes(b"")
    (out / ".campaign" / "mimic_001" / "1002.json").unlink()
    ensemble = campaign.map(numbers)
    reasons = {it["mimic_set"]: it["reason"] for it in ensemble.failed}
    assert reasons[0].startswith("run 1001 is missing or not as it was written")
    assert reasons[1].endswith("they differ in 1002")
    assert ensemble.quantity("n")["n_sets"] == 1


def test_no_mimics_or_other_ones(settings, tmp_path):
    settings["mimic"]["alignment"] = "radec"
    with pytest.raises(ConfigError, match=r"mimic\.alignment: 'altaz' there"):
        MimicCampaign(settings).analyse()
    settings["mimic"]["outdir"] = str(tmp_path / "nothing")
    with pytest.raises(ConfigError, match="has no mimics: gammapy-mimic run"):
        MimicCampaign(settings).analyse()
    assert not (tmp_path / "nothing").exists()


def test_settings_of_the_analysis_change_no_mimic(settings):
    settings["mimic"]["analyse"] = {"free": ["index"]}
    result = MimicCampaign(settings).run()
    assert (result.made, result.kept) == (0, 6)


def test_command(settings, tmp_path):
    config = write_config(tmp_path / "config.yaml", settings)
    result = CliRunner().invoke(main, ["analyse", str(config), "--only", "0"])
    assert result.exit_code == 0, result.output
    assert "1 mimic set of 2 donors" in result.output
    assert "blind" in result.output
    for arguments, text in (
        (["--only", "3"], "has sets 0 to 2"),
        (["--function", "nothing:at_all"], "cannot be imported"),
        (["--function", "numpy"], "write it as my_module:my_function"),
    ):
        result = CliRunner().invoke(main, ["analyse", str(config), *arguments])
        assert result.exit_code != 0
        assert text in result.output


def test_injected_events():
    run = make_run("multi_gti")
    place = run.pointing.fixed_icrs.directional_offset_by(30 * u.deg, 0.5 * u.deg)
    source = crab(1e-9)
    source.spatial_model.lon_0.quantity = place.ra
    source.spatial_model.lat_0.quantity = place.dec
    before = run.events.table.copy()
    new = inject(run, source, scale=2, random_state=3)
    assert_array_equal(run.events.table["RA"], before["RA"])
    table = new.events.table
    drawn = table[table["MC_ID"] == 1]
    assert len(table) == len(before) + len(drawn)
    assert table.meta["MIM_NINJ"] == len(drawn)
    assert table.meta["MIM_INJ"] == 2
    assert f"{len(drawn)} events of crab x 2" in table.meta["HISTORY"][-1]
    assert len(np.unique(table["EVENT_ID"])) == len(table)
    assert drawn["EVENT_ID"].min() > before["EVENT_ID"].max()
    assert_allclose(expected_number(run, source) * 2, len(drawn), rtol=0.05)
    time_s = (drawn["TIME"] - run.gti.time_ref).to_value("s")
    starts, stops = (
        (it - run.gti.time_ref).to_value("s")
        for it in (run.gti.time_start, run.gti.time_stop)
    )
    number = [
        np.sum((time_s > a) & (time_s < b)) for a, b in zip(starts, stops, strict=True)
    ]
    assert sum(number) == len(drawn)
    # as long as the good time intervals are
    shares = np.array([0.25, 0.125, 0.375]) / 0.75
    assert_allclose(np.array(number) / len(drawn), shares, atol=0.03)
    assert new.gti.time_sum == run.gti.time_sum
    offset = new.events.radec.separation(place).deg[table["MC_ID"] == 1]
    r68 = run.psf.containment_radius(0.68, energy_true=1 * u.TeV, offset=0.5 * u.deg)
    assert np.median(offset) < r68.to_value("deg")
    again = inject(run, source, scale=2, random_state=3)
    assert_array_equal(again.events.table["RA"], table["RA"])
    nothing = inject(run, source, scale=0, random_state=3)
    assert len(nothing.events.table) == len(before)


def expected_number(run, source):
    """Effective area times flux times livetime, by hand."""
    energy = np.geomspace(*run.aeff.axes["energy_true"].edges[[0, -1]], 3001)
    area = run.aeff.evaluate(energy_true=energy, offset=0.5 * u.deg)
    rate = source.spectral_model(energy) * area
    live = run.observation_live_time_duration
    return (np.trapezoid(rate, energy) * live).to_value("")


def test_no_source_in_point_like_runs():
    with pytest.raises(ValueError, match="point-like IRFs"):
        inject(make_run("rad_max"), crab(), random_state=1)


def test_injected_source_is_found(analysed):
    _, ensemble = analysed
    assert ensemble.scales == [0, 0.4]
    assert_array_equal(ensemble.table["INJECTED"], np.repeat([0, 0.4], 3))
    found = ensemble.recovery[ensemble.recovery["NAME"] == "crab.amplitude"]
    assert_allclose(found["TRUTH"], 3.5e-11 * np.array([0, 0.4]))
    error = ensemble.quantity("crab.amplitude", 0.4)["statistical"] / np.sqrt(3)
    assert abs(found["BIAS"][1]) < 3 * error
    # the same donors without the source: what differs is the source
    excess = ensemble.quantity("excess", 0.4)["values"]
    assert np.all(np.subtract(excess, ensemble.quantity("excess")["values"]) > 20)
    for name in ("flux_points.0", "light_curve.0"):
        flux = ensemble.recovery[ensemble.recovery["NAME"] == name]
        assert abs(flux["BIAS"][1] / flux["TRUTH"][1]) < 0.5
    seen = ensemble.sensitivity[0]
    assert 0 < seen["FLUX"] < 3.5e-11 * 0.4
    assert not seen["FLUX_SYSTEMATIC"] < seen["FLUX"]
    limits = ensemble.upper_limits
    assert np.all(limits["COVERAGE"] >= 2 / 3)
    assert len(ensemble.peek_injection().axes) == 3
    assert "crab.amplitude x 0.4: put in 1.4e-11" in ensemble.summary()


def test_figures_and_systematic_of_flux_points(analysed):
    settings, ensemble = analysed
    figure = ensemble.peek()
    assert plt.gcf() is figure
    assert len(figure.axes) == 3
    assert ensemble.plot_values().figure is figure
    plt.close(figure)
    text = (
        "<Ensemble of 3 mimic sets, 9 quantities (n_on, background, excess, n_off, ...)"
    )
    assert repr(ensemble) == f"{text}, injected x 0.4, 0 failed, with the targets>"
    assert "crab.amplitude</td>" in ensemble._repr_html_()
    points = FluxPoints.read(
        ensemble_folder(settings) / "targets" / "flux_points.ecsv",
        reference_model=crab().spectral_model,
    )
    applied = ensemble.apply_to(points)
    assert isinstance(applied, FluxPoints)
    table = applied.to_table(sed_type="dnde")
    expected = ensemble.quantity("flux_points.0")["systematic_ul"]
    assert_allclose(table["dnde_sys_ul"], expected)
    assert "dnde_sys" not in points.to_table(sed_type="dnde").colnames
    e2dnde = applied.to_table(sed_type="e2dnde")["e2dnde_sys_ul"].quantity
    energy = table["e_ref"].quantity
    assert_allclose((table["dnde_sys_ul"].quantity * energy**2).to(e2dnde.unit), e2dnde)
    ax = ensemble.plot_spectrum(Figure().add_subplot(), target=points)
    assert "targets" in [it.get_text() for it in ax.get_legend().get_texts()]
    ensemble.plot_spectrum(ax, target=crab())
    with pytest.raises(TypeError, match="must be FluxPoints or a SpectralModel"):
        ensemble.plot_spectrum(ax, target=3)
    wider = {**ensemble.quantity("flux_points.0"), "energy_max": 12.0}
    other = Ensemble([wider], sets=[0, 1, 2])
    with pytest.raises(ValueError, match=r"take the same flux_points\.energy"):
        other.apply_to(points)


def test_largest_test_statistic_is_drawn():
    """Above 1 there are two of four values, above 5 one."""
    found = {"name": "crab.ts", "injected": 0, "values": [0.5, 0.2, 6, 3.0]}
    ensemble = Ensemble([{**found, "n_dof_ts": 1}], sets=[0, 1, 2, 3])
    line = ensemble.plot_ts(Figure().add_subplot()).lines[0]
    assert line.get_drawstyle() == "steps-post"
    x, y = line.get_data()
    at = np.searchsorted(x, [0.1, 0.3, 1, 5, 7], side="right") - 1
    assert_allclose(y[at], [1, 0.75, 0.5, 0.25, 0])


# statistics ----------------------------------------------------------------------


def drawn(rng, n_donors, n_runs, n_sets, systematic, n_places=4):
    """Sets of runs of donors, each with an effect of its own; noise of 1 a run.

    The same donor at the same place has the same events.
    """
    donors = np.array([rng.permutation(n_donors)[:n_runs] for _ in range(n_sets)])
    places = np.arange(n_runs) % n_places
    effect = rng.normal(0, systematic * np.sqrt(n_runs), n_donors)
    noise = rng.normal(0, np.sqrt(n_runs), (n_donors, n_places))
    values = (effect[donors] + noise[donors, places]).mean(axis=1)
    shares = np.zeros((n_sets, n_donors))
    np.put_along_axis(shares, donors, 1 / n_runs, axis=1)
    events = [set(zip(row, places, strict=True)) for row in donors]
    return set_scatter(
        values, np.ones(n_sets), donor_overlap(shares), event_overlap(events)
    )


@pytest.mark.parametrize(
    ("n_donors", "n_runs", "n_sets", "systematic"),
    [(8, 4, 50, 1.0), (8, 4, 50, 0.0), (8, 1, 50, 1.0), (80, 4, 20, 1.0)],
)
def test_errors_cover_where_sets_share_donors(n_donors, n_runs, n_sets, systematic):
    rng = np.random.default_rng(5)
    number = 400
    found = [drawn(rng, n_donors, n_runs, n_sets, systematic) for _ in range(number)]
    # 3 standard deviations of a binomial of 0.68 are 0.07
    coverage = np.mean([abs(it["mean"]) < it["mean_err"] for it in found])
    assert 0.61 < coverage < 0.85
    limits = np.mean([it["systematic_ul"] >= systematic for it in found])
    assert limits > 0.92
    if systematic:
        value = np.sqrt(np.mean([it["systematic"] ** 2 for it in found]))
        assert_allclose(value, systematic, rtol=0.1)
    else:
        assert_allclose(np.median([it["pull_width"] for it in found]), 1, atol=0.05)


def test_taking_sets_as_independent_does_not_cover():
    """Negative control: without the overlaps errors are far too small."""
    rng = np.random.default_rng(5)
    covered = []
    for _ in range(300):
        effect, donors = rng.normal(0, 1, 8), rng.integers(8, size=50)
        values = effect[donors] + rng.normal(0, 0.3, 8)[donors]
        independent = np.eye(50)
        found = set_scatter(values, np.full(50, 0.3), independent, independent)
        covered.append(abs(found["mean"]) < found["mean_err"])
    assert np.mean(covered) < 0.4


def test_independent_sets_are_the_textbook_case():
    rng = np.random.default_rng(1)
    values, errors = rng.normal(3, 2, 12), np.full(12, 0.5)
    found = set_scatter(values, errors, np.eye(12), np.eye(12))
    assert_allclose(found["mean"], values.mean())
    assert_allclose(found["scatter"], values.std(ddof=1))
    assert_allclose(found["systematic"] ** 2, values.var(ddof=1) - 0.25)
    assert_allclose(found["n_dof"], 11)
    assert_allclose(found["pull_width"], values.std(ddof=1) / 0.5)
    assert found["n_effective"] == 12


def test_sets_of_the_same_donors_tell_nothing_of_the_systematic():
    same = np.ones((3, 3))
    found = set_scatter(np.array([1.0, 1, 1]), np.ones(3), same, same)
    assert np.isnan(found["systematic"])
    assert found["n_effective"] == 1


def record(value, error=1.0, donor="1", **more):
    values = {"a.ts": {"value": value, "error": None, "unit": ""}}
    values["x"] = {"value": value, "error": error, "unit": "s"}
    return {
        "values": values,
        "problem": None,
        "donors": {donor: 1.0},
        "events": {donor: [1]},
        **more,
    }


def test_ensemble_of_records(tmp_path):
    records = {(0.0, k): record(value, donor=str(k)) for k, value in enumerate((5, 10))}
    records[0.0, 7] = {"problem": "no such set"}
    records[0.0, 3] = record(np.nan, donor="3")
    ensemble = build_ensemble(records, target=record(7))
    x = ensemble.quantity("x")
    assert x["values"] == [5, 10, None, None]
    assert (x["n_sets"], x["n_donors"], x["mean"]) == (2, 2, 7.5)
    assert ensemble.target["x"]["p_value"] == pytest.approx(2 / 3)
    fractions = ensemble.quantity("a.ts")["fractions"]
    assert [it["fraction"] for it in fractions] == [1, 0.5, 0]
    assert_allclose([it["chi2"] for it in fractions], chi2.sf([4, 9, 25], 1))
    assert ensemble.failed == [
        {"mimic_set": 7, "injected": 0.0, "reason": "no such set"}
    ]
    ensemble.write(tmp_path)
    assert Ensemble.read(tmp_path) == ensemble
    (tmp_path / "ensemble.json").write_text("{")
    with pytest.raises(ValueError, match=r"ensemble\.json"):
        Ensemble.read(tmp_path)


def test_bins_of_light_curves_are_matched_by_time():
    def curve(*days):
        row = record(0.0)
        row["values"] = {
            f"light_curve.{k}": {
                **{"value": day, "error": 1.0, "unit": ""},
                **{"time_min": day, "time_max": day + 0.02},
            }
            for k, day in enumerate(days)
        }
        return row

    days = 59000.0, 59001.0, 59002.0
    records = {(0.0, 0): curve(*days), (0.0, 1): curve(days[0] + 1e-9, days[2])}
    ensemble = build_ensemble(copy.deepcopy(records))
    assert ensemble.quantity("light_curve.1")["values"] == [59001, None]
    assert ensemble.quantity("light_curve.2")["values"] == [59002, 59002]
    ensemble = build_ensemble(records, same_times=False)
    assert ensemble.quantity("light_curve.1")["values"] == [59001, 59002]
