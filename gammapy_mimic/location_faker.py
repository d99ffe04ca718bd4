"""`LocationFaker`: mimics from file to file."""

import logging
from typing import Any

from astropy import units as u
from astropy.coordinates import EarthLocation
from gammapy.data import Observation
from gammapy.utils.scripts import make_path

from gammapy_mimic.data import compat
from gammapy_mimic.io.arguments import PathLike, RandomState, check_flag
from gammapy_mimic.mimic.maker import MimicMaker
from gammapy_mimic.scramble.scrambler import AnnulusScrambler
from gammapy_mimic.writer import write_run

__all__ = ["LocationFaker"]

log = logging.getLogger(__name__)


class LocationFaker:
    """Move the events of one DL3 file into the field of view of another one.

    A front for those who work with single files: a file goes in, a file comes out.
    `~gammapy_mimic.MimicMaker` and `~gammapy_mimic.AnnulusScrambler` do the work. IRFs
    that nobody changes are passed through byte for byte, and so are HDUs of the file
    that gives the IRFs which are neither events, good time intervals nor IRFs of GADF.
    POINTING is left out: it holds for the other field.

    Parameters
    ----------
    alignment, time, irfs, fov_alignment, location, crop, allow_other_telescope
        See `~gammapy_mimic.MimicMaker`. The default ``alignment="altaz"`` keeps the
        place in the camera, ``"radec"`` that in the RA/Dec-aligned field of view.
    method, acceptance : str, optional
        See `~gammapy_mimic.AnnulusScrambler`.
    random_state : None, int, `~numpy.random.SeedSequence` or \
`~numpy.random.Generator`, optional
        Seed. Default is None: another result of scrambling each time.

    Examples
    --------
    >>> from gammapy_mimic import LocationFaker
    >>> faker = LocationFaker()
    >>> faker.convert_fov("12345.fits", "98765.fits", "mimic.fits")  # doctest: +SKIP
    """

    def __init__(
        self,
        *,
        alignment: str = "altaz",
        time: str = "target",
        irfs: str = "donor",
        fov_alignment: str | None = None,
        location: EarthLocation | str | dict | None = None,
        crop: bool = False,
        allow_other_telescope: bool = False,
        method: str = "auto",
        acceptance: str = "auto",
        random_state: RandomState = None,
    ) -> None:
        self._mimic: dict[str, Any] = {
            "alignment": alignment,
            "time": time,
            "irfs": irfs,
            "fov_alignment": fov_alignment,
            "location": location,
            "crop": crop,
            "allow_other_telescope": allow_other_telescope,
            "random_state": random_state,
        }
        self._scramble = {"method": method, "acceptance": acceptance}
        # wrong options are an error here, not with the first file
        MimicMaker(**self._mimic)
        AnnulusScrambler([], method=method, acceptance=acceptance)

    def convert_fov(
        self,
        source_file: PathLike,
        faked_file: PathLike,
        output_name: PathLike,
        overwrite: bool = False,
        copy_background: bool = False,
        scramble_point: Any = None,
        scramble_theta: float | str | u.Quantity = 0.3,
    ) -> Observation:
        """Make a mimic of one file with the events of another one.

        Parameters
        ----------
        source_file : str or `~pathlib.Path`
            File of the target, the run that is to be mimicked.
        faked_file : str or `~pathlib.Path`
            File of the donor, the run that gives the events.
        output_name : str or `~pathlib.Path`
            File for the mimic; compressed if it ends with ``.gz``. Its folder is made
            if need be.
        overwrite : bool, optional
            Replace an existing file. Default is False.
        copy_background : bool, optional
            Give the mimic the background model of the target and not that of the
            donor. Default is False.
        scramble_point : optional
            Known sources of the donor that are scrambled before: positions,
            circles, names or a region file, see `~gammapy_mimic.AnnulusScrambler`.
            Default is None.
        scramble_theta : float, `~astropy.coordinates.Angle` or "psf", optional
            Radius of the sources, as a number in degrees; see
            `~gammapy_mimic.AnnulusScrambler`. Default is 0.3.

        Returns
        -------
        mimic : `~gammapy.data.Observation`
            What was written.

        Raises
        ------
        OSError
            If an input is missing or not a FITS file, or the output exists.
        ValueError
            If a file is not a DL3 file, the runs are not compatible, the output is
            one of the inputs, or the target has no background model to copy.
        """
        check_flag("overwrite", overwrite)
        check_flag("copy_background", copy_background)
        inputs = [make_path(source_file), make_path(faked_file)]
        output = make_path(output_name)
        runs = [compat.open_run(path) for path in inputs]
        if output.exists() and any(output.samefile(path) for path in inputs):
            raise ValueError(f"output_name = {str(output)!r}: is one of the inputs")
        if output.exists() and not overwrite:
            raise FileExistsError(f"{output} exists; use overwrite=True")
        if copy_background and compat.irf(runs[0], "bkg") is None:
            raise ValueError(
                f"copy_background = True: {inputs[0]} has no background model "
                "(HDUCLAS1 RESPONSE, HDUCLAS2 BKG)"
            )
        giver = inputs[0 if self._mimic["irfs"] == "target" else 1]
        others, left_out = compat.other_hdus(giver)
        for name in left_out:
            log.warning("%s: HDU %s is left out: it is of another field", giver, name)
        maker = MimicMaker(
            background="target" if copy_background else "donor",
            scrambler=self._make_scrambler(scramble_point, scramble_theta),
            **self._mimic,
        )
        mimic = maker.run(*runs)
        _warn_of_missing_irfs(mimic, inputs)
        write_run(mimic, output, overwrite=overwrite, other_hdus=others)
        return mimic

    def _make_scrambler(self, sources, theta):
        if sources is None or (isinstance(sources, list | tuple) and not sources):
            return None
        theta = theta if isinstance(theta, u.Quantity | str) else theta * u.deg
        return AnnulusScrambler(sources, theta=theta, **self._scramble)


def _warn_of_missing_irfs(mimic, inputs):
    """Name the IRFs that an analysis of a mimic may need and that are not there."""
    irfs = {name for name, irf in compat.irfs(mimic).items() if irf is not None}
    cards = compat.irf_keywords(mimic, "aeff") or {}
    wanted = ["aeff", "edisp", "psf", "bkg"]
    if str(cards.get("HDUCLAS3", "")).strip().upper() == "POINT-LIKE":
        wanted = ["aeff", "edisp", *(["rad_max"] if "RAD_MAX" not in cards else [])]
    missing = [name for name in wanted if name not in irfs]
    if missing:
        log.warning(
            "run %s: %s and %s give the mimic no %s, which are found by HDUCLAS1 "
            "RESPONSE, HDUCLAS2 and HDUCLAS4 of their HDUs",
            mimic.obs_id,
            *inputs,
            ", ".join(missing),
        )
