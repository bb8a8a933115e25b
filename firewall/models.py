"""Policies, their rules, the firewall's settings, and the events in which every decision is kept."""

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.utils import timezone

from firewall.engine.words import ReasonCode, Verdict
from workspaces.ids import uuid7
from workspaces.models import User, Workspace


class DefaultVerdict(models.TextChoices):
    ALLOW = "allow"
    AUDIT = "audit"
    DENY = "deny"


class RuleVerdict(models.TextChoices):
    ALLOW = "allow"
    AUDIT = "audit"
    DENY = "deny"
    SANITIZE = "sanitize"
    PENDING_APPROVAL = "pending_approval"
    CAP_COST = "cap_cost"


class Stage(models.TextChoices):
    EVERY = "", "every surface"
    INBOUND = "inbound"
    RESPONSE = "response"
    MCP = "mcp"
    EGRESS = "egress"


class Settings(models.Model):
    """One row a workspace, made with its first write; without one the defaults below hold."""

    workspace = models.OneToOneField(Workspace, models.CASCADE, related_name="firewall_settings", primary_key=True)
    observe_mode = models.BooleanField(default=True)
    #: A run goes on as long as its calls are less than this apart.
    run_gap_seconds = models.PositiveIntegerField(default=1800)


class Policy(models.Model):
    """A named, ordered list of rules with a default."""

    workspace = models.ForeignKey(Workspace, models.CASCADE, related_name="policies")
    name = models.CharField(max_length=64)
    enabled = models.BooleanField(default=True)
    is_default = models.BooleanField(default=False)
    default_verdict = models.CharField(max_length=8, choices=DefaultVerdict.choices, default=DefaultVerdict.AUDIT)
    shadow_mode = models.BooleanField(default=False)
    #: +1 with every change of the policy or of one of its rules; never resets.
    version = models.PositiveIntegerField(default=1)
    #: Blocked calls leave a line in the answer that says so (decisions 6.5).
    block_notice = models.BooleanField(default=True)
    #: Under a deny default an unknown top-level field of a request is refused (decisions 6.7).
    refuse_unknown_fields = models.BooleanField(default=True)
    #: Runs that one key may begin in an hour (decisions 5); null: any number.
    max_runs_per_key_per_hour = models.PositiveIntegerField(null=True)
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(default=timezone.now)
    updated_by = models.ForeignKey(User, models.SET_NULL, null=True, related_name="+")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["workspace", "name"], name="policy_name_once_a_workspace"),
            models.UniqueConstraint(fields=["workspace"], condition=models.Q(is_default=True), name="one_default_policy_a_workspace"),
        ]
        ordering = ["name", "id"]

    def __str__(self) -> str:
        return self.name


class Rule(models.Model):
    """One line of a policy: what it matches and its verdict. Lower priority is judged first, ties by id."""

    workspace = models.ForeignKey(Workspace, models.CASCADE, related_name="rules")
    policy = models.ForeignKey(Policy, models.CASCADE, related_name="rules")
    priority = models.IntegerField(default=100)
    label = models.CharField(max_length=120, blank=True)
    notes = models.CharField(max_length=2000, blank=True)
    stage = models.CharField(max_length=8, choices=Stage.choices, blank=True, default=Stage.EVERY)
    tool_name_glob = models.CharField(max_length=128, blank=True, default="")
    skill_name_glob = models.CharField(max_length=128, blank=True, default="", db_default="")
    #: Objects as ``firewall.engine.rule_json.stored`` writes them; null says nothing.
    args_match = models.JSONField(null=True)
    egress = models.JSONField(null=True)
    sanitize = models.JSONField(null=True)
    sequence = models.JSONField(null=True)
    cap_cost_cents = models.PositiveIntegerField(null=True)
    verdict = models.CharField(max_length=16, choices=RuleVerdict.choices)
    enabled = models.BooleanField(default=True)

    class Meta:
        ordering = ["priority", "id"]


class PolicyVersion(models.Model):
    """A policy as one save left it. Append-only, without a foreign key: it outlives the policy, as the events do that name its version."""

    workspace = models.ForeignKey(Workspace, models.PROTECT, related_name="policy_versions")
    policy_id = models.BigIntegerField()
    version = models.PositiveIntegerField()
    #: The policy's fields by name, and its rules with their ids, as they were judged: ``firewall.services.snapshot``.
    snapshot = models.JSONField()
    #: What changed, in words.
    summary = models.CharField(max_length=1200)
    saved_at = models.DateTimeField()
    author_id = models.BigIntegerField(null=True)
    #: The person's address; kept when the person is gone. Empty for the installation itself.
    author_label = models.CharField(max_length=254, blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["workspace", "policy_id", "version"], name="policy_version_once")]
        ordering = ["-id"]


class EventSource(models.TextChoices):
    RELAY = "relay"
    EVALUATE = "evaluate"
    MCP = "mcp"


#: Codes of events that tell what became of a held call: no calls themselves, it is counted when it was held and when it went on.
AFTER_A_HOLD = (ReasonCode.APPROVAL_APPROVED, ReasonCode.APPROVAL_REJECTED, ReasonCode.APPROVAL_EXPIRED)
#: Events about calls that have an event of their own: these, and a sequence that was found afterwards.
IS_ABOUT_A_CALL = models.Q(reason_code__in=AFTER_A_HOLD) | models.Q(verdict=Verdict.AUDIT, reason_code=ReasonCode.SEQUENCE, shadow=False)


class Event(models.Model):
    """One judged action, as it was: immutable, without foreign keys, so that it outlives the key and the rule it names.

    The table is partitioned by day over the id, whose first 48 bits are the time. Written by the gateway's recorder.
    """

    id = models.UUIDField(primary_key=True, default=uuid7)
    workspace = models.ForeignKey(Workspace, models.DO_NOTHING, related_name="events", db_constraint=False)
    occurred_at = models.DateTimeField()
    source = models.CharField(max_length=8, choices=EventSource.choices)
    surface = models.CharField(max_length=8)
    verdict = models.CharField(max_length=16)
    #: Null when the event stands for several advertised tools: then ``tools`` has them.
    tool_name = models.TextField(null=True)
    tools = ArrayField(models.TextField(), default=list)
    skill_name = models.TextField(null=True)
    reason = models.TextField()
    reason_code = models.TextField(null=True)
    factors = ArrayField(models.TextField(), default=list)
    risk_score = models.SmallIntegerField(default=0)
    policy_id = models.BigIntegerField(null=True)
    policy_name = models.TextField(null=True)
    policy_version = models.IntegerField(null=True)
    rule_id = models.BigIntegerField(null=True)
    rule_label = models.TextField(null=True)
    request_id = models.TextField()
    client_request_id = models.TextField(null=True)
    conversation_id = models.TextField(null=True)
    agent_run_id = models.TextField(null=True)
    run_source = models.TextField(null=True)
    step_id = models.TextField(null=True)
    parent_step_id = models.TextField(null=True)
    key_id = models.BigIntegerField(null=True)
    token_name = models.TextField(null=True)
    environment = models.TextField(default="")
    model_name = models.TextField(null=True)
    args_summary = models.TextField(null=True)
    args_hash = models.TextField(null=True)
    approval_id = models.TextField(null=True)
    cost_micro_usd = models.BigIntegerField(null=True)
    shadow = models.BooleanField(default=False)
    gap = models.BooleanField(default=False)
    quarantine = models.BooleanField(default=False)
    #: What the judgement rested on beside the call, for a replay: ``firewall.engine.recorded``.
    judged_on = models.JSONField(null=True)

    class Meta:
        managed = False
        ordering = ["-id"]


class ToolDay(models.Model):
    """How often a key met a tool on one surface on one day (UTC): summed from events by a task, so that a page need not read them all."""

    workspace = models.ForeignKey(Workspace, models.CASCADE, related_name="tool_days")
    day = models.DateField()
    tool_name = models.TextField()
    surface = models.CharField(max_length=8)
    #: 0 for an event without a key.
    key_id = models.BigIntegerField()
    calls = models.BigIntegerField()
    first_seen_at = models.DateTimeField()
    last_seen_at = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["workspace", "day", "tool_name", "surface", "key_id"], name="tool_day_once")]


class RuleDay(models.Model):
    """How many calls a rule decided on one day (UTC), summed as ``ToolDay`` is."""

    workspace = models.ForeignKey(Workspace, models.CASCADE, related_name="rule_days")
    day = models.DateField()
    policy_id = models.BigIntegerField()
    #: 0: no rule matched, the policy's default decided.
    rule_id = models.BigIntegerField()
    calls = models.BigIntegerField()
    last_at = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["workspace", "policy_id", "rule_id", "day"], name="rule_day_once")]


class ToolTally(models.Model):
    """How far the workspace's events are summed into ``ToolDay`` and ``RuleDay``: all with an id below ``through``."""

    workspace = models.OneToOneField(Workspace, models.CASCADE, related_name="tool_tally", primary_key=True)
    through = models.UUIDField()


class Backtest(models.Model):
    """A policy judged over what was recorded: what was asked for, how far it is, and what came of it."""

    class State(models.TextChoices):
        QUEUED = "queued"
        RUNNING = "running"
        DONE = "done"
        FAILED = "failed"
        CANCELLED = "cancelled"

    workspace = models.ForeignKey(Workspace, models.CASCADE, related_name="backtests")
    state = models.CharField(max_length=9, choices=State.choices, default=State.QUEUED)
    #: The policy that was saved, or that the draft is one of; null: a draft of none.
    policy_id = models.BigIntegerField(null=True)
    policy_version = models.PositiveIntegerField(null=True)
    is_draft = models.BooleanField(default=False)
    #: As ``firewall.services.snapshot`` writes it: what is judged by, whatever becomes of the policy.
    snapshot = models.JSONField()
    start = models.DateTimeField()
    end = models.DateTimeField()
    #: The keys whose runs are judged; null: all but ``but_key_ids``.
    key_ids = ArrayField(models.BigIntegerField(), null=True)
    but_key_ids = ArrayField(models.BigIntegerField(), default=list)
    #: Runs that a key would have begun beyond the policy's limit: key, run, number in the hour.
    over_limit = models.JSONField(default=list)
    #: Null until they are counted.
    events = models.BigIntegerField(null=True)
    result = models.JSONField(null=True)
    #: Why it failed.
    error = models.CharField(max_length=300, blank=True)
    created_at = models.DateTimeField()
    created_by = models.ForeignKey(User, models.SET_NULL, null=True, related_name="+")
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-id"]

    @property
    def is_over(self) -> bool:
        return self.state not in (self.State.QUEUED, self.State.RUNNING)


class BacktestPart(models.Model):
    """Some runs of a backtest: those with ids from ``first_run`` to ``last_run``; null: the events without a run. Gone when all are done."""

    class State(models.TextChoices):
        PENDING = "pending"
        RUNNING = "running"
        DONE = "done"

    workspace = models.ForeignKey(Workspace, models.CASCADE, related_name="+")
    backtest = models.ForeignKey(Backtest, models.CASCADE, related_name="parts")
    first_run = models.TextField(null=True)
    last_run = models.TextField(null=True)
    events = models.BigIntegerField()
    replayed = models.BigIntegerField(default=0)
    state = models.CharField(max_length=7, choices=State.choices, default=State.PENDING)
    #: Whoever works at it has this; a part that was given to another is not written any more.
    claim = models.UUIDField(null=True)
    #: When its worker was last heard of.
    touched_at = models.DateTimeField(null=True)
    attempts = models.PositiveSmallIntegerField(default=0)
    result = models.JSONField(null=True)

    class Meta:
        ordering = ["id"]
