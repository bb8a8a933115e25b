"""An ASGI application with a bound on a request's body: Django writes any number of bytes to disk before it asks who sends them."""

import json
import re
from collections.abc import Mapping

from workspaces.errors import PayloadTooLarge


class _Enough(Exception):
    """More came than is taken."""


class BoundedBody:
    """``larger`` are the paths that take more, each with how much."""

    def __init__(self, application, most_bytes: int, larger: Mapping[re.Pattern[str], int] = {}) -> None:
        self._application, self._most_bytes, self._larger = application, most_bytes, larger

    async def __call__(self, scope, receive, send) -> None:
        taken, most = 0, next((most for path, most in self._larger.items() if path.fullmatch(scope.get("path", ""))), self._most_bytes)

        async def bounded():
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > most:
                raise _Enough
            return message

        try:
            await self._application(scope, bounded, send)
        except _Enough:
            # Raised while the body is read, so no answer has begun.
            await _refuse(send, most)


async def _refuse(send, most: int) -> None:
    error = PayloadTooLarge(f"The body is larger than {most} bytes.")
    body = json.dumps(error.body()).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body)), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
