"""Personal access tokens: scopes and role, ends, and that the plaintext is nowhere."""

from datetime import timedelta

import pytest
import time_machine
from django.db import connection
from django.test import Client
from django.utils import timezone

from workspaces import services, tenancy
from workspaces.permissions import Role

TOKENS = "/api/workspace/access-tokens/"


def bearer(token: str) -> dict:
    return {"Authorization": f"Bearer {token}"}


def make(acme, role=Role.DEVELOPER, **body):
    return acme.client(role).post(TOKENS, {"name": "export", **body}, content_type="application/json")


def test_a_token_is_shown_once_and_works_until_it_is_revoked(acme):
    made = make(acme)
    assert (made.status_code, made.headers["Cache-Control"]) == (201, "no-store")
    token, pk = made.json()["token"], made.json()["id"]
    assert token.startswith("orca-pat-")
    assert len(token) == len("orca-pat-") + 40
    assert made.json()["scopes"] == ["read", "write"]
    assert Client().get("/api/workspace/", headers=bearer(token)).json()["id"] == acme.workspace.pk
    listed = acme.client(Role.DEVELOPER).get(TOKENS).json()["results"]
    assert (listed[0]["token_end"], "token" in listed[0], bool(listed[0]["last_used_at"])) == (token[-4:], False, True)
    assert Client().delete(f"{TOKENS}{pk}/", headers=bearer(token)).status_code == 204
    assert Client().get("/api/workspace/", headers=bearer(token)).status_code == 401


@pytest.mark.parametrize(
    ("role", "scopes", "asked", "status"),
    [
        (Role.ADMIN, ["read"], "get /api/workspace/members/", 200),
        (Role.ADMIN, ["read"], "get /api/workspace/invitations/", 403),
        (Role.ADMIN, ["read", "write"], "patch /api/workspace/", 403),
        (Role.ADMIN, ["admin"], "patch /api/workspace/", 200),
        (Role.ADMIN, ["admin"], "get /api/workspace/members/", 403),
        (Role.DEVELOPER, ["read", "write", "admin", "approve", "reveal"], "patch /api/workspace/", 403),
        (Role.MEMBER, ["read", "admin"], "get /api/workspace/audit/", 403),
        (Role.DEVELOPER, ["read"], "get /api/workspace/audit/", 200),
    ],
)
def test_a_token_may_what_both_its_scopes_and_the_role_allow(acme, role, scopes, asked, status):
    method, path = asked.split()
    token = acme.token(role, *scopes)
    body = {"data": {"name": "renamed"}, "content_type": "application/json"} if method == "patch" else {}
    assert getattr(Client(), method)(path, headers=bearer(token), **body).status_code == status


def test_a_token_makes_no_tokens(acme):
    token = acme.token(Role.OWNER)
    answer = Client().post(TOKENS, {"name": "child"}, content_type="application/json", headers=bearer(token))
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "permission_denied")


def test_a_token_ends_on_its_day(acme):
    token = make(acme, expires_in_days=1).json()["token"]
    with tenancy.scope(acme.workspace.pk):
        acme.workspace.access_tokens.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert Client().get("/api/workspace/", headers=bearer(token)).status_code == 401


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"expires_in_days": 366}, "expires_in_days"),
        ({"expires_in_days": 0}, "expires_in_days"),
        ({"scopes": []}, "scopes"),
        ({"scopes": ["root"]}, "scopes.0"),
        ({"name": ""}, "name"),
        ({"workspace": 1}, "workspace"),
    ],
)
def test_what_is_wrong_is_named(acme, body, param):
    answer = make(acme, **body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


def test_tokens_are_ones_own(acme):
    pk = make(acme, Role.DEVELOPER).json()["id"]
    owner = acme.client(Role.OWNER)
    assert owner.get(TOKENS).json()["results"] == []
    assert owner.delete(f"{TOKENS}{pk}/").status_code == 404


def test_a_token_belongs_to_one_workspace(acme, rival):
    with tenancy.scope(rival.workspace.pk):
        rival.workspace.memberships.create(user=acme.person(Role.OWNER), role=Role.OWNER)
    token = acme.token(Role.OWNER)
    assert [row["name"] for row in Client().get("/api/workspaces/", headers=bearer(token)).json()["results"]] == ["acme"]
    elsewhere = bearer(token) | {"X-Workspace-Id": str(rival.workspace.pk)}
    assert Client().get("/api/workspace/", headers=elsewhere).status_code == 404
    assert len(acme.client(Role.OWNER).get("/api/workspaces/").json()["results"]) == 2


def test_a_person_has_a_bounded_number_of_tokens(acme):
    with tenancy.scope(acme.workspace.pk):
        made, now = make(acme).json(), timezone.now()
        one = acme.workspace.access_tokens.get(pk=made["id"])
        for n in range(services.TOKENS_A_PERSON - 1):
            one.pk, one.token_hash = None, f"{n:064}"
            one.save(force_insert=True)
    assert make(acme).status_code == 409
    with time_machine.travel(now + timedelta(days=91), tick=False):
        assert make(acme).status_code == 201


@pytest.mark.parametrize(
    "header", ["Bearer sk-orca-" + "a" * 48, "Bearer orca-pat-wrong", "Basic eDp5", "Bearer", "orca-pat-" + "a" * 40, "Bearer orca-pat-\u00e9"]
)
def test_anything_else_is_401(acme, header):
    answer = acme.client(Role.OWNER).get("/api/workspace/", headers={"Authorization": header})
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "authentication_required")


def test_no_secret_shown_once_is_in_the_database(acme):
    """Every table, every column as text: neither the token nor the invitation's, nor what an idempotent replay would show."""
    key = {"Idempotency-Key": "once"}
    client = acme.client(Role.OWNER)
    token = client.post(TOKENS, {"name": "export"}, content_type="application/json", headers=key).json()["token"]
    link = client.post("/api/workspace/invitations/", {"email": "a@example.com", "role": "member"}, content_type="application/json", headers=key).json()["link"]
    with tenancy.scope(acme.workspace.pk), connection.cursor() as cursor:
        cursor.execute("SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'public' AND c.relkind = 'r'")
        tables = [name for (name,) in cursor.fetchall()]
        cursor.execute("SELECT count(*) FROM workspaces_idempotencyrecord")
        assert cursor.fetchone() == (2,)
        for table in tables:
            cursor.execute("SELECT has_table_privilege(%s, 'SELECT')", [f'public."{table}"'])
            if cursor.fetchone() == (False,):
                continue
            for canary in (token, token.removeprefix("orca-pat-"), link.rstrip("/").rpartition("/")[2]):
                cursor.execute(f'SELECT count(*) FROM "{table}" AS r WHERE strpos(r::text, %s) > 0', [canary])
                assert cursor.fetchone() == (0,), table
