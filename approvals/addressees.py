"""Where messages go: the webhook with its secrets, the people who may decide, their chat. Reads alone."""

from collections.abc import Collection
from datetime import datetime
from urllib.parse import urlsplit

from django.db.models import QuerySet

from approvals.models import WebhookEndpoint
from approvals.selectors import review_plan_of, settings_of
from workspaces import vault
from workspaces.models import Workspace
from workspaces.permissions import Role

#: What the sealed values are bound to.
SECRET_SEAL, SLACK_SEAL = "approvals.webhook", "approvals.slack"
#: People who are written to at once.
MOST_PEOPLE = 100


def endpoints(workspace: Workspace) -> QuerySet[WebhookEndpoint]:
    """The workspace's endpoint as a queryset of one row or none, for conditional updates."""
    return WebhookEndpoint.objects.filter(workspace=workspace)


def endpoint_of(workspace: Workspace) -> WebhookEndpoint:
    """The workspace's endpoint; one without an address, not yet saved, where none was made."""
    return endpoints(workspace).first() or WebhookEndpoint(workspace=workspace)


def secrets_of(endpoint: WebhookEndpoint, at: datetime) -> list[str]:
    """The secrets that are valid now, newest first: two during a rotation. Raises ``vault.SealBroken``."""
    sealed = [endpoint.secret_sealed]
    if endpoint.former_secret_until and endpoint.former_secret_until > at:
        sealed.append(endpoint.former_secret_sealed)
    return [vault.unseal(bytes(each), workspace_id=endpoint.workspace_id, purpose=SECRET_SEAL) for each in sealed if each]


def slack_url(workspace: Workspace) -> str:
    """The address of the chat's incoming webhook; empty where there is none. Raises ``vault.SealBroken``."""
    sealed = settings_of(workspace).slack_url_sealed
    return vault.unseal(bytes(sealed), workspace_id=workspace.pk, purpose=SLACK_SEAL) if sealed else ""


def never_shown(workspace: Workspace, at: datetime) -> list[str]:
    """What no log may keep, should a receiver say it: the secrets, the chat's address and its path."""
    try:
        address = slack_url(workspace)
        found = [*secrets_of(endpoint_of(workspace), at), address, urlsplit(address).path]
    except vault.SealBroken:
        return []
    return [text for text in found if len(text) > 1]


def people_for(workspace: Workspace, policy_ids: Collection[int]) -> list[str]:
    """The addresses to write to about holds of these policies: those named in the settings, and who may decide about one of them."""
    settings = settings_of(workspace)
    found = dict.fromkeys(settings.notify_emails)
    if settings.notify_reviewers:
        members = list(workspace.memberships.filter(role__gte=Role.DEVELOPER, user__is_active=True).select_related("user").order_by("id"))
        for plan in [review_plan_of(workspace, policy_id) for policy_id in policy_ids]:
            may = [member for member in members if member.role >= plan.least_role and (not plan.reviewer_ids or member.user_id in plan.reviewer_ids)]
            found |= dict.fromkeys(member.user.email for member in may)
    return list(found)[:MOST_PEOPLE]


def admins(workspace: Workspace) -> list[str]:
    """Who is told when something is wrong with the webhook itself."""
    found = workspace.memberships.filter(role__gte=Role.ADMIN, user__is_active=True).order_by("id")
    return list(found.values_list("user__email", flat=True)[:MOST_PEOPLE])
