from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orcarouter.gateway.engine import answer
from orcarouter.gateway.engine.calls import AS_IT_CAME, Ruling, Usage
from tests.orcarouter.gateway.engine.streams import DONE, assembled, relay, turn

ARGUMENTS = '{"command":"rm -rf /tmp/é"}'


def call(index: int, name: str) -> dict[str, Any]:
    return {"id": f"call_0_{index}", "type": "function", "function": {"name": name, "arguments": ARGUMENTS}}


def completion(*names: str, text: str | None = None, finish: str = "tool_calls", **more: Any) -> bytes:
    message = {"role": "assistant", "content": text, "tool_calls": [call(index, name) for index, name in enumerate(names)]}
    choice = {"index": 0, "message": message, "finish_reason": finish}
    return orjson.dumps({"id": "x", "object": "chat.completion", "model": "demo-small", "choices": [choice], **more}, option=orjson.OPT_INDENT_2)


def judged(body: bytes, refused: set[str]) -> tuple[bytes, list[str]]:
    found = answer.read(body)
    assert found is not None
    return answer.release(found, [Ruling(refusal="no") if call.name in refused else AS_IT_CAME for call in found.calls]), [call.name for call in found.calls]


def test_an_answer_with_nothing_refused_keeps_its_bytes():
    body = completion("web.search", "kb.read", text="é")
    assert judged(body, set()) == (body, ["web.search", "kb.read"])


def test_a_refused_call_is_taken_out_and_a_line_says_so():
    body, _ = judged(completion("web.search", "shell.exec", text="So:"), {"shell.exec"})
    choice = orjson.loads(body)["choices"][0]
    assert [call["function"]["name"] for call in choice["message"]["tool_calls"]] == ["web.search"]
    assert choice["message"]["content"] == 'So:\ntool "shell.exec" blocked by firewall: no'
    assert choice["finish_reason"] == "tool_calls"


def test_a_refusal_without_a_reason_is_a_refusal():
    found = answer.read(completion("shell.exec"))
    assert found is not None
    assert b"rm -rf" not in answer.release(found, [Ruling(refusal="")])


def test_an_answer_left_without_calls_ends_with_stop():
    body, _ = judged(completion("shell.exec"), {"shell.exec"})
    choice = orjson.loads(body)["choices"][0]
    assert "tool_calls" not in choice["message"]
    assert choice["finish_reason"] == "stop"
    assert b"rm -rf" not in body


def test_every_choice_and_the_legacy_call_are_read():
    body = orjson.loads(completion("kb.read"))
    legacy = {"index": 1, "message": {"content": "", "function_call": {"name": "shell.exec", "arguments": "{}"}}, "finish_reason": "function_call"}
    body["choices"].append(legacy)
    left, names = judged(orjson.dumps(body), {"shell.exec"})
    assert names == ["kb.read", "shell.exec"]
    first, second = orjson.loads(left)["choices"]
    assert first == body["choices"][0]
    assert (second["finish_reason"], "function_call" in second["message"]) == ("stop", False)


CLEAN = '{"command": "[redacted:custom]"}'


@pytest.mark.parametrize(
    ("message", "left"),
    [
        (
            {"content": "So:", "tool_calls": [call(0, "kb.read"), call(1, "shell.exec") | {"parsed": ARGUMENTS}]},
            {
                "content": "So:",
                "tool_calls": [call(0, "kb.read"), {"id": "call_0_1", "type": "function", "function": {"name": "shell.exec", "arguments": CLEAN}}],
            },
        ),
        ({"function_call": {"name": "shell.exec", "arguments": ARGUMENTS}}, {"function_call": {"name": "shell.exec", "arguments": CLEAN}}),
        (
            {"tool_calls": [{"id": "c", "type": "custom", "custom": {"name": "shell.exec", "input": ARGUMENTS}}]},
            {"tool_calls": [{"id": "c", "type": "custom", "custom": {"name": "shell.exec", "input": CLEAN}}]},
        ),
        (
            {"tool_calls": [{"id": "c", "function": {"name": "shell.exec", "arguments": {"command": "rm -rf"}}}]},
            {"tool_calls": [{"id": "c", "function": {"name": "shell.exec", "arguments": orjson.loads(CLEAN)}}]},
        ),
    ],
)
def test_a_rewritten_call_keeps_its_shape_and_place(message, left):
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls", "logprobs": {"content": [{"token": "rm -rf"}]}}
    found = answer.read(orjson.dumps({"choices": [choice]}))
    assert found is not None
    body = answer.release(found, [Ruling(arguments=CLEAN) if called.name == "shell.exec" else AS_IT_CAME for called in found.calls])
    assert orjson.loads(body)["choices"] == [{"index": 0, "message": left, "finish_reason": "tool_calls"}]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b'{"choices":[{"message":{"tool_calls":[{"function":{"name":3}}]}}]}',
        b'{"choices":{}}',
        b'{"choices":[{"message":{"tool_calls":{}}}]}',
        b'{"choices":[],"usage":%s}' % (b"[" * 300 + b"]" * 300),
        b'{"choices":[{"message":{"tool_calls":[{"function":{"name":"ok","arguments":%s}}]}}]}' % (b"[" * 300 + b"]" * 300),
        b'{"choices":[{"message":{"tool_calls":[{"function":{"name":"ok","arguments":"{}"},"name":"shell.exec"}]}}]}',
        b'{"choices":[{"message":{"tool_calls":[{"function":{"name":"ok","arguments":"{}"},"arguments":"rm"}]}}]}',
    ],
)
def test_what_cannot_be_read_is_no_answer(body):
    assert answer.read(body) is None


def test_usage_is_read_with_its_parts():
    details = {"prompt_tokens_details": {"cached_tokens": 99, "audio_tokens": None}, "completion_tokens_details": {"reasoning_tokens": 3}}
    found = answer.read(completion("kb.read", text="é", usage={"prompt_tokens": 10, "completion_tokens": 5, **details}))
    assert found is not None
    assert found.usage == Usage(input_tokens=10, output_tokens=5, cached_tokens=10, reasoning_tokens=3)
    assert found.text_bytes == 2 + len(ARGUMENTS.encode())
    assert (found.model, found.finish_reasons) == ("demo-small", {0: "tool_calls"})
    assert (unknown := answer.read(completion(usage={"prompt_tokens": "many"}))) is not None
    assert unknown.usage is None


NAMES = st.sampled_from(["shell.exec", "web.search", "kb.read"])


@given(st.lists(NAMES, min_size=1, max_size=4), st.text(max_size=5), st.sets(NAMES))
def test_an_answer_and_its_stream_are_judged_alike(names, text, refused):
    body, asked = judged(completion(*names, text=text), refused)
    sent, streamed, _ = relay([*turn(*names, text=text), DONE], refused)
    assert [call.name for call in streamed] == asked
    assert [call.arguments for call in streamed] == [ARGUMENTS] * len(names)
    choice = orjson.loads(body)["choices"][0]
    built = assembled(sent)
    assert built["finish_reason"] == choice["finish_reason"]
    assert built["content"].replace("matched a rule", "no") == (choice["message"]["content"] or "")
    assert [(call["name"], call["id"]) for call in built["tool_calls"].values()] == [
        (call["function"]["name"], call["id"]) for call in choice["message"].get("tool_calls", [])
    ]


@given(
    st.binary(max_size=30)
    | st.recursive(
        st.none() | st.text(max_size=3) | st.integers(0, 9),
        lambda inner: (
            st.lists(inner, max_size=2)
            | st.dictionaries(
                st.sampled_from(["choices", "message", "tool_calls", "function", "name", "arguments", "content", "function_call", "usage"]), inner, max_size=4
            )
        ),
    ).map(orjson.dumps)
)
def test_any_body_has_an_answer(body):
    found = answer.read(body)
    assert found is None or answer.release(found, [Ruling(refusal="no")] * len(found.calls)) is not None
