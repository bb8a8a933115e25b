"""Reads of holds and who may decide about them, of their settings, of the webhook and of what was sent."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from django.db import connection
from django.db.models import Q
from django.db.models.functions import Now

from approvals.engine.args_hash import as_json, rule_hash
from approvals.engine.binding import Bound, State
from approvals.models import Approval, KeptAnswer, ReviewPlan, Settings, WebhookEndpoint
from firewall.engine import rule_json
from firewall.engine import types as firewall
from firewall.models import EventSource, Rule
from workspaces import tenancy, vault
from workspaces.models import User, Workspace
from workspaces.permissions import Role

STATE_WORDS = {
    State.PENDING: "pending",
    State.APPROVED: "approved",
    State.REJECTED: "rejected",
    State.EXPIRED: "expired",
    State.CONSUMED: "approved and used",
}


def settings_of(workspace: Workspace) -> Settings:
    """The workspace's settings of holds; the defaults, not yet saved, where none were made."""
    return Settings.objects.filter(workspace=workspace).first() or Settings(workspace=workspace)


def review_plan_of(workspace: Workspace, policy_id: int | None) -> ReviewPlan:
    """Who decides on a policy's holds: its own plan, else the workspace's, else one approval of a Developer or above (not saved)."""
    plans = {plan.policy_id: plan for plan in workspace.review_plans.filter(Q(policy=None) | Q(policy=policy_id))}
    return plans.get(policy_id) or plans.get(None) or ReviewPlan(workspace=workspace)


# --- One hold -------------------------------------------------------------------------------------------------------
def arguments_seal(approval_id: str) -> str:
    """What a hold's sealed arguments are bound to: copied to another row, they do not open."""
    return f"approvals.arguments:{approval_id}"


def answer_seal(request_id: str) -> str:
    return f"approvals.answer:{request_id}"


def database_now() -> datetime:
    """The one clock that says what is over."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT statement_timestamp()")
        return cursor.fetchone()[0]


def is_past(approval: Approval) -> bool:
    """Whether its time is over, whether or not a sweep has said so. A row of ``review_selectors.queue`` knows it already."""
    if approval.state not in (State.PENDING, State.APPROVED):
        return False
    return approval.is_over if hasattr(approval, "is_over") else approval.expires_at <= database_now()


def bound_of(approval: Approval) -> Bound:
    return Bound(**{name: getattr(approval, name) for name in Bound.__dataclass_fields__})


def rule_now(approval: Approval) -> firewall.Rule | None:
    """The rule that held the call as it is now; None when it is gone or has moved to no policy of this workspace."""
    row = approval.workspace.rules.filter(pk=approval.rule_id, policy_id=approval.policy_id).first()
    return engine_rule(row) if row else None


def rule_hashes_now(workspace: Workspace, approvals: Collection[Approval]) -> dict[int, str]:
    """What ``rule_hash_now`` gives for each of these, by the rule's id: one query for all."""
    policies = {approval.rule_id: approval.policy_id for approval in approvals}
    return {row.pk: rule_hash(engine_rule(row)) for row in workspace.rules.filter(pk__in=policies) if policies[row.pk] == row.policy_id}


def engine_rule(row: Rule) -> firewall.Rule:
    return rule_json.rule(row.pk, {field.name: getattr(row, field.name) for field in Rule._meta.concrete_fields})


def rule_as_it_is(approval: Approval) -> dict | None:
    """The same as JSON, as the approval keeps it of the time of the hold."""
    rule = rule_now(approval)
    return as_json(rule) if rule else None


def rule_hash_now(approval: Approval) -> str | None:
    rule = rule_now(approval)
    return rule_hash(rule) if rule else None


# --- Who may decide -------------------------------------------------------------------------------------------------
def objection(approval: Approval, person: User) -> str | None:
    """Why this person may not decide about a hold, in words for them; None if they may."""
    workspace = approval.workspace
    role = workspace.memberships.filter(user=person).values_list("role", flat=True).first()
    plan = review_plan_of(workspace, approval.policy_id)
    if role is None or role < max(plan.least_role, Role.DEVELOPER):
        return f"Calls of this policy are decided about by the role {Role(max(plan.least_role, Role.DEVELOPER)).label} or above."
    if plan.reviewer_ids and person.pk not in plan.reviewer_ids:
        return "You are not among the reviewers of this policy."
    if settings_of(workspace).four_eyes and (side := key_side(approval).get(person.pk)):
        return f"Four eyes: {side}, so somebody else decides."
    return None


def approving(approval: Approval, rule_hash: str) -> int:
    """How many approvals of a hold count: given under this rule as it is, through the callback or by people who may decide still."""
    votes = approval.votes.filter(approves=True, rule_hash=rule_hash).select_related("user")
    return sum(vote.user is None or objection(approval, vote.user) is None for vote in votes)


def key_side(approval: Approval) -> dict[int, str]:
    """Who counts as the key's side, by the person's number, and why (spec/decisions.md 7.4)."""
    workspace = approval.workspace
    found = dict.fromkeys(secret_setters(workspace), "you set the webhook's secret")
    if editor := last_editor(workspace, approval.policy_id, approval.rule_id):
        found[editor] = "you were the last to change the rule"
    key = workspace.api_keys.filter(pk=approval.key_id).values_list("created_by_id", flat=True).first()
    if key:
        found[key] = "you made the key"
    return found


def secret_setters(workspace: Workspace) -> set[int]:
    """Who set a secret of the webhook's that is valid: whoever knows one can sign a decision. Two people during a rotation."""
    mine = WebhookEndpoint.objects.filter(workspace=workspace)
    present = mine.values_list("secret_set_by_id", flat=True)
    former = mine.filter(former_secret_until__gt=Now()).values_list("former_secret_set_by_id", flat=True)
    return {setter for setter in (*present, *former) if setter is not None}


def last_editor(workspace: Workspace, policy_id: int, rule_id: int) -> int | None:
    """Who made a rule what it is; None where nobody is known."""
    versions = workspace.policy_versions.filter(policy_id=policy_id).order_by("-version")
    as_it_is, author = None, None
    for snapshot, author_id in versions.values_list("snapshot", "author_id").iterator(chunk_size=20):
        rule = next((rule for rule in snapshot["rules"] if rule["id"] == rule_id), None)
        if as_it_is is not None and rule != as_it_is:
            break
        as_it_is, author = rule, author_id if rule is not None else author
    return author


# --- For the gateway ------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Presentable:
    """An approval as a request may present it. ``bound.rule_hash`` is the rule's that the reviewer saw; empty before that."""

    id: str
    state: State
    is_past: bool
    bound: Bound
    rule_id: int
    resolved_by: str
    reason: str
    #: It is a call of a kept answer.
    has_answer: bool


@dataclass(frozen=True, slots=True)
class Kept:
    """A sealed answer and all its holds, by id."""

    workspace_id: int
    request_id: str
    sealed: bytes = field(repr=False)
    approvals: Mapping[str, Presentable]


def presentable(workspace_id: int, key_id: int, ids: Collection[str]) -> list[Presentable]:
    """Those of these approvals that are of this key, inside its workspace's scope."""
    rows = Approval.objects.filter(workspace_id=workspace_id, key_id=key_id, pk__in=ids)
    return [_presentable(row) for row in rows.annotate(is_over=Q(expires_at__lte=Now()))]


def _presentable(row: Approval) -> Presentable:
    return Presentable(
        id=row.pk,
        state=State(row.state),
        is_past=row.is_over,  # type: ignore[attr-defined]  # annotated
        bound=replace(bound_of(row), rule_hash=row.bound_rule_hash),
        rule_id=row.rule_id,
        resolved_by=row.resolved_by_label,
        reason=row.reason,
        has_answer=row.surface == firewall.Surface.RESPONSE and row.source == EventSource.RELAY,
    )


def kept_answers(workspace_id: int, key_id: int, ids: Collection[str]) -> list[Kept]:
    """The answers in which one of these holds waits, the newest first."""
    found = KeptAnswer.objects.filter(workspace_id=workspace_id, key_id=key_id, approval_ids__overlap=list(ids))
    return [
        Kept(workspace_id, row.request_id, bytes(row.sealed), {each.id: each for each in presentable(workspace_id, key_id, row.approval_ids)}) for row in found
    ]


def opened_answer(kept: Kept) -> str:
    """The answer in clear. Raises ``vault.SealBroken``."""
    return vault.unseal(kept.sealed, workspace_id=kept.workspace_id, purpose=answer_seal(kept.request_id))


@dataclass(frozen=True, slots=True)
class Polled:
    """A hold as whoever waits for it is told of it; ``key_id`` is whose it is."""

    key_id: int
    body: Mapping[str, Any]


def polled(workspace_id: int, approval_id: str) -> Polled | None:
    """A hold of this workspace; None where there is none."""
    with tenancy.scope(workspace_id):
        row = Approval.objects.filter(workspace_id=workspace_id, pk=approval_id).first()
        if row is None:
            return None
        return Polled(
            row.key_id,
            {
                "id": row.pk,
                "state": state_now(row),
                "tool_name": row.tool_name,
                "surface": row.surface,
                "args_hash": row.args_hash,
                "created_at": row.created_at,
                "expires_at": row.expires_at,
                "resolved_at": row.resolved_at,
                "resolved_by": row.resolved_by_label or None,
                "reason": row.reason or None,
                "rule_changed": rule_hash_now(row) != row.rule_hash,
            },
        )


def state_now(approval: Approval) -> State:
    """Its state, whether or not a sweep has been there."""
    return State.EXPIRED if is_past(approval) else State(approval.state)


def settled_of(ids: Collection[str]) -> set[str]:
    """Those of these holds, of any workspace, about which there is nothing more to wait for."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT orca_settled_approvals(%s)", [list(ids)])
        return {row[0] for row in cursor.fetchall()}
