"""What a key did since a moment: for whoever must know whether a leaked key was used, or whether an old one is quiet."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.db.models import Count, Max, Q, Sum
from django.db.models.functions import Coalesce, TruncHour

from keys.models import UNPRICED, ApiKey
from workspaces.ids import lowest_at
from workspaces.models import Workspace

MOST = 12


@dataclass(slots=True)
class Deeds:
    """Counts since the moment asked for. ``tools`` are (name, called, denied), the most called first."""

    calls: int = 0
    cost_micro_usd: int = 0
    unpriced_calls: int = 0
    runs: int = 0
    denied: int = 0
    last_at: datetime | None = None
    models: list[str] = field(default_factory=list)
    tools: list[tuple[str, int, int]] = field(default_factory=list)


def deeds(workspace: Workspace, key: ApiKey, *, since: datetime) -> Deeds:
    usage = workspace.usage.filter(key_id=key.pk, pk__gte=lowest_at(since))
    sums = usage.aggregate(
        calls=Count("*"),
        cost=Coalesce(Sum("cost_micro_usd"), 0),
        unpriced=Count("pk", filter=UNPRICED),
        runs=Count("agent_run_id", distinct=True),
        last=Max("occurred_at"),
    )
    events = workspace.events.filter(key_id=key.pk, pk__gte=lowest_at(since)).order_by()
    called = events.exclude(surface="inbound").filter(tool_name__isnull=False).values("tool_name")
    tools = called.annotate(called=Count("*"), denied=Count("pk", filter=Q(verdict="deny"))).order_by("-called", "tool_name")[:MOST]
    models = usage.exclude(model_name=None).order_by("model_name").values_list("model_name", flat=True).distinct()[:MOST]
    return Deeds(
        calls=sums["calls"],
        cost_micro_usd=sums["cost"],
        unpriced_calls=sums["unpriced"],
        runs=sums["runs"],
        denied=events.filter(verdict="deny").count(),
        # A gateway key may only have asked about calls: that is in the events alone.
        last_at=max(filter(None, (sums["last"], events.aggregate(last=Max("occurred_at"))["last"])), default=None),
        models=[name for name in models if name],
        tools=[(str(row["tool_name"]), row["called"], row["denied"]) for row in tools],
    )


def denied_since(workspace: Workspace, key: ApiKey, since: datetime) -> int:
    """How many tools and calls of a key were denied."""
    return workspace.events.filter(key_id=key.pk, pk__gte=lowest_at(since), verdict="deny").count()


def calls_by_hour(workspace: Workspace, keys: Sequence[ApiKey], *, at: datetime) -> list[tuple[datetime, list[int]]]:
    """The last 24 hours, the current one included: how many calls each of these keys made, in their order."""
    first = at.replace(minute=0, second=0, microsecond=0) - timedelta(hours=23)
    rows = workspace.usage.filter(key_id__in=[key.pk for key in keys], pk__gte=lowest_at(first)).annotate(hour=TruncHour("occurred_at"))
    found = {(row["hour"], row["key_id"]): row["calls"] for row in rows.values("hour", "key_id").order_by().annotate(calls=Count("pk"))}
    hours = [first + timedelta(hours=number) for number in range(24)]
    return [(hour, [found.get((hour, key.pk), 0) for key in keys]) for hour in hours]


def successor_of(workspace: Workspace, key: ApiKey) -> ApiKey | None:
    """The newest key that was made to take this one's place."""
    return workspace.api_keys.filter(replaces=key).order_by("-pk").first()
