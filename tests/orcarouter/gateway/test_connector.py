"""Connections to providers: kept when they can be, never with a byte of another call's answer, and never longer than they may."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from orcarouter.gateway import connector as module
from orcarouter.gateway.connector import Broken, Connection, Connector, Origin, Unreachable
from workspaces.net import PinnedResolver

REQUEST = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"
WITH_LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"
HINTED = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + WITH_LENGTH
WITHOUT_LENGTH = b"HTTP/1.1 200 OK\r\n\r\nhello"
OLD = b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello"
CLOSING = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"


class Server:
    """Answers each request of a connection with the next of ``answers``: bytes, a number of seconds, or None to close."""

    def __init__(self, *answers: bytes | float | None) -> None:
        self.answers = list(answers)
        self.connections = 0
        self.closed = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                await reader.readuntil(b"\r\n\r\n{}")
                while self.answers:
                    answer = self.answers.pop(0)
                    if answer is None:
                        writer.close()
                        return
                    if isinstance(answer, float):
                        await asyncio.sleep(answer)
                        continue
                    writer.write(answer)
                    await writer.drain()
                    break
        self.closed += 1
        writer.close()


@asynccontextmanager
async def running(server: Server, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[tuple[Connector, Origin]]:
    listening = await asyncio.start_server(server.serve, "127.0.0.1", ssl=tls)
    made = Connector(_direct, connect_seconds=5)
    try:
        async with asyncio.timeout(30):
            yield made, Origin("127.0.0.1", listening.sockets[0].getsockname()[1], is_tls=tls is not None)
    finally:
        made.close()
        listening.close()


async def _direct(host: str, port: int) -> list:
    rows = await asyncio.get_running_loop().getaddrinfo(host, port)
    return [{"hostname": host, "host": rows[0][4][0], "port": port, "family": rows[0][0], "proto": 0, "flags": 0}]


async def until(condition: Callable[[], object]) -> None:
    while not condition():  # noqa: ASYNC110 -- of what is awaited nobody tells
        await asyncio.sleep(0.01)


async def read(connection: Connection, *, at_least: int | None = None) -> bytes:
    """The body to its end, or as soon as so many bytes have come."""
    found = b""

    def take(piece: bytes) -> bool:
        nonlocal found
        found += piece
        return at_least is None or len(found) < at_least

    await connection.pass_to(take)
    return found


async def ask(connector: Connector, origin: Origin, *, is_new: bool = False) -> tuple[Connection, bytes]:
    connection = await connector.take(origin, is_new=is_new)
    try:
        await connection.ask(REQUEST)
        return connection, await read(connection)
    finally:
        connector.release(connection)


@pytest.mark.parametrize("answer", [WITH_LENGTH, CHUNKED, HINTED, b"HTTP/1.1 204 No Content\r\n\r\n"])
async def test_a_connection_whose_answer_came_whole_serves_the_next_call(answer):
    server = Server(answer, WITH_LENGTH)
    async with running(server) as (connector, origin):
        await ask(connector, origin)
        assert (await ask(connector, origin))[1] == b"hello"
    assert server.connections == 1


@pytest.mark.parametrize("answer", [OLD, CLOSING, WITH_LENGTH + b"HTTP/1.1 200 OK\r\n", WITH_LENGTH + b"more"])
async def test_a_connection_that_is_spoilt_serves_no_other_call_and_its_answer_stands(answer):
    server = Server(answer, WITH_LENGTH)
    async with running(server) as (connector, origin):
        assert (await ask(connector, origin))[1] == b"hello"
        assert (await ask(connector, origin))[1] == b"hello"
    assert server.connections == 2


async def test_a_body_without_a_length_ends_with_its_connection():
    async def serve(reader, writer):
        await reader.readuntil(b"{}")
        writer.write(WITHOUT_LENGTH)
        writer.close()

    server = Server()
    server.serve = serve  # type: ignore[method-assign]
    async with running(server) as (connector, origin):
        assert (await ask(connector, origin))[1] == b"hello"


async def test_what_nobody_asked_for_ends_a_kept_connection():
    server = Server(WITH_LENGTH, WITH_LENGTH)
    late = asyncio.Event()
    serve = server.serve

    async def talkative(reader, writer):
        asked = asyncio.create_task(serve(reader, writer))
        if not late.is_set():
            await late.wait()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
        await asked

    server.serve = talkative  # type: ignore[method-assign]
    async with running(server) as (connector, origin):
        first, _ = await ask(connector, origin)
        late.set()
        await until(lambda: first._is_lost)
        assert (await ask(connector, origin))[1] == b"hello"
        assert server.connections == 2


@pytest.mark.parametrize("answer", [None, b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello", b"HTTP/1.1 200 O"])
async def test_a_connection_that_ends_early_is_broken(answer):
    server = Server(*([answer, None] if answer else [None]))

    async def serve(reader, writer):
        await reader.readuntil(b"{}")
        writer.write(answer or b"")
        writer.close()

    server.serve = serve  # type: ignore[method-assign]
    async with running(server) as (connector, origin):
        with pytest.raises(Broken):
            await ask(connector, origin)


@pytest.mark.parametrize("answer", [b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", b"\0" * 100])
async def test_what_is_no_answer_is_broken(answer):
    async with running(Server(answer)) as (connector, origin):
        with pytest.raises(Broken):
            await ask(connector, origin)


@pytest.mark.parametrize(
    "answer",
    [b"HTTP/1.1 200 OK\r\n" + b"X-Long: " + b"x" * 70_000 + b"\r\n\r\n", b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 20_000, b"HTTP/1.1 103 Hm\r\n\r\n" * 9000],
)
async def test_a_head_without_end_is_refused(answer):
    async with running(Server(answer)) as (connector, origin):
        with pytest.raises(Broken):
            await ask(connector, origin)


async def test_a_call_that_is_given_up_ends_its_connection_at_once():
    server = Server(WITH_LENGTH[:-2], WITH_LENGTH)
    async with running(server) as (connector, origin):
        call = asyncio.create_task(ask(connector, origin))
        await until(lambda: server.connections)
        call.cancel()
        with suppress(asyncio.CancelledError):
            await call
        assert connector._busy == set()
        assert (await ask(connector, origin))[1] == b"hello"
    assert server.connections == 2


async def test_an_answer_that_is_over_but_for_its_end_keeps_its_connection():
    end = b"0\r\n\r\n"
    server = Server(CHUNKED.removesuffix(end), WITH_LENGTH)
    writers = []
    serve = server.serve

    async def remembered(reader, writer):
        writers.append(writer)
        await serve(reader, writer)

    server.serve = remembered  # type: ignore[method-assign]
    async with running(server) as (connector, origin):
        connection = await connector.take(origin)
        await connection.ask(REQUEST)
        assert await read(connection, at_least=5) == b"hello"
        connector.release(connection, is_over=True)
        writers[0].write(end)
        await until(lambda: not (connector._busy))
        assert (await ask(connector, origin))[0] is connection


async def test_a_connection_is_not_kept_for_ever(monkeypatch):
    monkeypatch.setattr(module, "KEEP_SECONDS", 0.0)
    monkeypatch.setattr(module, "SWEEP_SECONDS", 0.05)
    server = Server(WITH_LENGTH, WITH_LENGTH)
    async with running(server) as (connector, origin):
        await ask(connector, origin)
        await until(lambda: server.closed)
        assert connector._idle == {}


async def test_a_reader_that_does_not_read_holds_its_provider_back():
    whole = 30 * module.MAX_UNREAD_BYTES
    sent = 0

    async def serve(reader, writer):
        nonlocal sent
        await reader.readuntil(b"{}")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % whole)
        for _ in range(30):
            writer.write(b"x" * module.MAX_UNREAD_BYTES)
            await writer.drain()
            sent += 1

    server = Server()
    server.serve = serve  # type: ignore[method-assign]
    async with running(server) as (connector, origin):
        connection = await connector.take(origin)
        await connection.ask(REQUEST)
        before = -1
        while before != sent:
            before = sent
            await asyncio.sleep(0.3)
        assert connection._unread_bytes < 3 * module.MAX_UNREAD_BYTES
        assert len(await read(connection)) == whole


async def test_what_comes_after_enough_waits_and_an_error_of_who_takes_it_is_theirs():
    writers = []

    async def serve(reader, writer):
        writers.append(writer)
        await reader.readuntil(b"{}")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n")

    server = Server()
    server.serve = serve  # type: ignore[method-assign]
    async with running(server) as (connector, origin):
        connection = await connector.take(origin)
        await connection.ask(REQUEST)
        enough = asyncio.create_task(read(connection, at_least=1))
        await asyncio.sleep(0)
        writers[0].write(b"first")
        assert await enough == b"first"
        writers[0].write(b"other")
        await until(lambda: connection._unread_bytes)

        def refuse(piece: bytes) -> bool:
            raise ValueError(piece)

        with pytest.raises(ValueError, match="other"):
            await connection.pass_to(refuse)
        refused = asyncio.create_task(connection.pass_to(refuse))
        await asyncio.sleep(0)
        writers[0].write(b"last.")
        with pytest.raises(ValueError, match="last"):
            await refused
        assert await read(connection) == b""
        connector.release(connection)


async def test_who_is_not_there_is_unreachable():
    connector = Connector(PinnedResolver().resolve, connect_seconds=5)
    for origin in (Origin("127.0.0.1", 1, is_tls=False), Origin("nowhere.invalid", 443, is_tls=True), Origin("", 0, is_tls=False, socket="/nowhere")):
        with pytest.raises(Unreachable):
            await connector.take(origin)
    connector.close()


def certificate(folder: Path, *, at: datetime) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "provider")])
    made = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), at - timedelta(days=1), at + timedelta(days=1))
    made = made.add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
    pem = made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    plain = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path = folder / "provider.pem"
    path.write_bytes(plain + pem)
    return path


async def test_a_certificate_is_checked_against_the_name(tmp_path):
    path = certificate(tmp_path, at=datetime.now(UTC))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(path)
    async with running(Server(WITH_LENGTH, WITH_LENGTH), tls=tls) as (connector, origin):
        with pytest.raises(Unreachable):
            await ask(connector, origin)  # nobody vouches for it
        connector._tls.load_verify_locations(path)
        assert (await ask(connector, origin))[1] == b"hello"
        connector._resolve = lambda host, port: _direct("127.0.0.1", port)  # type: ignore[method-assign]
        assert (await ask(connector, Origin("localhost", origin.port, is_tls=True), is_new=True))[1] == b"hello"
        with pytest.raises(Unreachable):
            await ask(connector, Origin("another.example", origin.port, is_tls=True))


@given(st.sampled_from([WITH_LENGTH, CHUNKED, HINTED]), st.lists(st.integers(1, 120), max_size=6))
def test_an_answer_is_the_same_wherever_it_is_cut(answer, cuts):
    places = sorted({min(cut, len(answer)) for cut in cuts} | {len(answer)})
    pieces: list[Callable | bytes] = [answer[a:b] for a, b in zip([0, *places], places, strict=False)]

    class Transport:
        def writelines(self, lines) -> None: ...
        def get_write_buffer_size(self) -> int:
            return 0

        def abort(self) -> None:
            raise AssertionError("a good answer was given up")

    async def go() -> bytes:
        connection = Connection(Origin("x", 1, is_tls=False))
        connection.connection_made(Transport())
        asked = asyncio.ensure_future(connection.ask(REQUEST))
        await asyncio.sleep(0)
        for piece in pieces:
            connection.data_received(piece)
        await asked
        found = await read(connection)
        assert connection.may_serve_again
        return found

    assert asyncio.run(go()) == b"hello"
