"""Broken input and what is asked of those who meet it, for several test files.

Damage is done to files on disk, by plain bytes or plain astropy. `FAULTS` are the
faults of an event file, `INDEX_FAULTS` those of the index tables of a store.
"""

import ctypes
import json
import os
import sys
import traceback
import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from astropy.io import fits
from click.testing import CliRunner

from gammapy_mimic.cli import main


def change_bytes(change):
    def damage(path):
        path.write_bytes(change(path.read_bytes()))

    return damage


def change_hdus(change):
    def damage(path):
        with fits.open(path, memmap=False) as hdulist:
            hdulist = fits.HDUList([hdu.copy() for hdu in hdulist])
        change(hdulist)
        hdulist.writeto(path, overwrite=True)

    return damage


def without_hdu(name):
    return change_hdus(lambda hdulist: hdulist.pop(name))


def without_column(hdu, name):
    return change_hdus(lambda hdulist: hdulist[hdu].columns.change_name(name, "X"))


def without_keyword(hdu, name):
    return change_hdus(lambda hdulist: hdulist[hdu].header.remove(name))


def keyword(hdu, name, value):
    return change_hdus(lambda hdulist: hdulist[hdu].header.set(name, value))


def one_value(column, value, *, hdu="EVENTS", row=3):
    return change_hdus(
        lambda hdulist: hdulist[hdu].data[column].__setitem__(row, value)
    )


def unit(column, text, *, hdu="EVENTS"):
    def change(hdulist):
        hdulist[hdu].columns[column].unit = text

    return change_hdus(change)


def gti(change):
    def replace(hdulist):
        old = hdulist["GTI"]
        hdulist["GTI"] = fits.BinTableHDU(change(old.data), old.header, name="GTI")

    return change_hdus(replace)


def rows(change):
    """Choose rows of an index table."""

    def choose(hdulist):
        hdulist[1].data = change(hdulist[1].data)

    return change_hdus(choose)


def as_folder(path):
    """Put a folder in the place of a file."""
    path.unlink()
    path.mkdir()


truncated = change_bytes(lambda content: content[: len(content) // 2])


def _late(data):
    data["START"] += 1e5
    return data


# damage of the donor's file, what the message must name besides file or run
FAULTS = {
    "truncated": (truncated, "broken"),
    "cut header": (change_bytes(lambda content: content[:3500]), "no END"),
    "not FITS": (change_bytes(lambda _: b"hello"), "not a FITS file"),
    "no bytes": (change_bytes(lambda _: b""), "not a FITS file"),
    "bad gzip": (change_bytes(lambda _: b"\x1f\x8b" + bytes(50)), "broken"),
    "no EVENTS": (without_hdu("EVENTS"), "no EVENTS"),
    "no GTI": (without_hdu("GTI"), "no GTI"),
    **{
        f"no column {name}": (without_column("EVENTS", name), name)
        for name in ("TIME", "RA", "DEC", "ENERGY")
    },
    **{
        f"no column {name}": (without_column("GTI", name), name)
        for name in ("START", "STOP")
    },
    **{
        f"no keyword {name}": (without_keyword("EVENTS", name), name)
        for name in (
            *("OBS_ID", "RA_PNT", "DEC_PNT", "MJDREFI", "MJDREFF"),
            *("GEOLON", "GEOLAT", "ALTITUDE", "DEADC"),
        )
    },
    **{
        f"GTI without {name}": (without_keyword("GTI", name), name)
        for name in ("MJDREFI", "MJDREFF")
    },
    **{
        f"NaN in {name}": (one_value(name, np.nan), name)
        for name in ("TIME", "RA", "DEC", "ENERGY")
    },
    "declination of 95 deg": (one_value("DEC", 95), "DEC"),
    "negative energy": (one_value("ENERGY", -1), "ENERGY"),
    "energy in m": (unit("ENERGY", "m"), "ENERGY"),
    "unknown unit": (unit("ENERGY", "furlong"), "furlong"),
    "text as pointing": (keyword("EVENTS", "RA_PNT", "north"), "north"),
    "pointing at 100 deg": (keyword("EVENTS", "DEC_PNT", 100.0), "100"),
    "text as OBS_ID": (keyword("EVENTS", "OBS_ID", "run"), "OBS_ID"),
    "text as MJDREFI": (keyword("EVENTS", "MJDREFI", "abc"), "abc"),
    "unknown time scale": (keyword("EVENTS", "TIMESYS", "xyz"), "xyz"),
    "mixed time references": (keyword("GTI", "MJDREFI", 40000), "MJDREFI"),
    "empty GTI": (gti(lambda data: data[:0]), "GTI"),
    "GTI that ends before": (gti(_late), "GTI"),
}

_FILE_FAULTS = {
    "missing": (lambda path: path.unlink(), "No such file"),
    "truncated": (truncated, "broken"),
    "not FITS": (change_bytes(lambda _: b"hello"), "not a FITS file"),
    "no bytes": (change_bytes(lambda _: b""), "not a FITS file"),
    "a folder": (as_folder, "Is a directory"),
    "a loop": (
        lambda path: (path.unlink(), path.symlink_to(path.name)),
        "Too many levels",
    ),
    "no table": (change_hdus(lambda hdulist: hdulist.pop(1)), "no binary table"),
    "no rows": (rows(lambda data: data[:0]), "no rows"),
    "no column OBS_ID": (without_column(1, "OBS_ID"), "OBS_ID"),
}

# name of the index table, damage, what the message must name besides the file
INDEX_FAULTS = {
    **{
        f"{name}: {fault}": (f"{name}-index.fits.gz", *entry)
        for name in ("obs", "hdu")
        for fault, entry in _FILE_FAULTS.items()
    },
    **{
        f"hdu: no column {name}": (
            "hdu-index.fits.gz",
            without_column(1, name),
            name,
        )
        for name in ("HDU_TYPE", "HDU_CLASS", "FILE_DIR", "FILE_NAME", "HDU_NAME")
    },
    "obs: run 3 twice": (
        "obs-index.fits.gz",
        rows(lambda data: data[[0, 1, 2, 2, 3, 4]]),
        "OBS_ID 3 is duplicated",
    ),
    "hdu: run 1 has two EVENTS": (
        "hdu-index.fits.gz",
        rows(lambda data: data[[0, *range(len(data))]]),
        "rows of type events",
    ),
}


# --- the command ------------------------------------------------------------------


def invoke(*args, code):
    """Call the command as a user does: warnings are none of its errors."""
    found, output = call(*args)
    assert found == code, output
    return output


def call(*args):
    """Exit code and output of the command."""
    with warnings.catch_warnings(record=True):
        warnings.simplefilter("default")
        result = CliRunner().invoke(main, [str(arg) for arg in args])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert "Traceback" not in result.output
    return result.exit_code, result.output


def error_line(output):
    """Find the one line that tells what is wrong; it is the last one."""
    lines = [line for line in output.splitlines() if line]
    found = [line for line in lines if line.startswith("Error: ")]
    assert len(found) == 1, output
    assert lines[-1] == found[0], output
    return found[0]


# --- a campaign that takes half a second ------------------------------------------


def settings(store, out, *, targets=(1, 2), donors=(3, 4, 5), **changes):
    mimic = {"donors": {"obs_ids": list(donors)}, "scramble": None}
    return {
        "observations": {"datastore": str(store), "obs_ids": list(targets)},
        "datasets": {"type": "3d"},
        "mimic": {**mimic, "outdir": str(out), **changes},
    }


def campaign_in(folder, store, **changes):
    """Store, configuration and output folder of a campaign, and files of runs."""
    config = folder / "config.yaml"
    config.write_text(yaml.safe_dump(settings(store, folder / "out", **changes)))
    return SimpleNamespace(
        store=store,
        config=config,
        out=folder / "out",
        file=lambda obs_id: store / f"run_{obs_id}.fits",
    )


def contents(out):
    """Bytes of all that belongs to the result of a campaign.

    ``config.yaml`` has the path of the folder, the provenance that of the store.
    """
    return {
        str(path.relative_to(out)): path.read_bytes()
        for path in sorted(out.rglob("*"))
        if path.is_file()
        and ".campaign" not in path.parts
        and path.name not in ("config.yaml", "provenance.yaml")
    }


def everything(folder):
    """Bytes of all files of a folder but locks, and where its links lead."""
    return {
        str(path.relative_to(folder)): (
            os.readlink(path) if path.is_symlink() else path.read_bytes()
        )
        for path in sorted(folder.rglob("*"))
        if (path.is_file() or path.is_symlink()) and not path.name.startswith("lock")
    }


def assert_nothing_half_written(out):
    """No temporary file; and what an index lists is there, and whole."""
    assert not list(out.rglob("*.tmp"))
    for index in out.rglob("hdu-index.fits.gz"):
        table = fits.getdata(index)
        for name, size in zip(table["FILE_NAME"], table["SIZE"], strict=True):
            assert (index.parent / name).stat().st_size == size
    for file in filter(Path.is_file, out.glob("mimic_*/*.fits")):
        with fits.open(file) as hdulist:
            assert hdulist[-1].data is not None


# --- other processes --------------------------------------------------------------


def in_child(function, *args):
    """Call a function in a forked process; gives what it returns, as JSON does."""
    return in_children((function, *args))[0]


def in_children(*calls):
    """Call functions with their arguments at the same time, each in its own process."""
    children = []
    for function, *args in calls:
        read, write = os.pipe()
        with warnings.catch_warnings():
            # of forks beside other threads; the child uses none of theirs
            warnings.simplefilter("ignore", DeprecationWarning)
            process = os.fork()
        if not process:
            _answer(write, function, args)
        os.close(write)
        children.append((process, read))
    return [_outcome(*child) for child in children]


def _outcome(process, read):
    with open(read, encoding="utf-8") as answer:
        text = answer.read()
    os.waitpid(process, 0)
    result = json.loads(text)
    if "skip" in result:
        pytest.skip(result["skip"])
    assert "error" not in result, result["error"]
    return result["result"]


def _answer(write, function, args):
    """Write what a function returns, and end this process."""
    try:
        try:
            result = {"result": function(*args)}
        except pytest.skip.Exception as error:
            result = {"skip": str(error)}
        except BaseException:
            result = {"error": traceback.format_exc()}
        with open(write, "w", encoding="utf-8") as answer:
            json.dump(result, answer)
    finally:
        os._exit(0)


_CAPABILITY_VERSION = 0x20080522
_CAP_DAC_OVERRIDE, _CAP_DAC_READ_SEARCH = 1, 2
_CLONE_NEWNS, _CLONE_NEWUSER = 0x00020000, 0x10000000
_MS_REMOUNT, _MS_REC, _MS_PRIVATE = 32, 16384, 1 << 18


def obey_modes():
    """Make file modes bind this process for ever, even if it is root's."""
    if os.geteuid() != 0:
        return
    if not sys.platform.startswith("linux"):
        pytest.skip("root cannot give up its privilege here")
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0)
    # effective, permitted and inheritable ones, 32 at a time
    data = (ctypes.c_uint32 * 6)()
    _call(libc.capget, header, data)
    for number in (0, 1):
        data[number] &= ~(1 << _CAP_DAC_OVERRIDE | 1 << _CAP_DAC_READ_SEARCH)
    _call(libc.capset, header, data)


def tiny_disk(path, size):
    """Mount a small disk of its own on a folder, for this process alone.

    Parameters
    ----------
    path : `~pathlib.Path`
        Folder.
    size : int
        Size in KiB.

    Returns
    -------
    resize : callable
        Gives it another size.
    """
    if not sys.platform.startswith("linux"):
        pytest.skip("needs namespaces")
    libc = ctypes.CDLL(None, use_errno=True)
    user, group = os.geteuid(), os.getegid()
    try:
        _call(libc.unshare, _CLONE_NEWNS | (_CLONE_NEWUSER if user else 0))
        if user:
            Path("/proc/self/setgroups").write_text("deny")
            Path("/proc/self/uid_map").write_text(f"0 {user} 1")
            Path("/proc/self/gid_map").write_text(f"0 {group} 1")
        _call(libc.mount, b"none", b"/", None, _MS_REC | _MS_PRIVATE, None)
        _mount(libc, path, 0, size)
    except OSError as error:
        pytest.skip(f"needs namespaces: {error}")
    return lambda size: _mount(libc, path, _MS_REMOUNT, size)


def _mount(libc, path, flags, size):
    _call(
        libc.mount,
        b"tmpfs",
        os.fsencode(path),
        b"tmpfs",
        ctypes.c_ulong(flags),
        f"size={size}k".encode(),
    )


def _call(function, *args):
    if function(*args) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
