"""The one door to providers: pooled, bounded in every phase, and silent about secrets."""

import asyncio
import hashlib
import logging
import re
import time
import zlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar
from urllib.parse import quote, urlsplit

import orjson
from django.conf import settings

from keys.engine.grant import Route
from orcarouter.deadlines import Deadlines
from orcarouter.gateway import metrics
from orcarouter.gateway.connector import Broken, Connection, Connector, Origin, Unreachable
from orcarouter.gateway.engine.exchange import shown
from workspaces import net
from workspaces.errors import UpstreamError, UpstreamTimeout

logger = logging.getLogger(__name__)

_Failure = TypeVar("_Failure", UpstreamError, UpstreamTimeout)

MAX_ANSWER_BYTES = 64 * 1024 * 1024
MAX_ERROR_BYTES, MAX_ERROR_CHARACTERS = 64 * 1024, 500
#: Of one step of unpacking: a few bytes may unpack to gigabytes.
MAX_UNPACKED_BYTES = 256 * 1024
#: Says that a request came through this installation; one that comes back is a loop.
VIA = "1.1 orcarouter-" + hashlib.sha256(f"via {settings.KEY_PEPPER}".encode()).hexdigest()[:12]
#: Statuses of a provider that may pass and are worth a second attempt, if they come without a body.
_PASSING = (502, 503, 504)
#: Those that whoever stands before the provider says when it took the call and nothing came back.
_LOST = (502, 504)
_SECRETS = re.compile(r"(?i)\b(?:sk|pk|key|token|secret|bearer|orca)[-_ ][A-Za-z0-9_.~+/*-]{8,}={0,2}|\b[A-Za-z0-9_-]{32,}\b")


@dataclass(slots=True)
class ProviderAnswer:
    """A provider's answer whose head has come."""

    connection: Connection
    route: Route
    first_byte_ms: int
    deadline: float
    _idle_seconds: float
    _connector: Connector
    _loop: asyncio.AbstractEventLoop
    #: The last event of a stream was read: only the end of the body is to come.
    is_over: bool = False
    _bytes: int = 0
    _waits_since: float | None = None
    _looker: asyncio.TimerHandle | None = None
    _unpacker: "_Unpacker | None" = None

    @property
    def is_stream(self) -> bool:
        return self.connection.headers.get(b"content-type", b"").partition(b";")[0].strip().lower() == b"text/event-stream"

    async def pass_to(self, take: Callable[[bytes], bool]) -> bool:
        """Give ``take`` the body, each piece when it comes, until it says False: then True; False at the end of the body.

        Within the time between two bytes and the time of the whole call. Raises ``UpstreamError`` or ``UpstreamTimeout``.
        """
        if self._looker is None:
            self._look()
        encoding = self.connection.headers.get(b"content-encoding", b"identity").strip().lower()
        if encoding not in (b"", b"identity") and self._unpacker is None:
            self._unpacker = _Unpacker(encoding)
        unpacker = self._unpacker

        def counted(piece: bytes) -> bool:
            self._waits_since = self._loop.time()
            self._bytes += len(piece)
            if self._bytes > MAX_ANSWER_BYTES:
                raise taken(UpstreamError(f"The provider's answer is larger than {MAX_ANSWER_BYTES} bytes."))
            return take(piece)

        def unpacked(packed: bytes) -> bool:
            self._waits_since = self._loop.time()
            return unpacker is None or unpacker.unpack(packed, counted)

        if not unpacked(b""):
            return True
        try:
            is_enough = await self.connection.pass_to(unpacked if unpacker else counted)
        except TimeoutError:
            metrics.UPSTREAM_FAILURES.labels("idle").inc()
            raise taken(UpstreamTimeout("The provider stopped sending.")) from None
        except Broken as error:
            metrics.UPSTREAM_FAILURES.labels("cut").inc()
            raise taken(UpstreamError("The provider's answer broke off.")) from error
        finally:
            self._waits_since = None
        if unpacker is not None and not is_enough:
            unpacker.end()
        return is_enough

    def _look(self) -> None:
        """End a wait that has become too long. One timer an answer: one for each chunk would cost more than the chunk."""
        now = self._loop.time()
        due = min((self._waits_since or now) + self._idle_seconds, self.deadline)
        if now < due:
            self._looker = self._loop.call_at(due, self._look)
        else:
            self.connection.time_out()

    async def body(self) -> bytes:
        if self.connection.is_whole and b"content-encoding" not in self.connection.headers:
            # As most are: nothing is left to wait for.
            return self.connection.taken()
        pieces: list[bytes] = []

        def keep(piece: bytes) -> bool:
            pieces.append(piece)
            return True

        await self.pass_to(keep)
        return b"".join(pieces)

    def close(self) -> None:
        """Give the connection back, or drop it when the answer was not read to its end."""
        if self._looker is not None:
            self._looker.cancel()
        self._connector.release(self.connection, is_over=self.is_over)


class _Unpacker:
    """For what a provider packed that was asked not to: unpacks it in bounded pieces."""

    def __init__(self, encoding: bytes) -> None:
        if encoding not in (b"gzip", b"x-gzip", b"deflate"):
            raise UpstreamError("The provider's answer is compressed in a way that was not asked for.")
        self._zlib = zlib.decompressobj(wbits=32 + zlib.MAX_WBITS)

    def unpack(self, packed: bytes, take: Callable[[bytes], bool]) -> bool:
        """Give ``take`` what this says, after what was left the last time, until it says False: then so does this."""
        packed = self._zlib.unconsumed_tail + packed
        has_more = True
        try:
            while has_more and not self._zlib.eof:
                piece = self._zlib.decompress(packed, MAX_UNPACKED_BYTES)
                packed = self._zlib.unconsumed_tail
                has_more = len(piece) == MAX_UNPACKED_BYTES
                if piece and not take(piece):
                    return False
        except zlib.error as error:
            raise UpstreamError("The provider's answer broke off.") from error
        return True

    def end(self) -> None:
        """The packed body is over. Raises ``UpstreamError`` where something is missing."""
        if not self._zlib.eof:
            raise UpstreamError("The provider's answer broke off.")


@dataclass(frozen=True, slots=True)
class _Door:
    """Where a route's calls go, and the head of its requests up to the length of the body."""

    origin: Origin
    head: bytes


class Upstream:
    """The doors to all providers, one instance a process; the demo provider is reached over its socket alone."""

    async def start(self) -> None:
        self._resolver = net.PinnedResolver()
        self._connector = Connector(self._resolver.resolve, connect_seconds=settings.UPSTREAM_CONNECT_SECONDS)
        self._first_bytes = Deadlines(settings.UPSTREAM_FIRST_BYTE_SECONDS)
        self._idle_seconds, self._total_seconds = settings.UPSTREAM_IDLE_SECONDS, settings.UPSTREAM_TOTAL_SECONDS
        # What is said of an address follows from it and the settings alone.
        self._door = lru_cache(1024)(self._make_door)

    async def stop(self) -> None:
        self._connector.close()

    def _make_door(self, base_url: str, secret: str, is_demo: bool) -> _Door:
        """Raises ``AddressRefused``, or ``UpstreamError`` for what cannot be put into a request."""
        if is_demo and not settings.DEMO_PROVIDER_SOCKET:
            raise UpstreamError("The demo provider is not part of this installation.")
        parts = urlsplit(base_url)
        origin, authority = Origin("", 0, is_tls=False, socket=settings.DEMO_PROVIDER_SOCKET), parts.netloc
        if not is_demo:
            endpoint = self._resolver.permit(base_url)
            parts = urlsplit(endpoint.url)
            origin, authority = Origin(endpoint.host, endpoint.port, is_tls=endpoint.scheme == "https"), parts.netloc
        path = quote(parts.path, safe="/%:@!$&'()*+,;=~-._")
        lines = [f"POST {path}/chat/completions HTTP/1.1", f"Host: {authority}", "Content-Type: application/json", "Accept: */*", "Accept-Encoding: identity"]
        lines += ["User-Agent: OrcaRouter", f"Via: {VIA}", *([f"Authorization: Bearer {secret}"] if secret else [])]
        if not all(line.isprintable() for line in lines):
            raise UpstreamError("The provider's secret holds characters that cannot be sent.")
        return _Door(origin, "\r\n".join([*lines, "Content-Length: "]).encode())

    async def ask(self, routes: tuple[Route, ...], body_for: Callable[[Route], bytes], may_repeat: Callable[[], Awaitable[bool]]) -> ProviderAnswer:
        """Send a chat completion to the first route; once more, to the next one if there is one, when nothing came back.

        ``body_for(route)`` gives the bytes. Raises ``UpstreamError`` or ``UpstreamTimeout``. One retry, only when the
        connection failed or a passing status came without a body: never after the first byte. ``may_repeat`` is asked
        where the first attempt may cost something all the same.
        """
        try:
            return await self._attempt(routes[0], body_for(routes[0]))
        except _Retry as retry:
            first = retry.failure
        if first.may_have_cost and not await may_repeat():
            raise first
        metrics.UPSTREAM_FAILURES.labels("retried").inc()
        logger.info("upstream_retry", extra={"provider_id": routes[0].provider_id, "reason": first.message})
        route = routes[1] if len(routes) > 1 else routes[0]
        try:
            return await self._attempt(route, body_for(route), is_second=True)
        except _Retry as retry:
            metrics.UPSTREAM_FAILURES.labels("unreachable").inc()
            raise retry.failure from retry

    async def _attempt(self, route: Route, body: bytes, *, is_second: bool = False) -> ProviderAnswer:
        started = time.monotonic()
        loop = asyncio.get_running_loop()
        try:
            door = self._door(route.base_url, route.secret, route.is_demo)
            # A kept connection may have been closed by the other side unseen, and its neighbours with it.
            connection = await self._connector.take(door.origin, is_new=is_second)
        except net.AddressRefused as error:
            raise UpstreamError("The provider's address is not one that may be called.") from error
        except TimeoutError:
            metrics.UPSTREAM_FAILURES.labels("first_byte").inc()
            raise _Retry(UpstreamTimeout("The provider could not be reached in time.")) from None
        except Unreachable as error:
            raise self._unreachable(route, error, was_sent=False) from error
        self._first_bytes.begin(connection, connection.time_out)
        try:
            await connection.ask(door.head, b"%d\r\n\r\n" % len(body), body)
        except TimeoutError:
            self._connector.release(connection)
            metrics.UPSTREAM_FAILURES.labels("first_byte").inc()
            raise taken(UpstreamTimeout("The provider did not answer in time.")) from None
        except Broken as error:
            self._connector.release(connection)
            raise self._unreachable(route, error, was_sent=True) from error
        except BaseException:
            self._connector.release(connection)
            raise
        finally:
            self._first_bytes.end(connection)
        first_byte_ms = round((time.monotonic() - started) * 1000)
        metrics.UPSTREAM_SECONDS.observe(first_byte_ms / 1000)
        answer = ProviderAnswer(connection, route, first_byte_ms, loop.time() + self._total_seconds, self._idle_seconds, self._connector, loop)
        if connection.status != 200:
            await self._refuse(answer)
        return answer

    @staticmethod
    def _unreachable(route: Route, error: Broken, *, was_sent: bool) -> "_Retry":
        # The text of the error may name addresses of our network: it stays in the log.
        logger.warning("upstream_unreachable", extra={"provider_id": route.provider_id, "error": str(error)[:200]})
        failure = UpstreamError("The provider could not be reached.")
        return _Retry(taken(failure) if was_sent else failure)

    async def _refuse(self, answer: ProviderAnswer) -> None:
        """Turn a provider's error into ours: its status, except where that would mislead; its text, without secrets."""
        status, text = answer.connection.status, b""

        def read(piece: bytes) -> bool:
            nonlocal text
            text += piece
            return len(text) < MAX_ERROR_BYTES

        try:
            async with asyncio.timeout(5):
                await answer.pass_to(read)
        except (UpstreamError, UpstreamTimeout, TimeoutError):
            text = text[:MAX_ERROR_BYTES]
        finally:
            answer.close()
        metrics.UPSTREAM_FAILURES.labels("status").inc()
        error = UpstreamError(
            f"The provider answered {status}: {message_of(text, answer.route.secret)}" if text else f"The provider answered {status}.",
            status=status if 400 <= status < 600 and status not in (401, 403, 407) else 502,
            upstream_status=status,
        )
        if wait := answer.connection.headers.get(b"retry-after", b"")[:32].decode("latin-1"):
            error.headers = {"Retry-After": wait} if wait.isascii() and wait.isprintable() else {}
        if status in _PASSING and not text:
            raise _Retry(taken(error) if status in _LOST else error)
        raise error


class _Retry(Exception):
    """The attempt failed in a way that is worth one more; ``failure`` is what to say if that fails too."""

    def __init__(self, failure: UpstreamError | UpstreamTimeout) -> None:
        super().__init__(failure.message)
        self.failure = failure


def taken(error: _Failure) -> _Failure:
    """The failure of a call that was sent, and that the provider may have worked on."""
    error.may_have_cost = True
    return error


def message_of(text: bytes, secret: str) -> str:
    """A provider's own words out of its error body: at most 500 characters, its ``secret`` and anything like one taken out."""
    try:
        found = orjson.loads(text)
        inner = found.get("error", found) if isinstance(found, dict) else found
        words = inner.get("message", "") if isinstance(inner, dict) else str(inner)
    except orjson.JSONDecodeError:
        words = text.decode(errors="replace")
    if secret:
        words = str(words).replace(secret, "[redacted]")
    return _SECRETS.sub("[redacted]", shown(str(words), MAX_ERROR_CHARACTERS))
