"""Sources drawn from the response of a run and added to its events."""

import numpy as np
from astropy import units as u
from astropy.table import Table, vstack
from gammapy.data import EventList

from gammapy_mimic.sky.geometry import from_offset_azimuth

N_ENERGIES, N_RADII = 60, 400


class Injector:
    """Draw events of point-like sources as a run would see them.

    The spectrum is a power law between 0.1 and 50 TeV, times effective area and
    energy dispersion; positions follow the point-spread function at the true energy.

    Parameters
    ----------
    observation : `~gammapy.data.Observation`
        Run with its response.
    index : float, optional
        Spectral index. Default is 2.5.
    """

    def __init__(self, observation, index=2.5):
        self.observation, self.index = observation, index
        self.aeff, self.edisp = observation.aeff, observation.edisp
        self.psf = observation.psf
        self.energy = np.geomspace(0.1, 50, N_ENERGIES)
        self.radius_deg = np.linspace(0, 0.66, N_RADII)
        self._kept = {}

    def _response(self, offset_deg):
        if offset_deg not in self._kept:
            where = {"energy_true": self.energy * u.TeV, "offset": offset_deg * u.deg}
            area = np.nan_to_num(self.aeff.evaluate(**where).to_value("m2"))
            weight = area * self.energy ** (1 - self.index)
            migra = np.linspace(0.3, 2, 120)
            edisp = self.edisp.evaluate(
                energy_true=where["energy_true"][:, np.newaxis],
                offset=where["offset"],
                migra=migra[np.newaxis],
            )
            edisp = np.clip(np.nan_to_num(edisp.to_value("")), 0, None)
            contained = self.psf.containment(
                rad=self.radius_deg[:, np.newaxis] * u.deg,
                energy_true=where["energy_true"][np.newaxis],
                offset=where["offset"],
            )
            contained = np.maximum.accumulate(np.nan_to_num(np.asarray(contained)))
            weight[(edisp.sum(axis=1) == 0) | (contained[-1] == 0)] = 0
            self._kept[offset_deg] = weight, migra, edisp, contained
        return self._kept[offset_deg]

    def draw(self, size, offset_deg, azimuth_deg, rng):
        """Draw a source at a place in the field of view.

        Parameters
        ----------
        size : int
            Number of events.
        offset_deg, azimuth_deg : float
            Place of the source: offset and position angle about the pointing.
        rng : `~numpy.random.Generator`
            Random numbers.

        Returns
        -------
        lon_deg, lat_deg, energy_tev : `~numpy.ndarray`
            Events, shape (size,).
        """
        weight, migra, edisp, contained = self._response(offset_deg)
        row = rng.choice(len(weight), size, p=weight / weight.sum())
        energy, radius = np.empty(size), np.empty(size)
        for each in np.unique(row):
            mine = np.flatnonzero(row == each)
            share = edisp[each] / edisp[each].sum()
            energy[mine] = self.energy[each] * rng.choice(migra, len(mine), p=share)
            level = contained[:, each] / contained[-1, each]
            radius[mine] = np.interp(rng.random(len(mine)), level, self.radius_deg)
        pointing = self.observation.pointing.fixed_icrs.icrs
        center = from_offset_azimuth(
            offset_deg, azimuth_deg, pointing.ra.deg, pointing.dec.deg
        )
        place = from_offset_azimuth(radius, rng.uniform(0, 360, size), *center)
        return *place, energy

    def inject(self, size, offset_deg, azimuth_deg, rng):
        """Run with a source in addition; see `draw`."""
        lon, lat, energy = self.draw(size, offset_deg, azimuth_deg, rng)
        events = self.observation.events
        table = events.table["EVENT_ID", "TIME", "RA", "DEC", "ENERGY"]
        copied = rng.integers(len(table), size=size)
        new = Table({"TIME": table["TIME"][copied]})
        new["EVENT_ID"] = table["EVENT_ID"].max() + 1 + np.arange(size)
        new["RA"], new["DEC"] = lon * u.deg, lat * u.deg
        new["ENERGY"] = energy * u.TeV
        both = vstack([table, new], metadata_conflicts="silent")
        both = both[np.argsort(both["TIME"].mjd, kind="stable")]
        both.meta = dict(events.table.meta)
        return self.observation.copy(in_memory=True, events=EventList(both))
