"""What a change would let through, against decisions themselves."""

import random

import pytest

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
