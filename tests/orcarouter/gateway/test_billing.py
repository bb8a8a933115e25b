"""What a key reads of its own money: one call, and the summaries."""

from datetime import UTC, datetime, timedelta

import httpx2 as httpx
import pytest
from django.utils import timezone

import keys.services
from keys.engine import scope
from orcarouter.gateway.billing import LOOKUPS_A_MINUTE
from tests.factories.activity import LedgerFactory, UsageFactory
from tests.orcarouter.gateway.conftest import make_agent
from tests.orcarouter.gateway.test_holds import HOLDS, PAY, chat, decide, held
from workspaces import tenancy
from workspaces.permissions import Role

USAGE, SUBSCRIPTION = "/v1/dashboard/billing/usage", "/v1/dashboard/billing/subscription"


def get(agent, path: str, token: str | None = None, **query) -> httpx.Response:
    headers = {"Authorization": f"Bearer {agent.token if token is None else token}"}
    return httpx.get(agent.stack.url + path, params=query, headers=headers, trust_env=False, timeout=60)


def refusal(answer: httpx.Response) -> tuple[int, str, str | None]:
    error = answer.json()["error"]
    return answer.status_code, error["code"], error["param"]


def sibling(agent, role: Role = Role.OWNER, **fields) -> tuple[int, str]:
    with tenancy.scope(agent.workspace.pk):
        key, token = keys.services.create_key(agent.workspace, fields={"name": "other"} | fields, actor=agent.tenant.person(role), at=timezone.now())
    return key.pk, token


def change(agent, **changes) -> None:
    with tenancy.scope(agent.workspace.pk):
        keys.services.change_key(agent.key(), changes=changes, actor=None, at=timezone.now())


def test_a_call_is_looked_up_by_the_id_it_was_answered_with(agent):
    answer = agent.sdk().chat.completions.with_raw_response.create(model="demo-small", messages=[{"role": "user", "content": "hello"}])
    request_id = answer.headers["x-orca-request-id"]
    used = answer.parse().usage
    (row,) = agent.usage(request_id=request_id)
    found = get(agent, "/v1/generation", id=request_id)
    assert (found.status_code, found.headers["cache-control"]) == (200, "no-store")
    data = found.json()["data"]
    assert data | {"created_at": "", "latency_ms": 0, "ttft_ms": 0} == {
        "id": request_id,
        "model": "demo-small",
        "created_at": "",
        "streamed": False,
        "token_name": "agent",
        "tokens_prompt": used.prompt_tokens,
        "tokens_completion": used.completion_tokens,
        "tokens_total": used.total_tokens,
        "total_cost": row.cost_micro_usd / 1_000_000,
        "cost_currency": "USD",
        "quota": row.cost_micro_usd // 2,
        "latency_ms": 0,
        "ttft_ms": 0,
    }
    assert row.cost_micro_usd > 0
    assert datetime.fromisoformat(data["created_at"]).tzinfo is not None


@pytest.mark.parametrize(("cost", "shown", "quota"), [(None, None, None), (0, 0, 0), (1_230, 0.00123, 615)])
def test_an_unknown_price_is_null_and_a_failed_call_cost_nothing(agent, cost, shown, quota):
    row = UsageFactory(workspace=agent.workspace, key_id=agent.key_id, cost_micro_usd=cost)
    data = get(agent, "/v1/generation", id=row.request_id).json()["data"]
    assert (data["total_cost"], data["quota"]) == (shown, quota)


def test_only_the_calls_of_ones_own_maker_are_found(stack, agent):
    row = UsageFactory(workspace=agent.workspace, key_id=agent.key_id)
    assert get(agent, "/v1/generation", sibling(agent)[1], id=row.request_id).status_code == 200
    missing = get(agent, "/v1/generation", id="req_none")
    for token in (sibling(agent, Role.DEVELOPER)[1], make_agent(stack).token):
        answer = get(agent, "/v1/generation", token, id=row.request_id)
        assert (answer.status_code, answer.json()) == (404, missing.json())
    orphan = UsageFactory(workspace=agent.workspace, key_id=10**9)
    assert get(agent, "/v1/generation", id=orphan.request_id).status_code == 404


def test_what_is_wrong_is_said(agent):
    assert refusal(get(agent, "/v1/generation")) == (400, "validation_error", "id")
    assert refusal(get(agent, "/v1/generation", id="x" * 200)) == (400, "validation_error", "id")
    assert refusal(get(agent, "/v1/generation", id="a", of="b")) == (400, "validation_error", "of")
    assert refusal(get(agent, USAGE, start_date="yesterday")) == (400, "validation_error", "start_date")
    assert refusal(get(agent, USAGE, end_date="0001-01-01")) == (400, "validation_error", "end_date")
    assert refusal(get(agent, "/v1/generation", "sk-orca-" + "a" * 48, id="a")) == (401, "invalid_api_key", None)
    assert httpx.post(agent.stack.url + USAGE, trust_env=False, timeout=60).status_code == 405


def test_a_key_that_is_spent_may_read_and_one_that_is_not_valid_may_not(agent):
    row = UsageFactory(workspace=agent.workspace, key_id=agent.key_id)
    LedgerFactory(workspace=agent.workspace, key_id=agent.key_id, spent_micro_usd=2_000_000)
    change(agent, credit_limit_micro_usd=1_000_000)
    for path, query in (("/v1/generation", {"id": row.request_id}), (USAGE, {}), (SUBSCRIPTION, {})):
        assert get(agent, path, **query).status_code == 200
    change(agent, allow_ips=["203.0.113.7"])
    assert refusal(get(agent, SUBSCRIPTION))[:2] == (403, "access_denied")
    change(agent, allow_ips=[], is_disabled=True)
    for path in ("/v1/generation?id=x", USAGE, SUBSCRIPTION):
        answer = get(agent, path)
        assert (refusal(answer)[:2], answer.json()["error"]["message"]) == ((401, "invalid_api_key"), scope.INVALID_KEY)


def test_look_ups_are_limited_a_person_and_minute(agent):
    _, other = sibling(agent)
    with httpx.Client(base_url=agent.stack.url, trust_env=False, timeout=60) as client:

        def look(token: str) -> httpx.Response:
            return client.get("/v1/generation?id=req_none", headers={"Authorization": f"Bearer {token}"})

        codes = [look(token).status_code for token in (agent.token, other) for _ in range(LOOKUPS_A_MINUTE)]
        limited = next(answer for answer in (look(agent.token) for _ in range(3 * LOOKUPS_A_MINUTE)) if answer.status_code == 429)
    # The minute may turn once meanwhile.
    assert codes[0] == 404
    assert 429 in codes
    assert codes.count(404) in (LOOKUPS_A_MINUTE, 2 * LOOKUPS_A_MINUTE - codes.count(429))
    assert 0 < int(limited.headers["retry-after"]) <= 60


def test_summaries_tell_the_keys_own_money(agent):
    at = datetime.now(UTC)
    assert get(agent, USAGE).json() == {"object": "list", "total_usage": 0}
    fresh = get(agent, SUBSCRIPTION).json()
    assert (fresh["hard_limit_usd"], fresh["access_until"], fresh["unlimited_quota"], fresh["remain_quota"]) == (100_000_000, 0, True, 0)
    LedgerFactory(workspace=agent.workspace, key_id=agent.key_id, spent_micro_usd=1_230_000)
    LedgerFactory(workspace=agent.workspace, key_id=sibling(agent)[0], spent_micro_usd=9_000_000)
    UsageFactory(workspace=agent.workspace, key_id=agent.key_id, cost_micro_usd=1_230_000)
    change(agent, credit_limit_micro_usd=25_000_000, expires_at=at + timedelta(days=1))
    assert get(agent, USAGE).json()["total_usage"] == 123
    assert get(agent, USAGE, start_date=f"{at - timedelta(days=1):%Y-%m-%d}").json()["total_usage"] == 123
    assert get(agent, USAGE, end_date=f"{at - timedelta(days=1):%Y-%m-%d}").json()["total_usage"] == 0
    told = get(agent, SUBSCRIPTION).json()
    assert (told["soft_limit_usd"], told["hard_limit_usd"], told["unlimited_quota"]) == (25, 25, False)
    assert (told["used_quota"], told["remain_quota"]) == (615_000, 11_885_000)
    assert told["access_until"] == int((at + timedelta(days=1)).timestamp())


@pytest.mark.parametrize("streams", [False, True])
def test_the_cost_of_a_call_stands_in_its_usage_when_asked_for(agent, streams):
    options = {"stream": True, "stream_options": {"include_usage": True}} if streams else {}

    def used(**headers):
        answer = agent.sdk().chat.completions.create(model="demo-small", messages=[{"role": "user", "content": "hello"}], extra_headers=headers, **options)
        return [chunk for chunk in answer if chunk.usage][-1].usage if streams else answer.usage

    told = used(**{"X-OrcaRouter-Include-Cost": "1"}).model_dump()
    assert told["cost_usd"] * 1_000_000 == pytest.approx(agent.usage()[-1].cost_micro_usd)
    assert told["cost_usd"] > 0
    assert "cost_usd" not in used().model_dump()


@pytest.mark.parametrize("streams", [False, True])
def test_a_held_answer_is_paid_for_once_and_its_replay_costs_nothing(stack, committed, streams):
    agent = make_agent(stack)
    agent.policy(default_verdict="allow", rules=[HOLDS])
    refused = chat(agent, PAY, stream=streams)
    approval, held_id = held(refused)["approval_id"], refused.headers["x-orca-request-id"]
    decide(agent, approval)
    answer = chat(agent, PAY, approval, stream=streams)
    assert answer.status_code == 200
    replayed_id = answer.headers["x-orca-request-id"]
    paid, replayed = (get(agent, "/v1/generation", id=request_id).json()["data"] for request_id in (held_id, replayed_id))
    assert paid["total_cost"] > 0
    assert (replayed["id"], replayed["total_cost"], replayed["quota"], replayed["tokens_total"]) == (replayed_id, 0, 0, 0)
    assert (paid["streamed"], replayed["streamed"]) == (streams, streams)
    assert get(agent, USAGE).json()["total_usage"] == pytest.approx(paid["total_cost"] * 100)
