"""What a policy would have done that shadow mode kept it from."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import connection

from firewall.models import Event, Policy
from workspaces.ids import lowest_at

#: Events that are counted, the newest first; a report says when there are more.
MOST_COUNTED = 100_000
#: Lines of each breakdown, and examples.
MOST_LINES = 20
MOST_EXAMPLES = 10
MAX_DAYS = 30

#: The reason begins ``[shadow] would deny — ``, see ``Decision.shadowed``.
_COUNTS = """
    WITH shadowed AS (
        SELECT id, tool_name, tools, surface, key_id, token_name, agent_run_id, occurred_at, reason FROM firewall_event
         WHERE workspace_id = %(workspace)s AND policy_id = %(policy)s AND shadow AND id >= %(low)s AND id < %(high)s
         ORDER BY id DESC LIMIT %(most)s
    ), calls AS (
        SELECT tool, key_id, token_name, agent_run_id, occurred_at, split_part(reason, ' ', 3) AS would,
               date_bin(%(width)s, occurred_at, %(start)s) AS bucket
          FROM shadowed CROSS JOIN LATERAL unnest(CASE WHEN tool_name IS NULL AND tools <> '{}' THEN tools ELSE ARRAY[tool_name] END) AS tool
    )
    SELECT grouping(tool, key_id, agent_run_id, bucket), tool, key_id, max(token_name), agent_run_id, bucket, would, count(*), max(occurred_at)
      FROM calls GROUP BY GROUPING SETS ((would), (tool, would), (key_id, would), (key_id, agent_run_id, would), (bucket, would))
"""
#: ``grouping`` of each set: a bit for every column that is not in it.
_ALL, _BY_TOOL, _BY_KEY, _BY_RUN, _BY_BUCKET = 0b1111, 0b0111, 0b1011, 0b1001, 0b1110


@dataclass(slots=True)
class Line:
    """Calls that would have been stopped, by what would have become of them."""

    tool_name: str | None = None
    key_id: int | None = None
    token_name: str | None = None
    run_id: str | None = None
    denied: int = 0
    held: int = 0
    sanitized: int = 0
    last_at: datetime | None = None

    @property
    def total(self) -> int:
        return self.denied + self.held + self.sanitized

    def add(self, would: str, count: int, last_at: datetime) -> None:
        name = {"pending_approval": "held", "sanitize": "sanitized"}.get(would, "denied")
        setattr(self, name, getattr(self, name) + count)
        self.last_at = max(self.last_at or last_at, last_at)


@dataclass(frozen=True, slots=True)
class Bucket:
    """A stretch of time; ``at`` is where it begins."""

    at: datetime
    line: Line


@dataclass(frozen=True, slots=True)
class ShadowReport:
    """Breakdowns are the largest first and at most ``MOST_LINES`` long. ``is_partial``: there were more than ``MOST_COUNTED`` events."""

    policy: Policy
    days: int
    start: datetime
    end: datetime
    total: Line
    by_tool: list[Line]
    by_key: list[Line]
    by_run: list[Line]
    over_time: list[Bucket]
    examples: list[Event]
    is_partial: bool


def shadow_report(policy: Policy, *, days: int, at: datetime) -> ShadowReport:
    """What the policy would have stopped in the last ``days``: 1 to ``MAX_DAYS``; by hour for up to two days, else by day (UTC)."""
    width = timedelta(hours=1) if days <= 2 else timedelta(days=1)
    midnight = datetime(2000, 1, 1, tzinfo=UTC)
    start = midnight + (at - timedelta(days=days) - midnight) // width * width + width
    low, high = lowest_at(start), lowest_at(at + timedelta(minutes=1))
    rows = _rows(policy, low, high, start, width)
    lines: dict[int, dict[tuple, Line]] = {kind: {} for kind in (_ALL, _BY_TOOL, _BY_KEY, _BY_RUN, _BY_BUCKET)}
    for kind, tool, key_id, token_name, run_id, bucket, would, count, last_at in rows:
        if kind == _BY_RUN and run_id is None:
            continue
        name = token_name if kind in (_BY_KEY, _BY_RUN) else None
        lines[kind].setdefault((tool, key_id, run_id, bucket), Line(tool, key_id, name, run_id)).add(would, count, last_at)
    buckets = {place[-1]: line for place, line in lines[_BY_BUCKET].items()}
    moments = [start + step * width for step in range((at - start) // width + 1)]
    shadowed = policy.workspace.events.filter(policy_id=policy.pk, shadow=True, pk__gte=low, pk__lt=high)
    return ShadowReport(
        policy=policy,
        days=days,
        start=start,
        end=at,
        total=next(iter(lines[_ALL].values()), Line()),
        by_tool=_largest(lines[_BY_TOOL]),
        by_key=_largest(lines[_BY_KEY]),
        by_run=_largest(lines[_BY_RUN]),
        over_time=[Bucket(moment, buckets.get(moment, Line())) for moment in moments],
        examples=list(shadowed.order_by("-pk")[:MOST_EXAMPLES]),
        is_partial=shadowed.order_by()[: MOST_COUNTED + 1].count() > MOST_COUNTED,
    )


def _rows(policy: Policy, low: UUID, high: UUID, start: datetime, width: timedelta) -> list[tuple]:
    arguments: dict[str, Any] = {
        "workspace": policy.workspace_id,
        "policy": policy.pk,
        "low": low,
        "high": high,
        "start": start,
        "width": width,
        "most": MOST_COUNTED,
    }
    with connection.cursor() as cursor:
        cursor.execute(_COUNTS, arguments)
        return cursor.fetchall()


def _largest(lines: dict[tuple, Line]) -> list[Line]:
    return sorted(lines.values(), key=lambda line: (-line.total, str(line.tool_name), line.key_id or 0, line.run_id or ""))[:MOST_LINES]
