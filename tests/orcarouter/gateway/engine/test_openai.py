import base64
import json
from pathlib import Path
from typing import Any

import msgspec
import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from orcarouter.gateway.engine import openai
from orcarouter.gateway.engine.exchange import Exchange, Refusal, fingerprint, message_digests, read_object, shown
from tests import figures

CORPORA = Path(__file__).resolve().parents[4].parent / "shared" / "corpora"
USER = {"role": "user", "content": "hello"}


def request(**fields: Any) -> bytes:
    return orjson.dumps({"model": "demo-small", "messages": [USER], **fields})


def parsed(**fields: Any) -> Exchange:
    exchange = openai.parse(request(**fields))
    assert isinstance(exchange, Exchange), exchange
    return exchange


def refused(body: bytes) -> Refusal:
    refusal = openai.parse(body)
    assert isinstance(refusal, Refusal), refusal
    assert refusal.code == "bad_request_body"
    return refusal


def rows(name: str) -> list[dict[str, Any]]:
    path = CORPORA / name
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


BODIES = [pytest.param(base64.b64decode(row["text"]), row["label"], id=f"{row['label']}-{row.get('case', row['id'])}") for row in rows("bodies.jsonl")]


@pytest.mark.parametrize(("body", "label"), BODIES)
def test_no_body_that_is_not_json_gets_in_and_none_that_is_is_called_broken(body, label):
    refusal = refused(body)  # none of them is a chat completion
    # A repeated name is JSON, and is refused all the same: two readers may see two bodies.
    if label == "accept" and "repeated" not in refusal.message:
        assert "not valid JSON" not in refusal.message
    if label == "reject":
        assert "not valid JSON" in refusal.message


@pytest.mark.parametrize("depth", [10**5, 10**6])
@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'[{"a":'])
def test_a_body_of_any_depth_has_an_answer(depth, opening):
    refused(opening * depth)
    refused(b'{"model":"m","messages":' + opening * depth)


def test_nesting_is_allowed_to_its_limit():
    deep: Any = []
    for _ in range(61):
        deep = [deep]
    assert parsed(metadata=[deep]).model == "demo-small"  # 1 for the body, 63 below
    assert "deeper than 64" in refused(request(metadata=[[deep]])).message


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"\xef\xbb\xbf" + request(), "not valid JSON"),
        (request().decode().encode("utf-16"), "not valid JSON"),
        (request()[:-1] + b',"top_p":NaN}', "not valid JSON"),
        (request()[:-1] + b',"top_p":-Infinity}', "not valid JSON"),
        (request()[:-1] + b',"top_p":1e999}', "not valid JSON"),
        (request().replace(b"hello", b"\\ud800"), "not valid JSON"),
        (request().replace(b"hello", b"\xed\xa0\x80"), "not valid JSON"),
        (request().replace(b"hello", b"\x00"), "not valid JSON"),
        (request() + b"x", "not valid JSON"),
        (request() + request(), "not valid JSON"),
        (b"[]", "must be a JSON object"),
        (b"null", "must be a JSON object"),
        (b"", "not valid JSON"),
    ],
)
def test_what_is_refused_says_why(body, told):
    assert told in refused(body).message


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": None}, "model"),
        ({"model": ""}, "model"),
        ({"model": "a\x00b"}, "model"),
        ({"model": "m" * 257}, "model"),
        ({"messages": None}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": {"role": "user"}}, "messages"),
        ({"messages": [USER, "hi"]}, "messages.1"),
        ({"messages": [USER] * 4097}, "messages"),
        ({"tools": {}}, "tools"),
        ({"tools": ["shell.exec"]}, "tools.0"),
        ({"tools": [{}]}, "tools.0"),
        ({"tools": [{"type": ["function"]}]}, "tools.0.type"),
        ({"tools": [{"type": "function"}]}, "tools.0.name"),
        ({"tools": [{"type": "web_search_20250305", "name": ["web_search"]}]}, "tools.0.name"),
        ({"tools": [{"type": "function", "function": {"name": None}}]}, "tools.0.function.name"),
        ({"tools": [{"type": "function", "function": {"name": "a"}}] * 513}, "tools"),
        ({"functions": [{"description": "no name"}]}, "functions.0.name"),
        ({"plugins": [{"id": 1}]}, "plugins.0.id"),
        ({"mcp_servers": "x"}, "mcp_servers"),
        ({"stream": "yes"}, "stream"),
        ({"stream_options": []}, "stream_options"),
        ({"stream_options": {"include_usage": 1}}, "stream_options.include_usage"),
        ({"n": 0}, "n"),
        ({"n": True}, "n"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"Tools": []}, "Tools"),
        ({"toolſ": []}, "toolſ"),
        ({"tools": [{"type": "function", "function": {"name": "web.search"}, "Function": {"name": "shell.exec"}}]}, "tools.0.Function"),
        ({"tools": [{"type": "function", "function": {"name": "web.search", "NAME": "shell.exec"}}]}, "tools.0.function.NAME"),
    ],
)
def test_a_field_that_is_judged_has_its_type_and_is_named_when_not(fields, param):
    assert refused(request(**fields)).param == param


REPEATED = [
    b'{"model":"demo-small","model":"gpt-9","messages":[{"role":"user","content":"x"}]}',
    b'{"model":"demo-small","mod\\u0065l":"gpt-9","messages":[{"role":"user","content":"x"}]}',
    b'{"model":"m","messages":[{"role":"user","content":"x","content":"y"}]}',
    b'{"model":"m","messages":[{"role":"user","content":[{"type":"text","text":"a","text":"b"}]}]}',
    b'{"model":"m","messages":[{}],"tools":[{"type":"function","function":{"name":"a"},"function":{"name":"b"}}]}',
    b'{"model":"m","messages":[{}],"tools":[{"type":"function","function":{"name":"a","name":"a"}}]}',
    b'{ "model" : "m", "messages" : [{}], "n" : 1.0, "n" : 1.0 }',
    b'{"model":"m","messages":[{}],"x":1e6,"n":1,"n":1}',  # as long again as what is left of it, written out
    b'{"model":"m","messages":[{"content":"\\u0022:"}],"metadata":{"a":1,"a":1}}',
]


@pytest.mark.parametrize("body", REPEATED)
def test_a_repeated_name_is_refused_however_it_is_spelled(body):
    assert "is repeated" in refused(body).message


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(allow_nan=False, allow_infinity=False), st.text(max_size=6)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)),
    max_leaves=12,
)
SPELLINGS = st.sampled_from([{}, {"ensure_ascii": False}, {"separators": (",", ":")}, {"indent": 2}, {"separators": (",", ":"), "ensure_ascii": False}])


@given(st.dictionaries(st.text(max_size=3), JSON, max_size=4), SPELLINGS)
def test_an_object_is_read_however_it_is_spelled(value, spelling):
    found = read_object(json.dumps(value, **spelling).encode(errors="surrogatepass"))
    assert isinstance(found, Refusal) or list(found[1]) == list(value)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(
                ["a", "b", "c", 'q":"'],
            ),
            JSON,
        ),
        min_size=1,
        max_size=5,
    ),
    SPELLINGS,
    st.booleans(),
)
def test_names_are_repeated_exactly_where_the_reference_says_so(pairs, spelling, inside):
    written = "{" + ",".join(f"{json.dumps(name)}: {json.dumps(value, **spelling)}" for name, value in pairs) + "}"
    found = read_object((f'{{"x":[{written}]}}' if inside else written).encode(errors="surrogatepass"))
    if isinstance(found, Refusal) and "not valid JSON" in found.message:
        return
    assert isinstance(found, Refusal) is (len({name for name, _ in pairs}) < len(pairs))


@given(st.binary(max_size=40) | st.text(max_size=40).map(str.encode) | JSON.map(lambda value: json.dumps(value).encode(errors="replace")))
def test_any_bytes_have_an_answer(body):
    assert isinstance(openai.parse(body), Refusal)
    around = request()[:-1] + b',"metadata":' + body + b"}"
    assert isinstance(openai.parse(around), Refusal | Exchange)


def function(name: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "parameters": {}}}


@pytest.mark.parametrize(
    ("fields", "tools"),
    [
        ({}, ()),
        ({"tools": None, "functions": None}, ()),
        ({"tools": [function("kb__read"), function("shell.exec"), function("kb__read")]}, ("kb__read", "shell.exec")),
        ({"tools": [{"type": "function", "name": "flat"}]}, ("flat",)),
        ({"tools": [{"type": "custom", "custom": {"name": "sql"}}]}, ("sql",)),
        (
            {"tools": [{"type": "web_search"}, {"type": "code_interpreter", "container": {}}, {"type": "mcp", "server_label": "x"}]},
            ("web_search", "code_interpreter", "mcp"),
        ),
        ({"tools": [{"type": "web_search", "function": {"name": "hidden"}}]}, ("hidden", "web_search")),
        ({"tools": [{"function": {"name": "untyped"}}]}, ("untyped",)),
        ({"tools": [{"type": "function", "function": {"name": "a"}, "custom": {"name": "b"}}]}, ("a", "b")),
        ({"functions": [{"name": "old"}]}, ("old",)),
        ({"web_search_options": {}}, ("web_search_options", "web_search")),
        ({"search_parameters": {"mode": "on"}}, ("search_parameters",)),
        ({"plugins": [{"id": "web"}]}, ("web",)),
        ({"mcp_servers": [{"name": "files", "url": "https://x"}]}, ("files",)),
        (
            {"tools": [{"googleSearch": {}}, {"codeExecution": {}}, {"url_context": {}}, {"computerUse": {}}]},
            ("googleSearch", "codeExecution", "url_context", "computerUse"),
        ),
        ({"tools": [{"functionDeclarations": [{"name": "a"}, {"name": "b"}]}]}, ("a", "b")),
        (
            {"tools": [{"type": "namespace", "name": "crm", "tools": [{"type": "function", "name": "erase"}, {"tools": [function("deeper")]}]}]},
            ("namespace", "crm", "erase", "deeper"),
        ),
        ({"tools": [{**function("benign"), "googleSearch": {}}]}, ("benign", "googleSearch")),
        ({"tools": [function("codeExecution")]}, ("codeExecution",)),
        ({"tools": [{"name": "anthropic", "description": "", "input_schema": {}, "cache_control": {"type": "ephemeral"}}]}, ("anthropic",)),
        ({"tools": [{"type": "bash_20250124", "name": "bash"}]}, ("bash_20250124", "bash")),
        ({"tools": [{**function("benign"), "name": "beside"}]}, ("benign", "beside")),
        ({"tools": [{"name": "a", "unheardOf": {}}]}, ("a", "unheardOf")),
        ({"tools": [{"toolSpec": {"name": "bedrock", "inputSchema": {}}}]}, ("toolSpec", "bedrock")),
    ],
)
def test_a_tool_is_a_tool_whatever_its_shape(fields, tools):
    assert parsed(**fields).tools == tools


#: Tools that are offered, hosted, of two readings, of odd values or refused, as text; the last of them is broken.
TOOLS = [
    *map(json.dumps, [function("kb.read"), function("b"), {"type": "web_search_20250305", "max_uses": 3}, {"type": "code", "name": 1, "max_uses": 2**70}]),
    *map(json.dumps, [{"googleSearch": {"tools": []}}, {**function("c"), "name": '"tools":[]'}, {"type": 3}, {"type": "function"}, {"Type": "x"}, {}, 7]),
    '{"type": "function", "function": {"name": "a", "name": "b"}}',
    '{"name": "deep", "x": ' + "[" * 61 + "]" * 61 + "}",
    '{"name": "deeper", "x": ' + "[" * 62 + "]" * 62 + "}",
    '{"name": "x"} {}',
]
OFFERS = st.lists(st.sampled_from(TOOLS), max_size=3).map(lambda tools: f"[{', '.join(tools)}]") | st.sampled_from(["null", "{}", '"[]"', "[", ""])
BESIDE = st.sampled_from(
    ["functions", "plugins", "web_search_options", "Tools", "metadata", "\\u0074ools", "tools", "stream"],
)


@figures.dear
@example('[{"type": "function", "function": {"name": "a"}}]', {}, 3, 60)
@given(OFFERS, st.dictionaries(BESIDE, OFFERS, max_size=2), st.integers(0, 3), st.sampled_from([0, 1, 60]))
def test_tools_that_are_remembered_are_judged_as_those_that_are_read(tools, beside, place, depth):
    # The very array may stand further inside, too.
    content = '{"a": ' * depth + f'{{"tools": {tools}}}' + "}" * depth if depth else '"hello"'

    def body(name: str) -> bytes:
        members = ['"model": "m"', f'"messages": [{{"content": {content}}}]', *(f'"{other}": {value}' for other, value in beside.items())]
        members.insert(place, f"{name}{tools}")
        return f"{{{', '.join(members)}}}".encode()

    # With a space before its colon the array is read with all else.
    read = openai.parse(body('"tools" : '))
    for name in ('"tools": ', '"tools": ', '"tools":'):
        broken, remembered = read_object(body(name)), openai.parse(body(name))
        if isinstance(broken, Refusal):
            assert remembered == broken
        else:
            assert remembered == (read if isinstance(read, Refusal) else msgspec.structs.replace(read, body=body(name)))


def test_an_array_of_tools_is_remembered_up_to_a_size():
    small, large = ([{**function(name), "cache_control": "x" * size}] for name, size in (("small", 1_000), ("large", openai.MAX_OFFER_BYTES)))
    openai.parse(request(tools=small))
    before = openai.remembered_offer.cache_info()
    assert parsed(tools=small).tools == ("small",)
    assert parsed(tools=large).tools == ("large",)
    assert parsed(tools=small, metadata="x" * openai.MAX_BODY_OF_OFFER_BYTES).tools == ("small",)
    after = openai.remembered_offer.cache_info()
    assert (after.hits, after.misses) == (before.hits + 1, before.misses)


def called(*messages: dict[str, Any], **fields: Any) -> tuple[str, ...]:
    return parsed(messages=[USER, *({"role": "assistant", **message} for message in messages)], **fields).past_tools


def test_the_tools_that_the_history_calls_are_named_in_every_shape():
    assert called({"tool_calls": [{"id": "c", "type": "function", "function": {"name": "kb.read", "arguments": '{"a":1}'}}]}) == ("kb.read",)
    assert called({"tool_calls": [{"type": "custom", "custom": {"name": "shell", "input": "ls"}}, {"function": {"name": "b"}}]}) == ("shell", "b")
    assert called({"function_call": {"name": "old", "arguments": "{}"}}) == ("old",)
    assert called({"tool_calls": [{"type": "web_search", "web_search": {}}]}) == ("web_search",)
    assert called({"tool_calls": [{"type": "function", "name": "flat", "arguments": "{}"}]}) == ("flat",)
    assert called({"tool_calls": [{"type": "function", "function": {"name": "a"}, "custom": {"name": "b"}}]}) == ("a", "b")
    assert called({"content": [{"type": "tool_use", "id": "t", "name": "mail.send", "input": {}}, {"type": "text", "text": "x"}]}) == ("mail.send",)
    assert called({"tool_calls": ["junk", {"function": 3}, {"function": {"name": 1}}, {}], "function_call": "auto", "content": [1]}) == ()
    assert called({"tool_calls": {"function": {"name": "a"}}}, {"content": "tool_use"}) == ()


def test_a_tool_that_is_on_offer_is_named_once():
    tools = [{"type": "function", "function": {"name": "kb.read"}}]
    calls = [{"type": "function", "function": {"name": name}} for name in ("kb.read", "mail.send", "mail.send")]
    assert called({"tool_calls": calls}, {"tool_calls": calls}, tools=tools) == ("mail.send",)


def test_the_history_names_so_many_tools_and_no_other_spelling():
    calls = [{"type": "function", "function": {"name": f"t{number}"}} for number in range(513)]
    assert len(called({"tool_calls": calls[:512]})) == 512
    assert refused(request(messages=[{"role": "assistant", "tool_calls": calls}])).param == "messages"
    assert refused(request(messages=[USER, {"role": "assistant", "Tool_Calls": []}])).param == "messages.1.Tool_Calls"
    assert called({"x_provider": 1, "reasoning_content": "hm"}) == ()


def test_what_is_not_changed_is_sent_as_it_came():
    body = b'{ "x_new" : [1.0, "\\u00e9"],"model" :"demo-small", "messages":[ {"role": "user" ,"content":"\\u00e9"} ] }'
    exchange = openai.parse(body)
    assert isinstance(exchange, Exchange)
    assert openai.outbound(exchange, "demo-small") is body
    assert openai.outbound(exchange, "up") == b'{"x_new":[1.0, "\\u00e9"],"model":"up","messages":[ {"role": "user" ,"content":"\\u00e9"} ]}'


@pytest.mark.parametrize(
    ("fields", "options"),
    [
        ({"stream": True}, {"include_usage": True}),
        ({"stream": True, "stream_options": None}, {"include_usage": True}),
        ({"stream": True, "stream_options": {"include_obfuscation": False}}, {"include_obfuscation": False, "include_usage": True}),
        ({"stream": True, "stream_options": {"include_usage": False}}, {"include_usage": True}),
        ({"stream": True, "stream_options": {"include_usage": True}}, {"include_usage": True}),
        ({"stream": False}, None),
    ],
)
def test_a_stream_is_asked_for_its_usage(fields, options):
    sent = orjson.loads(openai.outbound(parsed(**fields), "demo-small"))
    assert sent.get("stream_options") == options


def test_limits_and_choices_are_read():
    exchange = parsed(n=3, max_tokens=5, max_completion_tokens=7)
    assert (exchange.choices, exchange.max_output_tokens) == (3, 7)
    assert (parsed().choices, parsed().max_output_tokens) == (1, None)


def test_fields_that_nobody_documents_are_named():
    assert openai.unknown_fields(parsed(temperature=1, tools=[], plugins=[], top_k=3, route="x")) == ("top_k", "route")


def test_every_documented_field_of_the_published_schema_is_known():
    path = CORPORA / "openai-relay-schemas.json"
    schemas = orjson.loads(path.read_bytes())["components"]["schemas"] if path.exists() else {}

    def properties(name: str) -> set[str]:
        schema = schemas.get(name, {})
        parts = [properties(part["$ref"].rpartition("/")[2]) if "$ref" in part else set(part.get("properties", {})) for part in schema.get("allOf", [])]
        return set(schema.get("properties", {})).union(*parts)

    assert properties("CreateChatCompletionRequest") <= openai.KNOWN_FIELDS


def test_a_longer_conversation_holds_the_digest_of_the_shorter():
    short, long = [USER, {"role": "assistant", "content": "a"}], [USER, {"role": "assistant", "content": "a"}, USER]
    assert message_digests(parsed(messages=short)) == message_digests(parsed(messages=long))[:2]
    assert message_digests(parsed(messages=short))[-1] != message_digests(parsed(messages=list(reversed(short))))[-1]
    assert message_digests(parsed(), secret=b"pepper") != message_digests(parsed())


def said(system: str, user: str) -> Exchange:
    return parsed(messages=[{"role": "system", "content": system}, {"role": "user", "content": user}])


def test_a_fingerprint_passes_over_numbers_dates_and_uuids():
    first = said("Today is Monday, 2 March 2026.", "Ticket 41 of 8d8ac610-566d-4ef0-9c22-186b2a5ed793 at 9:30 am")
    again = said("Today is Friday, 31 December 2027.", "Ticket 7 of AAAAAAAA-566d-4ef0-9c22-186b2a5ed79f at 11:05 PM")
    other = said("Today is Monday, 2 March 2026.", "Ticket 41 of somebody else")
    assert fingerprint(1, first) == fingerprint(1, again)
    assert fingerprint(1, first) != fingerprint(2, first)
    assert fingerprint(1, first) != fingerprint(1, other)


def test_a_fingerprint_reads_parts_and_stops_at_the_first_user_message():
    plain = said("S", "look")
    parts = parsed(
        messages=[{"role": "developer", "content": "S"}, {"role": "user", "content": [{"type": "text", "text": "look"}, {"type": "image_url"}]}, USER]
    )
    assert fingerprint(1, plain) == fingerprint(1, parts)


@pytest.mark.parametrize(
    ("text", "seen"), [("kb.read", "kb.read"), ("a\x00\n\u202eb", "a\\x00\\n\\u202eb"), ("\ud800", "\\ud800"), ("x" * 200, "x" * 127 + "…")]
)
def test_what_is_shown_is_printable_and_short(text, seen):
    assert shown(text) == seen
