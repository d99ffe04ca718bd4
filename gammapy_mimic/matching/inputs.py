"""What a matcher compares: run tables of both sides, and what measures their runs."""

import functools

import numpy as np
from astropy.coordinates import SkyCoord
from astropy.table import Table
from gammapy.data import DataStore

from gammapy_mimic.matching.features import FEATURES, MEASURED
from gammapy_mimic.matching.measure import Measurement, energy_edges, field_rate
from gammapy_mimic.matching.runs import add_source_distance, read_runs
from gammapy_mimic.matching.warn import run_warnings

__all__ = ["active_tolerances", "make_measurement", "read_side"]


def active_tolerances(matcher, can_measure):
    """Tolerances with those that arguments of their own stand for."""
    extra = {}
    if matcher.exclude:
        extra["excluded"] = 1.0
    if matcher.epochs is not None:
        extra["epoch"] = 0.0
    if matcher.keep_away:
        extra["keep_away"] = matcher.keep_away_distance.deg
    both = {**matcher.tolerances, **extra}
    if not {"airmass", "azimuth"} & set(both):
        both.pop("horizon", None)
    if matcher.energy_min is None or not can_measure:
        both.pop("effective_area", None)
    if not can_measure:
        both = {k: v for k, v in both.items() if k == "rate" or k not in MEASURED}
    return {name: both[name] for name in (*FEATURES, *matcher.columns) if name in both}


def read_side(matcher, data, argument, skip_broken):
    """Run table with all columns that the tolerances need."""
    wanted = {
        FEATURES[name].column for name in matcher.tolerances if name in FEATURES
    } - {"RATE"}
    has_files = not isinstance(data, Table) and (
        not isinstance(data, DataStore) or len(data.hdu_table)
    )
    if matcher.rate_proxy == "index" or not has_files:
        wanted.add("RATE")
    if callable(matcher.rate_proxy) and isinstance(data, Table):
        raise TypeError(
            f"{argument}: an index table has no events for rate_proxy; "
            "give the DataStore or Observations"
        )
    runs = read_runs(
        data,
        wanted,
        argument=argument,
        skip_broken=skip_broken,
        columns=matcher.columns,
        location=matcher.location,
        bad_times=matcher.bad_times,
    )
    runs.meta["side"] = argument
    runs["ALLOWED"] = (~np.isin(runs["OBS_ID"], matcher.exclude)).astype(float)
    if matcher.epochs is not None:
        runs["EPOCH"] = np.searchsorted(
            np.sort(matcher.epochs.tt.mjd), runs["TIME"], side="right"
        )
    if matcher.keep_away:
        centers = SkyCoord([region.center.icrs for region in matcher.keep_away])
        radii = [region.radius.to_value("deg") for region in matcher.keep_away]
        add_source_distance(runs, centers, radii)
    return runs


def make_measurement(matcher, data, runs, skip_broken):
    """Make what measures the runs of one side."""
    proxy = matcher.rate_proxy
    return Measurement(
        data,
        runs,
        energy_edges(matcher.energy_min, matcher.energy_max),
        proxy if callable(proxy) else field_rate(),
        position=matcher.position,
        catalogs=matcher.catalogs,
        sources=matcher.sources,
        bad_times=matcher.bad_times,
        skip_broken=skip_broken,
        find=functools.partial(
            run_warnings,
            side=runs.meta["side"],
            location=matcher.location,
            **matcher.making,
        ),
    )
