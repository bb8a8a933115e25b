"""Backtests over the API: asked for, watched, read and cancelled by developers of the workspace."""

from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone

from firewall import backtests
from tests.factories.firewall import EventFactory, make_policy
from workspaces.permissions import Role

PATH = "/api/workspace/firewall/backtests"
NOW = datetime.now(UTC)


def post(tenant, body: object, path: str = PATH, role: Role = Role.DEVELOPER):
    return tenant.client(role).post(path, body, content_type="application/json")


def worked_off(tenant, pk: int) -> dict:
    for _ in range(5):
        backtests.work(tenant.workspace, pk, clock=timezone.now)
    return tenant.client(Role.DEVELOPER).get(f"{PATH}/{pk}").json()


def test_a_draft_is_judged_over_what_was_recorded(acme):
    for tool in ("shell.exec", "web.search"):
        EventFactory(workspace=acme.workspace, tool_name=tool, at=NOW - timedelta(hours=1))
    draft = {"default_verdict": "allow", "rules": [{"verdict": "deny", "tool_name_glob": "shell.*", "label": "No shell"}]}

    made = post(acme, {"policy": draft, "from": (NOW - timedelta(days=1)).isoformat()})
    body = made.json()
    assert (made.status_code, body["state"], body["is_draft"], body["policy_id"], body["result"]) == (201, "queued", True, None, None)

    body = worked_off(acme, body["id"])
    assert (body["state"], body["events"], body["replayed"], body["keys"], body["created_by"]) == ("done", 2, 2, "all", "developer@acme.example")
    result = body["result"]
    assert (result["calls"], result["newly_denied"], result["changed"]) == (2, 1, 1)
    assert result["by_change"] == [{"before": "allow", "after": "deny", "kind": "newly_denied", "calls": 1, "counterfactual": 0}]
    (example,) = result["examples"]["newly_denied"]
    assert (example["tool_name"], example["rule_label"], example["reason"]) == ("shell.exec", "No shell", 'matched shell.* (rule "No shell")')
    (listed,) = acme.client(Role.DEVELOPER).get(PATH).json()["results"]
    assert (listed["id"], "result" in listed) == (body["id"], False)


def test_it_can_be_cancelled_once(acme):
    pk = post(acme, {"policy": {}}).json()["id"]
    answer = post(acme, {}, f"{PATH}/{pk}/cancel")
    assert (answer.status_code, answer.json()["state"]) == (200, "cancelled")
    assert post(acme, {}, f"{PATH}/{pk}/cancel").status_code == 409
    assert worked_off(acme, pk)["state"] == "cancelled"


def test_it_is_for_developers_of_the_workspace(acme, rival):
    policy = make_policy(acme.workspace, acme.person(Role.OWNER))
    assert post(acme, {"policy_id": policy.pk}, role=Role.MEMBER).status_code == 403
    assert post(rival, {"policy_id": policy.pk}, role=Role.OWNER).status_code == 404
    pk = post(acme, {"policy_id": policy.pk}).json()["id"]
    assert rival.client(Role.OWNER).get(f"{PATH}/{pk}").status_code == 404
    assert post(rival, {}, f"{PATH}/{pk}/cancel", Role.OWNER).status_code == 404
    assert rival.client(Role.OWNER).get(PATH).json()["results"] == []


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "policy_id"),
        ({"policy_id": "x"}, "policy_id"),
        ({"policy": []}, "policy"),
        ({"policy": {"rules": [{"verdict": "maybe"}]}}, "policy.rules.0.verdict"),
        ({"policy": {}, "from": "yesterday"}, "from"),
        ({"policy": {}, "to": []}, "to"),
        ({"policy": {}, "from": 2_000_000_000, "to": 1_000_000_000}, "from"),
        ({"policy": {}, "keys": ["all"]}, "keys"),
        ({"policy": {}, "enforce": "yes"}, "enforce"),
        ({"policy": {}, "days": 7}, "days"),
    ],
)
def test_a_bad_body_names_its_field(acme, body, param):
    answer = post(acme, body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
