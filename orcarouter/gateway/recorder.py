"""Group commit of what was decided: all calls in flight share one INSERT, one round trip and one fdatasync.

libpq itself, non-blocking, on the event loop's reader callback, over a connection of its own under the role that may
only insert. A row is written at most once, however often its batch is tried: its id is its identity.
"""

import asyncio
import contextlib
import logging
import os
import time
from collections import deque
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import psycopg
from django.conf import settings
from psycopg import pq

from orcarouter.gateway import rows
from orcarouter.gateway.rows import TABLES, Rows, Table

logger = logging.getLogger(__name__)

#: A caller waits this long for its rows to stand before it is told that the store is away.
WAIT_SECONDS = 5.0
#: One look at the oldest serves all callers: a deadline each would cost more than the write.
LOOK_SECONDS = 0.25
#: A statement that takes longer means a stalled PostgreSQL: the connection is given up and made anew.
STATEMENT_SECONDS = 4.0
#: Rows that nobody waits for yet may wait this long for others to leave with.
LINGER_SECONDS = 0.002
#: Rows nobody waits for any more are still tried this long.
KEEP_SECONDS = 60.0
MAX_BATCH_ROWS, MAX_BATCH_BYTES = 2_000, 4 * 1024 * 1024
#: Above this much waiting, new calls are refused at admission.
MAX_BUFFER_BYTES = 64 * 1024 * 1024
RETRY_SECONDS = 0.2
#: A peer that vanished without a word is noticed by the kernel.
LIVENESS: dict[str, Any] = {"tcp_user_timeout": 5_000, "keepalives_idle": 5, "keepalives_interval": 2, "keepalives_count": 3}


def _statement(on_conflict: str = "") -> bytes:
    def insert(table: Table, parameter: str) -> str:
        names = ", ".join(table.columns)
        return f"INSERT INTO {table.name} ({names}) SELECT {names} FROM unnest({parameter}::{table.type}[]) {on_conflict}"  # noqa: S608 - our own names

    events, ledger = insert(rows.EVENT, "$1"), insert(rows.ENTRY, "$3")
    return f"WITH e AS ({events}), l AS ({ledger}) {insert(rows.USAGE, '$2')}".encode()


_event, _usage, _ledger = (table.encode for table in TABLES)
#: A batch is written by the first. Where a row of it stands already, all are refused, and the second writes the others: to look
#: for each row before it is written would cost a tenth more, and rows stand already only after a loss.
#: No conflict target: naming one would need the right to read.
STATEMENT, STATEMENT_AGAIN = _statement(), _statement("ON CONFLICT DO NOTHING")
#: The parameters are binary.
FORMATS = [pq.Format.BINARY] * len(TABLES)


def _oids(connection: psycopg.Connection) -> tuple[int, ...]:
    """The types of the tables' rows, as this database numbers them."""
    found = connection.execute("SELECT " + ", ".join(f"'{table.type}'::regtype::oid::int8" for table in TABLES)).fetchone()
    assert found is not None
    return tuple(found)


def record_now(events: Rows, usage: Rows, ledger: Rows) -> None:
    """The same for a worker: one batch over a connection of its own. Raises ``psycopg.Error``."""
    given = list(zip(TABLES, (events, usage, ledger), strict=True))
    with psycopg.connect(settings.DATABASE_RECORDER_URL, autocommit=True, connect_timeout=3, application_name="orca-sweep") as connection:
        parameters = [rows.array(oid, len(each), map(table.encode, each)) for oid, (table, each) in zip(_oids(connection), given, strict=True)]
        done = connection.pgconn.exec_params(STATEMENT_AGAIN, parameters, param_formats=FORMATS)
        if done.status != pq.ExecStatus.COMMAND_OK:
            raise _as_error(done.error_field(pq.DiagnosticField.SQLSTATE), done.error_message)


class NotRecorded(Exception):
    """The rows do not stand: PostgreSQL is away, or it refused them. What depends on them must not be answered."""


class Recording(asyncio.Future[None]):
    """Done when its rows stand. Whoever waits for it may be cancelled, and is once it is done; the rows are on their way."""

    def cancel(self, msg: object = None) -> bool:
        return False


@dataclass(slots=True, eq=False)
class Entry:
    """The rows of one caller, already encoded: they stand or fall together."""

    #: Of each table, and how many.
    elements: tuple[bytes, ...]
    counts: tuple[int, ...]
    done: Recording
    rows: int = field(init=False)
    size: int = field(init=False)
    since: float = field(init=False)

    def __post_init__(self) -> None:
        self.rows, self.size, self.since = sum(self.counts), sum(map(len, self.elements)), time.monotonic()


class Recorder:
    """``await submit(events, usage, ledger)`` returns when the rows are committed. One instance a process."""

    def __init__(
        self,
        url: str,
        *,
        wait_seconds: float = WAIT_SECONDS,
        statement_seconds: float = STATEMENT_SECONDS,
        linger_seconds: float = LINGER_SECONDS,
        buffer_bytes: int = MAX_BUFFER_BYTES,
    ) -> None:
        self._url = url
        self.wait_seconds, self._statement_seconds, self._linger_seconds, self._max_bytes = wait_seconds, statement_seconds, linger_seconds, buffer_bytes
        self._buffer: deque[Entry] = deque()
        self._buffered_bytes = 0
        self._oids: tuple[int, ...] = ()
        self._in_flight: list[Entry] = []
        self._connection: psycopg.Connection | None = None
        self._pg: pq.abc.PGconn | None = None
        self._watched: int | None = None
        #: Something is to leave now.
        self._due = asyncio.Event()
        self._lingering: asyncio.TimerHandle | None = None
        self._asked: list[Entry] = []
        self._answered: asyncio.Future | None = None
        self._task: asyncio.Task | None = None
        self._looker: asyncio.TimerHandle | None = None

    # --- Life ---
    async def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Write what is waiting, within the statement's time, then close."""
        self._due.set()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._statement_seconds):
                while self._buffer or self._in_flight:  # noqa: ASYNC110 - at the end of the process, once
                    await asyncio.sleep(0.01)
        left = [*self._in_flight, *self._buffer]
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._finish(left, NotRecorded("the process ends"))
        self._close()

    @property
    def accepts(self) -> bool:
        """Whether a new call may be admitted: PostgreSQL answers, or the buffer is short and young."""
        if self._buffered_bytes > self._max_bytes:
            return False
        return self._pg is not None or not self._buffer or time.monotonic() - self._buffer[0].since < 1.0

    # --- Use ---
    def submit(self, events: Rows, usage: Rows, ledger: Rows = (), *, lingers: bool = False) -> Recording:
        """Queue rows; what is given back is done when they stand, or raises ``NotRecorded`` after its ``wait_seconds``.

        That changes nothing for the rows: they are tried on, and may still come to stand later.
        Rows that may linger leave with the next that may not, or soon alone.
        """
        done = Recording(loop=self._loop)
        # Encoded at once: a bad value fails its own caller here and never a batch.
        elements = b"".join(map(_event, events)), b"".join(map(_usage, usage)), b"".join(map(_ledger, ledger))
        entry = Entry(elements, (len(events), len(usage), len(ledger)), done)
        if self._buffered_bytes + entry.size > self._max_bytes:
            done.set_exception(NotRecorded("the buffer is full"))
            return done
        self._buffer.append(entry)
        self._buffered_bytes += entry.size
        if not lingers:
            self._due.set()
        elif self._lingering is None:
            self._lingering = self._loop.call_later(self._linger_seconds, self._linger_no_more)
        if self._looker is None:
            self._looker = self._loop.call_later(LOOK_SECONDS, self._look)
        return done

    def _linger_no_more(self) -> None:
        self._lingering = None
        self._due.set()

    def _look(self) -> None:
        """Tell callers that have waited long enough."""
        now = time.monotonic()
        for entry in chain(self._in_flight, self._buffer):
            if now - entry.since < self.wait_seconds:
                break
            self._finish([entry], NotRecorded("PostgreSQL does not answer"))
        is_needed = self._in_flight or self._buffer
        self._looker = self._loop.call_later(LOOK_SECONDS, self._look) if is_needed else None

    # --- The writer ---
    async def _run(self) -> None:
        while True:
            await self._due.wait()
            self._due.clear()
            if not self._buffer:
                continue
            try:
                if self._pg is not None or await self._connect():
                    await self._write_batch(self._take())
                    continue
            except Exception:
                # A recorder that ends refuses every call from then on, so it never does.
                logger.exception("recorder_bug")
                self._close()
            self._due.set()
            self._forget_the_old()
            await asyncio.sleep(RETRY_SECONDS)

    def _take(self) -> list[Entry]:
        batch, rows, size = [], 0, 0
        while self._buffer and rows < MAX_BATCH_ROWS and size < MAX_BATCH_BYTES:
            entry = self._buffer.popleft()
            batch.append(entry)
            rows, size = rows + entry.rows, size + entry.size
        self._buffered_bytes -= size
        if self._buffer:
            self._due.set()
        return batch

    async def _write_batch(self, batch: list[Entry]) -> None:
        self._in_flight = batch
        try:
            await self._try(batch)
        except Exception:
            self._put_back([entry for entry in batch if not entry.done.done()])
            raise
        finally:
            self._in_flight = []

    async def _try(self, batch: list[Entry]) -> None:
        try:
            try:
                await self._execute(b"record", batch)
            except psycopg.errors.UniqueViolation:
                await self._execute(b"record_again", batch)
        except psycopg.OperationalError as error:
            # Whether it was committed is unknown; writing it again is harmless.
            logger.warning("recorder_lost_connection", extra={"error": str(error).strip()[:200]})
            self._close()
            self._put_back(batch)
            self._forget_the_old()
        except psycopg.DataError as error:
            if len(batch) > 1:
                await self._try_each(batch)
            else:
                logger.error("recorder_row_refused", extra={"error": str(error).strip()[:200]})
                self._finish(batch, NotRecorded("PostgreSQL refused the row"))

    async def _try_each(self, batch: list[Entry]) -> None:
        """One caller's value is refused: let each stand or fall alone."""
        for position, entry in enumerate(batch):
            if self._pg is None:
                self._put_back(batch[position:])
                return
            await self._try([entry])

    def _put_back(self, batch: list[Entry]) -> None:
        self._due.set()
        self._buffer.extendleft(reversed(batch))
        self._buffered_bytes += sum(entry.size for entry in batch)

    @staticmethod
    def _finish(batch: list[Entry], error: Exception | None) -> None:
        for entry in batch:
            if not entry.done.done():
                if error is None:
                    entry.done.set_result(None)
                else:
                    entry.done.set_exception(error)
                    entry.done.exception()  # heard, should the caller be gone

    def _forget_the_old(self) -> None:
        now = time.monotonic()
        while self._buffer and now - self._buffer[0].since > KEEP_SECONDS:
            entry = self._buffer.popleft()
            self._buffered_bytes -= entry.size
            self._finish([entry], NotRecorded("PostgreSQL stayed away"))
            logger.error("recorder_gave_up", extra={"rows": entry.rows})

    # --- libpq ---
    async def _connect(self) -> bool:
        try:
            self._connection = await asyncio.to_thread(self._open)
        except psycopg.Error as error:
            # An address that cannot be read is quoted in its error, password and all.
            said = str(error).strip()[:200] if isinstance(error, psycopg.OperationalError) else type(error).__name__
            logger.warning("recorder_cannot_connect", extra={"error": said})
            return False
        self._pg = self._connection.pgconn
        self._pg.nonblocking = 1
        # A copy of the descriptor: libpq closes its own the moment the connection is lost, and a number that is closed
        # before it is unwatched is soon somebody else's.
        self._watched = os.dup(self._pg.socket)
        self._loop.add_reader(self._watched, self._readable)
        return True

    def _open(self) -> psycopg.Connection:
        milliseconds = int(self._statement_seconds * 1000)
        # There is but one plan for what is an array of rows: not even the first batches need one of their own.
        options = f"-c statement_timeout={milliseconds} -c plan_cache_mode=force_generic_plan"
        connection = psycopg.connect(self._url, autocommit=True, connect_timeout=3, options=options, application_name="orca-recorder", **LIVENESS)
        try:
            self._oids = _oids(connection)
            for name, statement in ((b"record", STATEMENT), (b"record_again", STATEMENT_AGAIN)):
                prepared = connection.pgconn.prepare(name, statement)
                if prepared.status != pq.ExecStatus.COMMAND_OK:
                    raise psycopg.OperationalError(prepared.error_message.decode(errors="replace"))
        except psycopg.Error:
            connection.close()
            raise
        return connection

    def _close(self) -> None:
        if self._watched is not None:
            self._loop.remove_reader(self._watched)
            os.close(self._watched)
        if self._connection is not None:
            with contextlib.suppress(psycopg.Error):
                self._connection.close()
        self._connection = self._pg = self._watched = None

    async def _execute(self, prepared: bytes, batch: list[Entry]) -> None:
        pg = self._pg
        assert pg is not None
        counts = map(sum, zip(*(entry.counts for entry in batch), strict=True))
        parameters = list(map(rows.array, self._oids, counts, zip(*(entry.elements for entry in batch), strict=True)))
        self._asked, self._answered = batch, self._loop.create_future()
        pg.send_query_prepared(prepared, parameters, param_formats=FORMATS)
        try:
            async with asyncio.timeout(self._statement_seconds + 1):
                while pg.flush():  # noqa: ASYNC110 - libpq has no event for it
                    # The socket's buffer is full: rows of this size are rare, and PostgreSQL drains it in a moment.
                    await asyncio.sleep(0.001)
                status, sqlstate, message = await self._answered
        except TimeoutError:
            raise psycopg.OperationalError("the statement took too long") from None
        if status != pq.ExecStatus.COMMAND_OK:
            raise _as_error(sqlstate, message)

    def _readable(self) -> None:
        answered, pg = self._answered, self._pg
        if pg is None:
            return
        try:
            pg.consume_input()
            if pg.is_busy():
                return
            result = pg.get_result()
            if result is None:
                return
            outcome = (result.status, result.error_field(pq.DiagnosticField.SQLSTATE), result.error_message)
            while pg.get_result() is not None:
                pass
        except psycopg.OperationalError as error:
            outcome = (pq.ExecStatus.FATAL_ERROR, b"08006", str(error).encode())
            # Between two batches nobody else would notice; the next one connects anew.
            self._close()
        if outcome[0] == pq.ExecStatus.COMMAND_OK:
            # Here and not where the writer hears of it: callers go on a turn of the loop sooner.
            self._finish(self._asked, None)
        if answered is not None and not answered.done():
            answered.set_result(outcome)


def _as_error(sqlstate: bytes | None, message: bytes) -> psycopg.Error:
    """What a failure means: a value of the batch that PostgreSQL will never take, or a store that is away for now."""
    text = message.decode(errors="replace")
    if sqlstate == b"23505":
        return psycopg.errors.UniqueViolation(text)
    if (sqlstate or b"").startswith((b"22", b"23", b"54")):  # data, constraint, limit
        return psycopg.DataError(text)
    return psycopg.OperationalError(text)
