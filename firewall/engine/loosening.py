"""What a change of policy would let through that is stopped today: the question before a change that loosens."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from typing import Any

from firewall.engine.decide import decide
from firewall.engine.glob import TOOL_NAME, Form, parse
from firewall.engine.types import Policy, Rule, RunState, Surface, ToolCall

#: A name that no rule spells out; it stands for every tool that only a default or a rule for all tools judges.
UNNAMED = "any-other-tool"
_UNCONDITIONAL: dict[str, Any] = {"skill_name_glob": "", "args_match": (), "egress": None, "sequence": None}
#: A run that has spent nothing, and one that is over every cap.
_RUNS = (RunState(), RunState(spent_micro_usd=2**62))
_JUDGED_ON = (Surface.INBOUND, Surface.RESPONSE, Surface.MCP)


def let_through(before: Policy | None, after: Policy | None, seen: Iterable[str] = ()) -> list[str]:
    """Globs and tools that ``before`` stops and ``after`` would not; in the rules' order, the default's share last.

    None is no policy, which stops nothing. Each glob of either policy is
    tried by names that it matches and no other text decides; ``seen`` are tools known by name, which
    find what only the overlap of two globs would let through. Of rules with further conditions, a new one that lets through and a former
    one that stops count as matching every call of their glob: it is asked once too often rather than once too little.
    """
    probes: dict[str, list[str]] = {}
    for policy in (before, after):
        for rule in policy.rules if policy else ():
            probes.setdefault(rule.tool_name_glob, list(_names(rule.tool_name_glob)))
    probes |= {name: [name] for name in seen if name not in probes}
    # Last, and under a name of its own: a rule for every tool is tried by the same probe.
    for every in ("", "*"):
        probes.pop(every, None)
    probes[UNNAMED] = [UNNAMED]
    kept = {_said(rule) for rule in (before.rules if before else ())} & {_said(rule) for rule in (after.rules if after else ())}
    strictest, loosest = _sure(before, kept, permits=False), _sure(after, kept, permits=True)
    return [shown for shown, names in probes.items() if any(_loosened(strictest, loosest, name) for name in names)]


def _loosened(before: Policy | None, after: Policy | None, name: str) -> bool:
    calls = [ToolCall(surface, name) for surface in _JUDGED_ON]
    return any(decide(before, call, run).blocks and not decide(after, call, run).blocks for call in calls for run in _RUNS)


def _said(rule: Rule) -> Rule:
    """What a rule does, wherever it stands."""
    return replace(rule, id=0, priority=0, label="")


def _judges(rule: Rule) -> bool:
    return rule.sequence is None or rule.sequence.is_inline


def _sure(policy: Policy | None, kept: Collection[Rule], *, permits: bool) -> Policy | None:
    """The policy with the conditions of its new rules of one kind left out: what they may match counts as what they match."""
    if policy is None:
        return None
    # A sequence that is matched afterwards stops nothing.
    rules = tuple(
        replace(rule, **_UNCONDITIONAL) if rule.verdict.permits is permits and _said(rule) not in kept and _judges(rule) else rule for rule in policy.rules
    )
    return policy if rules == policy.rules else replace(policy, rules=rules)


def _names(glob: str) -> Iterator[str]:
    """Names a glob matches, made of letters that no other rule is likely to spell."""
    parsed = parse(glob)
    match parsed.form:
        case Form.EVERY:
            candidates = [UNNAMED]
        case Form.EXACT:
            candidates = [parsed.literal]
        case Form.PREFIX:
            candidates = [parsed.literal + UNNAMED]
        case Form.SUFFIX:
            candidates = [UNNAMED + parsed.literal, parsed.literal[1:]]
        case Form.INFIX:
            candidates = [UNNAMED + parsed.literal + UNNAMED]
    return (name for name in candidates if TOOL_NAME.fullmatch(name))
