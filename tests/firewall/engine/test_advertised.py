"""The tools of one request: which one the refusal names, and which events are recorded."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firewall.engine.advertised import MAX_OFFERS, MAX_TOOLS, decide_advertised, least_cap_micro_usd, named_refusal
from firewall.engine.decide import decide, decide_request, is_within_caps, over
from firewall.engine.types import Policy, Rule, RunState, Surface, ToolCall, Verdict
from tests.firewall.engine.strategies import money, names, policies, whole_policies

GOVERNED = Policy(
    id=1,
    name="agents",
    version=1,
    default_verdict=Verdict.DENY,
    shadow_mode=False,
    rules=(
        Rule(1, 10, "", None, "web.search", Verdict.ALLOW),
        Rule(2, 20, "", None, "kb.*", Verdict.AUDIT),
        Rule(4, 30, "No shell", None, "shell.*", Verdict.DENY),
        Rule(3, 40, "No mail", None, "mail.*", Verdict.DENY),
    ),
)


def advertise(policy: Policy | None, tools: list[str], *, observe_mode: bool = False):
    offered = decide_advertised(policy, tuple(tools), RunState(), observe_mode=observe_mode)
    return named_refusal(policy, offered), list(offered.rows)


@pytest.mark.parametrize(
    ("tools", "named"),
    [
        (["web.search", "kb.read"], None),
        ([], None),
        (["web.search", "shell.exec"], "shell.exec"),
        (["mail.send", "shell.exec"], "shell.exec"),  # by rule order, not by the request's
        (["shell.run", "shell.exec"], "shell.run"),
        (["other", "mail.send"], "mail.send"),  # the default comes after all rules
        (["shell.exec", "bad name"], "bad name"),  # and a bad name before them
    ],
)
def test_the_denied_tool_that_comes_first_by_rule_order_is_named(tools, named):
    refusal, _ = advertise(GOVERNED, tools)
    assert (refusal and refusal[0]) == named


def test_a_refusal_lists_every_denied_tool():
    (name, decision), _ = advertise(GOVERNED, ["other", "web.search", "mail.send", "shell.exec", "bad\nname"])
    assert (name, decision.reason_code) == ("bad\nname", "bad_tool_name")
    assert decision.factors == (
        "other: no rule matched and the default is deny",
        'mail.send: matched mail.* (rule "No mail")',
        'shell.exec: matched shell.* (rule "No shell")',
        r"bad\nname: a tool name is 1 to 128 letters, digits and _ . : / - and this one is not",
    )


def test_plain_decisions_share_a_row_and_those_with_a_consequence_do_not():
    _, recorded = advertise(GOVERNED, ["kb.a", "shell.a", "web.search", "kb.b", "shell.b"])
    assert [(row.decision.verdict, row.tools) for row in recorded] == [
        ("deny", ("shell.a",)),
        ("deny", ("shell.b",)),
        ("audit", ("kb.a", "kb.b")),
        ("allow", ("web.search",)),
    ]


def test_what_shadow_mode_let_through_has_a_row_of_its_own():
    refusal, recorded = advertise(replace(GOVERNED, shadow_mode=True), ["shell.a", "shell.b", "kb.a"])
    assert refusal is None
    assert [(row.decision.verdict, row.decision.shadow, row.tools) for row in recorded] == [
        ("audit", True, ("shell.a",)),
        ("audit", True, ("shell.b",)),
        ("audit", False, ("kb.a",)),
    ]


def test_without_a_policy_nothing_is_recorded_unless_observed():
    assert advertise(None, ["a", "b"]) == (None, [])
    refusal, (row,) = advertise(None, ["a", "b"], observe_mode=True)
    assert refusal is None
    assert (row.decision.verdict, row.tools) == ("observe", ("a", "b"))


@given(policies, st.lists(names, max_size=8))
def test_every_tool_is_recorded_once_and_every_denied_one_is_refused(policy, tools):
    offered = decide_advertised(policy, tuple(tools), RunState())
    decisions, recorded = offered.decisions, offered.rows
    assert sorted(name for row in recorded for name in row.tools) == sorted(tools)
    expected = dict(zip(tools, decisions, strict=True))
    assert all(expected[name] == row.decision for row in recorded for name in row.tools)
    assert all(len(row.tools) == 1 for row in recorded if row.decision.blocks or row.decision.shadow)
    refusal = named_refusal(policy, offered)
    denied = [decision for decision in decisions if decision.blocks]
    assert len(refusal[1].factors if refusal else ()) == len(denied)


@given(whole_policies, st.lists(st.sampled_from(["kb", "shell.rm", "exec", "a", "bad name"]), max_size=4), st.lists(money, min_size=2, max_size=5))
def test_what_is_remembered_of_an_offer_is_what_would_be_said_of_it_now(policy, tools, runs):
    for run in runs:
        each = [decide(policy, ToolCall(Surface.INBOUND, name), run) for name in tools]
        assert list(decide_advertised(policy, tuple(tools), run).decisions) == each


@given(whole_policies, st.lists(money, min_size=2, max_size=5))
def test_what_is_remembered_of_a_request_is_what_would_be_said_of_it_now(policy, runs):
    for run in runs:
        assert is_within_caps(policy, run) is not any(over(line.rule, run) for line in policy.caps)
        assert decide_request(policy, run) == decide_request(replace(policy), run)


@given(whole_policies, st.lists(st.sampled_from(["kb", "shell.rm", "exec", "a", "bad name"]), max_size=3))
def test_the_least_cap_of_a_request_is_the_least_of_those_that_it_meets(policy, tools):
    met = [decide_request(policy, RunState()), *(decide(policy, ToolCall(Surface.INBOUND, name), RunState()) for name in tools)]
    expected = min((cap.cap_micro_usd for decision in met if decision for cap in decision.caps), default=None)
    assert least_cap_micro_usd(policy, tuple(tools[:1]), tuple(tools[1:])) == expected


def test_an_offer_that_was_within_its_cap_is_refused_once_the_run_is_over_it():
    governed = replace(GOVERNED, default_verdict=Verdict.ALLOW, rules=(Rule(1, 1, "", None, "web.*", Verdict.CAP_COST, cap_micro_usd=5),))
    offered = [decide_advertised(governed, ("web.search", "kb.read"), RunState(estimate_micro_usd=cost)) for cost in (5, 6, 5)]
    assert [[decision.verdict for decision in each.decisions] for each in offered] == [
        [Verdict.ALLOW, Verdict.ALLOW],
        [Verdict.DENY, Verdict.ALLOW],
        [Verdict.ALLOW, Verdict.ALLOW],
    ]


def test_of_too_many_offers_the_one_that_was_not_met_for_longest_is_forgotten():
    governed = replace(GOVERNED)
    regular = ("web.search", "kb.read")
    known = decide_advertised(governed, regular, RunState())
    for number in range(MAX_TOOLS + 1):
        decide_advertised(governed, (f"kb.{number}",), RunState())
        assert decide_advertised(governed, regular, RunState()) is known
    assert (len(governed.offers), len(governed.offered_tools)) == (MAX_OFFERS, MAX_TOOLS)
    assert list(governed.offers)[-2:] == [(f"kb.{MAX_TOOLS}",), regular]


def test_names_that_no_tool_may_have_are_not_remembered():
    governed = replace(GOVERNED, shadow_mode=True)
    decide_advertised(governed, ("web.search", "x" * 100_000), RunState())
    assert (list(governed.offers), list(governed.offered_tools)) == ([], ["web.search"])
