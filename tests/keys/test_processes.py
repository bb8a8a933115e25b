"""Which gateway processes are taken for dead: the silent ones, but not at the first look, and none that says it lives."""

from datetime import timedelta
from uuid import UUID

import pytest
from django.db import connection

from keys import money_services
from keys.money_services import DOUBTED_SECONDS, SILENT_SECONDS
from workspaces.ids import uuid7


def age(process_id: UUID, column: str, seconds: float) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE keys_gatewayprocess SET {column} = {column} - %s WHERE id = %s", [timedelta(seconds=seconds), process_id])


@pytest.fixture
def process(db) -> UUID:
    made = uuid7()
    assert money_services.beat(made)
    return made


def test_a_silent_process_is_doubted_and_then_given_up(process):
    age(process, "seen_at", SILENT_SECONDS - 3)
    assert process not in money_services.dead_processes()
    age(process, "seen_at", 6)
    # After an outage of PostgreSQL all have been silent.
    for _ in range(2):
        assert process not in money_services.dead_processes()
    age(process, "doubted_at", DOUBTED_SECONDS + 3)
    assert process in money_services.dead_processes()
    assert process not in money_services.living_processes()
    # Told until its calls are ended, should a sweep be killed.
    assert process in money_services.dead_processes()
    assert not money_services.beat(process)
    money_services.bury([process])
    assert process not in money_services.dead_processes()


def test_one_that_speaks_again_in_time_lives(process):
    age(process, "seen_at", SILENT_SECONDS + 3)
    assert process not in money_services.dead_processes()
    assert money_services.beat(process)
    assert process not in money_services.dead_processes()
    assert process in money_services.living_processes()
