"""Read event tables of all kinds; what comes out is what astropy reads, or is refused.

    python tests/stress/fuzz_tables.py --tries 100000 --jobs 2

Each try adds columns of random types, repeats, scales, nulls and units, and cards of
all kinds, to the events of a DL3 file, with astropy. The run is read and written, and
astropy reads both files: all columns and cards have to be the same. What a file of
this package cannot hold has to be named, in a warning or an error.
"""

import argparse
import collections
import logging
import multiprocessing
import re
import sys
import tempfile
import traceback
import warnings
from io import BytesIO
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.table import Table
from gammapy.data import DataStore, Observation

sys.path.insert(0, str(Path(__file__).parents[1]))

from helpers.headers import read_quickly
from helpers.runs import make_hdulist

from gammapy_mimic.writer import write_run

N_EVENTS = 8
CHUNK = 100
KINDS = ("full", "columns", "detx", "psf_king")
TYPES = {
    "L": "?",
    "B": "u1",
    "I": "i2",
    "J": "i4",
    "K": "i8",
    "E": "f4",
    "D": "f8",
    "C": "c8",
    "M": "c16",
}
UNITS = (None, None, "deg", "TeV", "m", "s-1", "cm-2 s-1 TeV-1", "", "furlong")
SCALED = "I7"
"""Display format that marks columns which get a scale, as bytes of the file."""
MANDATORY = {"EVENT_ID", "TIME", "RA", "DEC", "ENERGY"}
CARDS = (
    ("HIERARCH long key with blanks", 3.5),
    ("HIERARCH ESO TEL ALT", 41.0),
    ("LONGTEXT", "a text that goes on and on, with a quote ' in it; " * 4),
    ("UNDEF", fits.card.UNDEFINED),
    ("EMPTY", ""),
    ("FLAG", True),
    ("BIG", 2**62),
    ("TINY", 1e-300),
    ("COMPLEX", 1 + 2j),
    ("COMMENT", "one"),
    ("HISTORY", "two"),
)


def random_column(name, rng):
    """Column of any kind that a binary table may have."""
    letter = rng.choice([*TYPES, "A", "X", "P", "unsigned", "scaled"])
    repeat = int(rng.choice([1, 1, 1, 2, 3, 6]))
    shape = (N_EVENTS,) if repeat == 1 else (N_EVENTS, repeat)
    options = {"name": name, "unit": UNITS[rng.integers(len(UNITS))]}
    if letter == "A":
        words = ["", "a", "ab c", " x", "trailing "]
        array = np.array([words[k] for k in rng.integers(len(words), size=N_EVENTS)])
        return fits.Column(**options, format="9A", array=array)
    if letter == "X":
        bits = rng.integers(2, size=(N_EVENTS, 3 * repeat), dtype=bool)
        return fits.Column(**options, format=f"{3 * repeat}X", array=bits)
    if letter == "P":
        array = np.empty(N_EVENTS, dtype=object)
        for row in range(N_EVENTS):
            array[row] = rng.integers(9, size=rng.integers(4)).astype("i4")
        return fits.Column(**options, format="PJ()", array=array)
    if letter == "unsigned":
        size = rng.choice(["I", "J", "K"])
        kind = {"I": "u2", "J": "u4", "K": "u8"}[size]
        array = rng.integers(np.iinfo(kind).max, size=shape, dtype=kind, endpoint=True)
        zero = 2 ** (8 * array.itemsize - 1)
        return fits.Column(**options, format=f"{repeat}{size}", bzero=zero, array=array)
    if letter == "scaled":
        size = rng.choice(["B", "I", "J"])
        array = rng.integers(100, size=shape, dtype=TYPES[size])
        return fits.Column(
            **options, format=f"{repeat}{size}", disp=SCALED, array=array
        )
    kind = TYPES[letter]
    if letter == "L":
        array = rng.integers(2, size=shape).astype(bool)
    elif letter in "BIJK":
        info = np.iinfo(kind)
        array = rng.integers(info.min, info.max, size=shape, dtype=kind, endpoint=True)
        if rng.random() < 0.4:
            options["null"] = int(array.flat[0])
    else:
        array = rng.normal(size=shape).astype(kind)
        if rng.random() < 0.3:
            array.flat[0] = rng.choice([np.nan, np.inf, -0.0])
    if repeat == 6 and rng.random() < 0.5:
        options["dim"] = "(2,3)"
    return fits.Column(**options, format=f"{repeat}{letter}", array=array)


def random_file(base, rng):
    """DL3 file with further columns and cards of EVENTS."""
    events = base["EVENTS"]
    columns = list(events.columns)
    extra = [random_column(f"X{k}", rng) for k in range(rng.integers(1, 5))]
    for column in extra:
        columns.insert(rng.integers(len(columns) + 1), column)
    table = fits.BinTableHDU.from_columns(columns, name="EVENTS")
    for card in events.header.cards:
        structural = re.match(r"XTENSION|BITPIX|NAXIS|PCOUNT|GCOUNT|TFIELDS", card[0])
        of_column = re.fullmatch(
            r"(TTYPE|TFORM|TUNIT|TNULL|TSCAL|TZERO|TDIM)\d+", card[0]
        )
        if not structural and not of_column and card[0] != "EXTNAME":
            table.header[card[0]] = card[1]
    chosen = [CARDS[k] for k in rng.integers(len(CARDS), size=rng.integers(4))]
    for key, value in chosen:
        if key in ("COMMENT", "HISTORY"):
            table.header.add_comment(value)
        elif rng.random() < 0.2:
            # repeated cards
            table.header.append((key, value), end=True)
            table.header.append((key, value), end=True)
        else:
            table.header[key] = value
    for number, column in enumerate(table.columns, start=1):
        if column.disp == SCALED:
            # astropy would change the values, too
            table.header[f"YSCAL{number}"] = float(rng.choice([0.5, 2.0, 0.1]))
            table.header[f"YZERO{number}"] = float(rng.choice([0.0, -3.0, 100.0]))
    stream = BytesIO()
    fits.HDUList([base[0], table, *base[2:]]).writeto(stream, output_verify="ignore")
    content = stream.getvalue().replace(b"YSCAL", b"TSCAL").replace(b"YZERO", b"TZERO")
    return content, [column.name for column in extra]


def wrong_parts(before, after, names, warned):
    """Lines on columns and cards that are not the same, as astropy reads them."""
    with fits.open(before) as old, fits.open(after) as new:
        # by number: the name would read all HDUs
        old, new = old[1], new[1]
        return [
            *differences(Table.read(old), Table.read(new), names, warned),
            *lost_cards(old.header, new.header),
        ]


def differences(old, new, names, warned):
    """Lines on columns that are not the same; those that were warned of may lack."""
    for name in names:
        if name not in new.colnames:
            if not re.search(rf"\b{name}\b", warned):
                yield f"{name} is lost without a word: {old[name].info}"
        elif not same_column(old[name], new[name]):
            yield f"{name}: {old[name]!r} became {new[name]!r}"
    for name in MANDATORY & {*old.colnames}:
        values = [np.asarray(table[name], dtype=float) for table in (old, new)]
        if not np.allclose(*values, rtol=1e-12, atol=1e-7, equal_nan=True):
            yield f"{name}: {values[0]} became {values[1]}"


def same_column(old, new):
    masks = [np.ma.getmaskarray(np.ma.asarray(column)) for column in (old, new)]
    arrays = [
        np.asarray(column)[~mask]
        for column, mask in zip((old, new), masks, strict=True)
    ]
    same_unit = str(old.unit or "") == str(new.unit or "")
    if not same_unit or old.shape != new.shape or not np.array_equal(*masks):
        return False
    if old.dtype.kind == "O":
        # rows of different lengths
        return new.dtype.kind == "O" and all(map(_same_values, *arrays))
    if old.dtype.kind in "SU":
        return np.array_equal(*(np.char.rstrip(it.astype(str)) for it in arrays))
    same_kind = old.dtype.kind == new.dtype.kind or {
        old.dtype.kind,
        new.dtype.kind,
    } <= {*"iu"}
    return same_kind and _same_values(*arrays)


def _same_values(old, new):
    return np.array_equal(old, new, equal_nan=old.dtype.kind in "fc")


def lost_cards(old, new):
    """Lines on cards of the fuzz that are not the same."""
    for key, value in CARDS:
        key = key.removeprefix("HIERARCH ")
        if key in ("COMMENT", "HISTORY") or key not in old:
            continue
        was = old[(key, 0)]
        if key not in new or str(new[(key, 0)]) != str(was):
            yield f"card {key}: {value!r} became {new.get(key, 'nothing')!r}"


class Words(logging.Handler):
    """All that is logged."""

    def __init__(self):
        super().__init__()
        self.text = ""

    def emit(self, record):
        self.text += record.getMessage() + "\n"


def fuzz(chunk):
    """Count what comes out of a chunk of tries; list what must not."""
    kind, in_memory, seed, tries = chunk
    warnings.simplefilter("ignore")
    read_quickly()
    rng, words = np.random.default_rng(seed), Words()
    log = logging.getLogger("gammapy_mimic")
    log.handlers, log.propagate = [words], False
    base = make_hdulist(kind, n_events=N_EVENTS)
    counts, escaped = collections.Counter(), []
    with tempfile.TemporaryDirectory() as folder:
        before, after = Path(folder) / "fuzz.fits", Path(folder) / "output.fits"
        base.writeto(before)
        store = DataStore.from_events_files([before])
        for number in range(tries):
            content, names = random_file(base, rng)
            before.write_bytes(content)
            after.unlink(missing_ok=True)
            words.text = ""
            try:
                if in_memory:
                    observation = Observation.read(before)
                else:
                    observation = store.obs(store.obs_ids[0], required_irf=[])
                write_run(observation, after)
                wrong = wrong_parts(before, after, names, words.text)
                counts["different" if wrong else "same"] += 1
                escaped += [(*chunk, number, line) for line in wrong]
            except (OSError, ValueError) as error:
                message = str(error)
                counts["refused"] += 1
                if "fuzz" not in message and not any(n in message for n in names):
                    escaped.append((*chunk, number, repr(error)[:300]))
            except Exception:
                escaped.append((*chunk, number, traceback.format_exc()[-900:]))
    return counts, escaped


def main():
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tries", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1)
    args = parser.parse_args()
    # one chunk in ten from what gammapy has read, which takes several times as long
    chunks = [
        (KINDS[k % len(KINDS)], k % 10 == 0, args.seed + k, CHUNK)
        for k in range(-(-args.tries // CHUNK))
    ]
    counts, escaped = collections.Counter(), []
    with multiprocessing.Pool(args.jobs) as pool:
        for found, lines in pool.imap_unordered(fuzz, chunks):
            counts += found
            escaped += lines
            sys.stdout.write(f"{dict(counts)}, {len(escaped)} escaped\n")
            sys.stdout.flush()
    for line in escaped[:40]:
        sys.stdout.write(f"{line}\n")
    return bool(escaped)


if __name__ == "__main__":
    sys.exit(main())
