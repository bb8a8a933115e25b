"""How an open gate of the least-agency checklist would be closed: out of what the key did, for the editor to begin with."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.db.models import Sum

from keys.engine.words import usd
from keys.models import ApiKey
from workspaces import money
from workspaces.ids import lowest_at
from workspaces.models import Workspace

#: How far back a key's use is looked at.
LOOKED_AT = timedelta(days=30)
MOST_MODELS = 50


@dataclass(frozen=True, slots=True)
class Proposal:
    """``fields`` are those of the key's form; ``says`` tells where they come from; ``begins`` is the field to go on with.

    ``needs_policy``: no policy can be proposed yet, one has to be made first.
    """

    fields: dict[str, object] = field(default_factory=dict)
    says: str = ""
    begins: str = ""
    needs_policy: bool = False


def proposal(workspace: Workspace, key: ApiKey, gate: str, *, at: datetime) -> Proposal:
    """What closes ``gate`` (``words.Gate.fix``); nothing for a gate that needs what only a person knows, or that is none."""
    propose = _PROPOSALS.get(gate)
    return propose(workspace, key, at) if propose else Proposal()


def _models(workspace: Workspace, key: ApiKey, at: datetime) -> Proposal:
    usage = workspace.usage.filter(key_id=key.pk, pk__gte=lowest_at(at - LOOKED_AT), status=200).exclude(model_name=None)
    names = list(usage.order_by("model_name").values_list("model_name", flat=True).distinct()[:MOST_MODELS])
    if not names:
        return Proposal({"models_listed": "listed"}, "It has called no model in 30 days: list what it needs.", "models")
    return Proposal({"models_listed": "listed", "models": "\n".join(map(str, names))}, "The models that it called in the last 30 days are listed.", "models")


def _addresses(workspace: Workspace, key: ApiKey, at: datetime) -> Proposal:
    return Proposal({}, "List where the agent runs: a leaked key then works from nowhere else.", "addresses")


def _credit(workspace: Workspace, key: ApiKey, at: datetime) -> Proposal:
    """Twice what the month cost, in whole dollars: room for an ordinary month, not for a runaway."""
    spent = workspace.usage.filter(key_id=key.pk, pk__gte=lowest_at(at - LOOKED_AT)).aggregate(sum=Sum("cost_micro_usd"))["sum"] or 0
    dollars = max(-(-2 * spent // money.MICRO_PER_USD), 1)
    says = f"Twice what it spent in the last 30 days, {usd(spent)}." if spent else "It has spent nothing in 30 days: this is the least that a month may cost."
    return Proposal({"cycle_limit": str(dollars), "cycle": "month"}, says, "cycle_limit")


def _expires(workspace: Workspace, key: ApiKey, at: datetime) -> Proposal:
    return Proposal({"expires": "90d"}, "In 90 days it ends, unless somebody sees that it is still needed.", "expires")


def _policy(workspace: Workspace, key: ApiKey, at: datetime) -> Proposal:
    policy = workspace.policies.filter(enabled=True, shadow_mode=False).order_by("-is_default", "-pk").first()
    if policy is None:
        return Proposal({}, "No policy enforces yet: make one out of a template first.", "policy", needs_policy=True)
    return Proposal({"policy": policy.pk}, f"{policy.name} enforces already.", "policy")


_PROPOSALS: dict[str, Callable[[Workspace, ApiKey, datetime], Proposal]] = {
    "models": _models,
    "addresses": _addresses,
    "credit": _credit,
    "expires": _expires,
    "policy": _policy,
}
