"""A scripted reply in OpenAI's wire format: one JSON body, or a stream whose pieces end anywhere."""

import hashlib
import itertools
import json
from collections.abc import Iterator, Mapping
from typing import Any

from orcarouter.demo_provider.script import Call, Reply

CREATED = 1_767_225_600  # 1 January 2026: an answer does not depend on the clock
FINGERPRINT = "demo"
BYTES_A_TOKEN = 4
CUTS = (1, 64, 300, 7, 191, 2, 530, 33)


class Completion:
    """What is answered to one request, in every shape it can be asked for."""

    def __init__(self, request: Mapping[str, Any], reply: Reply) -> None:
        self._request = request
        asked = {name: value for name, value in request.items() if name not in ("stream", "stream_options")}
        self._id = hashlib.blake2b(json.dumps(asked, sort_keys=True).encode(), digest_size=8).hexdigest()
        self._choices = _count(request.get("n")) or 1
        limit = _count(request.get("max_completion_tokens")) or _count(request.get("max_tokens"))
        self._pieces = reply.pieces[:limit]
        self._is_cut = len(self._pieces) < len(reply.pieces)
        self._calls = () if self._is_cut else reply.calls

    def body(self) -> bytes:
        choices = [{"index": index, "message": self._message(index), "logprobs": None, "finish_reason": self._finish()} for index in range(self._choices)]
        return _dumps({**self._envelope("chat.completion"), "choices": choices, "usage": self._usage()})

    def stream(self) -> Iterator[bytes]:
        """The events of the stream, as bytes cut by ``CUTS`` and not where events or characters end."""
        whole, at = b"".join(self.frames()), 0
        for size in itertools.cycle(CUTS):
            if at >= len(whole):
                return
            yield whole[at : at + size]
            at += size

    def frames(self) -> Iterator[bytes]:
        turns = [list(self._turn(index)) for index in range(self._choices)]
        # Choices come interleaved, as a provider that samples them side by side sends them.
        for frames in itertools.zip_longest(*turns):
            yield from (frame for frame in frames if frame)
        if (self._request.get("stream_options") or {}).get("include_usage"):
            yield self._frame([], usage=self._usage())
        yield b"data: [DONE]\n\n"

    def _turn(self, index: int) -> Iterator[bytes]:
        yield self._delta(index, {"role": "assistant", "content": "" if self._pieces else None})
        for piece in self._pieces:
            yield self._delta(index, {"content": piece})
        for place, call in enumerate(self._calls):
            yield from (self._delta(index, delta) for delta in self._fragments(index, place, call))
        yield self._delta(index, {}, finish=self._finish())

    def _fragments(self, index: int, place: int, call: Call) -> Iterator[dict[str, Any]]:
        pieces = [call.arguments[at : at + 11] for at in range(0, len(call.arguments), 11)] if len(call.arguments) < 4096 else _big_pieces(call.arguments)
        if call.kind == "function_call":
            yield {"function_call": {"name": call.name, "arguments": ""}}
            yield from ({"function_call": {"arguments": piece}} for piece in pieces)
            return
        text = "input" if call.kind == "custom" else "arguments"
        yield {"tool_calls": [{"index": place, "id": self._call_id(index, place), "type": call.kind, call.kind: {"name": call.name, text: ""}}]}
        yield from ({"tool_calls": [{"index": place, call.kind: {text: piece}}]} for piece in pieces)

    def _message(self, index: int) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": "".join(self._pieces) or None, "refusal": None}
        legacy = [call for call in self._calls if call.kind == "function_call"]
        if legacy:
            return message | {"function_call": {"name": legacy[0].name, "arguments": legacy[0].arguments}}
        if self._calls:
            message["tool_calls"] = [
                {
                    "id": self._call_id(index, place),
                    "type": call.kind,
                    call.kind: {"name": call.name, "input" if call.kind == "custom" else "arguments": call.arguments},
                }
                for place, call in enumerate(self._calls)
            ]
        return message

    def _finish(self) -> str:
        if self._is_cut:
            return "length"
        if not self._calls:
            return "stop"
        return "function_call" if self._calls[0].kind == "function_call" else "tool_calls"

    def _usage(self) -> dict[str, Any]:
        asked = _tokens(_dumps([self._request.get("messages"), self._request.get("tools")]))
        told = (len(self._pieces) + sum(_tokens(call.arguments.encode()) + 5 for call in self._calls)) * self._choices
        details = {"prompt_tokens_details": {"cached_tokens": 0}, "completion_tokens_details": {"reasoning_tokens": 0}}
        return {"prompt_tokens": asked, "completion_tokens": told, "total_tokens": asked + told, **details}

    def _call_id(self, index: int, place: int) -> str:
        return f"call_{self._id}_{index}_{place}"

    def _envelope(self, kind: str) -> dict[str, Any]:
        return {"id": f"chatcmpl-demo-{self._id}", "object": kind, "created": CREATED, "model": self._request["model"], "system_fingerprint": FINGERPRINT}

    def _delta(self, index: int, delta: dict[str, Any], *, finish: str | None = None) -> bytes:
        return self._frame([{"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}])

    def _frame(self, choices: list[dict[str, Any]], **more: Any) -> bytes:
        return b"data: " + _dumps({**self._envelope("chat.completion.chunk"), "choices": choices, **more}) + b"\n\n"


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and value > 0 else None


def _big_pieces(text: str) -> list[str]:
    return [text[at : at + 4096] for at in range(0, len(text), 4096)]


def _tokens(text: bytes) -> int:
    return -(-len(text) // BYTES_A_TOKEN)


def _dumps(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
