"""Indexes of a table partitioned by day change while it has rows, and again after an interruption."""

import psycopg
import pytest
from django.db import connections
from django.db.migrations.state import ProjectState

from workspaces import indexes

TABLE = """
    CREATE TABLE indexes_probe (id integer NOT NULL, workspace_id integer NOT NULL, tool text, PRIMARY KEY (id)) PARTITION BY RANGE (id);
    CREATE TABLE indexes_probe_filled PARTITION OF indexes_probe FOR VALUES FROM (0) TO (100);
    CREATE TABLE indexes_probe_empty PARTITION OF indexes_probe FOR VALUES FROM (100) TO (200);
    CREATE INDEX indexes_probe_feed ON indexes_probe (workspace_id, id);
    INSERT INTO indexes_probe SELECT n, 1, 'tool' || n FROM generate_series(0, 50) AS n;
"""
OPERATIONS = [
    indexes.primary_key("indexes_probe", "workspace_id, id", instead_of="indexes_probe_feed"),
    indexes.index("probe_tool", "indexes_probe", "(workspace_id, tool) WHERE tool IS NOT NULL"),
]


@pytest.fixture
def cursor(committed):
    connection = connections["owner"]
    with connection.cursor() as cursor:
        cursor.execute(TABLE)
        yield cursor
        cursor.execute("DROP TABLE indexes_probe")
    connection.close()


def migrate() -> None:
    with connections["owner"].schema_editor(atomic=False) as editor:
        for operation in OPERATIONS:
            operation.database_forwards("workspaces", editor, ProjectState(), ProjectState())


def found(cursor) -> dict[str, list[str]]:
    cursor.execute("SELECT tablename, split_part(indexdef, ' USING ', 2) FROM pg_indexes WHERE tablename LIKE 'indexes_probe%' ORDER BY 2")
    rows = cursor.fetchall()
    return {table: [definition for name, definition in rows if name == table] for table, _ in rows}


def test_partitions_with_rows_and_new_ones_have_the_new_indexes_and_no_others(cursor):
    migrate()
    cursor.execute("CREATE TABLE indexes_probe_new PARTITION OF indexes_probe FOR VALUES FROM (200) TO (300)")
    wanted = ["btree (workspace_id, id)", "btree (workspace_id, tool) WHERE (tool IS NOT NULL)"]
    assert found(cursor) == dict.fromkeys(["indexes_probe", "indexes_probe_empty", "indexes_probe_filled", "indexes_probe_new"], wanted)
    cursor.execute("INSERT INTO indexes_probe VALUES (50, 2, 'x'), (51, 1, 'x')")
    with pytest.raises(Exception, match="duplicate key") as error:
        cursor.execute("INSERT INTO indexes_probe VALUES (50, 1, 'x')")
    assert isinstance(error.value.__cause__, psycopg.errors.UniqueViolation)


def test_a_migration_that_was_interrupted_runs_again(cursor):
    # A unique index over values that are not leaves what an interruption does: one that is not valid, under the new one's name.
    cursor.execute("INSERT INTO indexes_probe VALUES (60, 1, 'tool1')")
    with pytest.raises(Exception, match="could not create unique index"):
        cursor.execute("CREATE UNIQUE INDEX CONCURRENTLY indexes_probe_filled_probe_tool ON indexes_probe_filled (workspace_id, tool)")
    migrate()
    assert all(len(definitions) == 2 for definitions in found(cursor).values())
    once = found(cursor)
    migrate()
    assert found(cursor) == once
