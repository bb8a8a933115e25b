"""The second wall between tenants: PostgreSQL shows a transaction the rows of one workspace only.

Application code reaches rows through their workspace; should it ever forget, row-level security (``workspaces/rls.py``)
still answers with nothing. The settings are local to the transaction, so a pooled connection carries none over.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connections, transaction


@contextmanager
def scope(workspace_id: int, *, using: str = "default") -> Iterator[None]:
    """A transaction that sees this workspace. Nested in another scope, the outer one holds again afterwards."""
    with transaction.atomic(using=using):
        before = _get("orca.workspace_id", using)
        _set("orca.workspace_id", workspace_id, using)
        try:
            yield
        finally:
            # A failed statement leaves the transaction unable to run another; its rollback undoes the setting anyway.
            if not connections[using].needs_rollback:
                _set("orca.workspace_id", before, using)


@contextmanager
def person(user_id: int, *, using: str = "default") -> Iterator[None]:
    """A transaction that sees this person's own memberships, and the workspaces they are in."""
    with transaction.atomic(using=using):
        _set("orca.user_id", user_id, using)
        yield


def enter(*, user_id: int | None = None, workspace_id: int | None = None, using: str = "default") -> None:
    """Narrow the transaction that is already open; for a request that learns who and where step by step."""
    if user_id is not None:
        _set("orca.user_id", user_id, using)
    if workspace_id is not None:
        _set("orca.workspace_id", workspace_id, using)


def _set(name: str, value: int | str, using: str) -> None:
    with connections[using].cursor() as cursor:
        cursor.execute("SELECT set_config(%s, %s, true)", [name, str(value)])


def _get(name: str, using: str) -> str:
    with connections[using].cursor() as cursor:
        cursor.execute("SELECT coalesce(current_setting(%s, true), '')", [name])
        return cursor.fetchone()[0]
