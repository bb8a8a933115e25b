"""The whole rule language against the naive interpreter: conditions, caps, sequences, and the walk told step by step."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firewall.engine.afterwards import Past, advance, completed, in_order, replayed
from firewall.engine.conditions import Clause, Operator
from firewall.engine.decide import decide, decide_request
from firewall.engine.egress import EgressLists
from firewall.engine.explain import explain
from firewall.engine.sanitize import Sanitizers
from firewall.engine.sequence import Chain, Step
from firewall.engine.types import Cap, Policy, ReasonCode, Rule, RunState, Surface, ToolCall, Verdict
from tests.figures import promised
from tests.firewall.engine import reference
from tests.firewall.engine.strategies import histories, money, one_rule_policies, whole_calls, whole_policies

FRESH = RunState()
EMAIL = Sanitizers(("email",))


def rule(number: int, verdict: Verdict, glob: str = "*", **fields: object) -> Rule:
    return Rule(number, number, "", fields.pop("stage", None), glob, verdict, **fields)


def policy(*rules: Rule, default: Verdict = Verdict.ALLOW, **fields: object) -> Policy:
    return Policy(id=7, name="agents", version=4, default_verdict=default, shadow_mode=fields.pop("shadow", False), rules=rules, **fields)


def say(of: Policy, arguments: str | None = "{}", surface: Surface = Surface.RESPONSE, run: RunState = FRESH, name: str = "shell.exec"):
    return decide(of, ToolCall(surface, name, arguments), run)


def clause(path: str, op: str, value: object) -> tuple[Clause, ...]:
    return (Clause(path, Operator(op), value),)


# --- Against the naive interpreter -----------------------------------------------------------------------------------
@promised
@given(whole_policies, whole_calls, money, histories)
def test_decisions_agree_with_the_naive_interpreter(governed, call, run, earlier):
    history: list[reference.Past] = []
    for past, later_ms in earlier:
        if past.surface is Surface.INBOUND:
            continue
        run = replace(run, at_ms=run.at_ms + later_ms)
        goals = reference.goals_of(past, reference.read_arguments(past.arguments))
        seen = reference.Past(past.name, run.at_ms, past.surface is Surface.EGRESS or bool(goals))
        found = {each.rule_id for each in completed(governed, past, run)}
        assert found == {
            each.id
            for each in governed.rules
            if each.enabled and each.sequence and not each.sequence.is_inline and each.stage in (None, past.surface)
            if reference.completes(each.sequence, [*history, seen])
        }
        run = advance(governed, past, run)
        history.append(seen)

    decision = decide(governed, call, run)

    assert (decision.verdict, decision.rule_id, decision.shadow) == reference.judge(governed, call, run, history)
    assert decision.verdict is not Verdict.CAP_COST
    assert decision.reason
    assert (decision.reason_code is not None) == (decision.verdict is Verdict.DENY or (decision.shadow and "would deny" in decision.reason))
    assert not (decision.arguments is not None and decision.verdict is not Verdict.SANITIZE)
    assert not (decision.caps and decision.verdict is Verdict.DENY)


@promised
@given(one_rule_policies, whole_calls, money)
def test_each_condition_agrees_with_the_naive_interpreter(governed, call, run):
    decision = decide(governed, call, run)
    assert (decision.verdict, decision.rule_id, decision.shadow) == reference.judge(governed, call, run, [])


@given(whole_policies, whole_calls, money)
def test_the_walk_that_is_told_is_the_walk_that_decides(governed, call, run):
    decision, steps = decide(governed, call, run), explain(governed, call, run)
    assert [step.rule_id for step in steps] == [rule.id for rule in governed.rules]
    assert all(step.why for step in steps)
    matched = [step.rule_id for step in steps if step.matched]
    caps = [cap.rule_id for cap in decision.caps]
    if decision.rule_id is None:
        assert decision.reason_code in (None, ReasonCode.DEFAULT_DENY, ReasonCode.BAD_TOOL_NAME, ReasonCode.EGRESS_NO_DESTINATION, ReasonCode.RUN_LIMIT)
        assert all(governed.rules[[r.id for r in governed.rules].index(each)].verdict is Verdict.CAP_COST for each in matched)
    else:
        assert decision.rule_id in matched
        assert caps == [each for each in matched if each in caps]


@given(whole_policies, st.lists(whole_calls, max_size=4), whole_calls, money)
def test_what_a_policy_remembers_changes_no_decision(governed, earlier, call, run):
    fresh = decide(replace(governed), call, run)
    for each in earlier:
        decide(governed, each, run)
        decide_request(governed, run)
    assert decide(governed, call, run) == fresh


# --- Arguments --------------------------------------------------------------------------------------------------------
def test_a_rule_with_clauses_matches_where_all_of_them_hold():
    governed = policy(rule(1, Verdict.DENY, "shell.*", args_match=clause("$.command", "regex", "rm -rf") + clause("$.force", "eq", True)))
    assert say(governed, '{"command": "sudo rm -rf /", "force": true}').reason_code is ReasonCode.RULE_DENY
    assert say(governed, '{"command": "sudo rm -rf /", "force": 1}').verdict is Verdict.ALLOW
    assert say(governed, '{"command": "ls"}').verdict is Verdict.ALLOW
    assert say(governed, None, Surface.INBOUND).verdict is Verdict.ALLOW


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{", '{"a": 1, "a": 2}', '{"a": NaN}', '{"a": 1e999}', "{}{}", "\ufeff{}", "{}\x0b", "\u00a0{}", "{}\u2028", '{"a":' * 65 + "1" + "}" * 65],
)
def test_arguments_that_cannot_be_read_are_stopped_and_never_let_through(text):
    matcher = clause("$.command", "eq", "ls")
    stopped = say(policy(rule(1, Verdict.DENY, args_match=matcher)), text)
    assert (stopped.verdict, stopped.reason_code, stopped.rule_id) == (Verdict.DENY, ReasonCode.BAD_ARGUMENTS, 1)
    assert say(policy(rule(1, Verdict.ALLOW, args_match=matcher), default=Verdict.DENY), text).reason_code is ReasonCode.DEFAULT_DENY
    assert say(policy(rule(1, Verdict.SANITIZE, args_match=matcher, sanitize=EMAIL)), text).reason_code is ReasonCode.BAD_ARGUMENTS
    assert say(policy(rule(1, Verdict.SANITIZE, sanitize=EMAIL)), text).reason_code is ReasonCode.BAD_ARGUMENTS
    assert say(policy(rule(1, Verdict.PENDING_APPROVAL, args_match=matcher)), text).verdict is Verdict.PENDING_APPROVAL


@pytest.mark.parametrize(("verdict", "matches"), [("deny", True), ("sanitize", True), ("pending_approval", True), ("cap_cost", True), ("allow", False)])
def test_all_that_restrain_a_call_read_its_addresses_and_its_name_widely(verdict, matches):
    wide = rule(1, Verdict(verdict), "a.b", args_match=clause("$.ip", "cidr_match", "10.0.0.0/8"), sanitize=EMAIL, cap_micro_usd=0)
    (step,) = explain(policy(wide), ToolCall(Surface.MCP, "a.b", '{"ip": "0xA000001"}'), RunState(estimate_micro_usd=1))
    assert step.matched is matches
    (step,) = explain(policy(replace(wide, args_match=(), tool_name_glob="a_.b")), ToolCall(Surface.MCP, "a___b", "{}"), RunState(estimate_micro_usd=1))
    assert step.matched is matches


# --- Sanitizers -------------------------------------------------------------------------------------------------------
def test_a_sanitized_call_goes_on_cleaned_and_an_offered_tool_is_denied():
    governed = policy(rule(1, Verdict.SANITIZE, sanitize=EMAIL))
    cleaned = say(governed, '{"to": "bob@example.org",  "n": 1.0}')
    assert (cleaned.verdict, cleaned.arguments, cleaned.redactions) == (Verdict.SANITIZE, '{"to": "[redacted:email]",  "n": 1.0}', (("email", 1),))
    assert cleaned.blocks
    assert say(governed, None, Surface.INBOUND).reason_code is ReasonCode.SANITIZE_INBOUND
    shadowed = say(policy(rule(1, Verdict.SANITIZE, sanitize=EMAIL), shadow=True), '{"to": "bob@example.org"}')
    assert (shadowed.verdict, shadowed.arguments) == (Verdict.AUDIT, None)
    assert shadowed.reason.startswith("[shadow] would sanitize — ")


# --- Egress -----------------------------------------------------------------------------------------------------------
def test_a_destination_is_judged_by_what_it_is_and_the_worst_counts():
    governed = policy(rule(1, Verdict.DENY, egress=EgressLists(deny=("10.0.0.0/8", "169.254.169.254"))))
    for url in ("http://10.1.2.3/", "http://0xA000001/", "http://metadata.google.internal/", "http://[64:ff9b::a00:1]/", "http://x@10.0.0.1:80/"):
        denied = say(governed, f'{{"first": {{"url": "https://example.org"}}, "then": [{{"url": "{url}"}}]}}')
        assert (denied.verdict, denied.reason_code) == (Verdict.DENY, ReasonCode.EGRESS_DENIED), url
    assert say(governed, '{"url": "http://exa mple/"}').reason_code is ReasonCode.EGRESS_NO_DESTINATION
    assert say(governed, '{"url": "https://example.org"}').verdict is Verdict.ALLOW
    assert say(governed, '{"q": "whales"}').verdict is Verdict.ALLOW


def test_a_call_to_nowhere_is_denied_on_egress():
    for text in (None, "{}", "", '{"url": "http://a b"}', '{"command": "curl http://8.8.8.8/"}'):
        assert say(policy(), text, Surface.EGRESS).reason_code is ReasonCode.EGRESS_NO_DESTINATION
    assert say(policy(), '{"url": "https://example.org"}', Surface.EGRESS).verdict is Verdict.ALLOW


def test_a_rule_of_a_skill_is_about_its_name_as_it_stands():
    governed = policy(rule(1, Verdict.DENY, skill_name_glob="mail.*"))
    verdicts = {
        skill: decide(governed, ToolCall(Surface.MCP, "x", "{}", skill), FRESH).verdict for skill in ("mail.send", "mail__send", "mail.", "Mail.send", "", None)
    }
    assert [skill for skill, verdict in verdicts.items() if verdict is Verdict.DENY] == ["mail.send"]


# --- Caps -------------------------------------------------------------------------------------------------------------
CAP = rule(1, Verdict.CAP_COST, cap_micro_usd=500_000)


def test_under_its_cap_a_call_goes_on_to_the_other_rules():
    run = RunState(spent_micro_usd=480_000, reserved_micro_usd=10_000, estimate_micro_usd=10_000)
    listed = (Cap(1, 500_000),)
    within = say(policy(CAP), None, Surface.INBOUND, run)
    assert (within.verdict, within.rule_id, within.caps) == (Verdict.ALLOW, 1, listed)
    assert say(policy(CAP, default=Verdict.AUDIT), None, Surface.INBOUND, run).verdict is Verdict.ALLOW
    closed = say(policy(CAP, default=Verdict.DENY), None, Surface.INBOUND, run)
    assert (closed.verdict, closed.reason_code, closed.rule_id, closed.caps) == (Verdict.DENY, ReasonCode.DEFAULT_DENY, None, ())
    assert say(policy(CAP, rule(2, Verdict.DENY, "shell.*")), None, Surface.INBOUND, run).rule_id == 2
    audited = say(policy(CAP, rule(2, Verdict.AUDIT, "shell.*")), None, Surface.INBOUND, run)
    assert (audited.verdict, audited.rule_id, audited.caps) == (Verdict.AUDIT, 2, listed)


def test_a_call_under_two_caps_is_the_first_one_s_and_its_caps_are_its_own():
    wider = rule(2, Verdict.CAP_COST, "shell.*", cap_micro_usd=600_000)
    governed = policy(CAP, wider)
    for _ in range(2):
        both, one = (say(governed, None, Surface.INBOUND, name=name) for name in ("shell.exec", "kb.read"))
        assert (both.rule_id, both.caps) == (1, (Cap(1, 500_000), Cap(2, 600_000)))
        assert (one.rule_id, one.caps) == (1, (Cap(1, 500_000),))
        assert say(governed, name="shell.exec").caps == ()


def test_what_would_be_stopped_under_a_cap_goes_on_in_shadow():
    shadowed = say(policy(CAP, rule(2, Verdict.DENY), shadow=True), None, Surface.INBOUND)
    assert (shadowed.verdict, shadowed.shadow, shadowed.caps) == (Verdict.AUDIT, True, ())
    held = say(policy(CAP, rule(2, Verdict.PENDING_APPROVAL), shadow=True), surface=Surface.MCP)
    assert (held.verdict, held.shadow) == (Verdict.AUDIT, True)


def test_over_its_cap_a_call_is_denied_and_told_the_sum():
    over = say(policy(CAP), None, Surface.INBOUND, RunState(spent_micro_usd=480_000, reserved_micro_usd=10_000, estimate_micro_usd=10_001))
    assert (over.verdict, over.reason_code, over.rule_id) == (Verdict.DENY, ReasonCode.COST_CAP, 1)
    assert "$0.48 and $0.01 reserved" in over.reason
    assert "cap of $0.50" in over.reason
    assert say(policy(CAP), None, Surface.INBOUND, RunState(estimate_micro_usd=None)).reason_code is ReasonCode.PRICE_UNKNOWN
    assert say(policy(CAP), None, Surface.INBOUND, RunState()).verdict is Verdict.ALLOW


@pytest.mark.parametrize("surface", [Surface.RESPONSE, Surface.EGRESS])
def test_a_cap_does_nothing_where_the_call_is_paid_for(surface):
    spent = RunState(spent_micro_usd=10**9)
    assert say(policy(CAP), '{"url": "https://example.org"}', surface, spent).rule_id is None


def test_the_request_itself_meets_the_caps_on_every_tool_and_nothing_else():
    rules = (rule(2, Verdict.DENY), rule(3, Verdict.CAP_COST, "kb.*", cap_micro_usd=0), rule(4, Verdict.CAP_COST, stage=Surface.MCP, cap_micro_usd=0))
    assert decide_request(policy(*rules), RunState(estimate_micro_usd=1)) is None
    within = decide_request(policy(CAP, *rules, default=Verdict.DENY), RunState(estimate_micro_usd=1))
    assert (within.verdict, within.rule_id, within.caps) == (Verdict.ALLOW, 1, (Cap(1, 500_000),))
    assert decide_request(policy(CAP), RunState(estimate_micro_usd=500_001)).reason_code is ReasonCode.COST_CAP
    assert decide_request(policy(CAP, shadow=True), RunState(estimate_micro_usd=500_001)).verdict is Verdict.AUDIT
    assert decide_request(None, RunState(estimate_micro_usd=None)) is None


def test_a_cap_on_some_calls_is_none_on_the_request():
    for condition in ({"args_match": clause("$.a", "eq", 1)}, {"skill_name_glob": "mail.*"}, {"egress": EgressLists(deny=("10.0.0.0/8",))}):
        assert decide_request(policy(replace(CAP, cap_micro_usd=0, **condition)), RunState(estimate_micro_usd=1)) is None


def test_a_stopped_run_is_denied_whatever_applies():
    stopped = RunState(is_stopped=True)
    for each in (None, policy(), policy(shadow=True)):
        assert decide(each, ToolCall(Surface.RESPONSE, "x"), stopped).reason_code is ReasonCode.RUN_STOPPED
        assert decide_request(each, stopped).reason_code is ReasonCode.RUN_STOPPED


def test_a_key_begins_no_more_runs_than_its_policy_allows():
    limited = policy(max_runs_per_key_per_hour=2)
    assert decide_request(limited, RunState(calls=0, runs_this_hour=2)) is None
    assert decide_request(limited, RunState(calls=0, runs_this_hour=3)).reason_code is ReasonCode.RUN_LIMIT
    assert decide_request(limited, RunState(calls=1, runs_this_hour=3)) is None
    assert say(limited, "{}", Surface.MCP, RunState(runs_this_hour=3)).reason_code is ReasonCode.RUN_LIMIT


# --- Holds ------------------------------------------------------------------------------------------------------------
def test_a_hold_without_a_stage_waits_for_the_call():
    hold = rule(1, Verdict.PENDING_APPROVAL)
    assert say(policy(hold), None, Surface.INBOUND).verdict is Verdict.AUDIT
    assert say(policy(replace(hold, stage=Surface.INBOUND)), None, Surface.INBOUND).verdict is Verdict.PENDING_APPROVAL
    assert say(policy(hold)).verdict is Verdict.PENDING_APPROVAL
    assert say(policy(hold), '{"url": "https://example.org"}', Surface.EGRESS).reason_code is ReasonCode.HOLD_UNAVAILABLE


# --- Sequences --------------------------------------------------------------------------------------------------------
LEAK = Chain(60, (Step("db.*", 2), Step("*", egress=True)), is_inline=True)


def play(governed: Policy, *calls: tuple[int, str, str], surface: Surface = Surface.RESPONSE) -> list[Verdict]:
    run, verdicts = RunState(), []
    for at, name, arguments in calls:
        run = replace(run, at_ms=at * 1000)
        call = ToolCall(surface, name, arguments)
        decision = decide(governed, call, run)
        verdicts.append(decision.verdict)
        if not decision.blocks:
            run = advance(governed, call, run)
    return verdicts


def test_the_call_that_would_complete_a_chain_gets_the_rule_s_verdict():
    governed = policy(rule(1, Verdict.DENY, sequence=LEAK))
    out = ("http.post", '{"url": "https://example.org"}')
    allow, deny = Verdict.ALLOW, Verdict.DENY
    assert play(governed, (0, "db.a", "{}"), (1, "kb.x", "{}"), (2, "db.b", "{}"), (3, *out), (4, *out)) == [allow, allow, allow, deny, deny]
    assert play(governed, (0, "db.a", "{}"), (3, *out)) == [allow, allow]
    assert play(governed, (0, "db.a", "{}"), (1, "db.b", "{}"), (61, *out)) == [allow, allow, allow]
    assert play(governed, (0, "db.a", "{}"), (1, "db.b", "{}"), (3, "kb.x", "{}")) == [allow] * 3


@pytest.mark.parametrize("surface", [Surface.RESPONSE, Surface.MCP, Surface.EGRESS])
def test_a_chain_is_followed_wherever_calls_are_made(surface):
    out = '{"url": "https://example.org"}'
    chain = Chain(60, (Step("db.*"), Step("*", egress=True)), is_inline=True)
    governed = policy(rule(1, Verdict.DENY, sequence=chain))
    allow, deny = Verdict.ALLOW, Verdict.DENY
    assert play(governed, (0, "db.a", out), (60, "x", out), surface=surface) == [allow, deny]
    assert play(governed, (0, "db.a", out), (61, "x", out), surface=surface) == [allow, allow]
    # What is denied was not made; what is audited was, and a chain may begin with it.
    assert play(governed, (0, "db.a", out), (50, "db.b", out), (70, "x", out), surface=surface) == [allow, deny, allow]
    quiet = policy(rule(1, Verdict.AUDIT, sequence=chain))
    assert play(quiet, (0, "db.a", out), (50, "db.b", out), (70, "x", out), surface=surface) == [allow, Verdict.AUDIT, Verdict.AUDIT]


def test_the_latest_beginning_of_a_chain_counts():
    governed = policy(rule(1, Verdict.DENY, sequence=Chain(60, (Step("db.*"), Step("mail.*")), is_inline=True)))
    assert play(governed, (0, "db.a", "{}"), (50, "db.b", "{}"), (70, "mail.x", "{}"))[-1] is Verdict.DENY


def test_one_call_is_one_step():
    governed = policy(rule(1, Verdict.DENY, sequence=Chain(0, (Step("*"), Step("*"), Step("*", 2)), is_inline=True)))
    assert play(governed, *((at, "x", "{}") for at in range(5))) == [Verdict.ALLOW] * 3 + [Verdict.DENY] * 2


def test_an_offered_tool_is_no_step_and_completes_nothing():
    governed = policy(rule(1, Verdict.DENY, sequence=Chain(0, (Step("*"),), is_inline=True)))
    offered = ToolCall(Surface.INBOUND, "x")
    assert decide(governed, offered, FRESH).verdict is Verdict.ALLOW
    assert advance(governed, offered, FRESH) is FRESH
    assert play(governed, (0, "x", "{}")) == [Verdict.DENY]


def test_a_call_that_says_nowhere_on_egress_went_somewhere_in_shadow():
    chain = Chain(0, (Step("*", egress=True),))
    governed = policy(rule(1, Verdict.DENY, sequence=chain), shadow=True)
    assert len(completed(governed, ToolCall(Surface.EGRESS, "x", "{}"), FRESH)) == 1
    assert completed(governed, ToolCall(Surface.MCP, "x", "{}"), FRESH) == ()


def test_a_sequence_is_reported_afterwards_unless_it_is_inline():
    late = policy(rule(1, Verdict.DENY, sequence=replace(LEAK, steps=(Step("db.*"), Step("kb.*")), is_inline=False)), rule(2, Verdict.ALLOW))
    run, call = RunState(), ToolCall(Surface.RESPONSE, "kb.x", "{}")
    run = advance(late, ToolCall(Surface.RESPONSE, "db.x", "{}"), run)
    assert decide(late, call, run).rule_id == 2
    (finding,) = completed(late, call, run)
    assert (finding.verdict, finding.reason_code, finding.rule_id) == (Verdict.AUDIT, ReasonCode.SEQUENCE, 1)
    assert completed(late, call, RunState()) == ()
    # On its own surface alone, and not beside what it has said inline.
    (of_answers,) = (replace(each, stage=Surface.MCP) for each in late.rules if each.sequence)
    assert completed(policy(of_answers), call, run) == ()
    assert completed(policy(replace(of_answers, stage=Surface.RESPONSE)), call, run) == (replace(finding, policy_id=7),)
    inline = replace(of_answers, stage=None, verdict=Verdict.AUDIT, sequence=replace(of_answers.sequence, is_inline=True))
    assert decide(policy(inline), call, run).reason_code is None
    assert completed(policy(inline), call, run) == ()


def test_what_waits_for_a_person_is_no_step_yet():
    held, chain = rule(1, Verdict.PENDING_APPROVAL, "vault.*"), Chain(0, (Step("vault.*"), Step("x")), is_inline=True)
    governed = policy(held, rule(2, Verdict.DENY, sequence=chain))
    calls = [ToolCall(Surface.MCP, name, "{}") for name in ("vault.read", "x")]
    judged, run = in_order(governed, calls, FRESH, lambda call, run: decide(governed, call, run))
    assert [each.decision.verdict for each in judged] == [Verdict.PENDING_APPROVAL, Verdict.ALLOW]
    assert replayed(governed, [Past("vault.read", False, 0)]) != run.chains


def test_chains_that_differ_are_followed_apart_and_without_a_window_for_ever():
    assert LEAK.key == replace(LEAK, is_inline=False).key
    assert len({LEAK.key, replace(LEAK, window_seconds=0).key, replace(LEAK, steps=LEAK.steps[::-1]).key, replace(LEAK, steps=LEAK.steps[:1]).key}) == 4
    governed = policy(rule(1, Verdict.DENY, sequence=Chain(0, (Step("db.*"), Step("x")), is_inline=True)))
    assert play(governed, (0, "db.a", "{}"), (10**6, "x", "{}")) == [Verdict.ALLOW, Verdict.DENY]


# --- The walk ---------------------------------------------------------------------------------------------------------
def test_every_rule_is_told_with_why_it_did_not_match():
    governed = policy(
        CAP,
        replace(rule(2, Verdict.DENY), enabled=False),
        rule(3, Verdict.DENY, stage=Surface.MCP),
        rule(4, Verdict.DENY, "kb.*"),
        rule(5, Verdict.DENY, args_match=clause("$.a", "gt", 1)),
        rule(6, Verdict.DENY, args_match=clause("$.b", "gt", 1)),
        rule(7, Verdict.ALLOW, args_match=clause("$.b", "eq", "x")),
        rule(8, Verdict.DENY),
    )
    steps = explain(governed, ToolCall(Surface.RESPONSE, "shell.exec", '{"b": "x"}'), RunState())
    assert [step.why for step in steps] == [
        "cap_cost does nothing on response",
        "the rule is disabled",
        "the rule is for mcp, this call is on response",
        "the name does not match kb.*",
        "clause 1: $.a is not there",
        "clause 1: $.b is of another type than gt needs",
        "it matches: $.b is the value",
        "it would match, but rule 7 decided before it",
    ]
    assert [step.rule_id for step in steps if step.matched] == [7]
