"""Holds and who decided about them; their settings, the webhook that is told of them, and the outbox of what is to be told."""

import secrets
from uuid import UUID

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.utils import timezone

from approvals.engine.binding import State as StateWords
from firewall.models import EventSource, Policy
from workspaces.ids import uuid7
from workspaces.models import User, Workspace
from workspaces.permissions import Role


class Settings(models.Model):
    """One row a workspace, made with its first write; without one the defaults below hold."""

    workspace = models.OneToOneField(Workspace, models.CASCADE, related_name="approval_settings", primary_key=True)
    #: How long a hold waits for a decision, and an approval for its use.
    approval_ttl_seconds = models.PositiveIntegerField(default=24 * 3600)
    approval_use_ttl_seconds = models.PositiveIntegerField(default=15 * 60)
    #: The key's side may not decide (decisions 7.4).
    four_eyes = models.BooleanField(default=False)
    #: Whether those who may decide are written to, and who else is.
    notify_reviewers = models.BooleanField(default=False)
    notify_emails = ArrayField(models.CharField(max_length=254), default=list)
    #: The address of a Slack-compatible incoming webhook is its own secret.
    slack_url_sealed = models.BinaryField(null=True)


class ReviewPlan(models.Model):
    """How many must approve a hold of a policy, and who may; ``policy`` null is every policy without a plan of its own."""

    workspace = models.ForeignKey(Workspace, models.CASCADE, related_name="review_plans")
    policy = models.ForeignKey(Policy, models.CASCADE, null=True, related_name="review_plans")
    quorum = models.PositiveSmallIntegerField(default=1)
    least_role = models.PositiveSmallIntegerField(choices=Role.choices, default=Role.DEVELOPER)
    #: People who may decide; empty: everyone of the least role or above.
    reviewer_ids = ArrayField(models.BigIntegerField(), default=list)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["workspace", "policy"], nulls_distinct=False, name="one_review_plan_a_policy")]


def new_id() -> str:
    return secrets.token_hex(12)


class Approval(models.Model):
    """One held call and what became of it. Without foreign keys to key, policy and rule: it outlives them, as events do."""

    #: Of the event that was written with it, where it was made just now.
    event_id: UUID | None = None

    class State(models.TextChoices):
        PENDING = StateWords.PENDING, "Pending"
        APPROVED = StateWords.APPROVED, "Approved"
        REJECTED = StateWords.REJECTED, "Rejected"
        EXPIRED = StateWords.EXPIRED, "Expired"
        CONSUMED = StateWords.CONSUMED, "Used"

    id = models.CharField(primary_key=True, max_length=24, default=new_id)
    workspace = models.ForeignKey(Workspace, models.CASCADE, related_name="approvals")
    state = models.CharField(max_length=8, choices=State.choices, default=State.PENDING)

    # The call, as its event has it
    source = models.CharField(max_length=8, choices=EventSource.choices)
    surface = models.CharField(max_length=8)
    tool_name = models.TextField()
    skill_name = models.TextField(null=True)
    #: The whole arguments without secrets, sealed; null for an offered tool, which has none yet.
    arguments_sealed = models.BinaryField(null=True)
    key_id = models.BigIntegerField()
    token_name = models.TextField()
    environment = models.TextField(default="")
    model_name = models.TextField(null=True)
    request_id = models.TextField()
    client_request_id = models.TextField(null=True)
    conversation_id = models.TextField(null=True)
    agent_run_id = models.TextField(null=True)
    run_source = models.TextField(null=True)
    step_id = models.TextField(null=True)
    parent_step_id = models.TextField(null=True)

    # Why it is held
    policy_id = models.BigIntegerField()
    policy_name = models.TextField()
    policy_version = models.IntegerField()
    rule_id = models.BigIntegerField()
    rule_label = models.TextField(default="")
    #: The rule as it was when it held the call: ``approvals.engine.args_hash.as_json``.
    rule = models.JSONField()
    held_because = models.TextField()
    factors = ArrayField(models.TextField(), default=list)
    risk_score = models.SmallIntegerField(default=0)

    # What it is bound to: ``approvals.engine.binding.Bound``
    args_hash = models.CharField(max_length=64)
    #: Empty where the call came without a request of ours (evaluate, MCP).
    request_hash = models.CharField(max_length=64, blank=True, default="")
    tool_hash = models.CharField(max_length=64, blank=True, default="")
    #: As held; ``bound_rule_hash`` is the rule that the reviewer saw, and that must hold the call again.
    rule_hash = models.CharField(max_length=64)
    bound_rule_hash = models.CharField(max_length=64, blank=True, default="")
    binding = models.CharField(max_length=64)

    #: By the database's clock, which alone decides what is over.
    created_at = models.DateTimeField()
    #: Of the hold while it is pending, of the approval once it is given.
    expires_at = models.DateTimeField()
    resolved_at = models.DateTimeField(null=True)
    resolved_by = models.ForeignKey(User, models.SET_NULL, null=True, related_name="+")
    #: The person's address, or what the callback gave; kept when the person is gone.
    resolved_by_label = models.CharField(max_length=254, blank=True, default="")
    #: The reviewer's; the agent gets it.
    reason = models.CharField(max_length=2000, blank=True, default="")
    consumed_at = models.DateTimeField(null=True)
    consumed_request_id = models.TextField(null=True)

    class Meta:
        ordering = ["created_at", "id"]
        constraints = [
            models.UniqueConstraint(fields=["workspace", "binding"], condition=models.Q(state="pending"), name="one_pending_hold_a_call"),
            models.CheckConstraint(condition=models.Q(state__in=["pending", "approved", "rejected", "expired", "consumed"]), name="approval_state_known"),
        ]
        indexes = [
            models.Index(fields=["workspace", "state", "created_at", "id"], name="approval_queue"),
            models.Index(fields=["workspace", "key_id", "tool_name", "created_at"], name="approval_like"),
            models.Index(fields=["expires_at"], condition=models.Q(state__in=["pending", "approved"]), name="approval_due"),
        ]

    def __str__(self) -> str:
        return self.tool_name


class Vote(models.Model):
    """One reviewer's word on one hold; with a quorum it takes several."""

    workspace = models.ForeignKey(Workspace, models.CASCADE, related_name="approval_votes")
    approval = models.ForeignKey(Approval, models.CASCADE, related_name="votes")
    user = models.ForeignKey(User, models.SET_NULL, null=True, related_name="+")
    #: The person's address, or the callback's ``decided_by``.
    label = models.CharField(max_length=254)
    approves = models.BooleanField()
    reason = models.CharField(max_length=2000, blank=True, default="")
    #: The rule as it was then: of another one, the word does not count.
    rule_hash = models.CharField(max_length=64, blank=True, default="")
    at = models.DateTimeField()

    class Meta:
        ordering = ["id"]
        constraints = [models.UniqueConstraint(fields=["approval", "user"], name="one_vote_a_person", nulls_distinct=False)]


class KeptAnswer(models.Model):
    """A model's whole answer that holds wait in, sealed: what is given out once they are resolved. Gone when it can no longer be."""

    workspace = models.ForeignKey(Workspace, models.CASCADE, related_name="kept_answers")
    key_id = models.BigIntegerField()
    #: Every hold of the answer, in the order of its calls.
    approval_ids = ArrayField(models.CharField(max_length=24))
    sealed = models.BinaryField()
    request_id = models.TextField()
    created_at = models.DateTimeField()

    class Meta:
        ordering = ["-id"]


class WebhookEndpoint(models.Model):
    """Where a workspace is told of its holds. Without a row, or with an empty ``url``, it is not."""

    workspace = models.OneToOneField(Workspace, models.CASCADE, related_name="webhook_endpoint", primary_key=True)
    url = models.CharField(max_length=512, blank=True)
    secret_sealed = models.BinaryField(null=True)
    secret_set_at = models.DateTimeField(null=True)
    #: Counts as the key's side where four eyes are asked for: who knows the secret can sign a callback.
    secret_set_by = models.ForeignKey(User, models.SET_NULL, null=True, related_name="+")
    #: The secret before this one, valid until then.
    former_secret_sealed = models.BinaryField(null=True)
    former_secret_until = models.DateTimeField(null=True)
    former_secret_set_by = models.ForeignKey(User, models.SET_NULL, null=True, related_name="+")
    #: Since when nothing has arrived; null when the last attempt did.
    failing_since = models.DateTimeField(null=True)
    paused_at = models.DateTimeField(null=True)


class Channel(models.TextChoices):
    WEBHOOK = "webhook"
    EMAIL = "email"
    SLACK = "slack"


class Delivery(models.Model):
    """One message to one place: written in the transaction of what it tells of, sent by a worker until it has arrived."""

    class State(models.TextChoices):
        PENDING = "pending"
        DELIVERED = "delivered"
        #: All attempts were made.
        FAILED = "failed"
        #: The hold ended before the message arrived, so it had nothing left to say.
        STOPPED = "stopped"

    workspace = models.ForeignKey(Workspace, models.CASCADE, related_name="deliveries")
    channel = models.CharField(max_length=8, choices=Channel.choices)
    #: The same in every attempt, so that a receiver can tell a repetition: ``webhook-id``.
    message_id = models.CharField(max_length=40, unique=True)
    #: ``firewall.approval.pending``, ``.approved``, ``.rejected``, ``.expired`` or ``.test``.
    event = models.CharField(max_length=40)
    approval_id = models.CharField(max_length=24, blank=True)
    #: The webhook's body, byte for byte as it is signed.
    body = models.TextField()
    state = models.CharField(max_length=9, choices=State.choices, default=State.PENDING)
    created_at = models.DateTimeField(default=timezone.now)
    finished_at = models.DateTimeField(null=True)
    #: Attempts begun, those that may follow, and when the next one is due.
    attempts_made = models.PositiveSmallIntegerField(default=0)
    attempts_left = models.PositiveSmallIntegerField()
    due_at = models.DateTimeField()
    #: A person asked for the next attempt: it is made although the endpoint is paused.
    by_hand = models.BooleanField(default=False)
    #: When the hold ends of itself; after it there is nothing to ask for.
    until = models.DateTimeField(null=True)
    #: A worker has it in hand until then.
    leased_until = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["due_at"], condition=models.Q(state="pending"), name="delivery_due"),
            models.Index(fields=["leased_until"], condition=models.Q(leased_until__isnull=False), name="delivery_in_hand"),
            models.Index(fields=["workspace", "-id"], name="delivery_log"),
            models.Index(fields=["workspace", "approval_id"], name="delivery_of_approval"),
        ]


class Attempt(models.Model):
    """One try of a delivery. Without ``finished_at`` it is on its way, or its worker ended before it knew."""

    id = models.UUIDField(primary_key=True, default=uuid7)
    workspace = models.ForeignKey(Workspace, models.CASCADE, related_name="delivery_attempts")
    delivery = models.ForeignKey(Delivery, models.CASCADE, related_name="attempts")
    number = models.PositiveSmallIntegerField()
    started_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True)
    #: The receiver's; null when none came.
    status = models.PositiveSmallIntegerField(null=True)
    latency_ms = models.PositiveIntegerField(null=True)
    #: Why it did not arrive, and the beginning of what the receiver said.
    error = models.CharField(max_length=200, blank=True)
    excerpt = models.CharField(max_length=500, blank=True)

    class Meta:
        ordering = ["number"]
        constraints = [models.UniqueConstraint(fields=["delivery", "number"], name="attempt_number_once")]
