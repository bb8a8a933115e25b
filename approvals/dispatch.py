"""Out of the outbox: workers claim what is due under a lease, send it, and write down what came of it.

Two workers never have the same attempt in hand (``SELECT .. FOR UPDATE SKIP LOCKED``). What a killed one had is due again when
the lease is over, and does not count against the eight attempts; the sweep finds it.
"""

import json
import random
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial

from django.conf import settings
from django.core.mail import send_mail
from django.db import connection, transaction
from django.db.models import Q, QuerySet

from approvals import addressees, notices
from approvals.engine import retry, signing
from approvals.models import Attempt, Channel, Delivery
from workspaces import audit, tenancy, vault
from workspaces.models import Workspace
from workspaces.selectors import workspace as workspace_of

#: Longer than an attempt may take, so whoever holds a message longer was killed.
LEASE = timedelta(seconds=45)
#: Parcels that one worker has in hand at a time.
MOST_IN_HAND = 100
#: Attempts are never more than this, however many workers were killed over them.
MOST_ATTEMPTS = 40
MOST_IN_A_DIGEST = 200
#: The receiver says that it is gone for good.
GONE = 410


@dataclass(frozen=True, slots=True)
class Parcel:
    """One thing to send, with all that it takes: nothing of the database is open while it is on its way.

    ``attempts`` are ``(delivery id, attempt number)``: several for a digest. ``url`` is for the webhook and Slack,
    ``recipients`` and ``subject`` are for mail. ``error`` says why it cannot be sent at all.
    """

    workspace_id: int
    channel: str
    attempts: tuple[tuple[int, int], ...]
    body: bytes
    url: str = field(default="", repr=False)
    headers: dict[str, str] = field(default_factory=dict, repr=False)
    recipients: tuple[str, ...] = ()
    subject: str = ""
    error: str = ""
    #: What must not be kept, should the receiver say it.
    secrets: tuple[str, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of an attempt. ``status`` is the receiver's, None when none came; ``error`` is empty when it arrived."""

    status: int | None
    latency_ms: int
    error: str = ""
    excerpt: str = ""


# --- Claiming -------------------------------------------------------------------------------------------------------
def claim(at: datetime, most: int = MOST_IN_HAND) -> list[Parcel]:
    """What is due and in nobody's hand; it is in the caller's hand from now on.

    However many workers there are, ten messages of a workspace are on their way to its webhook at a time, and two while nothing arrives.
    """
    if most <= 0:
        return []
    with connection.cursor() as cursor:
        cursor.execute("SELECT workspace_id, id FROM orca_due_deliveries(%s, %s)", [at, most])
        due: dict[int, list[int]] = defaultdict(list)
        for workspace_id, delivery_id in cursor.fetchall():
            due[workspace_id].append(delivery_id)
    parcels: list[Parcel] = []
    for workspace_id, ids in due.items():
        with tenancy.scope(workspace_id):
            workspace = workspace_of(workspace_id)
            if workspace:
                hidden = tuple(addressees.never_shown(workspace, at))
                parcels += (replace(parcel, secrets=hidden) for parcel in _claim_of(workspace, ids, at))
    return parcels


def _claim_of(workspace: Workspace, ids: list[int], at: datetime) -> Iterator[Parcel]:
    free = workspace.deliveries.filter(state=Delivery.State.PENDING).filter(Q(leased_until=None) | Q(leased_until__lte=at))
    free = free.select_for_update(skip_locked=True).order_by("id")
    mine = list(free.filter(pk__in=ids, due_at__lte=at))
    webhooks = [delivery for delivery in mine if delivery.channel == Channel.WEBHOOK and _is_wanted(delivery, at)]
    for delivery in webhooks:
        yield _webhook(workspace, delivery, _begin(delivery, at), at)
    for channel in {delivery.channel for delivery in mine} - {Channel.WEBHOOK}:
        # All that waits for these people goes along, due or not: that is the digest.
        waiting = [delivery for delivery in free.filter(channel=channel)[:MOST_IN_A_DIGEST] if _is_wanted(delivery, at)]
        if waiting:
            yield _notice(workspace, channel, waiting, tuple((delivery.pk, _begin(delivery, at)) for delivery in waiting), at)


def _is_wanted(delivery: Delivery, at: datetime) -> bool:
    """Whether there is still something to say; if not, it ends here."""
    is_over = delivery.until is not None and delivery.until <= at and not delivery.by_hand
    if is_over or delivery.attempts_made >= MOST_ATTEMPTS:
        delivery.state, delivery.finished_at, delivery.leased_until = (Delivery.State.STOPPED if is_over else Delivery.State.FAILED), at, None
        delivery.save(update_fields=["state", "finished_at", "leased_until"])
        return False
    return True


def _begin(delivery: Delivery, at: datetime) -> int:
    """Take a message in hand; the number of its attempt."""
    was_interrupted = delivery.leased_until is not None
    delivery.attempts_made += 1
    delivery.attempts_left -= 0 if was_interrupted else 1
    delivery.leased_until, delivery.by_hand = at + LEASE, False
    delivery.save(update_fields=["attempts_made", "attempts_left", "leased_until", "by_hand"])
    delivery.attempts.create(workspace_id=delivery.workspace_id, number=delivery.attempts_made, started_at=at)
    return delivery.attempts_made


def _webhook(workspace: Workspace, delivery: Delivery, number: int, at: datetime) -> Parcel:
    endpoint = addressees.endpoint_of(workspace)
    body, error = delivery.body.encode(), "" if endpoint.url else "There is no webhook address any more."
    try:
        secrets = addressees.secrets_of(endpoint, at)
    except vault.SealBroken:
        secrets, error = [], "The stored secret does not open: set it again."
    headers = signing.headers(secrets, event=delivery.event, message_id=delivery.message_id, timestamp=int(at.timestamp()), body=body)
    return Parcel(workspace.pk, Channel.WEBHOOK, ((delivery.pk, number),), body, endpoint.url, headers, error=error)


def _notice(workspace: Workspace, channel: str, waiting: list[Delivery], attempts: tuple[tuple[int, int], ...], at: datetime) -> Parcel:
    holds = [(delivery.approval_id, json.loads(delivery.body)) for delivery in waiting]
    said = notices.of_holds(workspace, holds, at=at)
    if channel == Channel.EMAIL:
        recipients = tuple(addressees.people_for(workspace, {summary["policy_id"] for _, summary in holds}))
        error = "" if recipients else "There is nobody to write to."
        return Parcel(workspace.pk, channel, attempts, said.text.encode(), recipients=recipients, subject=said.subject, error=error)
    try:
        url, error = addressees.slack_url(workspace), ""
    except vault.SealBroken:
        url, error = "", "The stored address does not open: set it again."
    return Parcel(workspace.pk, channel, attempts, said.slack, url, error=error if url or error else "There is no address any more.")


# --- Finishing ------------------------------------------------------------------------------------------------------
def finish(parcel: Parcel, outcome: Outcome, *, at: datetime) -> None:
    """Write down what came of a parcel, and when to try again; a worker that comes too late changes nothing but its own attempt."""
    with tenancy.scope(parcel.workspace_id):
        workspace = workspace_of(parcel.workspace_id)
        if workspace is None:
            return
        numbers = dict(parcel.attempts)
        attempts = Attempt.objects.filter(workspace=workspace, finished_at=None)
        for delivery in workspace.deliveries.select_for_update().filter(pk__in=numbers).order_by("id"):
            number = numbers[delivery.pk]
            result = {"status": outcome.status, "latency_ms": outcome.latency_ms, "error": outcome.error[:200], "excerpt": outcome.excerpt[:500]}
            attempts.filter(delivery=delivery, number=number).update(finished_at=at, **result)
            if delivery.attempts_made == number and delivery.state in (Delivery.State.PENDING, Delivery.State.STOPPED):
                _settle(delivery, outcome, at)
        if parcel.channel == Channel.WEBHOOK:
            _judge_endpoint(workspace, outcome, workspace.deliveries.filter(pk__in=numbers), at)


def _settle(delivery: Delivery, outcome: Outcome, at: datetime) -> None:
    delivery.leased_until = None
    if not outcome.error:
        delivery.state, delivery.finished_at = Delivery.State.DELIVERED, at
    elif delivery.state == Delivery.State.PENDING and not delivery.by_hand:
        wait = retry.wait_seconds(retry.MAX_ATTEMPTS - delivery.attempts_left, random.random()) if delivery.attempts_left else None  # noqa: S311 - jitter
        if wait is None:
            delivery.state, delivery.finished_at = Delivery.State.FAILED, at
        else:
            delivery.due_at = at + timedelta(seconds=wait)
    delivery.save(update_fields=["leased_until", "state", "finished_at", "due_at"])


def _judge_endpoint(workspace: Workspace, outcome: Outcome, deliveries: QuerySet[Delivery], at: datetime) -> None:
    """Remember since when nothing arrives; pause a receiver that let a message fail eight times with nothing else arriving, or is gone."""
    mine, endpoint = addressees.endpoints(workspace), addressees.endpoint_of(workspace)
    if not outcome.error:
        mine.exclude(failing_since=None, paused_at=None).update(failing_since=None, paused_at=None)
        return
    since = endpoint.failing_since or at
    mine.filter(failing_since=None).update(failing_since=at)
    gave_up = deliveries.filter(state=Delivery.State.FAILED, attempts_made__gte=retry.MAX_ATTEMPTS, created_at__gte=since - LEASE).exists()
    if not (gave_up or outcome.status == GONE) or not mine.filter(paused_at=None).exclude(url="").update(paused_at=at):
        return
    why = "It answered that it is gone." if outcome.status == GONE else f"Nothing has arrived since {since:%Y-%m-%d %H:%M} UTC."
    audit.record(workspace=workspace, actor=None, action="approval_webhook_pause", target=endpoint, at=at, payload={"why": why})
    transaction.on_commit(partial(_tell_of_pause, notices.of_pause(workspace, why), addressees.admins(workspace)), robust=True)


def _tell_of_pause(notice: notices.Notice, people: list[str]) -> None:
    for address in people:
        send_mail(notice.subject, notice.text, settings.DEFAULT_FROM_EMAIL, [address], fail_silently=True)
