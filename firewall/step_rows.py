"""The steps of a sequence as a person types them: rows of tool, count and kind of call; and its window."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from typing import ClassVar

from django.http import QueryDict

_FIELDS = ("step_match", "step_count", "step_where")
#: What ``where`` is for a step that must reach out.
EGRESS = "egress"
_WINDOW = re.compile(r"([0-9]{1,9}) ?(s|m|min|h|d)?")
_SECONDS = {"d": 86_400, "h": 3600, "m": 60, "s": 1}


@dataclass(slots=True)
class StepRow:
    """``errors`` by field: match, count or where; under "" what is about the whole. ``is_new``: to be filled in next."""

    match: str = ""
    count: str = "1"
    where: str = ""
    errors: dict[str, str] = field(default_factory=dict)
    is_new: bool = False
    first: ClassVar[str] = "match"

    @property
    def is_blank(self) -> bool:
        return not (self.match.strip() or self.where)

    def as_json(self) -> dict:
        """The step that is meant, right or wrong: the engine judges it."""
        count = self.count.strip() or "1"
        return {"match": self.match.strip(), "min_count": int(count) if re.fullmatch("[0-9]{1,9}", count) else count, "egress": self.where == EGRESS}


def sent_rows(data: QueryDict) -> list[StepRow]:
    columns = (data.getlist(name) for name in _FIELDS)
    return [StepRow(match, count, where) for match, count, where in zip_longest(*columns, fillvalue="")]


def rows_of(sequence: Mapping | None) -> list[StepRow]:
    """The rows of a stored ``sequence``."""
    steps = sequence.get("steps", ()) if sequence else ()
    rows = (StepRow(step["match"], str(step["min_count"]), EGRESS if step["egress"] else "") for step in steps)
    # Any tool, in the spelling that keeps its row from being a blank one.
    return [replace(row, match="*") if row.is_blank else row for row in rows]


def columns(rows: Iterable[StepRow]) -> dict[str, list[str]]:
    """The rows as a browser sends them."""
    kept = list(rows)
    return {"step_match": [row.match for row in kept], "step_count": [row.count for row in kept], "step_where": [row.where for row in kept]}


def sequence(rows: Iterable[StepRow], *, window_seconds: object, enforce: str) -> dict | None:
    """What the rows say together; None where they say nothing."""
    steps = [row.as_json() for row in rows if not row.is_blank]
    if not steps:
        return None
    return {"window_seconds": window_seconds, "steps": steps} | ({"enforce": enforce} if enforce else {})


def changed(rows: list[StepRow], wanted: str) -> list[StepRow]:
    """The rows after a press of one of their buttons: ``step-add``, or ``step-remove-2`` for the third."""
    if wanted == "step-add":
        return [*rows, StepRow(is_new=True)]
    return [row for place, row in enumerate(rows) if wanted != f"step-remove-{place}"]


def read_window(text: str) -> int | None:
    """Seconds of ``90``, ``90s``, ``5m``, ``2 h`` or ``1d``; 0 of nothing, None of anything else."""
    if not text.strip():
        return 0
    found = _WINDOW.fullmatch(text.strip())
    return int(found[1]) * _SECONDS[(found[2] or "s")[0]] if found else None


def spelt_window(seconds: int) -> str:
    """What to type for it, in its largest whole unit."""
    count, unit = _largest_unit(seconds)
    return f"{count}{unit}" if seconds else ""


def window_in_words(seconds: int) -> str:
    """``10 min``, as times are written everywhere."""
    count, unit = _largest_unit(seconds)
    return f"{count} {'min' if unit == 'm' else unit}"


def _largest_unit(seconds: int) -> tuple[int, str]:
    unit = next(unit for unit, length in _SECONDS.items() if seconds % length == 0)
    return seconds // _SECONDS[unit], unit
