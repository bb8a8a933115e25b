"""The timeline of one run: its calls, and under each what was decided about its tools."""

from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID

from django.db.models import Count

from firewall.models import Event
from keys.models import Usage
from orcarouter.activity.selectors.runs import Run
from workspaces.models import Workspace

#: Calls of one page of a timeline, and events read for them.
PAGE, EVENTS_READ = 200, 2_000


@dataclass(slots=True)
class Call:
    """One call of the run. ``usage`` None: the process ended before it could be written, the decisions stand."""

    request_id: str
    id: UUID
    usage: Usage | None = None
    events: list[Event] = field(default_factory=list)
    #: The call in which this one's parent step was taken.
    parent: "Call | None" = None

    @property
    def first(self) -> Event | Usage:
        return self.usage or self.events[0]


@dataclass(slots=True)
class ToolUse:
    """How often a run offered a tool to its model, how often the model called it, and how often either was denied."""

    name: str
    offered: int = 0
    called: int = 0
    denied: int = 0


def tools_of(workspace: Workspace, run: Run) -> list[ToolUse]:
    """The run's tools, what was called most first, what was only offered last."""
    uses: dict[str, ToolUse] = {}
    events = workspace.events.filter(agent_run_id=run.id, key_id=run.key_id).order_by()
    for tool, group, surface, verdict, count in events.values_list("tool_name", "tools", "surface", "verdict").annotate(count=Count("*")):
        for name in [tool] if tool else group:
            use = uses.setdefault(name, ToolUse(name))
            if surface == "inbound":
                use.offered += count
            else:
                use.called += count
            if verdict == "deny":
                use.denied += count
    return sorted(uses.values(), key=lambda use: (-use.called, -use.denied, use.name))


def calls_of(workspace: Workspace, run: Run, *, after: UUID | None = None, limit: int = PAGE) -> tuple[list[Call], UUID | None]:
    """A run's calls, oldest first, and where the next page begins (None: there is none)."""
    of_run = {"agent_run_id": run.id, "key_id": run.key_id}
    stretches = [(workspace.usage.filter(**of_run), limit + 1), (workspace.events.filter(**of_run), EVENTS_READ)]
    read = [list((rows.filter(pk__gt=after) if after else rows).order_by("pk").values_list("pk", "request_id")[:most]) for rows, most in stretches]
    # Beyond the end of a stretch that was cut, rows of the other one are not yet to be told.
    cut_at = min((rows[-1][0] for rows, (_, most) in zip(read, stretches, strict=True) if len(rows) == most), default=None)
    ids = sorted((row for rows in read for row in rows if cut_at is None or row[0] <= cut_at), key=lambda row: row[0])
    requests = list(dict.fromkeys(request_id for _, request_id in ids))
    kept = set(requests[:limit])
    end = max((row_id for row_id, request_id in ids if request_id in kept), default=None)
    return _calls(workspace, requests[:limit]), (end if len(requests) > limit or cut_at else None)


def _calls(workspace: Workspace, requests: list[str]) -> list[Call]:
    calls: dict[str, Call] = {}
    for event in workspace.events.filter(request_id__in=requests).order_by("pk"):
        calls.setdefault(event.request_id, Call(event.request_id, event.pk)).events.append(event)
    for usage in workspace.usage.filter(request_id__in=requests).order_by("pk"):
        call = calls.setdefault(usage.request_id, Call(usage.request_id, usage.pk))
        call.id, call.usage = usage.pk, usage
    ordered = sorted(calls.values(), key=lambda call: (call.first.occurred_at, call.id))
    steps = {call.first.step_id: call for call in ordered if call.first.step_id}
    for call in ordered:
        parent = steps.get(call.first.parent_step_id or "")
        call.parent = parent if parent is not call else None
    return ordered


def span_of(run: Run, calls: list[Call]) -> timedelta:
    """From the run's first call to the end of its last one shown."""
    ends = [call.usage.occurred_at + timedelta(milliseconds=call.usage.latency_ms) for call in calls if call.usage]
    last = max([*ends, *(call.events[-1].occurred_at for call in calls if call.events)], default=run.last_seen_at)
    return max(last - run.first_seen_at, timedelta(milliseconds=1)) if last and run.first_seen_at else timedelta(milliseconds=1)
