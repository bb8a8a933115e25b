"""Arguments that are cleaned on their way to the agent, on the running product."""

import json

import pytest

from tests.orcarouter.gateway.test_relay import say, tool

SECRET = "sk-" + "0123456789abcdef" * 3
CLEANS = {"verdict": "sanitize", "stage": "response", "tool_name_glob": "web.*", "sanitize": {"presets": ["openai_key"], "custom": []}}


@pytest.mark.parametrize("stream", [False, True])
def test_a_sanitized_call_arrives_with_clean_arguments(agent, stream):
    agent.policy(default_verdict="allow", rules=[CLEANS])
    given = f'{{"url": "https://example.com/?k={SECRET}", "n": 1.50}}'
    messages = say(f'call web.search {given} call kb.read {{"id": 1}}')
    request = {"model": "demo-small", "messages": messages, "tools": [tool("web.search"), tool("kb.read")], "stream": stream}
    answer = agent.sdk().chat.completions.with_raw_response.create(**request)
    assert "x-orca-firewall" not in answer.headers
    told: dict[int, list[str]] = {}
    if stream:
        for chunk in answer.parse():
            for choice in chunk.choices:
                for call in choice.delta.tool_calls or []:
                    told.setdefault(call.index, []).append(call.function.arguments or "")
    else:
        for index, call in enumerate(answer.parse().choices[0].message.tool_calls):
            told[index] = [call.function.arguments]
    calls = ["".join(pieces) for pieces in told.values()]
    assert [json.loads(text) for text in calls] == [{"url": "https://example.com/?k=[redacted:openai_key]", "n": 1.5}, {"id": 1}]
    cleaned, other = agent.events(surface="response")
    assert (cleaned.verdict, cleaned.tool_name, cleaned.args_summary) == ("sanitize", "web.search", calls[0])
    assert "openai_key: 1" in cleaned.factors
    assert (other.verdict, other.tool_name) == ("allow", "kb.read")


def test_a_large_call_is_cleaned_as_a_small_one_is(agent):
    agent.policy(default_verdict="allow", rules=[CLEANS])
    given = json.dumps({"key": SECRET, "text": "x" * 300_000})
    answer = agent.sdk().chat.completions.create(model="demo-small", messages=say(f"invent web.search {given}"))
    (call,) = answer.choices[0].message.tool_calls
    assert call.function.arguments == given.replace(SECRET, "[redacted:openai_key]")
    assert [event.verdict for event in agent.events()] == ["sanitize"]
