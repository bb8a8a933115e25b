"""Rules as JSON: ``args_match``, ``egress``, ``sanitize`` and ``sequence`` come as objects, or encoded in ``args_match_json`` and so on.

What is stored and given out are objects, and null for what says nothing. Source: spec/decisions.md 3, spec/firewall.md 2.1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from firewall.engine import conditions, egress, sanitize, sequence
from firewall.engine.arguments import decoded
from firewall.engine.types import Rule, Surface, Verdict

JSON_FIELDS = ("args_match", "egress", "sanitize", "sequence")
ENCODED_FIELDS = tuple(f"{name}_json" for name in JSON_FIELDS)
MICRO_USD_PER_CENT = 10_000

_READ: Mapping[str, Callable[[Mapping], Any]] = {
    "args_match": conditions.read,
    "egress": egress.read,
    "sanitize": sanitize.read,
    "sequence": sequence.read,
}


def unpacked(fields: Mapping[str, object]) -> tuple[dict[str, Any], dict[str, str], list[tuple[str, str]]]:
    """Fields with each spec as an object under its plain name, the name that each was given by, and what cannot be unpacked.

    A spec that is not there is None. One that is there and empty stays: it was meant to narrow the rule, which without it is about every call.
    """
    found: dict[str, Any] = {name: value for name, value in fields.items() if name not in (*JSON_FIELDS, *ENCODED_FIELDS)}
    given: dict[str, str] = {}
    problems: list[tuple[str, str]] = []
    for name in JSON_FIELDS:
        names = [each for each in (name, f"{name}_json") if each in fields]
        said = [each for each in names if not _says_nothing(name, fields[each])]
        if len(said) > 1:
            problems.append((f"{name}_json", f"Say it once: as {name} or as {name}_json."))
        if not names:
            continue
        given[name] = said[0] if said else names[0]
        value = fields[given[name]]
        if isinstance(value, str) and said:
            value = decoded(value)
            if value is None:
                problems.append((given[name], "Not one JSON object."))
        found[name] = value if said and not _says_nothing(name, value) else None
    return found, given, problems


#: Where these are empty they say nothing: so it is documented of clauses, and what is sanitized is no condition.
_MAY_BE_EMPTY = ("args_match", "sanitize")


def _says_nothing(name: str, value: object) -> bool:
    """Clients may send all fields, with the unused ones null or an empty text."""
    if isinstance(value, str):
        return value.strip() in ("", "null") or (name in _MAY_BE_EMPTY and value.strip() in ("{}", "[]"))
    if name in _MAY_BE_EMPTY and isinstance(value, Mapping):
        return all(inner in (None, [], {}, "") for inner in value.values())
    return value is None or (name in _MAY_BE_EMPTY and value == [])


def stored(fields: Mapping[str, object]) -> dict[str, object]:
    """Fields without problems as they are kept: each spec in full and in one form, or None."""
    found, _, _ = unpacked(fields)
    for name in JSON_FIELDS:
        spec = found.get(name)
        if isinstance(spec, Mapping):
            read = _READ[name](spec)
            found[name] = {"clauses": [clause.as_json() for clause in read]} if name == "args_match" else read.as_json()
    return found


def rule(rule_id: int, fields: Mapping[str, Any]) -> Rule:
    """The engine's rule of stored fields, or of a draft's without problems.

    Fields left out have the defaults of a new rule. What cannot be read was written by a newer release while this process still
    runs: then a rule that lets through is off, and one that stops calls stops all of its name.
    """
    plain = Rule(
        id=rule_id,
        priority=fields.get("priority", 100),
        label=fields.get("label") or "",
        stage=Surface(fields["stage"]) if fields.get("stage") else None,
        tool_name_glob=fields.get("tool_name_glob") or "",
        verdict=Verdict(fields["verdict"]),
        enabled=fields.get("enabled", True),
        skill_name_glob=fields.get("skill_name_glob") or "",
        cap_micro_usd=None if (cents := fields.get("cap_cost_cents")) is None else cents * MICRO_USD_PER_CENT,
    )
    specs = {name: spec for name, spec in unpacked(fields)[0].items() if name in JSON_FIELDS and spec is not None}
    if not specs:
        return plain
    try:
        return replace(plain, **{name: _READ[name](spec) for name, spec in specs.items()})
    except (KeyError, ValueError, TypeError, AttributeError):
        return replace(plain, enabled=plain.enabled and not plain.verdict.permits, verdict=Verdict.DENY)
