"""Cards of FITS headers: what astropy says of each of them."""

import warnings

import pytest
from astropy.io import fits
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gammapy_mimic.io.cards import (
    Header,
    as_dict,
    card_image,
    changed_header,
    header_bytes,
)

keywords = st.from_regex(r"\A[A-Z][A-Z0-9_-]{0,7}\Z").filter(
    lambda key: (
        key not in ("END", "COMMENT", "HISTORY", "CONTINUE", "HIERARCH", "XTENSION")
    )
)
texts = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=90)
numbers = st.floats(allow_nan=False, allow_infinity=False)
integers = st.integers(-(10**18), 10**18)
values = texts | st.booleans() | integers | numbers
comments = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=20)
thorough = settings(max_examples=300, deadline=None)


def same(one, other):
    return one == other and type(one) is type(other)


@given(keyword=keywords, value=values)
@example(keyword="A", value="it's")
@example(keyword="A", value="")
@example(keyword="A", value=" 'x' & ")
@example(keyword="A", value=-1.2345678901234567e-105)
@thorough
def test_written_as_astropy_does(keyword, value):
    assert card_image(keyword, value) == fits.Card(keyword, value).image


@given(keyword=keywords, value=values, comment=comments)
@example(keyword="A", value="a / b", comment="c")
@example(keyword="A", value="it's", comment="'")
@thorough
def test_read_as_astropy_does(keyword, value, comment):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a comment that is too long
        header = fits.Header([fits.Card(keyword, value, comment)])
        content = header.tostring().encode()
    # astropy takes some texts for records with a name and a number in them
    expected = fits.Header.fromstring(content).cards[0]
    if expected.field_specifier is None:
        found = Header(content)
        assert list(found) == [keyword]
        assert same(found[keyword], expected.value)


ODD_CARDS = {
    "number with D": "X       =              1.5D-03",
    "leading zeros": "X       =                  007",
    "plus": "X       = +1.25E+02",
    "free format": "X       =     42    / the answer",
    "no digits after the point": "X       = 3.",
    "no digits before it": "X       = .5",
    "small e": "X       = 1e5",
    "complex": "X       = (1.0, 2.0)",
    "no value": "X       =",
    "quote in text": "X       = 'O''Neill'  / name",
    "blanks in text": "X       = '  a  '",
    "lower case": "x       =                    1",
}


@pytest.mark.parametrize("card", ODD_CARDS.values(), ids=list(ODD_CARDS))
def test_odd_cards_are_read_as_astropy_does(card):
    content = header_bytes([f"{card:80}"])
    expected = fits.Header.fromstring(content)
    try:
        value = expected["X"]
    except fits.VerifyError:
        with pytest.raises(ValueError, match="header: card X cannot be read"):
            Header(content)["X"]
        return
    assert same(Header(content)["X"], value)


def test_broken_cards_harm_only_who_asks():
    cards = [f"{'BAD     = 1 2 3':80}", card_image("GOOD", 1)]
    header = Header(header_bytes(cards))
    assert header["GOOD"] == 1
    assert "BAD" in header
    with pytest.raises(ValueError, match="header: card BAD cannot be read"):
        header["BAD"]


def long_header():
    header = fits.Header()
    header["A"] = "x" * 200
    header["HIERARCH long keyword"] = 3
    header["B"] = 1.5
    header.append(("B", 2.5), end=True)
    header["HISTORY"] = "one"
    header["HISTORY"] = "two"
    return header


def test_long_cards():
    header = long_header()
    found = Header(header.tostring().encode())
    assert list(found) == list(dict.fromkeys(header))
    assert found["A"] == "x" * 200
    assert found[header.cards[1].keyword] == 3
    assert found["B"] == 1.5
    assert found["HISTORY"] == ["one", "two"]
    assert as_dict(found)["B"] == [1.5, 2.5]


def test_several_cards():
    cards = [card_image("A", 1), card_image("B", "x"), card_image("A", 2)]
    cards += [f"{'HISTORY one':80}", f"{'COMMENT':80}", f"{'HISTORY two':80}"]
    header = Header(header_bytes(cards))
    assert list(header) == ["A", "B", "HISTORY", "COMMENT"]
    assert len(header) == 4
    assert header["A"] == 1
    assert header.repeated("A") == [1, 2]
    assert header["HISTORY"] == [" one", " two"] or header["HISTORY"] == ["one", "two"]
    assert as_dict(header)["A"] == [1, 2]
    assert as_dict(header)["COMMENT"] == [""]
    assert header.get("C", 5) == 5
    for missing in (lambda: header["C"], lambda: header.repeated("C")):
        with pytest.raises(KeyError):
            missing()


def test_what_follows_end_does_not_count():
    content = header_bytes([card_image("A", 1)])
    assert list(Header(content + header_bytes([card_image("B", 1)]))) == ["A"]
    assert list(Header(b"")) == []


def test_as_dict_gives_a_copy():
    meta = {"HISTORY": ["one"], "A": 1}
    copied = as_dict(meta)
    copied["HISTORY"].append("two")
    assert meta == {"HISTORY": ["one"], "A": 1}


@given(key=st.sampled_from(["A", "B", "NEW"]), value=values)
@thorough
def test_changed_header_is_what_astropy_makes_of_it(key, value):
    header = fits.Header([("A", 1, "first"), ("B", "text", "second"), ("C", 2.5)])
    header["CHECKSUM"] = "abc"
    header["COMMENT"] = "words"
    content = header.tostring().encode()
    changed = changed_header(content, {key: value}, removed=("CHECKSUM",))
    assert len(changed) % 2880 == 0
    found, header = fits.Header.fromstring(changed), fits.Header.fromstring(content)
    header.remove("CHECKSUM")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        header[key] = value
        assert same(found[key], fits.Header.fromstring(header.tostring())[key])
    others = [card.image for card in header.cards if card.keyword != key]
    kept = [card.image for card in found.cards if card.keyword != key]
    assert kept == others


def test_changed_card_keeps_its_comment():
    header = fits.Header([("A", 1, "number of apples"), ("B", 2)])
    content = header.tostring().encode()
    changed = fits.Header.fromstring(changed_header(content, {"A": 7, "B": 8}))
    assert (changed["A"], changed.comments["A"]) == (7, "number of apples")
    assert changed["B"] == 8
    assert changed_header(content, {}) == content
