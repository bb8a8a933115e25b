"""Nothing held is lost by any kill, and over two processes an approval is spent once."""

import time
from concurrent.futures import ThreadPoolExecutor

import httpx2 as httpx
import pytest

from approvals.engine.binding import State
from tests.environment import DATA_DIR
from tests.orcarouter.gateway.conftest import make_agent
from tests.orcarouter.gateway.test_holds import HOLDS, decide, evaluate, post
from tests.stack import Stack
from workspaces import tenancy


@pytest.fixture
def second(stack, committed):
    """Another web process over the same servers."""
    made = Stack(DATA_DIR)
    made.run("web")
    made.wait_until_ready("/healthz")
    yield made
    made.stop()


@pytest.fixture
def gateway(stack, committed):
    made = make_agent(stack, is_firewall_gateway=True)
    made.policy(default_verdict="allow", rules=[HOLDS])
    return made


def test_of_a_hundred_redeems_over_two_processes_one_goes_on(gateway, second):
    approval_id = evaluate(gateway, {"n": 1}).json()["approval_id"]
    decide(gateway, approval_id)
    body = {"tool_name": "payments.transfer", "arguments": {"n": 1}}
    with ThreadPoolExecutor(20) as many:
        urls = [gateway.stack.url, second.url] * 50
        answers = [answer.json() for answer in many.map(lambda url: post(gateway, "/api/v1/firewall/evaluate", body, approval_id, url=url), urls)]
    verdicts = [answer.get("verdict") or answer["error"]["metadata"]["reason"] for answer in answers]
    assert sorted(set(verdicts)) == ["allow", "used"]
    assert verdicts.count("allow") == 1
    assert len(gateway.events(approval_id=approval_id, reason_code="approval_consumed")) == 1


def test_what_an_agent_was_told_of_stands_whenever_the_process_is_killed(gateway, second):
    told: list[str] = []

    def ask(n: int) -> None:
        try:
            answer = post(gateway, "/api/v1/firewall/evaluate", {"tool_name": "payments.x", "arguments": {"n": n}, "agent_run_id": f"r{n}"}, url=second.url)
        except httpx.HTTPError:
            return
        if answer.status_code == 200 and "approval_id" in answer.json():
            told.append(answer.json()["approval_id"])

    with ThreadPoolExecutor(8) as many:
        asked = [many.submit(ask, n) for n in range(60)]
        while len(told) < 10:
            time.sleep(0.01)
        second.kill("web")
        for each in asked:
            each.result()
    with tenancy.scope(gateway.workspace.pk):
        held = {each.pk: each for each in gateway.workspace.approvals.all()}
    assert set(told) <= set(held)
    # Held but not told: the same call meets the same hold, and its event is there.
    for approval in held.values():
        assert gateway.events(approval_id=approval.pk)[0].verdict == "pending_approval"
    second.run("web")
    second.wait_until_ready("/healthz")
    decide(gateway, told[0])
    with tenancy.scope(gateway.workspace.pk):
        assert gateway.workspace.approvals.get(pk=told[0]).state == State.APPROVED
