"""uvicorn's HTTP protocol with what it leaves out: bounds on a request's head, in bytes and in time, and the one error body.

The parser collects header lines without end, and a connection that never finishes one is kept for ever.
"""

import asyncio
import weakref
from functools import partial
from typing import Any

import orjson
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from workspaces.errors import BadRequestBody, OrcaError
from workspaces.ids import uuid7

#: An extension of the scope: its ``write`` is `write_now` of the request.
WRITE_NOW = "orcarouter.write_now"


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


def write_now(request: weakref.ref[RequestResponseCycle], piece: bytes) -> bool:
    """What ASGI's ``send`` does for one more piece of a body that has begun, for who cannot wait.

    False where nothing was written: the client has still to read what was.
    """
    cycle = request()
    if cycle is None or cycle.flow.write_paused or not cycle.chunked_encoding:
        return False
    if not cycle.disconnected:
        cycle.transport.write_now(b"%x\r\n%b\r\n" % (len(piece), piece))  # type: ignore[attr-defined]  # a _Together
    return True


class BoundedProtocol(HttpToolsProtocol):
    #: Beyond the piece in which a head begins; what the gateway takes is smaller and counted exactly.
    max_head_bytes = 64 * 1024
    #: From the connection, or from the first piece of a head, to its end.
    head_seconds = 30.0

    _is_in_head = False
    _head_bytes = 0
    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(_Together(transport, self.loop))  # type: ignore[arg-type]
        self._begin_to_wait()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end_of_wait()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._is_in_head, self._head_bytes = True, 0

    def on_headers_complete(self) -> None:
        self._is_in_head = False
        self._end_of_wait()
        super().on_headers_complete()
        # A weak one: what holds its own scope would be freed by the collector alone.
        self.scope["extensions"] = {WRITE_NOW: {"write": partial(write_now, weakref.ref(self.cycle))}}

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
