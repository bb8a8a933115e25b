"""Money under load and under fire: caps hold exactly, and the ledger adds up to the micro-dollar whatever is killed."""

import asyncio
import json
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import httpx2 as httpx
import pytest
import redis
from django.conf import settings
from django.utils import timezone

from keys import money_selectors
from keys.engine.ceilings import Account, Cycle, Scope, period
from orcarouter.gateway.money import parsed, run_account
from tests.environment import DATA_DIR
from tests.orcarouter.gateway.conftest import Agent
from tests.orcarouter.gateway.provider import INPUT_PRICE, MODEL, OUTPUT_PRICE, Metered, metered
from tests.orcarouter.gateway.test_budgets import agrees, change, in_valkey
from tests.orcarouter.gateway.test_sweep import metered_agent
from tests.receiver import HOST
from tests.stack import Stack

CALLS = {"quick": 300, "long": 10_000}.get(os.environ.get("HYPOTHESIS_PROFILE", ""), 1_000)
AFTER_SECONDS = 90


@pytest.fixture(scope="module")
def provider() -> Iterator[Metered]:
    with metered() as made:
        yield made


@pytest.fixture
def two(stack, committed, provider) -> Iterator[list[Stack]]:
    """Two web processes over the same servers."""
    made = [Stack(DATA_DIR, ALLOWED_PRIVATE_HOSTS=HOST) for _ in range(2)]
    for each in made:
        each.run("web")
    for each in made:
        each.wait_until_ready("/healthz")
    yield made
    for each in made:
        each.stop()


@pytest.fixture
def valkey_server(servers):
    return next(child for child in servers.children if "valkey" in child.name)


def body_of(wish: dict, *, stream: bool) -> dict:
    return {"model": MODEL, "stream": stream, "max_tokens": 100, "messages": [{"role": "user", "content": json.dumps(wish)}]}


def wish_of(number: int, delay: float, chance: random.Random) -> dict:
    # As long as every other one: the worst case of each call is the same.
    return {"number": 10**8 + number, "in": chance.randrange(10, 60), "out": chance.randrange(10, 101), "delay": delay, "chunks": 3}


def spent_of(usage: tuple[int, int]) -> int:
    return usage[0] * INPUT_PRICE + usage[1] * OUTPUT_PRICE


def balance(agent: Agent, account: Account) -> money_selectors.Balance:
    return money_selectors.statement(agent.workspace.pk, account, at=timezone.now()).balance


# --- Caps hold ------------------------------------------------------------------------------------------------------
async def crowd(agent: Agent, stacks: list[Stack], numbers: range, delay: float, chance: random.Random) -> Counter:
    """All at once, over all processes, streamed and not; what became of them."""
    limits = httpx.Limits(max_connections=len(numbers))
    headers = {"Authorization": f"Bearer {agent.token}", "X-OrcaRouter-Run-Id": "crowd"}

    async def ask(client: httpx.AsyncClient, number: int) -> int:
        url = f"{stacks[number % len(stacks)].url}/v1/chat/completions"
        body = body_of(wish_of(number, delay, chance), stream=number % 3 == 0)
        answer = await client.post(url, headers=headers, json=body)
        return answer.status_code

    async with httpx.AsyncClient(timeout=120, limits=limits) as client:
        return Counter(await asyncio.gather(*(ask(client, number) for number in numbers)))


def worst_case(agent: Agent, stacks: list[Stack]) -> int:
    """What one call holds, as the ledger says while it is in flight."""
    thread = threading.Thread(target=asyncio.run, args=(crowd(agent, stacks, range(1, 2), 1.5, random.Random(0)),))
    thread.start()
    held = 0
    while not held:
        held = balance(agent, Account(Scope.KEY, str(agent.key_id))).held_micro_usd
        time.sleep(0.02)
    thread.join()
    return held


@pytest.mark.parametrize("ceiling", ["key", "run"])
def test_of_two_hundred_calls_at_once_exactly_those_that_fit_are_made(two, provider, ceiling):
    agent = metered_agent(two[0], provider, credit_limit_micro_usd=10**9)
    worst = worst_case(agent, two)
    key, run = Account(Scope.KEY, str(agent.key_id)), run_account(agent.key_id, "crowd")
    # Half a call more than fifty: what is left over admits none. Caps of a run are whole cents.
    limit = 50 * worst + worst // 2 + balance(agent, key).spent_micro_usd
    if ceiling == "key":
        change(agent, credit_limit_micro_usd=limit)
    else:
        limit = -(-limit // 10_000) * 10_000
        agent.policy(rules=[{"priority": 1, "verdict": "cap_cost", "cap_cost_cents": limit // 10_000}], default_verdict="allow")
    account = key if ceiling == "key" else run
    fits = (limit - balance(agent, account).spent_micro_usd) // worst
    # None ends before all were asked, so all that is held is held at once.
    told = asyncio.run(crowd(agent, two, range(1000, 1200), 8.0, random.Random(1)))
    refusal = 403 if ceiling == "key" else 400
    assert told == {200: fits, refusal: 200 - fits}
    assert balance(agent, account).spent_micro_usd <= limit
    assert agrees(agent)
    # One after the other: a call is refused only if what it may cost does not fit, and then it is.
    number, status = 2000, 200
    while status == 200:
        left = limit - balance(agent, account).spent_micro_usd
        ((status, _),) = asyncio.run(crowd(agent, two, range(number, number + 1), 0, random.Random(number))).items()
        assert (status == 200) is (left >= worst), (left, worst)
        number += 1
        assert agrees(agent)
    assert balance(agent, account).spent_micro_usd <= limit


# --- The ledger adds up -----------------------------------------------------------------------------------------------
@dataclass
class Fire:
    """Clients that call, hang up and try again, while processes are killed and Valkey is emptied."""

    agents: list[Agent]
    stacks: list[Stack]
    seed: int
    answered: dict[int, str] = field(default_factory=dict)
    left: int = CALLS
    lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self) -> int | None:
        with self.lock:
            self.left -= 1
            return self.left if self.left >= 0 else None

    def run(self, name: int) -> None:
        chance = random.Random(self.seed * 1000 + name)
        while (number := self.take()) is not None:
            for _ in range(3):
                if self.ask(number, chance):
                    break
                time.sleep(0.1)

    def ask(self, number: int, chance: random.Random) -> bool:
        """Whether the client is done with this call: answered, refused, or gone away on purpose."""
        agent, stack, stream = chance.choice(self.agents), chance.choice(self.stacks), chance.random() < 0.5
        wish = wish_of(number, chance.choice([0, 0, 0.02, 0.2]), chance) | {"fails": chance.random() < 0.05}
        headers = {"Authorization": f"Bearer {agent.token}", "X-OrcaRouter-Run-Id": f"run{number % 7}"}
        patience = 0.15 if chance.random() < 0.1 else 20
        try:
            answer = httpx.post(f"{stack.url}/v1/chat/completions", headers=headers, json=body_of(wish, stream=stream), timeout=patience)
        except httpx.TimeoutException:
            return True
        except httpx.HTTPError:
            return False
        if answer.status_code == 200 and (not stream or answer.text.endswith("[DONE]\n\n")):
            self.answered[wish["number"]] = answer.headers["x-orca-request-id"]
        return answer.status_code < 500


def set_fires(stack_at_hand: Stack, stacks: list[Stack], valkey_server, clients: list[threading.Thread], chance: random.Random) -> None:
    """Kill by turns, at random moments, as long as there are clients; everything is started again."""
    server = redis.Redis.from_url(settings.REDIS_URL)
    turn = 0
    while any(client.is_alive() for client in clients):
        time.sleep(chance.uniform(0.5, 2.0))
        turn += 1
        match turn % 5:
            case 0:
                victim = chance.choice(stacks)
                victim.kill("web")
                victim.run("web")
                victim.wait_until_ready("/healthz")
            case 1 | 3:
                server.flushall()
            case 2:
                stack_at_hand.kill("worker")
                stack_at_hand.run("worker")
            case 4:
                os.kill(server.info("server")["process_id"], signal.SIGKILL)
                valkey_server.process.wait(10)
                valkey_server.start()
                valkey_server.wait_ready()


def nothing_is_open(agents: list[Agent]) -> bool:
    return all(balance(agent, Account(Scope.KEY, str(agent.key_id))).held_micro_usd == 0 for agent in agents)


def test_the_ledger_is_the_change_of_every_balance_whatever_is_killed(two, stack, provider, valkey_server):
    agents = [metered_agent(two[0], provider, credit_limit_micro_usd=10**9, cycle_limit_micro_usd=10**9) for _ in range(2)]
    agents.append(metered_agent(two[0], provider))
    agents[0].policy(rules=[{"priority": 1, "verdict": "cap_cost", "cap_cost_cents": 100_000}], default_verdict="allow")
    fire = Fire(agents, two, seed=7)
    clients = [threading.Thread(target=fire.run, args=(name,)) for name in range(12)]
    for thread in clients:
        thread.start()
    # In this thread: what a thread starts here ends with it.
    set_fires(stack, two, valkey_server, clients, random.Random(11))
    stack.wait_until_ready()
    deadline = time.monotonic() + AFTER_SECONDS
    while not nothing_is_open(agents):
        assert time.monotonic() < deadline, f"reservations stayed open: {stack.log('worker').read_text()[-3000:]}"
        time.sleep(0.5)
    assert len(fire.answered) > CALLS // 3
    for agent in agents:
        every_balance_is_the_sum_of_its_calls(agent)
        assert agrees(agent)
    costs = {row.request_id: row.cost_micro_usd for agent in agents for row in agent.usage()}
    assert [number for number, request_id in fire.answered.items() if costs.get(request_id) != spent_of(provider.served[number])] == []


def every_balance_is_the_sum_of_its_calls(agent: Agent) -> None:
    usage = agent.usage()
    assert len({row.request_id for row in usage}) == len(usage)
    total = sum(row.cost_micro_usd for row in usage)
    of_runs: Counter = Counter()
    for row in usage:
        of_runs[row.agent_run_id] += row.cost_micro_usd
    accounts = {Account(Scope.KEY, str(agent.key_id)): total, Account(Scope.WORKSPACE, "", period(Cycle.MONTH, timezone.now())[0]): total}
    accounts |= {run_account(agent.key_id, run_id): cost for run_id, cost in of_runs.items() if run_id}
    for account, cost in accounts.items():
        assert balance(agent, account) == money_selectors.Balance(cost, 0), account
    for name, copy in in_valkey(agent).items():
        assert (int(copy["spent"]), int(copy["held"])) == (balance(agent, parsed(name)).spent_micro_usd, 0), name
