"""The evaluate hook: what a dispatcher of tool calls asks before it makes one, of the running product."""

import json

import httpx2 as httpx
import pytest
from django.utils import timezone

import keys.money_services
import keys.services
from tests.orcarouter.gateway.conftest import Agent, make_agent
from workspaces import tenancy
from workspaces.permissions import Role
from workspaces.services import touch_config

RULES = [
    {"priority": 10, "tool_name_glob": "web.search", "verdict": "allow", "label": "search"},
    {"priority": 20, "tool_name_glob": "kb.*", "verdict": "audit"},
]


@pytest.fixture
def hook(stack, committed) -> Agent:
    return make_agent(stack, is_firewall_gateway=True)


def ask(agent: Agent, body: object, path: str = "evaluate", **headers: str) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    told = {"Authorization": f"Bearer {agent.token}", "Content-Type": "application/json"} | headers
    return httpx.post(f"{agent.stack.url}/api/v1/firewall/{path}", content=content, headers=told, timeout=30)


def plan(agent: Agent, *steps: dict, **more: object) -> httpx.Response:
    return ask(agent, {"steps": list(steps), **more}, "evaluate_plan")


def other_key(agent: Agent, **fields: object) -> int:
    with tenancy.scope(agent.workspace.pk):
        made, _ = keys.services.create_key(agent.workspace, fields={"name": "worker"} | fields, actor=agent.tenant.person(Role.OWNER), at=timezone.now())
    return made.pk


def refusal(answer: httpx.Response) -> tuple[int, str, str | None]:
    error = answer.json()["error"]
    return answer.status_code, error["code"], error["param"]


def test_a_call_is_judged_answered_and_recorded(hook):
    policy = hook.policy(default_verdict="deny", rules=RULES)
    body = {
        "tool_name": "web.search",
        "arguments": {"q": "whales"},
        "model": "demo-small",
        "client_request_id": "theirs 1",
        "agent_run_id": "run-1",
        "conversation_id": "talk-1",
        "step_id": "s2",
        "parent_step_id": "s1",
        "skill": "research",
    }
    answer = ask(hook, body)
    told = answer.json()
    assert answer.status_code == 200
    assert told["request_id"] == answer.headers["x-orca-request-id"]
    assert (told["verdict"], told["policy_id"], told["policy_name"], told["rule_label"]) == ("allow", policy.pk, "policy", "search")
    assert told["metadata"]["reason_code"] is None
    assert "arguments" not in told
    (event,) = hook.events()
    assert (event.source, event.surface, event.verdict, event.tool_name, event.request_id) == ("evaluate", "mcp", "allow", "web.search", told["request_id"])
    assert (event.client_request_id, event.model_name, event.skill_name, event.token_name) == ("theirs 1", "demo-small", "research", "agent")
    assert (event.agent_run_id, event.run_source, event.conversation_id, event.step_id, event.parent_step_id) == ("run-1", "header", "talk-1", "s2", "s1")
    assert (event.args_summary, event.rule_id) == ('{"q": "whales"}', told["rule_id"])
    assert hook.usage() == []


@pytest.mark.parametrize("surface", ["mcp", "response", "egress"])
def test_a_denied_call_is_an_answer_like_any_other(hook, surface):
    hook.policy(default_verdict="deny", rules=RULES)
    answer = ask(hook, {"tool_name": "shell.exec", "surface": surface, "destination": "192.0.2.1"})
    assert answer.status_code == 200
    assert (answer.json()["verdict"], answer.json()["metadata"]["reason_code"]) == ("deny", "default_deny")
    assert answer.json()["metadata"]["risk_score"] == 60
    assert [(event.verdict, event.surface, event.args_summary) for event in hook.events()] == [("deny", surface, None)]


def test_without_a_policy_a_call_is_observed(hook):
    assert ask(hook, {"tool_name": "shell.exec"}).json()["verdict"] == "observe"
    assert [(event.verdict, event.gap) for event in hook.events()] == [("observe", True)]


def test_a_call_to_nowhere_is_denied_on_egress(hook):
    hook.policy(default_verdict="allow")
    assert ask(hook, {"tool_name": "http.get", "surface": "egress"}).json()["metadata"]["reason_code"] == "egress_no_destination"
    assert ask(hook, {"tool_name": "http.get", "surface": "egress", "destination": "http://exa mple/"}).json()["verdict"] == "deny"
    assert ask(hook, {"tool_name": "http.get", "surface": "egress", "destination": "\0"}).json()["verdict"] == "deny"
    assert ask(hook, {"tool_name": "http.get", "surface": "egress", "arguments": {"url": "https://example.com/"}}).json()["verdict"] == "allow"


def test_the_text_that_a_model_wrote_is_judged_as_it_is(hook):
    hook.policy(default_verdict="allow", rules=[{"verdict": "deny", "args_match": {"clauses": [{"path": "$.q", "op": "contains", "value": "rm"}]}}])
    assert ask(hook, {"tool_name": "a", "arguments": '{"q": "rm -rf"}'}).json()["verdict"] == "deny"
    assert ask(hook, {"tool_name": "a", "arguments": '{"q": "ls"}'}).json()["verdict"] == "allow"
    assert ask(hook, {"tool_name": "a", "arguments": '{"q": "ls"'}).json()["metadata"]["reason_code"] == "bad_arguments"
    assert ask(hook, {"tool_name": "a", "arguments": {"q": "rm -rf"}}).json()["verdict"] == "deny"
    assert ask(hook, {"tool_name": "a"}).json()["verdict"] == "allow"
    large = '{"q": "%s"}' % ("x" * 600_000 + "rm")
    assert ask(hook, {"tool_name": "a", "arguments": large}).json()["verdict"] == "deny"


def test_only_a_gateways_key_may_ask(stack, agent, hook):
    for path, body in (("evaluate", {"tool_name": "a"}), ("evaluate_plan", {"steps": [{"tool_name": "a"}]})):
        assert refusal(ask(agent, body, path)) == (403, "permission_denied", None)
        assert refusal(ask(agent, body, path, Authorization="Bearer sk-orca-" + "x" * 48))[:2] == (401, "invalid_api_key")
        assert ask(hook, body, path).status_code == 200
        assert httpx.get(f"{stack.url}/api/v1/firewall/{path}", timeout=60).status_code == 405
    assert agent.events() == []
    with tenancy.scope(hook.workspace.pk):
        keys.services.change_key(hook.key(), changes={"is_firewall_gateway": False}, actor=hook.tenant.person(Role.OWNER), at=timezone.now())
    assert refusal(ask(hook, {"tool_name": "a"})) == (403, "permission_denied", None)
    with tenancy.scope(hook.workspace.pk):
        keys.services.change_key(hook.key(), changes={"is_firewall_gateway": True}, actor=hook.tenant.person(Role.OWNER), at=timezone.now())
    assert ask(hook, {"tool_name": "a"}).status_code == 200


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "tool_name"),
        ({"tool_name": 1}, "tool_name"),
        ({"tool_name": "a", "tool": "b"}, "tool"),
        ({"tool_name": "a", "surface": "inbound"}, "surface"),
        ({"tool_name": "a", "surface": ["mcp"]}, "surface"),
        ({"tool_name": "a", "arguments": []}, "arguments"),
        ({"tool_name": "a", "destination": 1}, "destination"),
        ({"tool_name": "a", "agent_run_id": "a b"}, "agent_run_id"),
        ({"tool_name": "a", "key_id": "1"}, "key_id"),
        ({"tool_name": "a", "key_id": True}, "key_id"),
        ({"tool_name": "a", "client_request_id": "a", "request_id": "b"}, "request_id"),
        ({"tool_name": "a", "steps": []}, "steps"),
    ],
)
def test_a_body_that_is_wrong_says_where(hook, body, param):
    assert refusal(ask(hook, body)) == (400, "validation_error", param)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "steps"),
        ({"steps": []}, "steps"),
        ({"steps": [{"tool_name": "a"}] * 101}, "steps"),
        ({"steps": [{"tool_name": "a"}, {"tool_name": "b", "key_id": 1}]}, "steps.1.key_id"),
        ({"steps": ["a"]}, "steps.0"),
        ({"steps": [{"tool_name": "a"}], "tool_name": "a"}, "tool_name"),
    ],
)
def test_a_plan_that_is_wrong_says_where(hook, body, param):
    answer = ask(hook, body, "evaluate_plan")
    assert refusal(answer) == (400, "validation_error", param)
    error = answer.json()["error"]
    assert error["metadata"]["errors"] == [{"param": param, "message": error["message"]}]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "bad_request_body"),
        (b'{"tool_name": "a", "tool_name": "b"}', "bad_request_body"),
        (b'{"tool_name": "a", "arguments": {"a": 1, "a": 2}}', "bad_request_body"),
        (b'{"tool_name": "\\ud800"}', "bad_request_body"),
        (b"[" * 100, "bad_request_body"),
        (b'{"tool_name": "a", "arguments": "' + b"x" * 2_100_000 + b'"}', "payload_too_large"),
    ],
)
def test_a_body_that_two_could_read_differently_is_refused(hook, body, code):
    assert refusal(ask(hook, body))[1] == code


def test_the_alias_of_the_callers_id_is_kept_and_our_own_is_made(hook):
    told = ask(hook, {"tool_name": "a", "request_id": "req_forged"}).json()
    assert told["request_id"] != "req_forged"
    assert [event.client_request_id for event in hook.events()] == ["req_forged"]


def test_the_run_may_be_another_keys(hook, agent):
    worker = other_key(hook, environment="prod")
    assert ask(hook, {"tool_name": "a", "agent_run_id": "r", "key_id": worker}).status_code == 200
    (event,) = hook.events()
    assert (event.key_id, event.token_name, event.environment) == (worker, "worker", "prod")
    assert event.factors[-1] == f"asked by key {hook.key_id}"
    for stranger in (agent.key_id, 2**62):
        assert refusal(ask(hook, {"tool_name": "a", "key_id": stranger})) == (404, "not_found", "key_id")
    with tenancy.scope(hook.workspace.pk):
        gone = list(hook.workspace.api_keys.filter(pk=worker))
        keys.services.delete_keys(hook.workspace, keys=gone, actor=hook.tenant.person(Role.OWNER), at=timezone.now())
    assert refusal(ask(hook, {"tool_name": "a", "agent_run_id": "r", "key_id": worker})) == (404, "not_found", "key_id")


def test_calls_without_a_run_id_are_one_run_by_their_conversation(hook):
    for conversation in ("a", None, "a", "b", None):
        ask(hook, {"tool_name": "t", **({"conversation_id": conversation} if conversation else {})})
    found = [event.agent_run_id for event in hook.events()]
    assert len(set(found)) == 3
    assert (found[0], found[1]) == (found[2], found[4])
    assert {event.run_source for event in hook.events()} == {"derived"}
    ask(hook, {"tool_name": "t"}, **{"X-OrcaRouter-Run-Id": "mine", "X-OrcaRouter-Step-Id": "s"})
    assert [(event.agent_run_id, event.step_id) for event in hook.events()][-1] == ("mine", "s")


def test_a_plan_is_as_good_as_its_worst_step_and_leaves_no_trace(hook):
    hook.policy(default_verdict="deny", rules=RULES)
    told = plan(hook, {"tool_name": "web.search"}, {"tool_name": "kb.read"}, agent_run_id="planned").json()
    assert (told["verdict"], [step["verdict"] for step in told["steps"]]) == ("audit", ["allow", "audit"])
    told = plan(hook, {"tool_name": "shell.exec"}, {"tool_name": "kb.read"}, agent_run_id="planned").json()
    assert (told["verdict"], [step["tool_name"] for step in told["steps"]]) == ("deny", ["shell.exec", "kb.read"])
    assert hook.events() == []
    assert hook.usage() == []


# --- Run state, destinations, arguments ---
EXFILTRATION = {"window_seconds": 300, "steps": [{"match": "db.*", "min_count": 2}, {"match": "mail.send"}]}


def add_rule(agent: Agent, policy: object, **fields: object) -> None:
    """A rule as it is stored, whether or not the relay's part of it may be saved yet."""
    with tenancy.scope(agent.workspace.pk):
        policy.rules.create(workspace=agent.workspace, **fields)
        touch_config(agent.workspace)


def verdicts(agent: Agent, *tools: str, **more: object) -> list[str]:
    return [ask(agent, {"tool_name": tool, **more}).json()["verdict"] for tool in tools]


def test_a_sequence_is_stopped_where_it_would_be_completed(hook):
    hook.policy(default_verdict="allow", rules=[{"verdict": "deny", "sequence": EXFILTRATION | {"enforce": "inline"}}])
    assert verdicts(hook, "db.read", "mail.send", "db.read", "web.search", "mail.send", agent_run_id="r") == ["allow"] * 4 + ["deny"]
    assert verdicts(hook, "mail.send", agent_run_id="other") == ["allow"]
    assert hook.events()[4].reason_code == "sequence"
    # A plan begins where the run is, and leaves it there.
    steps = [{"tool_name": tool} for tool in ("db.read", "db.read", "mail.send")]
    for _ in range(2):
        assert [step["verdict"] for step in plan(hook, *steps, agent_run_id="planned").json()["steps"]] == ["allow", "allow", "deny"]
        assert plan(hook, {"tool_name": "mail.send"}, agent_run_id="r").json()["verdict"] == "deny"
    assert verdicts(hook, "mail.send", agent_run_id="planned") == ["allow"]


def test_a_sequence_that_is_matched_afterwards_leaves_a_finding(hook):
    hook.policy(default_verdict="allow", rules=[{"verdict": "deny", "label": "leak", "sequence": EXFILTRATION}])
    assert verdicts(hook, "db.read", "db.read", "mail.send", agent_run_id="r") == ["allow"] * 3
    *_, call, finding = hook.events()
    assert (call.verdict, call.reason_code) == ("allow", None)
    assert (finding.verdict, finding.reason_code, finding.rule_label, finding.tool_name) == ("audit", "sequence", "leak", "mail.send")
    told = plan(hook, {"tool_name": "db.read"}, {"tool_name": "db.read"}, {"tool_name": "mail.send"}).json()
    assert "completed the sequence" in told["steps"][2]["metadata"]["factors"][-1]


def test_what_the_relay_spent_counts_under_a_cap(hook):
    policy = hook.policy(default_verdict="allow")
    messages = [{"role": "user", "content": "hello"}]
    hook.sdk().chat.completions.create(model="demo-small", messages=messages, extra_headers={"X-OrcaRouter-Run-Id": "r"})
    assert hook.usage()[0].cost_micro_usd > 0
    add_rule(hook, policy, verdict="cap_cost", cap_cost_cents=0)
    assert ask(hook, {"tool_name": "a", "agent_run_id": "r"}).json()["metadata"]["reason_code"] == "cost_cap"
    assert plan(hook, {"tool_name": "a"}, agent_run_id="r").json()["verdict"] == "deny"
    assert verdicts(hook, "a", agent_run_id="fresh") == ["allow"]


def test_a_name_is_judged_by_where_it_leads_and_one_that_leads_nowhere_is_denied(hook):
    policy = hook.policy(default_verdict="deny")
    add_rule(hook, policy, verdict="allow", stage="egress", egress={"allow": ["127.0.0.0/8", "::1/128"], "deny": []})

    def to(destination: str) -> tuple[str, str | None]:
        told = ask(hook, {"tool_name": "http.get", "surface": "egress", "destination": destination}).json()
        return told["verdict"], told["metadata"]["reason_code"]

    assert to("http://localhost:8080/x") == ("allow", None)
    assert to("http://2130706433/") == ("allow", None)
    assert to("http://8.8.8.8/") == ("deny", "default_deny")
    assert to("http://nowhere.invalid/") == ("deny", "egress_no_destination")
    also = {"tool_name": "http.get", "surface": "egress", "destination": "localhost", "arguments": {"url": "http://8.8.8.8/"}}
    assert ask(hook, also).json()["verdict"] == "deny"


def test_clean_arguments_come_back_in_the_form_they_were_given(hook):
    hook.policy(default_verdict="allow", rules=[{"verdict": "sanitize", "stage": "mcp", "sanitize": {"presets": ["email"], "custom": []}}])
    asked = {"tool_name": "mail.send", "arguments": {"to": "ann@example.com", "n": 1}}
    assert ask(hook, asked).json()["arguments"] == {"to": "[redacted:email]", "n": 1}
    told = ask(hook, asked | {"arguments": '{"to": "ann@example.com"}'}).json()
    assert (told["verdict"], told["arguments"]) == ("sanitize", '{"to": "[redacted:email]"}')
    assert all("ann@" not in event.args_summary and event.verdict == "sanitize" for event in hook.events())


def test_a_stopped_run_and_a_frozen_key_are_those_of_the_run_that_is_asked_for(hook):
    worker = other_key(hook)

    def verdict(**more: object) -> tuple[str, str | None]:
        told = ask(hook, {"tool_name": "web.search", "agent_run_id": "mine", **more}).json()
        return told["verdict"], told["metadata"]["reason_code"]

    assert verdict(key_id=worker)[1] is None
    owner = hook.tenant.person(Role.OWNER)
    with tenancy.scope(hook.workspace.pk):
        keys.money_services.stop_run(hook.workspace, key_id=worker, run_id="mine", actor=owner, at=timezone.now())
    assert verdict(key_id=worker) == ("deny", "run_stopped")
    assert verdict()[1] is None
    with tenancy.scope(hook.workspace.pk):
        keys.services.change_key(hook.workspace.api_keys.get(pk=worker), changes={"is_frozen": True}, actor=owner, at=timezone.now())
    error = ask(hook, {"tool_name": "web.search", "key_id": worker}).json()["error"]
    assert (error["code"], error["metadata"]["reason_code"]) == ("firewall_blocked", "key_frozen")
    assert verdict()[1] is None
