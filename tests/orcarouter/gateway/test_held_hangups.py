"""An agent that hangs up while its call is being held loses nothing: it asks again, and meets the hold."""

import http.client
import json
import time

import pytest

from tests.orcarouter.gateway.conftest import make_agent
from tests.orcarouter.gateway.test_held_steps import wait_for_locks
from tests.orcarouter.gateway.test_holds import HOLDS, PAY, calls_of, chat, decide, held, provider_calls, refused
from workspaces import tenancy
from workspaces.selectors import hold

pytestmark = pytest.mark.stack


@pytest.mark.parametrize("stream", [False, True])
def test_who_hangs_up_while_a_call_is_being_held_asks_again_and_meets_the_hold(stack, committed, stream):
    agent = make_agent(stack)
    agent.policy(default_verdict="allow", rules=[HOLDS])
    with tenancy.scope(agent.workspace.pk):
        # The provider has answered, and the hold waits for whoever has the workspace.
        hold(agent.workspace.pk)
        offered = [{"type": "function", "function": {"name": tool, "description": f"{tool}!"}} for tool in ("payments.transfer", "web.search")]
        body = {"model": "demo-small", "messages": [{"role": "user", "content": PAY}], "tools": offered, "stream": stream}
        client = http.client.HTTPConnection("127.0.0.1", stack.port, timeout=30)
        client.request("POST", "/v1/chat/completions", json.dumps(body), {"Authorization": f"Bearer {agent.token}", "Content-Type": "application/json"})
        wait_for_locks(1)
        client.close()
    until = time.monotonic() + 60
    while not agent.usage() and time.monotonic() < until:
        time.sleep(0.05)
    assert [(row.outcome, row.status) for row in agent.usage()] == [("hung_up", 499)]
    approval_id = held(chat(agent, stream=stream))["approval_id"]
    with tenancy.scope(agent.workspace.pk):
        assert agent.workspace.approvals.count() == 1
    decide(agent, approval_id)
    assert calls_of(chat(agent, PAY, approval_id)) == [("payments.transfer", {"amount": 4180, "to": "Marlow"})]
    refused(chat(agent, PAY, approval_id), "used")
    assert provider_calls(agent) == 2
