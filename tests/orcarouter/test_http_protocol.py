"""What comes before any application: heads without end, heads that dribble, and what is no HTTP."""

import asyncio
import gc
import json
from contextlib import asynccontextmanager
from functools import partial

import pytest
import uvicorn

from orcarouter.http_protocol import DIRECT, BoundedProtocol, Cycle
from tests.loop_clock import LoopClock

REQUEST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi"


async def application(scope, receive, send):
    cycle: Cycle = scope["extensions"][DIRECT]
    if scope["path"] == "/asgi":
        await echo(receive, send)
        return
    body = await cycle.read(1_000)
    if scope["path"] == "/stream":
        await stream(cycle)
        return
    if scope["path"] == "/bug":
        raise ZeroDivisionError
    cycle.on_lost = partial(lost.append, scope["path"])
    if scope["path"] == "/wait":
        waiting.append(cycle)
        while not cycle.disconnected:  # noqa: ASYNC110 - what is tested is who is told
            await asyncio.sleep(0.01)
    await cycle.answer(200, [b"x-path: %b\r\n" % scope["raw_path"]], body)


async def echo(receive, send):
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message["body"], message["more_body"]
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


PIECE = b"x" * 50_000
#: Pieces written at once before the client was slow.
written: list[int] = []
#: Requests under way, and the paths of those that were told that their client is gone.
waiting: list[Cycle] = []
lost: list[str] = []


async def stream(cycle):
    """As much as the client has room for and a piece more, and what waits for room and what does not by turns."""
    await cycle.start([])
    await cycle.write(b"a")
    assert cycle.write_now(b"b")
    await cycle.write(b"c")
    assert cycle.write_now(b"d")
    count = 0
    while cycle.write_now(PIECE):
        count += 1
    written.append(count)
    await cycle.write(PIECE)
    assert cycle.write_now(b"e")
    await cycle.write(b"f")
    await cycle.end()


class Patient(BoundedProtocol):
    linger_seconds = 600


class Narrow(BoundedProtocol):
    max_head_bytes = 100


@asynccontextmanager
async def serving(application, protocol=BoundedProtocol, idle_seconds=30):
    """The port of a real server of this application."""
    options = {"lifespan": "off", "log_config": None, "timeout_keep_alive": idle_seconds}
    server = uvicorn.Server(uvicorn.Config(application, port=0, http=protocol, **options))
    serving = asyncio.create_task(server.serve())
    try:
        while not server.started:  # noqa: ASYNC110 - nothing announces it
            await asyncio.sleep(0.01)
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        await serving


@asynccontextmanager
async def connected(protocol=BoundedProtocol, idle_seconds=30):
    """A connection to one."""
    async with serving(application, protocol, idle_seconds) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        # None of the waits that are tested: it ends one that nobody ends.
        async with asyncio.timeout(1200):
            yield reader, writer
        writer.close()


async def answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    return int(head.split()[1]), await reader.readexactly(length)


@pytest.mark.parametrize("beginning", [b"", b"POST /", b"POST / HTTP/1.1\r\nHost: x\r\n"])
async def test_a_head_that_does_not_end_in_time_ends_the_connection(beginning):
    async with connected() as (reader, writer):
        writer.write(beginning)
        await ends_while_it_dribbles(reader, writer, beginning)


async def test_nor_does_a_second_head_outlast_its_time():
    async with connected() as (reader, writer):
        writer.write(REQUEST + REQUEST[:30])
        assert await answer(reader) == (200, b"hi")
        await ends_while_it_dribbles(reader, writer, REQUEST[:30])


async def ends_while_it_dribbles(reader, writer, beginning):
    clock, ended = LoopClock(), asyncio.create_task(reader.readexactly(1))
    for _ in range(3):
        assert not ended.done()
        if beginning:
            writer.write(b"x")
        await clock.shift(0.4 * BoundedProtocol.head_seconds)
    with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
        await ended


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


async def test_what_comes_before_a_head_in_one_piece_is_none_of_it():
    body = b"x" * 500
    async with connected(Narrow) as (reader, writer):
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\n" + body + REQUEST[:20])
        assert await answer(reader) == (200, body)
        writer.write(REQUEST[20:])
        assert await answer(reader) == (200, b"hi")
        writer.write(REQUEST[:20])
        await asyncio.sleep(0.05)
        writer.write(b"X-Long: " + b"x" * 100)
        assert (await answer(reader))[0] == 400


async def test_what_is_no_http_is_refused_in_the_one_body():
    async with connected() as (reader, writer):
        writer.write(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")
        status, body = await answer(reader)
    assert (status, json.loads(body)["error"]["code"]) == (400, "bad_request_body")


async def test_who_is_refused_has_its_own_time_to_read_why():
    async with connected(Patient) as (reader, writer):
        clock = LoopClock()
        writer.write(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")
        for _ in range(5):
            await clock.shift(BoundedProtocol.head_seconds / 2)
            writer.write(b"more of it")
        assert (await answer(reader))[0] == 400


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


async def test_a_connection_without_a_call_is_closed_in_the_end_and_one_in_use_is_not():
    async with connected(idle_seconds=300) as (reader, writer):
        clock = LoopClock()
        for _ in range(3):
            writer.write(REQUEST)
            assert await answer(reader) == (200, b"hi")
            await clock.shift(200)
        await clock.shift(200)
        assert await reader.read() == b""


async def test_asgi_is_served_as_well():
    async with connected() as (reader, writer):
        for body in (b"", b"hi", b"x" * 200_000):
            writer.write(b"POST /asgi HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            assert await answer(reader) == (200, body)


@pytest.mark.parametrize(("line", "closes"), [(b"GET /%41%2f HTTP/1.1", False), (b"GET /a HTTP/1.0", True)])
async def test_an_answer_keeps_the_connection_that_the_client_keeps(line, closes):
    async with connected() as (reader, writer):
        writer.write(line + b"\r\nHost: x\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"x-path: " + line.split()[1] in head
        assert (b"connection: close" in head) == closes
        assert b"\r\ndate: " in head


async def test_a_client_that_asks_first_is_told_to_go_on():
    async with connected() as (reader, writer):
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
        writer.write(b"hi")
        assert await answer(reader) == (200, b"hi")


async def test_an_application_that_fails_is_answered_for():
    async with connected() as (reader, writer):
        writer.write(REQUEST.replace(b"/ ", b"/bug ", 1))
        assert (await answer(reader))[0] == 500


async def test_a_request_may_take_longer_than_its_head():
    async with connected() as (reader, writer):
        writer.write(REQUEST[:-2])
        await LoopClock().shift(2 * BoundedProtocol.head_seconds)
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
        while not waiting[0].disconnected:  # noqa: ASYNC110
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
            alive = sum(type(each) is Cycle for each in gc.get_objects())
        finally:
            gc.enable()
    assert alive == 1, "the connection keeps its last"
