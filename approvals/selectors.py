"""Reads of holds' settings, of the webhook and of what was sent."""

from django.db.models import Q

from approvals.models import ReviewPlan, Settings
from workspaces.models import Workspace


def settings_of(workspace: Workspace) -> Settings:
    """The workspace's settings of holds; the defaults, not yet saved, where none were made."""
    return Settings.objects.filter(workspace=workspace).first() or Settings(workspace=workspace)


def review_plan_of(workspace: Workspace, policy_id: int | None) -> ReviewPlan:
    """Who decides on a policy's holds: its own plan, else the workspace's, else one approval of a Developer or above (not saved)."""
    plans = {plan.policy_id: plan for plan in workspace.review_plans.filter(Q(policy=None) | Q(policy=policy_id))}
    return plans.get(policy_id) or plans.get(None) or ReviewPlan(workspace=workspace)
