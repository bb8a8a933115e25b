"""Every way money can be spent passes through the one admission: the URL map is walked with a key that may spend nothing more."""

import httpx2 as httpx
import pytest

from orcarouter.gateway.app import ROUTES
from tests.orcarouter.gateway.test_budgets import change, error_of, in_valkey, spent

MESSAGES = [{"role": "user", "content": "hello"}]
#: A body that each route which asks a provider serves. A new route of ``/v1`` needs its row here.
SPENDING = {("POST", "/v1/chat/completions"): {"model": "demo-large", "max_tokens": 10, "messages": MESSAGES}}
#: Routes of keys that ask no provider: they read, or they judge.
FREE = {("GET", "/v1/models"), ("GET", "/v1/models/{id}"), ("GET", "/v1/generation"), ("GET", "/v1/dashboard/billing/usage")}
FREE |= {("GET", "/v1/dashboard/billing/subscription")}


#: Beside ``/v1``: what holds the price of a tool, and what holds no money: a plan is a question, a callback is a person's word.
SPENDING_TOOLS, ASKING = (
    {("POST", "/api/v1/firewall/evaluate")},
    {("POST", "/api/v1/firewall/evaluate_plan"), ("POST", "/api/v1/firewall/approvals/{id}/callback")},
)


def relays() -> set[tuple[str, str]]:
    return {(method, path) for method, path in ROUTES if path.startswith("/v1")}


def test_every_relay_route_is_known_to_spend_or_not_to():
    assert relays() - FREE - set(SPENDING) == set()
    assert all(method == "GET" for method, _ in FREE)
    # Whatever is not only read: each is refused a key that is spent, here or in test_tool_prices.
    assert {route for route in ROUTES if route[0] != "GET"} == set(SPENDING) | SPENDING_TOOLS | ASKING


@pytest.mark.parametrize(("method", "path"), sorted(SPENDING))
@pytest.mark.parametrize("stream", [False, True])
def test_a_spent_key_reaches_no_provider_by_any_route(agent, method, path, stream):
    def ask() -> httpx.Response:
        headers = {"Authorization": f"Bearer {agent.token}"}
        return httpx.request(method, agent.stack.url + path, headers=headers, json=SPENDING[method, path] | {"stream": stream}, timeout=30)

    change(agent, credit_limit_micro_usd=10_000_000)
    assert ask().status_code == 200
    # What it spent was held before it was spent.
    assert in_valkey(agent)
    change(agent, credit_limit_micro_usd=spent(agent))
    before = spent(agent)
    assert error_of(ask())[:2] == (403, "pre_consume_token_quota_failed")
    assert spent(agent) == before
    assert [row.outcome for row in agent.usage()] == ["completed", "blocked"]
