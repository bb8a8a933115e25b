"""A call's whole way: the official SDK, the running product, the demo provider behind it."""

import http.client
import json
import time

import httpx2 as httpx
import openai
import pytest

from tests.orcarouter.gateway.conftest import make_agent
from tests.orcarouter.gateway.test_requests import is_dispatched, wait_until

TOOLS = ["web.search", "kb__read", "shell.exec"]
ALLOW_LIST = [
    {"priority": 10, "tool_name_glob": "web.search", "verdict": "allow"},
    {"priority": 20, "tool_name_glob": "kb.*", "verdict": "allow"},
]


def tool(name: str) -> dict:
    return {"type": "function", "function": {"name": name, "parameters": {"type": "object", "properties": {}}}}


def say(text: str) -> list[dict]:
    return [{"role": "user", "content": text}]


def provider_saw(agent, text: str) -> bool:
    """Whether the demo provider was asked with this text."""
    from django.conf import settings

    with httpx.Client(transport=httpx.HTTPTransport(uds=settings.DEMO_PROVIDER_SOCKET), timeout=60) as client:
        return any(text in json.dumps(row["body"]) for row in client.get("http://demo/__demo/requests").json()["requests"])


def test_a_chat_completion_comes_back_as_the_provider_wrote_it(agent):
    answer = agent.sdk().chat.completions.with_raw_response.create(model="demo-small", messages=say("hello there"))
    completion = answer.parse()
    assert "hello there" in completion.choices[0].message.content
    assert answer.headers["x-orca-request-id"].startswith("req_")
    usage = agent.usage()
    assert [row.request_id for row in usage] == [answer.headers["x-orca-request-id"]]
    assert (usage[0].prompt_tokens, usage[0].completion_tokens) == (completion.usage.prompt_tokens, completion.usage.completion_tokens)
    assert usage[0].cost_micro_usd > 0
    assert usage[0].outcome == "completed"


def test_a_stream_gives_the_same_text_and_leaves_out_usage_that_nobody_asked_for(agent):
    sdk = agent.sdk()
    whole = sdk.chat.completions.create(model="demo-small", messages=say("tell me of whales"))
    chunks = list(sdk.chat.completions.create(model="demo-small", messages=say("tell me of whales"), stream=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == whole.choices[0].message.content
    assert all(chunk.usage is None for chunk in chunks)
    rows = agent.usage()
    assert [row.usage_source for row in rows] == ["provider", "provider"]
    assert rows[0].completion_tokens == rows[1].completion_tokens
    asked = list(sdk.chat.completions.create(model="demo-small", messages=say("tell me of whales"), stream=True, stream_options={"include_usage": True}))
    assert asked[-1].usage.completion_tokens == rows[0].completion_tokens


def test_a_request_that_advertises_a_denied_tool_is_refused_and_nothing_reaches_the_provider(agent):
    policy = agent.policy(default_verdict="deny", rules=ALLOW_LIST)
    mark = f"mark-{time.time_ns()}"
    with pytest.raises(openai.BadRequestError) as refused:
        agent.sdk().chat.completions.create(model="demo-small", messages=say(mark), tools=[tool(name) for name in TOOLS])
    error = refused.value.body
    assert error["code"] == "firewall_blocked"
    assert error["message"].startswith('tool "shell.exec" blocked by firewall: ')
    assert error["metadata"]["reason_code"] == "default_deny"
    assert refused.value.response.headers["x-should-retry"] == "false"
    assert not provider_saw(agent, mark)
    events = {(event.verdict, event.tool_name or tuple(event.tools)) for event in agent.events()}
    assert events == {("allow", "web.search"), ("allow", "kb__read"), ("deny", "shell.exec")}
    assert {event.policy_id for event in agent.events()} == {policy.pk}
    assert [(row.outcome, row.status, row.cost_micro_usd) for row in agent.usage()] == [("blocked", 400, 0)]


@pytest.mark.parametrize("stream", [False, True])
def test_a_denied_call_in_a_reply_does_not_arrive(agent, stream):
    agent.policy(default_verdict="deny", rules=ALLOW_LIST)
    messages = say('invent shell.exec {"command": "rm -rf /"}')
    request = {"model": "demo-small", "messages": messages, "tools": [tool("web.search")]}
    if stream:
        text, calls, finish = "", [], None
        for chunk in agent.sdk().chat.completions.create(**request, stream=True):
            for choice in chunk.choices:
                text += choice.delta.content or ""
                calls += choice.delta.tool_calls or []
                finish = choice.finish_reason or finish
    else:
        choice = agent.sdk().chat.completions.create(**request).choices[0]
        text, calls, finish = choice.message.content, choice.message.tool_calls or [], choice.finish_reason
    assert not calls
    assert finish == "stop"
    assert "shell.exec" in text
    assert "rm -rf" not in text
    denied = agent.events(surface="response")
    assert [(event.verdict, event.tool_name, event.reason_code) for event in denied] == [("deny", "shell.exec", "default_deny")]
    assert "rm -rf" in denied[0].args_summary


@pytest.mark.parametrize("stream", [False, True])
def test_an_allowed_call_arrives_whole(agent, stream):
    agent.policy(default_verdict="deny", rules=ALLOW_LIST)
    request = {"model": "demo-small", "messages": say('call web.search {"q": "whales"}'), "tools": [tool("web.search")]}
    if stream:
        deltas = [
            delta
            for chunk in agent.sdk().chat.completions.create(**request, stream=True)
            for choice in chunk.choices
            for delta in choice.delta.tool_calls or []
        ]
        name, arguments = deltas[0].function.name, "".join(delta.function.arguments or "" for delta in deltas)
    else:
        called = agent.sdk().chat.completions.create(**request).choices[0].message.tool_calls[0].function
        name, arguments = called.name, called.arguments
    assert (name, json.loads(arguments)) == ("web.search", {"q": "whales"})


def test_a_change_of_policy_holds_on_the_very_next_call(agent):
    from django.utils import timezone

    import firewall.services
    from workspaces import tenancy
    from workspaces.permissions import Role

    policy = agent.policy(default_verdict="allow")
    sdk, owner = agent.sdk(), agent.tenant.person(Role.OWNER)
    for round_ in range(12):
        verdict = "deny" if round_ % 2 else "allow"
        with tenancy.scope(agent.workspace.pk):
            policy = agent.workspace.policies.get(pk=policy.pk)
            firewall.services.change_policy(policy, changes={"default_verdict": verdict}, actor=owner, at=timezone.now())
        request = {"model": "demo-small", "messages": say("hi"), "tools": [tool("x.y")]}
        if verdict == "deny":
            with pytest.raises(openai.BadRequestError):
                sdk.chat.completions.create(**request)
        else:
            sdk.chat.completions.create(**request)


def test_calls_of_one_conversation_are_one_run_and_another_conversation_is_another(agent):
    sdk = agent.sdk()
    messages = say("first question")
    for _ in range(3):
        reply = sdk.chat.completions.create(model="demo-small", messages=messages)
        messages = [*messages, {"role": "assistant", "content": reply.choices[0].message.content}, *say("and then?")]
    sdk.chat.completions.create(model="demo-small", messages=say("something else entirely"))
    runs = [row.agent_run_id for row in agent.usage()]
    assert len(set(runs[:3])) == 1
    assert runs[3] != runs[0]
    assert {row.run_source for row in agent.usage()} == {"derived"}
    sdk.chat.completions.create(model="demo-small", messages=messages, extra_headers={"X-OrcaRouter-Run-Id": "mine", "X-OrcaRouter-Session-Id": "talk"})
    last = agent.usage()[-1]
    assert (last.agent_run_id, last.conversation_id, last.run_source) == ("mine", "talk", "header")


@pytest.mark.parametrize(
    ("model", "status", "code", "upstream_status", "cost"),
    [
        ("demo-error-500", 500, "upstream_error", 500, 0),
        ("demo-error-401", 502, "upstream_error", 401, 0),
        ("demo-error-429", 429, "upstream_error", 429, 0),
        # It answered, so it may ask for money; how much, nobody knows.
        ("demo-bad-json", 502, "upstream_error", None, None),
    ],
)
def test_a_providers_error_keeps_its_status_and_says_so(agent, model, status, code, upstream_status, cost):
    with pytest.raises(openai.APIStatusError) as failed:
        agent.sdk().chat.completions.create(model=model, messages=say("hi"))
    assert (failed.value.status_code, failed.value.body["code"], failed.value.body["type"]) == (status, code, "upstream_error")
    assert failed.value.body.get("metadata", {}).get("upstream_status") == upstream_status
    assert [(row.outcome, row.status, row.cost_micro_usd) for row in agent.usage()] == [("failed", status, cost)]


def test_a_stream_that_breaks_off_ends_with_an_error_event(agent):
    with httpx.stream(
        "POST",
        f"{agent.stack.url}/v1/chat/completions",
        headers={"Authorization": f"Bearer {agent.token}"},
        json={"model": "demo-cut", "stream": True, "messages": say("hi")},
        timeout=30,
    ) as answer:
        body = answer.read().decode()
    assert '"code":"upstream_error"' in body
    assert body.endswith("data: [DONE]\n\n")
    assert [row.outcome for row in agent.usage()] == ["failed"]


def test_a_client_that_hangs_up_ends_the_providers_call(agent):
    client = http.client.HTTPConnection("127.0.0.1", agent.stack.port, timeout=60)
    body = json.dumps({"model": "demo-hang", "messages": say("hi")})
    client.request("POST", "/v1/chat/completions", body, {"Authorization": f"Bearer {agent.token}", "Content-Type": "application/json"})
    # It is on its way: one who leaves before that leaves nothing.
    wait_until(lambda: is_dispatched(agent))
    client.close()
    wait_until(agent.usage)
    assert [(row.outcome, row.status) for row in agent.usage()] == [("hung_up", 499)]


@pytest.mark.parametrize(
    ("headers", "body", "status", "code"),
    [
        ({"Authorization": "Bearer nonsense"}, "{}", 401, "invalid_api_key"),
        ({"Authorization": "Basic x"}, "{}", 401, "invalid_api_key"),
        ({}, "{", 400, "bad_request_body"),
        ({}, "[]", 400, "bad_request_body"),
        ({}, '{"model": "demo-small"}', 400, "bad_request_body"),
        ({}, '{"model": "demo-small", "model": "x", "messages": []}', 400, "bad_request_body"),
        ({}, '{"model": "nobody-has-this", "messages": [{"role": "user", "content": "x"}]}', 404, "model_not_found"),
        ({"Content-Type": "text/plain"}, "hello", 415, "unsupported_media_type"),
        ({"X-OrcaRouter-Run-Id": "a b"}, "{}", 400, "validation_error"),
    ],
)
def test_bad_requests_are_refused_in_the_one_body(agent, headers, body, status, code):
    sent = {"Authorization": f"Bearer {agent.token}", "Content-Type": "application/json"} | headers
    answer = httpx.post(f"{agent.stack.url}/v1/chat/completions", headers=sent, content=body, timeout=30)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert set(answer.json()["error"]) - {"metadata"} == {"message", "type", "code", "param"}
    assert answer.headers["x-orca-request-id"].startswith("req_")


def test_other_paths_are_not_proxied(agent):
    for method, path, status, code in (
        ("POST", "/v1/embeddings", 404, "api_not_implemented"),
        ("GET", "/v1/", 404, "api_not_implemented"),
        ("GET", "/v1/chat/completions", 405, "method_not_allowed"),
        ("POST", "/v1/models", 405, "method_not_allowed"),
        ("GET", "/api/v1/none", 404, "not_found"),
    ):
        answer = httpx.request(method, agent.stack.url + path, timeout=30)
        assert (path, answer.status_code, answer.json()["error"]["code"]) == (path, status, code)


def test_models_are_those_the_key_may_use(agent, stack, committed):
    names = [model.id for model in agent.sdk().models.list()]
    assert "demo-small" in names
    assert agent.sdk().models.retrieve("demo-small").owned_by == "orcarouter-demo"
    limited = make_agent(stack, model_limits_enabled=True, model_limits=["demo-large"])
    sdk = limited.sdk()
    assert [model.id for model in sdk.models.list()] == ["demo-large"]
    with pytest.raises(openai.NotFoundError):
        sdk.models.retrieve("demo-small")
    with pytest.raises(openai.PermissionDeniedError) as refused:
        sdk.chat.completions.create(model="demo-small", messages=say("hi"))
    assert refused.value.body["message"] == "This token has no access to model demo-small"
    assert refused.value.body["code"] == "access_denied"


def test_a_shadow_policy_blocks_nothing_and_says_what_it_would_do(agent):
    agent.policy(default_verdict="deny", shadow_mode=True)
    answer = agent.sdk().chat.completions.create(model="demo-small", messages=say('invent shell.exec {"a": 1}'), tools=[tool("x.y")])
    assert answer.choices[0].message.tool_calls[0].function.name == "shell.exec"
    assert {(event.verdict, event.shadow) for event in agent.events()} == {("audit", True)}
    assert all(event.reason.startswith("[shadow] would deny — ") for event in agent.events())


def test_without_a_policy_calls_are_observed_as_gaps(agent):
    agent.sdk().chat.completions.create(model="demo-small", messages=say('call x.y {"a": 1}'), tools=[tool("x.y")])
    assert [(event.surface, event.verdict, event.gap) for event in agent.events()] == [("inbound", "observe", True), ("response", "observe", True)]
