"""A held call from end to end over real HTTP: webhook, signature, callback, poll, redeem; and what a kill or an outage leaves of it."""

import json
import os
import time
from base64 import b64encode
from datetime import UTC, datetime

import httpx2 as httpx
import psycopg
import pytest
from django.conf import settings
from django.utils import timezone
from psycopg import sql
from standardwebhooks import Webhook

from approvals import outbox
from approvals.models import Delivery
from tests.orcarouter.gateway.conftest import make_agent
from tests.orcarouter.gateway.test_holds import HOLDS, PAY, calls_of, chat, held, refused
from tests.receiver import SECRET
from workspaces import tenancy, valkey
from workspaces.permissions import Role

pytestmark = pytest.mark.stack


@pytest.fixture
def agent(stack, committed, receiver):
    """An agent whose payments are held, and told to the receiver."""
    made = make_agent(stack)
    made.policy(default_verdict="allow", rules=[HOLDS])
    headers = {"Authorization": f"Bearer {made.tenant.token(Role.ADMIN)}"}
    changes = {"approval_webhook_url": receiver.url, "approval_webhook_secret": SECRET}
    answer = httpx.put(f"{stack.url}/api/workspace/firewall/settings", json=changes, headers=headers, timeout=60)
    assert answer.status_code == 200, answer.text
    return made


def call_back(agent, approval_id: str, decision: str = "approved") -> httpx.Response:
    """What a receiver does, with the library alone."""
    now = datetime.now(UTC)
    body = json.dumps({"approval_id": approval_id, "decision": decision, "timestamp": int(time.time()), "decided_by": "the treasury bot"})
    headers = {
        "Content-Type": "application/json",
        "webhook-id": f"decision_{approval_id}",
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(SECRET).sign(f"decision_{approval_id}", now, body),
    }
    return httpx.post(f"{agent.stack.url}/api/v1/firewall/approvals/{approval_id}/callback", content=body, headers=headers, timeout=60)


def poll(agent, approval_id: str, wait: int = 0) -> dict:
    url = f"{agent.stack.url}/api/v1/firewall/approvals/{approval_id}?wait={wait}"
    return httpx.get(url, headers={"Authorization": f"Bearer {agent.token}"}, timeout=60).json()


def delivery_of(agent, event: str = "firewall.approval.pending") -> Delivery:
    with tenancy.scope(agent.workspace.pk):
        return agent.workspace.deliveries.get(event=event)


def due_now(agent) -> None:
    """Time passes: leases are over and waits are done, and the sweep comes by."""
    with tenancy.scope(agent.workspace.pk):
        agent.workspace.deliveries.filter(state="pending").update(due_at=timezone.now())
        agent.workspace.deliveries.exclude(leased_until=None).update(leased_until=timezone.now())
    outbox.wake()


def finish(agent, approval_id: str, received) -> None:
    """From the received message to the call that runs, once."""
    told = Webhook(SECRET).verify(received.body, received.headers)
    assert (told["event"], told["data"]["approval_id"], told["data"]["tool_name"]) == ("firewall.approval.pending", approval_id, "payments.transfer")
    assert "4180" not in received.body.decode()
    assert poll(agent, approval_id)["state"] == "pending"
    assert call_back(agent, approval_id).json()["state"] == "approved"
    found = poll(agent, approval_id, wait=5)
    assert (found["state"], found["resolved_by"]) == ("approved", "the treasury bot")
    assert calls_of(chat(agent, PAY, approval_id)) == [("payments.transfer", {"amount": 4180, "to": "Marlow"})]
    refused(chat(agent, PAY, approval_id), "used")
    assert call_back(agent, approval_id).json()["state"] == "consumed"
    assert call_back(agent, approval_id, "rejected").status_code == 409


def test_hold_webhook_signature_callback_poll_redeem(agent, receiver):
    approval_id = held(chat(agent))["approval_id"]
    (received,) = receiver.wait_for(1)
    finish(agent, approval_id, received)
    events = [got.json["event"] for got in receiver.wait_for(2)]
    assert events == ["firewall.approval.pending", "firewall.approval.approved"]
    assert receiver.received[1].json["data"]["resolved_by"] == "the treasury bot"


def test_our_own_message_sent_back_decides_nothing(agent, receiver):
    approval_id = held(chat(agent))["approval_id"]
    (received,) = receiver.wait_for(1)
    wanted = ("content-type", "x-orca-event", "x-orca-signature", "webhook-id", "webhook-timestamp", "webhook-signature")
    for names in (wanted, wanted[:3], (wanted[0], *wanted[3:])):
        url = f"{agent.stack.url}/api/v1/firewall/approvals/{approval_id}/callback"
        answer = httpx.post(url, content=received.body, headers={name: received.headers[name] for name in names}, timeout=60)
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_signature")
    assert poll(agent, approval_id)["state"] == "pending"


def test_a_worker_killed_between_commit_and_send_and_an_emptied_valkey_lose_nothing(agent, receiver, stack):
    """Neither what the webhook is told nor what people are, here in their chat."""
    headers = {"Authorization": f"Bearer {agent.tenant.token(Role.ADMIN)}"}
    changes = {"approval_slack_url": receiver.url.replace("/hook", "/chat")}
    httpx.put(f"{stack.url}/api/workspace/firewall/settings", json=changes, headers=headers, timeout=60).raise_for_status()
    stack.kill("worker")
    try:
        approval_id = held(chat(agent))["approval_id"]
        due_now(agent)
        valkey.client().flushall()
    finally:
        stack.run("worker")
    told = {got.path: got for got in receiver.wait_for(2)}
    stack.wait_until_ready()
    assert approval_id in told["/chat"].json["text"]
    finish(agent, approval_id, told["/hook"])


def test_a_worker_killed_while_it_sends_is_followed_by_one_that_sends_the_same_again(agent, receiver, stack):
    receiver.gate.clear()
    approval_id = held(chat(agent))["approval_id"]
    receiver.wait_for(1)
    stack.kill("worker")
    receiver.gate.set()
    assert delivery_of(agent).state == "pending"
    due_now(agent)
    stack.run("worker")
    first, second = receiver.wait_for(2)
    stack.wait_until_ready()
    assert (first.headers["webhook-id"], first.body) == (second.headers["webhook-id"], second.body)
    finish(agent, approval_id, second)


def test_a_receiver_that_is_down_at_first_is_told_in_the_end(agent, receiver):
    receiver.answers = [503, 500]
    approval_id = held(chat(agent))["approval_id"]
    for count in (1, 2):
        receiver.wait_for(count)
        deadline = time.monotonic() + 60
        while delivery_of(agent).leased_until is not None and time.monotonic() < deadline:
            time.sleep(0.05)
        due_now(agent)
    received = receiver.wait_for(3)[-1]
    finish(agent, approval_id, received)
    with tenancy.scope(agent.workspace.pk):
        statuses = list(delivery_of(agent).attempts.values_list("status", flat=True))
    assert statuses == [503, 500, 200]


def test_with_valkey_emptied_a_decision_still_counts_once(agent, receiver):
    approval_id = held(chat(agent))["approval_id"]
    (received,) = receiver.wait_for(1)
    valkey.client().flushall()
    finish(agent, approval_id, received)


def test_no_secret_is_anywhere_in_clear(agent, receiver, stack):
    """In no table, log line, answer or key of Valkey: neither the webhook's secret nor the chat's address."""
    secret, path = f"whsec_{b64encode(os.urandom(32)).decode()}", f"/services/{os.urandom(16).hex()}"
    headers = {"Authorization": f"Bearer {agent.tenant.token(Role.ADMIN)}", "Idempotency-Key": "settings-1"}
    changes = {"approval_webhook_secret": secret, "approval_slack_url": receiver.url.replace("/hook", path)}
    receiver.answers, receiver.said = [500], f"no such secret: {secret}".encode()
    answers = [httpx.put(f"{stack.url}/api/workspace/firewall/settings", json=changes, headers=headers, timeout=60) for _ in range(2)]
    answers.append(
        httpx.put(f"{stack.url}/api/workspace/firewall/settings", json=changes | {"four_eyes": secret}, headers=headers | {"Idempotency-Key": "2"}, timeout=60)
    )
    assert [answer.status_code for answer in answers] == [200, 200, 400]
    held(chat(agent))
    with tenancy.scope(agent.workspace.pk):
        agent.workspace.deliveries.filter(channel="slack").update(due_at=timezone.now())
    assert {got.path for got in receiver.wait_for(2)} == {"/hook", path}
    texts = [answer.text for answer in answers] + [stack.log(name).read_text() for name in ("web", "worker")]
    client = valkey.client()
    texts += [repr((key, client.dump(key))) for key in client.scan_iter()]
    with psycopg.connect(settings.DATABASE_OWNER_URL) as connection:
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        for (table,) in tables:
            (dump,) = connection.execute(sql.SQL("SELECT coalesce(string_agg(t::text, ' '), '') FROM {} t").format(sql.Identifier(table))).fetchone()
            texts.append(dump)
    for needle in (secret, secret.removeprefix("whsec_")[:20], path.rpartition("/")[2], secret.encode().hex()):
        assert not [text[:200] for text in texts if needle in text]
