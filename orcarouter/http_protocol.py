"""uvicorn's HTTP protocol with what it leaves out: bounds on a request's head, in bytes and in time, and the one error body.

The parser collects header lines without end, and a connection that never finishes one is kept for ever.
"""

import asyncio
import weakref
from collections.abc import Callable
from typing import Any

import orjson
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from workspaces.errors import BadRequestBody, OrcaError
from workspaces.ids import uuid7

#: An extension of the scope: its ``line`` is the request's `Line`.
DIRECT = "orcarouter.direct"


class _Together:
    """A transport that sends in one piece what is written in one turn of the event loop: the head of an answer and its body."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport, self._loop = transport, loop
        self._unsent: list[bytes] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, piece: bytes) -> None:
        if not self._unsent:
            self._loop.call_soon(self._flush)
        self._unsent.append(piece)

    def write_now(self, piece: bytes) -> None:
        """With what this turn has written so far, without waiting for its end."""
        self._unsent.append(piece)
        self._flush()

    def _flush(self) -> None:
        pieces, self._unsent = self._unsent, []
        if pieces and not self._transport.is_closing():
            self._transport.write(b"".join(pieces))

    def close(self) -> None:
        self._flush()
        self._transport.close()

    def abort(self) -> None:
        self._unsent.clear()
        self._transport.abort()


class Line:
    """The connection of one request, for who cannot wait as ASGI would have it."""

    def __init__(self, cycle: RequestResponseCycle) -> None:
        # A weak one: what holds its own scope would be freed by the collector alone.
        self._cycle = weakref.ref(cycle)
        self.is_lost = False
        #: Called when the client goes away; None: nobody wants to know any more.
        self.on_lost: Callable[[], None] | None = None

    @property
    def is_open(self) -> bool:
        cycle = self._cycle()
        return cycle is not None and not cycle.response_complete

    def write(self, piece: bytes) -> bool:
        """What ``send`` does for one more piece of a body that has begun. False where nothing was written: the client has still to read what was."""
        cycle = self._cycle()
        if cycle is None or cycle.flow.write_paused or not cycle.chunked_encoding:
            return False
        if not cycle.disconnected:
            cycle.transport.write_now(b"%x\r\n%b\r\n" % (len(piece), piece))  # type: ignore[attr-defined]  # a _Together
        return True

    def lose(self) -> None:
        if self.is_open:
            self.is_lost = True
            if self.on_lost is not None:
                self.on_lost()


class BoundedProtocol(HttpToolsProtocol):
    #: Beyond the piece in which a head begins; what the gateway takes is smaller and counted exactly.
    max_head_bytes = 64 * 1024
    #: From the connection, or from the first piece of a head, to its end.
    head_seconds = 30.0

    _is_in_head = False
    _head_bytes = 0
    _head_timer: asyncio.TimerHandle | None = None
    #: Of the requests that are being answered: one, or several where a client sends the next before it has read.
    _lines: tuple[Line, ...] = ()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(_Together(transport, self.loop))  # type: ignore[arg-type]
        self._begin_to_wait()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end_of_wait()
        super().connection_lost(exc)
        for line in self._lines:
            line.lose()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._is_in_head, self._head_bytes = True, 0

    def on_headers_complete(self) -> None:
        self._is_in_head = False
        self._end_of_wait()
        super().on_headers_complete()
        line = Line(self.cycle)
        self._lines = (*(each for each in self._lines if each.is_open), line)
        self.scope["extensions"] = {DIRECT: {"line": line}}

    def data_received(self, data: bytes) -> None:
        if self._is_in_head:
            self._head_bytes += len(data)
            if self._head_bytes > self.max_head_bytes:
                self._refuse(BadRequestBody(f"The head of the request is larger than {self.max_head_bytes} bytes."))
                return
        super().data_received(data)
        if self._is_in_head and self._head_timer is None:
            self._begin_to_wait()

    def send_400_response(self, msg: str) -> None:
        self._refuse(BadRequestBody(msg))

    def _refuse(self, error: OrcaError) -> None:
        body = orjson.dumps(error.body())
        headers = b"content-type: application/json\r\nx-orca-request-id: req_%s\r\nconnection: close\r\n" % uuid7().hex.encode()
        self.transport.write(STATUS_LINE[error.status] + headers + b"content-length: %d\r\n\r\n" % len(body) + body)
        self.transport.close()

    def _begin_to_wait(self) -> None:
        self._head_timer = self.loop.call_later(self.head_seconds, self.transport.abort)

    def _end_of_wait(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
