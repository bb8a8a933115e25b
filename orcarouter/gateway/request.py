"""One HTTP request of an agent: its headers and body within bounds in, an answer or a stream out."""

import asyncio
import re
from collections.abc import Sequence
from functools import partial

import orjson
from django.conf import settings

from orcarouter.deadlines import Deadlines
from orcarouter.http_protocol import DIRECT, Cycle
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
_NOT_JSON = "Send the body as application/json, not compressed."


class Request:
    """One request, over the server's own `Cycle`. ``is_answering`` is True once the status has been sent; ``deadlines`` are of calls."""

    def __init__(self, scope, deadlines: Deadlines) -> None:
        self.uuid = uuid7()
        self.id = f"req_{self.uuid.hex}"
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.query: bytes = scope["query_string"]
        self.peer: str | None = scope["client"][0] if scope["client"] else None
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        self._scheme: str = scope["scheme"]
        self._raw_headers = scope["headers"]
        self._cycle: Cycle = scope["extensions"][DIRECT]
        self._deadlines = deadlines
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
        if self._cycle.head_bytes > MAX_HEADER_BYTES and sum(len(name) + len(value) for name, value in self._raw_headers) > MAX_HEADER_BYTES:
            raise errors.BadRequestBody(f"The headers are larger than {MAX_HEADER_BYTES} bytes.")

    # --- In ---
    async def read_body(self, at_most: int = MAX_BODY_BYTES) -> bytes:
        """The whole body, of ``at_most`` bytes. Raises ``PayloadTooLarge``, ``UnsupportedMediaType``, ``BadRequestBody``."""
        kind = self.headers.get(b"content-type", b"application/json")
        if kind != b"application/json" and kind.partition(b";")[0].strip().lower() != b"application/json":
            raise errors.UnsupportedMediaType(_NOT_JSON)
        if b"content-encoding" in self.headers and self.headers[b"content-encoding"].lower() != b"identity":
            raise errors.UnsupportedMediaType(_NOT_JSON)
        length = self.headers.get(b"content-length", b"0")
        if length.isdigit() and int(length[:20]) > at_most:
            raise errors.PayloadTooLarge(f"The body is larger than {at_most} bytes.")
        call = asyncio.current_task()
        assert call is not None
        # Nearly every body is there already.
        body = await self._rest_of_body(at_most, call) if self._cycle.more_body else await self._cycle.read(at_most)
        if body is None:
            raise errors.BadRequestBody("The body broke off.")
        if len(body) > at_most:
            raise errors.PayloadTooLarge(f"The body is larger than {at_most} bytes.")
        self.watch(call)
        return body

    async def _rest_of_body(self, at_most: int, call: asyncio.Task) -> bytes | None:
        timer = asyncio.get_running_loop().call_later(BODY_SECONDS, call.cancel, _LATE)
        try:
            return await self._cycle.read(at_most)
        except asyncio.CancelledError as error:
            if _LATE not in error.args:
                raise
            call.uncancel()
            raise errors.BadRequestBody("The body did not arrive in time.") from None
        finally:
            timer.cancel()

    def watch(self, call: asyncio.Task) -> None:
        """From here on a client that goes away takes this task along; what it sent has been read."""
        hang_up = partial(self._hang_up, call)
        # A client that stays and reads nothing holds its call and the provider's: it is gone as well, in the end.
        self._deadlines.begin(self, hang_up)
        self._cycle.on_lost = hang_up
        if self._cycle.disconnected:
            asyncio.get_running_loop().call_soon(hang_up)

    def _hang_up(self, call: asyncio.Task) -> None:
        if not self.is_ended:
            self.hung_up = True
            call.cancel("the client hung up")

    def close(self) -> None:
        self._deadlines.end(self)
        self._cycle.on_lost = None

    # --- Out ---
    async def answer(self, status: int, body: bytes, headers: Sequence[tuple[bytes, bytes]] = (), content_type: bytes = b"application/json") -> None:
        self.is_answering, self.status = True, status
        # Set before it is written: a client that has its answer may go.
        self.is_ended = True
        await self._cycle.answer(status, self._lines(content_type, headers), body)

    async def answer_error(self, error: errors.OrcaError) -> None:
        headers = [(name.lower().encode(), value.encode()) for name, value in error.headers.items()]
        await self.answer(error.status, orjson.dumps(error.body()), headers)

    async def start_stream(self, headers: Sequence[tuple[bytes, bytes]]) -> None:
        self.is_answering, self.status = True, 200
        extra = [*headers, (b"cache-control", b"no-store"), (b"x-accel-buffering", b"no")]
        await self._cycle.start(self._lines(b"text/event-stream; charset=utf-8", extra))

    async def write(self, piece: bytes) -> None:
        await self._cycle.write(piece)

    def write_now(self, piece: bytes) -> bool:
        """Write a piece of a stream without waiting. False where nothing was written: the stream has not begun, or its reader is slow."""
        return self.is_answering and self._cycle.write_now(piece)

    async def end(self) -> None:
        if not self.is_answering:
            await self.start_stream([])
        self.is_ended = True
        await self._cycle.end()

    def _lines(self, content_type: bytes, extra: Sequence[tuple[bytes, bytes]]) -> list[bytes]:
        request_id = self.id.encode()
        found = [b"content-type: %b\r\nx-orca-request-id: %b\r\nx-request-id: %b\r\n" % (content_type, request_id, request_id)]
        for header in extra:
            line = b"%b: %b\r\n" % header
            if not line[:-2].decode("latin-1").isprintable():
                raise ValueError("A header of an answer holds what would end it.")
            found.append(line)
        return found
