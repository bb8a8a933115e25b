"""Reads of the event feed. Every filter can use an index, and nothing is counted over the whole table."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import reduce
from itertools import product
from operator import or_
from uuid import UUID

from django.db import connection
from django.db.models import BooleanField, F, Func, Q, QuerySet, Value

from firewall.engine.glob import Form, Glob, parse
from firewall.engine.types import Surface, Verdict
from firewall.models import IS_ABOUT_A_CALL, Event
from workspaces.errors import ValidationFailed
from workspaces.ids import lowest_at
from workspaces.models import Workspace
from workspaces.paging import Page, page_around, read_cursor
from workspaces.params import row_id, time_of

#: Query parameters of the feed, in the order in which they are documented.
PARAMS = ("verdict", "surface", "tool_name", "run_id", "conversation_id", "request_id", "key_id", "environment", "from", "to")
#: What an event can say; ``cap_cost`` is always told as the concrete verdict.
VERDICTS = tuple(verdict.value for verdict in Verdict if verdict is not Verdict.CAP_COST)
#: A glob, which no index serves alone, looks back this far, unless ``from`` says otherwise.
GLOB_WINDOW = timedelta(hours=24)
MAX_DOTS_TO_RESPELL = 4
#: Events that are walked for a tool before the index is asked: a common tool fills a page sooner this way.
WALKED = 2_000
#: 512 tools, advertised and emitted.
MOST_OF_A_REQUEST = 1100
#: Newest events that are looked through for calls to try again, and calls that are offered.
RECENT_FROM, RECENT_SHOWN = 2_000, 20
LOWEST_ID, HIGHEST_ID = UUID(int=0), UUID(int=2**128 - 1)


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which events: every field that is set must hold. ``since`` is inclusive, ``until`` exclusive."""

    verdicts: tuple[str, ...] = ()
    surfaces: tuple[str, ...] = ()
    tool_name: str = ""
    run_id: str = ""
    conversation_id: str = ""
    request_id: str = ""
    key_id: int | None = None
    environment: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    @property
    def is_set(self) -> bool:
        return self != EventFilter()

    def bounded(self, at: datetime) -> "EventFilter":
        """The same, with a start where the tool's glob needs one. ``at`` is now."""
        if self.since or parse(self.tool_name).form in (Form.EVERY, Form.EXACT):
            return self
        return replace(self, since=(self.until or at) - GLOB_WINDOW)

    def shows(self, tool: str) -> bool:
        """Whether this tool of a grouped event is meant by ``tool_name``."""
        return parse(self.tool_name).matches(tool, wide=True)


def event_filter(params: Mapping[str, str]) -> EventFilter:
    """Read the feed's query parameters; empty ones say nothing. Raises ``ValidationFailed``."""
    given = {name: value for name in PARAMS if (value := params.get(name, ""))}
    for name, value in given.items():
        if "\x00" in value or len(value) > 512:
            raise ValidationFailed("This value is not usable.", param=name)
    return EventFilter(
        verdicts=_words(given.get("verdict", ""), VERDICTS, "verdict"),
        surfaces=_words(given.get("surface", ""), tuple(Surface), "surface"),
        tool_name=given.get("tool_name", ""),
        run_id=given.get("run_id", ""),
        conversation_id=given.get("conversation_id", ""),
        request_id=given.get("request_id", ""),
        key_id=row_id(given["key_id"], "key_id") if "key_id" in given else None,
        environment=given.get("environment"),
        since=time_of(given["from"], "from") if "from" in given else None,
        until=time_of(given["to"], "to") if "to" in given else None,
    )


def page_of_events(workspace: Workspace, wanted: EventFilter, cursor: str | None, *, at: datetime, size: int) -> Page:
    """The page that a cursor names, newest first. Raises ``ValidationFailed`` for a foreign cursor."""
    place, backwards = read_cursor(cursor, UUID)
    found, more = event_page(workspace, wanted, at=at, limit=size, before=None if backwards else place, after=place if backwards else None)
    return page_around(found, is_first=place is None, backwards=backwards, more=more)


def event_page(
    workspace: Workspace,
    wanted: EventFilter,
    *,
    at: datetime,
    limit: int,
    before: UUID | None = None,
    after: UUID | None = None,
    low: UUID = LOWEST_ID,
    walked: int = WALKED,
) -> tuple[list[Event], bool]:
    """The newest ``limit`` events (older than ``before``, from ``low`` on), newest first, and whether there are more that way.

    With ``after`` the page is the one that follows it upwards: the oldest of what is newer. ``at`` is now; ``walked`` as ``WALKED`` says.
    """
    wanted = wanted.bounded(at)
    low, high = max(low, lowest_at(wanted.since)) if wanted.since else low, lowest_at(wanted.until) if wanted.until else HIGHEST_ID
    # Ids are distinct, so the next one up makes an exclusive start inclusive.
    low, high = max(low, UUID(int=min(after.int + 1, HIGHEST_ID.int))) if after else low, min(high, before) if before else high
    glob = parse(wanted.tool_name)
    found = _plain(workspace, wanted).order_by("pk" if after else "-pk")
    if glob.form is not Form.EVERY:
        found = found.filter(_named(glob))
    events: list[Event] = []
    for first, end in _stretches(low, high, newest_first=after is None, at=at):
        events += found.filter(pk__gte=first, pk__lt=end)[: limit + 1 - len(events)]
        if len(events) > limit:
            break
    if glob.form is not Form.EVERY:
        ids = _grouped_ids(glob, wanted, low, high, newest_first=after is None, at_most=limit + 1, walked=walked)
        events = sorted([*events, *workspace.events.filter(pk__in=ids)], key=lambda event: event.pk, reverse=after is None)
    more, events = len(events) > limit, events[:limit]
    return (events[::-1] if after else events), more


def events_of_request(workspace: Workspace, request_id: str) -> QuerySet[Event]:
    """All events of one request, oldest first: the order in which they were decided."""
    return workspace.events.filter(request_id=request_id).order_by("pk")


def recent_calls(workspace: Workspace, policy_id: int | None = None) -> tuple[list[Event], bool]:
    """The newest calls, each once, newest first, and whether a policy judged them: where it judged none lately they are the workspace's."""
    newest = workspace.events.exclude(IS_ABOUT_A_CALL).order_by("-pk").values_list("pk", "policy_id", "surface", "tool_name", "args_hash")[:RECENT_FROM]
    calls = [row for row in newest if row[3]]
    own = [row for row in calls if policy_id is not None and row[1] == policy_id]
    once: dict[tuple, UUID] = {}
    for pk, _, *call in own or calls:
        once.setdefault(tuple(call), pk)
    return list(workspace.events.filter(pk__in=[*once.values()][:RECENT_SHOWN]).order_by("-pk")), bool(own)


def _stretches(low: UUID, high: UUID, *, newest_first: bool, at: datetime) -> Iterator[tuple[UUID, UUID]]:
    """The range of ids cut into some days, then thrice as many, from its near end: a page that is soon full asks few partitions."""
    now_ms = int(at.timestamp() * 1000)
    for days in (1, 3, 9, 27):
        width_ms = days * 86_400_000
        if low < high and newest_first:
            edge = max(low, UUID(int=max(min(high.int >> 80, now_ms) - width_ms, 0) << 80))
            yield edge, high
            high = edge
        elif low < high:
            edge = UUID(int=min(((low.int >> 80) + width_ms) << 80, high.int))
            yield low, edge
            low = edge
    if low < high:
        yield low, high


def _plain(workspace: Workspace, wanted: EventFilter) -> QuerySet[Event]:
    """What can be asked of a row's own columns: all but the time and the tool."""
    equal = {"agent_run_id": wanted.run_id, "conversation_id": wanted.conversation_id, "request_id": wanted.request_id}
    found = workspace.events.filter(**{column: value for column, value in equal.items() if value})
    if wanted.verdicts:
        found = found.filter(verdict__in=wanted.verdicts)
    if wanted.surfaces:
        found = found.filter(surface__in=wanted.surfaces)
    if wanted.key_id is not None:
        found = found.filter(key_id=wanted.key_id)
    return found if wanted.environment is None else found.filter(environment=wanted.environment)


# --- Query parameters -----------------------------------------------------------------------------------------------
def _words(text: str, known: tuple[str, ...], param: str) -> tuple[str, ...]:
    words = tuple(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))
    if unknown := next((word for word in words if word not in known), None):
        raise ValidationFailed(f"{unknown[:40]!r} is not one of {', '.join(known)}.", param=param)
    return words


# --- Tools by name --------------------------------------------------------------------------------------------------
def tool_spellings(text: str) -> list[str]:
    """A name or part of one as agents may have sent it: providers refuse dots, so each may be ``__``."""
    parts = text.split(".")
    if len(parts) - 1 > MAX_DOTS_TO_RESPELL:
        return [text, "__".join(parts)]
    return ["".join(part + dot for part, dot in zip(parts, (*dots, ""), strict=True)) for dots in product((".", "__"), repeat=len(parts) - 1)]


def _named(glob: Glob) -> Q:
    """Events that name one tool, and that one."""
    if glob.form is Form.EXACT:
        return Q(tool_name__in=tool_spellings(glob.literal))
    if glob.form is Form.PREFIX:
        # Not LIKE: under row-level security an index serves leakproof operators only, and this is one.
        tests = [_test("starts_with(%(expressions)s)", text) for text in tool_spellings(glob.literal)]
        return reduce(or_, tests) & ~Q(tool_name__in=tool_spellings(glob.literal))
    return reduce(or_, [_test("%(expressions)s", pattern, joined_by=" LIKE ") for pattern in _patterns(glob)])


def _test(template: str, value: str, joined_by: str = ", ") -> Q:
    return Q(Func(F("tool_name"), Value(value), template=template, arg_joiner=joined_by, output_field=BooleanField()))


def _patterns(glob: Glob) -> list[str]:
    """LIKE patterns that together match what the glob does."""
    match glob.form:
        case Form.PREFIX:
            return [_like(text) + "_%" for text in tool_spellings(glob.literal)]
        case Form.SUFFIX:
            return ["%" + _like(text) for text in tool_spellings(glob.literal)] + [_like(text) for text in tool_spellings(glob.literal[1:])]
        case _:
            return ["_%" + _like(text) + "%_" for text in tool_spellings(glob.literal)]


def _like(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def _grouped_ids(glob: Glob, wanted: EventFilter, low: UUID, high: UUID, *, newest_first: bool, at_most: int, walked: int) -> list[UUID]:
    """Events that stand for several tools, one of them meant."""
    exact = glob.form is Form.EXACT
    arguments = [
        tool_spellings(glob.literal) if exact else None,
        None if exact else _patterns(glob),
        list(wanted.verdicts) or None,
        list(wanted.surfaces) or None,
        wanted.run_id or None,
        wanted.conversation_id or None,
        wanted.request_id or None,
        wanted.key_id,
        wanted.environment,
    ]
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT orca_grouped_events(%s::text[], %s::text[], %s::text[], %s::text[], %s, %s, %s, %s::bigint, %s, %s, %s, %s, %s, %s)",
            [*arguments, low, high, newest_first, at_most, walked],
        )
        return [row[0] for row in cursor.fetchall()]
