"""``GET /api/v1/firewall/approvals/{id}?wait=N``: what has become of a hold, now or as soon as there is something to say.

Everybody who waits in this process shares one question to PostgreSQL. Source: spec/decisions.md 7.2.
"""

import asyncio
import contextlib
import re
from collections import Counter
from urllib.parse import parse_qsl

import orjson

from approvals import selectors
from orcarouter.gateway import callers
from orcarouter.gateway.request import Request
from orcarouter.gateway.state import State
from workspaces import errors

MAX_WAIT_SECONDS = 30
#: Requests that wait at once: of one key, and in this process, most of whose open requests are left to calls.
MAX_WAITING, MAX_WAITING_IN_ALL = 10, 250
#: Questions of theirs that PostgreSQL is asked at once: those who poll leave room to those who call.
MAX_READS = 2
#: How often those who wait look.
LOOK_SECONDS = 0.25
_ID = re.compile(r"[0-9a-f]{24}")


class Waiters:
    """Who waits for which hold. One instance a process."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._waiting: dict[str, set[asyncio.Future]] = {}
        self._of_key: Counter[int] = Counter()
        self._reads = asyncio.Semaphore(MAX_READS)
        self._task: asyncio.Task | None = None

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def wait(self, key_id: int, approval_id: str, seconds: float) -> None:
        """Return when the hold is settled, or the time is over. Raises ``RateLimited``."""
        self._refuse_too_many(key_id)
        self._of_key[key_id] += 1
        settled = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(approval_id, set()).add(settled)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._look())
        try:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(settled, seconds)
        finally:
            self._of_key -= Counter({key_id: 1})
            if waiting := self._waiting.get(approval_id):
                waiting.discard(settled)
                if not waiting:
                    del self._waiting[approval_id]

    def _refuse_too_many(self, key_id: int) -> None:
        """Raise ``RateLimited`` if the key, or the process, has no room for another that waits."""
        if self._of_key[key_id] >= MAX_WAITING:
            error = errors.RateLimited(f"A key waits for at most {MAX_WAITING} holds at a time.")
        elif self._of_key.total() >= MAX_WAITING_IN_ALL:
            error = errors.RateLimited(f"At most {MAX_WAITING_IN_ALL} requests wait here at a time: ask without `wait`, or again in a moment.")
        else:
            return
        error.headers = {"Retry-After": "1"}
        raise error

    async def polled(self, workspace_id: int, approval_id: str) -> selectors.Polled | None:
        """A hold of this workspace as it stands. Raises ``StoreUnavailable``."""
        async with self._reads:
            return await self._state.read(selectors.polled, workspace_id, approval_id)

    async def _look(self) -> None:
        while self._waiting:
            # PostgreSQL may be away for a while: the caller's own time ends the wait.
            with contextlib.suppress(errors.StoreUnavailable):
                for approval_id in await self._state.read(selectors.settled_of, list(self._waiting)):
                    for settled in self._waiting.get(approval_id, ()):
                        if not settled.done():
                            settled.set_result(None)
            await asyncio.sleep(LOOK_SECONDS)


async def poll(state: State, waiters: Waiters, request: Request, approval_id: str) -> None:
    """Answer with the hold; only to the key that made it, and to gateway keys of its workspace. Raises ``OrcaError``."""
    token_hash, grant = await callers.authenticate(state, request)
    fresh = await state.fresh(token_hash, grant)
    callers.require(request, fresh, None)
    assert fresh is not None
    wait = _wait_seconds(request.query)

    async def seen() -> selectors.Polled:
        found = await waiters.polled(fresh.workspace_id, approval_id) if _ID.fullmatch(approval_id) else None
        if found is None or (found.key_id != fresh.key_id and not fresh.is_firewall_gateway):
            raise errors.NotFound("There is no such approval.")
        return found

    found = await seen()
    if wait and found.body["state"] == "pending":
        call = asyncio.current_task()
        assert call is not None
        request.watch(call)
        await waiters.wait(fresh.key_id, approval_id, wait)
        found = await seen()
    await request.answer(200, orjson.dumps(found.body, option=orjson.OPT_UTC_Z), [(b"cache-control", b"no-store")])


def _wait_seconds(query: bytes) -> int:
    """``wait`` of the query; 0 where it is not said. Raises ``ValidationFailed``."""
    try:
        asked = dict(parse_qsl(query.decode("latin-1"), keep_blank_values=True, max_num_fields=20))
    except ValueError:
        raise errors.ValidationFailed("The query cannot be read.", param="wait") from None
    for name in asked:
        if name != "wait":
            raise errors.ValidationFailed(f"There is no query parameter {name[:64]!r} here.", param=name[:64])
    value = asked.get("wait", "0")
    if not (value.isascii() and value.isdigit() and len(value) <= 2 and int(value) <= MAX_WAIT_SECONDS):
        raise errors.ValidationFailed(f"wait is a whole number of seconds, at most {MAX_WAIT_SECONDS}.", param="wait")
    return int(value)
