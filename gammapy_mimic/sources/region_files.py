"""Region files in DS9 format."""

import logging
import warnings
from collections.abc import Iterable
from pathlib import Path

from regions import Region, Regions, SkyRegion

from gammapy_mimic.io.arguments import PathLike
from gammapy_mimic.io.files import error_context
from gammapy_mimic.io.output import atomic_write

__all__ = ["is_region_file", "read_regions", "write_regions"]

log = logging.getLogger(__name__)

_DS9_MARK = "# Region file format: DS9"


def is_region_file(item):
    """Whether a str or a path names a region file, and not a source.

    Parameters
    ----------
    item : str or `~pathlib.Path`
        A path, a text that ends in ``.reg``, or that is the path of a file.

    Returns
    -------
    is_file : bool
        Whether it does.
    """
    if isinstance(item, Path):
        return True
    return item.lower().endswith(".reg") or Path(item).is_file()


def read_regions(path):
    """Read a DS9 region file; the text of a region becomes its name.

    Parameters
    ----------
    path : str or `~pathlib.Path`
        File in DS9 format.

    Returns
    -------
    regions : `~regions.Regions`
        Regions of any shape, with ``meta["name"]`` where the file has a text.

    Raises
    ------
    OSError
        If the file cannot be opened.
    ValueError
        If a line cannot be read, or it is not a DS9 file: a source that is missed would
        stay in the data.
    """
    path = Path(path)
    with path.open("rb") as file:
        is_marked = file.readline().startswith(_DS9_MARK.encode())
    with (
        error_context(f"region file {path}"),
        warnings.catch_warnings(record=True) as caught,
    ):
        warnings.simplefilter("always")
        regions = Regions.read(path, format="ds9")
    for text in (str(item.message) for item in caught):
        if "not supported" not in text:
            raise ValueError(f"region file {path}: {text.removesuffix(', skipping.')}")
        # such as a ruler that was drawn beside the sources
        log.warning("Region file %s: %s", path, text)
    if not len(regions) and not is_marked:
        raise ValueError(
            f"region file {path} holds no region, and does not begin with {_DS9_MARK!r}"
        )
    for region in regions:
        if "text" in region.meta:
            region.meta["name"] = region.meta["text"]
    return regions


def write_regions(
    regions: SkyRegion | Iterable[SkyRegion], path: PathLike, overwrite: bool = False
) -> None:
    """Write sky regions to a DS9 region file; the name of a region becomes its text.

    Parameters
    ----------
    regions : `~regions.SkyRegion` or sequence of these
        Regions, such as those of `~gammapy_mimic.known_sources`.
    path : str or `~pathlib.Path`
        File to write.
    overwrite : bool, optional
        Replace the file if it exists. Default is False.

    Raises
    ------
    FileExistsError
        If the file exists and is not to be replaced.
    TypeError
        If a region is not a sky region.
    """
    path = Path(path)
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} exists; use overwrite=True to replace it.")
    regions = [regions] if isinstance(regions, Region) else list(regions)
    written = Regions([_with_text(region) for region in regions])
    text = written.serialize(format="ds9", precision=9) or f"{_DS9_MARK}\n"
    with atomic_write(path) as file:
        file.write(text)


def _with_text(region):
    if not isinstance(region, SkyRegion):
        raise TypeError(f"Only sky regions can be written, not {region!r}.")
    name = str(region.meta.get("name", region.meta.get("text", "")))
    if set(name) & set("{}\n"):
        raise ValueError(f"name = {name!r}: braces cannot be written to a DS9 file.")
    region = region.copy()
    if name:
        region.meta["text"] = name
    return region
