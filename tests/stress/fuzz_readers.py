"""Read files with random damage; only OSError and ValueError may come out.

    python tests/stress/fuzz_readers.py --tries 100000 --jobs 2

Each try changes, removes, doubles or cuts bytes or cards of a small DL3 file, and reads
one of its parts, writes it to another file, or makes a mimic of it. The error has to
name the file or the run, and no half file may be left.
"""

import argparse
import collections
import logging
import multiprocessing
import re
import signal
import sys
import tempfile
import traceback
import warnings
from io import BytesIO
from pathlib import Path

import numpy as np
from astropy import units as u

sys.path.insert(0, str(Path(__file__).parents[1]))

from helpers.runs import POINTING, make_hdulist

from gammapy_mimic import AnnulusScrambler, LocationFaker
from gammapy_mimic.data import compat
from gammapy_mimic.io.files import fits_file
from gammapy_mimic.writer import write_run

KINDS = ("full", "hess", "psf_king", "drift", "columns", "detx")
PARTS = ("events", "gti", "pointing", "meta", "aeff", "edisp", "psf", "bkg")
VALUES = (b"-1", b"0", b"1E999", b"'text'", b"T", b"NAN", b"99999999999", b"''", b"'")
TIME_LIMIT_S = 20


def _content(kind):
    stream = BytesIO()
    make_hdulist(kind, n_events=40).writeto(stream)
    return stream.getvalue()


def _header_positions(content):
    """Where the cards of all headers begin."""
    positions, start = [], 0
    while start < len(content):
        card = content[start : start + 80]
        if not card.startswith((b"SIMPLE", b"XTENSION")):
            start += 2880
            continue
        while not content[start : start + 80].startswith(b"END     "):
            positions.append(start)
            start += 80
        start += 2880 - start % 2880
    return positions


def damage(content, positions, rng):
    """Damage a file in one of seven ways."""
    new = bytearray(content)
    card = int(rng.choice(positions))
    way = rng.integers(7)
    if way == 0:  # bytes anywhere
        for at in rng.integers(len(new), size=rng.integers(1, 20)):
            new[at] = rng.integers(256)
    elif way == 1:  # characters of a card
        for at in card + rng.integers(80, size=rng.integers(1, 6)):
            new[at] = rng.integers(32, 127)
    elif way == 2:  # another value
        value = VALUES[rng.integers(len(VALUES))]
        new[card + 10 : card + 80] = value.rjust(20).ljust(70)
    elif way == 3:  # a card less
        new[card : card + 80] = b" " * 80
    elif way == 4:  # a card in another one's place
        other = int(rng.choice(positions))
        new[card : card + 80] = content[other : other + 80]
    elif way == 5:  # cut
        del new[rng.integers(len(new)) :]
    else:  # a part taken out
        start = rng.integers(len(new))
        del new[start : start + rng.integers(1, 6000)]
    return bytes(new)


def _read(part):
    return lambda path, _: getattr(compat.open_run(path), part)


def _write(path, output):
    write_run(compat.open_run(path), output)


def _mimic(path, output):
    MAKER.convert_fov(path.with_name("sound.fits"), path, output)


def _target(path, output):
    MAKER.convert_fov(path, path.with_name("sound.fits"), output, copy_background=True)


def _scramble(path, output):
    write_run(SCRAMBLER.run(compat.open_run(path)), output)


MAKER = LocationFaker(allow_other_telescope=True)
SCRAMBLER = AnnulusScrambler(
    POINTING.directional_offset_by(0 * u.deg, 1 * u.deg), random_state=0
)
WAYS = [*map(_read, PARTS), *[_write, _mimic, _target, _scramble] * 2]


def _too_long(*_):
    raise TimeoutError(f"nothing after {TIME_LIMIT_S} s")


def _names(error):
    return "fuzz" in str(error) or re.search(r"\b(run|OBS_ID) -?\d+", str(error), re.I)


def fuzz(tries, seed, folder):
    """Count what comes out; list what must not."""
    rng = np.random.default_rng(seed)
    files = [_content(kind) for kind in KINDS]
    files = [(content, _header_positions(content)) for content in files]
    folder = Path(folder)
    path, output = folder / "fuzz.fits", folder / "output.fits"
    (folder / "sound.fits").write_bytes(_content("full"))
    signal.signal(signal.SIGALRM, _too_long)
    counts, escaped = collections.Counter(), []
    for number in range(tries):
        content, positions = files[rng.integers(len(files))]
        path.write_bytes(damage(content, positions, rng))
        way = WAYS[rng.integers(len(WAYS))]
        signal.alarm(TIME_LIMIT_S)
        try:
            way(path, output)
            counts["nothing"] += 1
        except (TimeoutError, MemoryError) as error:
            escaped.append((seed, number, repr(error)))
        except (OSError, ValueError) as error:
            counts[type(error).__name__] += 1
            if not _names(error):
                escaped.append((seed, number, traceback.format_exc()[-900:]))
        except Exception:
            escaped.append((seed, number, traceback.format_exc()[-900:]))
        finally:
            signal.alarm(0)
        left = {it.name for it in folder.iterdir()} - {path.name, "sound.fits"}
        if left - {output.name} or (output.exists() and not _is_whole(output)):
            escaped.append((seed, number, f"left {sorted(left)}"))
        output.unlink(missing_ok=True)
    return counts, escaped


def _is_whole(path):
    """Whether what was written of damaged files can be read."""
    try:
        list(fits_file(path))
    except OSError:
        return False
    return True


def _quiet_fuzz(tries, seed):
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    with tempfile.TemporaryDirectory() as folder:
        return fuzz(tries, seed, folder)


def main():
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tries", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1)
    args = parser.parse_args()
    number = -(-args.tries // args.jobs)
    work = [(number, args.seed + job) for job in range(args.jobs)]
    with multiprocessing.Pool(args.jobs) as pool:
        results = pool.starmap(_quiet_fuzz, work)
    counts = sum((result[0] for result in results), collections.Counter())
    escaped = [line for result in results for line in result[1]]
    sys.stdout.write(f"{dict(counts)}, {len(escaped)} escaped\n")
    for line in escaped[:40]:
        sys.stdout.write(f"{line}\n")
    return bool(escaped)


if __name__ == "__main__":
    sys.exit(main())
