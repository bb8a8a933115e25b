"""What approvals do later and on a timer. Every task may run twice, at any time, on any worker."""

import time
from datetime import timedelta

from celery import shared_task
from django.conf import settings
from django.db import connection
from django.utils import timezone

from approvals import dispatch, sender, services
from workspaces import tenancy
from workspaces.errors import NotFound
from workspaces.selectors import workspace, workspace_ids

#: A task that finds more to send after this many seconds leaves it to the next one.
SENDING_SECONDS = 5


@shared_task
def expire(**_: object) -> None:
    """End the holds and approvals whose time is over."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT orca_due_approvals()")
        due = [row[0] for row in cursor.fetchall()]
    while due:
        due = [workspace_id for workspace_id in due if _expire(workspace_id) == services.EXPIRED_AT_ONCE]


def _expire(workspace_id: int) -> int:
    with tenancy.scope(workspace_id):
        found = workspace(workspace_id)
        try:
            return services.expire(found) if found else 0
        except NotFound:
            # Archived a moment ago.
            return 0


@shared_task
def send_due(**_: object) -> None:
    """Send what is due in the outbox: at once after a change, and every few seconds for what a lost message or worker left behind."""
    started = time.monotonic()
    while parcels := dispatch.claim(timezone.now()):
        for parcel, outcome in zip(parcels, sender.send_all(parcels), strict=True):
            dispatch.finish(parcel, outcome, at=timezone.now())
        if time.monotonic() - started > SENDING_SECONDS:
            return


@shared_task
def forget_deliveries(**_: object) -> None:
    """The log of what was sent is kept as long as events are."""
    before = timezone.now() - timedelta(days=settings.EVENT_RETENTION_DAYS)
    for workspace_id in workspace_ids():
        with tenancy.scope(workspace_id):
            found = workspace(workspace_id)
            if found:
                found.deliveries.filter(created_at__lt=before).exclude(state="pending").delete()
