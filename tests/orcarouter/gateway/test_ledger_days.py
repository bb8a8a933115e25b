"""Days that are over are summed before their entries go: no balance changes by it, and none forgets."""

import re
from datetime import UTC, datetime, timedelta
from itertools import count
from uuid import UUID

import psycopg
import pytest
from django.conf import settings
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from keys import money_selectors
from keys.engine.ceilings import Account, Scope
from keys.money_selectors import Balance, settle_id
from orcarouter.gateway.recorder import record_now
from orcarouter.tasks import roll_ledger
from tests.factories.workspaces import make_tenant
from workspaces import ids, tenancy

_numbers = count()
KEY = 77


@pytest.fixture
def workspace(committed):
    return make_tenant(f"days{next(_numbers)}").workspace


def as_owner(statement: str, *values: object) -> list:
    with psycopg.connect(settings.DATABASE_OWNER_URL, autocommit=True) as owner:
        cursor = owner.execute(statement, values)
        return cursor.fetchall() if cursor.description else []


def movement(workspace_id: int, at: datetime, kind: str, *, held: int = 0, spent: int = 0, entry_id: UUID | None = None) -> dict:
    entry_id = entry_id or UUID(int=ids.lowest_at(at).int | ids.uuid7().int & ((1 << 74) - 1) & ~1)
    said = {"id": entry_id, "workspace_id": workspace_id, "occurred_at": at, "request_id": entry_id.hex, "kind": kind, "cause": "call"}
    return said | {"key_id": KEY, "member_id": 5, "held_micro_usd": held, "spent_micro_usd": spent}


def balances(workspace) -> list[Balance]:
    month = timezone.now().date().replace(day=1)
    accounts = [Account(Scope.KEY, str(KEY)), Account(Scope.KEY, str(KEY + 1)), Account(Scope.MEMBER, "5", month), Account(Scope.WORKSPACE, "", month)]
    return [money_selectors.balance(workspace, account, at=timezone.now()) for account in accounts]


def test_a_balance_finds_what_settled_its_open_calls_by_the_key_of_the_ledger(workspace):
    """And does not read the whole ledger for it, which row-level security makes of a condition with a function of the row in it."""
    now = datetime.now(UTC)
    record_now([], [], [movement(workspace.pk, now - timedelta(milliseconds=number), "reserve", held=9) for number in range(1_000)])
    as_owner("ANALYZE keys_ledgerentry")
    with CaptureQueriesContext(connection) as said:
        money_selectors.balance(workspace, Account(Scope.RUN, f"{KEY}.run"), at=timezone.now())
    (statement,) = (query["sql"] for query in said.captured_queries if "keys_ledgerentry" in query["sql"])
    with tenancy.scope(workspace.pk), connection.cursor() as cursor:
        cursor.execute("EXPLAIN " + statement)
        plan = "\n".join(row[0] for row in cursor.fetchall())
    assert re.search(r"Index Cond: .*\(id = r\.settle_id\)", plan), plan


def test_days_are_summed_once_no_call_of_them_is_open_and_nothing_changes_by_it(workspace):
    now = datetime.now(UTC)
    reserves = [movement(workspace.pk, now - timedelta(days=days, milliseconds=number), "reserve", held=9) for days in (4, 3, 0) for number in range(3)]
    settles = [
        movement(workspace.pk, each["occurred_at"], "settle", held=-9, spent=1 + number, entry_id=settle_id(each["id"])) for number, each in enumerate(reserves)
    ]
    left_open = settles.pop(4)
    record_now([], [], [*reserves, *settles])
    as_owner("UPDATE keys_ledgerrolled SET before = %s", (now - timedelta(days=5)).date())
    before = balances(workspace)
    assert before[0].spent_micro_usd == sum(range(1, 10)) - 5
    assert before[1] == Balance()
    roll_ledger()
    assert balances(workspace) == before
    # The day before the one with an open call is done; that one waits for the sweep.
    assert as_owner("SELECT before FROM keys_ledgerrolled") == [((now - timedelta(days=3)).date(),)]
    record_now([], [], [left_open])
    for _ in range(2):
        roll_ledger()
        assert balances(workspace)[0] == Balance(sum(range(1, 10)), 0)
    assert as_owner("SELECT before FROM keys_ledgerrolled") == [((now - timedelta(days=1)).date(),)]
    # Their entries go with their partition, and a lifetime's spending does not.
    as_owner("DELETE FROM keys_ledgerentry WHERE workspace_id = %s AND id < %s", workspace.pk, ids.lowest_at(now - timedelta(days=2)))
    assert balances(workspace)[0] == Balance(sum(range(1, 10)), 0)
