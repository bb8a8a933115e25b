"""The verdict on one call: worked examples, and laws against the naive interpreter."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firewall.engine.compile import MEMO_NAMES
from firewall.engine.decide import decide, resolve
from firewall.engine.types import Decision, Policy, ReasonCode, Rule, RunState, Surface, ToolCall, Verdict
from tests.figures import promised
from tests.firewall.engine import reference
from tests.firewall.engine.strategies import any_text, calls, policies_and_calls, rule_lists, surfaces, verdicts

ALLOW_SEARCH = Rule(1, 10, "", None, "web.search", Verdict.ALLOW)
ALLOW_KB = Rule(2, 20, "Knowledge base", None, "kb.*", Verdict.ALLOW)
NO_SHELL = Rule(3, 30, "No shell", None, "shell.*", Verdict.DENY)


def policy(*rules: Rule, default: Verdict = Verdict.DENY, shadow: bool = False) -> Policy:
    return Policy(id=7, name="agents", version=4, default_verdict=default, shadow_mode=shadow, rules=rules)


def judge(of: Policy | None, name: str, surface: Surface = Surface.INBOUND, **options: bool) -> Decision:
    return decide(of, ToolCall(surface, name), RunState(), **options)


def test_the_first_rule_that_matches_decides():
    governed = policy(NO_SHELL, ALLOW_KB, ALLOW_SEARCH)
    assert judge(governed, "web.search").rule_id == ALLOW_SEARCH.id
    assert judge(governed, "kb__read").verdict is Verdict.ALLOW
    denied = judge(governed, "shell.exec", Surface.RESPONSE)
    assert denied == Decision(
        verdict=Verdict.DENY,
        reason='matched shell.* (rule "No shell")',
        reason_code=ReasonCode.RULE_DENY,
        rule_id=3,
        rule_label="No shell",
        policy_id=7,
        policy_name="agents",
        policy_version=4,
        factors=("rule 3: shell.* deny",),
        risk_score=80,
    )
    assert denied.blocks


def test_with_no_rule_the_default_decides():
    denied = judge(policy(ALLOW_SEARCH), "mail.send")
    assert (denied.verdict, denied.reason_code, denied.rule_id) == (Verdict.DENY, ReasonCode.DEFAULT_DENY, None)
    assert denied.reason == "no rule matched and the default is deny"
    allowed = judge(policy(NO_SHELL, default=Verdict.ALLOW), "mail.send")
    assert (allowed.verdict, allowed.reason_code, allowed.blocks) == (Verdict.ALLOW, None, False)


@pytest.mark.parametrize("glob", ["", "*", "local.shell.exec", "local.*", "*.exec", "*.shell.*"])
def test_each_form_of_glob_is_found_among_many_rules(glob):
    others = [replace(NO_SHELL, id=100 + number, tool_name_glob=form.format(number)) for number, form in enumerate(["{}.x", "x{}.*", "*.x{}", "*.x{}.*"] * 20)]
    wanted = Rule(1, 99, "", None, glob, Verdict.ALLOW)
    for name in ("local.shell.exec", "local__shell__exec"):
        assert judge(policy(*others, wanted), name).rule_id == 1
    assert judge(policy(*others, replace(wanted, tool_name_glob="*.exec")), "exec").rule_id == 1


def test_equal_priorities_go_by_id():
    allow, deny = Rule(8, 10, "", None, "*", Verdict.ALLOW), Rule(5, 10, "", None, "*", Verdict.DENY)
    assert judge(policy(allow, deny), "x").rule_id == 5


def test_a_rule_pinned_to_a_stage_is_silent_elsewhere():
    pinned = policy(replace(NO_SHELL, stage=Surface.RESPONSE), default=Verdict.ALLOW)
    assert judge(pinned, "shell.exec", Surface.RESPONSE).blocks
    assert not judge(pinned, "shell.exec", Surface.INBOUND).blocks


def test_a_rule_that_is_off_is_no_rule():
    assert judge(policy(replace(ALLOW_SEARCH, enabled=False)), "web.search").reason_code is ReasonCode.DEFAULT_DENY


def test_an_ambiguous_spelling_is_stopped_and_never_let_through():
    assert not judge(policy(replace(NO_SHELL, tool_name_glob="a_.b"), default=Verdict.ALLOW), "a___b").verdict.permits
    assert judge(policy(replace(ALLOW_KB, tool_name_glob="a_.b")), "a___b").blocks


def test_shadow_mode_says_what_would_have_happened():
    seen = judge(policy(NO_SHELL, shadow=True), "shell.exec")
    assert (seen.verdict, seen.shadow, seen.blocks) == (Verdict.AUDIT, True, False)
    assert seen.reason == '[shadow] would deny — matched shell.* (rule "No shell")'
    assert (seen.reason_code, seen.rule_id, seen.risk_score) == (ReasonCode.RULE_DENY, 3, 80)
    passed = judge(policy(ALLOW_SEARCH, shadow=True), "web.search")
    assert (passed.verdict, passed.shadow, passed.reason) == (Verdict.ALLOW, False, "matched web.search (rule 1)")


@pytest.mark.parametrize("name", ["", " ", "shell exec", "shell.exec\n", "x" * 129, "shell\x00", "ｓhell.exec", "\ud800", "a*", "a\\b"])
def test_a_name_that_no_tool_may_have_is_denied_before_any_rule(name):
    everything = Rule(1, 0, "", None, "*", Verdict.ALLOW)
    denied = judge(policy(everything, default=Verdict.ALLOW), name)
    assert (denied.verdict, denied.reason_code, denied.rule_id) == (Verdict.DENY, ReasonCode.BAD_TOOL_NAME, None)
    seen = judge(policy(everything, shadow=True), name)
    assert (seen.verdict, seen.reason_code, seen.shadow) == (Verdict.AUDIT, ReasonCode.BAD_TOOL_NAME, True)
    assert judge(None, name).verdict is Verdict.ALLOW


def test_without_a_policy_a_call_passes_unseen_or_as_a_gap():
    silent, gap = judge(None, "shell.exec"), judge(None, "shell.exec", observe_mode=True)
    assert (silent.verdict, silent.gap, silent.is_recorded) == (Verdict.ALLOW, False, False)
    assert (gap.verdict, gap.gap, gap.is_recorded, gap.blocks) == (Verdict.OBSERVE, True, True, False)
    assert judge(policy(), "shell.exec", observe_mode=True).verdict is Verdict.DENY


@pytest.mark.parametrize("verdict", [Verdict.SANITIZE, Verdict.CAP_COST, Verdict.OBSERVE])
def test_a_verdict_that_cannot_be_carried_out_is_a_deny(verdict):
    assert judge(policy(replace(ALLOW_SEARCH, stage=Surface.MCP, verdict=verdict)), "web.search", Surface.MCP).verdict is Verdict.DENY
    assert judge(policy(default=verdict), "web.search").verdict is Verdict.DENY


def test_the_key_s_policy_is_in_force_if_enabled_and_else_the_default():
    own, default = policy(ALLOW_SEARCH), policy(NO_SHELL)
    assert resolve(own, default) is own
    assert resolve(None, default) is default
    assert resolve(replace(own, enabled=False), default) is default
    assert resolve(own, None) is own
    assert resolve(replace(own, enabled=False), replace(default, enabled=False)) is None
    assert resolve(None, None) is None


@promised
@given(policies_and_calls)
def test_decisions_agree_with_the_naive_interpreter_and_say_why(drawn):
    governed, call = drawn
    decision = decide(governed, call, RunState())
    assert (decision.verdict, decision.rule_id, decision.shadow) == reference.judge(governed, call)
    assert decision == decide(governed, call, RunState())
    assert decision.reason
    assert decision.factors
    assert 0 <= decision.risk_score <= 100
    assert (decision.policy_id, decision.policy_name, decision.policy_version) == (governed.id, governed.name, governed.version)
    assert (decision.reason_code is not None) == (decision.blocks or decision.shadow)


@given(policies_and_calls, st.randoms(use_true_random=False))
def test_the_order_in_which_rules_are_given_does_not_matter(drawn, random):
    governed, call = drawn
    shuffled = list(governed.rules)
    random.shuffle(shuffled)
    assert decide(replace(governed, rules=tuple(shuffled)), call, RunState()) == decide(governed, call, RunState())


@given(policies_and_calls, rule_lists)
def test_rules_that_cannot_match_change_nothing(drawn, others):
    governed, call = drawn
    irrelevant = tuple(
        replace(rule, id=1000 + rule.id)
        for rule in others
        if not rule.enabled or rule.stage not in (None, call.surface) or not reference.matches(rule.tool_name_glob, call.name, wide=True)
    )
    assert decide(replace(governed, rules=governed.rules + irrelevant), call, RunState()) == decide(governed, call, RunState())


@given(policies_and_calls)
def test_shadow_mode_never_blocks_and_changes_nothing_else(drawn):
    governed, call = drawn
    seen = decide(replace(governed, shadow_mode=True), call, RunState())
    would = decide(replace(governed, shadow_mode=False), call, RunState())
    assert not seen.blocks
    assert seen == would.shadowed()
    assert (seen == would) is not would.blocks


@given(verdicts, surfaces, any_text, st.none() | any_text)
def test_every_name_has_an_answer(default, surface, name, arguments):
    call = ToolCall(surface, name, arguments)
    assert decide(policy(NO_SHELL, default=default), call, RunState()).policy_id == 7
    assert decide(None, call, RunState()).verdict is Verdict.ALLOW


@given(policies_and_calls, calls)
def test_an_earlier_call_does_not_change_a_later_decision(drawn, earlier):
    governed, call = drawn
    fresh = decide(replace(governed), call, RunState())
    decide(governed, earlier, RunState())
    assert decide(governed, call, RunState()) == fresh


def test_what_a_policy_remembers_is_bounded():
    governed = policy(ALLOW_SEARCH, ALLOW_KB, NO_SHELL)
    for number in range(MEMO_NAMES + 500):
        judge(governed, f"kb.tool{number}")
        judge(governed, "x" * 200 + str(number))
    memo = governed.rules_for.cache_info()
    assert memo.currsize == memo.maxsize == MEMO_NAMES
    assert memo.misses == MEMO_NAMES + 500  # names of no tool are not kept at all
    assert len(governed.opinions) <= len(governed.rules) + 2
