"""Rules that look at a call's arguments, on the running product."""

import json

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
