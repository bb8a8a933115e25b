"""What a call that went on adds to its run: the progress of sequences, and those it completes."""

from __future__ import annotations

from dataclasses import replace

from firewall.engine.compile import Seen
from firewall.engine.decide import RISK
from firewall.engine.types import Decision, Policy, ReasonCode, RunState, Surface, ToolCall, Verdict


def advance(policy: Policy | None, call: ToolCall, run: RunState) -> RunState:
    """The run after a call that was not denied: only ``chains`` change. Call it for each such call, in order, with ``run.at_ms`` its time."""
    chains = {rule.sequence.key: rule.sequence for rule in policy.rules if rule.enabled and rule.sequence} if policy else {}
    if not chains or call.surface is Surface.INBOUND:
        return run
    is_egress = Seen(call, run).is_egress
    # Chains that the policy no longer has are forgotten: what a run keeps is bounded by the policy.
    return replace(
        run, chains={key: chain.advance(run.chains.get(key, ()), call.name, is_egress=is_egress, at_ms=run.at_ms)[0] for key, chain in chains.items()}
    )


def completed(policy: Policy | None, call: ToolCall, run: RunState) -> tuple[Decision, ...]:
    """A finding for each sequence that the call completes and that is matched afterwards; ``run`` is the state before the call.

    Findings are ``audit`` with code ``sequence``, to be recorded beside the call's own decision: they stop nothing.
    """
    if policy is None or call.surface is Surface.INBOUND:
        return ()
    seen = Seen(call, run)
    found = []
    for rule in policy.rules:
        chain = rule.sequence
        if not rule.enabled or chain is None or chain.is_inline or rule.stage not in (None, call.surface):
            continue
        if not chain.advance(run.chains.get(chain.key, ()), call.name, is_egress=seen.is_egress, at_ms=run.at_ms)[1]:
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
