"""The one door to providers: pooled, bounded in every phase, and silent about secrets."""

import asyncio
import hashlib
import logging
import re
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import lru_cache

import aiohttp
import orjson
from aiohttp.http_exceptions import HttpProcessingError
from django.conf import settings

from keys.engine.grant import Route
from orcarouter.gateway import metrics
from orcarouter.gateway.engine.exchange import shown
from workspaces import net
from workspaces.errors import UpstreamError, UpstreamTimeout

logger = logging.getLogger(__name__)

MAX_ANSWER_BYTES = 64 * 1024 * 1024
MAX_ERROR_BYTES, MAX_ERROR_CHARACTERS = 64 * 1024, 500
#: Says that a request came through this installation; one that comes back is a loop.
VIA = "1.1 orcarouter-" + hashlib.sha256(f"via {settings.KEY_PEPPER}".encode()).hexdigest()[:12]
#: Statuses of a provider that may pass and are worth a second attempt, if they come without a body.
_PASSING = (502, 503, 504)
_SECRETS = re.compile(r"(?i)\b(?:sk|pk|key|token|secret|bearer|orca)[-_ ][A-Za-z0-9_.~+/*-]{8,}={0,2}|\b[A-Za-z0-9_-]{32,}\b")


@dataclass(slots=True)
class ProviderAnswer:
    """A provider's answer whose first byte has come. ``chunks`` raises ``UpstreamError`` or ``UpstreamTimeout``."""

    response: aiohttp.ClientResponse
    route: Route
    first_byte_ms: int
    deadline: float
    _loop: asyncio.AbstractEventLoop
    _waits_since: float | None = None
    _looker: asyncio.TimerHandle | None = None

    @property
    def is_stream(self) -> bool:
        return self.response.content_type == "text/event-stream"

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it comes, within the time between two bytes and the time of the whole call."""
        content, total = self.response.content, 0
        self._look()
        while True:
            self._waits_since = self._loop.time()
            try:
                chunk = await content.readany()
            except TimeoutError:
                metrics.UPSTREAM_FAILURES.labels("idle").inc()
                raise UpstreamTimeout("The provider stopped sending.") from None
            except (aiohttp.ClientError, HttpProcessingError, OSError) as error:
                metrics.UPSTREAM_FAILURES.labels("cut").inc()
                raise UpstreamError("The provider's answer broke off.") from error
            self._waits_since = None
            if not chunk:
                return
            total += len(chunk)
            if total > MAX_ANSWER_BYTES:
                raise UpstreamError(f"The provider's answer is larger than {MAX_ANSWER_BYTES} bytes.")
            yield chunk

    def _look(self) -> None:
        """End a wait that has become too long. One timer an answer: one for each chunk would cost more than the chunk."""
        now = self._loop.time()
        due = min((self._waits_since or now) + settings.UPSTREAM_IDLE_SECONDS, self.deadline)
        if now < due:
            self._looker = self._loop.call_at(due, self._look)
        else:
            self.response.content.set_exception(TimeoutError())

    async def body(self) -> bytes:
        return b"".join([chunk async for chunk in self.chunks()])

    def close(self) -> None:
        """Give the connection back, or drop it when the answer was not read to its end."""
        if self._looker is not None:
            self._looker.cancel()
        self.response.release()


class Upstream:
    """One pooled client a process; the demo provider has a connector of its own, over its socket."""

    def __init__(self) -> None:
        self._sessions: dict[bool, aiohttp.ClientSession] = {}

    async def start(self) -> None:
        self._resolver = net.PinnedResolver()
        # What it says of a URL follows from the URL and the settings alone.
        self._permit = lru_cache(1024)(self._resolver.permit)
        vetted = aiohttp.TCPConnector(resolver=self._resolver, limit=0, ttl_dns_cache=30, keepalive_timeout=30)
        self._sessions[False] = _session(vetted)
        if settings.DEMO_PROVIDER_SOCKET:
            self._sessions[True] = _session(aiohttp.UnixConnector(settings.DEMO_PROVIDER_SOCKET, limit=0))

    async def stop(self) -> None:
        for session in self._sessions.values():
            await session.close()

    async def ask(self, routes: tuple[Route, ...], body_for) -> ProviderAnswer:
        """Send a chat completion to the first route; once more, to the next one if there is one, when nothing came back.

        ``body_for(route)`` gives the bytes. Raises ``UpstreamError`` or ``UpstreamTimeout``. One retry, only when the
        connection failed or a passing status came without a body: never after the first byte.
        """
        try:
            return await self._attempt(routes[0], body_for(routes[0]))
        except _Retry as retry:
            metrics.UPSTREAM_FAILURES.labels("retried").inc()
            logger.info("upstream_retry", extra={"provider_id": routes[0].provider_id, "reason": str(retry)})
        route = routes[1] if len(routes) > 1 else routes[0]
        try:
            return await self._attempt(route, body_for(route))
        except _Retry as retry:
            metrics.UPSTREAM_FAILURES.labels("unreachable").inc()
            raise retry.failure from retry

    async def _attempt(self, route: Route, body: bytes) -> ProviderAnswer:
        started = time.monotonic()
        loop = asyncio.get_running_loop()
        headers = {"Content-Type": "application/json", "Accept-Encoding": "identity", "User-Agent": "OrcaRouter", "Via": VIA}
        if route.secret:
            headers["Authorization"] = f"Bearer {route.secret}"
        session = self._sessions.get(route.is_demo)
        if session is None:
            raise UpstreamError("The demo provider is not part of this installation.")
        try:
            if not route.is_demo:
                self._permit(route.base_url)
            async with asyncio.timeout(settings.UPSTREAM_FIRST_BYTE_SECONDS):
                response = await session.post(f"{route.base_url}/chat/completions", data=body, headers=headers, allow_redirects=False)
        except TimeoutError as error:
            metrics.UPSTREAM_FAILURES.labels("first_byte").inc()
            if isinstance(error, aiohttp.ConnectionTimeoutError):
                raise _Retry(UpstreamTimeout("The provider could not be reached in time.")) from error
            raise UpstreamTimeout("The provider did not answer in time.") from None
        except net.AddressRefused as error:
            raise UpstreamError("The provider's address is not one that may be called.") from error
        except (aiohttp.ClientError, HttpProcessingError, OSError) as error:
            # The text of the error names addresses of our network: it stays in the log.
            logger.warning("upstream_unreachable", extra={"provider_id": route.provider_id, "error": type(error).__name__})
            raise _Retry(UpstreamError("The provider could not be reached.")) from error
        first_byte_ms = round((time.monotonic() - started) * 1000)
        metrics.UPSTREAM_SECONDS.observe(first_byte_ms / 1000)
        answer = ProviderAnswer(response, route, first_byte_ms, loop.time() + settings.UPSTREAM_TOTAL_SECONDS, loop)
        if response.status != 200:
            await self._refuse(answer)
        return answer

    async def _refuse(self, answer: ProviderAnswer) -> None:
        """Turn a provider's error into ours: its status, except where that would mislead; its text, without secrets."""
        status = answer.response.status
        try:
            async with asyncio.timeout(5):
                text = await answer.response.content.read(MAX_ERROR_BYTES)
        except (aiohttp.ClientError, HttpProcessingError, OSError):
            text = b""
        finally:
            answer.response.close()
        metrics.UPSTREAM_FAILURES.labels("status").inc()
        error = UpstreamError(
            f"The provider answered {status}: {message_of(text, answer.route.secret)}" if text else f"The provider answered {status}.",
            status=status if 400 <= status < 600 and status not in (401, 403, 407) else 502,
            upstream_status=status,
        )
        if wait := answer.response.headers.get("Retry-After", ""):
            error.headers = {"Retry-After": wait[:32]} if wait.isascii() and wait.isprintable() else {}
        if status in _PASSING and not text:
            raise _Retry(error)
        raise error


def _session(connector: aiohttp.BaseConnector) -> aiohttp.ClientSession:
    """No proxies, no cookies; the phases have their own times, but for connecting."""
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=settings.UPSTREAM_CONNECT_SECONDS)
    return aiohttp.ClientSession(connector=connector, timeout=timeout, trust_env=False, cookie_jar=aiohttp.DummyCookieJar())


class _Retry(Exception):
    """The attempt failed in a way that is worth one more; ``failure`` is what to say if that fails too."""

    def __init__(self, failure: UpstreamError | UpstreamTimeout) -> None:
        super().__init__(failure.message)
        self.failure = failure


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
