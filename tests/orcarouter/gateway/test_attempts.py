"""An attempt at a provider that was sent and never answered: it may have cost, so it is booked, and the next one must fit beside it."""

import json
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import httpx2 as httpx
import pytest
import redis
from django.conf import settings

from tests.orcarouter.gateway.conftest import Agent
from tests.orcarouter.gateway.provider import INPUT_PRICE, MODEL, OUTPUT_PRICE, Metered, metered
from tests.orcarouter.gateway.test_budgets import agrees, change, error_of
from tests.orcarouter.gateway.test_sweep import balance, metered_agent, wait_for, wish
from workspaces import tenancy


@pytest.fixture(scope="module")
def provider() -> Iterator[Metered]:
    with metered() as made:
        yield made


@pytest.fixture
def agent(stack, committed, provider) -> Agent:
    return metered_agent(stack, provider)


ANSWER = 20 * INPUT_PRICE + 10 * OUTPUT_PRICE
_numbers = iter(range(100, 10**6))


def ask(agent: Agent, *, stream: bool = False, max_tokens: int = 100, **wishes) -> httpx.Response:
    number = next(_numbers)
    # As long as every other: the input of each call is counted the same.
    wishes["pad"] = "x" * (100 - len(json.dumps(json.dumps(wishes))))
    body = {"model": MODEL, "stream": stream, "max_tokens": max_tokens, "messages": wish(number, **wishes)}
    headers = {"Authorization": f"Bearer {agent.token}", "X-OrcaRouter-Run-Id": "r", "X-OrcaRouter-Include-Cost": "1"}
    answer = httpx.post(f"{agent.stack.url}/v1/chat/completions", headers=headers, json=body, timeout=30)
    answer.extensions["number"] = number
    return answer


def ledger(agent: Agent) -> list[tuple[str, str, int]]:
    """Kind, cause and what was spent, of the last call."""
    last = agent.usage()[-1]
    with tenancy.scope(agent.workspace.pk):
        rows = agent.workspace.ledger.filter(request_id=last.request_id).exclude(kind="streamed").order_by("id")
        return sorted((row.kind, row.cause, row.spent_micro_usd) for row in rows)


def input_of(agent: Agent) -> int:
    """What a call of this size is counted at that was sent and never answered."""
    assert ask(agent, lost=2).status_code == 502
    row = agent.usage()[-1]
    assert row.usage_source == "counted"
    return row.cost_micro_usd // 2


@pytest.mark.parametrize("limit", [0, 10_000_000])
@pytest.mark.parametrize("stream", [False, True])
def test_both_attempts_are_booked_where_the_first_may_have_been_taken(agent, provider, limit, stream):
    change(agent, credit_limit_micro_usd=limit)
    first = input_of(agent)
    assert first > 20 * INPUT_PRICE
    before = balance(agent).spent_micro_usd
    assert before == 2 * first
    for gone in ({}, {"status": 504}, {"status": 502}):
        answer = ask(agent, stream=stream, lost=1, **gone)
        assert answer.status_code == 200
        assert provider.asked[answer.extensions["number"]] == 2
        assert agent.usage()[-1].cost_micro_usd == ANSWER + first
        assert ledger(agent) == sorted([("reserve", "call", 0), ("settle", "retried", first), ("reserve", "retry", 0), ("settle", "completed", ANSWER)])
    assert answer.json()["usage"]["cost_usd"] * 1_000_000 == pytest.approx(ANSWER + first) if not stream else "cost_usd" not in answer.text
    assert balance(agent).spent_micro_usd == before + 3 * (ANSWER + first)
    assert balance(agent).held_micro_usd == 0
    assert agrees(agent)


def test_what_cannot_have_been_taken_is_repeated_at_no_cost(agent, provider):
    change(agent, credit_limit_micro_usd=10_000_000)
    answer = ask(agent, lost=1, status=503)
    assert (answer.status_code, provider.asked[answer.extensions["number"]]) == (200, 2)
    assert agent.usage()[-1].cost_micro_usd == ANSWER
    assert ledger(agent) == [("reserve", "call", 0), ("settle", "completed", ANSWER)]
    # An attempt that said that it failed costs nothing either.
    assert ask(agent, fails=True).status_code == 400
    assert agent.usage()[-1].cost_micro_usd == 0


def _not_yet_answered(agent: Agent, provider: Metered, pool: ThreadPoolExecutor) -> Future:
    before = provider.waiting
    asked = pool.submit(ask, agent, waits=1)
    wait_for(lambda: provider.waiting > before)
    return asked


def test_a_limit_that_moves_while_calls_are_open_holds_for_the_next_one(agent, provider):
    change(agent, credit_limit_micro_usd=10_000_000)
    assert ask(agent).status_code == 200
    with tenancy.scope(agent.workspace.pk):
        worst = agent.workspace.ledger.get(kind="reserve", key_id=agent.key_id).held_micro_usd
    with ThreadPoolExecutor(2) as pool:
        first = _not_yet_answered(agent, provider, pool)
        # Below what is held already; then with room for one more; then Valkey forgets.
        change(agent, credit_limit_micro_usd=worst // 2)
        assert error_of(ask(agent))[:2] == (403, "pre_consume_token_quota_failed")
        change(agent, credit_limit_micro_usd=balance(agent).spent_micro_usd + 2 * worst + worst // 2)
        second = _not_yet_answered(agent, provider, pool)
        redis.Redis.from_url(settings.REDIS_URL).flushall()
        assert error_of(ask(agent))[:2] == (403, "pre_consume_token_quota_failed")
        provider.release()
        assert (first.result().status_code, second.result().status_code) == (200, 200)
    assert balance(agent).spent_micro_usd == 3 * ANSWER
    assert agrees(agent)
    assert ask(agent).status_code == 200


@pytest.mark.parametrize("shadow", [True, False])
def test_a_limit_of_tokens_beyond_all_numbers_breaks_no_account(agent, shadow):
    agent.policy(rules=[{"priority": 1, "verdict": "cap_cost", "cap_cost_cents": 100}], default_verdict="allow", shadow_mode=shadow)
    for tokens in (2**63, 10**18, 10**12):
        answer = ask(agent, max_tokens=tokens)
        assert answer.status_code == 200 if shadow else error_of(answer)[0] == 400
    assert ask(agent).status_code == 200
    assert agrees(agent)


@pytest.mark.parametrize("ceiling", ["key", "run"])
def test_where_the_limit_has_no_room_for_both_there_is_no_second_attempt(agent, provider, ceiling):
    change(agent, credit_limit_micro_usd=10_000_000)
    first = input_of(agent)
    worst = first + 100 * OUTPUT_PRICE
    spent = balance(agent).spent_micro_usd
    # Room for one and a half.
    if ceiling == "key":
        change(agent, credit_limit_micro_usd=spent + worst + worst // 2)
    else:
        limit = -(-(spent + worst) // 10_000)
        agent.policy(rules=[{"priority": 1, "verdict": "cap_cost", "cap_cost_cents": limit}], default_verdict="allow")
        while balance(agent).spent_micro_usd + 2 * worst <= limit * 10_000:
            assert ask(agent, out=100).status_code == 200
    before = balance(agent).spent_micro_usd
    answer = ask(agent, lost=1)
    assert (answer.status_code, provider.asked[answer.extensions["number"]]) == (502, 1)
    assert balance(agent).spent_micro_usd == before + first
    assert ledger(agent) == [("reserve", "call", 0), ("settle", "failed", first)]
    assert agrees(agent)
    # Nothing is left behind: what still fits is let through.
    change(agent, credit_limit_micro_usd=0)
    assert agrees(agent)
