"""Figures over a stretch of time, in buckets: what the overview shows. The stretch bounds what is read."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from django.db import connection
from django.db.models import Count, DateTimeField, Func, Q, QuerySet, Sum, Value
from django.db.models.functions import Greatest

from firewall.models import IS_ABOUT_A_CALL
from keys.models import UNPRICED
from orcarouter.activity.selectors.runs import DECISIONS
from workspaces import money
from workspaces.ids import lowest_at
from workspaces.models import Workspace

#: Stretches by their name in the address: how long, in buckets of what size.
RANGES = {
    "24h": (timedelta(hours=24), timedelta(hours=1)),
    "7d": (timedelta(days=7), timedelta(hours=6)),
    "30d": (timedelta(days=30), timedelta(days=1)),
}
TOP = 6
#: What an agent did, as against what it said it could do.
CALLED = ("response", "mcp", "egress")


@dataclass(frozen=True, slots=True)
class Stretch:
    """``since`` inclusive, ``until`` exclusive, both at the edge of a bucket, so that each bucket is a whole one."""

    since: datetime
    until: datetime
    step: timedelta

    @classmethod
    def ending(cls, at: datetime, length: timedelta, step: timedelta) -> "Stretch":
        """The last ``length`` in UTC buckets; the one in progress is the last of them."""
        until = datetime.fromtimestamp((at.timestamp() // step.total_seconds() + 1) * step.total_seconds(), UTC)
        return cls(until - length, until, step)

    @property
    def starts(self) -> list[datetime]:
        return [self.since + self.step * place for place in range((self.until - self.since) // self.step)]

    def before(self) -> "Stretch":
        """The same length, just before this one."""
        return Stretch(self.since - (self.until - self.since), self.since, self.step)


@dataclass(slots=True)
class Bucket:
    at: datetime
    calls: int = 0
    #: None: no call of it has a known price.
    cost_micro_usd: int | None = 0
    unpriced_calls: int = 0
    verdicts: dict[str, int] = field(default_factory=dict)

    @property
    def dollars(self) -> Decimal | None:
        return None if self.cost_micro_usd is None else money.to_usd(self.cost_micro_usd)


@dataclass(slots=True)
class Tool:
    """``per_bucket`` has a count for each bucket, empty ones included."""

    name: str
    count: int
    denied: int
    per_bucket: list[int]
    reason: str = ""


@dataclass(slots=True)
class Totals:
    stretch: Stretch
    buckets: list[Bucket]
    verdicts: dict[str, int]
    calls: int
    cost_micro_usd: int | None
    unpriced_calls: int
    tokens: int
    gaps: int

    @property
    def decisions(self) -> int:
        return sum(self.verdicts.values())


def totals(workspace: Workspace, stretch: Stretch, environment: str | None = None) -> Totals:
    """Calls, spend and verdicts by bucket, and their sums."""
    buckets = {at: Bucket(at) for at in stretch.starts}
    tokens = 0
    for row in _usage(workspace, stretch, environment):
        bucket = buckets[row["bucket"]]
        bucket.calls, bucket.unpriced_calls = row["calls"], row["unpriced"]
        bucket.cost_micro_usd = row["cost"] if row["cost"] is not None or row["unpriced"] else 0
        tokens += (row["prompt"] or 0) + (row["completion"] or 0)
    gaps = 0
    events = _events(workspace, stretch, environment).annotate(bucket=_bucket(stretch)).values("bucket", "verdict", "gap")
    for row in events.order_by().annotate(decisions=Sum(DECISIONS)):
        verdicts = buckets[row["bucket"]].verdicts
        verdicts[row["verdict"]] = verdicts.get(row["verdict"], 0) + row["decisions"]
        gaps += row["decisions"] if row["gap"] else 0
    found = list(buckets.values())
    verdicts = {}
    for bucket in found:
        for verdict, count in bucket.verdicts.items():
            verdicts[verdict] = verdicts.get(verdict, 0) + count
    costs = [bucket.cost_micro_usd for bucket in found if bucket.cost_micro_usd is not None]
    unpriced = sum(bucket.unpriced_calls for bucket in found)
    return Totals(
        stretch,
        found,
        verdicts,
        calls=sum(bucket.calls for bucket in found),
        cost_micro_usd=sum(costs) if any(costs) or not unpriced else None,
        unpriced_calls=unpriced,
        tokens=tokens,
        gaps=gaps,
    )


def verdicts_in(workspace: Workspace, stretch: Stretch, environment: str | None = None) -> dict[str, int]:
    """Decisions by verdict, for a comparison."""
    rows = _events(workspace, stretch, environment).values("verdict").order_by().annotate(decisions=Sum(DECISIONS))
    return {row["verdict"]: row["decisions"] for row in rows}


def top_tools(workspace: Workspace, stretch: Stretch, environment: str | None = None) -> list[Tool]:
    """The tools that agents called most, with their calls over time."""
    called = _events(workspace, stretch, environment).filter(surface__in=CALLED, tool_name__isnull=False).exclude(IS_ABOUT_A_CALL)
    each = called.annotate(bucket=_bucket(stretch)).values("tool_name", "bucket").order_by()
    each = each.annotate(count=Count("*"), denied=Count("pk", filter=Q(verdict="deny")))
    places = {at: place for place, at in enumerate(stretch.starts)}
    tools: dict[str, Tool] = {}
    over_time = "SELECT tool_name, bucket, each.count, denied FROM each JOIN most USING (tool_name) ORDER BY total DESC, tool_name"
    for name, bucket, count, denied in _of_most(each, over_time):
        tool = tools.setdefault(name, Tool(name, 0, 0, [0] * len(places)))
        tool.count += count
        tool.denied += denied
        tool.per_bucket[places[bucket]] = count
    return list(tools.values())


def most_denied(workspace: Workspace, stretch: Stretch, environment: str | None = None) -> list[Tool]:
    """The tools denied most, each with what it was mostly denied for."""
    denied = _events(workspace, stretch, environment).filter(verdict="deny", tool_name__isnull=False)
    each = denied.values("tool_name", "rule_label", "reason").order_by().annotate(count=Count("*"))
    mostly = """
        SELECT DISTINCT ON (total, tool_name) tool_name, total, rule_label, reason FROM each JOIN most USING (tool_name)
         ORDER BY total DESC, tool_name, each.count DESC, rule_label, reason
    """
    return [Tool(name, count, count, [], label or reason) for name, count, label, reason in _of_most(each, mostly)]


def _of_most(each: QuerySet, select: str) -> list[tuple]:
    """What ``select`` says of ``each`` and of ``most``: groups with a ``count``, and the tools that have the most of it in all.

    One statement, as each of two would read all events of the stretch.
    """
    statement, values = each.query.sql_with_params()
    most = "SELECT tool_name, sum(count)::bigint AS total FROM each GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT %s"
    with connection.cursor() as cursor:
        cursor.execute(f"WITH each AS MATERIALIZED ({statement}), most AS ({most}) {select}", [*values, TOP])
        return cursor.fetchall()


def _usage(workspace: Workspace, stretch: Stretch, environment: str | None) -> QuerySet:
    rows = workspace.usage.filter(**_ids(stretch)) if environment is None else workspace.usage.filter(**_ids(stretch), environment=environment)
    return (
        rows.annotate(bucket=_bucket(stretch))
        .values("bucket")
        .order_by()
        .annotate(
            calls=Count("*"),
            unpriced=Count("pk", filter=UNPRICED),
            cost=Sum("cost_micro_usd"),
            prompt=Sum("prompt_tokens"),
            completion=Sum("completion_tokens"),
        )
    )


def _events(workspace: Workspace, stretch: Stretch, environment: str | None) -> QuerySet:
    rows = workspace.events.filter(**_ids(stretch))
    return rows if environment is None else rows.filter(environment=environment)


def _ids(stretch: Stretch) -> dict:
    return {"pk__gte": lowest_at(stretch.since), "pk__lt": lowest_at(stretch.until)}


def _bucket(stretch: Stretch) -> Func:
    """The start of a row's bucket. A call that began before the stretch and ended in it counts in its first one."""
    return Func(Value(stretch.step), Greatest("occurred_at", Value(stretch.since)), Value(stretch.since), function="date_bin", output_field=DateTimeField())
