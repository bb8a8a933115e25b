"""What approvals do later and on a timer. Every task may run twice, at any time, on any worker."""

import time
from concurrent.futures import FIRST_COMPLETED, Future, wait
from datetime import timedelta

from celery import shared_task
from django.conf import settings
from django.db import connection
from django.utils import timezone

from approvals import dispatch, outbox, sender, services
from approvals.dispatch import Outcome, Parcel
from workspaces import tenancy
from workspaces.errors import NotFound
from workspaces.selectors import each_workspace, workspace

#: A task that finds more to send after this many seconds leaves it to the next one; how often it looks for more while receivers are slow.
SENDING_SECONDS, LOOK_SECONDS = 3.0, 0.25


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
    """Send what is due in the outbox: at once after a change, and every few seconds for what a lost message or worker left behind.

    A receiver that is slow keeps no other waiting, and this worker for one attempt at most.
    """
    send_for(SENDING_SECONDS, sender.ATTEMPT_SECONDS)


def send_for(seconds: float, attempt_seconds: float) -> None:
    """Take what is due for so many seconds, and wait for what is on its way then."""
    until, looked, in_hand = time.monotonic() + seconds, 0.0, dict[Future[Outcome], Parcel]()
    parcels = dispatch.claim(timezone.now(), dispatch.MOST_IN_HAND)
    if not parcels:
        return
    with sender.Sender(attempt_seconds) as line:
        while parcels or in_hand:
            in_hand |= {line.send(parcel): parcel for parcel in parcels}
            for done in wait(in_hand, LOOK_SECONDS, FIRST_COMPLETED).done:
                dispatch.finish(in_hand.pop(done), done.result(), at=timezone.now())
            parcels, now = [], time.monotonic()
            if now < until and (not in_hand or now - looked > LOOK_SECONDS):
                parcels, looked = dispatch.claim(timezone.now(), dispatch.MOST_IN_HAND - len(in_hand)), now
    if time.monotonic() >= until:
        # There may be more: after what else the worker has to do.
        outbox.wake()


@shared_task
def forget_deliveries(**_: object) -> None:
    """The log of what was sent is kept as long as events are."""
    before = timezone.now() - timedelta(days=settings.EVENT_RETENTION_DAYS)
    for each in each_workspace():
        with tenancy.scope(each.pk):
            each.deliveries.filter(created_at__lt=before).exclude(state="pending").delete()
