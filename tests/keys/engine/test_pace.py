"""When a limit is reached at the present pace."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keys.engine.pace import FARTHEST, reached_at, reached_before

AT = datetime(2026, 11, 16, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def asked(**changes) -> datetime | None:
    return reached_at(**{"spent_micro_usd": 100, "left_micro_usd": 50, "since": AT - 2 * DAY, "at": AT, "least": HOUR} | changes)


def test_the_rest_goes_as_fast_as_what_went_before():
    assert asked() == AT + DAY
    assert asked(left_micro_usd=100) == AT + 2 * DAY


@pytest.mark.parametrize(
    "changes",
    [
        {"spent_micro_usd": 0},
        {"left_micro_usd": 0},
        {"since": AT - HOUR / 2},
        {"since": AT + HOUR},
        {"since": AT, "least": timedelta()},
        {"spent_micro_usd": 1, "left_micro_usd": 10**15},
    ],
)
def test_nothing_is_told_where_nobody_can_tell(changes):
    assert asked(**changes) is None


def test_of_a_period_only_what_comes_before_its_end():
    month = {"since": AT.replace(day=1), "at": AT}
    ends = AT.replace(month=12, day=1)
    assert reached_before(ends, spent_micro_usd=150, left_micro_usd=100, **month) == AT + 10 * DAY
    assert reached_before(ends, spent_micro_usd=150, left_micro_usd=151, **month) is None
    early = {"since": AT.replace(day=1), "at": AT.replace(day=2)}
    assert reached_before(ends, spent_micro_usd=150, left_micro_usd=1, **early) is None


@given(st.integers(-(10**16), 10**16), st.integers(-(10**16), 10**16), st.timedeltas(-FARTHEST, FARTHEST), st.timedeltas(timedelta(), FARTHEST))
def test_it_is_total_and_never_tells_of_the_past(spent, left, passed, least):
    found = reached_at(spent_micro_usd=spent, left_micro_usd=left, since=AT - passed, at=AT, least=least)
    assert found is None or AT <= found <= AT + FARTHEST
