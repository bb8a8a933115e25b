"""People, workspaces and what joins them. Rows are reached through their workspace (``workspace.memberships``)."""

from typing import ClassVar

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.db import models
from django.db.models.functions import Lower
from django.utils import timezone

from workspaces.permissions import Role


class UserManager(BaseUserManager["User"]):
    """People by e-mail; the same address in other letters is the same person."""

    def get_by_natural_key(self, username: str | None) -> "User":
        return self.get(email__iexact=username)


class User(AbstractBaseUser):
    """A person. What they may do is said by their membership of each workspace, never here."""

    email = models.EmailField(unique=True, max_length=254)
    name = models.CharField(max_length=120, blank=True)
    is_active = models.BooleanField(default=True)
    created_at = models.DateTimeField(default=timezone.now)

    objects: ClassVar[UserManager] = UserManager()
    USERNAME_FIELD = "email"
    EMAIL_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    class Meta:
        constraints = [models.UniqueConstraint(Lower("email"), name="one_person_per_address")]

    def __str__(self) -> str:
        return self.name or self.email


class Workspace(models.Model):
    """A tenant. Nothing crosses its border."""

    name = models.CharField(max_length=80)
    created_at = models.DateTimeField(default=timezone.now)
    archived_at = models.DateTimeField(null=True, blank=True)
    #: The bootstrap workspace of an embedded installation may use the built-in demo provider.
    has_demo = models.BooleanField(default=False)
    #: Moves with every change the gateway must see (``services.touch_config``); it compares one number a call.
    config_version = models.BigIntegerField(default=1)

    def __str__(self) -> str:
        return self.name


class Membership(models.Model):
    """One person in one workspace, with a role."""

    workspace = models.ForeignKey(Workspace, models.CASCADE, related_name="memberships")
    user = models.ForeignKey(User, models.CASCADE, related_name="memberships")
    role = models.PositiveSmallIntegerField(choices=Role.choices)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["workspace", "user"], name="one_membership_per_person")]


class Invitation(models.Model):
    """A link that lets one address join, once, for seven days. Only the hash of its token is kept."""

    workspace = models.ForeignKey(Workspace, models.CASCADE, related_name="invitations")
    email = models.EmailField(max_length=254)
    role = models.PositiveSmallIntegerField(choices=Role.choices)
    token_hash = models.CharField(max_length=64, unique=True)
    invited_by = models.ForeignKey(User, models.SET_NULL, null=True, related_name="+")
    created_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField()
    accepted_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)


class AccessToken(models.Model):
    """A person's token for the management API in one workspace; acts with the lower of its scopes and their role."""

    class Scope(models.TextChoices):
        READ = "read"
        WRITE = "write"
        APPROVE = "approve"
        REVEAL = "reveal"
        ADMIN = "admin"

    workspace = models.ForeignKey(Workspace, models.CASCADE, related_name="access_tokens")
    user = models.ForeignKey(User, models.CASCADE, related_name="access_tokens")
    name = models.CharField(max_length=80)
    token_hash = models.CharField(max_length=64, unique=True)
    #: The last four characters, so that a person can tell two tokens apart.
    token_end = models.CharField(max_length=4)
    scopes = models.JSONField(default=list)
    created_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField()
    last_used_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)


class AuditEntry(models.Model):
    """One change of configuration, chained to the one before it in its workspace. Written by ``workspaces.audit`` only."""

    workspace = models.ForeignKey(Workspace, models.PROTECT, related_name="audit_entries")
    #: 1, 2, 3, ... without a gap within the workspace.
    sequence = models.BigIntegerField()
    at = models.DateTimeField()
    actor_id = models.BigIntegerField(null=True)
    #: The person's address, or "system"; kept when the person is gone.
    actor_label = models.CharField(max_length=254)
    action = models.CharField(max_length=64)
    target_kind = models.CharField(max_length=40)
    target_id = models.CharField(max_length=64)
    target_label = models.CharField(max_length=254, blank=True)
    payload = models.JSONField(default=dict)
    previous_hash = models.CharField(max_length=64)
    entry_hash = models.CharField(max_length=64)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["workspace", "sequence"], name="audit_sequence_has_no_twin")]
        ordering = ["-sequence"]


class AuditCheckpoint(models.Model):
    """How far a chain had come at a moment, signed: entries removed from its end show by what this says of them."""

    workspace = models.ForeignKey(Workspace, models.PROTECT, related_name="audit_checkpoints")
    at = models.DateTimeField()
    #: The number of entries, which is the last one's sequence, and its hash.
    count = models.BigIntegerField()
    head = models.CharField(max_length=64)
    #: Ed25519 over the canonical JSON of the four values above, hex.
    signature = models.CharField(max_length=128)


class IdempotencyRecord(models.Model):
    """The stored answer of a management write that named an ``Idempotency-Key``; kept 24 hours, never with a secret."""

    workspace = models.ForeignKey(Workspace, models.CASCADE, related_name="idempotency_records")
    #: SHA-256 over credential, method, path and the caller's key.
    scope_hash = models.CharField(max_length=64)
    body_hash = models.CharField(max_length=64)
    status = models.PositiveSmallIntegerField()
    answer = models.JSONField(null=True)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["workspace", "scope_hash"], name="one_answer_per_idempotency_key")]
