"""What comes before any application: heads without end, heads that dribble, and what is no HTTP."""

import asyncio
import gc
import json
from contextlib import asynccontextmanager
from functools import partial

import pytest
import uvicorn
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from orcarouter.http_protocol import DIRECT, BoundedProtocol, Line

REQUEST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi"


async def application(scope, receive, send):
    message = await receive()
    line = scope["extensions"][DIRECT]["line"]
    if scope["path"] == "/stream":
        await stream(scope, send)
        return
    line.on_lost = partial(lost.append, scope["path"])
    if scope["path"] == "/wait":
        waiting.append(line)
        while not line.is_lost:  # noqa: ASYNC110 - what is tested is who is told
            await asyncio.sleep(0.01)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": message["body"]})


PIECE = b"x" * 50_000
#: Pieces written at once before the client was slow.
written: list[int] = []
#: Requests under way, and the paths of those that were told that their client is gone.
waiting: list[Line] = []
lost: list[str] = []


async def stream(scope, send):
    """As much as the client has room for and a piece more, and what is sent and what is written at once by turns."""
    write = scope["extensions"][DIRECT]["line"].write
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"a", "more_body": True})
    assert write(b"b")
    await send({"type": "http.response.body", "body": b"c", "more_body": True})
    assert write(b"d")
    count = 0
    while write(PIECE):
        count += 1
    written.append(count)
    await send({"type": "http.response.body", "body": PIECE, "more_body": True})
    assert write(b"e")
    await send({"type": "http.response.body", "body": b"f"})


class Hasty(BoundedProtocol):
    head_seconds = 0.4


@asynccontextmanager
async def connected():
    """A connection to a real server."""
    server = uvicorn.Server(uvicorn.Config(application, port=0, http=Hasty, lifespan="off", log_config=None))
    serving = asyncio.create_task(server.serve())
    try:
        while not server.started:  # noqa: ASYNC110 - nothing announces it
            await asyncio.sleep(0.01)
        reader, writer = await asyncio.open_connection("127.0.0.1", server.servers[0].sockets[0].getsockname()[1])
        async with asyncio.timeout(20):
            yield reader, writer
        writer.close()
    finally:
        server.should_exit = True
        await serving


async def answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    return int(head.split()[1]), await reader.readexactly(length)


@pytest.mark.parametrize("beginning", [b"", b"POST /", b"POST / HTTP/1.1\r\nHost: x\r\n", REQUEST + REQUEST[:30]])
async def test_a_head_that_does_not_end_in_time_ends_the_connection(beginning):
    async with connected() as (reader, writer):
        writer.write(beginning)
        if beginning.startswith(REQUEST):
            assert await answer(reader) == (200, b"hi")
        for _ in range(3):
            await asyncio.sleep(0.1)
            if beginning:
                writer.write(b"x")
        with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
            await reader.readexactly(1)


@pytest.mark.parametrize("piece", [b"X-A: b\r\n" * 1000, b"x" * 8000])
async def test_a_head_without_end_is_refused_in_the_one_body(piece):
    async with connected() as (reader, writer):
        writer.write(b"POST / HTTP/1.1\r\nX-Long: ")
        answered = asyncio.create_task(answer(reader))
        while not answered.done():
            writer.write(piece)
            await asyncio.sleep(0.002)
        status, body = await answered
    assert status == 400
    assert json.loads(body)["error"]["code"] == "bad_request_body"


async def test_what_is_no_http_is_refused_in_the_one_body():
    async with connected() as (reader, writer):
        writer.write(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")
        status, body = await answer(reader)
    assert (status, json.loads(body)["error"]["code"]) == (400, "bad_request_body")


async def test_requests_one_after_another_and_in_one_piece_are_answered_in_order():
    async with connected() as (reader, writer):
        for _ in range(3):
            writer.write(REQUEST)
            assert await answer(reader) == (200, b"hi")
        writer.write(REQUEST * 3 + REQUEST[:20])
        for _ in range(3):
            assert await answer(reader) == (200, b"hi")
        writer.write(REQUEST[20:])
        assert await answer(reader) == (200, b"hi")


async def test_a_request_may_take_longer_than_its_head():
    async with connected() as (reader, writer):
        writer.write(REQUEST[:-2])
        await asyncio.sleep(0.8)
        writer.write(b"hi")
        assert await answer(reader) == (200, b"hi")


async def test_what_is_written_at_once_keeps_its_place_and_waits_for_a_slow_client():
    async with connected() as (reader, writer):
        writer.write(b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        while not written:  # noqa: ASYNC110 - the client reads nothing meanwhile
            await asyncio.sleep(0.01)
        body = b""
        while size := int(await reader.readline(), 16):
            body += await reader.readexactly(size)
            assert await reader.readexactly(2) == b"\r\n"
    assert body == b"abcd" + PIECE * (written.pop() + 1) + b"ef"


@pytest.mark.parametrize("before", [b"", REQUEST])
@pytest.mark.parametrize("after", [b"", REQUEST])
async def test_who_answers_a_client_that_goes_away_is_told_and_who_has_answered_is_not(before, after):
    async with connected() as (reader, writer):
        if before:
            writer.write(before)
            assert await answer(reader) == (200, b"hi")
        writer.write(REQUEST.replace(b"/ ", b"/wait ", 1) + after)
        while not waiting:  # noqa: ASYNC110 - the server says nothing yet
            await asyncio.sleep(0.01)
        writer.close()
        while not waiting[0].is_lost:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    waiting.clear()
    told, lost[:] = lost[:], []
    assert told == ["/wait"]


async def test_an_answered_request_is_freed_without_the_collector():
    async with connected() as (reader, writer):
        gc.collect()
        gc.disable()
        try:
            for _ in range(5):
                writer.write(REQUEST)
                assert await answer(reader) == (200, b"hi")
            alive = sum(type(each) is RequestResponseCycle for each in gc.get_objects())
        finally:
            gc.enable()
    assert alive == 1, "the connection keeps its last"
