"""This process lives: told to PostgreSQL every other second, with what its open streams have cost so far.

A process that falls silent is swept: its open reservations are settled at what was noted of them, else given back.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

from django.db import Error

from keys import money_services
from orcarouter.gateway.recorder import Recorder
from orcarouter.gateway.rows import Row
from workspaces.ids import uuid7

logger = logging.getLogger(__name__)

BEAT_SECONDS = 2.0
#: A stream that is killed is settled at most this much behind.
NOTE_SECONDS = 0.5

#: The ledger row that says what a stream has cost so far, or None where that has not changed.
Note = Callable[[], Row | None]


class Lease:
    """One instance a process; ``in_thread`` runs a function that asks PostgreSQL."""

    def __init__(self, recorder: Recorder, in_thread: Callable[..., Awaitable[Any]]) -> None:
        self._recorder, self._in_thread = recorder, in_thread
        self.process_id: UUID = uuid7()
        self._streams: dict[str, Note] = {}
        self._tasks: list[asyncio.Task] = []

    async def start(self) -> None:
        """Say so once before the first call; PostgreSQL away: no call is served either."""
        await self._beat()
        self._tasks = [asyncio.create_task(self._repeat(BEAT_SECONDS, self._beat)), asyncio.create_task(self._repeat(NOTE_SECONDS, self._note))]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def watch(self, request_id: str, note: Note) -> None:
        self._streams[request_id] = note

    def forget(self, request_id: str) -> None:
        self._streams.pop(request_id, None)

    async def _repeat(self, seconds: float, function: Callable[[], Awaitable[None]]) -> None:
        while True:
            await asyncio.sleep(seconds)
            try:
                await function()
            except Exception:
                # A lease that ends would have a living process swept.
                logger.exception("lease_bug")

    async def _beat(self) -> None:
        started = time.monotonic()
        with contextlib.suppress(Error, TimeoutError):
            lives = await asyncio.wait_for(self._in_thread(money_services.beat, self.process_id), 5)
            if not lives:
                # It was silent for so long that it was swept: what it began then is over, what it begins now is another's.
                logger.warning("process_was_swept", extra={"process_id": str(self.process_id), "seconds": round(time.monotonic() - started, 1)})
                self.process_id = uuid7()
                await asyncio.wait_for(self._in_thread(money_services.beat, self.process_id), 5)

    async def _note(self) -> None:
        rows = [row for row in [note() for note in list(self._streams.values())] if row is not None]
        if rows:
            self._recorder.submit([], [], rows)
