"""The door to providers keeps time, whatever a provider does: on small real servers."""

import asyncio
import gzip
from contextlib import asynccontextmanager

import pytest

from keys.engine.grant import Route
from orcarouter.gateway.upstream import MAX_UNPACKED_BYTES, Upstream
from tests.loop_clock import LoopClock
from workspaces.errors import UpstreamError, UpstreamTimeout

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
CHUNK = b"5\r\nhello\r\n"
END = b"0\r\n\r\n"


@asynccontextmanager
async def a_provider(settings, *writes: bytes | float):
    """Writes the pieces in turn, a number being seconds of silence, then stays silent. Gives the upstream and its route."""
    clock = LoopClock()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for piece in writes:
            if isinstance(piece, bytes):
                writer.write(piece)
                await writer.drain()
            else:
                await clock.shift(piece)

    server = await asyncio.start_server(serve, "127.0.0.1")
    port = server.sockets[0].getsockname()[1]
    settings.ALLOWED_PRIVATE_HOSTS = [f"127.0.0.1:{port}"]
    upstream = Upstream()
    await upstream.start()
    try:
        yield upstream, Route(1, "local", f"http://127.0.0.1:{port}/v1", "model", secret="")
    finally:
        await upstream.stop()
        server.close()


async def never() -> bool:
    return False


async def read(upstream: Upstream, route: Route) -> bytes:
    # Not a wait that is tested: it ends one that nobody ends.
    async with asyncio.timeout(600):
        answer = await upstream.ask((route,), lambda _: b"{}", never)
        try:
            return await answer.body()
        finally:
            answer.close()


async def test_a_provider_may_take_its_time_as_long_as_it_goes_on(settings):
    settings.UPSTREAM_IDLE_SECONDS = 60
    async with a_provider(settings, HEAD, CHUNK, 40, CHUNK, 40, CHUNK, END) as (upstream, route):
        assert await read(upstream, route) == b"hello" * 3


async def test_a_provider_that_stops_half_way_is_given_up(settings):
    settings.UPSTREAM_IDLE_SECONDS = 0.2
    async with a_provider(settings, HEAD, CHUNK) as (upstream, route):
        with pytest.raises(UpstreamTimeout, match="stopped sending"):
            await read(upstream, route)


async def test_the_whole_answer_has_its_time(settings):
    settings.UPSTREAM_TOTAL_SECONDS = 100
    async with a_provider(settings, HEAD, *([CHUNK, 40] * 5), END) as (upstream, route):
        with pytest.raises(UpstreamTimeout):
            await read(upstream, route)


async def test_a_client_that_reads_slowly_is_not_the_providers_silence(settings):
    settings.UPSTREAM_IDLE_SECONDS = 60
    async with a_provider(settings, HEAD, CHUNK, 10, CHUNK, END) as (upstream, route):
        clock = LoopClock()
        answer = await upstream.ask((route,), lambda _: b"{}", never)
        found = b""

        def take_one(piece: bytes) -> bool:
            nonlocal found
            found += piece
            return False

        while await answer.pass_to(take_one):
            await clock.shift(100)
        answer.close()
    assert found == b"hello" * 2


@pytest.mark.parametrize("goes_on", [True, False])
@pytest.mark.parametrize("size", [0, 1, MAX_UNPACKED_BYTES, 3 * MAX_UNPACKED_BYTES, 3 * MAX_UNPACKED_BYTES + 7])
async def test_a_packed_answer_is_unpacked_whole_however_it_is_taken(settings, size, goes_on):
    packed = gzip.compress(b"\0" * size)
    halves = packed[: len(packed) // 2], packed[len(packed) // 2 :]
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed)
    async with a_provider(settings, head, halves[0], 1, halves[1]) as (upstream, route):
        answer = await upstream.ask((route,), lambda _: b"{}", never)
        pieces: list[bytes] = []

        def take(piece: bytes) -> bool:
            pieces.append(piece)
            return goes_on

        while await answer.pass_to(take):
            pass
        answer.close()
    assert max(map(len, pieces), default=0) <= MAX_UNPACKED_BYTES
    assert b"".join(pieces) == b"\0" * size


async def test_a_provider_that_never_answers_is_given_up(settings):
    settings.UPSTREAM_FIRST_BYTE_SECONDS = 0.2
    async with a_provider(settings) as (upstream, route):
        with pytest.raises(UpstreamTimeout, match="did not answer"):
            await read(upstream, route)


async def test_a_broken_answer_says_so(settings):
    async with a_provider(settings, HEAD, b"not a chunk\r\n") as (upstream, route):
        with pytest.raises(UpstreamError):
            await read(upstream, route)
