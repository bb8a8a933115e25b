"""What a key's limits mean in words, and what a change opens."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest

from keys.engine.ceilings import NO_LIMITS, Cycle, Limits
from keys.engine.scope import ModelList, Scope
from keys.engine.words import Openness, gates, loosened, sentence
from workspaces.engine.client_address import parse_network

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
NARROW = Scope(expires_at=NOW + timedelta(days=90), networks=(parse_network("10.0.0.0/24"),), models=ModelList(("a", "b")))


@dataclass
class Named:
    name: str = "agents-prod"
    shadow_mode: bool = False


def test_the_sentence_says_what_where_and_how_long():
    assert sentence(NARROW, Limits(25_000_000, 500_000, Cycle.DAY), Named(), NOW) == (
        "It may call a and b from 10.0.0.0/24; it may spend $0.50 a day, $25 in all; it expires on 20 Feb 2027, 12:00 UTC. agents-prod judges its tools."
    )
    assert sentence(Scope(), NO_LIMITS, None, NOW) == (
        "It may call any model from any address; it may spend without a ceiling of its own; it never expires. "
        "No policy judges its tools: every tool call passes."
    )
    many = Scope(models=ModelList(("a", "b", "c", "d")), expires_at=NOW)
    assert sentence(many, NO_LIMITS, Named(shadow_mode=True), NOW).startswith("It may call 4 listed models from any address; it may spend")
    assert "no model at all" in sentence(Scope(models=ModelList(())), NO_LIMITS, None, NOW)


def test_a_gate_is_closed_only_by_what_is_enforced():
    for limits in (Limits(credit_limit_micro_usd=1), Limits(cycle_limit_micro_usd=1)):
        assert [gate.is_closed for gate in gates(NARROW, limits, Named(), NOW)] == [True, True, True, True, False, True]
    assert [gate.is_closed for gate in gates(Scope(), NO_LIMITS, None, NOW)] == [False] * 6
    budgets = Limits(workspace_month_micro_usd=1, member_month_micro_usd=1)
    assert gates(NARROW, budgets, Named(), NOW)[2].is_closed is False
    assert gates(NARROW, NO_LIMITS, Named(shadow_mode=True), NOW)[5].is_closed is False


@pytest.mark.parametrize("networks", ["0.0.0.0/0", "::/0", "10.0.0.1 0.0.0.0/1 128.0.0.0/1", "::/1 8000::/1"])
def test_a_list_of_every_address_or_model_closes_no_gate(networks):
    wide = replace(NARROW, networks=tuple(map(parse_network, networks.split())), models=ModelList(("a", "*")))
    models, addresses, *_ = gates(wide, NO_LIMITS, None, NOW)
    assert (models.is_closed, models.says) == (False, "any model")
    assert (addresses.is_closed, "works from anywhere" in addresses.says) == (False, True)
    opened = loosened(Openness(NARROW, None, False), Openness(wide, None, False))
    assert opened == ["It may call any model.", "It works from any address."]
    assert bool(loosened(Openness(wide, None, False), Openness(NARROW, None, False))) == (":" in networks)


@pytest.mark.parametrize(
    ("after", "opens"),
    [
        ({}, []),
        ({"models": None}, ["It may call any model."]),
        ({"models": ModelList(("a", "b", "c"))}, ["It may call c as well."]),
        ({"models": ModelList(("a",))}, []),
        ({"networks": ()}, ["It works from any address."]),
        ({"networks": (parse_network("10.0.0.128/25"),)}, []),
        ({"networks": (parse_network("10.0.0.0/8"),)}, ["It works from 10.0.0.0/8 as well."]),
        ({"networks": (parse_network("10.0.0.0/24"), parse_network("::1"))}, ["It works from ::1/128 as well."]),
        ({"expires_at": None}, ["It never expires."]),
        ({"expires_at": NOW}, []),
        ({"expires_at": NOW + timedelta(days=91)}, ["It lives until 21 Feb 2027, 12:00 UTC."]),
    ],
)
def test_a_change_of_scope_that_opens_is_said(after, opens):
    assert loosened(Openness(NARROW, "p", False), Openness(replace(NARROW, **after), "p", False)) == opens


def test_another_policy_and_the_gateway_switch_open_and_their_opposites_do_not():
    before = Openness(NARROW, "strict", False)
    assert len(loosened(before, replace(before, policy=None))) == len(loosened(before, replace(before, is_gateway=True))) == 1
    assert loosened(replace(before, policy=None, is_gateway=True), before) == []


def test_a_model_within_a_listed_glob_opens_nothing():
    wide = replace(NARROW, models=ModelList(("gpt-4.*",)))
    for entry, opens in (("gpt-4.1", []), ("gpt-4.1.*", []), ("gpt-5", ["It may call gpt-5 as well."])):
        assert loosened(Openness(wide, None, False), Openness(replace(wide, models=ModelList((entry,))), None, False)) == opens


@pytest.mark.parametrize(
    ("before", "after", "opens"),
    [
        (Limits(5_000_000), Limits(5_000_000), []),
        (Limits(5_000_000), Limits(4_000_000), []),
        (Limits(), Limits(4_000_000), []),
        (Limits(5_000_000), Limits(), ["It has no ceiling over its life any more."]),
        (Limits(5_000_000), Limits(5_500_000), ["It may spend $5.50 in all, $5 until now."]),
        (Limits(0, 10_000_000, Cycle.MONTH), Limits(0, 1_000_000, Cycle.DAY), ["It may spend $1 a day, $10 a month until now."]),
        (Limits(0, 10_000_000, Cycle.DAY), Limits(0, 20_000_000, Cycle.WEEK), []),
        (Limits(0, 125, Cycle.DAY), Limits(), ["It has no ceiling a day any more, $0.000125 a day until now."]),
    ],
)
def test_more_money_is_said(before, after, opens):
    assert loosened(Openness(NARROW, "p", False, before), Openness(NARROW, "p", False, after)) == opens
