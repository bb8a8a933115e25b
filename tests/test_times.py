"""Every time that the management API tells has one form, wherever in an answer it stands."""

import re

import pytest

from tests.factories.activity import UsageFactory
from tests.factories.firewall import EventFactory
from tests.test_routes import ROUTES, make_rows
from workspaces.permissions import Role

TIME = re.compile(r"\d{4}-\d\d-\d\dT[^\",\s]*")
IN_UTC = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z")
#: What a route is asked with where it has no answer without.
QUERIES = {
    "/api/workspace/firewall/policies/{}/versions/diff": ["?from=1&to=1"],
    "/api/workspace/firewall/trace/by-run": ["?run_id=run-1&key_id=1"],
    "/api/workspace/usage/export/": ["?by=call&format=csv", "?by=call&format=json"],
}


def times(answer) -> list[str]:
    return TIME.findall(b"".join(answer).decode())


def of_another_form(told: list[str]) -> list[str]:
    return [time for time in told if not IN_UTC.fullmatch(time)]


@pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume:Warning")
def test_every_answer_has_its_times_in_utc_with_z(acme):
    UsageFactory(workspace=acme.workspace)
    rows = make_rows(acme) | {"/api/workspace/firewall/events/by-request/": EventFactory(workspace=acme.workspace).request_id}
    client, told = acme.client(Role.OWNER), {}
    for route in ROUTES:
        if route.method == "GET":
            path = route.path(next((pk for start, pk in rows.items() if route.pattern.startswith(start)), 0))
            told |= {path + query: times(client.get(path + query)) for query in QUERIES.get(route.pattern, [""])}
    assert {path: wrong for path, found in told.items() if (wrong := of_another_form(found))} == {}
    assert sum(map(bool, told.values())) > 30


def test_a_refusal_of_the_slower_one_has_them_too(acme):
    rows, client = make_rows(acme), acme.client(Role.OWNER)
    policy = f"/api/workspace/firewall/policies/{rows['/api/workspace/firewall/policies']}"
    hold = f"/api/workspace/firewall/approvals/{rows['/api/workspace/firewall/approvals/']}"
    assert client.post(f"{hold}/approve", {}, content_type="application/json").status_code == 200
    for late in (
        client.post(f"{hold}/reject", {}, content_type="application/json"),
        client.patch(policy, {"version": 7, "name": "mine"}, content_type="application/json"),
    ):
        assert late.status_code == 409
        assert len(times(late)) == 1
        assert of_another_form(times(late)) == []
