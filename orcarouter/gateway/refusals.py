"""What refuses a call before its policy does: a frozen key, a ceiling, a store that cannot be asked."""

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime
from typing import Any

from firewall.engine.types import Decision, Policy, ReasonCode, RunState, Verdict
from keys.engine.ceilings import Ceiling, refusal
from keys.engine.grant import Grant
from orcarouter.gateway import runs
from orcarouter.gateway.money import Claim
from workspaces import errors

COST_STORE_DOWN = Decision(
    Verdict.DENY, "what the run has spent cannot be told just now, so no capped call is let through", ReasonCode.COST_STORE_DOWN, risk_score=60
)
KEY_FROZEN = Decision(Verdict.DENY, "the key was frozen", ReasonCode.KEY_FROZEN, factors=("key frozen",), risk_score=80)
BUDGET_UNKNOWN = replace(COST_STORE_DOWN, reason="what the key has spent cannot be told just now, so no call under a limit is let through")
RUNS_UNKNOWN = replace(COST_STORE_DOWN, reason="how many runs the key has begun cannot be told just now, so none is begun")
_QUOTA_ERRORS: dict[str, type[errors.OrcaError]] = {kind.code: kind for kind in (errors.TokenQuotaSpent, errors.AccessDenied, errors.UserQuotaSpent)}


def refuse_frozen(grant: Grant, *, is_frozen: bool = False) -> None:
    """Raise ``FirewallBlocked`` if a person froze the key, or (``is_frozen``) the one whose run it is."""
    if grant.scope.is_frozen or is_frozen:
        raise errors.FirewallBlocked(f"request blocked by firewall: {KEY_FROZEN.reason}", **said_of(KEY_FROZEN))


def said_of(decision: Decision) -> dict[str, Any]:
    """What a caller is told of a decision beside its message."""
    return {"reason_code": decision.reason_code, "factors": list(decision.factors), "risk_score": decision.risk_score}


def run_state(stopped_runs: Collection[str], admission: runs.Admission, at: datetime) -> RunState:
    """The run as it was admitted; ``stopped_runs`` are those of its key."""
    return RunState(
        calls=admission.calls,
        spent_micro_usd=admission.held.run_spent_micro_usd,
        reserved_micro_usd=admission.held.run_held_micro_usd,
        estimate_micro_usd=admission.claim.amount_micro_usd if admission.claim else 0,
        is_stopped=admission.run_id in stopped_runs,
        runs_this_hour=admission.runs_this_hour,
        at_ms=int(at.timestamp() * 1000),
    )


def blind_refusal(policy: Policy | None, run: RunState, *, meets_caps: bool) -> Decision | None:
    """Why a call may not go on while Valkey is away: what it would be judged by cannot be told."""
    if policy is None or policy.shadow_mode:
        return None
    begins_one_of_few = policy.max_runs_per_key_per_hour is not None and not run.calls
    refused = COST_STORE_DOWN if meets_caps else RUNS_UNKNOWN if begins_one_of_few else None
    return refused and replace(refused, policy_id=policy.id, policy_name=policy.name, policy_version=policy.version)


def unaffordable(claim: Claim, refused_by: Ceiling | str | None, model: str) -> errors.OrcaError | None:
    """Why a call may not go on under the ceilings of its key; None if it may."""
    if claim.amount_micro_usd is None:
        return errors.ModelPriceError(f"The model {model!r} has no price, and the key has a limit.", param="model")
    if not isinstance(refused_by, Ceiling):
        return None
    told = refusal(refused_by)
    return _QUOTA_ERRORS[told.code](told.message, **told.metadata)
