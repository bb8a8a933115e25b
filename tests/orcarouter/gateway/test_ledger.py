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

from keys import money_selectors, money_services
from keys.engine.ceilings import Account, Cycle, Scope, period
from keys.models import LedgerEntry
from orcarouter.gateway.money import parsed, run_account
from tests.environment import DATA_DIR
from tests.figures import CALLS
from tests.orcarouter.gateway.conftest import Agent
from tests.orcarouter.gateway.provider import INPUT_PRICE, MODEL, OUTPUT_PRICE, Metered, metered
from tests.orcarouter.gateway.test_budgets import act, agrees, change, in_valkey
from tests.orcarouter.gateway.test_sweep import give_up_the_silent, metered_agent
from tests.receiver import HOST
from tests.stack import Stack
from workspaces import tenancy

AFTER_SECONDS = 90
TOOL_PRICE = 3_000


@pytest.fixture(scope="module")
def provider() -> Iterator[Metered]:
    with metered() as made:
        yield made


@pytest.fixture(scope="module")
def webs(stack, provider) -> Iterator[list[Stack]]:
    second = Stack(DATA_DIR, ALLOWED_PRIVATE_HOSTS=HOST)
    second.run("web")
    second.wait_until_ready("/healthz")
    yield [stack, second]
    second.stop()


@pytest.fixture
def two(webs, committed) -> list[Stack]:
    """Two web processes over the same servers."""
    return webs


@pytest.fixture
def valkey_server(servers):
    return next(child for child in servers.children if "valkey" in child.name)


def body_of(wish: dict, *, stream: bool) -> dict:
    return {"model": MODEL, "stream": stream, "max_tokens": 100, "messages": [{"role": "user", "content": json.dumps(wish)}]}


def wish_of(number: int, chance: random.Random, *, delay: float = 0, waits: int = 0) -> dict:
    # As long as every other one: the worst case of each call is the same.
    return {"number": 10**8 + number, "in": chance.randrange(10, 60), "out": chance.randrange(10, 100), "delay": delay, "chunks": 3, "waits": waits}


def spent_of(usage: tuple[int, int]) -> int:
    return usage[0] * INPUT_PRICE + usage[1] * OUTPUT_PRICE


def balance(agent: Agent, account: Account) -> money_selectors.Balance:
    return money_selectors.statement(agent.workspace.pk, account, at=timezone.now()).balance


# --- Caps hold ------------------------------------------------------------------------------------------------------
async def crowd(agent: Agent, stacks: list[Stack], provider: Metered, numbers: range, chance: random.Random) -> Counter:
    """All at once, over all processes, streamed and not; what became of them. None ends before all were asked: what is held is held at once."""
    told: Counter = Counter()
    limits = httpx.Limits(max_connections=len(numbers))
    headers = {"Authorization": f"Bearer {agent.token}", "X-OrcaRouter-Run-Id": "crowd"}

    async def ask(client: httpx.AsyncClient, number: int) -> None:
        url = f"{stacks[number % len(stacks)].url}/v1/chat/completions"
        body = body_of(wish_of(number, chance, waits=1), stream=number % 3 == 0)
        told[(await client.post(url, headers=headers, json=body)).status_code] += 1

    async with httpx.AsyncClient(timeout=120, limits=limits) as client, asyncio.TaskGroup() as calls:
        for number in numbers:
            calls.create_task(ask(client, number))
        while told.total() + provider.waiting < len(numbers):  # noqa: ASYNC110 - the provider is of another thread
            await asyncio.sleep(0.02)
        provider.release()
    return told


def call(agent: Agent, stack: Stack, number: int) -> int:
    """One call by itself, nearly as dear as it may be."""
    headers = {"Authorization": f"Bearer {agent.token}", "X-OrcaRouter-Run-Id": "crowd"}
    wish = wish_of(number, random.Random(number), waits=0) | {"in": 50, "out": 99}
    return httpx.post(f"{stack.url}/v1/chat/completions", headers=headers, json=body_of(wish, stream=number % 3 == 0), timeout=120).status_code


def worst_case(agent: Agent) -> int:
    """What one call has held, as the ledger says."""
    with tenancy.scope(agent.workspace.pk):
        return agent.workspace.ledger.get(key_id=agent.key_id, kind="reserve").held_micro_usd


@pytest.mark.parametrize("ceiling", ["key", "run"])
def test_of_two_hundred_calls_at_once_exactly_those_that_fit_are_made(two, provider, ceiling):
    agent = metered_agent(two[0], provider, credit_limit_micro_usd=10**9)
    assert call(agent, two[0], 1) == 200
    worst = worst_case(agent)
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
    told = asyncio.run(crowd(agent, two, provider, range(1000, 1200), random.Random(1)))
    refusal = 403 if ceiling == "key" else 400
    assert told == {200: fits, refusal: 200 - fits}
    assert balance(agent, account).spent_micro_usd <= limit
    assert agrees(agent)
    # One after the other: a call is refused only if what it may cost does not fit, and then it is.
    number, status = 2000, 200
    while status == 200:
        left = limit - balance(agent, account).spent_micro_usd
        status = call(agent, two[number % 2], number)
        assert (status == 200) is (left >= worst), (left, worst)
        number += 1
        assert agrees(agent)
    assert balance(agent, account).spent_micro_usd <= limit


# --- The ledger adds up -----------------------------------------------------------------------------------------------
@dataclass
class Fire:
    """Clients that call, hang up and try again, and ask about tools, while processes are killed and Valkey is emptied."""

    agents: list[Agent]
    hook: Agent
    stacks: list[Stack]
    seed: int
    answered: dict[int, str] = field(default_factory=dict)
    allowed: list[str] = field(default_factory=list)
    left: int = CALLS
    lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self) -> int | None:
        with self.lock:
            self.left -= 1
            return self.left if self.left >= 0 else None

    def run(self, name: int) -> None:
        chance = random.Random(self.seed * 1000 + name)
        with httpx.Client(timeout=20) as client:
            while (number := self.take()) is not None:
                for _ in range(3):
                    if self.ask(client, number, chance):
                        break
                    time.sleep(0.1)

    def ask(self, client: httpx.Client, number: int, chance: random.Random) -> bool:
        """Whether the client is done with this call: answered, refused, or gone away on purpose."""
        agent, stack, stream = chance.choice(self.agents), chance.choice(self.stacks), chance.random() < 0.5
        if chance.random() < 0.1:
            return self.ask_about_a_tool(client, stack, number)
        wish = wish_of(number, chance, delay=chance.choice([0, 0, 0.02, 0.2])) | {"fails": chance.random() < 0.05, "lost": int(chance.random() < 0.05)}
        headers = {"Authorization": f"Bearer {agent.token}", "X-OrcaRouter-Run-Id": f"run{number % 7}"}
        patience = 0.15 if chance.random() < 0.1 else 20
        try:
            answer = client.post(f"{stack.url}/v1/chat/completions", headers=headers, json=body_of(wish, stream=stream), timeout=patience)
        except httpx.TimeoutException:
            return True
        except httpx.HTTPError:
            return False
        if answer.status_code == 200 and (not stream or answer.text.endswith("[DONE]\n\n")):
            self.answered[wish["number"]] = answer.headers["x-orca-request-id"]
        return answer.status_code < 500

    def ask_about_a_tool(self, client: httpx.Client, stack: Stack, number: int) -> bool:
        headers, body = {"Authorization": f"Bearer {self.hook.token}"}, {"tool_name": "maps.route", "agent_run_id": f"run{number % 7}"}
        try:
            answer = client.post(f"{stack.url}/api/v1/firewall/evaluate", headers=headers, json=body)
        except httpx.HTTPError:
            return False
        # Denied where nobody can tell what was spent.
        if answer.status_code == 200 and answer.json()["verdict"] != "deny":
            self.allowed.append(answer.json()["request_id"])
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
                valkey_server.process.wait(60)
                valkey_server.start()
                valkey_server.wait_ready()
    # A worker that lost Valkey while it started may have given up, and here is no supervisor that starts it again.
    stack_at_hand.kill("worker")
    stack_at_hand.run("worker")


def nothing_is_open(agents: list[Agent]) -> bool:
    """Whether each reservation is settled, those too that hold nothing, as no limit asks for it."""
    for agent in agents:
        with tenancy.scope(agent.workspace.pk):
            kinds = Counter(agent.workspace.ledger.values_list("kind", flat=True))
        if kinds[LedgerEntry.Kind.RESERVE] != kinds[LedgerEntry.Kind.SETTLE]:
            return False
    return all(balance(agent, Account(Scope.KEY, str(agent.key_id))).held_micro_usd == 0 for agent in agents)


def test_the_ledger_is_the_change_of_every_balance_whatever_is_killed(two, stack, provider, valkey_server):
    agents = [metered_agent(two[0], provider, credit_limit_micro_usd=10**9, cycle_limit_micro_usd=10**9) for _ in range(2)]
    agents.append(metered_agent(two[0], provider))
    agents[0].policy(rules=[{"priority": 1, "verdict": "cap_cost", "cap_cost_cents": 100_000}], default_verdict="allow")
    hook = metered_agent(two[0], provider, credit_limit_micro_usd=10**9, is_firewall_gateway=True)
    act(hook, money_services.set_tool_prices, hook.workspace, prices={"maps.*": TOOL_PRICE})
    fire = Fire(agents, hook, two, seed=7)
    clients = [threading.Thread(target=fire.run, args=(name,)) for name in range(12)]
    for thread in clients:
        thread.start()
    # In this thread: what a thread starts here ends with it.
    set_fires(stack, two, valkey_server, clients, random.Random(11))
    stack.wait_until_ready()
    deadline = time.monotonic() + AFTER_SECONDS
    while not nothing_is_open(agents):
        give_up_the_silent()
        assert time.monotonic() < deadline, f"reservations stayed open: {stack.log('worker').read_text()[-3000:]}"
        time.sleep(0.5)
    assert len(fire.answered) > CALLS // 3
    for agent in (*agents, hook):
        every_balance_is_the_sum_of_its_calls(agent)
        assert agrees(agent)
    costs = {row.request_id: row.cost_micro_usd for agent in (*agents, hook) for row in agent.usage()}
    lost = Counter(lost_attempts(agents))
    assert lost
    wrong = [number for number, request_id in fire.answered.items() if costs.get(request_id) != spent_of(provider.served[number]) + lost[request_id]]
    assert wrong == []
    assert {costs.get(request_id) for request_id in fire.allowed} == {TOOL_PRICE}


def lost_attempts(agents: list[Agent]) -> dict[str, int]:
    """What first attempts that nobody answered are booked at, by their call."""
    found = {}
    for agent in agents:
        with tenancy.scope(agent.workspace.pk):
            found |= dict(agent.workspace.ledger.filter(cause="retried").values_list("request_id", "spent_micro_usd"))
    return found


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
