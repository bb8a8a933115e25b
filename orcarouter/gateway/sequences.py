"""How far a run's sequences have come: read, judged by and kept in one step, however many calls the run makes at once.

Valkey has the copy, the events are the truth: what Valkey lost, or cannot be asked for, is counted anew from them.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from weakref import WeakValueDictionary

import hiredis
import orjson

from firewall.engine import afterwards
from firewall.engine.sequence import Progress
from firewall.engine.types import Policy, RunState
from firewall.selectors.runs import calls_of_run
from keys.engine.grant import Grant
from orcarouter.gateway import runs
from orcarouter.gateway.link import RETRY_SECONDS, Away, Link
from workspaces.errors import StoreUnavailable

logger = logging.getLogger(__name__)

T = TypeVar("T")
Judge = Callable[[RunState], Awaitable[tuple[T, RunState]]]
"""Judges calls from a run's state on; gives what was found and the state after them."""

#: The calls of a run take turns within a process, so only other processes can come between.
MAX_TRIES = 100


class Sequences:
    """One instance a process. ``read(function, *arguments)`` asks PostgreSQL, or raises ``StoreUnavailable``."""

    def __init__(self, link: Link, read: Callable[..., Awaitable[Any]]) -> None:
        self._link, self._ask = link, read
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        #: Runs whose progress could not be kept: what Valkey says of them is old.
        self._unkept: set[str] = set()
        self._telling: asyncio.Task | None = None

    async def stop(self) -> None:
        if self._telling is not None:
            self._telling.cancel()
            await asyncio.gather(self._telling, return_exceptions=True)

    async def judge(self, grant: Grant, policy: Policy, run: runs.Owned, told: bytes | None, state: RunState, judge: Judge[T]) -> T:
        """Judge calls by the progress as it stands when they are judged, and keep what they add to it.

        ``told`` is what admission heard, see ``runs.Admission.chains``. Two calls at once never see the same progress, so that
        several cannot pass where each alone would have been the last. Without Valkey the events alone decide. PostgreSQL away
        as well: ``StoreUnavailable``.
        """
        key, counted_by = runs.run_key(*run), _counted_by(grant, policy)
        turn = self._turns.get(key) or self._turns.setdefault(key, asyncio.Lock())
        async with turn:
            for _ in range(MAX_TRIES):
                chains = await self.progress(grant, policy, run, told, state)
                found, after = await judge(replace(state, at_ms=time.time_ns() // 1_000_000, chains=chains))
                if told is None:
                    return found
                try:
                    stands = await self._link.call(*runs.advanced(key, told, _written(after.chains, counted_by)))
                except (Away, hiredis.ReplyError) as error:
                    logger.warning("sequences_not_kept", extra={"error": str(error)[:200]})
                    self.distrust(run)
                    told = None
                    continue
                if stands is None:
                    return found
                told = stands
        raise StoreUnavailable("The run makes too many calls at once.")

    async def progress(self, grant: Grant, policy: Policy, run: runs.Owned, told: bytes | None, state: RunState) -> Mapping[str, Progress]:
        """How far the run has come, by what Valkey ``told``, or by its events.

        Rules that were written while the run went on know what came before.
        """
        if told is not None and (told or not state.calls) and runs.run_key(*run) not in self._unkept:
            known = _read(told, _counted_by(grant, policy))
            if known is not None:
                return known
        windows = [rule.sequence.window_seconds for rule in policy.sequences if rule.sequence]
        since = datetime.now(UTC) - timedelta(seconds=max(windows)) if windows and all(windows) else None
        return afterwards.replayed(policy, await self._ask(calls_of_run, *run, since))

    def distrust(self, run: runs.Owned) -> None:
        """Have the run's progress counted by its events from now on: it made a call that Valkey does not know of."""
        self._unkept.add(runs.run_key(*run))
        if self._telling is None or self._telling.done():
            self._telling = asyncio.create_task(self._tell())

    async def _tell(self) -> None:
        """Say to Valkey, once it answers again, which runs it is behind with: other processes ask it as well."""
        while self._unkept:
            key = next(iter(self._unkept))
            try:
                await self._link.call(*runs.distrusted(key))
                self._unkept.discard(key)
            except (Away, hiredis.ReplyError):
                await asyncio.sleep(RETRY_SECONDS)


def _counted_by(grant: Grant, policy: Policy) -> str:
    return f"{grant.config_version}.{policy.id}"


def _read(told: bytes, counted_by: str) -> dict[str, Progress] | None:
    """The progress that Valkey has; None where it was counted by other rules, or calls may have come in between that were."""
    if told == runs.LOST:
        return None
    if not told:
        return {}
    found = orjson.loads(told)
    return {name: tuple(began or None for began in progress) for name, progress in found["chains"].items()} if found["by"] == counted_by else None


def _written(chains: Mapping[str, Progress], counted_by: str) -> bytes:
    return orjson.dumps({"by": counted_by, "chains": {name: [began or 0 for began in progress] for name, progress in chains.items()}})
