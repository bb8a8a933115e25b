"""A load generator: `python -m orcarouter.bench.load` reads a `Job` as JSON from standard input and writes a `Sample`.

Closed loop: each connection sends its next request when the last answer is whole. It parses no more than it must.
"""

import asyncio
import json
import sys
import time
from dataclasses import asdict, dataclass
from functools import partial

import uvloop

ENOUGH_SECONDS = 30


@dataclass(frozen=True)
class Job:
    """``calls`` ends it when it comes before ``seconds``. Connections take the ``keys`` by turns."""

    port: int
    path: str
    body: str
    keys: list[str]
    connections: int
    seconds: float
    calls: int = 10_000_000


@dataclass(frozen=True)
class Sample:
    """Milliseconds from a request's first byte to its answer's first body byte, and to its last. ``busy``: the generator's share of a core."""

    calls: int
    seconds: float
    p50_ms: float
    p99_ms: float
    first_p50_ms: float
    first_p99_ms: float
    busy: float


class Refused(Exception):
    """An answer was not 200, or was not whole."""


class Client(asyncio.Protocol):
    def __init__(self, run: "Run", request: bytes) -> None:
        self._run, self._request = run, request
        self._received = bytearray()
        self._body_at = self._wanted = 0
        self._sent_at = self._first_at = 0.0
        self._has_left = False

    def connection_made(self, transport) -> None:
        self._transport = transport
        self._send()

    def _send(self) -> None:
        if self._run.may_send():
            self._received.clear()
            self._body_at = 0
            self._first_at = 0.0
            self._sent_at = time.perf_counter()
            self._transport.write(self._request)
        else:
            self._has_left = True
            self._transport.close()
            self._run.leave()

    def data_received(self, received: bytes) -> None:
        self._received += received
        if not self._body_at and not self._read_head():
            return
        if not self._first_at and len(self._received) > self._body_at:
            self._first_at = time.perf_counter()
        if not self._is_whole():
            return
        now = time.perf_counter()
        if not self._wanted and b"[DONE]" not in self._received[-64:]:
            self._run.fail(bytes(self._received[-300:]))
            return
        self._run.note(self._first_at - self._sent_at, now - self._sent_at)
        self._send()

    def _read_head(self) -> bool:
        end = self._received.find(b"\r\n\r\n")
        if end < 0:
            return False
        head = bytes(self._received[:end]).lower()
        if not head.startswith(b"http/1.1 200"):
            self._run.fail(bytes(self._received[:2_000]))
            return False
        self._body_at = end + 4
        _, found, rest = head.partition(b"\r\ncontent-length:")
        self._wanted = int(rest.partition(b"\r\n")[0]) if found else 0
        return True

    def _is_whole(self) -> bool:
        if self._wanted:
            return len(self._received) >= self._body_at + self._wanted
        return self._received.endswith(b"0\r\n\r\n")

    def connection_lost(self, error: Exception | None) -> None:
        if not self._has_left:
            self._run.fail(b"the connection was closed")


class Run:
    def __init__(self, job: Job) -> None:
        body = job.body.encode()
        head = f"POST {job.path} HTTP/1.1\r\nhost: 127.0.0.1:{job.port}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
        self._requests = [f"{head}authorization: Bearer {key}\r\n\r\n".encode() + body for key in job.keys]
        self._job = job
        self._firsts: list[float] = []
        self._wholes: list[float] = []
        self._sent = 0
        self._active = job.connections
        self._done = asyncio.get_running_loop().create_future()

    async def measure(self) -> Sample:
        loop = asyncio.get_running_loop()
        started, used = time.perf_counter(), time.process_time()
        self._until = started + self._job.seconds
        for number in range(self._job.connections):
            request = self._requests[number % len(self._requests)]
            await loop.create_connection(partial(Client, self, request), "127.0.0.1", self._job.port)
        await asyncio.wait_for(self._done, self._job.seconds + ENOUGH_SECONDS)
        seconds, busy = time.perf_counter() - started, time.process_time() - used
        return Sample(
            calls=len(self._wholes),
            seconds=seconds,
            p50_ms=percentile(self._wholes, 50) * 1000,
            p99_ms=percentile(self._wholes, 99) * 1000,
            first_p50_ms=percentile(self._firsts, 50) * 1000,
            first_p99_ms=percentile(self._firsts, 99) * 1000,
            busy=busy / seconds,
        )

    def may_send(self) -> bool:
        self._sent += 1
        return self._sent <= self._job.calls and time.perf_counter() < self._until

    def note(self, first: float, whole: float) -> None:
        self._firsts.append(first)
        self._wholes.append(whole)

    def leave(self) -> None:
        self._active -= 1
        if not self._active and not self._done.done():
            self._done.set_result(None)

    def fail(self, why: bytes) -> None:
        if not self._done.done():
            self._done.set_exception(Refused(why.decode(errors="replace")))


def percentile(values: list[float], percent: float) -> float:
    """Nearest rank; 0 of nothing."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))] if ordered else 0.0


async def main() -> None:
    sample = await Run(Job(**json.load(sys.stdin))).measure()
    print(json.dumps(asdict(sample)))


if __name__ == "__main__":
    uvloop.run(main())
