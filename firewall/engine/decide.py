"""Judge one tool call. Source: spec/firewall.md 1.3, 1.5 and 3."""

from __future__ import annotations

from typing import Protocol, TypeVar

from firewall.engine.glob import TOOL_NAME
from firewall.engine.types import Decision, Policy, ReasonCode, Rule, RunState, ToolCall, Verdict

RULE_VERDICTS = (Verdict.ALLOW, Verdict.AUDIT, Verdict.DENY)
"""What a rule may say."""

DEFAULT_VERDICTS = (Verdict.ALLOW, Verdict.AUDIT, Verdict.DENY)
"""What a policy may say where no rule has an opinion."""

RISK = {
    (Verdict.ALLOW, True): 0,  # somebody wrote a rule for it
    (Verdict.ALLOW, False): 10,  # nobody thought of it
    (Verdict.AUDIT, True): 20,
    (Verdict.AUDIT, False): 30,
    (Verdict.OBSERVE, False): 40,  # no policy at all
    (Verdict.DENY, False): 60,  # not on the list
    (Verdict.DENY, True): 80,  # somebody ruled it out
}
"""Risk score by verdict and whether a rule gave it. Shadow mode leaves the score of what would have happened."""

RISK_BAD_TOOL_NAME = 90

_UNGOVERNED = Decision(Verdict.ALLOW, "no policy applies", risk_score=RISK[Verdict.ALLOW, False])
_GAP = Decision(Verdict.OBSERVE, "no policy applies", factors=("no policy",), risk_score=RISK[Verdict.OBSERVE, False], gap=True)


class _HasEnabled(Protocol):
    @property
    def enabled(self) -> bool: ...


_P = TypeVar("_P", bound=_HasEnabled)


def resolve(attached: _P | None, default: _P | None) -> _P | None:
    """The policy in force for a key: its own if enabled, else the workspace's default if enabled, else none.

    A disabled attached policy is no off switch: the default takes over.
    """
    for policy in (attached, default):
        if policy is not None and policy.enabled:
            return policy
    return None


def decide(policy: Policy | None, call: ToolCall, run: RunState, *, observe_mode: bool = False) -> Decision:
    """Judge one tool call. Same arguments, same decision: no clock, no I/O.

    ``policy.rules`` are in priority order and the first that matches wins; with
    none, ``policy.default_verdict``. A name that no tool may have is denied
    before any rule. In shadow mode a blocking verdict becomes ``audit`` and the
    reason says what would have happened. ``policy`` None is no enforcement:
    ``observe`` and a gap in ``observe_mode``, else an ``allow`` that is not recorded.
    """
    if policy is None:
        return _GAP if observe_mode else _UNGOVERNED
    # Before the rules: their memo must not keep what callers can make arbitrarily long.
    if TOOL_NAME.fullmatch(call.name) is None:
        return _opinion(policy, ReasonCode.BAD_TOOL_NAME)
    rules = policy.rules_for(call.name, call.surface)
    return _opinion(policy, rules[0] if rules else None)


def _opinion(policy: Policy, source: Rule | ReasonCode | None) -> Decision:
    """What ``source`` (None: the default) says under this policy. It does not depend on the call, so it is made once."""
    key = source.id if isinstance(source, Rule) else source
    opinion = policy.opinions.get(key)
    if opinion is None:
        opinion = _of_rule(policy, source) if isinstance(source, Rule) else _of_policy(policy, source)
        if policy.shadow_mode and opinion.blocks:
            opinion = opinion.shadowed()
        policy.opinions[key] = opinion
    return opinion


def _of_rule(policy: Policy, rule: Rule) -> Decision:
    named = f'rule "{rule.label}"' if rule.label else f"rule {rule.id}"
    reason = f"matched {rule.tool_name_glob or '*'} ({named})"
    verdict = rule.verdict
    if verdict not in RULE_VERDICTS:
        # A row written by a newer release, while this process still runs: fail closed.
        verdict, reason = Verdict.DENY, f"{reason}, and its verdict {rule.verdict} is not available in this version"
    return Decision(
        verdict=verdict,
        reason=reason,
        reason_code=None if verdict.permits else ReasonCode.RULE_DENY,
        rule_id=rule.id,
        rule_label=rule.label,
        policy_id=policy.id,
        policy_name=policy.name,
        policy_version=policy.version,
        factors=(f"rule {rule.id}: {rule.tool_name_glob or '*'} {rule.verdict}",),
        risk_score=RISK[verdict, True],
    )


def _of_policy(policy: Policy, code: ReasonCode | None) -> Decision:
    verdict = policy.default_verdict if policy.default_verdict in DEFAULT_VERDICTS else Verdict.DENY
    reason, factor, risk = f"no rule matched and the default is {verdict}", f"default {verdict}", RISK[verdict, False]
    if code is ReasonCode.BAD_TOOL_NAME:
        verdict = Verdict.DENY
        reason = "a tool name is 1 to 128 letters, digits and _ . : / - and this one is not"
        factor, risk = "bad tool name", RISK_BAD_TOOL_NAME
    elif verdict is Verdict.DENY:
        code = ReasonCode.DEFAULT_DENY
    return Decision(
        verdict=verdict,
        reason=reason,
        reason_code=code,
        policy_id=policy.id,
        policy_name=policy.name,
        policy_version=policy.version,
        factors=(factor,),
        risk_score=risk,
    )
