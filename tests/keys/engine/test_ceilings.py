"""Which ceilings a call meets, and what each says when it refuses."""

from datetime import UTC, date, datetime, timedelta

import hypothesis.strategies as st
import pytest
from hypothesis import given

from keys.engine.ceilings import Cycle, Limits, Scope, ceilings, period, refusal

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)  # a Sunday
EVERY = Limits(25, 10, Cycle.DAY, member_id=7, workspace_month_micro_usd=0, member_month_micro_usd=5)


@pytest.mark.parametrize(
    ("cycle", "first", "following"),
    [
        (Cycle.DAY, date(2026, 11, 22), datetime(2026, 11, 23, tzinfo=UTC)),
        (Cycle.WEEK, date(2026, 11, 16), datetime(2026, 11, 23, tzinfo=UTC)),
        (Cycle.MONTH, date(2026, 11, 1), datetime(2026, 12, 1, tzinfo=UTC)),
    ],
)
def test_a_period_begins_and_ends_at_midnight_utc(cycle, first, following):
    assert period(cycle, NOW) == (first, following)


@given(st.sampled_from(Cycle), st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1)).map(lambda at: at.replace(tzinfo=UTC)))
def test_periods_follow_one_another_without_a_gap(cycle, at):
    first, following = period(cycle, at)
    assert datetime(first.year, first.month, first.day, tzinfo=UTC) <= at < following
    assert period(cycle, following)[0] == following.date()
    assert period(cycle, following - timedelta(microseconds=1)) == (first, following)


def test_a_key_without_limits_meets_none_and_a_budget_of_nothing_is_one():
    assert ceilings(Limits(member_id=7), 1, NOW) == ()
    assert [ceiling.limit_micro_usd for ceiling in ceilings(EVERY, 1, NOW)] == [25, 10, 0, 5]


def test_accounts_of_other_owners_and_periods_have_other_names():
    names = {
        ceiling.account.name
        for limits in (EVERY, Limits(0, 10, Cycle.WEEK), Limits(0, 10, Cycle.MONTH))
        for key in (1, 2)
        for at in (NOW, NOW + timedelta(days=31))
        for ceiling in ceilings(limits, key, at)
    }
    assert len(names) == 2 + 3 * 2 * 2 + 2 + 2


def test_each_ceiling_refuses_with_its_documented_error():
    told = {ceiling.account.scope: refusal(ceiling) for ceiling in ceilings(EVERY, 1, NOW)}
    assert (told[Scope.KEY].code, told[Scope.KEY].message) == ("pre_consume_token_quota_failed", "token quota is not enough")
    assert told[Scope.CYCLE].code == "access_denied"
    assert told[Scope.CYCLE].message == "token cycle spend limit reached, resets at 2026-11-23T00:00:00Z"
    assert told[Scope.CYCLE].metadata == {"resets_at": "2026-11-23T00:00:00Z"}
    assert (told[Scope.MEMBER].code, told[Scope.WORKSPACE].code) == ("insufficient_user_quota", "insufficient_user_quota")
    assert told[Scope.MEMBER].message.startswith("monthly budget reached for this member")
