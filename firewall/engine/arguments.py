"""What a call was called with, read once.

An agent that repairs JSON must not run what was not judged (spec/decisions.md 6.8): what is not one JSON object with unique names
and finite numbers is *bad*, and every clause of a restraining rule holds for it.
"""

from __future__ import annotations

import json
from types import EllipsisType
from typing import Final

from workspaces.engine.strict_json import no_constant, unique

MAX_DEPTH = 64
#: The gateway holds no more of a call than this to judge it.
MAX_ARGUMENTS_BYTES = 1 << 20
#: No double has more digits before its point.
_MAX_DIGITS = 310
_WHITE = " \t\r\n"


class Arguments:
    """The arguments of one call, decoded when first asked for."""

    __slots__ = ("_root", "text")

    def __init__(self, text: str | None) -> None:
        self.text: Final = text
        # Not a ``cached_property``: its lock costs as much as reading a short call.
        self._root: dict | EllipsisType | None = ...

    @property
    def are_seen(self) -> bool:
        """False for an offered tool: it is not called yet."""
        return self.text is not None

    @property
    def are_bad(self) -> bool:
        """They are there, and nobody can be sure what they say."""
        return self.text is not None and self.root is None

    @property
    def root(self) -> dict | None:
        """The object; None where there is none, or none that can be trusted to be read by everybody alike."""
        if self._root is ...:
            self._root = None if self.text is None else decoded(self.text)
        return self._root


def decoded(text: str) -> dict | None:
    """One JSON object with unique names, finite numbers, at most 64 deep and 1 MiB long; None for anything else."""
    if len(text) > MAX_ARGUMENTS_BYTES or (not text.isascii() and len(text.encode(errors="replace")) > MAX_ARGUMENTS_BYTES):
        return None
    try:
        found, end = _DECODER.raw_decode(text, len(text) - len(text.lstrip(_WHITE)))
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or text[end:].strip(_WHITE):
        return None
    # Every level needs a bracket: few texts have enough of them to be worth a walk.
    return None if text.count("{") + text.count("[") > MAX_DEPTH and _depth(found) > MAX_DEPTH else found


def _float(digits: str) -> float:
    number = float(digits)
    if number in (float("inf"), float("-inf")):
        raise ValueError("not finite")
    return number


def _int(digits: str) -> int:
    if len(digits) > _MAX_DIGITS:
        raise ValueError("not finite")
    number = int(digits)
    # A whole number that no double can hold is infinite to most readers of JSON.
    if len(digits) >= _MAX_DIGITS - 2:
        _float(digits)
    return number


def _depth(root: object) -> int:
    depth, level = 0, [root]
    while level:
        depth += 1
        inner: list[object] = []
        for each in level:
            inner += each.values() if isinstance(each, dict) else each if isinstance(each, list) else ()
        level = [each for each in inner if isinstance(each, dict | list)]
    return depth


_DECODER = json.JSONDecoder(object_pairs_hook=unique, parse_float=_float, parse_int=_int, parse_constant=no_constant)
