"""Every console page: who may open it, and what another workspace's rows look like from here."""

import pytest
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from tests.test_routes import MISSING, make_rows
from workspaces.permissions import Role

M, D, A, O = Role.MEMBER, Role.DEVELOPER, Role.ADMIN, Role.OWNER  # noqa: E741

#: The least role of every page (spec/decisions.md 2); None is a page before, or beside, a workspace.
ROLES = {
    "/": M,
    "/access-tokens/": M,
    "/access-tokens/<pk>/revoke/": M,
    "/access-tokens/new/": M,
    "/approvals/": D,
    "/approvals/<pk>/": D,
    "/approvals/<pk>/decide/": D,
    "/audit/": D,
    "/backtests/": D,
    "/backtests/<pk>/": D,
    "/backtests/<pk>/cancel/": D,
    "/policies/<pk>/backtest/": D,
    "/budgets/": A,
    "/budgets/<pk>/delete/": A,
    "/events/": D,
    "/events/<pk>/": D,
    "/events/<pk>/<place>/": D,
    "/events/live/": D,
    "/invitation/<token>/": None,
    "/invitations/<pk>/revoke/": A,
    "/keys/": M,
    "/keys/<pk>/": M,
    "/keys/<pk>/delete/": D,
    "/keys/<pk>/edit/": D,
    "/keys/<pk>/leak/": D,
    "/keys/<pk>/reveal/": D,
    "/keys/<pk>/rotation/": D,
    "/keys/<pk>/switch/": D,
    "/keys/bulk/": D,
    "/keys/effect/": D,
    "/keys/export/": D,
    "/keys/new/": D,
    "/members/": M,
    "/members/<pk>/remove/": A,
    "/members/<pk>/role/": A,
    "/members/invite/": A,
    "/policies/": M,
    "/policies/<pk>/": M,
    "/policies/<pk>/delete/": D,
    "/policies/<pk>/export/": M,
    "/policies/<pk>/fork/": D,
    "/policies/<pk>/presets/": D,
    "/policies/<pk>/history/": M,
    "/policies/<pk>/import/": D,
    "/policies/<pk>/restore/": D,
    "/policies/<pk>/effect/": D,
    "/policies/<pk>/rule-effect/": D,
    "/policies/<pk>/rule-json/": D,
    "/policies/<pk>/rule-words/": M,
    "/policies/<pk>/rules/": D,
    "/policies/<pk>/rules/<rule>/": D,
    "/policies/<pk>/rules/<rule>/delete/": D,
    "/policies/<pk>/rules/<rule>/duplicate/": D,
    "/policies/<pk>/rules/<rule>/fix/": D,
    "/policies/<pk>/rules/<rule>/switch/": D,
    "/policies/<pk>/rules/order/": D,
    "/policies/<pk>/set/": D,
    "/policies/<pk>/shadow/": D,
    "/policies/import/": D,
    "/policies/new/": D,
    "/profile/": M,
    "/posture/": M,
    "/posture/apply/": D,
    "/posture/undo/": D,
    "/prices/": A,
    "/prices/<pk>/": A,
    "/prices/<pk>/delete/": A,
    "/prices/new/": A,
    "/prices/tools/": A,
    "/providers/": A,
    "/providers/<pk>/": A,
    "/providers/<pk>/delete/": A,
    "/providers/<pk>/move/": A,
    "/providers/<pk>/test/": A,
    "/providers/new/": A,
    "/runs/": D,
    "/runs/<key_id>/<run_id>/": D,
    "/runs/<key_id>/<run_id>/stop/": D,
    "/search/": M,
    "/settings/": M,
    "/settings/deliveries/": D,
    "/settings/deliveries/<pk>/": D,
    "/settings/plan/remove/": A,
    "/settings/webhook/": A,
    "/templates/": M,
    "/templates/<template>/apply/": D,
    "/test/": D,
    "/test/recent/": D,
    "/tools/": M,
    "/tools/draft/": D,
    "/usage/": M,
    "/usage/export/": D,
    "/workspace/leave/": M,
    "/workspace/rename/": A,
    "/workspace/switch/": None,
}
#: What a placeholder becomes when nothing of it exists.
NOTHING = {"<pk>": str(MISSING), "<rule>": str(MISSING), "<place>": "1", "<key_id>": str(MISSING), "<run_id>": "run_none", "<token>": "x", "<template>": "none"}
NO_EVENT = "00000000-0000-7000-8000-000000000000"


def pages(resolver: URLResolver, prefix: str = "/"):
    """``(path, view)`` of every page; placeholders without their converter."""
    for entry in resolver.url_patterns:
        pattern = prefix + str(entry.pattern)
        if isinstance(entry, URLResolver):
            if not pattern.startswith(("/api/", "/account/")):
                yield from pages(entry, pattern)
        elif isinstance(entry, URLPattern):
            yield "".join("<" + part.rpartition(":")[2] if ">" in part else part for part in pattern.split("<")).replace("<", "<"), entry.callback


FOUND = sorted(path for path, _ in pages(get_resolver()))
GUARDED = [path for path in FOUND if ROLES.get(path) is not None]


def filled(path: str, **values: str) -> str:
    if path.startswith("/events/"):
        path = path.replace("<pk>", NO_EVENT)
    for name, value in (NOTHING | values).items():
        path = path.replace(name, value)
    return path


def visit(client: Client, path: str):
    """GET a page; a page that only takes forms is posted an empty one."""
    answer = client.get(path)
    return client.post(path) if answer.status_code == 405 else answer


def test_the_table_has_every_page_and_no_other():
    assert set(FOUND) == set(ROLES)


@pytest.mark.parametrize("path", GUARDED)
def test_a_role_below_is_refused_and_one_above_is_not(path, acme):
    for role in Role:
        answer = visit(acme.client(role), filled(path))
        if role < ROLES[path]:
            assert (role, answer.status_code) == (role, 403)
        else:
            assert (role, answer.status_code in (200, 302, 303, 400, 404, 422)) == (role, True), answer.status_code


@pytest.mark.parametrize("path", GUARDED)
def test_a_stranger_is_led_to_the_sign_in(path, db):
    answer = visit(Client(), filled(path))
    assert answer.status_code == 302
    assert answer["Location"].startswith("/account/login/?next=/")


WITH_ROW = {
    "/approvals/<pk>": "/api/workspace/firewall/approvals/",
    "/access-tokens/<pk>": "/api/workspace/access-tokens/",
    "/invitations/<pk>": "/api/workspace/invitations/",
    "/keys/<pk>": "/api/token/",
    "/members/<pk>": "/api/workspace/members/",
    "/policies/<pk>": "/api/workspace/firewall/policies",
    "/budgets/<pk>": "/api/workspace/budgets/",
    "/prices/<pk>": "/api/workspace/prices/",
    "/providers/<pk>": "/api/workspace/providers/",
    "/settings/deliveries/<pk>": "/api/workspace/firewall/approval-webhook/deliveries/",
}


@pytest.mark.parametrize("path", [path for path in GUARDED if any(path.startswith(start) for start in WITH_ROW)])
def test_another_workspaces_row_is_missing(path, acme, rival):
    rows = make_rows(rival)
    pk = next(str(rows[kind]) for start, kind in WITH_ROW.items() if path.startswith(start))
    rule = str(rows["/api/workspace/firewall/rules"])
    answer = visit(acme.client(Role.OWNER), filled(path, **{"<pk>": pk, "<rule>": rule}))
    assert answer.status_code == 404
    assert b"theirs" not in answer.content


def test_another_workspace_is_not_entered_by_switching(acme, rival):
    client = acme.client(Role.OWNER)
    answer = client.post("/workspace/switch/", {"workspace": rival.workspace.pk})
    assert answer.status_code == 404
    assert b"rival" not in client.get("/keys/").content
