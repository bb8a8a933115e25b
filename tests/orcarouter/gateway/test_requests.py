"""What a client may send, and how: odd headers, bodies in pieces, hang-ups at any moment, readers that do not read."""

import asyncio
import json
import socket
import time
from collections.abc import Callable

import httpx2 as httpx
import pytest

from orcarouter.deadlines import Deadlines
from orcarouter.gateway.request import Request
from orcarouter.gateway.upstream import VIA
from tests.orcarouter.gateway.conftest import Agent
from tests.orcarouter.test_http_protocol import serving
from workspaces import tenancy

WAIT_SECONDS = 60


def body(text: str = "hi", **more) -> bytes:
    return json.dumps({"model": "demo-small", "messages": [{"role": "user", "content": text}], **more}).encode()


def head(agent: Agent, *lines: str) -> bytes:
    return "\r\n".join(["POST /v1/chat/completions HTTP/1.1", "Host: x", f"Authorization: Bearer {agent.token}", *lines, "", ""]).encode()


def connect(agent: Agent) -> socket.socket:
    return socket.create_connection(("127.0.0.1", agent.stack.port), timeout=WAIT_SECONDS)


def answer(connection: socket.socket) -> tuple[int, dict, bytes]:
    seen = b""
    while b"\r\n\r\n" not in seen:
        piece = connection.recv(65536)
        assert piece, seen
        seen += piece
    top, _, rest = seen.partition(b"\r\n\r\n")
    lines = top.decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
    while len(rest) < int(headers["content-length"]):
        rest += connection.recv(65536)
    return int(lines[0].split()[1]), headers, rest


def exchange(agent: Agent, *pieces: bytes) -> tuple[int, str]:
    with connect(agent) as connection:
        for piece in pieces:
            connection.sendall(piece)
        status, headers, told = answer(connection)
    assert headers["x-orca-request-id"].startswith("req_")
    return status, json.loads(told).get("error", {}).get("code", "")


def wait_until(is_so: Callable[[], object]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def is_dispatched(agent: Agent) -> bool:
    with tenancy.scope(agent.workspace.pk):
        return agent.workspace.ledger.filter(kind="reserve").exists()


def test_a_body_comes_whole_however_it_is_cut(agent):
    text = body()
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in text) + b"0\r\n\r\n"
    assert exchange(agent, head(agent, "Transfer-Encoding: chunked"), *(chunks[at : at + 7] for at in range(0, len(chunks), 7))) == (200, "")


def test_too_large_is_413_with_and_without_a_length(agent):
    assert exchange(agent, head(agent, "Content-Length: 999999999")) == (413, "payload_too_large")
    pieces = [b"100000\r\n" + b" " * 0x100000 + b"\r\n"] * 21
    assert exchange(agent, head(agent, "Transfer-Encoding: chunked"), *pieces) == (413, "payload_too_large")
    assert agent.usage() == []


def test_a_key_is_asked_for_before_a_body_is_read(agent):
    wrong = head(agent, "Content-Length: 999999999", "Content-Type: text/plain").replace(agent.token.encode(), b"sk-orca-" + b"x" * 48)
    assert exchange(agent, wrong) == (401, "invalid_api_key")


@pytest.mark.parametrize("lines", [("Via: " + VIA, "Via: 1.1 other"), ("Via: 1.1 other", "Via: " + VIA), (f"Via: 1.0 a, {VIA}",)])
def test_a_request_that_came_through_us_is_a_loop_wherever_it_says_so(agent, lines):
    assert exchange(agent, head(agent, *lines, "Content-Length: 2"), b"{}") == (400, "request_loop")


def test_ids_of_requests_are_our_own(agent):
    answer = httpx.post(
        f"{agent.stack.url}/v1/chat/completions",
        headers={"Authorization": f"Bearer {agent.token}", "X-Request-Id": "mine", "X-Orca-Request-Id": "mine"},
        content=body(),
        timeout=60,
    )
    assert "mine" not in (answer.headers["x-orca-request-id"], answer.headers["x-request-id"])
    assert [row.request_id for row in agent.usage()] == [answer.headers["x-orca-request-id"]]


def test_requests_in_one_piece_are_answered_and_recorded_one_by_one(agent):
    text = body()
    one = head(agent, f"Content-Length: {len(text)}") + text
    with connect(agent) as connection:
        connection.sendall(one * 3)
        assert connection.recv(65536)
        wait_until(lambda: len(agent.usage()) >= 3)
    assert len({row.request_id for row in agent.usage()}) == 3


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_is_gone_before_the_answer_leaves_one_row(agent, stream):
    text = body(stream=stream, model="demo-hang")
    with connect(agent) as connection:
        connection.sendall(head(agent, f"Content-Length: {len(text)}") + text)
        # It is on its way: one who leaves before that leaves nothing.
        wait_until(lambda: is_dispatched(agent))
    wait_until(agent.usage)
    assert [row.outcome for row in agent.usage()] == ["hung_up"]


def test_a_large_body_is_served_as_any_other(agent):
    text = body("x" * 2_000_000)
    assert exchange(agent, head(agent, f"Content-Length: {len(text)}"), text) == (200, "")
    broken = text[:-1]
    assert exchange(agent, head(agent, f"Content-Length: {len(broken)}"), broken) == (400, "bad_request_body")


async def test_a_client_that_stays_and_never_reads_is_gone_in_the_end():
    gone: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    async def application(scope, receive, send):
        request = Request(scope, Deadlines(0.1))
        try:
            await request.read_body()
            await request.start_stream([])
            while True:
                await request.write(b"x" * 100_000)
        except asyncio.CancelledError:
            gone.set_result(request.hung_up)
            request.close()

    async with serving(application) as port:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}")
        assert await asyncio.wait_for(gone, WAIT_SECONDS)
        writer.close()
