"""Checksums of what known sources are taken from."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from gammapy_mimic.sources.catalogs import catalog_files
from gammapy_mimic.sources.known import (
    Sources,
    available_catalogs,
    resolve_sources,
)
from gammapy_mimic.sources.region_files import is_region_file

__all__ = ["source_checksums"]


def source_checksums(
    catalogs: Sequence[str] | None = (), sources: Sources | None = None
) -> dict[str, str]:
    """Checksums of the catalogs and region files that known sources are taken from.

    Parameters
    ----------
    catalogs : sequence of str, optional
        Tags of catalogs, see `~gammapy_mimic.known_sources`; None for the default
        one. Default is none.
    sources : see `~gammapy_mimic.sources.parse_sources`, optional
        Positions, circles, names and region files. Of names the catalog counts that
        knows them. Default is None.

    Returns
    -------
    checksums : dict of str
        SHA-256 as hexadecimal text: by tag of the catalog, by path as given for region
        files. Sources that are given as positions and circles have no entry.

    Raises
    ------
    FileNotFoundError
        If a catalog or a region file is not there.
    ValueError
        If one is broken, or a name is not known.

    Examples
    --------
    >>> from gammapy_mimic.sources import source_checksums
    >>> list(source_checksums(["bright"]))
    ['bright']
    """
    paths, tags = {}, set(available_catalogs(catalogs))
    for item in _texts(sources):
        if is_region_file(item):
            paths[str(item)] = Path(item)
        else:
            tags.update(resolve_sources(item)[0].catalogs)
    for tag in sorted(tags):
        paths |= catalog_files(tag)
    return {
        name: hashlib.sha256(path.read_bytes()).hexdigest()
        for name, path in paths.items()
    }


def _texts(sources):
    """Names and region files among sources."""
    if isinstance(sources, str | Path):
        yield sources
    elif isinstance(sources, list | tuple):
        for item in sources:
            yield from _texts(item)
