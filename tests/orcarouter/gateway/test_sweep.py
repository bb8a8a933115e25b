"""A gateway process that is killed: what its calls had streamed is booked, the rest is given back, in the ledger and in Valkey."""

import http.client
import json
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

import httpx2 as httpx
import pytest
import redis
from django.conf import settings
from django.db import connection
from django.utils import timezone

from keys import money_selectors
from keys.engine.ceilings import Account, Scope
from orcarouter.gateway import runs, sweep
from tests.environment import DATA_DIR
from tests.orcarouter.gateway.conftest import Agent, make_agent
from tests.orcarouter.gateway.provider import INPUT_PRICE, MODEL, OUTPUT_PRICE, Metered, metered
from tests.orcarouter.gateway.test_budgets import agrees, change
from tests.receiver import HOST
from tests.stack import Stack
from workspaces import tenancy
from workspaces.ids import uuid7
from workspaces.services import touch_config

WITHIN_SECONDS = 60


@pytest.fixture(scope="module")
def provider() -> Iterator[Metered]:
    with metered() as made:
        yield made


@pytest.fixture(scope="module")
def web(stack, provider) -> Iterator[Stack]:
    made = Stack(DATA_DIR, ALLOWED_PRIVATE_HOSTS=HOST)
    yield made
    made.stop()


@pytest.fixture
def victim(web, committed) -> Iterator[Stack]:
    """A web process of one's own to kill."""
    web.run("web")
    web.wait_until_ready("/healthz")
    yield web
    web.stop()


def metered_agent(stack: Stack, provider: Metered, **fields) -> Agent:
    agent = make_agent(stack, **fields)
    with tenancy.scope(agent.workspace.pk):
        made = agent.workspace.providers.create(name="Metered", base_url=provider.url)
        prices = {"input_per_million_micro_usd": INPUT_PRICE * 1_000_000, "output_per_million_micro_usd": OUTPUT_PRICE * 1_000_000}
        made.models.create(workspace=agent.workspace, name=MODEL, **prices)
        touch_config(agent.workspace)
    return agent


def wish(number: int, **fields) -> list[dict]:
    return [{"role": "user", "content": json.dumps({"number": number, "in": 20, "out": 10} | fields)}]


def account(agent: Agent) -> Account:
    return Account(Scope.KEY, str(agent.key_id))


def balance(agent: Agent) -> money_selectors.Balance:
    return money_selectors.statement(agent.workspace.pk, account(agent), at=timezone.now()).balance


def wait_for(condition) -> None:
    deadline = time.monotonic() + WITHIN_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def give_up_the_silent() -> None:
    """As if the time were over after which a process that says nothing is taken for dead."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE keys_gatewayprocess SET seen_at = now() - interval '1 hour', doubted_at = now() - interval '1 hour'"
            " WHERE swept_at IS NULL AND seen_at < now() - interval '5 seconds'"
        )


def give_up_process_of(agent: Agent) -> None:
    """The same of the process that served this key, which is known to be dead."""
    with tenancy.scope(agent.workspace.pk):
        served_by = set(agent.workspace.ledger.filter(kind="reserve").values_list("process_id", flat=True))
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE keys_gatewayprocess SET seen_at = now() - interval '1 hour', doubted_at = now() - interval '1 hour' WHERE id = ANY(%s)", [list(served_by)]
        )


def test_a_killed_stream_is_booked_at_what_it_had_streamed(victim, provider):
    agent = metered_agent(victim, provider, credit_limit_micro_usd=10_000_000)
    body = {"model": MODEL, "stream": True, "max_tokens": 500, "messages": wish(1, chunks=1000, delay=0.05)}
    headers = {"Authorization": f"Bearer {agent.token}", "X-OrcaRouter-Run-Id": "killed"}
    with httpx.stream("POST", f"{victim.url}/v1/chat/completions", headers=headers, json=body, timeout=60) as answer:
        lines = answer.iter_lines()
        for _ in range(80):
            next(lines)
        held = balance(agent)
        assert held.spent_micro_usd == 0 < held.held_micro_usd
        # Forty chunks of twenty bytes were read, and what is noted of them is soon no more than a moment old.
        wait_for(lambda: noted(agent) > 10 * 10 * OUTPUT_PRICE)
        streamed = noted(agent)
        victim.kill("web")
    assert not agent.usage()
    give_up_process_of(agent)
    # The worker's own sweep.
    wait_for(lambda: balance(agent).held_micro_usd == 0)
    (row,) = agent.usage()
    assert (row.outcome, row.usage_source, row.agent_run_id, row.model_name, row.streamed) == ("lost", "counted", "killed", MODEL, True)
    assert streamed <= row.cost_micro_usd == balance(agent).spent_micro_usd <= held.held_micro_usd
    assert agrees(agent)


def noted(agent: Agent) -> int:
    """What the ledger says that the stream has cost up to now."""
    with tenancy.scope(agent.workspace.pk):
        return max(agent.workspace.ledger.filter(kind="streamed").values_list("streamed_micro_usd", flat=True), default=0)


def ask_in_vain(url: str, agent: Agent, messages: list[dict]) -> None:
    body = {"model": MODEL, "max_tokens": 500, "messages": messages}
    with suppress(httpx.HTTPError):
        httpx.post(f"{url}/v1/chat/completions", headers={"Authorization": f"Bearer {agent.token}"}, json=body, timeout=120)


def hang_up_on(provider: Metered, victim: Stack, agent: Agent, number: int) -> None:
    """Ask, and leave as soon as the provider has the call."""
    client = http.client.HTTPConnection("127.0.0.1", victim.port, timeout=60)
    body = json.dumps({"model": MODEL, "max_tokens": 500, "messages": wish(number, delay=120)})
    client.request("POST", "/v1/chat/completions", body, {"Authorization": f"Bearer {agent.token}", "Content-Type": "application/json"})
    wait_for(lambda: provider.asked[number])
    client.close()


def test_a_call_that_was_killed_before_its_first_byte_is_given_back(victim, provider):
    agent, impatient, again = (metered_agent(victim, provider, credit_limit_micro_usd=10_000_000) for _ in range(3))
    hang_up_on(provider, victim, impatient, 2)
    calls = [(agent, wish(3, delay=120)), (again, wish(4, delay=120, lost=1))]
    threads = [threading.Thread(target=ask_in_vain, args=(victim.url, *call)) for call in calls]
    for thread in threads:
        thread.start()
    wait_for(lambda: balance(agent).held_micro_usd > 0 and impatient.usage() and provider.asked[4] == 2)
    victim.kill("web")
    for thread in threads:
        thread.join()
    give_up_process_of(agent)
    sweep.sweep()
    wait_for(lambda: balance(agent) == money_selectors.Balance())
    # Of one that had been made twice, the attempt that may have been taken stays booked.
    wait_for(lambda: balance(again).held_micro_usd == 0)
    (row,) = again.usage()
    assert (row.outcome, row.usage_source) == ("lost", "counted")
    assert row.cost_micro_usd == balance(again).spent_micro_usd > 0
    assert agrees(again)
    (row,) = agent.usage()
    assert (row.outcome, row.cost_micro_usd, row.usage_source) == ("lost", 0, "none")
    # The one whose client hung up was ended by its own process.
    assert [row.outcome for row in impatient.usage()] == ["hung_up"]
    assert agrees(agent)
    assert agrees(impatient)


def test_a_claim_that_postgresql_does_not_know_is_given_back_with_an_event(agent):
    change(agent, credit_limit_micro_usd=1_000_000)
    client, space = redis.Redis.from_url(settings.REDIS_URL), runs.space(agent.workspace.pk)
    name, request_id = account(agent).name, f"req_{uuid7().hex}"
    client.hset(f"{space}account:{name}", mapping={"gen": "x", "spent": 0, "held": 700, f"c:{request_id}": 700})
    client.hset(f"{space}claims", request_id, f"{uuid7()}|{time.time_ns() // 1_000_000 + 10**6}|{agent.key_id}|{name}")
    wait_for(lambda: not client.hexists(f"{space}claims", request_id))
    assert client.hmget(f"{space}account:{name}", "spent", "held") == [b"0", b"0"]
    (event,) = agent.events(reason_code="lost_record")
    assert (event.request_id, event.key_id, event.token_name) == (request_id, agent.key_id, "agent")


def test_a_call_that_is_swept_and_settles_after_all_is_booked_once(stack, committed, provider):
    agent = make_agent(stack)
    row_id = uuid7()
    call = sweep.OpenCall(row_id, f"req_{row_id.hex}", agent.key_id, None, "r", timezone.now(), 0, 50, _said(agent, row_id))
    assert sweep._end(agent.workspace.pk, [call]) == 1
    assert sweep._end(agent.workspace.pk, [replace(call, streamed_micro_usd=70)]) == 1
    assert balance(agent).spent_micro_usd == 50
    assert [row.cost_micro_usd for row in agent.usage()] == [50]


def _said(agent: Agent, row_id) -> dict:
    said = {"request_id": f"req_{row_id.hex}", "key_id": agent.key_id, "token_name": "agent", "environment": "", "agent_run_id": "r", "run_source": "header"}
    return said | {"model_name": MODEL, "streamed": True, "workspace_id": agent.workspace.pk}
