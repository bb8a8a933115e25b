"""The outbox: what is to be told of a hold is written in the transaction that changes the hold, and sent by a worker afterwards.

A message is sent at least once, under an id that stays the same (``dispatch``). Source: spec/firewall.md 5.5, spec/decisions.md 7.5.
"""

import json
import secrets
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Protocol

import kombu.exceptions
import redis
from celery import current_app
from django.conf import settings as django_settings
from django.db import transaction
from django.db.models import QuerySet

from approvals import addressees, selectors
from approvals.engine import retry
from approvals.models import Channel, Delivery
from workspaces import audit, errors
from workspaces.models import User, Workspace
from workspaces.times import rfc3339

#: Notices to people: holds that come together are told together, and the next ones after a while, in one.
COLLECT = timedelta(seconds=10)
DIGEST_EVERY = timedelta(minutes=5)
#: Seconds after which a hint is none any more: many of them must not keep a worker busy.
HINT_SECONDS = 10
#: Messages that people may ask for, a workspace and minute.
ASKED_A_MINUTE = 20


class HoldEvent(StrEnum):
    """What happened to a hold; the envelope is the same for all."""

    PENDING = "firewall.approval.pending"
    APPROVED = "firewall.approval.approved"
    REJECTED = "firewall.approval.rejected"
    EXPIRED = "firewall.approval.expired"


TEST_EVENT = "firewall.approval.test"


class Held(Protocol):
    """What a message says of a hold. Times are aware; ``resolved_by_label`` is a person's address or what a callback gave."""

    id: str
    workspace: Workspace
    tool_name: str
    request_id: str
    conversation_id: str | None
    policy_id: int
    rule_id: int
    token_name: str
    held_because: str
    expires_at: datetime
    resolved_by_label: str
    reason: str


# --- Writing --------------------------------------------------------------------------------------------------------
def enqueue(holds: Sequence[Held], *, event: HoldEvent, at: datetime) -> None:
    """Tell the workspace's webhook, and its people of new holds; call it in the transaction of the change, which is the same for all.

    What still asks for a decision on a hold that has one is stopped.
    """
    workspace = holds[0].workspace
    if event is not HoldEvent.PENDING:
        _stop(workspace.deliveries.filter(approval_id__in=[hold.id for hold in holds], event=HoldEvent.PENDING), at=at)
    made: list[Delivery] = []
    if addressees.endpoint_of(workspace).url:
        made += [_told_webhook(hold, event, at) for hold in holds]
    if event is HoldEvent.PENDING:
        for channel in _channels_to_people(workspace):
            due_at = _digest_time(workspace, channel, at)
            made += [_made(workspace, channel, event, json.dumps(_summary(hold)), hold=hold, due_at=due_at, at=at) for hold in holds]
    workspace.deliveries.bulk_create(made)
    if made:
        hint()


def _told_webhook(hold: Held, event: HoldEvent, at: datetime) -> Delivery:
    body = _envelope(hold.workspace, event, hold_data(hold, event), at=at)
    return _made(hold.workspace, Channel.WEBHOOK, event, body, hold=hold, due_at=at, at=at)


def _channels_to_people(workspace: Workspace) -> list[Channel]:
    settings = selectors.settings_of(workspace)
    writes = django_settings.SENDS_MAIL and (settings.notify_reviewers or settings.notify_emails)
    return [channel for channel, is_wanted in ((Channel.EMAIL, writes), (Channel.SLACK, settings.slack_url_sealed)) if is_wanted]


def _summary(hold: Held) -> dict[str, object]:
    """What a notice to people says of a hold."""
    return {
        "tool_name": hold.tool_name,
        "token_name": hold.token_name,
        "because": hold.held_because,
        "policy_id": hold.policy_id,
        "expires_at": rfc3339(hold.expires_at),
    }


def hold_data(hold: Held, event: HoldEvent) -> dict[str, object]:
    """``data`` of a message: as documented for a pending hold, and who decided what for one that is resolved. No arguments."""
    told: dict[str, object] = {
        "approval_id": hold.id,
        "tool_name": hold.tool_name,
        "request_id": hold.request_id,
        "conversation_id": hold.conversation_id or "",
        "policy_id": hold.policy_id,
        "rule_id": hold.rule_id,
    }
    if event in (HoldEvent.APPROVED, HoldEvent.REJECTED):
        told |= {"resolved_by": hold.resolved_by_label, "reason": hold.reason}
    return told


def enqueue_test(workspace: Workspace, *, actor: User, at: datetime) -> Delivery:
    """Send one test message to the webhook, although it may be paused. Raises ``Conflict`` without an address, ``RateLimited``."""
    if not addressees.endpoint_of(workspace).url:
        raise errors.Conflict("There is no webhook address to send a test to.")
    _count_asked(workspace, at)
    told = {"approval_id": "0" * 24, "tool_name": "orcarouter.test", "request_id": "", "conversation_id": "", "policy_id": 0, "rule_id": 0}
    made = _made(workspace, Channel.WEBHOOK, TEST_EVENT, _envelope(workspace, TEST_EVENT, told, at=at), due_at=at, at=at, attempts=1, by_hand=True)
    made.save(force_insert=True)
    hint()
    audit.record(workspace=workspace, actor=actor, action="approval_webhook_test", target=made, at=at)
    return made


def resend(delivery: Delivery, *, actor: User, at: datetime) -> None:
    """Send a message once more, under its id, whatever became of it. Raises ``Conflict``, ``RateLimited``."""
    workspace = delivery.workspace
    if delivery.channel != Channel.WEBHOOK:
        raise errors.Conflict("Notices to people are not sent again.")
    if not addressees.endpoint_of(workspace).url:
        raise errors.Conflict("There is no webhook address to send this to.")
    _count_asked(workspace, at)
    held = workspace.deliveries.select_for_update().get(pk=delivery.pk)
    held.attempts_left = max(held.attempts_left, 1) if held.state == Delivery.State.PENDING else 1
    held.state, held.due_at, held.by_hand, held.finished_at = Delivery.State.PENDING, at, True, None
    held.save(update_fields=["attempts_left", "state", "due_at", "by_hand", "finished_at"])
    audit.record(workspace=workspace, actor=actor, action="approval_webhook_resend", target=held, at=at, target_label=held.event)
    hint()


def stop_webhook(workspace: Workspace, *, at: datetime) -> None:
    """Nothing more goes to a webhook that was taken away."""
    _stop(workspace.deliveries.filter(channel=Channel.WEBHOOK), at=at)


def hint() -> None:
    """Wake a worker once this transaction is committed. Lost or refused, the sweep finds the rows."""
    transaction.on_commit(wake, robust=True)


def wake() -> None:
    """Ask a worker to send what is due. A message that is old when a worker comes by it is dropped: the sweep was there before."""
    try:
        current_app.send_task("approvals.tasks.send_due", ignore_result=True, retry=False, expires=HINT_SECONDS)
    except (kombu.exceptions.OperationalError, redis.RedisError):
        return


def _made(
    workspace: Workspace,
    channel: Channel,
    event: str,
    body: str,
    *,
    due_at: datetime,
    at: datetime,
    hold: Held | None = None,
    attempts: int = retry.MAX_ATTEMPTS,
    by_hand: bool = False,
) -> Delivery:
    return Delivery(
        workspace=workspace,
        channel=channel,
        message_id=f"msg_{secrets.token_hex(12)}",
        event=event,
        approval_id=hold.id if hold else "",
        body=body,
        created_at=at,
        attempts_left=attempts,
        due_at=due_at,
        by_hand=by_hand,
        until=hold.expires_at if hold and event == HoldEvent.PENDING else None,
    )


def _envelope(workspace: Workspace, event: str, told: Mapping[str, object], *, at: datetime) -> str:
    """The documented body; PostgreSQL's clock has no nanoseconds, so the last three digits are noughts."""
    moment = f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}000Z"
    return json.dumps({"event": event, "workspace_id": workspace.pk, "occurred_at": moment, "data": told}, separators=(",", ":"))


def _digest_time(workspace: Workspace, channel: Channel, at: datetime) -> datetime:
    """Together with what waits already; else soon, but not within ``DIGEST_EVERY`` of the notice before."""
    last = workspace.deliveries.filter(channel=channel).order_by("-id").first()
    if last is None:
        return at + COLLECT
    if last.state == Delivery.State.PENDING and last.leased_until is None:
        return last.due_at
    # One that is on its way just now takes this along, should it not arrive.
    told_at = at if last.state == Delivery.State.PENDING else last.finished_at or last.created_at
    return max(at + COLLECT, told_at + DIGEST_EVERY)


def _count_asked(workspace: Workspace, at: datetime) -> None:
    # Each leaves an audit entry: counted in PostgreSQL, with Valkey away as well.
    asked = workspace.audit_entries.filter(action__in=("approval_webhook_test", "approval_webhook_resend"), at__gt=at - timedelta(minutes=1))
    if asked.count() >= ASKED_A_MINUTE:
        raise errors.RateLimited(f"At most {ASKED_A_MINUTE} messages a minute are sent by hand.")


def _stop(deliveries: QuerySet[Delivery], *, at: datetime) -> None:
    deliveries.filter(state=Delivery.State.PENDING).update(state=Delivery.State.STOPPED, finished_at=at, leased_until=None)
