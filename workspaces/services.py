"""Changes of workspaces, people in them, invitations and tokens: one function a verb, one transaction, one audit entry.

All but ``create_workspace`` and ``accept_invitation`` run inside the scope of their workspace (``tenancy.scope``; a
request has one). Whatever decides by who is a member first takes ``selectors.hold``: roles, the last-owner rule and
invitations then read what nobody else changes meanwhile.
"""

import logging
from datetime import datetime, timedelta
from functools import partial

import redis
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import F, QuerySet

from workspaces import audit, selectors, tenancy, tokens, valkey, vault
from workspaces.authentication import TOKEN_PREFIX
from workspaces.errors import AuthenticationRequired, Conflict, NotFound, PermissionRefused, ValidationFailed
from workspaces.models import AccessToken, Invitation, Membership, User, Workspace
from workspaces.permissions import Role

log = logging.getLogger(__name__)

INVITATION_PREFIX = "orca-inv-"
INVITATION_LIFE = timedelta(days=7)
TOKEN_LIFE = timedelta(days=365)
TOKENS_A_PERSON = 50


# --- Configuration version ------------------------------------------------------------------------------------------
#: KEYS[1] the version's hash; ARGV: version, how many writers leave. A version never goes back, nor does a count below 0.
_PUBLISH = """
local known = tonumber(redis.call('HGET', KEYS[1], 'v') or '0')
if tonumber(ARGV[1]) > known then redis.call('HSET', KEYS[1], 'v', ARGV[1]) end
if redis.call('HINCRBY', KEYS[1], 'dirty', -tonumber(ARGV[2])) <= 0 then redis.call('HSET', KEYS[1], 'dirty', 0) end
"""


def touch_config(workspace: Workspace) -> None:
    """Tell the gateway that this transaction changes what it must judge by: from its commit on, no copy is served.

    Valkey is marked before the commit (a gateway that sees the mark asks PostgreSQL) and told the new number after it.
    With Valkey away the gateway reads PostgreSQL anyway, so the write goes on.
    """
    marked = _tell_valkey(partial(valkey.client().hincrby, valkey.version_key(workspace.pk), "dirty", 1))
    workspace.config_version = F("config_version") + 1
    workspace.save(update_fields=["config_version"])
    workspace.refresh_from_db(fields=["config_version"])
    transaction.on_commit(partial(_publish, workspace.pk, workspace.config_version, 1 if marked else 0))


def publish_config_version(workspace_id: int, version: int) -> None:
    """Set Valkey's copy right: what PostgreSQL says, and no writer counted (one that died would be counted for ever)."""
    _publish(workspace_id, version, 2**31)


def _publish(workspace_id: int, version: int, leaving: int) -> None:
    _tell_valkey(partial(valkey.client().eval, _PUBLISH, 1, valkey.version_key(workspace_id), version, leaving))


def _tell_valkey(command: partial) -> bool:
    try:
        command()
    except redis.RedisError as error:
        log.warning("valkey did not take a configuration version: %s", type(error).__name__)
        return False
    return True


# --- Workspaces -----------------------------------------------------------------------------------------------------
def create_workspace(*, name: str, owner: User, at: datetime, has_demo: bool = False) -> Workspace:
    """Make a workspace with its first owner. Only the operator does this, so the entry's actor is the system."""
    workspace_id = selectors.next_workspace_id()
    with tenancy.scope(workspace_id):
        workspace = Workspace(pk=workspace_id, name=name, has_demo=has_demo, created_at=at)
        workspace.save(force_insert=True)
        workspace.memberships.create(user=owner, role=Role.OWNER, created_at=at)
        touch_config(workspace)
        audit.record(workspace=workspace, actor=None, action="workspace_create", target=workspace, at=at, payload={"owner": owner.email})
    return workspace


@transaction.atomic
def rename_workspace(workspace: Workspace, *, name: str, actor: User, at: datetime) -> None:
    before, workspace.name = workspace.name, name
    workspace.save(update_fields=["name"])
    audit.record(workspace=workspace, actor=actor, action="workspace_update", target=workspace, at=at, payload={"name": name, "before": before})


# --- Members --------------------------------------------------------------------------------------------------------
@transaction.atomic
def change_role(membership: Membership, *, role: Role, actor: User, at: datetime) -> None:
    """Raise or lower a member. Raises ``PermissionRefused`` above the actor's own role, ``Conflict`` for the last owner."""
    workspace = membership.workspace
    before = _role_under_lock(membership)
    if role == before:
        return
    _may_set(workspace, actor, before, role)
    _keep_an_owner(workspace, membership, role)
    membership.role = role
    membership.save(update_fields=["role"])
    payload: dict[str, object] = {"role": _word(role), "before": _word(before)}
    if role < before:
        payload |= _revoke_invitations_above(workspace, membership.user, role if role >= Role.ADMIN else None, at)
    audit.record(workspace=workspace, actor=actor, action="member_role_change", target=membership, target_label=membership.user.email, at=at, payload=payload)


@transaction.atomic
def remove_member(membership: Membership, *, actor: User, at: datetime) -> None:
    """End a membership, its access tokens and the invitations it made. Who removes themselves leaves, whatever their role."""
    workspace, user = membership.workspace, membership.user
    role = _role_under_lock(membership)
    if user != actor:
        _may_set(workspace, actor, role, Role.MEMBER)
    _keep_an_owner(workspace, membership, None)
    ended = workspace.access_tokens.filter(user=user, revoked_at=None)
    payload: dict[str, object] = {"role": _word(role), "access_tokens_revoked": sorted(ended.values_list("pk", flat=True))}
    ended.update(revoked_at=at)
    payload |= _revoke_invitations_above(workspace, user, None, at)
    audit.record(workspace=workspace, actor=actor, action="member_remove", target=membership, target_label=user.email, at=at, payload=payload)
    membership.delete()


def _role_under_lock(membership: Membership) -> Role:
    """Hold the workspace, then read the role again. Raises ``NotFound`` when the membership has ended meanwhile."""
    selectors.hold(membership.workspace_id)
    try:
        membership.refresh_from_db(fields=["role"])
    except Membership.DoesNotExist as error:
        raise NotFound("Not found.") from error
    return Role(membership.role)


def _may_set(workspace: Workspace, actor: User, before: Role, after: Role) -> None:
    """The actor's role as it is now, under the lock, is at least Admin and at least both roles."""
    own = workspace.memberships.filter(user=actor).first()
    if own is None or own.role < Role.ADMIN:
        raise PermissionRefused("This needs the role Admin or above.", needs="workspaces.change_members")
    if before > own.role:
        raise PermissionRefused("Only an owner may change an owner.", needs="workspaces.change_owners")
    if after > own.role:
        raise PermissionRefused("Nobody gives a role above their own.", needs="workspaces.change_owners")


def _keep_an_owner(workspace: Workspace, membership: Membership, role: Role | None) -> None:
    # Safe to read first: every change of a membership holds the workspace.
    if membership.role == Role.OWNER and role != Role.OWNER and selectors.owners(workspace).count() == 1:
        raise Conflict("A workspace keeps at least one owner. Make somebody else an owner first.")


def _revoke_invitations_above(workspace: Workspace, inviter: User, role: Role | None, at: datetime) -> dict[str, object]:
    """An invitation is worth no more than what its maker may still give; ``role`` None: nothing at all. What the audit entry says of it."""
    made = selectors.open_invitations(workspace, at).filter(invited_by=inviter)
    return _revoke_all(made if role is None else made.filter(role__gt=role), at)


def _revoke_all(invitations: QuerySet[Invitation], at: datetime) -> dict[str, object]:
    ended = sorted(invitations.values_list("pk", flat=True))
    invitations.update(revoked_at=at)
    return {"invitations_revoked": ended} if ended else {}


def _word(role: int) -> str:
    return Role(role).label.lower()


# --- Invitations ----------------------------------------------------------------------------------------------------
@transaction.atomic
def invite(workspace: Workspace, *, email: str, role: Role, actor: User, at: datetime) -> tuple[Invitation, str]:
    """Invite an address; the token, returned this once, opens for it alone. An earlier open invitation of it ends.

    Raises ``Conflict`` for a member's address, ``PermissionRefused`` for a role above the actor's own, the earlier one's too.
    """
    email = email.strip().lower()
    selectors.hold(workspace.pk)
    earlier = selectors.open_invitations(workspace, at).filter(email=email)
    _may_set(workspace, actor, Role(max(earlier.values_list("role", flat=True), default=Role.MEMBER)), role)
    if workspace.memberships.filter(user__email__iexact=email).exists():
        raise Conflict("This person is a member already.", param="email")
    replaced = _revoke_all(earlier, at)
    token = tokens.new_token(INVITATION_PREFIX, 40)
    invitation = workspace.invitations.create(
        email=email, role=role, token_hash=vault.lookup_hash(token), invited_by=actor, created_at=at, expires_at=at + INVITATION_LIFE
    )
    payload = {"role": _word(role), "expires_at": invitation.expires_at, **replaced}
    audit.record(workspace=workspace, actor=actor, action="invitation_create", target=invitation, target_label=email, at=at, payload=payload)
    return invitation, token


@transaction.atomic
def revoke_invitation(invitation: Invitation, *, actor: User, at: datetime) -> None:
    """Raises ``Conflict`` for an invitation that was accepted, revoked or has expired, ``PermissionRefused`` above the actor's role."""
    workspace = selectors.hold(invitation.workspace_id)
    _may_set(workspace, actor, Role(invitation.role), Role.MEMBER)
    if not selectors.open_invitations(workspace, at).filter(pk=invitation.pk).update(revoked_at=at):
        raise Conflict("This invitation is not open any more.")
    invitation.revoked_at = at
    audit.record(workspace=workspace, actor=actor, action="invitation_revoke", target=invitation, target_label=invitation.email, at=at)


def accept_invitation(token: str, *, at: datetime, user: User | None = None, name: str = "", password: str = "") -> Membership:
    """Join: as ``user``, or as a new person with ``name`` and ``password``. Opens the scope of the workspace itself.

    Raises ``NotFound`` unless the invitation is open, ``PermissionRefused`` for another address than the one invited,
    ``AuthenticationRequired`` when somebody has that address and is not signed in, ``ValidationFailed`` for a password
    that is too weak, ``Conflict`` for a member.
    """
    gone = NotFound("This invitation was used or revoked, or has expired. Ask for a new one.")
    place = selectors.invitation_place(token)
    if place is None:
        raise gone
    workspace_id, invitation_id = place
    with tenancy.scope(workspace_id):
        workspace = selectors.hold(workspace_id)
        invitation = selectors.open_invitations(workspace, at).filter(pk=invitation_id).first()
        if invitation is None:
            raise gone
        if user and user.email.lower() != invitation.email:
            raise PermissionRefused("This invitation is for another address. Sign in with the one it was sent to.")
        user = user or _new_person(invitation.email, name=name, password=password, at=at)
        if workspace.memberships.filter(user=user).exists():
            raise Conflict("You are a member of this workspace already.")
        invitation.accepted_at = at
        invitation.save(update_fields=["accepted_at"])
        membership = workspace.memberships.create(user=user, role=invitation.role, created_at=at)
        payload = {"role": _word(invitation.role), "invitation": invitation.pk}
        audit.record(workspace=workspace, actor=user, action="invitation_accept", target=membership, target_label=user.email, at=at, payload=payload)
    return membership


def _new_person(email: str, *, name: str, password: str, at: datetime) -> User:
    known = AuthenticationRequired("You have an account already. Sign in to accept.")
    if selectors.person_by_email(email):
        raise known
    user = User(email=email, name=name.strip(), created_at=at)
    try:
        validate_password(password, user)
    except ValidationError as error:
        raise ValidationFailed(" ".join(error.messages), param="password") from error
    user.set_password(password)
    try:
        with transaction.atomic():
            user.save(force_insert=True)
    except IntegrityError as error:
        # Made meanwhile, by another workspace's invitation of the same address.
        raise known from error
    return user


@transaction.atomic
def change_name(user: User, *, name: str) -> None:
    """A person's own name, as others see it. It belongs to no workspace, so no audit log has it."""
    user.name = name.strip()
    user.save(update_fields=["name"])


# --- Personal access tokens -----------------------------------------------------------------------------------------
@transaction.atomic
def create_access_token(workspace: Workspace, *, user: User, name: str, scopes: list[str], expires_at: datetime, at: datetime) -> tuple[AccessToken, str]:
    """Make a token for oneself; its plaintext is returned this once. ``scopes`` may exceed the role: the lower one rules."""
    if not at < expires_at <= at + TOKEN_LIFE:
        raise ValidationFailed("A token ends within 365 days.", param="expires_at")
    unknown = set(scopes) - set(AccessToken.Scope.values)
    if unknown or not scopes:
        raise ValidationFailed("Name at least one of: " + ", ".join(AccessToken.Scope.values) + ".", param="scopes")
    selectors.hold(workspace.pk)
    if selectors.own_tokens(workspace, user).filter(expires_at__gt=at).count() >= TOKENS_A_PERSON:
        raise Conflict(f"A person has at most {TOKENS_A_PERSON} tokens. Revoke one first.")
    plaintext = tokens.new_token(TOKEN_PREFIX, 40)
    token = workspace.access_tokens.create(
        user=user,
        name=name,
        token_hash=vault.lookup_hash(plaintext),
        token_end=plaintext[-4:],
        scopes=[scope for scope in AccessToken.Scope.values if scope in scopes],
        created_at=at,
        expires_at=expires_at,
    )
    payload = {"scopes": token.scopes, "expires_at": expires_at}
    audit.record(workspace=workspace, actor=user, action="access_token_create", target=token, at=at, payload=payload)
    return token, plaintext


@transaction.atomic
def revoke_access_token(token: AccessToken, *, actor: User | None, at: datetime) -> None:
    """End a token now. Revoking it again changes nothing."""
    selectors.hold(token.workspace_id)
    if token.workspace.access_tokens.filter(pk=token.pk, revoked_at=None).update(revoked_at=at):
        token.revoked_at = at
        audit.record(workspace=token.workspace, actor=actor, action="access_token_revoke", target=token, at=at)
