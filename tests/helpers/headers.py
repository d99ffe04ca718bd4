"""Headers that are read by the thousand."""

from astropy.io import fits


def read_quickly():
    """Make settings of astropy plain values, for good.

    astropy looks them up and checks them for each value that it reads from a header.
    """
    for name in ("strip_header_whitespace", "enable_record_valued_keyword_cards"):
        setattr(type(fits.conf), name, getattr(fits.conf, name))
