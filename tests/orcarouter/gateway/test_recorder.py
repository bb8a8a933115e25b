"""The recorder against a real PostgreSQL: what it says stands does, and nothing that happens to it is for ever."""

import asyncio
import contextlib
import os
import signal
import socket
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from itertools import count

import pytest
import uvloop
from django.db import connection

from orcarouter.gateway import recorder
from orcarouter.gateway.recorder import NotRecorded, Recorder
from orcarouter.gateway.rows import USAGE
from tests.environment import DATA_DIR
from tests.factories.workspaces import make_tenant
from workspaces import tenancy
from workspaces.ids import uuid7

_numbers = count()


@pytest.fixture
def workspace(committed):
    return make_tenant(f"recorder{next(_numbers)}").workspace


@pytest.fixture
def url(settings) -> str:
    return settings.DATABASE_RECORDER_URL


def usage(workspace_id: int, **fields) -> dict:
    blank = dict.fromkeys(USAGE.columns)
    known = {"request_id": "req_1", "key_id": 1, "token_name": "t", "environment": "", "status": 200, "outcome": "completed", "streamed": False}
    counts = {"prompt_tokens": 1, "completion_tokens": 1, "cached_tokens": 0, "reasoning_tokens": 0, "usage_source": "provider", "latency_ms": 1}
    digests = {"context_digest": "", "fingerprint": ""}
    return blank | known | counts | digests | {"id": uuid7(), "workspace_id": workspace_id, "occurred_at": datetime.now(UTC)} | fields


@asynccontextmanager
async def running(url: str, **limits):
    # A busy machine is no PostgreSQL that is away, but where that is what is tested.
    made = Recorder(url, **({"wait_seconds": 60, "statement_seconds": 60} | limits))
    await made.start()
    try:
        yield made
    finally:
        await made.stop()


async def stored(workspace) -> list:
    def read():
        try:
            with tenancy.scope(workspace.pk):
                return sorted(workspace.usage.values_list("pk", flat=True))
        finally:
            connection.close()

    return await asyncio.to_thread(read)


def kill_backend(made: Recorder) -> None:
    """End the recorder's connection from the other side, as an operator or a fail-over does."""
    if made._pg is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(made._pg.backend_pid, signal.SIGTERM)


async def test_what_is_said_to_stand_is_committed_once_however_often_it_is_sent(workspace, url):
    row = usage(workspace.pk)
    async with running(url) as made:
        await asyncio.gather(*(made.submit([], [row]) for _ in range(20)), made.submit([], [usage(workspace.pk)]))
    found = await stored(workspace)
    assert len(found) == 2
    assert row["id"] in found


async def transactions(workspace) -> list[str]:
    """Of each row in order, by which transaction it was written."""

    def read():
        try:
            with tenancy.scope(workspace.pk), connection.cursor() as cursor:
                cursor.execute("SELECT xmin::text FROM keys_usage WHERE workspace_id = %s ORDER BY id", [workspace.pk])
                return [found for (found,) in cursor.fetchall()]
        finally:
            connection.close()

    return await asyncio.to_thread(read)


async def test_rows_that_nobody_waits_for_leave_with_the_next_that_somebody_does(workspace, url):
    async with running(url, linger_seconds=600) as made:
        await made.submit([], [usage(workspace.pk)])
        lingering = made.submit([], [usage(workspace.pk)], lingers=True)
        await asyncio.sleep(0.05)
        assert not lingering.done()
        await made.submit([], [usage(workspace.pk)])
        assert lingering.done()
        first, second, third = await transactions(workspace)
        assert first != second == third
        made.submit([], [usage(workspace.pk)], lingers=True)
    # The end of the process waits for nobody.
    assert len(await stored(workspace)) == 4


async def test_whoever_waits_may_be_cancelled_and_the_rows_stand_all_the_same(workspace, url):
    async def wait(recording: recorder.Recording) -> None:
        await recording

    async with running(url) as made:
        waiting = asyncio.create_task(wait(made.submit([], [usage(workspace.pk)])))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert len(await stored(workspace)) == 1


async def test_the_end_of_the_process_tells_whoever_still_waits(workspace):
    async with running("postgres://nobody@/nowhere?host=/nowhere", statement_seconds=0.1) as made:
        waiting = made.submit([], [usage(workspace.pk)])
    with pytest.raises(NotRecorded):
        await waiting


async def test_rows_that_nobody_waits_for_leave_alone_soon(workspace, url):
    async with running(url) as made:
        await made.submit([], [usage(workspace.pk)], lingers=True)
        assert len(await stored(workspace)) == 1


@pytest.mark.parametrize("bad", [{"token_name": "a\x00b"}, {"prompt_tokens": 2**40}, {"outcome": None}, {"token_name": "x" * 20_000, "request_id": None}])
async def test_a_value_that_postgresql_refuses_fails_its_own_caller_alone(workspace, url, bad):
    rows = [usage(workspace.pk) for _ in range(6)]
    rows[3] |= bad
    async with running(url) as made:
        told = await asyncio.gather(*(made.submit([], [row]) for row in rows), return_exceptions=True)
    assert [type(answer) for answer in told] == [type(None)] * 3 + [NotRecorded] + [type(None)] * 2
    assert await stored(workspace) == sorted(row["id"] for row in rows if row is not rows[3])


async def test_a_row_that_stands_already_is_written_once_and_holds_up_nobody(workspace, url):
    known, new, another = (usage(workspace.pk) for _ in range(3))
    async with running(url) as made:
        await made.submit([], [known])
        # One batch: the writer has no turn between the two.
        await asyncio.gather(made.submit([], [known, new]), made.submit([], [another, another]))
    assert set(await stored(workspace)) == {row["id"] for row in (known, new, another)}
    assert len(await stored(workspace)) == 3


@pytest.mark.parametrize("bad", ["\ud800", 2**70])
async def test_what_cannot_be_written_as_json_fails_its_caller_before_the_batch(workspace, url, bad):
    async with running(url) as made:
        good = made.submit([], [usage(workspace.pk)])
        with pytest.raises(TypeError):
            made.submit([], [usage(workspace.pk, token_name=bad)])
        await good
    assert len(await stored(workspace)) == 1


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_a_connection_lost_between_two_batches_costs_the_next_one_nothing(workspace, url, new_loop):
    async def lose_it() -> list:
        rows = [usage(workspace.pk) for _ in range(5)]
        async with running(url) as made:
            for row in rows:
                await made.submit([], [row])
                kill_backend(made)
                # Numbers that libpq's closed descriptor left free are taken at once by others.
                others = [socket.socket() for _ in range(8)]
                async with asyncio.timeout(30):
                    while made._pg is not None:  # noqa: ASYNC110 - nothing announces it
                        await asyncio.sleep(0.01)
                for other in others:
                    other.close()
            before = asyncio.get_running_loop().time()
            await made.submit([], [usage(workspace.pk)])
            # Nobody waited for an answer that nobody will give.
            assert asyncio.get_running_loop().time() - before < 30
        return rows

    with asyncio.Runner(loop_factory=new_loop) as runner:
        rows = runner.run(lose_it())
        found = runner.run(stored(workspace))
    assert {row["id"] for row in rows} <= set(found)
    assert len(found) == 6


async def test_backends_killed_under_load_lose_and_double_nothing(workspace, url):
    rows = [usage(workspace.pk) for _ in range(3_000)]
    async with running(url) as made:
        waiting = []
        for number, row in enumerate(rows):
            waiting.append(made.submit([], [row]))
            if number % 500 == 250:
                await asyncio.sleep(0.01)
                kill_backend(made)
        await asyncio.gather(*waiting)
    assert await stored(workspace) == sorted(row["id"] for row in rows)


async def test_a_stalled_postgresql_is_told_in_time_and_its_rows_stand_afterwards(workspace, url):
    late = usage(workspace.pk)
    async with running(url, wait_seconds=20, statement_seconds=1.0) as made:
        await made.submit([], [usage(workspace.pk)])
        made.wait_seconds = 0.5
        backend = made._pg.backend_pid
        os.kill(backend, signal.SIGSTOP)
        try:
            with pytest.raises(NotRecorded):
                await made.submit([], [late])
        finally:
            os.kill(backend, signal.SIGCONT)
        made.wait_seconds = 20
        await made.submit([], [usage(workspace.pk)])
        assert made._buffered_bytes == 0
    assert late["id"] in await stored(workspace)


async def test_a_postgresql_that_only_reads_is_left_for_a_connection_that_writes(workspace, url):
    async with running(url) as made:
        await made.submit([], [usage(workspace.pk)])
        made._pg.exec_(b"SET default_transaction_read_only = on")
        row = usage(workspace.pk)
        await made.submit([], [row])
    assert row["id"] in await stored(workspace)


async def test_a_full_buffer_admits_no_call_and_refuses_rows(workspace):
    nowhere = f"postgresql:///none?host={DATA_DIR}/nowhere"
    async with running(nowhere, wait_seconds=0.3, statement_seconds=0.1, buffer_bytes=10_000) as made:
        assert made.accepts
        waiting = [made.submit([], [usage(workspace.pk)]) for _ in range(40)]
        assert all(isinstance(told, NotRecorded) for told in await asyncio.gather(*waiting, return_exceptions=True))
        assert made._buffered_bytes <= 10_000
        async with asyncio.timeout(20):
            while made.accepts:  # noqa: ASYNC110 - it is asked at each call, and announces nothing
                await asyncio.sleep(0.05)


async def test_an_address_that_cannot_be_read_is_not_quoted_in_the_log(workspace, caplog):
    async with running("postgres//orca:hunter2@db/orca", wait_seconds=0.3, statement_seconds=0.1) as made:
        with pytest.raises(NotRecorded):
            await made.submit([], [usage(workspace.pk)])
    assert "recorder_cannot_connect" in caplog.text
    assert all("hunter2" not in str(vars(record)) for record in caplog.records)


async def test_a_batch_larger_than_the_sockets_buffer_is_written(workspace, url):
    rows = [usage(workspace.pk, token_name="x" * 1_500) for _ in range(4_000)]
    async with running(url) as made:
        await asyncio.gather(*(made.submit([], [row]) for row in rows))
    assert len(await stored(workspace)) == len(rows)
