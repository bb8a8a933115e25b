"""What the running product recorded, judged again by the policy that was in force: nothing changes, though workers die meanwhile."""

import contextlib
import time

import httpx2 as httpx
import openai
import pytest
from django.utils import timezone

from firewall import backtests
from tests.orcarouter.gateway.conftest import Agent, make_agent
from tests.stack import Stack
from workspaces import tenancy
from workspaces.permissions import Role

RULES = [
    {"priority": 1, "verdict": "cap_cost", "cap_cost_cents": 1},
    {"priority": 2, "verdict": "deny", "tool_name_glob": "shell.*", "args_match": {"clauses": [{"path": "$.command", "op": "contains", "value": "rm"}]}},
    {"priority": 3, "verdict": "sanitize", "stage": "response", "tool_name_glob": "mail.*", "sanitize": {"presets": ["email"]}},
    {"priority": 4, "verdict": "deny", "egress": {"deny": ["10.0.0.0/8"]}},
    {
        "priority": 5,
        "verdict": "deny",
        "sequence": {"window_seconds": 60, "steps": [{"match": "kb.*"}, {"match": "web.*"}], "enforce": "inline"},
    },
    {"priority": 6, "verdict": "pending_approval", "tool_name_glob": "pay.*"},
]
CALLS = (
    'call shell.run {"command": "rm -rf /"}',
    'call shell.run {"command": "ls", "password": "hunter2"}',
    'call mail.send {"to": "a@b.example"}',
    'call web.get {"url": "http://10.0.0.1/"} and call web.get {"url": "https://api.example"}',
    "call kb.read and call web.get",
    "invent nobody.offered {}",
)


def offered(*names: str) -> list[dict]:
    return [{"type": "function", "function": {"name": name, "parameters": {"type": "object"}}} for name in names]


def live(agent: Agent) -> None:
    """A run of every kind of decision, until its cap ends it."""
    client = agent.sdk()
    for number in range(40):
        names = ["shell.run", "mail.send", "web.get", "kb.read", *(["pay.out"] if number % 3 == 0 else []), *(["bad name"] if number == 7 else [])]
        messages = [{"role": "system", "content": "word " * 400}, {"role": "user", "content": CALLS[number % len(CALLS)]}]
        with contextlib.suppress(openai.BadRequestError):
            client.chat.completions.create(
                model="demo-large", messages=messages, tools=offered(*names), extra_headers={"X-OrcaRouter-Run-Id": "long"}, max_tokens=60
            )
    for _ in range(2):
        # Without a tool there is no event, only what it cost.
        client.chat.completions.create(model="demo-large", messages=messages, extra_headers={"X-OrcaRouter-Run-Id": "chat"}, max_tokens=60)


def asked(agent: Agent, *calls: dict) -> None:
    for call in calls:
        answer = httpx.post(
            f"{agent.stack.url}/api/v1/firewall/evaluate",
            json={"agent_run_id": "asked", **call},
            headers={"Authorization": f"Bearer {agent.token}"},
            timeout=30,
        )
        assert answer.status_code == 200


def replayed(agent: Agent, *, kill: Stack | None = None, **fields):
    with tenancy.scope(agent.workspace.pk):
        made = backtests.start_backtest(agent.workspace, actor=agent.tenant.person(Role.OWNER), at=timezone.now(), **fields)
    if kill is not None:
        kill.kill("worker")
        kill.run("worker")
    deadline = time.monotonic() + 180
    while not made.is_over and time.monotonic() < deadline:
        time.sleep(0.2)
        with tenancy.scope(agent.workspace.pk):
            made.refresh_from_db()
    assert made.state == "done"
    return made.result


@pytest.mark.stack
def test_a_policy_over_its_own_live_history_changes_nothing(stack, committed):
    agent = make_agent(stack, is_firewall_gateway=True)
    policy = agent.policy(rules=RULES, default_verdict="allow", max_runs_per_key_per_hour=3)
    live(agent)
    asked(
        agent,
        {"tool_name": "shell.run", "arguments": {"command": "rm x"}},
        {"tool_name": "shell.run"},
        {"tool_name": "web.get", "surface": "egress", "destination": "10.1.1.1"},
        {"tool_name": "web.get", "surface": "egress"},
        {"tool_name": "web.get", "surface": "egress", "destination": "localhost"},
        {"tool_name": "pay.out", "arguments": {"amount": 5}},
        {"tool_name": "kb.read"},
        {"tool_name": "web.get"},
        {"tool_name": "mail.send", "surface": "response", "arguments": '{"to": 1, "to": 2}'},
        {"tool_name": "kb.read", "agent_run_id": "one-too-many"},
    )
    codes = {event.reason_code for event in agent.events()}
    assert {"rule_deny", "cost_cap", "egress_denied", "egress_no_destination", "sequence", "bad_arguments"} <= codes

    result = replayed(agent, policy_id=policy.pk, kill=stack)
    assert (result["changed"], result["by_change"]) == (0, [])
    assert result["calls"] > 50
    # All that cannot be told again is for want of arguments: those that were cleaned, or held a secret.
    assert result["not_replayable"]["calls"] == result["not_replayable"]["arguments"] < 30

    denied = replayed(agent, draft={"default_verdict": "deny"})
    assert denied["newly_denied"] > 10
    assert denied["counterfactual"]["calls"] > 0

    limited = replayed(agent, draft={"default_verdict": "allow", "max_runs_per_key_per_hour": 1})
    assert [line["newly_denied"] for line in limited["by_run"] if line["run_id"] == "chat"] == [1]
    for client in agent.clients:
        client.close()
