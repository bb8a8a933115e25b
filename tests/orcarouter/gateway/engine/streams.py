"""Streams as providers send them, and a caller of the gate that judges by name."""

from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from orcarouter.gateway.engine.calls import EmittedCall, Ruling
from orcarouter.gateway.engine.gate import Gate

ENVELOPE = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "demo-small"}
DONE = b"data: [DONE]\n\n"


def chunk(delta: dict[str, Any] | None = None, *, choice: int = 0, finish: str | None = None, **more: Any) -> bytes:
    choices = [] if delta is None else [{"index": choice, "delta": delta, "finish_reason": finish}]
    return b"data: " + orjson.dumps({**ENVELOPE, "choices": choices, **more}) + b"\n\n"


def fragment(index: int, arguments: str = "", *, name: str | None = None, called_as: str | None = None) -> dict[str, Any]:
    named = {"name": name} if name else {}
    begun = {"id": called_as, "type": "function"} if called_as else {}
    return {"tool_calls": [{"index": index, **begun, "function": {**named, "arguments": arguments}}]}


def call_frames(index: int, name: str, arguments: str = "{}", *, choice: int = 0) -> list[bytes]:
    """One call in three fragments."""
    half = len(arguments) // 2
    return [
        chunk(fragment(index, name=name, called_as=f"call_{choice}_{index}"), choice=choice),
        chunk(fragment(index, arguments[:half]), choice=choice),
        chunk(fragment(index, arguments[half:]), choice=choice),
    ]


def turn(*names: str, text: str = "", choice: int = 0, finish: str = "tool_calls") -> list[bytes]:
    frames = [chunk({"role": "assistant", "content": None}, choice=choice)]
    frames += [chunk({"content": text}, choice=choice)] if text else []
    for index, name in enumerate(names):
        frames += call_frames(index, name, '{"command":"rm -rf /tmp/é"}', choice=choice)
    return [*frames, chunk({}, choice=choice, finish=finish)]


def relay(chunks: Iterable[bytes], refused: Iterable[str] = (), cleaned: Mapping[str, str] = {}, **how: Any) -> tuple[bytes, list[EmittedCall], Gate]:
    """What leaves, what was judged, and the gate after it; calls named in ``refused`` are refused, those in ``cleaned`` get these arguments."""
    gate, refused = Gate(**how), set(refused)

    def rule(call: EmittedCall) -> Ruling:
        return Ruling(refusal="matched a rule") if call.name in refused else Ruling(arguments=cleaned.get(call.name))

    sent: list[bytes] = []
    judged: list[EmittedCall] = []
    steps = [*(lambda piece=piece: gate.feed(piece) for piece in chunks), gate.close]
    for advance in steps:
        step = advance()
        while step.calls:
            sent.append(step.send)
            judged += step.calls
            step = gate.resume([rule(call) for call in step.calls])
        sent.append(step.send)
    return b"".join(sent), judged, gate


def deltas(stream: bytes) -> list[dict[str, Any]]:
    """The JSON of each event, as a client reads it."""
    events = [event.removeprefix(b"data: ") for event in stream.split(b"\n\n") if event.startswith(b"data: ")]
    return [orjson.loads(event) for event in events if event not in (b"", b"[DONE]")]


def assembled(stream: bytes, choice: int = 0) -> dict[str, Any]:
    """The message a client builds from a stream, as the official SDK does: by index."""
    message: dict[str, Any] = {"content": "", "tool_calls": {}, "finish_reason": None}
    for event in deltas(stream):
        for part in event["choices"]:
            if part["index"] != choice:
                continue
            message["content"] += part["delta"].get("content") or ""
            message["finish_reason"] = part.get("finish_reason") or message["finish_reason"]
            for call in part["delta"].get("tool_calls") or ():
                built = message["tool_calls"].setdefault(call["index"], {"name": "", "arguments": "", "id": None})
                function = call.get("function") or {}
                built["name"] += function.get("name") or ""
                built["arguments"] += function.get("arguments") or ""
                built["id"] = built["id"] or call.get("id")
    return message
