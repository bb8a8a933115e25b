"""Whether all who read an answer find the same calls in it.

Readers of JSON differ where a name is repeated; some (Go's encoding/json) take names in any case; others look for calls where this wire
format has none. An answer, or a frame of one, in which somebody could find a call that was not judged does not leave.
"""

import json
from collections.abc import Sequence
from typing import Any

from orcarouter.gateway.engine.exchange import MAX_DEPTH

_CALLS = frozenset({"tool_calls", "function_call"})
#: What says which call it is, and where.
_MEMBERS = _CALLS | {"choices", "message", "delta", "index", "id", "type", "function", "custom", "name", "arguments", "input"}


def is_clear(data: bytes, *, places: Sequence[str] = ("message",)) -> bool:
    """Whether every call in ``data`` (JSON) is where the gateway looks: in the ``places`` of a choice, each said once.

    What is too deep to look through is not.
    """
    return is_plain(data) or _is_clear(data, places)


def is_plain(data: bytes) -> bool:
    """Whether it can be told at a glance, as of nearly all text, that no call is in ``data``: no name of one, and no escape, which may spell any."""
    # To ``find`` in bytes takes half the time of ``in``.
    find = data.lower().find
    return find(b"_call") < 0 and find(b"tool_use") < 0 and (find(b"\\") < 0 or find(b"\\u00") < 0)


def _is_clear(data: bytes, places: Sequence[str]) -> bool:
    try:
        answer = _DECODER.decode(data.decode())
    except (ValueError, RecursionError):
        return False
    for choice in (answer.get("choices") if isinstance(answer, dict) else None) or ():
        for place in places:
            if isinstance(choice, dict) and isinstance(message := choice.get(place), dict):
                for name in _CALLS:
                    message.pop(name, None)
    return _has_no_call(answer)


def _has_no_call(answer: Any) -> bool:
    level: list[Any] = [answer]
    for _ in range(MAX_DEPTH):
        inner: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                if any(map(value.get, _CALLS)) or value.get("type") == "tool_use":
                    return False
                inner += value.values()
            elif isinstance(value, list):
                inner += value
        if not inner:
            return True
        level = inner
    return False


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name is repeated")
    for name in found:
        folded = name.casefold()
        if folded != name and (folded in _CALLS or (folded in _MEMBERS and folded in found)):
            raise ValueError("a name in another spelling")
    return found


# As text a number of any length is harmless.
_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_int=str, parse_float=str)
