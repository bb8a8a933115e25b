"""The event feed: a filtered list, an event beside it, and the rows a live page gets."""

from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from django.http import HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET

from firewall import selectors
from firewall.console.words import event_in_words
from firewall.engine.words import Surface
from firewall.models import Event
from firewall.selectors import EventFilter
from workspaces.console_base import ConsoleRequest, page
from workspaces.errors import NotFound
from workspaces.paging import PAGE_SIZE

#: Rows that one grouped event is unfolded into; what it has more is named in the last of them.
MOST_UNFOLDED = 12
#: What an event is about that names no tool.
THE_REQUEST = "the request itself"
#: Other events of a request that a panel lists.
MOST_BESIDE = 30


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the feed: an event, or one tool of an event that stands for several."""

    event: Event
    tool: str
    place: int = 0
    #: Tools of the event that have no line.
    more: int = 0

    @property
    def id(self) -> str:
        """Unique on a page; begins with the event's id."""
        return f"{self.event.pk}.{self.place}" if self.place else str(self.event.pk)

    @property
    def url(self) -> str:
        return reverse("console:event_tool", args=[self.event.pk, self.place]) if self.place else reverse("console:event", args=[self.event.pk])


def unfold(events: Iterable[Event], wanted: EventFilter) -> list[Row]:
    """Events as lines: a grouped one has a line for each of its tools that the filter means."""
    rows: list[Row] = []
    for event in events:
        if event.tool_name is not None or not event.tools:
            rows.append(Row(event, event.tool_name or THE_REQUEST))
            continue
        meant = [place for place, tool in enumerate(event.tools) if wanted.shows(tool)]
        shown = meant[:MOST_UNFOLDED]
        rows += [Row(event, event.tools[place], place, len(meant) - len(shown) if place == shown[-1] else 0) for place in shown]
    return rows


@require_GET
@page("firewall.view_events")
def events(request: ConsoleRequest) -> HttpResponse:
    return _list(request, None)


@require_GET
@page("firewall.view_events")
def event(request: ConsoleRequest, pk: UUID, place: int = 0) -> HttpResponse:
    """An event beside the list; for htmx the panel alone. ``place`` is the tool of an event that stands for several."""
    shown = request.workspace.events.filter(pk=pk).first()
    if shown is None or place >= max(len(shown.tools), 1):
        raise NotFound("There is no such event.")
    row = Row(shown, shown.tool_name or (shown.tools[place] if shown.tools else THE_REQUEST), place)
    if request.htmx and not request.htmx.history_restore_request:
        return TemplateResponse(request, "firewall/_event.html", panel(request, row))
    return _list(request, row)


def panel(request: ConsoleRequest, row: Row) -> dict:
    """What the panel says: the event, what its policy and rule are today, and what else its request did."""
    shown = row.event
    policy = request.workspace.policies.select_related("updated_by").filter(pk=shown.policy_id).first() if shown.policy_id else None
    rule = policy.rules.filter(pk=shown.rule_id).first() if policy and shown.rule_id else None
    beside = selectors.events_of_request(request.workspace, shown.request_id).exclude(pk=shown.pk)[:MOST_BESIDE]
    return {
        "event": shown,
        "tool": row.tool,
        "query": _query(request),
        "sentence": event_in_words(shown),
        "policy": policy,
        "rule": rule,
        "beside": list(beside),
    }


def _query(request: ConsoleRequest) -> str:
    """The filters as a query string, for the links of rows."""
    kept = request.GET.copy()
    for name in ("cursor", "since"):
        kept.pop(name, None)
    return f"?{kept.urlencode()}" if kept else ""


def _list(request: ConsoleRequest, shown: Row | None) -> HttpResponse:
    now = timezone.now()
    wanted = selectors.event_filter(request.GET)
    found = selectors.page_of_events(request.workspace, wanted, request.GET.get("cursor"), at=now, size=PAGE_SIZE)
    context = {
        "rows": unfold(found.rows, wanted),
        "query": _query(request),
        "events_shown": len(found.rows),
        "wanted": wanted,
        "bounded": wanted.bounded(now) if wanted.bounded(now) != wanted else None,
        "newer": found.newer,
        "older": found.older,
        # A page further back stands still: what arrives belongs on the first one.
        "is_live": not request.GET.get("cursor") and not wanted.until,
        "verdicts": selectors.VERDICTS,
        "surfaces": tuple(Surface),
        "tools": selectors.tools_seen(request.workspace)[:30] if not wanted.tool_name else (),
        "keys": list(request.workspace.api_keys.order_by("name").values("id", "name")[:30]),
        "key_name": _key_name(request, wanted.key_id),
        "environments": _environments(request),
    }
    if shown:
        context |= panel(request, shown)
    return TemplateResponse(request, "firewall/events.html", context)


def _key_name(request: ConsoleRequest, key_id: int | None) -> str:
    found = request.workspace.api_keys.filter(pk=key_id).values_list("name", flat=True).first() if key_id is not None else None
    return found or (str(key_id) if key_id is not None else "")


def _environments(request: ConsoleRequest) -> list[str]:
    return sorted(set(request.workspace.api_keys.exclude(environment="").order_by().values_list("environment", flat=True).distinct()[:30]))
