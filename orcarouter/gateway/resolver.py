"""Names to addresses, for the judgement of where a call goes. Nothing is dialled here."""

import asyncio
import socket
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address

from workspaces.engine.addresses import Address

#: Seconds a lookup may take before the name counts as one that leads nowhere.
LOOKUP_SECONDS = 2.0
#: Seconds an answer is kept; one without addresses, or none at all, is soon asked for again.
KEEP_SECONDS, KEEP_FAILED_SECONDS = 30.0, 2.0
MAX_KEPT = 4096
#: Lookups at the same time; the system's resolver blocks a thread for each.
THREADS = 8
MAX_WAITING = 256


def look_up(name: str) -> tuple[Address, ...]:
    """All addresses that the system's resolver knows; blocks for as long as it likes."""
    try:
        rows = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
        return tuple(dict.fromkeys(ip_address(str(place[0]).partition("%")[0]) for *_, place in rows))
    except (OSError, UnicodeError, ValueError):
        return ()


class Resolver:
    """One instance a process. Bounded in time, threads and memory: what it cannot tell soon is an empty answer, and judged as such."""

    def __init__(self, look_up: Callable[[str], tuple[Address, ...]] = look_up, *, seconds: float = LOOKUP_SECONDS) -> None:
        self._look_up, self._seconds = look_up, seconds
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="orca-resolve")
        self._kept: OrderedDict[str, tuple[tuple[Address, ...], float]] = OrderedDict()
        self._asked: dict[str, asyncio.Future[tuple[Address, ...]]] = {}

    def stop(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def addresses(self, name: str) -> tuple[Address, ...]:
        """All addresses of a name; empty where it has none, or none in time."""
        kept = self._kept.get(name)
        if kept is not None and time.monotonic() < kept[1]:
            return kept[0]
        asked = self._asked.get(name)
        if asked is None:
            if len(self._asked) >= MAX_WAITING:
                return ()
            asked = self._asked[name] = asyncio.get_running_loop().run_in_executor(self._threads, self._look_up, name)
            asked.add_done_callback(lambda done: self._keep(name, done))
        try:
            return await asyncio.wait_for(asyncio.shield(asked), self._seconds)
        except TimeoutError:
            return ()

    def _keep(self, name: str, done: asyncio.Future[tuple[Address, ...]]) -> None:
        self._asked.pop(name, None)
        if done.cancelled():
            return
        found = done.result()
        self._kept[name] = (found, time.monotonic() + (KEEP_SECONDS if found else KEEP_FAILED_SECONDS))
        self._kept.move_to_end(name)
        while len(self._kept) > MAX_KEPT:
            self._kept.popitem(last=False)
