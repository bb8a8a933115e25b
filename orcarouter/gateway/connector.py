"""HTTP/1.1 to providers on bare asyncio: one call at a time a connection, kept for the next call to the same place.

A general client spends more of a call's CPU than everything else on its way. What is needed here is small: one kind of request,
a head within bounds, a body as it comes. The parser is httptools (llhttp), as for what comes in; addresses are vetted by
`workspaces.net`. Whatever is wrong with an answer is `Broken`.
"""

import asyncio
import ssl
from collections.abc import Callable, Coroutine
from functools import partial
from socket import SOCK_STREAM
from typing import NamedTuple

import aiohappyeyeballs
import httptools
from aiohappyeyeballs.types import AddrInfoType as AddrInfo
from aiohttp.abc import ResolveResult

MAX_HEAD_BYTES = 64 * 1024
#: Of a body that nobody has read yet; beyond it the provider has to wait.
MAX_UNREAD_BYTES = 256 * 1024
#: Seconds that a connection is kept without a call, and between two looks for those that were kept too long.
KEEP_SECONDS, SWEEP_SECONDS = 30.0, 10.0
#: Seconds that an answer whose last word was read may take to end, so that its connection can be kept.
END_SECONDS = 1.0
#: Seconds that the addresses of a name are used for new connections, and of how many names they are kept.
ADDRESS_SECONDS, MAX_NAMES = 30.0, 1024
#: Seconds after which the next address of a name is tried beside the one that does not answer (RFC 8305).
NEXT_ADDRESS_SECONDS = 0.25


class Broken(Exception):
    """The connection failed, or what came is no HTTP."""


class Unreachable(Broken):
    """There is no connection: nothing was sent."""


class Origin(NamedTuple):
    """Where a connection leads. With ``socket``, a path, the rest is empty."""

    host: str
    port: int
    is_tls: bool
    socket: str = ""


class Connection(asyncio.Protocol):
    """``ask``, then ``pass_to`` until the body ends. Whoever takes one from a `Connector` gives it back with ``release``."""

    def __init__(self, origin: Origin) -> None:
        self.origin = origin
        self.idle_since = 0.0
        self._loop = asyncio.get_running_loop()
        self._pieces: list[bytes] = []
        # A provider makes a piece of each event: what is done for one is done some hundred times a call.
        self.on_body = self._pieces.append
        self._parser = httptools.HttpResponseParser(self)
        self._waiter: asyncio.Future[bool] | None = None
        self._take: Callable[[bytes], bool] | None = None
        self._error: Exception | None = None
        self._is_lost = False
        self._is_paused = False
        self.on_end: Callable[[], None] | None = None
        self._forget()
        self._is_asked = False

    def _forget(self) -> None:
        self.status = 0
        self.headers: dict[bytes, bytes] = {}
        self._pieces.clear()
        self._unread_bytes = self._head_bytes = 0
        self._has_head = self._is_whole = self._has_length = False
        self._is_asked = True

    # --- Of a call ------------------------------------------------------------------------------------------------------
    async def ask(self, *request: bytes) -> None:
        """Send a request and wait for the head of the answer: then ``status`` and ``headers`` (names in lower case) stand. Raises `Broken`."""
        self._forget()
        self._transport.writelines(request)
        while not self._has_head:
            await self._wait()

    async def pass_to(self, take: Callable[[bytes], bool]) -> bool:
        """Give ``take`` what has come of the body and what comes until it says False: then True; False at the end of the body.

        What comes is given in the turn of the event loop in which it comes: to wake a task for each piece costs more than the
        piece. Raises `Broken`, or what ``fail`` was told.
        """
        while not self._pieces or take(self.taken()):
            if self._is_whole:
                return False
            self._take = take
            try:
                if await self._wait():
                    return True
            finally:
                self._take = None
        return True

    def taken(self) -> bytes:
        """What has come of the body and was not taken yet."""
        found = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces.clear()
        self._unread_bytes = 0
        if self._is_paused and not self._is_lost:
            self._is_paused = False
            self._transport.resume_reading()
        return found

    def _give(self, take: Callable[[bytes], bool]) -> None:
        """Give what has come to whoever waits in ``pass_to``; an error of theirs is theirs as well."""
        assert self._waiter is not None
        try:
            if take(self.taken()):
                return
        except Exception as error:
            if not self._waiter.done():
                self._waiter.set_exception(error)
        self._take = None
        self._wake(is_enough=True)

    async def _wait(self) -> bool:
        """Wait until something has come. True: of what came for ``pass_to``, enough was taken."""
        if self._error is not None:
            raise self._error
        self._waiter = self._loop.create_future()
        try:
            return await self._waiter
        finally:
            self._waiter = None

    def fail(self, error: Exception) -> None:
        """End whoever waits, now or later, with this error. What had come before it may still be read."""
        if self._error is None and not self._is_whole:
            self._error = error
            self._wake()

    def time_out(self) -> None:
        self.fail(TimeoutError())

    def _wake(self, *, is_enough: bool = False) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(is_enough)

    @property
    def is_whole(self) -> bool:
        return self._is_whole

    @property
    def may_serve_again(self) -> bool:
        """Whether the answer came whole, and left the connection as it was before it."""
        return (
            self._is_whole
            and self._has_length
            and not self._is_lost
            and self._error is None
            and self._parser.get_http_version() == "1.1"
            and b"close" not in self.headers.get(b"connection", b"").lower()
            and not self._transport.get_write_buffer_size()
        )

    def park(self) -> None:
        """From here on nothing may come."""
        self._is_asked = False
        if self._is_paused:
            self._is_paused = False
            self._transport.resume_reading()

    def abort(self) -> None:
        self._transport.abort()

    # --- asyncio.Protocol -------------------------------------------------------------------------------------------------
    def connection_made(self, transport) -> None:
        self._transport: asyncio.Transport = transport

    def data_received(self, piece: bytes) -> None:
        if not self._is_asked or self._error is not None:
            # An answer that nobody asked for would be taken for the next call's.
            self._transport.abort()
            return
        if not self._has_head:
            self._head_bytes += len(piece)
        try:
            self._parser.feed_data(piece)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            # What follows a whole answer spoils the connection, not the answer.
            self.fail(Broken("The answer is no HTTP."))
            self._transport.abort()
            return
        if self._head_bytes > MAX_HEAD_BYTES and not self._has_head:
            self.fail(Broken("The head of the answer is too large."))
            self._transport.abort()
            return
        if self._pieces:
            self._unread_bytes += len(piece)
            if self._take is not None:
                self._give(self._take)
            elif self._unread_bytes > MAX_UNREAD_BYTES and not self._is_paused:
                self._is_paused = True
                self._transport.pause_reading()
        if self._is_whole or (self._has_head and self._take is None):
            self._wake()
            if self._is_whole and self.on_end is not None:
                self.on_end()

    def connection_lost(self, error: Exception | None) -> None:
        self._is_lost = True
        if self._has_head and not self._has_length and error is None and self._error is None:
            # A body without a length ends with its connection.
            self._is_whole = True
        if not self._is_whole:
            self.fail(Broken("The connection was closed."))
        self._wake()
        if self.on_end is not None:
            self.on_end()

    # --- httptools ----------------------------------------------------------------------------------------------------------
    def on_message_begin(self) -> None:
        if self._is_whole:
            # A second answer to one question.
            raise Broken

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._has_head:
            return  # a trailer
        name = name.lower()
        known = self.headers.get(name)
        self.headers[name] = value if known is None else known + b", " + value

    def on_headers_complete(self) -> None:
        self.status = self._parser.get_status_code()
        if self.status < 200:
            # A hint before the answer.
            self.headers = {}
            return
        if sum(map(len, self.headers)) + sum(map(len, self.headers.values())) > MAX_HEAD_BYTES:
            raise Broken
        self._has_head = True
        self._has_length = b"content-length" in self.headers or b"chunked" in self.headers.get(b"transfer-encoding", b"").lower() or self.status in (204, 304)

    def on_message_complete(self) -> None:
        if self._has_head:
            self._is_whole = True


class Connector:
    """The connections of a process. ``resolve`` gives the vetted addresses of a name, or raises ``OSError``."""

    def __init__(self, resolve: Callable[[str, int], Coroutine[None, None, list[ResolveResult]]], *, connect_seconds: float) -> None:
        self._resolve, self._connect_seconds = resolve, connect_seconds
        self._tls = ssl.create_default_context()
        self._tls.set_alpn_protocols(["http/1.1"])
        self._loop = asyncio.get_running_loop()
        self._idle: dict[Origin, list[Connection]] = {}
        self._busy: set[Connection] = set()
        self._names: dict[tuple[str, int], tuple[asyncio.Future, float]] = {}
        self._sweeper = self._loop.call_later(SWEEP_SECONDS, self._sweep)

    def close(self) -> None:
        self._sweeper.cancel()
        for connection in [*self._busy, *(each for kept in self._idle.values() for each in kept)]:
            connection.abort()

    # --- Taking and giving back -------------------------------------------------------------------------------------------
    async def take(self, origin: Origin, *, is_new: bool = False) -> Connection:
        """A connection for one call: a kept one unless it must be new. Raises `Unreachable`, ``TimeoutError``."""
        kept = self._idle.get(origin)
        connection = kept.pop() if kept and not is_new else await self._connect(origin)
        connection.on_end = None
        self._busy.add(connection)
        return connection

    def release(self, connection: Connection, *, is_over: bool = False) -> None:
        """Keep the connection, or drop it when its answer was not read to its end. ``is_over``: nothing but that end is awaited."""
        connection.on_end = None
        if is_over and not connection.is_whole:
            self._await_end(connection)
            return
        self._busy.discard(connection)
        if not connection.may_serve_again:
            connection.abort()
            return
        connection.park()
        connection.idle_since = self._loop.time()
        self._idle.setdefault(connection.origin, []).append(connection)
        connection.on_end = partial(self._drop, connection)

    def _await_end(self, connection: Connection) -> None:
        timer = self._loop.call_later(END_SECONDS, connection.abort)

        def end() -> None:
            timer.cancel()
            self.release(connection)

        connection.on_end = end

    def _drop(self, connection: Connection) -> None:
        kept = self._idle.get(connection.origin, [])
        if connection in kept:
            kept.remove(connection)

    def _sweep(self) -> None:
        oldest = self._loop.time() - KEEP_SECONDS
        for origin, kept in list(self._idle.items()):
            for connection in [each for each in kept if each.idle_since < oldest]:
                connection.abort()
                kept.remove(connection)
            if not kept:
                del self._idle[origin]
        self._sweeper = self._loop.call_later(SWEEP_SECONDS, self._sweep)

    # --- Connecting ---------------------------------------------------------------------------------------------------------
    async def _connect(self, origin: Origin) -> Connection:
        try:
            async with asyncio.timeout(self._connect_seconds):
                return await self._dial(origin)
        except TimeoutError:
            raise
        except OSError as error:
            raise Unreachable(type(error).__name__) from error

    async def _dial(self, origin: Origin) -> Connection:
        make = partial(Connection, origin)
        if origin.socket:
            return (await self._loop.create_unix_connection(make, origin.socket))[1]
        addresses = await self._addresses(origin.host, origin.port)
        plain = await aiohappyeyeballs.start_connection(addresses, happy_eyeballs_delay=NEXT_ADDRESS_SECONDS, loop=self._loop)
        try:
            tls, name = (self._tls, origin.host) if origin.is_tls else (None, None)
            return (await self._loop.create_connection(make, sock=plain, ssl=tls, server_hostname=name))[1]
        except BaseException:
            plain.close()
            raise

    async def _addresses(self, host: str, port: int) -> list[AddrInfo]:
        """Of a name: asked for once, however many connections are made at a time. Raises ``OSError``."""
        now, known = self._loop.time(), self._names.get((host, port))
        if known is None or known[1] < now:
            if len(self._names) >= MAX_NAMES:
                self._names.clear()
            known = self._names[host, port] = asyncio.ensure_future(self._resolve(host, port)), now + ADDRESS_SECONDS
        try:
            rows = await asyncio.shield(known[0])
        except OSError:
            self._names.pop((host, port), None)
            raise
        return [(row["family"], SOCK_STREAM, row["proto"], "", (row["host"], row["port"])) for row in rows]
