"""A provider in the test's own process whose answers cost what the test wants, known only at their end."""

import asyncio
import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from tests.receiver import HOST

#: Micro-USD of a token, in and out: a price at which every count is exact.
INPUT_PRICE, OUTPUT_PRICE = 2, 10
MODEL = "metered"


@dataclass
class Metered:
    """``served`` maps the number in a prompt to what its answer used, once its usage was sent: (input, output) tokens.

    ``asked`` counts how often each number came. A prompt with ``lost`` has its first attempts, as many, read and not answered:
    the connection ends, or with ``status`` that is said without a word. One that ``waits`` is answered after ``release``.
    """

    port: int = 0
    served: dict[int, tuple[int, int]] = field(default_factory=dict)
    asked: Counter = field(default_factory=Counter)
    waiting: int = 0
    _loop: asyncio.AbstractEventLoop | None = None
    _gate: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}/v1"

    def release(self) -> None:
        """Answer those that wait; who comes later waits anew."""

        def open_gate() -> None:
            self._gate.set()
            self._gate, self.waiting = asyncio.Event(), 0

        assert self._loop is not None
        self._loop.call_soon_threadsafe(open_gate)

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError, OSError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(next(line.split(b":")[1] for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")))
                asked = json.loads(await reader.readexactly(length))
                wish = json.loads(asked["messages"][-1]["content"])
                self.asked[wish["number"]] += 1
                if self.asked[wish["number"]] <= wish.get("lost", 0):
                    if wish.get("status"):
                        writer.write(b"HTTP/1.1 %d No\r\nContent-Length: 0\r\n\r\n" % wish["status"])
                        await writer.drain()
                    break
                if wish.get("waits"):
                    self.waiting += 1
                    await self._gate.wait()
                await (self._stream if asked.get("stream") else self._whole)(writer, wish)
        writer.close()

    async def _whole(self, writer: asyncio.StreamWriter, wish: dict) -> None:
        await asyncio.sleep(wish.get("delay", 0))
        if wish.get("fails"):
            body = b'{"error": {"message": "no"}}'
            writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            return await writer.drain()
        message = {"role": "assistant", "content": "x" * wish["out"]}
        body = json.dumps({"object": "chat.completion", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": self._usage(wish)})
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body.encode()))
        return await writer.drain()

    async def _stream(self, writer: asyncio.StreamWriter, wish: dict) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(wish.get("chunks", 3)):
            await self._event(writer, {"choices": [{"index": 0, "delta": {"content": "word " * 4}}]})
            await asyncio.sleep(wish.get("delay", 0))
        await self._event(writer, {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        await self._event(writer, {"choices": [], "usage": self._usage(wish)})
        done = b"data: [DONE]\n\n"
        writer.write(b"%x\r\n%s\r\n0\r\n\r\n" % (len(done), done))
        await writer.drain()

    @staticmethod
    async def _event(writer: asyncio.StreamWriter, said: dict) -> None:
        event = b"data: " + json.dumps(said).encode() + b"\n\n"
        writer.write(b"%x\r\n%s\r\n" % (len(event), event))
        await writer.drain()

    def _usage(self, wish: dict) -> dict:
        self.served[wish["number"]] = (wish["in"], wish["out"])
        return {"prompt_tokens": wish["in"], "completion_tokens": wish["out"]}


@contextmanager
def metered() -> Iterator[Metered]:
    """A provider that runs until the block ends."""
    made, ready, loop = Metered(), threading.Event(), asyncio.new_event_loop()

    async def serve() -> None:
        server = await asyncio.start_server(made.answer, HOST, 0)
        made.port, made._loop = server.sockets[0].getsockname()[1], loop
        ready.set()

    async def end() -> None:
        """Answers that nobody reads any more."""
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    def run() -> None:
        loop.run_until_complete(serve())
        loop.run_forever()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert ready.wait(10)
    yield made
    asyncio.run_coroutine_threadsafe(end(), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)
