"""Read files with random damage; only OSError and ValueError may come out.

    python tests/stress/fuzz_readers.py --tries 100000

Each try changes, removes, doubles or cuts bytes or cards of a small DL3 file, opens it
as a run and reads one of its parts.
"""

import argparse
import collections
import logging
import signal
import sys
import tempfile
import warnings
from io import BytesIO
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from runs import make_hdulist

from gammapy_mimic import compat

PARTS = ("events", "gti", "pointing", "meta", "aeff", "edisp", "psf", "bkg")
VALUES = (b"-1", b"0", b"1E999", b"'text'", b"T", b"NAN", b"99999999999", b"''", b"'")
TIME_LIMIT_S = 20


def _content(kind):
    stream = BytesIO()
    make_hdulist(kind, n_events=8).writeto(stream)
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


def fuzz(tries, seed, folder):
    """Count what comes out; list what must not."""
    rng = np.random.default_rng(seed)
    files = [_content(kind) for kind in ("full", "hess", "psf_king", "drift")]
    files = [(content, _header_positions(content)) for content in files]
    path = Path(folder) / f"fuzz_{seed}.fits"
    counts, escaped = collections.Counter(), []
    for number in range(tries):
        content, positions = files[rng.integers(len(files))]
        path.write_bytes(damage(content, positions, rng))
        part = PARTS[rng.integers(len(PARTS))]
        signal.alarm(TIME_LIMIT_S)
        try:
            getattr(compat.open_run(path), part)
            counts["read"] += 1
        except (OSError, ValueError) as error:
            counts[type(error).__name__] += 1
            if path.name not in str(error):
                escaped.append((number, part, f"no file named: {error}"))
        except Exception as error:
            escaped.append((number, part, repr(error)))
        finally:
            signal.alarm(0)
    return counts, escaped


def main():
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tries", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    with tempfile.TemporaryDirectory() as folder:
        counts, escaped = fuzz(args.tries, args.seed, folder)
    sys.stdout.write(f"{dict(counts)}, {len(escaped)} escaped\n")
    for line in escaped[:20]:
        sys.stdout.write(f"{line}\n")
    return bool(escaped)


if __name__ == "__main__":
    sys.exit(main())
