"""A load generator: `python -m orcarouter.bench.load` reads a `Job` as JSON from standard input and writes a `Sample`.

Without a rate it is a closed loop: each connection sends its next request when the last answer is whole. It parses no more than it must.
"""

import asyncio
import json
import re
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import NamedTuple

import uvloop

ENOUGH_SECONDS = 30
#: Where a provider of the bench says when it wrote its stream's first chunk, in nanoseconds of the clock that all processes of a machine share.
STAMP = re.compile(rb'"system_fingerprint":"fp_(\d{20})"')


@dataclass(frozen=True)
class Job:
    """``calls`` ends it when it comes before ``seconds``. Connections take the ``keys`` by turns, and all are open before the clock starts.

    ``rate`` is calls a second over all connections: each has its own times, evenly between the others', and asks then, or as soon as it was
    answered if it is late. A late one keeps its times, so that one hiccup does not lower the rate; a server that cannot keep up is met by a
    closed loop, and ``Sample.rate`` says so. Timers have milliseconds, so calls leave by themselves at up to 1,000 a second.

    Without a rate the connections' first calls are spread over ``spread_seconds``. Behind a provider that lets all wait equally long, clients that
    start in one moment stay in lock-step: they measure bursts as large as there are clients, and never what one of many waits for.
    """

    port: int
    path: str
    body: str
    keys: list[str]
    connections: int
    seconds: float
    calls: int = 10_000_000
    rate: float | None = None
    spread_seconds: float = 0.0


@dataclass(frozen=True)
class Sample:
    """Milliseconds from a request's first byte to its answer's first body byte (``first``), and to its last.

    ``passed``: from when the provider wrote a stream's first chunk (`STAMP`) to when it was read here; 0 for what is no stream. Each connection's first
    call counts in ``calls`` and in no percentile: what is told is a warm connection. ``busy``: the generator's share of a core.
    """

    calls: int
    seconds: float
    p50_ms: float
    p99_ms: float
    first_p50_ms: float
    first_p99_ms: float
    passed_p50_ms: float
    passed_p99_ms: float
    busy: float

    @property
    def rate(self) -> float:
        """Calls a second, as it was in fact."""
        return self.calls / self.seconds


class Refused(Exception):
    """An answer was not 200, or was not whole."""


class Client(asyncio.Protocol):
    def __init__(self, run: "Run", request: bytes) -> None:
        self._run, self._request = run, request
        self._received = bytearray()
        self._body_at = self._wanted = 0
        self._due_at = self._sent_at = self._first_at = 0.0
        self._calls = 0
        self._has_left = False

    def connection_made(self, transport) -> None:
        self._transport = transport

    def ask_at(self, due_at: float) -> None:
        """Ask when it is time: at once, if that has passed."""
        self._due_at = due_at
        # Not a timer of no time: that would be a turn of the loop more for each call of a closed loop.
        if (wait := due_at - time.monotonic()) > 0 and self._run.lasts(due_at, had=self._calls):
            asyncio.get_running_loop().call_later(wait, self._ask)
        else:
            self._ask()

    def _ask(self) -> None:
        if self._run.may_send() and self._run.lasts(max(self._due_at, time.monotonic()), had=self._calls):
            self._received.clear()
            self._body_at = 0
            self._first_at = 0.0
            self._sent_at = time.monotonic()
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
            self._first_at = time.monotonic()
        if not self._is_whole():
            return
        now = time.monotonic()
        if self._wanted:
            passed = 0.0
        elif b"[DONE]" in self._received[-64:] and (stamp := STAMP.search(self._received, self._body_at)):
            passed = self._first_at - int(stamp[1]) / 1e9
        else:
            self._run.fail(bytes(self._received[self._body_at :][:600] + self._received[-300:]))
            return
        self._run.note(Call(self._first_at - self._sent_at, now - self._sent_at, passed), is_warm=self._calls > 0)
        self._calls += 1
        self.ask_at(self._due_at + self._run.gap_seconds)

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


class Call(NamedTuple):
    """Seconds."""

    first: float
    whole: float
    passed: float


class Run:
    def __init__(self, job: Job) -> None:
        body = job.body.encode()
        head = f"POST {job.path} HTTP/1.1\r\nhost: 127.0.0.1:{job.port}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
        self._requests = [f"{head}authorization: Bearer {key}\r\n\r\n".encode() + body for key in job.keys]
        self._job = job
        #: Between two calls of one connection; 0 in a closed loop.
        self.gap_seconds = job.connections / job.rate if job.rate else 0.0
        self._warm: list[Call] = []
        self._calls = self._sent = 0
        self._active = job.connections
        self._done = asyncio.get_running_loop().create_future()

    async def measure(self) -> Sample:
        loop = asyncio.get_running_loop()
        clients = []
        for number in range(self._job.connections):
            request = self._requests[number % len(self._requests)]
            clients.append((await loop.create_connection(partial(Client, self, request), "127.0.0.1", self._job.port))[1])
        started, used = time.monotonic(), time.process_time()
        self._until = started + self._job.seconds
        spread = self.gap_seconds or self._job.spread_seconds
        for number, client in enumerate(clients):
            client.ask_at(started + spread * number / len(clients))
        await asyncio.wait_for(self._done, self._job.seconds + ENOUGH_SECONDS)
        seconds, busy = time.monotonic() - started, time.process_time() - used
        firsts, wholes, passed = zip(*self._warm, strict=True) if self._warm else ((), (), ())
        return Sample(
            calls=self._calls,
            seconds=seconds,
            p50_ms=percentile(wholes, 50) * 1000,
            p99_ms=percentile(wholes, 99) * 1000,
            first_p50_ms=percentile(firsts, 50) * 1000,
            first_p99_ms=percentile(firsts, 99) * 1000,
            passed_p50_ms=percentile(passed, 50) * 1000,
            passed_p99_ms=percentile(passed, 99) * 1000,
            busy=busy / seconds,
        )

    def lasts(self, at: float, had: int) -> bool:
        """Whether a connection that ``had`` so many calls still asks then. For its second one always: without it there were no percentiles."""
        return had < 2 or at < self._until

    def may_send(self) -> bool:
        self._sent += 1
        return self._sent <= self._job.calls

    def note(self, call: Call, *, is_warm: bool) -> None:
        self._calls += 1
        if is_warm:
            self._warm.append(call)

    def leave(self) -> None:
        self._active -= 1
        if not self._active and not self._done.done():
            self._done.set_result(None)

    def fail(self, why: bytes) -> None:
        if not self._done.done():
            self._done.set_exception(Refused(why.decode(errors="replace")))


def percentile(values: Sequence[float], percent: float) -> float:
    """Nearest rank; 0 of nothing."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))] if ordered else 0.0


async def main() -> None:
    sample = await Run(Job(**json.load(sys.stdin))).measure()
    print(json.dumps(asdict(sample)))


if __name__ == "__main__":
    uvloop.run(main())
