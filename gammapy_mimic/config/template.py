"""The commented section ``mimic:`` for new configuration files."""

import re
from textwrap import fill

from gammapy_mimic.config.checking import ConfigError, parse_yaml
from gammapy_mimic.config.suggest import Suggestions

__all__ = ["example", "template"]

_GAMMAPY = """\
# An ordinary gammapy analysis file, and below it the section "mimic:".
observations:
    datastore: $GAMMAPY_DATA/hess-dl3-dr1
    obs_ids: [23523, 23526, 23559, 23592]     # the targets

datasets:
    type: 3d
    stack: true
    geom:
        wcs:
            skydir: {frame: icrs, lon: 83.633 deg, lat: 22.014 deg}
            binsize: 0.04 deg
            width: {width: 5 deg, height: 5 deg}
        selection: {offset_max: 2.5 deg}
        axes:
            energy: {min: 0.7 TeV, max: 20 TeV, nbins: 8}
            energy_true: {min: 0.4 TeV, max: 40 TeV, nbins: 20}
    background:
        method: fov_background
    safe_mask:
        methods: [aeff-default, offset-max]
        parameters: {offset_max: 2.5 deg}
"""

_SECTION = """\
# Editors complete and check this file by what "gammapy-mimic schema --out
# mimic.schema.json" writes:
# yaml-language-server: $schema=mimic.schema.json

# Background runs ("donors") are moved into the fields of view of the observations
# above ("targets"). A "#" marks settings at their default.
mimic:
    donors:                     # runs without a bright source; all conditions hold
        where: {TARGET_NAME: Off data}          # or ZEN_PNT: [40, 52], N_TELS: {min: 3}
        # datastore: $GAMMAPY_DATA/hess-dl3-dr1 # default: that of the observations
        # obs_ids: []
        # obs_file: off_runs.txt                # one OBS_ID a line
        # exclude: []
        # bad_times: clouds.ecsv                # OBS_ID, START and STOP to be cut out

    match:                      # largest differences of target and donor; null: any
        airmass: 0.15           # of 1 / cos(zenith angle)
        azimuth: 45 deg
        # ontime: 0.1           # by how much the donor may be shorter
        # muon_efficiency: 0.1  # relative
        # nsb: 1.5
        # n_tels: 0
        # effective_area: 10%   # within 1 deg, in the range of the axis "energy"
        # threshold: 20%        # of LO_THRES, default: null
        # rate: 30%             # above the lowest energy of the axis, default: null
        # rate_chi2: 2          # of the donor's rate against time, default: null
        # columns: {TRGRATE: 10%}               # any number of the index or EVENTS
        # time: 30 d            # default: null
        # galactic_latitude: 5 deg              # least one of donors, default: null
        # keep_away: [Crab]     # sources that donors must not have, default: none
        # relax: [azimuth]      # dropped for targets without a donor, default: none
        # balance: false        # agree on average, too
        # fill: false           # several donors until the target's time is filled
        # reuse: 1              # how many targets of a set a donor may serve

    scramble:                   # known sources of donors; "scramble: null": do not
        catalogs: [gamma-cat]   # or hgps, 2hwc, 3hwc, 1LHAASO, bright
        theta: 0.3 deg          # radius of a point-like source; psf: by its PSF
        # method: auto          # shuffle weak sources, refill bright ones; or either
        # acceptance: auto      # of the ring: events, beyond 40 deg background
        # radius: 3 deg         # how far from the pointing sources are looked up
        # also: [{name: my source, lon: 83.1 deg, lat: 21.2 deg, radius: 0.4 deg}]

    # alignment: altaz          # events keep their place in the camera; or radec
    # time: target              # or donor
    # background: donor         # whose background model; or target
    # irfs: donor               # whose other IRFs; or target
    # fov_alignment: null       # of a BKG_3D without FOVALIGN: altaz or radec
    # location: null            # site, if headers are wrong: hess, cta_south, ... or
                                # {lon: -70.3 deg, lat: -24.7 deg, height: 2150 m}
    # crop: false               # shorten to the ontime of the target
    n_mimics: 1                 # number of mimic data sets
    random_state: 42
    outdir: mimics              # relative paths of this section start from this file
    # relative_to: null         # or from this folder
    # compress: false
    # acknowledgement: null     # sentence for the report
    # analyse: {steps: [], free: [], inject: null}  # your analysis of each mimic set
"""


def template(text: str | None = None, found: Suggestions | None = None) -> str:
    """Commented configuration.

    Parameters
    ----------
    text : str, optional
        Text of a gammapy analysis file. It is kept as it is, and the section is
        appended. Default is None: a complete example.
    found : `~gammapy_mimic.config.suggest.Suggestions`, optional
        What fits the user's runs; it takes the place of the example's settings.
        Default is None.

    Returns
    -------
    text : str
        YAML.

    Raises
    ------
    ConfigError
        If the text has the section already, or is not a block of keys and values.
    """
    section = _SECTION if found is None else _fitted(found)
    if text is None:
        return f"{_GAMMAPY}\n{section}"
    if "mimic" in parse_yaml(text, "configuration"):
        raise ConfigError(["there is a section 'mimic' already"])
    joined = f"{text.rstrip()}\n\n{section}" if text.strip() else section
    # fails for a file in one pair of braces, to which nothing can be appended
    parse_yaml(joined, "with the section 'mimic' appended, the configuration")
    return joined


def _fitted(found):
    """Section with the settings that fit the user's runs."""
    section = _SECTION
    # the line of the setting, whatever it holds
    for key, setting in (("where", found.donors), ("theta", found.theta)):
        if setting:
            section = re.sub(rf"(?m)^( +){key}:.*$", rf"\g<1>{setting}", section)
    wrapped = {"width": 88, "initial_indent": "# ", "subsequent_indent": "#   "}
    notes = "".join(f"{fill(f'Mind: {it}.', **wrapped)}\n" for it in found.notes)
    return f"{notes}{section}"


def example(datastore: str, obs_ids: list[int], found: Suggestions | None) -> str:
    """Complete configuration for runs of a data store.

    Parameters
    ----------
    datastore : str
        Path of the data store.
    obs_ids : list of int
        Targets.
    found : `~gammapy_mimic.config.suggest.Suggestions` or None
        What fits them.

    Returns
    -------
    text : str
        YAML.
    """
    text = re.sub(r"(?m)^    datastore: .*$", f"    datastore: {datastore}", _GAMMAPY)
    text = re.sub(r"obs_ids: \[[^]]*\]", f"obs_ids: {obs_ids}", text)
    if found is None:
        return template(text)
    if found.required_irf:
        irfs = ", ".join(found.required_irf)
        required = f"    required_irf: [{irfs}]\n\ndatasets:"
        text = text.replace("\ndatasets:", required, 1)
    if found.position is not None:
        ra_deg, dec_deg = found.position.ra.deg, found.position.dec.deg
        place = f"lon: {ra_deg:.4f} deg, lat: {dec_deg:.4f} deg"
        text = re.sub(r"lon: [-\d.]+ deg, lat: [-\d.]+ deg", place, text)
    # nothing is left to be minded
    return template(text, found._replace(notes=()))
