"""What a change would let through, against decisions themselves."""

import random
from dataclasses import replace

import pytest

from firewall.engine.conditions import Clause, Operator
from firewall.engine.decide import decide
from firewall.engine.loosening import UNNAMED, let_through
from firewall.engine.types import Policy, Rule, RunState, Surface, ToolCall, Verdict


def policy(*rules: tuple[str, Verdict], default: Verdict = Verdict.ALLOW, **fields) -> Policy:
    made = tuple(Rule(number, 10 * number, "", None, glob, verdict) for number, (glob, verdict) in enumerate(rules, start=1))
    return Policy(id=1, name="p", version=1, default_verdict=default, rules=made, **{"shadow_mode": False} | fields)


DENY_SHELL = policy(("shell.*", Verdict.DENY))


@pytest.mark.parametrize(
    ("before", "after", "through"),
    [
        (DENY_SHELL, policy(), ["shell.*"]),
        (DENY_SHELL, policy(("shell.*", Verdict.AUDIT)), ["shell.*"]),
        (DENY_SHELL, policy(("shell.exec", Verdict.DENY)), ["shell.*"]),
        (DENY_SHELL, policy(("shell.ls", Verdict.ALLOW), ("shell.*", Verdict.DENY)), ["shell.ls"]),
        (DENY_SHELL, policy(("shell.*", Verdict.DENY), shadow_mode=True), ["shell.*"]),
        (DENY_SHELL, None, ["shell.*"]),
        (DENY_SHELL, policy(("shell.*", Verdict.DENY), default=Verdict.DENY), []),
        (None, DENY_SHELL, []),
        (policy(default=Verdict.DENY), policy(default=Verdict.AUDIT), [UNNAMED]),
        (policy(default=Verdict.DENY), policy(("kb.*", Verdict.ALLOW), default=Verdict.DENY), ["kb.*"]),
        (policy(("*", Verdict.DENY)), policy(("", Verdict.ALLOW)), [UNNAMED]),
    ],
)
def test_what_a_change_lets_through_is_named(before, after, through):
    assert let_through(before, after) == through


def clause(value: str) -> dict:
    return {"args_match": (Clause("$.command", Operator.REGEX, value),)}


def test_a_rule_with_conditions_counts_as_all_that_it_may_match():
    stops = [policy(), *(policy_of(Verdict.DENY, **clause(value)) for value in ("rm", "rm -rf"))]
    assert let_through(stops[1], stops[0]) == ["shell.*"]
    assert let_through(stops[1], stops[2]) == ["shell.*"]
    assert let_through(stops[0], stops[1]) == let_through(stops[1], stops[1]) == []
    closed = policy(default=Verdict.DENY)
    opened = replace(policy_of(Verdict.ALLOW, **clause("ls")), default_verdict=Verdict.DENY)
    assert let_through(closed, opened) == ["shell.*"]
    assert let_through(opened, opened) == let_through(opened, closed) == []


def test_a_cap_that_goes_lets_through():
    capped = policy_of(Verdict.CAP_COST, cap_micro_usd=1)
    assert let_through(capped, policy()) == ["shell.*"]
    assert let_through(policy(), capped) == let_through(capped, capped) == []


def policy_of(verdict: Verdict, **fields) -> Policy:
    return replace(policy(), rules=(Rule(1, 10, "", None, "shell.*", verdict, **fields),))


def test_nothing_is_asked_when_nothing_loosens_and_something_when_a_seen_tool_does():
    chance = random.Random(3)
    globs, tools = ["a.*", "*.b", "a.b", "*.x.*", "", "c"], ["a.b", "a.c", "d.b", "b", "q.x.q", "c", "z"]

    def some():
        rules = [(chance.choice(globs), chance.choice([Verdict.ALLOW, Verdict.DENY])) for _ in range(chance.randrange(4))]
        return policy(*rules, default=chance.choice([Verdict.ALLOW, Verdict.DENY]))

    for _ in range(3_000):
        before, after = some(), some()
        found = let_through(before, after, seen=tools)
        for tool in tools:
            call = ToolCall(Surface.RESPONSE, tool)
            loosened = decide(before, call, RunState()).blocks and not decide(after, call, RunState()).blocks
            assert not loosened or tool in found
        assert let_through(before, before, seen=tools) == []
