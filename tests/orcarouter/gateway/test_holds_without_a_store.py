"""Holds when nothing can be written: what would be held is denied, what cannot be recorded is not answered, and nothing is spent."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx2 as httpx
import pytest
from django.db import connections

from orcarouter.supervision.child import Child
from tests.orcarouter.gateway.conftest import Agent, make_agent
from tests.orcarouter.gateway.test_approval_webhook import call_back
from tests.orcarouter.gateway.test_holds import HOLDS, calls_of, chat, decide, evaluate, poll, refused
from tests.orcarouter.gateway.test_kills import wait_for_postgres, wait_until_served
from workspaces import tenancy
from workspaces.permissions import Role
from workspaces.selectors import hold

pytestmark = pytest.mark.stack


@pytest.fixture
def gateway(stack, committed):
    made = make_agent(stack, is_firewall_gateway=True)
    made.policy(default_verdict="allow", rules=[HOLDS])
    return made


@pytest.fixture
def postgres(servers) -> Child:
    return next(child for child in servers.children if "postgres" in child.name)


@contextmanager
def stopped(postgres: Child) -> Iterator[None]:
    connections.close_all()
    postgres.stop()
    try:
        yield
    finally:
        postgres.start()
        assert postgres.wait_ready()
        wait_for_postgres()


def wait_for_decision(agent: Agent, approval_id: str) -> str:
    """What an agent does: it asks until somebody has decided."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        answer = poll(agent, approval_id, "?wait=2")
        if answer.status_code == 200 and answer.json()["state"] != "pending":
            return answer.json()["state"]
        assert answer.status_code in (200, 503)
        time.sleep(0.1)
    raise AssertionError("nobody decided")


def test_with_postgresql_stopped_nothing_is_held_spent_or_told_and_afterwards_all_of_it_is(gateway, stack, postgres):
    approved, waits = (evaluate(gateway, {"n": n}).json()["approval_id"] for n in range(2))
    decide(gateway, approved)
    with ThreadPoolExecutor(9) as many:
        waiting = many.submit(wait_for_decision, gateway, waits)
        session = gateway.tenant.client(Role.OWNER).cookies["sessionid"].value
        with stopped(postgres):
            looking = [
                many.submit(httpx.get, f"{stack.url}{path}", cookies={"sessionid": session}, timeout=30)
                for path in ("/policies/", "/api/workspace/firewall/policies")
            ]
            asked = [
                many.submit(evaluate, gateway, {"n": 2}),
                many.submit(evaluate, gateway, {"n": 0}, approved),
                many.submit(chat, gateway),
                many.submit(chat, gateway, stream=True),
                many.submit(poll, gateway, waits),
                many.submit(call_back, gateway, waits),
            ]
            answers, pages = ([each.result() for each in every] for every in (asked, looking))
        wait_until_served(stack, gateway)
        assert [(answer.status_code, answer.json()["error"]["code"]) for answer in answers] == [(503, "store_unavailable")] * 6
        assert all(answer.headers["retry-after"] for answer in answers)
        assert [(page.status_code, "The database does not answer" in page.text) for page in pages] == [(503, True)] * 2
        # Who waited meanwhile hears of the decision.
        decide(gateway, waits)
        assert waiting.result() == "approved"
    with tenancy.scope(gateway.workspace.pk):
        assert gateway.workspace.approvals.count() == 2
    assert evaluate(gateway, {"n": 0}, approved).json()["verdict"] == "allow"
    refused(evaluate(gateway, {"n": 0}, approved), "used")


def test_what_cannot_be_held_in_time_is_denied_and_what_cannot_be_spent_is_not(gateway):
    approved = evaluate(gateway, {"n": 0}).json()["approval_id"]
    decide(gateway, approved)
    with ThreadPoolExecutor(4) as many:
        with tenancy.scope(gateway.workspace.pk):
            hold(gateway.workspace.pk)
            asked = [many.submit(chat, gateway), many.submit(chat, gateway, stream=True), many.submit(evaluate, gateway, {"n": 1})]
            spending = many.submit(evaluate, gateway, {"n": 0}, approved)
            # Those who only read do not wait.
            assert poll(gateway, approved).json()["state"] == "approved"
            whole, streamed, judged, spent = (each.result() for each in [*asked, spending])
    assert (judged.json()["verdict"], judged.json()["metadata"]["reason_code"]) == ("deny", "approval_store_down")
    for answer in (whole, streamed):
        assert (answer.status_code, calls_of(answer), "nobody can be asked just now" in answer.text) == (200, [], True)
    assert {event.reason_code for event in gateway.events(surface="response")} == {"approval_store_down"}
    assert (spent.status_code, spent.json()["error"]["code"]) == (503, "store_unavailable")
    with tenancy.scope(gateway.workspace.pk):
        assert [each.state for each in gateway.workspace.approvals.all()] == ["approved"]
    assert evaluate(gateway, {"n": 0}, approved).json()["verdict"] == "allow"
