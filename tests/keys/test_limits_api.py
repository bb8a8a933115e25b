"""What a key may spend, over HTTP: the documented fields, states that move by themselves, and the key that takes another's place."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.factories.activity import LedgerFactory, UsageFactory
from tests.factories.keys import make_key
from tests.keys.conftest import refusal
from tests.keys.test_keys_api import audit_of
from workspaces import tenancy
from workspaces.permissions import Role

NOW = datetime.now(UTC)


def spend(tenant, key, micro_usd: int, **fields) -> None:
    LedgerFactory(workspace=tenant.workspace, key_id=key["id"] if isinstance(key, dict) else key.pk, spent_micro_usd=micro_usd, **fields)


def test_limits_are_kept_in_dollars_and_told_in_units(acme, developer):
    made = developer("POST", "/api/token/", {"name": "a", "credit_limit_usd": 25, "cycle_limit_usd": 0.5, "cycle": "day"}).json()
    assert (made["credit_limit_usd"], made["cycle_limit_usd"], made["cycle"]) == (25, 0.5, "day")
    assert (made["unlimited_quota"], made["remain_quota"], made["used_quota"], made["status"]) == (False, 12_500_000, 0, 1)
    assert audit_of(acme, "key_create")[0]["credit_limit_micro_usd"] == 25_000_000
    spend(acme, made, 10_000_001)
    spend(acme, made, 0, held_micro_usd=4, kind="reserve", cause="call")
    shown = developer("GET", f"/api/token/{made['id']}").json()
    assert (shown["used_quota"], shown["remain_quota"]) == (5_000_000, 7_499_997)


def test_what_was_read_may_be_sent_back(developer):
    for body in ({}, {"credit_limit_usd": 0.000_001}, {"cycle_limit_usd": 3, "cycle": "week"}):
        shown = developer("POST", "/api/token/", {"name": "a"} | body).json()
        shown["key"] = "sk-orca-a****z"
        again = developer("PUT", "/api/token/", shown)
        assert again.status_code == 200
        assert {**again.json(), "key": ""} == {**shown, "key": ""}


def test_a_key_is_exhausted_by_what_it_spent_and_revived_by_a_higher_limit(acme, developer):
    made = developer("POST", "/api/token/", {"name": "a", "credit_limit_usd": 1}).json()
    path = f"/api/token/{made['id']}"
    spend(acme, made, 999_999)
    spend(acme, made, 0, held_micro_usd=10, kind="reserve", cause="call")
    assert developer("GET", path).json()["status"] == 1
    spend(acme, made, 1)
    shown = developer("GET", path).json()
    assert (shown["status"], shown["remain_quota"]) == (4, 0)
    for status, found in (("4", [made["id"]]), ("1", []), ("1,4", [made["id"]]), ("2,3", [])):
        assert [each["id"] for each in developer("GET", f"/api/token/?status={status}").json()["results"]] == found
    assert developer("PATCH", path, {"expired_time": int((NOW - timedelta(days=1)).timestamp())}).json()["status"] == 3
    assert developer("PATCH", path, {"status": 2}).json()["status"] == 2
    assert developer("PATCH", path, {"status": 1, "expired_time": -1}).json()["status"] == 4
    assert developer("PATCH", path, {"credit_limit_usd": 1.5}).json()["status"] == 1
    assert developer("PATCH", path, {"unlimited_quota": True}).json()["credit_limit_usd"] == 0


def test_a_contradiction_about_the_limit_is_refused(developer):
    capped = developer("POST", "/api/token/", {"name": "a", "credit_limit_usd": 1}).json()["id"]
    free = developer("POST", "/api/token/", {"name": "b"}).json()["id"]
    assert developer("PATCH", f"/api/token/{capped}", {"unlimited_quota": False}).status_code == 200
    assert refusal(developer("PATCH", f"/api/token/{free}", {"unlimited_quota": False})) == (400, "validation_error", "credit_limit_usd")
    assert refusal(developer("PATCH", f"/api/token/{capped}", {"unlimited_quota": False, "credit_limit_usd": 0})) == (
        400,
        "validation_error",
        "credit_limit_usd",
    )


def test_a_key_may_take_the_place_of_one_of_its_own_workspace(acme, rival, developer):
    old, _ = make_key(acme)
    theirs, _ = make_key(rival)
    assert developer("POST", "/api/token/", {"name": "a", "replaces_id": old.pk}).json()["replaces_id"] == old.pk
    assert refusal(developer("POST", "/api/token/", {"name": "a", "replaces_id": theirs.pk})) == (404, "not_found", "replaces_id")
    assert developer("DELETE", f"/api/token/{old.pk}").status_code == 204
    assert developer("GET", "/api/token/?q=a").json()["results"][0]["replaces_id"] is None


# --- Pages ----------------------------------------------------------------------------------------------------------
def text_of(answer) -> str:
    assert answer.status_code == 200, answer.content[:500]
    return " ".join(answer.content.decode().split())


def test_the_page_shows_how_far_each_ceiling_is_used(acme):
    key, _ = make_key(acme, credit_limit_micro_usd=500_000_000, cycle_limit_micro_usd=15_000_000, cycle="day")
    spend(acme, key, 8_120_000)
    with tenancy.scope(acme.workspace.pk):
        acme.workspace.ledger_days.create(day=NOW.date() - timedelta(days=2), key_id=key.pk, member_id=0, spent_micro_usd=300_000_000)
    browser = acme.client(Role.MEMBER)
    page = text_of(browser.get(f"/keys/{key.pk}/"))
    assert "$8.12 spent and $0.00 reserved of $15 a day" in page
    assert "$308.12 spent and $0.00 reserved of $500" in page
    assert "$8.12 of $15 a day" not in text_of(browser.get("/keys/"))  # the lifetime's is nearer
    assert "$308.12 of $500" in text_of(browser.get("/keys/"))


@pytest.mark.parametrize(
    ("gate", "found"),
    [
        ("models", ["demo/large", "demo/small"]),
        ("credit", ['value="6"', "Twice what it spent in the last 30 days"]),
        ("expires", ['value="90d" selected']),
        ("addresses", ["List where the agent runs"]),
        ("policy", ["No policy enforces yet"]),
        ("nonsense", ["Edit agent"]),
    ],
)
def test_an_open_gate_is_closed_from_what_the_key_did(acme, gate, found):
    key, _ = make_key(acme)
    for model in ("demo/small", "demo/large"):
        UsageFactory(workspace=acme.workspace, key_id=key.pk, model_name=model, cost_micro_usd=1_450_000)
    UsageFactory(workspace=acme.workspace, key_id=key.pk, model_name="demo/refused", status=404, cost_micro_usd=0)
    page = text_of(acme.client(Role.DEVELOPER).get(f"/keys/{key.pk}/edit/", {"close": gate}))
    assert all(each in page for each in found), page
    assert "demo/refused" not in page


def test_a_higher_limit_is_asked_about_and_a_lower_one_is_not(acme):
    key, _ = make_key(acme, credit_limit_micro_usd=1_000_000)
    browser = acme.client(Role.DEVELOPER)
    form = {"name": "agent", "models_listed": "any", "expires": "never", "cycle": "month", "run_scope": "auto", "cycle_limit": ""}
    asked = browser.post(f"/keys/{key.pk}/edit/", form | {"credit_limit": "2"})
    assert asked.status_code == 422
    assert "It may spend $2 in all, $1 until now." in asked.content.decode()
    assert browser.post(f"/keys/{key.pk}/edit/", form | {"credit_limit": "0.5"}).status_code == 302
    assert browser.post(f"/keys/{key.pk}/edit/", form | {"credit_limit": "-1"}).status_code == 422
    assert browser.post(f"/keys/{key.pk}/edit/", form | {"credit_limit": "much"}).status_code == 422
    key.refresh_from_db()
    assert (key.credit_limit_micro_usd, key.cycle_limit_micro_usd) == (500_000, 0)
