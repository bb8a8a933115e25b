"""Rules that look at a call's arguments, on the running product."""

import json

import httpx2 as httpx
import openai
import pytest

from tests.orcarouter.gateway.test_relay import say, tool

NO_DELETION = {"verdict": "deny", "tool_name_glob": "shell.*", "args_match": {"clauses": [{"path": "$.command", "op": "regex", "value": r"\brm\s+-rf\b"}]}}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("arguments", "reason_code"),
    [
        ('{"command": "ls -l"}', None),
        ('{"command": "sudo rm  -rf /"}', "rule_deny"),
        ('{"command": "rm \\u002drf /"}', "rule_deny"),
    ],
)
def test_a_call_is_judged_by_its_arguments_and_its_tool_may_be_offered(agent, stream, arguments, reason_code):
    agent.policy(default_verdict="allow", rules=[NO_DELETION])
    request = {"model": "demo-small", "messages": say(f"call shell.exec {arguments}"), "tools": [tool("shell.exec")]}
    if stream:
        calls = [
            delta
            for chunk in agent.sdk().chat.completions.create(**request, stream=True)
            for choice in chunk.choices
            for delta in choice.delta.tool_calls or []
        ]
    else:
        calls = agent.sdk().chat.completions.create(**request).choices[0].message.tool_calls or []
    assert bool(calls) is (reason_code is None)
    (event,) = agent.events(surface="response")
    assert (event.verdict, event.reason_code) == ("allow" if reason_code is None else "deny", reason_code)
    if reason_code is None:
        assert json.loads("".join(call.function.arguments or "" for call in calls)) == json.loads(arguments)


HOLDS = {"verdict": "pending_approval", "tool_name_glob": "pay.*"}


def test_what_would_be_held_passes_in_shadow(agent):
    agent.policy(default_verdict="allow", shadow_mode=True, rules=[HOLDS])
    agent.sdk().chat.completions.create(model="demo-small", messages=say('call pay.out {"to": "anna"}'), tools=[tool("pay.out")])
    called = agent.events(surface="response")[0]
    assert (called.verdict, called.shadow) == ("audit", True)
    assert called.reason.startswith("[shadow] would pending_approval")


# --- Calls in the message history -------------------------------------------------------------------------------------
def conversation(*names: str) -> list[dict]:
    made = [{"id": f"c{place}", "type": "function", "function": {"name": name, "arguments": "{}"}} for place, name in enumerate(names)]
    results = [{"role": "tool", "tool_call_id": each["id"], "content": "done"} for each in made]
    return [*say("begin"), {"role": "assistant", "content": None, "tool_calls": made}, *results, *say("go on")]


def test_a_denied_tool_is_refused_in_the_history_as_on_offer(agent):
    agent.policy(default_verdict="deny", rules=[{"verdict": "allow", "tool_name_glob": "kb.*"}])
    create = agent.sdk().chat.completions.create
    assert create(model="demo-small", messages=conversation("kb.read"), tools=[tool("kb.find")]).choices
    with pytest.raises(openai.BadRequestError) as refused:
        create(model="demo-small", messages=conversation("kb.read", "shell__exec"), tools=[tool("kb.find")])
    error = refused.value.body
    assert error["code"] == "firewall_blocked"
    assert error["message"] == 'tool "shell__exec", called in the message history, blocked by firewall: no rule matched and the default is deny'
    told = {(event.verdict, event.tool_name, "called in the message history" in event.factors) for event in agent.events(surface="inbound")}
    assert told == {("allow", "kb.find", False), ("allow", "kb.read", True), ("deny", "shell__exec", True)}


def test_a_rule_about_answers_says_nothing_about_the_history(agent):
    agent.policy(default_verdict="allow", rules=[{"verdict": "deny", "tool_name_glob": "shell.*", "stage": "response"}])
    assert agent.sdk().chat.completions.create(model="demo-small", messages=conversation("shell.exec")).choices
    assert [(event.verdict, event.tool_name) for event in agent.events()] == [("allow", "shell.exec")]


SHAPES = {
    "tools": {"tools": [tool("web_search")]},
    "hosted": {"tools": [{"type": "web_search"}]},
    "flat": {"tools": [{"type": "function", "name": "web_search"}]},
    "custom": {"tools": [{"type": "custom", "custom": {"name": "web_search"}}]},
    "anthropic": {"tools": [{"name": "web_search", "input_schema": {"type": "object"}}]},
    "anthropic server": {"tools": [{"type": "web_search_20250305", "name": "web_search", "max_uses": 5}]},
    "native": {"tools": [{"functionDeclarations": [{"name": "web_search"}]}]},
    "functions": {"functions": [{"name": "web_search"}]},
    "options": {"web_search_options": {}},
    "plugins": {"plugins": [{"id": "web_search"}]},
    "servers": {"mcp_servers": [{"name": "web_search", "url": "https://example.org"}]},
    "history": {"messages": conversation("web_search")},
    "legacy history": {"messages": [*say("a"), {"role": "assistant", "content": None, "function_call": {"name": "web_search", "arguments": "{}"}}, *say("b")]},
}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_denied_tool_is_refused_in_whatever_shape_it_is_sent(agent, shape):
    agent.policy(default_verdict="allow", rules=[{"verdict": "deny", "tool_name_glob": "web_search"}])
    headers = {"Authorization": f"Bearer {agent.token}"}
    body = {"model": "demo-small", "messages": say("hello")} | SHAPES[shape]
    answer = httpx.post(f"{agent.stack.url}/v1/chat/completions", headers=headers, json=body, timeout=30)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "firewall_blocked")
    assert [(event.verdict, event.tool_name) for event in agent.events() if event.verdict == "deny"] == [("deny", "web_search")]


def test_search_parameters_are_a_tool_of_their_own_name(agent):
    agent.policy(default_verdict="deny", rules=[])
    headers = {"Authorization": f"Bearer {agent.token}"}
    body = {"model": "demo-small", "messages": say("hello"), "search_parameters": {"mode": "on"}}
    refused = httpx.post(f"{agent.stack.url}/v1/chat/completions", headers=headers, json=body, timeout=30)
    assert refused.json()["error"]["metadata"]["factors"] == ["search_parameters: no rule matched and the default is deny"]
