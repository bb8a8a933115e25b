"""How many runs a key may begin in an hour: at once, on the relay and at the hook, and after Valkey was emptied."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import httpx2 as httpx
import pytest
import redis
from django.conf import settings
from django.utils import timezone

import firewall.services
from firewall.engine.types import Policy, ReasonCode, RunState, Verdict
from orcarouter.gateway.pipeline import blind_refusal
from tests.orcarouter.gateway.conftest import Agent, make_agent
from workspaces import tenancy
from workspaces.permissions import Role


@pytest.fixture
def hook(stack, committed) -> Iterator[Agent]:
    return make_agent(stack, is_firewall_gateway=True)


def relay(agent: Agent, run: str | None = None, text: str = "hello") -> str | None:
    """None where the call was served, else why not."""
    headers = {"Authorization": f"Bearer {agent.token}"} | ({"X-OrcaRouter-Run-Id": run} if run else {})
    body = {"model": "demo-small", "messages": [{"role": "user", "content": text}]}
    answer = httpx.post(f"{agent.stack.url}/v1/chat/completions", headers=headers, json=body, timeout=30)
    return None if answer.status_code == 200 else answer.json()["error"]["metadata"]["reason_code"]


def ask(agent: Agent, run: str | None = None, **more: object) -> str | None:
    body = {"tool_name": "a", **more} | ({"agent_run_id": run} if run else {})
    told = httpx.post(f"{agent.stack.url}/api/v1/firewall/evaluate", headers={"Authorization": f"Bearer {agent.token}"}, json=body, timeout=30).json()
    return told["metadata"]["reason_code"]


def limited(agent: Agent, runs: int, **fields: object):
    return agent.policy(**{"default_verdict": "allow", "max_runs_per_key_per_hour": runs} | fields)


def empty_valkey() -> None:
    redis.Redis.from_url(settings.REDIS_URL).flushall()


@pytest.mark.parametrize("is_emptied", [False, True])
def test_a_key_begins_so_many_runs_and_goes_on_with_those(agent, is_emptied):
    limited(agent, 2)
    assert [relay(agent, "one"), relay(agent, "two"), relay(agent, "one")] == [None] * 3
    for _ in range(3):  # asking again does not help
        if is_emptied:
            empty_valkey()
        assert relay(agent, "three") == "run_limit"
        assert relay(agent, "two") is None
    (event, *_) = agent.events(verdict="deny")
    assert (event.reason_code, event.surface, event.agent_run_id, event.tool_name) == ("run_limit", "inbound", "three", None)
    assert "more than 2 runs this hour" in event.reason
    # A run that did not begin has no calls.
    assert {row.agent_run_id for row in agent.usage()} == {"one", "two", None}


def test_runs_that_nobody_named_are_counted_too(agent):
    limited(agent, 2)
    assert [relay(agent, text=text) for text in ("apples", "pears", "plums", "apples")] == [None, None, "run_limit", None]
    empty_valkey()
    assert [relay(agent, text=text) for text in ("plums", "pears")] == ["run_limit", None]


@pytest.mark.parametrize("is_emptied", [False, True])
def test_the_hook_counts_with_the_relay(hook, is_emptied):
    limited(hook, 3)
    assert [ask(hook, "one"), relay(hook, "two"), ask(hook)] == [None] * 3
    if is_emptied:
        empty_valkey()
    assert [ask(hook, "four"), ask(hook, "four", surface="response"), relay(hook, "five"), ask(hook, conversation_id="c")] == ["run_limit"] * 4
    assert [ask(hook, "one"), relay(hook, "one"), ask(hook, "two"), ask(hook)] == [None] * 4


def test_runs_that_begin_at_once_are_counted_one_by_one(agent):
    limited(agent, 5)
    with ThreadPoolExecutor(12) as crowd:
        answers = list(crowd.map(lambda number: relay(agent, f"run-{number}"), range(24)))
    assert answers.count(None) == 5
    assert set(answers) == {None, "run_limit"}


def test_in_shadow_a_run_too_many_is_told_and_goes_on(agent):
    limited(agent, 1, shadow_mode=True)
    assert [relay(agent, "one"), relay(agent, "two"), relay(agent, "two")] == [None] * 3
    (event,) = agent.events(shadow=True)
    assert (event.verdict, event.reason_code, event.agent_run_id) == ("audit", "run_limit", "two")


def test_a_limit_counts_what_was_begun_before_it_was_set(agent):
    policy = agent.policy(default_verdict="allow")
    assert [relay(agent, "one"), relay(agent, "two")] == [None, None]
    with tenancy.scope(agent.workspace.pk):
        changes = {"max_runs_per_key_per_hour": 2}
        firewall.services.change_policy(policy, changes=changes, actor=agent.tenant.person(Role.OWNER), at=timezone.now())
    assert [relay(agent, "three"), relay(agent, "two")] == ["run_limit", None]


def test_while_valkey_is_away_no_run_begins_that_is_one_of_few():
    policy = Policy(1, "p", 1, Verdict.ALLOW, False, (), max_runs_per_key_per_hour=9)
    begins, goes_on = RunState(calls=0), RunState(calls=1)
    refusal = blind_refusal(policy, begins, meets_caps=False)
    assert refusal
    assert (refusal.reason_code, refusal.policy_id) == (ReasonCode.COST_STORE_DOWN, 1)
    assert blind_refusal(policy, goes_on, meets_caps=False) is None
    assert blind_refusal(replace(policy, shadow_mode=True), begins, meets_caps=True) is None
    assert blind_refusal(replace(policy, max_runs_per_key_per_hour=None), begins, meets_caps=False) is None
