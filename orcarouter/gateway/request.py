"""One HTTP request of an agent: its headers and body within bounds in, an answer or a stream out."""

import asyncio
import re
from functools import partial

import orjson
from django.conf import settings

from orcarouter.http_protocol import DIRECT, Line
from workspaces import errors
from workspaces.ids import uuid7

_HOST = re.compile(r"[A-Za-z0-9.-]{1,253}(?::[0-9]{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](?::[0-9]{1,5})?")
MAX_BODY_BYTES = 20 * 1024 * 1024
MAX_HEADER_BYTES = 64 * 1024
#: Seconds a client may take to send its body.
BODY_SECONDS = 60.0
#: Seconds a call may take, its answer read by the client included.
CALL_SECONDS = settings.UPSTREAM_FIRST_BYTE_SECONDS + settings.UPSTREAM_TOTAL_SECONDS + 60.0
_LATE = "the body is late"


class Request:
    """Wraps the three ASGI callables. ``is_answering`` is True once the status has been sent."""

    def __init__(self, scope, receive, send) -> None:
        self.uuid = uuid7()
        self.id = f"req_{self.uuid.hex}"
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.query: bytes = scope.get("query_string", b"")
        self._scheme: str = scope.get("scheme", "http")
        self.peer: str | None = scope["client"][0] if scope.get("client") else None
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        self._raw_headers = scope["headers"]
        self._receive, self._send = receive, send
        self._line: Line | None = scope.get("extensions", {}).get(DIRECT, {}).get("line")
        self._deadline: asyncio.TimerHandle | None = None
        self.is_answering = False
        self.is_ended = False
        self.hung_up = False
        self.status = 0

    @property
    def forwarded_for(self) -> str:
        return self._all(b"x-forwarded-for").decode("latin-1")

    @property
    def via(self) -> bytes:
        return self._all(b"via") if b"via" in self.headers else b""

    @property
    def base_url(self) -> str:
        """Where the caller reached us, as far as it can be told; empty: the same place again."""
        host = self.headers.get(b"host", b"").decode("latin-1")
        return f"{self._scheme}://{host}" if _HOST.fullmatch(host) else ""

    def _all(self, wanted: bytes) -> bytes:
        return b",".join(value for name, value in self._raw_headers if name == wanted)

    def refuse_large_headers(self) -> None:
        if sum(len(name) + len(value) for name, value in self._raw_headers) > MAX_HEADER_BYTES:
            raise errors.BadRequestBody(f"The headers are larger than {MAX_HEADER_BYTES} bytes.")

    # --- In ---
    async def read_body(self, at_most: int = MAX_BODY_BYTES) -> bytes:
        """The whole body, of ``at_most`` bytes. Raises ``PayloadTooLarge``, ``UnsupportedMediaType``, ``BadRequestBody``."""
        kind = self.headers.get(b"content-type", b"application/json").partition(b";")[0].strip().lower()
        if kind != b"application/json" or self.headers.get(b"content-encoding", b"identity").lower() != b"identity":
            raise errors.UnsupportedMediaType("Send the body as application/json, not compressed.")
        length = self.headers.get(b"content-length", b"0")
        if length.isdigit() and int(length[:20]) > at_most:
            raise errors.PayloadTooLarge(f"The body is larger than {at_most} bytes.")
        call = asyncio.current_task()
        assert call is not None
        # What asyncio.timeout does, for a fraction of its cost: nearly every body is there already.
        timer = asyncio.get_running_loop().call_later(BODY_SECONDS, call.cancel, _LATE)
        try:
            return await self._collect(at_most, call)
        except asyncio.CancelledError as error:
            if _LATE not in error.args:
                raise
            call.uncancel()
            raise errors.BadRequestBody("The body did not arrive in time.") from None
        finally:
            timer.cancel()

    async def _collect(self, at_most: int, call: asyncio.Task) -> bytes:
        pieces, size = [], 0
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise errors.BadRequestBody("The body broke off.")
            piece = message.get("body", b"")
            size += len(piece)
            if size > at_most:
                raise errors.PayloadTooLarge(f"The body is larger than {at_most} bytes.")
            pieces.append(piece)
            if not message.get("more_body"):
                self.watch(call)
                return b"".join(pieces)

    def watch(self, call: asyncio.Task) -> None:
        """From here on a client that goes away takes this task along; what it sent has been read."""
        loop, hang_up = asyncio.get_running_loop(), partial(self._hang_up, call)
        # A client that stays and reads nothing holds its call and the provider's: it is gone as well, in the end.
        self._deadline = loop.call_later(CALL_SECONDS, hang_up)
        if self._line is not None:
            self._line.on_lost = hang_up
            if self._line.is_lost:
                loop.call_soon(hang_up)

    def _hang_up(self, call: asyncio.Task) -> None:
        if not self.is_ended:
            self.hung_up = True
            call.cancel("the client hung up")

    def close(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        if self._line is not None:
            self._line.on_lost = None

    # --- Out ---
    async def answer(self, status: int, body: bytes, headers: list[tuple[bytes, bytes]] = [], content_type: bytes = b"application/json") -> None:  # noqa: B006
        self.is_answering, self.status = True, status
        await self._send({"type": "http.response.start", "status": status, "headers": self._headers(content_type, headers, len(body))})
        # Set before the last write: the server reports a disconnect as soon as it is done.
        self.is_ended = True
        await self._send({"type": "http.response.body", "body": body})

    async def answer_error(self, error: errors.OrcaError) -> None:
        headers = [(name.lower().encode(), value.encode()) for name, value in error.headers.items()]
        await self.answer(error.status, orjson.dumps(error.body()), headers)

    async def start_stream(self, headers: list[tuple[bytes, bytes]]) -> None:
        self.is_answering, self.status = True, 200
        extra = [*headers, (b"cache-control", b"no-store"), (b"x-accel-buffering", b"no")]
        await self._send({"type": "http.response.start", "status": 200, "headers": self._headers(b"text/event-stream; charset=utf-8", extra, None)})

    async def write(self, piece: bytes) -> None:
        await self._send({"type": "http.response.body", "body": piece, "more_body": True})

    def write_now(self, piece: bytes) -> bool:
        """Write a piece of a stream without waiting. False where nothing was written: the stream has not begun, or its reader is slow."""
        if not self.is_answering or self._line is None:
            return False
        return not piece or self._line.write(piece)

    async def end(self) -> None:
        if not self.is_answering:
            await self.start_stream([])
        self.is_ended = True
        await self._send({"type": "http.response.body", "body": b""})

    def _headers(self, content_type: bytes, extra: list[tuple[bytes, bytes]], length: int | None) -> list[tuple[bytes, bytes]]:
        request_id = self.id.encode()
        found = [(b"content-type", content_type), (b"x-orca-request-id", request_id), (b"x-request-id", request_id), *extra]
        return [*found, (b"content-length", str(length).encode())] if length is not None else found
