"""The cost inside a usage: told when asked, a provider's own never."""

import orjson
import pytest

from orcarouter.gateway.engine.costed import told, wants
from orcarouter.gateway.engine.gate import Gate

USED = {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12}


@pytest.mark.parametrize(
    ("headers", "asked"),
    [
        ({}, False),
        ({b"x-orcarouter-include-cost": b"true"}, True),
        ({b"x-orcarouter-include-cost": b" TRUE "}, True),
        ({b"x-orcarouter-include-cost": b"1"}, True),
        ({b"x-orcarouter-include-cost": b"0"}, False),
        ({b"x-orcarouter-include-cost": b"yes"}, False),
        ({b"x-orcarouter-beta-usd": b"response"}, True),
        ({b"x-orcarouter-beta-usd": b"true"}, False),
    ],
)
def test_it_is_asked_for_by_either_header(headers, asked):
    assert wants(headers) is asked


@pytest.mark.parametrize(
    ("usage", "cost", "found"),
    [
        (USED, 1_230, USED | {"cost_usd": 0.00123}),
        (USED, None, USED),
        (USED, 0, USED | {"cost_usd": 0.0}),
        (USED | {"cost": 9, "cost_details": {"a": 1}}, 1_230, USED | {"cost_usd": 0.00123}),
        (USED | {"cost_usd": 9}, None, USED),
        ({"prompt_tokens": 0, "completion_tokens": 0}, 5, {"prompt_tokens": 0, "completion_tokens": 0}),
    ],
)
def test_the_cost_is_ours_or_none(usage, cost, found):
    body = orjson.dumps({"id": "x", "usage": usage, "choices": []})
    assert orjson.loads(told(body, cost)) == {"id": "x", "usage": found, "choices": []}


@pytest.mark.parametrize("body", [b'{"id": "x", "choices": []}', b'{"usage": null}', b'{ "usage": {"prompt_tokens": 1} }'])
def test_what_does_not_change_leaves_as_it_came(body):
    assert told(body, None if b"1" in body else 5) is body


def stream(**usage) -> bytes:
    chunks = [{"choices": [{"index": 0, "delta": {"content": "hi"}}]}, {"choices": [], "usage": USED | usage}]
    return b"".join(b"data: " + orjson.dumps(chunk) + b"\n\n" for chunk in chunks) + b"data: [DONE]\n\n"


def test_a_stream_tells_it_in_its_last_chunk_however_it_is_cut():
    whole = stream(cost=7)
    for cut in range(len(whole)):
        gate = Gate()
        gate.cost_of = lambda usage: usage.input_tokens * 100
        sent = gate.feed(whole[:cut]).send + gate.feed(whole[cut:]).send + gate.close().send
        last = orjson.loads(sent.split(b"\n\n")[1].removeprefix(b"data: "))
        assert last["usage"] == USED | {"cost_usd": 0.001}


def test_a_stream_that_was_not_asked_is_the_providers_own_bytes():
    whole = stream()
    gate = Gate()
    assert gate.feed(whole).send == whole
