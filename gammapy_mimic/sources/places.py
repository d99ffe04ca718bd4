"""Positions of interest, as users give them."""

from astropy.coordinates import SkyCoord

from gammapy_mimic.sources.known import find_source

__all__ = ["position_of"]


def position_of(position: SkyCoord | str) -> SkyCoord:
    """Take a position, or look it up by the name of a source; see `find_source`.

    Parameters
    ----------
    position : `~astropy.coordinates.SkyCoord` or str
        One position or one name.

    Returns
    -------
    position : `~astropy.coordinates.SkyCoord`
        Position.

    Raises
    ------
    TypeError
        If it is neither.
    """
    if isinstance(position, str):
        return find_source(position).center
    if not isinstance(position, SkyCoord) or not position.isscalar:
        raise TypeError(
            f"position = {position!r}: must be one SkyCoord, or the name of a source "
            "such as 'Crab'"
        )
    return position
