"""The outbox: what is written with a hold is sent at least once, by one worker at a time, until it has arrived or is no longer needed."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from types import SimpleNamespace

import pytest
from django.db import connection, transaction
from django.utils import timezone
from standardwebhooks import Webhook

from approvals import addressees, dispatch, outbox, sender, tasks
from approvals.models import Delivery
from approvals.outbox import HoldEvent
from tests.approvals.conftest import Hold, claim, work
from tests.factories.workspaces import make_tenant
from tests.receiver import SECRET, Receiver, listening
from workspaces import errors, tenancy, vault
from workspaces.permissions import Role

CANARY = "whsec_Q0FOQVJZLWNhbmFyeS1DQU5BUlktY2FuYXJ5"


def point(workspace, url, *, secret=SECRET, former="", until=None):
    """Give a workspace this webhook."""

    def sealed(text):
        return vault.seal(text, workspace_id=workspace.pk, purpose=addressees.SECRET_SEAL) if text else None

    fields = {"url": url, "secret_sealed": sealed(secret), "former_secret_sealed": sealed(former), "former_secret_until": until}
    with tenancy.scope(workspace.pk):
        addressees.endpoints(workspace).delete()
        type(addressees.endpoint_of(workspace))(workspace=workspace, **fields).save(force_insert=True)


@pytest.fixture
def site(db, loopback, receiver):
    """A workspace whose webhook is the receiver; uncommitted, so that no worker of the product's sends for it."""
    tenant = make_tenant()
    point(tenant.workspace, receiver.url)
    return tenant


def tell(tenant, event=HoldEvent.PENDING, at=None, **fields):
    with tenancy.scope(tenant.workspace.pk):
        outbox.enqueue([Hold(tenant.workspace, **fields)], event=event, at=at or timezone.now())


def deliveries(tenant, **filters):
    with tenancy.scope(tenant.workspace.pk):
        return list(tenant.workspace.deliveries.filter(**filters).order_by("id"))


def attempts(tenant):
    with tenancy.scope(tenant.workspace.pk):
        return list(tenant.workspace.delivery_attempts.order_by("id"))


def endpoint(tenant):
    with tenancy.scope(tenant.workspace.pk):
        return addressees.endpoint_of(tenant.workspace)


def test_a_pending_hold_is_told_as_documented_and_the_library_reads_it(site, receiver):
    # Not in the future, whatever the fraction of this second is.
    at = (timezone.now() - timedelta(seconds=1)).replace(microsecond=123456)
    tell(site, at=at)
    tasks.send_due(later_argument=1)
    (got,) = receiver.received
    assert Webhook(SECRET).verify(got.body, got.headers) == got.json
    assert got.json == {
        "event": "firewall.approval.pending",
        "workspace_id": site.workspace.pk,
        "occurred_at": f"{at:%Y-%m-%dT%H:%M:%S}.123456000Z",
        "data": {
            "approval_id": "0123456789abcdef01234567",
            "tool_name": "payments.transfer",
            "request_id": "req_1",
            "conversation_id": "conv-1",
            "policy_id": 7,
            "rule_id": 9,
        },
    }
    assert (got.headers["x-orca-event"], got.headers["content-type"]) == ("firewall.approval.pending", "application/json")
    assert got.headers["x-orca-signature"].startswith("sha256=")
    (sent,), (attempt,) = deliveries(site), attempts(site)
    assert (sent.state, sent.message_id) == ("delivered", got.headers["webhook-id"])
    assert (attempt.number, attempt.status, attempt.error) == (1, 200, "")
    assert attempt.latency_ms is not None


def test_nothing_is_written_without_an_address_nor_when_the_change_is_rolled_back(site, receiver):
    with transaction.atomic():
        tell(site)
        transaction.set_rollback(True)
    point(site.workspace, "")
    tell(site)
    assert deliveries(site) == []


def test_a_receiver_that_is_down_is_tried_again_later_under_the_same_id(site, receiver):
    receiver.answers, receiver.said = [500, 503], b"busy: key sk-orca-" + b"x" * 48
    start = timezone.now()
    tell(site, at=start)
    assert work(site, start) == 1
    assert work(site, start + timedelta(seconds=3)) == 0
    assert work(site, start + timedelta(seconds=7)) == 1
    assert work(site, start + timedelta(seconds=60)) == 1
    ids = {got.headers["webhook-id"] for got in receiver.received}
    assert (len(receiver.received), len(ids), len({got.body for got in receiver.received})) == (3, 1, 1)
    assert [(each.number, each.status) for each in attempts(site)] == [(1, 500), (2, 503), (3, 200)]
    assert attempts(site)[0].excerpt.startswith("busy: key")
    assert "x" * 48 not in attempts(site)[0].excerpt
    assert deliveries(site)[0].state == "delivered"
    assert endpoint(site).failing_since is None


def test_after_eight_attempts_it_is_given_up_and_the_endpoint_pauses_with_a_notice(site, receiver, mailoutbox, django_capture_on_commit_callbacks):
    receiver.answers = [500] * 8
    at = start = timezone.now()
    tell(site, event=HoldEvent.REJECTED, at=at)
    with django_capture_on_commit_callbacks(execute=True):
        for _ in range(40):
            work(site, at)
            at += timedelta(minutes=15)
    assert (len(receiver.received), deliveries(site)[0].state) == (8, "failed")
    assert endpoint(site).paused_at is not None
    with tenancy.scope(site.workspace.pk):
        noted = site.workspace.audit_entries.get(action="approval_webhook_pause")
    assert noted.actor_label == "system"
    assert {mail.to[0] for mail in mailoutbox} == {site.person(Role.OWNER).email, site.person(Role.ADMIN).email}
    tell(site, at=at, id="1" * 24)
    assert work(site, at) == 0
    assert deliveries(site)[1].state == "pending"
    assert (deliveries(site)[0].finished_at - start) > timedelta(hours=4)


def test_a_receiver_that_is_gone_for_good_is_paused_at_once(site, receiver):
    receiver.answers = [410]
    tell(site)
    work(site)
    assert endpoint(site).paused_at is not None


def test_what_asks_for_a_decision_stops_when_there_is_one_or_the_hold_is_over(site, receiver):
    receiver.answers = [500, 500]
    at = timezone.now()
    tell(site, at=at)
    tell(site, at=at, id="1" * 24, expires_at=at + timedelta(seconds=30))
    work(site, at)
    tell(site, event=HoldEvent.APPROVED, at=at, resolved_by_label="ann@acme.example", reason="known payee")
    work(site, at + timedelta(minutes=5))
    assert [each.state for each in deliveries(site)] == ["stopped", "stopped", "delivered"]
    assert len(receiver.received) == 3
    assert receiver.received[-1].json["data"] | {"resolved_by": "ann@acme.example", "reason": "known payee"} == receiver.received[-1].json["data"]


def test_what_a_killed_worker_had_in_hand_is_sent_by_another_and_does_not_count(site, receiver):
    at = timezone.now()
    tell(site, at=at)
    assert len(claim(site, at)) == 1
    assert claim(site, at + timedelta(seconds=20)) == []
    assert work(site, at + timedelta(seconds=50)) == 1
    (sent,) = deliveries(site)
    assert (sent.state, sent.attempts_made, sent.attempts_left) == ("delivered", 2, 7)
    assert attempts(site)[0].finished_at is None


def test_a_worker_that_comes_too_late_undoes_nothing(site, receiver):
    at = timezone.now()
    tell(site, at=at)
    (late,) = claim(site, at)
    work(site, at + timedelta(seconds=50))
    dispatch.finish(late, dispatch.Outcome(500, 1, "The receiver answered 500."), at=at + timedelta(seconds=60))
    assert deliveries(site)[0].state == "delivered"
    assert [each.status for each in attempts(site)] == [500, 200]


def test_workers_at_once_never_have_the_same_message_in_hand(committed, loopback, receiver):
    site = make_tenant()
    point(site.workspace, receiver.url)
    for number in range(30):
        tell(site, id=f"{number:024x}")

    def run(_):
        try:
            while work(site):
                pass
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(run, range(4)))
    ids = [got.headers["webhook-id"] for got in receiver.wait_for(30)]
    assert len(set(ids)) == len(ids) == 30


def over_when_finished(monkeypatch, count: int, *, slow: Receiver, seconds: float) -> None:
    """So many seconds pass for the task and what it sends once it has finished with so many, and ten wait: however busy the machine is, not before."""
    ahead, finished, finish, loops = [0.0], [], dispatch.finish, []

    class Sender(sender.Sender):
        def __init__(self, attempt_seconds: float) -> None:
            super().__init__(attempt_seconds)
            self._loop.time = clock  # type: ignore[method-assign]
            loops.append(self._loop)

    def clock() -> float:
        return time.monotonic() + ahead[0]

    def finished_with(parcel, *arguments, **options) -> None:
        finish(parcel, *arguments, **options)
        finished.append(parcel)
        if len(finished) == count:
            slow.wait_for(10)
            ahead[0] = seconds
            loops[0].call_soon_threadsafe(int)  # it looks at its clock

    monkeypatch.setattr(dispatch, "finish", finished_with)
    monkeypatch.setattr(sender, "Sender", Sender)
    monkeypatch.setattr(tasks, "time", SimpleNamespace(monotonic=clock))


def test_a_slow_receiver_keeps_no_other_waiting_and_gets_few_at_a_time(site, receiver, monkeypatch):
    other = make_tenant()
    with listening() as fast:
        point(other.workspace, fast.url)
        tell(other, id="f" * 24)
        assert work(other) == 1
        for number in range(30):
            tell(site, id=f"{number:024x}")
        for number in range(12):
            tell(other, id=f"{number:024x}")
        receiver.gate.clear()
        with monkeypatch.context() as moved:
            over_when_finished(moved, 12, slow=receiver, seconds=60)
            tasks.send_for(59, attempt_seconds=60)
        assert len(fast.received) == 13
    slow = attempts(site)
    assert [each.error for each in slow] == ["No answer within 60 seconds."] * 10
    assert max(each.finished_at for each in attempts(other)) < min(each.finished_at for each in slow)
    # Nothing has arrived there since: it is given two at a time, by however many workers.
    soon = timezone.now() + timedelta(seconds=1)
    assert (len(claim(site, soon)), len(claim(site, soon))) == (2, 0)
    receiver.gate.set()
    work(site, soon + dispatch.LEASE)
    assert (len(receiver.received), endpoint(site).failing_since) == (12, None)
    assert len(claim(site, soon + dispatch.LEASE)) == 10


def test_a_person_who_tests_a_failing_webhook_does_not_wait_for_what_is_queued(site, receiver):
    receiver.answers = [500]
    start = timezone.now()
    tell(site, at=start)
    work(site, start)
    for number in range(5):
        tell(site, at=start, id=f"{number:024x}")
    with tenancy.scope(site.workspace.pk):
        outbox.enqueue_test(site.workspace, actor=site.person(Role.ADMIN), at=start)
    assert "firewall.approval.test" in [parcel.headers["X-Orca-Event"] for parcel in claim(site, start)]


def test_during_a_rotation_both_secrets_open_the_message(site, receiver):
    point(site.workspace, receiver.url, former=CANARY, until=timezone.now() + timedelta(hours=1))
    tell(site)
    work(site)
    for secret in (SECRET, CANARY):
        Webhook(secret).verify(receiver.received[0].body, receiver.received[0].headers)
    point(site.workspace, receiver.url, former=CANARY, until=timezone.now() - timedelta(seconds=1))
    tell(site)
    work(site)
    assert len(receiver.received[1].headers["webhook-signature"].split()) == 1


@pytest.mark.parametrize(
    ("answer", "headers", "told"),
    [(302, {"Location": "http://169.254.169.254/"}, "redirects"), (404, {}, "answered 404")],
)
def test_a_redirect_is_not_followed_and_an_error_is_kept_in_words(site, receiver, answer, headers, told):
    receiver.answers, receiver.headers = [answer], headers
    tell(site)
    work(site)
    assert told in attempts(site)[0].error
    assert (len(receiver.received), attempts(site)[0].status) == (1, answer)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.77:{port}/hook", "https://localhost:{port}/hook", "https://[::ffff:127.0.0.77]:{port}/", "https://169.254.169.254/"]
)
def test_an_address_is_judged_again_when_it_is_dialled(site, receiver, loopback, url):
    loopback.ALLOWED_PRIVATE_HOSTS = []
    point(site.workspace, url.format(port=receiver.server.server_address[1]))
    tell(site)
    work(site)
    assert (receiver.received, attempts(site)[0].status) == ([], None)
    assert attempts(site)[0].error
    assert "127.0.0" not in attempts(site)[0].error


def test_a_test_message_and_a_repetition_go_out_although_the_webhook_is_paused(site, receiver):
    with tenancy.scope(site.workspace.pk):
        addressees.endpoints(site.workspace).update(paused_at=timezone.now())
        outbox.enqueue_test(site.workspace, actor=site.person(Role.ADMIN), at=timezone.now())
    work(site)
    assert (receiver.received[0].json["event"], endpoint(site).paused_at) == ("firewall.approval.test", None)
    (sent,) = deliveries(site)
    with tenancy.scope(site.workspace.pk):
        outbox.resend(sent, actor=site.person(Role.ADMIN), at=timezone.now())
    work(site)
    assert receiver.received[0].headers["webhook-id"] == receiver.received[1].headers["webhook-id"]
    assert [each.number for each in attempts(site)] == [1, 2]


def test_people_send_so_many_messages_by_hand_and_no_more(site):
    with tenancy.scope(site.workspace.pk):
        for _ in range(outbox.ASKED_A_MINUTE):
            outbox.enqueue_test(site.workspace, actor=site.person(Role.ADMIN), at=timezone.now())
        with pytest.raises(errors.RateLimited):
            outbox.enqueue_test(site.workspace, actor=site.person(Role.ADMIN), at=timezone.now())
    point(site.workspace, "")
    with tenancy.scope(site.workspace.pk), pytest.raises(errors.Conflict):
        outbox.enqueue_test(site.workspace, actor=site.person(Role.ADMIN), at=timezone.now())


def test_the_secret_is_nowhere_in_clear(site, receiver, caplog):
    point(site.workspace, receiver.url, secret=CANARY)
    receiver.answers, receiver.said = [500], CANARY.encode()
    tell(site)
    with caplog.at_level("DEBUG"):
        work(site)
    parcel = claim(site, timezone.now() + timedelta(hours=1))[0]
    assert CANARY not in caplog.text + repr(parcel) + json.dumps([each.body for each in deliveries(site)])
    with connection.cursor() as cursor, tenancy.scope(site.workspace.pk):
        cursor.execute(
            "SELECT coalesce(string_agg(e::text, ''), '') || (SELECT string_agg(a::text, '') FROM approvals_attempt a) FROM approvals_webhookendpoint e"
        )
        assert CANARY not in cursor.fetchone()[0]


def test_old_deliveries_are_forgotten_and_what_waits_is_not(site, settings):
    long_ago = timezone.now() - timedelta(days=settings.EVENT_RETENTION_DAYS + 1)
    tell(site, at=long_ago)
    tell(site, at=long_ago, id="1" * 24)
    with tenancy.scope(site.workspace.pk):
        site.workspace.deliveries.filter(approval_id="1" * 24).update(state=Delivery.State.DELIVERED)
    tasks.forget_deliveries()
    assert [each.state for each in deliveries(site)] == ["pending"]
