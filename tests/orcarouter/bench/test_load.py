"""What the load generator's figures mean: how it keeps a rate, spreads its clients, and which calls it tells of. Times have lower bounds only."""

import asyncio
import time
from functools import partial
from itertools import pairwise

import pytest

from orcarouter.bench.load import Job, Refused, Run, Sample
from orcarouter.bench.provider import FIRST, LAST, STREAM_HEAD, UNSTAMPED, WAIT_SECONDS, WHOLE, Provider


class Scripted(asyncio.Protocol):
    """Answers a request with what ``answer`` makes of its number on this connection, after so many seconds; notes the number and when it came."""

    def __init__(self, answer, came: list[tuple[int, float]]) -> None:
        self._answer, self._came, self._number = answer, came, 0

    def connection_made(self, transport) -> None:
        self._transport = transport

    def data_received(self, received: bytes) -> None:
        self._came.append((self._number, time.monotonic()))
        seconds, answer = self._answer(self._number)
        self._number += 1
        asyncio.get_running_loop().call_later(seconds, self._transport.write, answer)


def load(server, path: str = "/", **more) -> Sample:
    async def measured() -> Sample:
        listening = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
        port = listening.sockets[0].getsockname()[1]
        return await Run(Job(port, path, "{}", ["key"], **more)).measure()

    return asyncio.run(measured())


def test_a_rate_holds_a_fast_server_back_to_it():
    # At 0, 2, 4 ... 98 ms: what a closed loop does in this time is thousands.
    sample = load(Provider, "/instant/", connections=5, seconds=0.1, rate=500.0)
    assert 10 <= sample.calls <= 50
    assert sample.rate <= 500 * 1.05


def test_a_rate_that_a_server_cannot_keep_is_told():
    sample = load(Provider, "/wait/", connections=2, seconds=0.2, rate=1000.0)
    assert sample.rate <= 2 / WAIT_SECONDS


def test_a_late_call_keeps_the_times_of_those_after_it():
    """Due at 0, 20, 40 ... 180 ms; the first is answered after 90, and the four that were due meanwhile go out at once."""
    came: list[tuple[int, float]] = []
    load(partial(Scripted, lambda number: (0.09 if number == 0 else 0, WHOLE), came), connections=1, seconds=30, calls=10, rate=50.0)
    after = [at - came[0][1] for _, at in came]
    assert after[1] >= 0.085
    # Each call takes its turn of the loop; a schedule that began anew would put 20 ms between any two.
    assert min(later - sooner for sooner, later in pairwise(after)) < 0.015


def test_clients_start_spread_over_the_wait():
    came: list[tuple[int, float]] = []
    began = time.monotonic()
    load(partial(Scripted, lambda _: (0, WHOLE), came), connections=4, seconds=0.01, spread_seconds=0.2)
    firsts = [at - began for number, at in came if number == 0]
    assert len(firsts) == 4
    assert all(at >= 0.05 * place - 0.005 for place, at in enumerate(firsts))


def test_the_first_call_of_a_connection_is_in_no_percentile():
    sample = load(partial(Scripted, lambda number: (0.1 if number else 0, WHOLE), []), connections=2, seconds=5, calls=3)
    assert sample.calls == 3
    assert sample.p50_ms >= 95


@pytest.mark.parametrize("kind", ["burst", "paced"])
def test_a_streams_first_byte_is_counted_from_when_the_provider_wrote_it(kind):
    sample = load(Provider, f"/{kind}/", connections=1, seconds=0.01)
    assert 0 < sample.passed_p50_ms <= sample.first_p50_ms


def test_only_what_comes_after_the_providers_write_counts_as_passing():
    """The provider thinks for 30 ms, and what is in between holds its answer back for 20."""

    def late(_: int) -> tuple[float, bytes]:
        return 0.05, STREAM_HEAD + FIRST.replace(UNSTAMPED.encode(), b"%020d" % (time.monotonic_ns() + 30_000_000)) + LAST

    sample = load(partial(Scripted, late, []), connections=1, seconds=0.01)
    assert sample.passed_p50_ms >= 15
    assert sample.first_p50_ms - sample.passed_p50_ms >= 25


@pytest.mark.parametrize("answer", [STREAM_HEAD + LAST, STREAM_HEAD + b"0\r\n\r\n", WHOLE.replace(b"200 OK", b"503 Service Unavailable")])
def test_an_answer_that_is_not_whole_or_lost_its_stamp_ends_the_measurement(answer):
    with pytest.raises(Refused):
        load(partial(Scripted, lambda _: (0, answer), []), connections=1, seconds=0.01)
