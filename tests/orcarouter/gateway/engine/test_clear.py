"""An answer leaves only if everybody finds the same calls in it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orcarouter.gateway.engine.clear import is_clear

CALLS = [{"id": "c", "type": "function", "function": {"name": "kb.read", "arguments": '{"tool_calls": [1]}'}}]


def answer(message: object, **more: object) -> bytes:
    return json.dumps({"choices": [{"index": 0, "message": message, "finish_reason": "tool_calls", **more}]}).encode()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not JSON",
        answer({"content": "no call in sight"}),
        answer({"content": 'say "tool_calls"', "function_call": None, "tool_calls": []}),
        answer({"content": "\u00e9 \x1f", "tool_calls": CALLS}),
        answer({"tool_calls": CALLS, "function_call": {"name": "kb.read", "arguments": "{}"}}),
        answer({"tool_calls": [{"function": {"name": "a", "arguments": {"tool_calls": [1], "Name": "x"}}}]}),
        answer({"content": [{"type": "server_tool_use", "name": "web_search"}]}, tool_calls=None),
        b'{"choices": [], "usage": {"server_tool_use": {"web_search_requests": 1}}}',
    ],
)
def test_an_ordinary_answer_is_clear(body):
    assert is_clear(body)


@pytest.mark.parametrize(
    "body",
    [
        answer({"tool_calls": CALLS}).replace(b'"tool_calls": [{', b'"tool_calls": [], "tool_calls": [{', 1),
        answer({"tool_calls": CALLS}).replace(b'"tool_calls": [{', b'"tool\\u005fcalls": [{', 1).replace(b'"message": {', b'"message": {"tool_calls": [], ', 1),
        answer({"tool_calls": CALLS}).replace(b'"name"', b'"name": "ok", "name"', 1),
        answer({"tool_calls": CALLS}).replace(b'"name"', b'"Name": "ok", "name"', 1),
        answer({"tool_calls": CALLS})[:-1] + b', "choices": []}',
        answer({"tool_calls": CALLS})[:-1] + b', "Choices": []}',
        answer({"Tool_Calls": CALLS}),
        b'{"choices": [{"message": {}, "tool\\u005fcalls": [{"function": {"name": "a", "arguments": "{}"}}]}]}',
        b'{"choices": [{"message": {"content": [{"type": "\\u0074ool\\u005fuse", "name": "a"}]}}]}',
        answer({"tool_call\u017f": CALLS}),
        answer({"content": [{"type": "tool_use", "name": "shell.exec", "input": {}}]}),
        answer({}, tool_calls=CALLS),
        answer({}, delta={"tool_calls": CALLS}),
        json.dumps({"message": {"tool_calls": CALLS}}).encode(),
        json.dumps([{"function_call": CALLS[0]["function"]}]).encode(),
        answer({"tool_calls": CALLS})[:-1] + b', "x": ' + b"[" * 64 + b"]" * 64 + b"}",
        b'{"tool_calls": \xff}',
        b'{"tool_calls": ' + b"[" * 100_000,
    ],
)
def test_an_answer_that_two_could_read_differently_is_not(body):
    assert not is_clear(body)


def test_a_frame_says_its_calls_in_its_delta():
    frame = json.dumps({"choices": [{"delta": {"tool_calls": CALLS}}]}).encode()
    assert is_clear(frame, places=("delta", "message"))
    assert not is_clear(frame)


@given(st.binary(max_size=30) | st.text('{}[]",:tol_cas', max_size=30).map(str.encode))
def test_any_bytes_are_clear_or_not(body):
    assert is_clear(body) in (True, False)
