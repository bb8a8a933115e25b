"""A chat completion as one JSON body and as a stream: one made of the other, so that a kept answer is given out in the shape asked for."""

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from orcarouter.gateway.engine.calls import LEGACY, SPELLINGS, rewritten
from orcarouter.gateway.engine.held import Held, frame, index_of
from orcarouter.gateway.engine.sse import Decoder

DONE = b"data: [DONE]\n\n"
_CALLS = ("tool_calls", LEGACY)


def of_stream(stream: bytes) -> bytes | None:
    """The JSON body that a whole stream spells; None where it has no choice.

    Calls are joined as the gate joins them; a frame that it would drop is passed over here.
    """
    decoder, held = Decoder(), Held({})
    body: dict[str, Any] = {}
    choices: dict[int, dict[str, Any]] = {}
    for event in (*decoder.feed(stream), *decoder.close()):
        chunk = None if event.is_stray or event.data is None else _object(event.data)
        if chunk is None:
            continue
        said = chunk.get("choices") or []
        try:
            held.add(event.raw, {"choices": [{**choice} for choice in said]})
        except (ValueError, TypeError, AttributeError, KeyError):
            continue
        body.update({name: value for name, value in chunk.items() if name != "choices" and (value is not None or name not in body)})
        for choice in said:
            _grow(choices.setdefault(index_of(choice), {"message": {}}), choice)
    if not choices:
        return None
    _put_calls(choices, held)
    body["object"] = "chat.completion"
    body["choices"] = [{"index": index, "finish_reason": None, **choices[index]} for index in sorted(choices)]
    return orjson.dumps(body)


def _object(data: bytes) -> dict[str, Any] | None:
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, dict) and not value.get("error") else None


def _grow(whole: dict[str, Any], choice: Mapping[str, Any]) -> None:
    """Add what one frame says of a choice, its calls aside."""
    for name, value in choice.items():
        if name in ("delta", "message", "index") or value is None:
            continue
        known = whole.get(name)
        if name == "logprobs" and isinstance(known, dict) and isinstance(value, dict):
            whole[name] = {each: [*(known.get(each) or []), *(value.get(each) or [])] or None for each in {**known, **value}}
        else:
            whole[name] = value
    message = whole["message"]
    for name, value in (choice.get("delta") or {}).items():
        if name in _CALLS:
            continue
        known = message.get(name)
        if name != "role" and isinstance(known, str) and isinstance(value, str):
            message[name] = known + value
        elif name != "role" and isinstance(known, list) and isinstance(value, list):
            message[name] = [*known, *value]
        elif value is not None or name not in message:
            message[name] = value


def _put_calls(choices: Mapping[int, dict[str, Any]], held: Held) -> None:
    for call, parts in held.grown():
        message = choices[call.choice]["message"]
        entry = rewritten(call, parts, call.arguments)
        entry.pop("index", None)
        if call.kind == LEGACY:
            message[LEGACY] = entry
        else:
            message.setdefault("tool_calls", []).append({"type": call.kind, **entry})
    for choice in choices.values():
        choice["message"].setdefault("role", "assistant")
        choice["message"].setdefault("content", None)


def as_stream(body: bytes, *, with_usage: bool) -> bytes:
    """The stream that says what a JSON body says, its end included."""
    answer = orjson.loads(body)
    shared = {name: value for name, value in answer.items() if name not in ("choices", "usage", "object")} | {"object": "chat.completion.chunk"}
    frames = [frame({**shared, "choices": [said]}) for place, choice in enumerate(answer["choices"]) for said in _spelled(place, choice)]
    if with_usage and answer.get("usage"):
        frames.append(frame({**shared, "choices": [], "usage": answer["usage"]}))
    return b"".join([*frames, DONE])


def _spelled(place: int, choice: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """One choice as the choices of its frames: its opening, what it says, its calls, its end."""
    message, index = choice.get("message") or {}, choice.get("index", place)
    rest = {name: value for name, value in choice.items() if name not in ("message", "index", "finish_reason", *SPELLINGS)}
    yield {
        "index": index,
        "delta": {"role": message.get("role", "assistant"), "content": "" if message.get("content") is not None else None},
        "finish_reason": None,
    }
    said = {name: value for name, value in message.items() if name not in ("role", *_CALLS) and value not in (None, "", [])}
    spellings = {name: choice[name] for name in SPELLINGS if choice.get(name) is not None}
    if said or spellings:
        yield {"index": index, "delta": said, **spellings, "finish_reason": None}
    for number, call in enumerate(message.get("tool_calls") or ()):
        yield {"index": index, "delta": {"tool_calls": [{**call, "index": number}]}, "finish_reason": None}
    if message.get(LEGACY) is not None:
        yield {"index": index, "delta": {LEGACY: message[LEGACY]}, "finish_reason": None}
    yield {"index": index, "delta": {}, **rest, "finish_reason": choice.get("finish_reason")}
