"""What approvals do on a timer. Every task may run twice, at any time, on any worker."""

from celery import shared_task
from django.db import connection

from approvals import services
from workspaces import tenancy
from workspaces.errors import NotFound
from workspaces.selectors import workspace


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
