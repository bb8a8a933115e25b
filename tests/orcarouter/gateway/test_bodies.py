"""Whatever is sent as a body is answered, with an error of the one envelope or a completion: never with a fault of ours."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import httpx2 as httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.figures import served
from tests.orcarouter.gateway.conftest import Agent, make_agent

BODIES = Path(__file__).resolve().parents[4] / "shared" / "corpora" / "bodies.jsonl"
PATHS = ("/v1/chat/completions", "/api/v1/firewall/evaluate", "/api/v1/firewall/evaluate_plan")
DEEP = b"[" * 100_000

#: Cousins of the corpus: broken encodings and numbers, repeated names, depth, and right JSON in wrong places.
ODD = [
    b"", b" ", b"\x00", b"\xff\xfe{\x00}\x00", b"\xef\xbb\xbf{}", b"null", b"true", b"-0", b"1e999", b"NaN", b'"a"', b"[]", b"{}", b"{", b'{"a":}', b"{'a':1}",
    b'{"a":1,}', b'{"a":1}{"a":1}', b'{"model":"\\ud800"}', b'{"a":"\xff"}', b'{"a":"\x01"}', b'{"\\u0000":1}', b'{"a":' + b"9" * 5_000 + b"}",
    b'{"a":1e' + b"9" * 400 + b"}", b'{"a":1,"a":2}', b'{"a":{"b":1,"b":1}}', DEEP, b'{"a":' * 70 + b"1" + b"}" * 70, b'{"messages":' + DEEP,
    b"[" + b'"a",' * 50_000 + b"1]",
]  # fmt: skip
CHAT = {
    "model": "demo-small",
    "messages": [
        {"role": "user", "content": "hello"},
        {"role": "assistant", "tool_calls": [{"type": "function", "function": {"name": "a", "arguments": "{}"}}]},
    ],
    "tools": [{"type": "function", "function": {"name": "web.search", "parameters": {}}}],
    "functions": [{"name": "old"}],
    "max_tokens": 5,
    "n": 1,
    "stream": False,
    "stream_options": {"include_usage": True},
    "plugins": [{"id": "web"}],
    "mcp_servers": [{"name": "files"}],
    "web_search_options": {},
}
CALL = {
    "tool_name": "web.search",
    "arguments": {"url": "https://example.org"},
    "surface": "mcp",
    "destination": "example.org",
    "agent_run_id": "r",
    "model": "m",
}
PLAN = {"steps": [CALL], "conversation_id": "c"}

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20)
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3), max_leaves=6)


@pytest.fixture
def hook(stack, committed) -> Agent:
    made = make_agent(stack, is_firewall_gateway=True)
    limits = {"clauses": [{"path": "$.url", "op": "regex", "value": "x+"}]}
    leak = {"steps": [{"match": "*", "min_count": 99}, {"match": "web.search", "egress": True}]}
    made.policy(default_verdict="allow", rules=[{"verdict": "deny", "args_match": limits}, {"verdict": "deny", "sequence": leak}])
    return made


@pytest.fixture
def client(hook) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {hook.token}", "Content-Type": "application/json"}
    with httpx.Client(base_url=hook.stack.url, headers=headers, timeout=60) as made:
        yield made


def is_answered(client: httpx.Client, path: str, body: bytes) -> bool:
    answer = client.post(path, content=body)
    assert answer.status_code < 500, (path, body[:300], answer.text)
    if answer.status_code == 200:
        return True
    assert {"message", "type", "code", "param"} <= answer.json()["error"].keys()
    return answer.status_code in (400, 404, 413)


@pytest.mark.parametrize("path", PATHS)
def test_no_odd_body_is_a_fault_of_ours(client, path):
    rows = [json.loads(line) for line in BODIES.read_text().splitlines()] if BODIES.exists() else []
    for body in [*ODD, *(base64.b64decode(row["text"]) for row in rows)]:
        assert is_answered(client, path, body)


def places(value: object, at: tuple = ()) -> Iterator[tuple]:
    """Every place in a document."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, each in inner:
        yield (*at, name)
        yield from places(each, (*at, name))


@st.composite
def altered(draw: st.DrawFn, document: dict) -> bytes:
    """A right body with something else in one to three places."""
    changed = json.loads(json.dumps(document))
    for _ in range(draw(st.integers(1, 3))):
        *above, last = draw(st.sampled_from([*places(changed)]))
        holder = changed
        for name in above:
            holder = holder[name]
        holder[last] = draw(values)
        if not [*places(changed)]:
            break
    return json.dumps(changed).encode()


@served
@given(altered(CHAT), altered(CALL), altered(PLAN))
def test_nothing_in_the_place_of_something_else_is_a_fault_of_ours(client, chat, call, plan):
    for path, body in zip(PATHS, (chat, call, plan), strict=True):
        assert is_answered(client, path, body)
