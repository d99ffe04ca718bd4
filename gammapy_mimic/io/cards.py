"""Cards of FITS headers.

astropy is right about every card, but takes 30 microseconds for each. Nearly all cards
of DL3 files are of the plainest kind: one regular expression finds their value, and one
line of code writes them. astropy gets the others.
"""

import re
from collections import Counter
from collections.abc import Mapping

from astropy.io import fits

__all__ = [
    "COMMENTARY",
    "Header",
    "as_dict",
    "card_image",
    "changed_header",
    "header_bytes",
]

LENGTH = 80
"""Characters of a card."""

BLOCK = 2880
"""Bytes of which headers and data are multiples."""

COMMENTARY = ("COMMENT", "HISTORY")

_PLAIN = re.compile(
    r"= *(?:'([ !-&(-~]*)'|([+-]?\d+\.\d*(?:E[+-]?\d+)?)|([+-]?\d+)|([TF])) *(?:/.*)?"
)
_CONVERT = (None, str.rstrip, float, int, "T".__eq__)
"""For each group of the expression."""

_KEYWORD = re.compile(r"[A-Z0-9_-]{1,8}")
_TEXT = re.compile(r"[ !-&(-~]{1,68}")

_WIDTH = 20
"""Characters of a number, right-aligned."""


class Header(Mapping):
    """Cards of a header, each understood when it is asked for.

    Of a keyword that comes several times the first card counts. COMMENT and HISTORY
    are lists of lines.

    Parameters
    ----------
    content : bytes
        The header; what follows its END does not count.
    label : str, optional
        What it is the header of, for the ValueError that the value of a broken card
        gives. Default is "header".
    """

    def __init__(self, content, label="header"):
        self.label = label
        text = bytes(content).decode("ascii", errors="replace")
        starts = range(0, len(text), LENGTH)
        keys = [text[start : start + 8].rstrip().upper() for start in starts]
        if "END" in keys:
            del keys[keys.index("END") :]
        if "HIERARCH" in keys:
            keys = [
                _whole_keyword(k, text, s) for k, s in zip(keys, starts, strict=False)
            ]
        self._text, self._keys, self._values = text, keys, {}
        # the first place of each keyword, in the order of the header
        self._places = dict.fromkeys(keys)
        places = zip(keys, starts, strict=False)
        self._places.update(reversed(list(places)))
        self._places.pop("", None)
        self._long = None
        if "CONTINUE" in self._places:
            self._read_long_cards(text[: LENGTH * len(keys)])

    def _read_long_cards(self, text):
        """Take all values from astropy, which puts long cards together."""
        self._long = {}
        for card in fits.Header.fromstring(text).cards:
            if card.keyword:
                value = None if card.value == fits.card.UNDEFINED else card.value
                self._long.setdefault(card.keyword, []).append(value)
        self._places = self._long

    @property
    def several(self):
        """Keywords of which there are, or may be, several cards."""
        if self._long is not None:
            return [key for key, values in self._long.items() if len(values) > 1]
        counts = Counter(self._keys)
        return [key for key in self._places if counts[key] > 1 or key in COMMENTARY]

    def repeated(self, key):
        """Values of all cards of a keyword.

        Parameters
        ----------
        key : str
            Keyword.

        Returns
        -------
        values : list
            At least one value. KeyError if there is no such card.
        """
        if self._long is not None:
            return self._long[key]
        starts = range(0, LENGTH * len(self._keys), LENGTH)
        found = [
            start for start, own in zip(starts, self._keys, strict=True) if own == key
        ]
        if not found:
            raise KeyError(key)
        return [self._value(key, start) for start in found]

    def _value(self, key, start):
        """Value of the card at a place."""
        try:
            return _value(key, self._text[start : start + LENGTH])
        except Exception as error:  # of whatever type astropy has for such cards
            raise ValueError(
                f"{self.label}: card {key} cannot be read: {error}"
            ) from error

    def __getitem__(self, key):
        """Value of a card; KeyError if there is none."""
        if key not in self._values:
            if key in COMMENTARY:
                value = self.repeated(key)
            elif self._long is not None:
                value = self._long[key][0]
            else:
                value = self._value(key, self._places[key])
            self._values[key] = value
        return self._values[key]

    def get(self, key, default=None):
        """Value of a card, or a default if there is none."""
        return self[key] if key in self._places else default

    def __iter__(self):
        """Keywords in their order."""
        return iter(self._places)

    def __len__(self):
        """Count the keywords."""
        return len(self._places)

    def __contains__(self, key):
        """Whether there is a card with this keyword; it may be broken."""
        return key in self._places


def _whole_keyword(key, text, start):
    """Keyword of a card, also if it is longer than eight characters."""
    if key != "HIERARCH":
        return key
    return fits.Card.fromstring(text[start : start + LENGTH]).keyword.upper()


def _value(key, card):
    """Value of a card."""
    if key in COMMENTARY:
        return card[8:].rstrip()
    match = _PLAIN.fullmatch(card, 8)
    if match is None:
        value = fits.Card.fromstring(card).value
        return None if isinstance(value, fits.card.Undefined) else value
    return _CONVERT[match.lastindex](match[match.lastindex])


def as_dict(header):
    """Cards as astropy's tables hold them: several values become a list.

    Parameters
    ----------
    header : mapping
        `Header`, or cards that are so already.

    Returns
    -------
    cards : dict
        Values by keyword; lists may be changed.
    """
    if not isinstance(header, Header):
        return {k: list(v) if isinstance(v, list) else v for k, v in header.items()}
    cards = {key: header[key] for key in header}
    for key in header.several:
        cards[key] = list(header.repeated(key))
    return cards


def card_image(keyword, value):
    """Write a card.

    Parameters
    ----------
    keyword : str
        Keyword in capital letters; one that is too long becomes a HIERARCH card.
    value : str, bool, int, float, complex or `~astropy.io.fits.card.Undefined`
        Value.

    Returns
    -------
    image : str
        80 characters, or more for a long text (CONTINUE). ValueError if a card cannot
        hold the value.
    """
    if not _KEYWORD.fullmatch(keyword):
        return fits.Card(f"HIERARCH {keyword}", value).image
    if isinstance(value, bool):
        text = f"{'T' if value else 'F':>{_WIDTH}}"
    elif isinstance(value, int):
        text = f"{value:>{_WIDTH}}"
    elif isinstance(value, float):
        text = f"{str(value).replace('e', 'E'):>{_WIDTH}}"
    elif isinstance(value, str) and _TEXT.fullmatch(value):
        text = f"'{value:8}'"
    else:
        text = ""
    if not text or (len(text) > _WIDTH and not isinstance(value, str)):
        return fits.Card(keyword, value).image
    return f"{keyword:8}= {text:{LENGTH - 10}}"


def header_bytes(cards):
    """Put a header together.

    Parameters
    ----------
    cards : iterable of str
        Cards as from `card_image`, without END.

    Returns
    -------
    content : bytes
        Header with END, padded to FITS blocks.
    """
    text = "".join([*cards, f"{'END':{LENGTH}}"])
    return f"{text:{-(-len(text) // BLOCK) * BLOCK}}".encode("ascii")


def changed_header(content, changes, removed=()):
    """Header with some cards set or dropped; all others stay, byte for byte.

    Parameters
    ----------
    content : bytes
        Header with END.
    changes : dict
        Values by keyword. The comment of a card stays; new cards come last.
    removed : iterable of str, optional
        Keywords to drop. Default is none.

    Returns
    -------
    content : bytes
        New header, padded to FITS blocks.
    """
    text = bytes(content).decode("ascii", errors="replace").replace("\ufffd", "?")
    cards, changes = [], dict(changes)
    for start in range(0, len(text), LENGTH):
        card = text[start : start + LENGTH]
        key = card[:8].rstrip()
        if key == "END":
            break
        if key in changes:
            cards.append(_with_comment(card_image(key, changes.pop(key)), card))
        elif key not in removed:
            cards.append(card)
    while cards and cards[-1].isspace():
        cards.pop()
    cards += [card_image(key, value) for key, value in changes.items()]
    return header_bytes(cards)


def _with_comment(image, old):
    """Card with the comment of an old one, as far as there is room."""
    match = _PLAIN.fullmatch(old, 8)
    comment = (
        old[match.end(match.lastindex) :].partition("/")[2].strip() if match else ""
    )
    if not comment or len(image) > LENGTH:
        return image
    return f"{image.rstrip():30} / {comment}"[:LENGTH].ljust(LENGTH)
