"""Deadlines that are all equally far away: one timer, for the oldest of them, in place of one each."""

import asyncio
from collections.abc import Callable
from typing import Any


class Deadlines:
    """Of one event loop. A timer that is made for a call and cancelled with it costs more than the wait that it bounds."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        #: In the order in which they began, and so in which they are over.
        self._open: dict[Any, tuple[float, Callable[[], object]]] = {}
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, owner: object, late: Callable[[], object]) -> None:
        """Call ``late`` unless ``end(owner)`` comes first; from here on, where the owner has begun before."""
        loop = asyncio.get_running_loop()
        self._open.pop(owner, None)
        self._open[owner] = loop.time() + self._seconds, late
        if self._timer is None:
            self._timer = loop.call_later(self._seconds, self._look)

    def end(self, owner: object) -> None:
        """Also for an owner that has not begun, or is late already."""
        self._open.pop(owner, None)

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = None
        while self._open:
            owner, (due, late) = next(iter(self._open.items()))
            if due > loop.time():
                self._timer = loop.call_at(due, self._look)
                return
            del self._open[owner]
            late()
