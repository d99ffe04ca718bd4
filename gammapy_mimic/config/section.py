"""Pydantic models of the section ``mimic:``."""

from pathlib import Path
from typing import Annotated, Any, Literal

from astropy.coordinates import Angle, SkyCoord
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
    DescribedConfig,
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
from gammapy_mimic.sources.known import MAX_THETA, known_sources, parse_sources

__all__ = [
    "DonorsConfig",
    "MatchConfig",
    "MimicConfig",
    "ScrambleConfig",
    "SourceConfig",
]


class DonorsConfig(DescribedConfig):
    """Which runs may become mimics; all conditions that are given have to hold."""

    datastore: RawPaths | None = None
    """Folder of the donors' data store, or several. Default: that of the observations.
    """
    where: Annotated[dict[str, Any], AfterValidator(valid_conditions)] = Field(
        default_factory=dict
    )
    """Values that columns of the obs-index must have: one value, a list of values or of
    patterns with * and ?, a range of two numbers such as [40, 52], or a mapping with
    min, max or both."""
    obs_ids: list[StrictInt] = Field(default_factory=list)
    """OBS_IDs of the donors."""
    obs_file: RawPath | None = None
    """Text file with one OBS_ID a line."""
    exclude: list[StrictInt] = Field(default_factory=list)
    """OBS_IDs that are not donors."""
    bad_times: RawPath | None = None
    """ECSV file with OBS_ID, START and STOP of times that are not used."""

    @property
    def is_given(self) -> bool:
        """Whether anything says which runs are donors (bool)."""
        return bool(self.datastore or self.where or self.obs_ids or self.obs_file)


class MatchConfig(DescribedConfig):
    """Arguments of `~gammapy_mimic.DonorMatcher`; null switches a cut off."""

    airmass: Number | None = 0.15
    """Largest difference of 1 / cos(zenith angle)."""
    azimuth: AnyAngle | None = Angle(45, "deg")
    """Largest difference of the azimuths. Within 10 deg of the zenith the orientation
    of the field of view is compared instead."""
    ontime: Fraction | None = 0.1
    """How much shorter the donor may be, relative to the target. Longer donors always
    pass."""
    muon_efficiency: Fraction | None = 0.1
    """Largest relative difference of MUONEFF."""
    nsb: Number | None = 1.5
    """Largest difference of NSBLEVEL."""
    n_tels: Number | None = 0
    """Largest difference of the number of telescopes."""
    telescope: Number | None = 0
    """With 0 the telescopes (TELESCOP) must be the same."""
    telescopes: Number | None = None
    """Number of telescopes (TELLIST) that only one of the runs may have."""
    time: Duration | None = None
    """Largest time between the runs."""
    effective_area: Fraction | None = 0.1
    """Largest relative difference of the effective areas within 1 deg of the pointing,
    in the range of the axis energy of the analysis."""
    threshold: Fraction | None = None
    """Largest relative difference of the energy thresholds (LO_THRES)."""
    rate: Fraction | None = None
    """Largest relative difference of the event rates above the threshold of the
    analysis."""
    rate_chi2: Number | None = None
    """Largest chi-square over degrees of freedom of the donor's rate against time."""
    columns: Annotated[dict[str, Any], AfterValidator(valid_columns)] = Field(
        default_factory=dict
    )
    """Largest differences of further columns of the obs-index or cards of EVENTS: a
    number in the unit of the column, a quantity, or a percentage of the target's value.
    """
    galactic_latitude: AnyAngle | None = None
    """Least absolute galactic latitude of a donor."""
    epochs: list[Epoch] = Field(default_factory=list)
    """Dates at which the instrument changed. Donors must be of the target's epoch."""
    relax: list[Annotated[str | dict[str, Any], AfterValidator(known_features)]] = (
        Field(default_factory=list)
    )
    """Cuts that are relaxed, one after the other, for targets without a donor: names
    (the cut is dropped), or a mapping of a name to a wider tolerance. The pairs say
    what was relaxed."""
    balance: StrictBool = False
    """Choose among nearly equal distances so that the mean airmass and NSB of a mimic
    set agree with those of the targets."""
    fill: StrictBool = False
    """Take several donors for a target until its time is filled. The cut ontime is off
    then."""
    reuse: Annotated[StrictInt, Field(ge=1)] = 1
    """How many targets of a mimic set a donor may serve; with fill: how often the same
    time of a donor may be used."""
    rate_proxy: Literal["events", "index"] | None = None
    """What the rate is counted from: events of the outer field of view (events) or the
    number of events in the index (index). Default: events between 0.5 and 2.5 deg from
    the pointing, outside of known sources, where event files are there."""
    keep_away: list[StrictStr] = Field(default_factory=list)
    """Sources that donors must not have in their field: names, or one region file."""
    keep_away_distance: PositiveAngle = Angle(2.5, "deg")
    """Least distance of a donor's pointing from the edge of these sources."""

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


class SourceConfig(DescribedConfig):
    """A source that is in no catalog."""

    name: StrictStr
    """Name of the source."""
    lon: AnyAngle
    """Right ascension, or galactic longitude."""
    lat: AnyAngle
    """Declination, or galactic latitude."""
    frame: Literal["icrs", "galactic"] = "icrs"
    """Frame of the position."""
    radius: PositiveAngle | None = None
    """Radius of the source. Default: that of a point-like source (theta)."""

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


class ScrambleConfig(DescribedConfig):
    """Arguments of `~gammapy_mimic.AnnulusScrambler`."""

    catalogs: Annotated[list[StrictStr], AfterValidator(known_tags)] | None = None
    """Catalogs in which the known sources of each donor are looked up: gamma-cat, hgps,
    2hwc, 3hwc, 1LHAASO or bright. A catalog that is named must be there. Default:
    gamma-cat or, without it, the list of bright sources that comes with the package."""
    radius: PositiveAngle = Angle(3, "deg")
    """How far from the pointing of the donor sources are looked up."""
    theta: PositiveAngle | Literal["psf"] = Angle(0.3, "deg")
    """Radius of a point-like source, or psf: the radius that holds 95 % of such a
    source by the PSF of the run."""
    method: Literal["auto", "shuffle", "refill"] = "auto"
    """Shuffle the ring of a source, or refill the circle of the source; auto: shuffle
    sources that do not stand out by more than 2 sigma, refill others."""
    acceptance: Literal["auto", "events", "background"] = "auto"
    """Where the expected background in the circle of a source comes from: the events of
    its ring, or the background model of the run; auto: the model beyond 40 deg of
    zenith angle, if the run has one."""
    also: list[SourceConfig] = Field(default_factory=list)
    """Further sources."""

    @field_validator("theta")
    @classmethod
    def _check_theta(cls, value):
        if not isinstance(value, str) and value >= MAX_THETA:
            raise ValueError(f"must be smaller than {MAX_THETA:g}")
        return value

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


class MimicConfig(DescribedConfig):
    """The section ``mimic:``."""

    donors: DonorsConfig = DonorsConfig()
    """Which runs may become mimics. Has to be given, at least by one of its keys; all
    conditions that are given have to hold."""
    match: MatchConfig = MatchConfig()
    """How alike target and donor have to be. null switches a cut off."""
    scramble: Annotated[ScrambleConfig | None, BeforeValidator(none_if_off)] = (
        ScrambleConfig()
    )
    """What is done with known sources of donors. Without this section: what its
    defaults say. null: nothing."""
    alignment: Literal["altaz", "radec"] = "altaz"
    """Field of view in which events keep their place: altaz is the camera, radec is
    aligned with right ascension and declination."""
    time: Literal["target", "donor"] = "target"
    """target: times are shifted to the start of the target; donor: they are kept."""
    background: Literal["donor", "target"] = "donor"
    """Whose background model a mimic gets. That of the donor is turned with its events.
    """
    irfs: Literal["donor", "target"] = "donor"
    """Whose other IRFs a mimic gets."""
    fov_alignment: Literal["altaz", "radec"] | None = None
    """Alignment of a background model whose file does not say it (no FOVALIGN).
    Default: radec, with a warning."""
    location: Location = None
    """Site, where the headers are wrong: a name such as cta_south, or lon, lat and
    height."""
    crop: StrictBool = False
    """Shorten mimics to the ontime of their target."""
    allow_other_telescope: StrictBool = False
    """Allow donors of another telescope."""
    n_mimics: Annotated[StrictInt, Field(ge=1, le=100000)] = 1
    """Number of mimic sets."""
    random_state: Annotated[StrictInt, Field(ge=0)] = 0
    """Seed. The same seed gives the same mimics."""
    outdir: RawPath = Path("mimics")
    """Folder for the results."""
    relative_to: RawPath | None = None
    """Folder from which relative paths of this section start. Default: that of the
    configuration file."""
    compress: StrictBool = False
    """Write event files as .fits.gz."""
    analyse: AnalyseConfig = AnalyseConfig()
    """Your own analysis of each mimic set."""
    acknowledgement: StrictStr | None = None
    """Sentence of acknowledgement, for the report. It changes no mimic."""

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
