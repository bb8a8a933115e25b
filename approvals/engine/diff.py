"""What a held call has that the calls before it had not: field by field, for whoever decides about it."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from approvals.engine.shown import paths
from firewall.engine.arguments import decoded

#: Fields that are compared one by one; what a call has more is counted.
MAX_FIELDS = 200


@dataclass(frozen=True, slots=True)
class Line:
    """One field: as it is, as it was (None: it was not there), and what is to be said of the change. ``is_new`` marks what wants a look."""

    path: str
    now: str | None
    before: str | None
    change: str
    is_new: bool


def fields_of(arguments: str | None) -> dict[str, Any]:
    """The leaves of redacted arguments by their path; what is no object is one field without a name."""
    if arguments is None:
        return {}
    value = decoded(arguments)
    return {"": arguments} if value is None else dict(list(paths(value))[:MAX_FIELDS])


def compared(now: Mapping[str, Any], before: Mapping[str, Any] | None, usual: Mapping[str, Collection[Any]]) -> list[Line]:
    """Each field of a call beside the last approved call's, changed ones first. ``usual`` are the values of earlier calls by path.

    ``before`` None: no call like it was approved yet.
    """
    names = [*now, *(name for name in before or () if name not in now)]
    lines = [_line(name, now, before, usual.get(name, ())) for name in names]
    return [*(line for line in lines if line.is_new), *(line for line in lines if not line.is_new)]


def _line(name: str, now: Mapping[str, Any], before: Mapping[str, Any] | None, usual: Collection[Any]) -> Line:
    value = written(now[name]) if name in now else None
    former = written(before[name]) if before is not None and name in before else None
    if name not in now:
        return Line(name, None, former, "Not there any more", True)
    if before is not None and name in before and now[name] == before[name]:
        return Line(name, value, former, "Same", False)
    seen = now[name] in usual
    if before is None:
        return Line(name, value, None, "Used before" if seen else "First time", not seen)
    if name not in before:
        return Line(name, value, None, "New argument", True)
    return Line(name, value, former, _change(before[name], now[name], seen), True)


def _change(before: Any, now: Any, seen: bool) -> str:
    if _is_number(before) and _is_number(now) and before > 0 and now > 0:
        times = now / before
        if times >= 1.05:
            return f"{_times(times)} as much"
        if times <= 0.95:
            return f"{_times(1 / times)} less"
    return "Used before" if seen else "Never used before"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _times(times: float) -> str:
    return f"{times:,.0f} times" if times >= 10 else f"{times:.1f} times".replace(".0 ", " ")


def written(value: Any) -> str:
    """A value as a reviewer reads it: text without quotes, all else as JSON."""
    return value if isinstance(value, str) else orjson.dumps(value, default=str).decode()


def alike(calls: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[str | None]]]:
    """Several calls in one table: each field in which they differ, with the value of each call."""
    names = list(dict.fromkeys(name for call in calls for name in call))
    rows = [(name, [written(call[name]) if name in call else None for call in calls]) for name in names]
    return [(name, values) for name, values in rows if len(set(values)) > 1]
