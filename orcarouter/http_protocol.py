"""uvicorn's HTTP protocol with what it leaves out: bounds on a request's head, in bytes and in time, and the one error body.

The parser collects header lines without end, and a connection that never finishes one is kept for ever. Its requests are
`Cycle`s: ASGI to whoever wants that, and a shorter way to whoever is called for each step of an agent.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any
from urllib.parse import unquote
from weakref import WeakKeyDictionary

import httptools
import orjson
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from orcarouter.deadlines import Deadlines
from workspaces.errors import BadRequestBody, OrcaError
from workspaces.ids import uuid7

#: An extension of the scope: the request's `Cycle`.
DIRECT = "orcarouter.direct"


class Cycle(RequestResponseCycle):
    """One request and its answer. ``receive`` and ``send`` are ASGI's; who does not take them uses the rest, and never both."""

    def __init__(self, protocol: "BoundedProtocol", *, keep_alive: bool) -> None:
        # All that the base class would set, and no more: its event is made for the few who wait for it.
        self.scope: Any = protocol.scope
        self.transport, self.flow, self.logger = protocol.transport, protocol.flow, protocol.logger
        self.access_log = False
        self.default_headers = protocol.server_state.default_headers
        self.on_response: Callable[[], None] = protocol.on_response_complete
        self.disconnected = self.response_started = self.response_complete = False
        self.keep_alive = keep_alive
        self.waiting_for_100_continue = protocol.expect_100_continue
        self.body, self.more_body = bytearray(), True
        self.chunked_encoding = None
        self.expected_content_length = 0
        self.is_headless = protocol.scope["method"] == "HEAD"
        #: More than the head's bytes, by what came with it.
        self.head_bytes = protocol.head_bytes
        #: Called when the client goes away; None: nobody wants to know any more.
        self.on_lost: Callable[[], None] | None = None
        self._event: asyncio.Event | None = None

    @property
    def message_event(self) -> asyncio.Event:  # type: ignore[override]
        if self._event is None:
            self._event = asyncio.Event()
            if self.body or not self.more_body or self.disconnected:
                self._event.set()
        return self._event

    async def run_asgi(self, app: Any) -> None:
        try:
            await app(self.scope, self.receive, self.send)
        except BaseException as error:
            self.logger.error("application_bug", exc_info=error)
        if not self.response_complete and not self.disconnected:
            if self.flow.write_paused:
                # To close would wait for a client that does not read.
                self.transport.abort()
            elif self.response_started:
                self.transport.close()
            else:
                await self.send_500_response()
        # What holds its own scope would be freed by the collector alone.
        self.scope, self.on_response, self.on_lost = {}, _nothing, None

    # --- The request ---
    def take(self, piece: bytes) -> None:
        self.body += piece
        if len(self.body) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()
        self._tell()

    def take_end(self) -> None:
        self.more_body = False
        self._tell()

    def lose(self) -> None:
        """The client is gone."""
        if not self.response_complete:
            self.disconnected = True
            self._tell()
            if self.on_lost is not None:
                self.on_lost()

    def _tell(self) -> None:
        if self._event is not None:
            self._event.set()

    async def read(self, at_most: int) -> bytes | None:
        """The whole body, or more than ``at_most`` bytes of it; None where it broke off."""
        # Also where all of it is there: a connection that is not read does not say that it is lost.
        self.flow.resume_reading()
        while self.more_body and len(self.body) <= at_most:
            if self.disconnected:
                return None
            if self.waiting_for_100_continue:
                self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                self.waiting_for_100_continue = False
            self.flow.resume_reading()
            self.message_event.clear()
            await self.message_event.wait()
        body, self.body = bytes(self.body), bytearray()
        return body

    # --- Its answer ---
    async def answer(self, status: int, headers: Iterable[bytes], body: bytes) -> None:
        """All of it in one write. Each of ``headers`` is a whole line."""
        await self._may_write()
        self.response_started = True
        if not self.disconnected:
            head = self._head(status, b"content-length: %d\r\n" % len(body), headers)
            self.transport.write(head if self.is_headless else head + body)
        self._complete()

    async def start(self, headers: Iterable[bytes]) -> None:
        """Begin an answer of status 200 whose length is not known."""
        await self._may_write()
        self.response_started = self.chunked_encoding = True
        if not self.disconnected:
            self.transport.write(self._head(200, b"transfer-encoding: chunked\r\n", headers))

    async def write(self, piece: bytes) -> None:
        """One more piece, once the client has room for it."""
        await self._may_write()
        self.write_now(piece)

    def write_now(self, piece: bytes) -> bool:
        """The same without waiting. False where nothing was written: the client has still to read what was."""
        if self.flow.write_paused and not self.disconnected:
            return False
        if piece and not self.disconnected:
            self.transport.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        return True

    async def end(self) -> None:
        await self._may_write()
        if not self.disconnected:
            self.transport.write(b"0\r\n\r\n")
        self._complete()

    async def _may_write(self) -> None:
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()

    def _head(self, status: int, length: bytes, headers: Iterable[bytes]) -> bytes:
        kept = b"" if self.keep_alive else b"connection: close\r\n"
        return b"".join((STATUS_LINE[status], *map(_line, self.default_headers), *headers, length, kept, b"\r\n"))

    def _complete(self) -> None:
        self.response_complete = True
        self._tell()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()


def _nothing() -> None:
    """Nobody is told any more."""


@lru_cache(16)
def _line(header: tuple[bytes, bytes]) -> bytes:
    return b"%b: %b\r\n" % header


#: By server, when its connections that wait for their next request have waited long enough.
_idle: WeakKeyDictionary[ServerState, Deadlines] = WeakKeyDictionary()


class BoundedProtocol(HttpToolsProtocol):
    #: Beyond the piece in which a head begins; what the gateway takes is smaller and counted exactly.
    max_head_bytes = 64 * 1024
    #: From the connection, or from the first piece of a head, to its end.
    head_seconds = 30.0
    #: That a client whose request was refused has to read why.
    linger_seconds = 1.0

    #: Of the head that comes, with what else was in the piece in which it begins.
    head_bytes = 0
    #: Of the piece that is read, and of the one in which the head begins.
    _piece_bytes = _first_bytes = 0
    _is_in_head = False
    _is_refused = False
    _head_timer: asyncio.TimerHandle | None = None
    scope: Any
    parser: Any
    #: The last request.
    cycle: Cycle  # type: ignore[mutable-override]
    #: Those that came before the answer to the one before them was over.
    pipeline: deque[tuple[Cycle, Any]]  # type: ignore[assignment]
    #: The request that is being answered.
    _answering: Cycle | None = None

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._idle = _idle.setdefault(self.server_state, Deadlines(self.timeout_keep_alive))

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._begin_to_wait()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end_of_wait()
        self._unset_keepalive_if_required()
        self.connections.discard(self)
        self.flow.resume_writing()
        for cycle in (self._answering, *(each for each, _ in self.pipeline)):
            if cycle is not None:
                cycle.lose()
        self.transport.close()
        self.parser = None

    def data_received(self, data: bytes) -> None:
        if self._is_refused:
            return
        self._piece_bytes = len(data)
        if self._is_in_head:
            self.head_bytes += len(data)
            if self.head_bytes - self._first_bytes > self.max_head_bytes:
                self._refuse(BadRequestBody(f"The head of the request is larger than {self.max_head_bytes} bytes."))
                return
        super().data_received(data)
        if self._is_in_head and self._head_timer is None:
            self._begin_to_wait()

    # --- The parser's words ---
    def on_message_begin(self) -> None:
        self.url, self.headers, self.expect_100_continue = b"", [], False
        self._is_in_head = True
        self.head_bytes = self._first_bytes = self._piece_bytes

    def on_headers_complete(self) -> None:
        self._is_in_head = False
        self._end_of_wait()
        parser, url = self.parser, httptools.parse_url(self.url)
        version, path = parser.get_http_version(), url.path.decode("ascii")
        self.scope = {
            "type": "http",
            "asgi": {"version": self.asgi_version, "spec_version": "2.3"},
            "http_version": version,
            "server": self.server,
            "client": self.client,
            "scheme": self.scheme,
            "root_path": "",
            "method": parser.get_method().decode("ascii"),
            "path": unquote(path) if "%" in path else path,
            "raw_path": url.path,
            "query_string": url.query or b"",
            "headers": self.headers,
        }
        cycle = self.cycle = Cycle(self, keep_alive=version != "1.0" and parser.should_keep_alive())
        self.scope["extensions"] = {DIRECT: cycle}
        if self._answering is None:
            self._start_asgi_task(cycle, self.app)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((cycle, self.app))

    def _start_asgi_task(self, cycle: Cycle, app: Any) -> None:  # type: ignore[override]
        self._answering = cycle
        super()._start_asgi_task(cycle, app)

    def on_body(self, body: bytes) -> None:
        if not self.cycle.response_complete:
            self.cycle.take(body)

    def on_message_complete(self) -> None:
        if not self.cycle.response_complete:
            self.cycle.take_end()

    # --- After an answer ---
    def on_response_complete(self) -> None:
        self.server_state.total_requests += 1
        self._answering = None
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        else:
            self._idle.begin(self, self.timeout_keep_alive_handler)

    def _unset_keepalive_if_required(self) -> None:
        self._idle.end(self)

    # --- What is refused before anybody is asked ---
    def send_400_response(self, msg: str) -> None:
        self._refuse(BadRequestBody(msg))

    def _refuse(self, error: OrcaError) -> None:
        body = orjson.dumps(error.body())
        headers = b"content-type: application/json\r\nx-orca-request-id: req_%s\r\nconnection: close\r\n" % uuid7().hex.encode()
        self.transport.write(STATUS_LINE[error.status] + headers + b"content-length: %d\r\n\r\n" % len(body) + body)
        # To close at once, with more of the request to come, would take the answer back (RFC 9112, 9.6).
        self._is_refused, self._is_in_head = True, False
        self._end_of_wait()
        self.transport.write_eof()
        self.loop.call_later(self.linger_seconds, self.transport.abort)

    def _begin_to_wait(self) -> None:
        self._head_timer = self.loop.call_later(self.head_seconds, self.transport.abort)

    def _end_of_wait(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
