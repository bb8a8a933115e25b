"""One connection to Valkey for all calls in flight: commands are pipelined, replies come back in order.

A pool hands a connection to each caller and pays for it in syscalls; here what many calls ask in one turn of the event
loop leaves in one write.
"""

import asyncio
import contextlib
import logging
import re
from collections import deque
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import hiredis
from django.conf import settings

logger = logging.getLogger(__name__)

#: One look at the oldest command serves all: a deadline of its own would cost a call more than the round trip does.
LOOK_SECONDS = 0.1
#: A reply that is not there after so many looks means that Valkey is away. Looks, not seconds: a process that was itself
#: held up looks once, and then reads what has come meanwhile.
MOST_LOOKS = max(1, round(settings.VALKEY_SECONDS / LOOK_SECONDS))
CONNECT_SECONDS = 2 * settings.VALKEY_SECONDS
_RUN_ID = re.compile(rb"^run_id:(\w+)", re.MULTILINE)
#: Seconds between attempts to connect again.
RETRY_SECONDS = 0.2


class Away(Exception):
    """Valkey does not answer. What needs it fails closed; the rest goes on."""


class Link(asyncio.Protocol):
    """A multiplexed client. ``call`` has a reply; ``hint`` is fire and forget."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._transport: asyncio.WriteTransport | None = None
        self._reader = hiredis.Reader()
        #: Who waits for each reply, None for a hint, and since which look.
        self._waiting: deque[tuple[asyncio.Future | None, int]] = deque()
        self._looks = 0
        self._looker: asyncio.TimerHandle | None = None
        self._unsent: list[bytes] = []
        self._keeper: asyncio.Task | None = None
        self._lost = asyncio.Event()
        self._is_greeted = False
        self._refusal = ""
        #: Another one after each start of Valkey: what an earlier one kept is old, wherever it was restored from.
        self.generation = ""

    # --- Life ---
    async def start(self) -> None:
        """Connect, and keep connecting whenever the connection is lost. Returns at once when Valkey is away."""
        self._loop = asyncio.get_running_loop()
        with contextlib.suppress(OSError, TimeoutError):
            await self._connect()
        self._keeper = asyncio.create_task(self._keep_connected())

    async def stop(self) -> None:
        if self._keeper:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
        if self._transport:
            self._transport.close()

    @property
    def is_up(self) -> bool:
        return self._is_greeted

    async def _keep_connected(self) -> None:
        while True:
            if not self._is_greeted:
                try:
                    await self._connect()
                    logger.info("Valkey answers.")
                except (OSError, TimeoutError):
                    await asyncio.sleep(RETRY_SECONDS)
                    continue
            await self._lost.wait()

    async def _connect(self) -> None:
        parts = urlsplit(self._url)
        self._lost.clear()
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                if parts.scheme == "unix":
                    await self._loop.create_unix_connection(lambda: self, unquote(parts.path))
                else:
                    await self._loop.create_connection(lambda: self, parts.hostname or "127.0.0.1", parts.port or 6379, ssl=parts.scheme == "rediss" or None)
                await self._greet()
        except BaseException:
            self._drop()
            raise

    async def _greet(self) -> None:
        """Sign in and hear an answer: until then nobody else's command may go out, and one that only listens is not up."""
        parts = urlsplit(self._url)
        database = parse_qs(parts.query).get("db", [parts.path.strip("/") if parts.scheme != "unix" else ""])[0]
        try:
            if parts.password:
                await self._ask("AUTH", *([unquote(parts.username)] if parts.username else []), unquote(parts.password))
            if database not in ("", "0"):
                await self._ask("SELECT", database)
            told = await self._ask("INFO", "server")
        except (Away, hiredis.ReplyError) as error:
            # The first word says it (WRONGPASS, NOAUTH, LOADING); the rest may quote what was sent.
            refusal = str(error).partition(" ")[0]
            if refusal != self._refusal:
                logger.warning("valkey_refuses", extra={"error": refusal})
            self._refusal = refusal
            raise ConnectionRefusedError(refusal) from None
        found = _RUN_ID.search(told if isinstance(told, bytes) else b"")
        self.generation = found[1].decode() if found else ""
        self._is_greeted, self._refusal = True, ""

    # --- Use ---
    def call(self, *command: str | bytes | int) -> asyncio.Future[Any]:
        """Send a command; the future has its reply, or raises ``Away``, or ``hiredis.ReplyError`` for an error that Valkey answers."""
        return self._ask(*command) if self._is_greeted else self._away()

    def _ask(self, *command: str | bytes | int) -> asyncio.Future[Any]:
        if self._transport is None:
            return self._away()
        future = self._loop.create_future()
        self._send(command, future)
        return future

    def _away(self) -> asyncio.Future[Any]:
        future = asyncio.get_running_loop().create_future()
        future.set_exception(Away("Valkey is away"))
        return future

    def hint(self, *command: str | bytes | int) -> None:
        """Send a command whose loss is harmless; its reply is dropped."""
        if self._is_greeted:
            self._send(command, None)

    def _send(self, command: tuple, future: asyncio.Future | None) -> None:
        if not self._unsent:
            self._loop.call_soon(self._flush)
        self._unsent.append(hiredis.pack_command(command))
        self._waiting.append((future, self._looks))
        if self._looker is None:
            self._look_again()

    def _flush(self) -> None:
        packed, self._unsent = b"".join(self._unsent), []
        if self._transport is not None:
            self._transport.write(packed)

    def _look_again(self) -> None:
        self._looker = self._loop.call_later(LOOK_SECONDS, self._look)

    def _look(self) -> None:
        self._looker = None
        if not self._waiting:
            return
        self._looks += 1
        if self._looks - self._waiting[0][1] > MOST_LOOKS:
            # Replies come in order: one that hangs holds up all that follow. Start afresh.
            self._drop()
        else:
            self._look_again()

    def _drop(self) -> None:
        if self._transport is not None:
            self._transport.abort()
            self.connection_lost(None)

    # --- asyncio.Protocol ---
    def connection_made(self, transport) -> None:
        self._reader = hiredis.Reader()
        self._transport = transport

    def data_received(self, chunk: bytes) -> None:
        self._reader.feed(chunk)
        while (reply := self._reader.gets()) is not False:
            future, _ = self._waiting.popleft()
            if future is None or future.done():
                continue
            if isinstance(reply, hiredis.ReplyError):
                future.set_exception(reply)
            else:
                future.set_result(reply)

    def connection_lost(self, error: Exception | None) -> None:
        if self._transport is None:
            return
        self._transport = None
        self._unsent = []
        waiting, self._waiting = self._waiting, deque()
        for future, _ in waiting:
            if future is not None and not future.done():
                future.set_exception(Away("Valkey does not answer"))
        if self._is_greeted and not (self._keeper and self._keeper.done()):  # after `stop` it is no loss
            logger.warning("Valkey does not answer. Trying again.")
        self._is_greeted = False
        self._lost.set()
