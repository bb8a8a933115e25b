"""Runs of a stretch of time in the order of what they cost, how many calls they made, how long they took, or what was denied."""

from datetime import datetime
from typing import Any

from django.db.models import BigIntegerField, Count, Exists, F, Max, Min, OuterRef, Q, QuerySet, Sum
from django.db.models.functions import Cast, Coalesce, Extract

from orcarouter.activity.selectors.runs import DECISIONS, Run, RunFilter, fill
from workspaces.ids import lowest_at
from workspaces.models import Workspace

_LASTED = Cast(Extract(Max("occurred_at") - Min("occurred_at"), "epoch") * 1000, BigIntegerField())
#: What runs are ordered by, beside their latest call: a sum over their usage, or over what was denied in them.
MEASURES: dict[str, Any] = {
    "cost": Coalesce(Sum("cost_micro_usd"), 0),
    "calls": Count("pk"),
    "duration": _LASTED,
    "denied": Coalesce(Sum(DECISIONS), 0),
}
#: How far a run was in the order: its measure, its key, its id.
Place = tuple[int, int, str]


def ranked(workspace: Workspace, wanted: RunFilter, order: str, *, since: datetime, limit: int, after: Place | None = None) -> tuple[list[Run], Place | None]:
    """Runs with a call since then, the most of ``order`` first, and where the next page begins (None: there is none).

    They are ordered by what they did since then, and shown with all that they did.
    """
    rows = _rows(workspace, wanted, order, since)
    if after:
        measure, key_id, run_id = after
        later = Q(measure=measure) & (Q(key_id__gt=key_id) | Q(key_id=key_id, agent_run_id__gt=run_id))
        rows = rows.filter(Q(measure__lt=measure) | later)
    found = list(rows[: limit + 1])
    runs = [Run(id=row["agent_run_id"], key_id=row["key_id"]) for row in found[:limit]]
    fill(workspace, runs)
    last = found[limit - 1] if len(found) > limit else None
    return runs, (last["measure"], last["key_id"], last["agent_run_id"]) if last else None


def _rows(workspace: Workspace, wanted: RunFilter, order: str, since: datetime) -> QuerySet:
    events = workspace.events.filter(pk__gte=lowest_at(since))
    rows: QuerySet = events.filter(verdict="deny") if order == "denied" else workspace.usage.filter(pk__gte=lowest_at(since))
    rows = rows.filter(agent_run_id__isnull=False, key_id__isnull=False)
    if wanted.key_id is not None:
        rows = rows.filter(key_id=wanted.key_id)
    if wanted.environment is not None:
        rows = rows.filter(environment=wanted.environment)
    if wanted.verdict:
        rows = rows.filter(Exists(events.filter(agent_run_id=OuterRef("agent_run_id"), key_id=OuterRef("key_id"), verdict=wanted.verdict)))
    grouped = rows.order_by().values("key_id", "agent_run_id").annotate(measure=MEASURES[order])
    return grouped.order_by(F("measure").desc(), "key_id", "agent_run_id")
