"""What a key, its maker and its workspace may spend: each ceiling holds, says so as documented, and opens again."""

import time
from concurrent.futures import ThreadPoolExecutor

import httpx2 as httpx
import pytest
import redis
from django.conf import settings
from django.utils import timezone

import keys.services
from keys import money_selectors, money_services
from keys.engine.ceilings import Account, Scope
from orcarouter.gateway import runs
from orcarouter.gateway.money import parsed
from tests.orcarouter.gateway.conftest import Agent
from workspaces import tenancy
from workspaces.permissions import Role


def ask(agent: Agent, text: str = "word " * 10, *, model: str = "demo-large", stream: bool = False, run: str = "", **fields) -> httpx.Response:
    body = {"model": model, "max_tokens": 40, "stream": stream, "messages": [{"role": "user", "content": text}]} | fields
    headers = {"Authorization": f"Bearer {agent.token}"} | ({"X-OrcaRouter-Run-Id": run} if run else {})
    return httpx.post(f"{agent.stack.url}/v1/chat/completions", headers=headers, json=body, timeout=60)


def change(agent: Agent, **changes: object) -> None:
    with tenancy.scope(agent.workspace.pk):
        keys.services.change_key(agent.key(), changes=changes, actor=agent.tenant.person(Role.OWNER), at=timezone.now())


def budget(agent: Agent, limit: int, *, of_member: bool = False) -> None:
    maker = agent.tenant.person(Role.OWNER) if of_member else None
    act(agent, money_services.set_budget, agent.workspace, member=maker, limit_micro_usd=limit)


def act(agent: Agent, service, *subject, **fields):
    with tenancy.scope(agent.workspace.pk):
        return service(*subject, **fields, actor=agent.tenant.person(Role.OWNER), at=timezone.now())


def spent(agent: Agent) -> int:
    return money_selectors.statement(agent.workspace.pk, Account(Scope.KEY, str(agent.key_id)), at=timezone.now()).spent_micro_usd


def error_of(answer: httpx.Response) -> tuple[int, str, str]:
    error = answer.json().get("error", {})
    return answer.status_code, error.get("code", ""), error.get("metadata", {}).get("reason_code", "")


def in_valkey(agent: Agent) -> dict[str, dict]:
    """The accounts of the agent's workspace as Valkey has them."""
    client = redis.Redis.from_url(settings.REDIS_URL, decode_responses=True)
    prefix = f"{runs.space(agent.workspace.pk)}account:"
    return {name.removeprefix(prefix): client.hgetall(name) for name in client.scan_iter(f"{prefix}*", count=1000)}


def agrees(agent: Agent) -> bool:
    """Whether nothing is held and every account in Valkey says what the ledger says."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        copies = {name: (int(kept["spent"]), int(kept["held"])) for name, kept in in_valkey(agent).items()}
        ledger = {name: money_selectors.balance(agent.workspace, parsed(name), at=timezone.now()) for name in copies}
        if all(copies[name] == (ledger[name].spent_micro_usd, ledger[name].held_micro_usd) == (copies[name][0], 0) for name in copies):
            return True
        time.sleep(0.1)
    return False


CEILINGS = {
    "key": (lambda agent, limit: change(agent, credit_limit_micro_usd=limit), "pre_consume_token_quota_failed"),
    "cycle": (lambda agent, limit: change(agent, cycle_limit_micro_usd=limit, cycle="day"), "access_denied"),
    "workspace": (budget, "insufficient_user_quota"),
    "member": (lambda agent, limit: budget(agent, limit, of_member=True), "insufficient_user_quota"),
}


@pytest.mark.parametrize("ceiling", CEILINGS)
def test_a_ceiling_holds_and_a_higher_one_opens_again(agent, ceiling):
    set_limit, code = CEILINGS[ceiling]
    set_limit(agent, 5_000)
    answers = [ask(agent, stream=number % 2 == 0) for number in range(4)]
    assert [answer.status_code for answer in answers] == [200] * 4
    while (answer := ask(agent)).status_code == 200:
        assert spent(agent) <= 5_000
    assert error_of(answer)[:2] == (403, code)
    assert answer.headers.get("x-should-retry") == "false" or code == "access_denied"
    if ceiling != "key":
        assert answer.json()["error"]["metadata"]["resets_at"].endswith("T00:00:00Z")
    # What was refused would not have fitted: the rest is less than a call may cost at most.
    assert 5_000 - 1_500 < spent(agent) <= 5_000
    assert agent.usage(outcome="blocked")[-1].error_code == code
    assert agrees(agent)
    set_limit(agent, 50_000)
    assert ask(agent).status_code == 200


def test_the_least_of_several_ceilings_refuses_and_none_keeps_anything(agent):
    agent.policy(rules=[{"priority": 1, "verdict": "cap_cost", "cap_cost_cents": 1}], default_verdict="allow")
    change(agent, credit_limit_micro_usd=10_000_000)
    budget(agent, 3_000)
    while (answer := ask(agent, run="one")).status_code == 200:
        pass
    assert error_of(answer)[:2] == (403, "insufficient_user_quota")
    assert agrees(agent)
    assert {name.partition(":")[0] for name in in_valkey(agent)} == {"key", "workspace", "run"}
    budget(agent, 10_000_000)
    while (answer := ask(agent, run="one")).status_code == 200:
        pass
    assert error_of(answer) == (400, "firewall_blocked", "cost_cap")
    assert spent(agent) <= 10_000
    assert agrees(agent)


def test_a_limit_set_again_counts_what_was_spent_without_it(agent):
    change(agent, credit_limit_micro_usd=1_000_000)
    assert ask(agent).status_code == 200
    change(agent, credit_limit_micro_usd=0)
    for _ in range(3):
        assert ask(agent).status_code == 200
    change(agent, credit_limit_micro_usd=spent(agent) + 10)
    assert error_of(ask(agent))[:2] == (403, "pre_consume_token_quota_failed")
    assert agrees(agent)


def test_under_a_limit_a_model_without_a_price_is_refused_and_without_one_its_cost_is_unknown(agent):
    assert ask(agent, model="demo-slow").status_code == 200
    assert agent.usage()[0].cost_micro_usd is None
    change(agent, credit_limit_micro_usd=1_000_000)
    assert error_of(ask(agent, model="demo-slow"))[:2] == (400, "model_price_error")
    act(agent, money_services.set_price, agent.workspace, model="demo-slow", fields={"input_per_million_micro_usd": 5, "output_per_million_micro_usd": 5})
    assert ask(agent, model="demo-slow").status_code == 200


def test_a_limit_holds_however_many_call_at_once(agent):
    change(agent, credit_limit_micro_usd=10_000)
    with ThreadPoolExecutor(16) as crowd:
        answers = list(crowd.map(lambda number: ask(agent, stream=number % 2 == 0), range(80)))
    assert {answer.status_code for answer in answers} == {200, 403}
    assert 10_000 - 1_500 < spent(agent) <= 10_000
    assert agrees(agent)


def test_an_emptied_valkey_forgets_nothing_that_was_spent(agent):
    change(agent, credit_limit_micro_usd=4_000)
    while ask(agent).status_code == 200:
        redis.Redis.from_url(settings.REDIS_URL).flushall()
    assert 4_000 - 1_500 < spent(agent) <= 4_000
    assert agrees(agent)


def test_a_frozen_key_is_refused_on_the_next_call_and_says_so(agent):
    assert ask(agent).status_code == 200
    change(agent, is_frozen=True)
    assert error_of(ask(agent)) == (400, "firewall_blocked", "key_frozen")
    models = httpx.get(f"{agent.stack.url}/v1/models", headers={"Authorization": f"Bearer {agent.token}"}, timeout=30)
    assert error_of(models) == (400, "firewall_blocked", "key_frozen")
    (event,) = agent.events(reason_code="key_frozen")
    assert (event.verdict, event.surface) == ("deny", "inbound")
    change(agent, is_frozen=False)
    assert ask(agent).status_code == 200


def test_a_stopped_run_makes_no_further_call_and_another_does(agent):
    assert ask(agent, run="bad").status_code == 200
    act(agent, money_services.stop_run, agent.workspace, key_id=agent.key_id, run_id="bad")
    assert error_of(ask(agent, run="bad")) == (400, "firewall_blocked", "run_stopped")
    assert error_of(ask(agent, run="bad")) == (400, "firewall_blocked", "run_stopped")
    assert ask(agent, run="good").status_code == 200
    assert len(agent.events(reason_code="run_stopped")) == 2
