"""Holds' settings, the webhook that is told of them, and the outbox of what is to be told."""

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.utils import timezone

from firewall.models import Policy
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
