"""Rows of the record in PostgreSQL's binary form: reading them from JSON was a quarter of what a call costs it.

A row is a mapping from columns, or a ``Row`` of which parts are encoded once for several rows. A column that it leaves out is NULL.
"""

import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from operator import attrgetter, getitem
from typing import Any
from uuid import UUID

import orjson

#: So many values of a kind are remembered with what they are encoded as; then it is begun anew.
MOST_REMEMBERED = 4_096
_encoded = attrgetter("encoded")
_EPOCH, _MICROSECOND = datetime(2000, 1, 1, tzinfo=UTC), timedelta(microseconds=1)
_TEXT_OID = 25
Rows = Sequence[Mapping[str, Any]]

#: Before a value: its type, and how many bytes follow.
_head = struct.Struct("!Ii").pack
_length, _number = struct.Struct("!i").pack, struct.Struct("!q").pack
#: Before an array's elements: dimensions, no flags, the elements' type; and of the one dimension how many there are, from 1 on.
_empty_array, _array_head = struct.Struct("!iiI").pack, struct.Struct("!iiIii").pack


class _Kind:
    """Values of one type."""

    def __init__(self, oid: int, encode: Callable[[Any], bytes]) -> None:
        self.oid, self.encode, self.null = oid, encode, _head(oid, -1)

    def __getitem__(self, value: Any) -> bytes:
        if value is None:
            return self.null
        encoded = self.encode(value)
        return _head(self.oid, len(encoded)) + encoded


class _Remembered(dict[Any, bytes]):
    """The same for values that come again and again."""

    def __init__(self, kind: _Kind) -> None:
        self.kind = kind

    def __missing__(self, value: Any) -> bytes:
        if len(self) >= MOST_REMEMBERED:
            self.clear()
        encoded = self[value] = self.kind[value]
        return encoded


class _Uuids:
    """The same for ids, of which hardly one comes twice; in one step, as there are many."""

    head, null = _head(2950, 16), _head(2950, -1)

    def __getitem__(self, value: UUID | None) -> bytes:
        return self.null if value is None else self.head + value.int.to_bytes(16)


class _Times:
    """The same for moments."""

    head, null = _head(1184, 8), _head(1184, -1)

    def __getitem__(self, value: datetime | None) -> bytes:
        return self.null if value is None else self.head + _number((value - _EPOCH) // _MICROSECOND)


def _texts(values: Sequence[str]) -> bytes:
    return array(_TEXT_OID, len(values), [_sized(value.encode()) for value in values])


def _sized(encoded: bytes) -> bytes:
    return _length(len(encoded)) + encoded


def array(oid: int, count: int, elements: Iterable[bytes]) -> bytes:
    """An array of what is encoded already, each with its length before it."""
    return b"".join((_array_head(1, 0, oid, count, 1), *elements)) if count else _empty_array(0, 0, oid)


_TEXT = _Kind(_TEXT_OID, str.encode)
_KINDS: dict[str, Any] = {
    "text": _TEXT,
    "word": _Remembered(_TEXT),
    # PostgreSQL narrows it to what the column takes, or refuses it.
    "number": _Remembered(_Kind(20, _number)),
    "boolean": _Remembered(_Kind(16, lambda value: b"\1" if value else b"\0")),
    "time": _Times(),
    "uuid": _Uuids(),
    "texts": _Kind(1009, _texts),
    "json": _Kind(3802, lambda value: b"\1" + orjson.dumps(value)),
}


class Group:
    """Columns that stand together in a row: of each its kind."""

    def __init__(self, kinds: Mapping[str, str]) -> None:
        self.names, self.kinds = tuple(kinds), tuple(_KINDS[kind] for kind in kinds.values())


class Part:
    """What several rows have in common: a group's columns, encoded once, so nobody changes them."""

    __slots__ = ("encoded", "values")

    def __init__(self, group: Group, values: Mapping[str, Any]) -> None:
        self.values = values
        self.encoded = b"".join(map(getitem, group.kinds, map(values.get, group.names)))


class Row(MutableMapping[str, Any]):
    """A row as its own columns, the first group of its table, and its parts, which are the others. Only what is its own may be set."""

    __slots__ = ("own", "parts")

    def __init__(self, own: dict[str, Any], *parts: Part) -> None:
        self.own, self.parts = own, parts

    def _whole(self) -> dict[str, Any]:
        return {name: value for values in (*[part.values for part in self.parts], self.own) for name, value in values.items()}

    def __getitem__(self, name: str) -> Any:
        return self._whole()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._whole())

    def __len__(self) -> int:
        return len(self._whole())

    def __setitem__(self, name: str, value: Any) -> None:
        self.own[name] = value

    def __delitem__(self, name: str) -> None:
        del self.own[name]


@dataclass(frozen=True)
class Table:
    """A table of the record, and the type that its rows are sent as. The groups' columns are that type's, in order."""

    name: str
    type: str
    groups: tuple[Group, ...]
    columns: tuple[str, ...] = field(init=False)
    _head: bytes = field(init=False)

    def __post_init__(self) -> None:
        columns = tuple(name for group in self.groups for name in group.names)
        object.__setattr__(self, "columns", columns)
        object.__setattr__(self, "_head", _length(len(columns)))

    def encode(self, row: Mapping[str, Any]) -> bytes:
        """An element of ``array``. Raises ``TypeError`` for a value that is none of its column's."""
        own = self.groups[0]
        try:
            if type(row) is Row:
                encoded = b"".join((self._head, *map(getitem, own.kinds, map(row.own.get, own.names)), *map(_encoded, row.parts)))
            else:
                encoded = b"".join((self._head, *[Part(group, row).encoded for group in self.groups]))
        except (AttributeError, ValueError, struct.error) as error:
            raise TypeError(f"{self.name} cannot hold this: {error}") from error
        return _length(len(encoded)) + encoded


STARTED = Group({"occurred_at": "time"})
WHO = Group({"workspace_id": "number", "request_id": "text", "key_id": "number", "agent_run_id": "word"})
LABELS = Group({
    "token_name": "word", "environment": "word", "model_name": "word", "conversation_id": "word", "run_source": "word", "step_id": "word",
    "parent_step_id": "word",
})  # fmt: skip
SAID = Group({
    "source": "word", "surface": "word", "verdict": "word", "tool_name": "word", "tools": "texts", "reason": "text", "reason_code": "word",
    "factors": "texts", "risk_score": "number", "policy_id": "number", "policy_name": "word", "policy_version": "number", "rule_id": "number",
    "rule_label": "word", "shadow": "boolean", "gap": "boolean", "quarantine": "boolean",
})  # fmt: skip
JUDGED = Group({"occurred_at": "time", "judged_on": "json"})
KEPT = Group({"args_summary": "text", "args_hash": "text", "client_request_id": "text", "skill_name": "word", "cost_micro_usd": "number"})
_OF_EVENT = Group({"id": "uuid", "approval_id": "word"})
_OF_USAGE = Group({
    "id": "uuid", "provider_id": "number", "provider_name": "word", "status": "number", "error_code": "word",
    "outcome": "word", "streamed": "boolean", "prompt_tokens": "number", "completion_tokens": "number", "cached_tokens": "number", "reasoning_tokens": "number",
    "usage_source": "word", "cost_micro_usd": "number", "latency_ms": "number", "first_byte_ms": "number", "context_digest": "text", "fingerprint": "word",
})  # fmt: skip
_OF_ENTRY = Group({
    "id": "uuid", "kind": "word", "cause": "word", "member_id": "number", "held_micro_usd": "number",
    "spent_micro_usd": "number", "streamed_micro_usd": "number", "process_id": "uuid", "deadline_at": "time", "call": "json",
})  # fmt: skip

# Types of their own and not the tables': a column more is a type more, and a gateway of before still writes.
EVENT = Table("firewall_event", "firewall_eventrow", (_OF_EVENT, JUDGED, WHO, LABELS, SAID, KEPT))
USAGE = Table("keys_usage", "keys_usagerow", (_OF_USAGE, STARTED, WHO, LABELS))
ENTRY = Table("keys_ledgerentry", "keys_ledgerrow", (_OF_ENTRY, STARTED, WHO))
TABLES = (EVENT, USAGE, ENTRY)
