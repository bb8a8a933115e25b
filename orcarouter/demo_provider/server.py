"""The demo provider's ASGI application.

Besides ``demo-small`` and ``demo-large`` there are models that fail, for tests and for trying the gateway out:
``demo-error-<status>`` answers that status with an error body, ``demo-empty-<status>`` without one, ``demo-slow`` waits
2 s, ``demo-hang`` never answers, ``demo-drip`` streams a piece every 50 ms, ``demo-cut`` breaks off mid way,
``demo-bad-json`` writes broken JSON, ``demo-stream-error`` reports an error inside its stream.
"""

import asyncio
import hmac
import itertools
import json
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from orcarouter.demo_provider import PRICES
from orcarouter.demo_provider.script import play
from orcarouter.demo_provider.wire import CREATED, Completion

KEPT_REQUESTS = 100
SLOW_SECONDS = 2.0
DRIP_SECONDS = 0.05
HANG_SECONDS = 3600.0

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


class DemoProvider:
    """``secret``: the bearer token asked of callers, None for none. ``delay_seconds`` before each answer's first byte."""

    def __init__(self, *, secret: str | None = None, delay_seconds: float = 0.0) -> None:
        self._secret, self._delay_seconds = secret, delay_seconds
        self._count = 0
        self._requests: deque[dict[str, Any]] = deque(maxlen=KEPT_REQUESTS)

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        method, path = scope["method"], scope["path"].rstrip("/")
        headers = dict(scope["headers"])
        body = await _body(receive)
        if path == "/__demo/requests":
            await self._account(method, send)
        elif not self._may_call(headers.get(b"authorization", b"")):
            await _answer(send, 401, _error("Incorrect API key provided.", "invalid_api_key"))
        elif (method, path) == ("GET", "/v1/models"):
            models = [{"id": model, "object": "model", "created": CREATED, "owned_by": "demo"} for model in PRICES]
            await _answer(send, 200, _dumps({"object": "list", "data": models}))
        elif (method, path) == ("POST", "/v1/chat/completions"):
            await self._complete(body, headers, receive, send)
        else:
            await _answer(send, 404, _error("Unknown path.", "not_found"))

    def _may_call(self, authorization: bytes) -> bool:
        return self._secret is None or hmac.compare_digest(authorization, b"Bearer " + self._secret.encode())

    async def _account(self, method: str, send: Send) -> None:
        """What has arrived, so that a test can say that nothing did."""
        if method == "DELETE":
            self._count = 0
            self._requests.clear()
        await _answer(send, 200, _dumps({"count": self._count, "requests": list(self._requests)}))

    async def _complete(self, body: bytes, headers: dict[bytes, bytes], receive: Receive, send: Send) -> None:
        self._count += 1
        entry = {"id": self._count, "body": body.decode(errors="replace"), "headers": _shown(headers), "hung_up": False}
        self._requests.append(entry)
        request = _request(body)
        if request is None:
            await _answer(send, 400, _error("The request is no chat completion.", "bad_request"))
            return
        model = request["model"]
        waits = {"demo-slow": SLOW_SECONDS, "demo-hang": HANG_SECONDS}.get(model, self._delay_seconds)
        entry["hung_up"] = waits > 0 and await _hangs_up(receive, waits)
        if entry["hung_up"]:
            return
        if failed := _failure(model):
            await _answer(send, *failed)
            return
        completion = Completion(request, play(request))
        if request.get("stream"):
            pause = DRIP_SECONDS if model == "demo-drip" else 0.0
            entry["hung_up"] = await _stream(_broken(model, completion), pause, receive, send, is_whole=model != "demo-cut")
        else:
            await _answer_json(model, completion.body(), send)


def _request(body: bytes) -> dict[str, Any] | None:
    try:
        request = json.loads(body)
    except ValueError:
        return None
    is_request = isinstance(request, dict) and isinstance(request.get("model"), str) and isinstance(request.get("messages"), list)
    return request if is_request else None


def _failure(model: str) -> tuple[int, bytes] | None:
    """Status and body for a model that fails by its name."""
    kind, _, status = model.removeprefix("demo-").partition("-")
    if kind not in ("error", "empty") or not status.isdecimal() or not 400 <= int(status) <= 599:
        return None
    return int(status), b"" if kind == "empty" else _error(f"The demo provider was asked to fail with {status}.", f"demo_error_{status}")


def _broken(model: str, completion: Completion) -> Iterator[bytes]:
    """The pieces of a stream, with what the model's name does to them."""
    if model == "demo-cut":
        pieces = list(completion.stream())
        return iter(pieces[: max(len(pieces) // 2, 1)])
    if model == "demo-bad-json":
        first, *rest = completion.frames()
        return iter([first, b'data: {"choices":[{"index":0,"delta":{"tool_calls":[{"ind\n\n', *rest])
    if model == "demo-stream-error":
        return itertools.chain(itertools.islice(completion.frames(), 2), [b"data: " + _error("The demo provider broke.", "server_error") + b"\n\n"])
    return completion.stream()


async def _stream(pieces: Iterator[bytes], pause: float, receive: Receive, send: Send, *, is_whole: bool) -> bool:
    """Whether the client hung up before the end. Without ``is_whole`` the connection breaks instead of ending."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream; charset=utf-8")]})
    for piece in pieces:
        await send({"type": "http.response.body", "body": piece, "more_body": True})
        if pause and await _hangs_up(receive, pause):
            return True
        await asyncio.sleep(0)  # a write of its own for each piece
    if is_whole:
        await send({"type": "http.response.body", "body": b""})
    return False


async def _answer_json(model: str, body: bytes, send: Send) -> None:
    if model == "demo-cut":
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body[: len(body) // 2], "more_body": True})
    else:
        await _answer(send, 200, body[:-9] if model == "demo-bad-json" else body)


async def _answer(send: Send, status: int, body: bytes) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _body(receive: Receive) -> bytes:
    parts = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)


async def _hangs_up(receive: Receive, seconds: float) -> bool:
    """Wait, unless the client leaves first."""
    try:
        async with asyncio.timeout(seconds):
            while (await receive())["type"] != "http.disconnect":
                continue
            return True
    except TimeoutError:
        return False


def _shown(headers: dict[bytes, bytes]) -> dict[str, str]:
    return {name.decode("latin-1"): "(given)" if name == b"authorization" else value.decode("latin-1") for name, value in headers.items()}


def _error(message: str, code: str) -> bytes:
    return _dumps({"error": {"message": message, "type": "demo_error", "param": None, "code": code}})


def _dumps(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
