"""Relay keys, provider credentials, the usage of every call, and the money it costs."""

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.utils import timezone

from firewall.models import Policy
from workspaces.ids import uuid7
from workspaces.models import User, Workspace


class ApiKey(models.Model):
    """A relay key. Looked up by a keyed hash; the sealed copy serves re-reveal and may be absent."""

    class RunScope(models.TextChoices):
        AUTO = "auto"
        KEY = "key"

    class Cycle(models.TextChoices):
        DAY = "day"
        WEEK = "week"
        MONTH = "month"

    workspace = models.ForeignKey(Workspace, models.CASCADE, related_name="api_keys")
    name = models.CharField(max_length=80)
    token_hash = models.CharField(max_length=64, unique=True)
    token_sealed = models.BinaryField(null=True)
    #: The four characters on each side of the mask ``sk-orca-a1b2****yz90``.
    token_start = models.CharField(max_length=4)
    token_end = models.CharField(max_length=4)
    is_disabled = models.BooleanField(default=False)
    is_frozen = models.BooleanField(default=False)
    is_firewall_gateway = models.BooleanField(default=False)
    created_at = models.DateTimeField(default=timezone.now)
    created_by = models.ForeignKey(User, models.SET_NULL, null=True, related_name="+")
    accessed_at = models.DateTimeField(null=True)
    #: None: never.
    expires_at = models.DateTimeField(null=True)
    model_limits_enabled = models.BooleanField(default=False)
    model_limits = ArrayField(models.CharField(max_length=128), default=list)
    #: Addresses and CIDRs in canonical form; empty: any address.
    allow_ips = ArrayField(models.CharField(max_length=64), default=list)
    environment = models.CharField(max_length=32, blank=True, default="")
    firewall_policy = models.ForeignKey(Policy, models.PROTECT, null=True, related_name="api_keys")
    group = models.CharField(max_length=32, default="default")
    run_scope = models.CharField(max_length=4, choices=RunScope.choices, default=RunScope.AUTO)
    #: The key whose scope this one was made with, to take its place.
    replaces = models.ForeignKey("self", models.SET_NULL, null=True, related_name="successors")
    #: What the key may spend in its life; 0 is no limit, as documented (``credit_limit_usd``).
    credit_limit_micro_usd = models.BigIntegerField(default=0)
    #: What it may spend in each period of UTC; 0 is no limit. A week begins on Monday.
    cycle_limit_micro_usd = models.BigIntegerField(default=0)
    cycle = models.CharField(max_length=5, choices=Cycle.choices, default=Cycle.MONTH)

    class Meta:
        ordering = ["-id"]
        constraints = [models.CheckConstraint(condition=models.Q(credit_limit_micro_usd__gte=0, cycle_limit_micro_usd__gte=0), name="limits_are_not_negative")]

    def __str__(self) -> str:
        return self.name


class ProviderCredential(models.Model):
    """Where calls go: an OpenAI-compatible base address and its secret."""

    class Kind(models.TextChoices):
        OPENAI = "openai", "OpenAI-compatible"

    workspace = models.ForeignKey(Workspace, models.CASCADE, related_name="providers")
    name = models.CharField(max_length=64)
    kind = models.CharField(max_length=16, choices=Kind.choices, default=Kind.OPENAI)
    base_url = models.CharField(max_length=512)
    secret_sealed = models.BinaryField(null=True)
    enabled = models.BooleanField(default=True)
    #: Lower is asked first when several providers have the model.
    order = models.IntegerField(default=100)
    #: The built-in demo provider: reached from inside, labelled wherever it appears.
    is_demo = models.BooleanField(default=False)
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["workspace", "name"], name="provider_name_once_a_workspace")]
        ordering = ["order", "id"]

    def __str__(self) -> str:
        return self.name


class ProviderModel(models.Model):
    """A model name that agents may ask for, what the provider calls it, and its price when we know better."""

    workspace = models.ForeignKey(Workspace, models.CASCADE, related_name="provider_models")
    provider = models.ForeignKey(ProviderCredential, models.CASCADE, related_name="models")
    name = models.CharField(max_length=128)
    #: Empty: the same name.
    upstream = models.CharField(max_length=128, blank=True, default="")
    #: Micro-USD per million tokens; None: the list price, if there is one.
    input_per_million_micro_usd = models.BigIntegerField(null=True)
    output_per_million_micro_usd = models.BigIntegerField(null=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["provider", "name"], name="model_once_a_provider")]
        ordering = ["id"]


class UsageSource(models.TextChoices):
    PROVIDER = "provider", "reported by the provider"
    COUNTED = "counted", "counted from what was forwarded"
    TOOL = "tool", "no model was called: the price of a tool"
    NONE = "none", "nothing was used"


#: Calls that used something whose price is not known. Their cost is unknown, never 0.
UNPRICED = models.Q(cost_micro_usd__isnull=True) & ~models.Q(usage_source=UsageSource.NONE)


class Usage(models.Model):
    """What one call used: one row, inserted before its answer is complete. Partitioned like events, written by the recorder."""

    id = models.UUIDField(primary_key=True, default=uuid7)
    workspace = models.ForeignKey(Workspace, models.DO_NOTHING, related_name="usage", db_constraint=False)
    #: When the call came in.
    occurred_at = models.DateTimeField()
    request_id = models.TextField()
    key_id = models.BigIntegerField()
    token_name = models.TextField()
    environment = models.TextField(default="")
    model_name = models.TextField(null=True)
    provider_id = models.BigIntegerField(null=True)
    provider_name = models.TextField(null=True)
    conversation_id = models.TextField(null=True)
    agent_run_id = models.TextField(null=True)
    run_source = models.TextField(null=True)
    step_id = models.TextField(null=True)
    parent_step_id = models.TextField(null=True)
    #: The HTTP status the client got, and the error code when it was one.
    status = models.SmallIntegerField()
    error_code = models.TextField(null=True)
    #: ``completed``, ``blocked``, ``failed`` or ``hung_up``.
    outcome = models.TextField()
    streamed = models.BooleanField(default=False)
    prompt_tokens = models.IntegerField(null=True)
    completion_tokens = models.IntegerField(null=True)
    cached_tokens = models.IntegerField(null=True)
    reasoning_tokens = models.IntegerField(null=True)
    usage_source = models.TextField()
    #: None: the price is unknown. Never 0 for that.
    cost_micro_usd = models.BigIntegerField(null=True)
    latency_ms = models.IntegerField()
    first_byte_ms = models.IntegerField(null=True)
    #: Digest of the message list, by which a later call that extends it is known to continue the run.
    context_digest = models.TextField(null=True)
    #: Keyed hash of system prompt and first user message: the run of a call that extends nothing.
    fingerprint = models.TextField(null=True)

    class Meta:
        managed = False
        ordering = ["-id"]


# --- Money ----------------------------------------------------------------------------------------------------------
class Budget(models.Model):
    """What a workspace, or the keys that one member made, may spend in a calendar month of UTC."""

    workspace = models.ForeignKey(Workspace, models.CASCADE, related_name="budgets")
    #: None: the workspace's own.
    member = models.ForeignKey(User, models.CASCADE, null=True, related_name="+")
    limit_micro_usd = models.BigIntegerField()
    updated_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["workspace", "member"], name="budget_once_a_member", nulls_distinct=False),
            models.CheckConstraint(condition=models.Q(limit_micro_usd__gte=0), name="budget_is_not_negative"),
        ]
        ordering = ["id"]


class BudgetNotice(models.Model):
    """A part of a budget that a month came to. Noted once; ``told_at`` is when its Admins were written to.

    ``claimed_at`` is when a worker began to write: what it has not finished soon after, another one does.
    """

    workspace = models.ForeignKey(Workspace, models.CASCADE, related_name="budget_notices")
    budget = models.ForeignKey(Budget, models.CASCADE, related_name="notices")
    #: The first day of the month.
    month = models.DateField()
    percent = models.PositiveSmallIntegerField()
    noted_at = models.DateTimeField()
    claimed_at = models.DateTimeField(null=True)
    told_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["budget", "month", "percent"], name="budget_noted_once_a_month")]
        ordering = ["-id"]


class PriceOverride(models.Model):
    """A workspace's own price of a model, whichever provider answers: it goes before the provider's model and the list price.

    ``None`` is "as the next source says"; the parts of input and output that have no price of their own cost what the whole does.
    All are micro-USD; ``tools`` maps a hosted tool's name to the price of one use. ``tiers`` are
    ``{"above_input_tokens", "input_per_million_micro_usd"?, "output_per_million_micro_usd"?, "cached_input_per_million_micro_usd"?}``:
    a call with more input than that pays the tier's price for all its tokens, as providers do.
    """

    workspace = models.ForeignKey(Workspace, models.CASCADE, related_name="price_overrides")
    #: The name that agents ask for.
    model = models.CharField(max_length=128)
    input_per_million_micro_usd = models.BigIntegerField(null=True)
    output_per_million_micro_usd = models.BigIntegerField(null=True)
    cached_input_per_million_micro_usd = models.BigIntegerField(null=True)
    cache_write_per_million_micro_usd = models.BigIntegerField(null=True)
    reasoning_per_million_micro_usd = models.BigIntegerField(null=True)
    input_audio_per_million_micro_usd = models.BigIntegerField(null=True)
    output_audio_per_million_micro_usd = models.BigIntegerField(null=True)
    per_request_micro_usd = models.BigIntegerField(default=0)
    tools = models.JSONField(default=dict)
    tiers = models.JSONField(default=list)
    #: What an answer may be long when the client sets no limit, for the reservation; None: 4,096.
    default_output_tokens = models.IntegerField(null=True)
    updated_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["workspace", "model"], name="price_override_once_a_model")]
        ordering = ["model"]


class ToolPrice(models.Model):
    """What one use of a tool costs that is not the provider's: counted where its caller asks about it beforehand."""

    workspace = models.ForeignKey(Workspace, models.CASCADE, related_name="tool_prices")
    #: A name, or a family of them, as in rules.
    tool_name_glob = models.CharField(max_length=128)
    price_micro_usd = models.BigIntegerField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["workspace", "tool_name_glob"], name="tool_price_once"),
            models.CheckConstraint(condition=models.Q(price_micro_usd__gte=0), name="tool_price_is_not_negative"),
        ]
        ordering = ["tool_name_glob"]


class StoppedRun(models.Model):
    """A run that a person stopped: every further call of it is denied, ``run_stopped``."""

    workspace = models.ForeignKey(Workspace, models.CASCADE, related_name="stopped_runs")
    key_id = models.BigIntegerField()
    run_id = models.CharField(max_length=128)
    stopped_at = models.DateTimeField()
    stopped_by = models.ForeignKey(User, models.SET_NULL, null=True, related_name="+")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["workspace", "key_id", "run_id"], name="run_stopped_once")]
        ordering = ["-id"]


class LedgerEntry(models.Model):
    """One movement of money. Inserted by the recorder, never changed; a balance is the sum of its entries.

    ``reserve`` holds what a call may cost at most; ``settle`` gives that back and books what it did cost, once an attempt: its id is
    the reserve's with the last bit turned, so whoever comes second writes nothing. ``streamed`` moves nothing: it notes what the call
    has cost so far, for the sweep. Ids sort by the call's beginning, which also says in which day and month it counts.
    """

    class Kind(models.TextChoices):
        RESERVE = "reserve"
        STREAMED = "streamed"
        SETTLE = "settle"

    id = models.UUIDField(primary_key=True)
    workspace = models.ForeignKey(Workspace, models.DO_NOTHING, related_name="ledger", db_constraint=False)
    occurred_at = models.DateTimeField()
    request_id = models.TextField()
    kind = models.TextField(choices=Kind.choices)
    #: Why: ``call`` (it was made), ``retry`` (once more), ``completed``, ``failed``, ``blocked``, ``held``, ``hung_up`` (how it ended), ``retried`` (it was
    #: sent and never answered), ``swept`` (its process died), ``tool`` (no model was called: its caller asked about a tool with a price).
    cause = models.TextField()
    key_id = models.BigIntegerField()
    #: Who made the key.
    member_id = models.BigIntegerField(null=True)
    agent_run_id = models.TextField(null=True)
    held_micro_usd = models.BigIntegerField(default=0)
    spent_micro_usd = models.BigIntegerField(default=0)
    streamed_micro_usd = models.BigIntegerField(null=True)
    #: Of a ``reserve``: which process serves the call, until when it must be over, and what its usage row says of it.
    process_id = models.UUIDField(null=True)
    deadline_at = models.DateTimeField(null=True)
    call = models.JSONField(null=True)

    class Meta:
        managed = False
        ordering = ["-id"]


class LedgerDay(models.Model):
    """What a key spent on a day, summed once no call of that day is open: it outlives the entries, whose partitions go with time."""

    workspace = models.ForeignKey(Workspace, models.CASCADE, related_name="ledger_days")
    day = models.DateField()
    key_id = models.BigIntegerField()
    #: 0 where the key has no maker.
    member_id = models.BigIntegerField()
    spent_micro_usd = models.BigIntegerField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["workspace", "key_id", "day", "member_id"], name="ledger_day_once")]
        ordering = ["day"]
