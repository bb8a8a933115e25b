"""Argument clauses: ``{"clauses": [{"path": "$.command", "op": "regex", "value": "rm -rf"}]}``, all of which must hold.

=====================  ========================================================================
``eq``                 the same text, truth value or number; ``1`` is ``1.0``, and neither is ``true``
``contains``           the value is part of the text there
``regex``              RE2 finds the pattern in the text there
``in``                 the same as one of the values, as in ``eq``
``cidr_match``         the text there is an IP address inside the block
``gt`` ``lt``          a number greater, or less, than the value; a text is no number
``shell_destructive``  the command there, a text or a list of words, would destroy something
                       (see ``shell``); with the value ``false``: would not
=====================  ========================================================================

A path is ``$``, then names and positions: ``$.a.b[0].c``. What is not there, or of another type, makes its clause false, and so the
rule silent; arguments that nobody can read alike are the exception, see ``arguments``. Addresses have two readings, as ``__`` in names
has: any spelling and every address wrapped inside for rules that stop a call, the plain form alone for rules that let it through.
Source: spec/firewall.md 2.5, spec/decisions.md 6.8 and 6.9.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network, ip_address

import re2

from firewall.engine import patterns, shell
from workspaces.engine.addresses import Address, Network, is_within, parse_host, readings
from workspaces.engine.client_address import parse_network

MAX_CLAUSES = 20
MAX_PATH_CHARS = 256
MAX_PATH_STEPS = 32
MAX_VALUE_CHARS = 2048
MAX_VALUES = 500

Scalar = str | int | float | bool
Path = tuple[str | int, ...]

# Names as they are; what would begin a filter, a slice or a quoted name in JSONPath is left to it.
_STEP = re.compile(r"\.(?P<name>[^.\[\]*?@()'\"\s\x00-\x1f\x7f]+)|\[(?P<place>0|[1-9][0-9]{0,5})\]")
#: How JSON's numbers, truth values and texts begin.
_JSON_STARTS = '"-0123456789tf'
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


class Operator(StrEnum):
    EQ = "eq"
    CONTAINS = "contains"
    REGEX = "regex"
    IN = "in"
    CIDR_MATCH = "cidr_match"
    GT = "gt"
    LT = "lt"
    SHELL_DESTRUCTIVE = "shell_destructive"


_SAID = {
    Operator.EQ: "is the value",
    Operator.CONTAINS: "contains the text",
    Operator.REGEX: "matches the pattern",
    Operator.IN: "is one of the values",
    Operator.CIDR_MATCH: "is inside the block",
    Operator.GT: "is greater than the value",
    Operator.LT: "is less than the value",
    Operator.SHELL_DESTRUCTIVE: "is a command that destroys nothing",
}


@dataclass(frozen=True, slots=True)
class Clause:
    """``value`` is a tuple for ``in``, else a scalar."""

    path: str
    op: Operator
    value: Scalar | tuple[Scalar, ...]

    def as_json(self) -> dict:
        return {"path": self.path, "op": self.op.value, "value": list(self.value) if isinstance(self.value, tuple) else self.value}


class _Absent:
    """There is nothing at a path; ``None`` is what JSON calls null."""


_ABSENT = _Absent()


# --- Reading --------------------------------------------------------------------------------------------------------
def read(spec: Mapping) -> tuple[Clause, ...]:
    """The clauses of a decoded ``args_match`` without ``objections``."""
    return tuple(
        Clause(clause["path"], Operator(clause["op"]), tuple(map(_whole, value)) if isinstance(value, list) else _whole(value))
        for clause in spec.get("clauses", ())
        for value in (clause.get("value", True) if clause["op"] == Operator.SHELL_DESTRUCTIVE else clause["value"],)
    )


def objections(spec: object) -> list[tuple[str, str, int | None]]:
    """What is wrong with a decoded ``args_match``: (path within it, message, number of the clause)."""
    if not isinstance(spec, Mapping):
        return [("", "An object with a list of clauses.", None)]
    found: list[tuple[str, str, int | None]] = [(name, "There is no such field.", None) for name in spec if name != "clauses"]
    clauses = spec.get("clauses", [])
    if not isinstance(clauses, list):
        return [*found, ("clauses", "A list of clauses.", None)]
    if len(clauses) > MAX_CLAUSES:
        return [*found, ("clauses", f"A rule has at most {MAX_CLAUSES} clauses; these are {len(clauses)}.", None)]
    for number, clause in enumerate(clauses):
        found += [(f"clauses[{number}]{'.' if name else ''}{name}", message, number) for name, message in _objections(clause)]
    return found


def _objections(clause: object) -> list[tuple[str, str]]:
    if not isinstance(clause, Mapping):
        return [("", "A clause is an object with path, op and value.")]
    found = [(str(name), "There is no such field.") for name in clause if name not in ("path", "op", "value")]
    if parse_path(clause.get("path")) is None:
        found.append(("path", "A path is $, then .name and [0]: $.command, $.to[0].address. No wildcards, filters or quotes."))
    op = clause.get("op")
    if not isinstance(op, str) or op not in list(Operator):
        found.append(("op", f"One of {', '.join(Operator)}."))
    elif message := _value_objection(Operator(op), clause.get("value", True if op == Operator.SHELL_DESTRUCTIVE else None)):
        found.append(("value", message))
    return found


def _value_objection(op: Operator, value: object) -> str | None:
    match op:
        case Operator.IN:
            if not isinstance(value, list) or not value:
                return "in takes a list of values."
            if len(value) > MAX_VALUES:
                return f"At most {MAX_VALUES} values; these are {len(value)}."
            return next(filter(None, map(_scalar_objection, value)), None)
        case Operator.REGEX:
            return patterns.objection(value)
        case Operator.GT | Operator.LT:
            return _scalar_objection(value) if _is_number(value) else f"{op} takes a number."
        case Operator.CONTAINS:
            return _scalar_objection(value) if isinstance(value, str) else "contains takes a text."
        case Operator.SHELL_DESTRUCTIVE:
            return None if isinstance(value, bool) else "True (a destructive command) or false (any other)."
        case Operator.CIDR_MATCH:
            return None if isinstance(value, str) and _network(value) else "A block of addresses, such as 10.0.0.0/8."
    return _scalar_objection(value)


def _scalar_objection(value: object) -> str | None:
    if isinstance(value, str):
        if len(value) > MAX_VALUE_CHARS:
            return f"At most {MAX_VALUE_CHARS} characters; these are {len(value)}."
        return "Without NUL and lone surrogates." if _UNSTORABLE.search(value) else None
    if _is_number(value):
        try:
            return None if abs(float(value)) < float("inf") else "A finite number."  # type: ignore[arg-type]
        except OverflowError:
            return "A finite number."
    return None if isinstance(value, bool) else "A text, a number, true or false."


def parse_path(text: object) -> Path | None:
    """The steps of ``$.a[0]``: names and positions; None if that is no path. Linear."""
    if not isinstance(text, str) or not text.startswith("$") or len(text) > MAX_PATH_CHARS or _UNSTORABLE.search(text):
        return None
    steps: list[str | int] = []
    at = 1
    while at < len(text):
        step = _STEP.match(text, at)
        if step is None or len(steps) == MAX_PATH_STEPS:
            return None
        steps.append(step["name"] if step["name"] is not None else int(step["place"]))
        at = step.end()
    return tuple(steps)


def paths_in(value: object, path: str = "$", depth: int = 4) -> Iterator[tuple[str, object]]:
    """Paths of the texts, numbers and truth values in decoded arguments that a clause can name, with those; of a list, its first item's."""
    inner = value.items() if isinstance(value, dict) else [(None, value[0])] if isinstance(value, list) and value else ()
    for name, each in inner if depth else ():
        further = f"{path}[0]" if name is None else f"{path}.{name}"
        if parse_path(further) is None:
            continue
        if isinstance(each, dict | list):
            yield from paths_in(each, further, depth - 1)
        else:
            yield further, each


def _whole(value: Scalar) -> Scalar:
    # Large whole numbers have two spellings, and a store may turn one into the other: 1e300 is not 10**300.
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _network(text: str) -> Network | None:
    try:
        return parse_network(text)
    except ValueError:
        return None


# --- As people write values ------------------------------------------------------------------------------------------
def typed_value(text: str) -> object:
    """``5``, ``true`` and ``"quoted"`` as JSON reads them; anything else is the text itself, without the blanks around it."""
    text = text.strip()
    if text.startswith(tuple(_JSON_STARTS)):
        try:
            return json.loads(text)
        except ValueError:
            pass
    return text


def spelt(value: object) -> str:
    """What to type for a value: a text as it is, unless it would be read as something else."""
    is_plain = isinstance(value, str) and not {"\n", "\r"} & set(value) and value.strip() and typed_value(value) == value
    return str(value) if is_plain else json.dumps(value, ensure_ascii=False)


# --- Judging --------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Check:
    """A compiled clause. ``miss`` gives the reason why it does not hold, or None when it holds."""

    steps: Path
    holds: Callable[[object], bool | None]
    absent: str
    other_type: str
    false: str
    true: str
    tell: Callable[[object], str] | None = None

    def miss(self, root: dict) -> str | None:
        value = _at(root, self.steps)
        if value is _ABSENT:
            return self.absent
        holds = self.holds(value)
        return self.other_type if holds is None else None if holds else self.false

    def told(self, root: dict) -> str:
        """What the clause says of arguments for which it holds."""
        return self.tell(_at(root, self.steps)) if self.tell else self.true


def compile_clauses(clauses: Sequence[Clause], *, wide: bool) -> tuple[Check, ...]:
    """Checks in the order given; ``wide`` reads addresses for rules that stop a call. A clause that cannot be compiled never holds."""
    return tuple(_compile(number, clause, wide) for number, clause in enumerate(clauses, start=1))


def _compile(number: int, clause: Clause, wide: bool) -> Check:
    steps = parse_path(clause.path)
    try:
        holds = _test(clause.op, clause.value, wide)
    except (ValueError, TypeError, re2.error):
        holds = None
    named = f"clause {number}: {clause.path}"
    if steps is None or holds is None:
        return Check((), lambda _: False, "", "", f"{named} {clause.op}: this clause cannot be evaluated", "")
    said = f"{clause.path} {_SAID[clause.op]}"
    tell = _told_of_command(clause.path) if clause.op is Operator.SHELL_DESTRUCTIVE and clause.value else None
    return Check(steps, holds, f"{named} is not there", f"{named} is of another type than {clause.op} needs", f"{named} {clause.op} does not hold", said, tell)


def _test(op: Operator, value: object, wide: bool) -> Callable[[object], bool | None]:
    """A function from what stands at the path to whether the operator holds; None: wrong type."""
    match op:
        case Operator.EQ:
            return lambda found: _equal(found, value)
        case Operator.IN:
            return _among(value)  # type: ignore[arg-type]
        case Operator.CONTAINS:
            return lambda found: value in found if isinstance(found, str) else None  # type: ignore[operator]
        case Operator.REGEX:
            search = patterns.compiled(value).search  # type: ignore[arg-type]
            # In bytes: whether it is found is asked, not where.
            return lambda found: search(patterns.searchable(found).encode()) is not None if isinstance(found, str) else None
        case Operator.CIDR_MATCH:
            network = parse_network(value)  # type: ignore[arg-type]
            return lambda found: _is_inside(found, network, wide) if isinstance(found, str) else None
        case Operator.GT:
            return lambda found: found > value if _is_number(found) else None  # type: ignore[operator]
        case Operator.LT:
            return lambda found: found < value if _is_number(found) else None  # type: ignore[operator]
        case Operator.SHELL_DESTRUCTIVE:
            return lambda found: None if (command := _command(found)) is None else shell.judge(command).destructive is value
    raise ValueError(op)


def _command(found: object) -> str | None:
    """A command as a shell would read it: the text, or words that are handed to a program without one."""
    if isinstance(found, list) and found and all(isinstance(word, str) for word in found):
        return shlex.join(found)
    return found if isinstance(found, str) else None


def _told_of_command(path: str) -> Callable[[object], str]:
    def told(found: object) -> str:
        judgement = shell.judge(_command(found) or "")
        return f"{path} is destructive: {judgement.reason.removesuffix('.').encode('unicode_escape').decode('ascii')[:200]}"

    return told


def _at(root: object, steps: Path) -> object:
    found = root
    for step in steps:
        if isinstance(step, str):
            if not isinstance(found, dict) or step not in found:
                return _ABSENT
            found = found[step]
        else:
            if not isinstance(found, list) or step >= len(found):
                return _ABSENT
            found = found[step]
    return found


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _equal(found: object, value: object) -> bool | None:
    # Python compares whole and floating numbers exactly, without rounding the one to the other.
    if _is_number(value):
        return found == value if _is_number(found) else None
    return found == value if type(found) is type(value) else None


def _among(values: Iterable[Scalar]) -> Callable[[object], bool | None]:
    # Keyed by kind as well: to Python, True is 1.
    known = {(_kind(value), value) for value in values}
    return lambda found: (kind, found) in known if (kind := _kind(found)) else None


def _kind(value: object) -> str:
    return "bool" if isinstance(value, bool) else "text" if isinstance(value, str) else "number" if _is_number(value) else ""


def _is_inside(text: str, network: IPv4Network | IPv6Network, wide: bool) -> bool | None:
    address = _any_spelling(text) if wide else _plain(text)
    if address is None:
        return None
    return any(is_within(each, network) for each in (readings(address) if wide else (address,)))


def _plain(text: str) -> Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None


def _any_spelling(text: str) -> Address | None:
    try:
        found = parse_host(text.strip().partition("%")[0] if ":" in text else text.strip())
    except ValueError:
        return None
    return None if isinstance(found, str) else found
