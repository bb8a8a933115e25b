"""Runs and conversations out of events and usage: there is no table of them, so each page reads a bounded stretch of both.

A run belongs to a key: the same id under another key is another run. What a run cost comes from usage, what was decided
in it from events; either may be missing (a call without a policy leaves no event, a killed process no usage).
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from django.contrib.postgres.aggregates import ArrayAgg
from django.db.models import Case, Count, F, Func, IntegerField, Max, Min, Q, QuerySet, Sum, Value, When
from django.db.models.functions import Greatest

from keys.models import UNPRICED
from workspaces.ids import lowest_at
from workspaces.models import Workspace

#: Rows read at once, and how often, to find the runs of a page: the newest 40,000 rows at most.
BATCH, MOST_BATCHES = 2_000, 20
MOST_NAMES = 50
#: Different namings of tools that are read for a page of runs.
MOST_NAMINGS = 20_000

#: Decisions that a row stands for: a grouped event is one for each of its tools.
DECISIONS = Case(When(tool_name__isnull=False, then=Value(1)), default=Greatest(Func(F("tools"), function="cardinality"), 1), output_field=IntegerField())


@dataclass(slots=True)
class Run:
    """A run, or a conversation: ``id`` is the agent's or derived. ``cost_micro_usd`` None: nothing of it has a known price."""

    id: str
    key_id: int | None
    newest: UUID | None = None
    token_name: str = ""
    environment: str = ""
    conversation_id: str | None = None
    run_source: str | None = None
    first_seen_at: datetime | None = None
    last_seen_at: datetime | None = None
    calls: int = 0
    verdicts: dict[str, int] = field(default_factory=dict)
    tools: list[str] = field(default_factory=list)
    models: list[str] = field(default_factory=list)
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_micro_usd: int | None = None
    unpriced_calls: int = 0
    #: When a person stopped it; None: nobody did.
    stopped_at: datetime | None = None
    #: Whether a held call of it waits for a person, where that was asked.
    waits: bool = False

    @property
    def decisions(self) -> int:
        return sum(self.verdicts.values())

    @property
    def denied(self) -> int:
        return self.verdicts.get("deny", 0)

    @property
    def tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens

    @property
    def lasted_ms(self) -> int:
        return int((self.last_seen_at - self.first_seen_at).total_seconds() * 1000) if self.first_seen_at and self.last_seen_at else 0

    def saw(self, first: datetime, last: datetime) -> None:
        self.first_seen_at = min(self.first_seen_at or first, first)
        self.last_seen_at = max(self.last_seen_at or last, last)


@dataclass(frozen=True, slots=True)
class RunFilter:
    """Which runs: those with a row that fits. ``verdict`` looks at events only."""

    key_id: int | None = None
    environment: str | None = None
    verdict: str = ""
    since: datetime | None = None

    @property
    def is_set(self) -> bool:
        return self != RunFilter()


#: What rows are grouped by, beside their key.
GROUPS = {"run": "agent_run_id", "conversation": "conversation_id"}


def run_page(
    workspace: Workspace, wanted: RunFilter, *, limit: int, by: str = "run", before: UUID | None = None, batch: int = BATCH
) -> tuple[list[Run], UUID | None]:
    """Runs by their newest row, newest first, and where the next page begins (None: there is none).

    ``batch`` rows are read at once; a page that finds too few runs in what it may read is short, or empty, and goes on.
    """
    column = GROUPS[by]
    found, older = _newest_rows(_sources(workspace, wanted, column), column, limit=limit, before=before, size=batch)
    runs = [Run(id=name, key_id=key_id, newest=newest) for (key_id, name), newest in found.items()]
    fill(workspace, runs, column)
    return runs, older


def runs_named(workspace: Workspace, run_id: str, key_id: int | None = None, *, by: str = "run") -> list[Run]:
    """The runs of this id, one for each key that has one."""
    column = GROUPS[by]
    keys: set[int | None] = set()
    for rows in (workspace.events, workspace.usage):
        named = rows.filter(**{column: run_id})
        keys |= set((named if key_id is None else named.filter(key_id=key_id)).order_by().values_list("key_id", flat=True).distinct())
    runs = [Run(id=run_id, key_id=key) for key in sorted(keys, key=lambda key: key or 0)]
    fill(workspace, runs, column)
    return runs


# --- Which runs -----------------------------------------------------------------------------------------------------
Key = tuple[int | None, str]


def _sources(workspace: Workspace, wanted: RunFilter, column: str) -> list[QuerySet]:
    # A verdict is said by events alone.
    events = _rows(workspace.events.all(), wanted, column)
    return [events] if wanted.verdict else [events, _rows(workspace.usage.all(), wanted, column)]


def _newest_rows(sources: list[QuerySet], column: str, *, limit: int, before: UUID | None, size: int) -> tuple[dict[Key, UUID], UUID | None]:
    """The first ``limit`` runs met on the way back in time, each with its newest row."""
    found: dict[Key, UUID] = {}
    place = before
    for _ in range(MOST_BATCHES):
        batch = _batch(sources, place, size)
        fresh: dict[Key, UUID] = {}
        for row_id, key_id, name in batch:
            if (key_id, name) not in found:
                fresh.setdefault((key_id, name), row_id)
        if before:
            # Their newest row is on an earlier page, and so were they.
            for listed in _with_rows_from(sources, column, fresh, before):
                fresh.pop(listed, None)
        found |= fresh
        if len(found) > limit:
            kept = dict(list(found.items())[:limit])
            return kept, list(kept.values())[-1]
        if len(batch) < size:
            return found, None
        place = batch[-1][0]
    return found, place


def _rows(rows: QuerySet, wanted: RunFilter, column: str) -> QuerySet:
    rows = rows.filter(**{f"{column}__isnull": False})
    if wanted.key_id is not None:
        rows = rows.filter(key_id=wanted.key_id)
    if wanted.environment is not None:
        rows = rows.filter(environment=wanted.environment)
    if wanted.verdict:
        rows = rows.filter(verdict=wanted.verdict)
    if wanted.since:
        rows = rows.filter(pk__gte=lowest_at(wanted.since))
    return rows.values_list("id", "key_id", column)


def _batch(sources: list[QuerySet], before: UUID | None, size: int) -> list[tuple[UUID, int | None, str]]:
    """The newest rows of all sources; a row that a source was not asked for yet may be newer than what follows, so cut there."""
    batches = [list((rows.filter(pk__lt=before) if before else rows).order_by("-pk")[:size]) for rows in sources]
    known_to = max((batch[-1][0] for batch in batches if len(batch) == size), default=None)
    return sorted((row for batch in batches for row in batch if known_to is None or row[0] >= known_to), key=lambda row: row[0], reverse=True)


def _with_rows_from(sources: list[QuerySet], column: str, runs: Iterable[Key], start: UUID) -> set[Key]:
    names = {name for _, name in runs}
    newer = (rows.filter(**{f"{column}__in": names}, pk__gte=start).order_by().values_list("key_id", column).distinct() for rows in sources)
    return {pair for rows in newer for pair in rows} if names else set()


# --- What is in them ------------------------------------------------------------------------------------------------
def fill(workspace: Workspace, runs: list[Run], column: str = GROUPS["run"]) -> None:
    """Sum up the rows of these runs, and of no other."""
    by_key = {(run.key_id, run.id): run for run in runs}
    if not by_key:
        return
    of_these = Q(**{f"{column}__in": {run.id for run in runs}})
    for row in _usage_sums(workspace.usage.filter(of_these), column):
        if run := by_key.get((row["key_id"], row[column])):
            run.saw(row["first"], row["last"])
            run.calls, run.unpriced_calls = row["calls"], row["unpriced"]
            run.prompt_tokens, run.completion_tokens = row["prompt"] or 0, row["completion"] or 0
            run.cost_micro_usd = row["cost"] if row["cost"] is not None or row["unpriced"] else 0
            run.models = sorted(filter(None, row["models"]))[:MOST_NAMES]
            _describe(run, row)
    events = workspace.events.filter(of_these).order_by()
    sums = events.values("key_id", column, "verdict").annotate(decisions=Sum(DECISIONS), first=Min("occurred_at"), last=Max("occurred_at"), **_labels())
    for row in sums:
        if run := by_key.get((row["key_id"], row[column])):
            run.verdicts[row["verdict"]] = row["decisions"]
            run.saw(row["first"], row["last"])
            _describe(run, row)
    if column == GROUPS["run"]:
        for key_id, name, at in workspace.stopped_runs.filter(run_id__in={run.id for run in runs}).values_list("key_id", "run_id", "stopped_at"):
            if run := by_key.get((key_id, name)):
                run.stopped_at = at
    tools: dict[Key, set[str]] = {}
    # An agent may call a new name each time: of such a run not every one is read.
    for key_id, name, tool, group in events.values_list("key_id", column, "tool_name", "tools").distinct()[:MOST_NAMINGS]:
        tools.setdefault((key_id, name), set()).update([tool] if tool else group)
    for key, names in tools.items():
        if run := by_key.get(key):
            run.tools = sorted(names)[:MOST_NAMES]


def _usage_sums(usage: QuerySet, column: str) -> QuerySet:
    return (
        usage.order_by()
        .values("key_id", column)
        .annotate(
            calls=Count("*"),
            unpriced=Count("id", filter=UNPRICED),
            prompt=Sum("prompt_tokens"),
            completion=Sum("completion_tokens"),
            cost=Sum("cost_micro_usd"),
            models=ArrayAgg("model_name", distinct=True),
            first=Min("occurred_at"),
            last=Max("occurred_at"),
            **_labels(),
        )
    )


def _labels() -> dict[str, Max]:
    return {"name": Max("token_name"), "place": Max("environment"), "source": Max("run_source"), "talk": Max("conversation_id")}


def _describe(run: Run, row: dict) -> None:
    run.token_name = run.token_name or row["name"] or ""
    run.environment = run.environment or row["place"] or ""
    run.run_source = run.run_source or row["source"]
    run.conversation_id = run.conversation_id or row["talk"]
