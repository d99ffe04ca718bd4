"""What is logged, for those who say the same in another way."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["only_errors"]


@contextmanager
def only_errors(name: str) -> Iterator[None]:
    """Context in which a logger passes on errors only.

    Parameters
    ----------
    name : str
        Its name.
    """
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
