"""Read columns of all kinds; what is read is what astropy reads, or is refused.

    python tests/stress/fuzz_columns.py --tries 100000 --jobs 2

Each try is a file of its own: the events of a DL3 file with up to four further
columns, whose layout and bytes are random, put together without any library. The run is
read from there; names, values, types, masks and units of all columns have to be those
of `astropy.table.Table.read`. A file that is refused has to be named. `fuzz_tables.py`
does the same with writing, and cards of all kinds, and takes several times as long.
"""

import argparse
import collections
import logging
import multiprocessing
import sys
import tempfile
import traceback
import warnings
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.table import Table
from gammapy.data import DataStore

sys.path.insert(0, str(Path(__file__).parents[1]))

from fuzz_tables import MANDATORY, Words, same_column
from helpers.headers import read_quickly
from helpers.runs import make_hdulist

from gammapy_mimic.data import read_run

N_EVENTS, CHUNK = 6, 500
BLOCK = 2880
BYTES = {"L": 1, "B": 1, "I": 2, "J": 4, "K": 8, "E": 4, "D": 8, "C": 8, "M": 16}
OFFSETS = {"B": -128, "I": 2**15, "J": 2**31, "K": 2**63}
OWN = MANDATORY | {"GLON", "GLAT"}
"""Columns that a run has in a unit of its own, or computes."""
UNITS = ("deg", "TeV", "m", "s-1", "cm-2 s-1 TeV-1", "", "furlong", "count/s")


def card(key, value):
    """Card of a header, 80 characters."""
    if isinstance(value, str):
        return f"{key:8}= {value!r:70}"
    return f"{key:8}= {value!s:>20}{'':50}"


def random_column(name, rng):
    """Cards without number, bytes of each row, and those of the heap."""
    letter = str(rng.choice([*BYTES, "A", "X", "P", "Q"]))
    repeat = int(rng.choice([0, 1, 1, 1, 1, 2, 3, 6]))
    cards, heap = {"TTYPE": name, "TFORM": f"{repeat}{letter}"}, b""
    if rng.random() < 0.6:
        cards["TUNIT"] = str(rng.choice(UNITS))
    if letter == "L":
        rows = rng.choice([b"T", b"F", b"\0"], size=(N_EVENTS, repeat))
    elif letter == "A":
        rows = rng.integers(32, 127, size=(N_EVENTS, repeat), dtype="u1")
        if repeat == 6 and rng.random() < 0.5:
            cards["TFORM"] = str(rng.choice(["6A3", "6A2", "6A"]))
    elif letter == "X":
        rows = rng.integers(256, size=(N_EVENTS, -(-repeat // 8)), dtype="u1")
    elif letter in "PQ":
        of = str(rng.choice(["B", "I", "J", "E", "D"]))
        lengths = rng.integers(4, size=N_EVENTS)
        starts = np.cumsum([0, *lengths[:-1]]) * BYTES[of]
        rows = np.stack([lengths, starts], axis=1).astype(
            ">i4" if letter == "P" else ">i8"
        )
        heap = rng.bytes(int(lengths.sum()) * BYTES[of])
        cards["TFORM"] = f"1{letter}{of}({lengths.max()})"
    else:
        rows = np.frombuffer(rng.bytes(N_EVENTS * repeat * BYTES[letter]), "u1")
        rows = rows.reshape(N_EVENTS, -1) if repeat else np.empty((N_EVENTS, 0), "u1")
        cards |= random_scale(letter, rows, rng)
        if repeat == 6 and rng.random() < 0.5:
            cards["TDIM"] = str(rng.choice(["(2,3)", "(3,2)", "(6)", "(1,2,3)"]))
    return cards, [row.tobytes() for row in rows], heap


def random_scale(letter, rows, rng):
    """Cards of scale, offset and null value."""
    cards = {}
    if letter in "BIJK" and rng.random() < 0.3:
        first = rows[0].tobytes()[: BYTES[letter]]
        cards["TNULL"] = int.from_bytes(first, "big", signed=letter != "B")
        if not first:
            cards["TNULL"] = 0
    kind = rng.random()
    if letter in OFFSETS and kind < 0.3:
        cards["TZERO"] = OFFSETS[letter]
    elif letter in "BIJKED" and kind < 0.45:
        cards["TSCAL"] = float(rng.choice([0.5, 2.0, 0.1]))
        cards["TZERO"] = float(rng.choice([0.0, -3.0, 100.0]))
    return cards


class Base:
    """DL3 file whose EVENTS get further columns."""

    def __init__(self, kind, path):
        hdus = make_hdulist(kind, n_events=N_EVENTS)
        hdus.writeto(path)
        content, info = path.read_bytes(), fits.open(path)
        with info:
            places = [hdu.fileinfo() for hdu in info]
            header, layout = info[1].header, info[1].columns.dtype
            self.before = content[: places[1]["hdrLoc"]]
            self.after = content[places[1]["datLoc"] + places[1]["datSpan"] :]
            data = content[places[1]["datLoc"] :][: N_EVENTS * layout.itemsize]
        rows = [data[k * layout.itemsize :] for k in range(N_EVENTS)]
        self.cells = [
            [row[start : start + kind.itemsize] for row in rows]
            for kind, start in layout.fields.values()
        ]
        own = ("TTYPE", "TFORM", "TUNIT", "TNULL", "TSCAL", "TZERO", "TDIM", "TDISP")
        self.columns = [
            {key: header[f"{key}{k}"] for key in own if f"{key}{k}" in header}
            for k in range(1, header["TFIELDS"] + 1)
        ]
        other = ("XTENSION", "BITPIX", "NAXIS", "PCOUNT", "GCOUNT", "TFIELDS", "THEAP")
        self.cards = "".join(
            it.image for it in header.cards if not it.keyword.startswith((*other, *own))
        )

    def content(self, extra, rng):
        """Bytes of a file."""
        columns, cells, heap = list(self.columns), list(self.cells), b""
        for cards, rows, own_heap in extra:
            if own_heap:
                # descriptors count from the start of the heap
                rows = shifted(rows, len(heap))
                heap += own_heap
            place = int(rng.integers(len(columns) + 1))
            columns.insert(place, cards)
            cells.insert(place, rows)
        data = b"".join(b"".join(row) for row in zip(*cells, strict=True))
        text = f"XTENSION= {'BINTABLE'!r:70}" + "".join(
            card(key, value)
            for key, value in {
                "BITPIX": 8,
                "NAXIS": 2,
                "NAXIS1": len(data) // N_EVENTS,
                "NAXIS2": N_EVENTS,
                "PCOUNT": len(heap),
                "GCOUNT": 1,
                "TFIELDS": len(columns),
            }.items()
        )
        for k, cards in enumerate(columns, start=1):
            text += "".join(card(f"{key}{k}", value) for key, value in cards.items())
        text += f"{self.cards}{'END':80}"
        text += " " * (-len(text) % BLOCK)
        data += heap
        return b"".join(
            [self.before, text.encode(), data, bytes(-len(data) % BLOCK), self.after]
        )


def shifted(rows, offset):
    """Descriptors of a heap that begins later."""
    kind = ">i4" if len(rows[0]) == 8 else ">i8"
    offsets = np.array([0, offset], kind)
    return [(np.frombuffer(row, kind) + offsets).astype(kind).tobytes() for row in rows]


def by_astropy(path):
    """Columns as astropy reads them; None if it does not."""
    try:
        with fits.open(path) as hdus:
            return Table.read(hdus[1], mask_invalid=False)
    except Exception:
        return None


def differences(table, run):
    """Lines on columns which are not as astropy reads them."""
    read = dict(run.columns)
    if {*read} | OWN != {*table.colnames} | OWN:
        yield f"columns {sorted(read)} instead of {sorted(table.colnames)}"
    for name, column in read.items():
        is_both = name not in OWN and name in table.colnames
        if is_both and not same_column(table[name], column):
            yield f"{name}: {table[name]!r} became {column!r}"


def fuzz(chunk):
    """Count what comes out of a chunk of tries; list what must not."""
    kind, seed = chunk
    warnings.simplefilter("ignore")
    read_quickly()
    rng = np.random.default_rng(seed)
    log = logging.getLogger("gammapy_mimic")
    log.handlers, log.propagate = [Words()], False
    counts, escaped = collections.Counter(), []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "fuzz.fits"
        base = Base(kind, path)
        store = DataStore.from_events_files([path])
        for number in range(CHUNK):
            extra = [random_column(f"X{k}", rng) for k in range(rng.integers(1, 5))]
            path.write_bytes(base.content(extra, rng))
            observation = store.obs(store.obs_ids[0], required_irf=[])
            try:
                run, table = read_run(observation), by_astropy(path)
                if table is None:
                    counts["read, but not by astropy"] += 1
                    continue
                wrong = list(differences(table, run))
                counts["different" if wrong else "same"] += 1
                escaped += [(*chunk, number, line) for line in wrong]
            except (OSError, ValueError) as error:
                counts["refused"] += 1
                if "fuzz" not in str(error):
                    escaped.append((*chunk, number, traceback.format_exc()[-700:]))
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
    kinds = ("full", "columns", "detx", "psf_king")
    number = -(-args.tries // CHUNK)
    chunks = [(kinds[k % len(kinds)], args.seed + k) for k in range(number)]
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
