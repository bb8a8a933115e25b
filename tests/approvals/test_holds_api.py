"""The queue by API: the oldest first, two decisions, the first of which stands."""

import json

import pytest
from django.test import Client

from tests.factories.approvals import make_hold, make_holding_policy
from workspaces import tenancy
from workspaces.paging import write_cursor
from workspaces.permissions import Role

PATH = "/api/workspace/firewall/approvals"


@pytest.fixture
def policy(acme):
    return make_holding_policy(acme)


def send(tenant, path: str, body: dict | None = None, role: Role = Role.DEVELOPER):
    client = tenant.client(role)
    return client.get(PATH + path) if body is None else client.post(PATH + path, json.dumps(body), content_type="application/json")


def test_the_queue_is_oldest_first_and_pages(acme, policy):
    made = [make_hold(policy, arguments=f'{{"n": {n}}}').pk for n in range(5)]
    first = send(acme, "?limit=2").json()
    assert [row["id"] for row in first["results"]] == made[:2]
    second = acme.client(Role.DEVELOPER).get(first["next"]).json()
    assert [row["id"] for row in second["results"]] == made[2:4]
    assert [row["id"] for row in acme.client(Role.DEVELOPER).get(second["previous"]).json()["results"]] == made[:2]
    for foreign in ("Zm5vbnNlbnNl", write_cursor(f"2026-01-01T00:00:00/{made[0]}"), write_cursor("2026-01-01T00:00:00Z/x")):
        assert send(acme, f"?cursor={foreign}").status_code == 400


def test_a_hold_is_told_whole_and_without_secrets(acme, policy):
    hold = make_hold(policy, arguments='{"amount": 12345678901234567890, "password": "hunter2"}')
    with tenancy.scope(acme.workspace.pk):
        hold.refresh_from_db()
    found = send(acme, f"/{hold.pk}").json()
    assert found["rule"]["label"] == "a person decides"
    assert (found["rule"], found["rule_changed"], found["approvals_needed"], found["votes"]) == (found["rule_now"], False, 1, [])


def test_one_decides_and_the_slower_one_is_told(acme, policy):
    hold = make_hold(policy)
    assert send(acme, f"/{hold.pk}/approve", {"reason": "seen"}).json()["state"] == "approved"
    again = send(acme, f"/{hold.pk}/approve", {}, Role.ADMIN)
    assert (again.status_code, again.json()["resolved_by"], again.json()["reason"]) == (200, acme.person(Role.DEVELOPER).email, "seen")
    late = send(acme, f"/{hold.pk}/reject", {}, Role.ADMIN)
    assert (late.status_code, late.json()["error"]["code"]) == (409, "approval_resolved")
    assert late.json()["error"]["metadata"]["state"] == "approved"
    assert [row["id"] for row in send(acme, "?state=approved").json()["results"]] == [hold.pk]
    assert send(acme, "").json()["results"] == []


def test_a_decision_takes_a_token_with_the_scope_approve(acme, policy):
    hold = make_hold(policy)
    for scopes, status in ((("read", "write"), 403), (("read", "approve"), 200)):
        headers = {"Authorization": f"Bearer {acme.token(Role.DEVELOPER, *scopes)}"}
        assert Client().post(f"{PATH}/{hold.pk}/approve", "{}", content_type="application/json", headers=headers).status_code == status


@pytest.mark.parametrize("body", [{"nonsense": 1}, {"reason": "x" * 2001}, {"reason": 7.5e400}, {"reason": ["x"]}])
def test_what_is_wrong_is_named(acme, policy, body):
    hold = make_hold(policy)
    answer = send(acme, f"/{hold.pk}/reject", body)
    assert answer.status_code == 400
    assert send(acme, "?state=nonsense").json()["error"]["param"] == "state"
