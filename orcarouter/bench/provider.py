"""A provider that costs as little as possible: `python -m orcarouter.bench.provider PORT`.

The first part of the path chooses the answer: ``/instant`` at once, ``/wait`` after 50 ms, ``/burst`` a stream of 200
chunks, each written by itself, as fast as they go, ``/paced`` one chunk every 2 ms. A stream's first chunk says when it was written.
"""

import asyncio
import json
import sys
import time

import uvloop

CHUNKS = 200
PACE_SECONDS = 0.002
WAIT_SECONDS = 0.05

USAGE = {"prompt_tokens": 512, "completion_tokens": CHUNKS, "total_tokens": 512 + CHUNKS}


def _event(choices: list[dict], **members: object) -> bytes:
    chunk = {"id": "chatcmpl-bench", "object": "chat.completion.chunk", "created": 1_700_000_000, "model": "bench", "choices": choices} | members
    return f"data: {json.dumps(chunk, separators=(',', ':'))}\n\n".encode()


def _delta(text: str) -> bytes:
    return _event([{"index": 0, "delta": {"content": text}, "finish_reason": None}])


def _framed(*events: bytes) -> bytes:
    """Events as providers send them: each an HTTP chunk of its own."""
    return b"".join(b"%x\r\n%s\r\n" % (len(event), event) for event in events)


MESSAGE = {"role": "assistant", "content": "All three suppliers answered; the second is the cheapest. " * 8}
ANSWER = json.dumps(
    {
        "id": "chatcmpl-bench",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": "bench",
        "choices": [{"index": 0, "message": MESSAGE, "finish_reason": "stop"}],
        "usage": USAGE,
    }
).encode()
WHOLE = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(ANSWER), ANSWER)
STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
LAST = _framed(_event([{"index": 0, "delta": {}, "finish_reason": "stop"}]), _event([], usage=USAGE), b"data: [DONE]\n\n") + b"0\r\n\r\n"
#: Where the first chunk carries the clock's nanoseconds (``CLOCK_MONOTONIC`` is one for all processes of a machine): a field that providers send too.
UNSTAMPED = "0" * 20
FIRST = _framed(_event([{"index": 0, "delta": {"content": " word0"}, "finish_reason": None}], system_fingerprint=f"fp_{UNSTAMPED}"))
PIECES = [FIRST, *(_framed(_delta(f" word{number}")) for number in range(1, CHUNKS)), LAST]


class Provider(asyncio.Protocol):
    def __init__(self) -> None:
        self._buffer = b""
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport) -> None:
        self._transport = transport

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None

    def data_received(self, received: bytes) -> None:
        self._buffer += received
        head, separator, body = self._buffer.partition(b"\r\n\r\n")
        if not separator or len(body) < _content_length(head):
            return
        self._buffer = b""
        kind = head.split(b" ", 2)[1].split(b"/", 2)[1]
        if kind == b"instant":
            self._write(WHOLE)
        elif kind == b"wait":
            self._loop.call_later(WAIT_SECONDS, self._write, WHOLE)
        elif kind == b"burst":
            self._begin()
            self._loop.call_soon(self._burst, 1)
        elif kind == b"paced":
            self._begin()
            self._loop.call_later(PACE_SECONDS, self._pace, 1, self._loop.time() + PACE_SECONDS)

    def _begin(self) -> None:
        self._write(STREAM_HEAD)
        self._write(PIECES[0].replace(UNSTAMPED.encode(), b"%020d" % time.monotonic_ns()))

    def _write(self, answer: bytes) -> None:
        if self._transport is not None:
            self._transport.write(answer)

    def _burst(self, position: int) -> None:
        self._write(PIECES[position])
        if position + 1 < len(PIECES):
            self._loop.call_soon(self._burst, position + 1)

    def _pace(self, position: int, at: float) -> None:
        self._write(PIECES[position])
        if position + 1 < len(PIECES):
            self._loop.call_at(at + PACE_SECONDS, self._pace, position + 1, at + PACE_SECONDS)


def _content_length(head: bytes) -> int:
    _, found, rest = head.lower().partition(b"\r\ncontent-length:")
    return int(rest.partition(b"\r\n")[0]) if found else 0


async def serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Provider, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
