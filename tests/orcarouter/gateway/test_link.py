"""The one connection to Valkey: replies reach who asked, and whatever Valkey does, callers are told in time and it comes back."""

import asyncio
import contextlib
import os
import signal
import time
from contextlib import asynccontextmanager
from itertools import count
from urllib.parse import quote

import hiredis
import pytest
import redis

from orcarouter.gateway import link
from orcarouter.gateway.link import Away, Link

_names = count()


@pytest.fixture
def url(servers, settings) -> str:
    return settings.REDIS_URL


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(link, "MOST_LOOKS", 5)


@asynccontextmanager
async def linked(url: str):
    made = Link(url)
    await made.start()
    try:
        yield made
    finally:
        await made.stop()


@asynccontextmanager
async def a_server(serve):
    """A real socket on which somebody answers as a test likes."""
    server = await asyncio.start_server(serve, "127.0.0.1")
    try:
        yield f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


async def until_up(made: Link) -> None:
    async with asyncio.timeout(30):
        while not made.is_up:  # noqa: ASYNC110 - nothing announces it, and nothing but a test waits for it
            await asyncio.sleep(0.01)


async def test_replies_reach_who_asked_for_them(url):
    async with linked(url) as made:
        told = await asyncio.gather(*(made.call("ECHO", str(number)) for number in range(500)))
    assert told == [str(number).encode() for number in range(500)]


async def test_an_error_is_its_own_callers_alone(url):
    async with linked(url) as made:
        told = await asyncio.gather(made.call("ECHO", "a"), made.call("NOSUCH"), made.call("ECHO", "b"), return_exceptions=True)
    assert (told[0], told[2]) == (b"a", b"b")
    assert isinstance(told[1], hiredis.ReplyError)


async def test_a_caller_that_gives_up_shifts_nobody_elses_reply(url):
    async with linked(url) as made:
        first = made.call("ECHO", "first")
        second = made.call("ECHO", "second")
        await asyncio.sleep(0)
        first.cancel()
        made.hint("ECHO", "hint")
        assert await second == b"second"
        assert await made.call("ECHO", "third") == b"third"


async def test_the_database_of_the_address_is_the_one_in_use(url):
    name = f"link-{next(_names)}"
    async with linked(url.replace("db=0", "db=3")) as made:
        await made.call("SET", name, "x", "EX", 60)
    async with linked(url) as made:
        assert "db=0" in url
        assert await made.call("GET", name) is None


async def test_a_wrong_password_is_no_end_and_the_right_one_is_found_later(url):
    client, user = redis.Redis.from_url(url), f"link{next(_names)}"
    with_password = f"unix://{user}:{quote('p@ss/word', safe='')}@{url.partition('://')[2]}"
    try:
        async with linked(with_password) as made:
            assert not made.is_up
            with pytest.raises(Away):
                await made.call("PING")
            client.acl_setuser(user, enabled=True, passwords=["+p@ss/word"], commands=["+@all"], keys=["*"])
            await until_up(made)
            assert await made.call("PING") == b"PONG"
    finally:
        client.acl_deluser(user)


async def test_a_password_is_in_no_log_line(url, caplog):
    async with linked(f"unix://nobody:hunter2@{url.partition('://')[2]}"), asyncio.timeout(30):
        while "valkey_refuses" not in caplog.text:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.01)
        # It tries again and again meanwhile, and says so once.
        await asyncio.sleep(0.5)
    assert all("hunter2" not in str(vars(record)) for record in caplog.records)
    assert sum(record.message == "valkey_refuses" for record in caplog.records) == 1


async def test_one_that_listens_and_says_nothing_is_not_up_and_costs_no_caller_its_time(impatient):
    async def silent(reader, writer):
        await reader.read()

    async with a_server(silent) as url, linked(url) as made:
        assert not made.is_up
        asked = made.call("PING")
        assert asked.done()
        assert isinstance(asked.exception(), Away)


async def test_one_that_loads_its_data_is_not_up_until_it_has():
    answers = iter([b"-LOADING Valkey is loading the dataset in memory\r\n"] * 2)

    async def loading(reader, writer):
        while await reader.read(1000):
            writer.write(next(answers, b"+PONG\r\n"))
        writer.close()

    async with a_server(loading) as url, linked(url) as made:
        assert not made.is_up
        await until_up(made)
        assert await made.call("PING") == b"PONG"


async def test_a_stalled_valkey_is_told_to_every_caller_in_time_and_comes_back(url, monkeypatch):
    pid = redis.Redis.from_url(url).info("server")["process_id"]
    async with linked(url) as made:
        os.kill(pid, signal.SIGSTOP)
        try:
            monkeypatch.setattr(link, "MOST_LOOKS", 5)
            async with asyncio.timeout(20):
                told = await asyncio.gather(*(made.call("ECHO", str(number)) for number in range(50)), return_exceptions=True)
            assert {type(reply) for reply in told} == {Away}
        finally:
            os.kill(pid, signal.SIGCONT)
        monkeypatch.setattr(link, "MOST_LOOKS", 200)
        assert await echoed(made, "late replies are nobody's") == b"late replies are nobody's"


async def test_a_machine_that_was_held_up_as_a_whole_is_no_valkey_that_is_away(monkeypatch):
    async def held_up(reader, writer):
        await reader.read(1000)
        writer.write(b"+PONG\r\n")
        await reader.read(1000)
        time.sleep(link.MOST_LOOKS * link.LOOK_SECONDS + 0.1)  # noqa: ASYNC251 - nobody runs meanwhile
        await asyncio.sleep(link.LOOK_SECONDS / 2)
        writer.write(b"+PONG\r\n")
        await reader.read()

    async with a_server(held_up) as url, linked(url) as made:
        monkeypatch.setattr(link, "MOST_LOOKS", 5)
        assert await made.call("PING") == b"PONG"


async def echoed(made: Link, text: str) -> bytes:
    """What comes back once the connection stands again."""
    async with asyncio.timeout(30):
        while True:
            with contextlib.suppress(Away):
                return await made.call("ECHO", text)
            await asyncio.sleep(0.02)


async def test_a_connection_cut_by_valkey_is_made_anew(url):
    async with linked(url) as made:
        for number in range(5):
            with contextlib.suppress(Away):
                await made.call("CLIENT", "KILL", "ID", await made.call("CLIENT", "ID"), "SKIPME", "no")
            assert await echoed(made, str(number)) == str(number).encode()


async def test_rubbish_ends_the_connection_and_not_the_link():
    greeted = count()

    async def rubbish(reader, writer):
        await reader.read(1000)
        writer.write(b"+PONG\r\n" + (b"?rubbish\r\n" if next(greeted) < 2 else b""))
        while await reader.read(1000):
            writer.write(b"+PONG\r\n")
        writer.close()

    async with a_server(rubbish) as url, linked(url) as made:
        assert await echoed(made, "x") == b"PONG"


async def test_valkey_may_be_away_when_the_link_starts(tmp_path):
    async with linked(f"unix://{tmp_path}/nothing.sock") as made:
        made.hint("PUBLISH", "x", 1)
        with pytest.raises(Away):
            await made.call("PING")
