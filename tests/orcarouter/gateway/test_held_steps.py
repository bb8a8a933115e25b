"""Held calls and sequences: a call is a step of its run when it goes on, and only then."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection

from tests.orcarouter.gateway.conftest import make_agent
from tests.orcarouter.gateway.test_holds import HOLDS, calls_of, chat, decide, evaluate, held, refused
from tests.orcarouter.gateway.test_sequences import LEAK, call
from workspaces import tenancy
from workspaces.selectors import hold

pytestmark = pytest.mark.stack
#: After a payment nothing is sent out.
QUIET = {
    "verdict": "deny",
    "label": "quiet",
    "sequence": {"window_seconds": 300, "steps": [{"match": "payments.*"}, {"match": "web.post"}], "enforce": "inline"},
}


def wait_for_locks(count: int) -> None:
    """Return when so many sessions wait for others."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
            if cursor.fetchone()[0] >= count:
                return
        time.sleep(0.05)
    raise AssertionError("nobody waits")


def test_of_redeems_at_once_only_the_one_that_goes_on_is_a_step_of_its_run(stack, committed):
    gateway = make_agent(stack, is_firewall_gateway=True)
    gateway.policy(default_verdict="allow", rules=[QUIET, HOLDS])
    approval_id = evaluate(gateway, {}, agent_run_id="asks").json()["approval_id"]
    decide(gateway, approval_id)
    runs = [f"r{n}" for n in range(12)]
    with ThreadPoolExecutor(12) as many:
        with tenancy.scope(gateway.workspace.pk):
            # While somebody holds the workspace they have all looked the approval up, and none has spent it.
            hold(gateway.workspace.pk)
            asked = [many.submit(evaluate, gateway, {}, approval_id, agent_run_id=run) for run in runs]
            wait_for_locks(4)
        verdicts = [each.result().json().get("verdict") for each in asked]
    assert verdicts.count("allow") == 1
    for run, verdict in zip(runs, verdicts, strict=True):
        assert evaluate(gateway, {}, tool="web.post", agent_run_id=run).json()["verdict"] == ("deny" if verdict == "allow" else "allow")


def test_what_waited_beside_a_held_call_is_a_step_once(stack, committed):
    """Two reads and then a mail are too much; here it is one read, in an answer that was held and then given out."""
    agent = make_agent(stack)
    agent.policy(default_verdict="allow", rules=[LEAK, HOLDS])
    text, tools = "call db.read {} and call payments.transfer {}", ("db.read", "payments.transfer")
    told = held(chat(agent, text, run="r", tools=tools))
    decide(agent, told["approval_id"])
    assert len(calls_of(chat(agent, text, told["approval_id"], run="r", tools=tools))) == 2
    assert call(agent, "mail.send") == ["mail.send"]
    assert call(agent, "db.read") == ["db.read"]
    assert call(agent, "mail.send") == []


def test_an_approved_call_that_completes_a_sequence_by_now_is_refused_and_no_step(stack, committed):
    agent = make_agent(stack)
    agent.policy(default_verdict="allow", rules=[LEAK, HOLDS | {"tool_name_glob": "mail.*"}])
    text, tools = 'call db.read {} and call mail.send {"to": "x"}', ("db.read", "mail.send")
    told = held(chat(agent, text, run="r", tools=tools))
    decide(agent, told["approval_id"])
    assert call(agent, "db.read") == ["db.read"]
    answer = chat(agent, text, told["approval_id"], run="r", tools=tools)
    assert (answer.status_code, answer.json()["error"]["metadata"]["reason_code"]) == (400, "sequence")
    # Nothing was spent, and in a run of its own it still goes on.
    assert len(calls_of(chat(agent, text, told["approval_id"], run="other", tools=tools))) == 2
    refused(chat(agent, text, told["approval_id"], run="other", tools=tools), "used")
