"""What a held call has that the calls before it had not: field by field, for whoever decides about it.

Values come redacted. What is hidden in two calls may differ all the same, so it is never said to be the same.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from approvals.engine.shown import hides, paths
from firewall.engine.arguments import decoded

#: Fields that are shown one by one, changed ones first; of the rest it is said how many they are.
MAX_FIELDS = 200
HIDDEN = "Hidden, so not compared"


@dataclass(frozen=True, slots=True)
class Line:
    """One field: as it is, as it was (None: it was not there), what is to be said of the change, and of the calls before.

    ``is_new`` marks what wants a look. ``usual`` is empty where a single call, or none, came before.
    """

    path: str
    now: str | None
    before: str | None
    change: str
    is_new: bool
    usual: str = ""


def fields_of(arguments: str | None) -> dict[str, Any]:
    """The leaves of redacted arguments by their path; what is no object is one field without a name."""
    if arguments is None:
        return {}
    value = decoded(arguments)
    if value is None:
        return {"": arguments}
    return dict(paths(value)) if value else {}


def compared(now: Mapping[str, Any], known: Sequence[Mapping[str, Any]]) -> list[Line]:
    """Each field of a call beside the last of the ``known`` calls (the newest first), changed ones first.

    ``known`` are approved calls like it; empty: there is none yet.
    """
    before = known[0] if known else None
    usual: dict[str, list[Any]] = {}
    for fields in known:
        for name, value in fields.items():
            usual.setdefault(name, []).append(value)
    names = [*now, *(name for name in before or () if name not in now)]
    lines = [_line(name, now, before, usual.get(name, ()), len(known)) for name in names]
    return [*(line for line in lines if line.is_new), *(line for line in lines if not line.is_new)]


def _line(name: str, now: Mapping[str, Any], before: Mapping[str, Any] | None, usual: Sequence[Any], calls: int) -> Line:
    value = written(now[name]) if name in now else None
    former = written(before[name]) if before is not None and name in before else None
    told = _usual(now.get(name), usual, calls)
    if name not in now:
        return Line(name, None, former, "Not there any more", True, told)
    if former is not None and (hides(value or "") or hides(former)):
        return Line(name, value, former, HIDDEN, True)
    seen = _key(now[name]) in map(_key, usual)
    if before is None:
        return Line(name, value, None, "First time", True)
    if name not in before:
        return Line(name, value, None, "Used before" if seen else "New argument", True, told)
    if _key(now[name]) == _key(before[name]):
        return Line(name, value, former, "Same", False, told)
    return Line(name, value, former, _change(before[name], now[name], seen), True, told)


def _change(before: Any, now: Any, seen: bool) -> str:
    if (kind := _kind(now)) != (was := _kind(before)):
        return f"{kind.capitalize()} instead of {was}"
    if kind == "number" and before > 0 and now > 0 and math.isfinite(times := now / before) and times:
        if times >= 1.05:
            return f"{_times(times)} as much"
        if times <= 0.95:
            return f"{_times(1 / times)} less"
    return "Used before" if seen else "Never used before"


def _times(times: float) -> str:
    return f"{times:,.0f} times" if times >= 10 else f"{times:.1f} times".replace(".0 ", " ")


def _usual(now: Any, usual: Sequence[Any], calls: int) -> str:
    """What the calls before had: the range of numbers, else how often they had this value."""
    if calls < 2 or not usual:
        return ""
    if all(_kind(value) == "number" for value in usual):
        low, high = written(min(usual)), written(max(usual))
        return f"{low} in {calls} calls" if low == high else f"{low} to {high} in {calls} calls"
    same = sum(_key(value) == _key(now) for value in usual)
    if same:
        return f"in {same} of {calls} calls"
    others = len({_key(value) for value in usual})
    return f"{others} other value{'' if others == 1 else 's'} in {calls} calls"


# --- Several at once ------------------------------------------------------------------------------------------------
def differing(call: Mapping[str, Any], other: Mapping[str, Any]) -> list[tuple[str, str | None]]:
    """Each field in which another call differs from this one, as far as it is shown: its value there, None where it has none."""
    names = dict.fromkeys([*other, *call])
    unlike = [name for name in names if (name in call) != (name in other) or _key(call[name]) != _key(other[name])]
    return [(name, written(other[name]) if name in other else None) for name in unlike]


# --- Values ---------------------------------------------------------------------------------------------------------
def written(value: Any) -> str:
    """A value as a reviewer reads it: text without quotes, all else as JSON."""
    return value if isinstance(value, str) else orjson.dumps(value, default=str).decode()


def _kind(value: Any) -> str:
    match value:
        case bool():
            return "yes or no"
        case int() | float():
            return "number"
        case str():
            return "text"
        case None:
            return "null"
        case _:
            return "an empty list" if isinstance(value, list) else "an empty object"


def _key(value: Any) -> tuple[str, object]:
    """Equal where JSON is equal: 1 is 1.0, and neither ``true`` nor ``"1"``."""
    return _kind(value), value if isinstance(value, str | int | float) else None
