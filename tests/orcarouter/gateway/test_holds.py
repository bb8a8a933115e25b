"""Held calls over real HTTP: what an agent is told, what then runs, and that it runs once."""

import json
import time
from concurrent.futures import ThreadPoolExecutor

import httpx2 as httpx
import pytest
from django.utils import timezone

import firewall.services
import keys.services
from approvals import services
from approvals.engine.binding import State
from tests.orcarouter.gateway.conftest import Agent, make_agent
from workspaces import tenancy
from workspaces.permissions import Role

HEADER = "X-OrcaRouter-Firewall-Approval"
HOLDS = {"verdict": "pending_approval", "tool_name_glob": "payments.*", "label": "a person decides"}
PAY = 'call payments.transfer {"amount": 4180, "to": "Marlow"}'


def post(agent: Agent, path: str, body: dict, *approvals: str, run: str | None = None, url: str | None = None) -> httpx.Response:
    headers = {"Authorization": f"Bearer {agent.token}"} | ({HEADER: ",".join(approvals)} if approvals else {}) | ({"X-OrcaRouter-Run-Id": run} if run else {})
    content = json.dumps(body) if isinstance(body, dict) else body
    return httpx.post(f"{url or agent.stack.url}{path}", headers=headers | {"Content-Type": "application/json"}, content=content, timeout=30)


def chat(
    agent: Agent, text: str = PAY, *approvals: str, tools: tuple[str, ...] = ("payments.transfer", "web.search"), run: str | None = None, **more
) -> httpx.Response:
    offered = [{"type": "function", "function": {"name": tool, "description": f"{tool}!"}} for tool in tools]
    body = {"model": "demo-small", "messages": [{"role": "user", "content": text}], "tools": offered} | more
    return post(agent, "/v1/chat/completions", body, *approvals, run=run)


def evaluate(agent: Agent, arguments: object, *approvals: str, tool: str = "payments.transfer", **more) -> httpx.Response:
    return post(agent, "/api/v1/firewall/evaluate", {"tool_name": tool, "arguments": arguments} | more, *approvals)


def decide(agent: Agent, approval_id: str, decision: State = State.APPROVED, reason: str = "") -> None:
    with tenancy.scope(agent.workspace.pk):
        services.resolve(agent.workspace.approvals.get(pk=approval_id), decision=decision, by=agent.tenant.person(Role.DEVELOPER), reason=reason)


def held(answer: httpx.Response) -> dict:
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (400, "firewall_approval_pending"), answer.text
    assert answer.headers["x-should-retry"] == "false"
    return error["metadata"]


def refused(answer: httpx.Response, reason: str) -> dict:
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["metadata"]["reason"]) == (400, "firewall_approval_invalid", reason), answer.text
    assert answer.headers["x-should-retry"] == "false"
    return error["metadata"]


def calls_of(answer: httpx.Response) -> list[tuple[str, dict]]:
    if answer.headers["content-type"].startswith("application/json"):
        found = answer.json()["choices"][0]["message"].get("tool_calls") or []
        return [(call["function"]["name"], json.loads(call["function"]["arguments"])) for call in found]
    grown: dict[int, list[str]] = {}
    for line in answer.text.splitlines():
        if line.startswith("data: {"):
            for choice in json.loads(line[6:])["choices"]:
                for call in choice["delta"].get("tool_calls") or []:
                    known = grown.setdefault(call["index"], ["", ""])
                    known[0] += call["function"].get("name") or ""
                    known[1] += call["function"].get("arguments") or ""
    return [(name, json.loads(arguments)) for name, arguments in grown.values()]


@pytest.fixture
def agent(stack, committed):
    made = make_agent(stack)
    made.policy(default_verdict="allow", rules=[HOLDS])
    return made


@pytest.fixture
def gateway(stack, committed):
    made = make_agent(stack, is_firewall_gateway=True)
    made.policy(default_verdict="allow", rules=[HOLDS])
    return made


def provider_calls(agent: Agent) -> int:
    return sum(row.prompt_tokens > 0 for row in agent.usage())


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("stream_again", [False, True])
def test_a_held_answer_is_kept_and_given_out_once_in_the_shape_asked_for(agent, stream, stream_again):
    told = held(chat(agent, run="r1", stream=stream))
    assert told["approvals"] == [told["approval_id"]]
    assert told["poll_url"].endswith(told["approval_id"])
    row = agent.usage()[-1]
    assert (row.outcome, row.status, row.error_code) == ("held", 400, "firewall_approval_pending")
    assert row.cost_micro_usd > 0
    refused(chat(agent, PAY, told["approval_id"], run="r1"), "pending")
    decide(agent, told["approval_id"])
    answer = chat(agent, PAY, told["approval_id"], run="r1", stream=stream_again)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/event-stream" if stream_again else "application/json")
    assert calls_of(answer) == [("payments.transfer", {"amount": 4180, "to": "Marlow"})]
    refused(chat(agent, PAY, told["approval_id"], run="r1"), "used")
    assert provider_calls(agent) == 1
    assert sum(each.cost_micro_usd for each in agent.usage()) == row.cost_micro_usd
    events = [(each.verdict, each.reason_code) for each in agent.events(approval_id=told["approval_id"])]
    assert events == [("pending_approval", None), ("audit", "approval_approved"), ("allow", "approval_consumed")]
    assert {each.agent_run_id for each in agent.events(approval_id=told["approval_id"])} == {"r1"}


def test_calls_that_are_allowed_wait_with_the_held_one_and_rejected_ones_are_taken_out(agent):
    text = 'call payments.transfer {"n": 1} and call payments.refund {"n": 2} and call web.search {"q": "x"}'
    tools = ("payments.transfer", "payments.refund", "web.search")
    told = held(chat(agent, text, tools=tools))
    one, two = told["approvals"]
    decide(agent, one)
    refused(chat(agent, text, one, tools=tools), "incomplete")
    decide(agent, two, State.REJECTED, "not this one")
    answer = chat(agent, text, one, two, tools=tools)
    assert calls_of(answer) == [("payments.transfer", {"n": 1}), ("web.search", {"q": "x"})]
    assert "not this one" in answer.json()["choices"][0]["message"]["content"]
    assert answer.headers["x-orca-firewall"] == "blocked=1"
    assert provider_calls(agent) == 1


def test_an_answer_whose_calls_are_all_rejected_stays_away(agent):
    told = held(chat(agent))
    decide(agent, told["approval_id"], State.REJECTED)
    refused(chat(agent, PAY, told["approval_id"]), "rejected")


def test_the_same_call_keeps_its_hold_and_a_plain_retry_meets_it_again(agent):
    first, again = held(chat(agent)), held(chat(agent, stream=True))
    assert again["approval_id"] == first["approval_id"]


@pytest.mark.parametrize(
    ("change", "field"),
    [({"temperature": 0.1}, "request_hash"), ({"tools": []}, "tool_hash"), ({"messages": [{"role": "user", "content": PAY + " "}]}, "request_hash")],
)
def test_another_request_is_refused_and_nothing_is_spent(agent, change, field):
    told = held(chat(agent))
    decide(agent, told["approval_id"])
    assert refused(chat(agent, PAY, told["approval_id"], **change), "mismatch")["field"] == field
    assert chat(agent, PAY, told["approval_id"], stream_options={"include_usage": True}, stream=True).status_code == 200


def test_an_offered_tool_is_held_where_its_rule_says_so(stack, committed):
    agent = make_agent(stack)
    agent.policy(default_verdict="allow", rules=[HOLDS | {"stage": "inbound"}])
    told = held(chat(agent, "hello", tools=("payments.transfer", "payments.refund", "web.search")))
    assert len(told["approvals"]) == 2
    assert provider_calls(agent) == 0
    for each in told["approvals"]:
        decide(agent, each)
    # One of the two is not enough: the other holds the request again, and nothing is spent.
    assert len(held(chat(agent, "hello", told["approvals"][0], tools=("payments.transfer", "payments.refund", "web.search")))["approvals"]) == 1
    assert chat(agent, "hello", *told["approvals"], tools=("payments.transfer", "payments.refund", "web.search")).status_code == 200
    refused(chat(agent, "hello", *told["approvals"], tools=("payments.transfer", "payments.refund", "web.search")), "used")


def test_an_approval_stays_spent_when_what_follows_fails_and_the_event_says_so(stack, committed):
    agent = make_agent(stack)
    agent.policy(default_verdict="allow", rules=[HOLDS | {"stage": "inbound"}])
    approval_id = held(chat(agent, "hello", model="demo-error-500"))["approval_id"]
    decide(agent, approval_id)
    assert chat(agent, "hello", approval_id, model="demo-error-500").status_code >= 500
    refused(chat(agent, "hello", approval_id, model="demo-error-500"), "used")
    assert "then failed" in agent.events(approval_id=approval_id)[-1].reason


def test_a_call_asked_about_is_held_and_spent_on_its_very_arguments(gateway):
    asked = {"amount": 4180, "to": {"name": "Marlow", "iban": "LT12"}}
    first = evaluate(gateway, asked, agent_run_id="r1").json()
    assert first["verdict"] == "pending_approval"
    approval_id = first["approval_id"]
    assert evaluate(gateway, json.dumps(asked, indent=2), agent_run_id="r1").json()["approval_id"] == approval_id
    decide(gateway, approval_id)
    assert refused(evaluate(gateway, asked | {"amount": 4181}, approval_id), "mismatch")["field"] == "args_hash"
    assert refused(evaluate(gateway, asked, approval_id, tool="payments.refund"), "mismatch")["field"] == "tool_name"
    reordered = {"to": {"iban": "LT12", "name": "Marlow"}, "amount": 4180.0}
    spent = evaluate(gateway, reordered, approval_id, agent_run_id="r1").json()
    assert (spent["verdict"], spent["approval_id"]) == ("allow", approval_id)
    refused(evaluate(gateway, reordered, approval_id), "used")


def test_arguments_that_no_reader_agrees_on_are_held_and_spent_as_any(gateway):
    asked = '{"a": "\\ud800", "b": 1e400}'
    approval_id = evaluate(gateway, asked).json()["approval_id"]
    decide(gateway, approval_id)
    assert refused(evaluate(gateway, asked.replace("1e400", "1e401"), approval_id), "mismatch")["field"] == "args_hash"
    assert evaluate(gateway, asked, approval_id).json()["verdict"] == "allow"


def test_a_changed_policy_refuses(gateway):
    approval_id = evaluate(gateway, {}).json()["approval_id"]
    decide(gateway, approval_id)
    gateway.policy("another", default_verdict="allow", rules=[HOLDS])
    assert refused(evaluate(gateway, {}, approval_id), "mismatch")["field"] == "policy_id"


def test_an_edited_rule_refuses(gateway):
    approval_id = evaluate(gateway, {}).json()["approval_id"]
    decide(gateway, approval_id)
    with tenancy.scope(gateway.workspace.pk):
        rule = gateway.workspace.rules.get()
        firewall.services.change_rule(rule, changes={"label": "a person decides."}, actor=gateway.tenant.person(Role.OWNER), at=timezone.now())
    refused(evaluate(gateway, {}, approval_id), "rule_changed")


def test_of_a_hundred_at_once_one_goes_on(gateway):
    approval_id = evaluate(gateway, {"n": 1}).json()["approval_id"]
    decide(gateway, approval_id)
    with ThreadPoolExecutor(20) as many:
        answers = list(many.map(lambda _: evaluate(gateway, {"n": 1}, approval_id), range(100)))
    verdicts = [answer.json().get("verdict") or answer.json()["error"]["metadata"]["reason"] for answer in answers]
    assert verdicts.count("allow") == 1
    assert set(verdicts) == {"allow", "used"}


@pytest.mark.parametrize("header", ["x", "0" * 24, "A" * 24, "0" * 24 + ",", ","])
def test_an_id_that_nobody_gave_out_is_unknown(gateway, header):
    refused(post(gateway, "/api/v1/firewall/evaluate", {"tool_name": "payments.x"}, header), "unknown")


def test_more_than_twenty_ids_are_too_many(agent):
    answer = chat(agent, PAY, *(f"{n:024x}" for n in range(21)))
    assert (answer.status_code, answer.json()["error"]["code"], answer.json()["error"]["param"]) == (400, "validation_error", HEADER)


def test_another_keys_approval_is_unknown(agent, stack):
    approval_id = held(chat(agent))["approval_id"]
    decide(agent, approval_id)
    refused(chat(make_agent(stack), PAY, approval_id), "unknown")


def poll(agent: Agent, approval_id: str, query: str = "") -> httpx.Response:
    return httpx.get(f"{agent.stack.url}/api/v1/firewall/approvals/{approval_id}{query}", headers={"Authorization": f"Bearer {agent.token}"}, timeout=40)


def test_whoever_was_held_may_ask_and_nobody_else(agent, gateway):
    approval_id = held(chat(agent))["approval_id"]
    found = poll(agent, approval_id).json()
    assert set(found) == {
        *("id", "state", "tool_name", "surface", "args_hash", "created_at", "expires_at", "resolved_at", "resolved_by", "reason", "rule_changed")
    }
    assert (found["state"], found["tool_name"], found["surface"], found["rule_changed"]) == ("pending", "payments.transfer", "response", False)
    assert poll(gateway, approval_id).status_code == 404
    assert poll(agent, "nonsense").status_code == 404
    assert poll(agent, approval_id, "?wait=31").json()["error"]["param"] == "wait"
    assert poll(agent, approval_id, "?nothing=1").status_code == 400
    with tenancy.scope(agent.workspace.pk):
        owner = agent.tenant.person(Role.OWNER)
        _, other = keys.services.create_key(agent.workspace, fields={"name": "other"}, actor=owner, at=timezone.now())
        _, gateways = keys.services.create_key(agent.workspace, fields={"name": "g", "is_firewall_gateway": True}, actor=owner, at=timezone.now())
    assert poll(Agent(agent.stack, agent.tenant, 0, other), approval_id).status_code == 404
    assert poll(Agent(agent.stack, agent.tenant, 0, gateways), approval_id).json()["state"] == "pending"


def test_who_waits_hears_of_the_decision_at_once(agent):
    approval_id = held(chat(agent))["approval_id"]
    assert poll(agent, approval_id, "?wait=1").json()["state"] == "pending"
    with ThreadPoolExecutor(12) as many:
        waiting = [many.submit(poll, agent, approval_id, "?wait=30") for _ in range(12)]
        while sum(each.done() for each in waiting) < 2:
            time.sleep(0.01)
        decide(agent, approval_id, reason="seen the invoice")
        answers = [each.result() for each in waiting]
    assert sorted(answer.status_code for answer in answers) == [200] * 10 + [429] * 2
    assert {(answer.json()["state"], answer.json()["reason"]) for answer in answers if answer.status_code == 200} == {("approved", "seen the invoice")}


def test_past_twenty_holds_a_run_the_next_call_is_denied(gateway):
    for n in range(20):
        assert evaluate(gateway, {"n": n}, agent_run_id="full").json()["verdict"] == "pending_approval"
    over = evaluate(gateway, {"n": 20}, agent_run_id="full").json()
    assert (over["verdict"], over["metadata"]["reason_code"]) == ("deny", "hold_unavailable")


def test_an_answer_none_of_whose_calls_can_be_held_goes_out_without_them(agent):
    for n in range(20):
        held(chat(agent, f'call payments.transfer {{"n": {n}}}', run="full"))
    for stream in (False, True):
        answer = chat(agent, 'call payments.transfer {"n": 20}', run="full", stream=stream)
        assert answer.status_code == 200
        assert calls_of(answer) == []
        assert "blocked by firewall" in answer.text


def test_a_plan_holds_nothing(gateway):
    plan = post(gateway, "/api/v1/firewall/evaluate_plan", {"steps": [{"tool_name": "payments.transfer"}]}).json()
    assert plan["verdict"] == "pending_approval"
    with tenancy.scope(gateway.workspace.pk):
        assert not gateway.workspace.approvals.exists()
