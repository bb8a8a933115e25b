"""Every route of the management API and every page: who may, what another workspace sees of it, how it says no."""

import json
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver
from django.utils import timezone

import firewall.autonomy
import firewall.backtests
import firewall.services
import keys.services
import workspaces.services
from tests.factories.approvals import make_hold, make_holding_policy
from tests.factories.workspaces import Tenant
from workspaces import tenancy
from workspaces.permissions import Role

M, D, A, O = Role.MEMBER, Role.DEVELOPER, Role.ADMIN, Role.OWNER  # noqa: E741
MISSING = 999_999_999

#: The least role of every management route (spec/decisions.md 2, spec/firewall.md 10.1): a route without a row fails.
ROLES = {
    "GET /api/workspaces/": M,
    "GET /api/workspace/": M,
    "PUT /api/workspace/": A,
    "PATCH /api/workspace/": A,
    "GET /api/workspace/members/": M,
    "GET /api/workspace/members/{}/": M,
    "PUT /api/workspace/members/{}/": A,
    "PATCH /api/workspace/members/{}/": A,
    "DELETE /api/workspace/members/{}/": A,
    "GET /api/workspace/invitations/": A,
    "POST /api/workspace/invitations/": A,
    "GET /api/workspace/invitations/{}/": A,
    "DELETE /api/workspace/invitations/{}/": A,
    "GET /api/workspace/access-tokens/": M,
    "POST /api/workspace/access-tokens/": M,
    "GET /api/workspace/access-tokens/{}/": M,
    "DELETE /api/workspace/access-tokens/{}/": M,
    "GET /api/workspace/audit/": D,
    "GET /api/workspace/audit/{}/": D,
    "GET /api/workspace/firewall/policies": M,
    "POST /api/workspace/firewall/policies": D,
    "PUT /api/workspace/firewall/policies": D,
    "GET /api/workspace/firewall/policies/{}": M,
    "PUT /api/workspace/firewall/policies/{}": D,
    "PATCH /api/workspace/firewall/policies/{}": D,
    "DELETE /api/workspace/firewall/policies/{}": D,
    "PUT /api/workspace/firewall/policies/{}/rules/order": D,
    "GET /api/workspace/firewall/policies/{}/versions": M,
    "GET /api/workspace/firewall/policies/{}/versions/diff": M,
    "GET /api/workspace/firewall/policies/{}/versions/{}": M,
    "POST /api/workspace/firewall/policies/{}/restore": D,
    "POST /api/workspace/firewall/policies/{}/fork": D,
    "GET /api/workspace/firewall/policies/{}/export": M,
    "POST /api/workspace/firewall/policies/import": D,
    "GET /api/workspace/firewall/rules": M,
    "POST /api/workspace/firewall/rules": D,
    "PUT /api/workspace/firewall/rules": D,
    "GET /api/workspace/firewall/rules/{}": M,
    "PUT /api/workspace/firewall/rules/{}": D,
    "PATCH /api/workspace/firewall/rules/{}": D,
    "DELETE /api/workspace/firewall/rules/{}": D,
    "GET /api/workspace/firewall/settings": M,
    "PUT /api/workspace/firewall/settings": D,
    "GET /api/workspace/firewall/approvals": D,
    "GET /api/workspace/firewall/approvals/{}": D,
    "POST /api/workspace/firewall/approvals/{}/approve": D,
    "POST /api/workspace/firewall/approvals/{}/reject": D,
    "GET /api/workspace/firewall/approval-webhook/deliveries": D,
    "GET /api/workspace/firewall/approval-webhook/deliveries/{}": D,
    "POST /api/workspace/firewall/approval-webhook/deliveries/{}/resend": A,
    "POST /api/workspace/firewall/approval-webhook/test": A,
    "POST /api/workspace/firewall/approval-webhook/resume": A,
    "GET /api/workspace/firewall/presets": M,
    "GET /api/workspace/firewall/templates": M,
    "POST /api/workspace/firewall/templates/apply": D,
    "POST /api/workspace/firewall/autonomy": D,
    "POST /api/workspace/firewall/autonomy/undo/{}": D,
    "GET /api/workspace/firewall/simulate": M,
    "GET /api/workspace/firewall/policies/{}/shadow-report": D,
    "POST /api/workspace/firewall/test": D,
    "GET /api/workspace/firewall/backtests": D,
    "POST /api/workspace/firewall/backtests": D,
    "GET /api/workspace/firewall/backtests/{}": D,
    "POST /api/workspace/firewall/backtests/{}/cancel": D,
    "GET /api/workspace/firewall/discovered-tools": M,
    "GET /api/workspace/firewall/events": D,
    "GET /api/workspace/firewall/events/by-request/{}": D,
    "GET /api/workspace/firewall/events/aggregate": D,
    "GET /api/workspace/firewall/trace/by-run": D,
    "POST /api/workspace/firewall/runs/stop": D,
    "GET /api/workspace/usage/": M,
    "GET /api/workspace/usage/export/": D,
    "GET /api/token/": M,
    "GET /api/token/search/": M,
    "GET /api/token/export/": D,
    "POST /api/token/": D,
    "PUT /api/token/": D,
    "POST /api/token/batch/": D,
    "GET /api/token/{}/": M,
    "PUT /api/token/{}/": D,
    "PATCH /api/token/{}/": D,
    "DELETE /api/token/{}/": D,
    "POST /api/token/{}/reveal/": D,
    "GET /api/workspace/budgets/": A,
    "POST /api/workspace/budgets/": A,
    "GET /api/workspace/budgets/{}/": A,
    "PUT /api/workspace/budgets/{}/": A,
    "PATCH /api/workspace/budgets/{}/": A,
    "DELETE /api/workspace/budgets/{}/": A,
    "GET /api/workspace/tool-prices/": A,
    "PUT /api/workspace/tool-prices/": A,
    "GET /api/workspace/prices/": A,
    "POST /api/workspace/prices/": A,
    "GET /api/workspace/prices/{}/": A,
    "PUT /api/workspace/prices/{}/": A,
    "PATCH /api/workspace/prices/{}/": A,
    "DELETE /api/workspace/prices/{}/": A,
    "GET /api/workspace/providers/": A,
    "POST /api/workspace/providers/": A,
    "GET /api/workspace/providers/{}/": A,
    "PUT /api/workspace/providers/{}/": A,
    "PATCH /api/workspace/providers/{}/": A,
    "DELETE /api/workspace/providers/{}/": A,
    "POST /api/workspace/providers/{}/test/": A,
}


@dataclass(frozen=True)
class Route:
    method: str
    pattern: str

    def __str__(self) -> str:
        return f"{self.method} {self.pattern}"

    def path(self, pk: object = MISSING) -> str:
        return self.pattern.replace("{}", str(pk))


def api_routes(resolver: URLResolver | None = None, prefix: str = "/") -> Iterator[Route]:
    """The routes of the management API as the URL map has them, path parameters as ``{}``."""
    for entry in (resolver or get_resolver()).url_patterns:
        pattern = prefix + str(entry.pattern)
        if isinstance(entry, URLResolver):
            yield from api_routes(entry, pattern)
        elif isinstance(entry, URLPattern) and hasattr(entry.callback, "actions"):
            shown = "".join(part.partition(">")[2] if index else part for index, part in enumerate(pattern.replace("<", "{}<").split("<")))
            yield from (Route(method.upper(), shown) for method in entry.callback.actions)


ROUTES = list(api_routes())


def send(client: Client, route: Route, pk: object = MISSING, body: object = None, **headers: str):
    return client.generic(route.method, route.path(pk), json.dumps({} if body is None else body), content_type="application/json", headers=headers)


def is_error_body(answer) -> bool:
    error = answer.json()["error"]
    return set(error) - {"metadata"} == {"message", "type", "code", "param"} and error["type"] == "orcarouter_api_error"


def test_the_table_has_every_route_and_no_other():
    assert {str(route) for route in ROUTES} == set(ROLES)


@pytest.mark.parametrize("route", ROUTES, ids=str)
def test_a_role_below_is_refused_and_one_above_is_not(route, acme):
    for role in Role:
        answer = send(acme.client(role), route)
        if role < ROLES[str(route)]:
            assert (role, answer.status_code, answer.json()["error"]["code"]) == (role, 403, "permission_denied")
            assert is_error_body(answer)
        else:
            assert (role, answer.status_code) not in [(role, 401), (role, 403)]
            assert answer.status_code < 500


@pytest.mark.parametrize("route", ROUTES, ids=str)
def test_nobody_and_a_relay_key_are_401(route, acme):
    for headers in ({}, {"Authorization": "Bearer sk-orca-" + "a" * 48}, {"Authorization": "Bearer orca-pat-" + "a" * 40}, {"Authorization": "Basic eDp5"}):
        answer = send(Client(), route, **headers)
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "authentication_required")
        assert is_error_body(answer)


@pytest.mark.parametrize("route", ROUTES, ids=str)
def test_a_workspace_of_others_is_404_and_a_malformed_one_400(route, acme, rival):
    client = acme.client(Role.OWNER)
    for value, status, code in (
        (str(rival.workspace.pk), 404, "not_found"),
        (str(MISSING), 404, "not_found"),
        ("x", 400, "validation_error"),
        ("-1", 400, "validation_error"),
    ):
        answer = send(client, route, **{"X-Workspace-Id": value})
        assert (value, answer.status_code, answer.json()["error"]["code"]) == (value, status, code)
        assert is_error_body(answer)


def make_rows(tenant: Tenant) -> dict[str, object]:
    """One row of everything that has an id in a path, by the path's beginning."""
    owner, at, workspace = tenant.person(Role.OWNER), timezone.now(), tenant.workspace
    with tenancy.scope(workspace.pk):
        policy = firewall.services.create_policy(workspace, fields={"name": "theirs"}, rules=[{"verdict": "allow"}], actor=owner, at=at)
        key, _ = keys.services.create_key(workspace, fields={"name": "theirs"}, actor=owner, at=at)
        provider = workspace.providers.create(name="theirs", base_url="https://api.example.com/v1")
        invitation, _ = workspaces.services.invite(workspace, email="new@example.com", role=M, actor=owner, at=at)
        token, _ = workspaces.services.create_access_token(
            workspace, user=owner, name="theirs", scopes=["read"], expires_at=at + timezone.timedelta(days=1), at=at
        )
        delivery = workspace.deliveries.create(
            channel="webhook", message_id=f"msg_theirs{workspace.pk}", event="firewall.approval.test", body="{}", attempts_left=1, due_at=at
        )
        return {
            "/api/workspace/firewall/approvals/": make_hold(make_holding_policy(tenant)).pk,
            "/api/workspace/firewall/approval-webhook/deliveries/": delivery.pk,
            "/api/workspace/members/": workspace.memberships.get(user=tenant.person(M)).pk,
            "/api/workspace/invitations/": invitation.pk,
            "/api/workspace/access-tokens/": token.pk,
            "/api/workspace/audit/": workspace.audit_entries.order_by("id")[0].pk,
            "/api/workspace/firewall/policies": policy.pk,
            "/api/workspace/firewall/rules": policy.rules.get().pk,
            "/api/workspace/firewall/autonomy/undo/": firewall.autonomy.apply_level(workspace, level="balanced", actor=owner, at=at).audit_id,
            "/api/workspace/firewall/backtests/": firewall.backtests.start_backtest(workspace, policy_id=policy.pk, actor=owner, at=at).pk,
            "/api/workspace/firewall/events/by-request/": "req_theirs",
            "/api/token/": key.pk,
            "/api/workspace/providers/": provider.pk,
            "/api/workspace/budgets/": workspace.budgets.create(limit_micro_usd=1).pk,
            "/api/workspace/prices/": workspace.price_overrides.create(model="theirs").pk,
        }


WITH_ID = [route for route in ROUTES if "{}" in route.pattern]


@pytest.mark.parametrize("route", WITH_ID, ids=str)
def test_another_workspaces_row_is_missing(route, acme, rival):
    theirs = next(pk for start, pk in make_rows(rival).items() if route.pattern.startswith(start))
    client = acme.client(Role.OWNER)
    if "by-request" in route.pattern:
        # A list of what happened in a request: of another workspace's, and of none, there is nothing.
        assert send(client, route, theirs).content == send(client, route, "req_none").content
        return
    answer, missing = send(client, route, theirs), send(client, route, "f" * 24 if "/approvals/" in route.pattern else MISSING)
    assert (answer.status_code, answer.json()) == (404, missing.json())
    assert is_error_body(answer)


@pytest.mark.parametrize("route", [route for route in WITH_ID if "by-request" not in route.pattern], ids=str)
@pytest.mark.parametrize("pk", ["x", "-1", "1.5", "99999999999999999999999", "%00", "１"])
def test_a_malformed_id_is_400(route, pk, acme):
    answer = send(acme.client(Role.OWNER), route, pk)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "id")
    assert is_error_body(answer)


@pytest.mark.parametrize("route", [route for route in ROUTES if route.method in ("PUT", "POST") and "{}" not in route.pattern], ids=str)
@pytest.mark.parametrize(
    "raw",
    [
        b"{",
        b"[]",
        b'"x"',
        b"null",
        b"{}",
        b'{"a": 1, "a": 2}',
        b'{"a": NaN}',
        b"[" * 100_000,
        b'{"nope": 1}',
        b'{"name": "\\ud800"}',
        b'{"\\ud800": 1}',
        b'{"name": "\\u0000"}',
        b"\xff",
    ],
)
def test_a_bad_body_is_a_4xx_in_the_one_body(route, raw, acme):
    answer = acme.client(Role.OWNER).generic(route.method, route.path(), raw, content_type="application/json")
    assert answer.status_code < 500
    if answer.status_code >= 400:
        assert is_error_body(answer)


@pytest.mark.parametrize("route", ROUTES, ids=str)
def test_an_unknown_query_parameter_is_400_that_names_it(route, acme):
    answer = acme.client(Role.OWNER).generic(route.method, route.path() + "?nonsense=1", "{}", content_type="application/json")
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "nonsense")


@pytest.mark.parametrize("pattern", sorted({route.pattern for route in ROUTES}))
def test_a_method_that_a_route_does_not_have_is_405_and_slashes_do_not_matter(pattern, acme):
    client = acme.client(Role.OWNER)
    path = pattern.replace("{}", str(MISSING))
    for method in ("TRACE", "OPTIONS"):
        answer = client.generic(method, path)
        assert (answer.status_code, answer.json()["error"]["code"]) == (405, "method_not_allowed")
    known = next(route for route in ROUTES if route.pattern == pattern)
    other = Route(known.method, pattern[:-1] if pattern.endswith("/") else pattern + "/")
    assert send(client, other).status_code == send(client, known).status_code


@pytest.mark.parametrize("path", ["/api/none", "/api/", "/api/workspace/none/", "/api/token/1/none"])
def test_an_unknown_path_under_api_has_the_one_body(path, acme):
    for client in (Client(), acme.client(Role.OWNER)):
        answer = client.get(path)
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")
        assert is_error_body(answer)
