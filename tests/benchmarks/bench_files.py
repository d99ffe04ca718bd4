"""One mimic, file in to file out, beside what others do with the same files."""

import gzip
import itertools
import os
import time
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import Table
from astropy.time import Time
from helpers.runs import make_hdulist

from gammapy_mimic import LocationFaker
from gammapy_mimic.io import files
from gammapy_mimic.sky import astrometry

HESS = Path(os.environ.get("GAMMAPY_DATA", "/nonexistent")) / "hess-dl3-dr1/data"
FAKER = LocationFaker()
HESS_NAME = "hess_dl3_dr1_obs_id_0{}.fits.gz"


def _content(obs_id, **options):
    """Bytes of a H.E.S.S. run, or without the data of one that is like it."""
    path = HESS / HESS_NAME.format(obs_id)
    if path.exists():
        return gzip.decompress(path.read_bytes())
    stream = BytesIO()
    make_hdulist("hess", obs_id=obs_id, n_events=10_000, **options).writeto(stream)
    return stream.getvalue()


@pytest.fixture(params=[".fits", ".fits.gz"])
def paths(request, tmp_path):
    """Target, donor and output; the group of the benchmark is that of the suffix."""
    target = {
        "pointing": SkyCoord(20, -50, unit="deg"),
        "start": Time("2021-03-02T19:47:00", scale="tt"),
    }
    contents = _content(23523, **target), _content(25345)
    found = [tmp_path / f"{name}{request.param}" for name in ("target", "donor", "out")]
    for path, content in zip(found, contents, strict=False):
        is_compressed = path.suffix == ".gz"
        path.write_bytes(gzip.compress(content) if is_compressed else content)
    return found


def flat_shift(target, donor, output):
    """Add the difference of the pointings to RA and Dec: quick, and wrong."""
    with fits.open(target) as hdulist:
        header = hdulist["EVENTS"].header
        to_ra, to_dec = header["RA_PNT"], header["DEC_PNT"]
    with fits.open(donor) as hdulist:
        old = hdulist["EVENTS"]
        events = Table.read(old)
        events["RA"] += to_ra - old.header["RA_PNT"]
        events["DEC"] += to_dec - old.header["DEC_PNT"]
        new = fits.BinTableHDU(events, name="EVENTS")
        others = [hdu for hdu in hdulist[1:] if hdu is not old]
        fits.HDUList([hdulist[0], new, *others]).writeto(output)


def plain_copy(_, donor, output):
    with fits.open(donor) as hdulist:
        tables = [fits.BinTableHDU(hdu.data, hdu.header) for hdu in hdulist[1:]]
        fits.HDUList([hdulist[0], *tables]).writeto(output)


def floor(_, donor, output):
    """Bytes in and out, understood by nobody."""
    isal = pytest.importorskip("isal.igzip")
    content = donor.read_bytes()
    if donor.suffix == ".gz":
        content = isal.compress(isal.decompress(content), 1)
    output.write_bytes(content)


def floor_fitsio(_, donor, output):
    """All tables read and written by CFITSIO."""
    fitsio = pytest.importorskip("fitsio")
    with fitsio.FITS(str(donor)) as old, fitsio.FITS(str(output), "rw") as new:
        for hdu in old[1:]:
            new.write(hdu.read(), header=hdu.read_header(), extname=hdu.get_extname())


def mimic(target, donor, output):
    """Make a mimic at the defaults: the background model is turned with its events."""
    FAKER.convert_fov(target, donor, output)


def mimic_copied(target, donor, output):
    """Make a mimic with the background model of the target."""
    FAKER.convert_fov(target, donor, output, copy_background=True)


WAYS = [mimic, mimic_copied, flat_shift, plain_copy, floor_fitsio, floor]


@pytest.mark.parametrize("way", WAYS)
def bench_convert(benchmark, way, paths):
    def setup():
        """Forget what earlier rounds have read, and remove what they have written."""
        files._kept_file.cache_clear()
        astrometry._HOURLY.clear()
        paths[-1].unlink(missing_ok=True)
        return paths, {}

    benchmark.group = f"one mimic, {''.join(paths[0].suffixes)}"
    benchmark.pedantic(way, setup=setup, rounds=15, warmup_rounds=2)


def use_zlib(monkeypatch):
    """Read and write compressed files as Python's own library does."""
    monkeypatch.setitem(files._DECOMPRESS, b"\x1f\x8b", gzip.decompress)
    monkeypatch.setattr(files.igzip, "compress", gzip.compress)


CASES = ["hess.fits", "hess.fits.gz", "hess.fits.gz zlib", "cta.fits"]


def _pair(case, start):
    """Bytes of a target and a donor; ``start`` is when the target was taken."""
    place = {"pointing": SkyCoord(20, -50, unit="deg"), "start": start}
    if case.startswith("hess"):
        return _content(23523, **place), _content(25345)
    found = []
    for obs_id, options in ((1, place), (2, {})):
        stream = BytesIO()
        run = make_hdulist("full", obs_id=obs_id, n_events=100_000, **options)
        run.writeto(stream)
        found.append(stream.getvalue())
    return found


@pytest.mark.parametrize("case", CASES)
def bench_cpu_against_flat_shift(case, tmp_path, tell, monkeypatch):
    """CPU time of a mimic over that of a flat shift, in turn; new files each time."""
    if case.endswith("zlib"):
        use_zlib(monkeypatch)
    suffix = case.split()[0].removeprefix(case[: case.index(".")])
    contents = _pair(case, Time("2021-03-02T19:47:00", scale="tt"))
    if suffix.endswith(".gz"):
        contents = [gzip.compress(content) for content in contents]
    ways, seconds = [mimic, mimic_copied, flat_shift], {}
    for number, way in itertools.product(range(9), ways):
        # a name that nobody has seen, and nothing left of earlier rounds
        folder = tmp_path / f"{way.__name__}_{number}"
        folder.mkdir()
        paths = [folder / f"{name}{suffix}" for name in ("target", "donor", "out")]
        for path, content in zip(paths, contents, strict=False):
            path.write_bytes(content)
        files._kept_file.cache_clear()
        astrometry._HOURLY.clear()
        start = time.process_time()
        way(*paths)
        seconds.setdefault(way.__name__, []).append(time.process_time() - start)
    # the first rounds import and warm up
    median = {name: 1e3 * np.median(found[2:]) for name, found in seconds.items()}
    tell(
        f"{case}: CPU time of a mimic / flat shift "
        f"{median['mimic'] / median['flat_shift']:.2f}, with the background copied "
        f"{median['mimic_copied'] / median['flat_shift']:.2f} "
        f"({', '.join(f'{name} {value:.1f} ms' for name, value in median.items())})"
    )
