"""Reads of holds and who may decide about them, of their settings, of the webhook and of what was sent."""

from datetime import datetime

from django.db import connection
from django.db.models import Q

from approvals.engine.args_hash import rule_hash
from approvals.engine.binding import Bound, State
from approvals.models import Approval, ReviewPlan, Settings, WebhookEndpoint
from firewall.engine import rule_json
from firewall.engine import types as firewall
from firewall.models import Rule
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
    """Whether its time is over, whether or not a sweep has said so."""
    return approval.state in (State.PENDING, State.APPROVED) and approval.expires_at <= database_now()


def bound_of(approval: Approval) -> Bound:
    return Bound(**{name: getattr(approval, name) for name in Bound.__dataclass_fields__})


def rule_now(approval: Approval) -> firewall.Rule | None:
    """The rule that held the call as it is now; None when it is gone or has moved to no policy of this workspace."""
    row = approval.workspace.rules.filter(pk=approval.rule_id, policy_id=approval.policy_id).first()
    return engine_rule(row) if row else None


def engine_rule(row: Rule) -> firewall.Rule:
    return rule_json.rule(row.pk, {field.name: getattr(row, field.name) for field in Rule._meta.concrete_fields})


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


def key_side(approval: Approval) -> dict[int, str]:
    """Who counts as the key's side, by the person's number, and why (spec/decisions.md 7.4)."""
    workspace = approval.workspace
    found: dict[int, str] = {}
    if setter := workspace_secret_setter(workspace):
        found[setter] = "you set the webhook's secret"
    if editor := last_editor(workspace, approval.policy_id, approval.rule_id):
        found[editor] = "you were the last to change the rule"
    key = workspace.api_keys.filter(pk=approval.key_id).values_list("created_by_id", flat=True).first()
    if key:
        found[key] = "you made the key"
    return found


def workspace_secret_setter(workspace: Workspace) -> int | None:
    return WebhookEndpoint.objects.filter(workspace=workspace).values_list("secret_set_by_id", flat=True).first()


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
