"""What a run may cost: a cap holds over its calls, at once and one after the other, and says so."""

import time
from concurrent.futures import ThreadPoolExecutor

import httpx2 as httpx
import pytest
import redis
from django.conf import settings

from orcarouter.gateway import money, runs
from tests.orcarouter.gateway.conftest import Agent

CAP_MICRO_USD = 10_000
CAP = {"priority": 1, "label": "Budget", "verdict": "cap_cost", "cap_cost_cents": 1}


def ask(agent: Agent, run: str, text: str = "word " * 10, *, model: str = "demo-large", tools: tuple[str, ...] = (), stream: bool = False) -> httpx.Response:
    body = {"model": model, "max_tokens": 40, "stream": stream, "messages": [{"role": "user", "content": text}]}
    body["tools"] = [{"type": "function", "function": {"name": name}} for name in tools]
    headers = {"Authorization": f"Bearer {agent.token}", "X-OrcaRouter-Run-Id": run}
    return httpx.post(f"{agent.stack.url}/v1/chat/completions", headers=headers, json=body, timeout=60)


def spent(agent: Agent, run: str) -> int:
    return sum(row.cost_micro_usd for row in agent.usage(agent_run_id=run))


def claims_of(agent: Agent, run: str) -> list:
    """What is held in the run's account, and the account itself should its sum say otherwise."""
    account = f"{runs.space(agent.workspace.pk)}account:{money.run_account(agent.key_id, run).name}"
    found = redis.Redis.from_url(settings.REDIS_URL).hgetall(account)
    return [name for name in found if name.startswith(b"c:")] or ([found] if int(found.get(b"held", 0)) else [])


def nothing_is_held(agent: Agent, run: str) -> bool:
    deadline = time.monotonic() + 30
    while claims_of(agent, run) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not claims_of(agent, run)


def test_a_run_is_stopped_at_its_cap_and_another_run_is_not(agent):
    agent.policy(rules=[CAP], default_verdict="allow")
    answers = []
    while not answers or answers[-1].status_code == 200:
        assert len(answers) < 200
        answers.append(ask(agent, "long"))
    error = answers[-1].json()["error"]
    assert (answers[-1].status_code, error["code"], error["metadata"]["reason_code"]) == (400, "firewall_blocked", "cost_cap")
    assert answers[-1].headers["x-should-retry"] == "false"
    assert len(answers) > 5
    # What was refused would not have fitted: the last answer leaves less than a call may cost at most.
    assert CAP_MICRO_USD - 1_500 < spent(agent, "long") <= CAP_MICRO_USD
    assert nothing_is_held(agent, "long")
    (event,) = agent.events(verdict="deny")
    assert (event.reason_code, event.rule_label, event.surface) == ("cost_cap", "Budget", "inbound")
    assert ask(agent, "other").status_code == 200


def test_a_cap_holds_however_many_call_at_once(agent):
    agent.policy(rules=[CAP], default_verdict="allow")
    with ThreadPoolExecutor(16) as crowd:
        answers = list(crowd.map(lambda number: ask(agent, "crowd", stream=number % 2 == 0), range(80)))
    assert {answer.status_code for answer in answers} == {200, 400}
    assert spent(agent, "crowd") <= CAP_MICRO_USD
    assert nothing_is_held(agent, "crowd")
    # What is left admits no further call, or admits exactly those that fit.
    while ask(agent, "crowd").status_code == 200:
        assert spent(agent, "crowd") <= CAP_MICRO_USD
    assert spent(agent, "crowd") > CAP_MICRO_USD - 1_500


def test_a_cap_is_judged_with_what_the_ledger_knows_when_valkey_was_emptied(agent):
    agent.policy(rules=[CAP], default_verdict="allow")
    while ask(agent, "kept").status_code == 200:
        pass
    before = spent(agent, "kept")
    redis.Redis.from_url(settings.REDIS_URL).flushall()
    assert ask(agent, "kept").status_code == 400
    assert spent(agent, "kept") == before


def test_a_cap_opens_no_default_deny_policy(agent):
    agent.policy(rules=[CAP, {"priority": 2, "tool_name_glob": "web.search", "verdict": "allow"}], default_verdict="deny")
    assert ask(agent, "r", tools=("web.search",)).status_code == 200
    refused = ask(agent, "r", tools=("web.search", "shell.exec")).json()["error"]
    assert refused["metadata"]["reason_code"] == "default_deny"
    assert nothing_is_held(agent, "r")


def test_under_a_cap_a_model_without_a_price_is_refused_and_without_one_it_passes(agent):
    agent.policy(rules=[CAP], default_verdict="allow")
    answer = ask(agent, "r", model="demo-slow")
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "model_price_error")
    (row,) = agent.usage()
    assert (row.outcome, row.cost_micro_usd) == ("blocked", 0)


def test_a_cap_on_some_tools_is_met_by_requests_that_offer_them(agent):
    agent.policy(rules=[CAP | {"tool_name_glob": "*.search", "cap_cost_cents": 0}], default_verdict="allow")
    assert ask(agent, "r").status_code == 200
    assert ask(agent, "r", tools=("kb.read",)).status_code == 200
    assert ask(agent, "r", tools=("kb.read", "web.search")).json()["error"]["metadata"]["reason_code"] == "cost_cap"


@pytest.mark.parametrize("shadow", [True, False])
def test_in_shadow_a_cap_only_tells(agent, shadow):
    agent.policy(rules=[CAP | {"cap_cost_cents": 0, "tool_name_glob": "web.search"}], default_verdict="allow", shadow_mode=shadow)
    assert ask(agent, "r", tools=("web.search",)).status_code == (200 if shadow else 400)
    (event,) = agent.events(surface="inbound")
    assert (event.verdict, event.shadow, event.reason_code) == ("audit" if shadow else "deny", shadow, "cost_cap")
