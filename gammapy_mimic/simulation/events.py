"""EVENTS of the synthetic observatory: header and table."""

import numpy as np
from astropy import units as u
from astropy.table import Table
from astropy.time import Time
from gammapy.data import Observation

from gammapy_mimic.data.keywords import events_keywords
from gammapy_mimic.data.run import Run
from gammapy_mimic.io import gadf
from gammapy_mimic.simulation import irfs
from gammapy_mimic.sky.camera import Pointing

__all__ = ["REFERENCE", "event_header", "event_table"]

#: Reference time of all synthetic runs.
REFERENCE = Time(58484, 0, format="mjd", scale="tt")

CREATOR = "gammapy_mimic simulation"


def event_header(run, pointing, gti):
    """Header of the EVENTS of a `SyntheticRun`."""
    header = gadf.hduclass_keywords("EVENTS")
    form = Run(
        obs_id=run.obs_id,
        header={},
        reference=REFERENCE,
        gti_s=np.stack(
            [
                gadf.seconds_since(time, REFERENCE)
                for time in (gti.time_start, gti.time_stop)
            ]
        ),
        pointing=Pointing.from_observation(
            Observation(pointing=pointing, location=run.location)
        ),
        deadtime_fraction=run.deadtime_fraction,
    )
    header |= events_keywords(form)
    header |= {
        "ORIGIN": "gammapy_mimic",
        "TELESCOP": irfs.TELESCOPE,
        "INSTRUME": irfs.TELESCOPE,
        "CREATOR": CREATOR,
        "OBJECT": "Synthetic field",
        "RA_OBJ": float(run.pointing.icrs.ra.deg),
        "DEC_OBJ": float(run.pointing.icrs.dec.deg),
        "N_TELS": 4,
        "TELLIST": "1,2,3,4",
        "MUONEFF": 0.9,
        "NSBLEVEL": 6.0,
        "HISTORY": ["Synthetic run: all events are drawn by gammapy_mimic"],
    }
    return header | run.header


def event_table(parts, start, header):
    """Event table of background and sources in the order of time."""
    seconds = np.concatenate([part[0].to_value("s") for part in parts])
    order = np.argsort(seconds, kind="stable")
    columns = {
        "ENERGY": [part[1].to_value("TeV") for part in parts],
        "RA": [part[2].ra.deg for part in parts],
        "DEC": [part[2].dec.deg for part in parts],
        "DETX": [part[3][0].to_value("deg") for part in parts],
        "DETY": [part[3][1].to_value("deg") for part in parts],
        "MC_ID": [np.full(len(part[0]), part[4], dtype="int32") for part in parts],
    }
    columns = {name: np.concatenate(value)[order] for name, value in columns.items()}
    table = Table(meta=header)
    table["EVENT_ID"] = np.arange(1, len(order) + 1, dtype="int64")
    table["TIME"] = start + seconds[order] * u.s
    table["RA"] = columns["RA"] * u.deg
    table["DEC"] = columns["DEC"] * u.deg
    table["ENERGY"] = columns["ENERGY"] * u.TeV
    table["DETX"] = columns["DETX"] * u.deg
    table["DETY"] = columns["DETY"] * u.deg
    table["MC_ID"] = columns["MC_ID"]
    return table
