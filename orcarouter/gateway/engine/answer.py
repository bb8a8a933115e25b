"""A chat completion in one JSON body: its calls out to be judged, the body back without those that may not leave."""

from collections.abc import Sequence
from typing import Any

import msgspec
import orjson

from orcarouter.gateway.engine.calls import LEGACY, SPELLINGS, EmittedCall, Ruling, Usage, notice, read_call, read_function_call, read_usage, rewritten, text_of


class Answer(msgspec.Struct, frozen=True):
    """One answer. ``calls`` of all choices, in order; ``text_bytes`` counts text, reasoning and arguments in UTF-8.

    ``is_error``: it holds an error in place of choices, as some providers answer with status 200.
    """

    body: bytes
    calls: tuple[EmittedCall, ...]
    usage: Usage | None
    model: str | None
    finish_reasons: dict[int, str]
    text_bytes: int
    is_error: bool = False


class _Unreadable(ValueError):
    pass


def read(body: bytes) -> Answer | None:
    """The answer in ``body``; None where it is no JSON object or a call in it cannot be read: such a body is not forwarded."""
    calls: list[EmittedCall] = []
    reasons: dict[int, str] = {}
    text_bytes = 0
    try:
        answer = orjson.loads(body)
        choices = _choices(answer)
        for place, choice in enumerate(choices):
            message = _message(choice)
            calls += _calls(place, message)
            text_bytes += _text_bytes(message)
            if isinstance(reason := choice.get("finish_reason"), str):
                reasons[place] = reason
        usage = read_usage(text_of(answer.get("usage")))
    except ValueError:
        return None
    for call in calls:
        text_bytes += len(call.arguments.encode())
    model = answer.get("model")
    return Answer(
        body=body,
        calls=tuple(calls),
        usage=usage,
        model=model if isinstance(model, str) else None,
        finish_reasons=reasons,
        text_bytes=text_bytes,
        is_error=bool(answer.get("error")) and not choices,
    )


def release(answer: Answer, rulings: Sequence[Ruling], *, notices: bool = True) -> bytes:
    """The body that may leave, with a ruling for each call: the provider's own bytes if every call leaves as it came.

    A refused call is taken out, one line of the choice's text says so, and a choice left without calls ends with ``stop``.
    """
    if not any(ruling.changes(call) for call, ruling in zip(answer.calls, rulings, strict=True)):
        return answer.body
    body = orjson.loads(answer.body)
    for place, choice in enumerate(_choices(body)):
        judged = [(call, ruling) for call, ruling in zip(answer.calls, rulings, strict=True) if call.choice == place]
        blocked = [(call, ruling.refusal) for call, ruling in judged if ruling.refusal is not None]
        if any(ruling.changes(call) for call, ruling in judged):
            _apply(choice["message"], judged)
            for name in SPELLINGS:
                choice.pop(name, None)
        if blocked and notices:
            message = choice["message"]
            message["content"] = _with_line(message.get("content"), notice(blocked))
        if blocked and len(blocked) == len(judged):
            choice["finish_reason"] = "stop"
    return orjson.dumps(body)


def _apply(message: dict[str, Any], judged: list[tuple[EmittedCall, Ruling]]) -> None:
    """Take out of a message what is refused, and put in what is rewritten."""
    entries = [*(message.pop("tool_calls", None) or ()), *([message.pop(LEGACY)] if message.get(LEGACY) is not None else [])]
    left: list[dict[str, Any]] = []
    for entry, (call, ruling) in zip(entries, judged, strict=True):
        if not ruling.leaves:
            continue
        arguments = ruling.instead(call)
        said = entry if arguments is None else rewritten(call, [entry], arguments)
        if call.kind == LEGACY:
            message[LEGACY] = said
        else:
            left.append({**said, "index": len(left)} if "index" in said else said)
    if left:
        message["tool_calls"] = left


def _with_line(content: Any, line: str) -> Any:
    if isinstance(content, list):
        return [*content, {"type": "text", "text": line}]
    return f"{content}\n{line}" if content else line


def _choices(answer: Any) -> list[dict[str, Any]]:
    if not isinstance(answer, dict):
        raise _Unreadable("an answer is an object")
    choices = answer.get("choices")
    if choices is None:
        return []
    if not isinstance(choices, list):
        raise _Unreadable("choices are a list")
    for choice in choices:
        if not isinstance(choice, dict):
            raise _Unreadable("a choice is an object")
    return choices


def _message(choice: dict[str, Any]) -> dict[str, Any]:
    message = choice.get("message")
    if message is None:
        return {}
    if not isinstance(message, dict):
        raise _Unreadable("a message is an object")
    return message


def _calls(place: int, message: dict[str, Any]) -> Sequence[EmittedCall]:
    found, legacy = message.get("tool_calls"), message.get(LEGACY)
    if found is None and legacy is None:
        return ()
    if found is not None and not isinstance(found, list):
        raise _Unreadable("tool_calls is a list")
    calls = []
    for position, call in enumerate(found or ()):
        kind, name, arguments = read_call(call)
        called_as = call.get("id")
        calls.append(EmittedCall(place, position, called_as if isinstance(called_as, str) else None, name, arguments, kind))
    if legacy is not None:
        calls.append(EmittedCall(place, len(calls), None, *read_function_call(legacy), LEGACY))
    return calls


def _text_bytes(message: dict[str, Any]) -> int:
    size = 0
    for text in (message.get("content"), message.get("reasoning_content") or message.get("reasoning"), message.get("refusal")):
        if isinstance(text, str):
            size += len(text.encode())
    return size
