"""Housekeeping of the whole installation. Every task may run twice, at any time, on any worker."""

import time

from celery import shared_task
from django.conf import settings
from django.db import connection

from orcarouter.gateway import sweep
from workspaces import valkey
from workspaces.services import publish_config_version

HEARTBEAT_KEY = "orca:worker:heartbeat"
#: Seconds after which a silent worker counts as gone.
HEARTBEAT_SECONDS = 20


@shared_task
def heartbeat(**_: object) -> None:
    """Say that a worker lives; ``/readyz`` reads it."""
    valkey.client().set(HEARTBEAT_KEY, int(time.time()), ex=HEARTBEAT_SECONDS)


@shared_task
def make_partitions(**_: object) -> None:
    """Make the record tables' partitions a week ahead, long before the first row of a day."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT orca_make_partitions(7)")


@shared_task
def drop_old_partitions(**_: object) -> None:
    """Drop the days that are past retention."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT orca_drop_partitions(%s)", [settings.EVENT_RETENTION_DAYS])


@shared_task
def correct_config_versions(**_: object) -> None:
    """Bring Valkey's copies of the configuration versions in line with PostgreSQL, whatever was killed in between."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT id, config_version FROM orca_config_versions()")
        for workspace_id, version in cursor.fetchall():
            publish_config_version(workspace_id, version)


@shared_task
def sweep_calls(**_: object) -> None:
    """End the calls that dead gateway processes left open: at what was streamed, else at nothing."""
    sweep.sweep()


@shared_task
def sweep_overdue_calls(**_: object) -> None:
    """End the calls that are open past their deadline."""
    sweep.sweep_overdue()


@shared_task
def roll_ledger(**_: object) -> None:
    """Sum the ledger's days that are over, so that a lifetime's spending outlives their entries."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT orca_roll_ledger()")


@shared_task
def forget_idempotency_records(**_: object) -> None:
    """Idempotency keys hold for 24 hours."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT orca_forget_idempotency_records(24)")
