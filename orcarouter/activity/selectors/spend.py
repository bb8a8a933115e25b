"""What was spent, by day, key, model, environment, run or member: sums over the usage of a stretch of time.

A member's spend is that of the keys they made; keys that are gone have no maker any more.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import astuple, dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from django.contrib.postgres.aggregates import ArrayAgg
from django.db.models import CharField, Count, Max, Q, QuerySet, Sum, Value
from django.db.models.functions import Cast, Coalesce, Concat, TruncDay

from keys.models import UNPRICED, Usage
from workspaces import money
from workspaces.ids import lowest_at
from workspaces.models import Workspace

#: What spend is summed by. The second half tells of single keys, which asks for a higher role.
BY_TOTAL, BY_KEY = ("day", "model", "environment"), ("key", "run", "member")
GROUPS = (*BY_TOTAL, *BY_KEY)
#: Rows fetched at once while everything is read.
CHUNK = 500
#: Newest calls in which models are looked for.
MODELS_FROM = 20_000
LONGEST = timedelta(days=400)
_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d", re.ASCII)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which usage: ``since`` inclusive, ``until`` exclusive; an empty environment is "none given", None is any."""

    since: datetime
    until: datetime
    environment: str | None = None
    key_id: int | None = None
    model: str | None = None

    @classmethod
    def last(cls, days: int, at: datetime, **narrowed: Any) -> "Wanted":
        """Whole days of UTC, today included."""
        tomorrow = at.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
        return cls(tomorrow - timedelta(days=days), tomorrow, **narrowed)


@dataclass(slots=True)
class Sums:
    """``priced_micro_usd`` is the cost of the ``priced_calls``; neither they nor the ``unpriced_calls`` are those in which nothing was used."""

    calls: int = 0
    priced_calls: int = 0
    priced_micro_usd: int = 0
    unpriced_calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0

    @property
    def cost_micro_usd(self) -> int | None:
        """None: nothing of it has a known price."""
        return None if self.unpriced_calls and not self.priced_calls else self.priced_micro_usd

    @property
    def tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens

    @property
    def dollars(self) -> Decimal | None:
        return None if self.cost_micro_usd is None else money.to_usd(self.cost_micro_usd)

    def __add__(self, other: "Sums") -> "Sums":
        return Sums(*(mine + theirs for mine, theirs in zip(astuple(self), astuple(other), strict=True)))


@dataclass(slots=True)
class Group:
    """One line. ``name`` is what a person reads: empty for "none" (a call without a model, a key whose maker is gone)."""

    name: str
    sums: Sums
    key_id: int | None = None
    environment: str = ""
    run_id: str | None = None
    #: Where it stands in the order, for a page that goes on after it.
    place: str = ""


def total(workspace: Workspace, wanted: Wanted) -> Sums:
    return _sums(_usage(workspace, wanted).aggregate(**_SUMS))


def total_of(groups: Iterable[Group]) -> Sums:
    """The total of a stretch from all of its groups: its rows are not read once more."""
    return sum((group.sums for group in groups), Sums())


def by_day(workspace: Workspace, wanted: Wanted) -> list[Group]:
    """Every day of the stretch, oldest first, those without a call too."""
    rows = _usage(workspace, wanted).annotate(day=TruncDay("occurred_at", tzinfo=UTC)).values("day").order_by().annotate(**_SUMS)
    # A call counts on the day it came in on; its row may be of the next one.
    found = {row["day"].date(): _sums(row) for row in rows}
    first, last = wanted.since.date(), (wanted.until - timedelta(microseconds=1)).date()
    days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
    if early := [day for day in found if day < first]:
        for day in early:
            found[first] = found.get(first, Sums()) + found.pop(day)
    return [Group(day.isoformat(), found.get(day, Sums())) for day in days]


def by_member(workspace: Workspace, wanted: Wanted) -> list[Group]:
    """By the person who made the key, the dearest first."""
    people = dict(workspace.api_keys.order_by().values_list("pk", "created_by__email"))
    found: dict[str, Group] = {}
    for row in _grouped(workspace, wanted, "key").iterator(CHUNK):
        name = people.get(row["key_id"]) or ""
        found.setdefault(name, Group(name, Sums())).sums += _sums(row)
    return sorted(found.values(), key=lambda group: (-(group.sums.cost_micro_usd or 0), group.name))


def page(workspace: Workspace, wanted: Wanted, by: str, *, limit: int, after: tuple[int, str] | None = None) -> tuple[list[Group], tuple[int, str] | None]:
    """The dearest groups, and where the next page begins (None: there is none). Days are all of them, in their order."""
    if by == "day":
        return by_day(workspace, wanted), None
    if by == "member":
        groups = by_member(workspace, wanted)
        groups = [group for group in groups if after is None or (-(group.sums.cost_micro_usd or 0), group.name) > (-after[0], after[1])]
        return groups[:limit], (groups[limit - 1].sums.cost_micro_usd or 0, groups[limit - 1].name) if len(groups) > limit else None
    rows = _grouped(workspace, wanted, by)
    if after:
        rows = rows.filter(Q(spent__lt=after[0]) | Q(spent=after[0], place__gt=after[1]))
    found = list(rows[: limit + 1])
    groups = [_group(by, row) for row in found[:limit]]
    last = found[limit - 1] if len(found) > limit else None
    return groups, (last["spent"], last["place"]) if last else None


def everything(workspace: Workspace, wanted: Wanted, by: str) -> Iterator[Group]:
    """All groups, read a chunk at a time. Inside a transaction."""
    if by in ("day", "member"):
        yield from by_day(workspace, wanted) if by == "day" else by_member(workspace, wanted)
        return
    for row in _grouped(workspace, wanted, by).iterator(CHUNK):
        yield _group(by, row)


def calls(workspace: Workspace, wanted: Wanted) -> Iterator[Usage]:
    """Every call of the stretch, oldest first, read a chunk at a time. Inside a transaction."""
    return _usage(workspace, wanted).order_by("pk").iterator(CHUNK)


def models(workspace: Workspace, wanted: Wanted, most: int = 30) -> list[str]:
    """Models of the newest calls of the stretch, for a filter: all of millions of rows are not looked through for their few names."""
    newest = _usage(workspace, wanted).exclude(model_name=None).order_by("-pk").values("model_name")[:MODELS_FROM]
    names = newest.aggregate(names=ArrayAgg("model_name", distinct=True))["names"] or []
    return [name for name in names if name][:most]


# --- Sums -----------------------------------------------------------------------------------------------------------
#: In the order of the fields of `Sums`.
_SUMS = {
    "calls": Count("*"),
    "priced": Count("cost_micro_usd"),
    "cost": Sum("cost_micro_usd"),
    "unpriced": Count("pk", filter=UNPRICED),
    "prompt": Sum("prompt_tokens"),
    "completion": Sum("completion_tokens"),
    "cached": Sum("cached_tokens"),
    "reasoning": Sum("reasoning_tokens"),
}
_COLUMNS = {"key": ("key_id",), "model": ("model_name",), "environment": ("environment",), "run": ("key_id", "agent_run_id")}


def _grouped(workspace: Workspace, wanted: Wanted, by: str) -> QuerySet:
    columns = _COLUMNS[by]
    parts = [Coalesce(Cast(column, CharField()), Value("")) for column in columns]
    place = Concat(parts[0], Value(" "), parts[1], output_field=CharField()) if len(parts) == 2 else parts[0]
    labels = {"label": Max("token_name"), "tag": Max("environment")} if "key_id" in columns else {}
    rows = _usage(workspace, wanted).values(*columns).order_by().annotate(place=place, spent=Coalesce(Sum("cost_micro_usd"), 0), **_SUMS, **labels)
    return rows.order_by("-spent", "place")


def _group(by: str, row: dict) -> Group:
    name = {"key": row.get("label"), "model": row.get("model_name"), "environment": row.get("environment"), "run": row.get("agent_run_id")}[by]
    key_id, tag = row.get("key_id"), row.get("tag") or ""
    return Group(name or "", _sums(row), key_id=key_id, environment=tag, run_id=row.get("agent_run_id"), place=row["place"])


def _sums(row: Mapping[str, Any]) -> Sums:
    return Sums(*(row[name] or 0 for name in _SUMS))


def _usage(workspace: Workspace, wanted: Wanted) -> QuerySet[Usage]:
    rows = workspace.usage.filter(pk__gte=lowest_at(wanted.since), pk__lt=lowest_at(wanted.until))
    if wanted.environment is not None:
        rows = rows.filter(environment=wanted.environment)
    if wanted.key_id is not None:
        rows = rows.filter(key_id=wanted.key_id)
    return rows.filter(model_name=wanted.model) if wanted.model is not None else rows


# --- As columns -----------------------------------------------------------------------------------------------------
HEADS = {
    "day": ("day",),
    "key": ("key_id", "token_name", "environment"),
    "model": ("model",),
    "environment": ("environment",),
    "run": ("run_id", "key_id"),
    "member": ("member",),
}
SUM_HEADS = ("calls", "cost_micro_usd", "unpriced_calls", "prompt_tokens", "completion_tokens", "cached_tokens", "reasoning_tokens")
CALL_HEADS = (
    *("request_id", "occurred_at", "key_id", "token_name", "environment", "model_name", "provider_name"),
    *("agent_run_id", "run_source", "conversation_id", "step_id", "status", "error_code", "outcome", "streamed"),
    *("prompt_tokens", "completion_tokens", "cached_tokens", "reasoning_tokens", "usage_source", "cost_micro_usd", "latency_ms", "first_byte_ms"),
)


def as_row(by: str, group: Group) -> dict[str, object]:
    """A group as it leaves the product."""
    named: dict[str, object] = {HEADS[by][0]: group.name}
    if by == "key":
        named = {"key_id": group.key_id, "token_name": group.name, "environment": group.environment}
    elif by == "run":
        named = {"run_id": group.run_id, "key_id": group.key_id}
    return named | {name: getattr(group.sums, name) for name in SUM_HEADS}


def call_rows(found: Iterable[Usage]) -> Iterator[dict[str, object]]:
    for usage in found:
        yield {name: getattr(usage, name) for name in CALL_HEADS}


def day_of(text: str) -> datetime:
    """``2026-11-22``, or a moment of RFC 3339, in UTC. Raises ``ValueError``."""
    if _DAY.fullmatch(text):
        return datetime.combine(date.fromisoformat(text), datetime.min.time(), UTC)
    # Python reads weeks and more besides, and takes what follows a compact date for nothing.
    if not _MOMENT.match(text):
        raise ValueError("not a moment of RFC 3339")
    at = datetime.fromisoformat(text)
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)
