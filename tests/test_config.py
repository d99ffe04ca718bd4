"""The configuration: a gammapy analysis file with one more section."""

import os

import pytest
from astropy.coordinates import Angle
from gammapy.analysis import Analysis, AnalysisConfig

from gammapy_mimic.config import (
    ConfigError,
    MatchConfig,
    MimicAnalysisConfig,
    MimicConfig,
    expand,
    template,
)
from gammapy_mimic.config.template import _SECTION
from gammapy_mimic.matching import FEATURES, DonorMatcher
from gammapy_mimic.matching.features import RESERVED
from gammapy_mimic.mimic.maker import MimicMaker

FULL = """
observations: {datastore: $GAMMAPY_DATA/hess-dl3-dr1, obs_ids: [23523, 23526]}
datasets: {type: 3d, background: {method: fov_background, exclusion: $HOME/m.fits}}
mimic:
  donors: {datastore: $GAMMAPY_DATA/off, where: {TARGET_NAME: Off data}}
  match: {airmass: 0.2, azimuth: 60 deg, nsb: null, relax: [{azimuth: 90 deg}, airmass]}
  scramble:
    catalogs: [gamma-cat, bright]
    theta: 0.2 deg
    method: refill
    also: [{name: my source, lon: 83.1 deg, lat: 21.2 deg, radius: 0.4 deg}]
  alignment: radec
  time: donor
  background: target
  n_mimics: 5
  random_state: 42
  outdir: $OUT/crab
"""


def problems(text):
    with pytest.raises(ConfigError) as caught:
        MimicAnalysisConfig.from_yaml(text)
    return caught.value.problems


class TestRoundTrip:
    def test_settings(self):
        config = MimicAnalysisConfig.from_yaml(FULL)
        mimic = config.mimic
        assert mimic.n_mimics == 5
        assert mimic.match.azimuth == Angle("60 deg")
        assert mimic.match.nsb is None
        assert mimic.scramble.also[0].radius == Angle("0.4 deg")
        assert config.datasets.type == "3d"

    def test_text(self):
        config = MimicAnalysisConfig.from_yaml(FULL)
        text = config.to_yaml()
        assert "metadata:" in text  # what gammapy writes, and does not read itself
        assert MimicAnalysisConfig.from_yaml(text) == config

    def test_file(self, tmp_path):
        config = MimicAnalysisConfig.from_yaml(FULL)
        config.write(tmp_path / "c.yaml")
        again = MimicAnalysisConfig.read(tmp_path / "c.yaml")
        assert isinstance(again, MimicAnalysisConfig)
        assert again == config

    def test_variables_stay(self, monkeypatch):
        monkeypatch.setenv("GAMMAPY_DATA", "/somewhere")
        text = MimicAnalysisConfig.from_yaml(FULL).to_yaml()
        for path in ("$GAMMAPY_DATA/hess-dl3-dr1", "$GAMMAPY_DATA/off", "$OUT/crab"):
            assert path in text
        assert "$HOME/m.fits" in text
        assert "/somewhere" not in text

    def test_default_datastore_stays_raw(self):
        assert (
            "datastore: $GAMMAPY_DATA/hess-dl3-dr1" in MimicAnalysisConfig().to_yaml()
        )

    def test_defaults_are_not_shared(self):
        one, other = MimicAnalysisConfig(), MimicAnalysisConfig()
        one.mimic.n_mimics = 3
        one.mimic.donors.obs_ids.append(1)
        assert other.mimic.n_mimics == 1
        assert other.mimic.donors.obs_ids == []

    @pytest.mark.parametrize(
        "change", ["mimic: {n_mimics: 7}", {"mimic": {"n_mimics": 7}}]
    )
    def test_update(self, change):
        config = MimicAnalysisConfig.from_yaml(FULL)
        new = config.update(change)
        assert isinstance(new, MimicAnalysisConfig)
        assert new.mimic.n_mimics == 7
        assert new.mimic.scramble == config.mimic.scramble
        assert config.mimic.n_mimics == 5

    def test_update_by_config(self):
        other = MimicAnalysisConfig.from_yaml("general: {n_jobs: 2}")
        new = MimicAnalysisConfig.from_yaml(FULL).update(other)
        assert new.general.n_jobs == 2
        assert new.mimic.n_mimics == 5

    def test_update_checks(self):
        with pytest.raises(ConfigError, match=r"mimic\.n_mimic: unknown key"):
            MimicAnalysisConfig().update("mimic: {n_mimic: 7}")
        with pytest.raises(TypeError, match="must be YAML"):
            MimicAnalysisConfig().update(3)

    def test_gammapy_takes_it(self, monkeypatch):
        monkeypatch.setenv("GAMMAPY_DATA", "/somewhere")
        config = MimicAnalysisConfig.from_yaml(FULL)
        assert Analysis(config).config is config
        plain = config.to_analysis_config()
        assert type(plain) is AnalysisConfig
        assert str(plain.observations.datastore) == "/somewhere/hess-dl3-dr1"
        assert plain.datasets.type == "3d"

    def test_off(self):
        for text in ("null", "off", "no"):
            config = MimicAnalysisConfig.from_yaml(f"mimic: {{scramble: {text}}}")
            assert config.mimic.scramble is None
            assert config.mimic.maker().scrambler is None


class TestDefaults:
    def test_match(self):
        """Every tolerance is there, with the matcher's own default."""
        names = set(FEATURES) - set(RESERVED)
        assert names <= set(MatchConfig.model_fields)
        assert MatchConfig().matcher().tolerances == DonorMatcher().tolerances

    def test_maker(self):
        made, default = MimicConfig().maker(), MimicMaker()
        for name in ("alignment", "time", "background", "irfs", "crop"):
            assert getattr(made, name) == getattr(default, name)

    def test_values_are_passed_on(self):
        # the catalog that is there without any data
        text = FULL.replace("gamma-cat", "bright")
        mimic = MimicAnalysisConfig.from_yaml(text).mimic
        maker, matcher = mimic.maker(), mimic.matcher()
        assert (maker.alignment, maker.time, maker.background) == (
            "radec",
            "donor",
            "target",
        )
        assert maker.random_state == 42
        assert maker.scrambler.method == "refill"
        assert maker.scrambler.theta == Angle("0.2 deg")
        assert matcher.n_mimics == 5
        assert matcher.tolerances["airmass"] == 0.2
        assert "nsb" not in matcher.tolerances
        assert matcher.relax == (("azimuth", 90.0), ("airmass", None))


# (YAML, part of the message); the messages are what a person has to act on
MISTAKES = [
    ("mimc: {}", "mimc: unknown key; did you mean 'mimic'?"),
    ("mimic: {n_mimic: 5}", "mimic.n_mimic: unknown key; did you mean 'n_mimics'?"),
    ("mimic: {theta: 1 deg}", "unknown key; did you mean 'mimic.scramble.theta'?"),
    ("mimic: {qqq: 1}", "mimic.qqq: unknown key; mimic has donors, match,"),
    ("mimic: {match: {airmas: 1}}", "mimic.match.airmas: unknown key; did you mean"),
    ("observations: {obs_id: [1]}", "observations.obs_id: unknown key; did you mean"),
    ("mimic: {match: {azimuth: 45}}", "mimic.match.azimuth = 45: needs a unit; write"),
    ("mimic: {match: {azimuth: '45'}}", "= '45': needs a unit; write '45 deg'"),
    ("mimic: {match: {azimuth: 3 s}}", "= '3 s': has the wrong unit s; write it in"),
    (
        "mimic: {match: {azimuth: wide}}",
        "must be a number with a unit, such as '5 deg'",
    ),
    ("mimic: {match: {azimuth: [1]}}", "must be a number with a unit, such as '5 deg'"),
    ("mimic: {match: {azimuth: nan deg}}", "must be one finite value"),
    ("mimic: {match: {time: 0 d}}", "mimic.match.time = '0 d': must be larger than"),
    ("mimic: {match: {airmass: '0.1'}}", "airmass = '0.1': must be a number"),
    ("mimic: {match: {airmass: -1}}", "must be greater than or equal to 0"),
    ("mimic: {match: {relax: [azimut]}}", "no tolerance 'azimut': did you mean"),
    ("mimic: {match: {relax: [{azimuth: 9 deg}]}}", "not wider than the tolerance"),
    ("mimic: {match: {epochs: [soon]}}", "must be a date, such as"),
    ("mimic: {match: {keep_away: [Nowhere 1]}}", "Nowhere 1"),
    ("mimic: {scramble: {theta: 0.3}}", "theta = 0.3: needs a unit; write '0.3 deg'"),
    ("mimic: {scramble: {theta: -0.3 deg}}", "must be larger than zero"),
    ("mimic: {scramble: {theta: 100 deg}}", "must be smaller than 10 deg"),
    (
        "mimic: {scramble: {catalogs: [gamacat]}}",
        "'gamacat' is not known; did you mean",
    ),
    ("mimic: {scramble: {method: shufle}}", "must be 'auto', 'shuffle' or 'refill'"),
    ("mimic: {scramble: {also: [{name: x, lon: 1 deg}]}}", "also[0].lat: is missing"),
    (
        "mimic: {scramble: {also: [{name: x, lon: 1 deg, lat: 91 deg}]}}",
        "also[0].lat = '91 deg': must be between",
    ),
    ("mimic: {scramble: {also: [Crab]}}", "mimic.scramble.also[0] = 'Crab'"),
    ("mimic: {alignment: altz}", "mimic.alignment = 'altz': must be 'altaz' or"),
    ("mimic: {crop: ja}", "mimic.crop = 'ja': must be a valid boolean"),
    ("mimic: {n_mimics: five}", "mimic.n_mimics = 'five': must be a valid integer"),
    ("mimic: {n_mimics: 0}", "must be greater than or equal to 1"),
    ("mimic: {n_mimics: true}", "mimic.n_mimics = True: must be a valid integer"),
    ("mimic: {random_state: -1}", "must be greater than or equal to 0"),
    ("mimic: {outdir: ''}", "mimic.outdir = '': must be a path"),
    ("mimic: {donors: {obs_ids: 5}}", "mimic.donors.obs_ids = 5: must be a valid list"),
    ("mimic: {donors: {obs_ids: [a]}}", "mimic.donors.obs_ids[0] = 'a'"),
    ("mimic: {donors: Off}", "mimic.donors"),
    ("mimic:\n", "mimic: the section is empty; remove it or fill it"),
    ("observations: {obs_cone: {lon: 83}}", "lon = 83: needs a unit; write '83 deg'"),
    (
        "datasets: {geom: {axes: {energy: {min: 1}}}}",
        "datasets.geom.axes.energy.min = 1: needs a unit; write '1 TeV'",
    ),
    ("datasets: {type: 4d}", "datasets.type = '4d': must be '1d' or '3d'"),
    ("- a\n- b", "must hold keys and values, not list"),
    ("a: [", "line 1 is not valid YAML"),
    ("general: {}\ngeneral: {}", "line 2 is not valid YAML: 'general' is duplicated"),
]


class TestMistakes:
    @pytest.mark.parametrize(
        ("text", "message"), MISTAKES, ids=[m[0] for m in MISTAKES]
    )
    def test_message(self, text, message):
        (problem,) = problems(text)
        assert message in problem
        assert problem.startswith("configuration")

    def test_all_at_once(self):
        """Also mistakes at which astropy would stop pydantic."""
        text = """
        observations: {datastor: x, obs_cone: {lon: 83}}
        mimic: {n_mimic: 5, match: {azimuth: 45, relax: [azimut]}, crop: ja}
        """
        keys = [problem.split()[1].rstrip(":") for problem in problems(text)]
        assert keys == [
            "observations.datastor",
            "observations.obs_cone.lon",
            "mimic.n_mimic",
            "mimic.match.azimuth",
            "mimic.match.relax[0]",
            "mimic.crop",
        ]

    def test_file_is_named(self, tmp_path):
        path = tmp_path / "crab.yaml"
        path.write_text("mimic: {n_mimic: 5}\n")
        with pytest.raises(
            ValueError, match=r"crab\.yaml: mimic\.n_mimic: unknown key"
        ):
            MimicAnalysisConfig.read(path)

    def test_binary_file(self, tmp_path):
        path = tmp_path / "c.yaml"
        path.write_bytes(b"\xff\xfe\x00")
        with pytest.raises(ConfigError, match="not a text file"):
            MimicAnalysisConfig.read(path)

    def test_code_in_yaml(self):
        (problem,) = problems("a: !!python/object/apply:os.getcwd []")
        assert "is not valid YAML" in problem

    def test_settings_are_not_changed(self):
        settings = {"mimic": {"donors": {"where": {"A": 1}}, "n_mimics": 2}}
        config = MimicAnalysisConfig().update(settings)
        config.mimic.donors.where["B"] = 2
        assert settings == {"mimic": {"donors": {"where": {"A": 1}}, "n_mimics": 2}}


class TestExpand:
    def test_variable(self, monkeypatch, tmp_path):
        monkeypatch.setenv("HERE", str(tmp_path))
        assert expand("$HERE/a", "x") == tmp_path / "a"
        assert expand("${HERE}/a", "x") == tmp_path / "a"

    def test_relative(self):
        assert expand("a", "x").is_absolute()

    def test_home(self):
        assert str(expand("~/a", "x")) == os.path.expanduser("~/a")

    def test_unset(self, monkeypatch):
        monkeypatch.delenv("GAMMAPY_DATA", raising=False)
        with pytest.raises(ConfigError, match=r"_DATA is not set, but some\.key"):
            expand("$GAMMAPY_DATA/x", "some.key")


class TestTemplate:
    def test_is_valid(self):
        config = MimicAnalysisConfig.from_yaml(template())
        assert config.mimic.donors.where == {"TARGET_NAME": "Off data"}
        assert config.observations.obs_ids == [23523, 23526, 23559, 23592]

    def test_settings_in_comments_are_valid_defaults(self):
        """What is commented out as the default is the default; all keys are there."""
        lines = []
        for line in _SECTION.splitlines():
            setting = line.strip().removeprefix("# ")
            is_setting = setting.split(":")[0].isidentifier() and ":" in setting
            if not line.strip().startswith("#"):
                lines.append(line)
            elif is_setting:
                lines.append(line.replace("# ", "", 1))
        config = MimicAnalysisConfig.from_yaml("\n".join(lines))
        dumped = config.to_dict()["mimic"]
        assert set(dumped) - {"irfs", "allow_other_telescope"} <= set(
            "\n".join(lines).replace(":", " ").split()
        )
        default = MimicConfig()
        for name in ("alignment", "time", "background", "irfs", "crop", "compress"):
            assert getattr(config.mimic, name) == getattr(default, name)
        for name in ("ontime", "muon_efficiency", "nsb", "n_tels", "balance"):
            assert getattr(config.mimic.match, name) == getattr(default.match, name)
        for name in ("acceptance", "radius"):
            assert getattr(config.mimic.scramble, name) == getattr(
                default.scramble, name
            )

    def test_text_of_the_user_is_kept(self):
        text = "# mine\nobservations: {obs_ids: [1]}  # odd\n"
        made = template(text)
        assert made.startswith(text)
        assert MimicAnalysisConfig.from_yaml(made).observations.obs_ids == [1]

    def test_file_written_by_gammapy(self):
        made = template(AnalysisConfig().to_yaml())
        assert MimicAnalysisConfig.from_yaml(made).mimic.random_state == 42

    def test_section_is_there_already(self):
        with pytest.raises(ConfigError, match="a section 'mimic' already"):
            template("mimic: {n_mimics: 2}")

    def test_nothing_can_be_appended(self):
        with pytest.raises(ConfigError, match="not valid YAML"):
            template("{observations: {obs_ids: [1]}}")
