"""What a reviewer is shown of a held call: every field, under a path of its own, and nothing said to be the same that may not be."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from approvals.engine.diff import HIDDEN, compared, differing, fields_of
from approvals.engine.shown import MAX_SHOWN_CHARS, is_cut, paths, redacted
from tests.figures import dear

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab.[]\"0 é'", max_size=3), inner, max_size=3),
    max_leaves=12,
)


def leaves(value: object) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return sum(map(leaves, inner)) or 1


def line(now: dict, *known: dict, of: str = "x"):
    return next(each for each in compared(fields_of(json.dumps(now)), [fields_of(json.dumps(each)) for each in known]) if each.path == of)


@dear
@given(st.dictionaries(st.text("ab.[]\"0 é'", max_size=3), json_values, min_size=1, max_size=4))
def test_no_field_hides_behind_another(value):
    assert len({path for path, _ in paths(value)}) == len(list(paths(value))) == leaves(value)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ({"a": {"b": 1}, "a.b": 2}, ["a.b", '["a.b"]']),
        ({"to": [{"name": "x"}], "to[0].name": "y"}, ["to[0].name", '["to[0].name"]']),
        ({"": {"x": 1}, "x": 2}, ['[""].x', "x"]),
        ({"to ": 1, "to": 2}, ['["to "]', "to"]),
        ({"größe": 1, "a-b": 2, "e": [], "f": {}}, ["größe", "a-b", "e", "f"]),
    ],
)
def test_a_name_cannot_look_like_another_ones_path(value, shown):
    assert [path for path, _ in paths(value)] == shown


def test_two_names_that_are_alike_without_their_secrets_stay_two_fields():
    names = [f"ghp_{letter * 36}" for letter in "abc"]
    shown = json.loads(redacted(json.dumps({name: place for place, name in enumerate(names)})))
    assert list(shown.values()) == [0, 1, 2]
    assert not any(name in shown for name in names)


def test_half_a_secret_is_not_left_where_long_arguments_are_cut():
    secret = "sk-live-" + "A1b2C3d4" * 4
    text = "x" * (MAX_SHOWN_CHARS - 20) + " " + secret + " tail"
    assert "A1b2" not in redacted(text)
    assert (is_cut(redacted(text)), is_cut(redacted('{"a": 1}'))) == (True, False)


def test_what_is_hidden_is_never_said_to_be_the_same():
    told = line({"x": "[redacted]"}, {"x": "[redacted]"})
    assert (told.change, told.is_new) == (HIDDEN, True)
    assert line({"x": "plain"}, {"x": "my [redacted:token]"}).change == HIDDEN
    assert line({"x": "[redacted]"}, {"y": 1}).change == "New argument"


@pytest.mark.parametrize(
    ("before", "now", "change", "is_new"),
    [
        (310, 4180, "13 times as much", True),
        (4180, 310, "13 times less", True),
        (2, 3, "1.5 times as much", True),
        (100, 101, "Never used before", True),
        (1, 1.0, "Same", False),
        (1, True, "Yes or no instead of number", True),
        (True, 1, "Number instead of yes or no", True),
        (1, "1", "Text instead of number", True),
        ("a", None, "Null instead of text", True),
        ([], {}, "An empty object instead of an empty list", True),
        (-5, 5, "Never used before", True),
        (1e-308, 1e308, "Never used before", True),
        ("a", "a", "Same", False),
    ],
)
def test_a_change_is_said_in_words(before, now, change, is_new):
    told = line({"x": now}, {"x": before})
    assert (told.change, told.is_new) == (change, is_new)


def test_usual_values_are_the_range_of_numbers_and_how_often_others_came():
    calls = [{"x": 62, "to": "a"}, {"x": 940, "to": "a"}, {"x": 310, "to": "b"}]
    assert line({"x": 4180}, *calls).usual == "62 to 940 in 3 calls"
    assert line({"to": "a"}, *calls, of="to").usual == "in 2 of 3 calls"
    assert line({"to": "z"}, *calls, of="to").usual == "2 other values in 3 calls"
    assert line({"to": "b"}, *calls, of="to").change == "Used before"
    assert line({"x": 5}, {"x": 5}, {"x": 5}).usual == "5 in 2 calls"
    assert line({"x": 62}, {"x": 62}).usual == ""


def test_changed_fields_come_first_and_missing_ones_are_told():
    told = compared(fields_of('{"same": 1, "new": 2}'), [fields_of('{"same": 1, "gone": 3}')])
    assert [(each.path, each.change) for each in told] == [("new", "New argument"), ("gone", "Not there any more"), ("same", "Same")]
    assert [each.change for each in compared(fields_of('{"a": 1}'), [])] == ["First time"]
    assert compared(fields_of("{}"), []) == []


def test_what_is_no_object_is_one_text():
    assert fields_of('{"a": 1, "a": 2}') == {"": '{"a": 1, "a": 2}'}
    assert fields_of(None) == {}


def test_calls_alike_differ_in_what_is_told():
    call = fields_of('{"amount": 1, "to": "Marlow", "note": null}')
    assert differing(call, call) == []
    assert differing(call, fields_of('{"amount": "1", "to": "Marlow", "cc": "x"}')) == [("amount", "1"), ("cc", "x"), ("note", None)]
