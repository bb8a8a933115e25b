"""Tools with a price, where their caller asks beforehand: held, booked if the call may be made, and counted under every ceiling."""

from concurrent.futures import ThreadPoolExecutor

import httpx2 as httpx
import pytest
import redis
from django.conf import settings

import keys.services
from keys import money_selectors, money_services
from keys.engine.ceilings import Account, Scope
from keys.engine.tool_prices import ToolPrices
from orcarouter.gateway.money import run_account
from tests.orcarouter.gateway.conftest import Agent, make_agent
from tests.orcarouter.gateway.test_budgets import act, agrees, budget, change, error_of
from tests.orcarouter.gateway.test_budgets import ask as relay
from tests.orcarouter.gateway.test_evaluate import ask, other_key, plan
from tests.orcarouter.gateway.test_sweep import balance
from workspaces import tenancy

PRICE = 3_000
CAP = {"priority": 1, "verdict": "cap_cost", "cap_cost_cents": 1}


@pytest.fixture
def hook(stack, committed) -> Agent:
    made = make_agent(stack, is_firewall_gateway=True)
    act(made, money_services.set_tool_prices, made.workspace, prices={"maps.*": PRICE, "maps.cached": 0})
    return made


def evaluate(agent: Agent, tool: str = "maps.route", run: str = "r", **fields) -> httpx.Response:
    return ask(agent, {"tool_name": tool, "arguments": {}, "agent_run_id": run} | fields)


def of_run(agent: Agent, key_id: int | None = None) -> money_selectors.Balance:
    account = run_account(key_id or agent.key_id, "r")
    with tenancy.scope(agent.workspace.pk):
        return money_selectors.statement(agent.workspace.pk, account, at=agent.key().created_at).balance


def test_the_longest_glob_holds_however_the_name_is_sent():
    prices = ToolPrices.of({"*": 1, "maps.*": 3, "maps.cached": 0, "*.exec": 7})
    names = ("maps.route", "maps__route", "maps.cached", "maps__cached", "exec", "shell.exec", "other", "maps.exec", "x" * 200, "\ud800")
    assert [prices.price(name) for name in names] == [3, 3, 0, 0, 7, 7, 1, 7, 1, 1]
    assert ToolPrices().price("maps.route") == 0


def test_a_call_that_may_be_made_is_booked_and_another_is_not(hook):
    hook.policy(default_verdict="allow", rules=[{"priority": 1, "tool_name_glob": "maps.delete", "verdict": "deny"}])
    change(hook, credit_limit_micro_usd=1_000_000)
    answers = {tool: evaluate(hook, tool).json() for tool in ("maps.route", "maps__route", "maps.cached", "maps.delete", "web.search")}
    assert [answer["verdict"] for answer in answers.values()] == ["allow", "allow", "allow", "deny", "allow"]
    assert (balance(hook).spent_micro_usd, balance(hook).held_micro_usd) == (2 * PRICE, 0)
    assert of_run(hook).spent_micro_usd == 2 * PRICE
    rows = hook.usage()
    assert [(row.usage_source, row.cost_micro_usd, row.agent_run_id, row.outcome, row.model_name) for row in rows] == [
        ("tool", PRICE, "r", "completed", None)
    ] * 2
    assert rows[0].request_id == answers["maps.route"]["request_id"]
    assert [event.cost_micro_usd for event in hook.events()] == [PRICE, PRICE, None, None, None]
    assert agrees(hook)
    found = httpx.get(f"{hook.stack.url}/v1/generation", params={"id": rows[0].request_id}, headers={"Authorization": f"Bearer {hook.token}"}, timeout=30)
    assert found.json()["data"]["total_cost"] == PRICE / 1_000_000


@pytest.mark.parametrize("ceiling", ["key", "workspace", "run"])
def test_a_ceiling_holds_over_calls_of_tools_however_many_ask_at_once(hook, ceiling):
    if ceiling == "run":
        hook.policy(default_verdict="allow", rules=[CAP])
    elif ceiling == "key":
        change(hook, credit_limit_micro_usd=10_000)
    else:
        budget(hook, 10_000)
    with ThreadPoolExecutor(8) as crowd:
        answers = list(crowd.map(lambda _: evaluate(hook), range(16)))
    allowed = [answer for answer in answers if answer.status_code == 200 and answer.json()["verdict"] != "deny"]
    # Three fit; one that was refused for what others held may be asked again.
    while (answer := evaluate(hook)).status_code == 200 and answer.json()["verdict"] != "deny":
        allowed.append(answer)
    assert len(allowed) == 3
    assert balance(hook).spent_micro_usd == 3 * PRICE
    refused = {"key": (403, "pre_consume_token_quota_failed", ""), "workspace": (403, "insufficient_user_quota", "")}
    if ceiling == "run":
        assert answer.json()["metadata"]["reason_code"] == "cost_cap"
    else:
        assert error_of(answer) == refused[ceiling]
        assert hook.usage(outcome="blocked")[-1].error_code == refused[ceiling][1]
        # A tool that costs nothing may be asked about all the same.
        assert evaluate(hook, "maps.cached").status_code == 200
    assert agrees(hook)


def test_what_tools_cost_counts_against_the_calls_of_models_and_after_a_loss(hook):
    hook.policy(default_verdict="allow", rules=[CAP])
    for _ in range(3):
        assert evaluate(hook).json()["verdict"] == "allow"
    redis.Redis.from_url(settings.REDIS_URL).flushall()
    assert error_of(relay(hook, run="r", max_tokens=400)) == (400, "firewall_blocked", "cost_cap")
    assert evaluate(hook, "maps.cached").json()["verdict"] == "allow"
    assert evaluate(hook, run="other").json()["verdict"] == "allow"


def test_the_cost_is_of_the_key_whose_run_it_is(hook):
    worker = other_key(hook, credit_limit_micro_usd=PRICE)
    assert evaluate(hook, key_id=worker).json()["verdict"] in ("allow", "observe")
    assert error_of(evaluate(hook, key_id=worker))[:2] == (403, "pre_consume_token_quota_failed")
    with tenancy.scope(hook.workspace.pk):
        spent = money_selectors.balance(hook.workspace, Account(Scope.KEY, str(worker)), at=hook.key().created_at)
    assert (spent.spent_micro_usd, balance(hook).spent_micro_usd) == (PRICE, 0)
    with tenancy.scope(hook.workspace.pk):
        key = hook.workspace.api_keys.get(pk=worker)
        keys.services.change_key(key, changes={"credit_limit_micro_usd": 2 * PRICE}, actor=None, at=key.created_at)
    # In force on the very next call.
    assert evaluate(hook, key_id=worker).status_code == 200


def test_a_plan_counts_its_steps_and_spends_nothing(hook):
    hook.policy(default_verdict="allow", rules=[CAP])
    told = plan(hook, *({"tool_name": "maps.route"} for _ in range(4)), agent_run_id="r").json()
    assert [step["verdict"] for step in told["steps"]] == ["allow"] * 3 + ["deny"]
    assert told["steps"][3]["metadata"]["reason_code"] == "cost_cap"
    assert balance(hook).spent_micro_usd == 0
    assert hook.usage() == []


def test_a_held_call_costs_nothing_until_it_may_be_made(hook):
    hook.policy(default_verdict="allow", rules=[{"priority": 1, "tool_name_glob": "maps.*", "verdict": "pending_approval"}])
    change(hook, credit_limit_micro_usd=PRICE)
    assert evaluate(hook).json()["verdict"] == "pending_approval"
    assert balance(hook).spent_micro_usd == 0
    assert agrees(hook)
