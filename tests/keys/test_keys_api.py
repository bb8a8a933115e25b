"""The token object over HTTP: its fields, rules, errors and roles."""

import pytest
from django.test import Client

from keys.engine import token
from tests.factories.firewall import make_policy
from tests.factories.keys import make_key
from tests.keys.conftest import Caller, refusal
from workspaces import tenancy
from workspaces.models import AuditEntry
from workspaces.permissions import Role

NEW = {
    "status": 1,
    "accessed_time": 0,
    "expired_time": -1,
    "credit_limit_usd": 0,
    "cycle_limit_usd": 0,
    "cycle": None,
    "unlimited_quota": True,
    "remain_quota": 0,
    "used_quota": 0,
    "model_limits_enabled": False,
    "model_limits": [],
    "allow_ips": "",
    "environment": "",
    "guardrail_id": 0,
    "firewall_policy_id": 0,
    "is_firewall_gateway": False,
    "group": "default",
    "run_scope": "auto",
    "is_frozen": False,
    "replaces_id": None,
}


def audit_of(tenant, action: str) -> list[dict]:
    with tenancy.scope(tenant.workspace.pk):
        return list(AuditEntry.objects.filter(action=action).order_by("sequence").values_list("payload", flat=True))


# --- Making ---------------------------------------------------------------------------------------------------------
def test_a_new_key_is_shown_once_and_has_the_documented_fields_and_sentinels(developer):
    answer = developer("POST", "/api/token/", {"name": "agent"})
    made = answer.json()
    assert answer.status_code == 201
    assert answer["Cache-Control"] == "no-store"
    assert token.is_well_formed(made["key"])
    assert {name: value for name, value in made.items() if name not in ("id", "key", "created_time")} == NEW | {"name": "agent"}
    shown = developer("GET", f"/api/token/{made['id']}").json()
    assert shown == made | {"key": token.mask(*token.ends(made["key"]))}
    assert all(type(shown[name]) is int for name in ("id", "status", "created_time", "expired_time", "remain_quota", "used_quota", "guardrail_id"))


def test_every_field_is_kept_in_its_documented_form(acme, developer):
    policy = make_policy(acme.workspace, acme.person(Role.DEVELOPER))
    sent = {
        "name": "agent",
        "expired_time": 4_102_444_800,
        "model_limits_enabled": True,
        "model_limits": ["openai/gpt-4o-mini", "gpt.*"],
        "allow_ips": "203.0.113.7\n2001:db8::/32",
        "environment": "prod",
        "firewall_policy_id": policy.pk,
        "group": "gold",
        "run_scope": "key",
    }
    made = developer("POST", "/api/token/", sent).json()
    assert {name: made[name] for name in sent} == sent


def test_models_are_taken_with_commas_and_the_environment_is_cut(developer):
    made = developer("POST", "/api/token/", {"name": "a", "model_limits": "x, y,,x", "environment": "  " + "e" * 40, "allow_ips": "10.1.2.3/8,::1"}).json()
    assert (made["model_limits"], made["environment"], made["allow_ips"]) == (["x", "y"], "e" * 32, "10.0.0.0/8\n::1")


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "name"),
        ({"name": ""}, "name"),
        ({"name": "x" * 81}, "name"),
        ({"name": "a\x00b"}, "name"),
        ({"name": "a", "nmae": "b"}, "nmae"),
        ({"name": "a", "credit_limit_usd": -1}, "credit_limit_usd"),
        ({"name": "a", "credit_limit_usd": "25"}, "credit_limit_usd"),
        ({"name": "a", "credit_limit_usd": True}, "credit_limit_usd"),
        ({"name": "a", "credit_limit_usd": 1e300}, "credit_limit_usd"),
        ({"name": "a", "cycle_limit_usd": 1e10}, "cycle_limit_usd"),
        ({"name": "a", "cycle": "year"}, "cycle"),
        ({"name": "a", "unlimited_quota": False}, "credit_limit_usd"),
        ({"name": "a", "unlimited_quota": True, "credit_limit_usd": 5}, "unlimited_quota"),
        ({"name": "a", "replaces_id": -1}, "replaces_id"),
        ({"name": "a", "guardrail_id": 17}, "guardrail_id"),
        ({"name": "a", "expired_time": -2}, "expired_time"),
        ({"name": "a", "expired_time": 10**18}, "expired_time"),
        ({"name": "a", "allow_ips": "10.0.0.1\nhere"}, "allow_ips"),
        ({"name": "a", "model_limits": [1]}, "model_limits"),
        ({"name": "a", "model_limits": {"a": 1}}, "model_limits"),
        ({"name": "a", "status": 5}, "status"),
        ({"name": "a", "run_scope": "week"}, "run_scope"),
        ({"name": "a", "firewall_policy_id": "x"}, "firewall_policy_id"),
        ({"name": "a", "firewall_policy_id": 2**63}, "firewall_policy_id"),
    ],
)
def test_a_wrong_field_is_named_and_nothing_is_made(body, param, acme, developer):
    assert refusal(developer("POST", "/api/token/", body)) == (400, "validation_error", param)
    assert developer("GET", "/api/token/").json()["results"] == []
    assert audit_of(acme, "key_create") == []


def test_guardrails_say_that_they_are_not_available_yet(developer):
    assert "not available yet" in developer("POST", "/api/token/", {"name": "a", "guardrail_id": 1}).json()["error"]["message"]
    assert developer("POST", "/api/token/", {"name": "a", "credit_limit_usd": 0, "cycle": None, "cycle_limit_usd": 0, "guardrail_id": None}).status_code == 201


def test_a_policy_of_another_workspace_cannot_be_bound_and_looks_like_one_that_is_not_there(rival, developer):
    theirs = make_policy(rival.workspace, rival.person(Role.DEVELOPER))
    answers = [developer("POST", "/api/token/", {"name": "a", "firewall_policy_id": pk}) for pk in (theirs.pk, 999_999_999)]
    assert answers[0].json() == answers[1].json()
    assert refusal(answers[0]) == (404, "not_found", "firewall_policy_id")


# --- Changing -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_a_change_names_its_fields_and_leaves_the_rest(method, acme, developer):
    made = developer("POST", "/api/token/", {"name": "a", "environment": "prod", "allow_ips": "::1"}).json()
    changed = developer(method, f"/api/token/{made['id']}", {"environment": "dev"}).json()
    assert changed == made | {"environment": "dev", "key": changed["key"]}
    assert audit_of(acme, "key_update") == [{"environment": {"from": "prod", "to": "dev"}}]


def test_the_documented_put_has_the_id_in_its_body(developer):
    made = developer("POST", "/api/token/", {"name": "a"}).json()
    assert developer("PUT", "/api/token/", {"id": made["id"], "name": "b"}).json()["name"] == "b"
    assert refusal(developer("PUT", "/api/token/", {"name": "b"})) == (400, "validation_error", "id")
    assert refusal(developer("PUT", "/api/token/", {"id": 999_999_999, "name": "b"}))[0] == 404


def test_what_was_read_can_be_sent_back_whole_and_changes_nothing(acme, developer):
    made = developer("POST", "/api/token/", {"name": "a", "expired_time": 1}).json()
    read = developer("GET", f"/api/token/{made['id']}").json()
    assert read["status"] == 3
    assert developer("PUT", "/api/token/", read).json() == read
    assert audit_of(acme, "key_update") == []


def test_status_is_computed_so_a_later_date_revives_the_key(developer):
    made = developer("POST", "/api/token/", {"name": "a", "expired_time": 1_000_000_000}).json()
    path = f"/api/token/{made['id']}"
    assert made["status"] == 3
    assert developer("PATCH", path, {"expired_time": -1}).json()["status"] == 1
    assert developer("PATCH", path, {"status": 2}).json()["status"] == 2
    assert developer("PATCH", path, {"status": 3}).json()["status"] == 2
    assert developer("PATCH", path, {"status": 1}).json()["status"] == 1


def test_freezing_keeps_what_the_owner_set(developer):
    made = developer("POST", "/api/token/", {"name": "a"}).json()
    frozen = developer("PATCH", f"/api/token/{made['id']}", {"is_frozen": True}).json()
    assert (frozen["is_frozen"], frozen["status"]) == (True, 1)


def test_each_change_moves_the_configuration_version_so_that_the_gateway_sees_it(acme, developer):
    def version() -> int:
        with tenancy.scope(acme.workspace.pk):
            acme.workspace.refresh_from_db()
            return acme.workspace.config_version

    seen = [version()]
    made = developer("POST", "/api/token/", {"name": "a"}).json()
    seen.append(version())
    developer("PATCH", f"/api/token/{made['id']}", {"status": 2})
    seen.append(version())
    developer("DELETE", f"/api/token/{made['id']}")
    seen.append(version())
    assert seen == sorted(set(seen))


# --- Finding and removing -------------------------------------------------------------------------------------------
def test_keys_are_found_by_name_environment_mask_status_and_policy(acme, developer):
    policy = make_policy(acme.workspace, acme.person(Role.DEVELOPER))
    for body in ({"name": "support-prod", "environment": "prod"}, {"name": "Research", "expired_time": 1}, {"name": "old", "status": 2}):
        developer("POST", "/api/token/", body)
    _, plaintext = make_key(acme, name="bound", firewall_policy=policy)

    def names(query: str) -> set[str]:
        return {row["name"] for row in developer("GET", f"/api/token/?{query}").json()["results"]}

    assert names("q=PROD") == names("environment=prod") == {"support-prod"}
    assert names("q=research") == names("status=3") == {"Research"}
    assert names("status=2,3") == {"Research", "old"}
    assert names(f"q={token.mask(*token.ends(plaintext))}") == names(f"firewall_policy_id={policy.pk}") == {"bound"}
    assert names("firewall_policy_id=0&status=1") == {"support-prod"}
    assert {row["name"] for row in developer("GET", "/api/token/search?keyword=old").json()["results"]} == {"old"}
    assert refusal(developer("GET", "/api/token/?status=9")) == (400, "validation_error", "status")
    assert refusal(developer("GET", "/api/token/?sort=name")) == (400, "validation_error", "sort")


def test_a_long_list_comes_in_pages(acme, developer):
    for number in range(5):
        make_key(acme, name=f"agent-{number}")
    first = developer("GET", "/api/token/?limit=2").json()
    second = developer("GET", first["next"]).json()
    assert [row["name"] for row in first["results"] + second["results"]] == ["agent-4", "agent-3", "agent-2", "agent-1"]
    assert developer("GET", second["previous"]).json()["results"] == first["results"]


def test_a_deleted_key_is_gone_and_on_record(acme, developer):
    key, plaintext = make_key(acme)
    assert developer("DELETE", f"/api/token/{key.pk}").status_code == 204
    assert refusal(developer("GET", f"/api/token/{key.pk}"))[0] == 404
    assert audit_of(acme, "key_delete") == [{"key": token.mask(*token.ends(plaintext))}]


def test_a_batch_deletes_all_or_none(acme, rival, developer):
    ours, theirs = [make_key(acme)[0].pk, make_key(acme)[0].pk], make_key(rival)[0].pk
    assert refusal(developer("POST", "/api/token/batch", {"ids": [*ours, theirs]})) == (404, "not_found", "ids")
    assert len(developer("GET", "/api/token/").json()["results"]) == 2
    for wrong in ({}, {"ids": []}, {"ids": ["x"]}, {"ids": list(range(1, 202))}):
        assert refusal(developer("POST", "/api/token/batch", wrong))[:2] == (400, "validation_error")
    assert developer("POST", "/api/token/batch", {"ids": ours}).json() == {"deleted": 2}
    assert developer("GET", "/api/token/").json()["results"] == []


# --- Gateway keys ---------------------------------------------------------------------------------------------------
def test_a_gateway_key_needs_an_admin(acme, developer, admin):
    assert refusal(developer("POST", "/api/token/", {"name": "a", "is_firewall_gateway": True}))[:2] == (403, "permission_denied")
    plain = developer("POST", "/api/token/", {"name": "a"}).json()
    assert refusal(developer("PATCH", f"/api/token/{plain['id']}", {"is_firewall_gateway": True}))[:2] == (403, "permission_denied")
    assert admin("PATCH", f"/api/token/{plain['id']}", {"is_firewall_gateway": True}).json()["is_firewall_gateway"]
    # A key that is one already may be renamed and switched off by those who run it.
    assert developer("PATCH", f"/api/token/{plain['id']}", {"is_firewall_gateway": True, "status": 2}).status_code == 200
    without_scope = Caller(acme, Role.ADMIN, ("read", "write"))
    assert refusal(without_scope("POST", "/api/token/", {"name": "b", "is_firewall_gateway": True}))[:2] == (403, "permission_denied")


# --- Revealing ------------------------------------------------------------------------------------------------------
def test_a_gateway_key_is_not_made_ordinary_to_be_read(acme, developer, admin):
    key, _ = make_key(acme, is_firewall_gateway=True)
    assert refusal(developer("PATCH", f"/api/token/{key.pk}", {"is_firewall_gateway": False}))[:2] == (403, "permission_denied")
    assert refusal(developer("POST", f"/api/token/{key.pk}/reveal"))[:2] == (403, "permission_denied")
    assert not admin("PATCH", f"/api/token/{key.pk}", {"is_firewall_gateway": False}).json()["is_firewall_gateway"]


def test_a_key_is_revealed_to_a_developer_on_record_and_never_stored_by_a_browser(acme, developer):
    key, plaintext = make_key(acme)
    answer = developer("POST", f"/api/token/{key.pk}/reveal")
    assert (answer.status_code, answer.json(), answer["Cache-Control"]) == (200, {"id": key.pk, "key": plaintext}, "no-store")
    assert audit_of(acme, "key_reveal") == [{"key": token.mask(*token.ends(plaintext))}]


def test_revealing_asks_for_the_scope_and_the_role(acme, developer):
    ordinary, gateway = make_key(acme)[0], make_key(acme, is_firewall_gateway=True)[0]
    for caller, key in ((Caller(acme, Role.MEMBER), ordinary), (Caller(acme, Role.DEVELOPER, ("read", "write")), ordinary), (developer, gateway)):
        assert refusal(caller("POST", f"/api/token/{key.pk}/reveal"))[:2] == (403, "permission_denied")
    assert Caller(acme, Role.ADMIN, ("reveal",))("POST", f"/api/token/{gateway.pk}/reveal").status_code == 200


def test_a_browser_reveals_only_soon_after_the_sign_in(acme, clock):
    key, plaintext = make_key(acme)
    client = acme.client(Role.DEVELOPER)
    csrf = {"content_type": "application/json"}
    assert client.post(f"/api/token/{key.pk}/reveal", **csrf).json()["key"] == plaintext
    clock.shift(16 * 60)
    late = client.post(f"/api/token/{key.pk}/reveal", **csrf)
    assert refusal(late)[:2] == (403, "permission_denied")
    assert late.json()["error"]["metadata"] == {"reauthenticate": True}


def test_a_person_reveals_ten_keys_an_hour(acme, developer, admin, clock):
    key, plaintext = make_key(acme)
    assert [developer("POST", f"/api/token/{key.pk}/reveal").status_code for _ in range(10)] == [200] * 10
    assert refusal(developer("POST", f"/api/token/{key.pk}/reveal"))[:2] == (429, "rate_limited")
    assert admin("POST", f"/api/token/{key.pk}/reveal").status_code == 200
    clock.shift(3601)
    assert developer("POST", f"/api/token/{key.pk}/reveal").json()["key"] == plaintext


def test_without_kept_copies_nothing_is_revealed_and_nothing_kept(acme, developer, settings):
    before = make_key(acme)[0]
    settings.KEEP_SEALED_KEYS = False
    after = developer("POST", "/api/token/", {"name": "a"}).json()["id"]
    for pk in (before.pk, after):
        assert refusal(developer("POST", f"/api/token/{pk}/reveal"))[:2] == (409, "conflict")
    settings.KEEP_SEALED_KEYS = True
    assert refusal(developer("POST", f"/api/token/{after}/reveal"))[:2] == (409, "conflict")


def test_a_replayed_creation_shows_the_mask(acme, developer):
    first, second = (developer("POST", "/api/token/", {"name": "a"}, **{"Idempotency-Key": "one"}) for _ in range(2))
    assert token.is_well_formed(first.json()["key"])
    assert second.json() == first.json() | {"key": token.mask(*token.ends(first.json()["key"]))}
    assert len(developer("GET", "/api/token/").json()["results"]) == 1


def test_a_key_without_credentials_is_nobodys(db):
    assert refusal(Client().post("/api/token/", "{}", content_type="application/json"))[:2] == (401, "authentication_required")
