"""When a key has to go: what a leaked one did, and a rotation that shows both keys' use."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.factories.activity import LedgerFactory, UsageFactory
from tests.factories.firewall import EventFactory
from tests.factories.keys import make_key
from workspaces import tenancy
from workspaces.permissions import Role

NOW = datetime.now(UTC)


def text_of(answer, status: int = 200) -> str:
    assert answer.status_code == status, answer.content[:800]
    return " ".join(answer.content.decode().split())


def test_the_runbook_disables_tells_what_happened_and_leads_on(acme):
    key, _ = make_key(acme, name="spilt")
    UsageFactory(workspace=acme.workspace, key_id=key.pk, cost_micro_usd=2_000_000, model_name="demo/large")
    UsageFactory(workspace=acme.workspace, key_id=key.pk, cost_micro_usd=3_000_000, at=NOW - timedelta(days=3))
    EventFactory(workspace=acme.workspace, key_id=key.pk, verdict="deny", tool_name="shell.exec")
    browser = acme.client(Role.DEVELOPER)
    page = text_of(browser.get(f"/keys/{key.pk}/leak/"))
    assert all(each in page for each in ("Still works", "Disable now", "$2.00", "demo/large", "shell.exec", "(1 denied)"))
    assert "$5.00" in text_of(browser.get(f"/keys/{key.pk}/leak/", {"since": "7d"}))
    assert browser.get(f"/keys/{key.pk}/leak/", {"since": "1y"}).status_code == 400
    page = text_of(browser.post(f"/keys/{key.pk}/switch/", {"action": "disable", "next": "leak"}, follow=True))
    assert "It is disabled" in page
    assert "Disable now" not in page
    assert f'href="/keys/new/?from={key.pk}"' in page


def test_a_gateway_key_did_what_it_asked_about(acme):
    key, _ = make_key(acme, name="hook", is_firewall_gateway=True)
    EventFactory(workspace=acme.workspace, key_id=key.pk, source="evaluate", surface="mcp", verdict="allow", tool_name="payments.refund")
    page = text_of(acme.client(Role.DEVELOPER).get(f"/keys/{key.pk}/leak/"))
    assert "payments.refund" in page
    assert "It made no call" not in page
    assert "never" not in page.partition("Last call")[2].partition("</dl>")[0]


@pytest.mark.parametrize(
    ("fields", "state"),
    [({"is_frozen": True}, "Frozen"), ({"expires_at": NOW - timedelta(days=1)}, "Expired"), ({"credit_limit_micro_usd": 1_000}, "Exhausted")],
)
def test_what_is_refused_for_now_is_still_to_be_disabled(fields, state, acme):
    key, _ = make_key(acme, name="spilt", **fields)
    LedgerFactory(workspace=acme.workspace, key_id=key.pk, spent_micro_usd=1_000)
    page = text_of(acme.client(Role.DEVELOPER).get(f"/keys/{key.pk}/leak/"))
    assert "Still works" not in page
    assert f"{state}, not disabled" in page
    assert "Disable now" in page


def test_a_successor_has_the_scope_of_the_key_and_a_life_of_its_own(acme):
    key, _ = make_key(
        acme, name="old", group="batch", allow_ips=["10.0.0.0/8"], cycle="week", cycle_limit_micro_usd=5_000_000, expires_at=NOW - timedelta(days=1)
    )
    browser = acme.client(Role.DEVELOPER)
    page = text_of(browser.get(f"/keys/new/?from={key.pk}"))
    assert '<option value="90d" selected>' in page
    assert "10.0.0.0/8" in page
    form = {"name": "old-2", "models_listed": "any", "addresses": "10.0.0.0/8", "expires": "90d", "cycle": "week", "cycle_limit": "5", "run_scope": "auto"}
    assert browser.post(f"/keys/new/?from={key.pk}", form).status_code == 200
    with tenancy.scope(acme.workspace.pk):
        new = acme.workspace.api_keys.get(name="old-2")
    assert (new.replaces_id, new.group, new.expires_at > NOW) == (key.pk, "batch", True)


def test_a_rotation_goes_from_the_old_key_to_the_new(acme):
    old, _ = make_key(acme, name="old", model_limits_enabled=True, model_limits=["demo-small"], credit_limit_micro_usd=5_000_000)
    UsageFactory(workspace=acme.workspace, key_id=old.pk)
    browser = acme.client(Role.DEVELOPER)
    path = f"/keys/{old.pk}/rotation/"
    assert "Make it" in text_of(browser.get(path))
    form = {"name": "new", "models_listed": "listed", "models": "demo-small", "expires": "never", "cycle": "month", "run_scope": "auto", "credit_limit": "5"}
    assert browser.post(f"/keys/new/?from={old.pk}", form).status_code == 200
    page = text_of(browser.get(path))
    assert "It has made no call yet." in page
    assert "Disable old" in page
    with tenancy.scope(acme.workspace.pk):
        new = acme.workspace.api_keys.get(name="new")
    assert new.replaces_id == old.pk
    for _ in range(3):
        UsageFactory(workspace=acme.workspace, key_id=new.pk)
    page = text_of(browser.get(path))
    assert "It makes calls." in page
    assert "old: 1 calls; new: 3 calls" in page
    assert "Somebody used it within a day" in page
