"""Rules that look at a call's arguments, on the running product."""

import json

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


@pytest.mark.parametrize("stream", [False, True])
def test_a_call_that_would_be_held_is_denied_and_says_so(agent, stream):
    """Its tool may be offered: a person approves what will run, not a tool's name."""
    agent.policy(default_verdict="allow", rules=[HOLDS])
    request = {"model": "demo-small", "messages": say('call pay.out {"to": "anna"}'), "tools": [tool("pay.out")]}
    if stream:
        choices = [choice.delta for chunk in agent.sdk().chat.completions.create(**request, stream=True) for choice in chunk.choices]
    else:
        choices = [agent.sdk().chat.completions.create(**request).choices[0].message]
    assert not any(choice.tool_calls for choice in choices)
    assert "approvals are not available" in "".join(choice.content or "" for choice in choices)
    assert [(event.surface, event.verdict, event.reason_code) for event in agent.events()] == [
        ("inbound", "audit", None),
        ("response", "deny", "hold_unavailable"),
    ]


def test_an_offer_that_would_be_held_is_refused_and_says_so(agent):
    agent.policy(default_verdict="allow", rules=[HOLDS | {"stage": "inbound"}])
    with pytest.raises(openai.BadRequestError) as refused:
        agent.sdk().chat.completions.create(model="demo-small", messages=say("hello"), tools=[tool("pay.out")])
    assert refused.value.code == "firewall_blocked"
    assert refused.value.body["metadata"]["reason_code"] == "hold_unavailable"
    assert [(event.surface, event.reason_code) for event in agent.events()] == [("inbound", "hold_unavailable")]


def test_what_would_be_held_passes_in_shadow(agent):
    agent.policy(default_verdict="allow", shadow_mode=True, rules=[HOLDS])
    agent.sdk().chat.completions.create(model="demo-small", messages=say('call pay.out {"to": "anna"}'), tools=[tool("pay.out")])
    called = agent.events(surface="response")[0]
    assert (called.verdict, called.shadow) == ("audit", True)
    assert called.reason.startswith("[shadow] would pending_approval")
