"""What a policy in shadow would have stopped: by tool, key and run, over time."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.factories.firewall import EventFactory, make_policy
from workspaces.permissions import Role

NOW = datetime.now(UTC)


@pytest.fixture
def policy(acme):
    return make_policy(acme.workspace, acme.person(Role.OWNER), {"verdict": "deny"}, shadow_mode=True)


def shadowed(policy, would="deny", **fields):
    fields = {"verdict": "audit", "shadow": True, "policy_id": policy.pk, "reason": f"[shadow] would {would} — matched *"} | fields
    return EventFactory(workspace=policy.workspace, **fields)


def report(tenant, policy, role=Role.DEVELOPER, **query):
    return tenant.client(role).get(f"/api/workspace/firewall/policies/{policy.pk}/shadow-report", query)


def test_what_would_have_been_stopped_is_counted(acme, policy):
    shadowed(policy, tool_name="shell.exec", key_id=7, token_name="coder", agent_run_id="run-a")
    shadowed(policy, "pending_approval", tool_name="shell.exec", key_id=7, token_name="coder", agent_run_id="run-a", at=NOW - timedelta(days=2))
    shadowed(policy, "sanitize", tool_name="email.send", key_id=8, token_name="mailer", agent_run_id=None)
    shadowed(policy, tool_name=None, tools=["kb.a", "kb.b"], key_id=8, token_name="mailer", agent_run_id=None)
    shadowed(policy, at=NOW - timedelta(days=9))
    shadowed(policy, policy_id=policy.pk + 1)
    shadowed(policy, shadow=False)

    answer = report(acme, policy)
    body = answer.json()

    assert answer.status_code == 200
    assert (body["total"]["denied"], body["total"]["held"], body["total"]["sanitized"]) == (3, 1, 1)
    assert [(line["tool_name"], line["denied"], line["held"]) for line in body["by_tool"]] == [
        *[("shell.exec", 1, 1), ("email.send", 0, 0), ("kb.a", 1, 0), ("kb.b", 1, 0)],
    ]
    assert [(line["key_id"], line["token_name"], line["denied"]) for line in body["by_key"]] == [(8, "mailer", 2), (7, "coder", 1)]
    assert [(line["run_id"], line["key_id"], line["denied"], line["held"]) for line in body["by_run"]] == [("run-a", 7, 1, 1)]
    assert len(body["over_time"]) == 7
    assert sum(bucket["denied"] + bucket["held"] + bucket["sanitized"] for bucket in body["over_time"]) == 5
    assert (body["over_time"][-3]["held"], len(body["examples"]), body["is_partial"], body["shadow_mode"]) == (1, 4, False, True)


def test_a_short_report_is_by_the_hour(acme, policy):
    shadowed(policy)
    body = report(acme, policy, days=1).json()
    assert len(body["over_time"]) == 24
    assert body["over_time"][-1]["denied"] == 1


def test_a_policy_that_stopped_nothing_has_an_empty_report(acme, policy):
    body = report(acme, policy).json()
    assert (body["total"], body["by_tool"], body["examples"]) == ({"denied": 0, "held": 0, "sanitized": 0, "last_at": None}, [], [])


@pytest.mark.parametrize("days", ["0", "31", "x", "-1", "٣"])
def test_a_length_that_is_none_is_refused(acme, policy, days):
    assert report(acme, policy, days=days).status_code == 400


def test_it_is_for_developers_of_the_workspace(acme, rival, policy):
    assert report(acme, policy, Role.MEMBER).status_code == 403
    assert report(rival, policy, Role.OWNER).status_code == 404
