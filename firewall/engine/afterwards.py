"""What a call that went on adds to its run: the progress of sequences, and those it completes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

from firewall.engine.compile import Seen
from firewall.engine.decide import RISK
from firewall.engine.sequence import Progress
from firewall.engine.types import Decision, Policy, ReasonCode, Rule, RunState, Surface, ToolCall, Verdict


@dataclass(frozen=True, slots=True)
class Judged:
    """One call's decision, the run as it was before the call, and a finding for each sequence that it completed."""

    decision: Decision
    run: RunState
    findings: tuple[Decision, ...] = ()


class Past(NamedTuple):
    """A call that went on, as far as sequences care; ``is_egress``: it went somewhere, or nobody can tell."""

    name: str
    is_egress: bool
    at_ms: int


def in_order(
    policy: Policy | None,
    calls: Sequence[ToolCall],
    run: RunState,
    judge: Callable[[ToolCall, RunState], Decision],
    known: Mapping[int, Decision] = {},
    *,
    again: bool = False,
) -> tuple[list[Judged], RunState]:
    """Judge calls that are made one after the other: a decision for each, and the run after those that go on.

    ``known`` are decisions that stand already, by the call's place. ``again``: of an answer that was held. Its other calls were steps of
    the run then, and those that were approved since are now.
    """
    found = []
    for place, call in enumerate(calls):
        decision = known.get(place) or judge(call, run)
        was_step = again and decision.reason_code is not ReasonCode.APPROVAL_CONSUMED
        if was_step or decision.verdict in (Verdict.DENY, Verdict.PENDING_APPROVAL):
            found.append(Judged(decision, run))
            continue
        found.append(Judged(decision, run, completed(policy, call, run)))
        run = advance(policy, call, run)
    return found, run


def concerns(policy: Policy | None, calls: Iterable[ToolCall]) -> bool:
    """Whether one of the calls may be a step of a sequence: else the run's progress need not be known."""
    return policy is not None and any(policy.sequences_for(call.name) for call in calls if call.surface is not Surface.INBOUND)


def advance(policy: Policy | None, call: ToolCall, run: RunState) -> RunState:
    """The run after a call that went on: only ``chains`` change. Call it for each such call, in order, with ``run.at_ms`` its time."""
    if policy is None or call.surface is Surface.INBOUND or not (rules := policy.sequences_for(call.name)):
        return run
    seen = Seen(call, run)
    return replace(run, chains={**run.chains, **_advanced(rules, run.chains, call.name, lambda: seen.is_egress, run.at_ms)})


def replayed(policy: Policy, calls: Iterable[Past]) -> dict[str, Progress]:
    """How far a run has come that made these calls, oldest first: ``RunState.chains``."""
    chains: dict[str, Progress] = {}
    for past in calls:
        chains.update(_advanced(policy.sequences_for(past.name), chains, past.name, partial(bool, past.is_egress), past.at_ms))
    return chains


def _advanced(rules: Sequence[Rule], known: Mapping[str, Progress], name: str, is_egress: Callable[[], bool], at_ms: int) -> dict[str, Progress]:
    """The progress of the chains that a call is or may be a step of."""
    chains = {rule.sequence.key: rule.sequence for rule in rules if rule.sequence}
    return {key: chain.advance(known.get(key, ()), name, is_egress=is_egress, at_ms=at_ms)[0] for key, chain in chains.items()}


def completed(policy: Policy | None, call: ToolCall, run: RunState) -> tuple[Decision, ...]:
    """A finding for each sequence that the call completes and that is matched afterwards; ``run`` is the state before the call.

    Findings are ``audit`` with code ``sequence``, to be recorded beside the call's own decision: they stop nothing.
    """
    if policy is None or call.surface is Surface.INBOUND or not (rules := policy.sequences_for(call.name)):
        return ()
    seen = Seen(call, run)
    found = []
    for rule in rules:
        chain = rule.sequence
        if chain is None or chain.is_inline or rule.stage not in (None, call.surface):
            continue
        if not chain.advance(run.chains.get(chain.key, ()), call.name, is_egress=lambda: seen.is_egress, at_ms=run.at_ms)[1]:
            continue
        named = f'rule "{rule.label}"' if rule.label else f"rule {rule.id}"
        found.append(
            Decision(
                verdict=Verdict.AUDIT,
                reason=f"completed the sequence {chain.shown} ({named})",
                reason_code=ReasonCode.SEQUENCE,
                rule_id=rule.id,
                rule_label=rule.label,
                policy_id=policy.id,
                policy_name=policy.name,
                policy_version=policy.version,
                factors=(f"rule {rule.id}: sequence {rule.verdict}",),
                risk_score=RISK[Verdict.DENY, True] if not rule.verdict.permits else RISK[Verdict.AUDIT, True],
            )
        )
    return tuple(found)
