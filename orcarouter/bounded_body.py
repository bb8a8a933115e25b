"""An ASGI application with a bound on a request's body: Django writes any number of bytes to disk before it asks who sends them."""

import json

from workspaces.errors import PayloadTooLarge


class _Enough(Exception):
    """More came than is taken."""


class BoundedBody:
    def __init__(self, application, most_bytes: int) -> None:
        self._application, self._most_bytes = application, most_bytes

    async def __call__(self, scope, receive, send) -> None:
        taken = 0

        async def bounded():
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > self._most_bytes:
                raise _Enough
            return message

        try:
            await self._application(scope, bounded, send)
        except _Enough:
            # Raised while the body is read, so no answer has begun.
            await self._refuse(send)

    async def _refuse(self, send) -> None:
        error = PayloadTooLarge(f"The body is larger than {self._most_bytes} bytes.")
        body = json.dumps(error.body()).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body)), (b"connection", b"close")]
        await send({"type": "http.response.start", "status": error.status, "headers": headers})
        await send({"type": "http.response.body", "body": body})
