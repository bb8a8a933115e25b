"""What a key's limits mean in words, and what a change opens."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest

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
    assert sentence(NARROW, Named(), NOW) == "It may call a and b from 10.0.0.0/24; it expires on 20 Feb 2027, 12:00 UTC. agents-prod judges its tools."
    assert sentence(Scope(), None, NOW) == "It may call any model from any address; it never expires. No policy judges its tools: every tool call passes."
    many = Scope(models=ModelList(("a", "b", "c", "d")), expires_at=NOW)
    assert sentence(many, Named(shadow_mode=True), NOW).startswith("It may call 4 listed models from any address; it expired on 22 Nov")
    assert "no model at all" in sentence(Scope(models=ModelList(())), None, NOW)


def test_a_gate_is_closed_only_by_what_is_enforced():
    assert [gate.is_closed for gate in gates(NARROW, Named(), NOW)] == [True, True, True, True]
    assert [gate.is_closed for gate in gates(Scope(), None, NOW)] == [False, False, False, False]
    assert gates(NARROW, Named(shadow_mode=True), NOW)[3].is_closed is False


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
