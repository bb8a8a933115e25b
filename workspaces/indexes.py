"""Indexes of the tables that are partitioned by day, as migration operations that keep nobody from writing for long.

Of a migration that is not atomic. Each partition that holds rows gets its index ``CONCURRENTLY``; that of the whole table then takes
those over, which only changes the catalogue. One that was interrupted may run again.
"""

from django.db import transaction
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.backends.utils import CursorWrapper
from django.db.migrations.operations import RunPython

_PARTITIONS = "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = %s::regclass ORDER BY c.relname"
_IS_BROKEN = "SELECT EXISTS (SELECT 1 FROM pg_index WHERE indexrelid = to_regclass(%s) AND NOT indisvalid)"


def index(name: str, table: str, body: str) -> RunPython:
    """``CREATE INDEX name ON table body``."""

    def make(_apps: object, editor: BaseDatabaseSchemaEditor) -> None:
        with editor.connection.cursor() as cursor:
            _build(cursor, "INDEX", name, table, body)
            cursor.execute(f"CREATE INDEX IF NOT EXISTS {name} ON {table} {body}")

    return RunPython(make, RunPython.noop)


def primary_key(table: str, columns: str, *, instead_of: str) -> RunPython:
    """Make ``columns`` the primary key, and drop the index that it makes needless."""

    def make(_apps: object, editor: BaseDatabaseSchemaEditor) -> None:
        with editor.connection.cursor() as cursor:
            built = _build(cursor, "UNIQUE INDEX", "key", table, f"({columns})")
            with transaction.atomic(using=editor.connection.alias):
                cursor.execute(f"ALTER TABLE {table} DROP CONSTRAINT {table}_pkey")
                for partition, name in built.items():
                    cursor.execute(f"ALTER TABLE {partition} ADD CONSTRAINT {partition}_pkey PRIMARY KEY USING INDEX {name}")
                cursor.execute(f"ALTER TABLE {table} ADD CONSTRAINT {table}_pkey PRIMARY KEY ({columns})")
                cursor.execute(f"DROP INDEX IF EXISTS {instead_of}")

    return RunPython(make, RunPython.noop)


def _build(cursor: CursorWrapper, what: str, name: str, table: str, body: str) -> dict[str, str]:
    """Of each partition with rows the name of its new index."""
    built = {}
    cursor.execute(_PARTITIONS, [table])
    for (partition,) in cursor.fetchall():
        cursor.execute(f"SELECT EXISTS (SELECT 1 FROM {partition})")  # noqa: S608 - the catalogue's own names
        if cursor.fetchone()[0]:
            built[partition] = own = f"{partition}_{name}"
            cursor.execute(_IS_BROKEN, [own])
            if cursor.fetchone()[0]:
                cursor.execute(f"DROP INDEX {own}")
            cursor.execute(f"CREATE {what} CONCURRENTLY IF NOT EXISTS {own} ON {partition} {body}")
    return built
