"""Rows for pages and feeds, workspace first; and the few lookups that come before a workspace is known."""

from collections.abc import Iterator
from datetime import datetime

from django.core.exceptions import ObjectDoesNotExist
from django.db import connections
from django.db.models import Model, Q, QuerySet

from workspaces import tenancy, vault
from workspaces.errors import NotFound
from workspaces.models import AccessToken, AuditEntry, Invitation, Membership, User, Workspace
from workspaces.permissions import Role, allowed

#: The kinds of change that a Developer may read; the rest of the audit log is for Admins.
DEVELOPER_AUDIT_APPS = ("firewall", "guardrails", "approvals", "anomalies")
DEVELOPER_AUDIT_KINDS = ("keys.apikey", "keys.stoppedrun")


# --- Before a workspace is known ------------------------------------------------------------------------------------
def next_workspace_id() -> int:
    """The number of a workspace that is about to be made: row-level security wants it named before the row exists."""
    with connections["default"].cursor() as cursor:
        cursor.execute("SELECT nextval(pg_get_serial_sequence('workspaces_workspace', 'id'))")
        return cursor.fetchone()[0]


def invitation_place(token: str) -> tuple[int, int] | None:
    """``(workspace id, invitation id)`` of an invitation's token, whatever became of it; None for an unknown one."""
    with connections["default"].cursor() as cursor:
        cursor.execute("SELECT workspace_id, id FROM orca_invitation(%s)", [vault.lookup_hash(token)])
        return cursor.fetchone()


def open_invitation(token: str, at: datetime) -> Invitation | None:
    """The invitation a link leads to, with its workspace; None unless it is open."""
    workspace_id, invitation_id = invitation_place(token) or (0, 0)
    with tenancy.scope(workspace_id):
        found = Invitation.objects.filter(pk=invitation_id, accepted_at=None, revoked_at=None, expires_at__gt=at, workspace__archived_at=None)
        return found.select_related("workspace", "invited_by").first()


def person_by_email(email: str) -> User | None:
    return User.objects.filter(email__iexact=email.strip()).first()


def workspaces_of(user: User) -> list[Membership]:
    """A person's memberships with their workspaces, by name: what the switch at the top of the side bar offers."""
    with tenancy.person(user.pk):
        return list(memberships_of(user))


def memberships_of(user: User) -> QuerySet[Membership]:
    """The same as a queryset, for a transaction that is already narrowed to the person."""
    return user.memberships.filter(workspace__archived_at=None).select_related("workspace").order_by("workspace__name", "workspace_id")


def workspace_ids() -> list[int]:
    """The number of every workspace that is not archived; for sweeps and the operator's commands, which then enter each."""
    with connections["default"].cursor() as cursor:
        cursor.execute("SELECT orca_workspace_ids()")
        return [row[0] for row in cursor.fetchall()]


def workspace(workspace_id: int) -> Workspace | None:
    """A workspace by its number, inside its scope."""
    return Workspace.objects.filter(pk=workspace_id).first()


def each_workspace() -> Iterator[Workspace]:
    """Every workspace that is not archived, read when its turn comes; for tasks, which then enter its scope."""
    for workspace_id in workspace_ids():
        with tenancy.scope(workspace_id):
            found = workspace(workspace_id)
        if found:
            yield found


# --- Inside one -----------------------------------------------------------------------------------------------------
def hold(workspace_id: int) -> Workspace:
    """Wait for, and keep until the commit, the one lock under which a workspace's members, audit chain and version change.

    The weakest lock that excludes itself: adding rows that point to the workspace goes on beside it. Raises
    ``NotFound`` outside the workspace's scope, and when it is archived.
    """
    held = Workspace.objects.select_for_update(no_key=True).filter(pk=workspace_id, archived_at=None).first()
    if held is None:
        raise NotFound("No such workspace.")
    return held


def hold_row(row: Model) -> None:
    """``hold`` the workspace of a row that was read before, and read the row again. Raises ``NotFound`` when it is gone.

    First of all in a change: rows locked before the workspace and after it make two changes wait in a circle.
    """
    hold(row.workspace_id)  # type: ignore[attr-defined]
    try:
        row.refresh_from_db()
    except ObjectDoesNotExist as error:
        raise NotFound("Not found.") from error


def members(workspace: Workspace) -> QuerySet[Membership]:
    return workspace.memberships.select_related("user")


def open_invitations(workspace: Workspace, at: datetime) -> QuerySet[Invitation]:
    return workspace.invitations.filter(accepted_at=None, revoked_at=None, expires_at__gt=at).select_related("invited_by")


def own_tokens(workspace: Workspace, user: User) -> QuerySet[AccessToken]:
    """A person's tokens that are not revoked; expired ones stay visible until they are."""
    return workspace.access_tokens.filter(user=user, revoked_at=None)


def audit_entries(membership: Membership, *, scoped: bool = False, action: str = "", actor: str = "", target: str = "") -> QuerySet[AuditEntry]:
    """The part of the audit log this member may read, newest first; ``scoped`` keeps an Admin to a Developer's part.

    ``action`` is exact, or the beginning of one with a ``*``; ``actor`` is a person's address or number, or ``system``;
    ``target`` is ``kind`` or ``kind:id``, the kind as it is stored (``firewall.policy``).
    """
    entries = membership.workspace.audit_entries.all()
    if scoped or not allowed(membership, "workspaces.view_whole_audit"):
        seen = Q(target_kind__in=DEVELOPER_AUDIT_KINDS)
        for app in DEVELOPER_AUDIT_APPS:
            seen |= Q(target_kind__startswith=f"{app}.")
        entries = entries.filter(seen)
    if action:
        entries = entries.filter(action__startswith=action[:-1]) if action.endswith("*") else entries.filter(action=action)
    if actor:
        entries = entries.filter(actor_id=int(actor)) if actor.isascii() and actor.isdigit() and len(actor) < 19 else entries.filter(actor_label__iexact=actor)
    if target:
        kind, _, target_id = target.partition(":")
        entries = entries.filter(target_kind=kind, **({"target_id": target_id} if target_id else {}))
    return entries


def owners(workspace: Workspace) -> QuerySet[Membership]:
    return workspace.memberships.filter(role=Role.OWNER)
