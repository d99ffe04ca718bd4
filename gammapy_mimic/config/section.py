"""Pydantic models of the section ``mimic:``."""

from pathlib import Path
from typing import Annotated, Any, Literal

from astropy.coordinates import Angle, SkyCoord
from gammapy.analysis.config import GammapyBaseConfig
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    StrictBool,
    StrictInt,
    StrictStr,
    field_validator,
    model_validator,
)
from regions import CircleSkyRegion, PointSkyRegion, RegionMeta

from gammapy_mimic.config.analyse import AnalyseConfig
from gammapy_mimic.config.paths import RawPath, RawPaths, expand
from gammapy_mimic.config.types import (
    AnyAngle,
    Duration,
    Epoch,
    Fraction,
    Location,
    Number,
    PositiveAngle,
    known_features,
    known_tags,
    none_if_off,
    valid_columns,
    valid_conditions,
)
from gammapy_mimic.matching import DonorMatcher
from gammapy_mimic.mimic.maker import MimicMaker
from gammapy_mimic.scramble.scrambler import AnnulusScrambler
from gammapy_mimic.sources.known import known_sources, parse_sources

__all__ = [
    "DonorsConfig",
    "MatchConfig",
    "MimicConfig",
    "ScrambleConfig",
    "SourceConfig",
]


class DonorsConfig(GammapyBaseConfig):
    """Which runs may become mimics; all conditions that are given have to hold.

    Attributes
    ----------
    datastore : `~pathlib.Path`, list of `~pathlib.Path` or None
        Folder of the donors' data store, or several. None is that of the observations.
    where : dict
        Values that columns of the obs-index must have: one, a list of values or of
        patterns with * and ?, a range of two numbers, or a mapping with min, max or
        both.
    obs_ids : list of int
        OBS_IDs.
    obs_file : `~pathlib.Path` or None
        Text file with one OBS_ID a line.
    exclude : list of int
        OBS_IDs that are not donors.
    bad_times : `~pathlib.Path` or None
        ECSV file with OBS_ID, START and STOP of times that are not used.
    """

    datastore: RawPaths | None = None
    where: Annotated[dict[str, Any], AfterValidator(valid_conditions)] = Field(
        default_factory=dict
    )
    obs_ids: list[StrictInt] = Field(default_factory=list)
    obs_file: RawPath | None = None
    exclude: list[StrictInt] = Field(default_factory=list)
    bad_times: RawPath | None = None

    @property
    def is_given(self) -> bool:
        """Whether anything says which runs are donors (bool)."""
        return bool(self.datastore or self.where or self.obs_ids or self.obs_file)


class MatchConfig(GammapyBaseConfig):
    """Arguments of `~gammapy_mimic.DonorMatcher`; null switches a cut off."""

    airmass: Number | None = 0.15
    azimuth: AnyAngle | None = Angle(45, "deg")
    ontime: Fraction | None = 0.1
    muon_efficiency: Fraction | None = 0.1
    nsb: Number | None = 1.5
    n_tels: Number | None = 0
    telescope: Number | None = 0
    telescopes: Number | None = None
    time: Duration | None = None
    effective_area: Fraction | None = 0.1
    threshold: Fraction | None = None
    rate: Fraction | None = None
    rate_chi2: Number | None = None
    columns: Annotated[dict[str, Any], AfterValidator(valid_columns)] = Field(
        default_factory=dict
    )
    galactic_latitude: AnyAngle | None = None
    epochs: list[Epoch] = Field(default_factory=list)
    relax: list[Annotated[str | dict[str, Any], AfterValidator(known_features)]] = (
        Field(default_factory=list)
    )
    balance: StrictBool = False
    fill: StrictBool = False
    reuse: Annotated[StrictInt, Field(ge=1)] = 1
    rate_proxy: Literal["events", "index"] | None = None
    keep_away: list[StrictStr] = Field(default_factory=list)
    keep_away_distance: PositiveAngle = Angle(2.5, "deg")

    @model_validator(mode="after")
    def _can_match(self):
        # region files are looked for when the folder of the configuration is known
        names = [name for name in self.keep_away if not name.endswith(".reg")]
        self.model_copy(update={"keep_away": names}).matcher()
        return self

    def matcher(self, **kwargs: Any) -> DonorMatcher:
        """Make the matcher.

        Parameters
        ----------
        **kwargs
            Further arguments of `~gammapy_mimic.DonorMatcher`.

        Returns
        -------
        matcher : `~gammapy_mimic.DonorMatcher`
            Matcher.
        """
        options = {name: getattr(self, name) for name in type(self).model_fields}
        options["keep_away"] = options["keep_away"] or None
        options["epochs"] = options["epochs"] or None
        options["relax"] = [
            step if isinstance(step, str) else pair
            for step in options["relax"]
            for pair in ([step] if isinstance(step, str) else step.items())
        ]
        return DonorMatcher(**options, **kwargs)


class SourceConfig(GammapyBaseConfig):
    """A source that is in no catalog.

    Attributes
    ----------
    name : str
        Name.
    lon, lat : `~astropy.coordinates.Angle`
        Position, with units.
    frame : {"icrs", "galactic"}
        Frame of the position.
    radius : `~astropy.coordinates.Angle` or None
        Radius of its circle; None is that of a point-like source.
    """

    name: StrictStr
    lon: AnyAngle
    lat: AnyAngle
    frame: Literal["icrs", "galactic"] = "icrs"
    radius: PositiveAngle | None = None

    @field_validator("lat")
    @classmethod
    def _is_latitude(cls, value):
        if abs(value.deg) > 90:
            raise ValueError("must be between -90 deg and 90 deg")
        return value

    def region(self) -> CircleSkyRegion | PointSkyRegion:
        """Circle of the source, or its place if it has no radius."""
        center = SkyCoord(self.lon, self.lat, frame=self.frame).icrs
        meta = RegionMeta({"name": self.name, "text": self.name})
        if self.radius is None:
            return PointSkyRegion(center, meta=meta)
        return CircleSkyRegion(center, self.radius, meta=meta)


class ScrambleConfig(GammapyBaseConfig):
    """Arguments of `~gammapy_mimic.AnnulusScrambler`.

    Attributes
    ----------
    catalogs : list of str or None
        Catalogs in which each donor's known sources are looked up; one that is named
        must be there. None is gamma-cat or, where that is not there, the packaged
        list of bright sources.
    radius : `~astropy.coordinates.Angle`
        How far from the pointing.
    theta : `~astropy.coordinates.Angle` or "psf"
        Radius of a point-like source, or that of the run's point-spread function.
    method, acceptance : str
        See `~gammapy_mimic.AnnulusScrambler`.
    also : list of `SourceConfig`
        Further sources.
    """

    catalogs: Annotated[list[StrictStr], AfterValidator(known_tags)] | None = None
    radius: PositiveAngle = Angle(3, "deg")
    theta: PositiveAngle | Literal["psf"] = Angle(0.3, "deg")
    method: Literal["auto", "shuffle", "refill"] = "auto"
    acceptance: Literal["auto", "events", "background"] = "auto"
    also: list[SourceConfig] = Field(default_factory=list)

    def regions(self) -> list[CircleSkyRegion]:
        """Give the sources that no catalog has, as circles (list)."""
        regions = [source.region() for source in self.also]
        return parse_sources(regions, theta=self._theta) if regions else []

    def sources(self, pointing: SkyCoord) -> list[CircleSkyRegion]:
        """Give the circles that are scrambled in a field (list)."""
        options = {"catalogs": self.catalogs, "theta": self._theta}
        return known_sources(
            pointing, self.radius, extra=self.regions() or None, **options
        )

    @property
    def _theta(self) -> Angle:
        """Radius of a point-like source where that of no run is at hand."""
        return Angle(0.3, "deg") if isinstance(self.theta, str) else self.theta

    def scrambler(self) -> AnnulusScrambler:
        """Make the `~gammapy_mimic.AnnulusScrambler`; its seed comes with each run."""
        return AnnulusScrambler.from_catalog(
            self.catalogs,
            radius=self.radius,
            extra=[source.region() for source in self.also] or None,
            theta=self.theta,
            method=self.method,
            acceptance=self.acceptance,
        )


class MimicConfig(GammapyBaseConfig):
    """The section ``mimic:``.

    Attributes
    ----------
    donors : `DonorsConfig`
        Which runs may become mimics.
    match : `MatchConfig`
        How alike target and donor have to be.
    scramble : `ScrambleConfig` or None
        What is done with known sources of donors; None: nothing.
    alignment, time, background, irfs, fov_alignment, location, crop, \
allow_other_telescope
        Arguments of `~gammapy_mimic.MimicMaker`.
    n_mimics : int
        Number of mimic sets.
    random_state : int
        Seed.
    outdir : `~pathlib.Path`
        Folder for the results.
    relative_to : `~pathlib.Path` or None
        Folder from which relative paths of this section start. None is that of the
        configuration file.
    compress : bool
        Whether event files are compressed.
    analyse : `~gammapy_mimic.config.AnalyseConfig`
        The analysis of each mimic set.
    acknowledgement : str or None
        Sentence of acknowledgement, for the report. It changes no mimic.
    """

    donors: DonorsConfig = DonorsConfig()
    match: MatchConfig = MatchConfig()
    scramble: Annotated[ScrambleConfig | None, BeforeValidator(none_if_off)] = (
        ScrambleConfig()
    )
    alignment: Literal["altaz", "radec"] = "altaz"
    time: Literal["target", "donor"] = "target"
    background: Literal["donor", "target"] = "donor"
    irfs: Literal["donor", "target"] = "donor"
    fov_alignment: Literal["altaz", "radec"] | None = None
    location: Location = None
    crop: StrictBool = False
    allow_other_telescope: StrictBool = False
    n_mimics: Annotated[StrictInt, Field(ge=1, le=100000)] = 1
    random_state: Annotated[StrictInt, Field(ge=0)] = 0
    outdir: RawPath = Path("mimics")
    relative_to: RawPath | None = None
    compress: StrictBool = False
    analyse: AnalyseConfig = AnalyseConfig()
    acknowledgement: StrictStr | None = None

    def matcher(self, **kwargs: Any) -> DonorMatcher:
        """Make the `~gammapy_mimic.DonorMatcher`.

        Parameters
        ----------
        **kwargs
            Further arguments of `~gammapy_mimic.DonorMatcher`.

        Returns
        -------
        matcher : `~gammapy_mimic.DonorMatcher`
            Matcher.
        """
        if self.donors.bad_times is not None:
            path = expand(self.donors.bad_times, "mimic.donors.bad_times")
            kwargs["bad_times"] = path
        if self.scramble is not None:
            kwargs["scrambled"] = self.scramble.sources
            kwargs["catalogs"] = tuple(
                dict.fromkeys(("bright", *(self.scramble.catalogs or ())))
            )
            kwargs["sources"] = self.scramble.regions()
        kwargs |= {"n_mimics": self.n_mimics, "exclude": self.donors.exclude}
        kwargs["crop"] = self.crop
        names = ("alignment", "background", "fov_alignment")
        kwargs["making"] = {name: getattr(self, name) for name in names}
        return self.match.matcher(location=self.location, **kwargs)

    def maker(self) -> MimicMaker:
        """Make the `~gammapy_mimic.MimicMaker`, with its scrambler."""
        names = "alignment time background irfs fov_alignment crop random_state "
        names += "allow_other_telescope location"
        options = {name: getattr(self, name) for name in names.split()}
        scrambler = None if self.scramble is None else self.scramble.scrambler()
        return MimicMaker(scrambler=scrambler, **options)
