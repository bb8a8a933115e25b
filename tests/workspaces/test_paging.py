"""Pages around rows that were read, and the places that cursors name."""

from types import SimpleNamespace

import pytest

from workspaces.errors import ValidationFailed
from workspaces.paging import page_around, read_cursor, read_onward, write_cursor

ROWS = [SimpleNamespace(pk=9), SimpleNamespace(pk=5)]


@pytest.mark.parametrize(
    ("read", "newer", "older"),
    [
        ({"is_first": True, "backwards": False, "more": False}, False, False),
        ({"is_first": True, "backwards": False, "more": True}, False, True),
        ({"is_first": False, "backwards": False, "more": False}, True, False),
        ({"is_first": False, "backwards": False, "more": True}, True, True),
        # Who came back from an older page can go there again.
        ({"is_first": False, "backwards": True, "more": False}, False, True),
        ({"is_first": False, "backwards": True, "more": True}, True, True),
    ],
)
def test_a_page_leads_where_there_are_rows(read, newer, older):
    page = page_around(ROWS, **read)
    assert page.newer == (write_cursor(9, backwards=True) if newer else "")
    assert page.older == (write_cursor(5) if older else "")
    assert page_around([], **read) == type(page)([], "", "")


def test_a_cursor_names_the_place_that_was_written():
    assert write_cursor(None) == ""
    assert read_cursor("", int) == read_cursor(None, int) == (None, False)
    for place, backwards in ((7, False), (2**63, True)):
        assert read_cursor(write_cursor(place, backwards=backwards), int) == (place, backwards)
    assert read_onward(write_cursor("7 ü"), str) == "7 ü"


@pytest.mark.parametrize("cursor", ["x", "%", write_cursor("a"), write_cursor("7\x00"), "eDc", write_cursor(7, backwards=True)])
def test_a_cursor_that_is_not_ours_is_refused(cursor):
    with pytest.raises(ValidationFailed):
        read_onward(cursor, int)
