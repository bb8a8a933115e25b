"""The live feed: server-sent events with rendered rows, within two seconds of the decision.

Valkey's pub/sub is a hint to look now; the rows come from PostgreSQL, which is asked each second in any case. Ids are
made when a decision is taken and rows appear when its batch commits, so each look goes back a few seconds and leaves out
what was sent. Database work runs in a few threads of its own: a stream holds no connection while it waits.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from importlib import import_module
from typing import TypeVar
from uuid import UUID

import redis.asyncio
from django.conf import settings
from django.contrib.auth import get_user
from django.contrib.sessions.backends.base import SessionBase
from django.db import close_old_connections
from django.http import HttpRequest, StreamingHttpResponse
from django.template.loader import render_to_string
from django.utils import timezone
from django.views.decorators.http import require_GET

from firewall import selectors
from firewall.console.events import unfold
from firewall.models import Event
from firewall.selectors import EventFilter
from workspaces import tenancy, valkey
from workspaces.console_base import ConsoleRequest, page
from workspaces.errors import RateLimited
from workspaces.ids import lowest_at, moment_of
from workspaces.models import Workspace
from workspaces.permissions import allowed

#: Streams of one process; one more is refused, and its page asks again later.
MOST_STREAMS = 100
#: So that one person's scripts do not take the streams of every workspace.
MOST_OF_A_PERSON = 10
STREAM_SECONDS = 300.0
#: Without a hint PostgreSQL is asked this often.
LOOK_SECONDS = 1.0
#: After a hint, a moment for the rest of the same burst.
BURST_SECONDS = 0.05
RECHECK_SECONDS = 15.0
HEARTBEAT_SECONDS = 10.0
#: A row may appear this long after its id was made.
OVERLAP = timedelta(seconds=5)
#: A page that slept longer gets what is newer than this; all of it is in the list.
OLDEST_PAGE = timedelta(days=1)
#: Events of one look; of a faster stream the newest are shown, all of them are in the list.
MOST_AT_ONCE = 100

T = TypeVar("T")
_threads = ThreadPoolExecutor(max_workers=4, thread_name_prefix="feed")
#: Streams by person.
_open: Counter[int] = Counter()


@dataclass(slots=True)
class Feed:
    """One page's stream. ``sent`` are the ids of the overlap that need no repeat."""

    user_id: int
    workspace_id: int
    wanted: EventFilter
    query: str
    session_key: str
    since: UUID
    sent: set[UUID] = field(default_factory=set)

    def still_allowed(self) -> bool:
        """Whether the session stands (a new password ends it) and the member may still see events, as of now."""
        request = HttpRequest()
        request.session = _session(self.session_key)
        if get_user(request).pk != self.user_id:
            return False
        with tenancy.scope(self.workspace_id):
            members = Workspace(pk=self.workspace_id).memberships
            membership = members.filter(user_id=self.user_id, user__is_active=True, workspace__archived_at=None).first()
            return allowed(membership, "firewall.view_events")

    def look(self) -> tuple[str, str]:
        """Rows that were not sent yet, newest first, as markup; and the newest id. Both empty when there is nothing new."""
        with tenancy.scope(self.workspace_id):
            workspace = Workspace(pk=self.workspace_id)
            found, _ = selectors.event_page(workspace, self.wanted, at=timezone.now(), limit=MOST_AT_ONCE, low=self._floor())
            new = [event for event in found if event.pk not in self.sent]
            self._note(new)
            if not new:
                return "", ""
            rows = unfold(new, self.wanted)
            return render_to_string("firewall/_event_rows.html", {"rows": rows, "query": self.query}), str(new[0].pk)

    def _floor(self) -> UUID:
        return lowest_at(moment_of(self.since) - OVERLAP)

    def _note(self, new: list[Event]) -> None:
        if new:
            self.since = max(self.since, new[0].pk)
        self.sent |= {event.pk for event in new}
        floor = self._floor()
        self.sent = {event_id for event_id in self.sent if event_id > floor}


@require_GET
@page("firewall.view_events")
def live(request: ConsoleRequest) -> StreamingHttpResponse:
    """``since`` is the newest row of the page; what is newer, and what appears later, is sent. Ends after five minutes."""
    if _open.total() >= MOST_STREAMS or _open[request.user.pk] >= MOST_OF_A_PERSON:
        raise RateLimited("Too many live pages are open. Reload to see newer events.")
    at = timezone.now()
    since = _place(request.headers.get("Last-Event-ID") or request.GET.get("since", ""), at)
    query = request.GET.copy()
    query.pop("since", None)
    feed = Feed(
        user_id=request.user.pk,
        workspace_id=request.workspace.pk,
        wanted=selectors.event_filter(request.GET),
        query=f"?{query.urlencode()}" if query else "",
        session_key=request.session.session_key or "",
        since=since,
    )
    return StreamingHttpResponse(stream(feed), content_type="text/event-stream", headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})


async def stream(feed: Feed) -> AsyncIterator[str]:
    """The bytes of one stream, until its time is over, the member may no longer, or the page goes away."""
    _open[feed.user_id] += 1
    hints = _Hints(feed.workspace_id)
    clock = asyncio.get_running_loop().time
    ends, recheck, beat = clock() + STREAM_SECONDS, clock() + RECHECK_SECONDS, 0.0
    try:
        # First of all a line: the browser then knows that it is connected. "retry" is in milliseconds.
        yield "retry: 2000\n\n"
        while clock() < ends:
            markup, newest = await _in_thread(feed.look)
            if markup:
                yield _message(markup, newest)
                beat = clock() + HEARTBEAT_SECONDS
            elif clock() > beat:
                yield ": here\n\n"
                beat = clock() + HEARTBEAT_SECONDS
            if clock() > recheck:
                if not await _in_thread(feed.still_allowed):
                    yield "event: refused\ndata: ended\n\n"
                    return
                recheck = clock() + RECHECK_SECONDS
            await hints.wait(LOOK_SECONDS)
    finally:
        _open[feed.user_id] -= 1
        if not _open[feed.user_id]:
            del _open[feed.user_id]
        await hints.close()


def _message(markup: str, newest: str) -> str:
    lines = "\n".join(f"data: {line}" for line in markup.splitlines() if line.strip())
    return f"event: rows\nid: {newest}\n{lines}\n\n"


def _place(text: str, at: datetime) -> UUID:
    """The event a row stands for, a day back at most; for anything else, and for what is still to come, now."""
    with suppress(ValueError):
        return min(max(UUID(text[:36]), lowest_at(at - OLDEST_PAGE)), lowest_at(at))
    return lowest_at(at)


def _session(key: str) -> SessionBase:
    return import_module(settings.SESSION_ENGINE).SessionStore(key)


async def _in_thread(work: Callable[[], T]) -> T:
    return await asyncio.get_running_loop().run_in_executor(_threads, partial(_with_fresh_connection, work))


def _with_fresh_connection(work: Callable[[], T]) -> T:
    # Outside a request nobody else does this: a connection past its age, or broken, is given up before and after.
    close_old_connections()
    try:
        return work()
    finally:
        close_old_connections()


class _Hints:
    """Waits for word of new events. Where Valkey is away the wait is only longer."""

    def __init__(self, workspace_id: int) -> None:
        self._channel = valkey.feed_channel(workspace_id)
        self._client: redis.asyncio.Redis | None = None
        self._pubsub: redis.asyncio.client.PubSub | None = None

    async def wait(self, seconds: float) -> None:
        """Until a hint or this long."""
        started = asyncio.get_running_loop().time()
        try:
            if self._pubsub is None:
                self._client = redis.asyncio.Redis.from_url(settings.REDIS_URL, socket_connect_timeout=0.5)
                self._pubsub = self._client.pubsub(ignore_subscribe_messages=True)
                await self._pubsub.subscribe(self._channel)
            while (left := started + seconds - asyncio.get_running_loop().time()) > 0:
                if await self._pubsub.get_message(timeout=left):
                    await asyncio.sleep(BURST_SECONDS)
                    return
        except (redis.RedisError, OSError):
            await self.close()
            await asyncio.sleep(max(started + seconds - asyncio.get_running_loop().time(), 0))

    async def close(self) -> None:
        with suppress(redis.RedisError, OSError):
            if self._pubsub is not None:
                await self._pubsub.aclose()
            if self._client is not None:
                await self._client.aclose()
        self._client = self._pubsub = None
