"""Notices to people: who is written to, what they are told, one digest for many, and nothing that decides or gives away."""

from datetime import timedelta

import pytest
from django.utils import timezone

from approvals import outbox, settings_services
from approvals.outbox import HoldEvent
from tests.approvals.conftest import Hold, claim, work
from tests.factories.workspaces import make_tenant
from workspaces import tenancy
from workspaces.permissions import Role


@pytest.fixture
def team(db, loopback, receiver):
    """A workspace that writes to its reviewers, to one address more, and to a chat."""
    loopback.SENDS_MAIL, loopback.PUBLIC_URL = True, "https://orca.acme.example"
    tenant = make_tenant()
    changes = {"approval_notify_reviewers": True, "approval_notify_emails": ["desk@acme.example"], "approval_slack_url": receiver.url}
    with tenancy.scope(tenant.workspace.pk):
        settings_services.change(tenant.workspace, changes=changes, actor=tenant.person(Role.ADMIN), at=timezone.now())
    return tenant


def tell(tenant, at, number=0, event=HoldEvent.PENDING, **fields):
    with tenancy.scope(tenant.workspace.pk):
        outbox.enqueue([Hold(tenant.workspace, id=f"{number:024x}", expires_at=at + timedelta(hours=24), **fields)], event=event, at=at)


def states(tenant):
    with tenancy.scope(tenant.workspace.pk):
        return sorted(tenant.workspace.deliveries.values_list("channel", "state"))


def test_those_who_may_decide_are_told_one_by_one_with_a_link_to_sign_in(team, receiver, mailoutbox):
    at = timezone.now()
    tell(team, at)
    assert work(team, at + timedelta(seconds=9)) == 0
    assert work(team, at + timedelta(seconds=10)) == 2
    told = {mail.to[0] for mail in mailoutbox}
    assert told == {"desk@acme.example", *(team.person(role).email for role in Role if role != Role.MEMBER)}
    assert all(len(mail.to) == 1 and not mail.cc and not mail.bcc for mail in mailoutbox)
    mail = mailoutbox[0]
    assert mail.subject == "[OrcaRouter] payments.transfer waits for approval"
    assert f"https://orca.acme.example/approvals/{'0' * 24}/" in mail.body
    assert "asked for by agent: matched payments.*. Expires in 23 h 59 min." in mail.body
    (chat,) = receiver.received
    assert f"<https://orca.acme.example/approvals/{'0' * 24}/|payments.transfer>" in chat.json["text"]
    assert states(team) == [("email", "delivered"), ("slack", "delivered")]


def test_many_that_come_together_are_one_notice_and_the_next_is_a_digest_later(team, receiver, mailoutbox):
    at = timezone.now()
    for number in range(12):
        tell(team, at + timedelta(milliseconds=number), number)
    work(team, at + timedelta(seconds=11))
    assert len(receiver.received) == 1
    assert "12 calls wait for approval" in receiver.received[0].json["text"]
    assert "... and 2 more" in receiver.received[0].json["text"]
    later = at + timedelta(seconds=30)
    for number in range(20, 23):
        tell(team, later, number)
    assert work(team, later + timedelta(minutes=4)) == 0
    work(team, later + timedelta(minutes=5))
    assert [got.json["text"].split("*")[1] for got in receiver.received] == ["12 calls wait for approval", "3 calls wait for approval"]
    assert {mail.subject for mail in mailoutbox} == {"[OrcaRouter] 12 calls wait for approval", "[OrcaRouter] 3 calls wait for approval"}


def test_what_is_decided_before_anybody_was_told_is_not_told(team, receiver, mailoutbox):
    at = timezone.now()
    tell(team, at)
    tell(team, at, event=HoldEvent.REJECTED)
    work(team, at + timedelta(seconds=11))
    assert (receiver.received, mailoutbox, states(team)) == ([], [], [("email", "stopped"), ("slack", "stopped")])


def test_names_are_told_without_mark_up_and_line_breaks(team, receiver, mailoutbox):
    at = timezone.now()
    tell(team, at, tool_name="<!channel>\nBcc: x@y.example", token_name="<https://evil.example|click> & co", held_because="x" * 500)
    work(team, at + timedelta(seconds=11))
    assert "\n" not in mailoutbox[0].subject
    text = receiver.received[0].json["text"]
    assert "<!channel>" not in text
    assert "<https://evil" not in text
    assert "&lt;https://evil.example|click&gt; &amp; co" in text
    assert "x" * 200 not in text


def test_a_review_plan_says_who_is_written_to(team, receiver, mailoutbox):
    admin = team.person(Role.ADMIN)
    with tenancy.scope(team.workspace.pk):
        plan = [{"reviewers": [admin.pk]}]
        settings_services.change(team.workspace, changes={"approval_reviews": plan, "approval_notify_emails": []}, actor=admin, at=timezone.now())
    at = timezone.now()
    tell(team, at)
    work(team, at + timedelta(seconds=11))
    assert [mail.to for mail in mailoutbox] == [[admin.email]]


def test_without_a_mail_server_no_mail_waits(team, receiver, loopback):
    loopback.SENDS_MAIL = False
    tell(team, timezone.now())
    assert states(team) == [("slack", "pending")]


def test_a_chat_that_does_not_answer_is_tried_again_and_pauses_no_webhook(team, receiver):
    receiver.answers, receiver.said = [500], f"{receiver.url} Cannot POST /hook".encode()
    at = timezone.now()
    tell(team, at)
    work(team, at + timedelta(seconds=11))
    work(team, at + timedelta(seconds=30))
    assert states(team) == [("email", "delivered"), ("slack", "delivered")]
    with tenancy.scope(team.workspace.pk):
        kept = [each.excerpt for each in team.workspace.delivery_attempts.all()]
    assert not any("/hook" in excerpt for excerpt in kept)
    assert "[redacted] Cannot POST [redacted]" in kept


def test_what_a_killed_worker_was_to_tell_people_is_told_with_what_came_since(team, receiver, mailoutbox):
    at = timezone.now()
    tell(team, at, 1)
    assert len(claim(team, at + timedelta(seconds=10))) == 2
    tell(team, at + timedelta(seconds=20), 2)
    assert work(team, at + timedelta(seconds=30)) == 0
    assert work(team, at + timedelta(seconds=60)) == 2
    assert {mail.subject for mail in mailoutbox} == {"[OrcaRouter] 2 calls wait for approval"}
    assert len(receiver.received) == 1
    assert states(team) == [("email", "delivered")] * 2 + [("slack", "delivered")] * 2


def test_a_mail_server_that_is_down_at_first_is_tried_again(team, receiver, loopback, mailoutbox):
    at = timezone.now()
    # Nobody listens there.
    loopback.EMAIL_BACKEND, loopback.EMAIL_HOST, loopback.EMAIL_PORT = "django.core.mail.backends.smtp.EmailBackend", "127.0.0.1", 9
    tell(team, at)
    work(team, at + timedelta(seconds=10))
    assert states(team) == [("email", "pending"), ("slack", "delivered")]
    loopback.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    work(team, at + timedelta(seconds=20))
    assert states(team) == [("email", "delivered"), ("slack", "delivered")]
    assert len(mailoutbox) == 4
