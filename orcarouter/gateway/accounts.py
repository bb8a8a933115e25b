"""The accounts' door to Valkey: rebuilt from the ledger when they are missing, settled until Valkey says so. See ``money``."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime
from functools import partial
from typing import Any, NamedTuple
from uuid import uuid4

from keys import money_selectors
from orcarouter.gateway import money
from orcarouter.gateway.link import RETRY_SECONDS, Away, Link
from workspaces import valkey

logger = logging.getLogger(__name__)

#: A reservation stands in Valkey a moment before it does in the ledger. An account that has a past is read again after this long,
#: so that what was held when it was lost is not forgotten.
SETTLE_IN_SECONDS = 0.25
MAX_READS = 20
#: Settlements that wait for Valkey: without it no call under a ceiling is admitted, so they are the calls that were in flight.
MAX_WAITING = 100_000


class Settlement(NamedTuple):
    """The end of a call: what it cost, in which accounts."""

    workspace_id: int
    request_id: str
    cost_micro_usd: int
    accounts: tuple[str, ...]


class Accounts:
    """One instance a process. ``script(source, *arguments)`` asks Valkey; ``read(function, *arguments)`` asks PostgreSQL, or raises."""

    def __init__(self, link: Link, script: Callable[..., Awaitable[Any]], read: Callable[..., Awaitable[Any]]) -> None:
        self._link, self._script, self._read = link, script, read
        self._rebuilding: dict[tuple[int, str], asyncio.Task] = {}
        self._waiting: dict[str, Settlement] = {}
        self._again: asyncio.TimerHandle | None = None

    def stop(self) -> None:
        if self._again is not None:
            self._again.cancel()

    # --- Rebuilding ---
    async def rebuild(self, workspace_id: int, names: Iterable[str]) -> None:
        """Make accounts out of the ledger. Callers that need the same one share the work. Raises as ``script`` and ``read`` do."""
        tasks = []
        for name in names:
            key = (workspace_id, name)
            task = self._rebuilding.get(key)
            if task is None:
                task = self._rebuilding[key] = asyncio.create_task(self._rebuild(workspace_id, name))
                task.add_done_callback(partial(self._rebuilt, key))
            tasks.append(asyncio.shield(task))
        await asyncio.gather(*tasks)

    def _rebuilt(self, key: tuple[int, str], task: asyncio.Task) -> None:
        self._rebuilding.pop(key, None)
        if not task.cancelled():
            task.exception()  # heard, should nobody wait any more

    async def _rebuild(self, workspace_id: int, name: str) -> None:
        account, version_key = money.parsed(name), valkey.version_key(workspace_id)
        for reading in range(MAX_READS):
            word = await self._script(money.REBUILD, version_key, name, uuid4().hex)
            found = await self._statement(workspace_id, account)
            if not reading and found != money_selectors.Statement():
                await asyncio.sleep(SETTLE_IN_SECONDS)
                found = await self._statement(workspace_id, account)
            held = [value for call in found.open_calls for value in (call.claim_id, call.held_micro_usd)]
            seed = (name, self._link.generation, found.spent_micro_usd, money.ACCOUNT_TTL_SECONDS, word, *held)
            if await self._script(money.SEED, version_key, *seed):
                return
            # A call was settled meanwhile, or Valkey was emptied once more.
        raise Away("an account could not be rebuilt")

    async def _statement(self, workspace_id: int, account: money.Account) -> money_selectors.Statement:
        return await self._read(partial(money_selectors.statement, at=datetime.now(UTC)), workspace_id, account)

    # --- Settling ---
    def settle(self, settlement: Settlement) -> None:
        """Book a call's cost in its accounts. Called once the ledger has it; tried until Valkey has it too."""
        if len(self._waiting) >= MAX_WAITING:
            # The sweep finds what is left behind.
            logger.error("settlement_left_to_the_sweep", extra={"request_id": settlement.request_id})
            return
        self._waiting[settlement.request_id] = settlement
        self._send(settlement)

    def _send(self, settlement: Settlement) -> None:
        command = ("EVAL", money.SETTLE, 1, valkey.version_key(settlement.workspace_id))
        sent = self._link.call(*command, settlement.request_id, settlement.cost_micro_usd, *settlement.accounts)
        sent.add_done_callback(partial(self._heard, settlement.request_id))

    def _heard(self, request_id: str, sent: asyncio.Future) -> None:
        if sent.cancelled():
            return
        if sent.exception() is None:
            self._waiting.pop(request_id, None)
        elif self._again is None:
            self._again = asyncio.get_running_loop().call_later(RETRY_SECONDS, self._send_again)

    def _send_again(self) -> None:
        self._again = None
        if not self._link.is_up:
            self._again = asyncio.get_running_loop().call_later(RETRY_SECONDS, self._send_again)
            return
        for settlement in list(self._waiting.values()):
            self._send(settlement)
