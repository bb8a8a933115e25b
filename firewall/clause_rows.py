"""Argument clauses as a person types them: rows of path, operator and value.

A typed value is a text, save where only a number or a truth value reads as JSON does: ``500`` is the number, ``"500"`` the text.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import ClassVar

from django.http import QueryDict

from firewall.engine.conditions import MAX_PATH_CHARS, Operator, spelt, typed_value

OPERATORS = {
    Operator.EQ: "is",
    Operator.IN: "is one of",
    Operator.CONTAINS: "contains",
    Operator.REGEX: "matches the pattern",
    Operator.GT: "is more than",
    Operator.LT: "is less than",
    Operator.CIDR_MATCH: "is an address inside",
    Operator.SHELL_DESTRUCTIVE: "is destructive",
}
_FIELDS = ("clause_path", "clause_op", "clause_value")


@dataclass(slots=True)
class ClauseRow:
    """``errors`` by field: path, op or value; under "" what is about the whole. ``is_new``: to be filled in next."""

    path: str = ""
    op: str = Operator.EQ.value
    value: str = ""
    errors: dict[str, str] = field(default_factory=dict)
    is_new: bool = False
    first: ClassVar[str] = "path"

    @property
    def is_blank(self) -> bool:
        return not (self.path.strip() or self.value.strip())

    def as_json(self) -> dict:
        """The clause that is meant, right or wrong: the engine judges it."""
        return {"path": self.path.strip(), "op": self.op, "value": _read(self.op, self.value)}


def sent_rows(data: QueryDict) -> list[ClauseRow]:
    columns = (data.getlist(name) for name in _FIELDS)
    return [ClauseRow(path, op, value.replace("\r\n", "\n")) for path, op, value in zip_longest(*columns, fillvalue="")]


def rows_of(args_match: Mapping | None) -> list[ClauseRow]:
    """The rows of a stored ``args_match``."""
    clauses = args_match.get("clauses", ()) if args_match else ()
    return [ClauseRow(clause["path"], clause["op"], _typed(clause["op"], clause["value"])) for clause in clauses]


def args_match(rows: Iterable[ClauseRow]) -> dict | None:
    clauses = [row.as_json() for row in rows if not row.is_blank]
    return {"clauses": clauses} if clauses else None


def columns(rows: Iterable[ClauseRow]) -> dict[str, list[str]]:
    """The rows as a browser sends them."""
    kept = list(rows)
    return {"clause_path": [row.path for row in kept], "clause_op": [row.op for row in kept], "clause_value": [row.value for row in kept]}


def changed(rows: list[ClauseRow], wanted: str) -> list[ClauseRow]:
    """The rows after a press of one of their buttons: ``add``, ``add:$.path`` for one of that path, or ``remove-2`` for the third."""
    add, _, path = wanted.partition(":")
    if add == "add":
        return [*rows, ClauseRow(path[:MAX_PATH_CHARS], is_new=True)]
    return [row for place, row in enumerate(rows) if wanted != f"remove-{place}"]


def escaped_lines(pattern: str) -> str:
    """A pattern on one line, with the same meaning."""
    return pattern.replace("\n", r"\n").replace("\r", r"\r")


def _read(op: str, text: str) -> object:
    match op:
        case Operator.REGEX | Operator.CONTAINS:
            return text
        case Operator.IN:
            return [typed_value(line) for line in text.split("\n") if line.strip()]
        case Operator.CIDR_MATCH:
            return text.strip()
        case Operator.SHELL_DESTRUCTIVE:
            return typed_value(text) if text.strip() else True
    return typed_value(text)


def _typed(op: str, value: object) -> str:
    match op:
        case Operator.REGEX:
            return escaped_lines(str(value))
        case Operator.CONTAINS | Operator.CIDR_MATCH:
            return str(value)
        case Operator.IN if isinstance(value, list):
            return "\n".join(map(spelt, value))
        case Operator.SHELL_DESTRUCTIVE:
            return "" if value is True else "false"
    return spelt(value)
