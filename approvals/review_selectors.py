"""What whoever decides about a hold is shown: the queue, the call beside the calls before it, its rule then and now, its run."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db.models import Q, QuerySet, Sum
from django.db.models.functions import Now

from approvals import selectors
from approvals.engine.args_hash import as_json, rule_hash
from approvals.engine.binding import State
from approvals.engine.diff import Line, compared, fields_of
from approvals.models import Approval
from firewall.models import Event
from workspaces import vault
from workspaces.models import User, Workspace

#: Earlier approved calls that say what is usual.
USUAL_FROM = 20
#: Events of a run that are shown.
MOST_OF_RUN = 12
GRANTED_DAYS = 30


def queue(workspace: Workspace, state: str = State.PENDING) -> QuerySet[Approval]:
    """Holds in a state as it is now, the oldest first; what is over and not swept yet counts as expired. Empty: all of them."""
    over = Q(state__in=[State.PENDING, State.APPROVED], expires_at__lte=Now())
    found = workspace.approvals.all()
    if state == State.EXPIRED:
        found = found.filter(Q(state=State.EXPIRED) | over)
    elif state in (State.PENDING, State.APPROVED):
        found = found.filter(state=state, expires_at__gt=Now())
    elif state:
        found = found.filter(state=state)
    return found.order_by("created_at", "pk")


def arguments_of(approval: Approval) -> str | None:
    """The arguments without secrets; None for an offered tool, which has none."""
    if approval.arguments_sealed is None:
        return None
    return vault.unseal(bytes(approval.arguments_sealed), workspace_id=approval.workspace_id, purpose=selectors.arguments_seal(approval.pk))


@dataclass(frozen=True, slots=True)
class Reviewed:
    """One hold as its reviewer sees it. ``rule_now`` None: the rule is gone. ``objection``: why this person may not decide."""

    approval: Approval
    state: State
    arguments: str | None
    lines: list[Line]
    last: Approval | None
    granted: int
    rejected: int
    rule_now: Mapping[str, Any] | None
    rule_hash_now: str
    run: list[Event]
    run_calls: int
    run_cost_micro_usd: int | None
    quorum: int
    approvals: int
    objection: str | None

    @property
    def rule_changed(self) -> bool:
        return self.rule_hash_now != self.approval.rule_hash


def reviewed(approval: Approval, person: User) -> Reviewed:
    workspace = approval.workspace
    like = workspace.approvals.filter(key_id=approval.key_id, tool_name=approval.tool_name).exclude(pk=approval.pk)
    granted = list(like.filter(state__in=[State.APPROVED, State.CONSUMED]).order_by("-resolved_at")[:USUAL_FROM])
    known = [fields_of(arguments_of(each)) for each in granted]
    usual: dict[str, list[Any]] = {}
    for fields in known:
        for name, value in fields.items():
            usual.setdefault(name, []).append(value)
    arguments = arguments_of(approval)
    since = like.filter(resolved_at__gt=Now() - timedelta(days=GRANTED_DAYS))
    rule = selectors.rule_now(approval)
    run = _run(approval)
    usage = workspace.usage.filter(key_id=approval.key_id, agent_run_id=approval.agent_run_id) if approval.agent_run_id else None
    return Reviewed(
        approval=approval,
        state=selectors.state_now(approval),
        arguments=arguments,
        lines=compared(fields_of(arguments), known[0] if known else None, usual),
        last=granted[0] if granted else None,
        granted=since.filter(state__in=[State.APPROVED, State.CONSUMED]).count(),
        rejected=since.filter(state=State.REJECTED).count(),
        rule_now=as_json(rule) if rule else None,
        rule_hash_now=rule_hash(rule) if rule else approval.rule_hash,
        run=list(run.order_by("-pk")[:MOST_OF_RUN])[::-1],
        run_calls=usage.count() if usage is not None else 0,
        run_cost_micro_usd=usage.aggregate(cost=Sum("cost_micro_usd"))["cost"] if usage is not None else None,
        quorum=selectors.review_plan_of(workspace, approval.policy_id).quorum,
        approvals=approval.votes.filter(approves=True).count(),
        objection=selectors.objection(approval, person) if approval.state == State.PENDING else None,
    )


def _run(approval: Approval) -> QuerySet[Event]:
    if not approval.agent_run_id:
        return approval.workspace.events.none()
    return approval.workspace.events.filter(key_id=approval.key_id, agent_run_id=approval.agent_run_id, tool_name__isnull=False)
