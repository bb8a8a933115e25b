"""What keys do later: telling of a reveal, keeping the last use; and that no secret is anywhere in clear."""

from datetime import timedelta

import pytest
from celery.signals import before_task_publish
from django.conf import settings
from django.core import mail
from django.db import connection
from django.utils import timezone

from keys import services, tasks
from keys.selectors import KeyUse, last_used, spend_by_hour, uses_of
from tests.factories.activity import LedgerFactory, UsageFactory
from tests.factories.firewall import EventFactory
from tests.factories.keys import make_key, make_provider
from workspaces import tenancy
from workspaces.permissions import Role


def test_the_maker_of_a_key_is_told_who_revealed_it(acme):
    key, plaintext = make_key(acme, name="agent")
    tasks.tell_of_reveal(workspace_id=acme.workspace.pk, key_id=key.pk, revealed_by="admin@acme.example", at=timezone.now().isoformat(), later_argument=1)
    (sent,) = mail.outbox
    assert sent.to == [acme.person(Role.DEVELOPER).email]
    assert "admin@acme.example revealed the key agent" in sent.body
    assert plaintext not in sent.body


def test_no_name_keeps_its_maker_from_being_told(acme):
    key, _ = make_key(acme, name="agent\nBcc: me@evil.example\r\u2028")
    tasks.tell_of_reveal(workspace_id=acme.workspace.pk, key_id=key.pk, revealed_by="admin@acme.example", at=timezone.now().isoformat())
    (sent,) = mail.outbox
    assert sent.subject == "The key agent Bcc: me@evil.example   was revealed"
    assert len(sent.body.splitlines()) == 3


def test_a_key_that_is_gone_tells_nobody(acme):
    tasks.tell_of_reveal(workspace_id=acme.workspace.pk, key_id=1, revealed_by="x", at=timezone.now().isoformat())
    assert mail.outbox == []


def test_a_reveal_leaves_a_task_that_names_the_key_and_holds_no_secret(acme, django_capture_on_commit_callbacks):
    key, plaintext = make_key(acme)
    sent = []

    def note(sender: str, body: object, **_: object) -> None:
        sent.append((sender, body))

    before_task_publish.connect(note)
    with django_capture_on_commit_callbacks(execute=True), tenancy.scope(acme.workspace.pk):
        services.reveal_key(key, actor=acme.person(Role.OWNER), at=timezone.now())
    before_task_publish.disconnect(note)
    assert [sender for sender, _ in sent] == ["keys.tasks.tell_of_reveal"]
    assert str(key.pk) in str(sent[0][1])
    assert plaintext not in str(sent)


def test_the_last_use_outlives_the_usage_that_shows_it(acme):
    key, _ = make_key(acme)
    idle, _ = make_key(acme)
    at = timezone.now()
    for hours in (30, 3, 20):
        UsageFactory(workspace=acme.workspace, key_id=key.pk, at=at - timedelta(hours=hours))
    tasks.note_last_use()
    tasks.note_last_use()
    with tenancy.scope(acme.workspace.pk):
        key.refresh_from_db()
        idle.refresh_from_db()
    assert abs((at - timedelta(hours=3)) - key.accessed_at) < timedelta(seconds=1)
    assert idle.accessed_at is None


def test_a_key_that_only_asks_about_calls_is_in_use(acme, developer):
    at = timezone.now()
    key, _ = make_key(acme, at=at - timedelta(days=90), is_firewall_gateway=True)
    EventFactory(workspace=acme.workspace, key_id=key.pk, source="evaluate", at=at - timedelta(hours=1))
    assert developer("GET", f"/api/token/{key.pk}").json()["accessed_time"] == int((at - timedelta(hours=1)).timestamp())
    assert developer("GET", "/api/token/?unused_days=30").json()["results"] == []
    tasks.note_last_use()
    with tenancy.scope(acme.workspace.pk):
        key.refresh_from_db()
    assert abs(at - timedelta(hours=1) - key.accessed_at) < timedelta(seconds=1)


def test_use_adds_up_known_prices_and_says_when(acme):
    key, _ = make_key(acme)
    at = timezone.now()
    for cost, hours in ((1_000, 200), (2_000, 3), (None, 2)):
        UsageFactory(workspace=acme.workspace, key_id=key.pk, cost_micro_usd=cost, at=at - timedelta(hours=hours))
    with tenancy.scope(acme.workspace.pk):
        ever = uses_of(acme.workspace, [key], since=at - timedelta(days=30))[key.pk]
        today = uses_of(acme.workspace, [key], since=at - timedelta(hours=2, minutes=30))[key.pk]
        last = last_used(acme.workspace, [key])[key.pk]
        week = uses_of(acme.workspace, [key], since=at - timedelta(days=7))[key.pk]
        hours = spend_by_hour(acme.workspace, key, at=at)
    assert (ever.calls, ever.cost_micro_usd, ever.unpriced_calls) == (3, 3_000, 1)
    assert (week.calls, week.cost_micro_usd) == (2, 2_000)
    assert (today.calls, today.cost_micro_usd) == (1, None)
    assert abs(at - timedelta(hours=2) - last) < timedelta(seconds=1)
    assert len(hours) == 24
    assert [hour.cost_micro_usd for hour in hours if hour.calls] == [2_000, None]


def test_the_used_quota_is_in_documented_units(acme, developer):
    key, _ = make_key(acme)
    UsageFactory(workspace=acme.workspace, key_id=key.pk, cost_micro_usd=1_230)
    LedgerFactory(workspace=acme.workspace, key_id=key.pk, spent_micro_usd=1_230)
    shown = developer("GET", f"/api/token/{key.pk}").json()
    assert shown["used_quota"] == 615
    assert shown["accessed_time"] > 0


def test_a_key_without_calls_used_nothing(acme):
    key, _ = make_key(acme)
    with tenancy.scope(acme.workspace.pk):
        assert uses_of(acme.workspace, [key], since=timezone.now() - timedelta(days=1)) == {key.pk: KeyUse()}
        assert last_used(acme.workspace, [key]) == {key.pk: None}


@pytest.mark.parametrize("table", ["keys_apikey", "keys_providercredential", "workspaces_auditentry", "workspaces_idempotencyrecord", "django_session"])
def test_no_secret_stands_in_the_database_in_clear(table, acme, admin, caplog):
    canary = "sk-canary-5f2c9e71"
    made = admin("POST", "/api/token/", {"name": "a"}, **{"Idempotency-Key": "k"}).json()
    body = {"name": "p", "base_url": "https://198.20.0.1/v1", "secret": canary, "models": ["m"]}
    provider = admin("POST", "/api/workspace/providers/", body, **{"Idempotency-Key": "p"}).json()
    admin("PATCH", f"/api/workspace/providers/{provider['id']}", {"secret": canary + "x", "base_url": "http://wrong"})
    admin("POST", f"/api/token/{made['id']}/reveal")
    make_provider(acme, name="q", secret=canary)
    with tenancy.scope(acme.workspace.pk), connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*), coalesce(string_agg(row_to_json({table})::text, ''), '') FROM {table}")
        count, dump = cursor.fetchone()
    assert count or table == "django_session"
    for secret in (canary, made["key"], settings.ENCRYPTION_KEY):
        assert secret not in dump
        assert secret.encode().hex() not in dump
        assert secret not in caplog.text
