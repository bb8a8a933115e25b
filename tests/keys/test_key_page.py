"""The page of one key: its figures, how far it has come to its ceilings, and who sees what it used."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.factories.activity import UsageFactory
from tests.factories.firewall import EventFactory, make_policy
from tests.factories.keys import make_key
from workspaces import tenancy
from workspaces.permissions import Role

NOON = datetime(2026, 11, 18, 12, tzinfo=UTC)


@pytest.fixture
def noon(time_machine):
    """A Wednesday: half a day and two and a half days of the week are over."""
    time_machine.move_to(NOON, tick=False)


def text_of(answer) -> str:
    assert answer.status_code == 200, answer.content[:800]
    return " ".join(answer.content.decode().split())


def spend(acme, key, micro_usd: int, at: datetime = NOON - timedelta(minutes=5), run: str = "run-1") -> None:
    UsageFactory(workspace=acme.workspace, key_id=key.pk, cost_micro_usd=micro_usd, at=at, agent_run_id=run)
    book(acme, key, micro_usd, at)


def book(acme, key, micro_usd: int, at: datetime) -> None:
    """Into the sums of days: the ledger's rows of days that are over are not read any more."""
    with tenancy.scope(acme.workspace.pk):
        day, _ = acme.workspace.ledger_days.get_or_create(day=at.date(), key_id=key.pk, member_id=key.created_by_id, defaults={"spent_micro_usd": 0})
        day.spent_micro_usd += micro_usd
        day.save()


def test_each_ceiling_tells_what_the_present_pace_comes_to(acme, noon):
    key, _ = make_key(acme, at=NOON - timedelta(days=60), cycle="week", cycle_limit_micro_usd=20_000_000, credit_limit_micro_usd=45_000_000, name="hasty")
    person = acme.person(Role.DEVELOPER)
    with tenancy.scope(acme.workspace.pk):
        acme.workspace.budgets.create(limit_micro_usd=100_000_000)
        acme.workspace.budgets.create(limit_micro_usd=15_000_000, member=person)
    spend(acme, key, 15_000_000, at=NOON - timedelta(days=1))
    page = text_of(acme.client(Role.DEVELOPER).get(f"/keys/{key.pk}/"))
    ceilings = page.partition('id="ceilings"')[2].partition("Spend per hour")[0]
    # 15 of 20 dollars in two and a half days: the rest in twenty hours. Of the life 30 are left at two a day.
    assert "At this week's pace it is reached <time datetime=\"2026-11-19T08:00:00" in ceilings
    assert "At the pace of the last 7 days it is reached" in ceilings
    assert "At this month's pace" not in ceilings
    assert "Reached: every call is refused until then." in ceilings
    assert 'hx-trigger="every 5s"' in ceilings


def test_each_run_has_its_ceiling_by_the_policy_and_the_dearest_is_named(acme, noon):
    policy = make_policy(acme.workspace, acme.person(Role.OWNER), {"verdict": "cap_cost", "cap_cost_cents": 200, "label": "Run cost cap"}, name="agents-prod")
    key, _ = make_key(acme, firewall_policy=policy)
    browser = acme.client(Role.DEVELOPER)
    page = text_of(browser.get(f"/keys/{key.pk}/"))
    assert "$2.00 each" in page
    assert "No run today" in page
    spend(acme, key, 1_120_000, run="dear")
    spend(acme, key, 120_000, run="cheap")
    spend(acme, key, 1_900_000, run="yesterday", at=NOON - timedelta(days=1))
    page = text_of(browser.get(f"/keys/{key.pk}/"))
    assert f'href="/runs/{key.pk}/dear/">dear</a>, $1.12' in page
    assert "in shadow" not in page
    with tenancy.scope(acme.workspace.pk):
        acme.workspace.policies.update(shadow_mode=True)
    assert "in shadow: it denies nothing yet" in text_of(browser.get(f"/keys/{key.pk}/"))


def test_figures_are_those_of_today_and_of_its_life(acme, noon):
    key, _ = make_key(acme, at=NOON - timedelta(days=60))
    spend(acme, key, 2_000_000)
    # What the ledger remembers of a life counts, whether or not the calls are still on record.
    book(acme, key, 5_000_000, NOON - timedelta(days=40))
    for at in (NOON - timedelta(hours=1), NOON - timedelta(days=1)):
        EventFactory(workspace=acme.workspace, key_id=key.pk, verdict="deny", at=at)
    page = text_of(acme.client(Role.DEVELOPER).get(f"/keys/{key.pk}/"))
    figures = page.partition("Spent today")[2].partition("Last used")[0]
    assert [word for word in ("$2.00", "$7.00", ">1<") if word not in figures] == []
    assert figures.count(">1<") == 2


def test_usage_of_a_single_key_is_for_developers(acme, noon):
    key, _ = make_key(acme, cycle_limit_micro_usd=9_000_000)
    spend(acme, key, 3_210_000)
    for path in (f"/keys/{key.pk}/", "/keys/"):
        assert "$3.21" in text_of(acme.client(Role.DEVELOPER).get(path))
    page = text_of(acme.client(Role.MEMBER).get(f"/keys/{key.pk}/"))
    assert not any(words in page for words in ("Spent today", "Calls today", "Denied today", "Spend per hour", "No call yet"))
    assert "7 days" not in text_of(acme.client(Role.MEMBER).get("/keys/"))
