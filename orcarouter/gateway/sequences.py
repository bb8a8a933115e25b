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
from orcarouter.gateway import runs
from orcarouter.gateway.link import RETRY_SECONDS, Away, Link
from workspaces.errors import StoreUnavailable

logger = logging.getLogger(__name__)

T = TypeVar("T")
Judge = Callable[[RunState], Awaitable[tuple[T, RunState]]]
"""Judges calls from a run's state on; gives what was found and the state after them."""

#: The calls of a run take turns within a process, so only other processes can come between.
MAX_TRIES = 100
#: Chains that are kept of a run: keys with other policies may call in it.
MAX_CHAINS = 1_000


class Sequences:
    """One instance a process. ``read(function, *arguments)`` asks PostgreSQL, or raises ``StoreUnavailable``."""

    def __init__(self, link: Link, read: Callable[..., Awaitable[Any]]) -> None:
        self._link, self._read = link, read
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        #: Runs whose progress could not be kept: what Valkey says of them is old.
        self._unkept: set[str] = set()
        self._telling: asyncio.Task | None = None

    async def stop(self) -> None:
        if self._telling is not None:
            self._telling.cancel()
            await asyncio.gather(self._telling, return_exceptions=True)

    async def judge(self, policy: Policy, run: runs.Owned, told: bytes | None, state: RunState, judge: Judge[T]) -> T:
        """Judge calls by the progress as it stands when they are judged, and keep what they add to it.

        ``told`` is what admission heard, see ``runs.Admission.chains``. Two calls at once never see the same progress, so that
        several cannot pass where each alone would have been the last. Without Valkey the events alone decide. PostgreSQL away
        as well: ``StoreUnavailable``.
        """
        key = runs.run_key(run.workspace_id, run.key_id, run.run_id)
        turn = self._turns.get(key) or self._turns.setdefault(key, asyncio.Lock())
        async with turn:
            for _ in range(MAX_TRIES):
                chains = await self.progress(policy, run, told, state)
                found, after = await judge(replace(state, at_ms=time.time_ns() // 1_000_000, chains=chains))
                if told is None:
                    return found
                try:
                    stands = await self._link.call(*runs.advanced(key, told, _kept(policy, told, after.chains)))
                except (Away, hiredis.ReplyError) as error:
                    self._distrust(key, error)
                    told = None
                    continue
                if stands is None:
                    return found
                told = stands
        raise StoreUnavailable("The run makes too many calls at once.")

    async def progress(self, policy: Policy, run: runs.Owned, told: bytes | None, state: RunState) -> Mapping[str, Progress]:
        """How far the run has come, by what Valkey ``told``, or by its events.

        A chain that Valkey does not have was written or changed while the run went on, and what came before counts.
        """
        if told is not None and told != runs.LOST and runs.run_key(run.workspace_id, run.key_id, run.run_id) not in self._unkept:
            known = _chains(told)
            if all(rule.sequence.key in known for rule in policy.sequences if rule.sequence) or not (told or state.calls):
                return known
        windows = [rule.sequence.window_seconds for rule in policy.sequences if rule.sequence]
        since = datetime.now(UTC) - timedelta(seconds=max(windows)) if windows and all(windows) else None
        return afterwards.replayed(policy, await self._read(calls_of_run, run.workspace_id, run.key_id, run.run_id, since))

    # --- What could not be kept ---
    def _distrust(self, key: str, error: Exception) -> None:
        logger.warning("sequences_not_kept", extra={"error": str(error)[:200]})
        self._unkept.add(key)
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


def _chains(told: bytes) -> dict[str, Progress]:
    return {name: tuple(began or None for began in progress) for name, progress in orjson.loads(told).items()} if told else {}


def _kept(policy: Policy, told: bytes, after: Mapping[str, Progress]) -> bytes:
    """What to keep: the policy's chains beside those of other policies that this run was judged by."""
    others = _chains(told) if told != runs.LOST else {}
    kept = {**others, **after} if len(others) < MAX_CHAINS else after
    return orjson.dumps({name: [began or 0 for began in progress] for name, progress in kept.items()}, option=orjson.OPT_SORT_KEYS)
