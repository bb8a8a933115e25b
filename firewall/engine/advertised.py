"""The tools that one request names, on offer or in its history: judged each by itself, answered and recorded together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from firewall.engine.decide import decide, over
from firewall.engine.glob import escaped
from firewall.engine.types import Decision, Policy, ReasonCode, RunState, Surface, ToolCall, Verdict

#: The factor of a decision about a tool that only the history names.
PAST = "called in the message history"
#: Offered tools whose decisions a policy remembers.
MAX_OFFERS = 2048


@dataclass(frozen=True, slots=True)
class Row:
    """One event to record: what was decided, and for which tools (as sent)."""

    decision: Decision
    tools: tuple[str, ...]


def decide_advertised(policy: Policy | None, names: Sequence[str], run: RunState, *, observe_mode: bool = False) -> list[Decision]:
    """One decision per name (as sent), in the order of ``names``.

    An agent offers the same tools with each call: while its run is within every cap, what is said of one of them is said once.
    """
    if policy is None or run.is_stopped or any(over(line.rule, run) for line in policy.caps):
        return [_offered(policy, name, run, observe_mode) for name in names]
    known = policy.offers
    return [known.get(name) or _remembered(policy, name, run) for name in names]


def _remembered(policy: Policy, name: str, run: RunState) -> Decision:
    decision = decide(policy, ToolCall(Surface.INBOUND, name), run)
    # No name that no tool may have: those have any length.
    if len(policy.offers) < MAX_OFFERS and decision.reason_code is not ReasonCode.BAD_TOOL_NAME:
        policy.offers[name] = decision
    return decision


def _offered(policy: Policy | None, name: str, run: RunState, observe_mode: bool) -> Decision:
    return decide(policy, ToolCall(Surface.INBOUND, name), run, observe_mode=observe_mode)


def decide_past(policy: Policy | None, names: Sequence[str], run: RunState, *, observe_mode: bool = False) -> list[Decision]:
    """The same for tools that a request does not offer, but whose calls its message history repeats."""
    return [replace(each, factors=(*each.factors, PAST)) for each in decide_advertised(policy, names, run, observe_mode=observe_mode)]


def named_refusal(policy: Policy | None, names: Sequence[str], decisions: Sequence[Decision]) -> tuple[str, Decision] | None:
    """The denied tool that the answer names, with its decision; None if all may pass.

    The first by rule order: a name that no tool may have, then the rules as
    they are tried, then the default; among equals the first advertised. The
    decision's ``factors`` name every denied tool.
    """
    refused = [(name, decision) for name, decision in zip(names, decisions, strict=True) if decision.blocks]
    if not refused:
        return None
    ranks = {rule.id: rank for rank, rule in enumerate(policy.rules)} if policy else {}

    def rank(refusal: tuple[str, Decision]) -> int:
        decision = refusal[1]
        if decision.rule_id is not None:
            return ranks.get(decision.rule_id, len(ranks))
        return len(ranks) if decision.reason_code is ReasonCode.DEFAULT_DENY else -1

    name, decision = min(refused, key=rank)
    return name, replace(decision, factors=tuple(f"{escaped(name)}: {refusal.reason}" for name, refusal in refused))


def rows(names: Sequence[str], decisions: Sequence[Decision]) -> list[Row]:
    """What to record of one request's advertised tools.

    Plain ``allow``, ``audit`` and ``observe`` share a row per verdict and rule;
    a decision with a consequence, in effect or in shadow, has a row of its own.
    Calls that leave no trace have none.
    """
    alone: list[Row] = []
    shared: dict[tuple[Verdict, int | None], tuple[Decision, list[str]]] = {}
    for name, decision in zip(names, decisions, strict=True):
        if not decision.is_recorded:
            continue
        if decision.blocks or decision.shadow or decision.approval_id:
            alone.append(Row(decision, (name,)))
        else:
            shared.setdefault((decision.verdict, decision.rule_id), (decision, []))[1].append(name)
    return alone + [Row(decision, tuple(tools)) for decision, tools in shared.values()]
