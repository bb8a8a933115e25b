"""Canonical JSON: RFC 8785's own examples, one form for what is equal, and two for any two different numbers."""

import json
import random
import string
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.figures import dear
from workspaces.engine.canonical import canonical, ecmascript, parse

NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | NAMES
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4), max_leaves=20)
DIGITS = st.text(string.digits, min_size=1, max_size=25)


def spelled(text: str) -> str:
    return canonical(parse(text))


def exactly(text: str) -> object:
    return json.loads(text, parse_float=Decimal, parse_int=Decimal)


def shuffled(value: object, chance: random.Random) -> str:
    """The same value in another spelling: names in another order, escapes, white space, numbers with more zeros."""
    space = chance.choice(["", " ", "\n\t"])
    match value:
        case dict():
            names = list(value)
            chance.shuffle(names)
            return "{" + f",{space}".join(f"{json.dumps(name)}{space}:{shuffled(value[name], chance)}" for name in names) + "}"
        case list():
            return f"[{space}" + ",".join(shuffled(each, chance) for each in value) + "]"
        case float():
            return repr(value) if "e" in repr(value) else f"{value!r}00"
        case str():
            return json.dumps(value, ensure_ascii=chance.random() < 0.5)
    return json.dumps(value)


# RFC 8785, appendix B: the bits of a double and what ECMAScript writes.
@pytest.mark.parametrize(
    ("double", "written"),
    [
        (0.0, "0"), (-0.0, "0"), (5e-324, "5e-324"), (-5e-324, "-5e-324"), (1.7976931348623157e308, "1.7976931348623157e+308"),
        (9007199254740992.0, "9007199254740992"), (295147905179352825856.0, "295147905179352830000"), (9.999999999999997e22, "9.999999999999997e+22"),
        (1e23, "1e+23"), (1.0000000000000001e23, "1.0000000000000001e+23"), (999999999999999700000.0, "999999999999999700000"),
        (999999999999999900000.0, "999999999999999900000"), (1e21, "1e+21"), (9.999999999999997e-7, "9.999999999999997e-7"),
        (0.000001, "0.000001"), (333333333.3333332, "333333333.3333332"), (1424953923781206.2, "1424953923781206.2"),
    ],
)  # fmt: skip
def test_doubles_are_written_as_ecmascript_writes_them(double, written):
    assert ecmascript(double) == written
    assert spelled(repr(double)) == written


def test_names_are_ordered_by_their_utf_16():
    # RFC 8785, 3.2.3.
    text = '{"\\u20ac": 1, "\\r": 2, "\\ufb33": 3, "1": 4, "\\ud83d\\ude00": 5, "\\u0080": 6, "\\u00f6": 7}'
    assert [pair[0] for pair in json.loads(spelled(text), object_pairs_hook=list)] == ["\r", "1", "\x80", "ö", "€", "😀", "\ufb33"]


def test_strings_are_written_as_ecmascript_writes_them():
    # RFC 8785, 3.2.2.2.
    assert spelled('"\\u20ac$\\u000F\\u000aA\'\\u0042\\u0022\\u005c\\\\\\"\\/\\u007f"') == '"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/\x7f"'


@dear
@given(VALUES, st.randoms())
def test_equal_values_have_one_form_however_they_are_written(value, chance):
    form = spelled(shuffled(value, chance))
    assert form == spelled(json.dumps(value))
    assert spelled(form) == form
    assert exactly(form) == exactly(json.dumps(value))


@given(DIGITS, DIGITS, st.integers(-330, 250), DIGITS, st.integers(-3, 3))
def test_two_numbers_have_one_form_only_if_they_are_equal(whole, fraction, exponent, other, nudge):
    one = f"{int(whole)}.{fraction}e{exponent}"
    others = [f"{int(whole)}.{fraction}000e{exponent}", f"{int(whole + fraction)}e{exponent - len(fraction)}", f"{int(other)}.{fraction}e{exponent + nudge}"]
    others += [f"{int(whole + fraction) + nudge}e{exponent - len(fraction)}"]
    for another in others:
        assert (spelled(one) == spelled(another)) == (Decimal(one) == Decimal(another))


@pytest.mark.parametrize("text", ["9007199254740993", "0.30000000000000001", "4180.000000000000001", "123456789012345678901234567890"])
def test_a_number_that_no_double_holds_keeps_its_digits(text):
    assert spelled(text) == text


@pytest.mark.parametrize("text", ['{"a": 1, "a": 1}', "NaN", "1e400", "1e-99999999999999999999", '"\\ud800"', "[" * 100_000, "{", "01"])
def test_what_two_readers_could_read_differently_has_no_form(text):
    with pytest.raises(ValueError):
        spelled(text)


def test_a_short_text_has_no_long_form():
    assert len(spelled("[1e-399999999, 1e-5000]")) < 40
