"""Firewall > Backtests: asked for by a form, watched while they work, read when they are done."""

from datetime import UTC, datetime, timedelta

from django.utils import timezone

from firewall import backtests
from tests.factories.firewall import EventFactory, make_policy
from workspaces import tenancy
from workspaces.permissions import Role

NOW = datetime.now(UTC)
DENY_SHELL = {"verdict": "deny", "tool_name_glob": "shell.*", "label": "No shell"}


def shown(tenant, path: str, status: int = 200) -> str:
    answer = tenant.client(Role.DEVELOPER).get(path)
    assert answer.status_code == status
    return answer.content.decode()


def test_a_backtest_is_started_watched_and_read(acme):
    policy = make_policy(acme.workspace, acme.person(Role.OWNER), DENY_SHELL, default_verdict="allow", shadow_mode=True)
    EventFactory(workspace=acme.workspace, tool_name="shell.exec", agent_run_id="run-7", at=NOW - timedelta(hours=1))
    assert 'name="enforce" checked' in shown(acme, f"/backtests/?policy={policy.pk}&enforce=on")
    started = acme.client(Role.DEVELOPER).post("/backtests/", {"policy": policy.pk, "days": "7", "enforce": "on"})
    assert started.status_code == 302

    page = shown(acme, started["Location"])
    assert "<progress" in page
    assert 'hx-trigger="every 1s"' in page
    pk = int(started["Location"].split("/")[2])
    for _ in range(3):
        backtests.work(acme.workspace, pk, clock=timezone.now)

    page = shown(acme, started["Location"])
    assert "hx-trigger" not in page.split('id="backtest"')[1].split(">")[0]
    assert "Newly denied" in page
    assert "/runs/1/run-7/" in page
    assert "matched shell.* (rule &quot;No shell&quot;)" in page
    assert f'href="/backtests/{pk}/"' in shown(acme, "/backtests/")


def test_a_rule_that_is_not_saved_is_tried_from_its_form(acme):
    policy = make_policy(acme.workspace, acme.person(Role.OWNER), default_verdict="allow")
    EventFactory(workspace=acme.workspace, tool_name="shell.exec", at=NOW - timedelta(hours=1))
    typed = {"edit": "0", "priority": "10", "tool_name_glob": "shell.*", "verdict": "deny", "enabled": "on", "version": policy.version}
    started = acme.client(Role.DEVELOPER).post(f"/policies/{policy.pk}/backtest/", typed)
    assert started.status_code == 302
    pk = int(started["Location"].split("/")[2])
    for _ in range(3):
        backtests.work(acme.workspace, pk, clock=timezone.now)
    with tenancy.scope(acme.workspace.pk):
        found = acme.workspace.backtests.get(pk=pk)
        assert (found.is_draft, found.policy_id, found.result["newly_denied"], policy.rules.count()) == (True, policy.pk, 1, 0)


def test_a_backtest_is_cancelled_on_its_page(acme):
    policy = make_policy(acme.workspace, acme.person(Role.OWNER))
    client = acme.client(Role.DEVELOPER)
    place = client.post("/backtests/", {"policy": policy.pk})["Location"]
    assert client.post(place + "cancel/").status_code == 302
    assert "It was cancelled." in shown(acme, place)
    # Once more is said, not an error.
    assert client.post(place + "cancel/").status_code == 302


def test_what_cannot_be_asked_is_said(acme, rival):
    theirs = make_policy(rival.workspace, rival.person(Role.OWNER))
    client = acme.client(Role.DEVELOPER)
    for body in ({"policy": theirs.pk}, {"policy": "x"}, {"policy": theirs.pk, "days": "8"}):
        answer = client.post("/backtests/", body)
        assert answer.status_code == 422
        assert 'role="alert"' in answer.content.decode()
