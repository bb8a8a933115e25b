"""The tools that one request names, on offer or in its history: judged each by itself, answered and recorded together."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeVar

from firewall.engine.decide import decide, decide_request, is_within_caps
from firewall.engine.glob import escaped
from firewall.engine.types import Decision, Policy, ReasonCode, RunState, Surface, ToolCall, Verdict

#: The factor of a decision about a tool that only the history names.
PAST = "called in the message history"
#: Offered tools whose decisions a policy remembers, and offers of so many tools that it remembers as a whole: each bound is half a megabyte.
MAX_TOOLS, MAX_OFFERS, TOOLS_OF_AN_OFFER = 2048, 32, 64
_K = TypeVar("_K")
_V = TypeVar("_V")


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """One event to record: what was decided, and for which tools (as sent)."""

    decision: Decision
    tools: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Offered:
    """The tools (as sent) that one request names, and the decision on each, in the same order. What follows from them is found once."""

    names: tuple[str, ...]
    decisions: tuple[Decision, ...]

    @cached_property
    def is_refused(self) -> bool:
        """Whether one of the tools may not be offered: then the whole request is refused."""
        return any(decision.blocks for decision in self.decisions)

    @cached_property
    def least_cap_micro_usd(self) -> int | None:
        """The least cap of its run that one of the tools passed under."""
        return min((cap.cap_micro_usd for decision in self.decisions for cap in decision.caps), default=None)

    @cached_property
    def rows(self) -> tuple[Row, ...]:
        """What to record of them.

        Plain ``allow``, ``audit`` and ``observe`` share a row per verdict and rule;
        a decision with a consequence, in effect or in shadow, has a row of its own.
        Calls that leave no trace have none.
        """
        alone: list[Row] = []
        shared: dict[tuple[Verdict, int | None], tuple[Decision, list[str]]] = {}
        for name, decision in zip(self.names, self.decisions, strict=True):
            if not decision.is_recorded:
                continue
            if decision.blocks or decision.shadow or decision.approval_id:
                alone.append(Row(decision, (name,)))
            else:
                shared.setdefault((decision.verdict, decision.rule_id), (decision, []))[1].append(name)
        return (*alone, *(Row(decision, tuple(tools)) for decision, tools in shared.values()))


NOTHING = Offered((), ())


def decide_advertised(policy: Policy | None, names: tuple[str, ...], run: RunState, *, observe_mode: bool = False) -> Offered:
    """One decision per name (as sent).

    An agent offers the same tools with each call: while its run is within every cap, what is said of them is said once.
    """
    if policy is None or run.is_stopped or not is_within_caps(policy, run):
        return Offered(names, tuple(decide(policy, ToolCall(Surface.INBOUND, name), run, observe_mode=observe_mode) for name in names))
    known = policy.offers.get(names)
    if known is None:
        return _remembered(policy, names, run)
    policy.offers.move_to_end(names)
    return known


def _remembered(policy: Policy, names: tuple[str, ...], run: RunState) -> Offered:
    offered = Offered(names, tuple(policy.offered_tools.get(name) or _decided(policy, name, run) for name in names))
    if len(names) <= TOOLS_OF_AN_OFFER and all(map(_is_kept, offered.decisions)):
        _keep(policy.offers, names, offered, MAX_OFFERS)
    return offered


def _decided(policy: Policy, name: str, run: RunState) -> Decision:
    decision = decide(policy, ToolCall(Surface.INBOUND, name), run)
    if _is_kept(decision):
        _keep(policy.offered_tools, name, decision, MAX_TOOLS)
    return decision


def _is_kept(decision: Decision) -> bool:
    """Not of a name that no tool may have: those have any length."""
    return decision.reason_code is not ReasonCode.BAD_TOOL_NAME


def _keep(memo: OrderedDict[_K, _V], key: _K, value: _V, at_most: int) -> None:
    """Remember one more, and forget the first of those that there is no room for: of offers the one that was not met for longest."""
    memo[key] = value
    if len(memo) > at_most:
        memo.popitem(last=False)


def decide_past(policy: Policy | None, names: tuple[str, ...], run: RunState, *, observe_mode: bool = False) -> Offered:
    """The same for tools that a request does not offer, but whose calls its message history repeats."""
    if not names:
        return NOTHING
    offered = decide_advertised(policy, names, run, observe_mode=observe_mode)
    return Offered(names, tuple(replace(each, factors=(*each.factors, PAST)) for each in offered.decisions))


def least_cap_micro_usd(policy: Policy, *named: tuple[str, ...]) -> int | None:
    """The least cap of its run that a request meets, by itself or by a tool that it names."""
    for line in policy.request_caps:
        # None of those that its tools meet is lower.
        if line.rule.cap_micro_usd == policy.least_cap_micro_usd:
            return policy.least_cap_micro_usd
    whole = decide_request(policy, _UNSPENT)
    met = [*(cap.cap_micro_usd for cap in (whole.caps if whole else ())), *(decide_advertised(policy, names, _UNSPENT).least_cap_micro_usd for names in named)]
    return min((cap for cap in met if cap is not None), default=None)


_UNSPENT = RunState()


def named_refusal(policy: Policy | None, *offers: Offered) -> tuple[str, Decision] | None:
    """The denied tool that the answer names, with its decision; None if all may pass.

    The first by rule order: a name that no tool may have, then the rules as
    they are tried, then the default; among equals the first advertised. The
    decision's ``factors`` name every denied tool.
    """
    refused = [
        (name, decision) for offered in offers if offered.is_refused for name, decision in zip(offered.names, offered.decisions, strict=True) if decision.blocks
    ]
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
