"""Rows as they are sent: what PostgreSQL reads of them is what was given."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from uuid import UUID

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg import pq

from orcarouter.gateway import rows
from orcarouter.gateway.rows import ENTRY, EVENT, TABLES, USAGE, Part, Row, Table
from tests.figures import dear

TEXT = st.none() | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=30)
NUMBER = st.none() | st.integers(-(2**63), 2**63 - 1)
VALUES: dict[str, st.SearchStrategy] = {
    "text": TEXT,
    "bigint": NUMBER,
    "boolean": st.none() | st.booleans(),
    "timestamp with time zone": st.none() | st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC)),
    "uuid": st.none() | st.uuids(),
    "text[]": st.none() | st.lists(TEXT.filter(lambda text: text is not None), max_size=3),
    "jsonb": st.none() | st.dictionaries(st.text("abc"), st.lists(st.integers(0, 2**40)) | st.booleans() | st.none(), max_size=3),
}


@pytest.fixture(scope="module")
def connection(django_db_setup, django_db_blocker):
    from django.conf import settings

    with psycopg.connect(settings.DATABASE_RECORDER_URL, autocommit=True, options="-c timezone=UTC") as made:
        yield made


@pytest.fixture(scope="module")
def kinds(connection) -> dict[str, dict[str, str]]:
    """Of each table the columns of the type that its rows are sent as, in order."""
    question = "SELECT attname, format_type(atttypid, NULL) FROM pg_attribute WHERE attrelid = %s::regclass ORDER BY attnum"
    return {table.name: dict(connection.execute(question, [table.type]).fetchall()) for table in TABLES}


def read(connection: psycopg.Connection, table: Table, given: list[Mapping]) -> list[dict]:
    [[oid]] = connection.execute("SELECT %s::regtype::oid::int8", [table.type]).fetchall()
    question = f"SELECT to_jsonb(r)::text FROM unnest($1::{table.type}[]) AS r".encode()
    sent = rows.array(oid, len(given), map(table.encode, given))
    done = connection.pgconn.exec_params(question, [sent], param_formats=[pq.Format.BINARY])
    assert done.status == pq.ExecStatus.TUPLES_OK, done.error_message
    return [psycopg.types.json.json.loads(done.get_value(number, 0)) for number in range(done.ntuples)]


def as_read(value: object) -> object:
    if isinstance(value, datetime):
        return value.timestamp()
    return str(value) if isinstance(value, UUID) else value


@pytest.mark.parametrize("table", TABLES, ids=[table.name for table in TABLES])
def test_the_type_that_rows_are_sent_as_has_their_columns_in_order(kinds, table):
    assert tuple(kinds[table.name]) == table.columns


@dear
@given(data=st.data())
def test_what_is_sent_is_what_is_read(connection, kinds, data):
    table = data.draw(st.sampled_from(TABLES))
    kept = {name: data.draw(VALUES[kind], label=name) for name, kind in kinds[table.name].items()}
    given = [kept, {name: value for name, value in kept.items() if value is not None}, {}]
    whole, left_out, empty = read(connection, table, given)
    assert whole == left_out
    times = {name for name, kind in kinds[table.name].items() if kind.startswith("timestamp")}
    for name, value in kept.items():
        found = datetime.fromisoformat(whole[name]).timestamp() if name in times and whole[name] else whole[name]
        assert found == as_read(value)
    assert set(empty.values()) == {None}


def test_a_row_of_parts_is_the_row_that_they_make(connection):
    for table in TABLES:
        values = dict.fromkeys(table.columns) | {"id": UUID(int=7), "request_id": "req_1", "workspace_id": 3}
        own, *others = table.groups
        row = Row({name: values[name] for name in own.names}, *[Part(group, {name: values[name] for name in group.names}) for group in others])
        assert dict(row) == values
        assert table.encode(row) == table.encode(values)
        row["id"] = UUID(int=8)
        assert row["id"] == UUID(int=8)
        assert table.encode(row) == table.encode(values | {"id": UUID(int=8)})


def test_remembered_values_are_told_apart_and_do_not_pile_up(connection):
    numbers = [0, 1, False, True, *range(rows.MOST_REMEMBERED + 5)]
    found = read(connection, USAGE, [{"status": number, "streamed": bool(number), "outcome": str(number)} for number in numbers])
    assert [(row["status"], row["streamed"], row["outcome"]) for row in found] == [(int(number), bool(number), str(number)) for number in numbers]
    assert max(len(kind) for kind in USAGE.groups[0].kinds if isinstance(kind, dict)) <= rows.MOST_REMEMBERED


@pytest.mark.parametrize(("table", "wrong"), [
    (EVENT, {"tool_name": 7}), (EVENT, {"tools": [None]}), (EVENT, {"reason": "\ud800"}), (EVENT, {"judged_on": {1j}}),
    (USAGE, {"status": 2**63}), (USAGE, {"status": "200"}), (USAGE, {"id": "7"}), (ENTRY, {"occurred_at": timedelta()}),
    (ENTRY, {"deadline_at": datetime(2026, 1, 1)}),
])  # fmt: skip
def test_a_value_that_is_none_of_its_columns_is_refused_before_it_is_sent(table, wrong):
    with pytest.raises(TypeError):
        table.encode(wrong)
