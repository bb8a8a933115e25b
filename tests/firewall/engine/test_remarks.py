"""Remarks on a policy: they are true, and the usual mistakes get one."""

from dataclasses import replace

import pytest
from hypothesis import given

from firewall.engine import sequence
from firewall.engine.compile import Line, Seen
from firewall.engine.conditions import Clause, Operator
from firewall.engine.decide import walk
from firewall.engine.egress import EgressLists
from firewall.engine.remarks import Fix, Warning, _Earlier, covers, narrowed, warnings
from firewall.engine.sequence import Chain, Step
from firewall.engine.types import Policy, Rule, RunState, Surface, Verdict
from tests.figures import dear
from tests.firewall.engine.strategies import policies_and_calls, whole_policies

MATCHER = (Clause("$.a", Operator.EQ, 1),)


def told(*rules: Rule) -> list[tuple[int, str]]:
    policy = Policy(id=1, name="p", version=1, default_verdict=Verdict.ALLOW, shadow_mode=False, rules=rules)
    return [(warning.rule_id, warning.code) for warning in warnings(policy)]


def rule(number: int, glob: str, verdict: Verdict = Verdict.DENY, **fields: object) -> Rule:
    return Rule(number, number, "", fields.pop("stage", None), glob, verdict, **fields)


@pytest.mark.parametrize(
    ("first", "second", "is_told"),
    [
        ("*", "kb.read", True),
        ("kb.*", "kb.read", True),
        ("kb.*", "kb.docs.*", True),
        ("*.exec", "shell.exec", True),
        ("*.exec", "exec", True),
        ("*.shell.*", "local.shell.exec", True),
        ("*.shell.*", "*.x.shell.y.*", True),
        ("kb.read", "kb.*", False),
        ("kb.*", "kb", False),
        ("kb.*", "*.read", False),
        ("*.shell.*", "*.shell.exec", False),
    ],
)
def test_a_rule_behind_a_wider_one_is_never_reached(first, second, is_told):
    assert told(rule(1, first), rule(2, second)) == ([(2, "never_reached")] if is_told else [])
    assert told(rule(1, first, args_match=MATCHER), rule(2, second)) == []
    assert told(rule(1, first, stage=Surface.MCP), rule(2, second)) == []
    assert told(rule(1, first, enabled=False), rule(2, second)) == []


def test_a_rule_with_conditions_is_behind_one_that_asks_for_less():
    both = (*MATCHER, Clause("$.b", Operator.EQ, 2))
    lists = EgressLists(deny=("10.0.0.0/8",))
    assert told(rule(1, "kb.*", args_match=MATCHER), rule(2, "kb.read", args_match=both)) == [(2, "never_reached")]
    assert told(rule(1, "kb.*", args_match=both), rule(2, "kb.read", args_match=MATCHER)) == []
    assert told(rule(1, "kb.*", args_match=MATCHER), rule(2, "kb.read", args_match=(Clause("$.a", Operator.EQ, True),))) == []
    assert told(rule(1, "kb.*", Verdict.ALLOW, args_match=MATCHER), rule(2, "kb.*", args_match=MATCHER)) == [], "bad arguments are left to the second"
    assert told(rule(1, "*", egress=lists), rule(2, "kb.*", egress=lists)) == [(2, "never_reached")]
    assert told(rule(1, "*", egress=lists), rule(2, "kb.*", egress=EgressLists(deny=("10.1.0.0/16",)))) == []
    assert told(rule(1, "*", skill_name_glob="mail"), rule(2, "kb.*")) == []
    assert told(rule(1, "*", sequence=Chain(0, (Step("kb.*"),))), rule(2, "kb.*")) == [], "matched afterwards it decides nothing"


def test_a_cap_behind_an_allow_is_not_met():
    cap = rule(2, "*", Verdict.CAP_COST, cap_micro_usd=1)
    assert told(rule(1, "kb.*", Verdict.ALLOW), cap) == [(2, "cap_shadowed")]
    assert told(rule(1, "kb.*", Verdict.DENY), cap) == []
    assert told(cap, rule(3, "kb.*", Verdict.ALLOW)) == []
    assert told(rule(2, "*", Verdict.CAP_COST, stage=Surface.RESPONSE, cap_micro_usd=1)) == [(2, "cap_inert")]

    of_some = rule(2, "kb.*", Verdict.CAP_COST, cap_micro_usd=1)
    assert told(rule(1, "*", Verdict.ALLOW), of_some) == [(2, "cap_shadowed")]
    assert told(rule(1, "*"), of_some) == [(2, "never_reached")]


def test_a_cap_on_every_call_is_met_by_each_request_wherever_it_stands():
    cap = rule(2, "*", Verdict.CAP_COST, cap_micro_usd=1)
    assert told(rule(1, "*", Verdict.ALLOW), cap) == [(2, "cap_shadowed")], "of calls at the hook"
    assert told(rule(1, "*"), cap) == []
    assert told(rule(1, "*", Verdict.ALLOW, stage=Surface.INBOUND), cap) == []
    assert told(rule(1, "*", Verdict.ALLOW), rule(2, "*", Verdict.CAP_COST, stage=Surface.INBOUND, cap_micro_usd=1)) == []


def test_globs_that_are_not_what_they_look_like():
    assert told(rule(1, "foo*")) == [(1, "literal_looks_like_glob")]
    assert told(rule(1, "kb.*", skill_name_glob="mail*")) == [(1, "literal_looks_like_glob")]
    assert told(rule(1, "", sequence=Chain(0, (Step("db*"), Step("*"))))) == [(1, "literal_looks_like_glob")]
    assert told(rule(1, "*.exec", Verdict.ALLOW)) == [(1, "loose_suffix")]
    assert told(rule(1, "kb.*", args_match=MATCHER, stage=Surface.INBOUND)) == [(1, "never_matches")]


def test_what_mends_a_warning_is_named():
    def fixes(*rules: Rule) -> list[tuple[str, object]]:
        policy = Policy(id=1, name="p", version=1, default_verdict=Verdict.ALLOW, shadow_mode=False, rules=rules)
        return [(fix.name, fix.value) for warning in warnings(policy) for fix in warning.fixes]

    assert fixes(rule(1, "shell*")) == [("tool_name_glob", "shell.*")]
    assert fixes(rule(1, "*exec*")) == [("tool_name_glob", "*.exec.*")]
    assert fixes(rule(1, "a*b")) == [], "nobody knows what was meant"
    assert fixes(rule(1, "*.exec", Verdict.ALLOW)) == [], "nor which tools were"
    assert fixes(rule(1, "kb.*", skill_name_glob="mail*")) == [("skill_name_glob", "mail.*")]
    chain = fixes(rule(1, "", sequence=Chain(60, (Step("db*", 3), Step("*", egress=True)))))
    assert chain == [("sequence", Chain(60, (Step("db.*", 3), Step("*", egress=True))).as_json())]
    assert fixes(rule(1, "*"), rule(2, "kb.*", enabled=False), rule(3, "kb.read")) == [("above", 1), ("remove", None)]
    assert fixes(rule(1, "a"), rule(2, "kb.*", Verdict.ALLOW), rule(3, "*", Verdict.CAP_COST, cap_micro_usd=1)) == [("above", 1)]


def test_a_loose_glob_is_narrowed_to_the_one_tool_that_was_seen():
    policy = Policy(id=1, name="p", version=1, default_verdict=Verdict.DENY, shadow_mode=False, rules=(rule(1, "*.read", Verdict.ALLOW),))
    (warned,) = warnings(policy)
    assert [fix.value for fix in narrowed(warned, "*.read", ["kb.read", "kb.write"]).fixes] == ["kb.read"]
    assert narrowed(warned, "*.read", ["kb.read", "secrets.read"]) == narrowed(warned, "*.read", []) == warned


def _mended(policy: Policy, warned: Warning, fix: Fix) -> Policy:
    kept = [each for each in policy.rules if each.id != warned.rule_id]
    own = next(each for each in policy.rules if each.id == warned.rule_id)
    if fix.name == "above":
        kept.insert(next(place for place, each in enumerate(kept) if each.id == fix.value), own)
    elif fix.name != "remove":
        read = {"stage": lambda text: Surface(text) if text else None, "sequence": sequence.read}.get(fix.name, str)
        kept.insert(policy.rules.index(own), replace(own, **{fix.name: read(fix.value)}))
    return replace(policy, rules=tuple(replace(each, priority=place) for place, each in enumerate(kept)))


@given(policies_and_calls)
def test_what_mends_a_warning_takes_it_away(drawn):
    policy, _ = drawn
    for warned in warnings(policy):
        for fix in warned.fixes:
            left = [(each.rule_id, each.text) for each in warnings(_mended(policy, warned, fix))]
            assert (warned.rule_id, warned.text) not in left, fix


@dear
@given(whole_policies)
def test_the_rules_before_one_that_cover_it_are_found_without_looking_at_each(policy):
    every = [Line(rule) for rule in policy.rules]
    for place, line in enumerate(every):
        earlier = _Earlier()
        for before in every[:place]:
            earlier.add(before)
        said = [set(map(repr, each.rule.args_match)) for each in every]
        slow = [each for number, each in enumerate(every[:place]) if covers(each.glob, line.glob) and said[number] <= said[place]]
        assert list(earlier.covering(line)) == slow


@given(policies_and_calls)
def test_what_is_called_never_reached_never_decides(drawn):
    policy, call = drawn
    unreached = {warning.rule_id for warning in warnings(policy) if warning.code == "never_reached"}
    by = walk(policy, Seen(call, RunState())).by
    assert "__" in call.name or getattr(getattr(by, "rule", None), "id", None) not in unreached
