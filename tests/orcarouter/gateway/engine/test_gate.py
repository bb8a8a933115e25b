import itertools

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orcarouter.gateway.engine.calls import AS_IT_CAME, Ruling, Usage
from orcarouter.gateway.engine.gate import MAX_HELD_BYTES, Gate
from orcarouter.gateway.engine.sse import MAX_EVENT_BYTES, Decoder
from tests.orcarouter.gateway.engine.streams import DONE, assembled, call_frames, chunk, deltas, fragment, relay, turn

USAGE = {"prompt_tokens": 9, "completion_tokens": 5, "total_tokens": 14, "prompt_tokens_details": {"cached_tokens": 4}}
STREAM = b"".join([*turn("shell.exec", text="Ich räume auf."), chunk(None, usage=USAGE), DONE])


@pytest.mark.parametrize("refused", [(), ("shell.exec",)])
def test_a_refused_call_never_leaves_however_the_stream_is_cut(refused):
    whole, _, _ = relay([STREAM], refused)
    for cut in range(len(STREAM) + 1):
        sent, judged, _ = relay([STREAM[:cut], STREAM[cut:]], refused)
        assert [(call.name, call.arguments) for call in judged] == [("shell.exec", '{"command":"rm -rf /tmp/é"}')]
        assert sent == whole
    assert (b"command" in whole) is not bool(refused)


def test_what_is_allowed_leaves_byte_for_byte():
    assert relay([STREAM])[0] == STREAM
    odd = STREAM.replace(b'"choices":', b'"x" :  [1.0, "\\u00e9"], "choices" : ').replace(b"\n\n", b"\r\n\r\n")
    assert relay([odd])[0] == odd


def test_text_flows_while_nothing_is_held_and_calls_wait_for_the_end_of_their_turn():
    gate = Gate()
    text, call, finish = chunk({"content": "so"}), call_frames(0, "web.search"), chunk({}, finish="tool_calls")
    assert gate.feed(text).send == text
    for held in call:
        assert gate.feed(held).send == b""
    assert gate.feed(b": ping\n\n").send == b": ping\n\n"
    step = gate.feed(finish)
    assert (step.send, [found.name for found in step.calls]) == (b"", ["web.search"])
    assert gate.resume([AS_IT_CAME]).send == b"".join(call) + finish


def test_text_after_a_call_of_its_choice_waits_with_it():
    gate = Gate()
    held, finish = [*call_frames(0, "web.search"), chunk({"content": "and so"})], chunk({}, finish="tool_calls")
    for frame in held:
        assert gate.feed(frame).send == b""
    assert [found.name for found in gate.feed(finish).calls] == ["web.search"]
    assert gate.resume([AS_IT_CAME]).send == b"".join(held) + finish


def test_the_survivors_of_a_turn_are_numbered_from_zero_after_the_notice():
    sent, judged, gate = relay([*turn("web.search", "shell.exec", "kb.read", text="Let me see."), DONE], ["shell.exec", "web.search"])
    assert [call.position for call in judged] == [0, 1, 2]
    message = assembled(sent)
    line = 'tool "web.search" blocked by firewall: matched a rule; tool "shell.exec" blocked by firewall: matched a rule'
    assert message["content"] == f"Let me see.\n{line}"
    assert message["tool_calls"] == {0: {"name": "kb.read", "arguments": '{"command":"rm -rf /tmp/é"}', "id": "call_0_2"}}
    assert message["finish_reason"] == "tool_calls"
    places = [part for event in deltas(sent) for part in event["choices"][0]["delta"]]
    assert places.index("tool_calls") > len(places) - 1 - places[::-1].index("content")
    assert gate.blocked == 2


def test_a_turn_left_without_calls_ends_with_stop():
    sent, _, _ = relay([*turn("shell.exec"), DONE], ["shell.exec"])
    assert assembled(sent) == {"content": 'tool "shell.exec" blocked by firewall: matched a rule', "tool_calls": {}, "finish_reason": "stop"}
    assert sent.endswith(DONE)
    quiet, _, _ = relay([*turn("shell.exec"), DONE], ["shell.exec"], notices=False)
    assert assembled(quiet) == {"content": "", "tool_calls": {}, "finish_reason": "stop"}


def test_a_refusal_without_a_reason_is_a_refusal():
    gate = Gate()
    step = gate.feed(b"".join(turn("shell.exec")))
    assert b"command" not in step.send + gate.resume([Ruling(refusal="")]).send


def test_choices_are_held_and_judged_apart():
    first, second = turn("shell.exec", choice=0), turn("web.search", text="Hello", choice=1)
    mixed = [frame for pair in zip(first, second, strict=False) for frame in pair] + second[len(first) :] + [DONE]
    sent, judged, _ = relay(mixed, ["shell.exec"])
    assert sorted((call.choice, call.name) for call in judged) == [(0, "shell.exec"), (1, "web.search")]
    assert assembled(sent, 0)["finish_reason"] == "stop"
    assert assembled(sent, 1)["tool_calls"][0]["name"] == "web.search"
    assert assembled(sent, 1)["content"] == "Hello"


def test_text_of_a_choice_flows_while_another_is_held():
    gate = Gate()
    gate.feed(call_frames(0, "shell.exec", choice=0)[0])
    assert gate.feed(chunk({"content": "on"}, choice=1)).send == chunk({"content": "on"}, choice=1)


def test_a_frame_of_text_call_and_finish_is_split():
    whole = chunk({"role": "assistant", "content": "Now:", **fragment(0, "{}", name="shell.exec", called_as="c")}, finish="tool_calls")
    assert relay([whole])[0] == whole
    sent, _, _ = relay([whole], ["shell.exec"])
    assert assembled(sent) == {"content": 'Now:\ntool "shell.exec" blocked by firewall: matched a rule', "tool_calls": {}, "finish_reason": "stop"}
    assert deltas(sent)[0]["choices"][0]["delta"] == {"role": "assistant", "content": "Now:"}


@pytest.mark.parametrize("end", [[], [DONE], [b"data: [DONE]"], [chunk(None, usage=USAGE), DONE]])
def test_a_stream_that_ends_without_a_finish_is_judged_all_the_same(end):
    frames = call_frames(0, "shell.exec")
    assert relay([*frames, *end], ["shell.exec"])[1][0].name == "shell.exec"
    assert b"shell.exec" not in relay([*frames, *end], ["shell.exec"])[0].replace(b'tool \\"shell.exec\\" blocked', b"")
    sent, _, _ = relay([*frames, *end])
    assert assembled(sent)["tool_calls"][0]["name"] == "shell.exec"


def test_legacy_function_calls_and_custom_tools_are_calls():
    legacy = [
        chunk({"function_call": {"name": "shell.exec", "arguments": ""}}),
        chunk({"function_call": {"arguments": "{}"}}),
        chunk({}, finish="function_call"),
    ]
    sent, judged, _ = relay(legacy, ["shell.exec"])
    assert [(call.kind, call.name, call.arguments) for call in judged] == [("function_call", "shell.exec", "{}")]
    assert "function_call" not in sent.decode().replace('"finish_reason":"function_call"', "")
    assert assembled(sent)["finish_reason"] == "stop"
    assert relay(legacy)[0] == b"".join(legacy)

    custom = [
        chunk({"tool_calls": [{"index": 0, "id": "c", "type": "custom", "custom": {"name": "shell.exec", "input": "ls"}}]}),
        chunk({}, finish="tool_calls"),
    ]
    sent, judged, _ = relay(custom, ["shell.exec"])
    assert [(call.kind, call.name, call.arguments) for call in judged] == [("custom", "shell.exec", "ls")]
    assert b'"ls"' not in sent

    hosted = [chunk({"tool_calls": [{"index": 0, "type": "web_search", "web_search": {"q": 1}}]}, finish="tool_calls")]
    assert [(call.name, call.arguments) for call in relay(hosted)[1]] == [("web_search", '{"q":1}')]


def test_a_function_names_the_call_whatever_its_type_says():
    part = {"index": 0, "id": "c", "type": "builtin_function", "function": {"name": "shell.exec", "arguments": "{}"}}
    sent, judged, _ = relay([chunk({"tool_calls": [part]}, finish="tool_calls")], ["shell.exec"])
    assert [(call.kind, call.name) for call in judged] == [("builtin_function", "shell.exec")]
    assert b"builtin" not in sent
    two = {"index": 0, "type": "function", "function": {"name": "web.search", "arguments": "{}"}, "custom": {"name": "shell.exec", "input": "ls"}}
    sent, judged, gate = relay([chunk({"tool_calls": [two]}, finish="tool_calls"), DONE])
    assert (sent, judged, gate.bad_frames) == (DONE, [], 1)


def test_names_hidden_by_json_escapes_are_still_calls():
    frame = chunk(fragment(0, "{}", name="shell.exec", called_as="c"), finish="tool_calls").replace(b'"tool_calls"', b'"tool\\u005fcalls"', 1)
    assert frame.count(b"tool_calls") == 1  # only the finish reason
    assert b"{}" not in relay([frame], ["shell.exec"])[0].replace(b'"delta":{}', b"")


@pytest.mark.parametrize(
    ("frames", "name"),
    [
        ([fragment(0, name="shell", called_as="c"), fragment(0, "{}", name=".exec")], "shell.exec"),
        ([fragment(0, name="shell.exec", called_as="c"), fragment(0, "{}", name="shell.exec")], "shell.exec"),
        ([{"tool_calls": [{"function": {"name": "shell.exec", "arguments": "{}"}}]}], "shell.exec"),
        ([{"tool_calls": [{"id": "c", "type": "function"}]}, fragment(0, "{}", name="shell.exec")], "shell.exec"),
    ],
)
def test_irregular_fragments_leave_as_what_was_judged(frames, name):
    stream = [*(chunk(delta) for delta in frames), chunk({}, finish="tool_calls"), DONE]
    sent, judged, _ = relay(stream)
    assert [call.name for call in judged] == [name]
    assert assembled(sent)["tool_calls"][0] | {"id": None} == {"name": name, "arguments": "{}", "id": None}
    assert b"exec" not in relay(stream, [name])[0].replace(b'tool \\"shell.exec\\"', b"")


def test_one_index_with_two_ids_is_two_calls():
    stream = [
        chunk(fragment(0, "{}", name="web.search", called_as="a")),
        chunk(fragment(0, "{}", name="shell.exec", called_as="b")),
        chunk({}, finish="tool_calls"),
    ]
    sent, judged, _ = relay(stream)
    assert [call.name for call in judged] == ["web.search", "shell.exec"]
    assert [call["name"] for call in assembled(sent)["tool_calls"].values()] == ["web.search", "shell.exec"]
    assert [call["name"] for call in assembled(relay(stream, ["web.search"])[0])["tool_calls"].values()] == ["shell.exec"]


@pytest.mark.parametrize(
    "bad",
    [
        b'data: {"choices":[{"delta":{"tool_calls":[{"function":{"name":"shell.exec"}}]}\n\n',
        b'data: {"choices":[{"delta":{"tool_calls":{"function":{"name":"shell.exec"}}}}]}\n\n',
        b'data: {"choices":[{"delta":{"tool_calls":[{"function":{"name":["shell.exec"]}}]}}]}\n\n',
        b'data: [{"tool_calls":"shell.exec"}]\n\n',
        b"data: shell.exec\n\n",
        b'data: {"choices":[{"delta":{"content":"shell.exec\xff"}}]}\n\n',
        b'data: "shell.exec"\n\n',
        b'\x00data: {"choices":[{"delta":{"tool_calls":[{"function":{"name":"shell.exec"}}]}}]}\n\n',
        b'event: x\n data: {"choices":[{"delta":{"tool_calls":[{"function":{"name":"shell.exec"}}]}}]}\n\n',
        b'data: {"choices":{"a":"shell.exec"}}\n\n',
        b'data: {"choices":[{"delta":{"tool_calls":[{"function":{"name":"shell.exec"}}],"tool_calls":null}}]}\n\n',
        b'data: {"choices":[{"delta":{"tool\\u005fcalls":[{"function":{"name":"shell.exec"}}],"tool_calls":null}}]}\n\n',
        b'data: {"choices":[{"delta":{"tool_calls":[{"function":{"name":"shell.exec","name":"web.search"}}]}}]}\n\n',
        b'data: {"choices":[{"delta":{"tool_calls":[{"function":{"name":"web.search"},"name":"shell.exec"}]}}]}\n\n',
        b'data: {"choices":[{"delta":{"Tool_Calls":[{"function":{"name":"shell.exec"}}]}}]}\n\n',
        b'data: {"choices":[{"delta":{},"tool_calls":[{"function":{"name":"shell.exec"}}]}]}\n\n',
        b'data: {"choices":[{"delta":{"tool_calls":[{"function":{"name":"shell.exec","arguments":%s}}]}}]}\n\n' % (b"[" * 300 + b"]" * 300),
        b'data: {"choices":[{"delta":{"content":[{"type":"tool_use","name":"shell.exec"}]}}]}\n\n',
    ],
)
def test_a_frame_that_cannot_be_read_does_not_leave(bad):
    sent, judged, gate = relay([bad, chunk({"content": "on"}), chunk({}, finish="stop"), DONE])
    assert b"shell.exec" not in sent
    assert judged == []
    assert gate.bad_frames >= 1
    assert assembled(sent)["content"] == "on"


def test_a_hidden_call_that_waits_behind_a_judged_one_does_not_leave():
    hidden = b'data: {"choices":[{"delta":{"Tool_Calls":[{"function":{"name":"shell.exec"}}]}}]}\n\n'
    gate = Gate()
    step = gate.feed(b"".join([*turn("kb.read"), hidden]))
    assert gate.feed(chunk({"content": "on"})).calls == step.calls
    sent = gate.resume([AS_IT_CAME]).send
    assert (b"shell.exec" in sent, sent.endswith(chunk({"content": "on"})), gate.bad_frames) == (False, True, 1)


def test_what_comes_after_a_turn_has_ended_cannot_grow_a_judged_call():
    late = [chunk(fragment(0, '"rm -rf /"}', name="web.search")), chunk({}, finish="tool_calls")]
    stream = [*turn("kb.read", "web.search"), *late, DONE]
    sent, judged, _ = relay(stream, ["kb.read"])
    assert [call.name for call in judged] == ["kb.read", "web.search", "web.search"]
    calls = assembled(sent)["tool_calls"]
    assert [(index, call["name"], call["arguments"]) for index, call in calls.items()] == [
        (0, "web.search", '{"command":"rm -rf /tmp/é"}'),
        (1, "web.search", '"rm -rf /"}'),
    ]


def test_a_function_call_that_has_left_is_not_continued():
    turn_of = [chunk({"function_call": {"name": "web.search", "arguments": "{}"}}, finish="function_call")]
    sent, _, gate = relay([*turn_of, chunk({"function_call": {"arguments": "rm"}}, finish="function_call"), DONE])
    assert sent == turn_of[0] + DONE
    assert gate.bad_frames == 1


def test_a_whole_message_in_a_stream_is_no_way_around():
    message = {**{"index": 0, "delta": {}}, "message": {"tool_calls": [{"id": "c", "function": {"name": "shell.exec", "arguments": "{}"}}]}}
    frame = b"data: " + orjson.dumps({"choices": [message | {"finish_reason": "tool_calls"}]}) + b"\n\n"
    assert b"shell.exec" not in relay([frame, DONE])[0]


def test_the_providers_own_error_is_handed_out_and_ends_the_stream():
    gate = Gate()
    gate.feed(b"".join(call_frames(0, "shell.exec")))
    step = gate.feed(b'data: {"error":{"message":"boom sk-123"}}\n\n' + chunk({"content": "after"}))
    assert (step.send, step.calls, step.error) == (b"", (), b'{"message":"boom sk-123"}')
    assert gate.is_over
    assert gate.close().send == b""


def test_nothing_leaves_after_done():
    late = b"".join(turn("shell.exec", text="late"))
    sent, judged, gate = relay([chunk({"content": "a"}, finish="stop") + DONE + late, late])
    assert sent == chunk({"content": "a"}, finish="stop") + DONE
    assert judged == []
    assert gate.is_done


def test_a_call_too_large_to_hold_is_blocked_whatever_is_ruled():
    pieces = [chunk(fragment(0, "x" * 60_000)) for _ in range(20)]
    rest = [chunk({"content": "still talking"}), chunk({}, finish="tool_calls"), chunk(None, usage=USAGE), DONE]
    stream = [chunk({"content": "hm"}), *call_frames(0, "shell.exec", "")[:1], *pieces, *rest]
    sent, judged, gate = relay(stream)
    assert [(call.name, call.fault) for call in judged] == [("shell.exec", "response_too_large")]
    assert len(judged[0].arguments) <= MAX_HELD_BYTES + 60_000
    assert b"xxxx" not in sent
    assert b"still talking" not in sent
    message = assembled(sent)
    assert (message["finish_reason"], message["tool_calls"]) == ("stop", {})
    assert "blocked" in message["content"]
    assert gate.usage == Usage(9, 5, cached_tokens=4)
    assert sent.endswith(chunk(None, usage=USAGE) + DONE)


def test_an_event_over_the_limit_ends_the_stream_and_its_held_calls():
    gate = Gate()
    gate.feed(b"".join(call_frames(0, "shell.exec")))
    step = gate.feed(b"data: " + b"x" * (MAX_EVENT_BYTES + 1))
    assert [call.fault for call in step.calls] == ["response_too_large"]
    step = gate.resume([AS_IT_CAME])
    assert step.fault == "response_too_large"
    assert assembled(step.send)["finish_reason"] == "stop"
    assert gate.is_over


@pytest.mark.parametrize("withholds", [True, False])
def test_usage_that_only_we_asked_for_stays_here(withholds):
    stream = [chunk({"content": "é"}), chunk({}, finish="stop"), chunk(None, usage=USAGE), DONE]
    sent, _, gate = relay(stream, withholds_usage=withholds)
    assert (b"prompt_tokens" in sent) is not withholds
    assert gate.usage == Usage(input_tokens=9, output_tokens=5, cached_tokens=4)
    assert (gate.text_bytes, gate.finish_reasons, gate.model) == (2, {0: "stop"}, "demo-small")


def test_without_judging_calls_flow_as_text_does():
    assert Gate(judges=False).feed(STREAM).send == STREAM


# --- Rewritten calls ---
SECRET = "sk-geheim-0123456789"
CLEAN = '{"command":"curl [redacted:openai_key]"}'


def secret_call(index: int, name: str, *, choice: int = 0) -> list[bytes]:
    return call_frames(index, name, f'{{"command":"curl {SECRET}"}}', choice=choice)


@pytest.mark.parametrize("around", [("web.search", "kb.read"), (), ("web.search",)])
def test_a_rewritten_call_leaves_whole_with_other_arguments_however_the_stream_is_cut(around):
    names = [*around[:1], "shell.exec", *around[1:]]
    calls = [secret_call(index, name) if name == "shell.exec" else call_frames(index, name) for index, name in enumerate(names)]
    begins, ends = chunk({"role": "assistant", "content": None}), chunk({}, finish="tool_calls")
    stream = b"".join([begins, chunk({"content": "So:"}), *itertools.chain(*calls), ends, chunk(None, usage=USAGE), DONE])
    whole, _, gate = relay([stream], cleaned={"shell.exec": CLEAN})
    message = assembled(whole)
    assert [(call["name"], call["arguments"]) for call in message["tool_calls"].values()] == [(name, CLEAN if name == "shell.exec" else "{}") for name in names]
    assert [call["id"] for call in message["tool_calls"].values()] == [f"call_0_{index}" for index in range(len(names))]
    assert (message["content"], message["finish_reason"], gate.blocked) == ("So:", "tool_calls", 0)
    assert begins in whole
    assert whole.endswith(ends + chunk(None, usage=USAGE) + DONE)
    for cut in range(len(stream) + 1):
        assert relay([stream[:cut], stream[cut:]], cleaned={"shell.exec": CLEAN})[0] == whole


def test_arguments_that_stay_as_they_were_leave_byte_for_byte():
    assert relay([STREAM], cleaned={"shell.exec": '{"command":"rm -rf /tmp/é"}'})[0] == STREAM


def test_a_rewritten_call_beside_a_refused_one_takes_its_number():
    stream = [*call_frames(0, "kb.read"), *secret_call(1, "shell.exec"), chunk({}, finish="tool_calls"), DONE]
    sent, _, gate = relay(stream, ["kb.read"], {"shell.exec": CLEAN})
    assert assembled(sent)["tool_calls"] == {0: {"name": "shell.exec", "arguments": CLEAN, "id": "call_0_1"}}
    assert gate.blocked == 1


@pytest.mark.parametrize(
    ("deltas_of", "left"),
    [
        (
            [{"function_call": {"name": "shell.exec", "arguments": ""}}, {"function_call": {"arguments": SECRET}}],
            {"function_call": {"name": "shell.exec", "arguments": CLEAN}},
        ),
        (
            [{"tool_calls": [{"index": 0, "id": "c", "type": "custom", "custom": {"name": "shell.exec", "input": SECRET}}]}],
            {"tool_calls": [{"index": 0, "id": "c", "type": "custom", "custom": {"name": "shell.exec", "input": CLEAN}}]},
        ),
        (  # no index, the name in pieces, an id that comes late, members that nobody documents
            [
                {"tool_calls": [{"function": {"name": "shell", "parameters": {"command": SECRET}}}]},
                {"tool_calls": [{"id": "c", "function": {"name": ".exec", "arguments": SECRET}, "parsed": [SECRET], "extra_content": {"signature": "s"}}]},
            ],
            {"tool_calls": [{"extra_content": {"signature": "s"}, "id": "c", "index": 0, "function": {"name": "shell.exec", "arguments": CLEAN}}]},
        ),
        (
            [{"tool_calls": [{"index": 0, "id": "c", "function": {"name": "shell.exec", "arguments": {"command": SECRET}}}]}],
            {"tool_calls": [{"index": 0, "id": "c", "function": {"name": "shell.exec", "arguments": orjson.loads(CLEAN)}}]},
        ),
        (
            [{"tool_calls": [{"index": 0, "type": "shell.exec", "shell.exec": {"command": SECRET}, "extra_content": {"signature": "s"}}]}],
            {"tool_calls": [{"extra_content": {"signature": "s"}, "type": "shell.exec", "index": 0, "shell.exec": orjson.loads(CLEAN)}]},
        ),
        (
            [{"tool_calls": [{"index": 0, "type": "shell.exec", "command": SECRET}]}],
            {"tool_calls": [{"index": 0, "type": "shell.exec", **orjson.loads(CLEAN)}]},
        ),
    ],
)
def test_a_rewritten_call_keeps_its_shape_and_nothing_else_that_it_said(deltas_of, left):
    stream = b"".join([*(chunk(delta) for delta in deltas_of), chunk({}, finish="tool_calls"), DONE])
    whole, _, _ = relay([stream], cleaned={"shell.exec": CLEAN})
    assert [event["choices"][0]["delta"] for event in deltas(whole)] == [left, {}]
    for cut in range(len(stream) + 1):
        assert SECRET.encode() not in relay([stream[:cut], stream[cut:]], cleaned={"shell.exec": CLEAN})[0]


def test_what_spells_the_tokens_of_a_changed_call_once_more_stays_here():
    spelt = {"logprobs": {"content": [{"token": SECRET}]}, "token_ids": [1]}
    frames = []
    for index in (0, 1):
        called = {"index": index, "delta": fragment(0, SECRET, name="shell.exec" if index == 0 else "kb.read", called_as="c"), **spelt}
        frames.append(b"data: " + orjson.dumps({"choices": [called]}) + b"\n\n")
        frames.append(b"data: " + orjson.dumps({"choices": [{"index": index, "delta": {}, "finish_reason": "tool_calls", **spelt}]}) + b"\n\n")
    for how in ({"cleaned": {"shell.exec": CLEAN}}, {"refused": ["shell.exec"]}):
        sent, _, _ = relay(frames, **how)
        for event in deltas(sent):
            assert (SECRET in str(event)) is (event["choices"][0]["index"] == 1)


NAMES = st.sampled_from(["shell.exec", "web.search", "kb.read"])
NOISE = [b": ping\n\n", b"data: \n\n", chunk(None), b"event: x\n\n"]
TURNS = st.lists(st.tuples(st.lists(NAMES, max_size=3), st.text(max_size=5)), min_size=1, max_size=3)


def woven(turns, order: bytes) -> list[bytes]:
    """A choice for each turn, woven together in ``order`` with noise between their frames."""
    queues = [turn(*names, text=text, choice=choice) for choice, (names, text) in enumerate(turns)]
    frames = []
    for step in itertools.cycle(order):
        if not any(queues):
            return [*frames, DONE]
        queue = [left for left in queues if left][step % sum(map(bool, queues))]
        frames.append(queue.pop(0))
        frames += [NOISE[step % 4]] if step > 220 else []
    return frames


STREAMS = st.builds(woven, TURNS, st.binary(min_size=24, max_size=24))


@given(STREAMS, st.sets(NAMES), st.lists(st.integers(0, 4_000), max_size=6))
def test_no_part_of_a_refused_call_leaves_and_no_other_is_lost(frames, refused, places):
    stream = b"".join(frames)
    cuts = sorted(min(place, len(stream)) for place in places)
    sent, judged, _ = relay([stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)], refused)
    for choice in range(3):
        asked = [call["name"] for call in assembled(stream, choice)["tool_calls"].values()]
        assert [call.name for call in judged if call.choice == choice] == asked
        left = assembled(sent, choice)["tool_calls"]
        assert [call["name"] for call in left.values()] == [name for name in asked if name not in refused]
        assert list(left) == list(range(len(left)))
        assert assembled(sent, choice)["content"].startswith(assembled(stream, choice)["content"])


@given(STREAMS, st.sets(NAMES), st.sets(NAMES), st.lists(st.integers(0, 4_000), max_size=6))
def test_no_part_of_the_arguments_of_a_rewritten_call_leaves(frames, cleaned, refused, places):
    stream = b"".join(frames)
    cuts = sorted(min(place, len(stream)) for place in places)
    pieces = [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    sent, _, _ = relay(pieces, refused, dict.fromkeys(cleaned, CLEAN))
    for choice in range(3):
        left = assembled(sent, choice)["tool_calls"]
        asked = [call for call in assembled(stream, choice)["tool_calls"].values() if call["name"] not in refused]
        assert list(left) == list(range(len(asked)))
        assert [call["arguments"] for call in left.values()] == [CLEAN if call["name"] in cleaned else call["arguments"] for call in asked]
        assert [(call["name"], call["id"]) for call in left.values()] == [(call["name"], call["id"]) for call in asked]
    if cleaned | refused == {"shell.exec", "web.search", "kb.read"}:
        assert b"rm -" not in sent


@given(STREAMS)
def test_with_all_allowed_each_choice_gets_its_own_bytes_in_order(frames):
    sent, _, _ = relay(frames)
    assert sorted(sent.split(b"\n\n")) == sorted(b"".join(frames).split(b"\n\n"))
    for choice in range(3):
        mine = f'"index":{choice},"delta"'.encode()
        assert [event for event in sent.split(b"\n\n") if mine in event] == [event.removesuffix(b"\n\n") for event in frames if mine in event]


@given(st.lists(st.one_of(st.binary(max_size=30), st.sampled_from([*turn("shell.exec"), DONE, b"data: {", b"\n\n"])), max_size=12))
def test_any_bytes_have_an_answer_and_none_lets_a_refused_call_out(pieces):
    sent, _, _ = relay(pieces, ["shell.exec", ""])
    client = Decoder()
    for event in client.feed(sent) + client.close():
        assert b'"name":"shell.exec"' not in (event.data or b"")


@pytest.mark.parametrize("given_arguments", [b"-0.1", b"true", b"[]", b"9" * 40, b'{"a":-9%s}' % (b"9" * 400), b"1e999", b"12345678901234567890123.5"])
def test_arguments_that_are_none_are_no_error(given_arguments):
    frame = b'data: {"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"name":"kb.read","arguments":%s}}]}}]}\n\n' % given_arguments
    for judges in (True, False):
        gate = Gate(judges=judges)
        assert gate.feed(frame).error is None
        assert gate.close().error is None
